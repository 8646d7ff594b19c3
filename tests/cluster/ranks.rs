// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranks that fail while all nodes live: `scr run` ends the launch, and the next one starts from the newest checkpoint.

use crate::job::{Job, Launcher};
use crate::lab::Lab;
use scr_core::event::EventKind;

const RANKS: usize = 3;
const STEPS: u64 = 7;

/// The step in which rank 1 fails, once.
const FAILURE: u64 = 5;

/// One job after the other on the same nodes, each with its own kind of trouble.
fn fail(test: &str, launcher: Launcher, kinds: &[&str]) {
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    for kind in kinds {
        let job = Job::new(&lab, kind, RANKS, STEPS)
            .argue("fail", kind)
            .argue("at", &FAILURE.to_string())
            .argue("rank", "1")
            .set("SCR_WATCHDOG", "1")
            .set("SCR_WATCHDOG_TIMEOUT", "5");
        let words = job.scr_run(&["--runs", "3"], launcher);
        let end = job.salloc(RANKS as u32, &words).finish();
        assert_eq!(end.code, Some(0), "{kind}: {}", end.said);
        let story = job.assert_done();
        assert_eq!(story.complaints(), Vec::<&str>::new(), "{kind}");
        let restart = (story.launches(), story.restart(2));
        assert_eq!(restart, (2, Some((FAILURE - 1, 1))), "{kind}: {}", end.said);
        let noted = ["RUN_START", "RUN_END", "NODE_FAIL"].map(|event| job.noted(event));
        assert_eq!(noted, [2, 2, 0], "{kind}");
        // All is still where it was.
        let used = [EventKind::RebuildStart, EventKind::FetchStart].map(|event| job.count(event));
        assert_eq!(used, [0, 0], "{kind}");
    }
}

#[test]
fn a_rank_crashes_exits_aborts_or_stops() {
    let test = "ranks::a_rank_crashes_exits_aborts_or_stops";
    fail(test, Launcher::Srun, &["crash", "exit", "abort", "stop"]);
}

#[test]
fn a_rank_crashes_or_exits_under_mpirun() {
    let test = "ranks::a_rank_crashes_or_exits_under_mpirun";
    fail(test, Launcher::Mpirun, &["crash", "exit"]);
}

#[test]
fn a_rank_hangs() {
    fail("ranks::a_rank_hangs", Launcher::Srun, &["hang"]);
}

/// A launch that never gets anywhere must not be repeated for ever.
#[test]
fn an_application_that_always_fails_is_given_up() {
    let test = "ranks::an_application_that_always_fails_is_given_up";
    let Some(lab) = Lab::up(test, RANKS as u32) else { return };
    let job = Job::new(&lab, "job", RANKS, STEPS).argue("every", "0").argue("always", "1");
    let job = job.argue("fail", "exit").argue("at", "2").argue("rank", "0");
    let end = job.salloc(RANKS as u32, &job.scr_run(&["--runs", "-1"], Launcher::Srun)).finish();
    // Of the statuses of the ranks srun gives the highest, which is that of those that it killed.
    assert!(end.code.is_some_and(|code| code != 0), "{}", end.said);
    assert_eq!(job.story().launches(), 3, "{}", end.said);
}
