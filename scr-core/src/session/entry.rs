// SPDX-License-Identifier: MIT OR Apache-2.0
//! A dataset in cache, as the session keeps it in mind. Equal on all ranks but for what belongs to the node.

use crate::error::Result;
use crate::exec::Job;
use crate::exec::cache::Part;
use crate::exec::flush::Cargo;
use crate::format::{DatasetHeader, Place};
use crate::id::DatasetIdentity;
use crate::plan::evict;

/// A dataset in cache.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub header: DatasetHeader,
    /// This node's place in it.
    pub place: Place,
    /// The position of its redundancy set among those of the session; only where it is usable.
    pub set: usize,
    /// The position of its store in the cache.
    pub store: usize,
    /// Whether it is committed and whole on the nodes present, or why not.
    pub standing: evict::Standing,
    /// Whether it is complete in the prefix.
    pub flushed: bool,
    /// Whether it was there until a newer dataset took a name of its files: it must not be there again.
    pub replaced: bool,
    /// Whether a flush was due and failed: tried again when there is an occasion.
    pub flush_owed: bool,
    /// Bytes of data on this node, on its leader; 0 where not known.
    pub data_bytes: u64,
    /// Bytes on this node, redundancy included, on its leader; 0 where not known.
    pub node_bytes: u64,
}

impl Entry {
    /// Whether one can restart from it, or flush it, on the nodes present.
    pub(super) fn is_usable(&self) -> bool {
        self.standing == evict::Standing::Committed
    }

    /// Whether it could be in the prefix, and is not.
    pub(super) fn is_only_here(&self) -> bool {
        self.is_usable() && !self.flushed && !self.replaced
    }

    /// What tells it from every other entry: copies of one dataset share its number.
    pub(super) fn key(&self) -> (DatasetIdentity, u32) {
        (self.header.identity, self.place.layout)
    }

    pub(super) fn part(&self, job: &Job) -> Part {
        job.cache.part(&self.header, &self.place)
    }

    /// The entry as the plan of eviction sees it.
    pub(super) fn to_plan(&self, in_use: bool) -> evict::Cached {
        evict::Cached {
            id: self.header.id,
            store: self.store,
            is_checkpoint: self.header.is_checkpoint,
            is_output: self.header.is_output && !self.replaced,
            tolerance: self.place.scheme.tolerance(),
            standing: self.standing,
            is_flushed: self.flushed,
            is_in_use: in_use,
        }
    }

    /// What this rank brings to a flush.
    pub(super) fn cargo(&self, job: &Job) -> Result<Cargo> {
        let part = self.part(job);
        let reader = part.node()?;
        let section = reader.section(job.topology.world.rank() as u32)?;
        let parts = if job.is_leader() { vec![(part.clone(), self.place)] } else { Vec::new() };
        Ok(Cargo {
            sections: vec![(part.data_path(), section)],
            block_bytes: reader.header().block_bytes,
            has_checksums: reader.header().has_checksums,
            in_place: false,
            overwrote: false,
            parts,
        })
    }
}
