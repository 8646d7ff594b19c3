// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr prerun`, `scr list-down-nodes` and `scr postrun` around a plain `srun`, while nodes die.

use crate::job::{Gate, Job};
use crate::lab::{Death, Lab};
use scr_core::event::EventKind;

const RANKS: usize = 4;
const STEPS: u64 = 8;

/// The nodes are lost before this step.
const LOSS: u64 = 6;

/// A job whose checkpoints are in the caches of an allocation of four nodes and nowhere else; its launch is over, for
/// `lost` has no power any more.
fn left_in_caches<'a>(lab: &'a Lab, lost: &str) -> Job<'a> {
    let allocation = lab.allocate(RANKS as u32);
    let job = Job::new(lab, "job", RANKS, STEPS)
        .argue("hold", &LOSS.to_string())
        .set("SCR_COPY_TYPE", "XOR")
        .set("SLURM_JOB_ID", &allocation)
        .set("SLURM_JOB_NODELIST", "node[1-4]");
    let ready = job.run(&["scr", "prerun"]);
    assert_eq!(ready.code, Some(0), "{}", ready.said);
    assert!(ready.said.contains("4 of 4 nodes can be used"), "{}", ready.said);

    let mut step = job.srun(&allocation, &[]);
    step.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(LOSS));
    lab.kill(lost, Death::Power);
    // Slurm does not know yet; agents find out.
    let down = job.run(&["scr", "list-down-nodes", "--reason"]);
    assert_eq!(down.code, Some(0), "{}", down.said);
    let found = format!("{lost}: does not answer");
    assert_eq!(down.said.trim(), found, "{}", down.said);
    lab.declare_down(lost);
    job.release(LOSS);
    assert_ne!(step.finish().code, Some(0));
    let down = job.run(&["scr", "list-down-nodes"]);
    assert_eq!(down.said.trim(), lost);
    job
}

/// Restarts the job in another allocation, which has nothing in its caches.
fn goes_on_elsewhere(lab: &Lab, job: Job) {
    for node in 1..=RANKS {
        lab.boot(&format!("node{node}"));
    }
    let allocation = lab.allocate(RANKS as u32);
    let job = job.set("SLURM_JOB_ID", &allocation);
    let again = job.srun(&allocation, &[]).finish();
    assert_eq!(again.code, Some(0), "{}", again.said);
    let story = job.assert_done();
    assert_eq!((story.launches(), story.restart(2)), (2, Some((LOSS - 1, 1))));
    assert!(job.count(EventKind::FetchStart) > 0, "not from the prefix");
}

#[test]
fn what_a_lost_node_held_is_rebuilt_and_goes_to_the_prefix() {
    let test = "scavenge::what_a_lost_node_held_is_rebuilt_and_goes_to_the_prefix";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = left_in_caches(&lab, "node3");
    let saved = job.run(&["scr_postrun", "-j", "srun"]);
    assert_eq!(saved.code, Some(0), "{}", saved.said);
    assert!(saved.said.contains(" saved: ") && saved.said.contains("rebuilt"), "{}", saved.said);
    let again = job.run(&["scr", "postrun"]);
    assert_eq!(again.code, Some(0), "{}", again.said);
    assert!(again.said.contains("nothing to save"), "{}", again.said);
    goes_on_elsewhere(&lab, job);
}

#[test]
fn a_node_that_dies_while_its_data_are_saved_is_done_without() {
    let test = "scavenge::a_node_that_dies_while_its_data_are_saved_is_done_without";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let allocation = lab.allocate(RANKS as u32);
    let job = Job::new(&lab, "job", RANKS, LOSS - 1)
        .set("SCR_COPY_TYPE", "XOR")
        .set("SLURM_JOB_ID", &allocation)
        .set("SLURM_JOB_NODELIST", "node[1-4]");
    let step = job.srun(&allocation, &[]).finish();
    assert_eq!(step.code, Some(0), "{}", step.said);

    // Every agent stands still when it copies its first file, and one will not go on.
    let gate = Gate::new(&job, "gate", 1, "*/ckpt.*/.scr-*");
    let saving = job.behind(&gate);
    let words = saving.command(&["scr", "postrun", "-v"].map(String::from));
    let mut running = lab.start("head", &words);
    running.wait_until("all agents wait", 60, || gate.waiting().len() == RANKS);
    lab.kill("node2", Death::Power);
    lab.declare_down("node2");
    gate.open();
    let saved = running.finish();
    assert_eq!(saved.code, Some(0), "{}", saved.said);
    assert!(saved.said.contains("again with the nodes that are left"), "{}", saved.said);
    assert!(saved.said.contains(" saved: ") && saved.said.contains("rebuilt"), "{}", saved.said);
    let verified = saving.run(&["scr", "verify", "--cache", "/nowhere"]);
    assert_eq!(verified.code, Some(0), "{}", verified.said);
}
