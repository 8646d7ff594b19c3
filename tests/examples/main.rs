// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every program in `examples/` does what an example is to show: it is killed, started again, and ends with the result of
//! one that was left in peace.
//!
//! A row of the table below is an example: its source, how it is launched, and its options. It prints lines like
//! `heat1d: step 4 checkpoint heat.4`, `heat1d: restarted from heat.4 at step 4` and `heat1d: final checksum ...`.

use scr_tests::launch::{EVERY, STEPS, kill_and_go_on};
use scr_tests::program::{Language, Program, has_mpi4py, is_default_mpi, python, root};
use scr_tests::skip;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

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
    c_heat2d: "examples/c/heat2d.c", TwoRanks, heat2d;
    cpp_heat1d: "examples/cpp/heat1d.cpp", TwoRanks, heat1d;
    fortran_heat1d: "examples/fortran/heat1d.f90", TwoRanks, heat1d;
    fortran_legacy: "examples/fortran/legacy.f", TwoRanks, heat1d;
    rust_heat1d: "examples/rust/heat1d.rs", TwoRanks, heat1d;
    python_heat1d: "examples/python/heat1d.py", TwoRanks, heat1d;
    python_heat1d_alone: "examples/python/heat1d.py", Alone, heat1d;
    python_loop: "examples/python/loop.py", Alone, heat1d;
}

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// As an MPI program.
    TwoRanks,
    /// As a program of one process.
    Alone,
}
use Start::{Alone, TwoRanks};

impl Start {
    /// A launch of a program with its cache in a place.
    fn launch(self, program: &Program, place: &Path) -> Command {
        match self {
            TwoRanks => program.job_in(place, 2),
            Alone => program.alone_in(place),
        }
    }
}

/// The options of most examples.
fn heat1d(rest_ms: u32) -> Vec<String> {
    [STEPS, EVERY, rest_ms].map(|number| number.to_string()).into()
}

fn heat2d(rest_ms: u32) -> Vec<String> {
    format!("-n 64x48 -s {STEPS} -c {EVERY} -d {rest_ms}").split(' ').map(String::from).collect()
}

/// The program of a source, or `None` (and a note of the skip) where its compiler or interpreter is missing.
fn build(test: &str, source: &str, start: Start) -> Option<Program> {
    match Path::new(source).extension().and_then(|extension| extension.to_str()) {
        Some("rs") => return Some(Program::built(Path::new(env!("CARGO_BIN_EXE_heat1d-rust")))),
        Some("py") => return script(test, source, start),
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
fn script(test: &str, source: &str, start: Start) -> Option<Program> {
    let found = match start {
        Alone => python("numpy"),
        TwoRanks => python("numpy, mpi4py.MPI").filter(has_mpi4py),
    };
    match found {
        Some(python) => Some(Program::script(&python, source)),
        // What it takes then is told to those who start it: see tests/capi.
        None if start == TwoRanks && !is_default_mpi() => {
            println!("{test}: mpi4py is of another MPI than the one that is tested");
            None
        }
        None => {
            skip(test, "no Python with NumPy, and mpi4py for this MPI");
            None
        }
    }
}

fn check(test: &str, source: &str, start: Start, options: fn(u32) -> Vec<String>) {
    let Some(program) = build(test, source, start) else { return };
    kill_and_go_on(&|place, rest_ms| {
        let mut command = start.launch(&program, place);
        command.args(options(rest_ms));
        command
    });
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
