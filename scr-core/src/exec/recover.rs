// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what is left in the caches to a verdict per dataset, and the rebuild of what is missing.
//!
//! Records only. Every node tells what it holds to the rank that judges the set (`set % ranks`), so nobody sees more than
//! a few sets; one reduction joins the verdicts. A rebuilt part is an exact replica of the lost one: publishing it can
//! never hurt, so an interrupted rebuild changes nothing.

use super::Job;
use super::cache::{NodeReader, Part};
use super::rebuild::{SetMap, restore};
use super::topology::broadcast;
use super::wire::{pack, unpack};
use crate::comm::{Reduce, agree, collective};
use crate::error::{Error, Result};
use crate::event::{EventKind, Level};
use crate::format::node::NodeHeader;
use crate::format::state::{PartState, Phase};
use crate::format::{DatasetHeader, Scheme};
use crate::id::{DatasetIdentity, Epoch, NodeName};
use crate::plan::join::{Ballot, Outcome};
use crate::plan::judge::{self, Standing};
use crate::sabotage::{self, Fault};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A dataset in one layout, as found in the caches of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cached {
    /// Which dataset.
    pub header: DatasetHeader,
    /// Which layout of it.
    pub layout: u32,
    /// How many redundancy sets the layout has.
    pub sets: u32,
    /// The weakest scheme of its parts.
    pub scheme: Scheme,
    /// Whether any part says `Committed`: proof that all parts were complete once.
    pub any_committed: bool,
    /// Why it was set aside, where it was.
    pub condemned: Option<String>,
}

/// The parts on this node, on its leader; empty elsewhere.
pub type Local = Vec<(Part, PartState)>;

/// What one node says of a part it holds.
#[derive(Debug, Serialize, Deserialize)]
struct Fact {
    node: NodeName,
    epoch: Epoch,
    member: u32,
    members: u32,
    phase: Phase,
    /// The node record's header, or why it cannot be read.
    header: std::result::Result<NodeHeader, String>,
    /// Members of whose node record a copy is here, and the nodes that wrote them.
    copies: Vec<(u32, NodeName)>,
    /// The ranks that run on the node.
    ranks: Vec<u32>,
}

/// Whether a dataset in cache can be used; the same on all ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usable {
    /// As it is.
    Whole,
    /// After a rebuild of what so many lost nodes held.
    Rebuildable {
        /// How many.
        nodes: u64,
    },
    /// Not, but somebody may have been told that it exists.
    Lost {
        /// Why.
        why: String,
    },
    /// Not: it was never finished.
    Unfinished,
}

/// What a judgement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A restart: the sets that need a rebuild, where the ranks run now.
    Restart,
    /// A look at everything, by one rank per node: all sets, and what is lost goes to nodes that hold nothing of its set.
    Care,
}

/// How a dataset in cache stands.
#[derive(Debug)]
pub struct Judged {
    /// The same on all ranks.
    pub usable: Usable,
    /// The sets of which a member is, or shall be, on this node: those that need a rebuild, or all, as the purpose is.
    pub maps: Vec<SetMap>,
}

/// Lists all datasets in the caches, ascending by number, identity and layout.
///
/// # Collective
/// On all ranks; on return the list is the same everywhere. The second value is for this node's leader.
pub fn survey(job: &Job) -> Result<(Vec<Cached>, Local)> {
    let scanned = if job.is_leader() { job.cache.scan() } else { Ok((Vec::new(), Vec::new())) };
    let (local, unreadable) = agree(&*job.topology.world, scanned)?;
    for error in unreadable {
        let text = format!("a part in cache is left aside: {error:#}");
        job.host.tell(EventKind::Message, Level::Warning, text);
    }
    let mine: Vec<Cached> = local.iter().map(|(_, state)| Cached::of(state)).collect();
    let merged = collective::fold(&*job.topology.world, pack(&mine), &mut |a, b| {
        let lists = [a, b].map(|bytes| unpack::<Vec<Cached>>(&bytes).unwrap_or_default());
        pack(&merge(lists.into_iter().flatten()))
    })?;
    let list = merge(unpack::<Vec<Cached>>(&merged)?.into_iter());
    Ok((list, local))
}

