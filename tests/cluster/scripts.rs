// SPDX-License-Identifier: MIT OR Apache-2.0
//! The job scripts of examples/jobs as a user submits them.

use crate::job::Job;
use crate::lab::{Death, Lab};
use scr_core::event::EventKind;
use scr_tests::program::root;
use std::fs;

const RANKS: usize = 4;
const STEPS: u64 = 8;

/// The node is lost, or the application fails, before this step.
const LOSS: u64 = 5;

/// A job in whose directory lie the scripts, and the application as `app`.
fn job<'a>(lab: &'a Lab, name: &str) -> Job<'a> {
    let job = Job::new(lab, name, RANKS, STEPS);
    for entry in fs::read_dir(root().join("examples/jobs")).expect("the scripts").flatten() {
        fs::copy(entry.path(), job.prefix.join(entry.file_name())).expect("a copy");
    }
    std::os::unix::fs::symlink(lab.installed("bin/app"), job.prefix.join("app")).expect("a link");
    job
}

/// Submits a script, with the arguments of the application behind its own; returns the job's id.
fn submit(job: &Job, options: &[&str], script: &[&str]) -> String {
    let output = job.prefix.join("log/batch.%j").to_string_lossy().into_owned();
    let application = job.application();
    let arguments = application.iter().skip(1).map(String::as_str);
    let words = [&["sbatch", "--parsable", "-o", &output], options, script].concat();
    let submitted = job.run(&words.into_iter().chain(arguments).collect::<Vec<_>>());
    assert_eq!(submitted.code, Some(0), "{}", submitted.said);
    submitted.said.trim().to_string()
}

/// What a batch script and its launches printed.
fn printed(job: &Job, id: &str) -> String {
    fs::read_to_string(job.prefix.join(format!("log/batch.{id}"))).unwrap_or_default()
}

/// Waits until a batch job is over, and checks its exit status.
fn ends_with(job: &Job, id: &str, status: i32) {
    let is_over = |state: &str| !["PENDING", "RUNNING", "COMPLETING"].contains(&state);
    job.lab.wait_until("the job is over", 90, || is_over(&job.lab.job_state(id)));
    assert_eq!(job.lab.exit_status(id), status, "{}", printed(job, id));
}

/// Waits until the ranks are in the middle of a launch, and takes the power from the node of one of them, but not from
/// the first node, where the batch script is.
fn lose_node3(job: &Job) {
    job.lab.wait_until("the ranks wait in the middle of the launch", 90, || job.is_held(LOSS));
    job.lab.kill("node3", Death::Power);
    job.lab.declare_down("node3");
    job.release(LOSS);
}

/// The job lost node3 in its first launch, and did its work in the second one.
fn went_on_without_node3(job: &Job, id: &str) {
    ends_with(job, id, 0);
    let story = job.assert_done();
    let said = printed(job, id);
    assert_eq!(story.complaints(), Vec::<&str>::new(), "{said}");
    assert_eq!((story.launches(), story.restart(2)), (2, Some((LOSS - 1, 1))), "{said}");
    assert_eq!(story.nodes(2).len(), RANKS);
    assert!(!story.nodes(2).contains(&"node3"), "{story:#?}");
}

/// The same with a rebuild in the caches, and nothing from the prefix.
fn rebuilt_in_caches(job: &Job) {
    assert_eq!(job.count(EventKind::FetchStart), 0);
    assert!(job.count(EventKind::RebuildSuccess) >= 1, "nothing was rebuilt");
}

