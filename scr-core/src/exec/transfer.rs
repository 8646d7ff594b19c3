// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies that are made while the application goes on: by one thread of this rank, one after the other in the order given.
//!
//! The thread knows stores and the time, and no ranks. It takes no signals, no panic leaves it, and it is gone with its
//! [`Transfers`]. Where the host allows no threads, or has none to give, files are copied within calls instead, one file
//! each time that somebody looks.

use super::flush::{Copying, Step};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Enough for a file system's worth of calls; memory that is locked by the application would be taken for real.
const STACK_BYTES: usize = 512 << 10;
/// The longest sleep of a thread that keeps to a rate: it must notice when it is to stop, or to hurry.
const LONGEST_NAP: Duration = Duration::from_millis(10);

/// How one copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its turn, or is being made.
    UnderWay,
    /// It is made, or was stopped.
    Ended,
    /// It failed.
    Failed,
}

/// The copies of one rank.
#[derive(Debug)]
pub struct Transfers {
    clock: Arc<dyn Clock>,
    /// Whether there may be a thread.
    threads: bool,
    thread: Option<Worker>,
    /// What no thread copies.
    queue: VecDeque<Arc<Task>>,
    orders: Arc<Orders>,
    /// Of this rank; 0 for any.
    bytes_per_second: u64,
}

/// A copy that was handed over.
#[derive(Debug)]
pub struct Transfer(Arc<Task>);

#[derive(Debug)]
struct Worker {
    tasks: Sender<Arc<Task>>,
    thread: JoinHandle<()>,
    /// Who started it: a child of a fork has no such thread.
    pid: rustix::process::Pid,
}

/// What holds for all copies.
#[derive(Debug, Default)]
struct Orders {
    /// Nothing is copied any more.
    stop: AtomicBool,
    /// Somebody waits: the rate does not matter.
    hurry: AtomicBool,
}

#[derive(Debug)]
struct Task {
    state: Mutex<State>,
    ended: Condvar,
    stop: AtomicBool,
}

#[derive(Debug)]
enum State {
    Waiting(Box<Copying>),
    Running,
    Ended(Result<()>),
}

impl Transfers {
    /// No copies yet, and no thread. The threads of the `ranks` of a node together copy `bytes_per_second` at most, 0 for no
    /// limit.
    pub fn new(host: &Host, bytes_per_second: u64, ranks: usize) -> Self {
        // A small share must not come to none, which would be no limit.
        let share = (bytes_per_second / ranks.max(1) as u64).max(u64::from(bytes_per_second > 0));
        Self {
            clock: host.clock.clone(),
            threads: host.background,
            thread: None,
            queue: VecDeque::new(),
            orders: Arc::default(),
            bytes_per_second: share,
        }
    }

    /// Takes a copy over, to be made after those before it.
    pub fn submit(&mut self, copying: Copying) -> Transfer {
        let state = Mutex::new(State::Waiting(Box::new(copying)));
        let task = Arc::new(Task { state, ended: Condvar::new(), stop: AtomicBool::new(false) });
        // Without a thread all is done as before, only later.
        let thread = if self.threads { self.thread() } else { None };
        let sent = thread.is_some_and(|tasks| tasks.send(task.clone()).is_ok());
        if !sent {
            self.queue.push_back(task.clone());
        }
        Transfer(task)
    }

    /// The way to the thread, which is started where it is missing.
    fn thread(&mut self) -> Option<&Sender<Arc<Task>>> {
        if self.thread.is_none() {
            let (tasks, receiver) = channel();
            let pace = Pace::new(self.clock.clone(), self.bytes_per_second, self.orders.clone());
            let work = move || work(&receiver, pace);
            let spawned =
                crate::store::discard::spawn_quiet("scr-transfer", STACK_BYTES, work).ok();
            let pid = rustix::process::getpid();
            self.thread = spawned.map(|thread| Worker { tasks, thread, pid });
        }
        self.thread.as_ref().map(|worker| &worker.tasks)
    }

    /// Copies one file, if there are any that no thread copies.
    pub fn advance(&mut self) {
        if self.queue.front().is_some_and(|task| task.advance()) {
            self.queue.pop_front();
        }
    }

    /// Whether there are files that no thread copies.
    pub fn has_own_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether there is a thread.
    pub fn has_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// Says whether somebody waits: then no rate is kept to.
    pub fn hurry(&self, is_waited_for: bool) {
        self.orders.hurry.store(is_waited_for, Ordering::Relaxed);
    }

    /// Lets nothing more be copied; returns at once.
    pub fn stop(&mut self) {
        self.orders.stop.store(true, Ordering::Relaxed);
        self.queue.drain(..).for_each(|task| task.stop());
    }
}

