// SPDX-License-Identifier: MIT OR Apache-2.0
//! `local`: virtual nodes on one machine, so that the loss of a node works, and can be shown, on a laptop.
//!
//! A virtual node is a name, a directory for control files, one for the cache, and the processes that carry its name.
//! `scr kill-node` takes all of these away and leaves a mark in the run directory.

use super::{Reach, ResourceManager};
use crate::run::directory::{Run, RunDirectory};
use scr_core::Result;
use scr_core::id::NodeName;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

/// The virtual nodes of one run directory.
#[derive(Debug)]
pub(crate) struct Local<'a> {
    directory: &'a RunDirectory,
    run: &'a Run,
    excluded: BTreeSet<NodeName>,
    end_unix_seconds: Option<u64>,
}

/// The name of the virtual node number `index`.
pub(crate) fn node_name(index: u32) -> NodeName {
    NodeName::new(format!("node{index}"))
}

impl<'a> Local<'a> {
    /// The nodes of `run`, spares included, whose marks are in `directory`; `excluded` ones count as down.
    pub(crate) fn new(
        directory: &'a RunDirectory,
        run: &'a Run,
        excluded: BTreeSet<NodeName>,
        end_unix_seconds: Option<u64>,
    ) -> Self {
        Self { directory, run, excluded, end_unix_seconds }
    }
}

impl ResourceManager for Local<'_> {
    fn describe(&self) -> String {
        "virtual nodes on this machine".into()
    }

    fn job_id(&self) -> &str {
        &self.run.job_id
    }

    fn nodes(&self) -> Vec<NodeName> {
        (0..self.run.nodes).map(node_name).collect()
    }

    fn down(&self, _limit: Duration) -> Result<BTreeSet<NodeName>> {
        let mut down = self.directory.down()?;
        down.extend(self.excluded.iter().cloned());
        Ok(down)
    }

    fn end_unix_seconds(&self) -> Option<u64> {
        self.end_unix_seconds
    }

    fn live_jobs(&self) -> Result<Option<BTreeSet<String>>> {
        Ok(None)
    }

    fn reach(&self) -> &dyn Reach {
        self
    }
}

impl Reach for Local<'_> {
    fn describe(&self) -> &'static str {
        "a process of this machine"
    }

    fn command_lines(&self, nodes: &[NodeName], program: &[OsString]) -> Vec<Vec<OsString>> {
        let setting = |name: &str, value: &std::path::Path| {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            word
        };
        let line = |node: &NodeName| {
            let words = [
                "env".into(),
                format!("SCR_NODE={node}").into(),
                setting("SCR_CNTL_BASE", &self.directory.control(node)),
                setting("SCR_CACHE_BASE", &self.run.cache(node)),
            ];
            words.into_iter().chain(program.iter().cloned()).collect()
        };
        nodes.iter().map(line).collect()
    }
}
