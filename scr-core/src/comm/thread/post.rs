// SPDX-License-Identifier: MIT OR Apache-2.0
//! The post office of a world of thread ranks: letters, who waits for what, and who may run.
//!
//! One lock guards everything, so it is always known exactly how many ranks can go on: when none can, that is a
//! deadlock, and it ends the world instead of hanging it. A rank is marked as waiting only while its condition does not
//! hold; whoever makes it hold marks it ready in the same critical section.
//!
//! Collectives and messages travel on different channels, each letter names the call it belongs to, and a rank that is
//! in another call than its peer ends the world: what MPI leaves undefined is an error here.

use super::{Scheduler, Traffic};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// The path of letters from one rank to another within one group; ranks are those of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Channel {
    pub(super) group: u64,
    pub(super) from: usize,
    pub(super) to: usize,
    /// Letters of collectives never meet those of transfers.
    pub(super) collective: bool,
}

/// The ranks of one communicator.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: u64,
    /// World rank of each rank.
    pub(super) members: Vec<usize>,
}

/// What one rank says in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Choice {
    pub(super) color: Option<u32>,
    pub(super) key: u32,
    pub(super) rank: usize,
    pub(super) world_rank: usize,
}

#[derive(Debug)]
struct Letter {
    call: &'static str,
    data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Letter>,
    /// How many letters were ever put in.
    sent: u64,
    /// How many receives were ever posted.
    posted: u64,
}

/// What a rank waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The next letter of a channel.
    Letter(Channel),
    /// That so many receives of a channel have been posted.
    Receiver(Channel, u64),
}

impl Wait {
    fn peer(self) -> usize {
        match self {
            Self::Letter(channel) => channel.from,
            Self::Receiver(channel, _) => channel.to,
        }
    }
}

#[derive(Debug)]
enum Status {
    Ready,
    Waiting(Wait, &'static str),
    Left,
}

/// The right to run, in a seeded world: one rank has it at a time.
#[derive(Debug)]
struct Baton {
    random: Random,
    holder: Option<usize>,
    thread: Option<ThreadId>,
    /// Ranks that could run.
    queue: Vec<usize>,
}

impl Baton {
    fn pass(&mut self) {
        self.thread = None;
        self.holder = match self.queue.len() {
            0 => None,
            len => Some(self.queue.swap_remove(self.random.below(len))),
        };
    }
}

/// The splitmix64 generator (Steele, Lea, Flood 2014): tiny, and good enough to choose schedules.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// A split under way.
#[derive(Debug, Default)]
struct Splitting {
    choices: Vec<Choice>,
    groups: Option<BTreeMap<u32, Arc<Group>>>,
    fetched: usize,
}

#[derive(Debug)]
struct State {
    ranks: Vec<Status>,
    ready: usize,
    queues: HashMap<Channel, Queue>,
    traffic: Vec<Traffic>,
    /// By group and number of the split within the group.
    splits: HashMap<(u64, u64), Splitting>,
    groups: u64,
    baton: Option<Baton>,
    end: Option<String>,
}

impl State {
    fn alive(&self) -> Result<()> {
        match &self.end {
            None => Ok(()),
            Some(reason) => {
                let message = format!("the job step has ended: {reason}");
                Err(Error::new(ErrorKind::Communication, message))
            }
        }
    }

    fn may_run(&self, rank: usize) -> bool {
        matches!(self.ranks[rank], Status::Ready)
            && self.baton.as_ref().is_none_or(|baton| baton.holder == Some(rank))
    }

    fn wait_of(&self, rank: usize) -> Option<Wait> {
        match self.ranks[rank] {
            Status::Waiting(wait, _) => Some(wait),
            _ => None,
        }
    }

    fn describe_deadlock(&self) -> String {
        const SHOWN: usize = 8;
        let mut text = String::from("deadlock:");
        let waiting = self.ranks.iter().enumerate().filter_map(|(rank, status)| match status {
            Status::Waiting(wait, call) => Some((rank, wait.peer(), call)),
            _ => None,
        });
        for (i, (rank, peer, call)) in waiting.clone().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(text, "{comma} rank {rank} waits for rank {peer} in {call}");
        }
        match waiting.count().saturating_sub(SHOWN) {
            0 => text,
            more => text + &format!(", and {more} more ranks wait"),
        }
    }
}

/// The post office.
#[derive(Debug)]
pub(super) struct Post {
    state: Mutex<State>,
    bells: Vec<Condvar>,
}