impl Cached {
    fn of(state: &PartState) -> Self {
        Self {
            header: state.dataset.clone(),
            layout: state.place.layout,
            sets: state.place.sets,
            scheme: state.place.scheme,
            any_committed: state.phase == Phase::Committed,
            condemned: match &state.phase {
                Phase::Condemned { reason } => Some(reason.clone()),
                _ => None,
            },
        }
    }

    /// Whether nobody can have been told that it exists.
    pub fn is_unfinished(&self) -> bool {
        !self.any_committed && self.condemned.is_none()
    }

    /// What makes parts belong together.
    pub fn key(&self) -> (u64, DatasetIdentity, u32) {
        let identity = if sabotage::active(Fault::IgnoreIdentity) {
            DatasetIdentity::default()
        } else {
            self.header.identity
        };
        (self.header.id.0, identity, self.layout)
    }
}

fn merge(all: impl Iterator<Item = Cached>) -> Vec<Cached> {
    let mut merged: BTreeMap<_, Cached> = BTreeMap::new();
    for one in all {
        let Some(known) = merged.get_mut(&one.key()) else {
            merged.insert(one.key(), one);
            continue;
        };
        known.scheme = known.scheme.min(one.scheme);
        known.any_committed |= one.any_committed;
        known.condemned = known.condemned.take().or(one.condemned);
    }
    merged.into_values().collect()
}

/// Judges a dataset from the records that are left.
///
/// # Collective
/// On all ranks, with equal `cached`.
pub fn judge(job: &Job, cached: &Cached, local: &Local, purpose: Purpose) -> Result<Judged> {
    if cached.is_unfinished() {
        return Ok(Judged { usable: Usable::Unfinished, maps: Vec::new() });
    }
    let world = &*job.topology.world;
    let size = world.size() as u32;
    let mut facts = Vec::new();
    for (part, state) in local {
        if Cached::of(state).key() == cached.key() {
            let judge = state.place.set % size;
            facts.push((judge as usize, pack(&(state.place.set, fact(job, part, state)))));
        }
    }
    let facts = collective::route(world, facts)?;
    let mut sets: BTreeMap<u32, BTreeMap<u32, Fact>> = BTreeMap::new();
    for (_, bytes) in &facts {
        let (set, fact): (u32, Fact) = unpack(bytes)?;
        let known = sets.entry(set).or_default();
        // Of two nodes with the same member one was away when the other rebuilt it, and may have rotted meanwhile.
        let is_old_wanted = sabotage::active(Fault::TrustOldPart);
        let is_wanted = |other: &Fact| (other.epoch < fact.epoch) != is_old_wanted;
        if known.get(&fact.member).is_none_or(is_wanted) {
            known.insert(fact.member, fact);
        }
    }
    let mut ballot = Ballot::default();
    let mut lost: BTreeMap<u32, String> = BTreeMap::new();
    let mut missing: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (&set, facts) in &sets {
        let standing = judge_set(set, facts);
        ballot = ballot.join(&Ballot::of(set, &standing));
        match standing {
            Standing::Whole => {}
            Standing::Rebuildable { missing: members } => {
                missing.insert(set, members);
            }
            Standing::Lost { why } => {
                lost.insert(set, why);
            }
        }
    }
    world.all_reduce(Reduce::Max, &mut ballot.max)?;
    world.all_reduce(Reduce::Sum, &mut ballot.sum)?;
    let usable = match ballot.outcome(cached.sets) {
        Outcome::Whole => Usable::Whole,
        Outcome::Rebuildable => {
            let mut nodes = [missing.values().map(|members| members.len() as u64).sum()];
            world.all_reduce(Reduce::Sum, &mut nodes)?;
            Usable::Rebuildable { nodes: nodes[0] }
        }
        Outcome::Absent { sets } => Usable::Lost {
            why: format!("nothing is left of {sets} of {} redundancy sets", cached.sets),
        },
        Outcome::Lost { set } => {
            let words = lost.remove(&set).unwrap_or_default().into_bytes();
            let why = collective::fold(world, words, &mut |a, b| if a.is_empty() { b } else { a })?;
            Usable::Lost { why: String::from_utf8_lossy(&why).into_owned() }
        }
    };
    if purpose == Purpose::Care {
        for &set in sets.keys() {
            missing.entry(set).or_default();
        }
    }
    let maps = match usable {
        Usable::Rebuildable { .. } => homes(job, &sets, &missing, purpose)?,
        Usable::Whole if purpose == Purpose::Care => homes(job, &sets, &missing, purpose)?,
        _ => Vec::new(),
    };
    Ok(Judged { usable, maps })
}

