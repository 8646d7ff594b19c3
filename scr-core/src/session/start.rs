// SPDX-License-Identifier: MIT OR Apache-2.0
//! Init: takes the prefix, looks at what caches and prefix hold, makes whole what can be, and orders the candidates for a
//! restart. Records only; no data are read but those that a rebuild needs.

mod found;
mod storage;

use super::bypass::Bypassed;
use super::entry::Entry;
use super::levels::{Levels, Seat};
use super::{Costs, Session, State};
use crate::comm::{Comm, Reduce, agree};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::Job;
use crate::exec::cache::Cache;
use crate::exec::distribute;
use crate::exec::flush::Manner;
use crate::exec::heal::heal;
use crate::exec::heartbeat::{Calls, Heartbeat};
use crate::exec::lease::Holder;
use crate::exec::prefix::Prefix;
use crate::exec::protect::Protected;
use crate::exec::protect::sizes_of;
use crate::exec::recover::{self, Cached, Local, Purpose, Usable};
use crate::exec::topology::{Topology, broadcast};
use crate::exec::transfer::Transfers;
use crate::format::Place;
use crate::format::decision::{CandidateReport, Decision, Location, Verdict};
use crate::format::lease::LeaseState;
use crate::format::summary::{PrefixState, Summary};
use crate::host::Host;
use crate::id::{DatasetId, Epoch};
use crate::plan::evict::Standing;
use crate::plan::inherit;
use crate::plan::level;
use crate::plan::order::{Candidate, restart_order};
use crate::sabotage::{self, Fault};
use found::{Found, look_at_prefix};
use std::sync::Arc;
use storage::prepare_cache;

impl Session {
    /// Begins a launch.
    ///
    /// # Collective
    /// On all ranks of `world`. `config` is equal everywhere but for the directories of the node.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when another job uses the prefix; [`ErrorKind::Lost`] when `SCR_RESTART_REQUIRED` is set and
    /// there are checkpoints of which none can be used; what kept a rank from its directories. Nothing is lost then.
    pub fn init(world: Box<dyn Comm>, host: Host, config: Config) -> Result<Self> {
        let topology = Topology::new(world, host.job.node.clone())?;
        let task = config.task.as_deref();
        let prefix = Prefix::new(host.shared.clone(), config.prefix.clone(), task);
        let cache = Cache::of(&host, &config, &topology.name);
        let job = Job { epoch: Epoch(0), topology, host, config, cache, prefix };

        // The lease comes first: who is refused has touched nothing of the one who holds it.
        let lease = if job.is_first() { Holder::take(&job).map(Some) } else { Ok(None) };
        let lease = agree(&*job.topology.world, lease)?;
        let mut job = prepare_cache(job).inspect_err(|error| release(lease.as_ref(), error))?;
        let epoch = lease.as_ref().map_or(Epoch(0), Holder::epoch);
        job.epoch = broadcast(&*job.topology.world, &epoch)?;
        let calls = Arc::new(Calls::default());
        let heartbeat = Heartbeat::start(&job, lease.clone(), calls.clone());
        let levels = Levels::form(&job)?;
        let limit = job.config.flush_async_bytes_per_second;
        let transfers = Transfers::new(&job.host, limit, job.topology.ranks.len());
        let mut session = Self {
            job,
            levels,
            lease,
            heartbeat,
            calls,
            state: State::Idle,
            abandoned: false,
            entries: Vec::new(),
            flushing: Vec::new(),
            transfers,
            candidates: Vec::new(),
            tried: 0,
            taken: None,
            decision: Decision::default(),
            last_id: DatasetId(0),
            reached: None,
            checkpoints: 0,
            costs: Costs::default(),
            bypassed: Bypassed::default(),
            unusable: Vec::new(),
            has_written: false,
            stop: None,
            told_halt: None,
            broken: false,
        };
        session.tell_launch();
        if let Err(error) = session.look() {
            session.heartbeat = None;
            release(session.lease.as_ref(), &error);
            return Err(error);
        }
        session.costs.last_end = session.job.host.clock.monotonic();
        session.tell_computing();
        session.calls.leave();
        Ok(session)
    }

