// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a launch, and what an application says of datasets by name.

use super::{Session, State};
use crate::comm::agree;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::scr3;
use crate::exec::topology::broadcast;
use crate::format::current::{ChosenBy, Current};
use crate::format::lease::LeaseState;
use crate::format::summary::{PrefixState, Summary};
use crate::id::{DatasetId, DatasetIdentity};
use crate::plan::evict::Standing;
use crate::plan::flush::due_at_finalize;

impl Session {
    /// Ends the launch: flushes what is owed to the prefix and the newest checkpoint where configured, and gives the prefix
    /// back. What is in cache stays there.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// Why a flush failed; the launch has ended all the same, and the data are in cache.
    pub fn finalize(&mut self) -> Result<()> {
        self.enter("SCR_Finalize")?;
        let owed: Vec<usize> = (0..self.entries.len()).filter(|&i| self.is_owed(i)).collect();
        let newest = self.entries.iter().rposition(|e| e.header.is_checkpoint && e.is_usable());
        let is_due = due_at_finalize(
            newest.map(|i| !self.entries[i].is_only_here()),
            self.job.config.flush_every,
        );
        let mut outcome = Ok(());
        for index in owed.into_iter().chain(newest.filter(|_| is_due)) {
            match self.try_flush(index) {
                Ok(flushed) => outcome = outcome.and(flushed),
                Err(error) => return self.leave(Err(error)),
            }
        }
        self.tell_of_cache();
        self.heartbeat = None;
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.give_back(LeaseState::Finalized)
        {
            let text = format!("the prefix is not given back: {error:#}");
            self.job.host.tell(EventKind::Message, Level::Warning, text);
        }
        if self.job.is_first() {
            self.job.host.tell(EventKind::Finalize, Level::Detail, "finalize");
        }
        self.state = State::Finalized;
        let ended = agree(&*self.job.topology.world, outcome);
        self.leave(ended)
    }

    /// Whether a flush of an entry is still due; what was set aside meanwhile is not.
    fn is_owed(&self, index: usize) -> bool {
        self.entries[index].flush_owed && self.entries[index].is_only_here()
    }

    /// Makes a checkpoint in the prefix the one to restart from, until a newer one is committed.
    ///
    /// # Collective
    /// On all ranks, with equal `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when names differ; [`ErrorKind::NotFound`] when the prefix has no such checkpoint.
    pub fn current(&mut self, name: &str) -> Result<()> {
        self.enter("SCR_Current")?;
        let newest_known = self.last_id;
        let same = self.same_on_all_ranks(name);
        let dropped = same.and_then(|()| self.first(|session| session.choose(name, newest_known)));
        let done = dropped.map(|dropped| self.disown(&dropped));
        self.leave(done)
    }

