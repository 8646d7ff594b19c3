// SPDX-License-Identifier: MIT OR Apache-2.0
//! The verdict on a dataset, joined from those of its redundancy sets by two small reductions over all ranks.
//!
//! One rank speaks for each set of which anything is present; all others cast an empty ballot. A set that nobody speaks for
//! is lost whole.

use super::judge::Standing;

/// What one rank contributes: join `max` of all ranks by the maximum, `sum` by the sum, element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Severity with the set it is of.
    pub max: [u64; 1],
    /// Sets spoken for.
    pub sum: [u64; 1],
}

/// What a dataset can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All sets are whole.
    Whole,
    /// Some sets must rebuild.
    Rebuildable,
    /// This set cannot give back its data (the lowest such set; it knows why).
    Lost {
        /// Which.
        set: u32,
    },
    /// Of some sets nothing at all is present.
    Absent {
        /// How many.
        sets: u64,
    },
}

const REBUILDABLE: u64 = 1;
const LOST: u64 = 2;

impl Ballot {
    /// The ballot of the rank that speaks for set `set`. All others cast [`Ballot::default`].
    pub fn of(set: u32, standing: &Standing) -> Self {
        let severity = match standing {
            Standing::Whole => 0,
            Standing::Rebuildable { .. } => REBUILDABLE,
            Standing::Lost { .. } => LOST,
        };
        // The complement makes the lowest set win among equally bad ones.
        let worst = severity << 32 | u64::from(!set);
        Self { max: [worst], sum: [1] }
    }

    /// Joins the ballots of two ranks, as the reductions do.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self { max: [self.max[0].max(other.max[0])], sum: [self.sum[0].wrapping_add(other.sum[0])] }
    }

    /// Reads the joined ballot of a dataset of `sets` sets.
    pub fn outcome(&self, sets: u32) -> Outcome {
        let [worst] = self.max;
        let silent = u64::from(sets).saturating_sub(self.sum[0]);
        if silent > 0 {
            return Outcome::Absent { sets: silent };
        }
        match worst >> 32 {
            0 => Outcome::Whole,
            REBUILDABLE => Outcome::Rebuildable,
            _ => Outcome::Lost { set: !(worst as u32) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `w` whole, `r` rebuildable, `l` lost; `.` silent. One word per set.
    fn outcome(words: &str, sets: u32) -> Outcome {
        let ballot = |(set, word): (usize, &str)| {
            let standing = match word {
                "." => return Ballot::default(),
                "w" => Standing::Whole,
                "r" => Standing::Rebuildable { missing: vec![1] },
                _ => Standing::Lost { why: "gone".into() },
            };
            Ballot::of(set as u32, &standing)
        };
        let ballots: Vec<Ballot> = words.split_whitespace().enumerate().map(ballot).collect();
        let joined = ballots.iter().fold(Ballot::default(), |all, next| all.join(next));
        let backwards = ballots.iter().rev().fold(Ballot::default(), |all, next| all.join(next));
        assert_eq!(joined, backwards);
        joined.outcome(sets)
    }

    #[test]
    fn the_worst_set_decides() {
        let cases = [
            ("w w w", 3, Outcome::Whole),
            ("w r w", 3, Outcome::Rebuildable),
            ("r w w", 3, Outcome::Rebuildable),
            ("w l r l", 4, Outcome::Lost { set: 1 }),
            ("l w w", 3, Outcome::Lost { set: 0 }),
            ("w . w", 3, Outcome::Absent { sets: 1 }),
            ("", 2, Outcome::Absent { sets: 2 }),
            ("l .", 2, Outcome::Absent { sets: 1 }),
        ];
        for (words, sets, expected) in cases {
            assert_eq!(outcome(words, sets), expected, "{words}");
        }
    }
}
