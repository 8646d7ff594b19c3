// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heartbeats: a counter per node that the library moves while its processes live.
//!
//! Only a counter that has moved once is watched: a program without the library has none.

use crate::files::{list, list_deep, optional, store};
use crate::output::say_now;
use scr_core::Result;
use scr_core::id::NodeName;
use std::collections::{BTreeMap, BTreeSet};
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
struct Heartbeats {
    nodes: BTreeMap<NodeName, Seen>,
}

impl Heartbeats {
    /// Takes what a node's counters say at time `now`.
    fn observe(&mut self, node: &NodeName, counters: &[u8], now: Duration) {
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
    fn silent(&self, now: Duration, limit: Duration) -> Vec<NodeName> {
        let is_silent = |seen: &Seen| seen.has_moved && now.saturating_sub(seen.since) >= limit;
        self.nodes
            .iter()
            .filter(|(_, seen)| is_silent(seen))
            .map(|(node, _)| node.clone())
            .collect()
    }
}

/// How often heartbeats are read.
const PERIOD: Duration = Duration::from_secs(1);

/// Listens to the heartbeats of a launch, and knows what silence means.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    beats: Heartbeats,
    /// How long a node may be silent before that is said.
    silence: Duration,
    /// Whether a node that is silent for so long is taken for hung (`SCR_WATCHDOG`).
    is_trouble: bool,
    told: BTreeSet<NodeName>,
    next: Duration,
}

impl Listener {
    /// A listener who has heard nothing yet.
    pub(crate) fn new(silence: Duration, is_trouble: bool) -> Self {
        let (beats, told) = (Heartbeats::default(), BTreeSet::new());
        Self { beats, silence, is_trouble, told, next: Duration::ZERO }
    }

    /// Forgets the last launch.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.silence, self.is_trouble);
    }

    /// Whether it is time to read counters again; the next time is a while after that.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + PERIOD;
        }
        is_due
    }

    /// Takes what a node's counters say.
    pub(crate) fn hear(&mut self, node: &NodeName, counters: &[u8], now: Duration) {
        self.beats.observe(node, counters, now);
    }

    /// What silence is trouble; where the watchdog is off it is only said, once for each node.
    pub(crate) fn troubles(&mut self, now: Duration) -> Vec<String> {
        let seconds = self.silence.as_secs();
        let text = |node: &NodeName| format!("{node} has shown no heartbeat for {seconds} s");
        let silent = self.beats.silent(now, self.silence);
        if self.is_trouble {
            return silent.iter().map(text).collect();
        }
        for node in silent {
            if self.told.insert(node.clone()) {
                say_now(&format!("{}; SCR_WATCHDOG=1 would end the launch", text(&node)));
            }
        }
        Vec::new()
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
