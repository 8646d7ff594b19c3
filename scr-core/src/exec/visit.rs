// SPDX-License-Identifier: MIT OR Apache-2.0
//! Work on the caches of a job that does not run, by one rank per node: under the lease of the prefix, with its heartbeat,
//! or only looking.

use super::Job;
use super::cache::Cache;
use super::heartbeat::Heartbeat;
use super::lease::Holder;
use super::prefix::Prefix;
use super::topology::{Topology, broadcast};
use crate::comm::{Comm, agree};
use crate::config::Config;
use crate::error::Result;
use crate::event::{EventKind, Level};
use crate::format::lease::LeaseState;
use crate::host::Host;
use crate::id::Epoch;

/// What a visitor takes before it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// Nothing, for it only reads.
    Nothing,
    /// The lease; a launch of the same job is known to be over.
    OwnLease,
    /// The lease, once nobody who may hold it gives a sign of life.
    LeaseOfTheDead,
}

/// Does `work` in the caches and the prefix that `host` and `config` name; those are of the node that this rank stands for.
///
/// # Collective
/// On all ranks of `world`, of which there is one per node; so is `work`.
///
/// # Errors
/// [`ErrorKind::Refused`](crate::ErrorKind::Refused) when a launch uses the prefix; those of `work`.
pub(super) fn visit<T>(
    world: Box<dyn Comm>,
    host: Host,
    config: Config,
    taking: Taking,
    work: impl FnOnce(&Job, Option<&Holder>) -> Result<T>,
) -> Result<T> {
    let topology = Topology::new(world, host.job.node.clone())?;
    let cache = Cache::of(&host, &config, &topology.name);
    let prefix = Prefix::new(host.shared.clone(), config.prefix.clone(), config.task.as_deref());
    let mut job = Job { epoch: Epoch(0), topology, host, config, cache, prefix };
    if taking == Taking::Nothing {
        return work(&job, None);
    }
    let lease = match taking {
        _ if !job.is_first() => Ok(None),
        Taking::OwnLease => Holder::take(&job).map(Some),
        _ => Holder::take_from_the_dead(&job).map(Some),
    };
    let lease = agree(&*job.topology.world, lease)?;
    let epoch = lease.as_ref().map_or(Epoch(0), Holder::epoch);
    job.epoch = broadcast(&*job.topology.world, &epoch)?;
    let heartbeat = Heartbeat::of_lease(&job, lease.clone());
    let prepared = agree(&*job.topology.world, job.cache.prepare());
    let done = prepared.and_then(|()| work(&job, lease.as_ref()));
    drop(heartbeat);
    if let Some(lease) = lease
        && let Err(error) = lease.give_back(LeaseState::Released)
    {
        let text = format!("the prefix is not given back: {error:#}");
        job.host.tell(EventKind::Message, Level::Warning, text);
    }
    done
}
