// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data against the checksums of completion, and healing: a corrupt block is a lost block.

use super::protect::{Expected, mend_copies};
use super::rebuild::{BadBlock, SetMap, bad_parity, restore};
use super::stream::{Mode, Stream, let_write};
use super::topology::RedundancySet;
use super::{Job, cache::Part};
use crate::codec::checksum;
use crate::comm::{Reduce, agree};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::Place;
use crate::format::node::RankSection;
use crate::sabotage::{self, Fault};
use crate::store::Access;

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
    let redundant = place.scheme.tolerance() > 0;
    let (member, lane) = (place.member, job.topology.lane());
    let mut found = Vec::new();
    let mut count = [0, 0];
    if checked {
        let resized = resize(part, &section);
        agree(world, resized)?;
        found = bad_data(part, &section, member, lane, header.block_bytes)?;
        count[0] = found.len() as u64;
        if redundant {
            found.extend(bad_parity(part, &header, &section, lane)?);
            count[1] = found.len() as u64 - count[0];
        }
    } else {
        let stream =
            Stream::below(part.store.clone(), &part.data_path(), section.files.clone(), Mode::Read);
        agree(world, stream.and_then(|stream| stream.check_sizes()))?;
    }
    world.all_reduce(Reduce::Sum, &mut count)?;
    let [data, parity] = count;
    if data > 0 && !redundant {
        let text =
            format!("{data} blocks do not match their checksums, and SINGLE cannot restore them");
        return Err(Error::new(ErrorKind::Lost, text));
    }
    if data + parity > 0 {
        let mut maps = [SetMap::whole(header, set.members.clone())];
        let found: Vec<_> = found.into_iter().map(|bad| (0, bad)).collect();
        let healed = restore(job, &mut maps, &found)?;
        match agree(world, healed) {
            // The data are whole: what cannot be mended is told, and costs nothing today.
            Err(error) if error.kind() != ErrorKind::Communication && data == 0 => {
                let text = format!("redundancy is not whole: {error:#}");
                tell(job, EventKind::RebuildFail, text);
            }
            Err(error) => return Err(error),
            Ok(_) => {
                let text = format!(
                    "{data} corrupt block(s) of data and {parity} of parity restored from {}",
                    place.scheme
                );
                tell(job, EventKind::RebuildSuccess, text);
            }
        }
    }
    if checked && redundant {
        mend_records(job, set, part, place)?;
    }
    Ok((section, data))
}

fn tell(job: &Job, kind: EventKind, text: String) {
    if job.is_first() {
        job.host.tell(kind, Level::Warning, text);
    }
}

/// Makes the copies of node records whole again; what cannot be mended is told.
///
/// # Collective
/// On all ranks.
fn mend_records(job: &Job, set: &RedundancySet, part: &Part, place: &Place) -> Result<()> {
    match mend_copies(job, set, part, place.scheme.tolerance() as usize)? {
        Ok(0) => {}
        Ok(mended) => {
            let text = format!("{mended} copies of node records restored");
            job.host.tell(EventKind::RebuildSuccess, Level::Warning, text);
        }
        Err(error) => {
            let text = format!("a copy of a node record is not whole: {error:#}");
            job.host.tell(EventKind::RebuildFail, Level::Warning, text);
        }
    }
    Ok(())
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

/// The blocks of a rank's stream that cannot be read or do not match; `index` is its position in the member.
pub(super) fn bad_data(
    part: &Part,
    section: &RankSection,
    member: u32,
    index: usize,
    block_bytes: u32,
) -> Result<Vec<BadBlock>> {
    let files = section.files.clone();
    let mut stream = Stream::below(part.store.clone(), &part.data_path(), files, Mode::Read)?;
    let mut buffer = vec![0; block_bytes as usize];
    let mut bad = Vec::new();
    for (block, expected) in (0..).zip(&section.data_checksums) {
        let at = block * u64::from(block_bytes);
        let length = (stream.size_bytes() - at).min(u64::from(block_bytes)) as usize;
        let data = &mut buffer[..length];
        // Whatever the reason a block cannot be read for, it is as good as lost.
        if stream.read(at, data).is_err() || checksum::block(data) != *expected {
            bad.push(BadBlock::Data { member, index: index as u32, block });
        }
    }
    Ok(bad)
}

/// Gives every file its size again: bytes that follow were not written by the application, and bad blocks have somewhere
/// to go. Returns whether any file had another.
pub(super) fn resize(part: &Part, section: &RankSection) -> Result<bool> {
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
    if changed {
        let files = section.files.clone();
        Stream::below(part.store.clone(), &part.data_path(), files, Mode::Read)?
            .restore_metadata()?;
    }
    Ok(changed)
}
