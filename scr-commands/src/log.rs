// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCR's text log, `.scr/log` in the prefix: a line for each thing that happened.
//!
//! ```text
//! 2024-01-02T03:04:05: host=n1, jobid=42, event=NODE_FAIL, note="n2: no answer"
//! 2024-01-02T03:04:06: host=n1, jobid=42, xfer=FLUSH_SYNC, from=/dev/shm, to=/p, dset=3, name="c.3", secs=1.500000, bytes=4096.000000, files=4
//! ```
//!
//! The library writes what it does, `scr run` and scripts what happens around it. Each line is appended by one write, so
//! that writers do not meet within a line. The format is that of SCR (`scr_log.c`), without its freedom to be broken: what
//! would end a line, or the quotes of a value, is replaced.

pub(crate) mod command;

use crate::files::store;
use crate::output::note;
use crate::prefix::Prefix;
use crate::time;
use jiff::tz::TimeZone;
use scr_core::Result;
use std::fmt::Write;
use std::path::PathBuf;

/// The job id where no resource manager gives one; the same as SCR's.
const NO_JOB_ID: &str = "defjobid";

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Something happened.
    Event(String),
    /// Files were moved.
    Transfer {
        /// How: `FLUSH_SYNC`, ...
        kind: String,
        /// From where.
        from: Option<String>,
        /// To where.
        to: Option<String>,
    },
}

/// A line without its time and place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) what: What,
    /// In words.
    pub(crate) note: Option<String>,
    /// The number of the dataset concerned.
    pub(crate) dataset: Option<u64>,
    /// Its name.
    pub(crate) name: Option<String>,
    /// How long it took.
    pub(crate) seconds: Option<f64>,
    /// How many bytes were moved.
    pub(crate) bytes: Option<u64>,
    /// How many files were moved.
    pub(crate) files: Option<u64>,
    /// How many ranks a launch has.
    pub(crate) ranks: Option<u64>,
    /// How many nodes a launch has.
    pub(crate) nodes: Option<u64>,
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// When.
    pub(crate) unix_seconds: u64,
    /// Who wrote it.
    pub(crate) host: String,
    /// The allocation.
    pub(crate) job_id: String,
    pub(crate) entry: Entry,
}

/// How a launch by `scr run` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// The application did its work.
    Success,
    /// It failed; how, in words ("exit status 3").
    Failure(String),
    /// It was asked to stop: a halt condition, a signal, the end of the allocation.
    Stopped(String),
}

/// Events that `scr run` writes; the names are SCR's.
pub(crate) const RUN_START: &str = "RUN_START";
pub(crate) const RUN_END: &str = "RUN_END";
pub(crate) const NODE_FAIL: &str = "NODE_FAIL";

impl Entry {
    /// An event of this kind.
    pub(crate) fn event(kind: &str) -> Self {
        Self::of(What::Event(kind.to_string()))
    }

    pub(crate) fn of(what: What) -> Self {
        Self {
            what,
            note: None,
            dataset: None,
            name: None,
            seconds: None,
            bytes: None,
            files: None,
            ranks: None,
            nodes: None,
        }
    }

    /// A launch begins: the first, second, ... of this `scr run`.
    pub(crate) fn run_start(run: u32) -> Self {
        Self { note: Some(format!("run={run}")), ..Self::event(RUN_START) }
    }

    /// A launch is over.
    pub(crate) fn run_end(run: u32, end: &RunEnd, seconds: f64) -> Self {
        let note = Some(format!("run={run}: {}", end.words()));
        Self { note, seconds: Some(seconds), ..Self::event(RUN_END) }
    }

    /// A node is down from now on. To be written once for each.
    pub(crate) fn node_fail(node: &str, reason: &str) -> Self {
        Self { note: Some(format!("{node}: {reason}")), ..Self::event(NODE_FAIL) }
    }

    /// What is only in the caches of a dataset is being copied to the prefix, after the job.
    pub(crate) fn scavenge_start(dataset: u64, name: Option<&str>) -> Self {
        let name = name.map(str::to_string);
        Self { dataset: Some(dataset), name, ..Self::event("SCAVENGE_START") }
    }

