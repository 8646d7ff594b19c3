// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cache to prefix, by the job or after it.
//!
//! 1. The dataset's summary says `Flushing` with the epoch of the lease.
//! 2. Every rank copies its files to temporary names, compares checksums on the way, and makes them durable.
//! 3. Every node publishes its rank map (the node record).
//! 4. The rename list is sealed: from here on anyone can end the flush, and nobody can half end it. Older datasets that
//!    lose a name are marked.
//! 5. Renames; directories made durable.
//! 6. The summary says `Flushed`; index and *current* follow.
//!
//! A dataset never takes a name from a newer one: a flush that comes late is refused then.

use super::cache::Part;
use super::lease::Holder;
use super::stream::{Mode, Stream};
use super::topology::{all, broadcast, union};
use super::{Job, wire};
use crate::codec::checksum;
use crate::comm::{Comm, Reduce, agree, collective};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::current::{ChosenBy, Current};
use crate::format::node::RankSection;
use crate::format::summary::{PrefixState, RankRange, RenameList, Summary, ranges_of};
use crate::format::{DatasetHeader, Place};
use crate::id::{DatasetIdentity, Epoch, RelPath};
use crate::sabotage::{self, Fault};
use crate::store::{Access, Durability, exists, publish_with};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What one rank brings to a flush.
#[derive(Debug)]
pub struct Cargo {
    /// The sections whose files this rank copies, with the directory they are below.
    pub sections: Vec<(PathBuf, RankSection)>,
    /// Bytes per block.
    pub block_bytes: u32,
    /// Whether there are checksums to compare with.
    pub has_checksums: bool,
    /// Whether the files are in the prefix already (bypass).
    pub in_place: bool,
    /// Whether the application has written over files that were there before (bypass).
    pub overwrote: bool,
    /// The parts on this node, on its leader.
    pub parts: Vec<(Part, Place)>,
}

/// What a flush starts from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Before {
    Nothing,
    Attempt(Epoch),
    Done,
}

/// Flushes a dataset; returns the datasets whose files in the prefix it replaced.
///
/// # Collective
/// On all ranks. `lease` counts on rank 0.
///
/// # Errors
/// What kept this rank from it, or [`ErrorKind::PeerFailed`]. The copy in cache is as it was, and the flush can be tried again.
pub fn flush(
    job: &Job,
    lease: Option<&Holder>,
    dataset: &DatasetHeader,
    cargo: &Cargo,
) -> Result<Vec<DatasetIdentity>> {
    let world = &*job.topology.world;
    let start = job.host.clock.monotonic();
    let opened =
        if job.is_first() { open(job, lease, dataset) } else { Ok((Epoch(0), Before::Nothing)) };
    let (epoch, before) = broadcast(world, &agree(world, opened)?)?;
    if matches!(before, Before::Done) {
        return Ok(Vec::new());
    }
    if sabotage::active(Fault::MarkFlushedEarly) && job.is_first() {
        let mut summary = summary_of(job, dataset, PrefixState::Flushed);
        summary.ranges = ranges_of(&(0..dataset.ranks).collect::<Vec<_>>(), 0, 0);
        job.prefix.publish_summary(&summary)?;
    }
    agree(world, copy(job, dataset, cargo, epoch, before))?;

    let (mut ranges, mut published) = (Vec::new(), Ok(()));
    for (part, place) in &cargo.parts {
        published = published.and(publish_map(job, dataset, part, place));
        let mine = part.node().map(|node| {
            let ranks = &node.header().members[place.member as usize];
            ranges_of(
                &ranks.iter().map(|&(rank, _)| rank).collect::<Vec<_>>(),
                place.set,
                place.member,
            )
        });
        match mine {
            Ok(mine) => ranges.extend(mine),
            Err(error) => published = published.and(Err(error)),
        }
    }
    agree(world, published)?;

    let files = cargo.sections.iter().map(|(_, s)| s.files.len() as u64).sum();
    let bytes = cargo.sections.iter().flat_map(|(_, s)| &s.files).map(|f| f.size_bytes).sum();
    let mut sums = [files, bytes, cargo.parts.len() as u64];
    world.all_reduce(Reduce::Sum, &mut sums)?;
    let supersedes = superseded(job, dataset, cargo)
        .inspect_err(|error| abandon(job, dataset, cargo, epoch, error))?;
    let (maps, files, bytes) = (sums[2] as u32, sums[0], sums[1]);
    let list = RenameList { dataset: dataset.clone(), epoch, maps, files, bytes, supersedes };
    if sabotage::active(Fault::RenameBeforeList) {
        agree(world, take_places(job, cargo, &list))?;
    }
    let sealed = match lease {
        Some(lease) if job.is_first() => {
            // What loses a name says so before it does: from the seal on the flush will end.
            lease
                .check()
                .and_then(|()| job.prefix.publish_rename_list(&list))
                .and_then(|()| job.prefix.mark_superseded(&list, job.host.unix_micros()))
        }
        _ => Ok(()),
    };
    agree(world, sealed)?;
    agree(world, take_places(job, cargo, &list))?;

    let ranges = collective::fold(world, wire::pack(&ranges), &mut |a, b| {
        let lists = [a, b].map(|l| wire::unpack::<Vec<RankRange>>(&l).unwrap_or_default());
        wire::pack(&lists.concat())
    })?;
    let mut summary = summary_of(job, dataset, PrefixState::Flushed);
    summary.ranges = wire::unpack(&ranges)?;
    summary.ranges.sort_by_key(|r| r.first);
    (summary.maps, summary.files, summary.bytes) = (list.maps, list.files, list.bytes);
    summary.has_checksums = cargo.has_checksums;
    let closed = if job.is_first() { close(job, lease, &list, &summary) } else { Ok(()) };
    agree(world, closed)?;
    if job.is_first() {
        let seconds = job.host.clock.monotonic().saturating_sub(start).as_secs_f64();
        let text = format!("flushed dataset {} ({}) in {seconds:.3} s", dataset.id, dataset.name);
        let mut event = job.host.event(EventKind::FlushSuccess, Level::Note, text);
        (event.dataset, event.name) = (Some(dataset.id), Some(dataset.name.clone()));
        (event.seconds, event.bytes, event.files) =
            (Some(seconds), Some(list.bytes), Some(list.files));
        job.host.sink.tell(&event);
    }
    Ok(list.supersedes)
}

