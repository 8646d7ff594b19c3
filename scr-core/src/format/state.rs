// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of one part in a cache: the small record whose replacement is the commit.

use super::dataset::{DatasetHeader, Place};
use crate::id::{Epoch, NodeName};
use serde::{Deserialize, Serialize};

/// How far a part has come. It only ever moves down this list, `Condemned` from anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The application is writing, or redundancy is being made; or all is done, and the commit has not come here yet.
    Writing,
    /// Data, redundancy, node records and their copies were complete on all nodes when this was written.
    Committed,
    /// Not to be used; the reason is for people, and the data stay until space is needed.
    Condemned {
        /// Why.
        reason: String,
    },
}

/// What one node says of the part it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartState {
    /// Which dataset.
    pub dataset: DatasetHeader,
    /// Which part of it.
    pub place: Place,
    /// The node that made the part.
    pub node: NodeName,
    /// The launch that made it: of two parts of one place, one of them rebuilt, the later was whole later.
    pub epoch: Epoch,
    /// How far it has come.
    pub phase: Phase,
}
