// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration: one table of parameters, layered sources, one typed [`Config`].
//!
//! [`table`] has every parameter; [`Layers`] collects what environment, files and calls of `SCR_Config` say, and
//! [`Layers::resolve`] checks all of it at once. Everything here is values in, values out: the caller reads files and
//! environment. A wrong value is an error that names its source and what is allowed; a name nobody knows, or a parameter
//! that does nothing, is a [`Notice`], since it must not take a job down.

mod call;
mod descriptor;
mod expand;
mod file;
mod layer;
mod layers;
mod manual;
mod parameter;
mod report;
mod resolve;
pub mod table;
mod template;
mod values;

pub use call::Request;
pub use layers::{Layers, Setting};
pub use manual::manual;
pub use parameter::{Field, Kind, Origin, Parameter, Section, Status};
pub use report::Notice;
pub use template::template;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The redundancy that `SCR_COPY_TYPE` or a checkpoint descriptor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyType {
    /// No redundancy.
    Single,
    /// A full copy on the next node.
    Partner,
    /// XOR parity.
    Xor,
    /// Reed-Solomon parity.
    Rs,
}

impl CopyType {
    /// The type of this name, in upper case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Single, Self::Partner, Self::Xor, Self::Rs].into_iter().find(|it| it.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "SINGLE",
            Self::Partner => "PARTNER",
            Self::Xor => "XOR",
            Self::Rs => "RS",
        }
    }
}

/// Where the application writes (`SCR_CACHE_BYPASS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// To the cache.
    No,
    /// Straight to the prefix.
    Yes,
    /// To the prefix first, and to the cache once it is known that this is safe.
    Auto,
}

impl Bypass {
    /// What a word in the configuration means.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "0" => Some(Self::No),
            "1" => Some(Self::Yes),
            "AUTO" => Some(Self::Auto),
            _ => None,
        }
    }
}

/// A class of node-local storage (`STORE=<path> ...`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDescriptor {
    /// Its base directory.
    pub base: PathBuf,
    /// The failure group of which all members share it (`GROUP`).
    pub group: String,
    /// How many datasets it may keep (`COUNT`).
    pub count: u32,
    /// Whether the base directory is made where it is missing (`MKDIR`).
    pub may_make: bool,
    /// Whether several nodes see the same files there (`VIEW=GLOBAL`, or a `GROUP` of several nodes).
    pub is_shared: bool,
}

/// How checkpoints of one level are kept (`CKPT=<n> ...`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointDescriptor {
    /// Its number.
    pub index: u32,
    /// Used for every `interval`-th checkpoint.
    pub interval: u32,
    /// The failure group to survive.
    pub group: String,
    /// Base directory of the store.
    pub store: PathBuf,
    /// Redundancy.
    pub copy_type: CopyType,
    /// Fewest members of a redundancy set.
    pub set_size: u32,
    /// Lost members that a Reed-Solomon set survives.
    pub set_failures: u32,
    /// Whether the application writes straight to the prefix.
    pub bypass: Bypass,
    /// Whether it is the one for output sets.
    pub output: bool,
}

