// SPDX-License-Identifier: MIT OR Apache-2.0
//! A node's cache directory: the parts it holds, and what their records say.
//!
//! ```text
//! <base>/<user>/scr.<job>/<prefix hash>/         (<base>/<user>/scr.<job>/node.<name>/<prefix hash>/ where nodes share the store)
//!   dataset.<id>-<identity>.<layout>.<set>.<member>/    a part; visible under this name only when it may be read
//!     state       PartState: its replacement is the commit
//!     node        node record: header, a section per rank, end
//!     copy.<m>    node record of member m of the set
//!     parity      redundancy of this member
//!     data/...    files under the names the application gave
//!   rebuild.<...>/      a part being rebuilt; worthless until renamed
//!   spare.parity        storage of an evicted dataset's parity, to be written over
//!   bin/                what is being removed
//! ```
//!
//! There is such a directory on every class of storage that checkpoint descriptors name (`STORE`); a part is in one of them.
//!
//! The directory of a part names dataset, layout and member, so parts of an old launch that come back with a node can
//! stand beside ours and are never taken for them.

use crate::config::{Bypass, CheckpointDescriptor, Config};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::format::node::{NodeEnd, NodeHeader, RankSection};
use crate::format::state::{PartState, Phase};
use crate::format::{self, DatasetHeader, Place, frame};
use crate::host::Host;
use crate::id::{DatasetId, DatasetIdentity, NodeName};
use crate::store::{Access, Durability, File, Store, exists, publish};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cache of one job and prefix on one node.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Gives access to all of it.
    pub store: Arc<dyn Store>,
    /// Its directory on every class of storage; that of `SCR_CACHE_BASE` first.
    roots: Vec<Root>,
}

/// The directory of a cache on one class of storage.
#[derive(Clone, Debug)]
struct Root {
    path: PathBuf,
    /// The base directory of the storage.
    base: PathBuf,
    /// Whether that may be made where it is missing.
    may_make: bool,
    /// Whether other nodes see the same storage.
    is_shared: bool,
}

/// What the directory of a node begins with, in a store that nodes share.
pub const NODE: &str = "node.";
/// Where parts go to be removed, in every store.
const BIN: &str = "bin";
/// Storage of an evicted dataset's parity, in every store.
pub const SPARE_PARITY: &str = "spare.parity";

/// Parts with their states, and why the states of others cannot be read.
pub type Scan = (Vec<(Part, PartState)>, Vec<Error>);

/// One part: its directory, and the records in it.
#[derive(Clone, Debug)]
pub struct Part {
    /// The store that holds it.
    pub store: Arc<dyn Store>,
    /// Its directory.
    pub dir: PathBuf,
}

/// The name of the directory that belongs to the prefix with this absolute path.
pub fn prefix_directory(prefix: &Path) -> String {
    format!("{:08x}", crc32fast::hash(prefix.as_os_str().as_bytes()))
}

/// Where a job keeps what belongs to one prefix, below a base directory of the node.
pub fn job_directory(base: &Path, host: &Host, config: &Config) -> PathBuf {
    below_job(base, None, host, config)
}

/// The same, in a directory of this node where others see that of the job too.
fn below_job(base: &Path, node: Option<&NodeName>, host: &Host, config: &Config) -> PathBuf {
    let mut directory = base.join(host.job.user.as_str()).join(format!("scr.{}", host.job.job_id));
    if let Some(node) = node {
        directory.push(format!("{NODE}{node}"));
    }
    directory.push(prefix_directory(&config.prefix));
    config
        .task
        .as_ref()
        .map_or_else(|| directory.clone(), |task| directory.join(format!("task.{task}")))
}

/// The stores that a job keeps datasets in, that of `SCR_CACHE_BASE` first.
pub fn bases(config: &Config) -> Vec<&Path> {
    let home = config.store_of(&config.cache_base).map(|store| store.base.as_path());
    let mut bases = vec![config.cache_base.as_path()];
    for descriptor in config.checkpoints.iter().filter(|d| d.bypass != Bypass::Yes) {
        let base = descriptor.store.as_path();
        if Some(base) != home && !bases.contains(&base) {
            bases.push(base);
        }
    }
    bases
}

