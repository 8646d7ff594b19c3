// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranks as threads of one process: what the simulator runs on.
//!
//! No kinder than MPI: a death ends the whole world, a rank that leaves while others wait for it does too, and so does
//! a deadlock, which MPI would not even report. Collectives are trees of messages, so counts of messages are realistic.
//!
//! With [`Scheduler::Seeded`] one rank runs at a time, and at each call the seed decides who goes on: the same seed gives
//! the same run. Ranks of such a world must not wait for each other by other means than the communicator.

mod post;

use super::tree::{self, Mail, disseminate, spread};
use super::{Comm, In, Out, Reduce, check_color, check_rank};
use crate::error::{Error, ErrorKind, Result};
use post::{Channel, Choice, Group, Post};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Address space of a rank's stack; memory is taken only as it is touched.
const STACK_BYTES: usize = 1 << 20;

/// Who runs when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// The operating system decides.
    Free,
    /// One rank at a time; the seed decides.
    Seeded(u64),
}

/// What one rank sent and received, messages within collectives included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages sent.
    pub messages_sent: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

/// One job step of thread ranks; clones are handles on the same world, for any thread.
///
/// ```
/// use scr_core::comm::{Reduce, thread::{Scheduler, World}};
///
/// let sums = World::new(4, Scheduler::Seeded(7)).run(|comm| {
///     let mut sum = [comm.rank() as u64];
///     comm.all_reduce(Reduce::Sum, &mut sum).map(|()| sum[0])
/// });
/// assert!(sums.into_iter().all(|sum| matches!(sum, Ok(Ok(6)))));
/// ```
#[derive(Clone, Debug)]
pub struct World {
    post: Arc<Post>,
    started: Arc<AtomicBool>,
}

impl World {
    /// Prepares a world of `size` ranks.
    pub fn new(size: usize, scheduler: Scheduler) -> Self {
        let post = Arc::new(Post::new(size, scheduler));
        Self { post, started: Arc::new(AtomicBool::new(false)) }
    }

    /// Runs `body` on every rank, once in the life of the world, and returns what each returned.
    ///
    /// # Errors
    /// In the place of a rank that panicked or could not be started, [`ErrorKind::Communication`].
    pub fn run<T: Send>(&self, body: impl Fn(Box<dyn Comm>) -> T + Sync) -> Vec<Result<T>> {
        let size = self.post.size();
        if self.started.swap(true, Ordering::Relaxed) {
            let again = || Err(Error::new(ErrorKind::Misuse, "a world of thread ranks runs once"));
            return std::iter::repeat_with(again).take(size).collect();
        }
        let world = Arc::new(Group { id: 0, members: (0..size).collect() });
        std::thread::scope(|scope| {
            let start = |rank| {
                let (world, body) = (Arc::clone(&world), &body);
                let run = move || run_rank(rank, &self.post, world, body);
                let thread = std::thread::Builder::new()
                    .name(format!("rank {rank}"))
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, run);
                thread.map_err(|error| {
                    let reason = format!("rank {rank} could not be started: {error}");
                    self.post.abandon(rank, reason.clone());
                    Error::new(ErrorKind::Communication, reason)
                })
            };
            let threads: Vec<_> = (0..size).map(start).collect();
            let lost = |_| Err(Error::new(ErrorKind::Communication, "a rank was lost"));
            threads.into_iter().map(|thread| thread?.join().unwrap_or_else(lost)).collect()
        })
    }

    /// Kills the job step: every later or blocked call of every rank fails with [`ErrorKind::Communication`].
    pub fn kill(&self, reason: &str) {
        self.post.end(reason.to_owned());
    }

    /// Why the world ended before its ranks did, if so.
    pub fn end_reason(&self) -> Option<String> {
        self.post.end_reason()
    }

    /// What each rank has sent and received so far.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.post.traffic()
    }

    /// In a seeded world, sometimes lets another rank go first; a store calls it so that file operations interleave too.
    pub fn interleave(&self) {
        self.post.interleave();
    }
}

fn run_rank<T>(
    rank: usize,
    post: &Arc<Post>,
    group: Arc<Group>,
    body: &(impl Fn(Box<dyn Comm>) -> T + Sync),
) -> Result<T> {
    post.enter(rank);
    let comm = Box::new(Thread { post: Arc::clone(post), group, rank, splits: Cell::new(0) });
    let result = catch_unwind(AssertUnwindSafe(|| body(comm)));
    let cause = result.as_ref().err().map(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        format!("rank {rank} panicked: {}", text.unwrap_or("(no message)"))
    });
    post.leave(rank, cause.clone());
    result.map_err(|_| Error::new(ErrorKind::Communication, cause.unwrap_or_default()))
}

