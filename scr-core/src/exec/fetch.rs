// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prefix to cache: every rank takes its own files, and the dataset is protected anew over the nodes present, as a new
//! layout. The checksums of completion are compared in the same pass that protects.

use super::Job;
use super::cache::{NodeReader, Part};
use super::flush::copy::pump;
use super::protect::{Expected, Protected, Request, look_up, protect};
use super::stream::{Mode, Stream};
use super::topology::{RedundancySet, broadcast};
use crate::comm::agree;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::format::node::RankSection;
use crate::format::state::Phase;
use crate::format::summary::Summary;
use crate::format::{DatasetHeader, FileEntry, Place};
use crate::sabotage::{self, Fault};

/// What the prefix knows of this rank's share of a dataset.
#[derive(Debug)]
pub struct Share {
    /// Its files and their checksums.
    pub section: RankSection,
    /// What the data must match.
    pub expected: Expected,
}

/// Reads this rank's share of a dataset in the prefix.
///
/// # Collective
/// On all ranks; `dataset` is equal everywhere.
///
/// # Errors
/// [`ErrorKind::Refused`] when another number of ranks wrote it; [`ErrorKind::Corrupt`] when its records are bad.
pub fn share(job: &Job, dataset: &DatasetHeader) -> Result<Share> {
    let world = &*job.topology.world;
    let summary = if job.is_first() { read_summary(job, dataset) } else { Ok(None) };
    let summary: Option<Summary> = broadcast(world, &agree(world, summary)?)?;
    let share = summary
        .ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no summary of dataset {}", dataset.id))
        })
        .and_then(|summary| share_of(job, &summary));
    agree(world, share)
}

fn read_summary(job: &Job, dataset: &DatasetHeader) -> Result<Option<Summary>> {
    job.prefix.summary(dataset)
}

fn share_of(job: &Job, summary: &Summary) -> Result<Share> {
    let (rank, ranks) = (job.topology.world.rank() as u32, job.topology.world.size() as u32);
    if summary.dataset.ranks != ranks && !sabotage::active(Fault::AcceptRankCount) {
        let text = format!("written by {} ranks, this run has {ranks}", summary.dataset.ranks);
        return Err(Error::new(ErrorKind::Refused, text));
    }
    let (set, member) = summary.map_of(rank).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, format!("the summary knows no files of rank {rank}"))
    })?;
    let path = job.prefix.map_path(&summary.dataset, set, member);
    let reader = NodeReader::open(&*job.prefix.store, &path)?;
    let section = reader.section(rank)?;
    let header = reader.header();
    if header.dataset.identity != summary.dataset.identity {
        let text = format!("{} is of another dataset", path.display());
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    let expected = Expected {
        block_bytes: header.block_bytes,
        has_checksums: header.has_checksums,
        data_checksums: section.data_checksums.clone(),
    };
    Ok(Share { section, expected })
}

/// Fetches a dataset into the cache, at this place and in the store with this position, and commits it there.
///
/// # Collective
/// On all ranks.
///
/// # Errors
/// What kept this rank from it, or [`ErrorKind::PeerFailed`]; nothing in the prefix has changed, and what was begun in
/// cache is removed.
pub fn fetch(
    job: &Job,
    dataset: &DatasetHeader,
    share: Share,
    set: &RedundancySet,
    (place, store): (Place, usize),
) -> Result<Protected> {
    begin(job, dataset, place, store)?;
    let part = job.cache.part(dataset, &place);
    let files = copy(job, &part, &share).context(|| format!("fetch dataset {}", dataset.id));
    let request = Request {
        dataset,
        set,
        place,
        store: part.store.clone(),
        dir: &part.data_path(),
        files,
        expected: Some(share.expected),
        commit: true,
    };
    let done = protect(job, request);
    if done.is_err() && job.is_leader() {
        // What cannot be removed now is still not committed, and cleared by the next launch.
        let _ = job.cache.discard(&part.dir);
    }
    done
}

/// Copies this rank's files; sizes are compared here, contents in the pass that protects.
fn copy(job: &Job, part: &Part, share: &Share) -> Result<Vec<FileEntry>> {
    let files = &share.section.files;
    let (prefix, block_bytes) = (&job.prefix, share.expected.block_bytes);
    let from = Stream::below(prefix.store.clone(), prefix.root(), files.clone(), Mode::Read)?;
    from.check_sizes()?;
    let data = part.data_path();
    let to = Stream::below(part.store.clone(), &data, files.clone(), Mode::Create)?;
    pump(from, to, block_bytes)?.restore_metadata()?;
    look_up(&*part.store, &data, &files.iter().map(|f| f.name.clone()).collect())
}

/// Makes the directory of a part that is about to be written, in the store with this position, and says so in its state.
///
/// # Collective
/// On all ranks.
pub fn begin(job: &Job, dataset: &DatasetHeader, place: Place, store: usize) -> Result<()> {
    let made = if job.is_leader() { make(job, dataset, place, store) } else { Ok(()) };
    agree(&*job.topology.world, made)
}

fn make(job: &Job, dataset: &DatasetHeader, place: Place, store: usize) -> Result<()> {
    let part = job.cache.part_in(store, dataset, &place);
    part.store.create_dir_all(&part.data_path())?;
    part.publish_state(&job.part_state(dataset, place, Phase::Writing))
}
