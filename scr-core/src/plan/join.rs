// SPDX-License-Identifier: MIT OR Apache-2.0
//! The verdict on a dataset, joined from those of its redundancy sets by two small reductions over all ranks.
//!
//! One rank speaks for each set of which anything is present; all others cast an empty ballot. A set that nobody speaks for
//! is lost whole. A dataset is usable when no set is lost and either some part says `Committed`, which proves that all
//! were `Encoded` once, or all parts present are `Encoded`, so that the commit can be rolled forward.

use super::judge::{Standing, Verdict};

/// What one rank contributes: join `max` of all ranks by the maximum, `sum` by the sum, element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Severity with the set it is of; whether any part is `Writing`; whether any is `Committed`.
    pub max: [u64; 3],
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
    /// It was never finished: nobody was told that it exists.
    Unfinished,
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
    pub fn of(set: u32, verdict: &Verdict) -> Self {
        let severity = match verdict.standing {
            Standing::Whole => 0,
            Standing::Rebuildable { .. } => REBUILDABLE,
            Standing::Lost { .. } => LOST,
        };
        // The complement makes the lowest set win among equally bad ones.
        let worst = severity << 32 | u64::from(!set);
        Self { max: [worst, verdict.any_writing.into(), verdict.any_committed.into()], sum: [1] }
    }

    /// Joins the ballots of two ranks, as the reductions do.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self {
            max: std::array::from_fn(|i| self.max[i].max(other.max[i])),
            sum: [self.sum[0].wrapping_add(other.sum[0])],
        }
    }

    /// Reads the joined ballot of a dataset of `sets` sets.
    pub fn outcome(&self, sets: u32) -> Outcome {
        let [worst, writing, committed] = self.max;
        let silent = u64::from(sets).saturating_sub(self.sum[0]);
        if writing > 0 && committed == 0 {
            return Outcome::Unfinished;
        }
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

    /// `w` whole, `r` rebuildable, `l` lost; with `C` committed, `W` writing; `.` silent. One word per set.
    fn outcome(words: &str, sets: u32) -> Outcome {
        let ballot = |(set, word): (usize, &str)| {
            let standing = match &word[..1] {
                "." => return Ballot::default(),
                "w" => Standing::Whole,
                "r" => Standing::Rebuildable { missing: vec![1] },
                _ => Standing::Lost { why: "gone".into() },
            };
            let any_committed = word.contains('C');
            let any_writing = word.contains('W');
            Ballot::of(set as u32, &Verdict { standing, any_committed, any_writing })
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
            ("wC wC wC", 3, Outcome::Whole),
            ("w w w", 3, Outcome::Whole),
            ("w wC w", 3, Outcome::Whole),
            ("wC r wC", 3, Outcome::Rebuildable),
            ("r w w", 3, Outcome::Rebuildable),
            ("w lC r lC", 4, Outcome::Lost { set: 1 }),
            ("lC w w", 3, Outcome::Lost { set: 0 }),
            ("w l w", 3, Outcome::Lost { set: 1 }),
            ("w . w", 3, Outcome::Absent { sets: 1 }),
            ("", 2, Outcome::Absent { sets: 2 }),
            ("lC .", 2, Outcome::Absent { sets: 1 }),
            // Nothing proves a commit: it was never finished, whatever else is wrong.
            ("w wW w", 3, Outcome::Unfinished),
            ("l lW .", 3, Outcome::Unfinished),
            // A committed part elsewhere: the one that is writing holds old data, which its own set counts as missing.
            ("wC rW w", 3, Outcome::Rebuildable),
            ("wC lW w", 3, Outcome::Lost { set: 1 }),
        ];
        for (words, sets, expected) in cases {
            assert_eq!(outcome(words, sets), expected, "{words}");
        }
    }
}
