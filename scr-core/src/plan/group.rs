// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which nodes protect each other: nodes are dealt to redundancy sets like cards.
//!
//! Nodes are taken failure group by failure group (in the order in which the groups appear) and dealt to the sets one by
//! one. There are at least as many sets as the largest group has nodes, so no set ever gets two nodes of a group; and
//! sizes differ by at most 1, so each set has at least `set_size` members wherever that is possible at all. Where each
//! node is a group of its own, a node's seat follows from its position alone. Dealing rather than cutting puts
//! neighbours, which share chassis and power, into different sets.

use std::collections::BTreeMap;

/// The place of a node in the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which set.
    pub set: u32,
    /// How many sets there are.
    pub sets: u32,
    /// Which member of the set.
    pub member: u32,
    /// How many members the set has.
    pub members: u32,
}

/// Returns the seat of one node among `nodes` that each fail alone; `set_size` is the fewest members wanted.
pub fn set_of(position: u32, nodes: u32, set_size: u32) -> Seat {
    seat(position, nodes, set_size, 1)
}

/// Returns the seat of the node at `position` when nodes are taken failure group by failure group; the largest has
/// `largest_group` nodes.
pub fn seat(position: u32, nodes: u32, set_size: u32, largest_group: u32) -> Seat {
    deal(position, nodes, sets_for(nodes, set_size).max(largest_group))
}

/// Returns the seat of every node, given the failure group of each, in node order.
pub fn seats<G: Ord>(groups: &[G], set_size: u32) -> Vec<Seat> {
    let mut by_group: BTreeMap<&G, Vec<usize>> = BTreeMap::new();
    for (node, group) in groups.iter().enumerate() {
        by_group.entry(group).or_default().push(node);
    }
    let mut in_order: Vec<Vec<usize>> = by_group.into_values().collect();
    in_order.sort_by_key(|nodes| nodes[0]);

    let largest = in_order.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let nodes = groups.len() as u32;
    let mut seats = vec![seat(0, nodes, set_size, largest); groups.len()];
    for (position, node) in in_order.into_iter().flatten().enumerate() {
        seats[node] = seat(position as u32, nodes, set_size, largest);
    }
    seats
}

fn sets_for(nodes: u32, set_size: u32) -> u32 {
    (nodes / set_size.max(1)).max(1)
}

fn deal(position: u32, nodes: u32, sets: u32) -> Seat {
    let set = position % sets;
    let members = nodes / sets + u32::from(set < nodes % sets);
    Seat { set, sets, member: position / sets, members }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Every seat is taken once, and the sizes are as announced.
    fn check(seats: &[Seat]) {
        let taken: BTreeSet<_> = seats.iter().map(|seat| (seat.set, seat.member)).collect();
        assert_eq!(taken.len(), seats.len());
        for seat in seats {
            let members = seats.iter().filter(|other| other.set == seat.set).count();
            assert_eq!(members, seat.members as usize);
            assert!(seat.set < seat.sets && seat.member < seat.members);
        }
        let sets: BTreeSet<_> = seats.iter().map(|seat| seat.set).collect();
        assert_eq!(sets.len(), seats.first().map_or(0, |seat| seat.sets as usize));
    }

    #[test]
    fn sets_are_as_even_as_they_can_be() {
        // (nodes, set_size, members of each set)
        let cases: [(u32, u32, &[u32]); 9] = [
            (1, 8, &[1]),
            (7, 8, &[7]),
            (8, 8, &[8]),
            (15, 8, &[15]),
            (16, 8, &[8, 8]),
            (19, 8, &[10, 9]),
            (11, 3, &[4, 4, 3]),
            (4, 1, &[1, 1, 1, 1]),
            (4, 0, &[1, 1, 1, 1]),
        ];
        for (nodes, set_size, expected) in cases {
            let seats: Vec<Seat> = (0..nodes).map(|node| set_of(node, nodes, set_size)).collect();
            check(&seats);
            let sizes: Vec<u32> =
                seats.iter().filter(|s| s.member == 0).map(|s| s.members).collect();
            assert_eq!(sizes, expected, "{nodes} nodes by {set_size}");
        }
    }

    #[test]
    fn nodes_of_one_failure_group_never_meet() {
        let seats = seats(&["a", "a", "b", "b", "c", "c", "c"], 4);
        check(&seats);
        let sets: Vec<u32> = seats.iter().map(|seat| seat.set).collect();
        assert_eq!(sets, [0, 1, 2, 0, 1, 2, 0]);
    }

    proptest! {
        #[test]
        fn any_grouping_is_safe_and_even(groups in prop::collection::vec(0_u8..6, 1..40), set_size in 0_u32..10) {
            let seats = seats(&groups, set_size);
            check(&seats);
            let pairs: BTreeSet<_> = seats.iter().zip(&groups).map(|(s, g)| (s.set, g)).collect();
            prop_assert_eq!(pairs.len(), groups.len(), "two nodes of a group in one set");
            let sizes: BTreeSet<u32> = seats.iter().map(|seat| seat.members).collect();
            prop_assert!(sizes.len() <= 2);
            let size = |group| groups.iter().fold(0, |n, other| n + usize::from(*other == group));
            let largest = (0..6).map(size).max().unwrap();
            if groups.len() >= largest * set_size as usize {
                let least = sizes.first().copied().unwrap();
                prop_assert!(least >= set_size.min(groups.len() as u32));
            }
        }

        #[test]
        fn one_rule_for_both(nodes in 1_u32..60, set_size in 0_u32..10) {
            let groups: Vec<u32> = (0..nodes).rev().collect();
            let plain: Vec<Seat> = (0..nodes).map(|node| set_of(node, nodes, set_size)).collect();
            prop_assert_eq!(seats(&groups, set_size), plain);
        }
    }
}
