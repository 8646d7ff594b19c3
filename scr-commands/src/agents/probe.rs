// SPDX-License-Identifier: MIT OR Apache-2.0
//! `probe`: how a node is. It answers at once; a node that does not is one that cannot be used.
//!
//! The *canary* is a file in the node's control directory with a random number that the prefix has too. Where it is gone the
//! node was started anew since, or another `/dev/shm` is looked at, and what was in memory is gone with it.

use super::Agents;
use super::protocol::{Answer, Task};
use crate::files::{optional, store};
use crate::resource_manager::Reach;
use crate::settings::Settings;
use scr_core::clock::{Clock, SystemClock};
use scr_core::config::Config;
use scr_core::event::{Silent, Sink};
use scr_core::exec::cache::{Cache, job_directory};
use scr_core::format::state::Phase;
use scr_core::host::Host;
use scr_core::id::{DatasetId, DatasetIdentity, DatasetName, Epoch, NodeName};
use scr_core::store::posix::Posix;
use scr_core::store::{Access, Durability, Store, publish};
use scr_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// The job.
    pub(crate) settings: Settings,
    /// What to do about the canary.
    pub(crate) canary: Canary,
}

/// What to do about the canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Canary {
    /// Nobody knows of one.
    Ignore,
    /// It must have this number.
    Expect(String),
    /// There is a new one, with this number.
    Plant(String),
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// Why the prefix cannot be used from here.
    pub(crate) prefix_trouble: Option<String>,
    /// The control directory, and those of the cache.
    pub(crate) directories: Vec<Directory>,
    /// Whether the canary is there, or was planted; `None` when it was not asked for.
    pub(crate) canary: Option<bool>,
    /// The datasets in the cache, ascending.
    pub(crate) datasets: Vec<Cached>,
}

/// A directory that a job needs on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// Its base.
    pub(crate) path: PathBuf,
    /// Why it cannot be written.
    pub(crate) trouble: Option<String>,
    /// Bytes that can still be written there.
    pub(crate) free_bytes: u64,
    /// Bytes in all.
    pub(crate) total_bytes: u64,
}

/// A dataset of which a node has a part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cached {
    /// The launch that wrote it.
    pub(crate) epoch: Epoch,
    /// Its number.
    pub(crate) id: DatasetId,
    /// Its name.
    pub(crate) name: DatasetName,
    /// Its identity, in hexadecimal.
    pub(crate) identity: String,
    /// Whether one can restart from it.
    pub(crate) is_checkpoint: bool,
    /// Whether it must reach the prefix.
    pub(crate) is_output: bool,
    /// Whether the part says that the whole was complete.
    pub(crate) is_committed: bool,
}

impl Probed {
    /// Why the node cannot be used, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        let prefix = self.prefix_trouble.as_ref().map(|why| format!("prefix: {why}"));
        prefix.or_else(|| self.directory_trouble())
    }

    /// Which of the node's own directories cannot be written, if one cannot.
    pub(crate) fn directory_trouble(&self) -> Option<String> {
        self.directories.iter().find_map(|one| {
            let why = one.trouble.as_ref()?;
            Some(format!("{} cannot be written: {why}", one.path.display()))
        })
    }

    /// The highest number of a dataset that was complete.
    pub(crate) fn highest_committed(&self) -> Option<DatasetId> {
        self.datasets.iter().filter(|one| one.is_committed).map(|one| one.id).max()
    }
}

/// What an agent stands on: `files` of this node and of the prefix; `sink` is told what happens.
pub(super) fn host(
    settings: &Settings,
    config: &Config,
    files: Arc<dyn Store>,
    sink: Arc<dyn Sink>,
) -> Host {
    Host {
        local: Arc::clone(&files),
        shared: files,
        clock: Arc::new(SystemClock::default()),
        sink,
        job: settings.job(),
        random: scr_core::host::random,
        directory: config.prefix.clone(),
        background: true,
    }
}

