// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends what uses a prefix: the steps of its job, where a resource manager runs it, and the `scr run` on this machine.
//!
//! That run is found by its ranks, which carry the name of the run directory: those whose prefix, or whose job, is that of the
//! request. The supervisor gets the SIGTERM that a scheduler would send: it passes it to the ranks and launches nothing
//! again; a second one makes it kill them.

use crate::output::note;
use crate::prefix::Prefix;
use crate::process::{Process, directory_of, variable_of, with_environment};
use crate::resource_manager::{self, JobStep, PATIENCE};
use crate::run::directory::RunDirectory;
use rustix::process::Signal;
use scr_core::Result;
use scr_core::format::lease::LeaseState;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Tells the runs of a prefix to stop, or only the one that the person names.
pub(super) fn end_runs(prefix: &Prefix, named: Option<&Path>) -> Result<()> {
    let directories = named.map_or_else(|| runs_of(prefix), |one| BTreeSet::from([one.into()]));
    let mut is_told = false;
    for directory in directories {
        if let Some(supervisor) = RunDirectory::new(&directory).supervisor()?
            && supervisor.signal(Signal::TERM)
        {
            is_told = true;
            let (pid, place) = (supervisor.pid, directory.display());
            note(&format!("told the run in {place} (process {pid}) to stop"));
        }
    }
    is_told |= end_steps(prefix)?;
    if !is_told {
        let root = prefix.root().display();
        note(&format!("nothing that could be ended uses {root} now; the request stands"));
    }
    Ok(())
}

/// Ends the step that holds the prefix; `scr run`, wherever it is, sees the request and launches nothing again.
///
/// It is a step of the lease's job, on the lease's node. Where several share that node, all of them.
fn end_steps(prefix: &Prefix) -> Result<bool> {
    let Some(lease) = prefix.lease()?.filter(|lease| lease.state == LeaseState::Held) else {
        return Ok(false);
    };
    let Some(manager) = resource_manager::of_job(lease.job_id.as_str()) else { return Ok(false) };
    let mut steps = manager.steps(PATIENCE)?;
    steps.retain(|step| step.nodes.contains(&lease.node));
    for JobStep { id, .. } in &steps {
        match manager.end_step(id, PATIENCE) {
            Ok(()) => note(&format!("ended step {id}")),
            // The others are to end all the same.
            Err(error) => note(&format!("step {id}: {error:#}")),
        }
    }
    Ok(!steps.is_empty())
}

/// The directories of the runs whose ranks use this prefix.
fn runs_of(prefix: &Prefix) -> BTreeSet<PathBuf> {
    let root = prefix.root().canonicalize().ok();
    let job = prefix.lease().ok().flatten().map(|lease| lease.job_id);
    let uses_it = |rank: &Process| {
        let said = variable_of(*rank, "SCR_PREFIX").map(PathBuf::from);
        let theirs = said.or_else(|| directory_of(*rank)).and_then(|path| path.canonicalize().ok());
        let their_job = variable_of(*rank, "SCR_JOB_ID");
        // A program may have said by SCR_Config where its prefix is: then only its lease leads to it.
        (theirs.is_some() && theirs == root)
            || their_job.zip(job.as_ref()).is_some_and(|(theirs, job)| theirs == *job.as_str())
    };
    let ranks = with_environment(&[("SCR_RUN_DIR", None), ("SCR_RUN_ID", None)]);
    let directories = ranks.into_iter().filter(uses_it);
    directories.filter_map(|rank| variable_of(rank, "SCR_RUN_DIR")).map(PathBuf::from).collect()
}
