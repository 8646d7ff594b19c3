// SPDX-License-Identifier: MIT OR Apache-2.0
//! One launch of an example: what it says, and its end, by itself or by SIGKILL. None of its processes outlives it.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A launch takes seconds; a machine that is busy with other things may take many.
const DEADLINE: Duration = Duration::from_secs(90);

/// What comes from a launch.
enum Sign {
    Line(String),
    End(ExitStatus),
}

/// Whether the program says that a checkpoint is complete.
fn is_checkpoint(line: &str) -> bool {
    line.contains(": step ") && line.contains(" checkpoint ")
}

/// A launch that goes on.
pub(crate) struct Launch {
    group: Pid,
    /// What all its processes, and no others, have in their environment.
    mark: String,
    signs: Receiver<Sign>,
    errors: std::path::PathBuf,
}

/// How a launch ended.
pub(crate) struct End {
    /// All that it printed.
    pub(crate) said: String,
    pub(crate) was_killed: bool,
    pub(crate) is_success: bool,
}

impl Launch {
    /// Starts `command`, which has its cache in `place`.
    pub(crate) fn start(mut command: Command, place: &Path) -> Self {
        // Killed launches leave files behind that they share; here they go with the directory.
        let scratch = place.join("tmp");
        std::fs::create_dir_all(&scratch).expect("a directory");
        let errors = place.join("stderr");
        command
            .env("OMPI_MCA_orte_tmpdir_base", &scratch)
            .env("OMPI_MCA_btl_vader_backing_directory", &scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a file"));
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let group = Pid::from_child(&child);
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, signs) = channel();
        std::thread::spawn(move || {
            // Nobody listens any more after a panic.
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(Sign::Line(line));
            }
            let _ = sender.send(Sign::End(child.wait().expect("wait for the launcher")));
        });
        let mark = format!("SCR_CACHE_BASE={}", place.join("cache").display());
        Self { group, mark, signs, errors }
    }

    /// Follows the launch to its end, or kills it once it has said that so many checkpoints are complete.
    pub(crate) fn finish(self, kill_after: Option<usize>) -> End {
        let (mut said, mut checkpoints, mut was_killed) = (String::new(), 0, false);
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            match self.signs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Sign::Line(line)) => {
                    said += &line;
                    said += "\n";
                    checkpoints += usize::from(is_checkpoint(&line));
                    if !was_killed && kill_after == Some(checkpoints) {
                        was_killed = true;
                        self.kill();
                    }
                }
                Ok(Sign::End(status)) => break status,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{said}"),
                Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for it:\n{said}"),
            }
        };
        said += &std::fs::read_to_string(&self.errors).unwrap_or_default();
        End { said, was_killed, is_success: status.success() }
    }

    /// Kills the launcher and every rank, and returns when they are gone.
    ///
    /// A launcher may give each rank a process group of its own, so the group alone is not enough.
    fn kill(&self) {
        // Those that are gone already need no signal.
        let _ = kill_process_group(self.group, Signal::KILL);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "processes {left:?} cannot be killed");
            for process in left {
                let _ = kill_process(process, Signal::KILL);
            }
            std::thread::yield_now();
        }
    }

    /// The processes of this launch that live.
    fn processes(&self) -> Vec<Pid> {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let has_mark = |id: &i32| {
            std::fs::read(format!("/proc/{id}/environ")).is_ok_and(|environment| {
                environment.split(|&byte| byte == 0).any(|entry| entry == self.mark.as_bytes())
            })
        };
        ids.filter(has_mark).filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        for process in self.processes() {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}
