// SPDX-License-Identifier: MIT OR Apache-2.0
//! The only way to replace a record: write beside, make durable, rename, make the directory durable.

use super::{Access, Store};
use crate::error::Result;
use crate::sabotage::{self, Fault};
use std::path::{Path, PathBuf};

/// What a record must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process: enough in node-local memory, which a loss of power takes anyway.
    Process,
    /// A loss of power: needed in the prefix.
    Power,
}

/// Replaces the record at `path` by `bytes`, all or nothing.
///
/// # Errors
/// Those of the store. The old record is then still there, unless only the directory could not be made durable: the new
/// one is in its place then, and the next loss of power decides which of the two remains.
pub fn publish(store: &dyn Store, path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    if sabotage::active(Fault::PublishInPlace) {
        return store.open(path, Access::Create)?.write_at(0, bytes);
    }
    publish_with(store, path, durability, &mut |file| file.write_at(0, bytes))
}

/// Replaces the record at `path` by what `write` puts into a new file, all or nothing.
///
/// # Errors
/// Those of the store and of `write`; see [`publish`] for what is there then.
pub fn publish_with(
    store: &dyn Store,
    path: &Path,
    durability: Durability,
    write: &mut dyn FnMut(&dyn super::File) -> Result<()>,
) -> Result<()> {
    publish_beside(store, path, &beside(path), durability, write)
}

/// As [`publish_with`], with the new file made at `beside`: for a record that several processes may replace.
///
/// # Errors
/// See [`publish_with`].
pub fn publish_beside(
    store: &dyn Store,
    path: &Path,
    beside: &Path,
    durability: Durability,
    write: &mut dyn FnMut(&dyn super::File) -> Result<()>,
) -> Result<()> {
    let written = (|| {
        let file = store.open(beside, Access::Create)?;
        write(&*file)?;
        if durability == Durability::Power && !sabotage::active(Fault::SkipPrefixSync) {
            file.sync()?;
        }
        drop(file);
        store.rename(beside, path)
    })();
    if let Err(error) = written {
        // What is left beside is overwritten by the next attempt; failing to remove it changes nothing.
        let _ = store.remove(beside);
        return Err(error);
    }
    match (durability, path.parent()) {
        (Durability::Power, Some(parent)) => store.sync_dir(parent),
        _ => Ok(()),
    }
}

/// The name under which a record is written before it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}
