// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries plans out through ports: everything dangerous is here, and the order of writes is the point of each file.
//!
//! | file | what it does |
//! |---|---|
//! | [`topology`] | who runs where: nodes, their leaders, redundancy sets |
//! | [`cache`] | parts in the cache directory: where they are, what their records say |
//! | [`stream`] | the files of a rank as one stream of bytes |
//! | [`protect`] | from written files to a committed dataset: records, two phases |
//! | [`encode`] | one pass over the data: checksum, exchange, combine, write parity |
//! | [`recover`] | from what is left to a verdict per dataset, and the rebuild of what is missing |
//! | [`rebuild`] | erased blocks computed from the others of their stripe |
//! | [`distribute`] | files to where their rank now runs |
//! | [`verify`] | data against the checksums of completion, and healing |
//! | [`heal`] | the same for all that the nodes present hold, by whoever looks after them |
//! | [`prefix`] | records in the prefix: summaries, index, current |
//! | [`lease`], [`heartbeat`] | who may write there, and its signs of life |
//! | [`flush`], [`fetch`] | cache to prefix, prefix to cache |
//! | [`transfer`] | the copying of a flush while the application goes on |
//! | [`visit`] | work on the caches of a job that does not run |
//! | [`scavenge`] | cache to prefix after the job |
//! | [`scr3`] | what SCR 3 left in the prefix, to be read |
//! | [`audit`], [`inspect`] | how all in the caches, all in the prefix stands |

pub mod audit;
pub mod cache;
pub mod distribute;
pub mod encode;
pub mod fetch;
pub mod flush;
pub mod heal;
pub mod heartbeat;
pub mod inspect;
pub mod lease;
pub mod ownership;
pub mod prefix;
pub mod protect;
pub mod rebuild;
pub mod recover;
pub mod scavenge;
pub mod scr3;
pub mod stream;
pub mod topology;
pub mod transfer;
pub mod verify;
pub mod visit;
mod wire;

use crate::config::Config;
use crate::format::state::{PartState, Phase};
use crate::format::{DatasetHeader, Place};
use crate::host::Host;
use crate::id::Epoch;
use cache::Cache;
use prefix::Prefix;
use topology::Topology;

/// One launch, as seen by one rank: where it runs, what it stands on, how it is configured.
#[derive(Debug)]
pub struct Job {
    /// Counts the launches in this prefix.
    pub epoch: Epoch,
    /// Who runs where.
    pub topology: Topology,
    /// Ports and facts.
    pub host: Host,
    /// How it is configured; equal on all ranks but for what belongs to a node.
    pub config: Config,
    /// This node's cache directory.
    pub cache: Cache,
    /// The prefix.
    pub prefix: Prefix,
}

impl Job {
    /// Whether this is the rank that speaks for all.
    pub fn is_first(&self) -> bool {
        self.topology.world.rank() == 0
    }

    /// What this node says of a part that it makes.
    pub fn part_state(&self, dataset: &DatasetHeader, place: Place, phase: Phase) -> PartState {
        let (dataset, node, epoch) = (dataset.clone(), self.topology.name.clone(), self.epoch);
        PartState { dataset, place, node, epoch, phase }
    }

    /// Whether this is the rank that writes the records of its node.
    pub fn is_leader(&self) -> bool {
        self.topology.node.rank() == 0
    }
}
