// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranks that are agents on different nodes: the port [`Comm`] over TCP.
//!
//! Every agent opens a [`Door`] and says where it is; the coordinator, who knows them all, gives each the same [`World`];
//! then [`join`] brings them together. Collectives are trees, so an agent has to do with about log2 P others, besides
//! those whose data it needs. What goes over the wire is in [`office`], how agents know each other in [`handshake`].

mod address;
mod handshake;
mod office;

pub(crate) use handshake::Token;

use office::{Channel, Office, Receiving, Sending};
use scr_core::comm::collective::all_gather;
use scr_core::comm::tree::{self, Mail, disseminate, spread};
use scr_core::comm::{Comm, In, Out, Reduce, check_color, check_rank};
use scr_core::id::NodeName;
use scr_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// An agent as the others find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its node.
    pub(crate) node: NodeName,
    /// Where it can be called, the best first.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Those who work together; a rank is a position among the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct World {
    /// What they know each other by.
    pub(crate) token: Token,
    /// All of them, the same for all.
    pub(crate) members: Vec<Member>,
    /// After how long without a sign of life a peer is taken for dead.
    pub(crate) silence_ms: u64,
}

/// Where an agent can be called, before it knows by whom.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    port: u16,
}

impl Door {
    /// Opens a door at a port that the system chooses, on all networks of this node.
    pub(crate) fn open() -> Result<Self> {
        let failed = |error: std::io::Error| Error::io("listen on", "a TCP port", &error);
        let listener = listen().map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, port })
    }

    /// The addresses of the door.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        address::of_this_node(self.port)
    }
}

/// A listening socket for IPv4 and IPv6; for IPv4 alone where the system has no other.
fn listen() -> std::io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let both = || -> rustix::io::Result<_> {
        let (family, kind) = (AddressFamily::INET6, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        sockopt::set_ipv6_v6only(&socket, false)?;
        bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))?;
        listen(&socket, 1024)?;
        Ok(TcpListener::from(socket))
    };
    both().or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
}

/// Ends a world from another thread.
#[derive(Clone, Debug)]
pub(crate) struct Ender(Arc<Office>);

impl Ender {
    /// Ends it; every rank that can be reached is told why.
    pub(crate) fn end(&self, reason: &str) {
        self.0.end(reason.to_string());
    }
}

/// Comes together with all others of `world`, as the member that is called `node`; returns when everybody is there.
///
/// # Errors
/// [`ErrorKind::Misuse`] when the world has no such member; [`ErrorKind::Communication`] when others cannot be reached.
///
/// # Collective
/// All members of `world`.
pub(crate) fn join(
    door: Door,
    world: World,
    node: &NodeName,
    take_ender: impl FnOnce(Ender),
) -> Result<Box<dyn Comm>> {
    let Some(rank) = world.members.iter().position(|member| member.node == *node) else {
        let message = format!("{node} is not among those who work together");
        return Err(Error::new(ErrorKind::Misuse, message));
    };
    let size = world.members.len();
    let silence = Duration::from_millis(world.silence_ms.max(1));
    let closing = door.listener.try_clone();
    let closing = closing.map_err(|error| Error::io("listen on", "a TCP port", &error))?;
    let office = Office::open(door.listener, world.members, world.token, rank, silence)?;
    take_ender(Ender(Arc::clone(&office)));
    let seat = Arc::new(Seat { office, door: closing });
    let members = Arc::new((0..size).collect());
    let comm =
        Network { seat, group: 0, members, rank, splits: Cell::new(0), in_collective: false };
    disseminate(&comm, "join").context(|| "bring the agents together")?;
    Ok(Box::new(comm))
}

/// A rank's place in the world; it is left with the last communicator.
#[derive(Debug)]
struct Seat {
    office: Arc<Office>,
    door: TcpListener,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.office.leave(&self.door);
    }
}

/// A communicator of agents.
#[derive(Debug)]
struct Network {
    seat: Arc<Seat>,
    group: u64,
    /// The ranks in the world of its ranks.
    members: Arc<Vec<usize>>,
    rank: usize,
    /// How many splits this communicator has seen: the same on all ranks, since a split is collective.
    splits: Cell<u64>,
    /// Whether its letters are those of a collective.
    in_collective: bool,
}

