// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pointers of C to values and back: null, length and text are checked here and nowhere else.
#![expect(unsafe_code, reason = "the pointers that C programs pass")]

use crate::api::SCR_MAX_FILENAME;
use scr_core::{Error, ErrorKind, Result};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};

const ROOM: usize = SCR_MAX_FILENAME as usize;

fn misuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::Misuse, message))
}

/// Takes a text; null and empty are both "none given".
///
/// # Safety
/// `text` is null or a string that ends in NUL and lives through the call.
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and a string by the contract of this function.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes()).filter(|bytes| !bytes.is_empty())
}

/// Takes the name of a dataset, which must come back whole from `SCR_Have_restart`.
pub(crate) fn optional_name(bytes: Option<&[u8]>) -> Result<Option<String>> {
    let Some(bytes) = bytes else { return Ok(None) };
    if bytes.len() >= ROOM {
        return misuse(format!("name of {} bytes; less than {ROOM} are allowed", bytes.len()));
    }
    match std::str::from_utf8(bytes) {
        Ok(name) => Ok(Some(name.to_string())),
        Err(_) => misuse(format!("name {:?} is not UTF-8", String::from_utf8_lossy(bytes))),
    }
}

/// Takes the name of a dataset where one must be given.
pub(crate) fn name(bytes: Option<&[u8]>) -> Result<String> {
    match optional_name(bytes)? {
        Some(name) => Ok(name),
        None => misuse("no name given"),
    }
}

/// Takes the name of a file.
pub(crate) fn path(bytes: Option<&[u8]>) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    match bytes {
        Some(bytes) if bytes.len() < ROOM => {
            Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)).to_path_buf())
        }
        Some(bytes) => {
            misuse(format!("file name of {} bytes; less than {ROOM} are allowed", bytes.len()))
        }
        None => misuse("no file name given"),
    }
}

/// Checks that there is a place for a flag, to be brought to the collective call.
pub(crate) fn flag(flag: *const c_int) -> Result<()> {
    if flag.is_null() { misuse("the flag is NULL") } else { Ok(()) }
}

/// Checks that `name`, where there is room for one, can take the name of this dataset.
pub(crate) fn takes(name: *const c_char, dataset: &str) -> Result<()> {
    if name.is_null() { Ok(()) } else { fits(dataset.len()) }
}

fn fits(length: usize) -> Result<()> {
    if length < ROOM {
        return Ok(());
    }
    misuse(format!("a text of {length} bytes does not fit SCR_MAX_FILENAME"))
}

/// Writes a flag.
///
/// # Safety
/// `flag` is null or points to an int.
pub(crate) unsafe fn put_flag(flag: *mut c_int, value: bool) -> Result<()> {
    if flag.is_null() {
        return misuse("the flag is NULL");
    }
    // SAFETY: not null, and an int by the contract of this function.
    unsafe { flag.write(c_int::from(value)) };
    Ok(())
}

/// Writes a text and its NUL, whole or not at all.
///
/// # Safety
/// `buffer` is null or has room for `SCR_MAX_FILENAME` bytes.
pub(crate) unsafe fn put_text(buffer: *mut c_char, text: &[u8]) -> Result<()> {
    if buffer.is_null() {
        return misuse("the buffer is NULL");
    }
    fits(text.len())?;
    // SAFETY: not null, room for the text and its NUL was checked, and a slice of ours does not overlap C's buffer.
    unsafe {
        buffer.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        buffer.add(text.len()).write(0);
    }
    Ok(())
}

/// A copy that C may `free`, or null where there is nothing (or no memory) to copy.
pub(crate) fn given_away(text: Option<String>) -> *const c_char {
    let Some(text) = text.and_then(|text| CString::new(text).ok()) else {
        return std::ptr::null();
    };
    // SAFETY: a string that ends in NUL; the copy is made by malloc, so C's free takes it.
    unsafe { libc::strdup(text.as_ptr()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_whole_or_are_refused() {
        for (length, fits) in [(0, true), (1, true), (ROOM - 1, true), (ROOM, false)] {
            let mut buffer = vec![1 as c_char; ROOM];
            // SAFETY: the buffer has ROOM bytes.
            let result = unsafe { put_text(buffer.as_mut_ptr(), &vec![b'x'; length]) };
            assert_eq!(result.is_ok(), fits, "{length}");
            if fits {
                assert_eq!(buffer.get(length), Some(&0));
            } else {
                assert!(buffer.iter().all(|&byte| byte == 1), "untouched on failure");
            }
        }
    }

    #[test]
    fn names_are_checked() {
        let long = CString::new("x".repeat(ROOM)).expect("no NUL");
        let cases: [(*const c_char, bool); 5] = [
            (c"ckpt.7".as_ptr(), true),
            (c"".as_ptr(), false),
            (std::ptr::null(), false),
            (c"\xff".as_ptr(), false),
            (long.as_ptr(), false),
        ];
        for (text, good) in cases {
            // SAFETY: each is null or a string.
            let result = name(unsafe { bytes(text) });
            assert_eq!(result.is_ok(), good, "{result:?}");
        }
        assert_eq!(optional_name(None).expect("default"), None);
        assert!(path(Some(b"\xff/a")).is_ok(), "paths are bytes");
    }

    #[test]
    fn what_is_given_away_can_be_freed_by_c() {
        let copy = given_away(Some("value".into()));
        // SAFETY: not null, made by strdup.
        assert_eq!(unsafe { CStr::from_ptr(copy) }, c"value");
        // SAFETY: made by strdup and not used after.
        unsafe { libc::free(copy.cast_mut().cast()) };
        assert!(given_away(None).is_null());
    }
}