    /// The copying is over; `failure` says why it came to nothing.
    pub(crate) fn scavenge_end(
        dataset: u64,
        name: Option<&str>,
        seconds: f64,
        failure: Option<&str>,
    ) -> Self {
        let note = failure.map(|why| format!("failed: {why}"));
        let start = Self::scavenge_start(dataset, name);
        Self { note, seconds: Some(seconds), ..Self { what: event("SCAVENGE_END"), ..start } }
    }
}

fn event(kind: &str) -> What {
    What::Event(kind.to_string())
}

impl RunEnd {
    fn words(&self) -> String {
        match self {
            Self::Success => "success".to_string(),
            Self::Failure(how) => format!("failure, {how}"),
            Self::Stopped(why) => format!("stopped, {why}"),
        }
    }

    /// What [`Entry::run_end`] wrote into a note; `None` for notes of others.
    pub(crate) fn from_note(note: &str) -> Option<Self> {
        let (_, words) = note.strip_prefix("run=")?.split_once(": ")?;
        let (word, rest) = words.split_once(", ").unwrap_or((words, ""));
        match word {
            "success" => Some(Self::Success),
            "failure" => Some(Self::Failure(rest.to_string())),
            "stopped" => Some(Self::Stopped(rest.to_string())),
            _ => None,
        }
    }
}

/// The log of a prefix, for a writer on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    prefix: Prefix,
    host: String,
    job_id: String,
    zone: TimeZone,
}

impl Log {
    /// The log of `prefix`, whether or not there is one yet; without a job id, SCR's word for none is used.
    pub(crate) fn new(prefix: &Prefix, job_id: Option<&str>) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let job_id = job_id.unwrap_or(NO_JOB_ID).to_string();
        Self { prefix: prefix.clone(), host, job_id, zone: time::local() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.prefix.record("log")
    }

    /// Appends a line, in one write. A prefix that is not there is not made.
    pub(crate) fn append(&self, unix_seconds: u64, entry: Entry) -> Result<()> {
        self.prefix.must_exist()?;
        let line =
            Line { unix_seconds, host: self.host.clone(), job_id: self.job_id.clone(), entry };
        let path = self.path();
        store().create_dir_all(path.parent().unwrap_or(self.prefix.root()))?;
        store().append(&path, line.write(&self.zone).as_bytes())
    }

    /// The same for a caller whose work is another: a log that cannot be written must not fail what it tells of.
    pub(crate) fn tell(&self, unix_seconds: u64, entry: Entry) {
        if let Err(error) = self.append(unix_seconds, entry) {
            note(&format!("not in the log: {error:#}"));
        }
    }
}

/// What stands in a value without quotes: nothing that could begin the next field.
fn bare(text: &str) -> String {
    text.replace(|c: char| c.is_control() || c == ',', "_")
}

/// What stands between quotes.
fn quoted(text: &str) -> String {
    text.replace('"', "'").replace(char::is_control, " ")
}