/// Looks at this node.
///
/// # Errors
/// When the configuration is wrong. All else that is wrong is in the answer.
pub(super) fn look(probe: &Probe, settings: &Settings) -> Result<Probed> {
    let (config, _) = settings.resolve()?;
    let host = host(settings, &config, Arc::new(Posix::new()), Arc::new(Silent));
    let control = job_directory(&config.control_base, &host, &config);
    let cache = Cache::of(&host, &config, &host.job.node);
    let mut directories = vec![examine(&config.control_base, &control, true)];
    for position in 0..cache.stores() {
        let base = cache.base(position);
        let may_make = config.store_of(base).is_none_or(|store| store.may_make);
        directories.push(examine(base, cache.root(position), may_make));
    }
    let canary = match &probe.canary {
        Canary::Ignore => None,
        Canary::Expect(number) => {
            let found = optional(store().read(&control.join("canary")));
            Some(found.is_ok_and(|found| found.is_some_and(|found| found == number.as_bytes())))
        }
        Canary::Plant(number) => Some(plant(&control, number).is_ok()),
    };
    let prefix = store().metadata(&config.prefix);
    let prefix_trouble = match prefix {
        Ok(found) if !found.is_dir => Some("it is no directory".to_string()),
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    let mut datasets: Vec<Cached> = Vec::new();
    // A part that cannot be read is not counted: whoever rebuilds it judges.
    for (_, state) in cache.scan().unwrap_or_default().0 {
        datasets.push(Cached {
            epoch: state.dataset.epoch,
            id: state.dataset.id,
            name: state.dataset.name,
            identity: state.dataset.identity.to_string(),
            is_checkpoint: state.dataset.is_checkpoint,
            is_output: state.dataset.is_output,
            is_committed: state.phase == Phase::Committed,
        });
    }
    datasets.sort();
    datasets.dedup();
    Ok(Probed { prefix_trouble, directories, canary, datasets })
}

fn plant(control: &Path, number: &str) -> Result<()> {
    store().create_dir_all(control)?;
    publish(store(), &control.join("canary"), number.as_bytes(), Durability::Process)
}

/// Writes where `directory` is, or would be made, and takes it away again.
fn examine(base: &Path, directory: &Path, may_make: bool) -> Directory {
    let is_there = |path: &&Path| store().metadata(path).is_ok();
    if !may_make && !is_there(&base) {
        let trouble = Some("there is no such directory, and MKDIR=0".to_string());
        return Directory { path: base.to_path_buf(), trouble, free_bytes: 0, total_bytes: 0 };
    }
    let there = directory.ancestors().find(is_there).unwrap_or(Path::new("/"));
    let trial = there.join(format!(".scr-probe.{}", std::process::id()));
    let written = store().open(&trial, Access::Create).and_then(|file| file.write_at(0, b"?"));
    let removed = store().remove(&trial);
    let space = store().space(there);
    let outcome = written.and(removed).and(space);
    Directory {
        path: base.to_path_buf(),
        trouble: outcome.as_ref().err().map(|error| format!("{error:#}")),
        free_bytes: outcome.as_ref().map_or(0, |space| space.free_bytes),
        total_bytes: outcome.as_ref().map_or(0, |space| space.total_bytes),
    }
}

/// What a look at many nodes came to.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Those that answered.
    pub(crate) answers: BTreeMap<NodeName, Probed>,
    /// Those that could not look, and why.
    pub(crate) failed: BTreeMap<NodeName, Error>,
    /// Those that said nothing, in the order in which they were asked.
    pub(crate) silent: Vec<NodeName>,
    /// What else was said by what carries agents.
    pub(crate) remarks: String,
}

/// Asks all nodes at once and waits until the last has answered, at most for `limit`.
///
/// # Errors
/// When nothing can be started.
pub(crate) fn survey(
    reach: &dyn Reach,
    nodes: &[NodeName],
    probe: &Probe,
    limit: Duration,
) -> Result<Survey> {
    let mut survey = Survey::default();
    if nodes.is_empty() {
        return Ok(survey);
    }
    let mut agents = Agents::start(reach, nodes, &Task::Probe(probe.clone()))?;
    let clock = SystemClock::default();
    let mut silent: BTreeSet<&NodeName> = nodes.iter().collect();
    while !silent.is_empty() {
        // Time is up, or nobody is left who could answer.
        let Some((node, answer)) = agents.next(limit.saturating_sub(clock.monotonic())) else {
            break;
        };
        // A name that we did not call is no answer.
        if !silent.remove(&node) {
            continue;
        }
        match answer {
            Answer::Probed(probed) => {
                survey.answers.insert(node, *probed);
            }
            Answer::Failed(failure) => {
                survey.failed.insert(node, failure.error());
            }
            _ => {}
        }
    }
    survey.silent = nodes.iter().filter(|node| silent.contains(node)).cloned().collect();
    survey.remarks = agents.remarks();
    Ok(survey)
}

/// Asks all nodes that `usable` names. When none of them answers and their carrier has given up, `usable` is asked again:
/// a job step that names a node which the manager has just taken away comes to nothing, for all of them.
///
/// # Errors
/// As [`survey`].
pub(crate) fn survey_usable(
    reach: &dyn Reach,
    usable: &dyn Fn() -> Vec<NodeName>,
    probe: &Probe,
    limit: Duration,
) -> Result<Survey> {
    const ATTEMPTS: u32 = 3;
    const PAUSE: Duration = Duration::from_secs(2);
    let clock = SystemClock::default();
    let mut attempt = 1;
    loop {
        let start = clock.monotonic();
        let found = survey(reach, &usable(), probe, limit)?;
        let is_late = clock.monotonic().saturating_sub(start) >= limit;
        let is_known = found.answers.len() + found.failed.len() > 0 || found.silent.is_empty();
        if is_known || is_late || attempt == ATTEMPTS {
            return Ok(found);
        }
        attempt += 1;
        clock.sleep(PAUSE);
    }
}

/// A number for a canary.
pub(crate) fn draw_canary() -> String {
    DatasetIdentity(scr_core::host::random()).to_string()
}
