// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of a dataset in the prefix: the rename list's seal and the summary.

use super::dataset::DatasetHeader;
use crate::id::{DatasetIdentity, Epoch};
use serde::{Deserialize, Serialize};

/// Seals the rename list of a flush.
///
/// Published when all data are durable under temporary names and all rank maps (`map.<set>.<member>`, node records) are
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
    Flushing {
        /// The epoch that the temporary names of this attempt carry.
        epoch: Epoch,
    },
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

/// Which ranks a rank map has: ranks `first .. first + count` are in `map.<set>.<member>`. Sorted by `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankRange {
    /// The first rank.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// The set whose map it is.
    pub set: u32,
    /// The member whose map it is.
    pub member: u32,
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

/// The runs of consecutive numbers in `ranks`, which is ascending.
pub fn ranges_of(ranks: &[u32], set: u32, member: u32) -> Vec<RankRange> {
    let mut ranges: Vec<RankRange> = Vec::new();
    for &rank in ranks {
        match ranges.last_mut() {
            Some(last) if last.first + last.count == rank => last.count += 1,
            _ => ranges.push(RankRange { first: rank, count: 1, set, member }),
        }
    }
    ranges
}

impl Summary {
    /// The rank map that has the section of `rank`: set and member.
    pub fn map_of(&self, rank: u32) -> Option<(u32, u32)> {
        let after = self.ranges.partition_point(|range| range.first <= rank);
        let range = self.ranges[..after].last()?;
        (rank - range.first < range.count).then_some((range.set, range.member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_runs_and_lead_back_to_their_map() {
        let mut ranges = ranges_of(&[0, 1, 4], 0, 0);
        ranges.extend(ranges_of(&[2, 3], 0, 1));
        ranges.sort_by_key(|r| r.first);
        assert_eq!(
            ranges.iter().map(|r| (r.first, r.count)).collect::<Vec<_>>(),
            [(0, 2), (2, 2), (4, 1)]
        );
        let summary = Summary {
            dataset: DatasetHeader {
                epoch: crate::id::Epoch(1),
                id: crate::id::DatasetId(1),
                identity: DatasetIdentity::default(),
                parent: None,
                name: crate::id::DatasetName::new("a"),
                is_checkpoint: true,
                is_output: false,
                created_unix_micros: 0,
                job_id: crate::id::JobId::new("j"),
                user: crate::id::UserName::new("u"),
                ranks: 5,
            },
            state: PrefixState::Flushed,
            changed_unix_micros: 0,
            maps: 2,
            ranges,
            files: 0,
            bytes: 0,
            has_checksums: true,
        };
        let found: Vec<_> = (0..6).map(|rank| summary.map_of(rank)).collect();
        assert_eq!(
            found,
            [Some((0, 0)), Some((0, 0)), Some((0, 1)), Some((0, 1)), Some((0, 0)), None]
        );
    }
}
