// SPDX-License-Identifier: MIT OR Apache-2.0
//! *current*: the dataset that a person, or the last flush, chose as the one to restart from.

use crate::id::{DatasetId, DatasetIdentity, DatasetName};
use serde::{Deserialize, Serialize};

/// Who chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChosenBy {
    /// The job, at a flush or fetch.
    Job,
    /// A person: `scr index --current`, `SCR_CURRENT`, `SCR_Current`.
    Person,
}

/// The choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The dataset chosen.
    pub identity: DatasetIdentity,
    /// Its name.
    pub name: DatasetName,
    /// Who chose.
    pub by: ChosenBy,
    /// The highest dataset number known when the choice was made: a person's choice wins until a newer one is committed.
    pub newest_known: DatasetId,
}
