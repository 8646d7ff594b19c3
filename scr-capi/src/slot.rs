// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state that C's functions share: one [`Life`] for the process, one message for each thread.
#![expect(unsafe_code, reason = "a session is made for one thread, a static is seen by all")]

use crate::life::Life;
use scr_core::{Error, ErrorKind, Result};
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, TryLockError};

/// A [`Life`] in a static.
struct Pinned(Life);

// SAFETY: a session is not `Send` only so that MPI is not called from a thread that MPI forbids. Nothing in it is tied
// to a thread: handles of MPI belong to the process, and what its parts share by `Rc` they share among themselves, so it
// moves as a whole. It is reached under the lock only, one thread at a time, and scr.h asks its callers for a thread
// that may call MPI.
unsafe impl Send for Pinned {}

static SLOT: LazyLock<Mutex<Pinned>> = LazyLock::new(|| Mutex::new(Pinned(Life::default())));

thread_local! {
    static LAST_MESSAGE: RefCell<CString> = RefCell::default();
}

/// Runs `body` on the state of the process. A panic within is an error, and the end of the session.
///
/// # Errors
/// [`ErrorKind::Misuse`] when another thread, or a call further up the stack, is inside libscr;
/// [`ErrorKind::Communication`] after a panic, since the other ranks may now wait for this one.
pub(crate) fn enter<T>(body: impl FnOnce(&mut Life) -> Result<T>) -> Result<T> {
    let mut guard = match SLOT.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err(Error::new(ErrorKind::Misuse, "another thread is inside libscr"));
        }
    };
    let life = &mut guard.0;
    catch_unwind(AssertUnwindSafe(|| body(life))).unwrap_or_else(|_| Err(life.abandon()))
}

/// Keeps `message` for this thread.
pub(crate) fn remember(message: &str) {
    let text = CString::new(message.replace('\0', " ")).unwrap_or_default();
    LAST_MESSAGE.with_borrow_mut(|last| *last = text);
}

/// The message of this thread, valid until it is replaced.
pub(crate) fn last_message() -> *const c_char {
    LAST_MESSAGE.with_borrow(|last| last.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since there is one state.
    #[test]
    fn a_call_within_a_call_is_refused_and_a_panic_is_an_error() {
        let inner = enter(|_| Ok(enter(|_| Ok(())))).expect("outer call");
        assert_eq!(inner.expect_err("refused").kind(), ErrorKind::Misuse);

        let error = enter::<()>(|_| panic!("a bug, for this test")).expect_err("no unwinding");
        assert_eq!(error.kind(), ErrorKind::Communication);
        let later = enter(|life| life.need_checkpoint(Ok(()))).expect_err("answers no more");
        assert_eq!(later.kind(), ErrorKind::Communication);
    }
}
