// SPDX-License-Identifier: MIT OR Apache-2.0
//! The session: what the C interface and Rust programs drive, from Init to Finalize.
//!
//! Every method is collective over the communicator given to [`Session::init`] unless it says otherwise, and on return
//! all ranks have the same answer. [`start`] finds and repairs what an earlier launch left, [`output`] takes a dataset
//! from its start to its commit, [`restart`] hands one back, [`finish`] ends the launch. [`Output`] and [`Restart`]
//! are the two in the middle as values, for programs in Rust.

mod bypass;
mod entry;
mod finish;
mod flushing;
mod guard;
mod levels;
mod output;
mod purge;
mod restart;
mod start;
mod tell;

pub use crate::host::{Host, JobInfo};
pub use guard::{Output, Restart};

use crate::config::{Bypass, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::Job;
use crate::exec::heartbeat::{Calls, Heartbeat};
use crate::exec::lease::Holder;
use crate::exec::topology::broadcast;
use crate::exec::transfer::Transfers;
use crate::format::decision::Decision;
use crate::format::{DatasetHeader, Place};
use crate::id::{DatasetId, DatasetIdentity, DatasetName, RelPath};
use crate::plan::{halt, need};
use bypass::Bypassed;
use entry::Entry;
use flushing::UnderWay;
use levels::Levels;
use restart::Taken;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a dataset is for (`SCR_FLAG_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Flags {
    /// One can restart from it.
    pub checkpoint: bool,
    /// It must reach the prefix.
    pub output: bool,
}

/// How a completed dataset stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed with its scheme (an announced step-down included).
    Committed,
    /// Data are whole, redundancy failed: kept without, flushed where possible.
    Degraded,
}

/// What the application is doing.
#[derive(Debug)]
enum State {
    /// Computing.
    Idle,
    /// Writing a dataset.
    Output(Box<Open>),
    /// Reading the dataset that `Session::taken` names.
    Restart,
    /// Nothing any more.
    Finalized,
}

/// A dataset that is being written.
#[derive(Debug)]
struct Open {
    header: DatasetHeader,
    place: Place,
    /// Which of the session's redundancy sets it is protected in.
    set: usize,
    /// The position of its store in the cache.
    store: usize,
    /// Whether the application writes straight to the prefix.
    bypass: bool,
    /// What the configuration says of that.
    wanted: Bypass,
    /// The files of this rank so far.
    files: BTreeSet<RelPath>,
    /// The directories that were made for them.
    directories: HashSet<PathBuf>,
    /// Whether a file was in the prefix before the application wrote it (bypass).
    overwrote: bool,
    started: Duration,
}

/// One launch of an application, from Init to Finalize.
#[derive(Debug)]
pub struct Session {
    job: Job,
    levels: Levels,
    /// On rank 0.
    lease: Option<Holder>,
    heartbeat: Option<Heartbeat>,
    /// What the heartbeat tells of the application.
    calls: Arc<Calls>,
    state: State,
    /// Set by a guard that was dropped: what is open counts as not valid.
    abandoned: bool,
    /// Datasets in cache that this launch can use, ascending by number.
    entries: Vec<Entry>,
    /// Flushes that go on while the application does, in the order of age.
    flushing: Vec<UnderWay>,
    /// This rank's copies for them.
    transfers: Transfers,
    /// Candidates for a restart, in the order in which they are tried; those before `tried` were.
    candidates: Vec<crate::plan::order::Candidate>,
    tried: usize,
    taken: Option<Taken>,
    decision: Decision,
    /// The highest number seen anywhere.
    last_id: DatasetId,
    /// The dataset that the application has reached.
    reached: Option<DatasetIdentity>,
    /// Checkpoints in the history of this run, for intervals of descriptors and flushes.
    checkpoints: u64,
    costs: Costs,
    bypassed: Bypassed,
    /// Checkpoints that are there and cannot be used, and why, in words.
    unusable: Vec<String>,
    /// Whether the application has completed a checkpoint: then nothing older is offered for a restart.
    has_written: bool,
    /// Set from outside when the job should stop.
    stop: Option<Arc<AtomicBool>>,
    /// The halt condition that was told last, by SCR's word for it.
    told_halt: Option<String>,
    /// Set by an error of communication: nothing is published after it.
    broken: bool,
}

/// What checkpoints have cost in this launch.
#[derive(Debug, Default)]
struct Costs {
    calls: u64,
    checkpoints: u64,
    total: Duration,
    last_end: Duration,
    /// When the application began to compute, after the last checkpoint.
    computing_since: Duration,
}

impl Session {
    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.job.config
    }

    /// Whether this is the rank that speaks for all.
    pub fn is_first(&self) -> bool {
        self.job.is_first()
    }

    /// Whether the application should write a checkpoint now.
    ///
    /// # Collective
    /// On all ranks; rank 0 decides.
    pub fn need_checkpoint(&mut self) -> Result<bool> {
        self.enter("SCR_Need_checkpoint")?;
        let looked = self.look_after_flushes();
        self.leave(looked)?;
        self.costs.calls += 1;
        let halt = self.halt_reason()?;
        self.tell_halt(halt.as_ref());
        let config = &self.job.config;
        let now = self.job.host.clock.monotonic();
        let (mine, _) = need::decide(&need::Facts {
            halt: halt.map(|reason| reason.to_string()),
            calls: self.costs.calls,
            checkpoints: self.costs.checkpoints,
            checkpoints_seconds: self.costs.total.as_secs_f64(),
            idle_seconds: now.saturating_sub(self.costs.last_end).as_secs_f64(),
            interval_calls: config.checkpoint_interval,
            interval_seconds: config.checkpoint_seconds,
            overhead_percent: config.checkpoint_overhead_percent,
        });
        let decided = broadcast(&*self.job.topology.world, &mine);
        self.leave(decided)
    }

    /// Whether the application should stop. Then it may leave: no flush is under way any more.
    ///
    /// # Collective
    /// On all ranks; rank 0 decides.
    pub fn should_exit(&mut self) -> Result<bool> {
        self.enter("SCR_Should_exit")?;
        let looked = self.look_after_flushes();
        self.leave(looked)?;
        let reason = self.halt_reason()?;
        self.tell_halt(reason.as_ref());
        let decided = broadcast(&*self.job.topology.world, &reason.is_some());
        let is_over = self.leave(decided)?;
        if is_over {
            let waited = self.wait_for_flushes("the job is to stop", &|_| true);
            self.leave(waited)?;
        }
        Ok(is_over)
    }

    /// Watches a flag that is set from outside, by a handler of signals perhaps: once it is set on any rank, the job should
    /// stop, and those that ask set it on all ranks.
    ///
    /// # Collective
    /// On all ranks or none, before any of them asks.
    pub fn stop_when(&mut self, flag: Arc<AtomicBool>) {
        self.stop = Some(flag);
    }

    /// The halt condition that holds, on rank 0; `None` elsewhere. A request that cannot be read stops nobody.
    fn halt_reason(&mut self) -> Result<Option<halt::Reason>> {
        if let Some(flag) = &self.stop {
            let flag = flag.clone();
            let is_set = self.any(flag.load(Ordering::Relaxed));
            if self.leave(is_set)? {
                flag.store(true, Ordering::Relaxed);
                if self.job.is_first() {
                    return Ok(Some(halt::Reason::Signal));
                }
            }
        }
        if !self.job.is_first() {
            return Ok(None);
        }
        let (request, used) = match self.job.prefix.halt() {
            Ok(found) => found,
            Err(error) => {
                let text = format!("the halt request is not heeded: {error:#}");
                self.job.host.tell(EventKind::Message, Level::Warning, text);
                (None, None)
            }
        };
        Ok(halt::reason(&halt::Facts {
            request: request.as_ref(),
            used: used.as_ref(),
            halt_seconds: self.job.config.halt_seconds,
            end_unix_seconds: self.job.host.job.end_unix_seconds,
            now_unix_seconds: self.job.host.clock.unix().as_secs(),
        }))
    }

    /// Checks that a call is allowed now: in between datasets, on a session that still communicates.
    fn enter(&mut self, call: &str) -> Result<()> {
        self.check_unbroken(call)?;
        self.make_up()?;
        let must = match &self.state {
            State::Idle => return Ok(()),
            State::Output(_) => "call SCR_Complete_output first",
            State::Restart => "call SCR_Complete_restart first",
            State::Finalized => "SCR_Finalize was called",
        };
        self.calls.leave();
        Err(Error::new(ErrorKind::Misuse, format!("{call} is not allowed here: {must}")))
    }

    /// Every call that communicates begins with this.
    fn check_unbroken(&self, call: &str) -> Result<()> {
        if self.broken {
            let text = format!("{call}: a rank has died or MPI failed; this launch can only end");
            return Err(Error::new(ErrorKind::Communication, text));
        }
        self.calls.enter();
        Ok(())
    }

    /// Passes a result on, and notes when communication has failed.
    fn leave<T>(&mut self, result: Result<T>) -> Result<T> {
        self.calls.leave();
        if let Err(error) = &result
            && error.kind() == ErrorKind::Communication
        {
            self.broken = true;
            self.transfers.stop();
        }
        result
    }

    /// Where to write, or read, the file that the application calls `name`.
    ///
    /// Local: no communication, no file is touched but directories. In between datasets the name comes back as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] for a name outside of the prefix; [`ErrorKind::NotFound`] for one that the dataset to
    /// restart from does not have.
    pub fn route_file(&mut self, name: &Path) -> Result<PathBuf> {
        match &self.state {
            State::Idle | State::Finalized => Ok(name.to_path_buf()),
            State::Output(_) => self.route_output(name),
            State::Restart => self.route_restart(name),
        }
    }

    /// The names of the datasets in cache, ascending by number.
    pub fn cached(&self) -> impl Iterator<Item = &DatasetName> {
        self.entries.iter().map(|entry| &entry.header.name)
    }
}

#[cfg(test)]
mod tests;
