// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reed-Solomon parity: *k* parity blocks over *s* data blocks, of which any *s* give back all the others.
//!
//! Parity *t* is the sum of *coefficient(t, j)* times data block *j*, byte by byte in the field of [`gf256`]. With
//! *y_j = 255 - j*,
//!
//! > coefficient(t, j) = y_j / (y_j + t).
//!
//! That is a Cauchy matrix, *1 / (x_t + y_j)* with *x_t = t*, column *j* multiplied by *y_j* (Blaum and Roth 1999; Plank
//! and Xu, "Optimizing Cauchy Reed-Solomon codes for fault-tolerant network storage applications", NCA 2006). The
//! determinant of a square Cauchy matrix is *∏ (x_a + x_b)(y_a + y_b) / ∏ (x_a + y_b)*, so it is not 0 while all *x* and
//! *y* are different, and neither is it after multiplying columns. Hence no square part of the matrix is singular, which
//! is exactly what it takes to solve for any lost blocks from any *s* others.
//!
//! - *x_0 = 0*, so parity 0 is the plain sum: with one parity the code is XOR.
//! - A coefficient depends on nothing but its row and column: a set with more parities or members has the same first ones.
//! - The *x* grow from 0 and the *y* fall from 255, so they are different up to 256 blocks in all.

use super::gf256;
use std::collections::BTreeSet;

/// The most blocks that a code has, data and parity together: the elements of the field.
const MOST_BLOCKS: usize = 256;

/// The code of stripes with this many data and parity blocks.
///
/// Blocks are told apart by their *position*: data segments first, from 0, then parities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    segments: usize,
    parities: usize,
}

impl Code {
    /// Returns the code for `segments` data blocks and `parities` parity blocks; `None` without data or beyond 256 blocks.
    pub fn new(segments: usize, parities: usize) -> Option<Self> {
        let blocks = segments.checked_add(parities)?;
        (segments > 0 && blocks <= MOST_BLOCKS).then_some(Self { segments, parities })
    }

    /// Data blocks of a stripe.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Returns the factor of data block `segment` in parity block `slot`; never 0.
    ///
    /// # Panics
    /// When the code has no such segment or slot.
    pub fn coefficient(&self, slot: usize, segment: usize) -> u8 {
        assert!(slot < self.parities && segment < self.segments, "({slot}, {segment}) of {self:?}");
        let (x, y) = (slot as u8, 255 - segment as u8);
        gf256::mul(y, gf256::inv(y ^ x))
    }

    /// Returns what to multiply the blocks at the positions `sources` by, so that their sum is the block at `target`.
    ///
    /// Gauss-Jordan elimination, cubic in the segments: for many stripes that lost the same positions, once is enough.
    ///
    /// `None` when the sources are not exactly as many positions as there are segments, all different, or when one of
    /// them or the target is not a position of the code. Otherwise there always is a solution.
    pub fn solve(&self, sources: &[usize], target: usize) -> Option<Vec<u8>> {
        let blocks = self.segments + self.parities;
        let distinct: BTreeSet<usize> = sources.iter().copied().collect();
        if sources.len() != self.segments
            || distinct.len() != self.segments
            || sources.iter().chain([&target]).any(|&position| position >= blocks)
        {
            return None;
        }
        // One equation for each segment: how often it is in the sources, and, last, how often it is to be in the sum.
        let mut equations: Vec<Vec<u8>> = (0..self.segments)
            .map(|segment| {
                sources.iter().chain([&target]).map(|&at| self.share(at, segment)).collect()
            })
            .collect();
        for pivot in 0..self.segments {
            let found = (pivot..self.segments).find(|&row| equations[row][pivot] != 0)?;
            equations.swap(pivot, found);
            let mut solved = std::mem::take(&mut equations[pivot]);
            let scale = gf256::inv(solved[pivot]);
            gf256::multiply(&mut solved, scale);
            for equation in equations.iter_mut().filter(|equation| !equation.is_empty()) {
                let factor = equation[pivot];
                gf256::multiply_add(equation, &solved, factor);
            }
            equations[pivot] = solved;
        }
        Some(equations.iter().map(|equation| equation[self.segments]).collect())
    }

    /// How often data block `segment` is in the block at `position`: a row of the generator matrix.
    fn share(&self, position: usize, segment: usize) -> u8 {
        match position.checked_sub(self.segments) {
            Some(slot) => self.coefficient(slot, segment),
            None => u8::from(position == segment),
        }
    }
}

/// Returns the sum of blocks, each multiplied by its factor; it takes the place of the longest block and is as long.
///
/// Block *i* has `lengths[i]` bytes and begins at *i* times `block` in `buffer`; shorter ones count as padded with zeros.
///
/// # Panics
/// When there are not as many factors as lengths, or when a block does not lie within its place in the buffer.
pub fn combine<'a>(
    factors: &[u8],
    lengths: &[usize],
    buffer: &'a mut [u8],
    block: usize,
) -> &'a [u8] {
    assert_eq!(factors.len(), lengths.len(), "factors and lengths");
    // Among the longest, one that need not be multiplied.
    let Some(longest) = (0..lengths.len()).max_by_key(|&i| (lengths[i], factors[i] == 1)) else {
        return &[];
    };
    let mut blocks: Vec<&mut [u8]> =
        buffer.chunks_mut(block).zip(lengths).map(|(b, &length)| &mut b[..length]).collect();
    assert_eq!(blocks.len(), lengths.len(), "blocks in the buffer");
    let sum = std::mem::take(&mut blocks[longest]);
    gf256::multiply(sum, factors[longest]);
    for (other, &factor) in blocks.iter().zip(factors) {
        gf256::multiply_add(sum, other, factor);
    }
    sum
}

#[cfg(test)]
mod tests;
