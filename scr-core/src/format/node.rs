// SPDX-License-Identifier: MIT OR Apache-2.0
//! The node record: what one node holds of a dataset, with a section per rank.
//!
//! A file of several frames: one [`NodeHeader`], one [`RankSection`] per rank in ascending order, one [`NodeEnd`]. It
//! is written and read frame by frame, so that no process holds the file lists of a whole node. Copies of it on the next
//! members of the set, and in the prefix, are the same bytes.

use super::dataset::{DatasetHeader, FileEntry, Place};
use crate::id::NodeName;
use serde::{Deserialize, Serialize};

/// The first frame of a node record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHeader {
    /// Which dataset.
    pub dataset: DatasetHeader,
    /// Which part of it.
    pub place: Place,
    /// The node that wrote it.
    pub node: NodeName,
    /// Bytes per block: the unit of checksums and of encoding; equal on all nodes.
    pub block_bytes: u32,
    /// Whether checksums were taken (`SCR_CRC_ON_COPY=0` turns them off).
    pub has_checksums: bool,
    /// For every member of the set, its ranks with the bytes of their streams: `members[m]` is `(rank, bytes)`, ascending by rank.
    pub members: Vec<Vec<(u32, u64)>>,
}

/// What one rank wrote. Its *stream* is its files, in the order of `files`, end to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankSection {
    /// The rank.
    pub rank: u32,
    /// Its files, ascending by name.
    pub files: Vec<FileEntry>,
    /// CRC-32 of each block of the rank's stream, taken by the node that owns the data; empty without checksums.
    pub data_checksums: Vec<u32>,
    /// CRC-32 of each parity block that this rank's lane made, in row order; empty without redundancy or checksums.
    pub parity_checksums: Vec<u32>,
}

/// The last frame: proof that all sections are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEnd {
    /// How many sections there are.
    pub sections: u32,
    /// How many files in all.
    pub files: u64,
    /// How many bytes in all.
    pub bytes: u64,
}
