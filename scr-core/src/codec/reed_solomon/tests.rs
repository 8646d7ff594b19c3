// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proofs by exhaustion: every minor, every pattern of lost blocks; and the parity of another implementation.

use super::*;
use crate::codec::xor::xor_into;
use galois_2p8::{Field, IrreducablePolynomial, PrimitivePolynomialField};

/// The place of a block in the buffers of these tests, in bytes.
const BLOCK: usize = 41;

fn code(segments: usize, parities: usize) -> Code {
    Code::new(segments, parities).unwrap()
}

/// Codes with up to so many blocks, of them up to so many parities.
fn codes(most_blocks: usize, most_parities: usize) -> impl Iterator<Item = Code> {
    (1..=most_parities).flat_map(move |parities| {
        (1..=most_blocks - parities).map(move |segments| code(segments, parities))
    })
}

fn matrix(code: &Code) -> Vec<Vec<u8>> {
    (0..code.parities)
        .map(|slot| (0..code.segments).map(|segment| code.coefficient(slot, segment)).collect())
        .collect()
}

/// The determinant of these columns, by Laplace; where 1 + 1 = 0 no term has a sign. `used` has a bit for each column done.
fn determinant(rows: &[&[u8]], columns: &[usize], used: u32) -> u8 {
    let Some((first, rest)) = rows.split_first() else { return 1 };
    (0..columns.len()).filter(|i| used >> i & 1 == 0).fold(0, |sum, i| {
        sum ^ gf256::mul(first[columns[i]], determinant(rest, columns, used | 1 << i))
    })
}

/// The subsets of `0..of` that have `size` elements, each ascending.
fn subsets(of: usize, size: usize) -> Vec<Vec<usize>> {
    (0_u32..1 << of)
        .filter(|set| set.count_ones() as usize == size)
        .map(|set| (0..of).filter(|i| set >> i & 1 == 1).collect())
        .collect()
}

#[test]
fn no_square_part_of_the_parity_matrix_is_singular_up_to_16_members() {
    let mut minors = 0;
    for code in codes(16, 4) {
        let matrix = matrix(&code);
        for size in 1..=code.parities.min(code.segments) {
            let columns = subsets(code.segments, size);
            for slots in subsets(code.parities, size) {
                let rows: Vec<&[u8]> = slots.iter().map(|&slot| matrix[slot].as_slice()).collect();
                for columns in &columns {
                    assert_ne!(determinant(&rows, columns, 0), 0, "{code:?} {slots:?} {columns:?}");
                    minors += 1;
                }
            }
        }
    }
    // Of a matrix with k rows and s columns there are C(s + k, k) - 1, the empty one left out.
    let choose = |n: usize, k: usize| (0..k).fold(1, |all, i| all * (n - i) / (i + 1));
    let expected: usize =
        codes(16, 4).map(|c| choose(c.segments + c.parities, c.parities) - 1).sum();
    assert_eq!(minors, expected);
}

/// Smaller codes have the same coefficients, so with three parities that is all of them.
#[test]
fn nor_is_any_part_of_the_largest_code_with_three_parities() {
    let code = code(253, 3);
    let matrix = matrix(&code);
    let rows: [&[u8]; 3] = std::array::from_fn(|slot| matrix[slot].as_slice());
    for a in 0..code.segments {
        assert!(rows.iter().all(|row| row[a] != 0), "column {a}");
        for b in a + 1..code.segments {
            let [minor_01, minor_02, minor_12] = [[0, 1], [0, 2], [1, 2]]
                .map(|pair| determinant(&pair.map(|slot| rows[slot]), &[a, b], 0));
            assert!(minor_01 != 0 && minor_02 != 0 && minor_12 != 0, "columns {a}, {b}");
            let minors = [minor_12, minor_02, minor_01];
            for c in b + 1..code.segments {
                let terms = rows.iter().zip(minors).map(|(row, minor)| gf256::mul(row[c], minor));
                assert_ne!(terms.fold(0, |sum, term| sum ^ term), 0, "columns {a}, {b}, {c}");
            }
        }
    }
}