impl Line {
    /// The line as text, the end of the line included; `zone` is that of the clock on the wall, which SCR writes.
    pub(crate) fn write(&self, zone: &TimeZone) -> String {
        let when = time::show(self.unix_seconds, zone);
        let mut text = format!("{when}: host={}, jobid={}", bare(&self.host), bare(&self.job_id));
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(text, ", {key}={value}");
            }
        };
        let entry = &self.entry;
        let in_quotes =
            |text: &Option<String>| text.as_deref().map(|t| format!("\"{}\"", quoted(t)));
        match &entry.what {
            What::Event(kind) => {
                add("event", Some(bare(kind)));
                add("procs", entry.ranks.map(|n| n.to_string()));
                add("nodes", entry.nodes.map(|n| n.to_string()));
                add("note", in_quotes(&entry.note));
            }
            What::Transfer { kind, from, to } => {
                add("xfer", Some(bare(kind)));
                add("from", from.as_deref().map(bare));
                add("to", to.as_deref().map(bare));
            }
        }
        add("dset", entry.dataset.map(|n| n.to_string()));
        add("name", in_quotes(&entry.name));
        add("secs", entry.seconds.map(|seconds| format!("{seconds:.6}")));
        if matches!(entry.what, What::Transfer { .. }) {
            // SCR counts bytes in floating point, and those who read its log expect it.
            add("bytes", entry.bytes.map(|n| format!("{n}.000000")));
            add("files", entry.files.map(|n| n.to_string()));
        }
        text.push('\n');
        text
    }

    /// Reads a line; `None` for one that is torn, or none of SCR's.
    pub(crate) fn read(text: &str, zone: &TimeZone) -> Option<Self> {
        let (when, rest) = text.trim_end().split_once(": ")?;
        let unix_seconds = time::parse(when, zone).ok()?;
        let (mut host, mut job_id, mut kind, mut transfer) = (None, None, None, None);
        let (mut from, mut to) = (None, None);
        let mut entry = Entry::event("");
        for (key, value) in fields(rest) {
            let text = || Some(value.to_string());
            match key {
                "host" => host = text(),
                "jobid" => job_id = text(),
                "event" => kind = text(),
                "xfer" => transfer = text(),
                "from" => from = text(),
                "to" => to = text(),
                "note" => entry.note = text(),
                "name" => entry.name = text(),
                "dset" => entry.dataset = Some(value.parse().ok()?),
                "secs" => entry.seconds = Some(value.parse().ok()?),
                "bytes" => entry.bytes = Some(value.parse::<f64>().ok()? as u64),
                "files" => entry.files = Some(value.parse().ok()?),
                "procs" => entry.ranks = Some(value.parse().ok()?),
                "nodes" => entry.nodes = Some(value.parse().ok()?),
                _ => {}
            }
        }
        entry.what = match (kind, transfer) {
            (Some(kind), _) => What::Event(kind),
            (None, kind) => What::Transfer { kind: kind?, from, to },
        };
        Some(Self { unix_seconds, host: host?, job_id: job_id?, entry })
    }
}

/// What a line may have.
const KEYS: [&str; 14] = [
    "host", "jobid", "event", "xfer", "from", "to", "note", "dset", "name", "secs", "bytes",
    "files", "procs", "nodes",
];

