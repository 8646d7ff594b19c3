// SPDX-License-Identifier: MIT OR Apache-2.0
//! The session: what the C interface and Rust programs drive.

use crate::clock::Clock;
use crate::comm::Comm;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Sink;
use crate::id::{DatasetName, JobId, NodeName, UserName};
use crate::store::Store;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the embedding program knows of the job; scr-core never looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The allocation.
    pub job_id: JobId,
    /// Who runs it.
    pub user: UserName,
    /// The node this rank runs on: the unit that fails as a whole.
    pub node: NodeName,
    /// When the allocation ends, in seconds since 1970, where known.
    pub end_unix_seconds: Option<u64>,
}

/// The ports and facts that a session runs on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Node-local files: cache and control directories.
    pub local: Arc<dyn Store>,
    /// Files of the prefix.
    pub shared: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who is told what happens.
    pub sink: Arc<dyn Sink>,
    /// The job.
    pub job: JobInfo,
    /// Whether background threads (heartbeat) may run; false in the simulator.
    pub background: bool,
}

/// What a dataset is for (`SCR_FLAG_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// One launch of an application, from Init to Finalize.
#[derive(Debug)]
pub struct Session {
    _world: Box<dyn Comm>,
    _host: Host,
    _config: Config,
}

fn later<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Misuse, "not built yet"))
}

impl Session {
    /// Begins a launch: takes the prefix, looks at what caches and prefix hold, rebuilds what was lost.
    pub fn init(world: Box<dyn Comm>, host: Host, config: Config) -> Result<Self> {
        Ok(Self { _world: world, _host: host, _config: config })
    }

    /// Whether the application should write a checkpoint now.
    pub fn need_checkpoint(&mut self) -> Result<bool> {
        later()
    }

    /// Whether the application should stop.
    pub fn should_exit(&mut self) -> Result<bool> {
        later()
    }

    /// Starts a dataset.
    pub fn start_output(&mut self, _name: Option<&str>, _flags: Flags) -> Result<()> {
        later()
    }

    /// Where to write, or read, the file that the application calls `name`. Local.
    pub fn route_file(&mut self, _name: &Path) -> Result<PathBuf> {
        later()
    }

    /// Ends a dataset; `valid` is this rank's word.
    pub fn complete_output(&mut self, _valid: bool) -> Result<Outcome> {
        later()
    }

    /// The name of the dataset to restart from, verified, or `None`.
    pub fn have_restart(&mut self) -> Result<Option<DatasetName>> {
        later()
    }

    /// Starts reading the dataset that [`have_restart`](Self::have_restart) named.
    pub fn start_restart(&mut self) -> Result<DatasetName> {
        later()
    }

    /// Ends reading; with `valid` false on any rank the dataset is set aside and the next one offered.
    pub fn complete_restart(&mut self, _valid: bool) -> Result<()> {
        later()
    }

    /// Makes a dataset in the prefix the one to restart from.
    pub fn current(&mut self, _name: &str) -> Result<()> {
        later()
    }

    /// Removes a dataset from the index, not its files.
    pub fn drop_dataset(&mut self, _name: &str) -> Result<()> {
        later()
    }

    /// Removes a dataset and its files from cache and prefix.
    pub fn delete(&mut self, _name: &str) -> Result<()> {
        later()
    }

    /// Ends the launch: flushes the newest checkpoint where configured, gives the prefix back.
    pub fn finalize(&mut self) -> Result<()> {
        later()
    }
}
