// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signs of life of nodes, and what silence means. Pure: time comes from outside.
//!
//! A node that was heard once and falls silent is doubted; a doubted node that gives no sign until its time is up is lost.

use scr_core::id::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of the nodes of a launch.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    heard: BTreeMap<NodeName, Duration>,
    /// Doubted nodes and until when.
    doubted: BTreeMap<NodeName, Duration>,
    lost: BTreeSet<NodeName>,
}

impl Signs {
    /// A node gave a sign of life.
    pub(super) fn hear(&mut self, node: &NodeName, now: Duration) {
        self.heard.insert(node.clone(), now);
        self.doubted.remove(node);
    }

    /// The nodes that are newly silent, for `limit` by now; they are doubted until `until`.
    pub(super) fn doubt(
        &mut self,
        now: Duration,
        limit: Duration,
        until: Duration,
    ) -> Vec<NodeName> {
        let is_silent = |heard: Duration| now.saturating_sub(heard) >= limit;
        let is_known =
            |node: &&NodeName| self.doubted.contains_key(*node) || self.lost.contains(*node);
        let silent = self.heard.iter().filter(|(_, heard)| is_silent(**heard));
        let new: Vec<_> =
            silent.map(|(node, _)| node).filter(|node| !is_known(node)).cloned().collect();
        self.doubted.extend(new.iter().map(|node| (node.clone(), until)));
        new
    }

    /// Whether an answer of some node is waited for.
    pub(super) fn has_doubts(&self) -> bool {
        !self.doubted.is_empty()
    }

    /// Takes the doubt in these nodes back: they could not be asked.
    pub(super) fn trust(&mut self, nodes: &[NodeName], now: Duration) {
        for node in nodes {
            self.hear(node, now);
        }
    }

    /// The doubted nodes whose time is up: each is told once. While no node at all was heard within `limit` it is our hearing
    /// that fails, and the doubt lasts until `until`.
    pub(super) fn lost(
        &mut self,
        now: Duration,
        limit: Duration,
        until: Duration,
    ) -> Vec<NodeName> {
        if !self.heard.values().any(|heard| now.saturating_sub(*heard) < limit) {
            self.doubted.values_mut().for_each(|end| *end = until);
            return Vec::new();
        }
        let is_over = |until: &Duration| now >= *until;
        let over = self.doubted.iter().filter(|(_, until)| is_over(until));
        let lost: Vec<_> = over.map(|(node, _)| node.clone()).collect();
        for node in &lost {
            self.doubted.remove(node);
            self.lost.insert(node.clone());
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn doubt(signs: &mut Signs, now: u64) -> Vec<NodeName> {
        signs.doubt(Duration::from_secs(now), LIMIT, Duration::from_secs(now + 5))
    }

    fn lost(signs: &mut Signs, now: u64) -> Vec<NodeName> {
        signs.lost(Duration::from_secs(now), LIMIT, Duration::from_secs(now + 5))
    }

    #[test]
    fn silence_is_doubted_then_loss_and_a_sign_ends_the_doubt() {
        let second = Duration::from_secs;
        let (a, b) = (NodeName::new("a"), NodeName::new("b"));
        let mut signs = Signs::default();
        // Who was never heard is not missed.
        assert!(doubt(&mut signs, 100).is_empty());
        signs.hear(&a, second(100));
        signs.hear(&b, second(105));
        assert!(doubt(&mut signs, 109).is_empty());
        assert_eq!(doubt(&mut signs, 110), std::slice::from_ref(&a));
        assert!(doubt(&mut signs, 111).is_empty(), "doubted once");
        assert!(lost(&mut signs, 114).is_empty());
        assert!(signs.has_doubts());
        signs.hear(&a, second(114));
        assert!(!signs.has_doubts());
        assert!(lost(&mut signs, 119).is_empty(), "a sign ends the doubt");
        assert_eq!(doubt(&mut signs, 124), [a.clone(), b.clone()]);
        signs.hear(&b, second(125));
        assert_eq!(lost(&mut signs, 129), std::slice::from_ref(&a));
        assert!(lost(&mut signs, 130).is_empty(), "told once");
        assert_eq!(doubt(&mut signs, 140), std::slice::from_ref(&b));
    }

    #[test]
    fn while_nobody_is_heard_nobody_is_lost() {
        let second = Duration::from_secs;
        let (a, b) = (NodeName::new("a"), NodeName::new("b"));
        let mut signs = Signs::default();
        signs.hear(&a, second(100));
        signs.hear(&b, second(100));
        assert_eq!(doubt(&mut signs, 110).len(), 2);
        assert!(lost(&mut signs, 115).is_empty());
        signs.hear(&a, second(119));
        assert!(lost(&mut signs, 119).is_empty(), "its time began anew");
        assert_eq!(lost(&mut signs, 120), std::slice::from_ref(&b));
        // A question that could not be asked is no answer.
        assert_eq!(doubt(&mut signs, 129), std::slice::from_ref(&a));
        signs.trust(std::slice::from_ref(&a), second(129));
        assert!(lost(&mut signs, 138).is_empty());
    }
}
