// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where launches run: on virtual nodes of this machine, or on the nodes of an allocation. One file each.

pub(crate) mod allocation;
mod signs;
pub(crate) mod virtual_nodes;

use super::decide::RankEnd;
use super::progress::Progress;
use super::salvage::Saved;
use crate::launcher::{Launch, Launcher};
use crate::prefix::Prefix;
use crate::process::{self, Process};
use rustix::process::Signal;
use scr_core::Result;
use scr_core::clock::Clock;
use scr_core::id::NodeName;
use std::collections::BTreeSet;
use std::time::Duration;

/// The place where an application runs.
///
/// A launch goes: [`prepare`](Site::prepare), [`launch`](Site::launch), [`look`](Site::look) again and again,
/// [`ended`](Site::ended). What is wrong is told in words; a site says aloud itself what is only worth knowing.
pub(crate) trait Site: std::fmt::Debug {
    /// What it is, for messages.
    fn describe(&self) -> String;

    /// The allocation, as the library names it too.
    fn job_id(&self) -> &str;

    /// Marks every process of the run (`SCR_RUN_ID`).
    fn run_id(&self) -> &str;

    /// All nodes, in order; those beyond what a launch needs are spares.
    fn nodes(&self) -> Vec<NodeName>;

    /// The nodes that cannot be used now.
    ///
    /// # Errors
    /// [`Refused`](scr_core::ErrorKind::Refused) when the allocation is over.
    fn down(&mut self) -> Result<BTreeSet<NodeName>>;

    /// When the allocation ends, in seconds since 1970, where known.
    fn end_unix_seconds(&self) -> Option<u64>;

    /// The nodes of the last launch, in order; empty before the first.
    fn slots(&self) -> &[NodeName];

    /// How many nodes the launches want and how many stand by, as far as it is given: `ranks_per_node` no longer fits
    /// when nodes are fewer.
    fn prepare(&mut self, slots: Vec<NodeName>, dropped: bool) -> Result<()>;

    /// The command line of the next launch.
    fn launch(&mut self, launcher: &dyn Launcher) -> Result<Launch>;

    /// What is wrong with the launch that runs, most important first; empty while all is well.
    fn look(&mut self, now: Duration) -> Result<Vec<String>>;

    /// Gives a signal to the application; returns whom it reached, in words, or `None` when nobody is there.
    fn pass_on(&mut self, signal: i32) -> Result<Option<String>>;

    /// Kills the ranks, so that the launcher can tidy up.
    fn end_ranks(&mut self) -> Result<()>;

    /// Takes what a launch, or one of an earlier `scr run`, left behind out of the way, and tells how its ranks ended.
    fn ended(&mut self, clock: &dyn Clock) -> Result<Aftermath>;

    /// How far the application has come.
    fn progress(&mut self, prefix: &Prefix) -> Result<Progress>;

    /// Copies what is only in the caches to the prefix; it may take long, and `is_stopped` tells whether to leave it.
    fn save(&mut self, prefix: &Prefix, is_stopped: &dyn Fn() -> bool) -> Result<Saved>;

    /// Whether the job can be put back into the queue, where that is known.
    fn can_requeue(&self) -> Option<bool>;

    /// Puts the job back into the queue of its scheduler, which ends it here.
    fn requeue(&self) -> Result<()>;

    /// Takes leave; `keep` tells whether caches are still needed. Returns what to do to go on, where that takes more than
    /// the same command again.
    fn leave(&mut self, keep: bool) -> Result<Option<String>>;
}

/// What was found when a launch had ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aftermath {
    /// Every rank of which the end is known.
    pub(crate) ranks: Vec<RankEnd>,
    /// The nodes lost meanwhile.
    pub(crate) lost: BTreeSet<NodeName>,
}

/// The processes of a run on this machine.
pub(super) fn processes(run_id: &str) -> Vec<Process> {
    process::with_environment(&[("SCR_RUN_ID", Some(run_id))])
}

/// Kills these processes.
pub(super) fn kill_all(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::KILL);
    }
}

/// Kills whatever of a run is left on this machine, until there is nothing; returns whether that worked.
pub(super) fn sweep(run_id: &str, clock: &dyn Clock) -> bool {
    /// Bounds the wait for a process that the kernel cannot end.
    const ROUNDS: u32 = 500;
    for _ in 0..ROUNDS {
        let left = processes(run_id);
        if left.is_empty() {
            return true;
        }
        kill_all(&left);
        clock.sleep(super::supervise::POLL);
        super::supervise::reap(0);
    }
    false
}
