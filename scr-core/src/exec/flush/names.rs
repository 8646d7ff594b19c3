// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose names in the prefix a flush takes.
//!
//! A dataset never takes a name from a newer one: a flush that comes late is refused then.

use super::Cargo;
use crate::comm::{Comm, agree, collective};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::cache::NodeReader;
use crate::exec::topology::{all, union};
use crate::exec::{Job, wire};
use crate::format::DatasetHeader;
use crate::format::summary::{PrefixState, Summary};
use crate::id::{DatasetIdentity, RelPath};
use crate::store::exists;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// The datasets that own one of this one's names until now. A newer one keeps them: this one comes too late then.
///
/// Only when a name is taken at all are older rank maps looked at; old and new names meet on ranks drawn by their hashes.
///
/// # Collective
/// On all ranks; the answer is the same everywhere.
pub(super) fn superseded(
    job: &Job,
    dataset: &DatasetHeader,
    cargo: &Cargo,
) -> Result<Vec<DatasetIdentity>> {
    let (world, prefix) = (&*job.topology.world, &job.prefix);
    let taken = if cargo.in_place {
        Ok(cargo.overwrote)
    } else {
        cargo.files().try_fold(false, |taken, file| {
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
    let new = cargo.files().map(|file| (meeting(world, &file.name), file.name.clone()));
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
            NodeReader::open(&*prefix.store, &map)?.sections(&mut |section| {
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
