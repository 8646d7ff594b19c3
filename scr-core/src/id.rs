// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names and numbers that must not be mixed up: one type each.

use crate::error::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// The number of a dataset: 1 + the highest seen in any cache or the prefix; never reused by us.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct DatasetId(pub u64);

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl DatasetId {
    /// The number in the name of a directory that belongs to a dataset: `dataset.<id>-<identity>...`.
    pub fn of_directory(name: &std::ffi::OsStr) -> Option<Self> {
        let (number, _) = name.to_str()?.strip_prefix("dataset.")?.split_once('-')?;
        number.parse().ok().map(Self)
    }
}

/// 128 random bits drawn at Start_output. Only equal identities make one dataset, whatever the numbers say.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct DatasetIdentity(pub [u8; 16]);

/// For people it is text, in records it is bytes.
impl Serialize for DatasetIdentity {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl DatasetIdentity {
    /// The first 32 bits in hexadecimal: enough to tell directories apart.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_string()
    }
}

impl fmt::Display for DatasetIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DatasetIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Declares a newtype over a non-empty string.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(String);

        impl $name {
            /// Takes a name as it is; it is only compared and printed, never interpreted.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name that the application gave to a dataset.
    DatasetName
}
name_type! {
    /// The name of a node: the unit that fails as a whole.
    NodeName
}
name_type! {
    /// The id of an allocation, as the resource manager gives it.
    JobId
}
name_type! {
    /// The name of the user who runs the job.
    UserName
}

/// Counts takeovers of a prefix by successive launches: a writer with an old epoch may rename nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A file's path below the prefix, as bytes: relative, without `.`, `..` or empty components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "Vec<u8>")]
pub struct RelPath(Vec<u8>);

/// For people it is text, in records it is bytes.
impl Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl RelPath {
    /// Checks and takes a relative path.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when it is empty, absolute, has a NUL byte, or a `.`, `..` or empty component.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let bad = bytes.contains(&0)
            || bytes.split(|&b| b == b'/').any(|part| matches!(part, b"" | b"." | b".."));
        if bad {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            return Err(Error::new(ErrorKind::Misuse, format!("not a relative path: {shown:?}")));
        }
        Ok(Self(bytes))
    }

    /// The path as the bytes that the application gave.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as one of the operating system.
    pub fn as_path(&self) -> &Path {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }

    /// This path below `base`.
    pub fn under(&self, base: &Path) -> PathBuf {
        base.join(self.as_path())
    }
}

impl TryFrom<Vec<u8>> for RelPath {
    type Error = Error;
    fn try_from(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::new(bytes)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_cannot_leave_their_base() {
        for bad in ["", "/a", "a//b", "a/../b", "./a", "a/", "a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.c", "..a/b..", "a b/\u{e9}"] {
            assert!(RelPath::new(good).is_ok(), "{good:?}");
        }
        assert!(RelPath::new(vec![0xff, b'/', 0xfe]).is_ok());
    }

    #[test]
    fn numbers_are_read_from_names_of_directories() {
        let cases = [("dataset.18-00ff00ff", Some(18)), ("dataset.7-00ff00ff.1.0.2", Some(7))];
        let others = ["dataset.x-00", "dataset.18", "rebuild.18-00ff00ff.0.0.0", ""];
        for (name, number) in cases.into_iter().chain(others.map(|name| (name, None))) {
            let found = DatasetId::of_directory(std::ffi::OsStr::new(name));
            assert_eq!(found, number.map(DatasetId), "{name}");
        }
    }

    #[test]
    fn identities_print_as_32_digits() {
        let identity = DatasetIdentity([0xab; 16]);
        assert_eq!(identity.to_string(), "ab".repeat(16));
        assert_eq!(identity.short(), "abababab");
    }
}
