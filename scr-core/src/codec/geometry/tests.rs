// SPDX-License-Identifier: MIT OR Apache-2.0
//! The geometry against a reference that keeps everything in plain vectors: encode, lose a member, decode, compare.

use super::*;
use crate::codec::xor::xor_into;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BLOCK: u32 = 8;

/// Lengths around the edges of blocks, rows and segments, zero included.
fn stream_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0_u64),
        4 => (0_u64..6, 0_u64..3).prop_map(|(blocks, off)| (blocks * u64::from(BLOCK) + off).saturating_sub(1)),
        4 => 0_u64..400,
    ]
}

fn sets() -> impl Strategy<Value = Vec<Vec<u64>>> {
    prop::collection::vec(prop::collection::vec(stream_bytes(), 1..5), 1..9)
}

/// The streams of a set, with bytes that are never 0, so that a forgotten block is noticed.
fn streams(members: &[Vec<u64>]) -> Vec<Vec<Vec<u8>>> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 | 1
    };
    members
        .iter()
        .map(|ranks| ranks.iter().map(|&bytes| (0..bytes).map(|_| next()).collect()).collect())
        .collect()
}

fn bytes_of<'a>(data: &'a [Vec<Vec<u8>>], member: usize, block: &Block) -> &'a [u8] {
    let start = block.stream_offset as usize;
    &data[member][block.rank_index][start..start + block.length as usize]
}

/// XOR of what all members but `except` contribute to a stripe.
fn combine(
    geometry: &Geometry,
    data: &[Vec<Vec<u8>>],
    row: u64,
    stripe: usize,
    except: Option<usize>,
) -> Vec<u8> {
    let mut acc = vec![0; BLOCK as usize];
    for member in (0..geometry.members()).filter(|&member| Some(member) != except) {
        if let Some(block) = geometry.data_block(member, row, stripe) {
            xor_into(&mut acc, bytes_of(data, member, &block));
        }
    }
    acc
}

fn encode(geometry: &Geometry, data: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let mut parity = vec![vec![0; geometry.parity_bytes() as usize]; geometry.members()];
    for row in 0..geometry.rows() {
        for stripe in 0..geometry.members() {
            let at = geometry.parity_offset(row, 0) as usize;
            parity[geometry.parity_holder(stripe, 0)][at..at + BLOCK as usize]
                .copy_from_slice(&combine(geometry, data, row, stripe, None));
        }
    }
    parity
}

