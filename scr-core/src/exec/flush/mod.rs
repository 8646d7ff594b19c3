// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cache to prefix, by the job or after it.
//!
//! 1. The dataset's summary says `Flushing` with the epoch of the lease.
//! 2. Every rank copies its files to temporary names, compares checksums on the way, and makes them durable (`copy`).
//! 3. Every node publishes its rank map (the node record).
//! 4. The rename list is sealed: from here on anyone can end the flush, and nobody can half end it. Older datasets that
//!    lose a name (`names`) are marked.
//! 5. Renames; directories made durable.
//! 6. The summary says `Flushed`; index and *current* follow.
//!
//! Only step 2 takes long, and only it needs no other rank: [`transfer`](super::transfer) can do it while the application
//! goes on. Between [`Flush::open`] and [`Flush::end`] nothing but temporary names changes.

pub(super) mod copy;
mod names;

pub use copy::{Copying, Step};

use super::cache::Part;
use super::lease::Holder;
use super::topology::broadcast;
use super::{Job, wire};
use crate::comm::{Reduce, agree, collective};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::current::{ChosenBy, Current};
use crate::format::node::RankSection;
use crate::format::summary::{PrefixState, RankRange, RenameList, Summary, ranges_of};
use crate::format::{DatasetHeader, FileEntry, Place};
use crate::id::{DatasetIdentity, Epoch};
use crate::sabotage::{self, Fault};
use crate::store::{Access, Durability, publish_with};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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

impl Cargo {
    /// All files that this rank copies.
    fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.sections.iter().flat_map(|(_, section)| &section.files)
    }
}

/// What a flush starts from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Before {
    Nothing,
    Attempt(Epoch),
    Done,
}

/// A flush that was opened: the summary says `Flushing`. Dropped before its end, it is one that was stopped: the next one of
/// this dataset begins anew.
#[derive(Debug)]
pub struct Flush {
    dataset: DatasetHeader,
    cargo: Arc<Cargo>,
    epoch: Epoch,
    before: Before,
    manner: Manner,
    begun: Duration,
}

/// How a flush goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Within one call.
    Sync,
    /// While the application goes on.
    Async,
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
    cargo: &Arc<Cargo>,
) -> Result<Vec<DatasetIdentity>> {
    let opened = Flush::open(job, lease, dataset, cargo, Manner::Sync)?;
    let Some(flush) = opened else { return Ok(Vec::new()) };
    let copied = flush.copying(job).finish();
    flush.end(job, lease, copied)
}

impl Flush {
    /// Opens the flush of a dataset; `None` when it is in the prefix already.
    ///
    /// # Collective
    /// On all ranks. `lease` counts on rank 0.
    ///
    /// # Errors
    /// What kept rank 0 from it.
    pub fn open(
        job: &Job,
        lease: Option<&Holder>,
        dataset: &DatasetHeader,
        cargo: &Arc<Cargo>,
        manner: Manner,
    ) -> Result<Option<Self>> {
        let world = &*job.topology.world;
        let begun = job.host.clock.monotonic();
        let nothing = Ok((Epoch(0), Before::Nothing));
        let opened = if job.is_first() { open(job, lease, dataset, manner) } else { nothing };
        let (epoch, before) = broadcast(world, &agree(world, opened)?)?;
        if matches!(before, Before::Done) {
            return Ok(None);
        }
        if sabotage::active(Fault::MarkFlushedEarly) && job.is_first() {
            let mut summary = summary_of(job, dataset, PrefixState::Flushed);
            summary.ranges = ranges_of(&(0..dataset.ranks).collect::<Vec<_>>(), 0, 0);
            job.prefix.publish_summary(&summary)?;
        }
        let (dataset, cargo) = (dataset.clone(), cargo.clone());
        Ok(Some(Self { dataset, cargo, epoch, before, manner, begun }))
    }

    /// The dataset.
    pub fn dataset(&self) -> &DatasetHeader {
        &self.dataset
    }

    /// What this rank has to copy before the flush can end.
    pub fn copying(&self, job: &Job) -> Copying {
        Copying::new(job, &self.dataset, &self.cargo, (self.epoch, self.before))
    }