impl Network {
    fn channel(&self, is_collective: bool) -> Channel {
        Channel { group: self.group, is_collective: is_collective || self.in_collective }
    }

    /// This communicator, for what a collective is made from.
    fn inside(&self) -> Self {
        Self {
            seat: Arc::clone(&self.seat),
            group: self.group,
            members: Arc::clone(&self.members),
            rank: self.rank,
            splits: Cell::new(0),
            in_collective: true,
        }
    }

    /// The number of the group that a split makes: the same on its ranks, and on nobody else.
    fn group_of(&self, split: u64, color: u32) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.group.to_le_bytes());
        hash.update(split.to_le_bytes());
        hash.update(color.to_le_bytes());
        let hash = hash.finalize();
        hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn exchange(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        meanwhile: impl FnOnce(),
    ) -> Result<()> {
        let channel = self.channel(false);
        let mut outs: Vec<_> =
            outs.iter().map(|out| Sending::new(self.members[out.to], out.data)).collect();
        let mut ins: Vec<_> =
            ins.iter_mut().map(|inp| Receiving::new(self.members[inp.from], inp.data)).collect();
        self.seat.office.begin(channel, &mut outs, &mut ins)?;
        meanwhile();
        self.seat.office.complete(channel, &mut outs, &mut ins)
    }
}

impl Mail for Network {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.members.len()
    }

    fn send(&self, to: usize, _call: &'static str, data: &[u8]) -> Result<()> {
        let mut outs = [Sending::new(self.members[to], data)];
        self.seat.office.complete(self.channel(true), &mut outs, &mut [])
    }

    fn receive(&self, from: usize, _call: &'static str, data: &mut [u8]) -> Result<()> {
        let mut ins = [Receiving::new(self.members[from], data)];
        self.seat.office.complete(self.channel(true), &mut [], &mut ins)
    }
}

impl Comm for Network {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.members.len()
    }

    fn barrier(&self) -> Result<()> {
        disseminate(self, "barrier")
    }

    fn broadcast(&self, root: usize, data: &mut [u8]) -> Result<()> {
        check_rank(self, root)?;
        spread(self, root, "broadcast", data)
    }

    fn all_reduce(&self, op: Reduce, values: &mut [u64]) -> Result<()> {
        self.seat.office.check_alive()?;
        tree::all_reduce(self, op, values)
    }

    fn split(&self, color: Option<u32>, key: u32) -> Result<Option<Box<dyn Comm>>> {
        check_color(color)?;
        let split = self.splits.replace(self.splits.get() + 1);
        // No color is written as one that no rank may give.
        let mut mine = color.unwrap_or(u32::MAX).to_le_bytes().to_vec();
        mine.extend_from_slice(&key.to_le_bytes());
        let all = all_gather(&self.inside(), &mine)?;
        let Some(color) = color else { return Ok(None) };
        let mut chosen: Vec<(u32, usize)> = Vec::new();
        for (rank, bytes) in all.iter().enumerate() {
            let word = |at: usize| bytes.get(at..at + 4)?.try_into().map(u32::from_le_bytes).ok();
            if let (Some(theirs), Some(key)) = (word(0), word(4))
                && theirs == color
            {
                chosen.push((key, rank));
            }
        }
        chosen.sort_unstable();
        let rank = chosen.iter().position(|(_, rank)| *rank == self.rank).unwrap_or(0);
        Ok(Some(Box::new(Self {
            seat: Arc::clone(&self.seat),
            group: self.group_of(split, color),
            members: Arc::new(chosen.into_iter().map(|(_, rank)| self.members[rank]).collect()),
            rank,
            splits: Cell::new(0),
            in_collective: false,
        })))
    }

    fn transfer(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<()> {
        let peers = outs.iter().map(|out| out.to).chain(ins.iter().map(|inp| inp.from));
        let checked = peers.into_iter().try_for_each(|rank| check_rank(self, rank));
        let mut ran = None;
        let mut run = || ran = Some(catch_unwind(AssertUnwindSafe(&mut *meanwhile)));
        let result = checked.and_then(|()| self.exchange(outs, ins, &mut run));
        // A transfer that failed before it got there still owes the caller this call.
        if let Err(panic) = ran.unwrap_or_else(|| catch_unwind(AssertUnwindSafe(meanwhile))) {
            resume_unwind(panic);
        }
        result
    }
}

#[cfg(test)]
mod tests;
