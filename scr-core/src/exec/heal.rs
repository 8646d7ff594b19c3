// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is bad in a dataset in cache, wherever it is: found without writing, and made good where redundancy can.
//!
//! [`verify`](super::verify) is for the ranks of a launch, each of which looks at its own files. Here a node looks at all
//! that it holds, whoever wrote it, and copies of node records count as well.

use super::Job;
use super::cache::Part;
use super::rebuild::{BadBlock, SetMap, bad_parity, restore};
use super::recover::{self, Cached, Judged, Local, Purpose, Usable};
use super::verify::{bad_data, resize};
use super::wire::{pack, unpack};
use crate::comm::{Reduce, agree, collective};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::node::RankSection;
use crate::id::RelPath;
use crate::sabotage::{self, Fault};
use crate::store::{Durability, publish};

/// What is bad in the parts on the node of this rank, in its share of them; positions are those of the sets.
#[derive(Debug, Default)]
pub struct Findings {
    /// Blocks.
    pub blocks: Vec<(usize, BadBlock)>,
    /// Files that are not there with their size, and the member that holds them.
    pub files: Vec<(usize, u32, RelPath)>,
    /// Copies of node records: the member that holds it, and that whose record it is.
    pub copies: Vec<(usize, u32, u32)>,
}

/// How much was made good, on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// Blocks of data and parity that were bad.
    pub blocks: u64,
    /// Files that were not there with their size.
    pub files: u64,
    /// Copies of node records.
    pub copies: u64,
}

impl Healed {
    /// Whether files may differ from what they were before.
    pub fn touches_data(self) -> bool {
        self.blocks + self.files > 0
    }
}

/// Compares all data, parity and record copies of a dataset with what they should be, and makes good what is bad.
///
/// # Collective
/// On all ranks, with the parts of `one` committed.
///
/// # Errors
/// [`ErrorKind::Lost`] when more is bad than redundancy can restore; what kept this rank from it, or
/// [`ErrorKind::PeerFailed`]. Nothing is removed then.
pub fn heal(job: &Job, one: &Cached, local: &Local) -> Result<Healed> {
    let world = &*job.topology.world;
    let Judged { usable, mut maps } = recover::judge(job, one, local, Purpose::Care)?;
    match usable {
        Usable::Whole => {}
        Usable::Rebuildable { .. } => return Err(Error::new(ErrorKind::Lost, "it is not whole")),
        Usable::Lost { why } => return Err(Error::new(ErrorKind::Lost, why)),
        Usable::Unfinished => return Err(Error::new(ErrorKind::Lost, "it was never finished")),
    }
    let found = agree(world, look(job, &maps))?;
    let mut count =
        [found.blocks.len() as u64, found.files.len() as u64, found.copies.len() as u64];
    world.all_reduce(Reduce::Sum, &mut count)?;
    let [blocks, files, copies] = count;
    let healed = Healed { blocks, files, copies };
    if files > 0 {
        agree(world, give_sizes(job, &maps, &found))?;
    }
    if blocks > 0 {
        let restored = restore(job, &mut maps, &found.blocks)?;
        agree(world, restored)?;
    }
    if copies > 0 {
        mend_copies(job, &maps, &found)?;
    }
    if blocks + copies > 0 && job.is_first() {
        let (id, scheme) = (one.header.id, one.scheme);
        let text = format!(
            "dataset {id}: {blocks} corrupt block(s) restored from {scheme}, {copies} copies of node records"
        );
        job.host.tell(EventKind::RebuildSuccess, Level::Warning, text);
    }
    Ok(healed)
}

