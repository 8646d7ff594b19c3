// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caches of nodes that are all on this machine: a thread stands for each node, and together they do what the ranks
//! of a launch would do.

use crate::output::{progress, warn};
use crate::prefix::Prefix;
use scr_core::clock::SystemClock;
use scr_core::comm::Comm;
use scr_core::comm::thread::{Scheduler, World};
use scr_core::config::Config;
use scr_core::event::{Event, Level, Sink};
use scr_core::host::{Host, JobInfo};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::store::posix::Posix;
use scr_core::{ErrorKind, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// The cache of a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeCache {
    pub(crate) node: NodeName,
    /// Its `SCR_CACHE_BASE`.
    pub(crate) base: PathBuf,
    pub(crate) user: UserName,
}

/// Runs `body` for each of `caches`, of which there must be one, and returns what the first came to.
///
/// # Errors
/// That of a node; of several, one that knows the reason.
pub(crate) fn on_each<T: Send>(
    command: &'static str,
    (prefix, job_id): (&Prefix, &JobId),
    caches: &[NodeCache],
    body: impl Fn(Box<dyn Comm>, Host, Config) -> Result<T> + Sync,
) -> Result<T> {
    let posix = Arc::new(Posix::new());
    let results = World::new(caches.len(), Scheduler::Free).run(|comm| {
        let NodeCache { node, base, user } = caches[comm.rank()].clone();
        let mut config = Config::default_for(prefix.root().to_path_buf());
        config.task = prefix.task().map(String::from);
        config.cache_base = base;
        let host = Host {
            local: posix.clone(),
            shared: posix.clone(),
            clock: Arc::new(SystemClock::default()),
            sink: Arc::new(Aloud { command }),
            job: JobInfo { job_id: job_id.clone(), user, node, end_unix_seconds: None },
            random: scr_core::host::random,
            directory: prefix.root().to_path_buf(),
            background: true,
        };
        body(comm, host, config)
    });
    let mut results: Vec<_> = results.into_iter().map(|result| result.and_then(|r| r)).collect();
    // Of those that failed, one has the reason; the others only know that it did.
    let has_reason = |result: &Result<_>| {
        result.as_ref().is_err_and(|error: &scr_core::Error| error.kind() != ErrorKind::PeerFailed)
    };
    let reason = results.iter().position(has_reason).unwrap_or(0);
    results.swap_remove(reason)
}

/// Passes on what people should know, and to those who wait how far it is.
#[derive(Debug)]
struct Aloud {
    command: &'static str,
}

impl Sink for Aloud {
    fn tell(&self, event: &Event) {
        if event.level <= Level::Warning {
            warn(self.command, &event.text);
        } else if event.level == Level::Note {
            progress(&event.text);
        }
    }
}
