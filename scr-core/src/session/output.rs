// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the start of a dataset to its commit.

use super::entry::Entry;
use super::levels::Seat;
use super::{Flags, Open, Outcome, Session, State};
use crate::comm::{Reduce, agree, agree_on_largest};
use crate::config::Bypass;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::cache::{SPARE_PARITY, count_of};
use crate::exec::flush::{Cargo, flush};
use crate::exec::lease::Holder;
use crate::exec::protect::{Protected, Request, look_up, protect};
use crate::exec::topology::broadcast;
use crate::exec::verify::verify;
use crate::format::state::Phase;
use crate::format::{DatasetHeader, Place, Scheme};
use crate::id::{DatasetId, DatasetIdentity, DatasetName};
use crate::plan::{self, evict, level, room};
use crate::sabotage::{self, Fault};
use crate::store::{Space, exists};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Longest name that the C interface can hand back.
const NAME_MAX: usize = 1023;
/// Bytes that a cache keeps free for the application and our records.
const RESERVE_BYTES: u64 = 4 << 20;

/// What rank 0 proposes for a new dataset.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Proposal {
    header: DatasetHeader,
    /// Whether the name was made up.
    unnamed: bool,
    flags: Flags,
}

impl Session {
    /// Starts a dataset; `None` or an empty name makes one up.
    ///
    /// # Collective
    /// On all ranks, with equal arguments.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when arguments differ; [`ErrorKind::NoSpace`], with the sizes, when a cache has too little
    /// room. Nothing has changed then, and the application can go on.
    pub fn start_output(&mut self, name: Option<&str>, flags: Flags) -> Result<()> {
        self.enter("SCR_Start_output")?;
        let started = self.try_start(name.filter(|name| !name.is_empty()), flags);
        self.leave(started)
    }

    fn try_start(&mut self, name: Option<&str>, flags: Flags) -> Result<()> {
        let started = self.job.host.clock.monotonic();
        let proposal = broadcast(&*self.job.topology.world, &self.propose(name, flags))?;
        let equal = check_equal(&proposal, name, flags);
        let header = proposal.header;
        self.last_id = self.last_id.max(header.id);
        let number = flags.checkpoint.then_some(self.checkpoints + 1);
        let wanted = level::choose(&self.job.config.checkpoints, number, flags.output)
            .map_or(Bypass::Yes, |descriptor| descriptor.bypass);
        let Seat { mut place, set, store } = self.levels.seat(&self.job, 0, number, flags.output);
        let mut bypass = self.bypasses(wanted);
        let mut expected =
            if bypass { Ok(Vec::new()) } else { self.look_for_room(&place, store, flags) };
        if wanted == Bypass::Auto && !bypass && self.is_too_tight(expected.is_err())? {
            (bypass, expected) = (true, Ok(Vec::new()));
        }
        if bypass {
            place.scheme = Scheme::Single;
        }
        let needed = equal.and(expected);
        let mut count = [needed.as_ref().map_or(0, |ids| ids.len() as u64)];
        agree_on_largest(&*self.job.topology.world, needed, &mut count)?;
        self.make_room(store, count[0] as usize)?;
        if sabotage::active(Fault::EvictBeforeCommit) {
            self.evict_all();
        }
        let part = self.job.cache.part_in(store, &header, &place);
        let made = if self.job.is_leader() {
            part.store.create_dir_all(&part.data_path()).and_then(|()| {
                part.publish_state(&self.job.part_state(&header, place, Phase::Writing))
            })
        } else {
            Ok(())
        };
        if let Err(error) = agree(&*self.job.topology.world, made) {
            if self.job.is_leader() && error.kind() != ErrorKind::Communication {
                // Where it cannot be removed it is as good as never begun.
                let _ = self.job.cache.discard(&part.dir);
            }
            return Err(error);
        }
        let kind =
            if flags.checkpoint { EventKind::CheckpointStart } else { EventKind::OutputStart };
        self.tell(
            kind,
            Level::Detail,
            &header,
            format!("start dataset {} ({})", header.id, header.name),
        );
        let open = Open {
            header,
            place,
            set,
            store,
            bypass,
            wanted,
            files: BTreeSet::new(),
            directories: HashSet::new(),
            overwrote: false,
            started,
        };
        self.state = State::Output(Box::new(open));
        Ok(())
    }

