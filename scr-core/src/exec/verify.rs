// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data against the checksums of completion, and healing: a corrupt block is a lost block.

use super::protect::{Expected, mend_copies};
use super::rebuild::{SetMap, bad_parity, rebuild};
use super::stream::{Mode, Stream, let_write};
use super::topology::RedundancySet;
use super::wire::{pack, unpack};
use super::{Job, cache::Part};
use crate::codec::checksum;
use crate::comm::{Reduce, agree, collective};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::Place;
use crate::format::node::RankSection;
use crate::sabotage::{self, Fault};
use crate::store::Access;
use std::collections::BTreeSet;

/// Verifies a dataset in cache, all ranks at once, and heals what is bad.
///
/// Returns this rank's section, and how many blocks were healed in all.
///
/// # Collective
/// On all ranks.
///
/// # Errors
/// [`ErrorKind::Lost`] when more is bad than redundancy can restore; nothing is removed.
pub fn verify(
    job: &Job,
    set: &RedundancySet,
    part: &Part,
    place: &Place,
) -> Result<(RankSection, u64)> {
    let world = &*job.topology.world;
    let rank = world.rank() as u32;
    let read = part.node().and_then(|node| Ok((node.header().clone(), node.section(rank)?)));
    let (header, section) = agree(world, read)?;
    let checked = header.has_checksums && !sabotage::active(Fault::IgnoreDataChecksum);
    let bad = if checked {
        let resized = resize(part, &section);
        agree(world, resized)?;
        bad_blocks(part, &section, header.block_bytes)?
    } else {
        let stream =
            Stream::below(part.store.clone(), &part.data_path(), section.files.clone(), Mode::Read);
        agree(world, stream.and_then(|stream| stream.check_sizes()))?;
        BTreeSet::new()
    };
    let mut count = [bad.len() as u64];
    world.all_reduce(Reduce::Sum, &mut count)?;
    if place.scheme.tolerance() == 0 {
        if count[0] == 0 {
            return Ok((section, 0));
        }
        let text = format!(
            "{} blocks do not match their checksums, and SINGLE cannot restore them",
            count[0]
        );
        return Err(Error::new(ErrorKind::Lost, text));
    }
    let mut map = SetMap {
        header,
        homes: set.members.clone(),
        missing: Vec::new(),
        bad: Vec::new(),
        bad_parity: Vec::new(),
    };
    if count[0] > 0 {
        map.bad = set.exchange(&job.topology, &gather(job, &bad)?)?;
        let healed = rebuild(job, &map)?;
        agree(world, healed)?;
        if job.is_first() {
            let text = format!("{} corrupt block(s) restored from {}", count[0], place.scheme);
            job.host.tell(EventKind::RebuildSuccess, Level::Warning, text);
        }
    }
    map.bad = vec![Vec::new(); map.homes.len()];
    if checked {
        mend(job, set, part, &section, map)?;
    }
    Ok((section, count[0]))
}

/// Makes redundancy whole again. The data are: what cannot be mended is told, and costs nothing today.
///
/// # Collective
/// On all ranks.
fn mend(
    job: &Job,
    set: &RedundancySet,
    part: &Part,
    section: &RankSection,
    mut map: SetMap,
) -> Result<()> {
    let world = &*job.topology.world;
    let bad = bad_parity(part, &map.header, section, job.topology.lane());
    let mut trouble = bad.as_ref().err().map(ToString::to_string);
    let bad = bad.unwrap_or_default();
    let mut count = [bad.len() as u64, 0];
    world.all_reduce(Reduce::Sum, &mut count)?;
    if count[0] > 0 {
        let here: BTreeSet<u64> = gather(job, &bad)?.into_iter().flatten().collect();
        map.bad_parity = set.exchange(&job.topology, &here)?;
        if let Err(error) = rebuild(job, &map)? {
            trouble.get_or_insert(format!("{error:#}"));
        }
    }
    let copies = map.header.place.scheme.tolerance() as usize;
    match mend_copies(job, set, part, copies)? {
        Ok(mended) => count[1] = mended,
        Err(error) => trouble = trouble.or(Some(format!("{error:#}"))),
    }
    if let Some(text) = trouble {
        let text = format!("redundancy is not whole: {text}");
        job.host.tell(EventKind::RebuildFail, Level::Warning, text);
    }
    if count[1] > 0 || (count[0] > 0 && job.is_first()) {
        let text = format!("{} parity block(s), {} record(s) restored", count[0], count[1]);
        job.host.tell(EventKind::RebuildSuccess, Level::Warning, text);
    }
    Ok(())
}

/// What each rank of the node says, on all of them.
fn gather(job: &Job, mine: &BTreeSet<u64>) -> Result<Vec<BTreeSet<u64>>> {
    let all = collective::all_gather(&*job.topology.node, &pack(mine))?;
    all.iter().map(|bytes| unpack(bytes)).collect()
}

/// Compares a stream with the checksums of completion.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when sizes or checksums differ; that of the store.
pub fn check(stream: &mut Stream, expected: &Expected) -> Result<()> {
    stream.check_sizes()?;
    if !expected.has_checksums || sabotage::active(Fault::IgnoreDataChecksum) {
        return Ok(());
    }
    if super::encode::checksums(stream, expected.block_bytes)? == expected.data_checksums {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "data do not match their checksums"))
}

/// The numbers of the blocks that cannot be read or do not match.
fn bad_blocks(part: &Part, section: &RankSection, block_bytes: u32) -> Result<BTreeSet<u64>> {
    let files = section.files.clone();
    let mut stream = Stream::below(part.store.clone(), &part.data_path(), files, Mode::Read)?;
    let mut buffer = vec![0; block_bytes as usize];
    let mut bad = BTreeSet::new();
    for (number, expected) in section.data_checksums.iter().enumerate() {
        let at = number as u64 * u64::from(block_bytes);
        let length = (stream.size_bytes() - at).min(u64::from(block_bytes)) as usize;
        let data = &mut buffer[..length];
        // Whatever the reason a block cannot be read for, it is as good as lost.
        if stream.read(at, data).is_err() || checksum::block(data) != *expected {
            bad.insert(number as u64);
        }
    }
    Ok(bad)
}

/// Gives every file its size again: bytes that follow were not written by the application, and bad blocks have somewhere
/// to go.
fn resize(part: &Part, section: &RankSection) -> Result<()> {
    let mut changed = false;
    for file in &section.files {
        let path = file.name.under(&part.data_path());
        match part.store.metadata(&path) {
            Ok(found) if found.size_bytes == file.size_bytes => continue,
            Ok(_) => {
                let_write(&*part.store, &path)?;
                part.store.open(&path, Access::Write)?.set_size(file.size_bytes)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    part.store.create_dir_all(parent)?;
                }
                part.store.open(&path, Access::Create)?.set_size(file.size_bytes)?;
            }
            Err(error) => return Err(error),
        }
        changed = true;
    }
    if !changed {
        return Ok(());
    }
    let files = section.files.clone();
    let stream = Stream::below(part.store.clone(), &part.data_path(), files, Mode::Read);
    stream.and_then(|mut stream| stream.restore_metadata())
}
