// SPDX-License-Identifier: MIT OR Apache-2.0
//! How every dataset in the caches stands: its records, data, redundancy; and healing of what can be healed.
//!
//! Without [`Action::Repair`] nothing is written. With it the lease of the prefix is taken first, unless a launch that lives
//! holds it. Redundancy found bad is made good also while nothing is lost: the next loss needs it.

use super::Job;
use super::heal::{Findings, heal, look};
use super::rebuild::{BadBlock, SetMap};
use super::recover::{self, Cached, Judged, Local, Purpose, Usable};
use super::visit::{Taking, visit};
use super::wire::{pack, unpack};
use crate::comm::{Comm, agree, collective};
use crate::config::Config;
use crate::error::{ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::{DatasetHeader, Scheme};
use crate::host::Host;
use crate::id::RelPath;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is done about what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is told.
    Look,
    /// It is made good, where redundancy can.
    Repair,
}

/// How a dataset in cache stands, as its records tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// All of its parts are there.
    Whole,
    /// These parts are gone, and can be rebuilt.
    Rebuildable {
        /// Ascending.
        missing: Vec<Missing>,
    },
    /// More is gone than redundancy restores.
    Lost {
        /// Why.
        why: String,
    },
    /// It was never finished, and nobody was told of it.
    Uncommitted,
    /// The application, or a check, found it bad.
    SetAside {
        /// Why.
        reason: String,
    },
}

/// A part that is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    /// The redundancy set.
    pub set: u32,
    /// The member of it.
    pub member: u32,
    /// The ranks whose files it held.
    pub ranks: Vec<u32>,
}

/// What is bad in a part that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadPart {
    /// Blocks of data.
    pub data_blocks: u64,
    /// Blocks of parity.
    pub parity_blocks: u64,
    /// Copies of node records.
    pub copies: u64,
    /// Files that are not there with their size.
    pub files: Vec<RelPath>,
}

/// Where a part is: the rank of the audit that stands for its node, its set, its member.
pub type Seat = (u32, u32, u32);

/// What was found of one layout of a dataset, and what became of it.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Which dataset.
    pub dataset: DatasetHeader,
    /// Which layout of it.
    pub layout: u32,
    /// The weakest scheme of its parts.
    pub scheme: Scheme,
    /// What its records tell.
    pub condition: Condition,
    /// Whether there are checksums to compare data with.
    pub is_verified: bool,
    /// What is bad in the parts that are there.
    pub bad: BTreeMap<Seat, BadPart>,
    /// What became of the repair, where one was asked for and due: or why it cannot be done.
    pub repaired: Option<std::result::Result<(), String>>,
}

impl Audited {
    /// Whether nothing of it is bad, or nothing any more.
    pub fn is_good(&self) -> bool {
        match &self.condition {
            Condition::Uncommitted | Condition::SetAside { .. } => true,
            Condition::Lost { .. } => false,
            Condition::Whole if self.bad.is_empty() => true,
            Condition::Whole | Condition::Rebuildable { .. } => {
                matches!(self.repaired, Some(Ok(())))
            }
        }
    }
}

/// Examines the datasets in the caches, or those called `name`; `host` and `config` are those of the node that this rank
/// stands for.
///
/// # Collective
/// On all ranks of `world`, of which there is one per node; the result is the same on all.
///
/// # Errors
/// [`ErrorKind::Refused`] when a repair is asked for, and a launch uses the prefix. What is wrong with a dataset is a result,
/// not an error.
pub fn audit(
    world: Box<dyn Comm>,
    host: Host,
    config: Config,
    action: Action,
    name: Option<&str>,
) -> Result<Vec<Audited>> {
    let taking = match action {
        Action::Look => Taking::Nothing,
        Action::Repair => Taking::LeaseOfTheDead,
    };
    visit(world, host, config, taking, |job, _| {
        let (cached, local) = recover::survey(job)?;
        let wanted =
            cached.iter().filter(|one| name.is_none_or(|name| one.header.name.as_str() == name));
        wanted.map(|one| audit_one(job, one, &local, action)).collect()
    })
}

/// What the ranks find, each in its own parts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    missing: BTreeSet<Missing>,
    bad: BTreeMap<Seat, BadPart>,
    is_unverified: bool,
}

