// SPDX-License-Identifier: MIT OR Apache-2.0
//! The job scripts of examples/jobs as a user submits them.

use crate::job::{Job, Story};
use crate::lab::{Death, Lab};
use scr_core::event::EventKind;
use scr_tests::program::root;
use std::fs;
use std::os::unix::fs::PermissionsExt;

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

/// Types a line that submits a script, with the arguments of the application behind it; returns the job's id.
fn submit(job: &Job, line: &str) -> String {
    let application = job.application();
    let arguments = application.iter().skip(1).map(String::as_str);
    let typed = format!("{line} \"$@\"");
    let words: Vec<&str> = ["bash", "-c", &typed, "bash"].into_iter().chain(arguments).collect();
    let submitted = job.run(&words);
    assert_eq!(submitted.code, Some(0), "{}", submitted.said);
    let id = submitted.said.split("Submitted batch job ").nth(1).expect("a job");
    id.trim().to_string()
}

/// What a batch script and its launches printed.
fn printed(job: &Job, id: &str) -> String {
    fs::read_to_string(job.prefix.join(format!("slurm-{id}.out"))).unwrap_or_default()
}

/// Waits until a batch job is over; returns its exit status.
fn end_of(job: &Job, id: &str) -> i32 {
    let is_over = |state: &str| !["PENDING", "RUNNING", "COMPLETING"].contains(&state);
    job.lab.wait_until("the job is over", 90, || is_over(&job.lab.job_state(id)));
    job.lab.exit_status(id)
}

/// Waits until a batch job has done its work, in so many launches and without complaints.
fn is_done(job: &Job, id: &str, launches: usize) -> Story {
    assert_eq!(end_of(job, id), 0, "{}", printed(job, id));
    let story = job.assert_done();
    let told = (story.launches(), story.complaints());
    assert_eq!(told, (launches, Vec::new()), "{}", printed(job, id));
    story
}

/// Waits until the ranks are in the middle of a launch.
fn wait_for_the_middle(job: &Job) {
    job.lab.wait_until("the ranks wait in the middle of the launch", 90, || job.is_held(LOSS));
}

/// Takes the power from a node in the middle of a launch; not from the first one, where the batch script is.
fn lose_node3(job: &Job) {
    wait_for_the_middle(job);
    job.lab.kill("node3", Death::Power);
    job.lab.declare_down("node3");
    job.release(LOSS);
}

/// The job lost node3 in its first launch, and did its work in the second one.
fn went_on_without_node3(job: &Job, id: &str) {
    let story = is_done(job, id, 2);
    assert_eq!(story.restart(2), Some((LOSS - 1, 1)), "{}", printed(job, id));
    assert_eq!(story.nodes(2).len(), RANKS);
    assert!(!story.nodes(2).contains(&"node3"), "{story:#?}");
}

/// The second launch took nothing from the prefix.
fn rebuilt_in_caches(job: &Job) {
    assert_eq!(job.count(EventKind::FetchStart), 0);
    assert!(job.count(EventKind::RebuildSuccess) >= 1, "nothing was rebuilt");
}

/// Submits a script with a spare node, loses node3, and lets `check` look at what was done in the end.
fn survive(test: &str, line: &str, check: fn(&Job)) {
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, line);
    lose_node3(&job);
    went_on_without_node3(&job, &id);
    check(&job);
}

#[test]
fn scr_srun_runs_once_and_saves_what_is_in_the_caches() {
    let test = "scripts::scr_srun_runs_once_and_saves_what_is_in_the_caches";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let line = "sbatch -N 4 scr_srun.sh -N 4 -n 4 ./app";
    let well = job(&lab, "well");
    is_done(&well, &submit(&well, line), 1);

    let failing = job(&lab, "failing").argue("fail", "exit").argue("rank", "1");
    let failing = failing.argue("at", &LOSS.to_string());
    let id = submit(&failing, line);
    // Of all statuses srun passes the highest on: that of the ranks that were ended for the sake of the one that failed.
    assert_eq!(end_of(&failing, &id), 128 + 15, "{}", printed(&failing, &id));
    let said = printed(&failing, &id);
    assert!(said.contains(&format!("(ckpt.{}) saved", LOSS - 1)), "{said}");

    // Another allocation finds it in the prefix.
    let story = is_done(&failing, &submit(&failing, line), 2);
    assert_eq!(story.restart(2), Some((LOSS - 1, 1)));
    assert_eq!(failing.count(EventKind::FetchSuccess), 1);
}

#[test]
fn scr_srun_loop_goes_on_without_the_node_that_was_lost() {
    let test = "scripts::scr_srun_loop_goes_on_without_the_node_that_was_lost";
    survive(test, "sbatch -N 5 scr_srun_loop.sh -N 4 -n 4 ./app", rebuilt_in_caches);
}

#[test]
fn scr_run_goes_on_without_the_node_that_was_lost() {
    let test = "scripts::scr_run_goes_on_without_the_node_that_was_lost";
    survive(test, "sbatch -N 5 scr_run.sh srun -N 4 ./app", rebuilt_in_caches);
}

