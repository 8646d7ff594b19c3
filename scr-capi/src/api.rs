// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions and constants of scr.h, with their documentation for C: `include/scr.h` is made from this file.
//!
//! Comments on public items are written for readers of the header.
#![expect(unsafe_code, reason = "symbols of C and the pointers that come through them")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all, at the top of scr.h")]

use crate::args::{bytes, given_away, optional_name, path, put_flag, put_text};
use crate::boundary::{attempt, boundary};
use crate::{args, slot};
use scr_core::ErrorKind;
use std::ffi::{CString, c_char, c_int};
use std::sync::LazyLock;

/// What a function returns that did what it should.
pub const SCR_SUCCESS: c_int = 0;

/// Call not allowed here, or a wrong argument.
pub const SCR_E_MISUSE: c_int = 1;
/// A configuration value that is not allowed.
pub const SCR_E_CONFIG: c_int = 2;
/// Ranks passed different arguments.
pub const SCR_E_MISMATCH: c_int = 3;
/// Another rank failed; the cause is told there.
pub const SCR_E_PEER_FAILED: c_int = 4;
/// Input or output failed.
pub const SCR_E_IO: c_int = 5;
/// Not enough room.
pub const SCR_E_NO_SPACE: c_int = 6;
/// Data do not match their checksum.
pub const SCR_E_CORRUPT: c_int = 7;
/// There is no such thing.
pub const SCR_E_NOT_FOUND: c_int = 8;
/// A rule forbids it: another job holds the prefix, another number of ranks wrote the dataset, ...
pub const SCR_E_REFUSED: c_int = 9;
/// The dataset cannot be completed from what is left.
pub const SCR_E_LOST: c_int = 10;
/// A rank said that the dataset is not valid, or its files cannot be read.
pub const SCR_E_INVALID: c_int = 11;
/// Done: the dataset is whole and can be used, but has less protection than configured.
pub const SCR_E_DEGRADED: c_int = 12;
/// MPI failed or a process died: libscr communicates no more.
pub const SCR_E_COMMUNICATION: c_int = 13;
/// It took longer than it may.
pub const SCR_E_TIMEOUT: c_int = 14;

/// Room that a buffer for a file name or the name of a dataset must have, the NUL included.
pub const SCR_MAX_FILENAME: c_int = 1024;

/// Neither a checkpoint nor output.
pub const SCR_FLAG_NONE: c_int = 0;
/// The application can restart from the dataset.
pub const SCR_FLAG_CHECKPOINT: c_int = 1 << 0;
/// The dataset is a result: it must reach the parallel file system.
pub const SCR_FLAG_OUTPUT: c_int = 1 << 1;

/// Starts SCR, and rebuilds in the cache what the last run left there. Call it after MPI_Init, and again only after
/// SCR_Finalize.
///
/// Collective over MPI_COMM_WORLD; scr_mpi.h has SCR_Init_comm for fewer ranks.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Init() -> c_int {
    boundary("SCR_Init", |life| life.init(crate::launch::world))
}

/// Ends SCR: brings the newest checkpoint to the parallel file system where so configured. Call it before MPI_Finalize.
///
/// Collective. Ends SCR even if it returns an error.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Finalize() -> c_int {
    boundary("SCR_Finalize", crate::life::Life::finalize)
}

/// Sets or asks for a configuration parameter.
///
/// "NAME=VALUE" sets, "NAME=" unsets: before SCR_Init only, with the same text on every rank. "NAME" asks, at any time.
/// "STORE=/ssd GROUP=NODE COUNT=2" sets an entry with its fields, "STORE=/ssd COUNT" asks for one of them.
///
/// Returns a copy of the value that was asked for, which the caller must free(), or NULL: for a set, and where there is
/// no value. A wrong text returns NULL too, leaves a message for SCR_Last_error, and makes SCR_Init fail.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Config(config: *const c_char) -> *const c_char {
    let value = attempt("SCR_Config", |life| {
        // SAFETY: null or a string, by the contract of scr.h.
        match unsafe { bytes(config) } {
            Some(text) => life.config(&String::from_utf8_lossy(text)),
            None => Ok(None),
        }
    });
    given_away(value.unwrap_or_default())
}

/// Sets *flag to 1 if the application should write a checkpoint now, to 0 if not.
///
/// Collective; the answer is the same on all ranks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Need_checkpoint(flag: *mut c_int) -> c_int {
    boundary("SCR_Need_checkpoint", |life| {
        let is_needed = life.need_checkpoint(args::flag(flag))?;
        // SAFETY: null or an int, by the contract of scr.h.
        unsafe { put_flag(flag, is_needed) }
    })
}

