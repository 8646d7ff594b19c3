// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must be there, told by nothing but what the application was told.
//!
//! A dataset is *owed* from the moment at which any rank was told that it is complete, for as long as the damage since
//! stays within what its redundancy survives, or for good once it was said to be in the prefix. The restart must hand
//! back the newest that is owed, or one that was started after it, whole; the same on all ranks.

use crate::cluster::{Ended, Fault, Launch, Wanted};
use crate::files::is_shared;
use crate::program::{Program, Step};
use scr_core::ErrorKind;
use scr_core::plan::group::set_of;
use scr_core::store::fault::What;
use std::collections::{BTreeMap, BTreeSet};

/// A way in which a dataset lies in the caches.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    /// The nodes of every redundancy set.
    sets: Vec<Vec<usize>>,
    scheme: Wanted,
}

#[derive(Clone, Debug)]
struct Dataset {
    name: String,
    ranks: usize,
    owed: bool,
    flushed: bool,
    /// The application said that it could not use it.
    condemned: bool,
    /// Where it may be: several after a launch that died while it laid it out anew.
    layouts: Vec<Layout>,
    damage: BTreeMap<usize, &'static str>,
}

/// The model.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    seed: u64,
    datasets: Vec<Dataset>,
    /// What was damaged on a node when it went away.
    away: BTreeMap<usize, Vec<Option<&'static str>>>,
}

impl Layout {
    fn of(launch: &Launch) -> Self {
        let mut nodes: Vec<usize> = Vec::new();
        for &host in &launch.hosts {
            if !nodes.contains(&host) {
                nodes.push(host);
            }
        }
        let mut sets: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (position, &node) in nodes.iter().enumerate() {
            let seat = set_of(position as u32, nodes.len() as u32, launch.knobs.set_size);
            sets.entry(seat.set).or_default().push(node);
        }
        Self { sets: sets.into_values().collect(), scheme: launch.knobs.scheme }
    }

    fn survives(&self, missing: &dyn Fn(usize) -> bool) -> bool {
        self.sets.iter().all(|set| {
            let lost: Vec<bool> = set.iter().map(|&node| missing(node)).collect();
            let count = lost.iter().filter(|&&lost| lost).count();
            let tolerance = match self.scheme {
                _ if set.len() < 2 => 0,
                Wanted::Single => 0,
                Wanted::Xor => 1,
                Wanted::Rs(failures) => (failures as usize).min(set.len() - 1),
                Wanted::Partner => {
                    return (0..lost.len()).all(|i| !(lost[i] && lost[(i + 1) % lost.len()]));
                }
            };
            count <= tolerance
        })
    }
}

impl Dataset {
    /// Whether the caches of these nodes must give it back.
    fn is_in_cache(&self, hosts: &[usize]) -> bool {
        let missing = |node| !hosts.contains(&node) || self.damage.contains_key(&node);
        !self.layouts.is_empty() && self.layouts.iter().all(|layout| layout.survives(&missing))
    }
}

