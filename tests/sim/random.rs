// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers from a seed: the same on every machine, now and later.

use std::cell::Cell;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether the one in `n` chance comes true.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Joins two numbers into one that looks like neither.
pub(crate) fn mix2(a: u64, b: u64) -> u64 {
    mix(mix(a).wrapping_add(b))
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

thread_local! {
    static IDENTITIES: Cell<u64> = const { Cell::new(0) };
}

/// Sets what [`identity`] returns next on this thread.
pub(crate) fn seed_identities(seed: u64) {
    IDENTITIES.set(seed);
}

/// 128 bits from the seed of this thread: a run that is replayed draws the same identities.
pub(crate) fn identity() -> [u8; 16] {
    let seed = IDENTITIES.get();
    IDENTITIES.set(seed.wrapping_add(1));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix2(seed, 1).to_le_bytes());
    bytes[8..].copy_from_slice(&mix2(seed, 2).to_le_bytes());
    bytes
}
