// SPDX-License-Identifier: MIT OR Apache-2.0
//! Jobs that are asked to stop: by a person, a signal, the end of their allocation. They stop with a checkpoint that the next
//! allocation goes on from.

use crate::job::{Job, Launcher};
use crate::lab::{Death, Finished, Lab, Running};
use std::fs;

const RANKS: usize = 2;
const STEPS: u64 = 60;

/// A job that is slow enough to be asked something in the middle.
fn slow_job<'a>(lab: &'a Lab, name: &str) -> Job<'a> {
    Job::new(lab, name, RANKS, STEPS).argue("pause_ms", "60")
}

/// What stands in front of a command, so that its process id is in a file of the prefix.
fn noting_its_pid(job: &Job) -> [String; 4] {
    let note = format!("echo $$ >'{}'; exec \"$@\"", job.prefix.join("pid").display());
    ["bash", "-c", &note, "bash"].map(String::from)
}

/// Starts `scr run`, with its process id in a file of the prefix.
fn start<'a>(job: &Job<'a>, launcher: Launcher, options: &[&str]) -> Running<'a> {
    let words = [noting_its_pid(job).as_slice(), &job.scr_run(options, launcher)].concat();
    job.salloc(RANKS as u32, &words)
}

/// Sends a signal to the `scr run` of a job.
fn signal(job: &Job, name: &str) {
    let pid = fs::read_to_string(job.prefix.join("pid")).expect("the process id");
    job.lab.ask(&["kill", name, pid.trim()]);
}

/// Waits until a checkpoint is complete in this launch.
fn wait_for_success(job: &Job, run: &mut Running, launch: u64, step: u64) {
    run.wait_until(&format!("checkpoint {step} in launch {launch}"), 60, || {
        let story = job.story();
        let chapter = story.0.get(&launch).and_then(|ranks| ranks.get(&0));
        chapter.is_some_and(|chapter| chapter.successes.iter().any(|found| *found >= step))
    });
}

/// The job has stopped before its end with a checkpoint; a new allocation starts from there and comes to the end.
fn go_on(job: &Job, stopped: &Finished) {
    let before = job.story();
    before.judge();
    let newest = before.0[&1][&0].successes.last().copied().expect("a checkpoint");
    assert!(newest < STEPS, "it came to its end: {}", stopped.said);
    let words = job.scr_run(&[], Launcher::Srun);
    let end = job.salloc(RANKS as u32, &words).finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!((story.launches(), story.restart(2)), (2, Some((newest, 1))), "{}", stopped.said);
    assert_eq!(story.complaints(), Vec::<&str>::new());
}

#[test]
fn sigterm_to_scr_run_stops_the_job_and_saves_its_checkpoint() {
    let test = "endings::sigterm_to_scr_run_stops_the_job_and_saves_its_checkpoint";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    for launcher in [Launcher::Srun, Launcher::Mpirun] {
        let job = slow_job(&lab, &format!("killed.{launcher:?}"));
        let mut run = start(&job, launcher, &["--runs", "3"]);
        wait_for_success(&job, &mut run, 1, 2);
        signal(&job, "-TERM");
        let end = run.finish();
        assert_eq!(end.code, Some(128 + 15), "{}", end.said);
        go_on(&job, &end);
    }
}

/// With `SCR_EXIT_SIGNALS` the application hears of it, and ends by itself.
#[test]
fn sigterm_that_the_library_takes_stops_the_job_cleanly() {
    let test = "endings::sigterm_that_the_library_takes_stops_the_job_cleanly";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    for launcher in [Launcher::Srun, Launcher::Mpirun] {
        let job = slow_job(&lab, &format!("told.{launcher:?}")).set("SCR_EXIT_SIGNALS", "TERM");
        let mut run = start(&job, launcher, &["--runs", "3"]);
        wait_for_success(&job, &mut run, 1, 2);
        signal(&job, "-TERM");
        let end = run.finish();
        assert_eq!(end.code, Some(0), "{}", end.said);
        let exits: Vec<_> = job.story().0[&1].values().map(|c| (c.exit, c.end)).collect();
        assert!(exits[0].0.is_some() && exits.iter().all(|exit| *exit == exits[0]), "{exits:?}");
        go_on(&job, &end);
    }
}