    /// Looks at what caches and prefix hold, and makes whole what can be.
    fn look(&mut self) -> Result<()> {
        if self.job.config.cache_purge || self.job.config.prefix_purge {
            self.purge()?;
        }
        let found =
            if self.job.is_first() { look_at_prefix(&self.job) } else { Ok(Found::default()) };
        let found = agree(&*self.job.topology.world, found)?;
        let found: Found = broadcast(&*self.job.topology.world, &found)?;
        let (cached, local) = recover::survey(&self.job)?;
        self.last_id = self.highest_id(found.last_id)?;
        if sabotage::active(Fault::ReuseId) {
            self.last_id = DatasetId(0);
        }
        let world = &self.job.topology.world;
        self.decision = Decision {
            decided_unix_micros: self.job.host.unix_micros(),
            ranks: world.size() as u32,
            nodes: self.job.topology.count,
            candidates: Vec::new(),
        };
        let mut candidates = Vec::new();
        // The newest first: should this launch die on the way, it has done the most useful part.
        for one in cached.iter().rev() {
            if let Some(layout) = self.keep(one, &local, &found)? {
                candidates.push(Candidate {
                    header: one.header.clone(),
                    location: Location::Cache,
                    layout,
                    is_committed: true,
                });
            }
        }
        self.entries.sort_by_key(|entry| (entry.header.id, entry.place.layout));
        candidates.extend(found.summaries.iter().filter_map(|summary| self.in_prefix(summary)));
        candidates.extend(self.left_by_scr3(&found));
        if sabotage::active(Fault::RestartSilentlyFromZero) {
            candidates.clear();
        }
        let choice = found.choice_beside(&candidates, &self.job.host.job.job_id);
        self.candidates = restart_order(candidates, choice);
        self.checkpoints = self.candidates.iter().map(|c| c.header.id.0).max().unwrap_or(0);
        self.announce()?;
        self.flush_leftovers()?;
        if self.job.config.global_restart {
            self.leave_cache();
        }
        Ok(())
    }

