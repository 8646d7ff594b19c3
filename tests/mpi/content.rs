// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each rank writes into each dataset: computed, so that every byte can be computed again by whoever checks.

use std::fmt;

/// Bytes in front of the noise: launch, step and rank, in the clear.
pub(crate) const HEADER_BYTES: usize = 24;

/// Which state of the application a dataset holds: the launch that wrote it, and the step. Later states are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Counts launches from 1; 0 is the state before anything was written.
    pub(crate) launch: u64,
    /// Counts steps through all launches.
    pub(crate) step: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.launch, self.step)
    }
}

impl Mark {
    /// The name of its dataset.
    pub(crate) fn name(self) -> String {
        format!("ckpt.{}.{}", self.launch, self.step)
    }

    /// The state that a name stands for.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        name.strip_prefix("ckpt.")?.parse().ok()
    }
}

impl std::str::FromStr for Mark {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (launch, step) = text.split_once('.').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { launch: number(launch)?, step: number(step)? })
    }
}

/// The files of a rank, below the prefix: their names and sizes. One is empty, one is shorter than a block.
///
/// With `fixed_names` every dataset uses the same names, so that a newer one takes them from the older one.
pub(crate) fn files(mark: Mark, rank: usize, fixed_names: bool) -> [(String, usize); 3] {
    let dir = if fixed_names { "latest".to_string() } else { mark.name() };
    let large = 9_000 + 7_001 * (rank % 3) + 101 * (mark.step % 7) as usize;
    [
        (format!("{dir}/field.{rank}"), large),
        (format!("{dir}/empty.{rank}"), 0),
        (format!("{dir}/sub dir/small.{rank}"), 100 + rank),
    ]
}

/// The content of one of these files.
pub(crate) fn content(seed: u64, mark: Mark, rank: usize, name: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + HEADER_BYTES);
    for word in [mark.launch, mark.step, rank as u64] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut state = name.bytes().fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
    state = [mark.launch, mark.step, rank as u64].into_iter().fold(state, |s, w| mix(s ^ w));
    while bytes.len() < size {
        state = mix(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