impl Post {
    pub(super) fn new(size: usize, scheduler: Scheduler) -> Self {
        let baton = match scheduler {
            Scheduler::Free => None,
            Scheduler::Seeded(seed) => {
                let queue = (0..size).collect();
                let mut baton = Baton { random: Random(seed), holder: None, thread: None, queue };
                baton.pass();
                Some(baton)
            }
        };
        let state = State {
            ranks: std::iter::repeat_with(|| Status::Ready).take(size).collect(),
            ready: size,
            queues: HashMap::new(),
            traffic: vec![Traffic::default(); size],
            splits: HashMap::new(),
            groups: 1,
            baton,
            end: None,
        };
        let bells = std::iter::repeat_with(Condvar::new).take(size).collect();
        Self { state: Mutex::new(state), bells }
    }

    pub(super) fn size(&self) -> usize {
        self.bells.len()
    }

    /// Waits until `rank` may run for the first time.
    pub(super) fn enter(&self, rank: usize) {
        drop(self.sleep(self.lock(), rank));
    }

    /// Notes that `rank` calls no more; ranks that wait for it would wait forever, so they end the world.
    pub(super) fn leave(&self, rank: usize, cause: Option<String>) {
        let mut state = self.lock();
        state.ranks[rank] = Status::Left;
        state.ready -= 1;
        if let Some(cause) = cause {
            self.finish(&mut state, cause);
        }
        let waiter = state.ranks.iter().enumerate().find_map(|(waiter, status)| match status {
            Status::Waiting(wait, call) if wait.peer() == rank => Some((waiter, *call)),
            _ => None,
        });
        if let Some((waiter, call)) = waiter {
            self.finish(&mut state, left_while_waited_for(rank, waiter, call));
        }
        self.release(&mut state);
    }

    /// Notes that `rank`, which never ran, never will, and ends the world.
    pub(super) fn abandon(&self, rank: usize, reason: String) {
        let mut state = self.lock();
        state.ranks[rank] = Status::Left;
        state.ready -= 1;
        self.finish(&mut state, reason);
        let Some(baton) = &mut state.baton else { return };
        baton.queue.retain(|&queued| queued != rank);
        if baton.holder == Some(rank) {
            self.release(&mut state);
        }
    }

    /// Ends the world, the first reason given being kept.
    pub(super) fn end(&self, reason: String) -> Error {
        self.fail(&mut self.lock(), reason)
    }

    pub(super) fn end_reason(&self) -> Option<String> {
        self.lock().end.clone()
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        self.lock().alive()
    }

    pub(super) fn traffic(&self) -> Vec<Traffic> {
        self.lock().traffic.clone()
    }

    /// In a seeded world, sometimes lets another rank go first; for the running rank only.
    pub(super) fn interleave(&self) {
        let mut state = self.lock();
        let Some(baton) = &mut state.baton else { return };
        let is_running = baton.thread == Some(std::thread::current().id());
        let Some(rank) = baton.holder.filter(|_| is_running) else { return };
        if baton.queue.is_empty() || baton.random.below(4) != 0 {
            return;
        }
        baton.queue.push(rank);
        self.release(&mut state);
        drop(self.sleep(state, rank));
    }

    /// Whether the senders of the transfer that begins now wait for their receivers.
    ///
    /// MPI may or may not buffer a message; a seeded world tries both, a free one takes the stricter.
    pub(super) fn senders_wait(&self) -> bool {
        self.lock().baton.as_mut().is_none_or(|baton| baton.random.below(2) == 0)
    }

    /// Puts a letter into a channel and returns its number there, from 1.
    pub(super) fn send(&self, channel: Channel, call: &'static str, data: Vec<u8>) -> Result<u64> {
        let mut state = self.lock();
        state.alive()?;
        let sent = &mut state.traffic[channel.from];
        sent.messages_sent += 1;
        sent.bytes_sent += data.len() as u64;
        let queue = state.queues.entry(channel).or_default();
        queue.letters.push_back(Letter { call, data });
        queue.sent += 1;
        let number = queue.sent;
        if state.wait_of(channel.to) == Some(Wait::Letter(channel)) {
            self.wake(&mut state, channel.to);
        }
        Ok(number)
    }

    /// Notes that the receiver of a channel has room for one more letter.
    pub(super) fn post(&self, channel: Channel) -> Result<()> {
        let mut state = self.lock();
        state.alive()?;
        let queue = state.queues.entry(channel).or_default();
        queue.posted += 1;
        let posted = queue.posted;
        if let Some(Wait::Receiver(waiting_on, number)) = state.wait_of(channel.from)
            && waiting_on == channel
            && number <= posted
        {
            self.wake(&mut state, channel.from);
        }
        Ok(())
    }

