// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions of scr.h for Fortran: what `include/scrf.h` and the module in `include/scr.f90` declare.
//!
//! - Some compilers call `scr_init`, others `scr_init_`: both are there. None is known any more that puts the length of a
//!   text elsewhere than after all arguments.
//! - A text is followed, at the end of all arguments, by its length: an `int` for old compilers, a `size_t` for gfortran
//!   since 8. Here it is a C `int`. A caller that passes a `size_t` is read rightly too: on x86-64 and aarch64 each
//!   argument has a register or eight bytes of the stack for itself, of which an `int` takes the low half. The other way
//!   round would be wrong, since the high half of an `int`'s place holds anything.
//! - Texts that come in end at their trailing blanks, or at a NUL, which programs made for C add. Texts that go out are
//!   padded with blanks. A name or value that does not fit is an error, and nothing is written: a cut name is another
//!   name. Sentences for people are cut where they must be, and the code says so.
//! - The last argument, IERROR, gets what the C function returns. Flags are 0 after an error.
#![expect(unsafe_code, reason = "symbols of Fortran and the addresses that come through them")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all, at the top of this file")]

use crate::api::{self, SCR_SUCCESS};
use crate::args;
use crate::boundary::{attempt, boundary};
use crate::life::Life;
#[cfg(feature = "mpi")]
use scr_core::comm::mpi::Mpi;
use scr_core::{Error, ErrorKind, Result};
use std::ffi::{CStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// The hidden length of a text.
type Length = c_int;

/// A text that the caller has room for.
#[derive(Clone, Copy)]
struct Place {
    start: *mut c_char,
    room: usize,
}

/// Takes a text without its trailing blanks; an empty one is "none given".
///
/// # Safety
/// `start` is null or has `length` bytes that live through the call.
unsafe fn text<'a>(start: *const c_char, length: Length) -> Option<&'a [u8]> {
    let length = usize::try_from(length).unwrap_or(0);
    if start.is_null() || length == 0 {
        return None;
    }
    // SAFETY: not null, and as long as the caller says by the contract of this function.
    let whole = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
    let until_nul = whole.split(|&byte| byte == 0).next()?;
    let last = until_nul.iter().rposition(|&byte| byte != b' ')?;
    until_nul.get(..=last)
}

impl Place {
    fn new(start: *mut c_char, length: Length) -> Self {
        let room = if start.is_null() { 0 } else { usize::try_from(length).unwrap_or(0) };
        Self { start, room }
    }

    /// Checks that `text` fits.
    fn fits(self, text: &[u8]) -> Result<()> {
        if text.len() <= self.room {
            return Ok(());
        }
        let (needed, room) = (text.len(), self.room);
        let message = format!("a text of {needed} characters does not fit CHARACTER({room})");
        Err(Error::new(ErrorKind::Misuse, message))
    }

    /// Writes `text` and blanks up to the end, or nothing.
    ///
    /// # Safety
    /// The place has the room it says, and nothing of ours lies there.
    unsafe fn put(self, text: &[u8]) -> Result<()> {
        self.fits(text)?;
        if self.room > 0 {
            let start = self.start.cast::<u8>();
            // SAFETY: not null where there is room, and there is room for the text and the blanks behind it.
            unsafe {
                start.copy_from_nonoverlapping(text.as_ptr(), text.len());
                start.add(text.len()).write_bytes(b' ', self.room - text.len());
            }
        }
        Ok(())
    }

    /// Writes as much of a sentence as fits; the code says whether that is all.
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    unsafe fn put_sentence(self, text: &[u8]) -> c_int {
        let fitting = text.get(..self.room).unwrap_or(text);
        // SAFETY: passed on to the caller.
        let put = unsafe { self.put(fitting) };
        if put.is_ok() && fitting.len() == text.len() { SCR_SUCCESS } else { api::SCR_E_MISUSE }
    }
}

/// Writes an integer where the caller gave it a place.
///
/// # Safety
/// `place` is null or an INTEGER.
unsafe fn put(place: *mut c_int, value: c_int) {
    if !place.is_null() {
        // SAFETY: not null, and an INTEGER by the contract of this function.
        unsafe { place.write(value) };
    }
}

/// Answers a question with a flag, which is 0 where there is no answer.
///
/// # Safety
/// Both are null or an INTEGER.
unsafe fn ask(
    call: &str,
    flag: *mut c_int,
    ierror: *mut c_int,
    question: impl FnOnce(&mut Life) -> Result<bool>,
) {
    let mut answer = false;
    let code = boundary(call, |life| {
        answer = question(life)?;
        Ok(())
    });
    // SAFETY: passed on to the caller.
    unsafe {
        put(flag, c_int::from(answer));
        put(ierror, code);
    }
}

/// Defines each routine by both of its names.
macro_rules! routines {
    ($($(#[$doc:meta])* $name:ident, $underscored:ident: ($($argument:ident: $type:ty),*) $body:block)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) $body

        #[doc = concat!("[`", stringify!($name), "`], for compilers that add an underscore.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $underscored($($argument: $type),*) {
            // SAFETY: the same contract.
            unsafe { $name($($argument),*) }
        }
    )*};
}

// Each body, for SAFETY: an INTEGER or CHARACTER comes as its address, with the length that its declaration has.
routines! {
    /// SCR_Init.
    scr_init, scr_init_: (ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, api::SCR_Init()) }
    }

    /// SCR_Finalize.
    scr_finalize, scr_finalize_: (ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, api::SCR_Finalize()) }
    }

    /// SCR_Config; the value is blank for a set, and where there is none.
    scr_config, scr_config_: (
        config: *const c_char, value: *mut c_char, ierror: *mut c_int,
        config_length: Length, value_length: Length
    ) {
        let place = Place::new(value, value_length);
        let done = attempt("SCR_Config", |life| {
            // SAFETY: by the contract of all routines.
            let answer = match unsafe { text(config, config_length) } {
                Some(text) => life.config(&String::from_utf8_lossy(text))?,
                None => None,
            };
            // SAFETY: by the contract of all routines.
            unsafe { place.put(answer.unwrap_or_default().as_bytes()) }
        });
        let code = done.map_or_else(|error| error.kind().code(), |()| SCR_SUCCESS);
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, code) }
    }

    /// SCR_Need_checkpoint.
    scr_need_checkpoint, scr_need_checkpoint_: (flag: *mut c_int, ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { ask("SCR_Need_checkpoint", flag, ierror, |life| life.need_checkpoint(args::flag(flag))) }
    }

    /// SCR_Start_output.
    scr_start_output, scr_start_output_: (
        name: *const c_char, flags: *const c_int, ierror: *mut c_int, name_length: Length
    ) {
        let code = boundary("SCR_Start_output", |life| {
            // SAFETY: by the contract of all routines.
            let name = args::optional_name(unsafe { text(name, name_length) });
            // SAFETY: by the contract of all routines; -1 is refused.
            let flags = if flags.is_null() { -1 } else { unsafe { flags.read() } };
            life.start_output(name, flags)
        });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, code) }
    }

    /// SCR_Route_file; the two names may be one variable.
    scr_route_file, scr_route_file_: (
        name: *const c_char, file: *mut c_char, ierror: *mut c_int,
        name_length: Length, file_length: Length
    ) {
        let place = Place::new(file, file_length);
        let code = boundary("SCR_Route_file", |life| {
            // SAFETY: by the contract of all routines.
            let routed = life.route_file(args::path(unsafe { text(name, name_length) })?)?;
            // SAFETY: by the contract of all routines; `routed` is a copy.
            unsafe { place.put(routed.as_os_str().as_bytes()) }
        });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, code) }
    }

    /// SCR_Complete_output.
    scr_complete_output, scr_complete_output_: (valid: *const c_int, ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, api::SCR_Complete_output(is_set(valid))) }
    }

    /// SCR_Have_restart.
    scr_have_restart, scr_have_restart_: (
        flag: *mut c_int, name: *mut c_char, ierror: *mut c_int, name_length: Length
    ) {
        let place = Place::new(name, name_length);
        let question = |life: &mut Life| {
            let takes = |dataset: &str| place.fits(dataset.as_bytes());
            match life.have_restart(args::flag(flag), takes)? {
                // SAFETY: by the contract of all routines.
                Some(dataset) => unsafe { place.put(dataset.as_bytes()) }.map(|()| true),
                None => Ok(false),
            }
        };
        // SAFETY: by the contract of all routines.
        unsafe { ask("SCR_Have_restart", flag, ierror, question) }
    }

    /// SCR_Start_restart.
    scr_start_restart, scr_start_restart_: (
        name: *mut c_char, ierror: *mut c_int, name_length: Length
    ) {
        let place = Place::new(name, name_length);
        let code = boundary("SCR_Start_restart", |life| {
            let dataset = life.start_restart(|name| place.fits(name.as_bytes()))?;
            // SAFETY: by the contract of all routines.
            unsafe { place.put(dataset.as_bytes()) }
        });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, code) }
    }

    /// SCR_Complete_restart.
    scr_complete_restart, scr_complete_restart_: (valid: *const c_int, ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, api::SCR_Complete_restart(is_set(valid))) }
    }

    /// SCR_Should_exit.
    scr_should_exit, scr_should_exit_: (flag: *mut c_int, ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { ask("SCR_Should_exit", flag, ierror, |life| life.should_exit(args::flag(flag))) }
    }

    /// SCR_Current.
    scr_current, scr_current_: (name: *const c_char, ierror: *mut c_int, name_length: Length) {
        // SAFETY: by the contract of all routines.
        let name = args::name(unsafe { text(name, name_length) });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, boundary("SCR_Current", |life| life.current(name))) }
    }

    /// SCR_Drop.
    scr_drop, scr_drop_: (name: *const c_char, ierror: *mut c_int, name_length: Length) {
        // SAFETY: by the contract of all routines.
        let name = args::name(unsafe { text(name, name_length) });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, boundary("SCR_Drop", |life| life.drop_dataset(name))) }
    }

    /// SCR_Delete.
    scr_delete, scr_delete_: (name: *const c_char, ierror: *mut c_int, name_length: Length) {
        // SAFETY: by the contract of all routines.
        let name = args::name(unsafe { text(name, name_length) });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, boundary("SCR_Delete", |life| life.delete(name))) }
    }

    /// SCR_Get_version; what SCR documents and does not have.
    scr_get_version, scr_get_version_: (
        version: *mut c_char, ierror: *mut c_int, version_length: Length
    ) {
        // SAFETY: by the contract of all routines.
        let put_whole = unsafe { Place::new(version, version_length).put(crate::sink::VERSION.as_bytes()) };
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, put_whole.map_or(api::SCR_E_MISUSE, |()| SCR_SUCCESS)) }
    }

    /// SCR_Strerror.
    scr_strerror, scr_strerror_: (
        code: *const c_int, words: *mut c_char, ierror: *mut c_int, words_length: Length
    ) {
        // SAFETY: by the contract of all routines.
        let code = if code.is_null() { -1 } else { unsafe { code.read() } };
        // SAFETY: a static string, and a place by the contract of all routines.
        unsafe {
            let known = CStr::from_ptr(api::SCR_Strerror(code)).to_bytes();
            put(ierror, Place::new(words, words_length).put_sentence(known));
        }
    }

    /// SCR_Last_error.
    scr_last_error, scr_last_error_: (
        message: *mut c_char, ierror: *mut c_int, message_length: Length
    ) {
        // SAFETY: a string until the next call of SCR, and a place by the contract of all routines.
        unsafe {
            let last = CStr::from_ptr(api::SCR_Last_error()).to_bytes();
            put(ierror, Place::new(message, message_length).put_sentence(last));
        }
    }

    /// SCR_Start_checkpoint.
    scr_start_checkpoint, scr_start_checkpoint_: (ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, api::SCR_Start_checkpoint()) }
    }

    /// SCR_Complete_checkpoint.
    scr_complete_checkpoint, scr_complete_checkpoint_: (valid: *const c_int, ierror: *mut c_int) {
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, api::SCR_Complete_checkpoint(is_set(valid))) }
    }
}

