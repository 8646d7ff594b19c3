// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which rank a file belongs to, where several routed the same one.
//!
//! Each name goes to one rank, found from a hash of it, which so sees all who routed it. Nobody sees all names.

use super::wire::{pack, unpack};
use crate::comm::{Comm, collective};
use crate::error::Result;
use crate::id::RelPath;
use std::collections::{BTreeMap, BTreeSet};

/// A file that several ranks routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The file.
    pub name: RelPath,
    /// The ranks, ascending; the first of them keeps it.
    pub ranks: Vec<usize>,
}

/// Finds the files that several ranks routed; each is known to one rank afterwards.
///
/// # Collective
/// All ranks of `comm`.
pub fn shared(comm: &dyn Comm, names: &BTreeSet<RelPath>) -> Result<Vec<Shared>> {
    if comm.size() == 1 {
        return Ok(Vec::new());
    }
    let mut letters: BTreeMap<usize, Vec<&RelPath>> = BTreeMap::new();
    for name in names {
        let judge = crc32fast::hash(name.as_bytes()) as usize % comm.size();
        letters.entry(judge).or_default().push(name);
    }
    let letters = letters.into_iter().map(|(judge, names)| (judge, pack(&names))).collect();
    let mut routed: BTreeMap<RelPath, Vec<usize>> = BTreeMap::new();
    for (rank, names) in collective::route(comm, letters)? {
        for name in unpack::<Vec<RelPath>>(&names)? {
            routed.entry(name).or_default().push(rank);
        }
    }
    let several = routed.into_iter().filter(|(_, ranks)| ranks.len() > 1);
    Ok(several.map(|(name, ranks)| Shared { name, ranks }).collect())
}

/// Takes from `names` what belongs to another rank, as [`shared`] found.
///
/// # Collective
/// All ranks of `comm`, with what `shared` gave them.
pub fn keep_own(comm: &dyn Comm, names: &mut BTreeSet<RelPath>, shared: &[Shared]) -> Result<()> {
    if comm.size() == 1 {
        return Ok(());
    }
    let losers =
        shared.iter().flat_map(|one| one.ranks[1..].iter().map(|&rank| (rank, pack(&one.name))));
    for (_, name) in collective::route(comm, losers.collect())? {
        names.remove(&unpack::<RelPath>(&name)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::thread::{Scheduler, World};

    fn name(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).expect("a relative path")
    }

    #[test]
    fn the_first_rank_keeps_what_several_routed() {
        let world = World::new(5, Scheduler::Seeded(3));
        let ended = world.run(|comm| {
            let rank = comm.rank();
            let mut names = BTreeSet::from([name(&format!("own.{rank}"))]);
            if rank > 0 {
                names.insert(name("all but 0"));
            }
            if [0, 4].contains(&rank) {
                names.insert(name("d/first and last"));
            }
            let shared = shared(&*comm, &names).expect("finds");
            keep_own(&*comm, &mut names, &shared).expect("keeps");
            (shared, names)
        });
        let ended: Vec<_> = ended.into_iter().map(|rank| rank.expect("ends")).collect();
        let mut found: Vec<_> = ended.iter().flat_map(|(shared, _)| shared.clone()).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let expected = [("all but 0", vec![1, 2, 3, 4]), ("d/first and last", vec![0, 4])];
        assert_eq!(found, expected.map(|(text, ranks)| Shared { name: name(text), ranks }));
        let kept: Vec<_> = ended.iter().map(|(_, names)| names.len()).collect();
        assert_eq!(kept, [2, 2, 1, 1, 1]);
    }
}
