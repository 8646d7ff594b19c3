// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nodes that lose power under `scr run` while the library does something: each rank waits at a gate in the middle of it, then
//! the node dies.

use crate::job::{Gate, Job, Launcher};
use crate::lab::{Death, Lab};
use scr_core::event::EventKind;

const RANKS: usize = 4;
const STEPS: u64 = 6;

/// The dataset in whose life the node dies: that of the step with this number.
const DATASET: u64 = 4;

/// One loss.
struct Window<'a> {
    test: &'a str,
    settings: &'a [(&'a str, &'a str)],
    /// Where ranks wait: the count-th write, and to what.
    gate: (u32, &'a str),
    /// What the next launch must restart from.
    restart: u64,
}

/// Loses node2 in a window; `scr run` launches again with a spare in its place. Checks what that starts from.
fn lose_in(window: &Window) {
    let Some(lab) = Lab::up(window.test, RANKS as u32 + 1) else { return };
    let mut job = Job::new(&lab, "job", RANKS, STEPS);
    let gate = Gate::new(&job, "gate", window.gate.0, window.gate.1);
    job = job.behind(&gate);
    for (name, value) in window.settings {
        job = job.set(name, value);
    }
    let words = job.scr_run(&["--runs", "3"], Launcher::Srun);
    let mut run = job.salloc(RANKS as u32 + 1, &words);
    run.wait_until("node2 waits at the gate", 60, || gate.waiting().contains("node2"));
    lab.kill("node2", Death::Power);
    gate.open();
    lab.declare_down("node2");
    let end = run.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);

    let story = job.assert_done();
    assert_eq!(story.complaints(), Vec::<&str>::new());
    let restart = (story.launches(), story.restart(2));
    assert_eq!(restart, (2, Some((window.restart, 1))), "{}", end.said);
    assert!(job.count(EventKind::RebuildSuccess) >= 1, "nothing was rebuilt");
    let verify = job.run(&["scr", "verify"]);
    assert_eq!(verify.code, Some(0), "{}", verify.said);
}

#[test]
fn a_node_is_lost_while_parity_is_written() {
    lose_in(&Window {
        test: "windows::a_node_is_lost_while_parity_is_written",
        settings: &[],
        gate: (1, &format!("*/dataset.{DATASET}-*/parity")),
        restart: DATASET - 1,
    });
}

/// The others publish theirs: one of these records proves that everything was there.
#[test]
fn a_node_is_lost_before_it_publishes_its_commit() {
    lose_in(&Window {
        test: "windows::a_node_is_lost_before_it_publishes_its_commit",
        settings: &[],
        // That it is being written; then that it is committed, beside its place and in it.
        gate: (4, &format!("*/dataset.{DATASET}-*/state*")),
        restart: DATASET,
    });
}

#[test]
fn a_node_is_lost_while_its_files_are_flushed() {
    lose_in(&Window {
        test: "windows::a_node_is_lost_while_its_files_are_flushed",
        settings: &[("SCR_FLUSH", "4")],
        gate: (1, "*/ckpt.*/.scr-*"),
        restart: DATASET,
    });
}

/// The spare that is to hold what is rebuilt dies too, then the next launch has another one.
#[test]
fn the_spare_is_lost_during_the_rebuild() {
    let test = "windows::the_spare_is_lost_during_the_rebuild";
    let Some(lab) = Lab::up(test, RANKS as u32 + 2) else { return };
    lose_twice(&lab, &[("SCR_COPY_TYPE", "XOR")], "node5");
}

#[test]
fn a_second_node_is_lost_during_the_rebuild() {
    let test = "windows::a_second_node_is_lost_during_the_rebuild";
    let Some(lab) = Lab::up(test, RANKS as u32 + 2) else { return };
    lose_twice(&lab, &[("SCR_COPY_TYPE", "RS"), ("SCR_SET_FAILURES", "2")], "node1");
}

/// Loses node2 while steps are computed, and `second` while the next launch rebuilds; the third must end well.
fn lose_twice(lab: &Lab, settings: &[(&str, &str)], second: &str) {
    let mut job = Job::new(lab, "job", RANKS, STEPS).argue("hold", &DATASET.to_string());
    let gate = Gate::new(&job, "gate", 1, "*/rebuild.*");
    job = job.behind(&gate);
    for (name, value) in settings {
        job = job.set(name, value);
    }
    let words = job.scr_run(&["--runs", "4"], Launcher::Srun);
    let mut run = job.salloc(RANKS as u32 + 2, &words);
    run.wait_until("the ranks wait", 60, || job.is_held(DATASET));
    lab.kill("node2", Death::Power);
    lab.declare_down("node2");
    job.release(DATASET);
    run.wait_until("a part is being rebuilt", 60, || !gate.waiting().is_empty());
    lab.kill(second, Death::Power);
    gate.open();
    lab.declare_down(second);
    let end = run.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!(story.complaints(), Vec::<&str>::new());
    let restart = (story.launches(), story.restart(3));
    assert_eq!(restart, (3, Some((DATASET - 1, 1))), "{}", end.said);
}
