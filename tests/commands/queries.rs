// SPDX-License-Identifier: MIT OR Apache-2.0
//! What scripts ask, of a prefix and caches that a real job left: two checkpoints on three nodes, and Finalize.

use crate::verify::Place;
use scr_tests::program::{root, scr};
use std::path::Path;
use std::process::{Command, Output};

/// Runs `scr`, or a program by one of SCR's names, with nothing of the surroundings that would change what it does.
fn ask(prefix: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(scr());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("SCR_") || name.starts_with("SLURM_") {
            command.env_remove(&*name);
        }
    }
    command.args(words).current_dir(prefix).output().expect("scr")
}

/// Expects an exit status and what is printed.
fn expect(prefix: &Path, words: &[&str], code: i32, text: &str) {
    let output = ask(prefix, words);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        (output.status.code(), printed.trim_end()),
        (Some(code), text),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_job_that_is_done_is_told_from_one_that_may_go_on() {
    let place = Place::new();
    let prefix = place.heat.place();
    expect(prefix, &["nodes-file", "--dir", "."], 0, "3");
    expect(prefix, &["env", "-r"], 0, "3");
    expect(prefix, &["have-restart"], 0, "heat.20");
    expect(prefix, &["have-restart", "--ranks", "4"], 1, "");
    expect(prefix, &["flush-file", "--list-ckpt"], 0, "2 1");
    expect(prefix, &["flush-file", "--list-ckpt", "--before", "2"], 0, "1");
    expect(prefix, &["flush-file", "--list-output"], 1, "");
    expect(prefix, &["flush-file", "--latest"], 0, "2");
    expect(prefix, &["flush-file", "--location", "2"], 0, "PFS");
    expect(prefix, &["flush-file", "--name", "1"], 0, "heat.10");
    expect(prefix, &["flush-file", "--need-flush", "2"], 1, "");
    expect(prefix, &["flush-file", "--need-flush", "1", "--latest"], 2, "");

    let done = "scr_retries_halt: HALT RUN: Reason: SCR_FINALIZE_CALLED.";
    expect(prefix, &["retries-halt"], 0, done);
    expect(prefix, &["should-exit"], 0, "");
    // Without the end of its work, the job may go on, as long as conditions, launches and nodes allow it.
    std::fs::remove_file(prefix.join(".scr/lease")).expect("the lease");
    expect(
        prefix,
        &["retries-halt"],
        1,
        "scr_retries_halt: CONTINUE RUN: No halt condition holds.",
    );
    expect(prefix, &["should-exit", "--runs", "1"], 1, "");
    expect(
        prefix,
        &["should-exit", "--runs", "0", "-v"],
        0,
        "scr_should_exit: No launches are left.",
    );
    expect(prefix, &["should-exit", "--down", "n1"], 2, "");
    let with_nodes = |words: &[&str], code: i32| {
        let mut command = Command::new(scr());
        let command = command.args(words).current_dir(prefix).env("SCR_NODELIST", "n[1-4]");
        assert_eq!(command.status().expect("scr").code(), Some(code), "{words:?}");
    };
    with_nodes(&["should-exit", "--down", "n1"], 1);
    with_nodes(&["should-exit", "--down", "n[1-2]"], 0);
    with_nodes(&["should-exit", "--down", "n[1-2]", "--min-nodes", "2"], 1);
    with_nodes(&["should-exit", "--down", "n[1-"], 2);

    assert!(ask(prefix, &["halt"]).status.success());
    expect(prefix, &["retries-halt"], 0, "scr_retries_halt: HALT RUN: Reason: JOB_HALTED.");
    let why = "scr_should_exit: Halt condition detected: Reason: JOB_HALTED.";
    expect(prefix, &["should-exit", "-v"], 0, why);
    expect(
        prefix,
        &["should-exit", "--json"],
        0,
        "{\n  \"exit\": true,\n  \"reason\": \"Halt condition detected: Reason: JOB_HALTED.\"\n}",
    );
    std::fs::write(prefix.join(".scr/halt"), "torn").expect("a damaged record");
    assert_eq!(ask(prefix, &["retries-halt"]).status.code(), Some(0));

    // What is in the caches only is seen when they are named.
    std::fs::remove_dir_all(prefix.join(".scr")).expect("the records");
    expect(prefix, &["have-restart"], 1, "");
    expect(prefix, &["nodes-file"], 1, "");
    expect(prefix, &["flush-file", "--latest"], 1, "");
    let cache = place.cache(0);
    let cache = cache.to_str().expect("UTF-8");
    expect(prefix, &["flush-file", "--cache", cache, "--list-ckpt"], 0, "2 1");
    expect(prefix, &["flush-file", "--cache", cache, "--need-flush", "2"], 0, "");
    expect(prefix, &["flush-file", "--cache", cache, "--location", "2"], 0, "CACHE");
}

#[test]
fn the_log_of_a_job_says_what_checkpoints_cost() {
    let place = Place::new();
    let prefix = place.heat.place();
    let output = ask(prefix, &["ckpt-interval"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    let output = ask(prefix, &["ckpt-interval", "--mtbf", "86400", "--json"]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(
        printed.contains("\"checkpoints\": 2") && printed.contains("\"flushes\": 2"),
        "{printed}"
    );
    let output = ask(prefix, &["ckpt-interval", "--mtbf", "86400"]);
    let seconds: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert!(seconds > 0);
}

#[test]
fn lines_of_scripts_come_after_those_of_the_job() {
    let place = tempfile::tempdir().expect("a prefix");
    let (prefix, log) = (place.path(), place.path().join(".scr/log"));
    let line = |when: u64, what: &[&str]| {
        let when = when.to_string();
        let words = [&["log-event", "-i", "7", "-S", &when, "-T"], what].concat();
        assert!(ask(prefix, &words).status.success(), "{what:?}");
    };
    line(1000, &["START"]);
    line(1100, &["CHECKPOINT_END", "-D", "1", "-L", "2"]);
    line(1200, &["NODE_FAIL", "-N", "n2: no answer"]);
    line(1300, &["START"]);
    line(1400, &["HALT", "-N", "SCR_FINALIZE_CALLED"]);
    let words = ["log-transfer", "-T", "FLUSH_SYNC", "-D", "1", "-L", "8", "-B", "4096", "-F", "1"];
    assert!(ask(prefix, &words).status.success());
    assert_eq!(std::fs::read_to_string(&log).expect("the log").lines().count(), 6);
    // 2 + 8 seconds for a checkpoint, one failure in 100 + 100 seconds: sqrt(2 * 10 * 200) = 63.2.
    expect(prefix, &["ckpt-interval", "--model", "young"], 0, "63");
    let logfile = log.to_str().expect("UTF-8");
    expect(prefix, &["ckpt-interval", "--model", "young", "--logfile", logfile], 0, "63");
    expect(prefix, &["ckpt-interval", "--logfile", "nowhere"], 65, "");

    let mut off = Command::new(scr());
    off.args(["log-event", "-T", "X"]).current_dir(prefix).env("SCR_LOG_ENABLE", "0");
    assert!(off.status().expect("scr").success());
    assert_eq!(std::fs::read_to_string(&log).expect("the log").lines().count(), 6);
    assert_eq!(ask(prefix, &["log-event", "-p", "nowhere", "-T", "X"]).status.code(), Some(65));
    assert_eq!(ask(prefix, &["log-event"]).status.code(), Some(2));
}

#[test]
fn what_scr_3_left_can_be_restarted_from() {
    expect(&root().join("tests/data/scr3/prefix"), &["have-restart"], 0, "ckpt.6");
}

#[test]
fn lists_of_nodes_are_reckoned_with_by_the_name_of_scr() {
    let place = tempfile::tempdir().expect("a place");
    let name = place.path().join("scr_hostlist");
    std::os::unix::fs::symlink(scr(), &name).expect("a link");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["n1,n2,n3,n5"], 0, "n[1-3,5]\n"),
        (&["--expand", "n[1-3]"], 0, "n1,n2,n3\n"),
        (&["-e", "-d", "\\n", "n[1-2]"], 0, "n1\nn2\n"),
        (&["-m", "n[1-6]", "n3", "n5"], 0, "n[1-2,4,6]\n"),
        (&["-n", "-1", "n[1-6]"], 0, "n6\n"),
        (&["-n", "7", "n[1-6]"], 1, ""),
        (&["-c", "n[6-1]"], 2, ""),
    ];
    for (words, code, text) in cases {
        let output = Command::new(&name).args(words).output().expect("scr_hostlist");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), printed.as_str()), (Some(code), text), "{words:?}");
    }
}
