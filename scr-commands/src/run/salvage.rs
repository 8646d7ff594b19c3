// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to datasets that are only in the caches when a run ends: they are scavenged from the nodes that are left.
//!
//! All nodes of the local resource manager are on this machine, so one thread stands for each, and they do together what
//! the job would have done: judge, rebuild what is missing, flush.

use super::directory::Run;
use super::progress::progress;
use super::signals;
use super::site::Site;
use crate::caches::{NodeCache, on_each};
use crate::files::{list, name_of};
use crate::output::say_now;
use crate::prefix::Prefix;
use scr_core::Result;
use scr_core::exec::scavenge::{Saved as Outcome, scavenge};
use scr_core::id::{DatasetId, DatasetName, JobId, NodeName, UserName};
use signal_hook::iterator::Signals;
use std::cell::RefCell;
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

impl Saved {
    /// Says it aloud.
    pub(crate) fn tell(&self) {
        match self {
            Self::Nothing => {}
            Self::Done(saved) => {
                for (id, name) in saved {
                    say_now(&format!("saved dataset {id} ({name}) from the caches to the prefix"));
                }
            }
            Self::Failed(id, why) => {
                say_now(&format!(
                    "dataset {id} is only in the caches and could not be saved: {why}"
                ));
            }
        }
    }
}

/// Saves what is only in the caches. A request to stop waits for that; the second one does not.
pub(crate) fn save(site: &mut dyn Site, signals: &mut Signals, prefix: &Prefix) -> Result<Saved> {
    let state = RefCell::new((signals, 0));
    let is_stopped = || {
        let (signals, requests) = &mut *state.borrow_mut();
        for signal in signals.pending().filter(|signal| signals::means_stop(*signal)) {
            *requests += 1;
            let name = signals::name(signal);
            say_now(&match requests {
                1 => format!("{name} received; what is only in the caches is saved first"),
                _ => format!("{name} again: ending that"),
            });
        }
        *requests > 1
    };
    site.save(prefix, &is_stopped)
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
