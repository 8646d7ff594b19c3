// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removal in the background: one thread at a time, alive only while there is something to remove.
//!
//! Freeing a checkpoint in `/dev/shm` takes as long as zeroing it; the application should not wait for that. The thread
//! is a guest in someone's process: named, with every signal blocked, never joined. A forked child never touches what
//! the thread shares, for it may have inherited a locked lock; it removes in the foreground.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Enough to walk a deep tree; memory that is locked by the application would be taken for real.
const STACK_BYTES: usize = 1 << 20;

/// Frees the space of one path. Failures leave it in its bin, to be discarded again.
pub(super) type Remove = fn(&Path);

/// What waits to be removed.
#[derive(Debug)]
pub(super) struct Discards {
    pid: rustix::process::Pid,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<PathBuf>,
    is_running: bool,
    submitted: u64,
    done: u64,
}

impl Default for Discards {
    fn default() -> Self {
        Self { pid: rustix::process::getpid(), shared: Arc::default() }
    }
}

impl Discards {
    /// Removes `path` soon; at once where no thread can be had.
    pub(super) fn submit(&self, path: PathBuf, remove: Remove) {
        if self.is_forked() {
            return remove(&path);
        }
        let mut state = self.shared.lock();
        state.waiting.push_back(path);
        state.submitted += 1;
        if state.is_running {
            return;
        }
        state.is_running = true;
        drop(state);
        let shared = Arc::clone(&self.shared);
        if spawn_quiet("scr-discard", STACK_BYTES, move || shared.work(remove)).is_err() {
            self.shared.work(remove);
        }
    }

    /// Waits until everything submitted so far is removed.
    pub(super) fn wait(&self) {
        if self.is_forked() {
            return;
        }
        let mut state = self.shared.lock();
        let submitted = state.submitted;
        while state.done < submitted {
            state = self.shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_forked(&self) -> bool {
        rustix::process::getpid() != self.pid
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what waits, in order, until nothing does.
    fn work(&self, remove: Remove) {
        let mut state = self.lock();
        while let Some(path) = state.waiting.pop_front() {
            drop(state);
            remove(&path);
            state = self.lock();
            state.done += 1;
            self.progress.notify_all();
        }
        state.is_running = false;
    }
}

/// Starts a thread that no signal of the application is delivered to.
///
/// # Errors
/// Those of the operating system, when it has no thread to give.
pub(crate) fn spawn_quiet(
    name: &str,
    stack_bytes: usize,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let before = set_signal_mask(&all_signals())?;
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes);
    let spawned = thread.spawn(work);
    set_signal_mask(&before)?;
    spawned
}

#[expect(unsafe_code, reason = "signal sets exist in libc only")]
fn all_signals() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the whole set it points to and cannot fail for a valid pointer.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Replaces the signal mask of this thread and returns the one before.
#[expect(unsafe_code, reason = "signal masks exist in libc only")]
fn set_signal_mask(mask: &libc::sigset_t) -> std::io::Result<libc::sigset_t> {
    let mut before = std::mem::MaybeUninit::uninit();
    // SAFETY: both pointers are to sets that live during the call; it initialises `before` when it returns 0.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, before.as_mut_ptr()) } {
        // SAFETY: initialised, see above.
        0 => Ok(unsafe { before.assume_init() }),
        errno => Err(std::io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(unsafe_code, reason = "signal masks exist in libc only")]
    fn blocked() -> Vec<i32> {
        let mut set = all_signals();
        // SAFETY: a null new mask only asks; `set` lives during the call; sigismember reads it.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set);
            (1..32).filter(|signal| libc::sigismember(&raw const set, *signal) == 1).collect()
        }
    }

    #[test]
    fn a_quiet_thread_blocks_signals_and_its_parent_does_not_change() {
        let before = blocked();
        let (sender, receiver) = std::sync::mpsc::channel();
        spawn_quiet("quiet", STACK_BYTES, move || {
            let name = std::thread::current().name().map(str::to_owned);
            sender.send((name, blocked())).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
        let (name, inside) = receiver.recv().unwrap();
        assert_eq!(name.as_deref(), Some("quiet"));
        for signal in [libc::SIGTERM, libc::SIGUSR1, libc::SIGALRM, libc::SIGSEGV] {
            assert!(inside.contains(&signal), "{signal}");
        }
        assert_eq!(blocked(), before);
        assert!(!before.contains(&libc::SIGUSR1));
    }

    #[test]
    fn waiting_covers_what_was_submitted_and_the_thread_ends() {
        static REMOVED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
        let discards = Discards::default();
        discards.wait();
        for round in 0..3 {
            for i in 0..5 {
                let path = PathBuf::from(format!("{round}.{i}"));
                discards.submit(path, |path| REMOVED.lock().unwrap().push(path.to_owned()));
            }
            discards.wait();
            assert_eq!(REMOVED.lock().unwrap().len(), 5 * (round + 1));
        }
        let removed = REMOVED.lock().unwrap();
        assert!(removed.is_sorted(), "{removed:?}");
    }
}
