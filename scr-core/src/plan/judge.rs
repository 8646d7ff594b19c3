// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether one redundancy set can give back all its data, judged from what the nodes present hold.
//!
//! A part counts when it is `Encoded` or `Committed`. One that is still `Writing` counts as missing: either the dataset
//! was never finished, or the node came back with old data. Which of the two, [`join`](super::join) can tell from the other sets.
//! A missing part can be rebuilt only with a copy of its node record.

use crate::format::Scheme;
use crate::format::state::Phase;
use crate::id::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that a node present holds of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A part.
    Part {
        /// Whose.
        member: u32,
        /// The node that wrote it.
        node: NodeName,
        /// How far it has come.
        phase: Phase,
    },
    /// A copy of a node record.
    RecordCopy {
        /// Whose.
        member: u32,
        /// The node that wrote it.
        node: NodeName,
        /// The member that holds it.
        held_by: u32,
    },
}

/// What a set can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All parts are there.
    Whole,
    /// These members are missing and can be rebuilt.
    Rebuildable {
        /// Ascending.
        missing: Vec<u32>,
    },
    /// Some data cannot be had.
    Lost {
        /// Why, in words.
        why: String,
    },
}

/// What is known of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it can do.
    pub standing: Standing,
    /// Whether a part says `Committed`: proof that every node of the dataset was `Encoded`.
    pub any_committed: bool,
    /// Whether a part says `Writing` of which there is no complete copy.
    pub any_writing: bool,
}

/// Judges set `set` of `members` members from all that was found of it.
pub fn judge(set: u32, scheme: Scheme, members: u32, facts: &[Fact]) -> Verdict {
    let found = Found::new(members, facts);
    let any_committed = found.committed;
    let any_writing = !found.writing.is_subset(&found.usable);
    let missing: Vec<u32> = (0..members).filter(|member| !found.usable.contains(member)).collect();
    let standing = if let Some(reason) = found.condemned {
        Standing::Lost { why: format!("condemned: {reason}") }
    } else if missing.is_empty() {
        Standing::Whole
    } else if missing.len() as u64 > u64::from(scheme.tolerance()) {
        let survives = format!("{scheme} survives {}", scheme.tolerance());
        Standing::Lost { why: format!("set {set} {}, {survives}", found.describe(&missing)) }
    } else if let Some(unknown) = missing.iter().find(|member| !found.copies.contains(member)) {
        let why = format!(
            "set {set} {}, and no copy of the node record of member {unknown}",
            found.describe(&missing)
        );
        Standing::Lost { why }
    } else {
        Standing::Rebuildable { missing }
    };
    Verdict { standing, any_committed, any_writing }
}

/// The facts, sorted.
struct Found<'a> {
    usable: BTreeSet<u32>,
    writing: BTreeSet<u32>,
    copies: BTreeSet<u32>,
    committed: bool,
    condemned: Option<&'a str>,
    nodes: BTreeMap<u32, &'a NodeName>,
}

impl<'a> Found<'a> {
    fn new(members: u32, facts: &'a [Fact]) -> Self {
        let mut found = Found {
            usable: BTreeSet::new(),
            writing: BTreeSet::new(),
            copies: BTreeSet::new(),
            committed: false,
            condemned: None,
            nodes: BTreeMap::new(),
        };
        for fact in facts {
            let (Fact::Part { member, node, .. } | Fact::RecordCopy { member, node, .. }) = fact;
            if *member >= members {
                continue;
            }
            found.nodes.insert(*member, node);
            match fact {
                Fact::RecordCopy { .. } => {
                    found.copies.insert(*member);
                }
                Fact::Part { phase, .. } => match phase {
                    Phase::Writing => {
                        found.writing.insert(*member);
                    }
                    Phase::Encoded | Phase::Committed => {
                        found.committed |= *phase == Phase::Committed;
                        found.usable.insert(*member);
                    }
                    Phase::Condemned { reason } => found.condemned = Some(reason),
                },
            }
        }
        found
    }

