// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nodes that are lost under `scr run`: it notices, ends the launch, and launches again on those that are left.

use crate::job::{Gate, Job, Launcher};
use crate::lab::{Death, Finished, Lab};
use scr_core::event::EventKind;

const RANKS: usize = 4;
const STEPS: u64 = 8;

/// The nodes are lost before this step.
const LOSS: u64 = 5;

const RS: &[(&str, &str)] = &[("SCR_COPY_TYPE", "RS"), ("SCR_SET_FAILURES", "2")];

/// Nodes that are lost at once in the middle of a launch.
struct Loss<'a> {
    test: &'a str,
    settings: &'a [(&'a str, &'a str)],
    launcher: Launcher,
    lost: &'a [&'a str],
    death: Death,
    /// Whether somebody tells Slurm; if not, it has to notice by itself.
    is_declared: bool,
}

/// With a spare for each of the lost nodes the job must come to its end, by two launches and from the caches.
fn survive(loss: &Loss) {
    let nodes = (RANKS + loss.lost.len()) as u32;
    let Some(lab) = Lab::up(loss.test, nodes) else { return };
    let mut job = Job::new(&lab, "job", RANKS, STEPS).argue("hold", &LOSS.to_string());
    for (name, value) in loss.settings {
        job = job.set(name, value);
    }
    // mpirun would take all nodes of the allocation.
    let spares = loss.lost.len().to_string();
    let options = ["--runs", "3", "--spares", &spares];
    let mut run = job.salloc(nodes, &job.scr_run(&options, loss.launcher));
    run.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(LOSS));
    for node in loss.lost {
        lab.kill(node, loss.death);
        if loss.is_declared {
            lab.declare_down(node);
        }
    }
    job.release(LOSS);
    let end = run.finish();
    check(&job, &end, loss.lost);
}

/// A run that lost nodes in its first launch and did its work in the second.
fn check(job: &Job, end: &Finished, lost: &[&str]) {
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!(story.complaints(), Vec::<&str>::new());
    assert_eq!((story.launches(), story.restart(2)), (2, Some((LOSS - 1, 1))), "{}", end.said);
    assert!(lost.iter().all(|node| !story.nodes(2).contains(node)), "{story:#?}");
    assert_eq!(job.count(EventKind::FetchStart), 0);
    assert!(job.count(EventKind::RebuildSuccess) >= 1, "nothing was rebuilt");
    let noted = ["RUN_START", "RUN_END", "NODE_FAIL"].map(|event| job.noted(event));
    assert_eq!(noted, [2, 2, lost.len()]);
}

#[test]
fn a_node_loses_power() {
    survive(&Loss {
        test: "losses::a_node_loses_power",
        settings: &[],
        launcher: Launcher::Srun,
        lost: &["node2"],
        death: Death::Power,
        is_declared: true,
    });
}

#[test]
fn a_node_loses_power_under_mpirun() {
    survive(&Loss {
        test: "losses::a_node_loses_power_under_mpirun",
        settings: &[],
        launcher: Launcher::Mpirun,
        lost: &["node2"],
        death: Death::Power,
        is_declared: true,
    });
}

#[test]
fn two_nodes_lose_power_at_once() {
    survive(&Loss {
        test: "losses::two_nodes_lose_power_at_once",
        settings: RS,
        launcher: Launcher::Srun,
        lost: &["node2", "node3"],
        death: Death::Power,
        is_declared: true,
    });
}

#[test]
fn two_nodes_lose_power_at_once_under_mpirun() {
    survive(&Loss {
        test: "losses::two_nodes_lose_power_at_once_under_mpirun",
        settings: RS,
        launcher: Launcher::Mpirun,
        lost: &["node2", "node3"],
        death: Death::Power,
        is_declared: true,
    });
}

/// Slurm, or the agents of `scr run`, must find out.
#[test]
fn a_node_crashes_and_nobody_says_so() {
    survive(&Loss {
        test: "losses::a_node_crashes_and_nobody_says_so",
        settings: &[],
        launcher: Launcher::Srun,
        lost: &["node3"],
        death: Death::Crash,
        is_declared: false,
    });
}

