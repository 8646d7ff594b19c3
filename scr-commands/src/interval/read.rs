// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads SCR's log (`.scr/log`) and ours (`.scr/events.jsonl`) as one list in the order of time. Pure.

use crate::log::{Line, What};
use jiff::tz::TimeZone;
use serde_json::Value;

/// The same event in both logs may have been noted by clocks that count other parts of a second.
const SAME_SECONDS: f64 = 2.0;

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Happening {
    pub(super) unix_seconds: f64,
    /// SCR's name of the event or transfer.
    pub(super) kind: String,
    /// The allocation, where the line says it.
    pub(super) job: Option<String>,
    pub(super) dataset: Option<u64>,
    pub(super) seconds: Option<f64>,
    pub(super) note: Option<String>,
}

/// What a log says, and how many of its lines cannot be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) happenings: Vec<Happening>,
    pub(super) unreadable: usize,
}

/// Reads a log of either kind: lines of ours begin with a brace.
pub(super) fn read(text: &str, zone: &TimeZone) -> Read {
    let mut read = Read::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let found = if line.starts_with('{') { of_json(line) } else { of_scr(line, zone) };
        match found {
            Some(found) => read.happenings.push(found),
            None => read.unreadable += 1,
        }
    }
    read
}

fn of_scr(line: &str, zone: &TimeZone) -> Option<Happening> {
    let line = Line::read(line, zone)?;
    let (What::Event(kind) | What::Transfer { kind, .. }) = line.entry.what;
    Some(Happening {
        unix_seconds: line.unix_seconds as f64,
        kind,
        job: Some(line.job_id),
        dataset: line.entry.dataset,
        seconds: line.entry.seconds,
        note: line.entry.note,
    })
}

/// Reads loosely: a later version may write kinds that we do not know.
fn of_json(line: &str) -> Option<Happening> {
    let value: Value = serde_json::from_str(line).ok()?;
    let mut kind = value["kind"].as_str()?.to_string();
    // That a halt condition cannot be read is told as one too, louder.
    if kind == "HALT" && value["level"].as_str() != Some("note") {
        kind = "MESSAGE".to_string();
    }
    Some(Happening {
        unix_seconds: value["unix_seconds"].as_f64()?,
        kind,
        job: value["job"].as_str().map(str::to_string),
        dataset: value["dataset"].as_u64(),
        seconds: value["seconds"].as_f64(),
        note: value["text"].as_str().map(str::to_string),
    })
}

/// Puts two logs together; what both have is taken from the first.
pub(super) fn merge(first: Vec<Happening>, second: Vec<Happening>) -> Vec<Happening> {
    let by_time = |a: &Happening, b: &Happening| a.unix_seconds.total_cmp(&b.unix_seconds);
    let mut merged = first;
    merged.sort_by(by_time);
    let known = merged.len();
    for one in second {
        let from =
            merged[..known].partition_point(|k| k.unix_seconds < one.unix_seconds - SAME_SECONDS);
        let near = merged[from..known].iter();
        let mut near = near.take_while(|k| k.unix_seconds <= one.unix_seconds + SAME_SECONDS);
        if !near.any(|known| known.kind == one.kind && known.dataset == one.dataset) {
            merged.push(one);
        }
    }
    merged.sort_by(by_time);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
2024-01-02T03:04:05: host=n1, jobid=42, event=START, procs=4, nodes=2
2024-01-02T03:04:15: host=n1, jobid=42, event=CHECKPOINT_END, dset=1, name=\"c.1\", secs=1.500000
2024-01-02T03:04:16: host=n1, jobid=42, xfer=FLUSH_SYNC, dset=1, secs=2.000000
2024-01-02T03:0
";
    const JSON: &str = r#"
{"unix_seconds":1704164655.4,"kind":"CHECKPOINT_END","level":"detail","text":"committed","dataset":1,"seconds":1.5}
{"unix_seconds":1704164675.0,"kind":"CHECKPOINT_END","level":"detail","text":"committed","dataset":2,"seconds":2.5}
{"unix_seconds":1704164676.0,"kind":"HALT","level":"warning","text":"cannot be read"}
{"unix_seconds":1704164677.0,"kind":"HALT","level":"note","text":"halt requested"}
{"unix_seconds":1704164678.0,"kind":"SOMETHING_NEW","more":[]}
{"unix_seconds":1704
"#;

    #[test]
    fn both_logs_are_read_and_what_both_have_counts_once() {
        let (text, json) = (read(TEXT, &TimeZone::UTC), read(JSON, &TimeZone::UTC));
        assert_eq!((text.happenings.len(), text.unreadable), (3, 1));
        assert_eq!((json.happenings.len(), json.unreadable), (5, 1));
        let merged = merge(text.happenings, json.happenings);
        let found: Vec<_> = merged
            .iter()
            .map(|one| (one.kind.as_str(), one.dataset, one.job.as_deref(), one.seconds))
            .collect();
        let expected = [
            ("START", None, Some("42"), None),
            ("CHECKPOINT_END", Some(1), Some("42"), Some(1.5)),
            ("FLUSH_SYNC", Some(1), Some("42"), Some(2.0)),
            ("CHECKPOINT_END", Some(2), None, Some(2.5)),
            ("MESSAGE", None, None, None),
            ("HALT", None, None, None),
            ("SOMETHING_NEW", None, None, None),
        ];
        assert_eq!(found, expected);
    }
}
