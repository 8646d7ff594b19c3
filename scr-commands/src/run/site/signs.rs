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

    /// The doubted nodes whose time is up: each is told once.
    pub(super) fn lost(&mut self, now: Duration) -> Vec<NodeName> {
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

    #[test]
    fn silence_is_doubted_then_loss_and_a_sign_ends_the_doubt() {
        let second = Duration::from_secs;
        let (a, b) = (NodeName::new("a"), NodeName::new("b"));
        let mut signs = Signs::default();
        let doubt = |signs: &mut Signs, now| signs.doubt(second(now), second(10), second(now + 5));
        // Who was never heard is not missed.
        assert!(doubt(&mut signs, 100).is_empty());
        signs.hear(&a, second(100));
        signs.hear(&b, second(105));
        assert!(doubt(&mut signs, 109).is_empty());
        assert_eq!(doubt(&mut signs, 110), std::slice::from_ref(&a));
        assert!(doubt(&mut signs, 111).is_empty(), "doubted once");
        assert!(signs.lost(second(114)).is_empty());
        signs.hear(&a, second(114));
        assert!(signs.lost(second(200)).is_empty(), "a sign ends the doubt");
        assert_eq!(doubt(&mut signs, 124), [a.clone(), b.clone()]);
        signs.hear(&b, second(125));
        assert_eq!(signs.lost(second(129)), std::slice::from_ref(&a));
        assert!(signs.lost(second(130)).is_empty(), "told once");
        assert_eq!(doubt(&mut signs, 140), std::slice::from_ref(&b));
    }
}
