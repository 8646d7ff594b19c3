// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pieces that several records share: what a dataset is, where a part of it belongs, what a file is.

use crate::id::{DatasetId, DatasetIdentity, DatasetName, Epoch, JobId, RelPath, UserName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is known of a dataset from the moment it is started; equal in every record of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetHeader {
    /// The launch that wrote it: launches of a prefix follow each other, so a higher epoch is newer, whatever the number.
    pub epoch: Epoch,
    /// Its number.
    pub id: DatasetId,
    /// Its identity: what makes two records speak of one dataset.
    pub identity: DatasetIdentity,
    /// The dataset that the application had reached when it started this one (its restart point or the one before).
    pub parent: Option<DatasetIdentity>,
    /// Its name.
    pub name: DatasetName,
    /// Whether one can restart from it.
    pub is_checkpoint: bool,
    /// Whether it must reach the prefix.
    pub is_output: bool,
    /// When it was started, in microseconds since 1970, by the clock of rank 0; for people only.
    pub created_unix_micros: u64,
    /// The allocation that wrote it.
    pub job_id: JobId,
    /// The user who wrote it.
    pub user: UserName,
    /// How many ranks wrote it.
    pub ranks: u32,
}

impl DatasetHeader {
    /// Sorts datasets by age. Numbers alone do not: one that came back with a node may have a higher number than one that
    /// was written since, without it.
    pub fn age(&self) -> (Epoch, DatasetId) {
        (self.epoch, self.id)
    }
}

/// How a dataset is protected in cache. Later ones are dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scheme {
    /// No redundancy: survives the death of processes, not of a node.
    Single,
    /// One lost node per redundancy set.
    Xor,
    /// A copy of each node's data on the one before it: any lost nodes of a set of which no two are neighbours.
    Partner,
    /// Reed-Solomon: so many lost nodes per redundancy set.
    ReedSolomon {
        /// How many.
        failures: u8,
    },
}

impl Scheme {
    /// Whichever lost nodes of a redundancy set it is, it survives so many.
    pub fn tolerance(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Xor | Self::Partner => 1,
            Self::ReedSolomon { failures } => failures.into(),
        }
    }

    /// Data blocks and parity blocks of a stripe, in a set of so many members.
    pub fn stripe(self, members: usize) -> (usize, usize) {
        let parities = self.tolerance() as usize;
        match self {
            Self::Partner => (1, parities),
            _ => (members.saturating_sub(parities), parities),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("SINGLE"),
            Self::Xor => f.write_str("XOR"),
            Self::Partner => f.write_str("PARTNER"),
            Self::ReedSolomon { failures } => write!(f, "RS({failures})"),
        }
    }
}

/// Where a part belongs: one member of one redundancy set of one layout of a dataset.
///
/// A *part* is what one node holds of a dataset. When a dataset is spread anew over other nodes, it gets a new layout;
/// parts of different layouts are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Counts the times that the dataset was laid out over nodes, from 0.
    pub layout: u32,
    /// Which redundancy set.
    pub set: u32,
    /// How many sets the layout has.
    pub sets: u32,
    /// Which member of the set.
    pub member: u32,
    /// How many members the set has.
    pub members: u32,
    /// How the set is protected.
    pub scheme: Scheme,
}

/// One file of a dataset, as it was at completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path below the prefix.
    pub name: RelPath,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access, in nanoseconds since 1970.
    pub accessed_unix_nanos: i128,
    /// Last change, in nanoseconds since 1970: tells "modified after completion" from rot.
    pub modified_unix_nanos: i128,
    /// Number within the file system that held it at completion.
    pub inode: u64,
}