/// The first node has rank 0 and, with mpirun, would have had its daemon. `scr run` itself is on the head.
#[test]
fn the_first_node_loses_power() {
    survive(&Loss {
        test: "losses::the_first_node_loses_power",
        settings: &[],
        launcher: Launcher::Srun,
        lost: &["node1"],
        death: Death::Power,
        is_declared: true,
    });
}

#[test]
fn the_first_node_loses_power_under_mpirun() {
    survive(&Loss {
        test: "losses::the_first_node_loses_power_under_mpirun",
        settings: &[],
        launcher: Launcher::Mpirun,
        lost: &["node1"],
        death: Death::Power,
        is_declared: true,
    });
}

/// The batch script dies with its node. Slurm runs it again, on the nodes that are left and another one.
#[test]
fn the_first_node_of_a_batch_job_loses_power() {
    let Some(lab) = Lab::up("losses::the_first_node_of_a_batch_job_loses_power", 5) else { return };
    let job = Job::new(&lab, "job", RANKS, STEPS).argue("hold", &LOSS.to_string());
    let words = job.scr_run(&["--runs", "3"], Launcher::Srun);
    let id = job.sbatch(&["-N", "4", "--requeue", "--open-mode=append"], &words);
    lab.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(LOSS));
    lab.kill("node1", Death::Power);
    lab.declare_down("node1");
    job.release(LOSS);
    lab.wait_until("the job is done", 90, || lab.job_state(&id) == "COMPLETED");
    let story = job.assert_done();
    assert_eq!(story.complaints(), Vec::<&str>::new());
    assert_eq!((story.launches(), story.restart(2)), (2, Some((LOSS - 1, 1))));
    assert!(!story.nodes(2).contains(&"node1"), "{story:#?}");
}

/// `scr run` cannot go on, and saves what the caches of the nodes that are left can give. A new allocation starts from that.
#[test]
fn no_spare_is_left() {
    let Some(lab) = Lab::up("losses::no_spare_is_left", RANKS as u32) else { return };
    let job = Job::new(&lab, "job", RANKS, STEPS).argue("hold", &LOSS.to_string());
    let mut run = job.salloc(RANKS as u32, &job.scr_run(&["--runs", "3"], Launcher::Srun));
    run.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(LOSS));
    lab.kill("node2", Death::Power);
    lab.declare_down("node2");
    job.release(LOSS);
    let end = run.finish();
    assert!(end.code.is_some_and(|code| code != 0), "{}", end.said);
    assert_eq!(job.story().launches(), 1, "{}", end.said);

    for node in ["node1", "node2", "node3", "node4"] {
        lab.boot(node);
    }
    start_from_the_prefix(&job, LOSS - 1);
}

/// In a new allocation on nodes that know nothing.
fn start_from_the_prefix(job: &Job, step: u64) {
    let lab = job.lab;
    lab.wait_until("all nodes are back", 90, || {
        lab.ask(&["sinfo", "-h", "-N", "-t", "idle", "-o", "%N"]).lines().count() >= RANKS
    });
    let end = job.salloc(RANKS as u32, &job.scr_run(&[], Launcher::Srun)).finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!(story.complaints(), Vec::<&str>::new());
    assert_eq!((story.launches(), story.restart(2)), (2, Some((step, 1))), "{}", end.said);
    assert_eq!(job.count(EventKind::FetchSuccess), 1);
}

