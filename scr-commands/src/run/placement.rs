// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which node each launch uses, and which rank runs on which node. Pure.
//!
//! A launch has *slots*, in order; a rank belongs to a slot. When the node of a slot fails, a spare takes its place in
//! the order, so that the ranks of all other nodes stay where their caches are.

use crate::output::count;
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The nodes of the next launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The node of each slot.
    pub(crate) slots: Vec<NodeName>,
    /// Spares that took the place of a failed node: (failed, spare).
    pub(crate) replaced: Vec<(NodeName, NodeName)>,
    /// Failed nodes for which there was no spare: their slots are gone.
    pub(crate) dropped: Vec<NodeName>,
}

/// Finds the nodes of the next launch from those of the last (or first) one.
///
/// `wanted` slots are filled as far as nodes go; fewer than `needed` is an error.
///
/// # Errors
/// [`ErrorKind::Refused`] when fewer than `needed` nodes are left.
pub(crate) fn place(
    last: &[NodeName],
    nodes: &[NodeName],
    down: &BTreeSet<NodeName>,
    wanted: usize,
    needed: usize,
) -> Result<Placement> {
    let mut spares = nodes.iter().filter(|node| !down.contains(node) && !last.contains(node));
    let mut placement = Placement::default();
    for node in last {
        if !down.contains(node) {
            placement.slots.push(node.clone());
        } else if let Some(spare) = spares.next() {
            placement.replaced.push((node.clone(), spare.clone()));
            placement.slots.push(spare.clone());
        } else {
            placement.dropped.push(node.clone());
        }
    }
    let missing = wanted.saturating_sub(placement.slots.len());
    placement.slots.extend(spares.take(missing).cloned());
    if placement.slots.len() < needed.max(1) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} of {} nodes are left and {} are needed; give more with --spares, or allow \
                 fewer with SCR_MIN_NODES",
                placement.slots.len(),
                nodes.len(),
                needed.max(1)
            ),
        ));
    }
    Ok(placement)
}

/// The slot that `rank` of `ranks` belongs to: blocks of equal size, the first ones larger, or as `ranks_per_node` says.
///
/// # Errors
/// [`ErrorKind::Misuse`] when `ranks_per_node` does not add up to `ranks`.
pub(crate) fn slot_of(
    rank: u32,
    ranks: u32,
    slots: u32,
    ranks_per_node: Option<&[u32]>,
) -> Result<u32> {
    let even: Vec<u32>;
    let counts = if let Some(counts) = ranks_per_node {
        counts
    } else {
        even = (0..slots).map(|slot| ranks / slots + u32::from(slot < ranks % slots)).collect();
        &even
    };
    let total: u32 = counts.iter().sum();
    if total != ranks || counts.len() != slots as usize {
        return Err(Error::new(
            ErrorKind::Misuse,
            format!(
                "--ranks-per-node names {total} ranks on {} nodes, but there are {ranks} ranks on \
                 {slots} nodes",
                counts.len()
            ),
        ));
    }
    let mut end = 0;
    let slot = counts.iter().position(|count| {
        end += count;
        rank < end
    });
    slot.map(|slot| slot as u32)
        .ok_or_else(|| Error::new(ErrorKind::Misuse, format!("there is no rank {rank} of {ranks}")))
}

