// SPDX-License-Identifier: MIT OR Apache-2.0
//! Halt requests: written by commands (`halt`), answered by the job in a record of its own (`halt.used`).

use serde::{Deserialize, Serialize};

/// When a job shall stop. Each condition is independent; any one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltRequest {
    /// Drawn anew whenever a number of checkpoints is asked for: `halt.used` refers to it.
    pub generation: u64,
    /// Stop at the next opportunity, for this reason.
    pub reason: Option<String>,
    /// Stop after this many more checkpoints.
    pub checkpoints_left: Option<u64>,
    /// Stop `halt_seconds` before this time (seconds since 1970).
    pub exit_before_unix_seconds: Option<u64>,
    /// Stop after this time (seconds since 1970).
    pub exit_after_unix_seconds: Option<u64>,
    /// How long before the end of the allocation, or `exit_before`, to stop.
    pub halt_seconds: Option<u64>,
}

/// What the job used up of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltUsed {
    /// The request it refers to.
    pub generation: u64,
    /// Checkpoints completed since.
    pub checkpoints: u64,
}
