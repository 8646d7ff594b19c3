// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SCR 3 left in the prefix, for a restart. Its data are read where they are, and nothing of it is ever changed, but that
//! `SCR_PREFIX_PURGE=1` deletes it as it does in SCR.
//!
//! SCR 3 has no checksums of the files that it flushes. So what it does say is compared: lengths (of each file where
//! recorded, and of all together), checksums where there are any, and that no file was written after the summary, which SCR
//! writes when all files are there. That a program may have written over some of them since must not go unnoticed.

use super::Job;
use super::prefix::Prefix;
use super::protect::entry;
use super::topology::broadcast;
use super::wire::{pack, unpack};
use crate::codec::checksum::Hasher;
use crate::comm::{Reduce, agree, collective};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::format::scr3::{self, Dataset, File, Index};
use crate::format::summary::{PrefixState, Summary};
use crate::format::{DatasetHeader, FileEntry};
use crate::id::DatasetId;
use crate::sabotage::{self, Fault};
use crate::store::{Access, Durability, exists, publish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// How far the clocks may be apart that gave a summary and the files of its dataset their times.
const CLOCKS_APART_NANOS: i128 = 60_000_000_000;
/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What SCR 3 left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its datasets; none where it left nothing.
    pub index: Index,
    /// Why its index cannot be read, where it cannot.
    pub unreadable: Option<String>,
    /// The highest number of a dataset of which there is anything.
    pub last_id: DatasetId,
}

/// Looks at what SCR 3 left. That it cannot be read is a result: others can be used all the same.
pub fn look(prefix: &Prefix) -> Left {
    // Where there is no such directory there is nothing.
    let names = prefix.store.list(prefix.records()).unwrap_or_default();
    let number = |name: &std::ffi::OsString| {
        name.to_str()?.strip_prefix("scr.dataset.")?.parse().ok().map(DatasetId)
    };
    let last_id = names.iter().filter_map(number).max().unwrap_or_default();
    let path = prefix.records().join("index.scr");
    let read = prefix.store.read(&path).and_then(|bytes| scr3::index(&bytes));
    match read {
        Ok(index) => {
            let last_id = index.datasets.last().map_or(last_id, |last| last_id.max(last.id));
            Left { index, unreadable: None, last_id }
        }
        Err(error) if error.kind() == ErrorKind::NotFound && last_id == DatasetId(0) => {
            Left::default()
        }
        // Also where it is missing beside directories of datasets: they may be good.
        Err(error) => {
            let text = format!("the index of SCR 3, {}, cannot be read: {error:#}", path.display());
            Left { unreadable: Some(text), last_id, ..Left::default() }
        }
    }
}

/// Where the files of a dataset are told.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Opened {
    /// How many ranks wrote it.
    ranks: u64,
    /// Files and bytes of all ranks, where recorded.
    files: Option<u64>,
    bytes: Option<u64>,
    /// When the summary was written.
    summary_unix_nanos: i128,
    /// The leaves of `rank2file`: the first rank, and what the name has after `rank2file`.
    leaves: Vec<(u32, String)>,
}