/// What is bad in this rank's share of the parts on its node; nothing is written, and missing members are passed over.
///
/// # Errors
/// Those of the store, and [`ErrorKind::Corrupt`] for a node record: parts with a bad one count as missing.
pub fn look(job: &Job, maps: &[SetMap]) -> Result<Findings> {
    let mut found = Findings::default();
    for (at, map) in maps.iter().enumerate() {
        for (member, part, is_new) in map.hosted(job) {
            if !is_new {
                look_at(job, (at, map), member as u32, &part, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn look_at(
    job: &Job,
    (at, map): (usize, &SetMap),
    member: u32,
    part: &Part,
    found: &mut Findings,
) -> Result<()> {
    let (lane, lanes) = (job.topology.lane(), job.topology.ranks.len());
    let reader = part.node()?;
    let header = reader.header();
    let is_checked = header.has_checksums && !sabotage::active(Fault::IgnoreDataChecksum);
    let mut index = 0;
    reader.sections(&mut |section| {
        if index % lanes == lane {
            let files = wrong_sizes(part, &section)?.into_iter();
            found.files.extend(files.map(|name| (at, member, name)));
            if is_checked {
                let data = bad_data(part, &section, member, index, header.block_bytes)?;
                let parity = bad_parity(part, header, &section, index)?;
                found.blocks.extend(data.into_iter().chain(parity).map(|bad| (at, bad)));
            }
        }
        index += 1;
        Ok(true)
    })?;
    if job.is_leader() {
        let bad = copied_to(map, member)
            .filter(|&of| !part.copy(of).is_ok_and(|copy| copy.check().is_ok()));
        found.copies.extend(bad.map(|of| (at, member, of)));
    }
    Ok(())
}

/// The members of whose node records `member` holds copies.
fn copied_to(map: &SetMap, member: u32) -> impl Iterator<Item = u32> {
    let members = map.header.members.len() as u32;
    let copies = map.header.place.scheme.tolerance().min(members.saturating_sub(1));
    (1..=copies).map(move |distance| (member + distance) % members)
}

fn wrong_sizes(part: &Part, section: &RankSection) -> Result<Vec<RelPath>> {
    let mut wrong = Vec::new();
    for file in &section.files {
        match part.store.metadata(&file.name.under(&part.data_path())) {
            Ok(found) if found.size_bytes == file.size_bytes => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => wrong.push(file.name.clone()),
        }
    }
    Ok(wrong)
}

/// Gives files their sizes again: bad blocks have somewhere to go then.
fn give_sizes(job: &Job, maps: &[SetMap], found: &Findings) -> Result<()> {
    let (lane, lanes) = (job.topology.lane(), job.topology.ranks.len());
    for (at, map) in maps.iter().enumerate() {
        for (member, part, _) in map.hosted(job) {
            let wrong =
                found.files.iter().find(|(set, of, _)| (*set, *of as usize) == (at, member));
            let Some((.., name)) = wrong else { continue };
            if !map.header.has_checksums {
                let text = format!(
                    "{} of node {} has not the size it had, and without checksums (SCR_CRC_ON_COPY=0) nobody knows which of its bytes are right",
                    name.as_path().display(),
                    job.topology.name
                );
                return Err(Error::new(ErrorKind::Lost, text));
            }
            let mut index = 0;
            part.node()?.sections(&mut |section| {
                if index % lanes == lane {
                    resize(&part, &section)?;
                }
                index += 1;
                Ok(true)
            })?;
        }
    }
    Ok(())
}

/// Gives copies of node records again, from the records themselves.
///
/// # Collective
/// On all ranks.
fn mend_copies(job: &Job, maps: &[SetMap], found: &Findings) -> Result<()> {
    let world = &*job.topology.world;
    let questions = found.copies.iter().map(|&(at, holder, of)| {
        let map = &maps[at];
        let owner = map.homes[of as usize].first().map_or(0, |&rank| rank as usize);
        (owner, pack(&(map.header.place.set, holder, of)))
    });
    let mut answers = Vec::new();
    let mut outcome = Ok(());
    for (from, question) in collective::route(world, questions.collect())? {
        let (set, holder, of): (u32, u32, u32) = unpack(&question)?;
        let Some(map) = maps.iter().find(|map| map.header.place.set == set) else { continue };
        let part = map.part(job, of as usize, false);
        match part.store.read(&part.node_path()) {
            Ok(record) => answers.push((from, pack(&(set, holder, of, record)))),
            Err(error) => outcome = Err(error),
        }
    }
    for (_, answer) in collective::route(world, answers)? {
        let (set, holder, of, record): (u32, u32, u32, Vec<u8>) = unpack(&answer)?;
        let Some(map) = maps.iter().find(|map| map.header.place.set == set) else { continue };
        let part = map.part(job, holder as usize, false);
        let written = publish(&*part.store, &part.copy_path(of), &record, Durability::Process);
        outcome = outcome.and(written);
    }
    agree(world, outcome.context(|| "mend the copy of a node record"))
}