    /// Ends the flush, now that this rank has copied its files, or failed to; returns the datasets whose files in the prefix
    /// it replaced.
    ///
    /// # Collective
    /// On all ranks. `lease` counts on rank 0.
    ///
    /// # Errors
    /// As [`flush`].
    pub fn end(
        self,
        job: &Job,
        lease: Option<&Holder>,
        copied: Result<()>,
    ) -> Result<Vec<DatasetIdentity>> {
        let world = &*job.topology.world;
        let unsealed = agree(world, copied).and_then(|()| self.list(job));
        let (list, ranges) = unsealed.inspect_err(|error| {
            // Who cannot talk to the others changes nothing any more.
            if error.kind() != ErrorKind::Communication {
                self.abandon(job);
            }
        })?;
        if sabotage::active(Fault::RenameBeforeList) {
            agree(world, self.take_places(job, &list))?;
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
        agree(world, self.take_places(job, &list))?;

        let ranges = collective::fold(world, wire::pack(&ranges), &mut |a, b| {
            let lists = [a, b].map(|l| wire::unpack::<Vec<RankRange>>(&l).unwrap_or_default());
            wire::pack(&lists.concat())
        })?;
        let mut summary = summary_of(job, &self.dataset, PrefixState::Flushed);
        summary.ranges = wire::unpack(&ranges)?;
        summary.ranges.sort_by_key(|r| r.first);
        (summary.maps, summary.files, summary.bytes) = (list.maps, list.files, list.bytes);
        summary.has_checksums = self.cargo.has_checksums;
        let closed = if job.is_first() { close(job, lease, &list, &summary) } else { Ok(()) };
        agree(world, closed)?;
        if job.is_first() {
            self.tell_success(job, &list);
        }
        Ok(list.supersedes)
    }

    /// Publishes the rank maps of this node, and draws up what is to be sealed, with the ranks that the maps have.
    ///
    /// # Collective
    /// On all ranks.
    fn list(&self, job: &Job) -> Result<(RenameList, Vec<RankRange>)> {
        let (world, cargo) = (&*job.topology.world, &*self.cargo);
        let (mut ranges, mut published) = (Vec::new(), Ok(()));
        for (part, place) in &cargo.parts {
            published = published.and(publish_map(job, &self.dataset, part, place));
            match ranges_in(part, place) {
                Ok(mine) => ranges.extend(mine),
                Err(error) => published = published.and(Err(error)),
            }
        }
        agree(world, published)?;
        let bytes = cargo.files().map(|file| file.size_bytes).sum();
        let mut sums = [cargo.files().count() as u64, bytes, cargo.parts.len() as u64];
        world.all_reduce(Reduce::Sum, &mut sums)?;
        let [files, bytes, maps] = sums;
        let supersedes = names::superseded(job, &self.dataset, cargo)?;
        let (dataset, epoch, maps) = (self.dataset.clone(), self.epoch, maps as u32);
        Ok((RenameList { dataset, epoch, maps, files, bytes, supersedes }, ranges))
    }

    fn take_places(&self, job: &Job, list: &RenameList) -> Result<()> {
        if self.cargo.in_place {
            return Ok(());
        }
        let mut dirs = BTreeSet::new();
        for file in self.cargo.files() {
            job.prefix.take_place(&file.name, list, &mut dirs)?;
        }
        job.prefix.sync_dirs(&dirs)
    }

    /// Removes this rank's temporary files of a flush that will not be sealed; what cannot be removed is only in the way.
    pub fn abandon(&self, job: &Job) {
        if self.cargo.in_place {
            return;
        }
        for file in self.cargo.files() {
            let waiting = job.prefix.temporary(&file.name, &self.dataset.identity, self.epoch);
            let _ = job.prefix.store.remove(&waiting);
        }
    }

    fn tell_success(&self, job: &Job, list: &RenameList) {
        let seconds = job.host.clock.monotonic().saturating_sub(self.begun).as_secs_f64();
        let DatasetHeader { id, name, .. } = &self.dataset;
        let (kind, how) = match self.manner {
            Manner::Sync => (EventKind::FlushSuccess, ""),
            Manner::Async => (EventKind::AsyncFlushSuccess, ", while the application went on"),
        };
        let text = format!("flushed dataset {id} ({name}) in {seconds:.3} s{how}");
        let mut event = job.host.event(kind, Level::Note, text);
        (event.dataset, event.name) = (Some(*id), Some(name.clone()));
        (event.seconds, event.bytes, event.files) =
            (Some(seconds), Some(list.bytes), Some(list.files));
        job.host.sink.tell(&event);
    }
}

/// The ranks that a part has.
fn ranges_in(part: &Part, place: &Place) -> Result<Vec<RankRange>> {
    let node = part.node()?;
    let ranks = &node.header().members[place.member as usize];
    let ranks: Vec<u32> = ranks.iter().map(|&(rank, _)| rank).collect();
    Ok(ranges_of(&ranks, place.set, place.member))
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
fn open(
    job: &Job,
    lease: Option<&Holder>,
    dataset: &DatasetHeader,
    manner: Manner,
) -> Result<(Epoch, Before)> {
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
    let kind = match manner {
        Manner::Sync => EventKind::FlushStart,
        Manner::Async => EventKind::AsyncFlushStart,
    };
    let mut event = job.host.event(kind, Level::Detail, format!("flush dataset {}", dataset.id));
    (event.dataset, event.name) = (Some(dataset.id), Some(dataset.name.clone()));
    job.host.sink.tell(&event);
    Ok((epoch, before))
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