    /// Records a person's choice, on rank 0. Returns what left the index for it.
    fn choose(&self, name: &str, newest_known: DatasetId) -> Result<Vec<DatasetIdentity>> {
        let prefix = &self.job.prefix;
        let (dataset, is_usable) = match self.named(name) {
            Ok(summary) => (summary.dataset, summary.state == PrefixState::Flushed),
            Err(error) => {
                let left = scr3::look(prefix).index;
                let left = left.named(name).ok_or(error)?;
                (left.header(), left.is_complete)
            }
        };
        if !dataset.is_checkpoint || !is_usable {
            let text = format!("dataset {name} in the prefix is not a checkpoint that can be used");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let (identity, age, name) = (dataset.identity, dataset.age(), dataset.name);
        let choice = Current { identity, name, by: ChosenBy::Person, newest_known };
        prefix.publish_current(&choice)?;
        if !self.job.config.drop_after_current {
            return Ok(Vec::new());
        }
        let later = prefix.summaries()?.0.into_iter().map(|summary| summary.dataset);
        let later = later.filter(|other| other.age() > age);
        later.map(|other| prefix.drop_dataset(&other).map(|()| other.identity)).collect()
    }

    /// Takes a dataset out of the index; its files stay. What is in cache of it is not flushed, nor handed back, any more.
    ///
    /// # Collective
    /// On all ranks, with equal `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when names differ; [`ErrorKind::NotFound`] when the prefix has no such dataset.
    pub fn drop_dataset(&mut self, name: &str) -> Result<()> {
        self.enter("SCR_Drop")?;
        let same = self.same_on_all_ranks(name);
        let dropped = same.and_then(|()| {
            self.first(|session| {
                let dataset = session.named(name)?.dataset;
                session.job.prefix.drop_dataset(&dataset).map(|()| vec![dataset.identity])
            })
        });
        let done = dropped.map(|dropped| self.disown(&dropped));
        self.leave(done)
    }

    /// Notes that datasets left the index because somebody wanted it: they must not come back from the cache.
    fn disown(&mut self, dropped: &[DatasetIdentity]) {
        for entry in self.entries.iter_mut().filter(|e| dropped.contains(&e.header.identity)) {
            (entry.flushed, entry.standing) = (false, Standing::Condemned);
        }
        let mut position = 0;
        self.candidates.retain(|candidate| {
            position += 1;
            position <= self.tried || !dropped.contains(&candidate.header.identity)
        });
        // What was offered and not read makes room for the next; what was read has done its part.
        self.taken.take_if(|taken| taken.in_use().is_some_and(|taken| dropped.contains(&taken)));
    }

    /// Removes a dataset and its files from the caches and the prefix.
    ///
    /// # Collective
    /// On all ranks, with equal `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when names differ; [`ErrorKind::NotFound`] when neither has such a dataset.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        self.enter("SCR_Delete")?;
        // Before anything goes: each rank deletes its part of what the caller names.
        if let Err(error) = self.same_on_all_ranks(name) {
            return self.leave(Err(error));
        }
        let here = self.entries.iter().filter(|e| e.header.name.as_str() == name);
        let keys: Vec<_> = here.map(super::entry::Entry::key).collect();
        for &key in &keys {
            self.evict(key, Level::Note, "the application deletes it");
        }
        let deleted = self.first(|session| match session.named(name) {
            Ok(summary) => session.job.prefix.delete(&summary.dataset),
            Err(error) if error.kind() == ErrorKind::NotFound && !keys.is_empty() => Ok(()),
            Err(error) => Err(error),
        });
        self.leave(deleted)
    }

    /// Checks that all ranks mean the same dataset.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] where the name is another one than rank 0's.
    fn same_on_all_ranks(&self, name: &str) -> Result<()> {
        let world = &*self.job.topology.world;
        let first: String = broadcast(world, &name.to_string())?;
        let same = if name == first {
            Ok(())
        } else {
            let text = format!("this rank says {name:?}, rank 0 says {first:?}");
            Err(Error::new(ErrorKind::Mismatch, text))
        };
        agree(world, same)
    }

    /// Changes the prefix on rank 0, as long as it is ours; all ranks get what came of it.
    fn first<T>(&self, action: impl FnOnce(&Self) -> Result<T>) -> Result<T>
    where
        T: Default + serde::Serialize + serde::de::DeserializeOwned,
    {
        let world = &*self.job.topology.world;
        let done = match &self.lease {
            Some(lease) if self.job.is_first() => lease.check().and_then(|()| action(self)),
            _ => Ok(T::default()),
        };
        broadcast(world, &agree(world, done)?)
    }

    /// The newest dataset of this name in the prefix.
    pub(super) fn named(&self, name: &str) -> Result<Summary> {
        let summaries = self.job.prefix.summaries()?.0;
        let found = summaries.into_iter().rev().find(|s| s.dataset.name.as_str() == name);
        found.ok_or_else(|| {
            let text = format!("no dataset {name} in {}", self.job.prefix.root().display());
            Error::new(ErrorKind::NotFound, text)
        })
    }
}