proptest! {
    #[test]
    fn any_one_member_comes_back_with_its_parity(members in sets()) {
        prop_assume!(members.len() > 1);
        let data = streams(&members);
        let geometry = Geometry::new(BLOCK, (members.len() - 1, 1), members.clone()).unwrap();
        let parity = encode(&geometry, &data);
        for lost in 0..members.len() {
            let mut left = data.clone();
            left[lost].iter_mut().for_each(|stream| stream.fill(0xee));
            let mut found = left[lost].clone();
            let mut found_parity = vec![0xee; parity[lost].len()];
            for row in 0..geometry.rows() {
                for stripe in 0..geometry.members() {
                    let mut acc = combine(&geometry, &left, row, stripe, Some(lost));
                    let at = geometry.parity_offset(row, 0) as usize;
                    let at = at..at + BLOCK as usize;
                    let holder = geometry.parity_holder(stripe, 0);
                    if holder == lost {
                        found_parity[at].copy_from_slice(&acc);
                    } else {
                        xor_into(&mut acc, &parity[holder][at]);
                        if let Some(block) = geometry.data_block(lost, row, stripe) {
                            let start = block.stream_offset as usize;
                            found[block.rank_index][start..start + block.length as usize]
                                .copy_from_slice(&acc[..block.length as usize]);
                        }
                    }
                }
            }
            prop_assert_eq!(&found, &data[lost]);
            prop_assert_eq!(&found_parity, &parity[lost]);
        }
    }

    #[test]
    fn every_byte_is_in_exactly_one_stripe_and_can_be_located(
        members in sets(),
        parities in 0_usize..4,
        spare in 0_usize..8,
    ) {
        prop_assume!(members.len() > parities);
        let segments = 1 + spare % (members.len() - parities);
        let geometry = Geometry::new(BLOCK, (segments, parities), members.clone()).unwrap();
        let mut seen: Vec<Vec<Vec<u32>>> =
            members.iter().map(|r| r.iter().map(|&b| vec![0; b as usize]).collect()).collect();
        for row in 0..geometry.rows() {
            for stripe in 0..geometry.members() {
                for (member, seen) in seen.iter_mut().enumerate() {
                    let Some(block) = geometry.data_block(member, row, stripe) else { continue };
                    let start = block.stream_offset as usize;
                    seen[block.rank_index][start..start + block.length as usize]
                        .iter_mut()
                        .for_each(|count| *count += 1);
                    let index = block.stream_offset / u64::from(BLOCK);
                    prop_assert_eq!(
                        geometry.locate(member, block.rank_index, index),
                        Some((row, stripe))
                    );
                }
            }
        }
        prop_assert!(seen.iter().flatten().flatten().all(|&count| count == 1));
        for (member, ranks) in members.iter().enumerate() {
            for rank in 0..ranks.len() {
                let blocks = geometry.stream_blocks(member, rank);
                prop_assert_eq!(geometry.locate(member, rank, blocks), None);
            }
        }
    }

    #[test]
    fn a_stripe_has_every_parity_and_every_segment_once(
        n in 1_usize..17,
        parities in 0_usize..5,
        spare in 0_usize..16,
    ) {
        prop_assume!(n > parities);
        let segments = 1 + spare % (n - parities);
        let geometry = Geometry::new(BLOCK, (segments, parities), vec![vec![0]; n]).unwrap();
        for stripe in 0..n {
            let parity: BTreeSet<_> = (0..n).filter_map(|m| geometry.parity_slot(m, stripe)).collect();
            let data: BTreeSet<_> = (0..n).filter_map(|m| geometry.data_slot(m, stripe)).collect();
            prop_assert_eq!(parity, (0..parities).collect());
            prop_assert_eq!(data, (0..segments).collect());
            for slot in 0..parities {
                let holder = geometry.parity_holder(stripe, slot);
                prop_assert_eq!(geometry.parity_slot(holder, stripe), Some(slot));
                prop_assert_eq!(geometry.stripe_of_parity(holder, slot), stripe);
            }
            for segment in 0..segments {
                let member = geometry.contributor(stripe, segment);
                prop_assert_eq!(geometry.data_slot(member, stripe), Some(segment));
            }
        }
        for member in 0..n {
            for segment in 0..segments {
                let stripe = geometry.stripe_of(member, segment);
                prop_assert_eq!(geometry.data_slot(member, stripe), Some(segment));
            }
        }
    }

    #[test]
    fn turns_cover_every_row_of_a_member_once_as_owner_and_once_as_lane(members in sets()) {
        let geometry = Geometry::new(BLOCK, (1, members.len() - 1), members.clone()).unwrap();
        for (member, ranks) in members.iter().enumerate() {
            let mut owners = vec![0; geometry.rows() as usize];
            let mut lanes = owners.clone();
            for rank in 0..ranks.len() {
                let turns: Vec<Turn> = geometry.turns(member, rank).collect();
                prop_assert!(turns.is_sorted_by(|a, b| a.row < b.row));
                for turn in turns {
                    if let Some(local_row) = turn.local_row {
                        owners[turn.row as usize] += 1;
                        prop_assert_eq!(geometry.row_owner(member, turn.row), Some((rank, local_row)));
                    }
                    if turn.is_lane {
                        lanes[turn.row as usize] += 1;
                        prop_assert_eq!(geometry.lane(member, turn.row), rank);
                    }
                    prop_assert!(turn.is_lane || turn.local_row.is_some());
                }
            }
            for row in 0..geometry.rows() {
                let owned = i32::from(geometry.row_owner(member, row).is_some());
                prop_assert_eq!((owners[row as usize], lanes[row as usize]), (owned, 1));
            }
        }
    }
}