/// Everything that can be configured, checked and typed. Units are in the names.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `SCR_ENABLE`
    pub enable: bool,
    /// `SCR_DEBUG`
    pub debug: u32,
    /// `SCR_PREFIX`; absolute, as are all paths here
    pub prefix: PathBuf,
    /// `SCR_CNTL_BASE`
    pub control_base: PathBuf,
    /// `SCR_CACHE_BASE`
    pub cache_base: PathBuf,
    /// `SCR_CACHE_SIZE`
    pub cache_size: u32,
    /// `SCR_CACHE_BYPASS`
    pub cache_bypass: Bypass,
    /// Whether anybody set `SCR_CACHE_BYPASS`
    pub is_bypass_set: bool,
    /// `SCR_CACHE_PURGE`
    pub cache_purge: bool,
    /// Stores, that of `SCR_CACHE_BASE` always among them.
    pub stores: Vec<StoreDescriptor>,
    /// Checkpoint descriptors; at least one, with interval 1.
    pub checkpoints: Vec<CheckpointDescriptor>,
    /// `GROUPS` lines: host name -> (group name -> value).
    pub groups: BTreeMap<String, BTreeMap<String, String>>,
    /// `SCR_DISTRIBUTE`
    pub distribute: bool,
    /// `SCR_FETCH`
    pub fetch: bool,
    /// `SCR_FETCH_BYPASS`: what is only in the prefix is read there
    pub fetch_bypass: bool,
    /// `SCR_GLOBAL_RESTART`: restarts read from the prefix only, any rank any file
    pub global_restart: bool,
    /// `SCR_FLUSH`: flush every n-th checkpoint; 0 = never
    pub flush_every: u32,
    /// `SCR_FLUSH_ON_RESTART`
    pub flush_on_restart: bool,
    /// `SCR_PREFIX_SIZE`: checkpoints that stay in the prefix; 0 = all
    pub prefix_size: u32,
    /// `SCR_PREFIX_PURGE`
    pub prefix_purge: bool,
    /// `SCR_CURRENT`
    pub current: Option<String>,
    /// `SCR_DROP_AFTER_CURRENT`: SCR_Current takes later datasets out of the index
    pub drop_after_current: bool,
    /// `SCR_CHECKPOINT_INTERVAL`: calls of Need_checkpoint; 0 = off
    pub checkpoint_interval: u32,
    /// `SCR_CHECKPOINT_SECONDS`; 0 = off
    pub checkpoint_seconds: u32,
    /// `SCR_CHECKPOINT_OVERHEAD`: percent; 0 = off
    pub checkpoint_overhead_percent: f64,
    /// `SCR_HALT_SECONDS`; 0 = off
    pub halt_seconds: u32,
    /// `SCR_HALT_EXIT`
    pub halt_exit: bool,
    /// `SCR_EXIT_SIGNALS`: names without SIG
    pub exit_signals: Vec<String>,
    /// `SCR_CRC_ON_COPY`: checksums taken at completion and verified at hand-back; 0 is the only way to turn them off
    pub checksums: bool,
    /// `SCR_LOG_ENABLE`
    pub log: bool,
    /// `SCR_RESTART_REQUIRED`: Init fails when there are checkpoints and none can be used
    pub restart_required: bool,
    /// `SCR_USER_NAME`
    pub user_name: Option<String>,
    /// `SCR_JOB_ID`
    pub job_id: Option<String>,
    /// `SCR_END_TIME`: when the allocation ends, in seconds since 1970
    pub end_unix_seconds: Option<u64>,
    /// `SCR_NODE`: the name of this node
    pub node: Option<String>,
    /// `SCR_TASK`: keeps jobs that share a prefix apart
    pub task: Option<String>,
    /// `SCR_HEARTBEAT_SECONDS`; 0 = off
    pub heartbeat_seconds: f64,
    /// What `scr run` acts on.
    pub run: RunSettings,
}

/// How `scr run` launches an application again.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// `SCR_RUNS`, or one more than `SCR_RETRIES`; `None` = without limit
    pub runs: Option<u32>,
    /// `SCR_MIN_NODES`
    pub min_nodes: Option<u32>,
    /// `SCR_EXCLUDE_NODES`, as written
    pub exclude_nodes: Option<String>,
    /// `SCR_RELAUNCH_SECONDS`: pause between two launches
    pub relaunch_seconds: f64,
    /// `SCR_HANG_SECONDS`: how long the rest of a launch may live after a rank died
    pub hang_seconds: f64,
}

impl Config {
    /// The configuration of somebody who sets nothing and works in `prefix`.
    pub fn default_for(prefix: PathBuf) -> Self {
        resolve::config(&Layers::new(prefix, []), &mut report::Report::default())
    }

    /// The store that holds `path`: the one with the longest base among those above it, by whole names of directories.
    pub fn store_of(&self, path: &Path) -> Option<&StoreDescriptor> {
        let above = self.stores.iter().filter(|store| path.starts_with(&store.base));
        above.max_by_key(|store| store.base.components().count())
    }
}

/// Where a value came from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Environment,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
    },
    /// A call of `SCR_Config`.
    Call,
    /// The default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Call => f.write_str("SCR_Config"),
            Self::Default => f.write_str("default"),
        }
    }
}
