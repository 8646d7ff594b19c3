// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr run` with programs that write checkpoints: a command of its own for restarts, and tasks that share a prefix.

use scr_tests::program::{OPEN_MPI, Program, launcher, scr};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The ranks of a job, each on a virtual node of its own.
const RANKS: &str = "3";

/// The application of the cluster tests, which verifies what it restarts from and fails where it is told to.
struct Place(Program);

impl Place {
    fn new() -> Self {
        let place = Self(Program::compile("tests/cluster/app.c"));
        for directory in ["a", "b"] {
            fs::create_dir(place.log(directory)).expect("a directory for logs");
        }
        place
    }

    /// The logs of a task.
    fn log(&self, task: &str) -> PathBuf {
        self.0.place().join(format!("log.{task}"))
    }

    /// Runs a command in the prefix, with nothing of the surroundings that would change what it does.
    fn scr(&self, words: &[&str], task: Option<&str>) -> Output {
        let mut command = Command::new("timeout");
        command.arg("60").arg(scr()).args(words).current_dir(self.0.place());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SCR_") {
                command.env_remove(name);
            }
        }
        command.envs(task.map(|task| ("SCR_TASK", task))).envs(OPEN_MPI);
        command.env("LD_LIBRARY_PATH", self.0.place()).env("SCR_RELAUNCH_SECONDS", "0.1");
        command.env("XDG_RUNTIME_DIR", self.0.place().join("runs"));
        command.envs([("SCR_CACHE_BYPASS", "0"), ("SCR_FLUSH", "0"), ("SCR_JOB_ID", "7")]);
        command.output().expect("timeout")
    }

    /// Runs a command, expects an exit status, and returns what it said.
    fn expect(&self, code: i32, words: &[&str], task: Option<&str>) -> String {
        let output = self.scr(words, task);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        said
    }

    /// The words of the application, up to `steps`.
    fn application(&self, task: &str, steps: u32) -> Vec<String> {
        let program = self.0.exe().display().to_string();
        let log = format!("log={}", self.log(task).display());
        vec![program, log, "every=1".into(), format!("steps={steps}"), format!("dir=files.{task}")]
    }

    /// What rank 0 of a task restarted from, launch by launch.
    fn restarts(&self, task: &str) -> Vec<String> {
        let log = fs::read_to_string(self.log(task).join("log.0")).expect("a log");
        let steps = log.lines().filter_map(|line| line.strip_prefix("RESTART "));
        steps.map(String::from).collect()
    }
}

#[test]
fn a_restart_has_a_command_of_its_own() {
    let place = Place::new();
    let said = place.log("a").join("said");
    let first = format!("{} fail=exit at=5 rank=1", place.application("a", 8).join(" "));
    let again = place.application("a", 8).join(" ");
    let restart = format!("sh -c 'echo SCR_CKPT_NAME >>{}; exec {again}'", said.display());
    let launcher = launcher().to_string_lossy().into_owned();
    let line = ["run", "--nodes", RANKS, "--runs", "2", &launcher, "-n", RANKS];
    // As in SCR, behind the launcher; ours would be before it, with a blank instead of the `=`.
    let (first, restart) = (format!("--run-cmd={first}"), format!("-rs={restart}"));
    let printed = place.expect(0, &[&line[..], &[&first, &restart]].concat(), None);
    assert!(printed.contains("restarting from ckpt.4"), "{printed}");
    assert_eq!(fs::read_to_string(said).expect("names"), "ckpt.4\n".repeat(3), "{printed}");
    assert_eq!(place.restarts("a"), ["0 0", "4 1"], "{printed}");

    // What only looks like it is the program's.
    let line = ["run", &launcher, "-n", "1", "--", "sh", "-c", "echo $1", "sh", "--run-cmd"];
    let printed = place.expect(0, &line, None);
    assert!(printed.contains("--run-cmd"), "{printed}");
    let line = ["run", "--run-cmd", "echo 'all of' it", "env", "SCR_CKPT_NAME=x"];
    assert!(place.expect(0, &line, None).contains("all of it"));
    let printed = place.expect(2, &["run", "--restart-cmd", "./b", &launcher, "-n", "1"], None);
    assert!(printed.contains("--restart-cmd needs --run-cmd"), "{printed}");
}

#[test]
fn tasks_that_share_a_prefix_are_told_apart() {
    let place = Place::new();
    let launcher = launcher().to_string_lossy().into_owned();
    let run = |code: i32, task: &str, more: &[&str]| {
        let application = place.application(task, 6);
        let mut line = vec!["run", "--nodes", RANKS, &launcher, "-n", RANKS];
        line.extend(application.iter().map(String::as_str));
        line.extend(more);
        place.expect(code, &line, Some(task))
    };
    // Each fails for good; what is only in its caches must reach its records, not those of the other.
    let said = run(3, "a", &["fail=exit", "at=5", "rank=1"]);
    assert!(said.contains("saved dataset 4 (ckpt.4)"), "{said}");
    let said = run(3, "b", &["fail=exit", "at=4", "rank=1"]);
    assert!(said.contains("saved dataset 3 (ckpt.3)"), "{said}");
    for (task, restart) in [(Some("a"), "ckpt.4"), (Some("b"), "ckpt.3")] {
        assert_eq!(place.expect(0, &["have-restart"], task).trim(), restart);
        assert!(place.expect(0, &["index"], task).contains(restart));
        assert!(place.expect(0, &["verify"], task).contains(restart));
    }
    place.expect(1, &["have-restart"], None);

    place.expect(0, &["halt"], Some("a"));
    run(75, "a", &[]);
    run(0, "b", &[]);
    place.expect(0, &["halt", "--remove"], Some("a"));
    run(0, "a", &[]);
    assert_eq!(place.restarts("a"), ["0 0", "4 1"]);
    assert_eq!(place.restarts("b"), ["0 0", "3 1"]);
}
