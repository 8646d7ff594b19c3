// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caches of this machine that belong to a prefix: a thread stands for each node, and together they do what a launch
//! would do, once for every job that left something.

use crate::caches::{NodeCache, on_each};
use crate::files::{list, name_of, store};
use crate::prefix::Prefix;
use scr_core::Result;
use scr_core::exec::audit::{Action, Audited, audit};
use scr_core::exec::cache::prefix_directory;
use scr_core::id::{JobId, NodeName, UserName};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    prefix: &Prefix,
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
fn jobs(prefix: &Prefix, bases: &[PathBuf]) -> BTreeSet<(UserName, JobId)> {
    let ours = prefix_directory(prefix.root());
    let has_some = |of_prefix: &Path| store().metadata(&prefix.in_cache(of_prefix)).is_ok();
    let mut jobs = BTreeSet::new();
    // A cache that others use too: what cannot be listed is not ours.
    let inside = |path: &Path| list(path).unwrap_or_default();
    for user in bases.iter().flat_map(|base| inside(base)) {
        for job in inside(&user) {
            let name = name_of(&job);
            let Some(id) = name.strip_prefix("scr.") else { continue };
            if inside(&job).iter().any(|path| name_of(path) == ours && has_some(path)) {
                jobs.insert((UserName::new(name_of(&user)), JobId::new(id)));
            }
        }
    }
    jobs
}

fn audit_job(
    prefix: &Prefix,
    bases: &[PathBuf],
    (user, job): (&UserName, &JobId),
    action: Action,
    name: Option<&str>,
) -> Result<Vec<Audited>> {
    let nodes = node_names(bases).into_iter().zip(bases);
    let caches: Vec<NodeCache> = nodes
        .map(|(node, base)| NodeCache { node, base: base.clone(), user: user.clone() })
        .collect();
    on_each("scr verify", (prefix, job), &caches, |comm, host, config| {
        audit(comm, host, config, action, name)
    })
}

/// A name for each node: the last part of its cache directory, or all of it where two have the same.
fn node_names(bases: &[PathBuf]) -> Vec<NodeName> {
    let short: Vec<String> = bases.iter().map(|base| name_of(base)).collect();
    let are_distinct = short.iter().collect::<BTreeSet<_>>().len() == short.len();
    let long = bases.iter().map(|base| super::show(base));
    let names = if are_distinct { short } else { long.collect() };
    names.into_iter().map(NodeName::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let found = jobs(&Prefix::new(prefix, None), &bases);
        let found: Vec<_> = found.iter().map(|(u, j)| (u.as_str(), j.as_str())).collect();
        assert_eq!(found, [("ann", "7"), ("ann", "8")]);

        let task = bases[1].join("ann/scr.8").join(&ours).join("task.3");
        store().create_dir_all(&task).unwrap();
        let found = jobs(&Prefix::new(prefix, Some("3")), &bases);
        let found: Vec<_> = found.iter().map(|(u, j)| (u.as_str(), j.as_str())).collect();
        assert_eq!(found, [("ann", "8")]);

        let names = node_names(&bases);
        assert_eq!(names[1].as_str(), super::super::show(&bases[1]));
        let names = node_names(&[top.path().join("node0"), top.path().join("node1")]);
        assert_eq!(names[1].as_str(), "node1");
    }
}