/// The application failed for good; while its last checkpoint is copied from the caches, a node dies with its part of it.
#[test]
fn a_node_is_lost_while_caches_are_saved() {
    let test = "losses::a_node_is_lost_while_caches_are_saved";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = Job::new(&lab, "job", RANKS, STEPS).argue("fail", "exit").argue("rank", "1");
    let job = job.argue("at", &LOSS.to_string());
    let gate = Gate::new(&job, "gate", 1, "*/ckpt.*/.scr-*");
    let guarded = job.behind(&gate);
    let mut run = guarded.salloc(RANKS as u32, &guarded.scr_run(&[], Launcher::Srun));
    run.wait_until("node2 saves its cache", 60, || gate.waiting().contains("node2"));
    lab.kill("node2", Death::Power);
    lab.declare_down("node2");
    gate.open();
    let end = run.finish();
    assert!(end.code.is_some_and(|code| code != 0), "{}", end.said);
    for node in ["node1", "node2", "node3", "node4"] {
        lab.boot(node);
    }
    start_from_the_prefix(&guarded, LOSS - 1);
}

/// Its disk has a checkpoint that the others have left behind. Under the same job id all of it looks like one cache.
#[test]
fn a_node_comes_back_with_old_data() {
    let Some(lab) = Lab::up("losses::a_node_comes_back_with_old_data", 5) else { return };
    let job = Job::new(&lab, "job", RANKS, STEPS)
        .set("SCR_CACHE_BASE", &lab.disk().to_string_lossy())
        .set("SCR_JOB_ID", "chain")
        .argue("hold", "4")
        .argue("fail", "exit")
        .argue("at", "7");
    let mut run = job.salloc(5, &job.scr_run(&["--runs", "2"], Launcher::Srun));
    run.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(4));
    lab.kill("node2", Death::Power);
    lab.declare_down("node2");
    job.release(4);
    let end = run.finish();
    assert!(end.code.is_some_and(|code| code != 0), "{}", end.said);
    assert_eq!(job.story().restart(2), Some((3, 1)), "{}", end.said);

    lab.boot("node2");
    lab.wait_until("node2 is back", 90, || {
        lab.ask(&["sinfo", "-h", "-N", "-n", "node2", "-o", "%T"]) == "idle"
    });
    // Node5, which had taken its place, is not there: what it had must be rebuilt, on a node that has something older.
    lab.ask(&["scontrol", "update", "nodename=node5", "state=drain", "reason=test"]);
    let end = job.salloc(4, &job.scr_run(&[], Launcher::Srun)).finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert!(story.nodes(3).contains(&"node2"), "{story:#?}");
    assert_eq!((story.restart(3), story.complaints()), (Some((6, 2)), Vec::new()), "{}", end.said);
}

/// It is stopped in the middle of a flush, given up, and wakes when others have long gone on: it must not write any more.
#[test]
fn a_node_that_was_given_up_wakes_while_others_work() {
    let test = "losses::a_node_that_was_given_up_wakes_while_others_work";
    let Some(lab) = Lab::up(test, 5) else { return };
    let job = Job::new(&lab, "job", RANKS, STEPS).set("SCR_FLUSH", "2").argue("hold", "7");
    let gate = Gate::new(&job, "gate", 3, "*/ckpt.*/.scr-*");
    let job = job.behind(&gate);
    let mut run = job.salloc(5, &job.scr_run(&["--runs", "3", "--spares", "1"], Launcher::Srun));
    run.wait_until("node2 flushes", 60, || gate.waiting().contains("node2"));
    lab.kill("node2", Death::Hang);
    gate.open();
    lab.declare_down("node2");
    run.wait_until("the others are far beyond", 90, || job.is_held(7));
    lab.revive("node2", Death::Hang);
    lab.wait_until("node2 has nothing left of the launch", 60, || {
        lab.count_processes("node2", "bin/app") == 0
    });
    job.release(7);
    let end = run.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!((story.launches(), story.complaints()), (2, Vec::new()), "{}", end.said);
    let verify = job.run(&["scr", "verify"]);
    assert_eq!(verify.code, Some(0), "{}", verify.said);
}

/// Cut off from the others, and not from the shared files, its ranks live on until somebody ends them.
#[test]
fn a_node_is_cut_off_and_nobody_says_so() {
    survive(&Loss {
        test: "losses::a_node_is_cut_off_and_nobody_says_so",
        settings: &[],
        launcher: Launcher::Srun,
        lost: &["node4"],
        death: Death::Net,
        is_declared: false,
    });
}
