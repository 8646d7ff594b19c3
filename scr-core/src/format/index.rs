// SPDX-License-Identifier: MIT OR Apache-2.0
//! The index: a cache of the summaries in the prefix, rebuilt from them whenever it is missing, torn or old.

use super::summary::Summary;
use serde::{Deserialize, Serialize};

/// All datasets in the prefix, ascending by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Their summaries, without the rank ranges.
    pub entries: Vec<Summary>,
}
