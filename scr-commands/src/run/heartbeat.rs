// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heartbeats: a counter per node that the library moves while its processes live, and one that moves with its calls.
//!
//! Only a counter that has moved once is watched: a program without the library has none. The second one is what tells a
//! rank that hangs from one that works: but only the user knows how long work may take, so it is watched for as long as
//! the user says, or not at all.

use crate::agents::watch::counters;
use crate::files::list_deep;
use crate::output::{join, say_now};
use scr_core::Result;
use scr_core::id::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// When something was last seen to move.
#[derive(Clone, Debug)]
struct Seen {
    counters: Vec<u8>,
    since: Duration,
    /// When it was last looked at: time in which nobody told us of it does not count.
    heard: Duration,
    has_moved: bool,
}

impl Seen {
    fn new(counters: &[u8], now: Duration) -> Self {
        Self { counters: counters.to_vec(), since: now, heard: now, has_moved: false }
    }

    fn observe(&mut self, counters: &[u8], now: Duration) {
        if counters.is_empty() {
            // The library has taken it away, for the application needs it no more.
            *self = Self::new(counters, now);
        } else if self.counters != counters {
            *self = Self { has_moved: true, ..Self::new(counters, now) };
        }
        self.heard = now;
    }

    fn is_still(&self, limit: Duration) -> bool {
        self.has_moved && self.heard.saturating_sub(self.since) >= limit
    }
}

/// What stands after the first blank of each line: the counters of calls. There is none while a launch has not begun.
fn calls(counters: &[u8]) -> Vec<u8> {
    let lines = counters.split(|&byte| byte == b'\n');
    let second = lines.filter_map(|line| line.split(|&byte| byte == b' ').nth(1));
    second.flat_map(|number| [number, b" "].concat()).collect()
}

/// Whether one of these counters says that the application waits in a call: it is odd.
fn is_within_a_call(calls: &[u8]) -> bool {
    let mut numbers = calls.split(|&byte| byte == b' ').filter_map(|number| number.last());
    numbers.any(|digit| digit % 2 == 1)
}

/// When the counter of each node last moved. Pure: time and counters come from outside.
#[derive(Clone, Debug, Default)]
struct Heartbeats {
    nodes: BTreeMap<NodeName, Seen>,
    calls: BTreeMap<NodeName, Seen>,
}

impl Heartbeats {
    /// Takes what a node's counters say at time `now`.
    fn observe(&mut self, node: &NodeName, counters: &[u8], now: Duration) {
        let calls = calls(counters);
        for (seen, counters) in [(&mut self.nodes, counters), (&mut self.calls, &calls)] {
            let first = || Seen::new(counters, now);
            seen.entry(node.clone()).or_insert_with(first).observe(counters, now);
        }
    }

    /// The nodes whose counter moved once and then not for `limit`.
    fn silent(&self, limit: Duration) -> Vec<NodeName> {
        let silent = self.nodes.iter().filter(|(_, seen)| seen.is_still(limit));
        silent.map(|(node, _)| node.clone()).collect()
    }

    /// The nodes where the application made calls, and then none for as long as it may.
    fn idle(&self, limits: &CallLimits) -> Vec<NodeName> {
        let is_idle = |seen: &Seen| {
            let is_within = is_within_a_call(&seen.counters);
            let limit = if is_within { limits.within } else { limits.between };
            limit.is_some_and(|limit| seen.is_still(limit))
        };
        let idle = self.calls.iter().filter(|(_, seen)| is_idle(seen));
        idle.map(|(node, _)| node.clone()).collect()
    }
}

/// How long an application may take; `None` is as long as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallLimits {
    /// Between two calls of the library (`SCR_WATCHDOG_TIMEOUT`, where it is set).
    pub(crate) between: Option<Duration>,
    /// In one of them, which copies to the prefix perhaps (`SCR_WATCHDOG_TIMEOUT_PFS`, else the same).
    pub(crate) within: Option<Duration>,
}

/// How often heartbeats are read.
const PERIOD: Duration = Duration::from_secs(1);

/// Listens to the heartbeats of a launch, and knows what silence means.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    beats: Heartbeats,
    /// How long a node may be silent before that is said.
    silence: Duration,
    limits: CallLimits,
    /// Whether a node that is silent for so long is taken for hung (`SCR_WATCHDOG`).
    is_trouble: bool,
    told: BTreeSet<NodeName>,
    next: Duration,
}

