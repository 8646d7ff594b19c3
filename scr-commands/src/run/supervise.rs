// SPDX-License-Identifier: MIT OR Apache-2.0
//! One launch from start to end: nothing of it is left when this returns, and it does not wait for the dead.
//!
//! MPI gives no answer once a process is gone, and launchers may not notice (MPICH's waits while a grandchild lives).
//! So after a rank's abnormal death, or the loss of a node, the rest gets [`Limits::after_death`] to end by itself, and
//! is then killed: first the ranks, so that the launcher can tidy up, then the launcher.

use super::decide::{RankEnd, Status};
use super::directory::{RankNotes, Run, RunDirectory};
use super::heartbeat::{Heartbeats, read_counters};
use super::signals::{means_stop, name};
use crate::launcher::Launch;
use crate::output::{count, join, say};
use crate::process::{self, Process};
use rustix::process::{Signal, WaitOptions, wait};
use scr_core::Result;
use scr_core::clock::Clock;
use scr_core::id::NodeName;
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How often the launcher is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// How often the notes of the ranks are read.
const LOOK: Duration = Duration::from_millis(100);
/// How often heartbeats are read.
const BEAT: Duration = Duration::from_secs(1);
/// How long a launcher whose ranks were killed may take to end.
const LAUNCHER_GRACE: Duration = Duration::from_secs(1);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the death of a rank to the end of all others (`SCR_HANG_SECONDS`).
    pub(crate) after_death: Duration,
    /// How long heartbeats of a node may stand still before that is said.
    pub(crate) silence: Duration,
    /// Whether a node that is silent for so long is taken for hung, and the launch ended (`SCR_WATCHDOG`).
    pub(crate) silence_ends_launch: bool,
}

/// How a launch ended.
#[derive(Clone, Debug)]
pub(crate) struct StepEnd {
    /// The launcher.
    pub(crate) launcher: Status,
    /// Every rank of which it is known.
    pub(crate) ranks: Vec<RankEnd>,
    /// The nodes lost meanwhile.
    pub(crate) lost: BTreeSet<NodeName>,
    /// The signal that told us to stop.
    pub(crate) interrupted: Option<i32>,
}

/// What one launch needs.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// Where notes are.
    pub(crate) directory: &'a RunDirectory,
    /// What the run is.
    pub(crate) run: &'a Run,
    /// Time.
    pub(crate) clock: &'a dyn Clock,
    /// How long to wait for what.
    pub(crate) limits: Limits,
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
struct Watch {
    deadline: Option<Duration>,
    force: Force,
    told: BTreeSet<String>,
    beats: Heartbeats,
    next_look: Duration,
    next_beat: Duration,
    interrupted: Option<i32>,
}

/// Runs one launch to its end.
///
/// # Errors
/// [`NotFound`](scr_core::ErrorKind::NotFound) when the launcher is not there, and those of the run directory.
pub(crate) fn supervise(
    step: &Step<'_>,
    launch: &Launch,
    signals: &mut Signals,
) -> Result<StepEnd> {
    // A supervisor that was killed may have left ranks that still write to the caches.
    step.sweep();
    let down_before = step.directory.down()?;
    let launcher = start(step, launch)?;
    let mut watch = Watch {
        deadline: None,
        force: Force::None,
        told: BTreeSet::new(),
        beats: Heartbeats::default(),
        next_look: Duration::ZERO,
        next_beat: Duration::ZERO,
        interrupted: None,
    };
    let status = loop {
        if let Some(status) = reap(launcher.pid) {
            break status;
        }
        for signal in signals.pending() {
            step.pass_on(&mut watch, signal, launcher)?;
        }
        if step.clock.monotonic() >= watch.next_look {
            step.look(&mut watch)?;
        }
        if watch.deadline.is_some_and(|deadline| step.clock.monotonic() >= deadline) {
            step.force_end(&mut watch)?;
        }
        step.clock.sleep(POLL);
    };
    // A launcher may be faster than our looking: the cause is told all the same.
    step.look(&mut watch)?;
    step.sweep();
    let ranks = step.rank_notes()?.into_iter().filter_map(|notes| notes.end).collect();
    let lost = step.lost_since(&down_before)?;
    Ok(StepEnd { launcher: status, ranks, lost, interrupted: watch.interrupted })
}

