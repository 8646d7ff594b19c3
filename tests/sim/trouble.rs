// SPDX-License-Identifier: MIT OR Apache-2.0
//! A full disk and a broken one at every operation: no panic, no deadlock, one answer on all ranks, and what was complete
//! before can still be restarted from.

use crate::cluster::{Fault, Launch, Side};
use crate::scenario::{self, Scenario, job};
use scr_core::store::fault::{Cause, Plan, What};

/// Faults per rank and store where not all are tried.
const SAMPLES: u64 = 6;

#[test]
fn trouble_at_any_operation_is_one_answer_and_loses_nothing_1() {
    campaign(0, 2);
}

#[test]
fn trouble_at_any_operation_is_one_answer_and_loses_nothing_2() {
    campaign(1, 2);
}

#[test]
fn trouble_at_any_operation_beside_the_application_loses_nothing() {
    run_all(scenario::beside().into_iter());
}

/// Runs every scenario of which `number % of == part`.
fn campaign(part: usize, of: usize) {
    run_all(scenario::all().into_iter().skip(part).step_by(of));
}

fn run_all(scenarios: impl Iterator<Item = Scenario>) {
    for scenario in scenarios {
        match trouble_everywhere(&scenario) {
            Ok(faults) => println!("{:<20} {faults:>6} errors", scenario.name),
            Err(why) => panic!("scenario {}: {why}", scenario.name),
        }
    }
}

fn trouble_everywhere(scenario: &Scenario) -> Result<u64, String> {
    let counts = scenario.base.fork().launch(&scenario.launch)?.counts;
    let samples = if scenario.name.starts_with("beside") { SAMPLES / 2 } else { SAMPLES };
    let mut faults = 0;
    for (rank, count) in counts.iter().enumerate() {
        for side in [Side::Local, Side::Shared] {
            let count = count[side as usize];
            let all = crate::tries_every_operation(scenario.name);
            let step = if all { 1 } else { count.div_ceil(samples).max(1) };
            for at in (1 + rank as u64 % step..=count).step_by(step as usize) {
                let cause = if at.is_multiple_of(3) { Cause::NoSpace } else { Cause::Io };
                let what = if at.is_multiple_of(2) { What::Once(cause) } else { What::From(cause) };
                trouble(scenario, Fault { rank, side, plan: Plan { at, what } })?;
                faults += 1;
            }
        }
    }
    Ok(faults)
}

fn trouble(scenario: &Scenario, fault: Fault) -> Result<(), String> {
    let mut cluster = scenario.base.fork();
    let launch = Launch { faults: vec![fault], ..scenario.launch.clone() };
    cluster.launch(&launch)?;
    let ranks = scenario.ranks(&launch.hosts);
    // Then all is well again, and nothing may be missing.
    cluster.launch(&job(&ranks, launch.knobs, "r c91 f"))?;
    cluster.launch(&job(&ranks, launch.knobs, "r"))?;
    Ok(())
}

/// A rank cannot read its data, and before the dataset is removed everywhere the job dies: nobody may take it for whole.
#[test]
fn a_dataset_that_one_rank_could_not_complete_is_not_found_whole_after_a_crash() {
    let scenario = scenario::all().swap_remove(0);
    let counts = scenario.base.fork().launch(&scenario.launch).unwrap().counts;
    let [broken, crashed] = [1, 0].map(|rank| counts[rank][Side::Local as usize]);
    let mut crashes = 0;
    for at in 1..=broken {
        let broken = Plan { at, what: What::Once(Cause::Io) };
        // Operations of two ranks keep step; around this one are those of its own Complete_output.
        for crash_at in (at.saturating_sub(6)..=(at + 12).min(crashed)).step_by(2) {
            let crash = Plan { at: crash_at.max(1), what: What::Crash };
            let faults = [(1, broken), (0, crash)];
            let faults = faults.map(|(rank, plan)| Fault { rank, side: Side::Local, plan });
            let mut cluster = scenario.base.fork();
            let launch = Launch { faults: faults.to_vec(), ..scenario.launch.clone() };
            crashes += u64::from(cluster.launch(&launch).unwrap_or_else(|e| panic!("{e}")).crashed);
            let again = job(&launch.hosts, launch.knobs, "r c91");
            cluster.launch(&again).unwrap_or_else(|e| panic!("{e}"));
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 100);
}
