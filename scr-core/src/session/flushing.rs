// SPDX-License-Identifier: MIT OR Apache-2.0
//! How datasets get from the cache to the prefix: within a call, or while the application goes on (`SCR_FLUSH_ASYNC=1`).
//!
//! A flush that is *under way* was opened when its dataset was complete, and each rank copies its files in the background.
//! The rest happens in later calls: they look at the copies with one reduction, and with no message when none is under way,
//! so that all ranks see the same list, and end the same flushes. What is true of them:
//!
//! - They end in the order of the ages of their datasets: names in the prefix go from an older dataset to a newer one. For
//!   the same reason a flush within a call waits for all that are under way, and so does a dataset that the application
//!   writes straight to the prefix.
//! - The dataset of a flush under way stays in the cache ([`Price::Wait`](crate::plan::evict::Price)).
//! - One that fails is told, and its dataset is flushed again, or a newer one in its place, as after any failed flush.

use super::Session;
use super::entry::Entry;
use crate::comm::{Reduce, agree};
use crate::config::FlushType;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::cache::flush_type_of;
use crate::exec::flush::{Flush, Manner, flush};
use crate::exec::transfer::{Standing, Transfer};
use crate::exec::verify::verify;
use crate::format::DatasetHeader;
use crate::id::DatasetIdentity;
use crate::sabotage::{self, Fault};
use std::sync::Arc;
use std::time::Duration;

/// A flush whose files are being copied. The list of them is equal on all ranks.
#[derive(Debug)]
pub(super) struct UnderWay {
    flush: Flush,
    /// This rank's copy.
    transfer: Transfer,
    /// The layout that is copied.
    key: (DatasetIdentity, u32),
    /// Whether corrupt blocks were healed for it: that is tried once.
    is_healed: bool,
}

impl UnderWay {
    /// What is flushed.
    pub(super) fn dataset(&self) -> &DatasetHeader {
        self.flush.dataset()
    }
}

