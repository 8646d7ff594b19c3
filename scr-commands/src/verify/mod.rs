// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr verify`: whether the datasets in the prefix and in the caches are what they were, and healing of those in cache.
//!
//! Only `--repair` writes, and only into caches: what is bad in the prefix has no redundancy beside it.

mod caches;
mod report;

use crate::exit;
use crate::files::{absolute, store};
use crate::output::{note, print, print_json, progress};
use caches::JobAudit;
use scr_core::exec::audit::{Action, Audited};
use scr_core::exec::inspect::{Inspected, inspect};
use scr_core::exec::prefix::Prefix;
use scr_core::format::summary::{PrefixState, Summary};
use scr_core::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Options of `scr verify`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr verify                       all datasets in this directory, and in /dev/shm
  scr verify ckpt.12 --json        one of them, for a program
  scr verify --cache /tmp/node0 --cache /tmp/node1
  scr verify --repair --cache /tmp/node0 --cache /tmp/node1

Name the cache directory of every node: parts on others count as lost. A repair writes into the caches
only, and is refused while a job uses the prefix.

Exit status: 0 all is good, or was made good; 1 something is bad, and still is.")]
pub(crate) struct Arguments {
    /// Only the datasets with this name
    name: Option<String>,
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// The cache directory of a node; may be repeated, once for each node
    #[arg(short, long, value_name = "DIR", env = "SCR_CACHE_BASE", default_value = "/dev/shm")]
    cache: Vec<PathBuf>,
    /// Restore what is bad or missing in the caches from redundancy
    #[arg(long)]
    repair: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// A dataset in the prefix, as found.
#[derive(Debug)]
struct Flushed {
    summary: Summary,
    /// `None` unless it is complete there.
    found: Option<Inspected>,
}

/// All that was found.
#[derive(Debug)]
struct Verified {
    prefix: PathBuf,
    /// The datasets in the prefix, ascending.
    flushed: Vec<Flushed>,
    /// Why records of others cannot be read.
    unreadable: Vec<String>,
    /// The datasets in the caches, by the job that left them there.
    jobs: Vec<JobAudit>,
}

impl Verified {
    fn is_good(&self) -> bool {
        let is_good = |one: &Flushed| one.found.as_ref().is_none_or(Inspected::is_good);
        self.unreadable.is_empty()
            && self.flushed.iter().all(is_good)
            && self.jobs.iter().flat_map(|job| &job.datasets).all(Audited::is_good)
    }

    fn is_empty(&self) -> bool {
        let cached = self.jobs.iter().map(|job| job.datasets.len()).sum::<usize>();
        self.flushed.len() + self.unreadable.len() + cached == 0
    }
}

/// Compares, and repairs when told to. Exit status 1 when something is bad in the end.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let root = absolute(&arguments.prefix)?;
    let bases = existing(&arguments.cache)?;
    let name = arguments.name.as_deref();
    let action = if arguments.repair { Action::Repair } else { Action::Look };
    let prefix = crate::prefix::Prefix::at(&root);
    if action == Action::Look && prefix.is_held() {
        note("a job holds the prefix, or died holding it; what it changes meanwhile may look bad");
    }
    let jobs = caches::audit_all(&prefix, &bases, action, name)?;
    let (flushed, unreadable) = examine(&prefix.core(), name)?;
    let verified = Verified { prefix: root, flushed, unreadable, jobs };
    if let Some(name) = name
        && verified.is_empty()
    {
        let message = format!(
            "there is no dataset {name:?} in {} or in {}; scr index and scr explain list them",
            verified.prefix.display(),
            crate::output::join(&bases.iter().map(|base| base.display()).collect::<Vec<_>>())
        );
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    if arguments.json {
        print_json(&report::json(&verified, &bases))?;
    } else {
        print(&report::text(&verified, &bases))?;
    }
    Ok(if verified.is_good() { exit::SUCCESS } else { exit::NO })
}

/// The absolute paths of the cache directories, each once; a repair must not put data where nobody looks.
fn existing(bases: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for base in bases {
        let path = absolute(base)?;
        if !store().metadata(&path).is_ok_and(|found| found.is_dir) {
            note(&format!("there is no directory {}; it is left out", base.display()));
        } else if !found.contains(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Examines the datasets in the prefix.
fn examine(prefix: &Prefix, name: Option<&str>) -> Result<(Vec<Flushed>, Vec<String>)> {
    let (summaries, unreadable) = prefix.summaries()?;
    let mut flushed = Vec::new();
    for summary in summaries {
        let dataset = &summary.dataset;
        if name.is_some_and(|name| name != dataset.name.as_str()) {
            continue;
        }
        let mut found = None;
        if summary.state == PrefixState::Flushed {
            progress(&format!(
                "examining dataset {} ({}) in the prefix, {} bytes",
                dataset.id, dataset.name, summary.bytes
            ));
            found = Some(inspect(prefix, &summary));
        }
        flushed.push(Flushed { summary, found });
    }
    // A record that cannot be read names no dataset: it is told when all are asked for.
    let unreadable = unreadable.iter().filter(|_| name.is_none());
    Ok((flushed, unreadable.map(|error| format!("{error:#}")).collect()))
}

/// What a path is called in a report.
fn show(path: &Path) -> String {
    path.display().to_string()
}
