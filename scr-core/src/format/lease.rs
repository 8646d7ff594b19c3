// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lease of a prefix: who may rename there. Clocks of two hosts are never compared; a heartbeat is a counter.

use crate::id::{Epoch, JobId, NodeName};
use serde::{Deserialize, Serialize};

/// Whether the holder still uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseState {
    /// In use, as far as the holder said.
    Held,
    /// Given back by Finalize.
    Finalized,
    /// Given back without Finalize (a halt, an error).
    Released,
}

/// Who may write into the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The allocation.
    pub job_id: JobId,
    /// The launch (drawn at random by each): two steps of one allocation are told apart by it.
    pub step: [u8; 16],
    /// Counts takeovers.
    pub epoch: Epoch,
    /// The node of rank 0, for messages.
    pub node: NodeName,
    /// Whether it is still in use.
    pub state: LeaseState,
    /// Moves while the holder lives.
    pub heartbeat: u64,
    /// Milliseconds between two moves; 0 where it never moves.
    pub period_ms: u64,
}