/// Starts a dataset: a checkpoint, output, or both (SCR_FLAG_CHECKPOINT | SCR_FLAG_OUTPUT).
///
/// name: shorter than SCR_MAX_FILENAME; NULL or "" for a name that SCR makes.
///
/// Collective, with the same arguments on every rank. After an error nothing was started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Start_output(name: *const c_char, flags: c_int) -> c_int {
    boundary("SCR_Start_output", |life| {
        // SAFETY: null or a string, by the contract of scr.h.
        let name = optional_name(unsafe { bytes(name) });
        life.start_output(name, flags)
    })
}

/// Writes to file where to open the file that the application calls name.
///
/// Between SCR_Start_output and SCR_Complete_output: where to write it; each rank asks for every file it writes.
/// Between SCR_Start_restart and SCR_Complete_restart: where to read it. Elsewhere: name itself.
///
/// file: room for SCR_MAX_FILENAME bytes; may be the same as name. Untouched on error.
///
/// Not collective.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Route_file(name: *const c_char, file: *mut c_char) -> c_int {
    boundary("SCR_Route_file", |life| {
        // SAFETY: null or a string, by the contract of scr.h.
        let routed = life.route_file(path(unsafe { bytes(name) })?)?;
        // SAFETY: null or a buffer of SCR_MAX_FILENAME bytes, by the contract of scr.h.
        unsafe { put_text(file, std::os::unix::ffi::OsStrExt::as_bytes(routed.as_os_str())) }
    })
}

/// Ends the dataset: SCR protects it, and copies it to the parallel file system where it is due.
///
/// valid: 1 if this rank wrote all its files, closed, without error; otherwise 0.
///
/// Collective. Returns SCR_SUCCESS on all ranks or an error on all. SCR_E_DEGRADED: the dataset is whole but not
/// protected as configured. After any other error it is no restart point; earlier ones still are, and the application
/// can go on.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Complete_output(valid: c_int) -> c_int {
    boundary("SCR_Complete_output", |life| life.complete_output(valid != 0))
}

/// Sets *flag to 1 if there is a checkpoint to restart from, and writes its name to name.
///
/// name: room for SCR_MAX_FILENAME bytes, or NULL; untouched without a checkpoint.
///
/// Collective; the answer is the same on all ranks. The checkpoint was verified. On error *flag is 0: there may be
/// checkpoints that this run cannot use, and SCR_Last_error says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Have_restart(flag: *mut c_int, name: *mut c_char) -> c_int {
    boundary("SCR_Have_restart", |life| {
        // SAFETY: null or an int, by the contract of scr.h.
        let cleared = unsafe { put_flag(flag, false) };
        let found = life.have_restart(cleared, |dataset| args::takes(name, dataset))?;
        let Some(dataset) = found else { return Ok(()) };
        if !name.is_null() {
            // SAFETY: a buffer of SCR_MAX_FILENAME bytes, by the contract of scr.h.
            unsafe { put_text(name, dataset.as_bytes()) }?;
        }
        // SAFETY: null or an int, by the contract of scr.h.
        unsafe { put_flag(flag, true) }
    })
}

/// Starts reading the checkpoint that SCR_Have_restart named, or would name, and writes its name to name.
///
/// name: room for SCR_MAX_FILENAME bytes, or NULL.
///
/// Collective. After an error, as that there is no checkpoint, nothing was started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Start_restart(name: *mut c_char) -> c_int {
    boundary("SCR_Start_restart", |life| {
        let dataset = life.start_restart(|dataset| args::takes(name, dataset))?;
        // SAFETY: null, or a buffer of SCR_MAX_FILENAME bytes, by the contract of scr.h.
        if name.is_null() { Ok(()) } else { unsafe { put_text(name, dataset.as_bytes()) } }
    })
}

/// Ends reading the checkpoint.
///
/// valid: 1 if this rank read all it needs, otherwise 0.
///
/// Collective. Unless every rank passed 1, an error is returned on all, the checkpoint is set aside, and
/// SCR_Have_restart offers the next one.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Complete_restart(valid: c_int) -> c_int {
    boundary("SCR_Complete_restart", |life| life.complete_restart(valid != 0))
}

/// Sets *flag to 1 if the application should stop: the allocation ends soon, or someone asked for it. Otherwise to 0.
///
/// Collective; the answer is the same on all ranks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Should_exit(flag: *mut c_int) -> c_int {
    boundary("SCR_Should_exit", |life| {
        let should_exit = life.should_exit(args::flag(flag))?;
        // SAFETY: null or an int, by the contract of scr.h.
        unsafe { put_flag(flag, should_exit) }
    })
}

