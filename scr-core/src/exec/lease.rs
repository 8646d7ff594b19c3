// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lease of a prefix: one launch at a time may rename there.
//!
//! A launch of the same job takes it over with a higher epoch. Another job is refused only while the heartbeat moves under
//! our eyes; clocks of two hosts are never compared. A process that wakes after its epoch has passed finds that out here,
//! before it renames anything.

use super::Job;
use super::prefix::Prefix;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::format;
use crate::format::lease::{Lease, LeaseState};
use crate::host::Host;
use crate::id::{DatasetIdentity, Epoch};
use crate::sabotage::{self, Fault};
use crate::store::{Durability, Store, publish_beside};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the heartbeat is looked at while another job's lease is watched.
const LOOKS: u32 = 6;

/// Whose earlier launch is known to be over without a look at its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// That of the same job: its resource manager would not have launched again otherwise.
    SameJob,
    /// Nobody's.
    Nobody,
}

/// A lease that this launch holds; kept by rank 0, shared with its heartbeat.
#[derive(Clone, Debug)]
pub struct Holder {
    store: Arc<dyn Store>,
    path: PathBuf,
    record: Arc<Mutex<Lease>>,
}

impl Holder {
    /// Takes the lease of the job's prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when another job uses the prefix.
    pub fn take(job: &Job) -> Result<Self> {
        Self::take_from(job, Trust::SameJob)
    }

    /// Takes the lease of the job's prefix from a launch of whatever job, which is watched for signs of life first.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when a launch uses the prefix.
    pub fn take_from_the_dead(job: &Job) -> Result<Self> {
        Self::take_from(job, Trust::Nobody)
    }

    fn take_from(job: &Job, trust: Trust) -> Result<Self> {
        job.prefix.prepare()?;
        let period = Duration::from_secs_f64(job.config.heartbeat_seconds.max(0.0));
        Self::take_at(&job.prefix, &job.host, period, trust)
    }