/// A communicator of thread ranks.
#[derive(Debug)]
struct Thread {
    post: Arc<Post>,
    group: Arc<Group>,
    rank: usize,
    /// How many splits this communicator has seen: the same on all ranks, since a split is collective.
    splits: Cell<u64>,
}

impl Thread {
    fn channel(&self, from: usize, to: usize, collective: bool) -> Channel {
        let members = &self.group.members;
        Channel { group: self.group.id, from: members[from], to: members[to], collective }
    }

    fn begin(&self) -> Result<()> {
        self.post.interleave();
        self.post.check_alive()
    }

    fn receive_from(&self, channel: Channel, call: &'static str, data: &mut [u8]) -> Result<()> {
        let letter = self.post.take(channel, call)?;
        if letter.len() != data.len() {
            return Err(self.post.end(format!(
                "rank {} sent {} bytes in {call} where rank {} expects {}",
                channel.from,
                letter.len(),
                channel.to,
                data.len()
            )));
        }
        data.copy_from_slice(&letter);
        Ok(())
    }

    fn exchange(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        meanwhile: impl FnOnce(),
    ) -> Result<()> {
        const CALL: &str = "transfer";
        let senders_wait = self.post.senders_wait();
        for inp in &*ins {
            self.post.post(self.channel(inp.from, self.rank, false))?;
        }
        let mut sent = Vec::with_capacity(outs.len());
        for out in outs {
            let channel = self.channel(self.rank, out.to, false);
            sent.push((channel, self.post.send(channel, CALL, out.data.to_vec())?));
        }
        meanwhile();
        for inp in ins {
            self.receive_from(self.channel(inp.from, self.rank, false), CALL, inp.data)?;
        }
        for (channel, number) in sent.into_iter().filter(|_| senders_wait) {
            self.post.await_receiver(channel, number, CALL)?;
        }
        Ok(())
    }
}

impl Mail for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.group.members.len()
    }

    fn send(&self, to: usize, call: &'static str, data: &[u8]) -> Result<()> {
        self.post.send(self.channel(self.rank, to, true), call, data.to_vec()).map(drop)
    }

    fn receive(&self, from: usize, call: &'static str, data: &mut [u8]) -> Result<()> {
        self.receive_from(self.channel(from, self.rank, true), call, data)
    }
}

impl Comm for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.group.members.len()
    }

    fn barrier(&self) -> Result<()> {
        self.begin()?;
        disseminate(self, "barrier")
    }

    fn broadcast(&self, root: usize, data: &mut [u8]) -> Result<()> {
        check_rank(self, root)?;
        self.begin()?;
        spread(self, root, "broadcast", data)
    }

    fn all_reduce(&self, op: Reduce, values: &mut [u64]) -> Result<()> {
        self.begin()?;
        tree::all_reduce(self, op, values)
    }

    fn split(&self, color: Option<u32>, key: u32) -> Result<Option<Box<dyn Comm>>> {
        check_color(color)?;
        self.begin()?;
        let number = self.splits.replace(self.splits.get() + 1);
        let world_rank = self.group.members[self.rank];
        let choice = Choice { color, key, rank: self.rank, world_rank };
        self.post.choose(&self.group, number, choice);
        // Who is where is read from shared memory, not gathered, but only after everybody was heard of.
        disseminate(self, "split")?;
        let group = self.post.chosen(&self.group, number, color);
        Ok(group.and_then(|group| {
            let rank = group.members.iter().position(|&member| member == world_rank)?;
            let post = Arc::clone(&self.post);
            Some(Box::new(Self { post, group, rank, splits: Cell::new(0) }) as Box<dyn Comm>)
        }))
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
        let result =
            checked.and_then(|()| self.begin()).and_then(|()| self.exchange(outs, ins, &mut run));
        // A transfer that failed before it got there still owes the caller this call.
        if let Err(panic) = ran.unwrap_or_else(|| catch_unwind(AssertUnwindSafe(meanwhile))) {
            resume_unwind(panic);
        }
        result
    }
}

#[cfg(test)]
mod tests;
