// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checkpoint descriptors of a launch with the redundancy sets that they need.

use crate::comm::Reduce;
use crate::config::{Bypass, CheckpointDescriptor};
use crate::error::Result;
use crate::event::{EventKind, Level};
use crate::exec::Job;
use crate::exec::cache;
use crate::exec::topology::{RedundancySet, union};
use crate::format::{Place, Scheme};
use crate::plan::level;
use std::collections::BTreeSet;

/// Where a node keeps its part of a dataset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Which part it is, under the scheme wanted.
    pub place: Place,
    /// The position of its redundancy set among those of the session.
    pub set: usize,
    /// The position of its store in the cache.
    pub store: usize,
}

/// The redundancy sets of all descriptors; descriptors with the same failure group and size share theirs.
#[derive(Debug)]
pub(super) struct Levels {
    sets: Vec<RedundancySet>,
    /// For each descriptor, the position of its set.
    set_of: Vec<usize>,
}

impl Levels {
    /// Forms the sets.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn form(job: &Job) -> Result<Self> {
        let mut keys: Vec<(&str, u32)> = Vec::new();
        let (mut sets, mut set_of) = (Vec::new(), Vec::new());
        for descriptor in &job.config.checkpoints {
            let key = (descriptor.group.as_str(), descriptor.set_size);
            let known = keys.iter().position(|other| *other == key);
            let position = if let Some(position) = known {
                position
            } else {
                let group = failure_group(job, &descriptor.group)?;
                let size = descriptor.set_size;
                sets.push(RedundancySet::form(&job.topology, size, group.as_deref())?);
                keys.push(key);
                sets.len() - 1
            };
            set_of.push(position);
        }
        Ok(Self { sets, set_of })
    }

    /// The set with this position.
    pub(super) fn set(&self, position: usize) -> &RedundancySet {
        &self.sets[position]
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sets.len()
    }

    /// The position of the set of a descriptor.
    fn position(&self, job: &Job, descriptor: &CheckpointDescriptor) -> usize {
        let same = |other: &CheckpointDescriptor| other.index == descriptor.index;
        let at = job.config.checkpoints.iter().position(same).unwrap_or(0);
        self.set_of[at]
    }

    /// Where this node keeps its part of a dataset or a layout of it, by the descriptor of the dataset.
    pub(super) fn seat(&self, job: &Job, layout: u32, number: Option<u64>, output: bool) -> Seat {
        let descriptor = level::choose(&job.config.checkpoints, number, output);
        let position = descriptor.map_or(0, |descriptor| self.position(job, descriptor));
        let set = &self.sets[position];
        let members = set.members.len() as u32;
        let scheme = descriptor.map_or(Scheme::Single, |d| level::scheme_for(d, members).0);
        let store = descriptor.map_or(0, |d| cache::store_of(&job.config, d));
        let RedundancySet { set, sets, member, .. } = *set;
        Seat { place: Place { layout, set, sets, member, members, scheme }, set: position, store }
    }

    /// Says once where sets are too small for the redundancy that is configured.
    ///
    /// # Collective
    /// On all ranks: sets differ in size.
    pub(super) fn tell_step_down(&self, job: &Job) -> Result<()> {
        let descriptors = job.config.checkpoints.iter().filter(|d| d.bypass != Bypass::Yes);
        let why = |descriptor: &CheckpointDescriptor| {
            let set = &self.sets[self.position(job, descriptor)];
            level::scheme_for(descriptor, set.members.len() as u32).1
        };
        let mine: BTreeSet<String> = descriptors.filter_map(why).collect();
        let whys = union(&*job.topology.world, &mine)?;
        for why in whys.into_iter().filter(|_| job.is_first()) {
            job.host.tell(EventKind::Message, Level::Warning, why);
        }
        Ok(())
    }
}

/// What tells the failure group of this node from others; `None` where each node fails alone.
///
/// # Collective
/// On all ranks, with equal `group`.
fn failure_group(job: &Job, group: &str) -> Result<Option<String>> {
    let host = &job.host.job.node;
    match group {
        "NODE" => {
            // Ranks that do not see each other's storage count as nodes of their own, and still fail together.
            let mut split = [u64::from(job.topology.name != *host)];
            job.topology.world.all_reduce(Reduce::Max, &mut split)?;
            Ok((split[0] > 0).then(|| host.to_string()))
        }
        "WORLD" => Ok(Some(String::new())),
        name => {
            let value = job.config.groups.get(host.as_str()).and_then(|names| names.get(name));
            if value.is_none() && job.is_leader() {
                let text = format!(
                    "node {host} has no {name} in the GROUPS lines: it is taken to fail alone"
                );
                job.host.tell(EventKind::Message, Level::Warning, text);
            }
            Ok(Some(value.map_or_else(|| format!("node {host}"), |value| format!("={value}"))))
        }
    }
}