    /// Its heartbeat will move every `period`, zero for never.
    fn take_at(prefix: &Prefix, host: &Host, period: Duration, trust: Trust) -> Result<Self> {
        let path = prefix.lease_path();
        let found = read(&*prefix.store, &path);
        let epoch = match found {
            Ok(found) => {
                let is_over = trust == Trust::SameJob
                    && found.job_id == host.job.job_id
                    && has_scheduler(&found);
                if found.state == LeaseState::Held && !is_over {
                    watch(prefix, &*host.clock, &path, &found)?;
                }
                Epoch(found.epoch.0 + 1)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Epoch(1),
            // An unreadable lease names no epoch; seconds since 1970 are beyond any that was counted.
            Err(error) if error.kind() == ErrorKind::Corrupt => Epoch(host.clock.unix().as_secs()),
            Err(error) => return Err(error),
        };
        let record = Lease {
            job_id: host.job.job_id.clone(),
            step: (host.random)(),
            epoch,
            node: host.job.node.clone(),
            state: LeaseState::Held,
            heartbeat: 0,
            period_ms: period.as_millis() as u64,
        };
        let record = Arc::new(Mutex::new(record));
        let holder = Self { store: prefix.store.clone(), path, record };
        holder.write(&holder.lock(), Durability::Power)?;
        holder.check()?;
        Ok(holder)
    }

    /// Held while the record is written: the heartbeat must not bring back what another thread has replaced.
    fn lock(&self) -> MutexGuard<'_, Lease> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of this launch.
    pub fn epoch(&self) -> Epoch {
        self.lock().epoch
    }

    /// Makes sure that the lease is still ours.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when another launch has taken it over.
    pub fn check(&self) -> Result<()> {
        self.check_against(&self.lock())
    }

    fn check_against(&self, record: &Lease) -> Result<()> {
        if sabotage::active(Fault::IgnoreLease) {
            return Ok(());
        }
        let found = read(&*self.store, &self.path)?;
        if found.epoch == record.epoch && found.step == record.step {
            return Ok(());
        }
        if found.epoch < record.epoch {
            // A beat that was under way when we took over came after it: the higher epoch holds.
            return self.write(record, Durability::Power);
        }
        let text = format!(
            "another launch (job {}, node {}, epoch {}) has taken over the prefix; this one (epoch {}) may write there no more",
            found.job_id, found.node, found.epoch, record.epoch
        );
        Err(Error::new(ErrorKind::Refused, text))
    }

    /// Moves the heartbeat, if the lease is still ours.
    pub fn beat(&self) -> Result<()> {
        let mut record = self.lock();
        if record.state != LeaseState::Held {
            return Ok(());
        }
        self.check_against(&record)?;
        record.heartbeat += 1;
        self.write(&record, Durability::Process)
    }

    /// Gives the lease back, if it is still ours.
    pub fn give_back(&self, state: LeaseState) -> Result<()> {
        let mut record = self.lock();
        self.check_against(&record)?;
        record.state = state;
        self.write(&record, Durability::Power)
    }

    fn write(&self, record: &Lease, durability: Durability) -> Result<()> {
        // Two writers must not share the file beside: one would rename what the other has half written.
        let beside = self.path.with_added_extension(DatasetIdentity(record.step).short());
        let bytes = format::encode(record);
        publish_beside(&*self.store, &self.path, &beside, durability, &mut |file| {
            file.write_at(0, &bytes)
        })
    }
}

fn read(store: &dyn Store, path: &std::path::Path) -> Result<Lease> {
    format::decode(&store.read(path)?)
}

/// Whether the job id is one that a resource manager gave; without one, any two launches have the same.
fn has_scheduler(lease: &Lease) -> bool {
    lease.job_id.as_str() != crate::host::NO_JOB_ID
}

/// Watches the heartbeat of another holder, at its own pace; returns when it stands still.
fn watch(prefix: &Prefix, clock: &dyn Clock, path: &std::path::Path, found: &Lease) -> Result<()> {
    if found.period_ms == 0 {
        let text = format!(
            "the prefix {} is in use by job {} (node {}), which gives no sign of life (SCR_HEARTBEAT_SECONDS=0); use another SCR_PREFIX, or remove {} when that job is dead",
            prefix.root().display(),
            found.job_id,
            found.node,
            path.display()
        );
        return Err(Error::new(ErrorKind::Refused, text));
    }
    for _ in 0..LOOKS {
        clock.sleep(Duration::from_millis(found.period_ms) / 2);
        let now = read(&*prefix.store, path)?;
        if now.state == LeaseState::Held
            && (now.heartbeat, now.step) != (found.heartbeat, found.step)
        {
            let text = format!(
                "the prefix {} is in use by job {} (node {}); use another SCR_PREFIX, or SCR_TASK for tasks that share one",
                prefix.root().display(),
                now.job_id,
                now.node
            );
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;
    use crate::store::mem::Mem;
    use crate::store::publish;
    use std::path::Path;

    fn host(store: &Mem, job: &str) -> Host {
        let mut host = Host::in_memory("n", store, store);
        host.job.job_id = JobId::new(job);
        host
    }

    fn take(store: &Mem, job: &str) -> Holder {
        try_take(store, &host(store, job), Duration::from_secs(1)).unwrap()
    }

    fn try_take(store: &Mem, host: &Host, period: Duration) -> Result<Holder> {
        let prefix = Prefix::new(Arc::new(store.clone()), PathBuf::from("/prefix"), None);
        store.create_dir_all(Path::new("/prefix/.scr")).unwrap();
        Holder::take_at(&prefix, host, period, Trust::SameJob)
    }

    #[test]
    fn another_job_is_watched_at_its_own_pace() {
        let store = Mem::new();
        let slow = Duration::from_mins(1);
        try_take(&store, &host(&store, "4711"), slow).unwrap();
        let other = host(&store, "4712");
        let start = other.clock.monotonic();
        try_take(&store, &other, Duration::from_millis(100)).unwrap();
        assert!(other.clock.monotonic() >= start + 2 * slow);
    }

    #[test]
    fn a_job_without_signs_of_life_keeps_the_prefix_until_it_gives_it_back() {
        let store = Mem::new();
        let holder = try_take(&store, &host(&store, "4711"), Duration::ZERO).unwrap();
        let other = host(&store, "4712");
        let refused = try_take(&store, &other, Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert!(refused.to_string().contains("/prefix/.scr/lease"), "{refused}");
        holder.give_back(LeaseState::Released).unwrap();
        try_take(&store, &other, Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn the_higher_epoch_holds_even_when_a_late_beat_came_after_it() {
        let store = Mem::new();
        let old = take(&store, "4711");
        let late = store.read(&old.path).unwrap();
        let new = take(&store, "4711");
        assert!(new.epoch() > old.epoch());
        publish(&store, &old.path, &late, Durability::Process).unwrap();
        new.check().unwrap();
        assert_eq!(old.check().unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(old.beat().unwrap_err().kind(), ErrorKind::Refused);
        new.check().unwrap();
    }

    #[test]
    fn a_visitor_watches_a_launch_of_the_same_job_too() {
        let store = Mem::new();
        let period = Duration::from_mins(1);
        try_take(&store, &host(&store, "4711"), period).unwrap();
        let visitor = host(&store, "4711");
        let prefix = Prefix::new(Arc::new(store.clone()), PathBuf::from("/prefix"), None);
        let start = visitor.clock.monotonic();
        Holder::take_at(&prefix, &visitor, period, Trust::Nobody).unwrap();
        assert!(visitor.clock.monotonic() >= start + 2 * period);
    }

    #[test]
    fn a_beat_after_the_lease_was_given_back_changes_nothing() {
        let store = Mem::new();
        let holder = take(&store, "4711");
        holder.give_back(LeaseState::Finalized).unwrap();
        holder.beat().unwrap();
        assert_eq!(read(&store, &holder.path).unwrap().state, LeaseState::Finalized);
    }
}