impl Listener {
    /// A listener who has heard nothing yet.
    pub(crate) fn new(silence: Duration, limits: CallLimits, is_trouble: bool) -> Self {
        let (beats, told) = (Heartbeats::default(), BTreeSet::new());
        Self { beats, silence, limits, is_trouble, told, next: Duration::ZERO }
    }

    /// Forgets the last launch.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.silence, self.limits, self.is_trouble);
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
    pub(crate) fn troubles(&mut self) -> Vec<String> {
        let seconds = self.silence.as_secs();
        let text = |node: &NodeName| format!("{node} has shown no heartbeat for {seconds} s");
        let silent = self.beats.silent(self.silence);
        if self.is_trouble {
            let mut troubles: Vec<String> = silent.iter().map(text).collect();
            let idle = self.beats.idle(&self.limits);
            if !idle.is_empty() {
                troubles.push(format!("the application makes no progress on {}", join(&idle)));
            }
            return troubles;
        }
        for node in silent {
            if self.told.insert(node.clone()) {
                say_now(&format!("{}; SCR_WATCHDOG=1 would end the launch", text(&node)));
            }
        }
        Vec::new()
    }
}

/// Reads the counters of a virtual node, whose control directory nobody else uses: those of each job there, end to end.
pub(crate) fn read_counters(control: &Path) -> Result<Vec<u8>> {
    let jobs = list_deep(control, 2)?;
    let counters = jobs.iter().map(|job| counters(job));
    Ok(counters.collect::<Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::store;

    #[test]
    fn an_application_hangs_when_it_makes_no_calls_for_longer_than_it_may() {
        let second = Duration::from_secs;
        let node = NodeName::new("a");
        let mut beats = Heartbeats::default();
        let limits = CallLimits { between: Some(second(10)), within: Some(second(30)) };
        let mut idle = |counters: &[u8], times: &[u64]| -> Vec<usize> {
            let ask = |&time: &u64| {
                beats.observe(&node, counters, second(time));
                beats.idle(&limits).len()
            };
            times.iter().map(ask).collect()
        };
        // What an earlier launch left, and a start that takes its time.
        assert_eq!(idle(b"70 8\n", &[0, 100]), [0, 0]);
        assert_eq!(idle(b"1 1\n", &[100, 129, 130]), [0, 0, 1]);
        assert_eq!(idle(b"2 2\n", &[140, 149, 150]), [0, 0, 1]);
        // The process lives, and that is all.
        assert_eq!(idle(b"3 2\n", &[151]), [1]);
        // The library has taken its counter away.
        assert_eq!(idle(b"", &[152, 1000]), [0, 0]);
        assert_eq!(idle(b"1 2\n", &[1000, 1009, 1010]), [0, 0, 1]);
        assert!(beats.silent(second(11)).is_empty());
        assert!(beats.idle(&CallLimits::default()).is_empty());
        // A library that does not tell.
        let mut old = Heartbeats::default();
        for (time, counter) in [(0, b"1\n"), (1, b"2\n"), (100, b"2\n")] {
            old.observe(&node, counter, second(time));
        }
        assert!(old.idle(&limits).is_empty());
    }

    #[test]
    fn a_node_is_silent_only_after_its_counter_has_moved_and_was_seen_to_stand() {
        let second = Duration::from_secs;
        let (a, b) = (NodeName::new("a"), NodeName::new("b"));
        let mut beats = Heartbeats::default();
        let mut silent = |counter: &[u8], time| {
            beats.observe(&a, counter, second(time));
            beats.observe(&b, b"1", second(time));
            beats.silent(second(10))
        };
        for (counter, time, expected) in [
            (b"1", 0, false),
            (b"1", 100, false),
            (b"2", 101, false),
            (b"2", 110, false),
            (b"2", 111, true),
            // Nobody told of it for a while.
            (b"3", 112, false),
            (b"4", 190, false),
        ] {
            let expected = if expected { vec![a.clone()] } else { Vec::new() };
            assert_eq!(silent(counter, time), expected, "at {time}");
        }
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