/// The scheduler does not answer for a while: the launch goes on, and the signal arrives later.
#[test]
fn slurm_is_silent_when_the_job_is_told_to_stop() {
    let test = "endings::slurm_is_silent_when_the_job_is_told_to_stop";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = slow_job(&lab, "job").set("SCR_EXIT_SIGNALS", "TERM").argue("hold", "5");
    let mut run = start(&job, Launcher::Srun, &["--runs", "3"]);
    run.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(5));
    lab.ask(&["sh", "-c", "kill -STOP $(cat /run/slurmctld.pid)"]);
    signal(&job, "-TERM");
    run.wait_to_hear("not passed on yet", 60);
    lab.ask(&["sh", "-c", "kill -CONT $(cat /run/slurmctld.pid)"]);
    run.wait_to_hear("passed on to step", 60);
    job.release(5);
    let end = run.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    assert_eq!(job.story().0[&1][&0].exit, Some(5), "{}", end.said);
    go_on(&job, &end);
}

#[test]
fn a_step_that_is_cancelled_is_launched_again() {
    let test = "endings::a_step_that_is_cancelled_is_launched_again";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = slow_job(&lab, "job");
    let mut run = start(&job, Launcher::Srun, &["--runs", "3"]);
    wait_for_success(&job, &mut run, 1, 2);
    let steps = lab.ask(&["squeue", "-h", "-s", "-o", "%i %j"]);
    let step = steps.lines().find_map(|line| line.strip_suffix(" app"));
    lab.ask(&["scancel", step.unwrap_or_else(|| panic!("no step of the application: {steps}"))]);
    let end = run.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!(story.launches(), 2, "{}", end.said);
    assert_eq!(story.complaints(), Vec::<&str>::new());
}

#[test]
fn scr_halt_stops_the_job_in_each_of_its_forms() {
    let test = "endings::scr_halt_stops_the_job_in_each_of_its_forms";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    // The last one counts from the end of the allocation, which has an hour.
    let forms: [(&str, &[&str]); 6] = [
        ("now", &[]),
        ("count", &["--checkpoints", "2"]),
        ("before", &["--before", "+8 seconds", "--seconds", "6"]),
        ("after", &["--after", "+2 seconds"]),
        ("seconds", &["--seconds", "100000"]),
        ("immediate", &["--immediate"]),
    ];
    for (name, form) in forms {
        // The last one does not wait for the application to hear of it.
        let is_deaf = u8::from(name == "immediate").to_string();
        let job = slow_job(&lab, name).set("TZ", "UTC").argue("stubborn", &is_deaf);
        let mut run = start(&job, Launcher::Srun, &["--runs", "3"]);
        wait_for_success(&job, &mut run, 1, 2);
        let mut words = vec!["scr_halt".to_string()];
        words.extend(form.iter().map(|word| match word.strip_prefix('+') {
            Some(_) => lab.ask(&["date", "-u", "-d", word, "+%Y-%m-%dT%H:%M:%S"]),
            None => (*word).to_string(),
        }));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let asked_at = *job.story().0[&1][&0].successes.last().expect("a checkpoint");
        let asked = job.run(&words);
        assert_eq!(asked.code, Some(0), "{name}: {}", asked.said);
        let listed = job.run(&["scr_halt", "--list"]);
        assert_eq!(listed.code, Some(0), "{name}: {}", listed.said);

        let end = run.finish();
        let exit = job.story().0[&1][&0].exit;
        if name == "immediate" {
            assert!(end.code != Some(0) && exit.is_none(), "{:?} {}", end.code, end.said);
        } else {
            assert_eq!(end.code, Some(0), "{name}: {}", end.said);
            let exit = exit.unwrap_or_else(|| panic!("{name}: not stopped: {}", end.said));
            assert!(name != "count" || exit >= asked_at + 2, "stopped in {exit}, not {asked_at}+2");
        }
        // While it is asked for, nothing is launched.
        let refused = job.salloc(RANKS as u32, &job.scr_run(&[], Launcher::Srun)).finish();
        assert_eq!((refused.code, job.story().launches()), (Some(75), 1), "{}", refused.said);
        assert_eq!(job.run(&["scr_halt", "--remove"]).code, Some(0));
        go_on(&job, &end);
    }
}

