// SPDX-License-Identifier: MIT OR Apache-2.0
//! The model behind [`Mem`](super::Mem): what is there, what would be there after a loss of power, and what lies between.
//!
//! *Assumptions about media.* A change of directory entries (create, remove, link, rename) is atomic and becomes durable when the
//! directory it ends in is synced. A change that was not synced survives a loss of power or not, each for itself,
//! but only if the earlier changes of the same names survived. Bytes that were not synced survive in any subset of
//! pieces; a lost piece may leave zeros where it extended the file. Modes, owners and times are durable at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

/// Number of an inode.
pub(super) type Inode = u64;

/// Result of an operation, with the number of the system's error.
pub(super) type Outcome<T> = Result<T, i32>;

pub(super) const ROOT: Inode = 1;

/// Entry changes and writes beyond this number become durable by themselves, as a kernel writes back what is old.
const WRITE_BACK_AFTER: usize = 4096;

/// Unsynced bytes are lost in pieces of this size: smaller than a sector, so that small test files tear too.
const PIECE_BYTES: usize = 64;

const LARGEST_FILE_BYTES: u64 = 1 << 32;

type Entries = BTreeMap<OsString, Inode>;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed: i128,
    pub(super) modified: i128,
    links: u32,
    open: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Content),
    Dir { entries: Entries, synced: Entries },
}

/// The bytes of a file: as seen, as durable, and the changes from the one to the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) data: Vec<u8>,
    synced: Vec<u8>,
    unsynced: VecDeque<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Size(usize),
}

/// One atomic change of directory entries; `None` removes.
#[derive(Clone, Debug)]
struct EntryChange {
    /// The directory whose sync makes it durable.
    home: Inode,
    sets: Vec<(Inode, OsString, Option<Inode>)>,
}

/// A tree of files.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<Inode, Node>,
    unsynced: VecDeque<EntryChange>,
    next_inode: Inode,
    now: i128,
    pub(super) limit_bytes: u64,
    pub(super) limit_inodes: u64,
}

impl EntryChange {
    fn names(&self) -> BTreeSet<(Inode, OsString)> {
        self.sets.iter().map(|(dir, name, _)| (*dir, name.clone())).collect()
    }
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write { offset, data } => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Change::Size(size) => bytes.resize(*size, 0),
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.data, &change);
        self.unsynced.push_back(change);
        if self.unsynced.len() > WRITE_BACK_AFTER
            && let Some(oldest) = self.unsynced.pop_front()
        {
            Self::apply(&mut self.synced, &oldest);
        }
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            Self::apply(&mut self.synced, &change);
        }
    }

    /// Makes what is seen durable, as if it had always been so.
    pub(super) fn forget_history(&mut self) {
        self.unsynced.clear();
        self.synced.clone_from(&self.data);
    }

    /// Replaces what is seen by one possible durable outcome.
    fn lose_power(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Size(_) if random.survives() => Self::apply(&mut self.synced, &change),
                Change::Size(_) => {}
                Change::Write { offset, data } => {
                    let end = offset + data.len();
                    if self.synced.len() < end && random.survives() {
                        self.synced.resize(end, 0);
                    }
                    for (i, piece) in data.chunks(PIECE_BYTES).enumerate() {
                        if random.survives() {
                            let offset = offset + i * PIECE_BYTES;
                            let piece = Change::Write { offset, data: piece.to_vec() };
                            Self::apply(&mut self.synced, &piece);
                        }
                    }
                }
            }
        }
        self.data.clone_from(&self.synced);
    }
}

