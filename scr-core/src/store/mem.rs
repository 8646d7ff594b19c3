// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files in memory that can lose power, fill up, rot, vanish and come back old: the node of the simulator.
//!
//! The tree keeps what was synced apart from what was not; `mem/tree.rs` states what it assumes about media. Clones
//! share one tree. There are no symbolic links and no `..`; relative paths start at the root.

mod tree;

use super::{Access, File, Metadata, Space, Store};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::{Inode, Outcome, Tree};

/// Zeros are reported as holes in units of this size.
const HOLE_BYTES: usize = 4096;

/// A tree of files in memory; clones share it.
#[derive(Clone, Debug)]
pub struct Mem {
    shared: Arc<Mutex<Shared>>,
}

/// Everything a [`Mem`] held at one moment.
#[derive(Clone, Debug)]
pub struct MemState(Tree);

#[derive(Debug)]
struct Shared {
    tree: Tree,
    /// Files opened before the tree was exchanged are stale.
    generation: u64,
}

#[derive(Debug)]
struct MemFile {
    shared: Arc<Mutex<Shared>>,
    inode: Inode,
    generation: u64,
    path: PathBuf,
}

impl Default for Mem {
    fn default() -> Self {
        Self::new()
    }
}

impl Mem {
    /// An empty tree without limits.
    pub fn new() -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { tree: Tree::new(), generation: 0 })) }
    }

    /// Limits what fits; what is already there stays. The root counts as one inode.
    pub fn capacity(&self, bytes: u64, inodes: u64) {
        let mut shared = lock(&self.shared);
        (shared.tree.limit_bytes, shared.tree.limit_inodes) = (bytes, inodes);
    }

    /// Leaves one of the states that a loss of power may leave; equal seeds leave equal ones. Open files go stale.
    pub fn power_loss(&self, seed: u64) {
        self.exchange(|tree| tree.lose_power(seed));
    }

    /// Removes everything: a node that vanished and came back empty. Open files go stale.
    pub fn wipe(&self) {
        self.exchange(|tree| {
            let limits = (tree.limit_bytes, tree.limit_inodes);
            *tree = Tree::new();
            (tree.limit_bytes, tree.limit_inodes) = limits;
        });
    }

    /// Everything there is, synced or not.
    pub fn clone_state(&self) -> MemState {
        MemState(lock(&self.shared).tree.clone())
    }

    /// Puts back what was there: a node that comes back with old data. Open files go stale.
    pub fn restore(&self, state: &MemState) {
        self.exchange(|tree| tree.clone_from(&state.0));
    }

    /// Inverts the lowest bit of one byte, durably, and changes no time: rot.
    ///
    /// # Errors
    /// `NotFound` without such a file, `Io` beyond its end.
    pub fn flip_bit(&self, path: &Path, offset_bytes: u64) -> Result<()> {
        self.rot("flip bit in", path, |data| {
            let byte = data.get_mut(offset_bytes as usize).ok_or(libc::EINVAL)?;
            *byte ^= 1;
            Ok(())
        })
    }

    /// Cuts a file, durably, and changes no time: rot.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn truncate(&self, path: &Path, size_bytes: u64) -> Result<()> {
        self.rot("truncate", path, |data| {
            data.truncate(size_bytes as usize);
            Ok(())
        })
    }

    /// Everything there is, for comparisons: files with their bytes, directories with `None`. The root is left out.
    pub fn walk(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let shared = lock(&self.shared);
        let mut found = BTreeMap::new();
        let mut ahead = vec![(PathBuf::from("/"), tree::ROOT)];
        while let Some((path, inode)) = ahead.pop() {
            for (name, inode) in shared.tree.entries(inode).into_iter().flatten() {
                let path = path.join(name);
                let data = shared.tree.content(*inode).ok().map(|content| content.data.clone());
                found.insert(path.clone(), data);
                ahead.push((path, *inode));
            }
        }
        found
    }

    fn exchange(&self, change: impl FnOnce(&mut Tree)) {
        let mut shared = lock(&self.shared);
        change(&mut shared.tree);
        shared.generation += 1;
    }

    fn rot(
        &self,
        operation: &str,
        path: &Path,
        change: impl FnOnce(&mut Vec<u8>) -> Outcome<()>,
    ) -> Result<()> {
        self.run(operation, path, |tree| {
            let inode = tree.find(path)?;
            let content = tree.content_mut(inode)?;
            change(&mut content.data)?;
            content.forget_history();
            Ok(())
        })
    }

    /// Runs one operation, under the lock; an error gets the operation and the path.
    fn run<T>(
        &self,
        operation: &str,
        path: &Path,
        work: impl FnOnce(&mut Tree) -> Outcome<T>,
    ) -> Result<T> {
        named(operation, path, work(&mut lock(&self.shared).tree))
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn named<T>(operation: &str, path: &Path, outcome: Outcome<T>) -> Result<T> {
    outcome.map_err(|errno| Error::io(operation, path, &std::io::Error::from_raw_os_error(errno)))
}

/// Turns "there is nothing" into success with `absent`.
fn unless_absent<T>(outcome: Outcome<T>, absent: T) -> Outcome<T> {
    if outcome.as_ref().err() == Some(&libc::ENOENT) { Ok(absent) } else { outcome }
}

impl MemFile {
    fn run<T>(&self, operation: &str, work: impl FnOnce(&mut Tree) -> Outcome<T>) -> Result<T> {
        let mut shared = lock(&self.shared);
        let is_stale = shared.generation != self.generation;
        let outcome = if is_stale { Err(libc::ESTALE) } else { work(&mut shared.tree) };
        named(operation, &self.path, outcome)
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        if shared.generation == self.generation {
            shared.tree.closed(self.inode);
        }
    }
}

impl File for MemFile {
    fn read_at(&self, offset_bytes: u64, data: &mut [u8]) -> Result<usize> {
        self.run("read", |tree| {
            let all = &tree.content(self.inode)?.data;
            let rest = all.get(offset_bytes as usize..).unwrap_or_default();
            let count = rest.len().min(data.len());
            data[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        self.run("write", |tree| tree.write(self.inode, offset_bytes, data))
    }

    fn size_bytes(&self) -> Result<u64> {
        self.run("stat", |tree| Ok(tree.content(self.inode)?.data.len() as u64))
    }

    fn set_size(&self, size_bytes: u64) -> Result<()> {
        self.run("set size of", |tree| tree.set_size(self.inode, size_bytes))
    }

    fn sync(&self) -> Result<()> {
        self.run("sync", |tree| {
            tree.content_mut(self.inode)?.sync();
            Ok(())
        })
    }

    fn next_data(&self, offset_bytes: u64) -> Result<Option<(u64, u64)>> {
        self.run("find data in", |tree| {
            Ok(next_data(&tree.content(self.inode)?.data, offset_bytes as usize))
        })
    }
}

/// The next run of blocks that are not all zero.
fn next_data(data: &[u8], offset: usize) -> Option<(u64, u64)> {
    let mut blocks = data.chunks(HOLE_BYTES).enumerate().skip(offset / HOLE_BYTES);
    let is_data = |block: &[u8]| block.iter().any(|byte| *byte != 0);
    let (first, _) = blocks.find(|(_, block)| is_data(block))?;
    let end = blocks.find(|(_, block)| !is_data(block));
    let start = (first * HOLE_BYTES).max(offset);
    let end = end.map_or(data.len(), |(block, _)| block * HOLE_BYTES);
    (start < end).then_some((start as u64, end as u64))
}

impl Store for Mem {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn File>> {
        let operation = if access == Access::Create { "create" } else { "open" };
        let mut shared = lock(&self.shared);
        let inode = named(operation, path, open(&mut shared.tree, path, access))?;
        let generation = shared.generation;
        let file =
            MemFile { shared: Arc::clone(&self.shared), inode, generation, path: path.into() };
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.run("read", path, |tree| Ok(tree.content(tree.find(path)?)?.data.clone()))
    }

    fn append(&self, path: &Path, data: &[u8]) -> Result<()> {
        self.run("append to", path, |tree| {
            let inode = find_or_create(tree, path)?;
            let size = tree.content(inode)?.data.len() as u64;
            if data.len() as u64 > tree.free_bytes() {
                return Err(libc::ENOSPC);
            }
            tree.write(inode, size, data)
        })
    }

    fn metadata(&self, path: &Path) -> Result<Metadata> {
        self.run("stat", path, |tree| {
            let inode = tree.find(path)?;
            let node = tree.node(inode)?;
            Ok(Metadata {
                is_dir: tree.is_dir(inode),
                size_bytes: tree.content(inode).map_or(0, |content| content.data.len() as u64),
                mode: node.mode,
                uid: node.uid,
                gid: node.gid,
                accessed_unix_nanos: node.accessed,
                modified_unix_nanos: node.modified,
                inode,
            })
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        self.run("list", path, |tree| Ok(tree.entries(tree.find(path)?)?.keys().cloned().collect()))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.run("create directory", path, |tree| create_dir_all(tree, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.run(&format!("rename {} to", from.display()), to, |tree| rename(tree, from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.run(&format!("link {} to", from.display()), to, |tree| {
            let inode = tree.find(from)?;
            let (parent, name) = tree.find_parent(to)?;
            if tree.is_dir(inode) {
                return Err(libc::EPERM);
            }
            if tree.entries(parent)?.contains_key(name) {
                return Err(libc::EEXIST);
            }
            tree.set_entries(parent, vec![(parent, name.to_owned(), Some(inode))]);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.run("remove", path, |tree| {
            let removed = tree.find(path).and_then(|inode| {
                tree.content(inode)?;
                remove_entry(tree, path)
            });
            unless_absent(removed, ())
        })
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        self.run("remove", path, |tree| unless_absent(remove_tree(tree, path), ()))
    }

    fn remove_empty_dir(&self, path: &Path) -> Result<bool> {
        self.run("remove directory", path, |tree| {
            let removed = tree.find(path).and_then(|inode| {
                let is_empty = tree.entries(inode)?.is_empty();
                if is_empty {
                    remove_entry(tree, path)?;
                }
                Ok(is_empty)
            });
            unless_absent(removed, false)
        })
    }

    fn discard(&self, path: &Path, bin: &Path) -> Result<()> {
        // No room for the bin is no reason to keep what is discarded.
        let _ = self.create_dir_all(bin);
        self.remove_tree(path)
    }

    fn wait_for_discards(&self) {}

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.run("sync directory", path, |tree| {
            let inode = tree.find(path)?;
            tree.sync_dir(inode);
            Ok(())
        })
    }

    fn set_metadata(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        self.run("set metadata of", path, |tree| {
            let inode = tree.find(path)?;
            let node = tree.node_mut(inode)?;
            (node.mode, node.uid, node.gid) = (metadata.mode, metadata.uid, metadata.gid);
            node.accessed = metadata.accessed_unix_nanos;
            node.modified = metadata.modified_unix_nanos;
            Ok(())
        })
    }

    fn space(&self, path: &Path) -> Result<Space> {
        self.run("statfs", path, |tree| {
            tree.find(path)?;
            let (free_bytes, total_bytes) = (tree.free_bytes(), tree.limit_bytes);
            Ok(Space { free_bytes, total_bytes, in_memory: false })
        })
    }
}

fn open(tree: &mut Tree, path: &Path, access: Access) -> Outcome<Inode> {
    let inode = match access {
        Access::Read | Access::Write => tree.find(path)?,
        Access::Create => find_or_create(tree, path)?,
    };
    if access == Access::Create && !tree.content(inode)?.data.is_empty() {
        tree.set_size(inode, 0)?;
    }
    tree.content(inode)?;
    tree.opened(inode)?;
    Ok(inode)
}

fn find_or_create(tree: &mut Tree, path: &Path) -> Outcome<Inode> {
    match tree.find(path) {
        Err(libc::ENOENT) => {
            let (parent, name) = tree.find_parent(path)?;
            tree.create(parent, name, Tree::new_file())
        }
        found => found,
    }
}

fn create_dir_all(tree: &mut Tree, path: &Path) -> Outcome<()> {
    let above: Vec<_> = path.ancestors().collect();
    for dir in above.into_iter().rev().filter(|dir| dir.file_name().is_some()) {
        match tree.find(dir) {
            Ok(inode) if tree.is_dir(inode) => {}
            Ok(_) => return Err(if dir == path { libc::EEXIST } else { libc::ENOTDIR }),
            Err(libc::ENOENT) => {
                let (parent, name) = tree.find_parent(dir)?;
                tree.create(parent, name, Tree::new_dir())?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn rename(tree: &mut Tree, from: &Path, to: &Path) -> Outcome<()> {
    let inode = tree.find(from)?;
    let (from_parent, from_name) = tree.find_parent(from)?;
    let (to_parent, to_name) = tree.find_parent(to)?;
    match tree.entries(to_parent)?.get(to_name) {
        Some(replaced) if *replaced == inode => return Ok(()),
        Some(replaced) => match (tree.is_dir(inode), tree.entries(*replaced)) {
            (true, Err(_)) => return Err(libc::ENOTDIR),
            (false, Ok(_)) => return Err(libc::EISDIR),
            (true, Ok(entries)) if !entries.is_empty() => return Err(libc::ENOTEMPTY),
            _ => {}
        },
        None => {}
    }
    if clean(to).starts_with(clean(from)) {
        return Err(libc::EINVAL);
    }
    let leaves = (from_parent, from_name.to_owned(), None);
    let arrives = (to_parent, to_name.to_owned(), Some(inode));
    tree.set_entries(to_parent, vec![arrives, leaves]);
    Ok(())
}

/// The path from the root, so that two spellings compare equal.
fn clean(path: &Path) -> PathBuf {
    Path::new("/").join(path).components().collect()
}

fn remove_entry(tree: &mut Tree, path: &Path) -> Outcome<()> {
    let (parent, name) = tree.find_parent(path)?;
    tree.set_entries(parent, vec![(parent, name.to_owned(), None)]);
    Ok(())
}

fn remove_tree(tree: &mut Tree, path: &Path) -> Outcome<()> {
    let inode = tree.find(path)?;
    let below: Vec<_> = tree.entries(inode).into_iter().flat_map(BTreeMap::keys).cloned().collect();
    for name in below {
        remove_tree(tree, &path.join(name))?;
    }
    remove_entry(tree, path)
}

#[cfg(test)]
mod tests;
