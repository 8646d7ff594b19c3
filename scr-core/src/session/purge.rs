// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes because a parameter says so: `SCR_CACHE_PURGE`, `SCR_PREFIX_PURGE`, `SCR_PREFIX_SIZE` and the cache under
//! `SCR_GLOBAL_RESTART`.

use super::Session;
use crate::comm::agree;
use crate::error::Result;
use crate::event::{EventKind, Level};
use crate::exec::lease::Holder;
use crate::exec::topology::broadcast;
use crate::exec::{Job, scr3};
use crate::format::DatasetHeader;
use crate::format::decision::{Location, Verdict};
use crate::id::DatasetIdentity;
use crate::plan::order::Candidate;
use crate::plan::window::beyond;

impl Session {
    /// Removes what the user wants gone before this launch looks at anything.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn purge(&self) -> Result<()> {
        let (job, config) = (&self.job, &self.job.config);
        let mut purged = Ok(());
        if config.cache_purge && job.is_leader() {
            purged = job.cache.scan().and_then(|(parts, _)| {
                parts.iter().try_for_each(|(part, _)| job.cache.evict(part))
            });
        }
        if config.prefix_purge && job.is_first() {
            purged = purged.and(self.purge_prefix());
        }
        agree(&*job.topology.world, purged)
    }

    fn purge_prefix(&self) -> Result<()> {
        let prefix = &self.job.prefix;
        for summary in prefix.summaries()?.0 {
            let dataset = summary.dataset;
            prefix.delete(&dataset)?;
            tell(&self.job, &dataset, "SCR_PREFIX_PURGE=1");
        }
        // Whoever asks for an empty prefix does not want to begin with what SCR 3 left there.
        scr3::purge(prefix, &|dataset| tell(&self.job, &dataset.header(), "SCR_PREFIX_PURGE=1"))
    }

    /// Deletes the checkpoints for which `SCR_PREFIX_SIZE` leaves no room, now that `newest` is in the prefix.
    ///
    /// What cannot be deleted is told, and tried again after the next one.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn trim_prefix(&mut self, newest: &DatasetHeader) -> Result<()> {
        if self.job.config.prefix_size == 0 || !newest.is_checkpoint {
            return Ok(());
        }
        let gone = if self.job.is_first() { self.trim() } else { Vec::new() };
        let gone = broadcast(&*self.job.topology.world, &gone)?;
        // Nothing of them may count as safe in the prefix, nor come back by a flush of what is in cache.
        for entry in self.entries.iter_mut().filter(|e| gone.contains(&e.header.identity)) {
            (entry.flushed, entry.replaced) = (false, true);
        }
        Ok(())
    }

    /// Does so on rank 0, and returns what is gone, or may be.
    fn trim(&self) -> Vec<DatasetIdentity> {
        let (prefix, size) = (&self.job.prefix, self.job.config.prefix_size);
        let mut gone = Vec::new();
        let held = self.lease.as_ref().map_or(Ok(()), Holder::check);
        let trimmed = held.and_then(|()| {
            let summaries = prefix.summaries()?.0;
            for dataset in beyond(&summaries, size) {
                gone.push(dataset.identity);
                prefix.delete(dataset)?;
                tell(&self.job, dataset, &format!("SCR_PREFIX_SIZE={size}"));
            }
            Ok(())
        });
        if let Err(error) = trimmed {
            let text = format!("an old checkpoint stays in the prefix: {error:#}");
            self.job.host.tell(EventKind::Message, Level::Warning, text);
        }
        gone
    }

    /// Under `SCR_GLOBAL_RESTART` the application restarts from the prefix only: what was flushed leaves the cache, and
    /// what is nowhere else is no candidate, and stays.
    pub(super) fn leave_cache(&mut self) {
        let flushed = self.entries.iter().filter(|entry| entry.flushed);
        let keys: Vec<_> = flushed.map(super::entry::Entry::key).collect();
        let is_flushed = |identity| keys.iter().any(|(flushed, _)| *flushed == identity);
        let mut candidates = Vec::new();
        for mut candidate in std::mem::take(&mut self.candidates) {
            let identity = candidate.header.identity;
            if candidate.location == Location::Cache {
                if !is_flushed(identity) {
                    let why = "it is in cache only, and SCR_GLOBAL_RESTART=1";
                    self.report_candidate(&candidate, Verdict::Rejected, why);
                    continue;
                }
                (candidate.location, candidate.layout) = (Location::Prefix, 0);
            }
            let is_known = |other: &Candidate| {
                (other.header.identity, other.location) == (identity, candidate.location)
            };
            if !candidates.iter().any(is_known) {
                candidates.push(candidate);
            }
        }
        self.candidates = candidates;
        for key in keys {
            self.evict(key, Level::Note, "SCR_GLOBAL_RESTART=1, and it is in the prefix");
        }
    }
}

fn tell(job: &Job, dataset: &DatasetHeader, why: &str) {
    let text =
        format!("dataset {} ({}) is deleted from the prefix: {why}", dataset.id, dataset.name);
    let mut event = job.host.event(EventKind::Evict, Level::Note, text);
    (event.dataset, event.name) = (Some(dataset.id), Some(dataset.name.clone()));
    job.host.sink.tell(&event);
}