fn audit_one(job: &Job, one: &Cached, local: &Local, action: Action) -> Result<Audited> {
    if job.is_first() {
        let (id, name) = (one.header.id, &one.header.name);
        let text = format!("examining dataset {id} ({name}) in the caches");
        job.host.tell(EventKind::Message, Level::Note, text);
    }
    let mut audited = Audited {
        dataset: one.header.clone(),
        layout: one.layout,
        scheme: one.scheme,
        condition: Condition::Whole,
        is_verified: true,
        bad: BTreeMap::new(),
        repaired: None,
    };
    if let Some(reason) = one.condemned.clone() {
        audited.condition = Condition::SetAside { reason };
        return Ok(audited);
    }
    let judged = recover::judge(job, one, local, Purpose::Care)?;
    match &judged.usable {
        Usable::Unfinished => audited.condition = Condition::Uncommitted,
        Usable::Lost { why } => audited.condition = Condition::Lost { why: why.clone() },
        Usable::Whole | Usable::Rebuildable { .. } => {
            let world = &*job.topology.world;
            let findings = agree(world, look(job, &judged.maps))?;
            let found = everywhere(world, &found_here(job, &judged.maps, &findings))?;
            if !found.missing.is_empty() {
                let missing = found.missing.into_iter().collect();
                audited.condition = Condition::Rebuildable { missing };
            }
            audited.is_verified = !found.is_unverified;
            audited.bad = found.bad;
            if action == Action::Repair && !audited.is_good() {
                audited.repaired = Some(said_alike(world, repair(job, one, judged, local))?);
            }
        }
    }
    Ok(audited)
}

fn found_here(job: &Job, maps: &[SetMap], findings: &Findings) -> Found {
    let mut found = Found::default();
    let me = job.topology.world.rank() as u32;
    for map in maps {
        found.is_unverified |= !map.header.has_checksums;
        found.missing.extend(map.missing.iter().map(|&member| Missing {
            set: map.header.place.set,
            member,
            ranks: map.header.members[member as usize].iter().map(|&(rank, _)| rank).collect(),
        }));
    }
    let seat = |at: usize, member| (me, maps[at].header.place.set, member);
    for &(at, block) in &findings.blocks {
        let bad = found.bad.entry(seat(at, block.member())).or_default();
        match block {
            BadBlock::Data { .. } => bad.data_blocks += 1,
            BadBlock::Parity { .. } => bad.parity_blocks += 1,
        }
    }
    for &(at, member, _) in &findings.copies {
        found.bad.entry(seat(at, member)).or_default().copies += 1;
    }
    for (at, member, name) in &findings.files {
        found.bad.entry(seat(*at, *member)).or_default().files.push(name.clone());
    }
    found
}

/// Joins what all ranks have found.
///
/// # Collective
/// On `world`.
fn everywhere(world: &dyn Comm, mine: &Found) -> Result<Found> {
    let joined = collective::fold(world, pack(mine), &mut |lower, higher| {
        let read = |bytes: &[u8]| unpack::<Found>(bytes).unwrap_or_default();
        let (mut joined, higher) = (read(&lower), read(&higher));
        joined.missing.extend(higher.missing);
        joined.bad.extend(higher.bad);
        joined.is_unverified |= higher.is_unverified;
        pack(&joined)
    })?;
    unpack(&joined)
}

/// Rebuilds what is missing, then heals what is bad.
///
/// # Collective
/// On all ranks; so are failures.
fn repair(job: &Job, one: &Cached, mut judged: Judged, local: &Local) -> Result<()> {
    judged.maps.retain(|map| !map.missing.is_empty());
    recover::complete(job, one, &judged, local)?;
    let (parts, _) = agree(&*job.topology.world, job.cache.scan())?;
    heal(job, one, &parts).map(|_| ())
}

/// Turns a failure of all ranks into one text: the words of the lowest rank that has its own.
///
/// # Collective
/// On `world`; `result` is `Err` on all ranks or on none.
fn said_alike(world: &dyn Comm, result: Result<()>) -> Result<std::result::Result<(), String>> {
    let error = match result {
        Ok(()) => return Ok(Ok(())),
        Err(error) if error.kind() == ErrorKind::Communication => return Err(error),
        Err(error) => error,
    };
    let is_own = error.kind() != ErrorKind::PeerFailed;
    let words = if is_own { format!("{error:#}").into_bytes() } else { Vec::new() };
    let words = collective::fold(world, words, &mut |a, b| if a.is_empty() { b } else { a })?;
    Ok(Err(String::from_utf8_lossy(&words).into_owned()))
}

#[cfg(test)]
mod tests;