#[test]
fn scr_srun_runs_once_and_saves_what_is_in_the_caches() {
    let test = "scripts::scr_srun_runs_once_and_saves_what_is_in_the_caches";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let well = job(&lab, "well");
    let id = submit(&well, &["-N4"], &["scr_srun.sh", "-N4", "-n4", "./app"]);
    ends_with(&well, &id, 0);
    assert_eq!(well.assert_done().launches(), 1);

    let failing = job(&lab, "failing").argue("fail", "exit").argue("rank", "1");
    let failing = failing.argue("at", &LOSS.to_string());
    let id = submit(&failing, &["-N4"], &["scr_srun.sh", "-N4", "-n4", "./app"]);
    // Of all statuses srun passes the highest on: that of the ranks that were ended for the sake of the one that failed.
    ends_with(&failing, &id, 128 + 15);
    let said = printed(&failing, &id);
    assert!(said.contains(&format!("(ckpt.{}) saved", LOSS - 1)), "{said}");

    // Another allocation finds it in the prefix.
    let id = submit(&failing, &["-N4"], &["scr_srun.sh", "-N4", "-n4", "./app"]);
    ends_with(&failing, &id, 0);
    let story = failing.assert_done();
    assert_eq!((story.launches(), story.restart(2)), (2, Some((LOSS - 1, 1))));
    assert_eq!(failing.count(EventKind::FetchSuccess), 1);
}

#[test]
fn scr_srun_loop_goes_on_without_the_node_that_was_lost() {
    let test = "scripts::scr_srun_loop_goes_on_without_the_node_that_was_lost";
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, &["-N5"], &["scr_srun_loop.sh", "-N4", "-n4", "./app"]);
    lose_node3(&job);
    went_on_without_node3(&job, &id);
    rebuilt_in_caches(&job);
}

#[test]
fn scr_run_goes_on_without_the_node_that_was_lost() {
    let test = "scripts::scr_run_goes_on_without_the_node_that_was_lost";
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, &["-N5"], &["scr_run.sh", "srun", "-N4", "-n4", "./app"]);
    lose_node3(&job);
    went_on_without_node3(&job, &id);
    rebuilt_in_caches(&job);
}

/// As the manual of SCR calls it. Between its launches everything that is only in the caches goes to the prefix, too.
#[test]
fn scr_run_loop_goes_on_without_the_node_that_was_lost() {
    let test = "scripts::scr_run_loop_goes_on_without_the_node_that_was_lost";
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, &["-N5"], &["scr_run_loop.sh", "-N4", "-n4", "./app"]);
    lose_node3(&job);
    went_on_without_node3(&job, &id);
}

/// One word of a script that somebody has, and two options of the command that submits it.
#[test]
fn one_word_of_a_script_makes_a_job_survive() {
    let test = "scripts::one_word_of_a_script_makes_a_job_survive";
    let read =
        |name: &str| fs::read_to_string(root().join("examples/jobs").join(name)).expect("a script");
    let (before, after) = (read("before.sh"), read("after.sh"));
    assert_eq!(after.matches("scr_run").count(), 1, "{after}");
    assert_eq!(after.replacen("scr_run srun ", "srun ", 1), before);

    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let plain = job(&lab, "plain");
    let id = submit(&plain, &[], &["before.sh"]);
    ends_with(&plain, &id, 0);
    assert_eq!(plain.assert_done().launches(), 1);

    let job = job(&lab, "job").argue("hold", &LOSS.to_string()).set("SCR_RUNS", "3");
    let id = submit(&job, &["-N5", "--no-kill"], &["after.sh"]);
    lose_node3(&job);
    went_on_without_node3(&job, &id);
    rebuilt_in_caches(&job);
}

/// Slurm tells it that its time is nearly over; it goes on in the next allocation.
#[test]
fn the_script_for_long_work_is_requeued() {
    let test = "scripts::the_script_for_long_work_is_requeued";
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, &[], &["requeue.sh"]);
    lab.wait_until("the ranks wait in the middle of the launch", 90, || job.is_held(LOSS));
    lab.ask(&["scancel", "--batch", "--signal=USR1", &id]);
    lab.wait_until("it is asked to stop", 60, || {
        job.run(&["scr", "halt", "--list"]).said.contains("ExitReason")
    });
    job.release(LOSS);
    lab.wait_until("the job is done", 90, || lab.job_state(&id) == "COMPLETED");
    let story = job.assert_done();
    assert_eq!(
        (story.launches(), story.restart(2)),
        (2, Some((LOSS, 1))),
        "{}",
        printed(&job, &id)
    );
    assert_eq!(story.complaints(), Vec::<&str>::new());
}
