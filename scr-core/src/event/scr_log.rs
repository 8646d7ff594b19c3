// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines of SCR's log: which events it has, and how it writes them. Pure.
//!
//! An event is `event=CHECKPOINT_END, note="/dev/shm", dset=3, name="ckpt.3", secs=0.250000`; where bytes were moved a line
//! `xfer=CHECKPOINT, from=..., to=..., dset=3, name="ckpt.3", secs=0.250000, bytes=1048576.000000, files=4` follows, which
//! has the time at which that began. What SCR has no word for has no line. Programs take these lines apart at `, ` and at
//! quotation marks, so a text keeps neither marks nor line breaks of its own.

use super::{Event, EventKind, Launch};
use std::fmt::Write;

/// What every line says of who wrote it, and what events leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The node.
    pub host: String,
    /// The allocation.
    pub job_id: String,
    /// Who runs it.
    pub user: String,
    /// The prefix.
    pub prefix: String,
    /// Where the cache of this node is.
    pub cache: String,
}

/// One line, before it is known where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The time it has, in seconds since 1970.
    pub unix_seconds: u64,
    /// From `event=` or `xfer=` on.
    pub fields: String,
}

/// How many seconds local time is ahead of UTC at a time in seconds since 1970.
pub type UtcOffset = fn(u64) -> i64;

/// The lines that SCR writes for an event, in its order.
pub fn lines(event: &Event, author: &Author) -> Vec<Line> {
    let (name, transfer) = words(event.kind);
    // Blocks of a dataset that were healed are no rebuild of it; a warning is no transfer.
    let is_line = match event.kind {
        EventKind::RebuildSuccess | EventKind::RebuildFail => event.dataset.is_some(),
        _ => true,
    };
    let moved = event.bytes.is_some() && event.seconds.is_some();
    let mut lines = Vec::new();
    if let Some(name) = name.filter(|_| is_line) {
        let unix_seconds = event.unix_seconds as u64;
        lines.push(Line { unix_seconds, fields: event_fields(name, event) });
    }
    if let Some(transfer) = transfer.filter(|_| moved) {
        let began = event.unix_seconds - event.seconds.unwrap_or(0.0);
        let fields = transfer_fields(transfer, event, author);
        lines.push(Line { unix_seconds: began.max(0.0) as u64, fields });
    }
    lines
}

/// SCR's words for a kind of event: as an event, and as a transfer.
fn words(kind: EventKind) -> (Option<&'static str>, Option<&'static str>) {
    use EventKind as Kind;
    match kind {
        Kind::Start => (Some("START"), None),
        Kind::ComputeStart => (Some("COMPUTE_START"), None),
        Kind::ComputeEnd => (Some("COMPUTE_END"), None),
        Kind::CheckpointStart => (Some("CHECKPOINT_START"), None),
        Kind::CheckpointEnd => (Some("CHECKPOINT_END"), Some("CHECKPOINT")),
        Kind::OutputStart => (Some("OUTPUT_START"), None),
        Kind::OutputEnd => (Some("OUTPUT_END"), Some("OUTPUT")),
        Kind::Write => (None, Some("WRITE")),
        Kind::Encode => (None, Some("ENCODE")),
        Kind::RebuildStart => (Some("REBUILD_START"), None),
        Kind::RebuildSuccess => (Some("REBUILD_SUCCESS"), None),
        Kind::RebuildFail => (Some("REBUILD_FAIL"), None),
        Kind::RestartSuccess => (Some("RESTART_SUCCESS"), None),
        Kind::RestartFail => (Some("RESTART_FAIL"), None),
        Kind::FlushStart => (Some("FLUSH_START"), None),
        Kind::FlushSuccess => (Some("FLUSH_SUCCESS"), Some("FLUSH_SYNC")),
        Kind::FlushFail => (Some("FLUSH_FAIL"), None),
        Kind::AsyncFlushStart => (Some("ASYNC_FLUSH_START"), None),
        Kind::AsyncFlushSuccess => (Some("ASYNC_FLUSH_SUCCESS"), Some("FLUSH_ASYNC")),
        Kind::AsyncFlushFail => (Some("ASYNC_FLUSH_FAIL"), None),
        Kind::FetchStart => (Some("FETCH_START"), None),
        Kind::FetchSuccess => (Some("FETCH_SUCCESS"), Some("FETCH")),
        Kind::FetchFail => (Some("FETCH_FAIL"), None),
        // That the application came to its end is a halt like others, with a reason of its own.
        Kind::Halt | Kind::Finalize => (Some("HALT"), None),
        Kind::Evict | Kind::Decision | Kind::Message => (None, None),
    }
}