fn fact(job: &Job, part: &Part, state: &PartState) -> Fact {
    // A record is good only as a whole: a torn one is as good as lost, and can be had from its copy.
    let whole = |reader: NodeReader| reader.check().map(|()| reader.header().clone());
    let copy = |member| Some((member, part.copy(member).and_then(whole).ok()?.node));
    Fact {
        node: state.node.clone(),
        epoch: state.epoch,
        member: state.place.member,
        members: state.place.members,
        phase: state.phase.clone(),
        header: part.node().and_then(whole).map_err(|error| format!("{error:#}")),
        copies: (0..state.place.members).filter_map(copy).collect(),
        ranks: job.topology.ranks.clone(),
    }
}

fn judge_set(set: u32, facts: &BTreeMap<u32, Fact>) -> Standing {
    let header = facts.values().find_map(|fact| fact.header.as_ref().ok());
    let (scheme, members) =
        header.map_or((Scheme::Single, 0), |h| (h.place.scheme, h.members.len() as u32));
    let mut told = Vec::new();
    // A part without a readable node record is as good as missing, and a rebuild takes nothing from it.
    for fact in facts.values().filter(|fact| fact.header.is_ok()) {
        let (member, node, phase) = (fact.member, fact.node.clone(), fact.phase.clone());
        told.push(judge::Fact::Part { member, node, phase });
        for (member, node) in &fact.copies {
            let (member, node) = (*member, node.clone());
            told.push(judge::Fact::RecordCopy { member, node, held_by: fact.member });
        }
    }
    // Without any header the set is as large as its parts say: enough to tell what is lost.
    let members = members.max(facts.values().map(|fact| fact.members).max().unwrap_or(0));
    judge::judge(set, scheme, members, &told)
}