/// The fields of a line. SCR lets commas and quotes stand in notes and paths, so these end only where a field begins that
/// we know.
fn fields(mut text: &str) -> Vec<(&str, &str)> {
    let mut fields = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let is_quoted = rest.starts_with('"');
        let is_free = is_quoted || matches!(key, "from" | "to");
        let mut ends = rest.match_indices(", ").map(|(at, _)| at);
        let end = ends.find(|&at| {
            let is_closed = !is_quoted || (at > 1 && rest[..at].ends_with('"'));
            let next = rest[at + 2..].split_once('=').map(|(key, _)| key);
            let begins = |next: &str| {
                KEYS.contains(&next) || (!is_free && next.bytes().all(|b| b.is_ascii_lowercase()))
            };
            is_closed && next.is_some_and(begins)
        });
        let end = end.unwrap_or(rest.len());
        let value = &rest[..end];
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        fields.push((key, value));
        text = rest.get(end + 2..).unwrap_or_default();
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::ErrorKind;

    fn line(entry: Entry) -> Line {
        Line { unix_seconds: 1_704_164_645, host: "n1".into(), job_id: "42".into(), entry }
    }

    fn samples() -> Vec<(Entry, &'static str)> {
        let transfer = |from: Option<&str>, to: Option<&str>| What::Transfer {
            kind: "FLUSH_SYNC".into(),
            from: from.map(str::to_string),
            to: to.map(str::to_string),
        };
        vec![
            (
                Entry { ranks: Some(8), nodes: Some(4), ..Entry::event("START") },
                "event=START, procs=8, nodes=4",
            ),
            (Entry::run_start(2), "event=RUN_START, note=\"run=2\""),
            (
                Entry::run_end(2, &RunEnd::Failure("exit status 3".into()), 1.5),
                "event=RUN_END, note=\"run=2: failure, exit status 3\", secs=1.500000",
            ),
            (Entry::node_fail("n2", "no answer"), "event=NODE_FAIL, note=\"n2: no answer\""),
            (
                Entry::scavenge_start(3, Some("ckpt.3")),
                "event=SCAVENGE_START, dset=3, name=\"ckpt.3\"",
            ),
            (
                Entry::scavenge_end(3, None, 0.25, Some("no space")),
                "event=SCAVENGE_END, note=\"failed: no space\", dset=3, secs=0.250000",
            ),
            (
                Entry {
                    dataset: Some(3),
                    name: Some("ckpt.3".into()),
                    seconds: Some(1.5),
                    bytes: Some(4096),
                    files: Some(4),
                    ..Entry::of(transfer(Some("/dev/shm"), Some("/p")))
                },
                "xfer=FLUSH_SYNC, from=/dev/shm, to=/p, dset=3, name=\"ckpt.3\", secs=1.500000, \
                 bytes=4096.000000, files=4",
            ),
            (Entry::of(transfer(None, None)), "xfer=FLUSH_SYNC"),
        ]
    }

    #[test]
    fn lines_are_those_of_scr_and_are_read_back() {
        for (entry, expected) in samples() {
            let line = line(entry);
            let text = line.write(&TimeZone::UTC);
            assert_eq!(text, format!("2024-01-02T03:04:05: host=n1, jobid=42, {expected}\n"));
            assert_eq!(Line::read(&text, &TimeZone::UTC), Some(line), "{text}");
        }
    }

    #[test]
    fn nothing_breaks_a_line() {
        let mut hostile = Entry::node_fail("n2", "it said \"no\"\nevent=START, dset=9");
        hostile.what = What::Event("A\nB, dset=7".into());
        let text = line(hostile).write(&TimeZone::UTC);
        assert_eq!(text.matches('\n').count(), 1);
        let read = Line::read(&text, &TimeZone::UTC).unwrap();
        assert_eq!(read.entry.what, What::Event("A_B_ dset=7".into()));
        assert_eq!(read.entry.note.unwrap(), "n2: it said 'no' event=START, dset=9");
    }

    #[test]
    fn what_scr_leaves_unquoted_is_read() {
        let head = "2024-01-02T03:04:05: host=n1, jobid=42, ";
        let cases = [
            ("xfer=FETCH, from=/a, b/c, to=/d", Some(("FETCH", None))),
            (
                "event=X, note=\"say \"a, b\" twice\", secs=2.0",
                Some(("X", Some("say \"a, b\" twice"))),
            ),
            ("event=X, note=\"\"", Some(("X", Some("")))),
            ("event=X, new=1", Some(("X", None))),
            ("note=\"neither\"", None),
            ("event=X, secs=1.2.3", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = Line::read(&format!("{head}{text}"), &TimeZone::UTC);
            let read = read.map(|line| {
                let kind = match line.entry.what {
                    What::Event(kind) | What::Transfer { kind, .. } => kind,
                };
                (kind, line.entry.note)
            });
            let expected =
                expected.map(|(kind, note)| (kind.to_string(), note.map(str::to_string)));
            assert_eq!(read, expected, "{text}");
        }
        for torn in ["", "2024-01-02T03:04:05", "2024-01-02T03:04:05: host=n1", "event=START"] {
            assert_eq!(Line::read(torn, &TimeZone::UTC), None, "{torn}");
        }
    }

    #[test]
    fn ends_of_runs_are_read_back() {
        for end in [
            RunEnd::Success,
            RunEnd::Failure("signal 9".into()),
            RunEnd::Stopped("halt requested: JOB_HALTED".into()),
        ] {
            let note = Entry::run_end(1, &end, 0.0).note.unwrap();
            assert_eq!(RunEnd::from_note(&note), Some(end), "{note}");
        }
        for other in ["run=1", "run=1: whatever", "success", ""] {
            assert_eq!(RunEnd::from_note(other), None, "{other}");
        }
    }

    #[test]
    fn lines_are_appended_and_no_prefix_is_made_up() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::new(&Prefix::new(place.path(), None), None);
        log.append(0, Entry::run_start(1)).unwrap();
        log.append(60, Entry::run_start(2)).unwrap();
        let text = String::from_utf8(store().read(&log.path()).unwrap()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| Line::read(line, &log.zone).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[1].unix_seconds, lines[1].job_id.as_str()), (60, "defjobid"));

        let nowhere = Log::new(&Prefix::new(&place.path().join("nowhere"), None), Some("1"));
        let error = nowhere.append(0, Entry::run_start(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
