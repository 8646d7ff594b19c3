// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events as lines of JSON appended to a file of a store.

use super::{Event, Sink};
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;

/// Appends one line of JSON per event.
#[derive(Debug)]
pub struct JsonLines {
    store: Arc<dyn Store>,
    path: PathBuf,
}

impl JsonLines {
    /// A log at `path` of `store`; its directory must exist.
    pub fn new(store: Arc<dyn Store>, path: PathBuf) -> Self {
        Self { store, path }
    }
}

impl Sink for JsonLines {
    fn tell(&self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            // A log that cannot be written must not fail what it reports.
            let _ = self.store.append(&self.path, &line);
        }
    }
}