/// Finds a home for every missing member, and tells the nodes concerned who is where.
///
/// The home of a missing member is the node that runs its lowest rank now; in [`Purpose::Care`] nodes run no ranks of the
/// application, and one that holds nothing of the set is better.
fn homes(
    job: &Job,
    sets: &BTreeMap<u32, BTreeMap<u32, Fact>>,
    missing: &BTreeMap<u32, Vec<u32>>,
    purpose: Purpose,
) -> Result<Vec<SetMap>> {
    let world = &*job.topology.world;
    let mut maps: BTreeMap<u32, SetMap> = BTreeMap::new();
    let mut questions = Vec::new();
    for (set, lost) in missing {
        let facts = &sets[set];
        let Some(header) = facts.values().find_map(|fact| fact.header.as_ref().ok()) else {
            continue;
        };
        let mut homes = vec![Vec::new(); header.members.len()];
        for fact in facts.values() {
            if let Some(home) = homes.get_mut(fact.member as usize) {
                home.clone_from(&fact.ranks);
            }
        }
        let mut taken: BTreeSet<usize> =
            facts.values().flat_map(|fact| &fact.ranks).map(|&rank| rank as usize).collect();
        for &member in lost {
            let first = header.members[member as usize].first().map_or(0, |&(rank, _)| rank);
            let mut home = first as usize % world.size();
            if purpose == Purpose::Care && taken.contains(&home) {
                home = (0..world.size()).find(|rank| !taken.contains(rank)).unwrap_or(home);
            }
            taken.insert(home);
            questions.push((home, pack(&(*set, member))));
        }
        // Not any copy will do: of several, some may have rotted.
        let has_copy = |fact: &Fact, member| {
            fact.header.is_ok() && fact.copies.iter().any(|&(of, _)| of == member)
        };
        let holder = |&member: &u32| {
            Some((member, facts.values().find(|fact| has_copy(fact, member))?.member))
        };
        let holders = lost.iter().filter_map(holder).collect();
        let whole = SetMap::whole(header.clone(), homes);
        maps.insert(*set, SetMap { missing: lost.clone(), holders, ..whole });
    }
    let asked = collective::route(world, questions)?;
    let answers = asked
        .iter()
        .map(|(from, question)| {
            let (set, member): (u32, u32) = unpack(question)?;
            Ok((*from, pack(&(set, member, job.topology.ranks.clone()))))
        })
        .collect::<Result<Vec<_>>>()?;
    for (_, answer) in collective::route(world, answers)? {
        let (set, member, ranks): (u32, u32, Vec<u32>) = unpack(&answer)?;
        if let Some(map) = maps.get_mut(&set) {
            map.homes[member as usize] = ranks;
        }
    }
    let mut invitations = Vec::new();
    for (set, map) in &maps {
        let mut leaders: Vec<u32> = map.homes.iter().map(|ranks| ranks[0]).collect();
        leaders.sort_unstable();
        leaders.dedup();
        for leader in leaders {
            invitations.push((leader as usize, pack(&(*set, map))));
        }
    }
    let mut mine: Vec<(u32, SetMap)> = collective::route(world, invitations)?
        .iter()
        .map(|(_, bytes)| unpack(bytes))
        .collect::<Result<_>>()?;
    mine.sort_by_key(|(set, _)| *set);
    let mine: Vec<SetMap> = mine.into_iter().map(|(_, map)| map).collect();
    broadcast(&*job.topology.node, &mine)
}

/// Makes a dataset that was judged `Whole` or `Rebuildable` whole and committed on the nodes present.
///
/// # Collective
/// On all ranks. On an error nothing has changed.
pub fn complete(job: &Job, cached: &Cached, judged: &Judged, local: &Local) -> Result<()> {
    let world = &*job.topology.world;
    let start = job.host.clock.monotonic();
    let lost = match judged.usable {
        Usable::Rebuildable { nodes } => nodes,
        _ => 0,
    };
    let rebuilding = lost > 0;
    let event = |kind, level, text: String| {
        let mut event = job.host.event(kind, level, text);
        event.dataset = Some(cached.header.id);
        event.name = Some(cached.header.name.clone());
        event
    };
    let mut blocks = 0;
    let mut maps = judged.maps.clone();
    if rebuilding {
        let store = store_of(job, cached, local)?;
        for map in &mut maps {
            map.store = store;
        }
        if job.is_first() {
            let (id, name) = (cached.header.id, &cached.header.name);
            let text = format!("dataset {id} ({name}): rebuild what {lost} lost node(s) held");
            job.host.sink.tell(&event(EventKind::RebuildStart, Level::Note, text));
        }
        if sabotage::active(Fault::RebuildInPlace) && job.is_leader() {
            for (map, member) in rebuilt(job, &maps) {
                job.cache.store.create_dir_all(&map.part(job, member, true).dir)?;
            }
            publish_rebuilt(job, &maps)?;
        }
        let fail = |error: &Error| {
            if job.is_first() {
                let text = format!("dataset {} cannot be rebuilt: {error:#}", cached.header.id);
                job.host.sink.tell(&event(EventKind::RebuildFail, Level::Error, text));
            }
        };
        let rebuilt = restore(job, &mut maps.clone(), &[])?;
        match agree(world, rebuilt).inspect_err(fail) {
            Ok(count) => blocks = count,
            Err(error) => {
                discard_attempt(job, &maps);
                return Err(error);
            }
        }
        let published = if job.is_leader() { publish_rebuilt(job, &maps) } else { Ok(()) };
        agree(world, published).inspect_err(fail)?;
    }
    let rolled = roll_forward(job, cached, local);
    agree(world, rolled)?;
    if rebuilding {
        let mut sum = [blocks];
        world.all_reduce(Reduce::Sum, &mut sum)?;
        let bytes = sum[0] * judged.maps.first().map_or(0, |m| u64::from(m.header.block_bytes));
        if job.is_first() {
            let seconds = job.host.clock.monotonic().saturating_sub(start).as_secs_f64();
            let text = format!(
                "dataset {} ({}): rebuilt what {lost} lost node(s) held from {} in {seconds:.3} s",
                cached.header.id, cached.header.name, cached.scheme
            );
            let mut event = event(EventKind::RebuildSuccess, Level::Warning, text);
            event.seconds = Some(seconds);
            event.bytes = Some(bytes);
            job.host.sink.tell(&event);
        }
    }
    Ok(())
}

