// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resource managers: which nodes an allocation has, and which of them are down. One file each.

pub(crate) mod local;

use scr_core::Result;
use scr_core::id::NodeName;
use std::collections::BTreeSet;

/// Who knows the nodes of an allocation.
pub(crate) trait ResourceManager: std::fmt::Debug {
    /// What it is, for messages.
    fn describe(&self) -> &'static str;

    /// All nodes of the allocation in its order; those beyond what a launch needs are spares.
    fn nodes(&self) -> Vec<NodeName>;

    /// The nodes that cannot be used.
    fn down(&self) -> Result<BTreeSet<NodeName>>;

    /// When the allocation ends, in seconds since 1970, where known.
    fn end_unix_seconds(&self) -> Option<u64>;
}

/// Reads a list of node names separated by commas or blanks (`SCR_EXCLUDE_NODES`).
pub(crate) fn parse_node_list(text: &str) -> BTreeSet<NodeName> {
    text.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty()).map(NodeName::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_lists_are_separated_by_commas_or_blanks() {
        let cases = [("", 0), ("node1", 1), ("node1,node2", 2), (" node1, node2 node1 ", 2)];
        for (text, expected) in cases {
            assert_eq!(parse_node_list(text).len(), expected, "{text:?}");
        }
    }
}
