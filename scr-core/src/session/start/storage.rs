// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who sees whose storage, found out before anything is kept there.

use crate::comm::{Reduce, agree};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::exec::Job;
use crate::exec::cache::Cache;
use crate::exec::topology::{Topology, broadcast};
use crate::id::NodeName;
use crate::store::{Durability, publish};
use std::path::{Path, PathBuf};

/// What the names of tokens begin with.
const TOKEN: &str = "token.";
const CACHE_ADVICE: &str =
    "the cache directory cannot be used; set SCR_CACHE_BASE to one that this user can write";

/// Makes the cache usable on every node.
///
/// # Collective
/// On all ranks.
pub(super) fn prepare_cache(job: Job) -> Result<Job> {
    let prepared = if job.is_leader() { job.cache.prepare() } else { Ok(()) };
    agree(&*job.topology.world, prepared.context(|| CACHE_ADVICE))?;
    share_storage(job)
}

/// Finds ranks that do not see their node's storage (containers, private mounts) and makes each a node of its own; nodes
/// that see each other's storage, and do not say so, are refused: they would clear away each other's data.
///
/// # Collective
/// On all ranks.
fn share_storage(mut job: Job) -> Result<Job> {
    loop {
        // Drawn anew each time: a token of another launch must not pass for this one's.
        let words = broadcast(&*job.topology.world, &(job.host.random)())?;
        let (cache, topology) = (&job.cache, &job.topology);
        let written = if job.is_leader() { leave_tokens(cache, topology, &words) } else { Ok(()) };
        agree(&*topology.world, written.context(|| CACHE_ADVICE))?;
        let alone = if job.is_leader() { keep_apart(cache, topology, &words) } else { Ok(()) };
        agree(&*topology.world, alone)?;
        let first = token(cache.root(0), &topology.name);
        let sees = cache.store.read(&first).is_ok_and(|bytes| bytes == words);
        let mut blind = [u64::from(!sees)];
        topology.world.all_reduce(Reduce::Sum, &mut blind)?;
        if blind[0] == 0 {
            return Ok(job);
        }
        let rank = topology.world.rank();
        let name = topology.name.clone();
        let name = if sees { name } else { NodeName::new(format!("{name}#{rank}")) };
        job.cache = Cache::of(&job.host, &job.config, &name);
        job.topology = Topology::new(job.topology.world, name)?;
        let prepared = if job.is_leader() { job.cache.prepare() } else { Ok(()) };
        agree(&*job.topology.world, prepared.context(|| CACHE_ADVICE))?;
    }
}

/// What a node leaves in a store for its own ranks, and for other nodes that see it and should not.
fn token(root: &Path, node: &NodeName) -> PathBuf {
    root.join(format!("{TOKEN}{node}"))
}

fn leave_tokens(cache: &Cache, topology: &Topology, words: &[u8]) -> Result<()> {
    (0..cache.stores()).try_for_each(|store| {
        let path = token(cache.root(store), &topology.name);
        publish(&*cache.store, &path, words, Durability::Process)
    })
}

/// Looks for tokens of other nodes of this launch where only ours should be.
fn keep_apart(cache: &Cache, topology: &Topology, words: &[u8]) -> Result<()> {
    for store in 0..cache.stores() {
        let root = cache.root(store);
        let own = format!("{TOKEN}{}", topology.name);
        for name in cache.store.list(root)? {
            let is_other = name.to_string_lossy().starts_with(TOKEN) && *name != *own;
            if is_other && cache.store.read(&root.join(&name)).is_ok_and(|found| found == words) {
                let base = cache.base(store).display();
                let other = name.to_string_lossy().replacen(TOKEN, "", 1);
                let text = format!(
                    "{base} is one directory for nodes {} and {other}; say STORE={base} VIEW=GLOBAL, or give each node its own",
                    topology.name
                );
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
    }
    Ok(())
}
