// SPDX-License-Identifier: MIT OR Apache-2.0
//! `clean`: removes what jobs that are gone have left on a node: caches and control directories.
//!
//! Nothing of a job is removed that may still be there: only directories that belong to this user, have the name of a
//! job that the resource manager could know and does not, and have shown no sign of life lately.

use super::Agents;
use super::protocol::{Answer, Task};
use crate::files::{list, list_deep, name_of, store};
use crate::resource_manager::Reach;
use crate::settings::Settings;
use scr_core::Result;
use scr_core::clock::{Clock, SystemClock};
use scr_core::exec::cache::bases;
use scr_core::id::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A job that has moved its heartbeat within this time lives, whatever the resource manager says.
const FRESH: Duration = Duration::from_mins(2);

/// What is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clean {
    /// The job that asks; nothing of it is touched.
    pub(crate) settings: Settings,
    /// The ids of this user's jobs that still exist.
    pub(crate) alive: BTreeSet<String>,
    /// Whether it is only told what would be removed.
    pub(crate) dry_run: bool,
}

/// What was removed on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cleaned {
    /// The directories.
    pub(crate) removed: Vec<Removed>,
    /// What stood in the way.
    pub(crate) troubles: Vec<String>,
}

/// The directory of a dead job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Removed {
    /// Where it is, or was.
    pub(crate) path: PathBuf,
    /// What it took.
    pub(crate) bytes: u64,
}

/// Removes what dead jobs have left on this node.
///
/// # Errors
/// When the configuration is wrong.
pub(super) fn clean(clean: &Clean, settings: &Settings) -> Result<Cleaned> {
    let (config, _) = settings.resolve()?;
    let job = settings.job();
    let mut all: BTreeSet<&Path> = bases(&config).into_iter().collect();
    all.insert(&config.control_base);
    let mut cleaned = Cleaned::default();
    let (uid, now) = (rustix::process::getuid().as_raw(), SystemClock::default().unix());
    for base in all {
        // Where nothing can be listed there is nothing of ours.
        for path in list(&base.join(job.user.as_str())).unwrap_or_default() {
            let name = name_of(&path);
            let Some(id) = name.strip_prefix("scr.") else { continue };
            let is_ours =
                store().metadata(&path).is_ok_and(|found| found.is_dir && found.uid == uid);
            if id == job.job_id.as_str() || !is_dead(id, &clean.alive) || !is_ours {
                continue;
            }
            if is_fresh(&path, now) {
                let text = format!("{}: its heartbeat moves, so it is left alone", path.display());
                cleaned.troubles.push(text);
                continue;
            }
            let bytes = size_of(&path);
            let removed = if clean.dry_run { Ok(()) } else { store().remove_tree(&path) };
            match removed {
                Ok(()) => cleaned.removed.push(Removed { path, bytes }),
                Err(error) => cleaned.troubles.push(format!("{error:#}")),
            }
        }
    }
    Ok(cleaned)
}

/// Whether a job with this id is known to be gone. Ids that a resource manager would not give belong to nobody it knows.
fn is_dead(id: &str, alive: &BTreeSet<String>) -> bool {
    let number = id.split(['_', '.', '+']).next().unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && !alive.contains(id) && !alive.contains(number)
}

/// Whether a counter below the directory of a job has moved lately; both times are of this node.
fn is_fresh(job: &Path, now: Duration) -> bool {
    let directories = [1, 2].map(|depth| list_deep(job, depth).unwrap_or_default());
    directories.iter().flatten().any(|directory| {
        store().metadata(&directory.join("heartbeat")).is_ok_and(|found| {
            let changed = u64::try_from(found.modified_unix_nanos).unwrap_or(0);
            now.saturating_sub(Duration::from_nanos(changed)) < FRESH
        })
    })
}

/// The bytes of all files below.
fn size_of(path: &Path) -> u64 {
    let Ok(found) = store().metadata(path) else { return 0 };
    if !found.is_dir {
        return found.size_bytes;
    }
    list(path).unwrap_or_default().iter().map(|path| size_of(path)).sum()
}

/// Lets all nodes remove what dead jobs have left; a node that does not answer within `limit` is missing.
///
/// # Errors
/// When nothing can be started.
pub(crate) fn clean_all(
    reach: &dyn Reach,
    nodes: &[NodeName],
    clean: &Clean,
    limit: Duration,
) -> Result<BTreeMap<NodeName, Cleaned>> {
    let mut found = BTreeMap::new();
    if nodes.is_empty() {
        return Ok(found);
    }
    let mut agents = Agents::start(reach, nodes, &Task::Clean(clean.clone()))?;
    let clock = SystemClock::default();
    while found.len() < nodes.len() {
        match agents.next(limit.saturating_sub(clock.monotonic())) {
            Some((node, Answer::Cleaned(cleaned))) => {
                found.insert(node, cleaned);
            }
            Some((node, Answer::Failed(failure))) => {
                let troubles = vec![failure.error().to_string()];
                found.insert(node, Cleaned { removed: Vec::new(), troubles });
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_manager_would_know_can_be_dead() {
        let alive = ["7", "12", "30_4"].map(String::from).into();
        let cases = [
            ("7", false),
            ("8", true),
            ("12_3", false),
            ("12.0", false),
            ("13_3", true),
            ("30_4", false),
            ("defjobid", false),
            ("scr-1769853600-17", false),
            ("f2Bx", false),
            ("", false),
            ("_7", false),
        ];
        for (id, expected) in cases {
            assert_eq!(is_dead(id, &alive), expected, "{id}");
        }
    }

    #[test]
    fn a_heartbeat_keeps_a_job_and_age_takes_it() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("scr.8/aa/task.1");
        store().create_dir_all(&directory).unwrap();
        store().append(&directory.join("heartbeat"), b"12").unwrap();
        store().append(&directory.join("more"), b"345").unwrap();
        let job = base.path().join("scr.8");
        let now = SystemClock::default().unix();
        assert!(is_fresh(&job, now));
        assert!(!is_fresh(&job, now + 2 * FRESH));
        assert_eq!(size_of(&job), 5);
    }
}