#[test]
fn the_job_stops_before_its_allocation_ends() {
    let test = "endings::the_job_stops_before_its_allocation_ends";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    // Two minutes, less 110 seconds: ten are left.
    let job = Job::new(&lab, "job", RANKS, 200).argue("pause_ms", "100");
    let job = job.set("SCR_HALT_SECONDS", "110").set("SALLOC_TIMELIMIT", "2");
    let end = job.salloc(RANKS as u32, &job.scr_run(&["--runs", "3"], Launcher::Srun)).finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.story();
    assert_eq!(story.launches(), 1, "{}", end.said);
    assert!(story.0[&1].values().all(|chapter| chapter.exit.is_some()), "{story:#?}");
    let newest = story.0[&1][&0].successes.last().copied().expect("a checkpoint");
    let job = job.set("SCR_HALT_SECONDS", "0");
    let again = job.salloc(RANKS as u32, &job.scr_run(&[], Launcher::Srun)).finish();
    assert_eq!(again.code, Some(0), "{}", again.said);
    assert_eq!(job.assert_done().restart(2), Some((newest, 1)));
}

/// Its srun dies with it, its step later or never; the next `scr run` of the allocation must neither wait for that step nor
/// write beside it.
#[test]
fn what_a_killed_scr_run_left_behind_is_ended() {
    let test = "endings::what_a_killed_scr_run_left_behind_is_ended";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let allocation = lab.allocate(RANKS as u32);
    let job = slow_job(&lab, "job")
        .argue("hold", "5")
        .set("SLURM_JOB_ID", &allocation)
        .set("SLURM_JOB_NODELIST", "node[1-2]");
    let words = [noting_its_pid(&job).as_slice(), &job.scr_run(&[], Launcher::Srun)].concat();
    let mut run = lab.start("head", &job.command(&words));
    run.wait_until("the ranks wait in the middle of the launch", 60, || job.is_held(5));
    signal(&job, "-KILL");
    assert_ne!(run.finish().code, Some(0));
    let mut again = lab.start("head", &job.command(&job.scr_run(&[], Launcher::Srun)));
    again.wait_until("the second launch begins", 90, || job.story().launches() == 2);
    job.release(5);
    let end = again.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    let story = job.assert_done();
    assert_eq!((story.restart(2), story.complaints()), (Some((4, 1)), Vec::new()));
}

/// Each allocation is told that it ends soon; the job is put back into the queue with what it has done.
#[test]
fn a_chain_of_three_allocations_does_the_work() {
    let test = "endings::a_chain_of_three_allocations_does_the_work";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = slow_job(&lab, "job");
    let words = job.scr_run(&["--requeue"], Launcher::Srun);
    let id = job.sbatch(&["-N", "2", "--requeue", "--open-mode=append"], &words);
    for allocation in 1..3 {
        lab.wait_until(&format!("allocation {allocation} works"), 90, || {
            let story = job.story();
            story.0.get(&allocation).is_some_and(|ranks| {
                ranks.len() == RANKS && ranks.values().all(|chapter| chapter.successes.len() >= 3)
            })
        });
        lab.ask(&["scancel", "--batch", "--signal=USR1", &id]);
    }
    lab.wait_until("the job is done", 90, || lab.job_state(&id) == "COMPLETED");
    let story = job.assert_done();
    assert_eq!((story.launches(), story.complaints()), (3, Vec::new()));
    for launch in 1..3 {
        let newest = story.0[&launch][&0].successes.last().copied();
        assert_eq!(story.restart(launch + 1).map(|(step, _)| step), newest);
    }
}