/// Between its launches everything that is only in the caches goes to the prefix, too.
#[test]
fn scr_run_loop_goes_on_without_the_node_that_was_lost() {
    let test = "scripts::scr_run_loop_goes_on_without_the_node_that_was_lost";
    survive(test, "sbatch -N 5 scr_run_loop.sh srun -N 4 ./app", |_| ());
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
    is_done(&plain, &submit(&plain, "sbatch before.sh"), 1);

    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, "SCR_RUNS=3 sbatch -N 5 --no-kill after.sh");
    lose_node3(&job);
    went_on_without_node3(&job, &id);
    rebuilt_in_caches(&job);
    let said = printed(&job, &id);
    for line in [
        "4 nodes and 1 spare",
        "launch 1 of 3 on node1, node2, node3, node4",
        "launch 2 of 3 on node1, node2, node5 (spare for node3), node4",
        "done: the application succeeded",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

/// Slurm tells it that its time is nearly over; it goes on in the next allocation.
#[test]
fn the_script_for_long_work_is_requeued() {
    let test = "scripts::the_script_for_long_work_is_requeued";
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, "sbatch requeue.sh");
    wait_for_the_middle(&job);
    lab.ask(&["scancel", "--batch", "--signal=USR1", &id]);
    lab.wait_until("it is asked to stop", 60, || {
        job.run(&["scr_halt", "--list"]).said.contains("ExitReason")
    });
    job.release(LOSS);
    lab.wait_until("the job is done", 90, || lab.job_state(&id) == "COMPLETED");
    assert_eq!(is_done(&job, &id, 2).restart(2), Some((LOSS, 1)), "{}", printed(&job, &id));
}

/// "Halt immediately" of SCR's manual: who ends a step has to say first that it is not to be launched again.
#[test]
fn a_job_is_halted_by_hand_and_goes_on_when_it_may() {
    let test = "scripts::a_job_is_halted_by_hand_and_goes_on_when_it_may";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = job(&lab, "job").argue("hold", &LOSS.to_string());
    let id = submit(&job, "SCR_RUNS=3 sbatch --no-kill after.sh");
    wait_for_the_middle(&job);
    assert_eq!(job.run(&["scr_halt"]).code, Some(0));
    let steps = lab.ask(&["squeue", "-h", "-s", "-o", "%i %j"]);
    let step = steps.lines().find_map(|line| line.strip_suffix(" app"));
    lab.ask(&["scancel", step.unwrap_or_else(|| panic!("no step of the application: {steps}"))]);
    assert_ne!(end_of(&job, &id), 0, "{}", printed(&job, &id));
    assert_eq!(job.story().launches(), 1, "{}", printed(&job, &id));
    assert_eq!(job.run(&["scr_have_restart"]).said.trim(), format!("ckpt.{}", LOSS - 1));

    job.release(LOSS);
    assert_eq!(job.run(&["scr_halt", "--remove"]).code, Some(0));
    let id = submit(&job, "sbatch --no-kill after.sh");
    assert_eq!(is_done(&job, &id, 2).restart(2), Some((LOSS - 1, 1)));
}

/// The batch scripts of "Run a job" of SCR's manual, with fewer nodes, and so many hours that none is asked to halt.
const OF_SCRS_MANUAL: [&str; 4] = [
    "
#SBATCH --no-kill
export SCR_HALT_SECONDS=3600
scr_run.sh -n512 -N64 ./my_job",
    "
#SBATCH --no-kill
export SCR_HALT_SECONDS=3600
scr_run_loop.sh -n512 -N64 ./my_job",
    "
#SBATCH --no-kill
#SBATCH --nodes 66
export SCR_PREFIX=/parallel/file/system/username/run1
export SCR_FLUSH=20
export SCR_HALT_SECONDS=3600
export SCR_RUNS=3
scr_run srun -n512 -N64 ./my_job",
    "
#SBATCH --no-kill
#SBATCH --nodes 66
export SCR_PREFIX=/parallel/file/system/username/run1
export SCR_FLUSH=20
export SCR_HALT_SECONDS=3600
export SCR_RUNS=3
scr_srun -n512 -N64 ./my_job",
];

#[test]
fn the_batch_scripts_of_scrs_manual_run() {
    let test = "scripts::the_batch_scripts_of_scrs_manual_run";
    let Some(lab) = Lab::up(test, RANKS as u32 + 1) else { return };
    let started = OF_SCRS_MANUAL.iter().zip(1..).map(|(text, number)| {
        let job = job(&lab, &format!("run{number}"));
        let prefix = job.prefix.to_string_lossy().into_owned();
        let text = text.replace("/parallel/file/system/username/run1", &prefix);
        let text = text.replace("-n512 -N64", "-n4 -N4").replace("--nodes 66", "--nodes 5");
        fs::write(job.prefix.join("job.sh"), format!("#!/bin/bash{text}\n")).expect("a script");
        fs::write(
            job.prefix.join("my_job"),
            format!("#!/bin/sh\nexec {}\n", job.application().join(" ")),
        )
        .expect("a program");
        let mine = job.prefix.join("my_job");
        fs::set_permissions(&mine, fs::Permissions::from_mode(0o755)).expect("a program");
        let path = format!("{prefix}:{}:/usr/bin:/bin", lab.installed("bin").display());
        let job = job.set("PATH", &path);
        let id = submit(&job, "sbatch -N 5 -t 5:00:00 job.sh");
        (job, id)
    });
    for (job, id) in started.collect::<Vec<_>>() {
        is_done(&job, &id, 1);
    }
}
