// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nodes that a command is about: those of the allocation it runs in, those that it is told, or this machine alone.

use crate::agents::here::{Bases, Here};
use crate::agents::ssh::Ssh;
use crate::environment::variable;
use crate::files::{absolute, name_of};
use crate::output::warn;
use crate::resource_manager::{PATIENCE, Reach, ResourceManager, around, parse_node_list};
use crate::settings::Settings;
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Nodes, and how they are reached.
#[derive(Debug)]
pub(crate) struct Allocation {
    ground: Ground,
    /// All its nodes, in its order.
    pub(crate) nodes: Vec<NodeName>,
    excluded: BTreeSet<NodeName>,
    /// Whether it was said that the manager does not know which nodes are down.
    is_told: Cell<bool>,
}

/// What stands behind the nodes.
#[derive(Debug)]
enum Ground {
    /// A resource manager.
    Managed(Box<dyn ResourceManager>),
    /// Nobody; they are reached like this.
    Bare(Box<dyn Reach>),
}

impl Allocation {
    /// Finds the nodes. `caches` are the cache directories of virtual nodes on this machine, where there are such.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when a list of nodes cannot be understood, or two nodes have one name.
    pub(crate) fn find(settings: &Settings, caches: &[PathBuf]) -> Result<Self> {
        let own = settings.job().node;
        let list = |name: &str| variable(name).map_or(Ok(None), |text| ordered(&text).map(Some));
        let excluded = list("SCR_EXCLUDE_NODES")?.unwrap_or_default().into_iter().collect();
        let (ground, nodes) = if caches.is_empty() {
            match (around()?, list("SCR_NODELIST")?) {
                (Some(manager), told) => {
                    let nodes = told.unwrap_or_else(|| manager.nodes());
                    (Ground::Managed(manager), nodes)
                }
                (None, Some(nodes)) if nodes != [own.clone()] => {
                    (Ground::Bare(Box::new(Ssh)), nodes)
                }
                _ => (Ground::Bare(Box::<Here>::default()), vec![own]),
            }
        } else {
            let here = virtual_nodes(caches)?;
            let nodes = here.bases.keys().cloned().collect();
            (Ground::Bare(Box::new(here)), nodes)
        };
        Ok(Self { ground, nodes, excluded, is_told: Cell::new(false) })
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.ground {
            Ground::Managed(manager) => manager.describe(),
            Ground::Bare(_) => "no resource manager".into(),
        }
    }

    /// How programs get to its nodes.
    pub(crate) fn reach(&self) -> &dyn Reach {
        match &self.ground {
            Ground::Managed(manager) => manager.reach(),
            Ground::Bare(reach) => &**reach,
        }
    }

    /// The nodes that are not to be asked, and why; `down` are those that somebody else has found out.
    pub(crate) fn down(
        &self,
        command: &str,
        down: &BTreeSet<NodeName>,
    ) -> BTreeMap<NodeName, String> {
        let mut reasons = BTreeMap::new();
        if let Ground::Managed(manager) = &self.ground {
            match manager.down(PATIENCE) {
                Ok(found) => {
                    let reason = format!("down, says {}", manager.describe());
                    reasons.extend(found.into_iter().map(|node| (node, reason.clone())));
                }
                // Who does not know which nodes are down finds out by asking them.
                Err(error) if self.is_told.replace(true) => drop(error),
                Err(error) => {
                    warn(command, &format!("which nodes are down is not known: {error:#}"));
                }
            }
        }
        reasons.extend(down.iter().map(|node| (node.clone(), "known to be down".to_string())));
        let excluded = self.excluded.iter();
        reasons.extend(excluded.map(|node| (node.clone(), "excluded by SCR_EXCLUDE_NODES".into())));
        reasons.retain(|node, _| self.nodes.contains(node));
        reasons
    }

    /// Those of its nodes that are not to be left out.
    pub(crate) fn usable(&self, command: &str, down: &BTreeSet<NodeName>) -> Vec<NodeName> {
        let down = self.down(command, down);
        self.nodes.iter().filter(|node| !down.contains_key(*node)).cloned().collect()
    }

    /// The ids of this user's jobs that are not over, that of this allocation among them; `None` where nobody knows.
    pub(crate) fn live_jobs(&self) -> Result<Option<BTreeSet<String>>> {
        let Ground::Managed(manager) = &self.ground else { return Ok(None) };
        let live = manager.live_jobs()?;
        Ok(live.map(|mut live| {
            live.insert(manager.job_id().to_string());
            live
        }))
    }
}

/// The names of a list in its order, each once.
pub(crate) fn ordered(text: &str) -> Result<Vec<NodeName>> {
    // What is no list is refused in the words of those who read lists.
    parse_node_list(text)?;
    let mut seen = BTreeSet::new();
    let names = crate::hostlist::parse(text)?.into_iter().map(NodeName::new);
    Ok(names.filter(|name| seen.insert(name.clone())).collect())
}

/// A virtual node for each cache directory, called as its last part.
fn virtual_nodes(caches: &[PathBuf]) -> Result<Here> {
    let mut bases = BTreeMap::new();
    for cache in caches {
        let cache = absolute(cache)?;
        let node = NodeName::new(name_of(&cache));
        let own = Bases { control: cache.clone(), cache };
        if let Some(other) = bases.insert(node.clone(), own) {
            let text = format!(
                "two cache directories are called {node}; the other is {}",
                other.cache.display()
            );
            return Err(Error::new(ErrorKind::Misuse, text));
        }
    }
    Ok(Here { bases })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_each_name_once() {
        let names = ordered("n3,n[1-2],n3").unwrap();
        assert_eq!(names.iter().map(NodeName::as_str).collect::<Vec<_>>(), ["n3", "n1", "n2"]);
        assert_eq!(ordered("n[1-").unwrap_err().kind(), ErrorKind::Misuse);
    }

    #[test]
    fn each_cache_directory_is_a_node() {
        let here = virtual_nodes(&["/a/n0".into(), "/b/n1".into()]).unwrap();
        assert_eq!(here.bases[&NodeName::new("n1")].cache, std::path::Path::new("/b/n1"));
        let twice = virtual_nodes(&["/a/n0".into(), "/b/n0".into()]);
        assert_eq!(twice.unwrap_err().kind(), ErrorKind::Misuse);
    }
}
