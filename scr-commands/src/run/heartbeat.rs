// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heartbeats: a counter per node that the library moves while its processes live.
//!
//! Only a counter that has moved once is watched: a program without the library has none.

use crate::files::{list, list_deep, optional, store};
use scr_core::Result;
use scr_core::id::NodeName;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What was last seen of one node.
#[derive(Clone, Debug)]
struct Seen {
    counters: Vec<u8>,
    since: Duration,
    has_moved: bool,
}

/// When the counter of each node last moved. Pure: time and counters come from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heartbeats {
    nodes: BTreeMap<NodeName, Seen>,
}

impl Heartbeats {
    /// Takes what a node's counters say at time `now`.
    pub(crate) fn observe(&mut self, node: &NodeName, counters: &[u8], now: Duration) {
        let seen = self.nodes.entry(node.clone()).or_insert_with(|| Seen {
            counters: counters.to_vec(),
            since: now,
            has_moved: false,
        });
        if seen.counters != counters {
            *seen = Seen { counters: counters.to_vec(), since: now, has_moved: true };
        }
    }

    /// The nodes whose counter moved once and then not for `limit`.
    pub(crate) fn silent(&self, now: Duration, limit: Duration) -> Vec<NodeName> {
        let is_silent = |seen: &Seen| seen.has_moved && now.saturating_sub(seen.since) >= limit;
        self.nodes
            .iter()
            .filter(|(_, seen)| is_silent(seen))
            .map(|(node, _)| node.clone())
            .collect()
    }
}

/// Reads the counters of a node: `<control>/<user>/scr.<job>/<prefix hash>/heartbeat`, end to end.
pub(crate) fn read_counters(control: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for directory in list_deep(control, 3)? {
        for path in list(&directory)? {
            if path.ends_with("heartbeat") {
                all.extend(optional(store().read(&path))?.unwrap_or_default());
                all.push(b'\n');
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_silent_only_after_its_counter_has_moved() {
        let second = Duration::from_secs;
        let (a, b) = (NodeName::new("a"), NodeName::new("b"));
        let mut beats = Heartbeats::default();
        beats.observe(&a, b"1", second(0));
        beats.observe(&b, b"1", second(0));
        assert!(beats.silent(second(100), second(10)).is_empty());
        beats.observe(&a, b"2", second(101));
        beats.observe(&a, b"2", second(105));
        assert!(beats.silent(second(110), second(10)).is_empty());
        assert_eq!(beats.silent(second(111), second(10)), std::slice::from_ref(&a));
        beats.observe(&a, b"3", second(112));
        assert!(beats.silent(second(113), second(10)).is_empty());
    }

    #[test]
    fn counters_are_found_three_levels_down() {
        let base = tempfile::tempdir().unwrap();
        assert!(read_counters(base.path()).unwrap().is_empty());
        let directory = base.path().join("user/scr.job/hash");
        store().create_dir_all(&directory).unwrap();
        store().append(&directory.join("heartbeat"), b"17").unwrap();
        store().append(&directory.join("other"), b"99").unwrap();
        assert_eq!(read_counters(base.path()).unwrap(), b"17\n");
    }
}