/// Removes the temporary files of a flush that must not be sealed; what cannot be removed is only in the way.
fn abandon(job: &Job, dataset: &DatasetHeader, cargo: &Cargo, epoch: Epoch, error: &Error) {
    if error.kind() == ErrorKind::Communication || cargo.in_place {
        return;
    }
    for file in cargo.sections.iter().flat_map(|(_, section)| &section.files) {
        let waiting = job.prefix.temporary(&file.name, &dataset.identity, epoch);
        let _ = job.prefix.store.remove(&waiting);
    }
}

fn summary_of(job: &Job, dataset: &DatasetHeader, state: PrefixState) -> Summary {
    Summary {
        dataset: dataset.clone(),
        state,
        changed_unix_micros: job.host.unix_micros(),
        maps: 0,
        ranges: Vec::new(),
        files: 0,
        bytes: 0,
        has_checksums: true,
    }
}

/// Rank 0 opens the flush: the summary says so before anything else is written.
fn open(job: &Job, lease: Option<&Holder>, dataset: &DatasetHeader) -> Result<(Epoch, Before)> {
    let lease = lease.ok_or_else(|| Error::new(ErrorKind::Refused, "no lease of the prefix"))?;
    lease.check()?;
    let (prefix, epoch) = (&job.prefix, lease.epoch());
    prefix.store.create_dir_all(&prefix.dataset_dir(dataset))?;
    prefix.store.sync_dir(prefix.records())?;
    let before = match prefix.summary(dataset)?.map(|s| s.state) {
        Some(PrefixState::Flushed) => return Ok((epoch, Before::Done)),
        Some(PrefixState::Failed { reason }) => {
            let text =
                format!("dataset {} is marked as failed in the prefix: {reason}", dataset.id);
            return Err(Error::new(ErrorKind::Refused, text));
        }
        Some(PrefixState::Flushing { epoch }) => {
            if let Some(list) = prefix.rename_list(dataset)? {
                prefix.finish(&list, job.host.unix_micros())?;
                prefix.refresh_index()?;
                return Ok((epoch, Before::Done));
            }
            Before::Attempt(epoch)
        }
        Some(PrefixState::Superseded { .. }) | None => Before::Nothing,
    };
    prefix.unseal(dataset)?;
    prefix.publish_summary(&summary_of(job, dataset, PrefixState::Flushing { epoch }))?;
    job.host.tell(EventKind::FlushStart, Level::Detail, format!("flush dataset {}", dataset.id));
    Ok((epoch, before))
}

