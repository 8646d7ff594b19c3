// SPDX-License-Identifier: MIT OR Apache-2.0
//! `local`: virtual nodes on one machine, so that the loss of a node works, and can be shown, on a laptop.
//!
//! A virtual node is a name, a directory for control files, one for the cache, and the processes that carry its name.
//! `scr kill-node` takes all of these away and leaves a mark in the run directory.

use super::ResourceManager;
use crate::run::directory::RunDirectory;
use scr_core::Result;
use scr_core::id::NodeName;
use std::collections::BTreeSet;

/// The virtual nodes of one run directory.
#[derive(Debug)]
pub(crate) struct Local<'a> {
    directory: &'a RunDirectory,
    count: u32,
    excluded: BTreeSet<NodeName>,
    end_unix_seconds: Option<u64>,
}

/// The name of the virtual node number `index`.
pub(crate) fn node_name(index: u32) -> NodeName {
    NodeName::new(format!("node{index}"))
}

impl<'a> Local<'a> {
    /// `count` nodes, spares included, whose marks are in `directory`; `excluded` ones count as down.
    pub(crate) fn new(
        directory: &'a RunDirectory,
        count: u32,
        excluded: BTreeSet<NodeName>,
        end_unix_seconds: Option<u64>,
    ) -> Self {
        Self { directory, count, excluded, end_unix_seconds }
    }
}

impl ResourceManager for Local<'_> {
    fn describe(&self) -> &'static str {
        "virtual nodes on this machine"
    }

    fn nodes(&self) -> Vec<NodeName> {
        (0..self.count).map(node_name).collect()
    }

    fn down(&self) -> Result<BTreeSet<NodeName>> {
        let mut down = self.directory.down()?;
        down.extend(self.excluded.iter().cloned());
        Ok(down)
    }

    fn end_unix_seconds(&self) -> Option<u64> {
        self.end_unix_seconds
    }
}
