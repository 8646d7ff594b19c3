// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signs of life: a counter in the control directory of every node, and the heartbeat of the lease.
//!
//! They move by themselves in a thread, so they say that the process lives. Whether it makes progress is told by a second
//! number beside that of the node, [`Calls`], which moves with the calls of the application.

use super::Job;
use super::cache::job_directory;
use super::lease::Holder;
use crate::store::{Durability, Store, exists, publish};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// A heartbeat needs little.
const STACK_BYTES: usize = 256 << 10;

/// Moves when the application calls the library, and when it gets its answer: odd within a call, even in between.
#[derive(Debug)]
pub struct Calls(AtomicU64);

impl Default for Calls {
    /// Within a call: the one that makes it.
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Calls {
    /// A call begins.
    pub fn enter(&self) {
        self.0.store((self.get() + 1) | 1, Ordering::Relaxed);
    }

    /// It ends.
    pub fn leave(&self) {
        self.0.store((self.get() + 2) & !1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A running heartbeat; it stops when dropped.
#[derive(Debug)]
pub struct Heartbeat {
    _stop: Sender<()>,
}

#[derive(Debug)]
struct Beat {
    /// The counter of the node, and what stands beside it.
    counter: Option<(Arc<dyn Store>, PathBuf, Arc<Calls>)>,
    lease: Option<Holder>,
    period: Duration,
}

impl Heartbeat {
    /// Starts the heartbeat of this node, and of the lease, if this rank has one to keep and threads are allowed.
    ///
    /// A thread that cannot be started costs the watchdog its eyes, not the job its life: it is only missing.
    pub fn start(job: &Job, lease: Option<Holder>, calls: Arc<Calls>) -> Option<Self> {
        if !job.is_leader() {
            return None;
        }
        let directory = job_directory(&job.config.control_base, &job.host, &job.config);
        let store = job.host.local.clone();
        let base = &job.config.control_base;
        let may_make = job.config.store_of(base).is_none_or(|store| store.may_make);
        let is_there = may_make || exists(&*store, base).unwrap_or(false);
        let made = is_there && store.create_dir_all(&directory).is_ok();
        Self::spawn(job, made.then(|| (store, directory.join("heartbeat"), calls)), lease)
    }

    /// Starts the heartbeat of the lease alone: for who works on a job that does not run.
    pub fn of_lease(job: &Job, lease: Option<Holder>) -> Option<Self> {
        Self::spawn(job, None, Some(lease?))
    }

    fn spawn(
        job: &Job,
        counter: Option<(Arc<dyn Store>, PathBuf, Arc<Calls>)>,
        lease: Option<Holder>,
    ) -> Option<Self> {
        let seconds = job.config.heartbeat_seconds;
        if !job.host.background || seconds <= 0.0 {
            return None;
        }
        let beat = Beat { counter, lease, period: Duration::from_secs_f64(seconds) };
        let (stop, stopped) = channel();
        crate::store::discard::spawn_quiet("scr-heartbeat", STACK_BYTES, move || {
            beat.run(&stopped);
        })
        .ok()?;
        Some(Self { _stop: stop })
    }
}

impl Beat {
    fn run(self, stopped: &Receiver<()>) {
        let mut count: u64 = 0;
        loop {
            count += 1;
            // A beat that cannot be written is missed, which is what its readers look for.
            if let Some((store, path, calls)) = &self.counter {
                let text = format!("{count} {}", calls.get());
                let _ = publish(&**store, path, text.as_bytes(), Durability::Process);
            }
            if let Some(lease) = &self.lease {
                let _ = lease.beat();
            }
            if stopped.recv_timeout(self.period) != Err(RecvTimeoutError::Timeout) {
                // Work after SCR_Finalize makes no calls: nobody shall wait for any. One that is left is only old.
                if let Some((store, path, _)) = &self.counter {
                    let _ = store.remove(path);
                }
                return;
            }
        }
    }
}
