// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every program in `examples/` does what an example is to show: it is killed, started again, and ends with the result of
//! one that was left in peace.
//!
//! A row of the table below is an example: its source, how it is launched, and its options. It prints lines like
//! `heat1d: step 4 checkpoint heat.4`, `heat1d: restarted from heat.4 at step 4` and `heat1d: final checksum ...`.
#![expect(clippy::disallowed_methods, reason = "tests look at files and processes from outside")]

mod launch;

use launch::{End, Launch};
use scr_tests::program::{Language, Program, has_mpi4py, python, root};
use scr_tests::skip;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Steps of each run, and steps from one checkpoint to the next.
const STEPS: u32 = 12;
const EVERY: u32 = 2;

/// The run is killed after this many checkpoints, with most of it still to do.
const CHECKPOINTS: usize = 2;

/// What a run that is to be killed rests after each step, so that it is still there when it is killed.
const REST_MS: u32 = 500;

/// Makes a test of each row.
macro_rules! examples {
    ($($name:ident: $source:literal, $launch:ident, $options:ident;)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), $source, $launch, $options);
        })*

        const SOURCES: &[&str] = &[$($source),*];
    };
}

examples! {
    c_heat2d: "examples/c/heat2d.c", two_ranks, heat2d;
    cpp_heat1d: "examples/cpp/heat1d.cpp", two_ranks, heat1d;
    fortran_heat1d: "examples/fortran/heat1d.f90", two_ranks, heat1d;
    fortran_legacy: "examples/fortran/legacy.f", two_ranks, heat1d;
    rust_heat1d: "examples/rust/heat1d.rs", two_ranks, heat1d;
    python_heat1d: "examples/python/heat1d.py", two_ranks, heat1d;
    python_heat1d_alone: "examples/python/heat1d.py", alone, heat1d;
    python_loop: "examples/python/loop.py", alone, heat1d;
}

/// How a program is started that has its cache in a place.
type Launcher = fn(&Program, &Path) -> Command;

/// Launches an MPI program.
fn two_ranks(program: &Program, place: &Path) -> Command {
    program.job_in(place, 2)
}

/// Runs a program of one process.
fn alone(program: &Program, place: &Path) -> Command {
    program.alone_in(place)
}

/// The options of most examples.
fn heat1d(rest_ms: u32) -> Vec<String> {
    [STEPS, EVERY, rest_ms].map(|number| number.to_string()).into()
}

fn heat2d(rest_ms: u32) -> Vec<String> {
    format!("-n 64x48 -s {STEPS} -c {EVERY} -d {rest_ms}").split(' ').map(String::from).collect()
}

/// The program of a source, or `None` (and a note of the skip) where its compiler or interpreter is missing.
fn build(test: &str, source: &str) -> Option<Program> {
    match Path::new(source).extension().and_then(|extension| extension.to_str()) {
        Some("rs") => return Some(Program::built(Path::new(env!("CARGO_BIN_EXE_heat1d-rust")))),
        Some("py") => return script(test, source),
        _ => {}
    }
    let language = Language::of(source);
    if !language.is_there() {
        skip(test, &format!("no {}", language.compiler().display()));
        return None;
    }
    Some(Program::compile(source))
}

/// The same for a source in Python.
fn script(test: &str, source: &str) -> Option<Program> {
    let found = python("numpy, mpi4py.MPI").filter(has_mpi4py);
    if found.is_none() {
        skip(test, "no Python with NumPy, and mpi4py for this MPI");
    }
    found.map(|python| Program::script(&python, source))
}

/// Runs the example undisturbed; then killed and once more, which must come to the same.
fn check(test: &str, source: &str, launch: Launcher, options: fn(u32) -> Vec<String>) {
    let Some(program) = build(test, source) else { return };
    let run = |place: &Path, rest_ms: u32, kill_after| {
        let mut command = launch(&program, place);
        command.args(options(rest_ms)).envs([
            ("SCR_CACHE_BYPASS", "0"),
            ("SCR_CACHE_SIZE", "2"),
            ("SCR_COPY_TYPE", "SINGLE"),
            ("SCR_JOB_ID", "4711"),
        ]);
        Launch::start(command, place).finish(kill_after)
    };

    let undisturbed = tempfile::tempdir().expect("a directory");
    let whole = run(undisturbed.path(), 0, None);
    let expected = result(&whole);
    assert!(expected.ends_with(&format!(" {STEPS}")), "{expected}");
    assert!(!whole.said.contains("restarted from"), "{}", whole.said);

    let disturbed = tempfile::tempdir().expect("a directory");
    let killed = run(disturbed.path(), REST_MS, Some(CHECKPOINTS));
    assert!(killed.was_killed, "it was to be killed:\n{}", killed.said);
    assert!(!killed.said.contains("final checksum"), "it had ended before:\n{}", killed.said);

    let again = run(disturbed.path(), 0, None);
    assert!(restart_step(&again) >= EVERY * CHECKPOINTS as u32, "{}", again.said);
    assert_eq!(result(&again), expected, "{}", again.said);
}

/// The line with the result, of a run that ended well.
fn result(end: &End) -> &str {
    assert!(end.is_success, "{}", end.said);
    let line = end.said.lines().find(|line| line.contains(": final checksum "));
    line.unwrap_or_else(|| panic!("no result:\n{}", end.said))
}

/// From which step the run says that it went on.
fn restart_step(end: &End) -> u32 {
    let line = end.said.lines().find(|line| line.contains(": restarted from "));
    let line = line.unwrap_or_else(|| panic!("no restart:\n{}", end.said));
    let step = line.split(" at step ").nth(1).and_then(|step| step.trim().parse().ok());
    step.unwrap_or_else(|| panic!("no step in {line:?}"))
}

#[test]
fn every_example_is_in_the_table() {
    let mut there = BTreeSet::new();
    for language in std::fs::read_dir(root().join("examples")).expect("examples").flatten() {
        // Batch scripts are for the tests of scr run.
        if language.file_name() != "jobs" {
            let files = std::fs::read_dir(language.path()).expect("a directory of examples");
            there.extend(files.flatten().map(|file| file.path()));
        }
    }
    assert_eq!(there, SOURCES.iter().map(|source| root().join(source)).collect());
}