    /// "lost members 4, 5 (nodes n4, n5)", "never finished member 2 (node n2)".
    fn describe(&self, missing: &[u32]) -> String {
        let (writing, gone): (Vec<u32>, Vec<u32>) =
            missing.iter().partition(|member| self.writing.contains(member));
        let said = [("lost", gone), ("never finished", writing)];
        let said = said.iter().filter(|(_, members)| !members.is_empty());
        said.map(|(verb, members)| format!("{verb} {}", self.name(members)))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    fn name(&self, members: &[u32]) -> String {
        let numbers =
            listed("member", &members.iter().map(ToString::to_string).collect::<Vec<_>>());
        let nodes: Vec<String> =
            members.iter().filter_map(|m| self.nodes.get(m)).map(ToString::to_string).collect();
        if nodes.is_empty() { numbers } else { format!("{numbers} ({})", listed("node", &nodes)) }
    }
}

/// "node n4", "nodes n4, n5".
fn listed(word: &str, items: &[String]) -> String {
    format!("{word}{} {}", if items.len() == 1 { "" } else { "s" }, items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `w`, `e`, `c`, `x` = part of that member that is Writing, Encoded, Committed, condemned; `r` = a copy of its record.
    fn facts(words: &str) -> Vec<Fact> {
        let fact = |word: &str| {
            let (kind, number) = word.split_at(1);
            let member: u32 = number.parse().unwrap();
            let node = NodeName::new(format!("n{member}"));
            let phase = match kind {
                "r" => return Fact::RecordCopy { member, node, held_by: member + 1 },
                "w" => Phase::Writing,
                "e" => Phase::Encoded,
                "c" => Phase::Committed,
                _ => Phase::Condemned { reason: "the application said so".into() },
            };
            Fact::Part { member, node, phase }
        };
        words.split_whitespace().map(fact).collect()
    }

    #[test]
    fn tolerance_and_record_copies_decide() {
        let xor = Scheme::Xor;
        let cases = [
            (xor, 3, "c0 c1 c2", "whole"),
            (xor, 3, "e0 c1 e2", "whole"),
            (xor, 3, "e0 e1 e2 r0 r1 r2", "whole"),
            (xor, 3, "c0 c2 r1", "rebuild [1]"),
            (xor, 3, "c1 c2 r0", "rebuild [0]"),
            (xor, 3, "c0 c2 r0", "set 3 lost member 1, and no copy of the node record of member 1"),
            (xor, 6, "c0 c1 c2 c3 r4 r5", "set 3 lost members 4, 5 (nodes n4, n5), XOR survives 1"),
            (xor, 6, "c0 c1 c2 c3 r4", "set 3 lost members 4, 5 (node n4), XOR survives 1"),
            (xor, 4, "c0 c1 c2", "set 3 lost member 3, and no copy of the node record of member 3"),
            (xor, 3, "", "set 3 lost members 0, 1, 2, XOR survives 1"),
            (xor, 3, "c0 c1 w2 r2", "rebuild [2]"),
            (
                xor,
                3,
                "c0 w2 r2",
                "set 3 lost member 1 and never finished member 2 (node n2), XOR survives 1",
            ),
            (Scheme::Single, 1, "c0", "whole"),
            (Scheme::Single, 1, "r0", "set 3 lost member 0 (node n0), SINGLE survives 0"),
            (xor, 3, "c0 x1 c2", "condemned: the application said so"),
            // The same part on two nodes, after a distribution that was interrupted.
            (xor, 2, "w0 c0 c1", "whole"),
            // Numbers that no member has.
            (xor, 2, "c0 c1 c7", "whole"),
            (xor, 2, "c0 c7 r7", "set 3 lost member 1, and no copy of the node record of member 1"),
        ];
        for (scheme, members, words, expected) in cases {
            let said = match judge(3, scheme, members, &facts(words)).standing {
                Standing::Whole => "whole".into(),
                Standing::Rebuildable { missing } => format!("rebuild {missing:?}"),
                Standing::Lost { why } => why,
            };
            assert_eq!(said, expected, "{words}");
        }
    }

    #[test]
    fn phases_are_reported_for_the_other_sets() {
        for (words, committed, writing) in [
            ("e0 e1", false, false),
            ("e0 c1", true, false),
            ("w0 e1", false, true),
            ("w0 c1", true, true),
            ("w0 e0 e1", false, false),
        ] {
            let verdict = judge(0, Scheme::Xor, 2, &facts(words));
            assert_eq!(
                (verdict.any_committed, verdict.any_writing),
                (committed, writing),
                "{words}"
            );
        }
    }
}