impl Node {
    fn new(body: Body, mode: u32, now: i128) -> Self {
        Self { body, mode, uid: 0, gid: 0, accessed: now, modified: now, links: 0, open: 0 }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let now = 1_000_000_000_000_000_000;
        let body = Body::Dir { entries: Entries::new(), synced: Entries::new() };
        let mut root = Node::new(body, 0o755, now);
        root.links = 1;
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            unsynced: VecDeque::new(),
            next_inode: ROOT + 1,
            now,
            limit_bytes: u64::MAX,
            limit_inodes: u64::MAX,
        }
    }

    pub(super) fn node(&self, inode: Inode) -> Outcome<&Node> {
        self.nodes.get(&inode).ok_or(libc::ESTALE)
    }

    pub(super) fn node_mut(&mut self, inode: Inode) -> Outcome<&mut Node> {
        self.nodes.get_mut(&inode).ok_or(libc::ESTALE)
    }

    pub(super) fn content(&self, inode: Inode) -> Outcome<&Content> {
        match &self.node(inode)?.body {
            Body::File(content) => Ok(content),
            Body::Dir { .. } => Err(libc::EISDIR),
        }
    }

    pub(super) fn content_mut(&mut self, inode: Inode) -> Outcome<&mut Content> {
        match &mut self.node_mut(inode)?.body {
            Body::File(content) => Ok(content),
            Body::Dir { .. } => Err(libc::EISDIR),
        }
    }

    pub(super) fn entries(&self, inode: Inode) -> Outcome<&Entries> {
        match &self.node(inode)?.body {
            Body::Dir { entries, .. } => Ok(entries),
            Body::File(_) => Err(libc::ENOTDIR),
        }
    }

    pub(super) fn is_dir(&self, inode: Inode) -> bool {
        self.entries(inode).is_ok()
    }

    /// The inode at `path`.
    pub(super) fn find(&self, path: &Path) -> Outcome<Inode> {
        let mut inode = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    inode = *self.entries(inode)?.get(name).ok_or(libc::ENOENT)?;
                }
                Component::ParentDir | Component::Prefix(_) => return Err(libc::EINVAL),
            }
        }
        Ok(inode)
    }

    /// The directory that holds `path`, and the name within it.
    pub(super) fn find_parent<'a>(&self, path: &'a Path) -> Outcome<(Inode, &'a OsStr)> {
        let name = path.file_name().ok_or(libc::EBUSY)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("")))?;
        if self.is_dir(parent) { Ok((parent, name)) } else { Err(libc::ENOTDIR) }
    }

    /// How many inodes are held, those that only a loss of power could bring back included.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes and inodes in use.
    pub(super) fn used(&self) -> (u64, u64) {
        let live = self.nodes.values().filter(|node| node.links > 0 || node.open > 0);
        live.fold((0, 0), |(bytes, inodes), node| match &node.body {
            Body::File(content) => (bytes + content.data.len() as u64, inodes + 1),
            Body::Dir { .. } => (bytes, inodes + 1),
        })
    }

    /// How many more bytes fit.
    pub(super) fn free_bytes(&self) -> u64 {
        if self.limit_bytes == u64::MAX {
            return u64::MAX;
        }
        self.limit_bytes.saturating_sub(self.used().0)
    }

    /// Makes a new, empty file or directory.
    pub(super) fn create(&mut self, parent: Inode, name: &OsStr, body: Body) -> Outcome<Inode> {
        if self.limit_inodes != u64::MAX && self.used().1 >= self.limit_inodes {
            return Err(libc::ENOSPC);
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.now += 1;
        let mode = if matches!(body, Body::Dir { .. }) { 0o700 } else { 0o644 };
        self.nodes.insert(inode, Node::new(body, mode, self.now));
        self.set_entries(parent, vec![(parent, name.to_owned(), Some(inode))]);
        Ok(inode)
    }

    pub(super) fn new_dir() -> Body {
        Body::Dir { entries: Entries::new(), synced: Entries::new() }
    }

    pub(super) fn new_file() -> Body {
        Body::File(Content::default())
    }

    /// Changes directory entries, atomically.
    pub(super) fn set_entries(&mut self, home: Inode, sets: Vec<(Inode, OsString, Option<Inode>)>) {
        for (dir, name, target) in &sets {
            let Some(Node { body: Body::Dir { entries, .. }, .. }) = self.nodes.get_mut(dir) else {
                continue;
            };
            let before = match target {
                Some(inode) => entries.insert(name.clone(), *inode),
                None => entries.remove(name),
            };
            if let Some(node) = target.and_then(|inode| self.nodes.get_mut(&inode)) {
                node.links += 1;
            }
            if let Some(node) = before.and_then(|inode| self.nodes.get_mut(&inode)) {
                node.links -= 1;
            }
        }
        self.unsynced.push_back(EntryChange { home, sets });
        if self.unsynced.len() > WRITE_BACK_AFTER {
            let newer = self.unsynced.split_off(WRITE_BACK_AFTER / 2);
            for change in std::mem::replace(&mut self.unsynced, newer) {
                self.make_durable(change);
            }
            self.forget_unreachable();
        }
    }

    /// Writes; a write that does not fit leaves what fits.
    pub(super) fn write(&mut self, inode: Inode, offset: u64, data: &[u8]) -> Outcome<()> {
        let size = self.content(inode)?.data.len() as u64;
        let grows = sized(offset.saturating_add(data.len() as u64))?.saturating_sub(size);
        let free = self.free_bytes();
        let fits = data.len().saturating_sub(grows.saturating_sub(free) as usize);
        if fits > 0 {
            let data = data[..fits].to_vec();
            let change = Change::Write { offset: offset as usize, data };
            self.content_mut(inode)?.change(change);
            self.touch(inode)?;
        }
        if fits == data.len() { Ok(()) } else { Err(libc::ENOSPC) }
    }

    pub(super) fn set_size(&mut self, inode: Inode, size: u64) -> Outcome<()> {
        let before = self.content(inode)?.data.len() as u64;
        if sized(size)?.saturating_sub(before) > self.free_bytes() {
            return Err(libc::ENOSPC);
        }
        self.content_mut(inode)?.change(Change::Size(size as usize));
        self.touch(inode)
    }

    fn touch(&mut self, inode: Inode) -> Outcome<()> {
        self.now += 1;
        let now = self.now;
        self.node_mut(inode)?.modified = now;
        Ok(())
    }

    pub(super) fn opened(&mut self, inode: Inode) -> Outcome<()> {
        self.node_mut(inode)?.open += 1;
        Ok(())
    }

    pub(super) fn closed(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.open = node.open.saturating_sub(1);
        }
    }

    /// Makes the changes durable that end in `dir`, and the earlier ones of the same names.
    pub(super) fn sync_dir(&mut self, dir: Inode) {
        let mut names = BTreeSet::new();
        let mut is_synced = vec![false; self.unsynced.len()];
        for (i, change) in self.unsynced.iter().enumerate().rev() {
            let own = change.names();
            if change.home == dir || !names.is_disjoint(&own) {
                names.extend(own);
                is_synced[i] = true;
            }
        }
        for (change, is_synced) in std::mem::take(&mut self.unsynced).into_iter().zip(is_synced) {
            if is_synced {
                self.make_durable(change);
            } else {
                self.unsynced.push_back(change);
            }
        }
        self.forget_unreachable();
    }

    fn make_durable(&mut self, change: EntryChange) {
        for (dir, name, target) in change.sets {
            if let Some(Node { body: Body::Dir { synced, .. }, .. }) = self.nodes.get_mut(&dir) {
                match target {
                    Some(inode) => synced.insert(name, inode),
                    None => synced.remove(&name),
                };
            }
        }
    }

    /// Drops inodes that neither a name, an open file, nor any loss of power could bring back.
    fn forget_unreachable(&mut self) {
        let mut held = BTreeSet::from([ROOT]);
        for node in self.nodes.values() {
            if let Body::Dir { entries, synced } = &node.body {
                held.extend(entries.values().chain(synced.values()));
            }
        }
        for (_, _, target) in self.unsynced.iter().flat_map(|change| &change.sets) {
            held.extend(target);
        }
        self.nodes.retain(|inode, node| node.open > 0 || held.contains(inode));
    }

    /// Replaces what is seen by one outcome that a loss of power may leave; equal seeds give equal outcomes.
    pub(super) fn lose_power(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.unsynced) {
            let names = change.names();
            if random.survives() && lost.is_disjoint(&names) {
                self.make_durable(change);
            } else {
                lost.extend(names);
            }
        }
        for node in self.nodes.values_mut() {
            (node.links, node.open) = (0, 0);
            match &mut node.body {
                Body::File(content) => content.lose_power(&mut random),
                Body::Dir { entries, synced } => entries.clone_from(synced),
            }
        }
        self.count_links();
    }

    /// Counts names anew, and drops what cannot be reached from the root.
    fn count_links(&mut self) {
        let mut links = BTreeMap::from([(ROOT, 1)]);
        let mut ahead = vec![ROOT];
        while let Some(dir) = ahead.pop() {
            for inode in self.entries(dir).into_iter().flat_map(BTreeMap::values) {
                let count = links.entry(*inode).or_insert(0);
                *count += 1;
                if *count == 1 {
                    ahead.push(*inode);
                }
            }
        }
        self.nodes.retain(|inode, node| {
            node.links = links.get(inode).copied().unwrap_or(0);
            node.links > 0
        });
    }
}

/// Refuses what this machine's memory should not be asked for.
fn sized(size_bytes: u64) -> Outcome<u64> {
    if size_bytes > LARGEST_FILE_BYTES { Err(libc::EFBIG) } else { Ok(size_bytes) }
}

/// A small deterministic source of decisions (SplitMix64; Steele, Lea, Flood 2014), with odds drawn per seed.
struct Random {
    state: u64,
    odds: u64,
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self { state: seed, odds: 0 };
        random.odds = random.next() % 5;
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether the next change reaches the medium: never, seldom, half, often, or always for one seed.
    fn survives(&mut self) -> bool {
        self.next() % 4 < self.odds
    }
}