    fn propose(&self, name: Option<&str>, flags: Flags) -> Proposal {
        let id = DatasetId(self.last_id.0 + 1);
        let (host, unnamed) = (&self.job.host, name.is_none());
        let name = name.map_or_else(|| format!("scr.dataset.{id}"), str::to_string);
        let header = DatasetHeader {
            epoch: self.lease.as_ref().map_or_else(Default::default, Holder::epoch),
            id,
            identity: DatasetIdentity((host.random)()),
            parent: self.reached,
            name: DatasetName::new(name),
            is_checkpoint: flags.checkpoint,
            is_output: flags.output,
            created_unix_micros: host.unix_micros(),
            job_id: host.job.job_id.clone(),
            user: host.job.user.clone(),
            ranks: self.job.topology.world.size() as u32,
        };
        Proposal { header, unnamed, flags }
    }

    /// Which datasets must go on this node before the next fits, assuming it is as large as the last of its kind.
    fn look_for_room(&self, place: &Place, store: usize, flags: Flags) -> Result<Vec<DatasetId>> {
        if !self.job.is_leader() {
            return Ok(Vec::new());
        }
        let known = || self.entries.iter().rev().filter(|entry| entry.data_bytes > 0);
        let alike = known().find(|entry| entry.header.is_checkpoint == flags.checkpoint);
        let cached = alike.or_else(|| known().next()).map(|entry| entry.data_bytes);
        let data_bytes = cached.or(Some(self.bypassed.node_bytes).filter(|&bytes| bytes > 0));
        let demand = room::Demand {
            data_bytes,
            scheme: place.scheme,
            members: place.members,
            reserve_bytes: RESERVE_BYTES,
        };
        let cache = &self.job.cache;
        let space = self.space(place.scheme, store)?;
        let steps = evict::when_forced(&self.standings(), store, true);
        let evictable: Vec<_> =
            steps.iter().map(|step| (step.id, self.entries[step.position].node_bytes)).collect();
        let base = cache.root(store).display().to_string();
        let supply = room::Supply {
            store: &base,
            free_bytes: space.free_bytes,
            total_bytes: space.total_bytes,
            being_deleted_bytes: 0,
            evictable: &evictable,
        };
        let judged = match room::judge(&demand, &supply) {
            // What is being deleted is not free yet.
            room::Room::EvictFirst(_) | room::Room::TooLittle(_) => {
                cache.store.wait_for_discards();
                let free_bytes = self.space(place.scheme, store)?.free_bytes;
                room::judge(&demand, &room::Supply { free_bytes, ..supply })
            }
            fits @ room::Room::Fits => fits,
        };
        match judged {
            room::Room::Fits => Ok(Vec::new()),
            room::Room::EvictFirst(ids) => Ok(ids),
            room::Room::TooLittle(text) => Err(Error::new(ErrorKind::NoSpace, text)),
        }
    }

    /// Room in the cache of this node; parity is written over that of an evicted dataset, which is in the way otherwise.
    fn space(&self, scheme: Scheme, position: usize) -> Result<Space> {
        let (store, root) = (&self.job.cache.store, self.job.cache.root(position));
        let spare = root.join(SPARE_PARITY);
        if scheme.tolerance() == 0 {
            store.remove(&spare)?;
        }
        let mut space = store.space(root)?;
        if self.job.cache.is_shared(position) {
            // All nodes look at once, and all are going to write.
            let nodes = u64::from(self.job.topology.count.max(1));
            space.free_bytes /= nodes;
            space.total_bytes /= nodes;
        }
        if let Ok(spare) = store.metadata(&spare) {
            space.free_bytes = space.free_bytes.saturating_add(spare.size_bytes);
        }
        Ok(space)
    }