/// Takes a flag; one that is missing is not set.
///
/// # Safety
/// `flag` is null or an INTEGER.
unsafe fn is_set(flag: *const c_int) -> c_int {
    // SAFETY: not null, and an INTEGER by the contract of this function.
    if flag.is_null() { 0 } else { unsafe { flag.read() } }
}

#[cfg(feature = "mpi")]
routines! {
    /// SCR_Init_comm; the communicator is an INTEGER, in the module mpi_f08 its MPI_VAL.
    scr_init_comm, scr_init_comm_: (comm: *const c_int, ierror: *mut c_int) {
        let code = boundary("SCR_Init_comm", |life| {
            life.init(|| {
                if comm.is_null() {
                    return Err(Error::new(ErrorKind::Misuse, "no communicator given"));
                }
                // SAFETY: an INTEGER that is MPI_COMM_NULL or a communicator, by the contract of scr.f90.
                unsafe { Mpi::duplicate_fortran(comm.read()) }
            })
        });
        // SAFETY: by the contract of all routines.
        unsafe { put(ierror, code) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_at_blanks_or_a_nul() {
        for (given, expected) in [
            (&b"ckpt.7   "[..], Some(&b"ckpt.7"[..])),
            (b"a b", Some(b"a b")),
            (b" a\t ", Some(b" a\t")),
            (b"a\0junk ", Some(b"a")),
            (b"   ", None),
            (b"\0a", None),
            (b"", None),
        ] {
            // SAFETY: a slice with its length.
            let found =
                unsafe { text(given.as_ptr().cast(), given.len().try_into().expect("short")) };
            assert_eq!(found, expected);
        }
        // SAFETY: no byte is looked at.
        assert_eq!(unsafe { text(b"a".as_ptr().cast(), -1) }, None);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { text(std::ptr::null(), 3) }, None);
    }

    #[test]
    fn texts_are_padded_or_refused_and_sentences_cut() {
        let mut buffer = *b"xxxxx";
        let place = Place::new(buffer.as_mut_ptr().cast(), 4);
        // SAFETY: the place is within the buffer, which is not looked at meanwhile.
        unsafe {
            assert!(place.put(b"abcde").is_err());
            assert_eq!(place.start.cast::<[u8; 5]>().read(), *b"xxxxx", "untouched");
            assert!(place.put(b"ab").is_ok());
            assert_eq!(place.start.cast::<[u8; 5]>().read(), *b"ab  x");
            assert_eq!(place.put_sentence(b"abcd"), SCR_SUCCESS);
            assert_eq!(place.put_sentence(b"12345"), api::SCR_E_MISUSE);
            assert_eq!(place.start.cast::<[u8; 5]>().read(), *b"1234x");
        }
        // SAFETY: nothing is written without room.
        assert!(unsafe { Place::new(std::ptr::null_mut(), 9).put(b"a") }.is_err());
    }
}