/// Finds this rank's files of a dataset, and compares them with what SCR 3 recorded.
///
/// Each leaf of `rank2file` is read by one rank, which sends the others theirs.
///
/// # Collective
/// On all ranks; `dataset` is equal everywhere.
///
/// # Errors
/// [`ErrorKind::Refused`] when another number of ranks wrote it; [`ErrorKind::Corrupt`] when its files are not what they
/// were, [`ErrorKind::NotFound`] when some are not there.
pub fn files(job: &Job, dataset: &DatasetHeader) -> Result<Vec<FileEntry>> {
    let world = &*job.topology.world;
    let opened = if job.is_first() { open(job, dataset) } else { Ok(Opened::default()) };
    let opened: Opened = broadcast(world, &agree(world, opened)?)?;
    if opened.ranks != world.size() as u64 && !sabotage::active(Fault::AcceptRankCount) {
        let text = format!("written by {} ranks, this run has {}", opened.ranks, world.size());
        return Err(Error::new(ErrorKind::Refused, text));
    }
    let lists = agree(world, read_leaves(job, dataset, &opened.leaves))?;
    let mine = collective::route(world, lists)?;
    let mine = mine.iter().map(|(_, bytes)| unpack::<Vec<File>>(bytes)).collect::<Result<Vec<_>>>();
    let checked = mine.and_then(|mine| check(job, &mine, &opened));
    let files = agree(world, checked)?;
    let mut totals = [files.len() as u64, files.iter().map(|file| file.size_bytes).sum()];
    world.all_reduce(Reduce::Sum, &mut totals)?;
    for (what, found, recorded) in
        [("files", totals[0], opened.files), ("bytes", totals[1], opened.bytes)]
    {
        if recorded.is_some_and(|recorded| recorded != found)
            && !sabotage::active(Fault::TrustScr3Files)
        {
            let recorded = recorded.unwrap_or_default();
            let text = format!("its ranks have {found} {what} together, SCR 3 recorded {recorded}");
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
    }
    Ok(files)
}

fn directory(prefix: &Prefix, id: DatasetId) -> PathBuf {
    prefix.records().join(format!("scr.dataset.{id}"))
}

/// Reads the summary, and `rank2file` down to its leaves.
fn open(job: &Job, dataset: &DatasetHeader) -> Result<Opened> {
    let (prefix, store) = (&job.prefix, &job.prefix.store);
    let path = directory(prefix, dataset.id).join("summary.scr");
    let summary = store.read(&path).and_then(|bytes| scr3::summary(&bytes, dataset.id));
    let summary: Dataset = summary.context(|| format!("read {}", path.display()))?;
    if !summary.is_complete || summary.identity() != dataset.identity {
        let text = format!("{} is not of this dataset as SCR 3 completed it", path.display());
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    let summary_unix_nanos = store.metadata(&path)?.modified_unix_nanos;
    let (ranks, leaves) = leaves(prefix, dataset.id)?;
    let (files, bytes) = (summary.files, summary.bytes);
    Ok(Opened { ranks, files, bytes, summary_unix_nanos, leaves })
}

/// Reads `rank2file` of a dataset down to its leaves: how many ranks there are, and the leaves.
fn leaves(prefix: &Prefix, id: DatasetId) -> Result<(u64, Vec<(u32, String)>)> {
    let (store, dir) = (&prefix.store, directory(prefix, id));
    let branch = |suffix: &str| {
        let path = dir.join(format!("rank2file{suffix}"));
        let read = store.read(&path).and_then(|bytes| scr3::branch(&bytes));
        read.context(|| format!("read {}", path.display()))
    };
    let root = branch("")?;
    let (mut level, mut leaves) = (root.level, root.below);
    while level > 1 {
        level -= 1;
        let mut below = Vec::new();
        for (_, suffix) in leaves {
            let next = branch(&suffix)?;
            if next.level != level {
                let text = format!("rank2file{suffix} is of level {}, not {level}", next.level);
                return Err(Error::new(ErrorKind::Corrupt, text));
            }
            below.extend(next.below);
        }
        leaves = below;
    }
    Ok((root.ranks, leaves))
}

/// Deletes what the index of SCR 3 lists, files included, and takes it out of the index; `tell` hears of each dataset.
///
/// # Errors
/// Why a dataset cannot be deleted; it and what comes after it are in the index still.
pub fn purge(prefix: &Prefix, tell: &dyn Fn(&Dataset)) -> Result<()> {
    let mut gone = Vec::new();
    // An index that cannot be read lists nothing; a restart will say so.
    let deleted = look(prefix).index.datasets.iter().try_for_each(|dataset| {
        delete(prefix, dataset.id)
            .context(|| format!("delete dataset {} ({}) of SCR 3", dataset.id, dataset.name))?;
        gone.push(dataset.id);
        tell(dataset);
        Ok(())
    });
    if gone.is_empty() {
        return deleted;
    }
    let path = prefix.records().join("index.scr");
    let index = prefix.store.read(&path).and_then(|bytes| scr3::index_without(&bytes, &gone));
    deleted.and(publish(&*prefix.store, &path, &index?, Durability::Power))
}

fn delete(prefix: &Prefix, id: DatasetId) -> Result<()> {
    let (store, dir) = (&prefix.store, directory(prefix, id));
    // A flush that did not come to its files has told nobody where they are.
    if exists(&**store, &dir.join("rank2file"))? {
        let (_, leaves) = leaves(prefix, id)?;
        // Without it nobody takes what is left for a whole dataset.
        store.remove(&dir.join("summary.scr"))?;
        for (_, suffix) in leaves {
            let path = dir.join(format!("rank2file{suffix}"));
            let read = store.read(&path).and_then(|bytes| scr3::leaf(&bytes));
            for (_, files) in read.context(|| format!("read {}", path.display()))? {
                files.iter().try_for_each(|file| prefix.remove_file(&file.name))?;
            }
        }
    }
    store.remove_tree(&dir)
}

/// Reads the leaves that are this rank's to read: lists of files, packed, and the ranks to which they belong.
fn read_leaves(
    job: &Job,
    dataset: &DatasetHeader,
    leaves: &[(u32, String)],
) -> Result<Vec<(usize, Vec<u8>)>> {
    let (rank, ranks) = (job.topology.world.rank(), job.topology.world.size());
    let mut lists = Vec::new();
    for (_, suffix) in leaves.iter().filter(|(first, _)| *first as usize % ranks == rank) {
        let path = directory(&job.prefix, dataset.id).join(format!("rank2file{suffix}"));
        let read = job.prefix.store.read(&path).and_then(|bytes| scr3::leaf(&bytes));
        for (of, files) in read.context(|| format!("read {}", path.display()))? {
            if of as usize >= ranks {
                let text = format!("{} has files of rank {of}, of {ranks}", path.display());
                return Err(Error::new(ErrorKind::Corrupt, text));
            }
            lists.push((of as usize, pack(&files)));
        }
    }
    Ok(lists)
}

/// Compares this rank's files with what is recorded of them.
fn check(job: &Job, lists: &[Vec<File>], opened: &Opened) -> Result<Vec<FileEntry>> {
    // A rank without files may be left out, and one that was lost may not: totals tell them apart.
    if lists.is_empty() && opened.files.is_none() {
        let text = format!("rank2file knows no files of rank {}", job.topology.world.rank());
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    lists.iter().flatten().map(|file| check_file(&job.prefix, file, opened)).collect()
}

fn check_file(prefix: &Prefix, file: &File, opened: &Opened) -> Result<FileEntry> {
    let path = file.name.under(prefix.root());
    let corrupt = |text: &str| Error::new(ErrorKind::Corrupt, format!("{} {text}", path.display()));
    let found = prefix.store.metadata(&path)?;
    let entry = entry(&file.name, &found);
    if sabotage::active(Fault::TrustScr3Files) {
        return Ok(entry);
    }
    if found.is_dir {
        return Err(corrupt("is a directory"));
    }
    if let Some(size_bytes) = file.size_bytes.filter(|size| *size != found.size_bytes) {
        let text = format!("has {} bytes, SCR 3 recorded {size_bytes}", found.size_bytes);
        return Err(corrupt(&text));
    }
    if found.modified_unix_nanos > opened.summary_unix_nanos + CLOCKS_APART_NANOS {
        return Err(corrupt(
            "was written after SCR 3 completed the dataset (after a copy that does not keep times, touch its summary.scr)",
        ));
    }
    let data = prefix.store.open(&path, Access::Read)?;
    if let Some(recorded) = file.checksum {
        let (mut hasher, mut at, mut buffer) = (Hasher::default(), 0, vec![0; BUFFER_BYTES]);
        loop {
            let length = data.read_at(at, &mut buffer)?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            at += length as u64;
        }
        if hasher.take() != recorded {
            return Err(corrupt("does not match the checksum that SCR 3 recorded"));
        }
    }
    Ok(entry)
}

/// Sets a dataset of SCR 3 aside, in a record of ours: later launches do not try it again.
pub fn set_aside(
    prefix: &Prefix,
    dataset: &DatasetHeader,
    reason: &str,
    now_unix_micros: u64,
) -> Result<()> {
    let dir = prefix.dataset_dir(dataset);
    prefix.store.create_dir_all(&dir)?;
    prefix.sync_above(&BTreeSet::from([dir]))?;
    prefix.publish_summary(&Summary {
        dataset: dataset.clone(),
        state: PrefixState::Failed { reason: reason.to_string() },
        changed_unix_micros: now_unix_micros,
        maps: 0,
        ranges: Vec::new(),
        files: 0,
        bytes: 0,
        has_checksums: false,
    })
}