#[test]
fn coefficients_do_not_depend_on_the_size_of_the_code() {
    let largest = code(240, 16);
    for small in [code(1, 1), code(7, 2), code(12, 4), code(240, 3), code(2, 16)] {
        for slot in 0..small.parities {
            for segment in 0..small.segments {
                let (found, expected) =
                    (small.coefficient(slot, segment), largest.coefficient(slot, segment));
                assert_eq!(found, expected, "{small:?}: {slot}, {segment}");
            }
        }
    }
    // Parity on disk is made with these; changed, it would rebuild wrong bytes.
    assert_eq!(matrix(&code(4, 3)), [[1, 1, 1, 1], [127, 252, 126, 254], [226, 255, 230, 253]]);
}

#[test]
fn has_as_many_blocks_as_the_field_has_elements() {
    assert_eq!(Code::new(0, 1), None);
    assert_eq!(Code::new(254, 3), None);
    assert_eq!(Code::new(usize::MAX, 1), None);
    assert!(Code::new(256, 0).is_some());
    let one_parity = code(255, 1);
    assert!((0..255).all(|segment| one_parity.coefficient(0, segment) == 1));
    assert!((0..255).all(|slot| code(1, 255).coefficient(slot, 0) != 0));
}

#[test]
#[should_panic(expected = "(1, 0) of Code { segments: 3, parities: 1 }")]
fn has_no_coefficients_beyond_its_parities() {
    code(3, 1).coefficient(1, 0);
}

#[test]
fn solves_nothing_but_sensible_questions() {
    let code = code(3, 2);
    let refused: [(&[usize], usize); 6] = [
        (&[0, 1], 2),
        (&[0, 1, 3, 4], 2),
        (&[0, 1, 1], 2),
        (&[0, 1, 5], 2),
        (&[0, 1, 3], 5),
        (&[], 0),
    ];
    for (sources, target) in refused {
        assert_eq!(code.solve(sources, target), None, "{sources:?} for {target}");
    }
    assert_eq!(code.solve(&[0, 1, 2], 3), Some(vec![1, 1, 1]));
    assert_eq!(code.solve(&[3, 0, 2], 1), Some(vec![1, 1, 1]));
    assert_eq!(code.solve(&[4, 0, 2], 2), Some(vec![0, 0, 1]));
}

/// Bytes that look random, the same in every run.
struct Bytes(u32);

impl Iterator for Bytes {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((self.0 >> 24) as u8)
    }
}

impl Bytes {
    fn block(&mut self, length: usize) -> Vec<u8> {
        self.take(length).collect()
    }

    /// Blocks of unequal lengths, 0 and the whole place included.
    fn blocks(&mut self, count: usize) -> Vec<Vec<u8>> {
        let lengths: Vec<usize> =
            self.take(count).map(|byte| byte as usize % (BLOCK + 1)).collect();
        let turn = self.0 as usize;
        (0..count)
            .map(|i| match (i + turn) % 4 {
                0 => self.block(BLOCK),
                1 if turn.is_multiple_of(3) => Vec::new(),
                _ => self.block(lengths[i]),
            })
            .collect()
    }
}

/// [`combine`], on blocks that lie in a buffer among bytes that must not count.
fn combined(factors: &[u8], blocks: &[&[u8]]) -> Vec<u8> {
    let mut buffer = vec![0xaa; blocks.len() * BLOCK];
    for (place, block) in buffer.chunks_mut(BLOCK).zip(blocks) {
        place[..block.len()].copy_from_slice(block);
    }
    let lengths: Vec<usize> = blocks.iter().map(|block| block.len()).collect();
    combine(factors, &lengths, &mut buffer, BLOCK).to_vec()
}

fn encoded(code: &Code, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let blocks: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    matrix(code).iter().map(|factors| combined(factors, &blocks)).collect()
}

