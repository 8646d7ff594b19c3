// SPDX-License-Identifier: MIT OR Apache-2.0
//! The job scripts of examples/jobs: all are bash, and those that need no Slurm are run. The page that goes through them has
//! no command that is not tested.

use scr_tests::program::{root, scr, succeed};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Fails until it has been started so many times, then does its work.
const PROGRAM: &str = "echo x >>tries; test $(wc -l <tries) -ge";

/// A script with a program, which finds `scr` and keeps all it writes below `place`.
fn job(place: &Path, script: &str, program: &str) -> Command {
    let mut command = Command::new(root().join("examples/jobs").join(script));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("SCR_") || name.starts_with("SLURM_") {
            command.env_remove(&*name);
        }
    }
    let path = std::env::var_os("PATH").expect("PATH");
    let mut all = vec![scr().parent().expect("a directory").to_path_buf()];
    all.extend(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(all).expect("PATH"));
    command.env("SCR_RELAUNCH_SECONDS", "0.1").env("SCR_CACHE_BASE", place.join("cache"));
    command.env("TMPDIR", place).env("XDG_RUNTIME_DIR", place);
    command.args(["sh", "-c", program]).current_dir(place);
    command
}

/// Runs a script with a program that succeeds at the launch number `needed`.
fn run(place: &Path, script: &str, needed: u32, runs: Option<&str>) -> Output {
    let mut command = job(place, script, &format!("{PROGRAM} {needed}"));
    command.envs(runs.map(|runs| ("SCR_RUNS", runs))).output().expect("a job script")
}

fn tries(place: &Path) -> usize {
    std::fs::read_to_string(place.join("tries")).map_or(0, |text| text.lines().count())
}

#[test]
fn scripts_launch_until_the_work_is_done() {
    for script in ["scr_run.sh", "scr_run_loop.sh"] {
        // The launch at which the program succeeds, SCR_RUNS, the exit status, how many launches there are.
        for (needed, runs, code, launches) in
            [(1, None, 0, 1), (2, None, 0, 2), (9, Some("2"), 1, 2), (1, Some("1"), 0, 1)]
        {
            let place = tempfile::tempdir().expect("a prefix");
            let output = run(place.path(), script, needed, runs);
            let log = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{script} {needed}: {log}");
            assert_eq!(tries(place.path()), launches, "{script} {needed}: {log}");
        }
        // Who asks the job to halt has nothing launched.
        let place = tempfile::tempdir().expect("a prefix");
        succeed(Command::new(scr()).arg("halt").arg(place.path()));
        let output = run(place.path(), script, 1, None);
        assert_eq!((output.status.code(), tries(place.path())), (Some(75), 0), "{output:?}");
    }
}

#[test]
fn a_script_that_loops_by_itself_stops_when_it_should() {
    let place = tempfile::tempdir().expect("a prefix");
    let failing = "echo x >>tries; scr halt --reason ENOUGH; exit 3";
    let output = job(place.path(), "scr_run_loop.sh", failing).output().expect("a job script");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), tries(place.path())), (Some(3), 1), "{output:?}");
    assert!(printed.contains("Halt condition detected: Reason: ENOUGH."), "{printed}");
}

/// The scripts, which end with `.sh`.
fn scripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("examples/jobs")).expect("scripts").flatten();
    let scripts: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh"))
        .collect();
    assert_eq!(scripts.len(), 7);
    scripts
}

/// The blocks of bash of a page that are no part of a script, and of which some line is not typed by a test.
fn untested<'a>(page: &'a str, scripts: &[String], tests: &[String]) -> Vec<&'a str> {
    let blocks = page.split("\n```bash\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let is_typed = |line: &str| tests.iter().any(|test| test.contains(&format!("\"{line}\"")));
    let is_part =
        |block: &str| scripts.iter().any(|script| script.contains(&format!("\n{block}\n")));
    blocks.filter(|block| !is_part(block) && !block.lines().all(is_typed)).collect()
}

#[test]
fn every_command_of_the_tutorial_is_run_by_a_test() {
    let page = "\n```bash\na\nb\n```\n\n```bash\nc\nd\n```\n\n```\nx\n```\n\n```bash\nb\nc\n```\n";
    let told = |texts: &[&str]| texts.iter().map(|text| (*text).to_string()).collect::<Vec<_>>();
    let sources = told(&["f(\"c\"); f(\"d\");"]);
    assert_eq!(untested(page, &told(&["#!\na\nb\n"]), &sources), ["b\nc"]);
    assert_eq!(untested(page, &told(&["#!\nab\n"]), &sources), ["a\nb", "b\nc"]);

    let read = |path: PathBuf| std::fs::read_to_string(path).expect("a file of the tree");
    let page = read(root().join("docs/run-a-job.md"));
    let scripts: Vec<String> = scripts().into_iter().map(read).collect();
    let tests = ["tests/commands/manual.rs", "tests/cluster/scripts.rs"];
    let tests = tests.map(|path| read(root().join(path)));
    assert!(page.matches("\n```bash\n").count() > 10);
    assert_eq!(untested(&page, &scripts, &tests), Vec::<&str>::new());
}

#[test]
fn every_script_is_bash_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    for script in scripts() {
        succeed(Command::new("bash").arg("-n").arg(&script));
        let mode = std::fs::metadata(&script).expect("a script").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{}", script.display());
        let checked = Command::new("shellcheck").arg(&script).output();
        if let Ok(checked) = checked {
            assert!(checked.status.success(), "{checked:?}");
        }
    }
}
