// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether one redundancy set can give back all its data, judged from what the nodes present hold.
//!
//! Only datasets of which some part says `Committed` are judged: that proves that every part was complete once, so one that
//! still says `Writing` counts like the others. A missing part can be rebuilt only with a copy of its node record.

use crate::format::Scheme;
use crate::format::state::Phase;
use crate::id::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that a node present holds of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A part with a complete node record.
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

/// Judges set `set` of `members` members from all that was found of it.
pub fn judge(set: u32, scheme: Scheme, members: u32, facts: &[Fact]) -> Standing {
    let found = Found::new(members, facts);
    let missing: Vec<u32> = (0..members).filter(|member| !found.usable.contains(member)).collect();
    if let Some(reason) = found.condemned {
        Standing::Lost { why: format!("condemned: {reason}") }
    } else if missing.is_empty() {
        Standing::Whole
    } else if !can_restore(scheme, members, &missing) {
        let survives = match scheme {
            Scheme::Partner => "none that follow each other".to_string(),
            _ => scheme.tolerance().to_string(),
        };
        let why = format!("set {set} lost {}, {scheme} survives {survives}", found.name(&missing));
        Standing::Lost { why }
    } else if let Some(unknown) = missing.iter().find(|member| !found.copies.contains(member)) {
        let why = format!(
            "set {set} lost {}, and no copy of the node record of member {unknown}",
            found.name(&missing)
        );
        Standing::Lost { why }
    } else {
        Standing::Rebuildable { missing }
    }
}

/// Whether every stripe has as many blocks left as it has data.
fn can_restore(scheme: Scheme, members: u32, missing: &[u32]) -> bool {
    let (segments, parities) = scheme.stripe(members as usize);
    (0..members).all(|stripe| {
        let blocks = (0..(segments + parities) as u32).map(|at| (stripe + at) % members);
        blocks.filter(|member| missing.contains(member)).count() <= parities
    })
}

/// The facts, sorted.
struct Found<'a> {
    usable: BTreeSet<u32>,
    copies: BTreeSet<u32>,
    condemned: Option<&'a str>,
    nodes: BTreeMap<u32, &'a NodeName>,
}

impl<'a> Found<'a> {
    fn new(members: u32, facts: &'a [Fact]) -> Self {
        let mut found = Found {
            usable: BTreeSet::new(),
            copies: BTreeSet::new(),
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
                    Phase::Writing | Phase::Committed => {
                        found.usable.insert(*member);
                    }
                    Phase::Condemned { reason } => found.condemned = Some(reason),
                },
            }
        }
        found
    }

    /// "members 4, 5 (nodes n4, n5)".
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

    /// `w`, `c`, `x` = part of that member that is Writing, Committed, condemned; `r` = a copy of its record.
    fn facts(words: &str) -> Vec<Fact> {
        let fact = |word: &str| {
            let (kind, number) = word.split_at(1);
            let member: u32 = number.parse().unwrap();
            let node = NodeName::new(format!("n{member}"));
            let phase = match kind {
                "r" => return Fact::RecordCopy { member, node, held_by: member + 1 },
                "w" => Phase::Writing,
                "c" => Phase::Committed,
                _ => Phase::Condemned { reason: "the application said so".into() },
            };
            Fact::Part { member, node, phase }
        };
        words.split_whitespace().map(fact).collect()
    }

    #[test]
    fn tolerance_and_record_copies_decide() {
        let (xor, rs2) = (Scheme::Xor, Scheme::ReedSolomon { failures: 2 });
        let cases = [
            (xor, 3, "c0 c1 c2", "whole"),
            (xor, 3, "w0 c1 w2", "whole"),
            (xor, 3, "c0 c2 r1", "rebuild [1]"),
            (xor, 3, "c1 c2 r0", "rebuild [0]"),
            (xor, 3, "c0 c2 r0", "set 3 lost member 1, and no copy of the node record of member 1"),
            (xor, 6, "c0 c1 c2 c3 r4 r5", "set 3 lost members 4, 5 (nodes n4, n5), XOR survives 1"),
            (xor, 6, "c0 c1 c2 c3 r4", "set 3 lost members 4, 5 (node n4), XOR survives 1"),
            (xor, 4, "c0 c1 c2", "set 3 lost member 3, and no copy of the node record of member 3"),
            (xor, 3, "", "set 3 lost members 0, 1, 2, XOR survives 1"),
            (xor, 3, "w0 c1 r2", "rebuild [2]"),
            (Scheme::Partner, 4, "c0 c2 r1 r3", "rebuild [1, 3]"),
            (
                Scheme::Partner,
                4,
                "c1 c2 r0 r3",
                "set 3 lost members 0, 3 (nodes n0, n3), PARTNER survives none that follow each other",
            ),
            (Scheme::Partner, 2, "c0 r1", "rebuild [1]"),
            (rs2, 4, "c0 c3 r1 r2", "rebuild [1, 2]"),
            (
                rs2,
                4,
                "c3 r0 r1 r2",
                "set 3 lost members 0, 1, 2 (nodes n0, n1, n2), RS(2) survives 2",
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
            let said = match judge(3, scheme, members, &facts(words)) {
                Standing::Whole => "whole".into(),
                Standing::Rebuildable { missing } => format!("rebuild {missing:?}"),
                Standing::Lost { why } => why,
            };
            assert_eq!(said, expected, "{words}");
        }
    }
}
