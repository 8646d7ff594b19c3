// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which blocks of a stripe give back those that are lost.
//!
//! Positions within a stripe: first its data segments, then its parities.

use super::reed_solomon::Code;

/// How one lost block is computed: the sum of its sources, each times its factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The position that is lost.
    pub target: usize,
    /// Positions to be read, with their factors.
    pub sources: Vec<(usize, u8)>,
}

/// Returns how the positions in `lost` are computed, or `None` where too many are.
///
/// `bytes[position]` is the length of a block; one without bytes is all zeros, so it is known without being read. Blocks of
/// that kind come first, then data, then parity.
pub fn repairs(code: &Code, bytes: &[usize], lost: &[usize]) -> Option<Vec<Repair>> {
    let mut known: Vec<usize> = (0..bytes.len()).filter(|p| !lost.contains(p)).collect();
    known.sort_by_key(|&position| (bytes[position] > 0, position));
    known.truncate(code.segments());
    lost.iter()
        .map(|&target| {
            let factors = code.solve(&known, target)?;
            let sources = known.iter().copied().zip(factors);
            let sources = sources.filter(|&(p, factor)| bytes[p] > 0 && factor != 0).collect();
            Some(Repair { target, sources })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_parity_takes_all_the_others_as_they_are() {
        let code = Code::new(3, 1).unwrap();
        let all = [8, 8, 5, 8];
        let found = repairs(&code, &all, &[1]).unwrap();
        assert_eq!(found, [Repair { target: 1, sources: vec![(0, 1), (2, 1), (3, 1)] }]);
        assert_eq!(repairs(&code, &all, &[1, 3]), None);
        assert_eq!(repairs(&code, &all, &[]), Some(vec![]));
    }

    #[test]
    fn what_has_no_bytes_is_known_and_not_read() {
        let code = Code::new(3, 2).unwrap();
        let bytes = [8, 0, 0, 8, 8];
        for lost in [vec![0], vec![0, 3], vec![0, 4], vec![3, 4]] {
            for repair in repairs(&code, &bytes, &lost).unwrap() {
                assert!(repair.sources.iter().all(|&(p, _)| bytes[p] > 0 && !lost.contains(&p)));
                assert!(repair.sources.len() <= 1, "{repair:?}");
            }
        }
        assert_eq!(repairs(&code, &bytes, &[0, 3, 4]), None);
    }

    #[test]
    fn a_copy_is_read_as_it_is() {
        let code = Code::new(1, 1).unwrap();
        let found = repairs(&code, &[8, 8], &[0]).unwrap();
        assert_eq!(found, [Repair { target: 0, sources: vec![(1, 1)] }]);
    }
}
