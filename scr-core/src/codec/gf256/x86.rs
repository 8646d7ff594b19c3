// SPDX-License-Identifier: MIT OR Apache-2.0
//! Products of whole registers on x86-64: by a matrix of bits (GFNI), or by look-ups in registers (AVX2).
//!
//! GFNI also has an instruction for the product itself, but of the field of AES, whose polynomial is another; the matrix
//! serves any. What does not fill a register is left to the plain loop.

use super::{HALVES, multiply_add_plain, product};
use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_epi64x,
    _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_storeu_si512,
    _mm512_xor_si512,
};

/// An instruction set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    Gfni512,
    Gfni,
    Avx2,
}

impl Path {
    /// All of them, the fastest first.
    pub(super) const ALL: [Self; 3] = [Self::Gfni512, Self::Gfni, Self::Avx2];

    fn is_here(self) -> bool {
        match self {
            Self::Gfni512 => {
                is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx512f")
            }
            Self::Gfni => is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx2"),
            Self::Avx2 => is_x86_feature_detected!("avx2"),
        }
    }

    /// Adds `factor` times `src` to `acc`, as long as each other, and returns true; false where the processor cannot.
    #[expect(unsafe_code, reason = "calls functions compiled for what the processor may have")]
    pub(super) fn multiply_add(self, acc: &mut [u8], src: &[u8], factor: u8) -> bool {
        if !self.is_here() {
            return false;
        }
        // SAFETY: the processor has the features of this path, as the lines above found; the functions ask for no more.
        unsafe {
            match self {
                Self::Gfni512 => multiply_add_gfni512(acc, src, factor),
                Self::Gfni => multiply_add_gfni(acc, src, factor),
                Self::Avx2 => multiply_add_avx2(acc, src, factor),
            }
        }
        true
    }
}

/// For each factor the matrix that multiplies by it, as the instruction wants it: bit *i* of the product is the parity of
/// the operand masked by byte *7 - i*.
static MATRICES: [u64; 256] = {
    let mut matrices = [0; 256];
    let mut at = 0;
    while at < 256 * 8 {
        let (factor, column) = (at / 8, at % 8);
        let image = product(factor as u8, 1 << column);
        let mut row = 0;
        while row < 8 {
            matrices[factor] |= ((image >> row & 1) as u64) << (8 * (7 - row) + column);
            row += 1;
        }
        at += 1;
    }
    matrices
};

#[target_feature(enable = "gfni,avx512f")]
fn multiply_add_gfni512(acc: &mut [u8], src: &[u8], factor: u8) {
    let matrix = _mm512_set1_epi64(MATRICES[usize::from(factor)].cast_signed());
    let (acc_blocks, acc_tail) = acc.as_chunks_mut::<64>();
    let (src_blocks, src_tail) = src.as_chunks::<64>();
    for (acc, src) in acc_blocks.iter_mut().zip(src_blocks) {
        let product = _mm512_gf2p8affine_epi64_epi8::<0>(load_512(src), matrix);
        store_512(acc, _mm512_xor_si512(load_512(acc), product));
    }
    multiply_add_plain(acc_tail, src_tail, factor);
}

#[target_feature(enable = "gfni,avx2")]
fn multiply_add_gfni(acc: &mut [u8], src: &[u8], factor: u8) {
    let matrix = _mm256_set1_epi64x(MATRICES[usize::from(factor)].cast_signed());
    let (acc_blocks, acc_tail) = acc.as_chunks_mut::<32>();
    let (src_blocks, src_tail) = src.as_chunks::<32>();
    for (acc, src) in acc_blocks.iter_mut().zip(src_blocks) {
        let product = _mm256_gf2p8affine_epi64_epi8::<0>(load_256(src), matrix);
        store_256(acc, _mm256_xor_si256(load_256(acc), product));
    }
    multiply_add_plain(acc_tail, src_tail, factor);
}

#[target_feature(enable = "avx2")]
fn multiply_add_avx2(acc: &mut [u8], src: &[u8], factor: u8) {
    let [low, high] = &HALVES[usize::from(factor)];
    let (low, high) = (twice(low), twice(high));
    let half = _mm256_set1_epi8(15);
    let (acc_blocks, acc_tail) = acc.as_chunks_mut::<32>();
    let (src_blocks, src_tail) = src.as_chunks::<32>();
    for (acc, src) in acc_blocks.iter_mut().zip(src_blocks) {
        let src = load_256(src);
        let from_low = _mm256_shuffle_epi8(low, _mm256_and_si256(src, half));
        let shifted = _mm256_and_si256(_mm256_srli_epi64::<4>(src), half);
        let product = _mm256_xor_si256(from_low, _mm256_shuffle_epi8(high, shifted));
        store_256(acc, _mm256_xor_si256(load_256(acc), product));
    }
    multiply_add_plain(acc_tail, src_tail, factor);
}

/// A table in both halves of a register, each of which is looked up by itself.
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
fn twice(table: &[u8; 16]) -> __m256i {
    // SAFETY: reads the 16 bytes of the array, from any alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
fn load_256(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: reads the 32 bytes of the array, from any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
fn store_256(bytes: &mut [u8; 32], value: __m256i) {
    // SAFETY: writes the 32 bytes of the array, at any alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
fn load_512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array, from any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
fn store_512(bytes: &mut [u8; 64], value: __m512i) {
    // SAFETY: writes the 64 bytes of the array, at any alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::gf256::mul;
    use proptest::prelude::*;

    /// What Intel's manual says that GF2P8AFFINEQB does with one byte: the GFNI paths are tested on few machines, their
    /// matrices so on all.
    fn affine(matrix: u64, byte: u8) -> u8 {
        let rows = matrix.to_le_bytes();
        (0..8).fold(0, |sum, i| sum | (((rows[7 - i] & byte).count_ones() & 1) as u8) << i)
    }

    #[test]
    fn every_matrix_multiplies_by_its_factor() {
        for factor in 0..=255 {
            for byte in 0..=255 {
                let product = affine(MATRICES[usize::from(factor)], byte);
                assert_eq!(product, mul(factor, byte), "{factor} times {byte}");
            }
        }
    }

    #[test]
    fn every_path_multiplies_every_byte_by_every_factor() {
        let src: Vec<u8> = (0..=255).collect();
        for path in Path::ALL.into_iter().filter(|path| path.is_here()) {
            for factor in 0..=255 {
                let mut acc = vec![0; src.len()];
                assert!(path.multiply_add(&mut acc, &src, factor));
                let expected: Vec<u8> = src.iter().map(|&byte| mul(factor, byte)).collect();
                assert_eq!(acc, expected, "{path:?}, factor {factor}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_equals_the_plain_loop(
            bytes in prop::collection::vec(any::<(u8, u8)>(), 0..300),
            skip in (0_usize..65, 0_usize..65),
            factor: u8,
        ) {
            let (acc, src): (Vec<u8>, Vec<u8>) = bytes.into_iter().unzip();
            let length = acc.len().saturating_sub(skip.0.max(skip.1));
            let src = &src[src.len().min(skip.1)..][..length];
            let acc_range = acc.len().min(skip.0)..acc.len().min(skip.0) + length;
            let mut expected = acc.clone();
            multiply_add_plain(&mut expected[acc_range.clone()], src, factor);
            for path in Path::ALL.into_iter().filter(|path| path.is_here()) {
                let mut found = acc.clone();
                prop_assert!(path.multiply_add(&mut found[acc_range.clone()], src, factor));
                prop_assert_eq!(&found, &expected, "{:?}", path);
            }
        }
    }
}
