// SPDX-License-Identifier: MIT OR Apache-2.0
//! Letters between the agents of one world: connections, and the threads that keep them moving.
//!
//! A connection is made when one of two ranks first has to do with the other. It has two threads: one takes in whatever
//! comes, so that the peer's writing never depends on how long this node computes; the other writes, and where there is
//! nothing to write says so a few times within the limit of silence. So a peer that says nothing for that long is gone,
//! whatever it died of: a process that was killed, a node without power, a machine that stands still. The kernel's own
//! means would not do: keepalive is answered for stopped processes too, and `TCP_USER_TIMEOUT` takes a reader that is
//! busy for long for a dead one.
//!
//! What is sent before it is asked for is kept at the receiver, up to a window for each peer; the receiver gives the room
//! back as it takes letters. The first trouble ends the world: everybody who can be reached is told why, and every call
//! of every rank fails with that.

use super::Member;
use super::handshake::{self, Answer, Token};
use scr_core::clock::{Clock, SystemClock};
use scr_core::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most bytes of a message in one frame: a long letter must not keep a sign of life waiting.
const CHUNK_BYTES: usize = 128 << 10;
/// How much may be under way to one peer that has not asked for it yet.
const WINDOW_BYTES: usize = 4 << 20;
/// What every frame begins with, and what it takes from the window besides its chunk.
const HEAD_BYTES: usize = 24;
/// How long an address may take to answer at all.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a caller, who may be anybody, may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Before a peer that cannot be reached is tried once more.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a rank that leaves waits for its last words to arrive.
const FAREWELL: Duration = Duration::from_secs(2);
/// Callers that are heard at once.
const MOST_CALLERS: usize = 256;
/// The threads do little but copy.
const STACK_BYTES: usize = 256 << 10;

/// Letters of one sender within one group; those of collectives are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Channel {
    pub(super) group: u64,
    pub(super) is_collective: bool,
}

/// A letter to send.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    /// The rank in the world.
    pub(super) to: usize,
    pub(super) data: &'a [u8],
    /// `None` before the first chunk is on its way.
    sent: Option<usize>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(to: usize, data: &'a [u8]) -> Self {
        Self { to, data, sent: None }
    }

    fn is_done(&self) -> bool {
        self.sent == Some(self.data.len())
    }
}

/// A letter to receive.
#[derive(Debug)]
pub(super) struct Receiving<'a> {
    /// The rank in the world.
    pub(super) from: usize,
    pub(super) data: &'a mut [u8],
    /// `None` before the first chunk was taken.
    filled: Option<usize>,
}

impl<'a> Receiving<'a> {
    pub(super) fn new(from: usize, data: &'a mut [u8]) -> Self {
        Self { from, data, filled: None }
    }

    fn is_done(&self) -> bool {
        self.filled == Some(self.data.len())
    }
}

/// A piece of a letter that has come and was not asked for yet.
#[derive(Debug)]
struct Chunk {
    letter_bytes: u64,
    data: Vec<u8>,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// We try to reach the peer.
    Connecting,
    /// There is a connection.
    Up,
    /// The peer has left, and nothing more comes.
    Left,
}

/// The connection to one peer.
#[derive(Debug)]
struct Link {
    phase: Phase,
    /// Frames to be written.
    outgoing: VecDeque<Vec<u8>>,
    /// What may still be sent before the peer takes something.
    room_bytes: usize,
    /// What was taken here and not yet told.
    taken_bytes: usize,
    /// Wakes the writer.
    wake: Arc<Condvar>,
    threads: u32,
}

impl Link {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            outgoing: VecDeque::new(),
            room_bytes: WINDOW_BYTES,
            taken_bytes: 0,
            wake: Arc::new(Condvar::new()),
            threads: 0,
        }
    }

    fn push(&mut self, frame: Vec<u8>) {
        self.outgoing.push_back(frame);
        self.wake.notify_one();
    }
}

#[derive(Debug, Default)]
struct State {
    /// Why the world ended.
    broken: Option<String>,
    is_leaving: bool,
    links: BTreeMap<usize, Link>,
    inbox: BTreeMap<(usize, Channel), VecDeque<Chunk>>,
}

