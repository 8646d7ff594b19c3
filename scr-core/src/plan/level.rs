// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a dataset is kept: which checkpoint descriptor, and which scheme a set of this size can have.

use crate::config::{CheckpointDescriptor, CopyType};
use crate::format::Scheme;

/// Chooses the descriptor for a dataset, as SCR does.
///
/// An output goes by the descriptor marked for outputs, where there is one; a checkpoint by the one with the largest
/// interval that divides its number (counted from 1; `None`: not a checkpoint); anything else by the first with interval
/// 1, and failing all by the first. Returns `None` only when there are no descriptors.
pub fn choose(
    descriptors: &[CheckpointDescriptor],
    checkpoint_number: Option<u64>,
    is_output: bool,
) -> Option<&CheckpointDescriptor> {
    let for_output = descriptors.iter().find(|descriptor| is_output && descriptor.output);
    let for_number = || {
        let number = checkpoint_number?;
        descriptors
            .iter()
            .filter(|d| d.interval > 0 && number.is_multiple_of(d.interval.into()))
            .reduce(|best, next| if next.interval > best.interval { next } else { best })
    };
    for_output
        .or_else(for_number)
        .or_else(|| descriptors.iter().find(|descriptor| descriptor.interval == 1))
        .or(descriptors.first())
}

/// Returns the scheme for a set of so many nodes, and why it is less than the descriptor asks for, if it is.
pub fn scheme_for(
    descriptor: &CheckpointDescriptor,
    nodes_in_set: u32,
) -> (Scheme, Option<String>) {
    let failures = match descriptor.copy_type {
        CopyType::Single => return (Scheme::Single, None),
        CopyType::Partner | CopyType::Xor => 1,
        // A set has at most 256 blocks in a stripe, so this always fits.
        CopyType::Rs => u8::try_from(descriptor.set_failures.max(1)).unwrap_or(u8::MAX),
    };
    let name = descriptor.copy_type.name();
    let least = u32::from(failures) + 1;
    let scheme = match (descriptor.copy_type, failures) {
        (CopyType::Partner, _) => Scheme::Partner,
        // Reed-Solomon with one parity is XOR.
        (_, 1) => Scheme::Xor,
        _ => Scheme::ReedSolomon { failures },
    };
    let instead = fit(scheme, nodes_in_set);
    if instead == scheme {
        return (scheme, None);
    }
    let asked = if failures > 1 { format!("{name} with {failures} failures") } else { name.into() };
    let why = format!("{asked} needs {least} nodes, the set has {nodes_in_set}: {instead} instead");
    (instead, Some(why))
}

/// Returns the scheme, or the most that a set of so many nodes can have of it.
pub fn fit(scheme: Scheme, nodes_in_set: u32) -> Scheme {
    match nodes_in_set {
        nodes if nodes > scheme.tolerance() => scheme,
        0 | 1 => Scheme::Single,
        2 => Scheme::Xor,
        nodes => Scheme::ReedSolomon { failures: nodes as u8 - 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bypass;

    fn descriptor(index: u32, interval: u32, copy_type: CopyType) -> CheckpointDescriptor {
        CheckpointDescriptor {
            index,
            interval,
            group: "NODE".into(),
            store: "/dev/shm".into(),
            copy_type,
            set_size: 8,
            set_failures: 2,
            bypass: Bypass::No,
            output: false,
        }
    }

    #[test]
    fn the_largest_interval_that_divides_wins() {
        let levels = [
            descriptor(0, 1, CopyType::Single),
            descriptor(1, 4, CopyType::Xor),
            descriptor(2, 10, CopyType::Partner),
            CheckpointDescriptor { output: true, ..descriptor(3, 1000, CopyType::Single) },
        ];
        let cases = [
            (Some(1), false, 0),
            (Some(4), false, 1),
            (Some(10), false, 2),
            (Some(20), false, 2),
            (Some(1000), false, 3),
            (Some(4), true, 3),
            (None, true, 3),
            (None, false, 0),
        ];
        for (number, is_output, expected) in cases {
            let chosen = choose(&levels, number, is_output).map(|d| d.index);
            assert_eq!(chosen, Some(expected), "{number:?} {is_output}");
        }
        assert_eq!(
            choose(&levels[..3], Some(4), true).map(|d| d.index),
            Some(1),
            "no output level"
        );
        assert_eq!(choose(&levels[1..2], Some(3), false).map(|d| d.index), Some(1), "none divides");
        assert_eq!(choose(&[], Some(3), false), None);
    }

    #[test]
    fn the_first_of_two_equal_intervals_wins() {
        let levels = [descriptor(7, 2, CopyType::Xor), descriptor(8, 2, CopyType::Single)];
        assert_eq!(choose(&levels, Some(2), false).map(|d| d.index), Some(7));
    }

    #[test]
    fn schemes_step_down_with_a_reason() {
        use CopyType::{Partner, Rs, Single, Xor};
        let rs = |failures| Scheme::ReedSolomon { failures };
        let cases = [
            (Single, 2, 1, Scheme::Single, None),
            (Single, 2, 8, Scheme::Single, None),
            (Xor, 2, 2, Scheme::Xor, None),
            (Xor, 2, 1, Scheme::Single, Some("XOR needs 2 nodes, the set has 1: SINGLE instead")),
            (Partner, 2, 1, Scheme::Single, Some("PARTNER needs 2 nodes")),
            (Partner, 2, 2, Scheme::Partner, None),
            (Rs, 2, 4, rs(2), None),
            (Rs, 2, 3, rs(2), None),
            (Rs, 2, 2, Scheme::Xor, Some("RS with 2 failures needs 3 nodes, the set has 2: XOR")),
            (Rs, 3, 3, rs(2), Some("the set has 3: RS(2) instead")),
            (Rs, 3, 1, Scheme::Single, Some("SINGLE instead")),
            (Rs, 1, 4, Scheme::Xor, None),
        ];
        for (copy_type, set_failures, nodes, expected, words) in cases {
            let asked = CheckpointDescriptor { set_failures, ..descriptor(0, 1, copy_type) };
            let (scheme, why) = scheme_for(&asked, nodes);
            assert_eq!(scheme, expected, "{copy_type:?} on {nodes}");
            assert_eq!(why.is_some(), words.is_some(), "{copy_type:?} on {nodes}: {why:?}");
            assert!(why.unwrap_or_default().contains(words.unwrap_or_default()));
        }
    }
}
