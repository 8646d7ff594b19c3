// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checksum of data blocks: CRC-32 (IEEE), which finds every error of up to 32 neighbouring bits.
//!
//! The owner of the data takes it, never the combiner: a byte damaged on the way would else be in parity and checksum
//! alike, a wrong byte confirmed as right.

/// Returns the checksum of one block.
pub fn block(data: &[u8]) -> u32 {
    crc32fast::hash(data)
}

/// Takes the checksum of a block that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct Hasher(crc32fast::Hasher);

impl Hasher {
    /// Adds the next bytes of the block.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Returns the checksum of the bytes so far and starts the next block.
    pub fn take(&mut self) -> u32 {
        std::mem::take(&mut self.0).finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_crc_32_that_everybody_knows() {
        assert_eq!(block(b"123456789"), 0xcbf4_3926);
        assert_eq!(block(b""), 0);
    }

    #[test]
    fn pieces_make_the_checksum_of_the_whole_and_blocks_do_not_leak_into_each_other() {
        let data: Vec<u8> = (0..1000_u32).map(|i| (i * 7) as u8).collect();
        let mut hasher = Hasher::default();
        for cut in [0, 1, 499, 1000] {
            hasher.update(&data[..cut]);
            hasher.update(&data[cut..]);
            assert_eq!(hasher.take(), block(&data), "cut at {cut}");
        }
    }
}