    /// Takes the next letter out of a channel, waiting for it.
    pub(super) fn take(&self, channel: Channel, call: &'static str) -> Result<Vec<u8>> {
        let mut state = self.lock();
        loop {
            state.alive()?;
            let queue = state.queues.entry(channel).or_default();
            let Some(letter) = queue.letters.pop_front() else {
                state = self.wait(state, channel.to, Wait::Letter(channel), call);
                continue;
            };
            if letter.call != call {
                let Channel { from, to, .. } = channel;
                let reason = format!("rank {from} is in {}, rank {to} in {call}", letter.call);
                return Err(self.fail(&mut state, reason));
            }
            let received = &mut state.traffic[channel.to];
            received.messages_received += 1;
            received.bytes_received += letter.data.len() as u64;
            return Ok(letter.data);
        }
    }

    /// Waits until letter `number` of a channel has a receiver.
    pub(super) fn await_receiver(
        &self,
        channel: Channel,
        number: u64,
        call: &'static str,
    ) -> Result<()> {
        let mut state = self.lock();
        loop {
            state.alive()?;
            if state.queues.entry(channel).or_default().posted >= number {
                return Ok(());
            }
            state = self.wait(state, channel.from, Wait::Receiver(channel, number), call);
        }
    }

    /// Leaves what one rank says in split `number` of `group`.
    pub(super) fn choose(&self, group: &Group, number: u64, choice: Choice) {
        let mut state = self.lock();
        state.splits.entry((group.id, number)).or_default().choices.push(choice);
    }

    /// Returns the new group of whoever chose `color`, once all ranks of `group` have chosen.
    pub(super) fn chosen(
        &self,
        group: &Group,
        number: u64,
        color: Option<u32>,
    ) -> Option<Arc<Group>> {
        let mut state = self.lock();
        let state = &mut *state;
        let splitting = state.splits.get_mut(&(group.id, number))?;
        let groups = splitting
            .groups
            .get_or_insert_with(|| form_groups(&mut splitting.choices, &mut state.groups));
        let mine = color.and_then(|color| groups.get(&color).cloned());
        splitting.fetched += 1;
        if splitting.fetched == group.members.len() {
            state.splits.remove(&(group.id, number));
        }
        mine
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops `rank` until what it waits for is there, or the world has ended.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        rank: usize,
        wait: Wait,
        call: &'static str,
    ) -> MutexGuard<'a, State> {
        let peer = wait.peer();
        if matches!(state.ranks[peer], Status::Left) {
            self.finish(&mut state, left_while_waited_for(peer, rank, call));
            return state;
        }
        state.ranks[rank] = Status::Waiting(wait, call);
        state.ready -= 1;
        self.release(&mut state);
        self.sleep(state, rank)
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>, rank: usize) -> MutexGuard<'a, State> {
        while !state.may_run(rank) {
            state = self.bells[rank].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(baton) = &mut state.baton {
            baton.thread = Some(std::thread::current().id());
        }
        state
    }

    /// Lets others run in place of the caller, or finds that nobody can.
    fn release(&self, state: &mut State) {
        if state.ready == 0 {
            let is_anyone_waiting =
                state.ranks.iter().any(|status| matches!(status, Status::Waiting(..)));
            if is_anyone_waiting {
                let reason = state.describe_deadlock();
                self.finish(state, reason);
            }
        }
        if let Some(baton) = &mut state.baton {
            baton.pass();
            if let Some(next) = baton.holder {
                self.bells[next].notify_one();
            }
        }
    }

    /// Marks a waiting rank as ready.
    fn wake(&self, state: &mut State, rank: usize) {
        state.ranks[rank] = Status::Ready;
        state.ready += 1;
        match &mut state.baton {
            Some(baton) => baton.queue.push(rank),
            None => self.bells[rank].notify_one(),
        }
    }

    fn finish(&self, state: &mut State, reason: String) {
        if state.end.is_some() {
            return;
        }
        state.end = Some(reason);
        for rank in 0..state.ranks.len() {
            if matches!(state.ranks[rank], Status::Waiting(..)) {
                self.wake(state, rank);
            }
        }
    }

    fn fail(&self, state: &mut State, reason: String) -> Error {
        self.finish(state, reason.clone());
        state.alive().err().unwrap_or_else(|| Error::new(ErrorKind::Communication, reason))
    }
}

fn left_while_waited_for(rank: usize, waiter: usize, call: &str) -> String {
    format!("rank {rank} has left while rank {waiter} waits for it in {call}")
}

fn form_groups(choices: &mut [Choice], groups: &mut u64) -> BTreeMap<u32, Arc<Group>> {
    choices.sort_unstable();
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for choice in choices {
        if let Some(color) = choice.color {
            members.entry(color).or_default().push(choice.world_rank);
        }
    }
    let form = |(color, members)| {
        let id = *groups;
        *groups += 1;
        (color, Arc::new(Group { id, members }))
    };
    members.into_iter().map(form).collect()
}
