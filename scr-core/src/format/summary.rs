// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of a dataset in the prefix: the rename list's seal and the summary.

use super::dataset::DatasetHeader;
use crate::id::{DatasetIdentity, Epoch};
use serde::{Deserialize, Serialize};

/// Seals the rename list of a flush.
///
/// Published when all data are durable under temporary names and all rank maps (`map.<i>`, node records) are
/// published. From then on anyone can carry out the renames again: for each file of each map, the temporary name of
/// (identity, epoch, name) becomes the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameList {
    /// Which dataset.
    pub dataset: DatasetHeader,
    /// The epoch that its temporary names carry.
    pub epoch: Epoch,
    /// How many rank maps there are.
    pub maps: u32,
    /// How many files in all.
    pub files: u64,
    /// How many bytes in all.
    pub bytes: u64,
    /// Datasets in the prefix that own one of the names until now.
    pub supersedes: Vec<DatasetIdentity>,
}

/// How a dataset stands in the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrefixState {
    /// Being written.
    Flushing,
    /// Complete, under its own names.
    Flushed,
    /// The application, or a check, found it bad; reversible, nothing is deleted.
    Failed {
        /// Why.
        reason: String,
    },
    /// A newer dataset has taken one of its names.
    Superseded {
        /// Which.
        by: DatasetIdentity,
    },
}

/// Which ranks a rank map has: ranks `first .. first + count` are in map `map`. Sorted by `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankRange {
    /// The first rank.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// In which map.
    pub map: u32,
}

/// The dataset's own record in the prefix: the truth that the index is a cache of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which dataset.
    pub dataset: DatasetHeader,
    /// How it stands.
    pub state: PrefixState,
    /// When it became so, in microseconds since 1970; for people only.
    pub changed_unix_micros: u64,
    /// How many rank maps there are.
    pub maps: u32,
    /// Where each rank's section is; empty while `Flushing`.
    pub ranges: Vec<RankRange>,
    /// How many files in all.
    pub files: u64,
    /// How many bytes in all.
    pub bytes: u64,
    /// Whether checksums exist for it.
    pub has_checksums: bool,
}