/// Copies this rank's files to their temporary names and makes them durable.
fn copy(
    job: &Job,
    dataset: &DatasetHeader,
    cargo: &Cargo,
    epoch: Epoch,
    before: Before,
) -> Result<()> {
    let prefix = &job.prefix;
    let mut dirs = BTreeSet::new();
    for (dir, section) in &cargo.sections {
        let paths = section.files.iter().map(|file| file.name.under(prefix.root()));
        dirs.extend(paths.filter_map(|path| path.parent().map(Path::to_path_buf)));
        // Also those of this epoch: they may have got modes by now that forbid to write.
        if let Before::Attempt(old) = before {
            for file in &section.files {
                prefix.store.remove(&prefix.temporary(&file.name, &dataset.identity, old))?;
            }
        }
        if cargo.in_place {
            sync_in_place(job, section)?;
            continue;
        }
        let store = job.cache.store.clone();
        let mut from = Stream::below(store, dir, section.files.clone(), Mode::Read)?;
        from.check_sizes()?;
        let (names, identity) = (prefix.clone(), dataset.identity);
        let naming = Box::new(move |name: &_| names.temporary(name, &identity, epoch));
        let files = section.files.clone();
        let mut to = Stream::new(prefix.store.clone(), naming, files, Mode::Create)?;
        let sums = cargo.has_checksums && !sabotage::active(Fault::FlushUnverified);
        let sums = sums.then_some(&section.data_checksums[..]);
        pump(&mut from, &mut to, cargo.block_bytes, sums)
            .context(|| format!("flush dataset {}", dataset.id))?;
        to.restore_metadata()?;
        if !sabotage::active(Fault::SkipPrefixSync) {
            to.sync()?;
        }
    }
    // Once the list is sealed its files must be there to be renamed, whatever happens.
    prefix.sync_above(&dirs)
}

fn sync_in_place(job: &Job, section: &RankSection) -> Result<()> {
    section.files.iter().try_for_each(|file| {
        let path = file.name.under(job.prefix.root());
        job.prefix.store.open(&path, Access::Read)?.sync()
    })
}