impl Session {
    /// Flushes an entry, and before it the older outputs that are owed: they may have the same names, and the newest wins.
    /// A failure is told, kept in mind, and returned inside; with [`Manner::Async`] one that comes later is told then.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn try_flush(&mut self, index: usize, manner: Manner) -> Result<Result<()>> {
        for older in 0..index {
            let entry = &self.entries[older];
            if entry.header.is_output && entry.is_only_here() {
                // Its own failure is told and kept; this one is no worse for it.
                let _ = self.try_flush_one(older, manner)?;
            }
        }
        self.try_flush_one(index, manner)
    }

    fn try_flush_one(&mut self, index: usize, manner: Manner) -> Result<Result<()>> {
        let flushed = match manner {
            Manner::Sync => self.flush_entry(index),
            Manner::Async => self.begin_flush(index, false),
        };
        match flushed {
            Err(error) if error.kind() != ErrorKind::Communication => {
                self.flush_failed(index, &error, manner);
                Ok(Err(error))
            }
            other => other.map(Ok),
        }
    }

    /// How the store of an entry is flushed, where nothing speaks against it.
    pub(super) fn manner_of(&self, index: usize) -> Manner {
        let config = &self.job.config;
        match flush_type_of(config, self.entries[index].store) {
            FlushType::Thread if config.flush_async => Manner::Async,
            FlushType::Thread | FlushType::Sync => Manner::Sync,
        }
    }

    fn flush_failed(&mut self, index: usize, error: &Error, manner: Manner) {
        self.entries[index].flush_owed = true;
        let header = self.entries[index].header.clone();
        let text = format!(
            "flush of dataset {} ({}) failed, it stays in cache: {error:#}",
            header.id, header.name
        );
        let kind = match manner {
            Manner::Sync => EventKind::FlushFail,
            Manner::Async => EventKind::AsyncFlushFail,
        };
        self.tell(kind, Level::Error, &header, text);
    }

    /// Flushes an entry that is not in the prefix yet, and returns when it is there.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn flush_entry(&mut self, index: usize) -> Result<()> {
        // Its own may be among them, and an older one must not come after it.
        self.wait_for_flushes("another dataset is to be flushed now", &|_| true)?;
        let entry = &self.entries[index];
        if entry.flushed {
            return Ok(());
        }
        let cargo = Arc::new(agree(&*self.job.topology.world, entry.cargo(&self.job))?);
        let mut flushed = flush(&self.job, self.lease.as_ref(), &entry.header, &cargo);
        if self.is_corrupt_anywhere(&flushed)? {
            self.heal(entry)?;
            flushed = flush(&self.job, self.lease.as_ref(), &entry.header, &cargo);
        }
        let identity = entry.header.identity;
        self.flush_ended(identity, &flushed?)
    }

    /// A corrupt block is a lost block: healed from redundancy where there is any.
    ///
    /// # Collective
    /// On all ranks.
    fn heal(&self, entry: &Entry) -> Result<()> {
        let set = self.levels.set(entry.set);
        verify(&self.job, set, &entry.part(&self.job), &entry.place).map(|_| ())
    }

    /// Whether a flush failed on any rank because of data that do not match their checksums.
    fn is_corrupt_anywhere<T>(&self, flushed: &Result<T>) -> Result<bool> {
        match flushed {
            Err(error) if error.kind() != ErrorKind::Communication => {
                self.any(error.cause_kind() == ErrorKind::Corrupt)
            }
            _ => Ok(false),
        }
    }

    /// Notes that a dataset is in the prefix, and which ones its files replaced there.
    fn flush_ended(
        &mut self,
        identity: DatasetIdentity,
        replaced: &[DatasetIdentity],
    ) -> Result<()> {
        self.lost_names(replaced);
        let mut header = None;
        for entry in self.entries.iter_mut().filter(|e| e.header.identity == identity) {
            (entry.flushed, entry.flush_owed) = (true, false);
            header = Some(entry.header.clone());
        }
        header.map_or(Ok(()), |header| self.trim_prefix(&header))
    }

    /// Notes that the files of these datasets in the prefix were replaced.
    pub(super) fn lost_names(&mut self, identities: &[DatasetIdentity]) {
        for entry in &mut self.entries {
            let is_loser = identities.contains(&entry.header.identity);
            entry.flushed &= !is_loser;
            entry.replaced |= is_loser;
        }
    }

    /// Opens the flush of an entry and lets its files be copied while the application goes on.
    ///
    /// # Collective
    /// On all ranks.
    fn begin_flush(&mut self, index: usize, is_healed: bool) -> Result<()> {
        let entry = &self.entries[index];
        let (identity, key, age) = (entry.header.identity, entry.key(), entry.header.age());
        if entry.flushed || self.is_under_way(identity) {
            return Ok(());
        }
        let cargo = Arc::new(agree(&*self.job.topology.world, entry.cargo(&self.job))?);
        let lease = self.lease.as_ref();
        let opened = Flush::open(&self.job, lease, &entry.header, &cargo, Manner::Async)?;
        let Some(flush) = opened else { return self.flush_ended(identity, &[]) };
        let transfer = self.transfers.submit(flush.copying(&self.job));
        let at = self.flushing.partition_point(|other| other.dataset().age() < age);
        self.flushing.insert(at, UnderWay { flush, transfer, key, is_healed });
        // Should it fail, it is owed again.
        self.entries[index].flush_owed = false;
        Ok(())
    }

    /// Whether a dataset is on its way to the prefix.
    pub(super) fn is_under_way(&self, identity: DatasetIdentity) -> bool {
        self.flushing.iter().any(|one| one.key.0 == identity)
    }

    /// Looks at the flushes under way, in passing, and ends those whose files are copied. Without any it sends no message.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// Of communication only; what becomes of a flush is told.
    pub(super) fn look_after_flushes(&mut self) -> Result<()> {
        let ended = self.look_at_flushes()?;
        self.evict_flushed(&ended);
        Ok(())
    }

    /// The same, and leaves the cache as it is; returns the datasets whose flushes ended, well or not.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn look_at_flushes(&mut self) -> Result<Vec<DatasetIdentity>> {
        if self.flushing.is_empty() { Ok(Vec::new()) } else { self.end_what_is_copied() }
    }

    /// Waits until no flush of such a dataset is under way; `why` is for the user, who may wonder.
    ///
    /// Entries stay where they are in the list.
    ///
    /// # Collective
    /// On all ranks, which mean the same datasets.
    ///
    /// # Errors
    /// Of communication only; what becomes of a flush is told.
    pub(super) fn wait_for_flushes(
        &mut self,
        why: &str,
        which: &dyn Fn(&DatasetHeader) -> bool,
    ) -> Result<()> {
        let is_there = |one: &UnderWay| which(one.dataset());
        let Some(first) = self.flushing.iter().find(|one| is_there(one)) else { return Ok(()) };
        let header = first.dataset();
        let text =
            format!("waiting for the flush of dataset {} ({}): {why}", header.id, header.name);
        self.tell(EventKind::Message, Level::Note, header, text);
        self.transfers.hurry(true);
        let pause = Duration::from_micros(self.job.config.flush_poll_micros.into());
        let mut waited = self.look_at_flushes();
        while waited.is_ok() && self.flushing.iter().any(is_there) {
            if !self.transfers.has_own_work() {
                self.job.host.clock.sleep(pause);
            }
            waited = self.look_at_flushes();
        }
        self.transfers.hurry(false);
        waited.map(|_| ())
    }

    /// Ends the flushes whose files all ranks have copied, or which failed; returns their datasets.
    ///
    /// # Collective
    /// On all ranks.
    fn end_what_is_copied(&mut self) -> Result<Vec<DatasetIdentity>> {
        self.transfers.advance();
        let standing = |one: &UnderWay| {
            let standing = one.transfer.standing();
            [standing == Standing::UnderWay, standing == Standing::Failed].map(u64::from)
        };
        let mut standings: Vec<u64> = self.flushing.iter().flat_map(standing).collect();
        self.job.topology.world.all_reduce(Reduce::Max, &mut standings)?;
        let mut count = 0;
        for (position, standing) in standings.chunks_exact(2).enumerate() {
            let (is_under_way, has_failed) = (standing[0] == 1, standing[1] == 1);
            let is_early = is_under_way && sabotage::active(Fault::SealBeforeCopied);
            if has_failed || is_early {
                // What one rank lacks the others copy in vain.
                self.flushing[position].transfer.stop();
            }
            // Later ones wait for their turn, whatever they have copied.
            count += usize::from(count == position && (!is_under_way || is_early));
        }
        let mut ended = Vec::new();
        for _ in 0..count {
            let first = self.flushing.remove(0);
            let identity = first.key.0;
            if self.end_flush(first)? == Ended::BegunAnew {
                break;
            }
            ended.push(identity);
        }
        Ok(ended)
    }

    /// Ends a flush whose copies have ended everywhere, well or not.
    ///
    /// # Collective
    /// On all ranks.
    fn end_flush(&mut self, one: UnderWay) -> Result<Ended> {
        let UnderWay { flush, transfer, key, is_healed } = one;
        let mut ended = flush.end(&self.job, self.lease.as_ref(), transfer.outcome());
        let index = self.position_of(key);
        if let Some(index) = index
            && !is_healed
            && self.is_corrupt_anywhere(&ended)?
        {
            let healed = self.heal(&self.entries[index]);
            match healed.and_then(|()| self.begin_flush(index, true)) {
                Ok(()) => return Ok(Ended::BegunAnew),
                Err(error) => ended = Err(error),
            }
        }
        match (ended, index) {
            (Err(error), _) if error.kind() == ErrorKind::Communication => return Err(error),
            (Err(error), Some(index)) => self.flush_failed(index, &error, Manner::Async),
            (Ok(replaced), _) => self.flush_ended(key.0, &replaced)?,
            (Err(_), None) => {}
        }
        Ok(Ended::ForGood)
    }

    /// Gives up the flushes of such datasets: nothing of them will be in the prefix.
    ///
    /// Local, and when it returns this rank writes no more of them.
    pub(super) fn cancel_flushes(&mut self, why: &str, which: &dyn Fn(&DatasetHeader) -> bool) {
        let given_up = self.flushing.extract_if(.., |one| which(one.dataset()));
        for UnderWay { flush, transfer, .. } in given_up.collect::<Vec<_>>() {
            transfer.cancel();
            flush.abandon(&self.job);
            let header = flush.dataset();
            let text = format!("flush of dataset {} ({}) given up: {why}", header.id, header.name);
            self.tell(EventKind::AsyncFlushFail, Level::Note, header, text);
        }
    }
}

/// Whether a flush is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ForGood,
    BegunAnew,
}
