// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands as a user meets them: `scr run` with real launchers and real deaths.
#![expect(clippy::disallowed_methods, reason = "tests look at files and processes from outside")]

mod agents;
mod halt;
mod harness;
mod help;
mod jobs;
mod manual;
mod queries;
mod restarts;
mod scr3;
mod verify;

use harness::{ALL, Finished, Mpi, Place};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::process::Stdio;

/// Runs a test with each MPI implementation that is installed.
fn with_each_mpi(test: &str, check: impl Fn(&Place)) {
    for place in ALL.iter().filter_map(|mpi: &Mpi| Place::new(test, *mpi)) {
        eprintln!("{test}: {}", place.mpi.name);
        check(&place);
    }
}

fn assert_code(end: &Finished, code: i32) {
    assert_eq!(end.code, Some(code), "{}\n{}", end.log, end.out);
}

#[test]
fn success_is_success_and_leaves_nothing() {
    with_each_mpi("success", |place| {
        let end = place.run(&["--nodes", "2"], 3, "ok").finish();
        assert_code(&end, 0);
        for (rank, node) in [(0, "node0"), (1, "node0"), (2, "node1")] {
            assert!(end.out.contains(&format!("rank {rank} on {node}\n")), "{}", end.out);
        }
        assert!(!place.path("run").exists(), "the run directory is still there");
        assert_eq!(std::fs::read_dir(place.path("cache")).expect("cache").count(), 0);
    });
}

#[test]
fn ranks_go_to_nodes_as_told() {
    with_each_mpi("ranks per node", |place| {
        let options = ["--nodes", "3", "--ranks-per-node", "1,2,1"];
        let end = place.run(&options, 4, "ok").finish();
        assert_code(&end, 0);
        for (rank, node) in [(0, "node0"), (1, "node1"), (2, "node1"), (3, "node2")] {
            assert!(end.out.contains(&format!("rank {rank} on {node}\n")), "{}", end.out);
        }
        let end = place.run(&["--nodes", "2", "--ranks-per-node", "1,2"], 4, "ok").finish();
        assert_code(&end, 2);
    });
}

#[test]
fn the_exit_status_is_that_of_the_rank_that_failed() {
    with_each_mpi("exit status", |place| {
        let end = place.run(&["--nodes", "2"], 3, "exit3").finish();
        assert_code(&end, 3);
        assert!(end.log.contains("rank 1 on node0 ended with exit status 3"), "{}", end.log);
    });
}

#[test]
fn a_signal_shows_as_128_and_its_number() {
    with_each_mpi("signal", |place| {
        let end = place.run(&["--nodes", "2"], 3, "segv").finish();
        assert_code(&end, 128 + 11);
    });
}

#[test]
fn a_failing_application_is_launched_as_often_as_allowed() {
    with_each_mpi("runs", |place| {
        let end = place.run(&["--runs", "2"], 2, "exit3").finish();
        assert_code(&end, 3);
        assert!(end.log.contains("launch 2 of 2") && !end.log.contains("launch 3"), "{}", end.log);
        let end = place.run(&["--runs", "-1"], 2, "exit3").finish();
        assert_code(&end, 3);
        assert!(end.log.contains("launch 3 of unlimited"), "{}", end.log);
        assert!(end.log.contains("without a new checkpoint"), "{}", end.log);
    });
}

#[test]
fn a_lost_node_is_replaced_by_a_spare_in_its_place() {
    with_each_mpi("kill-node", |place| {
        let mut run = place.run(&["--nodes", "3", "--spares", "1", "--runs", "2"], 3, "loop");
        for rank in 0..3 {
            run.wait_for(&place.sign(&format!("ready.{rank}")));
        }
        std::fs::write(place.sign("finish.0"), "").expect("sign");
        let mut kill = place.scr(&["kill-node", "--run-dir"]);
        let killed = kill.arg(place.path("run")).arg("node1").status().expect("scr kill-node");
        assert!(killed.success());
        assert!(!place.path("run/node1").exists(), "the storage of a dead node is still there");
        let end = run.finish();
        assert_code(&end, 0);
        assert!(end.log.contains("node1 lost"), "{}", end.log);
        assert!(
            end.log.contains("launch 2 of 2 on node0, node3 (spare for node1), node2"),
            "{}",
            end.log
        );
        for (rank, node) in [(0, "node0"), (1, "node3"), (2, "node2")] {
            let sign = std::fs::read_to_string(place.sign(&format!("done.{rank}"))).expect("sign");
            assert_eq!(sign.trim(), node, "rank {rank}");
        }
        assert!(!place.path("run").exists());
    });
}

#[test]
fn too_few_nodes_stop_the_run() {
    with_each_mpi("too few nodes", |place| {
        let mut run = place.run(&["--nodes", "2", "--runs", "3"], 2, "loop");
        run.wait_for(&place.sign("ready.0"));
        run.wait_for(&place.sign("ready.1"));
        let mut kill = place.scr(&["kill-node", "node0"]);
        assert!(kill.env("SCR_RUN_DIR", place.path("run")).status().expect("kill-node").success());
        let end = run.finish();
        assert_ne!(end.code, Some(0));
        assert!(end.log.contains("1 of 2 nodes are left and 2 are needed"), "{}", end.log);
        assert!(end.log.contains("nodes kept"), "{}", end.log);

        // The same nodes serve the next run in that directory: what was lost stays lost until restored.
        let end = place.run(&["--nodes", "2"], 2, "ok").finish();
        assert_code(&end, 69);
        let mut restore = place.scr(&["restore-node", "--run-dir"]);
        assert!(restore.arg(place.path("run")).arg("node0").status().expect("restore").success());
        let end = place.run(&["--nodes", "2"], 2, "ok").finish();
        assert_code(&end, 0);
    });
}

