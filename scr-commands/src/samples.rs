// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records for tests.

use scr_core::format::dataset::DatasetHeader;
use scr_core::format::summary::{PrefixState, Summary};
use scr_core::id::{DatasetId, DatasetIdentity, DatasetName, JobId, UserName};

/// What is known of dataset `id`, called `ckpt.<id>`.
pub(crate) fn dataset(id: u64) -> DatasetHeader {
    DatasetHeader {
        epoch: scr_core::id::Epoch(1),
        id: DatasetId(id),
        identity: DatasetIdentity([id as u8; 16]),
        parent: None,
        name: DatasetName::new(format!("ckpt.{id}")),
        is_checkpoint: true,
        is_output: false,
        created_unix_micros: 0,
        job_id: JobId::new("job"),
        user: UserName::new("user"),
        ranks: 4,
    }
}

/// Its summary.
pub(crate) fn summary(id: u64, state: PrefixState) -> Summary {
    Summary {
        dataset: dataset(id),
        state,
        changed_unix_micros: 1_769_853_600_000_000,
        maps: 1,
        ranges: Vec::new(),
        files: 4,
        bytes: 4096,
        has_checksums: true,
    }
}
