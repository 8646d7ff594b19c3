// SPDX-License-Identifier: MIT OR Apache-2.0
//! Node records of lost members, from their copies.

use super::{SetMap, lost};
use crate::comm::{Comm, In, Out};
use crate::error::{Error, Result};
use crate::exec::cache::Part;
use crate::exec::{Job, wire};
use crate::store::{Access, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of a record that are sent at once.
const PIECE_BYTES: usize = 1 << 20;

/// Makes the directory of every missing member, and gives it its own node record and the copies of others' that it held.
///
/// # Collective
/// On all ranks of `map.homes`. The inner result is this rank's own.
pub(super) fn pass(job: &Job, map: &SetMap) -> Result<Result<()>> {
    let mut records = Records {
        job,
        map,
        parts: map.hosted(job).into_iter().map(|(member, part, _)| (member, part)).collect(),
        trouble: None,
    };
    let n = map.homes.len();
    let copies = map.header.place.scheme.tolerance() as usize;
    for &member in &map.missing {
        records.make_directory(member as usize)?;
        if let Some(&holder) = map.holders.get(&member) {
            let source = |part: &Part| part.copy_path(member);
            records.pass(holder as usize, &source, member as usize, &Part::node_path)?;
        } else {
            let text = format!("no good copy of the node record of member {member} is left");
            records.note(Err(lost(text)));
        }
    }
    for &member in &map.missing {
        for distance in 1..=copies.min(n - 1) {
            let (member, other) = (member as usize, (member as usize + distance) % n);
            let sink = |part: &Part| part.copy_path(other as u32);
            records.pass(other, &Part::node_path, member, &sink)?;
        }
    }
    // The others of the node read the record of the member next.
    if map.missing.iter().any(|&member| records.parts.contains_key(&(member as usize))) {
        job.topology.node.barrier()?;
    }
    Ok(records.trouble.map_or(Ok(()), Err))
}

struct Records<'a> {
    job: &'a Job,
    map: &'a SetMap,
    /// The members on this node.
    parts: BTreeMap<usize, Part>,
    trouble: Option<Error>,
}

impl Records<'_> {
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.trouble.get_or_insert(error);
        }
    }

    fn make_directory(&mut self, member: usize) -> Result<()> {
        let Some(part) = self.parts.get(&member) else { return Ok(()) };
        let cleared = if crate::sabotage::active(crate::sabotage::Fault::RebuildInPlace) {
            Ok(())
        } else if self.job.is_leader() {
            part.store.remove_tree(&part.dir)
        } else {
            Ok(())
        };
        let made = if self.job.is_leader() {
            cleared.and_then(|()| part.store.create_dir_all(&part.data_path()))
        } else {
            Ok(())
        };
        self.note(made);
        self.job.topology.node.barrier()
    }

    /// Passes a file of member `from` to member `to`, between the first ranks of their homes.
    fn pass(
        &mut self,
        from: usize,
        source: &dyn Fn(&Part) -> PathBuf,
        to: usize,
        sink: &dyn Fn(&Part) -> PathBuf,
    ) -> Result<()> {
        let world = &*self.job.topology.world;
        let me = world.rank();
        let (sender, receiver) = (self.map.homes[from][0] as usize, self.map.homes[to][0] as usize);
        let mut bytes = Vec::new();
        if me == sender
            && let Some(part) = self.parts.get(&from)
        {
            match part.store.read(&source(part)) {
                Ok(read) => bytes = read,
                Err(error) => self.note(Err(error)),
            }
        }
        let received = if sender == receiver {
            (me == sender).then_some(bytes)
        } else {
            pass_bytes(world, sender, receiver, &bytes)?
        };
        if let (Some(bytes), Some(part)) = (received, self.parts.get(&to)) {
            let written = write_file(&*part.store, &sink(part), &bytes);
            self.note(written);
        }
        Ok(())
    }
}

/// Sends bytes from one rank to another; the receiver gets them, others `None`.
fn pass_bytes(comm: &dyn Comm, from: usize, to: usize, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    if comm.rank() == from {
        let length = wire::length(bytes);
        comm.transfer(&[Out { to, data: &length }], &mut [], &mut || {})?;
        for piece in bytes.chunks(PIECE_BYTES) {
            comm.transfer(&[Out { to, data: piece }], &mut [], &mut || {})?;
        }
        Ok(None)
    } else if comm.rank() == to {
        let mut length = [0; 8];
        comm.transfer(&[], &mut [In { from, data: &mut length }], &mut || {})?;
        let mut bytes = vec![0; u64::from_be_bytes(length) as usize];
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            comm.transfer(&[], &mut [In { from, data: piece }], &mut || {})?;
        }
        Ok(Some(bytes))
    } else {
        Ok(None)
    }
}

fn write_file(store: &dyn Store, path: &Path, bytes: &[u8]) -> Result<()> {
    store.open(path, Access::Create)?.write_at(0, bytes)
}