/// The letters of one agent.
#[derive(Debug)]
pub(super) struct Office {
    rank: usize,
    members: Vec<Member>,
    token: Token,
    silence: Duration,
    clock: SystemClock,
    state: Mutex<State>,
    /// Something has come, or room, or the end.
    news: Condvar,
    callers: AtomicUsize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// A piece of a letter.
    Chunk = 1,
    /// Room in the window.
    Room = 2,
    /// A sign of life.
    Beat = 3,
    /// The sender leaves.
    Bye = 4,
    /// The world ends, and why.
    End = 5,
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: Kind,
    channel: Channel,
    /// Bytes that follow.
    len: u32,
    /// The length of the letter, or of the room.
    number: u64,
}

impl Head {
    fn plain(kind: Kind) -> Self {
        Self { kind, channel: Channel { group: 0, is_collective: false }, len: 0, number: 0 }
    }

    fn frame(self, data: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEAD_BYTES + data.len());
        frame.extend_from_slice(&[self.kind as u8, u8::from(self.channel.is_collective), 0, 0]);
        frame.extend_from_slice(&(data.len() as u32).to_le_bytes());
        frame.extend_from_slice(&self.channel.group.to_le_bytes());
        frame.extend_from_slice(&self.number.to_le_bytes());
        frame.extend_from_slice(data);
        frame
    }

    fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let kinds = [Kind::Chunk, Kind::Room, Kind::Beat, Kind::Bye, Kind::End];
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let len = (word(0)? >> 32) as u32;
        Some(Self {
            kind: kinds.into_iter().find(|kind| *kind as u8 == bytes[0])?,
            channel: Channel { group: word(8)?, is_collective: bytes[1] != 0 },
            len: (len as usize <= CHUNK_BYTES).then_some(len)?,
            number: word(16)?,
        })
    }
}