/// Tells SCR that the application restarted from the checkpoint name without asking SCR.
///
/// Collective, with the same name on every rank.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Current(name: *const c_char) -> c_int {
    // SAFETY: null or a string, by the contract of scr.h.
    boundary("SCR_Current", |life| life.current(args::name(unsafe { bytes(name) })))
}

/// Takes the dataset name out of the index; its files stay.
///
/// Collective, with the same name on every rank.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Drop(name: *const c_char) -> c_int {
    // SAFETY: null or a string, by the contract of scr.h.
    boundary("SCR_Drop", |life| life.drop_dataset(args::name(unsafe { bytes(name) })))
}

/// Deletes the dataset name: its files in the cache and on the parallel file system, and its entry in the index.
///
/// Collective, with the same name on every rank.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Delete(name: *const c_char) -> c_int {
    // SAFETY: null or a string, by the contract of scr.h.
    boundary("SCR_Delete", |life| life.delete(args::name(unsafe { bytes(name) })))
}

/// Returns SCR_VERSION of the library that is running. Static: do not free or change it.
///
/// Not collective; at any time.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Get_version() -> *mut c_char {
    static TEXT: LazyLock<CString> =
        LazyLock::new(|| CString::new(crate::sink::VERSION).unwrap_or_default());
    TEXT.as_ptr().cast_mut()
}

/// Returns a few words on a code. Static: do not free it.
///
/// Not collective; at any time. Not in SCR 3.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Strerror(code: c_int) -> *const c_char {
    static WORDS: LazyLock<Vec<CString>> = LazyLock::new(|| {
        ErrorKind::ALL.map(|kind| CString::new(kind.describe()).unwrap_or_default()).into()
    });
    if code == SCR_SUCCESS {
        return c"success".as_ptr();
    }
    let place = ErrorKind::ALL.iter().position(|kind| kind.code() == code);
    place.and_then(|i| WORDS.get(i)).map_or(c"unknown code".as_ptr(), |words| words.as_ptr())
}

/// Returns why the last call of SCR in this thread failed and what to do, or "" if it did not fail.
///
/// Never NULL. Do not free it; valid until the next call of SCR in this thread.
///
/// Not collective; at any time. Not in SCR 3.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Last_error() -> *const c_char {
    slot::last_message()
}

/// Old name for SCR_Start_output(NULL, SCR_FLAG_CHECKPOINT); ended by SCR_Complete_checkpoint.
///
/// Collective.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Start_checkpoint() -> c_int {
    boundary("SCR_Start_checkpoint", crate::life::Life::start_checkpoint)
}

/// Old name for SCR_Complete_output after SCR_Start_checkpoint.
///
/// Collective.
#[unsafe(no_mangle)]
pub extern "C" fn SCR_Complete_checkpoint(valid: c_int) -> c_int {
    boundary("SCR_Complete_checkpoint", |life| life.complete_checkpoint(valid != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn codes_are_those_of_the_kinds() {
        let codes = [
            (SCR_E_MISUSE, ErrorKind::Misuse),
            (SCR_E_CONFIG, ErrorKind::Config),
            (SCR_E_MISMATCH, ErrorKind::Mismatch),
            (SCR_E_PEER_FAILED, ErrorKind::PeerFailed),
            (SCR_E_IO, ErrorKind::Io),
            (SCR_E_NO_SPACE, ErrorKind::NoSpace),
            (SCR_E_CORRUPT, ErrorKind::Corrupt),
            (SCR_E_NOT_FOUND, ErrorKind::NotFound),
            (SCR_E_REFUSED, ErrorKind::Refused),
            (SCR_E_LOST, ErrorKind::Lost),
            (SCR_E_INVALID, ErrorKind::Invalid),
            (SCR_E_DEGRADED, ErrorKind::Degraded),
            (SCR_E_COMMUNICATION, ErrorKind::Communication),
            (SCR_E_TIMEOUT, ErrorKind::Timeout),
        ];
        assert_eq!(codes.map(|(_, kind)| kind), ErrorKind::ALL);
        for (code, kind) in codes {
            assert_eq!(code, kind.code(), "{kind:?}");
            // SAFETY: a static string.
            let words = unsafe { CStr::from_ptr(SCR_Strerror(code)) };
            assert_eq!(words.to_str(), Ok(kind.describe()));
        }
    }

    #[test]
    fn unknown_codes_have_words_too() {
        for code in [-1, 15, c_int::MAX] {
            // SAFETY: a static string.
            assert_eq!(unsafe { CStr::from_ptr(SCR_Strerror(code)) }, c"unknown code");
        }
    }
}
