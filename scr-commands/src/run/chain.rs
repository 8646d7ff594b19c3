// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr run --requeue`: work that is longer than an allocation goes on in the next one.
//!
//! Some time before the end, or when the scheduler's signal comes, the application is asked to stop as by `scr halt`: after
//! its next checkpoint. When it has, and all that was only in caches is in the prefix, the job is put back into the queue
//! — if this allocation brought the work forward. Otherwise the chain ends, since it would go round for ever.

use crate::files::{store, write_record};
use crate::output::say_now;
use crate::prefix::Prefix;
use scr_core::Result;
use scr_core::clock::{Clock, SystemClock};
use scr_core::format::halt::HaltRequest;
use scr_core::id::DatasetId;
use signal_hook::consts::SIGUSR1;

/// The reason in a halt request that is ours, and ends with this allocation.
const REASON: &str = "REQUEUE";

/// Whether the work shall go on in another allocation, and what this one began with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// How long before the end of the allocation the application is asked to stop.
    pub(super) seconds: u64,
    /// The newest dataset in the prefix when this allocation began.
    pub(super) flushed_before: Option<DatasetId>,
}

impl Chain {
    /// Whether this signal is the scheduler's word that the end is near.
    pub(super) fn is_notice(signal: i32) -> bool {
        signal == SIGUSR1
    }

    /// Asks the application to stop after its next checkpoint.
    ///
    /// A launch that runs is not ended because this fails; it is said.
    pub(super) fn ask_to_stop(prefix: &Prefix) {
        match Self::request(prefix) {
            Ok(()) => say_now(
                "the application is asked to stop after its next checkpoint, to be requeued",
            ),
            Err(error) => say_now(&format!("the application cannot be asked to stop: {error:#}")),
        }
    }

    fn request(prefix: &Prefix) -> Result<()> {
        let mut request = prefix.halt()?.unwrap_or_default();
        if request.reason.is_none() {
            request.reason = Some(REASON.into());
            if request.generation == 0 {
                request.generation = SystemClock::default().unix().as_nanos() as u64;
            }
            write_record(&prefix.record("halt"), &request)?;
        }
        Ok(())
    }

    /// Takes our own request back; what a person asked for stays.
    pub(super) fn take_back(prefix: &Prefix) -> Result<()> {
        let Some(request) = prefix.halt()?.filter(is_ours) else { return Ok(()) };
        let left = HaltRequest { reason: None, ..request };
        let nothing = HaltRequest { generation: left.generation, ..HaltRequest::default() };
        if left == nothing {
            store().remove(&prefix.record("halt"))
        } else {
            write_record(&prefix.record("halt"), &left)
        }
    }

    /// Whether the work came forward, when this is the newest dataset in the prefix now.
    pub(super) fn has_progress(&self, flushed: Option<DatasetId>) -> bool {
        flushed > self.flushed_before
    }
}

/// Whether a request to stop is ours.
pub(super) fn is_ours(request: &HaltRequest) -> bool {
    request.reason.as_deref() == Some(REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_request_is_taken_back_and_a_persons_stays() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path(), None);
        Chain::take_back(&prefix).unwrap();
        Chain::ask_to_stop(&prefix);
        assert!(is_ours(&prefix.halt().unwrap().unwrap()));
        Chain::take_back(&prefix).unwrap();
        assert_eq!(prefix.halt().unwrap(), None);

        let persons =
            HaltRequest { generation: 7, checkpoints_left: Some(3), ..HaltRequest::default() };
        write_record(&prefix.record("halt"), &persons).unwrap();
        Chain::ask_to_stop(&prefix);
        assert!(is_ours(&prefix.halt().unwrap().unwrap()));
        Chain::take_back(&prefix).unwrap();
        assert_eq!(prefix.halt().unwrap(), Some(persons.clone()));

        let persons = HaltRequest { reason: Some("upgrade".into()), ..persons };
        write_record(&prefix.record("halt"), &persons).unwrap();
        Chain::ask_to_stop(&prefix);
        Chain::take_back(&prefix).unwrap();
        assert_eq!(prefix.halt().unwrap(), Some(persons));
    }

    #[test]
    fn only_a_newer_dataset_in_the_prefix_is_progress() {
        let id = |n| Some(DatasetId(n));
        for (before, now, expected) in
            [(None, None, false), (None, id(1), true), (id(3), id(3), false), (id(3), id(4), true)]
        {
            let chain = Chain { seconds: 60, flushed_before: before };
            assert_eq!(chain.has_progress(now), expected, "{before:?} {now:?}");
        }
    }
}