impl Oracle {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, datasets: Vec::new(), away: BTreeMap::new() }
    }

    /// The newest dataset that a launch on these nodes must be able to hand back.
    fn required(&self, hosts: &[usize]) -> Option<usize> {
        let newest = self.datasets.iter().rposition(|d| d.owed)?;
        let dataset = &self.datasets[newest];
        if !dataset.condemned && (dataset.is_in_cache(hosts) || dataset.flushed) {
            return Some(newest);
        }
        self.datasets.iter().rposition(|d| d.flushed && !d.condemned)
    }

    /// The prefix no longer vouches for a dataset.
    pub(crate) fn give_up_prefix(&mut self, name: &str) {
        self.datasets.iter_mut().filter(|d| d.name == name).for_each(|d| d.flushed = false);
    }

    /// Something happened to all that a node holds.
    pub(crate) fn damage(&mut self, node: usize, what: &'static str) {
        for dataset in &mut self.datasets {
            let known = dataset.damage.entry(node).or_insert(what);
            // What was torn stays so until it is replaced whole.
            if what == "torn" && *known != "lost" {
                *known = what;
            }
        }
    }

    /// A node goes away and may come back as it is now.
    pub(crate) fn leaves(&mut self, node: usize) {
        let now = self.datasets.iter().map(|d| d.damage.get(&node).copied()).collect();
        self.away.insert(node, now);
        self.damage(node, "lost");
    }

    pub(crate) fn returns(&mut self, node: usize) {
        let before = self.away.remove(&node).unwrap_or_default();
        for (index, dataset) in self.datasets.iter_mut().enumerate() {
            match before.get(index) {
                Some(None) => dataset.damage.remove(&node),
                Some(Some(what)) => dataset.damage.insert(node, what),
                None => dataset.damage.insert(node, "lost"),
            };
        }
    }

    /// A launch begins: what it may write is known from now on.
    pub(crate) fn begin(&mut self, launch: &Launch) {
        let Program::Steps(steps) = &launch.program else { return };
        for step in steps {
            if let Step::Checkpoint(name) | Step::Output(name) = step {
                self.datasets.push(Dataset {
                    name: name.clone(),
                    ranks: launch.hosts.len(),
                    owed: false,
                    flushed: false,
                    condemned: false,
                    layouts: Vec::new(),
                    damage: BTreeMap::new(),
                });
            }
        }
    }

    /// Compares what a launch was told with what must be, and learns from it.
    pub(crate) fn judge(&mut self, launch: &Launch, ended: &Ended) -> Result<(), String> {
        if let Some(end) = &ended.end {
            return Err(format!("the ranks could not go on: {end}"));
        }
        for answer in &ended.answers {
            if let ("read", Err((_, why))) = (answer.call.as_str(), &answer.said) {
                let blamed = launch.faults.iter().any(|f| f.rank == answer.rank);
                if !blamed || why.starts_with("WRONG") {
                    return Err(format!("rank {} reads: {why}", answer.rank));
                }
            }
        }
        check_equal(launch, ended)?;
        self.check_restart(launch, ended)?;
        if launch.faults.is_empty() {
            check_clean(ended)?;
        }
        self.learn(launch, ended);
        Ok(())
    }

    fn check_restart(&self, launch: &Launch, ended: &Ended) -> Result<(), String> {
        let required = self.required(&launch.hosts);
        let owed = required.map_or("nothing", |index| &self.datasets[index].name);
        // A store that fails may hide what it holds; a crash hides nothing.
        let fails = |f: &Fault| !matches!(f.plan.what, What::Crash | What::Torn);
        let is_excused = launch.faults.iter().any(|f| fails(f) || !ended.crashed);
        for answer in ended.answers.iter().filter(|a| a.call == "have_restart") {
            match &answer.said {
                Ok(name) if name == "none" => {
                    if required.is_some() && !is_excused {
                        return Err(format!("begins from zero beside {owed}"));
                    }
                }
                Ok(name) => {
                    let Some(index) = self.datasets.iter().position(|d| d.name == *name) else {
                        return Err(format!("handed back {name}, which was never written"));
                    };
                    if self.datasets[index].ranks != launch.hosts.len() {
                        return Err(format!("handed back {name} to another number of ranks"));
                    }
                    if required.is_some_and(|required| index < required) && !is_excused {
                        return Err(format!("handed back {name}, but {owed} is owed"));
                    }
                }
                Err((ErrorKind::Communication, _)) => {}
                Err((kind, why)) => {
                    if required.is_some() && !is_excused {
                        return Err(format!("refuses {kind:?}, but {owed} is owed: {why}"));
                    }
                    if self.datasets.is_empty() {
                        return Err(format!("refuses, but nothing was ever begun: {why}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn learn(&mut self, launch: &Launch, ended: &Ended) {
        let layout = Layout::of(launch);
        let is_job = launch.program != Program::Scavenge;
        let inits = ended.answers.iter().filter(|a| a.call == "init" && a.said.is_ok()).count();
        let is_clean = launch.faults.is_empty() && inits == launch.hosts.len();
        for dataset in self.datasets.iter_mut().filter(|d| is_job && !d.layouts.is_empty()) {
            if dataset.ranks != launch.hosts.len() || !dataset.is_in_cache(&launch.hosts) {
                continue;
            }
            let same = dataset.layouts.iter().find(|l| l.sets == layout.sets);
            let new = same.cloned().unwrap_or_else(|| layout.clone());
            if is_clean {
                dataset.layouts = vec![new];
                let nodes: BTreeSet<usize> = layout.sets.iter().flatten().copied().collect();
                dataset.damage.retain(|node, what| *what == "torn" && nodes.contains(node));
            } else if !dataset.layouts.contains(&new) {
                dataset.layouts.push(new);
            }
        }
        for answer in &ended.answers {
            let Ok(said) = &answer.said else { continue };
            let (name, outcome) = match answer.call.split_once(' ') {
                Some(("complete", name)) => (name, said.as_str()),
                None if answer.call == "start_restart" => (said.as_str(), ""),
                _ => continue,
            };
            let Some(dataset) = self.datasets.iter_mut().find(|d| d.name == name) else { continue };
            if !dataset.owed {
                dataset.owed = true;
                let scheme = if outcome == "Degraded" { Wanted::Single } else { layout.scheme };
                dataset.layouts = vec![Layout { scheme, ..layout.clone() }];
                dataset.damage.clear();
            }
        }
        if ended.answers.iter().any(|a| a.call == "read" && a.said.is_err()) {
            let taken = ended.answers.iter().find(|a| a.call == "start_restart");
            let name = taken.and_then(|a| a.said.as_ref().ok());
            for dataset in self.datasets.iter_mut().filter(|d| Some(&d.name) == name) {
                dataset.condemned = true;
            }
        }
        for name in &ended.flushed {
            let takes_names = is_shared(self.seed, name);
            for dataset in &mut self.datasets {
                dataset.flushed = dataset.name == *name || (dataset.flushed && !takes_names);
            }
        }
    }
}

/// Every rank that was answered got the same answer; with all alive, every rank was answered.
fn check_equal(launch: &Launch, ended: &Ended) -> Result<(), String> {
    let mut calls: BTreeMap<&str, Vec<&crate::program::Answer>> = BTreeMap::new();
    for answer in ended.answers.iter().filter(|a| a.call != "read") {
        calls.entry(&answer.call).or_default().push(answer);
    }
    for (call, answers) in calls {
        if ended.crashed {
            let mut names = answers.iter().filter_map(|a| a.said.as_ref().ok());
            let first = names.next();
            if names.any(|name| Some(name) != first) {
                return Err(format!("{call}: ranks were told different things"));
            }
            continue;
        }
        let same = |a: &&&crate::program::Answer| match (&a.said, &answers[0].said) {
            (Ok(a), Ok(b)) => a == b,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        let count = answers.iter().filter(same).count();
        if count != launch.hosts.len() {
            return Err(format!("{call}: only {count} ranks got the answer of the first"));
        }
    }
    Ok(())
}

/// Without a fault of this launch's own, all that is called succeeds; a restart may be refused for old sins.
fn check_clean(ended: &Ended) -> Result<(), String> {
    for answer in &ended.answers {
        if let Err((kind, why)) = &answer.said
            && answer.call != "have_restart"
        {
            return Err(format!("{} fails for nothing: {kind:?}: {why}", answer.call));
        }
    }
    Ok(())
}