/// The position of a descriptor's store among those of the job.
pub fn store_of(config: &Config, descriptor: &CheckpointDescriptor) -> usize {
    bases(config).iter().position(|base| *base == descriptor.store).unwrap_or(0)
}

/// How many datasets the store with this position may keep.
pub fn count_of(config: &Config, position: usize) -> u32 {
    let base = bases(config).get(position).copied().unwrap_or(&config.cache_base);
    config.store_of(base).map_or(config.cache_size, |store| store.count)
}

impl Cache {
    /// The cache of a job on this node, by the name under which it takes part; nothing is touched.
    pub fn of(host: &Host, config: &Config, node: &NodeName) -> Self {
        let root = |base: &Path| {
            let store = config.store_of(base);
            let is_shared = store.is_some_and(|store| store.is_shared);
            Root {
                path: below_job(base, is_shared.then_some(node), host, config),
                base: base.to_path_buf(),
                may_make: store.is_none_or(|store| store.may_make),
                is_shared,
            }
        };
        Self { store: host.local.clone(), roots: bases(config).into_iter().map(root).collect() }
    }

    fn at(&self, position: usize) -> &Root {
        &self.roots[position.min(self.roots.len() - 1)]
    }

    /// Its directory on the store with this position.
    pub fn root(&self, position: usize) -> &Path {
        &self.at(position).path
    }

    /// The base directory of the store with this position.
    pub fn base(&self, position: usize) -> &Path {
        &self.at(position).base
    }

    /// Whether other nodes see the store with this position.
    pub fn is_shared(&self, position: usize) -> bool {
        self.at(position).is_shared
    }

    /// How many stores it has.
    pub fn stores(&self) -> usize {
        self.roots.len()
    }

    /// Makes its directories, and clears what a dead launch left half made, half removed or half rebuilt.
    pub fn prepare(&self) -> Result<()> {
        self.roots.iter().try_for_each(|root| self.prepare_root(root))
    }