#[test]
fn rows_are_dealt_in_rounds_and_exhausted_ranks_are_skipped() {
    // Two members, one parity: one segment, so rows are blocks. Ranks with 1, 3 and 2 rows.
    let geometry = Geometry::new(BLOCK, (1, 1), vec![vec![8, 24, 9], vec![40]]).unwrap();
    let owners: Vec<_> = (0..7).map(|row| geometry.row_owner(0, row)).collect();
    let expected = [(1, 0), (2, 0), (0, 0), (1, 1), (2, 1), (1, 2)];
    assert_eq!(owners[..6], expected.map(Some));
    assert_eq!(owners[6], None);
    assert_eq!(geometry.rows(), 6);
    assert_eq!(geometry.parity_bytes(), 48);
    assert_eq!(geometry.block_of(0, 2, 1, 0), Some((8, 1)));
}

#[test]
fn equal_streams_are_dealt_in_the_order_of_the_ranks() {
    let geometry = Geometry::new(BLOCK, (3, 1), vec![vec![100; 3]; 4]).unwrap();
    for row in 0..geometry.rows() {
        assert_eq!(geometry.row_owner(2, row), Some(((row % 3) as usize, row / 3)));
    }
}

#[test]
fn what_no_set_can_have_is_refused() {
    let fits = |block, stripe, members| Geometry::new(block, stripe, members).is_some();
    assert!(fits(8, (1, 1), vec![vec![1], vec![2]]));
    assert!(fits(8, (1, 1), vec![vec![1]; 5]), "stripes of some members only");
    assert!(!fits(0, (1, 1), vec![vec![1], vec![2]]), "blocks of no bytes");
    assert!(!fits(8, (0, 2), vec![vec![1], vec![2]]), "stripes without data");
    assert!(!fits(8, (2, 1), vec![vec![1], vec![2]]), "more blocks than members");
    assert!(!fits(8, (usize::MAX, 1), vec![vec![1], vec![2]]), "blocks overflow");
    assert!(!fits(8, (1, 0), vec![]), "no members");
    assert!(!fits(8, (1, 1), vec![vec![1], vec![]]), "a member without ranks");
    assert!(!fits(1, (1, 1), vec![vec![u64::MAX, u64::MAX], vec![0]]), "rows overflow");
    assert!(!fits(4096, (1, 2), vec![vec![u64::MAX], vec![0], vec![0]]), "parity bytes overflow");
}

#[test]
fn the_end_of_the_number_range_does_not_overflow() {
    let geometry = Geometry::new(4096, (2, 1), vec![vec![u64::MAX], vec![0], vec![0]]).unwrap();
    let last = geometry.stream_blocks(0, 0) - 1;
    let (row, stripe) = geometry.locate(0, 0, last).unwrap();
    let block = geometry.data_block(0, row, stripe).unwrap();
    assert_eq!(block.stream_offset + u64::from(block.length), u64::MAX);
    assert_eq!(geometry.block_of(0, 0, 0, usize::MAX), None);
}

#[test]
fn blocks_grow_with_the_data_between_a_page_and_the_cache() {
    let cases = [
        (0, 1, 4096),
        (65_536, 1, 4096),
        (65_537 + 15, 1, 8192),
        (1 << 20, 1, 65_536),
        (1 << 20, 8, 8192),
        (1 << 40, 2, 262_144),
        (u64::MAX, 0, 262_144),
    ];
    for (bytes, segments, expected) in cases {
        assert_eq!(choose_block_bytes(bytes, segments), expected, "{bytes} {segments}");
    }
}
