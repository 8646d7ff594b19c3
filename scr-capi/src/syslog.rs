// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCR's log in syslog, and what the system knows of local time.
//!
//! Not by `syslog` of the C library: that shares its connection and name with the application, and waits where the daemon
//! does not read. A datagram that cannot be delivered at once is lost instead.
#![expect(unsafe_code, reason = "local time of the C library")]

use scr_core::event::scr_log::{Author, Civil, UtcOffset, lines};
use scr_core::event::{Event, Sink};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where the daemon listens.
const DEVICE: &str = "/dev/log";

/// Facility local7, level info, as SCR has it.
const PRIORITY: u32 = (23 << 3) | 6;

/// The longest message that every daemon takes.
const MOST_BYTES: usize = 1024;

/// Sends the lines that SCR has for each event; one rank of a job has one.
#[derive(Debug)]
pub(crate) struct Syslog {
    socket: UnixDatagram,
    device: PathBuf,
    author: Author,
    offset: UtcOffset,
}

impl Syslog {
    /// Syslog of this machine; `None` where there are no sockets left.
    pub(crate) fn new(author: Author) -> Option<Self> {
        Self::at(DEVICE.into(), author, utc_offset)
    }

    fn at(device: PathBuf, author: Author, offset: UtcOffset) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, device, author, offset })
    }
}

impl Sink for Syslog {
    fn tell(&self, event: &Event) {
        for line in lines(event, &self.author) {
            let time = stamp(&Civil::at(line.unix_seconds, self.offset));
            let text = line.in_syslog(&self.author);
            let mut message = format!("<{PRIORITY}>{time} SCR[{}]: {text}", std::process::id());
            message.truncate(message.floor_char_boundary(MOST_BYTES));
            // Nobody may listen, and it is not for us to wait.
            let _ = self.socket.send_to(message.as_bytes(), &self.device);
        }
    }
}

/// A time as daemons expect it: `Jan  2 03:04:05`.
fn stamp(time: &Civil) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { month, day, clock: (hour, minute, second), .. } = time;
    let month = MONTHS.get(*month as usize - 1).unwrap_or(&"Jan");
    format!("{month} {day:2} {hour:02}:{minute:02}:{second:02}")
}

/// How many seconds local time is ahead of UTC; 0 where the system does not know.
pub(crate) fn utc_offset(unix_seconds: u64) -> i64 {
    let Ok(time) = libc::time_t::try_from(unix_seconds) else { return 0 };
    let mut broken = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: a time, and room for the result.
    let found = unsafe { libc::localtime_r(&raw const time, broken.as_mut_ptr()) };
    if found.is_null() {
        return 0;
    }
    // SAFETY: zeroed, which is a `tm`, and then filled in.
    unsafe { broken.assume_init() }.tm_gmtoff
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::event::{EventKind, Level};

    fn event(kind: EventKind, name: &str) -> Event {
        Event {
            unix_seconds: 1_704_164_645.5,
            kind,
            level: Level::Note,
            text: String::new(),
            dataset: None,
            name: Some(scr_core::id::DatasetName::new(name)),
            seconds: None,
            bytes: None,
            files: None,
            from: None,
            to: None,
            note: None,
            launch: None,
        }
    }

    #[test]
    fn messages_are_those_of_scr_and_nobody_needs_to_listen() {
        let place = tempfile::tempdir().expect("a directory");
        let device = place.path().join("log");
        let [host, job_id, user] = ["n7", "4711", "ann"].map(str::to_string);
        let [prefix, cache] = ["/p", "/dev/shm"].map(str::to_string);
        let author = Author { host, job_id, user, prefix, cache };
        let syslog = Syslog::at(device.clone(), author, |_| 3_600).expect("a socket");
        let start = event(EventKind::CheckpointStart, "a");
        syslog.tell(&start);

        let daemon = UnixDatagram::bind(&device).expect("a daemon");
        let next = || {
            let mut buffer = [0; 4096];
            let length = daemon.recv(&mut buffer).expect("a message");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        syslog.tell(&start);
        let id = std::process::id();
        assert_eq!(
            next(),
            format!(
                "<190>Jan  2 04:04:05 SCR[{id}]: user=ann, jobid=4711, prefix=/p, event=CHECKPOINT_START, name=\"a\""
            )
        );
        syslog.tell(&event(EventKind::Message, "no word of SCR's"));
        syslog.tell(&event(EventKind::CheckpointStart, &"\u{fc}".repeat(2000)));
        let long = next();
        assert!(long.len() >= MOST_BYTES - 1 && long.len() <= MOST_BYTES, "{}", long.len());
        assert!(!long.contains('\u{fffd}'), "cut within a character");

        // A daemon that does not read keeps nobody waiting.
        (0..10_000).for_each(|_| syslog.tell(&start));
    }

    #[test]
    fn local_time_is_near_utc() {
        for unix_seconds in [0, 1_704_164_645, u64::MAX] {
            assert!(utc_offset(unix_seconds).abs() <= 26 * 3_600);
        }
    }
}
