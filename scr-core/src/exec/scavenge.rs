// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cache to prefix after the job: from the nodes that are left, rebuilding what is missing.
//!
//! The same code as in the job, with one rank per node instead of the application's: every node brings the parts it holds.
//! Outputs come first, oldest first, then the newest checkpoint that can be completed. It can be interrupted and repeated.

use super::Job;
use super::flush::{Cargo, flush};
use super::heal::heal;
use super::lease::Holder;
use super::recover::{self, Cached, Local, Purpose, Usable};
use super::visit::{Taking, visit};
use super::wire::{pack, unpack};
use crate::comm::{Comm, agree, collective};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::format::state::PartState;
use crate::host::Host;
use crate::id::{DatasetId, DatasetIdentity, DatasetName, Epoch};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What became of one dataset.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its number.
    pub id: DatasetId,
    /// Its name.
    pub name: DatasetName,
    /// What tells it from others with its number.
    pub identity: DatasetIdentity,
    /// Whether it had to reach the prefix.
    pub is_output: bool,
    /// Whether it was ever complete and good: what was not is no loss.
    pub was_complete: bool,
    /// Whether it is complete in the prefix now, or why not.
    pub outcome: std::result::Result<(), String>,
}

/// What an attempt to save a dataset came to.
enum Attempt {
    /// It is in the prefix.
    Done,
    /// There is nothing to be saved of it.
    Worthless(String),
}

/// Saves what is only in cache; `host` and `config` are those of the node that this rank stands for.
///
/// # Collective
/// On all ranks of `world`, of which there is one per node.
///
/// # Errors
/// [`ErrorKind::Refused`] when another launch uses the prefix. What can be saved in spite of trouble elsewhere is saved.
pub fn scavenge(world: Box<dyn Comm>, host: Host, config: Config) -> Result<Vec<Saved>> {
    visit(world, host, config, Taking::OwnLease, save_all)
}

fn save_all(job: &Job, lease: Option<&Holder>) -> Result<Vec<Saved>> {
    let (cached, local) = recover::survey(job)?;
    let mut saved = Vec::new();
    let outputs = cached.iter().filter(|one| one.header.is_output);
    for one in outputs {
        saved.push(save(job, lease, one, &local)?);
    }
    let mut checkpoints: Vec<_> =
        cached.iter().filter(|one| one.header.is_checkpoint && !one.header.is_output).collect();
    checkpoints.sort_by_key(|one| std::cmp::Reverse((one.header.age(), one.layout)));
    for one in checkpoints {
        let done = save(job, lease, one, &local)?;
        let is_enough = done.outcome.is_ok();
        saved.push(done);
        if is_enough {
            break;
        }
    }
    Ok(saved)
}

/// Saves one dataset; only trouble of communication is an error.
fn save(job: &Job, lease: Option<&Holder>, one: &Cached, local: &Local) -> Result<Saved> {
    let (was_complete, outcome) = match try_save(job, lease, one, local) {
        Err(error) if error.kind() == ErrorKind::Communication => return Err(error),
        Err(error) => (true, Err(format!("{error:#}"))),
        Ok(Attempt::Worthless(why)) => (false, Err(why)),
        Ok(Attempt::Done) => (true, Ok(())),
    };
    let (id, name) = (one.header.id, &one.header.name);
    if job.is_first() {
        let (level, text) = match &outcome {
            Ok(()) => (Level::Note, format!("dataset {id} ({name}) is in the prefix")),
            Err(why) => (Level::Warning, format!("dataset {id} ({name}) cannot be saved: {why}")),
        };
        job.host.tell(EventKind::Message, level, text);
    }
    let (name, identity) = (name.clone(), one.header.identity);
    Ok(Saved { id, name, identity, is_output: one.header.is_output, was_complete, outcome })
}

fn try_save(job: &Job, lease: Option<&Holder>, one: &Cached, local: &Local) -> Result<Attempt> {
    if let Some(reason) = &one.condemned {
        return Ok(Attempt::Worthless(format!("set aside: {reason}")));
    }
    let judged = recover::judge(job, one, local, Purpose::Restart)?;
    match &judged.usable {
        Usable::Whole | Usable::Rebuildable { .. } => {}
        Usable::Unfinished => return Ok(Attempt::Worthless("it was never finished".into())),
        Usable::Lost { why } => return Err(Error::new(ErrorKind::Lost, why.clone())),
    }
    recover::complete(job, one, &judged, local)?;
    match load_and_flush(job, lease, one) {
        Err(error) if error.kind() != ErrorKind::Communication => {
            // Bad data are as good as lost: redundancy may give them back.
            let scanned = agree(&*job.topology.world, job.cache.scan())?;
            if !heal(job, one, &scanned.0)?.touches_data() {
                return Err(error);
            }
            load_and_flush(job, lease, one)?;
        }
        other => other?,
    }
    Ok(Attempt::Done)
}

fn load_and_flush(job: &Job, lease: Option<&Holder>, one: &Cached) -> Result<()> {
    let parts = agree(&*job.topology.world, parts_of(job, one))?;
    let cargo = agree(&*job.topology.world, chosen(job, parts).and_then(cargo))?;
    flush(job, lease, &one.header, &cargo).map(|_| ())
}

/// The parts of a dataset that this node holds now.
fn parts_of(job: &Job, one: &Cached) -> Result<Local> {
    let mut parts = job.cache.scan()?.0;
    parts.retain(|(_, state)| {
        state.dataset.identity == one.header.identity && state.place.layout == one.layout
    });
    Ok(parts)
}

/// For every set and member, who has it: the launch that made it, and the rank.
type Claims = BTreeMap<(u32, u32), (Epoch, Reverse<usize>)>;

/// Those of the parts here that no other rank has from a later launch, or a lower rank from the same: a node that came back
/// holds what was rebuilt elsewhere.
///
/// # Collective
/// On all ranks.
fn chosen(job: &Job, mut parts: Local) -> Result<Local> {
    let world = &*job.topology.world;
    let rank = world.rank();
    let seat = |state: &PartState| (state.place.set, state.place.member);
    let claim = |state: &PartState| (state.epoch, Reverse(rank));
    let mine: BTreeMap<_, _> = parts.iter().map(|(_, s)| (seat(s), claim(s))).collect();
    let holders = collective::fold(world, pack(&mine), &mut |lower, higher| {
        let read = |bytes: &[u8]| unpack::<Claims>(bytes).unwrap_or_default();
        let mut joined = read(&higher);
        for (seat, claim) in read(&lower) {
            let known = joined.entry(seat).or_insert(claim);
            *known = claim.max(*known);
        }
        pack(&joined)
    })?;
    let holders: Claims = unpack(&holders)?;
    parts.retain(|(_, state)| holders.get(&seat(state)) == Some(&claim(state)));
    Ok(parts)
}

/// Everything of these parts.
fn cargo(parts: Local) -> Result<Cargo> {
    let mut cargo = Cargo {
        sections: Vec::new(),
        block_bytes: 0,
        has_checksums: true,
        in_place: false,
        overwrote: false,
        parts: Vec::new(),
    };
    for (part, state) in parts {
        let reader = part.node()?;
        cargo.block_bytes = reader.header().block_bytes;
        cargo.has_checksums &= reader.header().has_checksums;
        reader.sections(&mut |section| {
            cargo.sections.push((part.data_path(), section));
            Ok(true)
        })?;
        cargo.parts.push((part, state.place));
    }
    Ok(cargo)
}
