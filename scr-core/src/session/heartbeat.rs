// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signs of life: a counter in the control directory of every node, and the heartbeat of the lease.
//!
//! They move by themselves in a thread of the leader, so they say that the process lives, not that it makes progress.

use crate::exec::Job;
use crate::exec::cache::job_directory;
use crate::exec::lease::Holder;
use crate::store::{Durability, Store, publish};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// A heartbeat needs little.
const STACK_BYTES: usize = 256 << 10;

/// A running heartbeat; it stops when dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    _stop: Sender<()>,
}

#[derive(Debug)]
struct Beat {
    store: Arc<dyn Store>,
    path: PathBuf,
    lease: Option<Holder>,
    period: Duration,
}

impl Heartbeat {
    /// Starts the heartbeat of this rank, if it has one to keep and threads are allowed.
    ///
    /// A thread that cannot be started costs the watchdog its eyes, not the job its life: it is only missing.
    pub(super) fn start(job: &Job, lease: Option<Holder>) -> Option<Self> {
        let seconds = job.config.heartbeat_seconds;
        if !job.host.background || !job.is_leader() || seconds <= 0.0 {
            return None;
        }
        let directory = job_directory(&job.config.control_base, &job.host, &job.config);
        job.host.local.create_dir_all(&directory).ok()?;
        let beat = Beat {
            store: job.host.local.clone(),
            path: directory.join("heartbeat"),
            lease,
            period: Duration::from_secs_f64(seconds),
        };
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
            let _ = publish(
                &*self.store,
                &self.path,
                count.to_string().as_bytes(),
                Durability::Process,
            );
            if let Some(lease) = &self.lease {
                let _ = lease.beat();
            }
            if stopped.recv_timeout(self.period) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}
