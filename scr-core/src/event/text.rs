// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCR's text log: a file in the prefix to which lines are appended.

use super::scr_log::{Author, UtcOffset, lines};
use super::{Event, Sink};
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;

/// Appends the lines that SCR has for each event; one rank of a job has one.
#[derive(Debug)]
pub struct TextLog {
    store: Arc<dyn Store>,
    path: PathBuf,
    author: Author,
    offset: UtcOffset,
}

impl TextLog {
    /// A log at `path` of `store`, in local time; its directory must exist when something happens.
    pub fn new(store: Arc<dyn Store>, path: PathBuf, author: Author, offset: UtcOffset) -> Self {
        Self { store, path, author, offset }
    }
}

impl Sink for TextLog {
    fn tell(&self, event: &Event) {
        for line in lines(event, &self.author) {
            let line = line.in_file(&self.author, self.offset);
            // A log that cannot be written must not fail what it reports.
            let _ = self.store.append(&self.path, line.as_bytes());
        }
    }
}
