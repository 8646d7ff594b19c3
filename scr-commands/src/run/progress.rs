// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far an application has come: the highest dataset that is committed in a cache, or flushed to the prefix.

use crate::files::{list, list_deep, name_of, read_record};
use crate::prefix::Prefix;
use scr_core::Result;
use scr_core::format::state::{PartState, Phase};
use scr_core::format::summary::PrefixState;
use scr_core::id::DatasetId;
use std::path::{Path, PathBuf};

/// Where the newest datasets are; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Highest committed in a cache.
    pub(crate) cached: Option<DatasetId>,
    /// Highest flushed to the prefix.
    pub(crate) flushed: Option<DatasetId>,
}

impl Progress {
    /// The highest of all.
    pub(crate) fn newest(self) -> Option<DatasetId> {
        self.cached.max(self.flushed)
    }

    /// The newest dataset, when no copy of it is in the prefix.
    pub(crate) fn only_in_cache(self) -> Option<DatasetId> {
        self.cached.filter(|_| self.cached > self.flushed)
    }
}

/// Looks into the caches of these nodes and into the prefix. Damaged records count as absent: restart judges them.
pub(crate) fn progress(cache_bases: &[PathBuf], prefix: &Prefix) -> Result<Progress> {
    let mut progress = Progress::default();
    for base in cache_bases {
        progress.cached = progress.cached.max(highest_committed(base, prefix)?);
    }
    progress.flushed = flushed(prefix)?;
    Ok(progress)
}

/// The highest dataset that is whole in the prefix.
pub(crate) fn flushed(prefix: &Prefix) -> Result<Option<DatasetId>> {
    let summaries = prefix.entries()?.into_iter().filter_map(|entry| entry.summary.ok().flatten());
    let flushed = summaries.filter(|summary| summary.state == PrefixState::Flushed);
    Ok(flushed.map(|summary| summary.dataset.id).max())
}

/// The highest committed dataset of the prefix in a cache that nobody else uses.
fn highest_committed(base: &Path, prefix: &Prefix) -> Result<Option<DatasetId>> {
    let mut highest = None;
    for jobs in list_deep(base, 3)? {
        for part in list(&prefix.in_cache(&jobs))? {
            if !name_of(&part).starts_with("dataset.") {
                continue;
            }
            if let Ok(Some(state)) = read_record::<PartState>(&part.join("state"))
                && state.phase == Phase::Committed
            {
                highest = highest.max(Some(state.dataset.id));
            }
        }
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{store, write_record};
    use crate::samples;
    use scr_core::format::dataset::{Place, Scheme};
    use scr_core::id::{Epoch, NodeName};

    fn put_part(base: &Path, id: u64, phase: Phase) {
        let place =
            Place { layout: 0, set: 0, sets: 1, member: 0, members: 1, scheme: Scheme::Single };
        let state = PartState {
            dataset: samples::dataset(id),
            place,
            node: NodeName::new("n"),
            epoch: Epoch(1),
            phase,
        };
        let part = base.join(format!("user/scr.job/hash/dataset.{id}-00000000.0.0.0"));
        write_record(&part.join("state"), &state).unwrap();
    }

    #[test]
    fn only_committed_and_flushed_datasets_count() {
        let base = tempfile::tempdir().unwrap();
        let caches = [base.path().join("node0"), base.path().join("node1")];
        let prefix = Prefix::new(&base.path().join("prefix"), None);
        assert_eq!(progress(&caches, &prefix).unwrap(), Progress::default());

        put_part(&caches[0], 3, Phase::Committed);
        put_part(&caches[1], 5, Phase::Writing);
        for (id, state) in [
            (2, PrefixState::Flushed),
            (6, PrefixState::Flushing { epoch: scr_core::id::Epoch(1) }),
        ] {
            let path = prefix.record(&format!("dataset.{id}/summary"));
            write_record(&path, &samples::summary(id, state)).unwrap();
        }
        let torn = caches[0].join("user/scr.job/hash/dataset.9-0.0.0.0");
        store().create_dir_all(&torn).unwrap();
        store().append(&torn.join("state"), b"SCR\x04 torn").unwrap();

        let found = progress(&caches, &prefix).unwrap();
        assert_eq!((found.cached, found.flushed), (Some(DatasetId(3)), Some(DatasetId(2))));
        assert_eq!(found.newest(), Some(DatasetId(3)));
        assert_eq!(found.only_in_cache(), Some(DatasetId(3)));
        let path = prefix.record("dataset.3/summary");
        write_record(&path, &samples::summary(3, PrefixState::Flushed)).unwrap();
        assert_eq!(progress(&caches, &prefix).unwrap().only_in_cache(), None);
    }
}