    /// Evicts as many datasets as the node with the least room needs gone: what is safe without it at once, the rest after
    /// a flush.
    fn make_room(&mut self, store: usize, count: usize) -> Result<()> {
        let mut steps = evict::when_forced(&self.standings(), store, true);
        steps.truncate(count);
        for (key, step) in self.keyed(steps) {
            let Some(index) = self.entries.iter().position(|e| e.key() == key) else { continue };
            if step.price == evict::Price::FlushFirst {
                self.flush_entry(index).context(|| {
                    format!("no room for another dataset, and dataset {} is nowhere else", step.id)
                })?;
            }
            let level = if step.price == evict::Price::Free { Level::Note } else { Level::Warning };
            self.evict(key, level, &format!("no room; it {}", step.reason));
        }
        if count > 0 && self.job.is_leader() {
            // The application writes as soon as we return: what goes must be gone by then.
            self.job.cache.store.wait_for_discards();
        }
        Ok(())
    }

    /// Steps with what tells their entries apart: positions move when entries go.
    fn keyed(&self, steps: Vec<evict::Step>) -> Vec<((DatasetIdentity, u32), evict::Step)> {
        steps.into_iter().map(|step| (self.entries[step.position].key(), step)).collect()
    }

    pub(super) fn route_output(&mut self, name: &Path) -> Result<PathBuf> {
        let State::Output(open) = &mut self.state else { return Ok(name.to_path_buf()) };
        let cwd = self.job.host.directory.clone();
        let rel = plan::route::route(&self.job.config.prefix, &cwd, name)?;
        let base = if open.bypass {
            self.job.config.prefix.clone()
        } else {
            self.job.cache.part(&open.header, &open.place).data_path()
        };
        let path = rel.under(&base);
        if path.as_os_str().len() > NAME_MAX {
            let text = format!(
                "the path for {} has {} bytes, {NAME_MAX} are allowed",
                name.display(),
                path.as_os_str().len()
            );
            return Err(Error::new(ErrorKind::Misuse, text));
        }
        let store = if open.bypass { &self.job.prefix.store } else { &self.job.cache.store };
        // A directory is made once, not once for each of the files in it.
        if let Some(parent) = path.parent().filter(|parent| !open.directories.contains(*parent)) {
            store.create_dir_all(parent)?;
            open.directories.insert(parent.to_path_buf());
        }
        if open.bypass && !open.overwrote {
            open.overwrote = exists(&**store, &path)?;
        }
        open.files.insert(rel);
        Ok(path)
    }

    /// Ends a dataset; `valid` is this rank's word. On `Ok` it is committed on all ranks.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where this rank said so, [`ErrorKind::PeerFailed`] where another did: the dataset is dropped,
    /// older ones are as they were. For an output that did not reach the prefix, the reason; it is still in cache.
    pub fn complete_output(&mut self, valid: bool) -> Result<Outcome> {
        self.check_unbroken("SCR_Complete_output")?;
        let open = match std::mem::replace(&mut self.state, State::Idle) {
            State::Output(open) => open,
            other => {
                self.state = other;
                let text = "SCR_Complete_output without SCR_Start_output";
                return Err(Error::new(ErrorKind::Misuse, text));
            }
        };
        let valid = !std::mem::take(&mut self.abandoned) && valid;
        let outcome = self.try_complete(&open, valid);
        if let Err(error) = &outcome {
            let text = format!(
                "dataset {} ({}) is not complete: {error:#}",
                open.header.id, open.header.name
            );
            // The caller says it aloud; here it is for the record.
            self.tell(EventKind::CheckpointEnd, Level::Detail, &open.header, text);
        }
        let now = self.job.host.clock.monotonic();
        self.costs.last_end = now;
        if open.header.is_checkpoint && outcome.is_ok() {
            self.use_up_halt();
            self.costs.checkpoints += 1;
            self.costs.total += now.saturating_sub(open.started);
        }
        self.leave(outcome)
    }