/// Copies one stream to another, block by block, comparing each with its checksum.
pub(super) fn pump(
    from: &mut Stream,
    to: &mut Stream,
    block_bytes: u32,
    checksums: Option<&[u32]>,
) -> Result<()> {
    let mut buffer = vec![0; block_bytes as usize];
    let (mut at, mut number) = (0, 0);
    while at < from.size_bytes() {
        let length = (from.size_bytes() - at).min(u64::from(block_bytes)) as usize;
        let data = &mut buffer[..length];
        from.read(at, data)?;
        if let Some(sums) = checksums
            && sums.get(number) != Some(&checksum::block(data))
        {
            let text = format!("block {number} does not match its checksum");
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        to.write(at, data)?;
        at += length as u64;
        number += 1;
    }
    Ok(())
}

/// Copies a part's node record into the prefix.
fn publish_map(job: &Job, dataset: &DatasetHeader, part: &Part, place: &Place) -> Result<()> {
    let source = part.store.open(&part.node_path(), Access::Read)?;
    let path = job.prefix.map_path(dataset, place.set, place.member);
    publish_with(&*job.prefix.store, &path, Durability::Power, &mut |file| {
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let got = source.read_at(at, &mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            file.write_at(at, &buffer[..got])?;
            at += got as u64;
        }
    })
}

/// The datasets that own one of this one's names until now. A newer one keeps them: this one comes too late then.
///
/// Only when a name is taken at all are older rank maps looked at; old and new names meet on ranks drawn by their hashes.
///
/// # Collective
/// On all ranks; the answer is the same everywhere.
fn superseded(job: &Job, dataset: &DatasetHeader, cargo: &Cargo) -> Result<Vec<DatasetIdentity>> {
    let (world, prefix) = (&*job.topology.world, &job.prefix);
    let files = || cargo.sections.iter().flat_map(|(_, section)| &section.files);
    let taken = if cargo.in_place {
        Ok(cargo.overwrote)
    } else {
        files().try_fold(false, |taken, file| {
            Ok(taken || exists(&*prefix.store, &file.name.under(prefix.root()))?)
        })
    };
    // Of a dataset that failed, or whose deletion did not end, files may be gone: its names count, there or not. Else the
    // end of that deletion would take the new files.
    let failed = if job.is_first() { has_failed(job) } else { Ok(false) };
    let taken = agree(world, taken.and_then(|taken| Ok(taken || failed?)))?;
    if all(world, !taken)? {
        return Ok(Vec::new());
    }
    let old = if job.is_leader() { old_names(job, dataset) } else { Ok(Vec::new()) };
    let old: Vec<(usize, OldName)> = agree(world, old)?;
    let new = files().map(|file| (meeting(world, &file.name), file.name.clone()));
    let new: BTreeSet<RelPath> = send(world, new.collect())?.into_iter().collect();
    let lost = send(world, old)?.into_iter().filter(|(name, ..)| new.contains(name));
    let mut losers = BTreeSet::new();
    let mut late = Ok(());
    for (_, loser, is_newer) in lost {
        if is_newer {
            let text = format!(
                "dataset {} in the prefix is newer and has the name of a file of this one",
                loser.short()
            );
            late = Err(Error::new(ErrorKind::Refused, text));
        }
        losers.insert(loser);
    }
    agree(world, late)?;
    Ok(union(world, &losers)?.into_iter().collect())
}

/// Whether the prefix has a dataset that failed.
fn has_failed(job: &Job) -> Result<bool> {
    let summaries = job.prefix.summaries()?.0;
    Ok(summaries.iter().any(|summary| matches!(summary.state, PrefixState::Failed { .. })))
}

/// The name of a file in the prefix, the dataset it belongs to, and whether that is newer than the one being flushed.
type OldName = (RelPath, DatasetIdentity, bool);

/// This node's share of the names in the prefix, each with the rank where it meets the new ones.
fn old_names(job: &Job, dataset: &DatasetHeader) -> Result<Vec<(usize, OldName)>> {
    let prefix = &job.prefix;
    let (first, step) = (job.topology.index as usize, job.topology.count as usize);
    let mut names = Vec::new();
    for Summary { dataset: old, state, .. } in prefix.summaries()?.0 {
        let is_good = state == PrefixState::Flushed;
        let owns = is_good || matches!(state, PrefixState::Failed { .. });
        if !owns || old.identity == dataset.identity {
            continue;
        }
        for map in prefix.maps(&old)?.into_iter().skip(first).step_by(step) {
            super::cache::NodeReader::open(&*prefix.store, &map)?.sections(&mut |section| {
                for file in section.files {
                    let to = meeting(&*job.topology.world, &file.name);
                    let is_newer = is_good && old.age() > dataset.age();
                    names.push((to, (file.name, old.identity, is_newer)));
                }
                Ok(true)
            })?;
        }
    }
    Ok(names)
}

/// The rank where an old and a new file of one name meet.
fn meeting(world: &dyn Comm, name: &RelPath) -> usize {
    crc32fast::hash(name.as_bytes()) as usize % world.size()
}

/// Sends each item to its rank, those for one rank together.
fn send<T: Serialize + DeserializeOwned>(
    world: &dyn Comm,
    items: Vec<(usize, T)>,
) -> Result<Vec<T>> {
    let mut bundles: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for (to, item) in items {
        bundles.entry(to).or_default().push(item);
    }
    let bundles = bundles.into_iter().map(|(to, bundle)| (to, wire::pack(&bundle))).collect();
    let arrived = collective::route(world, bundles)?;
    let lists = arrived.iter().map(|(_, bytes)| wire::unpack::<Vec<T>>(bytes));
    Ok(lists.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn take_places(job: &Job, cargo: &Cargo, list: &RenameList) -> Result<()> {
    if cargo.in_place {
        return Ok(());
    }
    let mut dirs = BTreeSet::new();
    for (_, section) in &cargo.sections {
        for file in &section.files {
            job.prefix.take_place(&file.name, list, &mut dirs)?;
        }
    }
    job.prefix.sync_dirs(&dirs)
}

/// Rank 0 ends the flush: summary, index, *current*.
fn close(job: &Job, lease: Option<&Holder>, list: &RenameList, summary: &Summary) -> Result<()> {
    let prefix = &job.prefix;
    if let Some(lease) = lease {
        // Who has taken over meanwhile has ended this flush too, and may have gone on from there.
        lease.check()?;
    }
    prefix.mark_superseded(list, summary.changed_unix_micros)?;
    prefix.publish_summary(summary)?;
    prefix.refresh_index()?;
    if !summary.dataset.is_checkpoint {
        return Ok(());
    }
    prefix.publish_current(&Current {
        identity: summary.dataset.identity,
        name: summary.dataset.name.clone(),
        by: ChosenBy::Job,
        newest_known: summary.dataset.id,
    })
}
