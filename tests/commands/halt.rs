// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr halt`, to prefixes and to a run that goes on.

use crate::harness::{ALL, Place};
use crate::with_each_mpi;
use std::process::Output;

fn halt(place: &Place, arguments: &[&str]) -> Output {
    place.scr(&[&["halt"], arguments].concat()).output().expect("scr halt")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn each_prefix_is_asked_and_each_condition_taken_back() {
    let Some(place) = ALL.iter().find_map(|mpi| Place::new("halt", *mpi)) else { return };
    std::fs::create_dir(place.path("other")).expect("another prefix");
    let expect = |code: i32, arguments: &[&str], text: &str| {
        let output = halt(&place, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(printed(&output).contains(text), "{arguments:?}: {}", printed(&output));
    };
    expect(0, &["-c", "0", "-v"], "CheckpointsLeft: 0\n");
    expect(0, &["--list"], "CheckpointsLeft: 0\n");
    expect(
        0,
        &["-v", "-s", "600", "-b", "2030-01-31T12:00:00"],
        "ExitBefore - HaltSeconds: 2030-01-31T11:50:00",
    );
    expect(0, &["-v", "--unset-before", "--unset-checkpoints"], "HaltSeconds: 600\n");
    expect(0, &["--list", "--json"], "\"checkpoints_left\": null");
    expect(0, &["--remove", "-v"], "  None\n");

    // One that is not there keeps the others from nothing, and is not made.
    expect(65, &[".", "../nowhere", "../other"], "");
    assert!(!place.path("nowhere").exists());
    for prefix in [".", "../other"] {
        expect(0, &["--list", prefix], "ExitReason: JOB_HALTED\n");
    }
    expect(0, &["-r", ".", "../other"], "");
    expect(0, &["-l", "../other"], "  None\n");
    for wrong in [&["-c", "-1"][..], &["-b", "tomorrow"], &["--list", "--remove"], &["-i", "-r"]] {
        expect(2, wrong, "");
    }
    // A record that is damaged is told, and replaced by a new request.
    std::fs::create_dir_all(place.path("other/.scr")).expect("records");
    std::fs::write(place.path("other/.scr/halt"), "torn").expect("a record");
    expect(65, &["--list", "../other"], "");
    expect(0, &["-c", "3", "-v", "../other"], "CheckpointsLeft: 3\n");
}

#[test]
fn an_immediate_halt_ends_the_run_of_its_prefix_only() {
    with_each_mpi("halt --immediate", |place| {
        let mut run = place.run(&["--nodes", "2", "--runs", "5"], 2, "loop");
        run.wait_for(&place.sign("ready.0"));
        run.wait_for(&place.sign("ready.1"));
        std::fs::create_dir(place.path("other")).expect("another prefix");
        let log = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

        let other = halt(place, &["--immediate", "../other"]);
        assert!(other.status.success());
        assert!(log(&other).contains("nothing that could be ended uses"), "{}", log(&other));
        assert!(!place.processes().is_empty(), "the run of another prefix was ended");

        let ours = halt(place, &["-i"]);
        assert!(ours.status.success());
        assert!(log(&ours).contains("told the run in"), "{}", log(&ours));
        let end = run.finish();
        assert_eq!(end.code, Some(128 + 15), "{}", end.log);
        assert!(!end.log.contains("launch 2"), "{}", end.log);
        assert!(printed(&halt(place, &["--list"])).contains("ExitReason: JOB_HALTED"));
    });
}