    fn prepare_root(&self, root: &Root) -> Result<()> {
        let Root { path: root, base, may_make, .. } = root;
        if !may_make && !exists(&*self.store, base)? {
            let text = format!("STORE={} MKDIR=0: there is no such directory", base.display());
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let bin = root.join(BIN);
        self.store.create_dir_all(&bin)?;
        for name in self.store.list(&bin)? {
            self.store.remove_tree(&bin.join(name))?;
        }
        for name in self.store.list(root)? {
            let (is, dir) = (|stem| name.to_string_lossy().starts_with(stem), root.join(&name));
            let part = Part { store: self.store.clone(), dir };
            // The state is the first record that goes and the first that is made: without it nothing else counts.
            if is("rebuild.") || is("dataset.") && !exists(&*self.store, &part.state_path())? {
                self.discard(&part.dir)?;
            }
        }
        Ok(())
    }

    /// The part of `dataset` at `place`: where it is, or in the first store.
    pub fn part(&self, dataset: &DatasetHeader, place: &Place) -> Part {
        let position = if self.roots.len() == 1 { 0 } else { self.find(dataset, place) };
        self.part_in(position, dataset, place)
    }

    /// The store that holds the part of `dataset` at `place`, or the first.
    pub fn find(&self, dataset: &DatasetHeader, place: &Place) -> usize {
        let name = name_of("dataset", dataset, place);
        let is_there = |root: &Root| exists(&*self.store, &root.path.join(&name)).unwrap_or(false);
        self.roots.iter().position(is_there).unwrap_or(0)
    }

    /// The part of `dataset` at `place`, in the store with this position.
    pub fn part_in(&self, position: usize, dataset: &DatasetHeader, place: &Place) -> Part {
        let dir = self.root(position).join(name_of("dataset", dataset, place));
        Part { store: self.store.clone(), dir }
    }

    /// Where the part of `dataset` at `place` is rebuilt, in the store with this position, before it takes its name.
    pub fn rebuilding(&self, position: usize, dataset: &DatasetHeader, place: &Place) -> Part {
        let dir = self.root(position).join(name_of("rebuild", dataset, place));
        Part { store: self.store.clone(), dir }
    }

    /// Gives a part that was rebuilt in the store with this position its name, for all to find.
    ///
    /// What is left of unreadable parts of that name makes room, in every store: the first one found counts.
    pub fn publish_rebuilt(
        &self,
        position: usize,
        dataset: &DatasetHeader,
        place: &Place,
    ) -> Result<()> {
        for old in 0..self.stores() {
            self.discard(&self.part_in(old, dataset, place).dir)?;
        }
        let rebuilt = self.rebuilding(position, dataset, place);
        self.store.rename(&rebuilt.dir, &self.part_in(position, dataset, place).dir)
    }

    /// The store that holds a part.
    pub fn position_of(&self, part: &Part) -> usize {
        self.roots.iter().position(|root| part.dir.starts_with(&root.path)).unwrap_or(0)
    }

    /// All parts whose state can be read, and the reasons for which others cannot.
    pub fn scan(&self) -> Result<Scan> {
        let (mut parts, mut unreadable) = (Vec::new(), Vec::new());
        for (root, name) in self.names()? {
            if !name.to_string_lossy().starts_with("dataset.") {
                continue;
            }
            let part = Part { store: self.store.clone(), dir: root.join(name) };
            match part.state() {
                Ok(state) => parts.push((part, state)),
                Err(error) => unreadable.push(error),
            }
        }
        Ok((parts, unreadable))
    }

    /// The highest number of a dataset of which anything is here, readable or not.
    pub fn last_id(&self) -> Result<DatasetId> {
        let names = self.names()?.into_iter();
        let ids = names.filter_map(|(_, name)| DatasetId::of_directory(&name));
        Ok(ids.max().unwrap_or_default())
    }

    /// What there is, in all stores.
    fn names(&self) -> Result<Vec<(&Path, OsString)>> {
        let mut all = Vec::new();
        for Root { path, .. } in &self.roots {
            match self.store.list(path) {
                Ok(names) => all.extend(names.into_iter().map(|name| (path.as_path(), name))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Takes a part out of sight and frees its space; its parity is kept for the next dataset in that store.
    ///
    /// The records go first: parity that is written over must belong to nobody.
    pub fn evict(&self, part: &Part) -> Result<()> {
        self.store.remove(&part.state_path())?;
        self.store.remove(&part.node_path())?;
        match self.store.rename(&part.parity_path(), &part.spare_parity()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.discard(&part.dir)
    }

    /// Evicts every part of one layout of a dataset that is on this node.
    pub fn evict_layout(&self, identity: &DatasetIdentity, layout: u32) -> Result<()> {
        let mut outcome = Ok(());
        for (part, state) in self.scan()?.0 {
            if state.dataset.identity == *identity && state.place.layout == layout {
                outcome = outcome.and(self.evict(&part));
            }
        }
        outcome
    }

    /// Takes a directory out of sight and frees its space soon.
    pub fn discard(&self, dir: &Path) -> Result<()> {
        let bin = dir.with_file_name(BIN);
        self.store.create_dir_all(&bin)?;
        match self.store.discard(dir, &bin) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The name of a part's directory.
fn name_of(stem: &str, dataset: &DatasetHeader, place: &Place) -> String {
    let DatasetHeader { id, identity, .. } = dataset;
    let Place { layout, set, member, .. } = place;
    format!("{stem}.{id}-{}.{layout}.{set}.{member}", identity.short())
}

impl Part {
    /// Storage of parity in the same store that the next dataset may write over.
    pub fn spare_parity(&self) -> PathBuf {
        self.dir.with_file_name(SPARE_PARITY)
    }

    /// The record whose replacement is the commit.
    pub fn state_path(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The node record.
    pub fn node_path(&self) -> PathBuf {
        self.dir.join("node")
    }

    /// The copy of the node record of `member`.
    pub fn copy_path(&self, member: u32) -> PathBuf {
        self.dir.join(format!("copy.{member}"))
    }

    /// The parity file.
    pub fn parity_path(&self) -> PathBuf {
        self.dir.join("parity")
    }

    /// Below it, files have the names that the application gave.
    pub fn data_path(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Reads the state.
    pub fn state(&self) -> Result<PartState> {
        let path = self.state_path();
        format::decode(&self.store.read(&path)?).context(|| format!("read {}", path.display()))
    }

    /// Replaces the state.
    pub fn publish_state(&self, state: &PartState) -> Result<()> {
        let bytes = format::encode(state);
        publish(&*self.store, &self.state_path(), &bytes, Durability::Process)
    }

    /// Replaces the phase in the state.
    pub fn publish_phase(&self, phase: Phase) -> Result<()> {
        let mut state = self.state()?;
        state.phase = phase;
        self.publish_state(&state)
    }

    /// Opens this part's node record.
    pub fn node(&self) -> Result<NodeReader> {
        NodeReader::open(&*self.store, &self.node_path())
    }

    /// Opens the copy of another member's node record.
    pub fn copy(&self, member: u32) -> Result<NodeReader> {
        NodeReader::open(&*self.store, &self.copy_path(member))
    }
}

/// A node record, read frame by frame.
#[derive(Debug)]
pub struct NodeReader {
    file: Box<dyn File>,
    path: PathBuf,
    header: NodeHeader,
    first_section: u64,
}

impl NodeReader {
    /// Opens a node record and reads its header.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the header does not decode.
    pub fn open(store: &dyn Store, path: &Path) -> Result<Self> {
        let file = store.open(path, Access::Read)?;
        let bytes = read_frame(&*file, 0).context(|| format!("read {}", path.display()))?;
        let header: NodeHeader =
            format::decode(&bytes).context(|| format!("read {}", path.display()))?;
        Ok(Self { file, path: path.to_path_buf(), header, first_section: bytes.len() as u64 })
    }

    /// Its header.
    pub fn header(&self) -> &NodeHeader {
        &self.header
    }

    /// Reads the sections one after the other, for as long as `take` says so; checks the end when it gets there.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when a frame does not decode, or the record is not complete; those of `take`.
    pub fn sections(&self, take: &mut dyn FnMut(RankSection) -> Result<bool>) -> Result<()> {
        self.walk(take).context(|| format!("read {}", self.path.display()))
    }

    fn walk(&self, take: &mut dyn FnMut(RankSection) -> Result<bool>) -> Result<()> {
        let (mut at, mut sections) = (self.first_section, 0);
        loop {
            let bytes = read_frame(&*self.file, at)?;
            at += bytes.len() as u64;
            let frame = frame::Frame::parse(&bytes)?;
            if frame.kind == frame::Kind::NodeEnd {
                let end: NodeEnd = frame.decode()?;
                if end.sections != sections {
                    let text = format!("{sections} sections where {} were written", end.sections);
                    return Err(Error::new(ErrorKind::Corrupt, text));
                }
                return Ok(());
            }
            sections += 1;
            if !take(frame.decode()?)? {
                return Ok(());
            }
        }
    }

    /// Reads all of it: whether every section and the end are there.
    pub fn check(&self) -> Result<()> {
        self.sections(&mut |_| Ok(true))
    }

    /// The section of one rank.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when there is none.
    pub fn section(&self, rank: u32) -> Result<RankSection> {
        let mut found = None;
        self.sections(&mut |section| {
            let other = section.rank != rank;
            if !other {
                found = Some(section);
            }
            Ok(other)
        })?;
        found.ok_or_else(|| {
            let text = format!("no section of rank {rank} in {}", self.path.display());
            Error::new(ErrorKind::Corrupt, text)
        })
    }
}

/// Reads the frame at `offset_bytes`, whole.
fn read_frame(file: &dyn File, offset_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; frame::HEADER_BYTES];
    let got = file.read_at(offset_bytes, &mut bytes)?;
    let total = frame::frame_bytes(&bytes[..got])?;
    if offset_bytes + total as u64 > file.size_bytes()? {
        return Err(Error::new(ErrorKind::Corrupt, "record cut short"));
    }
    bytes.resize(total, 0);
    let got = file.read_at(offset_bytes, &mut bytes)?;
    bytes.truncate(got);
    frame::Frame::parse(&bytes)?;
    Ok(bytes)
}
