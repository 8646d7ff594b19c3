// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who runs where: nodes, their leaders, and the redundancy sets that nodes form.
//!
//! No rank holds anything that grows with the number of ranks: a rank knows its node, and the members of its set.

use super::wire::{pack, unpack};
use crate::comm::{Comm, Reduce, collective};
use crate::error::Result;
use crate::id::NodeName;
use crate::plan::group;
use std::collections::BTreeSet;

/// The ranks of a launch, and how they share nodes.
#[derive(Debug)]
pub struct Topology {
    /// All ranks.
    pub world: Box<dyn Comm>,
    /// The ranks of this node; its rank 0 is the node's *leader*.
    pub node: Box<dyn Comm>,
    /// The leaders of all nodes, on leaders only.
    pub leaders: Option<Box<dyn Comm>>,
    /// This node.
    pub name: NodeName,
    /// Its position among the nodes, which are ordered by their first rank.
    pub index: u32,
    /// How many nodes there are.
    pub count: u32,
    /// The ranks of this node, ascending.
    pub ranks: Vec<u32>,
}

impl Topology {
    /// Finds out who shares a node with whom: ranks that give the same name do.
    ///
    /// # Collective
    /// On `world`.
    pub fn new(world: Box<dyn Comm>, name: NodeName) -> Result<Self> {
        let node = collective::split_by_name(&*world, name.as_str())?;
        let is_leader = node.rank() == 0;
        let leaders = world.split(is_leader.then_some(0), 0)?;
        let ranks = collective::all_gather(&*node, &pack(&(world.rank() as u32)))?
            .iter()
            .map(|bytes| unpack(bytes))
            .collect::<Result<Vec<u32>>>()?;
        let mine = leaders.as_ref().map_or((0, 0), |l| (l.rank() as u32, l.size() as u32));
        let (index, count) = broadcast(&*node, &mine)?;
        Ok(Self { world, node, leaders, name, index, count, ranks })
    }

    /// Position of this rank among those of its node.
    pub fn lane(&self) -> usize {
        self.node.rank()
    }
}

/// Gives all ranks the value of rank 0.
///
/// # Collective
/// On `comm`.
pub(crate) fn broadcast<T: serde::Serialize + serde::de::DeserializeOwned>(
    comm: &dyn Comm,
    value: &T,
) -> Result<T> {
    let bytes = if comm.rank() == 0 { pack(value) } else { Vec::new() };
    unpack(&collective::broadcast_bytes(comm, 0, bytes)?)
}

/// Joins the sets of all ranks; for few values.
///
/// # Collective
/// On `comm`.
pub(crate) fn union<T>(comm: &dyn Comm, mine: &BTreeSet<T>) -> Result<BTreeSet<T>>
where
    T: Ord + serde::Serialize + serde::de::DeserializeOwned,
{
    let all = collective::fold(comm, pack(mine), &mut |a, b| {
        let both = [a, b].map(|bytes| unpack::<BTreeSet<T>>(&bytes).unwrap_or_default());
        pack(&both.into_iter().flatten().collect::<BTreeSet<T>>())
    })?;
    unpack(&all)
}

/// The nodes that protect each other, as one of their ranks sees them.
#[derive(Debug)]
pub struct RedundancySet {
    /// Which set.
    pub set: u32,
    /// How many sets there are.
    pub sets: u32,
    /// Which member this node is.
    pub member: u32,
    /// The ranks of every member, ascending.
    pub members: Vec<Vec<u32>>,
    /// The leaders of the members, on leaders only; ranks are member numbers.
    leaders: Option<Box<dyn Comm>>,
}

