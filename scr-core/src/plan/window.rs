// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which checkpoints the prefix no longer keeps (`SCR_PREFIX_SIZE`).

use crate::format::DatasetHeader;
use crate::format::summary::{PrefixState, Summary};

/// Returns the checkpoints beyond the newest `size`, oldest first; with 0 all stay.
///
/// What counts and goes is flushed and is no output.
pub fn beyond(summaries: &[Summary], size: u32) -> Vec<&DatasetHeader> {
    let mut checkpoints: Vec<_> = summaries
        .iter()
        .filter(|summary| summary.state == PrefixState::Flushed)
        .map(|summary| &summary.dataset)
        .filter(|dataset| dataset.is_checkpoint && !dataset.is_output)
        .collect();
    checkpoints.sort_by_key(|dataset| dataset.age());
    let surplus = if size == 0 { 0 } else { checkpoints.len().saturating_sub(size as usize) };
    checkpoints.truncate(surplus);
    checkpoints
}