impl Transfers {
    /// Lets nothing more be copied, and returns when the thread is gone.
    pub fn close(&mut self) {
        self.stop();
        let Some(worker) = self.thread.take() else { return };
        if worker.pid != rustix::process::getpid() {
            // A child of a fork has no thread to wait for, and may have inherited a locked lock.
            return std::mem::forget(worker);
        }
        drop(worker.tasks);
        // It is between two blocks, or will be soon. That it ends is all there is to know.
        let _ = worker.thread.join();
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Transfer {
    /// How the copy stands.
    pub fn standing(&self) -> Standing {
        match &*self.0.lock() {
            State::Waiting(_) | State::Running => Standing::UnderWay,
            State::Ended(Ok(())) => Standing::Ended,
            State::Ended(Err(_)) => Standing::Failed,
        }
    }

    /// Lets the copy end soon, whole or not; returns at once.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Stops the copy, and returns when nobody works on it any more.
    pub fn cancel(self) {
        self.0.stop();
        self.outcome().ok();
    }

    /// Why the copy failed, if it did; waits for its end. One that was stopped has not failed.
    pub fn outcome(self) -> Result<()> {
        let mut state = self.0.lock();
        while !matches!(*state, State::Ended(_)) {
            state = self.0.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Ended(Ok(()))) {
            State::Ended(outcome) => outcome,
            State::Waiting(_) | State::Running => Ok(()),
        }
    }
}

impl Task {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, outcome: Result<()>) {
        *self.lock() = State::Ended(outcome);
        self.ended.notify_all();
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        // Nobody has begun, and nobody will.
        if matches!(*state, State::Waiting(_)) {
            *state = State::Ended(Ok(()));
        }
    }

    /// Makes the copy, on the thread.
    fn run(&self, pace: &mut Pace) {
        let copying = {
            let mut state = self.lock();
            match std::mem::replace(&mut *state, State::Running) {
                State::Waiting(copying) => copying,
                ended => {
                    *state = ended;
                    return;
                }
            }
        };
        let copied = catch_unwind(AssertUnwindSafe(|| self.copy(copying, pace)));
        self.end(copied.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Io, "the thread that copies panicked (a bug in scr)"))
        }));
    }

    fn copy(&self, mut copying: Box<Copying>, pace: &mut Pace) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) && !pace.orders.stop.load(Ordering::Relaxed) {
            match copying.step()? {
                Step::Done => break,
                Step::More { bytes, .. } => pace.spend(bytes, &self.stop),
            }
        }
        Ok(())
    }

    /// Copies one file within a call; whether that was the end.
    fn advance(&self) -> bool {
        let mut state = self.lock();
        let State::Waiting(copying) = &mut *state else { return true };
        let outcome = loop {
            match copying.step() {
                Ok(Step::More { ended_file: true, .. }) => return false,
                Ok(Step::More { .. }) => {}
                Ok(Step::Done) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        *state = State::Ended(outcome);
        true
    }
}

/// The life of the thread: copies what comes, until nobody can send any more.
fn work(tasks: &Receiver<Arc<Task>>, mut pace: Pace) {
    while let Ok(task) = tasks.recv() {
        task.run(&mut pace);
    }
}

/// Keeps a thread to its rate.
#[derive(Debug)]
struct Pace {
    clock: Arc<dyn Clock>,
    /// 0 for any.
    bytes_per_second: u64,
    /// When the next bytes may go.
    next: Duration,
    orders: Arc<Orders>,
}

impl Pace {
    fn new(clock: Arc<dyn Clock>, bytes_per_second: u64, orders: Arc<Orders>) -> Self {
        Self { clock, bytes_per_second, next: Duration::ZERO, orders }
    }

    /// Takes the time that `bytes` may take, unless there is a reason not to.
    fn spend(&mut self, bytes: u64, stop: &AtomicBool) {
        if self.bytes_per_second == 0 {
            return;
        }
        let seconds = bytes as f64 / self.bytes_per_second as f64;
        self.next = self.next.max(self.clock.monotonic()) + Duration::from_secs_f64(seconds);
        let orders = [stop, &self.orders.stop, &self.orders.hurry];
        while orders.iter().all(|order| !order.load(Ordering::Relaxed)) {
            let left = self.next.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return;
            }
            self.clock.sleep(left.min(LONGEST_NAP));
        }
        // Who was told to hurry owes nothing.
        self.next = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn ranks_share_the_limit_of_their_node() {
        let mem = crate::store::mem::Mem::new();
        let host = Host::in_memory("n", &mem, &mem);
        let share = |limit, ranks| Transfers::new(&host, limit, ranks).bytes_per_second;
        assert_eq!([(1000, 4), (3, 4), (0, 4), (7, 1)].map(|(l, r)| share(l, r)), [250, 1, 0, 7]);
    }

    #[test]
    fn a_rate_is_kept_to_unless_somebody_waits() {
        let clock = Arc::new(ManualClock::default());
        let orders = Arc::new(Orders::default());
        let mut pace = Pace::new(clock.clone(), 1000, orders.clone());
        let stop = AtomicBool::new(false);
        let mut takes = |bytes: u64, stop: &AtomicBool| {
            let before = clock.monotonic();
            pace.spend(bytes, stop);
            clock.monotonic().saturating_sub(before)
        };
        assert_eq!(takes(500, &stop), Duration::from_millis(500));
        assert_eq!(takes(2, &stop), Duration::from_millis(2));
        clock.advance(Duration::from_mins(1));
        assert_eq!(takes(500, &stop), Duration::from_millis(500), "what was not used is gone");
        assert_eq!(takes(500, &AtomicBool::new(true)), Duration::ZERO);
        orders.hurry.store(true, Ordering::Relaxed);
        assert_eq!(takes(1_000_000, &stop), Duration::ZERO);
        orders.hurry.store(false, Ordering::Relaxed);
        assert_eq!(takes(10, &stop), Duration::from_millis(10), "and none of it is owed");
        let mut free = Pace::new(clock.clone(), 0, orders);
        free.spend(u64::MAX, &stop);
        assert_eq!(free.next, Duration::ZERO);
    }
}