impl Office {
    /// Opens the office of rank `rank`, whom others reach through `listener`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn open(
        listener: TcpListener,
        members: Vec<Member>,
        token: Token,
        rank: usize,
        silence: Duration,
    ) -> Result<Arc<Self>> {
        let office = Arc::new(Self {
            rank,
            members,
            token,
            silence,
            clock: SystemClock::default(),
            state: Mutex::default(),
            news: Condvar::new(),
            callers: AtomicUsize::new(0),
        });
        let ours = Arc::clone(&office);
        spawn("scr-net-door", move || ours.listen(&listener))?;
        Ok(office)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, rank: usize) -> String {
        let node = self.members.get(rank).map_or("?", |member| member.node.as_str());
        format!("{node} (rank {rank})")
    }

    /// How many ranks there are.
    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    /// Ends the world; the first reason counts.
    pub(super) fn end(&self, reason: String) -> Error {
        self.end_with(&mut self.lock(), reason)
    }

    /// Fails once the world has ended.
    pub(super) fn check_alive(&self) -> Result<()> {
        Self::alive(&self.lock())
    }

    fn alive(state: &State) -> Result<()> {
        match &state.broken {
            None => Ok(()),
            Some(reason) => Err(Error::new(ErrorKind::Communication, reason.clone())),
        }
    }

    /// Moves as much of these letters as can be moved without waiting; tells whether that was all.
    pub(super) fn begin(
        self: &Arc<Self>,
        channel: Channel,
        outs: &mut [Sending<'_>],
        ins: &mut [Receiving<'_>],
    ) -> Result<bool> {
        let mut state = self.lock();
        self.advance(&mut state, channel, outs, ins)
    }

    /// Returns when all of these letters are complete.
    pub(super) fn complete(
        self: &Arc<Self>,
        channel: Channel,
        outs: &mut [Sending<'_>],
        ins: &mut [Receiving<'_>],
    ) -> Result<()> {
        let mut state = self.lock();
        while !self.advance(&mut state, channel, outs, ins)? {
            // Not for ever: whoever is waited for is watched by the threads of its connection.
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn advance(
        self: &Arc<Self>,
        state: &mut State,
        channel: Channel,
        outs: &mut [Sending<'_>],
        ins: &mut [Receiving<'_>],
    ) -> Result<bool> {
        Self::alive(state)?;
        // A letter waits for those before it to or from the same rank.
        let mut waiting = BTreeSet::new();
        for out in outs.iter_mut().filter(|out| !out.is_done()) {
            if !waiting.contains(&out.to) && !self.send(state, channel, out)? {
                waiting.insert(out.to);
            }
        }
        let mut is_done = waiting.is_empty();
        waiting.clear();
        for inp in ins.iter_mut().filter(|inp| !inp.is_done()) {
            if waiting.contains(&inp.from) {
                continue;
            }
            match self.receive(state, channel, inp) {
                Ok(true) => {}
                Ok(false) => {
                    waiting.insert(inp.from);
                }
                Err(reason) => return Err(self.end_with(state, reason)),
            }
        }
        is_done &= waiting.is_empty();
        Ok(is_done)
    }

    /// Ends the world while its state is held.
    fn end_with(&self, state: &mut State, reason: String) -> Error {
        let reason = state.broken.get_or_insert(reason).clone();
        state.inbox.clear();
        state.links.values().for_each(|link| link.wake.notify_all());
        self.news.notify_all();
        Error::new(ErrorKind::Communication, reason)
    }

    /// Sends what there is room for; tells whether that was all.
    fn send(
        self: &Arc<Self>,
        state: &mut State,
        channel: Channel,
        out: &mut Sending<'_>,
    ) -> Result<bool> {
        let is_own = out.to == self.rank;
        while !out.is_done() {
            let rest = &out.data[out.sent.unwrap_or(0)..];
            let chunk = &rest[..rest.len().min(CHUNK_BYTES)];
            let letter_bytes = out.data.len() as u64;
            if is_own {
                let chunk = Chunk { letter_bytes, data: chunk.to_vec() };
                state.inbox.entry((self.rank, channel)).or_default().push_back(chunk);
            } else {
                let link = self.link(state, out.to)?;
                if link.phase == Phase::Left {
                    let reason = format!("{} has left before its time", self.name(out.to));
                    return Err(self.end_with(state, reason));
                }
                let needed = HEAD_BYTES + chunk.len();
                if link.room_bytes < needed {
                    return Ok(false);
                }
                link.room_bytes -= needed;
                let len = chunk.len() as u32;
                let head = Head { kind: Kind::Chunk, channel, len, number: letter_bytes };
                link.push(head.frame(chunk));
            }
            out.sent = Some(out.sent.unwrap_or(0) + chunk.len());
        }
        Ok(true)
    }

    /// Takes what has come; tells whether that was all, or what is wrong with it.
    fn receive(
        self: &Arc<Self>,
        state: &mut State,
        channel: Channel,
        inp: &mut Receiving<'_>,
    ) -> std::result::Result<bool, String> {
        let key = (inp.from, channel);
        while !inp.is_done() {
            let Some(chunk) = state.inbox.get_mut(&key).and_then(VecDeque::pop_front) else {
                state.inbox.remove(&key);
                if inp.from == self.rank {
                    return Ok(false);
                }
                let link = self.link(state, inp.from).map_err(|error| error.to_string())?;
                return if link.phase == Phase::Left {
                    Err(format!("{} has left before its time", self.name(inp.from)))
                } else {
                    Ok(false)
                };
            };
            let (at, len) = (inp.filled.unwrap_or(0), chunk.data.len());
            let expected = inp.data.len();
            let Some(place) =
                inp.data.get_mut(at..at + len).filter(|_| chunk.letter_bytes == expected as u64)
            else {
                let (from, me) = (self.name(inp.from), self.name(self.rank));
                let sent = chunk.letter_bytes;
                return Err(format!("{from} sent {sent} bytes where {me} expects {expected}"));
            };
            place.copy_from_slice(&chunk.data);
            inp.filled = Some(at + len);
            if let Some(link) = state.links.get_mut(&inp.from) {
                link.taken_bytes += HEAD_BYTES + len;
                if link.taken_bytes >= WINDOW_BYTES / 4 {
                    let number = std::mem::take(&mut link.taken_bytes) as u64;
                    link.push(Head { number, ..Head::plain(Kind::Room) }.frame(&[]));
                }
            }
        }
        if state.inbox.get(&key).is_some_and(VecDeque::is_empty) {
            state.inbox.remove(&key);
        }
        Ok(true)
    }

    /// The connection to a peer, which is begun where there is none.
    fn link<'a>(self: &Arc<Self>, state: &'a mut State, to: usize) -> Result<&'a mut Link> {
        if !state.links.contains_key(&to) {
            let office = Arc::clone(self);
            if let Err(error) = spawn("scr-net-call", move || office.connect(to)) {
                return Err(self.end_with(state, format!("{error:#}")));
            }
        }
        Ok(state.links.entry(to).or_insert_with(|| Link::new(Phase::Connecting)))
    }

    /// Tries the addresses of a peer in their order.
    fn connect(self: &Arc<Self>, to: usize) {
        let start = self.clock.monotonic();
        let is_late = || self.clock.monotonic().saturating_sub(start) >= self.silence;
        let mut failures = Vec::new();
        // An address may fail for a moment; a second round costs little.
        for round in 0..2 {
            if round > 0 {
                self.clock.sleep(PAUSE);
                failures.clear();
            }
            for address in &self.members[to].addresses {
                if is_late() || !self.is_connecting(to) {
                    break;
                }
                match self.call(*address, to) {
                    Ok((Answer::Welcome, stream)) => return self.start(to, stream),
                    // The peer calls us at the same moment, and that call counts.
                    Ok((Answer::Superfluous, _)) => return self.await_call(to, start),
                    Ok((Answer::WrongRank, _)) => failures.push(format!("{address}: another node")),
                    Err(error) => failures.push(format!("{address}: {error}")),
                }
            }
        }
        if self.is_connecting(to) {
            let (me, peer) = (self.name(self.rank), self.name(to));
            self.end(format!("{peer} cannot be reached from {me}: {}", failures.join(", ")));
        }
    }

    fn is_connecting(&self, to: usize) -> bool {
        let state = self.lock();
        let is_open = state.broken.is_none() && !state.is_leaving;
        is_open && state.links.get(&to).is_some_and(|link| link.phase == Phase::Connecting)
    }

    fn await_call(&self, from: usize, start: Duration) {
        while self.is_connecting(from) {
            if self.clock.monotonic().saturating_sub(start) >= self.silence {
                let (me, peer) = (self.name(self.rank), self.name(from));
                self.end(format!("{peer} wanted to call {me} and did not"));
            }
            self.clock.sleep(PAUSE);
        }
    }

    fn call(&self, address: SocketAddr, to: usize) -> io::Result<(Answer, TcpStream)> {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT.min(self.silence))?;
        stream.set_read_timeout(Some(self.silence))?;
        stream.set_write_timeout(Some(self.silence))?;
        stream.set_nodelay(true)?;
        let answer = handshake::call(&mut stream, &self.token, self.rank, to)?;
        Ok((answer, stream))
    }

    /// Answers those who call, until the office closes.
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.lock().is_leaving {
                return;
            }
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, or a caller who hung up: neither is for ever.
                self.clock.sleep(PAUSE);
                continue;
            };
            if self.callers.fetch_add(1, Ordering::Relaxed) >= MOST_CALLERS {
                self.callers.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let office = Arc::clone(self);
            let heard = spawn("scr-net-answer", move || {
                office.hear(stream);
                office.callers.fetch_sub(1, Ordering::Relaxed);
            });
            if heard.is_err() {
                self.callers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Hears one caller, who may be anybody.
    fn hear(self: &Arc<Self>, mut stream: TcpStream) {
        let prepared = stream
            .set_read_timeout(Some(HANDSHAKE))
            .and_then(|()| stream.set_write_timeout(Some(HANDSHAKE)))
            .and_then(|()| stream.set_nodelay(true));
        let mut caller = None;
        let answered = prepared.and_then(|()| {
            handshake::answer(&mut stream, &self.token, self.rank, |from| {
                let answer = self.decide(from);
                caller = (answer == Answer::Welcome).then_some(from);
                answer
            })
        });
        match (answered, caller) {
            (Ok(Answer::Welcome), Some(from)) => self.start(from, stream),
            (Err(error), Some(from)) => {
                self.end(format!("{} called and was gone: {error}", self.name(from)));
            }
            // Somebody else's business.
            _ => {}
        }
    }

    /// Whether the call of a peer becomes the connection to it: of two calls at once, that of the lower rank.
    fn decide(&self, from: usize) -> Answer {
        let mut state = self.lock();
        if from >= self.size() || from == self.rank || state.broken.is_some() || state.is_leaving {
            return Answer::Superfluous;
        }
        match state.links.get_mut(&from) {
            None => {
                state.links.insert(from, Link::new(Phase::Up));
            }
            Some(link) if link.phase == Phase::Connecting && from < self.rank => {
                link.phase = Phase::Up;
            }
            Some(_) => return Answer::Superfluous,
        }
        Answer::Welcome
    }

    /// Begins to read and write a connection.
    fn start(self: &Arc<Self>, peer: usize, stream: TcpStream) {
        let stream = Arc::new(stream);
        let timeouts = stream
            .set_read_timeout(Some(self.silence))
            .and_then(|()| stream.set_write_timeout(Some(self.silence)));
        let wake = {
            let mut state = self.lock();
            let Some(link) = state.links.get_mut(&peer) else { return };
            link.phase = Phase::Up;
            link.threads = 2;
            Arc::clone(&link.wake)
        };
        let (reading, writing) = (Arc::clone(self), Arc::clone(self));
        let theirs = Arc::clone(&stream);
        let started = timeouts
            .map_err(|error| Error::io("set up the connection to", self.name(peer), &error))
            .and_then(|()| {
                spawn("scr-net-in", move || {
                    reading.read_all(peer, &theirs);
                    reading.thread_ends(peer);
                })
            })
            .and_then(|()| {
                spawn("scr-net-out", move || {
                    writing.write_all(peer, &stream, &wake);
                    writing.thread_ends(peer);
                })
            });
        if let Err(error) = started {
            self.end(format!("{error:#}"));
        }
    }

    fn thread_ends(&self, peer: usize) {
        if let Some(link) = self.lock().links.get_mut(&peer) {
            link.threads -= 1;
        }
        self.news.notify_all();
    }

    /// Takes in what a peer sends, until it leaves or the world ends.
    fn read_all(&self, peer: usize, stream: &TcpStream) {
        loop {
            match self.read_one(peer, stream) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let name = self.name(peer);
                    let silence = self.silence.as_secs_f64();
                    let reason = match error.kind() {
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                            format!("{name} has given no sign of life for {silence} s")
                        }
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                            format!("{name} is gone: its connection broke off")
                        }
                        _ => format!("{name} cannot be heard: {error}"),
                    };
                    let _ = stream.shutdown(Shutdown::Both);
                    let mut state = self.lock();
                    // Who leaves does not judge how others do.
                    if !state.is_leaving {
                        self.end_with(&mut state, reason);
                    }
                    return;
                }
            }
        }
    }

    /// Takes in one frame; `false` when it was the last.
    fn read_one(&self, peer: usize, mut stream: &TcpStream) -> io::Result<bool> {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head)?;
        let malformed =
            || io::Error::new(io::ErrorKind::InvalidData, "what it says makes no sense");
        let head = Head::decode(&head).ok_or_else(malformed)?;
        let mut data = vec![0; head.len as usize];
        stream.read_exact(&mut data)?;
        let mut state = self.lock();
        match head.kind {
            Kind::Beat => return Ok(true),
            Kind::Chunk if state.broken.is_some() || state.is_leaving => return Ok(true),
            Kind::Chunk => {
                let chunk = Chunk { letter_bytes: head.number, data };
                state.inbox.entry((peer, head.channel)).or_default().push_back(chunk);
            }
            Kind::Room => {
                let link = state.links.get_mut(&peer).ok_or_else(malformed)?;
                let room = link.room_bytes as u64 + head.number;
                link.room_bytes = usize::try_from(room)
                    .ok()
                    .filter(|r| *r <= WINDOW_BYTES)
                    .ok_or_else(malformed)?;
            }
            Kind::Bye => {
                let link = state.links.get_mut(&peer).ok_or_else(malformed)?;
                link.phase = Phase::Left;
                link.wake.notify_all();
            }
            Kind::End => {
                drop(state);
                self.end(String::from_utf8_lossy(&data).into_owned());
                return Ok(false);
            }
        }
        drop(state);
        self.news.notify_all();
        Ok(head.kind != Kind::Bye)
    }

    /// Writes what there is to write, and signs of life, until one of the two leaves or the world ends.
    fn write_all(&self, peer: usize, mut stream: &TcpStream, wake: &Condvar) {
        while let Some((frame, is_last)) = self.next_frame(peer, wake) {
            let written = stream.write_all(&frame);
            if is_last {
                // What it says last shall arrive; it says nothing more.
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
            if let Err(error) = written {
                let _ = stream.shutdown(Shutdown::Both);
                self.end(format!("{} takes nothing more: {error}", self.name(peer)));
                return;
            }
        }
    }

    /// The next frame for a peer, and whether it is the last.
    fn next_frame(&self, peer: usize, wake: &Condvar) -> Option<(Vec<u8>, bool)> {
        let mut state = self.lock();
        loop {
            if let Some(reason) = &state.broken {
                let reason = &reason.as_bytes()[..reason.floor_char_boundary(CHUNK_BYTES)];
                return Some((Head::plain(Kind::End).frame(reason), true));
            }
            let is_leaving = state.is_leaving;
            let link = state.links.get_mut(&peer)?;
            if link.phase == Phase::Left {
                return Some((Head::plain(Kind::Bye).frame(&[]), true));
            }
            if let Some(frame) = link.outgoing.pop_front() {
                return Some((frame, false));
            }
            if is_leaving {
                return Some((Head::plain(Kind::Bye).frame(&[]), true));
            }
            let waited = wake.wait_timeout(state, self.silence / 5);
            let (after, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if result.timed_out() {
                return Some((Head::plain(Kind::Beat).frame(&[]), false));
            }
        }
    }

    /// Leaves the world: what was sent arrives, or the reason of its end does, as far as there is somebody to hear it.
    pub(super) fn leave(&self, door: &impl std::os::fd::AsFd) {
        let mut state = self.lock();
        state.is_leaving = true;
        state.links.values().for_each(|link| link.wake.notify_all());
        let end = self.clock.monotonic() + FAREWELL;
        while state.links.values().any(|link| link.threads > 0) {
            let left = end.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                break;
            }
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        // Nobody who calls now has any business here.
        let _ = rustix::net::shutdown(door, rustix::net::Shutdown::Both);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.to_string()).stack_size(STACK_BYTES);
    thread.spawn(work).map(drop).map_err(|error| Error::io("start", "a thread", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_and_nonsense_does_not() {
        let channel = Channel { group: 0x0123_4567_89ab_cdef, is_collective: true };
        for kind in [Kind::Chunk, Kind::Room, Kind::Beat, Kind::Bye, Kind::End] {
            let head = Head { kind, channel, len: 3, number: u64::MAX };
            let frame = head.frame(b"abc");
            assert_eq!(Head::decode(frame[..HEAD_BYTES].try_into().unwrap()), Some(head));
        }
        assert_eq!(Head::decode(&[0; HEAD_BYTES]), None);
        let mut long = Head::plain(Kind::Chunk).frame(&[]);
        long[4..8].copy_from_slice(&(CHUNK_BYTES as u32 + 1).to_le_bytes());
        assert_eq!(Head::decode(long[..].try_into().unwrap()), None);
    }
}
