// SPDX-License-Identifier: MIT OR Apache-2.0
//! In which order a restart tries what caches and prefix hold.
//!
//! First the head: the checkpoint that a person chose, as long as nothing newer was committed since; else the newest.
//! Then its ancestors, since they are of the same history; then the others, newest first. Of one checkpoint the cache
//! comes before the prefix, and a later layout before an earlier one. What SCR 3 left has no epoch and is older than all else.

use crate::format::DatasetHeader;
use crate::format::current::{ChosenBy, Current};
use crate::format::decision::Location;
use crate::id::DatasetIdentity;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// One copy of a checkpoint that may be restarted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it is.
    pub header: DatasetHeader,
    /// Where it is.
    pub location: Location,
    /// Which layout it has (0 in the prefix).
    pub layout: u32,
    /// Whether it is known to be committed: one that is not leaves a person's choice in force.
    pub is_committed: bool,
}

/// Returns the checkpoints among `candidates` in the order in which to try them.
pub fn restart_order(candidates: Vec<Candidate>, current: Option<&Current>) -> Vec<Candidate> {
    let mut copies: BTreeMap<DatasetIdentity, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates.into_iter().filter(|candidate| candidate.header.is_checkpoint) {
        copies.entry(candidate.header.identity).or_default().push(candidate);
    }
    let mut by_age: Vec<DatasetIdentity> = copies.keys().copied().collect();
    by_age.sort_by_key(|identity| {
        let header = &copies[identity][0].header;
        Reverse((header.age(), header.created_unix_micros, header.identity))
    });

    let chosen = chosen(&copies, current);
    let mut ordered = Vec::new();
    let mut next = chosen.or(by_age.first().copied());
    let mut rest = by_age.into_iter();
    while let Some(identity) = next {
        // Each goes once: what is gone from `copies` was placed, or never there.
        let parent = copies.get(&identity).and_then(|copies| copies[0].header.parent);
        if let Some(mut same) = copies.remove(&identity) {
            same.sort_by_key(|copy| (copy.location, Reverse(copy.layout)));
            ordered.append(&mut same);
        }
        next = parent.filter(|parent| copies.contains_key(parent)).or_else(|| rest.next());
    }
    ordered
}

/// The choice of a person, if it is there and nothing newer was committed since.
fn chosen(
    copies: &BTreeMap<DatasetIdentity, Vec<Candidate>>,
    current: Option<&Current>,
) -> Option<DatasetIdentity> {
    let current = current.filter(|current| current.by == ChosenBy::Person)?;
    let newest = copies.values().flatten().filter(|c| c.is_committed).map(|c| c.header.id).max();
    let holds = newest.is_none_or(|newest| newest <= current.newest_known);
    (holds && copies.contains_key(&current.identity)).then_some(current.identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DatasetId, DatasetName, Epoch, JobId, UserName};

    fn identity(number: u8) -> DatasetIdentity {
        DatasetIdentity([number; 16])
    }

    /// `id` or `id<parent`, then `@c<layout>` (cache) or `@p` (prefix); `?` = not committed, `-` = no checkpoint.
    fn candidate(word: &str) -> Candidate {
        let (name, place) = word.trim_end_matches(['?', '-']).split_once('@').unwrap();
        let (id, parent) =
            name.split_once('<').map_or((name, None), |(id, parent)| (id, Some(parent)));
        let id: u8 = id.parse().unwrap();
        Candidate {
            header: DatasetHeader {
                epoch: Epoch(1),
                id: DatasetId(id.into()),
                identity: identity(id),
                parent: parent.map(|parent| identity(parent.parse().unwrap())),
                name: DatasetName::new(format!("ckpt.{id}")),
                is_checkpoint: !word.contains('-'),
                is_output: false,
                created_unix_micros: 0,
                job_id: JobId::new("1"),
                user: UserName::new("me"),
                ranks: 4,
            },
            location: if place == "p" { Location::Prefix } else { Location::Cache },
            layout: place[1..].parse().unwrap_or(0),
            is_committed: !word.contains('?'),
        }
    }

    fn order(words: &str, current: Option<&Current>) -> String {
        let candidates = words.split_whitespace().map(candidate).collect();
        let place = |c: &Candidate| match c.location {
            Location::Cache => format!("c{}", c.layout),
            Location::Prefix => "p".into(),
            Location::Scr3 => "s".into(),
        };
        let ordered = restart_order(candidates, current);
        ordered
            .iter()
            .map(|c| format!("{}@{}", c.header.id, place(c)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn newest_first_then_its_history_then_the_others() {
        let cases = [
            ("", ""),
            ("1@p 3@p 2@p", "3@p 2@p 1@p"),
            ("3@p 3@c0", "3@c0 3@p"),
            ("3@c0 3@p 3@c2 3@c1", "3@c2 3@c1 3@c0 3@p"),
            ("1@p 2<1@p 3<1@p", "3@p 1@p 2@p"),
            ("1@p 2<1@p 3<2@p 4<2@c0 4<2@p", "4@c0 4@p 2@p 1@p 3@p"),
            ("5<4@p 3@p 2@p", "5@p 3@p 2@p"),
            ("5<3@p 4<2@p 3@p 2@p", "5@p 3@p 4@p 2@p"),
            ("9@p- 3@p", "3@p"),
        ];
        for (words, expected) in cases {
            assert_eq!(order(words, None), expected, "{words}");
            let reversed: Vec<&str> = words.split_whitespace().rev().collect();
            assert_eq!(order(&reversed.join(" "), None), expected, "{words} reversed");
        }
    }

    #[test]
    fn a_later_launch_is_newer_whatever_the_numbers() {
        let mut old = candidate("18@c0");
        let mut new = candidate("3@p");
        (old.header.epoch, new.header.epoch) = (Epoch(4), Epoch(5));
        let ordered = restart_order(vec![old, new], None);
        assert_eq!(ordered.iter().map(|c| c.header.id.0).collect::<Vec<_>>(), [3, 18]);
    }

    #[test]
    fn a_person_wins_until_something_newer_is_committed() {
        let words = "1@p 2<1@p 3<2@p 4<3@c0";
        let cases = [
            (2, 4, ChosenBy::Person, words, "2@p 1@p 4@c0 3@p"),
            (2, 3, ChosenBy::Person, words, "4@c0 3@p 2@p 1@p"),
            (2, 9, ChosenBy::Person, words, "2@p 1@p 4@c0 3@p"),
            (2, 4, ChosenBy::Job, words, "4@c0 3@p 2@p 1@p"),
            (7, 9, ChosenBy::Person, words, "4@c0 3@p 2@p 1@p"),
            (2, 3, ChosenBy::Person, "2@p 3@p 4@c0?", "2@p 4@c0 3@p"),
        ];
        for (number, newest_known, by, words, expected) in cases {
            let current = Current {
                identity: identity(number),
                name: DatasetName::new("chosen"),
                by,
                newest_known: DatasetId(newest_known),
            };
            assert_eq!(order(words, Some(&current)), expected, "{current:?}");
        }
    }

    #[test]
    fn a_loop_of_parents_ends_and_nothing_is_lost_or_doubled() {
        assert_eq!(order("1<3@p 2<1@p 3<2@p 4<4@p", None), "4@p 3@p 2@p 1@p");
    }
}
