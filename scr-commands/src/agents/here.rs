// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nodes that are all this machine: each a name, and directories of its own where it has them.

use crate::resource_manager::Reach;
use scr_core::id::NodeName;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The directories of a virtual node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bases {
    /// Its `SCR_CACHE_BASE`.
    pub(crate) cache: PathBuf,
    /// Its `SCR_CNTL_BASE`.
    pub(crate) control: PathBuf,
}

/// Starts programs as processes of this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Here {
    /// Nodes that have directories of their own.
    pub(crate) bases: BTreeMap<NodeName, Bases>,
}

impl Reach for Here {
    fn describe(&self) -> &'static str {
        "a process of this machine"
    }

    fn command_lines(&self, nodes: &[NodeName], program: &[OsString]) -> Vec<Vec<OsString>> {
        let line = |node: &NodeName| {
            let mut words = vec![OsString::from("env"), format!("SCR_NODE={node}").into()];
            if let Some(Bases { cache, control }) = self.bases.get(node) {
                for (name, path) in [("SCR_CACHE_BASE=", cache), ("SCR_CNTL_BASE=", control)] {
                    let mut word = OsString::from(name);
                    word.push(path);
                    words.push(word);
                }
            }
            words.extend(program.iter().cloned());
            words
        };
        nodes.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_a_process_that_knows_its_name() {
        let (a, b) = (NodeName::new("a"), NodeName::new("b"));
        let bases = Bases { cache: "/c/a".into(), control: "/k/a".into() };
        let here = Here { bases: BTreeMap::from([(a.clone(), bases)]) };
        let lines = here.command_lines(&[a, b], &["scr".into(), "x".into()]);
        let lines: Vec<_> = lines.iter().map(|line| line.join(&OsString::from(" "))).collect();
        assert_eq!(
            lines,
            ["env SCR_NODE=a SCR_CACHE_BASE=/c/a SCR_CNTL_BASE=/k/a scr x", "env SCR_NODE=b scr x"]
        );
    }
}
