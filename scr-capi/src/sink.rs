// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints what happens in SCR's words: `SCR v4.0.0: rank 3 on node7: text`, on stdout, as much as `SCR_DEBUG` asks for.

use scr_core::event::{Event, Level, Sink};
use std::io::Write;

/// The version as SCR writes it; also the macro `SCR_VERSION` of scr.h.
pub(crate) const VERSION: &str = concat!(
    "v",
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR"),
    ".",
    env!("CARGO_PKG_VERSION_PATCH")
);

/// Who speaks, and how much is to be heard.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// The rank, or `None` before it is known.
    pub(crate) rank: Option<usize>,
    /// The node.
    pub(crate) node: String,
    /// `SCR_DEBUG`.
    pub(crate) debug: u32,
}

impl Lines {
    /// Prints `text` if `SCR_DEBUG` asks for it; a reader who went away is no reason for failing.
    pub(crate) fn say(&self, level: Level, text: &str) {
        if is_heard(level, self.debug) {
            let line = self.line(level, text);
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        }
    }

    /// One line, the newline included; line breaks within `text` are kept.
    fn line(&self, level: Level, text: &str) -> String {
        let word = match level {
            Level::Error => " ERROR",
            Level::Warning => " WARNING",
            Level::Note | Level::Detail => "",
        };
        // SCR prints -1 for a rank that is not known yet.
        let rank = self.rank.map_or_else(|| "-1".to_string(), |rank| rank.to_string());
        format!("SCR {VERSION}{word}: rank {rank} on {}: {text}\n", self.node)
    }
}

impl Sink for Lines {
    fn tell(&self, event: &Event) {
        self.say(event.level, &format!("{}{}", event.text, measured(event)));
    }
}

/// How much it was, and how fast, where that is known.
fn measured(event: &Event) -> String {
    let (Some(seconds), Some(bytes)) = (event.seconds, event.bytes) else { return String::new() };
    let mib = bytes as f64 / f64::from(1 << 20);
    let files = event.files.map_or(String::new(), |files| format!(" in {files} file(s)"));
    let rate = if seconds > 0.0 { format!(", {:.1} MiB/s", mib / seconds) } else { String::new() };
    format!(" [{mib:.1} MiB{files}{rate}]")
}

/// Whether an event of `level` is printed at this `SCR_DEBUG`.
fn is_heard(level: Level, debug: u32) -> bool {
    match level {
        Level::Error | Level::Warning => true,
        Level::Note => debug >= 1,
        Level::Detail => debug >= 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_scr() {
        let lines = Lines { rank: Some(3), node: "n7".into(), debug: 0 };
        assert_eq!(lines.line(Level::Note, "a"), format!("SCR {VERSION}: rank 3 on n7: a\n"));
        assert_eq!(
            lines.line(Level::Error, "a"),
            format!("SCR {VERSION} ERROR: rank 3 on n7: a\n")
        );
        assert_eq!(
            Lines { rank: None, ..lines }.line(Level::Warning, "a"),
            format!("SCR {VERSION} WARNING: rank -1 on n7: a\n")
        );
    }

    #[test]
    fn what_was_measured_is_told() {
        let mut event = Event {
            unix_seconds: 0.0,
            kind: scr_core::event::EventKind::FlushSuccess,
            level: Level::Note,
            text: String::new(),
            dataset: None,
            name: None,
            seconds: Some(0.5),
            bytes: Some(3 << 20),
            files: Some(4),
            from: None,
            to: None,
            note: None,
            launch: None,
        };
        assert_eq!(measured(&event), " [3.0 MiB in 4 file(s), 6.0 MiB/s]");
        (event.seconds, event.files) = (Some(0.0), None);
        assert_eq!(measured(&event), " [3.0 MiB]");
        event.bytes = None;
        assert_eq!(measured(&event), "");
    }

    #[test]
    fn debug_levels_add_what_they_say() {
        let heard = |debug| {
            [Level::Error, Level::Warning, Level::Note, Level::Detail]
                .map(|level| is_heard(level, debug))
        };
        assert_eq!(heard(0), [true, true, false, false]);
        assert_eq!(heard(1), [true, true, true, false]);
        assert_eq!(heard(2), [true, true, true, true]);
    }
}