#[test]
fn eight_tasks_of_an_array_share_a_prefix() {
    let test = "endings::eight_tasks_of_an_array_share_a_prefix";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let steps = 6;
    let job = Job::new(&lab, "job", RANKS, steps).argue("fail", "exit").argue("at", "4");
    let job = job.argue("output", "3").argue("dir", "files.$SLURM_ARRAY_TASK_ID");
    let task = job.prefix.join("log/task.$SLURM_ARRAY_TASK_ID");
    let job = job.argue("log", &task.to_string_lossy());
    for task in 1..=8 {
        fs::create_dir(job.log(&format!("task.{task}"))).expect("a directory for logs");
    }
    let set = ["env", "SCR_TASK=$SLURM_ARRAY_TASK_ID"].map(String::from);
    let words = [&set[..], &job.scr_run(&["--runs", "2"], Launcher::Srun)].concat();
    let id = job.sbatch(&["-N", "2", "--array=1-8%3"], &words);
    lab.wait_until("all tasks are done", 120, || lab.ask(&["squeue", "-h", "-j", &id]).is_empty());
    for task in 1..=8 {
        let task = job.within(&format!("log/task.{task}"));
        let story = task.assert_done();
        assert_eq!((story.launches(), story.complaints()), (2, Vec::new()), "{task:?}");
        assert_eq!(story.restart(2), Some((3, 1)), "{task:?}");
    }
}

/// Its number is that of the whole array, too.
#[test]
fn the_last_task_of_an_array_is_requeued_alone() {
    let test = "endings::the_last_task_of_an_array_is_requeued_alone";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = slow_job(&lab, "job").argue("dir", "files.$SLURM_ARRAY_TASK_ID");
    let task = job.prefix.join("log/task.$SLURM_ARRAY_TASK_ID");
    let job = job.argue("log", &task.to_string_lossy());
    for task in 1..=2 {
        fs::create_dir(job.log(&format!("task.{task}"))).expect("a directory for logs");
    }
    let set = ["env", "SCR_TASK=$SLURM_ARRAY_TASK_ID"].map(String::from);
    let words = [&set[..], &job.scr_run(&["--requeue"], Launcher::Srun)].concat();
    let options = ["-N", "2", "--array=1-2", "--requeue", "--open-mode=append"];
    let id = job.sbatch(&options, &words);
    let tasks = [1, 2].map(|task| job.within(&format!("log/task.{task}")));
    lab.wait_until("both tasks work", 90, || {
        let has_begun = |task: &Job| {
            let story = task.story();
            story.0.get(&1).is_some_and(|ranks| {
                ranks.len() == RANKS && ranks.values().all(|chapter| chapter.successes.len() >= 3)
            })
        };
        tasks.iter().all(has_begun)
    });
    lab.ask(&["scancel", "--batch", "--signal=USR1", &format!("{id}_2")]);
    lab.wait_until("both are done", 90, || lab.ask(&["squeue", "-h", "-j", &id]).is_empty());
    for (task, launches) in tasks.iter().zip([1, 2]) {
        let story = task.assert_done();
        assert_eq!((story.launches(), story.complaints()), (launches, Vec::new()), "{task:?}");
    }
}

/// Whoever starts it anew does so in minutes; what is in the caches is there as long.
#[test]
fn caches_are_saved_when_slurm_answers_again() {
    let test = "endings::caches_are_saved_when_slurm_answers_again";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = slow_job(&lab, "job").argue("hold", "5");
    let mut run = start(&job, Launcher::Srun, &[]);
    run.wait_until("the ranks wait in the middle", 60, || job.is_held(5));
    // So that it keeps what it knows of the job.
    lab.ask(&["sh", "-c", "kill $(cat /run/slurmctld.pid)"]);
    job.release(5);
    lab.wait_until("saving fails", 120, || run.said().contains("saving is tried again"));
    lab.revive("head", Death::Slurmd);
    let end = run.finish();
    assert_eq!(end.code, Some(0), "{}", end.said);
    assert!(end.said.contains(&format!("saved dataset {STEPS} ")), "{}", end.said);
    job.assert_done();
}