#[test]
fn signals_reach_the_ranks_and_end_the_loop() {
    with_each_mpi("signals", |place| {
        for (signal, number) in [(Signal::TERM, 15), (Signal::USR2, 12)] {
            let _ = std::fs::remove_file(place.sign("ready.0"));
            let mut run = place.run(&["--nodes", "2", "--runs", "1"], 2, "handle");
            run.wait_for(&place.sign("ready.0"));
            run.wait_for(&place.sign("ready.1"));
            run.signal(signal);
            let end = run.finish();
            assert_code(&end, 40 + number);
            let _ = std::fs::remove_file(place.sign("ready.1"));
        }
    });
}

#[test]
fn a_stopped_run_is_not_launched_again() {
    with_each_mpi("stop", |place| {
        let mut run = place.run(&["--runs", "5"], 2, "loop");
        run.wait_for(&place.sign("ready.0"));
        run.wait_for(&place.sign("ready.1"));
        run.signal(Signal::TERM);
        let end = run.finish();
        assert_code(&end, 128 + 15);
        assert!(!end.log.contains("launch 2"), "{}", end.log);
    });
}

#[test]
fn a_death_that_the_launcher_does_not_notice_is_no_hang() {
    with_each_mpi("grandchild", |place| {
        let end = place.run(&["--hang-seconds", "0.5"], 3, "grandchild").finish();
        assert_code(&end, 128 + 9);
        assert!(end.seconds < 20.0, "took {} s: {}", end.seconds, end.log);
    });
}

#[test]
fn output_comes_while_the_application_runs() {
    with_each_mpi("output", |place| {
        let mut run = place.run(&[], 1, "loop");
        assert_eq!(run.line(), "rank 0 on node0\n");
        assert!(!place.processes().is_empty(), "the application has ended already");
        run.signal(Signal::TERM);
        run.finish();
    });
}

#[test]
fn a_run_that_is_killed_takes_its_ranks_along() {
    with_each_mpi("kill scr run", |place| {
        let mut run = place.run(&["--nodes", "2"], 2, "loop");
        run.wait_for(&place.sign("ready.0"));
        run.wait_for(&place.sign("ready.1"));
        run.signal(Signal::KILL);
        run.wait_until_gone();
        // Nobody is left to tidy up: the next run in the directory does.
        let end = place.run(&["--nodes", "2"], 2, "ok").finish();
        assert_code(&end, 0);
    });
}

#[test]
fn a_halt_request_stops_before_the_launch() {
    with_each_mpi("halt", |place| {
        assert!(place.scr(&["halt"]).status().expect("scr halt").success());
        let end = place.run(&[], 1, "ok").finish();
        assert_code(&end, 75);
        assert!(!place.sign("done.0").exists(), "something was launched");
        assert!(place.scr(&["halt", "--remove"]).status().expect("scr halt").success());
        let end = place.run(&[], 1, "ok").finish();
        assert_code(&end, 0);
    });
}

#[test]
fn a_halt_request_between_two_launches_stops_the_second() {
    let test = "a halt between launches";
    let Some(place) = ALL.iter().find_map(|mpi| Place::new(test, *mpi)) else { return };
    let arguments = ["run", "--runs", "3", "sh", "-c", "echo launch >>launches; exit 3"];
    let mut command = place.scr(&arguments);
    command.env("SCR_RELAUNCH_SECONDS", "3").stderr(Stdio::piped());
    let mut run = command.spawn().expect("scr run");
    let said = BufReader::new(run.stderr.take().expect("stderr"));
    let mut lines = said.lines().map(|line| line.expect("a line"));
    assert!(lines.any(|line| line.contains("pausing")));
    assert!(place.scr(&["halt"]).status().expect("scr halt").success());
    assert!(lines.any(|line| line.contains("a halt condition holds")));
    assert_eq!(run.wait().expect("scr run").code(), Some(3));
    let launches = std::fs::read_to_string(place.path("prefix/launches")).expect("a launch");
    assert_eq!(launches, "launch\n");
}

#[test]
fn each_launch_reads_the_file_on_standard_input() {
    let test = "standard input";
    let Some(place) = ALL.iter().find_map(|mpi| Place::new(test, *mpi)) else { return };
    std::fs::write(place.path("prefix/input"), "1\n2\n").expect("an input");
    let mut input = std::fs::File::open(place.path("prefix/input")).expect("an input");
    input.seek(SeekFrom::Start(2)).expect("another place in it");
    let program = "cat >>got; test -e again && exit 0; touch again; exit 3";
    let mut command = place.scr(&["run", "--runs", "2", "sh", "-c", program]);
    assert!(command.stdin(input).status().expect("scr run").success());
    let got = std::fs::read_to_string(place.path("prefix/got")).expect("what was read");
    assert_eq!(got, "2\n2\n");
}

#[test]
fn plain_programs_and_bad_command_lines() {
    let Some(place) = ALL.iter().find_map(|mpi| Place::new("plain programs", *mpi)) else { return };
    let cases: [(&[&str], i32); 8] = [
        (&["run", "--", "sh", "-c", "test $SCR_NODE = node0 && exit 7"], 7),
        (&["run", "sh", "-c", "kill -9 $$"], 137),
        (&["run", "true"], 0),
        (&["run", "/nonexistent/program"], 127),
        (&["run", "/nonexistent/mpirun", "-n", "2", "./app"], 127),
        (&["run"], 2),
        (&["run", "srun", "-n", "2", "./app"], 2),
        (&["print", "/nonexistent/record"], 65),
    ];
    for (arguments, expected) in cases {
        let status = place.scr(arguments).status().expect("scr");
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    }
}
