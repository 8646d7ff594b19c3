// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where an error of Rust becomes a code of C, a message, and a line of output.

use crate::api::SCR_SUCCESS;
use crate::life::Life;
use crate::slot;
use scr_core::event::Level;
use scr_core::{Error, ErrorKind, Result};
use std::ffi::c_int;

/// Runs the body of the C function `call` and returns the code for its result; an error is printed where it belongs.
pub(crate) fn boundary(call: &str, body: impl FnOnce(&mut Life) -> Result<()>) -> c_int {
    let result = attempt(call, |life| {
        let result = body(life);
        if let Err(error) = &result {
            tell(life, call, error);
        }
        result
    });
    result.map_or_else(|error| error.kind().code(), |()| SCR_SUCCESS)
}

/// Runs the body of the C function `call`; an error is kept for `SCR_Last_error`.
pub(crate) fn attempt<T>(call: &str, body: impl FnOnce(&mut Life) -> Result<T>) -> Result<T> {
    slot::remember("");
    slot::enter(body).inspect_err(|error| slot::remember(&format!("{call}: {error:#}")))
}

/// Prints `error` if this rank is the one to do so; what was just printed is not printed again.
fn tell(life: &mut Life, call: &str, error: &Error) {
    let text = format!("{call}: {error:#}");
    if is_teller(call, life.voice.rank, error) && life.told != text {
        life.voice.say(Level::Error, &text);
        life.told = text;
    }
}

/// Whether `rank` prints `error` of `call`: trouble of its own it prints itself, what concerns all is printed by rank 0.
fn is_teller(call: &str, rank: Option<usize>, error: &Error) -> bool {
    let is_first = rank.is_none_or(|rank| rank == 0);
    let is_own = |kind| match kind {
        ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::Corrupt => true,
        // The only call that is not collective.
        ErrorKind::Misuse => call == "SCR_Route_file",
        _ => false,
    };
    match error.kind() {
        ErrorKind::PeerFailed => is_first && !is_own(error.cause_kind()),
        kind => is_first || is_own(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_printed_once() {
        let config = Error::new(ErrorKind::Config, "x");
        let io = Error::new(ErrorKind::Io, "x");
        let mismatch_of_3 = Error::peer(3, ErrorKind::Mismatch, "x");
        let io_of_3 = Error::peer(3, ErrorKind::Io, "x");
        for (error, by_first, by_other) in [
            (config, true, false),
            (io, true, true),
            (mismatch_of_3, true, false),
            (io_of_3, false, false),
        ] {
            assert_eq!(is_teller("SCR_Init", Some(0), &error), by_first, "{error:?}");
            assert_eq!(is_teller("SCR_Init", Some(2), &error), by_other, "{error:?}");
        }
        let misuse = Error::new(ErrorKind::Misuse, "x");
        assert!(is_teller("SCR_Route_file", Some(2), &misuse));
        assert!(!is_teller("SCR_Finalize", Some(2), &misuse));
    }
}
