// SPDX-License-Identifier: MIT OR Apache-2.0
//! Erased blocks computed from the others of their stripe.
//!
//! A lost node is the case in which all blocks of a member are erased, a corrupt block the case of one. What is read for
//! a stripe goes to the rank that holds one of its blocks, the *combiner*, which forwards the result to the owner: the work
//! and the traffic are spread over the set, and the owner receives no more than it stores.
//!
//! Every block that is read is compared with its checksum, and so is every block that was computed. One that is found bad
//! counts as erased from then on, and the stripes are gone through once more: so a checkpoint comes back as long as each
//! stripe has enough good blocks, wherever the bad ones are.
//!
//! A set is rebuilt by the ranks that run where its members are: a node can be home to several members, when there are
//! fewer nodes than before.
//!
//! | file | what it does |
//! |---|---|
//! | [`records`] | node records of lost members, from their copies |
//! | [`blocks`] | one pass over the stripes of a set |

mod blocks;
mod records;

pub use blocks::bad_parity;

use super::cache::Part;
use super::wire::{pack, unpack};
use super::{Job, protect::geometry_of};
use crate::comm::{Reduce, collective};
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::NodeHeader;
use crate::sabotage::{self, Fault};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A redundancy set of a dataset, and where its members are now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetMap {
    /// What was encoded, in which blocks.
    pub header: NodeHeader,
    /// For every member, the ranks that run where it is, or shall be.
    pub homes: Vec<Vec<u32>>,
    /// The members of which nothing is left.
    pub missing: Vec<u32>,
    /// For each of them, a member that has a good copy of its node record.
    pub holders: BTreeMap<u32, u32>,
    /// The blocks that are known to be bad.
    pub bad: BTreeSet<BadBlock>,
    /// The store in which missing members are made.
    pub store: usize,
}

/// A block that cannot be read, or does not match its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BadBlock {
    /// Of the stream of a rank.
    Data {
        /// The member.
        member: u32,
        /// The position of the rank within it.
        index: u32,
        /// The number of the block in its stream.
        block: u64,
    },
    /// Of the parity of a member.
    Parity {
        /// The member.
        member: u32,
        /// The row.
        row: u64,
        /// Which of the parities of the row.
        slot: u32,
    },
}

impl BadBlock {
    /// The member that holds it.
    pub fn member(self) -> u32 {
        match self {
            Self::Data { member, .. } | Self::Parity { member, .. } => member,
        }
    }
}

impl SetMap {
    /// A set of which nothing is missing.
    pub fn whole(header: NodeHeader, homes: Vec<Vec<u32>>) -> Self {
        let (missing, holders, bad) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { header, homes, missing, holders, bad, store: 0 }
    }

    /// The part of `member` on this node.
    pub fn part(&self, job: &Job, member: usize, is_new: bool) -> Part {
        let mut place = self.header.place;
        place.member = member as u32;
        if is_new && !sabotage::active(Fault::RebuildInPlace) {
            job.cache.rebuilding(self.store, &self.header.dataset, &place)
        } else {
            job.cache.part(&self.header.dataset, &place)
        }
    }

    /// The members whose home is the node of this rank: number, part, whether it is made now.
    pub(super) fn hosted(&self, job: &Job) -> Vec<(usize, Part, bool)> {
        let me = job.topology.world.rank() as u32;
        let here = (0..self.homes.len()).filter(|&member| self.homes[member].contains(&me));
        here.map(|member| {
            let is_new = self.missing.contains(&(member as u32));
            (member, self.part(job, member, is_new), is_new)
        })
        .collect()
    }
}

/// Restores what is missing or bad in sets; parts that were missing stay under their rebuild name.
///
/// `found` are the bad blocks that this rank knows, each with the position of its set in `maps`.
///
/// # Collective
/// On all ranks; `maps` are the sets of which a member is, or shall be, on this node. The inner result is this rank's own;
/// on success it is the number of blocks it restored.
pub fn restore(job: &Job, maps: &mut [SetMap], found: &[(usize, BadBlock)]) -> Result<Result<u64>> {
    let mut outcome = Ok(());
    for map in maps.iter() {
        outcome = outcome.and(records::pass(job, map)?);
    }
    spread(job, maps, found)?;
    loop {
        let (mut found, mut trouble, mut blocks) = (Vec::new(), Ok(()), 0);
        for (at, map) in maps.iter().enumerate() {
            // All ranks of the set have the same header, so nobody waits for us.
            let Ok(geometry) = geometry_of(&map.header) else { continue };
            let done = blocks::pass(job, map, &geometry)?;
            blocks += done.restored;
            trouble = trouble.and(done.trouble.map_or(Ok(()), Err));
            let new = done.bad.into_iter().filter(|bad| !map.bad.contains(bad));
            found.extend(new.map(|bad| (at, bad)));
        }
        if !spread(job, maps, &found)? {
            return Ok(outcome.and(trouble).map(|()| blocks));
        }
    }
}

/// Tells bad blocks to all ranks that restore their set; returns whether there were any at all.
///
/// # Collective
/// On all ranks.
fn spread(job: &Job, maps: &mut [SetMap], found: &[(usize, BadBlock)]) -> Result<bool> {
    let world = &*job.topology.world;
    let mut count = [found.len() as u64];
    world.all_reduce(Reduce::Sum, &mut count)?;
    if count[0] == 0 {
        return Ok(false);
    }
    let mut items = Vec::new();
    for (at, map) in maps.iter().enumerate() {
        let mine: Vec<BadBlock> =
            found.iter().filter(|(of, _)| *of == at).map(|&(_, bad)| bad).collect();
        if mine.is_empty() {
            continue;
        }
        let ranks: BTreeSet<u32> = map.homes.iter().flatten().copied().collect();
        let bytes = pack(&(map.header.place.set, mine));
        items.extend(ranks.into_iter().map(|rank| (rank as usize, bytes.clone())));
    }
    for (_, bytes) in collective::route(world, items)? {
        let (set, bad): (u32, Vec<BadBlock>) = unpack(&bytes)?;
        if let Some(map) = maps.iter_mut().find(|map| map.header.place.set == set) {
            map.bad.extend(bad);
        }
    }
    Ok(true)
}

/// Too much of a stripe is gone.
fn lost(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Lost, text.into())
}