fn event_fields(name: &str, event: &Event) -> String {
    let mut fields = format!("event={name}");
    // Writing to a string cannot fail, here and below.
    if let Some(Launch { ranks, nodes, .. }) = &event.launch {
        let _ = write!(fields, ", procs={ranks}, nodes={nodes}");
    }
    // Of a failure one wants to know why.
    let why = event.note.as_ref().or(name.ends_with("_FAIL").then_some(&event.text));
    if let Some(note) = why {
        let _ = write!(fields, ", note=\"{}\"", plain(note));
    }
    push_dataset(&mut fields, event);
    if let Some(seconds) = event.seconds {
        let _ = write!(fields, ", secs={seconds:.6}");
    }
    fields
}

fn transfer_fields(name: &str, event: &Event, author: &Author) -> String {
    let (cache, prefix) = (&author.cache, &author.prefix);
    let (from, to) = match event.kind {
        EventKind::FlushSuccess | EventKind::AsyncFlushSuccess => (cache, prefix),
        EventKind::FetchSuccess => (prefix, cache),
        _ => (cache, cache),
    };
    let (from, to) = (event.from.as_ref().unwrap_or(from), event.to.as_ref().unwrap_or(to));
    let mut fields = format!("xfer={name}, from={}, to={}", plain(from), plain(to));
    push_dataset(&mut fields, event);
    if let Some(seconds) = event.seconds {
        let _ = write!(fields, ", secs={seconds:.6}");
    }
    if let Some(bytes) = event.bytes {
        let _ = write!(fields, ", bytes={bytes}.000000");
    }
    if let Some(files) = event.files {
        let _ = write!(fields, ", files={files}");
    }
    fields
}

fn push_dataset(fields: &mut String, event: &Event) {
    if let Some(id) = event.dataset {
        let _ = write!(fields, ", dset={id}");
    }
    if let Some(name) = &event.name {
        let _ = write!(fields, ", name=\"{}\"", plain(name.as_str()));
    }
}

/// A text without what would end it, or its line.
fn plain(text: &str) -> String {
    let keep = |c: char| match c {
        '"' => '\'',
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().map(keep).collect()
}

impl Line {
    /// As it stands in `.scr/log`, with its end.
    pub fn in_file(&self, author: &Author, offset: UtcOffset) -> String {
        let time = Civil::at(self.unix_seconds, offset);
        let (host, job_id) = (plain(&author.host), plain(&author.job_id));
        format!("{}: host={host}, jobid={job_id}, {}\n", time.iso(), self.fields)
    }

    /// As syslog gets it.
    pub fn in_syslog(&self, author: &Author) -> String {
        let Author { user, job_id, prefix, .. } = author;
        let [user, job_id, prefix] = [user, job_id, prefix].map(|text| plain(text));
        format!("user={user}, jobid={job_id}, prefix={prefix}, {}", self.fields)
    }
}

/// A time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: u32,
    /// The day of the month, from 1.
    pub day: u32,
    /// Hours, minutes and seconds.
    pub clock: (u32, u32, u32),
}

