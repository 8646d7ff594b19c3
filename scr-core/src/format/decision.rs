// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last restart decision: for every dataset and place, what was found, and why it was or was not taken.

use crate::id::{DatasetId, DatasetIdentity, DatasetName};
use serde::{Deserialize, Serialize};

/// Where a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Location {
    /// In the caches of the nodes.
    Cache,
    /// In the prefix.
    Prefix,
    /// In the prefix, where SCR 3 left it.
    Scr3,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cache => "in cache",
            Self::Prefix => "in the prefix",
            Self::Scr3 => "in the prefix, written by SCR 3",
        })
    }
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Handed to the application.
    Taken,
    /// Usable, but a better one was taken.
    NotNeeded,
    /// Not usable now; kept.
    Rejected,
    /// Never finished; removed.
    Discarded,
}

/// One candidate and its fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateReport {
    /// Its number.
    pub id: DatasetId,
    /// Its identity.
    pub identity: DatasetIdentity,
    /// Its name.
    pub name: DatasetName,
    /// Where it was found.
    pub location: Location,
    /// Which layout (0 in the prefix).
    pub layout: u32,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
}

/// What Init and Have_restart decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When, in microseconds since 1970.
    pub decided_unix_micros: u64,
    /// How many ranks asked.
    pub ranks: u32,
    /// How many nodes they ran on.
    pub nodes: u32,
    /// In the order in which they were considered.
    pub candidates: Vec<CandidateReport>,
}
