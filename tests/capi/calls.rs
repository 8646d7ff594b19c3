// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which call is answered how in which state: what a program finds is what the committed tables say.
//!
//! `SCR_BLESS=1` writes the tables anew, from the library without MPI.

use scr_tests::program::{Program, choice, root, succeed};
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "tests/capi/calls.c";

/// With SCR and switched off: what `SCR_ENABLE` is, and the table for it.
const TABLES: [(&str, &str); 2] =
    [("1", "tests/capi/calls.txt"), ("0", "tests/capi/calls_disabled.txt")];

/// Lets the program leave a checkpoint and make its table in `place`.
fn tabulate(launch: impl Fn() -> Command, enable: &str, by: &[&str]) {
    for step in ["write", "table"] {
        let settings = [("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "2"), ("SCR_FLUSH", "1")];
        succeed(launch().envs(settings).env("SCR_ENABLE", enable).arg(step).args(by));
    }
}

#[expect(clippy::disallowed_methods, reason = "files of a test, and of the source tree")]
fn compare(found: &Path, table: &str) {
    // Only rank 0 looks into the index; the others learn that it found nothing.
    let found = std::fs::read_to_string(found).expect("a table").replace("peer     ", "not-found");
    let committed = root().join(table);
    if choice("SCR_BLESS", "") == "1" {
        std::fs::write(&committed, &found).expect("writes the table");
    }
    let committed = std::fs::read_to_string(committed).expect(table);
    assert!(found == committed, "{table} says\n{committed}but this is what calls do:\n{found}");
}

#[test]
fn every_call_in_every_state_is_answered_as_the_table_says() {
    let program = Program::compile_single(SOURCE);
    for (enable, table) in TABLES {
        let place = tempfile::tempdir().expect("a directory");
        tabulate(|| program.alone_in(place.path()), enable, &[]);
        compare(&place.path().join("table.0"), table);
    }
}

#[test]
fn ranks_of_mpi_are_answered_as_the_table_says() {
    let program = Program::compile(SOURCE);
    // However it was started.
    for (which, by) in [(0, &[][..]), (0, &["by communicator"]), (1, &[])] {
        let (enable, table) = TABLES[which];
        let place = tempfile::tempdir().expect("a directory");
        tabulate(|| program.job_in(place.path(), 2), enable, by);
        for rank in 0..2 {
            compare(&place.path().join(format!("table.{rank}")), table);
        }
    }
}
