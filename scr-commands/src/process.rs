// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes: who is alive, whose they are, and how they are killed.
//!
//! A pid alone is never trusted: the kernel gives it out again. A process is a pid and the time it started, and a signal
//! goes through a descriptor of the very process that was looked at, where the kernel has those (Linux 5.3).

use crate::run::decide::Status;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use scr_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// One process, told from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    start_ticks: u64,
}

/// Parses `/proc/PID/stat`; the name in parentheses may hold anything, parentheses and blanks included.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let after_name = text.iter().rposition(|&byte| byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&text[after_name..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    // State is field 3 of proc(5), the start time field 22.
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start_ticks })
}

#[expect(clippy::disallowed_methods, reason = "/proc is not a store: this file owns it")]
fn read_proc(pid: i32, what: &str) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/{what}")).ok()
}

/// The process that has this pid now, unless it is dead or waits to be reaped.
pub(crate) fn find(pid: i32) -> Option<Process> {
    let stat = parse_stat(&read_proc(pid, "stat")?)?;
    (!matches!(stat.state, b'Z' | b'X')).then_some(Process { pid, start_ticks: stat.start_ticks })
}

/// This process.
pub(crate) fn this() -> Option<Process> {
    find(std::process::id().cast_signed())
}

impl Process {
    /// Whether it still lives.
    pub(crate) fn is_alive(self) -> bool {
        find(self.pid) == Some(self)
    }

    /// Sends it a signal; `false` when it is gone.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor is of whoever has the pid now; only if it started at the right time is it the one we mean.
            Ok(descriptor) => self.is_alive() && pidfd_send_signal(descriptor, signal).is_ok(),
            Err(Errno::NOSYS) => self.is_alive() && kill_process(pid, signal).is_ok(),
            Err(_) => false,
        }
    }

    /// Sends a signal to the process group that it leads; `false` when it is gone.
    pub(crate) fn signal_group(self, signal: Signal) -> bool {
        // While the leader lives, no other group can have its number.
        self.is_alive()
            && Pid::from_raw(self.pid)
                .is_some_and(|pid| rustix::process::kill_process_group(pid, signal).is_ok())
    }
}

/// The processes, except this one, whose environment has all of these variables, with these values where one is given.
pub(crate) fn with_environment(variables: &[(&str, Option<&str>)]) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let has_all = |pid: i32| {
        read_proc(pid, "environ").is_some_and(|environment| {
            variables.iter().all(|(name, value)| has_variable(&environment, name, *value))
        })
    };
    pids().into_iter().filter(|&pid| pid != own && has_all(pid)).filter_map(find).collect()
}

/// The processes, except this one, of which `is_meant` holds: it gets their environment and arguments, entries ended by NUL.
pub(crate) fn matching(is_meant: &dyn Fn(&[u8], &[u8]) -> bool) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let found = pids().into_iter().filter(|&pid| pid != own).filter_map(|pid| {
        // Who a process is must not change between our looking and our acting: it is found first.
        let process = find(pid)?;
        let (environment, arguments) = (read_proc(pid, "environ")?, read_proc(pid, "cmdline")?);
        is_meant(&environment, &arguments).then_some(process)
    });
    found.collect()
}

/// Whether an environment, entries ended by NUL, has a variable.
pub(crate) fn has_variable(environment: &[u8], name: &str, value: Option<&str>) -> bool {
    let found = value_in(environment, name);
    found.is_some_and(|found| value.is_none_or(|value| found == value.as_bytes()))
}

/// The value of a variable in an environment, entries ended by NUL.
fn value_in<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The value of a variable that a process was started with.
pub(crate) fn variable_of(process: Process, name: &str) -> Option<OsString> {
    let environment = read_proc(process.pid, "environ")?;
    let value = value_in(&environment, name)?.to_vec();
    process.is_alive().then(|| OsString::from_vec(value))
}

/// The working directory of a process.
pub(crate) fn directory_of(process: Process) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{}/cwd", process.pid)).ok()
}

/// Makes what `command` starts die with the thread that starts it.
#[expect(unsafe_code, reason = "the request must be made between fork and exec")]
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let ask = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before the request sends nothing.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: the closure makes two system calls and neither allocates nor takes a lock, so it may run after fork.
    unsafe { command.pre_exec(ask) };
}

/// Starts `command`.
///
/// # Errors
/// [`NotFound`](scr_core::ErrorKind::NotFound) when there is no such program.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|error| Error::io("start", Path::new(command.get_program()), &error))
}

/// How a process ended.
pub(crate) fn status_of(status: ExitStatus) -> Status {
    let signal = status.signal().map(Status::Signal);
    signal.unwrap_or(Status::Code(status.code().unwrap_or(0)))
}

/// All pids there are.
fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_name_is() {
        let rest = "S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4242 1000 1";
        for name in ["app", "my app", "a) R 1", "(x)"] {
            let text = format!("7 ({name}) {rest}");
            let expected = Some(Stat { state: b'S', start_ticks: 4242 });
            assert_eq!(parse_stat(text.as_bytes()), expected, "{name}");
        }
        for bad in ["", "7 (app", "7 (app) S 1 2"] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn variables_are_compared_whole() {
        let environment = b"A=1\0SCR_NODE=node1\0B=\0";
        let cases = [
            ("A", Some("1"), true),
            ("A", Some("11"), false),
            ("A", None, true),
            ("B", Some(""), true),
            ("NODE", None, false),
            ("SCR_NODE", Some("node1"), true),
            ("SCR_NODE", Some("node"), false),
            ("SCR", None, false),
        ];
        for (name, value, expected) in cases {
            assert_eq!(has_variable(environment, name, value), expected, "{name} {value:?}");
        }
    }

    #[test]
    fn a_process_is_not_the_later_one_with_its_pid() {
        let me = this().unwrap();
        assert!(me.is_alive());
        let earlier = Process { start_ticks: me.start_ticks + 1, ..me };
        assert!(!earlier.is_alive());
        assert!(!earlier.signal(Signal::KILL));
        assert!(!earlier.signal_group(Signal::KILL));
    }

    #[test]
    fn processes_are_found_by_their_environment() {
        let value = format!("test-{}", std::process::id());
        let mut child = std::process::Command::new("cat")
            .env("SCR_TEST_MARK", &value)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let found = with_environment(&[("SCR_TEST_MARK", Some(&value))]);
        assert_eq!(found.iter().map(|p| p.pid as u32).collect::<Vec<_>>(), [child.id()]);
        assert!(
            with_environment(&[("SCR_TEST_MARK", Some(&value)), ("SCR_TEST_OTHER", None)])
                .is_empty()
        );
        assert_eq!(variable_of(found[0], "SCR_TEST_MARK"), Some(value.into()));
        assert_eq!(variable_of(found[0], "SCR_TEST"), None);
        assert_eq!(directory_of(found[0]), std::env::current_dir().ok());
        assert!(found[0].signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!found[0].is_alive());
    }
}
