// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asking other programs, with an end to the patience: a scheduler that does not answer must not hold us.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use scr_core::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the variables begin with by which users choose what commands of Slurm show.
const TASTES: [&str; 4] = ["SQUEUE_", "SINFO_", "SCONTROL_", "SLURM_TIME_FORMAT"];

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such program; [`ErrorKind::Refused`] when it fails, with what it said, or does
/// not end within `limit`; it is killed then.
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
    let has_ended = ends_within(child.id().cast_signed(), limit);
    if !has_ended {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    if !has_ended {
        let text = format!("{} did not answer within {} s", shown(argv), limit.as_secs_f64());
        return Err(Error::new(ErrorKind::Refused, text));
    }
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if status.success() {
        return Ok(out);
    }
    let said = if err.trim().is_empty() { &out } else { &err };
    let text = format!("{} failed ({status}): {}", shown(argv), said.trim());
    Err(Error::new(ErrorKind::Refused, text))
}

/// Whether there is a program of this name to ask.
pub(crate) fn is_there(program: &str) -> bool {
    let path = crate::environment::variable("PATH").unwrap_or_default();
    path.split(':').any(|dir| crate::files::store().metadata(&Path::new(dir).join(program)).is_ok())
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

/// Waits for a child's end without taking leave of it.
fn ends_within(pid: i32, limit: Duration) -> bool {
    let Some(descriptor) =
        Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return true;
    };
    let limit =
        Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
    loop {
        match poll(&mut descriptors, Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            ended => return ended != Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_failures_and_silence_are_told_apart() {
        let second = Duration::from_secs(1);
        assert_eq!(ask(&["echo", "a b"], 20 * second).unwrap(), "a b\n");
        let failed = ask(&["sh", "-c", "echo why >&2; exit 3"], 20 * second).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Refused);
        assert!(failed.to_string().contains("why"), "{failed}");
        let silent = ask(&["sleep", "1000"], second / 10).unwrap_err();
        assert!(silent.to_string().contains("did not answer"), "{silent}");
        let missing = ask(&["/no/such/program"], second).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
