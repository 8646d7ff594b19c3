// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to datasets that are only in the caches when a run ends: they are scavenged from the nodes that are left.
//!
//! All nodes of the local resource manager are on this machine, so one thread stands for each, and they do together what
//! the job would have done: judge, rebuild what is missing, flush.

use super::directory::Run;
use super::progress::progress;
use crate::caches::{NodeCache, on_each};
use crate::files::{list, name_of};
use crate::prefix::Prefix;
use scr_core::Result;
use scr_core::exec::scavenge::{Saved as Outcome, scavenge};
use scr_core::id::{DatasetId, DatasetName, JobId, NodeName, UserName};
use std::path::{Path, PathBuf};

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// There was nothing that the prefix does not have.
    Nothing,
    /// These are in the prefix now, the newest last.
    Done(Vec<(DatasetId, DatasetName)>),
    /// Nothing was saved, this dataset is newer than all in the prefix, and this is why.
    Failed(DatasetId, String),
}

/// Copies what is only in the caches of these nodes to the prefix.
///
/// `caches` are the nodes of `run` with their cache directories; those of lost nodes are missing.
pub(crate) fn save_what_is_only_in_cache(
    run: &Run,
    caches: &[(NodeName, PathBuf)],
    prefix: &Prefix,
) -> Result<Saved> {
    let bases: Vec<PathBuf> = caches.iter().map(|(_, base)| base.clone()).collect();
    let Some(newest) = progress(&bases, prefix)?.only_in_cache() else {
        return Ok(Saved::Nothing);
    };
    let alive: Vec<NodeCache> = caches
        .iter()
        .filter_map(|(node, base)| {
            Some(NodeCache { node: node.clone(), base: base.clone(), user: user_of(base)? })
        })
        .collect();
    if alive.is_empty() {
        return Ok(Saved::Failed(newest, "no node is left".into()));
    }
    let job = JobId::new(&run.job_id);
    Ok(told(newest, on_each("scr run", (prefix, &job), &alive, scavenge)?))
}

fn told(newest: DatasetId, outcomes: Vec<Outcome>) -> Saved {
    let saved: Vec<_> = outcomes
        .iter()
        .filter(|one| one.outcome.is_ok())
        .map(|one| (one.id, one.name.clone()))
        .collect();
    if !saved.is_empty() {
        return Saved::Done(saved);
    }
    let why: Vec<String> = outcomes
        .into_iter()
        .filter_map(|one| Some(format!("{} ({}): {}", one.id, one.name, one.outcome.err()?)))
        .collect();
    Saved::Failed(newest, why.join("; "))
}

/// The user directory that the library made in a cache, if there is one.
fn user_of(base: &Path) -> Option<UserName> {
    let users = list(base).ok()?;
    users.iter().map(|path| UserName::new(name_of(path))).next()
}
