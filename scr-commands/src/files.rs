// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files of this machine, through the store port, and the two ways in which the commands keep records.

use scr_core::format::{Record, frame};
use scr_core::store::posix::Posix;
use scr_core::store::{Durability, Store, publish};
use scr_core::{Context, Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The store of this process.
pub(crate) fn store() -> &'static dyn Store {
    static STORE: OnceLock<Posix> = OnceLock::new();
    STORE.get_or_init(Posix::new)
}

/// Turns the absence of something into `None`.
pub(crate) fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a record of the library, `None` where there is no file.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when it is torn, or another record.
pub(crate) fn read_record<T: Record>(path: &Path) -> Result<Option<T>> {
    let bytes = optional(store().read(path))?;
    let decode = |bytes: Vec<u8>| frame::decode(&bytes).context(|| path.display().to_string());
    bytes.map(decode).transpose()
}

/// Replaces a record of the library in the prefix, whose directory is made where missing.
pub(crate) fn write_record<T: Record>(path: &Path, record: &T) -> Result<()> {
    if let Some(parent) = path.parent() {
        store().create_dir_all(parent)?;
    }
    publish(store(), path, &frame::encode(record), Durability::Power)
}

/// Reads a note that the commands of one run leave each other, `None` where there is none.
pub(crate) fn read_note<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = optional(store().read(path))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("{} is not readable: {error}", path.display()))
    })
}

/// Replaces a note, all or nothing.
pub(crate) fn write_note<T: Serialize>(path: &Path, note: &T) -> Result<()> {
    let text = serde_json::to_vec(note)
        .map_err(|error| Error::new(ErrorKind::Misuse, format!("{}: {error}", path.display())))?;
    publish(store(), path, &text, Durability::Process)
}

/// The paths of what is in a directory, sorted; none where there is no directory.
pub(crate) fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let names = match store().list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            // A file where a directory could be holds nothing.
            return if store().metadata(path).is_ok_and(|found| !found.is_dir) {
                Ok(Vec::new())
            } else {
                Err(error)
            };
        }
    };
    Ok(names.into_iter().map(|name| path.join(name)).collect())
}

/// The paths `depth` levels below `path`, sorted.
pub(crate) fn list_deep(path: &Path, depth: u32) -> Result<Vec<PathBuf>> {
    let mut level = vec![path.to_path_buf()];
    for _ in 0..depth {
        let mut next = Vec::new();
        for path in level {
            next.extend(list(&path)?);
        }
        level = next;
    }
    Ok(level)
}

/// A path as the library sees it in this working directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io("find", path, &error))
}

/// The last component of a path as text.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