#[test]
fn parity_is_that_of_another_implementation() {
    let field = PrimitivePolynomialField::new_might_panic(IrreducablePolynomial::Poly84320);
    let mut bytes = Bytes(1);
    for code in codes(12, 4).chain([code(200, 56)]) {
        let data = bytes.blocks(code.segments);
        let longest = data.iter().map(Vec::len).max().unwrap();
        for (slot, parity) in encoded(&code, &data).iter().enumerate() {
            let mut expected = vec![0; longest];
            for (segment, block) in data.iter().enumerate() {
                let y = 255 - segment as u8;
                let factor = field.div(y, field.add(y, slot as u8));
                for (sum, &byte) in expected.iter_mut().zip(block) {
                    *sum = field.add(*sum, field.mult(byte, factor));
                }
            }
            assert_eq!(parity, &expected, "{code:?}, parity {slot}");
        }
    }
}

#[test]
fn one_parity_is_xor() {
    let mut bytes = Bytes(2);
    for segments in 1..20 {
        let data = bytes.blocks(segments);
        let longest = data.iter().map(Vec::len).max().unwrap();
        let mut expected = vec![0; longest];
        for block in &data {
            xor_into(&mut expected, block);
        }
        assert_eq!(encoded(&code(segments, 1), &data), [expected]);
    }
}

/// Every block from every sufficient choice of blocks: what is lost is any of the others, up to as many as parities.
#[test]
fn every_block_comes_back_from_any_that_suffice() {
    let mut bytes = Bytes(3);
    for code in codes(6, 3) {
        for _ in 0..8 {
            let mut blocks = bytes.blocks(code.segments);
            blocks.extend(encoded(&code, &blocks));
            for sources in subsets(blocks.len(), code.segments) {
                let known: Vec<&[u8]> = sources.iter().map(|&at| blocks[at].as_slice()).collect();
                for (target, expected) in blocks.iter().enumerate() {
                    let factors = code.solve(&sources, target).unwrap();
                    let mut found = combined(&factors, &known);
                    // Zeros that the block was padded with, or that nobody knows of any more.
                    found.resize(BLOCK, 0);
                    let mut expected = expected.clone();
                    expected.resize(BLOCK, 0);
                    assert_eq!(found, expected, "{code:?}: {target} from {sources:?}");
                }
            }
        }
    }
}

#[test]
fn large_codes_come_back_too() {
    let code = code(40, 24);
    let mut bytes = Bytes(4);
    let mut blocks = bytes.blocks(code.segments);
    blocks.extend(encoded(&code, &blocks));
    let sources: Vec<usize> = (0..64).filter(|at| at % 8 > 2).rev().collect();
    let known: Vec<&[u8]> = sources.iter().map(|&at| blocks[at].as_slice()).collect();
    for target in (0..64).filter(|at| at % 8 <= 2) {
        let found = combined(&code.solve(&sources, target).unwrap(), &known);
        let (same, padding) = found.split_at(blocks[target].len());
        assert_eq!(same, blocks[target], "block {target}");
        assert!(padding.iter().all(|&byte| byte == 0), "block {target}");
    }
}

#[test]
fn a_sum_is_as_long_as_the_longest_block_whatever_its_factor() {
    assert!(combined(&[], &[]).is_empty());
    assert_eq!(combined(&[0], &[&[1, 2, 3]]), [0, 0, 0]);
    assert_eq!(combined(&[0, 1], &[&[1, 2, 3], &[4]]), [4, 0, 0]);
    assert_eq!(combined(&[0, 0], &[&[1, 2, 3], &[4]]), [0, 0, 0]);
    assert_eq!(combined(&[2, 0, 1], &[&[1, 2], &[3, 4], &[5, 6]]), [7, 2]);
    assert_eq!(combined(&[3, 2], &[&[], &[0x80]]), [0x1d]);
    assert!(combined(&[2, 3], &[&[], &[]]).is_empty());
}

#[test]
#[should_panic(expected = "blocks in the buffer")]
fn every_block_lies_in_the_buffer() {
    combine(&[1, 1], &[1, 1], &mut [0; 8], 8);
}
