// SPDX-License-Identifier: MIT OR Apache-2.0
//! One launch of an example: what it says, and its end, by itself or by SIGKILL. None of its processes outlives it.
#![expect(clippy::disallowed_methods, reason = "tests look at files and processes from outside")]

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
#[derive(Debug)]
pub struct Launch {
    group: Pid,
    /// What all its processes, and no others, have in their environment.
    mark: String,
    signs: Receiver<Sign>,
    errors: std::path::PathBuf,
}

/// How a launch ended.
#[derive(Debug)]
pub struct End {
    /// All that it printed.
    pub said: String,
    /// Whether it was killed on the way.
    pub was_killed: bool,
    /// Whether it says that all went well.
    pub is_success: bool,
}

impl End {
    /// The line with the result, of a run that ended well.
    ///
    /// # Panics
    /// Where it did not, or there is none.
    pub fn result(&self) -> &str {
        assert!(self.is_success, "{}", self.said);
        let line = self.said.lines().find(|line| line.contains(": final checksum "));
        line.unwrap_or_else(|| panic!("no result:\n{}", self.said))
    }

    /// From which step the run says that it went on.
    ///
    /// # Panics
    /// Where it says nothing of the kind.
    pub fn restart_step(&self) -> u32 {
        let line = self.said.lines().find(|line| line.contains(": restarted from "));
        let line = line.unwrap_or_else(|| panic!("no restart:\n{}", self.said));
        let step = line.split(" at step ").nth(1).and_then(|step| step.trim().parse().ok());
        step.unwrap_or_else(|| panic!("no step in {line:?}"))
    }
}

/// How a program is launched with its cache in a place, and rests for so many milliseconds after each step.
pub type Run<'a> = &'a dyn Fn(&Path, u32) -> Command;

/// Steps of each run.
pub const STEPS: u32 = 12;
/// Steps from one checkpoint to the next.
pub const EVERY: u32 = 2;

/// The run is killed after this many checkpoints, with most of it still to do.
const CHECKPOINTS: usize = 2;

/// What a run that is to be killed rests after each step, so that it is still there when it is killed.
const REST_MS: u32 = 500;

/// Runs a program undisturbed; then killed and once more, which must come to the same.
///
/// # Panics
/// Where it does not.
pub fn kill_and_go_on(run: Run<'_>) {
    let launch = |place: &Path, rest_ms, kill_after| {
        let mut command = run(place, rest_ms);
        command.envs([
            ("SCR_CACHE_BYPASS", "0"),
            ("SCR_CACHE_SIZE", "2"),
            ("SCR_COPY_TYPE", "SINGLE"),
            ("SCR_JOB_ID", "4711"),
        ]);
        Launch::start(command, place).finish(kill_after)
    };

    let undisturbed = tempfile::tempdir().expect("a directory");
    let whole = launch(undisturbed.path(), 0, None);
    let expected = whole.result();
    assert!(expected.ends_with(&format!(" {STEPS}")), "{expected}");
    assert!(!whole.said.contains("restarted from"), "{}", whole.said);

    let disturbed = tempfile::tempdir().expect("a directory");
    let killed = launch(disturbed.path(), REST_MS, Some(CHECKPOINTS));
    assert!(killed.was_killed, "it was to be killed:\n{}", killed.said);
    assert!(!killed.said.contains("final checksum"), "it had ended before:\n{}", killed.said);

    let again = launch(disturbed.path(), 0, None);
    assert!(again.restart_step() >= EVERY * CHECKPOINTS as u32, "{}", again.said);
    assert_eq!(again.result(), expected, "{}", again.said);
}

impl Launch {
    /// Starts `command`, which has its cache in `place`.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(mut command: Command, place: &Path) -> Self {
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
    ///
    /// # Panics
    /// Where it does not end.
    pub fn finish(self, kill_after: Option<usize>) -> End {
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
