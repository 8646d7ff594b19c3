// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a file belongs below the prefix.
//!
//! Names are reduced lexically, as SCR does: no file system is asked, so symbolic links count as plain directories. The
//! directories stay, so that equal base names cannot collide in the cache.

use crate::error::{Error, ErrorKind, Result};
use crate::id::RelPath;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The directory of the prefix that belongs to the library.
const OWN_DIRECTORY: &[u8] = b".scr";

/// Returns the path below `prefix` that the application means by `name`, absolute or relative to `cwd`.
///
/// # Errors
/// [`ErrorKind::Misuse`] when it is empty, not below the prefix, or in the directory that holds our records.
pub fn route(prefix: &Path, cwd: &Path, name: &Path) -> Result<RelPath> {
    let misuse = |message: String| Err(Error::new(ErrorKind::Misuse, message));
    if name.as_os_str().is_empty() {
        return misuse("the name of the file is empty".into());
    }
    // `join` takes an absolute name as it is.
    let whole = cwd.join(name);
    let parts = reduce(&whole);
    let base = reduce(prefix);
    let Some(below) = parts.strip_prefix(base.as_slice()).filter(|below| !below.is_empty()) else {
        return misuse(format!(
            "file {} is not below the prefix {}; set SCR_PREFIX to a directory that holds all files of the datasets",
            whole.display(),
            prefix.display()
        ));
    };
    if below[0] == OWN_DIRECTORY {
        return misuse(format!(
            "file {} is in the directory .scr of the prefix {}, which holds the records of datasets",
            whole.display(),
            prefix.display()
        ));
    }
    RelPath::new(below.join(&b'/'))
}

/// The components of an absolute path, without `.` and `..`; above the root is the root.
fn reduce(path: &Path) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    for part in path.as_os_str().as_bytes().split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn names_are_reduced_and_must_be_below_the_prefix() {
        let cases = [
            ("/p", "/p", "a", Some("a")),
            ("/p", "/p", "/p/a", Some("a")),
            ("/p", "/p/run", "a", Some("run/a")),
            ("/p", "/p/run", "../b/./a", Some("b/a")),
            ("/p", "/elsewhere", "/p//ckpt.1/x/../rank_0", Some("ckpt.1/rank_0")),
            ("/p/", "/p", "a", Some("a")),
            ("/p/q/../", "/", "p/a", Some("a")),
            ("/p", "/p", "/../../p/a", Some("a")),
            ("/", "/", "a/b", Some("a/b")),
            ("/p", "/p", "a/", Some("a")),
            ("/p", "/p", "a/.scr/b", Some("a/.scr/b")),
            ("/p", "/p", ".scratch/a", Some(".scratch/a")),
            ("/p", "/elsewhere", "a", None),
            ("/p", "/p", "../a", None),
            ("/p", "/p", "/pp/a", None),
            ("/p", "/p", "/p", None),
            ("/p", "/p", "a/..", None),
            ("/p", "/p", "", None),
            ("/p", "/p", ".scr/index", None),
            ("/p", "/p", "a/../.scr", None),
        ];
        for (prefix, cwd, name, expected) in cases {
            let found = route(Path::new(prefix), Path::new(cwd), Path::new(name)).ok();
            let found = found.as_ref().map(RelPath::as_bytes);
            assert_eq!(found, expected.map(str::as_bytes), "{name} in {cwd}, prefix {prefix}");
        }
    }

    #[test]
    fn the_error_names_both() {
        let error = route(Path::new("/p"), Path::new("/home/me"), Path::new("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(
            error.to_string().contains("/home/me/a") && error.to_string().contains("prefix /p")
        );
    }

    #[test]
    fn names_are_bytes() {
        let name = Path::new(OsStr::from_bytes(b"d/\xff\xfe"));
        let found = route(Path::new("/p"), Path::new("/p"), name).unwrap();
        assert_eq!(found.as_bytes(), b"d/\xff\xfe");
        let nul = Path::new(OsStr::from_bytes(b"a\0b"));
        assert!(route(Path::new("/p"), Path::new("/p"), nul).is_err());
    }
}