    /// Counts a checkpoint against the request to halt after so many; without the count the job only halts later.
    fn use_up_halt(&self) {
        if !self.job.is_first() {
            return;
        }
        let prefix = &self.job.prefix;
        let counted = prefix.halt().and_then(|(request, used)| {
            let used = request.and_then(|request| plan::halt::use_up(&request, used.as_ref()));
            used.map_or(Ok(()), |used| prefix.publish_halt_used(&used))
        });
        if let Err(error) = counted {
            let text = format!("the checkpoint does not count for the halt request: {error:#}");
            self.job.host.tell(EventKind::Halt, Level::Warning, text);
        }
    }

    fn try_complete(&mut self, open: &Open, valid: bool) -> Result<Outcome> {
        let part = self.job.cache.part(&open.header, &open.place);
        let (store, dir) = if open.bypass {
            (self.job.prefix.store.clone(), self.job.config.prefix.clone())
        } else {
            (part.store.clone(), part.data_path())
        };
        let own = self.own_files(open)?;
        let files = own.and_then(|names| {
            if !valid {
                let text = "the application says that it is not valid";
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            look_up(&*store, &dir, &names).context(|| "a routed file cannot be read")
        });
        let request = Request {
            dataset: &open.header,
            set: self.levels.set(open.set),
            place: open.place,
            store,
            dir: &dir,
            files,
            expected: None,
            commit: !open.bypass,
        };
        let protected = protect(&self.job, request);
        if matches!(&protected, Err(error) if error.kind() != ErrorKind::Communication)
            && self.job.is_leader()
        {
            // What cannot be removed is not committed either, and cleared by the next launch.
            let _ = self.job.cache.evict(&part);
        }
        let protected = protected?;
        if open.bypass {
            return self.register(open, &protected);
        }
        self.committed(open, &protected)
    }

    /// Registers a dataset that the application wrote straight into the prefix.
    fn register(&mut self, open: &Open, protected: &Protected) -> Result<Outcome> {
        let part = self.job.cache.part(&open.header, &open.place);
        let parts =
            if self.job.is_leader() { vec![(part.clone(), open.place)] } else { Vec::new() };
        let cargo = Cargo {
            sections: vec![(self.job.config.prefix.clone(), protected.section.clone())],
            block_bytes: protected.block_bytes,
            has_checksums: self.job.config.checksums,
            in_place: true,
            overwrote: open.overwrote,
            parts,
        };
        let flushed = flush(&self.job, self.lease.as_ref(), &open.header, &cargo);
        if self.job.is_leader() {
            let _ = self.job.cache.evict(&part);
        }
        self.lost_names(&flushed?);
        self.advance(open);
        self.count_bypassed(open, protected.bytes, protected.data_bytes);
        self.trim_prefix(&open.header)?;
        Ok(Outcome::Committed)
    }

    fn advance(&mut self, open: &Open) {
        if open.header.is_checkpoint {
            self.reached = Some(open.header.identity);
            self.checkpoints += 1;
            self.has_written = true;
            // A newer checkpoint of this history is the restart point from here on.
            self.taken = None;
        }
    }

    fn committed(&mut self, open: &Open, protected: &Protected) -> Result<Outcome> {
        let header = &open.header;
        self.advance(open);
        self.entries.push(Entry {
            header: header.clone(),
            place: protected.place,
            set: open.set,
            store: open.store,
            standing: evict::Standing::Committed,
            flushed: false,
            replaced: false,
            flush_owed: false,
            data_bytes: protected.data_bytes,
            node_bytes: protected.node_bytes,
        });
        let seconds = (self.job.host.clock.monotonic().saturating_sub(open.started)).as_secs_f64();
        let text = format!(
            "dataset {} ({}) committed as {} in {seconds:.3} s",
            header.id, header.name, protected.place.scheme
        );
        let kind =
            if header.is_checkpoint { EventKind::CheckpointEnd } else { EventKind::OutputEnd };
        if self.job.is_first() {
            self.tell_more(kind, Level::Detail, header, text, |event| {
                event.seconds = Some(seconds);
                (event.files, event.bytes) = (Some(protected.files), Some(protected.bytes));
            });
        }
        let newest = self.entries.len() - 1;
        if let Some(why) = &protected.degraded {
            let text = format!("dataset {} ({}) has no redundancy: {why}", header.id, header.name);
            self.tell(EventKind::Encode, Level::Warning, header, text);
            let flushed = self.try_flush(newest)?;
            if header.is_output {
                flushed?;
            }
            return Ok(Outcome::Degraded);
        }
        let number = header.is_checkpoint.then_some(self.checkpoints);
        let due = plan::flush::due(header.is_output, number, self.job.config.flush_every);
        let is_retry =
            |entry: &Entry| entry.flush_owed && entry.header.is_checkpoint && header.is_checkpoint;
        if due.is_some() || self.entries.iter().any(is_retry) {
            let flushed = self.try_flush(newest)?;
            if flushed.is_ok() && header.is_checkpoint {
                // The newest is in the prefix: of the older, only outputs must still get there.
                self.entries.iter_mut().for_each(|e| e.flush_owed &= e.header.is_output);
            }
            if let Err(error) = flushed
                && header.is_output
            {
                return Err(
                    error.context(format!("output {} did not reach the prefix", header.name))
                );
            }
        }
        self.evict_surplus()?;
        Ok(Outcome::Committed)
    }

    /// Flushes an entry, and before it the older outputs that are owed: they may have the same names, and the newest wins.
    /// A failure is told, kept in mind, and returned inside.
    pub(super) fn try_flush(&mut self, index: usize) -> Result<Result<()>> {
        for older in 0..index {
            let entry = &self.entries[older];
            if entry.header.is_output && entry.is_only_here() {
                // Its own failure is told and kept; this one is no worse for it.
                let _ = self.try_flush_one(older)?;
            }
        }
        self.try_flush_one(index)
    }

    fn try_flush_one(&mut self, index: usize) -> Result<Result<()>> {
        let Err(error) = self.flush_entry(index) else { return Ok(Ok(())) };
        if error.kind() == ErrorKind::Communication {
            return Err(error);
        }
        self.entries[index].flush_owed = true;
        let header = self.entries[index].header.clone();
        let text = format!(
            "flush of dataset {} ({}) failed, it stays in cache: {error:#}",
            header.id, header.name
        );
        self.tell(EventKind::FlushFail, Level::Error, &header, text);
        Ok(Err(error))
    }

    /// Flushes an entry that is not in the prefix yet.
    pub(super) fn flush_entry(&mut self, index: usize) -> Result<()> {
        let entry = &self.entries[index];
        if entry.flushed {
            return Ok(());
        }
        let cargo = agree(&*self.job.topology.world, entry.cargo(&self.job))?;
        let mut flushed = flush(&self.job, self.lease.as_ref(), &entry.header, &cargo);
        if self.is_corrupt_anywhere(&flushed)? {
            // A corrupt block is a lost block: healed from redundancy where there is any, the rest goes the same way.
            let set = self.levels.set(entry.set);
            verify(&self.job, set, &entry.part(&self.job), &entry.place)?;
            flushed = flush(&self.job, self.lease.as_ref(), &entry.header, &cargo);
        }
        self.lost_names(&flushed?);
        let identity = self.entries[index].header.identity;
        for entry in self.entries.iter_mut().filter(|e| e.header.identity == identity) {
            (entry.flushed, entry.flush_owed) = (true, false);
        }
        let header = self.entries[index].header.clone();
        self.trim_prefix(&header)
    }

    /// Whether a flush failed on any rank because of data that do not match their checksums.
    fn is_corrupt_anywhere<T>(&self, flushed: &Result<T>) -> Result<bool> {
        match flushed {
            Err(error) if error.kind() != ErrorKind::Communication => {
                let mut corrupt = [u64::from(error.cause_kind() == ErrorKind::Corrupt)];
                self.job.topology.world.all_reduce(Reduce::Max, &mut corrupt)?;
                Ok(corrupt[0] == 1)
            }
            _ => Ok(false),
        }
    }

    /// Notes that the files of these datasets in the prefix were replaced.
    fn lost_names(&mut self, identities: &[DatasetIdentity]) {
        for entry in &mut self.entries {
            let is_loser = identities.contains(&entry.header.identity);
            entry.flushed &= !is_loser;
            entry.replaced |= is_loser;
        }
    }

    /// The datasets in cache as the plan of eviction sees them.
    fn standings(&self) -> Vec<evict::Cached> {
        let in_use = self.taken.as_ref().and_then(super::restart::Taken::in_use);
        self.entries.iter().map(|e| e.to_plan(Some(e.header.identity) == in_use)).collect()
    }

    /// After a commit: what is beyond the limit of a store goes, where a newer dataset survives as much.
    fn evict_surplus(&mut self) -> Result<()> {
        (0..self.job.cache.stores()).try_for_each(|store| self.evict_surplus_of(store))
    }

    fn evict_surplus_of(&mut self, store: usize) -> Result<()> {
        let limit = count_of(&self.job.config, store).max(1) as usize;
        for (key, step) in self.keyed(evict::over_limit(&self.standings(), store, limit)) {
            if step.price == evict::Price::FlushFirst {
                let index = self.entries.iter().position(|e| e.key() == key);
                let Some(index) = index else { continue };
                if self.try_flush(index)?.is_err() {
                    continue;
                }
            }
            self.evict(key, Level::Detail, &step.reason);
        }
        Ok(())
    }

    /// Takes one layout of a dataset out of the cache; what cannot be removed is told.
    pub(super) fn evict(&mut self, key: (DatasetIdentity, u32), level: Level, reason: &str) {
        let gone = self.entries.extract_if(.., |e| e.key() == key).collect::<Vec<_>>();
        for entry in gone {
            let id = entry.header.id;
            let text = format!("dataset {id} ({}) leaves the cache: {reason}", entry.header.name);
            self.tell(EventKind::Evict, level, &entry.header, text);
            if !self.job.is_leader() {
                continue;
            }
            if let Err(error) = self.job.cache.evict_layout(&key.0, key.1) {
                let text = format!("dataset {id} cannot be removed from the cache: {error:#}");
                self.job.host.tell(EventKind::Evict, Level::Warning, text);
            }
        }
    }

    fn evict_all(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            if self.job.is_leader() {
                let _ = self.job.cache.evict(&entry.part(&self.job));
            }
        }
    }
}

/// Whether this rank asked for what rank 0 proposes.
fn check_equal(proposal: &Proposal, name: Option<&str>, flags: Flags) -> Result<()> {
    let same_name = match name {
        None => proposal.unnamed,
        Some(name) => !proposal.unnamed && proposal.header.name.as_str() == name,
    };
    if name.is_some_and(|name| name.len() > NAME_MAX) {
        return Err(Error::new(
            ErrorKind::Misuse,
            format!("the name of a dataset has at most {NAME_MAX} bytes"),
        ));
    }
    if same_name && flags == proposal.flags {
        return Ok(());
    }
    let text = format!(
        "SCR_Start_output: this rank says {:?} {flags:?}, rank 0 says {:?} {:?}",
        name.unwrap_or_default(),
        proposal.header.name.as_str(),
        proposal.flags
    );
    Err(Error::new(ErrorKind::Mismatch, text))
}
