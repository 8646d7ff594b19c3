// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration: one table of parameters, layered sources, one typed [`Config`].

use std::path::PathBuf;

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

/// A class of node-local storage (`STORE=<path> ...`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDescriptor {
    /// Its base directory.
    pub base: PathBuf,
    /// The failure group of which all members share it (`GROUP`).
    pub group: String,
    /// How many datasets it may keep (`COUNT`).
    pub count: u32,
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
    pub bypass: bool,
    /// Whether it is the one for output sets.
    pub output: bool,
}

/// Everything that can be configured, checked and typed. Units are in the names.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `SCR_ENABLE`
    pub enable: bool,
    /// `SCR_DEBUG`, 0..=3
    pub debug: u32,
    /// `SCR_PREFIX`, absolute
    pub prefix: PathBuf,
    /// `SCR_CNTL_BASE`
    pub control_base: PathBuf,
    /// `SCR_CACHE_BASE`
    pub cache_base: PathBuf,
    /// `SCR_CACHE_SIZE`
    pub cache_size: u32,
    /// `SCR_CACHE_BYPASS`
    pub cache_bypass: bool,
    /// `SCR_CACHE_PURGE`
    pub cache_purge: bool,
    /// Stores, that of `SCR_CACHE_BASE` always among them.
    pub stores: Vec<StoreDescriptor>,
    /// Checkpoint descriptors; at least one, with interval 1.
    pub checkpoints: Vec<CheckpointDescriptor>,
    /// `GROUPS` lines: host name -> (group name -> value).
    pub groups: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>,
    /// `SCR_MPI_BUF_SIZE`
    pub mpi_buffer_bytes: u64,
    /// `SCR_FILE_BUF_SIZE`
    pub file_buffer_bytes: u64,
    /// `SCR_DISTRIBUTE`
    pub distribute: bool,
    /// `SCR_FETCH`
    pub fetch: bool,
    /// `SCR_FLUSH`: flush every n-th checkpoint; 0 = never
    pub flush_every: u32,
    /// `SCR_FLUSH_ON_RESTART`
    pub flush_on_restart: bool,
    /// `SCR_CURRENT`
    pub current: Option<String>,
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
    /// `SCR_CRC_ON_COPY`: checksums taken at completion and verified at hand-back; 0 is the only way to turn them off
    pub checksums: bool,
    /// `SCR_LOG_ENABLE`
    pub log: bool,
    /// `SCR_RESTART_REQUIRED`: Init fails when there are checkpoints and none can be used
    pub restart_required: bool,
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
