// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asking other programs, with an end to the patience: a scheduler that does not answer must not hold us.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use scr_core::clock::{Clock, SystemClock};
use scr_core::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the variables begin with by which users choose what commands of Slurm show.
const TASTES: [&str; 4] = ["SQUEUE_", "SINFO_", "SCONTROL_", "SLURM_TIME_FORMAT"];

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such program; [`ErrorKind::Refused`] when it fails, with what it said;
/// [`ErrorKind::Timeout`] when it does not end within `limit`; it is killed then.
pub(crate) fn ask<S: AsRef<OsStr>>(argv: &[S], limit: Duration) -> Result<String> {
    let program = Path::new(argv[0].as_ref());
    let failed = |error: std::io::Error| Error::io("start", program, &error);
    let mut command = Command::new(program);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What a user likes to see must not change what we read; and what a terminal sends to its processes is not for these.
    let is_taste = |name: &&String| TASTES.iter().any(|taste| name.starts_with(taste));
    crate::environment::all().keys().filter(is_taste).for_each(|name| {
        command.env_remove(name);
    });
    command.process_group(0);
    crate::process::die_with_parent(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    // The pipes are emptied meanwhile: who prints much must not wait for us.
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = std::thread::spawn(move || read(out));
    let err = std::thread::spawn(move || read(err));
    let has_ended = ends_within(&mut child, limit).map_err(failed)?;
    if !has_ended {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    if !has_ended {
        let text = format!("{} did not answer within {} s", shown(argv), limit.as_secs_f64());
        return Err(Error::new(ErrorKind::Timeout, text));
    }
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if status.success() {
        return Ok(out);
    }
    let said = if err.trim().is_empty() { &out } else { &err };
    let text = format!("{} failed ({status}): {}", shown(argv), said.trim());
    Err(Error::new(ErrorKind::Refused, text))
}

/// Looks for a program as a shell does: by its path, or in the directories of `PATH`.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::Io`] when it must not be executed.
pub(crate) fn find(program: &OsStr) -> Result<()> {
    let path = crate::environment::variable("PATH").unwrap_or_default();
    let name = Path::new(program);
    let is_path = name.components().count() > 1 || name.is_absolute();
    let places = if is_path { vec![name.into()] } else { candidates(&path, name) };
    let tried = |place: &PathBuf| rustix::fs::access(place, Access::EXEC_OK);
    let mut failures = Vec::new();
    for place in &places {
        match tried(place) {
            Ok(()) if !place.is_dir() => return Ok(()),
            Ok(()) => failures.push(Errno::ACCESS),
            Err(error) => failures.push(error),
        }
    }
    let denied = failures.into_iter().find(|error| *error == Errno::ACCESS);
    Err(Error::io("start", name, &denied.unwrap_or(Errno::NOENT).into()))
}

fn candidates(path: &str, name: &Path) -> Vec<PathBuf> {
    path.split(':').map(|directory| Path::new(directory).join(name)).collect()
}

fn shown<S: AsRef<OsStr>>(argv: &[S]) -> String {
    argv.iter().map(|word| word.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is still what was said.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a child's end.
fn ends_within(child: &mut Child, limit: Duration) -> std::io::Result<bool> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        // Before Linux 5.3 there is nothing to wait for with a limit.
        let clock = SystemClock::default();
        let end = clock.monotonic() + limit;
        while child.try_wait()?.is_none() {
            if clock.monotonic() >= end {
                return Ok(false);
            }
            clock.sleep(Duration::from_millis(10));
        }
        return Ok(true);
    };
    let limit =
        Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
    loop {
        match poll(&mut descriptors, Some(&limit)) {
            Err(Errno::INTR) => {}
            ended => return Ok(ended != Ok(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_by_a_shell() {
        let place = tempfile::tempdir().unwrap();
        let text = place.path().join("text");
        crate::files::store().append(&text, b"no program").unwrap();
        let kind = |name: &OsStr| find(name).map_err(|error| error.kind());
        assert_eq!(kind("sh".as_ref()), Ok(()));
        assert_eq!(kind("/bin/sh".as_ref()), Ok(()));
        assert_eq!(kind("scr-no-such-program".as_ref()), Err(ErrorKind::NotFound));
        assert_eq!(kind("/no/such/program".as_ref()), Err(ErrorKind::NotFound));
        assert_eq!(kind(text.as_ref()), Err(ErrorKind::Io));
        assert_eq!(kind(place.path().as_ref()), Err(ErrorKind::Io));
    }

    #[test]
    fn answers_failures_and_silence_are_told_apart() {
        let second = Duration::from_secs(1);
        assert_eq!(ask(&["echo", "a b"], 20 * second).unwrap(), "a b\n");
        let failed = ask(&["sh", "-c", "echo why >&2; exit 3"], 20 * second).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Refused);
        assert!(failed.to_string().contains("why"), "{failed}");
        let silent = ask(&["sleep", "1000"], second / 10).unwrap_err();
        assert!(silent.to_string().contains("did not answer"), "{silent}");
        assert_eq!(silent.kind(), ErrorKind::Timeout);
        let missing = ask(&["/no/such/program"], second).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
