// SPDX-License-Identifier: MIT OR Apache-2.0
//! One launch from start to end: nothing of it is left when this returns, and it does not wait for the dead.
//!
//! MPI gives no answer once a process is gone, and launchers may not notice (MPICH's waits while a grandchild lives, srun
//! waits for a node that Slurm has not given up). So after a rank's abnormal death, or the loss of a node, the rest gets
//! [`Limits::after_death`] to end by itself, and is then killed: first the ranks, so that the launcher can tidy up, then
//! the launcher.

use super::decide::Status;
use super::signals::{means_stop, name};
use super::site::{Aftermath, Site, kill_all, processes, sweep};
use crate::launcher::Launch;
use crate::output::{join, say_now};
use crate::process::{self, Process};
use rustix::process::{Signal, WaitOptions, wait};
use scr_core::Result;
use scr_core::clock::Clock;
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How often the launcher is asked whether it has ended.
pub(super) const POLL: Duration = Duration::from_millis(20);
/// How long a signal that could not be passed on waits for the next try.
const RETRY: Duration = Duration::from_secs(2);
/// How often the site is asked for trouble.
const LOOK: Duration = Duration::from_millis(100);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the death of a rank to the end of all others (`SCR_HANG_SECONDS`).
    pub(crate) after_death: Duration,
    /// How long a launcher whose ranks were killed may take to end.
    pub(crate) launcher: Duration,
}

/// How a launch ended.
#[derive(Clone, Debug)]
pub(crate) struct StepEnd {
    /// The launcher.
    pub(crate) launcher: Status,
    /// What was found afterwards.
    pub(crate) aftermath: Aftermath,
    /// The signal that told us to stop.
    pub(crate) interrupted: Option<i32>,
}

/// How far the end of a launch has been forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    None,
    RanksKilled,
    AllKilled,
}

/// What is known while a launch runs.
#[derive(Debug)]
struct Watch<'a> {
    site: &'a mut dyn Site,
    clock: &'a dyn Clock,
    limits: Limits,
    launcher: Process,
    deadline: Option<Duration>,
    force: Force,
    next_look: Duration,
    told: BTreeSet<i32>,
    interrupted: Option<i32>,
    /// Signals that nobody could be given yet.
    held_back: Vec<i32>,
    next_try: Duration,
}

/// Runs one launch to its end. Signals that `takes` does not take are passed on to the application.
///
/// # Errors
/// [`NotFound`](scr_core::ErrorKind::NotFound) when the launcher is not there, and those of the site.
pub(crate) fn supervise(
    site: &mut dyn Site,
    launch: &Launch,
    limits: Limits,
    clock: &dyn Clock,
    signals: &mut Signals,
    takes: &dyn Fn(i32) -> bool,
) -> Result<StepEnd> {
    // A supervisor that was killed may have left ranks that still write to the caches.
    if !sweep(site.run_id(), clock) {
        say_now("some processes of an earlier launch cannot be killed");
    }
    let launcher = start(site.run_id(), launch)?;
    let mut watch = Watch {
        site,
        clock,
        limits,
        launcher,
        deadline: None,
        force: Force::None,
        next_look: Duration::ZERO,
        told: BTreeSet::new(),
        interrupted: None,
        held_back: Vec::new(),
        next_try: Duration::ZERO,
    };
    let status = loop {
        if let Some(status) = reap(launcher.pid) {
            break status;
        }
        for signal in signals.pending() {
            if !takes(signal) {
                watch.take(signal);
            }
        }
        watch.pass_on();
        if clock.monotonic() >= watch.next_look {
            watch.look();
        }
        if watch.deadline.is_some_and(|deadline| clock.monotonic() >= deadline) {
            watch.force_end();
        }
        clock.sleep(POLL);
    };
    // A launcher may be faster than our looking: the cause is told all the same.
    watch.look();
    let interrupted = watch.interrupted;
    Ok(StepEnd { launcher: status, aftermath: site.ended(clock)?, interrupted })
}

/// Starts the launcher with our standard streams, in a process group of its own unless it may read from a terminal.
fn start(run_id: &str, launch: &Launch) -> Result<Process> {
    let mut command = Command::new(&launch.argv[0]);
    command.args(&launch.argv[1..]).envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.env("SCR_RUN_ID", run_id);
    process::die_with_parent(&mut command);
    if !std::io::stdin().is_terminal() {
        command.process_group(0);
    }
    let pid = process::spawn(&mut command)?.id().cast_signed();
    // One that is dead already is still there to be reaped under its pid.
    Ok(process::find(pid).unwrap_or(Process { pid, start_ticks: 0 }))
}

/// Takes leave of every child that has ended, adopted ones included; tells how the launcher did.
pub(super) fn reap(launcher: i32) -> Option<Status> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == launcher {
            let signal = status.terminating_signal().map(Status::Signal);
            ended = signal.or_else(|| status.exit_status().map(Status::Code));
        }
    }
    ended
}

impl Watch<'_> {
    /// Takes a signal that is for the ranks; a second request to stop is an order.
    fn take(&mut self, signal: i32) {
        if means_stop(signal) && self.interrupted.is_some() {
            say_now(&format!("{} again: ending the launch", name(signal)));
            self.deadline = Some(self.clock.monotonic());
            return;
        }
        if means_stop(signal) {
            self.interrupted = Some(signal);
        }
        self.held_back.push(signal);
        self.next_try = self.clock.monotonic();
    }

    /// Gives the ranks what was taken for them. While that fails it is tried again: no failure of ours ends a launch.
    fn pass_on(&mut self) {
        while let Some(&signal) = self.held_back.first() {
            if self.clock.monotonic() < self.next_try {
                return;
            }
            match self.site.pass_on(signal) {
                Ok(reached) => {
                    self.held_back.remove(0);
                    self.tell_whom(signal, reached.as_deref());
                }
                Err(error) => {
                    say_now(&format!("{} is not passed on yet: {error:#}", name(signal)));
                    self.next_try = self.clock.monotonic() + RETRY;
                }
            }
        }
    }

    fn tell_whom(&self, signal: i32, reached: Option<&str>) {
        say_now(&format!(
            "{} received; passed on to {}",
            name(signal),
            reached.unwrap_or("nobody yet")
        ));
        if reached.is_none()
            && means_stop(signal)
            && let Some(number) = Signal::from_named_raw(signal)
        {
            self.launcher.signal(number);
        }
    }

    /// Looks for what cannot be waited for.
    fn look(&mut self) {
        let now = self.clock.monotonic();
        self.next_look = now + LOOK;
        let troubles = self.site.look(now).unwrap_or_else(|error| {
            if self.told.insert(error.kind().code()) {
                say_now(&format!("the launch cannot be looked after: {error:#}"));
            }
            Vec::new()
        });
        // What follows the first trouble within moments is its consequence: launchers kill the other ranks.
        if self.deadline.is_none() && !troubles.is_empty() {
            self.deadline = Some(now + self.limits.after_death);
            say_now(&join(&troubles));
        }
    }

    /// Ends what did not end by itself: first the ranks, so that the launcher can tidy up, then everything.
    fn force_end(&mut self) {
        if self.force == Force::None {
            say_now("the launch does not end by itself: killing its processes");
            self.force = Force::RanksKilled;
            if let Err(error) = self.site.end_ranks() {
                say_now(&format!("its ranks cannot be ended, its launcher will be: {error:#}"));
            }
        } else {
            self.force = Force::AllKilled;
            kill_all(&processes(self.site.run_id()));
        }
        self.deadline = Some(self.clock.monotonic() + self.limits.launcher);
    }
}