/// How many of the `total` nodes of an allocation a launch shall have: as many as it can use, but for the spares.
///
/// # Errors
/// [`ErrorKind::Misuse`] when the allocation has fewer.
pub(crate) fn wanted(
    asked: Option<u32>,
    spares: Option<u32>,
    usable: Option<RangeInclusive<u32>>,
    total: usize,
) -> Result<usize> {
    let spares = spares.unwrap_or(0) as usize;
    let range = usable.map_or(1..=total, |nodes| *nodes.start() as usize..=*nodes.end() as usize);
    let most = total.saturating_sub(spares).min(*range.end());
    let wanted = asked.map_or(most.max(*range.start()), |nodes| nodes as usize);
    if wanted == 0 || wanted + spares > total {
        let text = format!(
            "{wanted} nodes and {} are asked for, and the allocation has {total}",
            count(spares as u64, "spare")
        );
        return Err(Error::new(ErrorKind::Misuse, text));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<NodeName> {
        text.split_whitespace().map(NodeName::new).collect()
    }

    #[test]
    fn a_launch_takes_as_many_nodes_as_it_can_use_but_for_the_spares() {
        // (--nodes, --spares, what the launcher can use, nodes of the allocation, expected)
        let cases = [
            (None, None, None, 5, Some(5)),
            (None, Some(1), None, 5, Some(4)),
            (Some(3), None, None, 5, Some(3)),
            (None, None, Some(4..=4), 5, Some(4)),
            (None, None, Some(4..=6), 5, Some(5)),
            (None, Some(1), Some(4..=6), 5, Some(4)),
            (None, Some(2), Some(4..=6), 5, None),
            (None, None, Some(1..=4), 5, Some(4)),
            (None, None, Some(1..=8), 5, Some(5)),
            (None, None, Some(6..=6), 5, None),
            (Some(3), Some(3), None, 5, None),
            (None, Some(5), None, 5, None),
        ];
        for (asked, spares, usable, total, expected) in cases {
            let got = wanted(asked, spares, usable.clone(), total).ok();
            assert_eq!(got, expected, "{asked:?} {spares:?} {usable:?} of {total}");
        }
    }

    #[test]
    fn a_spare_takes_the_place_of_the_failed_node() {
        let nodes = names("a b c d s t");
        // (last, down, wanted, needed, expected slots or none)
        let cases = [
            ("a b c d", "", 4, 4, Some("a b c d")),
            ("a b c d", "c", 4, 4, Some("a b s d")),
            ("a b s d", "c s", 4, 4, Some("a b t d")),
            ("a b c d", "b d", 4, 4, Some("a s c t")),
            ("a b c d", "s", 4, 4, Some("a b c d")),
            ("a b c d", "b s t", 4, 4, None),
            ("a b c d", "b s t", 4, 3, Some("a c d")),
            ("a c d", "b s", 4, 3, Some("a c d t")),
            ("a b c d", "a b c d s t", 4, 0, None),
        ];
        for (last, down, wanted, needed, expected) in cases {
            let down = names(down).into_iter().collect();
            let placed = place(&names(last), &nodes, &down, wanted, needed);
            assert_eq!(placed.ok().map(|p| p.slots), expected.map(names), "{last} less {down:?}");
        }
    }

    #[test]
    fn replacements_and_losses_are_told() {
        let down = names("b d").into_iter().collect();
        let placed = place(&names("a b c d"), &names("a b c d s"), &down, 4, 1).unwrap();
        assert_eq!(placed.replaced, [(NodeName::new("b"), NodeName::new("s"))]);
        assert_eq!(placed.dropped, names("d"));
    }

    #[test]
    fn ranks_fill_slots_in_blocks() {
        type Case = (u32, u32, Option<&'static [u32]>, &'static [u32]);
        let cases: [Case; 6] = [
            (4, 2, None, &[0, 0, 1, 1]),
            (5, 2, None, &[0, 0, 0, 1, 1]),
            (2, 4, None, &[0, 1]),
            (1, 1, None, &[0]),
            (4, 3, Some(&[1, 2, 1]), &[0, 1, 1, 2]),
            (3, 3, Some(&[2, 0, 1]), &[0, 0, 2]),
        ];
        for (ranks, slots, counts, expected) in cases {
            let got: Vec<u32> =
                (0..ranks).map(|rank| slot_of(rank, ranks, slots, counts).unwrap()).collect();
            assert_eq!(got, expected);
        }
        assert!(slot_of(0, 4, 2, Some(&[1, 2])).is_err());
        assert!(slot_of(0, 3, 3, Some(&[1, 2])).is_err());
        assert!(slot_of(3, 3, 3, None).is_err());
    }
}