    /// Flushes what an earlier launch left in cache and must be in the prefix; failures are told and kept in mind.
    fn flush_leftovers(&mut self) -> Result<()> {
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let is_due = entry.header.is_output || self.job.config.flush_on_restart;
            if is_due && entry.is_only_here() {
                let _ = self.try_flush(index, Manner::Sync)?;
            }
        }
        Ok(())
    }

    /// The highest number seen in any cache or the prefix: in names, for a record that cannot be read has one too.
    fn highest_id(&self, in_prefix: DatasetId) -> Result<DatasetId> {
        let world = &*self.job.topology.world;
        let here = if self.job.is_leader() { self.job.cache.last_id() } else { Ok(in_prefix) };
        let mut highest = [agree(world, here)?.0.max(in_prefix.0)];
        world.all_reduce(Reduce::Max, &mut highest)?;
        Ok(DatasetId(highest[0]))
    }

    /// Decides about one dataset in cache: whole, rebuilt, set aside or removed. Returns the layout of a candidate.
    fn keep(&mut self, one: &Cached, local: &Local, found: &Found) -> Result<Option<u32>> {
        let identity = one.header.identity;
        let mut usable = self.entries.iter().filter(|e| e.is_usable());
        if let Some(later) = usable.find(|e| e.header.identity == identity) {
            if later.place.scheme.tolerance() < one.scheme.tolerance() {
                // A later layout is whole, and would not survive what this one does.
                return self.remember(one, local, found, Standing::Unusable).map(|()| None);
            }
            self.report(one, Verdict::Discarded, "a later layout of it is whole".into());
            self.discard(one, local);
            return Ok(None);
        }
        if one.is_unfinished() {
            // Nobody was told that it exists, whoever wrote it.
            self.report(one, Verdict::Discarded, "never finished".into());
            self.discard(one, local);
            return Ok(None);
        }
        let ranks = self.job.topology.world.size() as u32;
        if one.header.ranks != ranks && !sabotage::active(Fault::AcceptRankCount) {
            let text = format!("written by {} ranks, this run has {ranks}", one.header.ranks);
            self.report(one, Verdict::Rejected, text);
            return Ok(None);
        }
        if let Some(reason) = &one.condemned {
            self.report(one, Verdict::Rejected, format!("set aside: {reason}"));
            self.remember(one, local, found, Standing::Condemned)?;
            return Ok(None);
        }
        if found.dropped.contains(&identity) {
            // Whoever dropped it did not mean it to come back, neither by a flush nor by a restart. `--add` takes that back.
            self.note(one, Verdict::Rejected, "it was taken out of the index".into());
            self.remember(one, local, found, Standing::Condemned)?;
            return Ok(None);
        }
        let judged = recover::judge(&self.job, one, local, Purpose::Restart)?;
        match &judged.usable {
            Usable::Unfinished => {
                self.report(one, Verdict::Discarded, "never finished".into());
                self.discard(one, local);
                return Ok(None);
            }
            Usable::Lost { why } => {
                self.report(one, Verdict::Rejected, why.clone());
                self.remember(one, local, found, Standing::Unusable)?;
                return Ok(None);
            }
            Usable::Whole | Usable::Rebuildable { .. } => {}
        }
        match recover::complete(&self.job, one, &judged, local) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Communication => return Err(error),
            Err(error) => {
                self.report(one, Verdict::Rejected, format!("cannot be rebuilt: {error:#}"));
                self.remember(one, local, found, Standing::Unusable)?;
                return Ok(None);
            }
        }
        self.settle(one, found)
    }

    /// Brings a whole dataset to where its ranks run now; returns its layout there.
    fn settle(&mut self, one: &Cached, found: &Found) -> Result<Option<u32>> {
        let local = self.scan()?;
        let places = distribute::places_here(&self.job, one, &local)?;
        for set in 0..self.levels.count() {
            if distribute::is_in_place(&self.job, self.levels.set(set), one, &places)? {
                self.add_entry(one, places[0], set, found, Standing::Committed)?;
                return Ok(Some(one.layout));
            }
        }
        if !self.job.config.distribute {
            let text = "its files are not where their ranks run, and SCR_DISTRIBUTE=0".to_string();
            self.report(one, Verdict::Rejected, text);
            self.remember(one, &local, found, Standing::Unusable)?;
            return Ok(None);
        }
        let layout = self.fresh_layout(0, one.layout);
        let mut seat = self.levels.seat(&self.job, layout, None, false);
        // What was protected stays so, and where it was, whatever the descriptor of today says.
        seat.store = recover::store_of(&self.job, one, &local)?;
        let place = &mut seat.place;
        place.scheme = level::fit(place.scheme.max(one.scheme), place.members);
        match self.lay_out(one, &local, &seat) {
            Ok(protected) => {
                let text = format!("laid out anew over {} node(s)", self.job.topology.count);
                self.tell(EventKind::Decision, Level::Note, &one.header, text);
                if let Some(why) = &protected.degraded {
                    let text = format!(
                        "laid out anew without redundancy, the old layout is kept for its own: {why}"
                    );
                    self.tell(EventKind::Encode, Level::Warning, &one.header, text);
                    self.remember(one, &self.scan()?, found, Standing::Unusable)?;
                } else {
                    self.discard(one, &self.scan()?);
                }
                self.add_entry(one, protected.place, seat.set, found, Standing::Committed)?;
                Ok(Some(protected.place.layout))
            }
            Err(error) if error.kind() == ErrorKind::Communication => Err(error),
            Err(error) => {
                let text = format!("cannot be brought to where its ranks run: {error:#}");
                self.report(one, Verdict::Rejected, text);
                self.remember(one, &local, found, Standing::Unusable)?;
                Ok(None)
            }
        }
    }

    /// Lays a dataset out anew; where its data turn out to be bad, once more with what redundancy gives back.
    fn lay_out(&self, one: &Cached, local: &Local, seat: &Seat) -> Result<Protected> {
        let attempt = |local: &Local| {
            let places = distribute::places_here(&self.job, one, local)?;
            let (set, to) = (self.levels.set(seat.set), (seat.place, seat.store));
            distribute::distribute(&self.job, one, &places, set, to)
        };
        match attempt(local) {
            Err(error) if error.kind() != ErrorKind::Communication => {
                if !heal(&self.job, one, local)?.touches_data() {
                    return Err(error);
                }
                attempt(&self.scan()?)
            }
            other => other,
        }
    }

    /// The parts on this node, on its leader.
    fn scan(&self) -> Result<Local> {
        let scanned = if self.job.is_leader() {
            self.job.cache.scan().map(|(parts, _)| parts)
        } else {
            Ok(Local::new())
        };
        agree(&*self.job.topology.world, scanned)
    }

    /// A number for a layout that no other launch has given, nor another attempt of this one: a node that comes back
    /// must not pass for a part of it.
    pub(super) fn fresh_layout(&self, attempt: u64, known: u32) -> u32 {
        let layout = self.job.epoch.0.saturating_mul(2).saturating_add(attempt);
        u32::try_from(layout).unwrap_or(u32::MAX).max(known.saturating_add(1))
    }

    /// Keeps a dataset in mind that cannot be used; all nodes do, also those that hold nothing of it.
    fn remember(
        &mut self,
        one: &Cached,
        local: &Local,
        found: &Found,
        standing: Standing,
    ) -> Result<()> {
        let here = distribute::places_here(&self.job, one, local)?;
        let (layout, sets, scheme) = (one.layout, one.sets, one.scheme);
        let nowhere = Place { layout, set: 0, sets, member: 0, members: 0, scheme };
        let place = here.first().map_or(nowhere, |place| Place { scheme, ..*place });
        self.add_entry(one, place, 0, found, standing)
    }

    fn add_entry(
        &mut self,
        one: &Cached,
        place: Place,
        set: usize,
        found: &Found,
        standing: Standing,
    ) -> Result<()> {
        // Not every node holds something of what is not usable, and all plan alike.
        let mut store = [0];
        if self.job.cache.stores() > 1 {
            store[0] = self.job.cache.find(&one.header, &place) as u64;
            self.job.topology.world.all_reduce(Reduce::Max, &mut store)?;
        }
        let mut in_prefix =
            found.summaries.iter().filter(|s| s.dataset.identity == one.header.identity);
        let state = in_prefix.next().map(|summary| &summary.state);
        let flushed = state == Some(&PrefixState::Flushed);
        let replaced = matches!(state, Some(PrefixState::Superseded { .. }));
        let header = one.header.clone();
        let node = self.job.is_leader().then(|| self.job.cache.part(&header, &place).node());
        let sizes = node.and_then(Result::ok).map(|node| sizes_of(node.header()));
        let (data_bytes, node_bytes) = sizes.unwrap_or_default();
        self.entries.push(Entry {
            header,
            place,
            set,
            store: store[0] as usize,
            standing,
            flushed,
            replaced,
            flush_owed: one.header.is_output && !flushed && !replaced,
            data_bytes,
            node_bytes,
        });
        Ok(())
    }

    /// Removes the parts of one layout of a dataset from the cache of this node; what cannot be removed is told.
    fn discard(&self, one: &Cached, local: &Local) {
        for (part, state) in local {
            if state.dataset.identity == one.header.identity
                && state.place.layout == one.layout
                && let Err(error) = self.job.cache.evict(part)
            {
                let text = format!("{} cannot be removed: {error:#}", part.dir.display());
                self.job.host.tell(EventKind::Evict, Level::Warning, text);
            }
        }
    }

    /// A dataset in the prefix as a candidate, or a report of why it is none.
    fn in_prefix(&mut self, summary: &Summary) -> Option<Candidate> {
        let header = &summary.dataset;
        let ranks = self.job.topology.world.size() as u32;
        let why_not = match &summary.state {
            PrefixState::Flushing { .. } => Some("its flush did not end".to_string()),
            PrefixState::Failed { reason } => Some(format!("marked as failed: {reason}")),
            PrefixState::Superseded { by } => {
                Some(format!("a newer dataset ({}) took its file names", by.short()))
            }
            PrefixState::Flushed if !header.is_checkpoint => return None,
            PrefixState::Flushed
                if header.ranks != ranks && !sabotage::active(Fault::AcceptRankCount) =>
            {
                Some(format!("written by {} ranks, this run has {ranks}", header.ranks))
            }
            PrefixState::Flushed => None,
        };
        if let Some(reason) = why_not {
            if header.is_checkpoint && !matches!(summary.state, PrefixState::Flushing { .. }) {
                let text = format!("{} ({}) in the prefix: {reason}", header.id, header.name);
                self.unusable.push(text);
            }
            self.decision.candidates.push(CandidateReport {
                id: header.id,
                identity: header.identity,
                name: header.name.clone(),
                location: Location::Prefix,
                layout: 0,
                verdict: Verdict::Rejected,
                reason,
            });
            return None;
        }
        Some(Candidate {
            header: header.clone(),
            location: Location::Prefix,
            layout: 0,
            is_committed: true,
        })
    }

    /// What SCR 3 left as candidates, and a report of what is none of them.
    fn left_by_scr3(&mut self, found: &Found) -> Vec<Candidate> {
        self.unusable.extend(found.scr3.unreadable.clone());
        let (mut candidates, others) = inherit::candidates(&found.scr3.index, found.choice());
        for (dataset, reason) in others {
            let (id, name, location) = (dataset.id, dataset.name.clone(), Location::Scr3);
            if dataset.is_complete {
                self.unusable.push(format!("{id} ({name}) {location}: {reason}"));
            }
            let (identity, verdict) = (dataset.identity(), Verdict::Rejected);
            let report =
                CandidateReport { id, identity, name, location, layout: 0, verdict, reason };
            self.decision.candidates.push(report);
        }
        // Our own record of one says that it was set aside, and was reported.
        let is_known = |candidate: &Candidate| {
            found.summaries.iter().any(|s| s.dataset.identity == candidate.header.identity)
        };
        candidates.retain(|candidate| !is_known(candidate));
        candidates
    }

    /// Says what becomes of a dataset in cache. One that is rejected although somebody may count on it is kept in mind.
    fn report(&mut self, one: &Cached, verdict: Verdict, reason: String) {
        let is_missed = verdict == Verdict::Rejected && one.header.is_checkpoint;
        if is_missed {
            let text = format!("{} ({}) in cache: {reason}", one.header.id, one.header.name);
            self.unusable.push(text);
        }
        self.note(one, verdict, reason);
    }

    fn note(&mut self, one: &Cached, verdict: Verdict, reason: String) {
        let level = if verdict == Verdict::Rejected { Level::Warning } else { Level::Note };
        let text = format!("dataset {} ({}) in cache: {reason}", one.header.id, one.header.name);
        self.tell(EventKind::Decision, level, &one.header, text);
        self.decision.candidates.push(CandidateReport {
            id: one.header.id,
            identity: one.header.identity,
            name: one.header.name.clone(),
            location: Location::Cache,
            layout: one.layout,
            verdict,
            reason,
        });
    }

    /// Says what there is, and refuses to begin from zero where that was forbidden.
    fn announce(&mut self) -> Result<()> {
        self.write_decision();
        self.levels.tell_step_down(&self.job)?;
        let none = self.candidates.is_empty() && !self.unusable.is_empty();
        if none && self.job.config.restart_required {
            return Err(Error::new(ErrorKind::Lost, self.none_usable()));
        }
        Ok(())
    }

    /// In words, why none of the checkpoints that are there can be used.
    pub(super) fn none_usable(&self) -> String {
        format!("no checkpoint can be used: {}; nothing was removed", self.unusable.join("; "))
    }

    /// Records the decision for `scr explain`; failing to is no reason to fail.
    pub(super) fn write_decision(&self) {
        if self.job.is_first()
            && let Err(error) = self.job.prefix.publish_decision(&self.decision)
        {
            let text = format!("the decision cannot be recorded: {error:#}");
            self.job.host.tell(EventKind::Message, Level::Warning, text);
        }
    }
}

/// Gives the prefix back when Init fails: not given back, the lease would be watched in vain by the next launch.
fn release(lease: Option<&Holder>, error: &Error) {
    if error.kind() != ErrorKind::Communication
        && let Some(lease) = lease
    {
        let _ = lease.give_back(LeaseState::Released);
    }
}

#[cfg(test)]
mod tests;