impl RedundancySet {
    /// Forms sets of at least `set_size` nodes, where there are as many; nodes with one `failure_group` are in different
    /// sets. With `None` each node fails alone.
    ///
    /// # Collective
    /// On all ranks, with equal `set_size`; all give a group or none does.
    pub fn form(topology: &Topology, set_size: u32, failure_group: Option<&str>) -> Result<Self> {
        let place = match failure_group {
            None => group::set_of(topology.index, topology.count, set_size),
            Some(name) => {
                let seat = topology.leaders.as_deref();
                let seat = seat.map(|leaders| seat_apart(leaders, set_size, name)).transpose()?;
                let seat = seat.map(|s| (s.set, s.sets, s.member, s.members));
                let (set, sets, member, members) =
                    broadcast(&*topology.node, &seat.unwrap_or_default())?;
                group::Seat { set, sets, member, members }
            }
        };
        let leaders = match &topology.leaders {
            Some(leaders) => leaders.split(Some(place.set), place.member)?,
            None => None,
        };
        let members = exchange(topology, leaders.as_deref(), &topology.ranks)?;
        Ok(Self { set: place.set, sets: place.sets, member: place.member, members, leaders })
    }

    /// Tells every rank of the set what each member's leader says.
    ///
    /// # Collective
    /// On the ranks of the set; `mine` counts on leaders only.
    pub fn exchange<T>(&self, topology: &Topology, mine: &T) -> Result<Vec<T>>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        exchange(topology, self.leaders.as_deref(), mine)
    }

    /// The leaders of the members, on leaders only; ranks are member numbers.
    pub fn leaders(&self) -> Option<&dyn Comm> {
        self.leaders.as_deref()
    }
}

/// The seat of a node, apart from all others that fail with it; see [`group::seats`].
///
/// # Collective
/// On the leaders.
fn seat_apart(leaders: &dyn Comm, set_size: u32, failure_group: &str) -> Result<group::Seat> {
    let together = collective::split_by_name(leaders, failure_group)?;
    // The first node of a group stands for all of it: groups come in the order of their first nodes.
    let is_first = together.rank() == 0;
    let share = if is_first { together.size() as u64 } else { 0 };
    let before = collective::sum_of_lower(leaders, share)?;
    let before: u64 = broadcast(&*together, &before)?;
    let mut largest = [together.size() as u64];
    leaders.all_reduce(Reduce::Max, &mut largest)?;
    let position = before as u32 + together.rank() as u32;
    Ok(group::seat(position, leaders.size() as u32, set_size, largest[0] as u32))
}

fn exchange<T>(topology: &Topology, leaders: Option<&dyn Comm>, mine: &T) -> Result<Vec<T>>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let all = match leaders {
        Some(leaders) => collective::all_gather(leaders, &pack(mine))?,
        None => Vec::new(),
    };
    let all: Vec<Vec<u8>> = broadcast(&*topology.node, &all)?;
    all.iter().map(|bytes| unpack(bytes)).collect()
}

/// Whether `mine` holds on all ranks.
///
/// # Collective
/// On `comm`.
pub(super) fn all(comm: &dyn Comm, mine: bool) -> Result<bool> {
    let mut value = [u64::from(mine)];
    comm.all_reduce(Reduce::Min, &mut value)?;
    Ok(value[0] == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::thread::{Scheduler, World};

    #[test]
    fn failure_groups_are_kept_apart_as_planned() {
        // Two ranks on each node; the groups of eleven nodes.
        let groups = ["a", "b", "a", "c", "c", "b", "a", "d", "d", "d", "d"];
        for set_size in [1, 2, 3, 8] {
            let planned = group::seats(&groups, set_size);
            let found = World::new(2 * groups.len(), Scheduler::Seeded(3)).run(|world| {
                let node = world.rank() / 2;
                let topology = Topology::new(world, NodeName::new(format!("n{node}"))).unwrap();
                let set = RedundancySet::form(&topology, set_size, Some(groups[node])).unwrap();
                let mine = set.members[set.member as usize].clone();
                assert_eq!(mine, [2 * node as u32, 2 * node as u32 + 1]);
                (set.set, set.sets, set.member, set.members.len() as u32)
            });
            for (rank, found) in found.into_iter().enumerate() {
                let group::Seat { set, sets, member, members } = planned[rank / 2];
                assert_eq!(found.unwrap(), (set, sets, member, members), "rank {rank}");
            }
        }
    }
}
