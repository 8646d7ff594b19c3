// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caches of this machine that belong to a prefix: a thread stands for each node, and together they do what a launch
//! would do, once for every job that left something.

use super::progress;
use crate::files::{list, name_of};
use crate::output::warn;
use scr_core::clock::SystemClock;
use scr_core::comm::thread::{Scheduler, World};
use scr_core::config::Config;
use scr_core::event::{Event, Level, Sink};
use scr_core::exec::audit::{Action, Audited, audit};
use scr_core::exec::cache::prefix_directory;
use scr_core::host::{Host, JobInfo};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::store::posix::Posix;
use scr_core::{ErrorKind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one job left in the caches.
#[derive(Debug)]
pub(super) struct JobAudit {
    pub(super) user: UserName,
    pub(super) job: JobId,
    pub(super) datasets: Vec<Audited>,
}

/// Examines what is left of each job; `bases` are the cache directories of the nodes.
///
/// # Errors
/// [`ErrorKind::Refused`] when a repair is asked for, and a job uses the prefix.
pub(super) fn audit_all(
    prefix: &Path,
    bases: &[PathBuf],
    action: Action,
    name: Option<&str>,
) -> Result<Vec<JobAudit>> {
    let mut audits = Vec::new();
    for (user, job) in jobs(prefix, bases) {
        let datasets = audit_job(prefix, bases, (&user, &job), action, name)?;
        audits.push(JobAudit { user, job, datasets });
    }
    Ok(audits)
}

/// The jobs, and their users, that left something for this prefix: `<base>/<user>/scr.<job>/<prefix>/`.
fn jobs(prefix: &Path, bases: &[PathBuf]) -> BTreeSet<(UserName, JobId)> {
    let ours = prefix_directory(prefix);
    let mut jobs = BTreeSet::new();
    // A cache that others use too: what cannot be listed is not ours.
    let inside = |path: &Path| list(path).unwrap_or_default();
    for user in bases.iter().flat_map(|base| inside(base)) {
        for job in inside(&user) {
            let name = name_of(&job);
            let Some(id) = name.strip_prefix("scr.") else { continue };
            if inside(&job).iter().any(|path| name_of(path) == ours) {
                jobs.insert((UserName::new(name_of(&user)), JobId::new(id)));
            }
        }
    }
    jobs
}

fn audit_job(
    prefix: &Path,
    bases: &[PathBuf],
    (user, job): (&UserName, &JobId),
    action: Action,
    name: Option<&str>,
) -> Result<Vec<Audited>> {
    let nodes = node_names(bases);
    let posix = Arc::new(Posix::new());
    let results = World::new(bases.len(), Scheduler::Free).run(|comm| {
        let rank = comm.rank();
        let mut config = Config::default_for(prefix.to_path_buf());
        config.cache_base.clone_from(&bases[rank]);
        let job_id = job.clone();
        let (user, node) = (user.clone(), nodes[rank].clone());
        let host = Host {
            local: posix.clone(),
            shared: posix.clone(),
            clock: Arc::new(SystemClock::default()),
            sink: Arc::new(Aloud),
            job: JobInfo { job_id, user, node, end_unix_seconds: None },
            random: scr_core::host::random,
            directory: prefix.to_path_buf(),
            background: true,
        };
        audit(comm, host, config, action, name)
    });
    let mut results: Vec<_> = results.into_iter().map(|result| result.and_then(|r| r)).collect();
    // Of those that failed, one has the reason; the others only know that it did.
    let has_reason = |result: &Result<_>| {
        result.as_ref().is_err_and(|error: &scr_core::Error| error.kind() != ErrorKind::PeerFailed)
    };
    let reason = results.iter().position(has_reason).unwrap_or(0);
    results.swap_remove(reason)
}

/// A name for each node: the last part of its cache directory, or all of it where two have the same.
fn node_names(bases: &[PathBuf]) -> Vec<NodeName> {
    let short: Vec<String> = bases.iter().map(|base| name_of(base)).collect();
    let are_distinct = short.iter().collect::<BTreeSet<_>>().len() == short.len();
    let long = bases.iter().map(|base| super::show(base));
    let names = if are_distinct { short } else { long.collect() };
    names.into_iter().map(NodeName::new).collect()
}

/// Passes on what people should know, and to those who wait how far it is.
#[derive(Debug)]
struct Aloud;

impl Sink for Aloud {
    fn tell(&self, event: &Event) {
        if event.level <= Level::Warning {
            warn("scr verify", &event.text);
        } else if event.level == Level::Note {
            progress(&event.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::store;

    #[test]
    fn every_job_of_the_prefix_is_found_once() {
        let top = tempfile::tempdir().unwrap();
        let bases = ["a/cache", "b/cache"].map(|name| top.path().join(name));
        let prefix = Path::new("/p");
        let (ours, other) = (prefix_directory(prefix), prefix_directory(Path::new("/q")));
        for (base, user, job, hash) in [
            (0, "ann", "scr.7", &ours),
            (1, "ann", "scr.7", &ours),
            (1, "ann", "scr.8", &ours),
            (0, "bob", "scr.9", &other),
            (0, "bob", "else", &ours),
        ] {
            store().create_dir_all(&bases[base].join(user).join(job).join(hash)).unwrap();
        }
        let found = jobs(prefix, &bases);
        let found: Vec<_> = found.iter().map(|(u, j)| (u.as_str(), j.as_str())).collect();
        assert_eq!(found, [("ann", "7"), ("ann", "8")]);

        let names = node_names(&bases);
        assert_eq!(names[1].as_str(), super::super::show(&bases[1]));
        let names = node_names(&[top.path().join("node0"), top.path().join("node1")]);
        assert_eq!(names[1].as_str(), "node1");
    }
}