/// The store that holds a dataset on the nodes that have any of it.
///
/// # Collective
/// On all ranks.
pub fn store_of(job: &Job, cached: &Cached, local: &Local) -> Result<usize> {
    let mut store = [0];
    if job.cache.stores() > 1 {
        let parts = local.iter().filter(|(_, state)| Cached::of(state).key() == cached.key());
        store[0] = parts.map(|(part, _)| job.cache.position_of(part) as u64).max().unwrap_or(0);
        job.topology.world.all_reduce(Reduce::Max, &mut store)?;
    }
    Ok(store[0] as usize)
}

/// The members that were rebuilt on this node, with their maps.
fn rebuilt<'a>(job: &'a Job, maps: &'a [SetMap]) -> impl Iterator<Item = (&'a SetMap, usize)> {
    maps.iter().flat_map(|map| {
        let here = |member: &u32| map.homes[*member as usize] == job.topology.ranks;
        map.missing.iter().filter(move |m| here(m)).map(move |&m| (map, m as usize))
    })
}

fn publish_rebuilt(job: &Job, maps: &[SetMap]) -> Result<()> {
    for (map, member) in rebuilt(job, maps) {
        let mut place = map.header.place;
        place.member = member as u32;
        let (part, header) = (map.part(job, member, true), &map.header.dataset);
        part.publish_state(&job.part_state(header, place, Phase::Committed))?;
        if !sabotage::active(Fault::RebuildInPlace) {
            job.cache.publish_rebuilt(map.store, header, &place)?;
        }
    }
    Ok(())
}

fn discard_attempt(job: &Job, maps: &[SetMap]) {
    if !job.is_leader() {
        return;
    }
    for (map, member) in rebuilt(job, maps) {
        // The next launch clears what cannot be removed now.
        let _ = job.cache.discard(&map.part(job, member, true).dir);
    }
}

/// Publishes `Committed` where the commit did not come to. A part that has lost its node record meanwhile is worth nothing:
/// it was rebuilt.
fn roll_forward(job: &Job, cached: &Cached, local: &Local) -> Result<()> {
    for (part, state) in local {
        if Cached::of(state).key() != cached.key() || state.phase != Phase::Writing {
            continue;
        }
        if part.node().is_ok_and(|node| node.check().is_ok()) {
            part.publish_phase(Phase::Committed)?;
        } else {
            job.cache.evict(part)?;
        }
    }
    Ok(())
}
