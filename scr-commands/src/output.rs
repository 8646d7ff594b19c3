// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the commands print.

use scr_core::clock::{Clock, SystemClock};
use scr_core::{Error, Result};
use std::io::{IsTerminal, Write};
use std::path::Path;

/// Prints a report on stdout. A reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to", Path::new("stdout"), &error))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON on stdout.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}

/// Says something to the person at the terminal, apart from reports.
pub(crate) fn note(text: &str) {
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "scr: {text}");
}

/// Says how far it is to a person who waits at a terminal.
pub(crate) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        note(text);
    }
}

/// Says why a command failed.
pub(crate) fn complain(command: &str, error: &Error) {
    let _ = writeln!(std::io::stderr().lock(), "{command}: {error:#}");
}

/// Prints what a person should know of an event.
pub(crate) fn warn(command: &str, text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{command}: {text}");
}

/// Says what `scr run` does, with the time.
pub(crate) fn say_now(text: &str) {
    let now = SystemClock::default().unix().as_secs();
    let time = crate::time::time_of_day(now, &crate::time::local());
    let _ = writeln!(std::io::stderr().lock(), "scr run: {time} {text}");
}

/// A number with its noun: "1 rank", "2 ranks".
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A number of bytes for people: "512 B", "12.3 GB".
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = number as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be rounded to four digits is written in the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") }
}

/// Joins names with commas, the middle of a long list left out.
pub(crate) fn join<T: ToString>(names: &[T]) -> String {
    const SHOWN: usize = 16;
    let text = |names: &[T]| names.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    if names.len() <= SHOWN {
        return text(names);
    }
    let (first, last) = (&names[..SHOWN / 2], &names[names.len() - SHOWN / 2..]);
    format!("{}, ... ({} more) ..., {}", text(first), names.len() - SHOWN, text(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (12_345_678_901, "12.3 GB"),
            (999_900_000, "1.0 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (number, expected) in cases {
            assert_eq!(bytes(number), expected);
        }
    }

    #[test]
    fn long_lists_are_cut_in_the_middle() {
        assert_eq!(join(&["a", "b"]), "a, b");
        assert_eq!(join::<String>(&[]), "");
        let many: Vec<u32> = (0..100).collect();
        assert!(join(&many).contains("7, ... (84 more) ..., 92"), "{}", join(&many));
    }
}