/// Starts the launcher with our standard streams, in a process group of its own unless it may read from a terminal.
fn start(step: &Step<'_>, launch: &Launch) -> Result<Process> {
    let mut command = Command::new(&launch.argv[0]);
    command.args(&launch.argv[1..]).envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.env("SCR_RUN_ID", &step.run.id).env("SCR_RUN_DIR", step.directory.root());
    process::die_with_parent(&mut command);
    if !std::io::stdin().is_terminal() {
        command.process_group(0);
    }
    let pid = process::spawn(&mut command)?.id().cast_signed();
    // One that is dead already is still there to be reaped under its pid.
    Ok(process::find(pid).unwrap_or(Process { pid, start_ticks: 0 }))
}

/// Takes leave of every child that has ended, adopted ones included; tells how the launcher did.
fn reap(launcher: i32) -> Option<Status> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == launcher {
            let signal = status.terminating_signal().map(Status::Signal);
            ended = signal.or_else(|| status.exit_status().map(Status::Code));
        }
    }
    ended
}

fn kill_all(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::KILL);
    }
}

impl Step<'_> {
    fn say(&self, text: &str) {
        let zone = crate::time::local();
        say(&crate::time::time_of_day(self.clock.unix().as_secs(), &zone), text);
    }

    fn rank_notes(&self) -> Result<Vec<RankNotes>> {
        let mut all = Vec::new();
        for node in &self.run.slots {
            all.extend(self.directory.ranks(node)?);
        }
        Ok(all)
    }

    fn lost_since(&self, before: &BTreeSet<NodeName>) -> Result<BTreeSet<NodeName>> {
        let slots = self.run.slots.iter().cloned().collect();
        let down = self.directory.down()?;
        Ok(down
            .difference(before)
            .cloned()
            .collect::<BTreeSet<_>>()
            .intersection(&slots)
            .cloned()
            .collect())
    }

    /// Gives a signal to the ranks; a second request to stop is an order.
    fn pass_on(&self, watch: &mut Watch, signal: i32, launcher: Process) -> Result<()> {
        let Some(number) = Signal::from_named_raw(signal) else { return Ok(()) };
        if means_stop(signal) {
            if watch.interrupted.is_some() {
                self.say(&format!("{} again: ending the launch", name(signal)));
                watch.deadline = Some(self.clock.monotonic());
                return Ok(());
            }
            watch.interrupted = Some(signal);
        }
        let ranks = self.rank_notes()?;
        self.say(&format!(
            "{} received; passed on to {}",
            name(signal),
            count(ranks.len() as u64, "rank")
        ));
        for rank in ranks.iter().filter(|rank| rank.end.is_none()) {
            let processes = rank.processes;
            if processes.has_own_group {
                processes.wrapper.signal_group(number);
            } else if let Some(program) = processes.program {
                program.signal(number);
            }
        }
        if ranks.is_empty() && means_stop(signal) {
            launcher.signal(number);
        }
        Ok(())
    }

    /// Looks for what cannot be waited for.
    fn look(&self, watch: &mut Watch) -> Result<()> {
        let now = self.clock.monotonic();
        watch.next_look = now + LOOK;
        let mut troubles = self.lost_nodes()?;
        if troubles.is_empty() {
            troubles = self.rank_troubles()?;
        }
        if now >= watch.next_beat {
            watch.next_beat = now + BEAT;
            troubles.extend(self.listen(watch, now)?);
        }
        if troubles.is_empty() {
            return Ok(());
        }
        // What follows the first trouble within moments is its consequence: launchers kill the other ranks.
        if watch.deadline.is_none() {
            watch.deadline = Some(now + self.limits.after_death);
            self.say(&join(&troubles));
        }
        Ok(())
    }

    fn lost_nodes(&self) -> Result<Vec<String>> {
        let down = self.directory.down()?;
        let lost = self.run.slots.iter().filter(|node| down.contains(node));
        Ok(lost.map(|node| format!("{node} lost")).collect())
    }

    /// What is wrong with the ranks: those that ended badly, else those that are gone.
    fn rank_troubles(&self) -> Result<Vec<String>> {
        let (mut ended, mut gone) = (Vec::new(), Vec::new());
        for notes in self.rank_notes()? {
            let RankNotes { rank, node, end, .. } = &notes;
            match end {
                Some(end) if end.status.is_success() => {}
                Some(end) => {
                    let text = format!("rank {rank} on {node} ended with {}", end.status);
                    ended.push((end.ended_unix_nanos, text));
                }
                None if self.is_gone(&notes)? => {
                    gone.push(format!("rank {rank} on {node} was killed"));
                }
                None => {}
            }
        }
        ended.sort();
        let first = ended.into_iter().next().map(|(_, text)| vec![text]);
        Ok(first.unwrap_or(gone))
    }

    /// Whether a rank's wrapper ended without a last note.
    fn is_gone(&self, notes: &RankNotes) -> Result<bool> {
        if notes.processes.wrapper.is_alive() {
            return Ok(false);
        }
        // It may have written the note between our reading and its end; on a killed node there are no notes any more.
        let again = self.directory.ranks(&notes.node)?;
        Ok(again.iter().any(|now| now.rank == notes.rank && now.end.is_none()))
    }

    /// Listens for heartbeats; nodes that fell silent are said, and are trouble where the watchdog is on.
    fn listen(&self, watch: &mut Watch, now: Duration) -> Result<Vec<String>> {
        for node in &self.run.slots {
            watch.beats.observe(node, &read_counters(&self.directory.control(node))?, now);
        }
        let silence = self.limits.silence;
        let silent = watch.beats.silent(now, silence).into_iter();
        let texts: Vec<String> = silent
            .map(|node| format!("{node} has shown no heartbeat for {} s", silence.as_secs()))
            .collect();
        if self.limits.silence_ends_launch {
            return Ok(texts);
        }
        for text in texts {
            if watch.told.insert(text.clone()) {
                self.say(&format!("{text}; SCR_WATCHDOG=1 would end the launch"));
            }
        }
        Ok(Vec::new())
    }

    /// Ends what did not end by itself: first the ranks, so that the launcher can tidy up, then everything.
    fn force_end(&self, watch: &mut Watch) -> Result<()> {
        if watch.force == Force::None {
            self.say("the launch does not end by itself: killing its processes");
            watch.force = Force::RanksKilled;
            for notes in self.rank_notes()?.into_iter().filter(|notes| notes.end.is_none()) {
                notes.processes.wrapper.signal(Signal::KILL);
            }
            let of_ranks = [("SCR_RUN_ID", Some(self.run.id.as_str())), ("SCR_NODE", None)];
            kill_all(&process::with_environment(&of_ranks));
        } else {
            watch.force = Force::AllKilled;
            kill_all(&self.processes());
        }
        watch.deadline = Some(self.clock.monotonic() + LAUNCHER_GRACE);
        Ok(())
    }

    fn processes(&self) -> Vec<Process> {
        process::with_environment(&[("SCR_RUN_ID", Some(&self.run.id))])
    }

    /// Kills whatever the launch left behind, until there is nothing.
    fn sweep(&self) {
        /// Bounds the wait for a process that the kernel cannot end.
        const ROUNDS: u32 = 500;
        for _ in 0..ROUNDS {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            kill_all(&left);
            self.clock.sleep(POLL);
            reap(0);
        }
        self.say("some processes of the launch cannot be killed");
    }
}
