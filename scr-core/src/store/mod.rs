// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files: a small port with a real, an in-memory and a faulty implementation.
//!
//! [`posix`] is the only file that touches `std::fs`; [`mem`] keeps what was synced apart from what was not, so that a
//! loss of power can be simulated; [`fault`] wraps any store and fails, or crashes the process, at a chosen operation.
//! [`publish`] is the only way to replace a record.

#[cfg(test)]
mod conformance;
pub(crate) mod discard;
pub mod fault;
mod headroom;
pub mod mem;
pub mod posix;
mod publish;

pub use publish::{Durability, publish, publish_beside, publish_with};

use crate::error::Result;
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write; an existing one is emptied. The directory must exist.
    Create,
}

/// What is known of a path without opening it. Symbolic links are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is a directory (else: a regular file or something else).
    pub is_dir: bool,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access, in nanoseconds since 1970.
    pub accessed_unix_nanos: i128,
    /// Last change of the content, in nanoseconds since 1970.
    pub modified_unix_nanos: i128,
    /// Number of the file within its file system: tells a replaced file from a changed one.
    pub inode: u64,
}

/// Room on the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process can still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Whether the files live in memory (tmpfs), where the node's memory limits apply too.
    pub in_memory: bool,
}

/// An open file, read and written at given offsets.
pub trait File: Send + std::fmt::Debug {
    /// Reads up to `data.len()` bytes at `offset_bytes`; fewer only at the end of the file.
    fn read_at(&self, offset_bytes: u64, data: &mut [u8]) -> Result<usize>;

    /// Writes all of `data` at `offset_bytes`.
    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()>;

    /// Length in bytes.
    fn size_bytes(&self) -> Result<u64>;

    /// Cuts or extends (with zeros, sparse) the file.
    fn set_size(&self, size_bytes: u64) -> Result<()>;

    /// Makes what was written durable (fsync).
    fn sync(&self) -> Result<()>;

    /// The next range at or after `offset_bytes` that holds data rather than a hole: `[start, end)`, or `None` at the end.
    fn next_data(&self, offset_bytes: u64) -> Result<Option<(u64, u64)>>;
}

/// A tree of files. Every error names the operation and the path.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn File>>;

    /// Reads a whole (small) file.
    fn read(&self, path: &Path) -> Result<Vec<u8>>;

    /// Appends to a file, creating it where missing; the bytes arrive whole or not at all unless the process dies.
    fn append(&self, path: &Path, data: &[u8]) -> Result<()>;

    /// What is known of `path`; [`NotFound`](crate::ErrorKind::NotFound) where there is nothing.
    fn metadata(&self, path: &Path) -> Result<Metadata>;

    /// The names in a directory, sorted; [`NotFound`](crate::ErrorKind::NotFound) where there is none.
    fn list(&self, path: &Path) -> Result<Vec<std::ffi::OsString>>;

    /// Makes a directory and those above it; no error where they exist. New ones get mode 0700 less umask.
    fn create_dir_all(&self, path: &Path) -> Result<()>;

    /// Renames a file or directory; an existing file at `to` is replaced.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Makes `to` a second name of the file `from`. Refused across file systems: copy then.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file; no error where there is none.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes a directory and all below it; no error where there is none.
    fn remove_tree(&self, path: &Path) -> Result<()>;

    /// Removes a directory only if it is empty; `false` where it is not or does not exist.
    fn remove_empty_dir(&self, path: &Path) -> Result<bool>;

    /// Takes `path` (a directory or file) out of sight at once and frees its space soon, perhaps in the background.
    ///
    /// `bin` is a directory on the same file system where it waits; it is made where missing. A crash leaves what waits
    /// there, to be discarded again. No error where there is nothing at `path`.
    fn discard(&self, path: &Path, bin: &Path) -> Result<()>;

    /// Waits until everything discarded so far has freed its space.
    fn wait_for_discards(&self);

    /// Makes the entries of a directory durable (fsync of the directory, where that exists).
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// Gives a file the mode, owner (where permitted, silently not otherwise) and times of `metadata`.
    fn set_metadata(&self, path: &Path, metadata: &Metadata) -> Result<()>;

    /// Room on the file system of `path`, limits of memory included where files live in memory.
    ///
    /// Quotas cannot be seen: a write may still end in [`NoSpace`](crate::ErrorKind::NoSpace).
    fn space(&self, path: &Path) -> Result<Space>;
}

/// Whether there is anything at `path`.
pub fn exists(store: &dyn Store, path: &Path) -> Result<bool> {
    match store.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