impl Civil {
    /// The local time `unix_seconds` after the beginning of 1970.
    pub fn at(unix_seconds: u64, offset: UtcOffset) -> Self {
        let utc = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
        let local = utc.saturating_add(offset(unix_seconds));
        let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400) as u32);
        // Years that begin in March have their leap day at the end, and eras of 400 of them have equally many days.
        let from_march_0000 = days + 719_468;
        let (era, day) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let is_next = i64::from(month >= 10);
        Self {
            year: era * 400 + year + is_next,
            month: (month + 3 - 12 * is_next) as u32,
            day: (day - (153 * month + 2) / 5 + 1) as u32,
            clock: (second / 3_600, second / 60 % 60, second % 60),
        }
    }

    /// As in `2024-01-02T03:04:05`.
    pub fn iso(&self) -> String {
        let Self { year, month, day, clock: (hour, minute, second) } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;
    use crate::host::Host;
    use crate::id::{DatasetId, DatasetName, JobId, UserName};
    use crate::store::mem::Mem;

    fn event(kind: EventKind) -> Event {
        let mem = Mem::new();
        let mut event = Host::in_memory("n0", &mem, &mem).event(kind, Level::Note, "in words");
        event.unix_seconds = 1_704_164_645.5;
        event
    }

    fn author() -> Author {
        let [host, job_id, user] = ["n7", "4711", "ann"].map(str::to_string);
        let [prefix, cache] = ["/p", "/dev/shm"].map(str::to_string);
        Author { host, job_id, user, prefix, cache }
    }

    fn said(event: &Event) -> Vec<String> {
        lines(event, &author()).into_iter().map(|line| line.fields).collect()
    }

    #[test]
    fn lines_are_those_of_scr() {
        let mut end = event(EventKind::CheckpointEnd);
        (end.dataset, end.name) = (Some(DatasetId(3)), Some(DatasetName::new("ckpt.3")));
        (end.seconds, end.bytes, end.files) = (Some(2.25), Some(1 << 20), Some(4));
        (end.note, end.to) = (Some("/dev/shm".into()), Some("/dev/shm/d".into()));
        let lines = lines(&end, &author());
        let written: Vec<_> = lines.iter().map(|line| line.in_file(&author(), |_| 0)).collect();
        assert_eq!(
            written,
            [
                "2024-01-02T03:04:05: host=n7, jobid=4711, event=CHECKPOINT_END, note=\"/dev/shm\", dset=3, name=\"ckpt.3\", secs=2.250000\n",
                "2024-01-02T03:04:03: host=n7, jobid=4711, xfer=CHECKPOINT, from=/dev/shm, to=/dev/shm/d, dset=3, name=\"ckpt.3\", secs=2.250000, bytes=1048576.000000, files=4\n",
            ]
        );
        assert_eq!(
            lines[0].in_syslog(&author()),
            "user=ann, jobid=4711, prefix=/p, event=CHECKPOINT_END, note=\"/dev/shm\", dset=3, name=\"ckpt.3\", secs=2.250000"
        );
    }

    #[test]
    fn a_start_counts_processes_and_nodes() {
        let mut start = event(EventKind::Start);
        let (job_id, user) = (JobId::new("4711"), UserName::new("ann"));
        let (job_name, cluster) = (Some("heat".into()), None);
        start.launch = Some(Launch { ranks: 8, nodes: 2, job_id, user, job_name, cluster });
        assert_eq!(said(&start), ["event=START, procs=8, nodes=2"]);
    }

    #[test]
    fn transfers_are_those_that_were_measured() {
        for (kind, expected) in [
            (EventKind::Write, "xfer=WRITE, from=/dev/shm, to=/dev/shm"),
            (EventKind::Encode, "xfer=ENCODE, from=/dev/shm, to=/dev/shm"),
            (EventKind::FlushSuccess, "xfer=FLUSH_SYNC, from=/dev/shm, to=/p"),
            (EventKind::FetchSuccess, "xfer=FETCH, from=/p, to=/dev/shm"),
            (EventKind::OutputEnd, "xfer=OUTPUT, from=/dev/shm, to=/dev/shm"),
        ] {
            let mut event = event(kind);
            assert!(said(&event).iter().all(|line| line.starts_with("event=")), "{kind:?}");
            (event.seconds, event.bytes) = (Some(0.5), Some(7));
            let expected = format!("{expected}, secs=0.500000, bytes=7.000000");
            assert_eq!(said(&event).last(), Some(&expected), "{kind:?}");
        }
    }

    #[test]
    fn a_failure_says_why_and_a_halt_has_its_word() {
        assert_eq!(said(&event(EventKind::FlushFail)), ["event=FLUSH_FAIL, note=\"in words\""]);
        assert_eq!(said(&event(EventKind::FlushStart)), ["event=FLUSH_START"]);
        let mut halt = event(EventKind::Finalize);
        halt.note = Some("SCR_FINALIZE_CALLED".into());
        assert_eq!(said(&halt), ["event=HALT, note=\"SCR_FINALIZE_CALLED\""]);
        // Healing is told elsewhere; a rebuild is that of a dataset.
        assert_eq!(said(&event(EventKind::RebuildSuccess)), [""; 0]);
    }

    #[test]
    fn no_text_ends_its_field_or_line() {
        let mut event = event(EventKind::CheckpointStart);
        event.name = Some(DatasetName::new("a\", event=START\nx"));
        assert_eq!(said(&event), ["event=CHECKPOINT_START, name=\"a', event=START x\""]);
    }

    #[test]
    fn dates_are_right() {
        for (unix_seconds, offset, expected) in [
            (0, 0, "1970-01-01T00:00:00"),
            (0, -1, "1969-12-31T23:59:59"),
            (951_782_399, 0, "2000-02-28T23:59:59"),
            (951_782_400, 0, "2000-02-29T00:00:00"),
            (951_868_800, 0, "2000-03-01T00:00:00"),
            (1_704_067_199, 3_600, "2024-01-01T00:59:59"),
            (1_735_689_599, 0, "2024-12-31T23:59:59"),
            (4_107_542_400, 0, "2100-03-01T00:00:00"),
        ] {
            let mut civil = Civil::at(unix_seconds, |_| 0);
            if offset == -1 {
                civil = Civil::at(unix_seconds, |_| -1);
            } else if offset == 3_600 {
                civil = Civil::at(unix_seconds, |_| 3_600);
            }
            assert_eq!(civil.iso(), expected);
        }
        let mut days = (0..200 * 366).map(|day| Civil::at(day * 86_400, |_| 0));
        let mut last = days.next().unwrap();
        for day in days {
            let same_month = (last.year, last.month, last.day + 1);
            let next =
                if last.month == 12 { (last.year + 1, 1) } else { (last.year, last.month + 1) };
            let is_first = (day.year, day.month, day.day) == (next.0, next.1, 1);
            assert!((day.year, day.month, day.day) == same_month || is_first && last.day >= 28);
            last = day;
        }
    }
}
