// SPDX-License-Identifier: MIT OR Apache-2.0
//! Launches by `srun` alone: what the library does when nodes are gone, without any help from `scr run`.

use crate::job::Job;
use crate::lab::{Death, Lab};
use scr_core::event::EventKind;

const RANKS: usize = 4;
const STEPS: u64 = 8;

/// The nodes are lost before this step.
const LOSS: u64 = 6;

#[test]
fn a_job_left_in_peace_computes_what_is_expected() {
    let Some(lab) = Lab::up("rebuild::a_job_left_in_peace_computes_what_is_expected", 4) else {
        return;
    };
    let job = Job::new(&lab, "peace", RANKS, STEPS).argue("files", "3").argue("output", "4");
    let allocation = lab.allocate(4);
    let end = job.srun(&allocation, &[]).finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!(story.restart(1), Some((0, 0)));
    assert_eq!(story.complaints(), Vec::<&str>::new());
    let ends: Vec<_> =
        story.0[&1].values().map(|c| (c.end, c.successes.len(), &*c.outputs)).collect();
    assert_eq!(ends, vec![(Some(STEPS), 8, &[4, 8][..]); RANKS]);
}

/// Nodes lose power in the middle of a step; the next one has a spare for each and rebuilds what they had.
fn nodes_are_lost(test: &str, settings: &[(&str, &str)], lost: &[&str]) {
    let nodes = RANKS as u32 + lost.len() as u32;
    let Some(lab) = Lab::up(test, nodes) else { return };
    let mut job = Job::new(&lab, "job", RANKS, STEPS).argue("hold", &LOSS.to_string());
    for (name, value) in settings {
        job = job.set(name, value);
    }
    let allocation = lab.allocate(nodes);
    let mut step = job.srun(&allocation, &[]);
    step.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(LOSS));
    for node in lost {
        lab.kill(node, Death::Power);
        lab.declare_down(node);
    }
    job.release(LOSS);
    let end = step.finish();
    assert_ne!(end.code, Some(0), "{}", end.said);

    let again = job.srun(&allocation, &[&format!("--exclude={}", lost.join(","))]).finish();
    assert_eq!(again.code, Some(0), "{}", again.said);
    let story = job.assert_done();
    assert_eq!(story.complaints(), Vec::<&str>::new());
    assert_eq!((story.launches(), story.restart(2)), (2, Some((LOSS - 1, 1))));
    assert!(lost.iter().all(|node| !story.nodes(2).contains(node)), "{story:#?}");
    // Not from the prefix: nothing was flushed.
    assert_eq!((job.count(EventKind::FetchStart), job.count(EventKind::FlushStart)), (0, 0));
    assert!(job.count(EventKind::RebuildSuccess) >= 1, "nothing was rebuilt");
}

#[test]
fn xor_survives_the_loss_of_a_node() {
    let test = "rebuild::xor_survives_the_loss_of_a_node";
    nodes_are_lost(test, &[("SCR_COPY_TYPE", "XOR")], &["node3"]);
}

#[test]
fn partner_survives_the_loss_of_two_nodes_that_are_not_partners() {
    let test = "rebuild::partner_survives_the_loss_of_two_nodes_that_are_not_partners";
    nodes_are_lost(test, &[("SCR_COPY_TYPE", "PARTNER")], &["node1", "node3"]);
}

#[test]
fn reed_solomon_survives_the_loss_of_two_nodes() {
    let test = "rebuild::reed_solomon_survives_the_loss_of_two_nodes";
    let settings = [("SCR_COPY_TYPE", "RS"), ("SCR_SET_FAILURES", "2")];
    nodes_are_lost(test, &settings, &["node2", "node3"]);
}
