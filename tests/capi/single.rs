// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library for programs of one process: the same functions and the same store, and nothing of MPI.

use scr_tests::program::{Program, scr, single_library, succeed};
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "tests/capi/life.c";

/// A launch with the settings of these tests.
fn launch(job: &mut Command, step: &str) {
    let settings = [("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "3"), ("SCR_FLUSH", "1")];
    succeed(job.envs(settings).arg(step));
}

#[test]
fn a_program_of_one_process_needs_no_mpi() {
    let program = Program::compile_single(SOURCE);
    for step in ["write", "read"] {
        launch(&mut program.alone_in(program.place()), step);
    }
    let library = single_library().join("libscr.so");
    let entries = succeed(Command::new("readelf").arg("-d").arg(library)).stdout;
    let entries = String::from_utf8_lossy(&entries);
    assert!(entries.contains("Library soname: [libscr_single.so.4]"), "{entries}");
    assert!(!entries.contains("mpi"), "{entries}");
}

#[test]
fn what_one_library_wrote_the_other_reads() {
    let (alone, with_mpi) = (Program::compile_single(SOURCE), Program::compile(SOURCE));
    let places = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let [to, fro] = places.each_ref().map(tempfile::TempDir::path);
    launch(&mut with_mpi.job_in(to, 1), "write");
    listed_and_verified(to);
    launch(&mut alone.alone_in(to), "read");

    launch(&mut alone.alone_in(fro), "write");
    listed_and_verified(fro);
    launch(&mut with_mpi.job_in(fro, 1), "read");
}

#[test]
fn a_signal_stops_the_job_and_the_second_one_kills() {
    use std::os::unix::process::ExitStatusExt;
    let source = "tests/capi/signals.c";
    let alone = Program::compile_single(source);
    let run = |word: &str| {
        let mut job = alone.alone_in(alone.place());
        job.env("SCR_EXIT_SIGNALS", "usr1").arg(word).output().expect("runs").status
    };
    assert!(run("once").success());
    for word in ["again", "after"] {
        assert_eq!(run(word).signal(), Some(rustix::process::Signal::USR1.as_raw()), "{word}");
    }
    // Of two ranks one receives it, or one of them late.
    let together = Program::compile(source);
    for word in ["once", "late"] {
        succeed(together.job(2).env("SCR_EXIT_SIGNALS", "USR1").arg(word));
    }
}

/// The commands have no MPI at all.
fn listed_and_verified(prefix: &Path) {
    let listed = succeed(Command::new(scr()).arg("index").current_dir(prefix)).stdout;
    let listed = String::from_utf8_lossy(&listed);
    assert!(listed.contains("a.1") && listed.contains("a.2"), "{listed}");
    succeed(Command::new(scr()).args(["verify", "--cache"]).arg("cache").current_dir(prefix));
}
