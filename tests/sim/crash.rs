// SPDX-License-Identifier: MIT OR Apache-2.0
//! A crash at every operation of a scenario, then a loss within tolerance, then relaunches.

use crate::cluster::{Cluster, Ended, Fault, Launch, Side};
use crate::random::{Random, mix2};
use crate::scenario::{self, Scenario, job};
use scr_core::store::fault::{Plan, What};

/// Crashes per rank and store where not all are tried.
const SAMPLES: u64 = 8;

/// What one scenario came to.
#[derive(Debug, Default)]
struct Tally {
    operations: u64,
    crashes: u64,
    second_crashes: u64,
}

/// Runs every scenario of which `number % of == part`.
fn campaign(part: usize, of: usize) {
    run_all(scenario::all().into_iter().skip(part).step_by(of));
}

fn run_all(scenarios: impl Iterator<Item = Scenario>) {
    let mut failures = Vec::new();
    for scenario in scenarios {
        match crash_everywhere(&scenario) {
            Ok(tally) => println!(
                "{:<20} {:>6} operations {:>6} crashes {:>5} in the recovery",
                scenario.name, tally.operations, tally.crashes, tally.second_crashes
            ),
            Err(why) => failures.push(format!("scenario {}: {why}", scenario.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_crash_at_any_operation_loses_nothing_1() {
    campaign(0, 3);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_2() {
    campaign(1, 3);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_3() {
    campaign(2, 3);
}

#[test]
fn a_crash_at_any_operation_beside_the_application_loses_nothing() {
    run_all(scenario::beside().into_iter());
}

fn crash_everywhere(scenario: &Scenario) -> Result<Tally, String> {
    let mut clean = scenario.base.fork();
    let counts = clean.launch(&scenario.launch)?.counts;
    relaunch(&mut clean, scenario, &scenario.launch.hosts, 0)?;
    let mut tally = Tally::default();
    for (rank, count) in counts.iter().enumerate() {
        for side in [Side::Local, Side::Shared] {
            let count = count[side as usize];
            tally.operations += count;
            let step = match scenario.name {
                name if crate::tries_every_operation(name) => 1,
                "flush" | "same names" if rank == 0 => 1,
                "beside" if rank == 0 => 5,
                name if name.starts_with("beside") => count.div_ceil(SAMPLES / 2).max(1),
                _ => count.div_ceil(SAMPLES).max(1),
            };
            let first = 1 + mix2(rank as u64, side as u64) % step;
            for at in (first..=count).step_by(step as usize) {
                let what = if at.is_multiple_of(2) { What::Crash } else { What::Torn };
                let fault = Fault { rank, side, plan: Plan { at, what } };
                if crash(scenario, fault, &mut tally)? {
                    tally.crashes += 1;
                }
            }
        }
    }
    Ok(tally)
}

/// Crashes once, damages something, and relaunches until all is well again.
fn crash(scenario: &Scenario, fault: Fault, tally: &mut Tally) -> Result<bool, String> {
    let mut cluster = scenario.base.fork();
    let launch = Launch { faults: vec![fault], ..scenario.launch.clone() };
    let ended = cluster.launch(&launch)?;
    if !ended.crashed {
        return Ok(false);
    }
    let key = mix2(fault.plan.at, mix2(fault.rank as u64, fault.side as u64));
    let mut random = Random::new(key);
    let mut hosts = scenario.launch.hosts.clone();
    let crashed = hosts[fault.rank];
    if random.one_in(2) {
        cluster.power_loss_of_prefix(key);
    }
    // Mostly one loss that every scenario survives, where it has not used up its tolerance before.
    match random.below(5) {
        // Nothing but the prefix is left.
        4 if scenario.launch.knobs.flush_every > 0 => {
            (0..cluster.nodes.len()).for_each(|node| cluster.wipe(node));
        }
        0 => cluster.power_loss_of(crashed, key),
        1 => {
            cluster.wipe(crashed);
            hosts.iter_mut().filter(|h| **h == crashed).for_each(|h| *h = scenario.spare);
        }
        2 => {
            let other = random.pick(&hosts);
            cluster.wipe(other);
        }
        _ => {}
    }
    if random.one_in(3) {
        tally.second_crashes +=
            u64::from(crash_again(&mut cluster, scenario, &hosts, &mut random)?);
    }
    relaunch(&mut cluster, scenario, &hosts, 1)?;
    relaunch(&mut cluster, scenario, &hosts, 2)?;
    Ok(true)
}

/// Crashes in the recovery, wherever it happens to be.
fn crash_again(
    cluster: &mut Cluster,
    scenario: &Scenario,
    hosts: &[usize],
    random: &mut Random,
) -> Result<bool, String> {
    let plan = Plan { at: 1 + random.below(120), what: random.pick(&[What::Crash, What::Torn]) };
    let rank = random.below(scenario.ranks(hosts).len() as u64) as usize;
    let side = random.pick(&[Side::Local, Side::Local, Side::Shared]);
    let mut launch = job(&scenario.ranks(hosts), scenario.launch.knobs, "r c90");
    launch.faults = vec![Fault { rank, side, plan }];
    Ok(cluster.launch(&launch)?.crashed)
}

fn relaunch(
    cluster: &mut Cluster,
    scenario: &Scenario,
    hosts: &[usize],
    number: u32,
) -> Result<Ended, String> {
    let words = format!("r c{} f", 91 + number);
    cluster.launch(&job(&scenario.ranks(hosts), scenario.launch.knobs, &words))
}
