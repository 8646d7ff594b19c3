// SPDX-License-Identifier: MIT OR Apache-2.0
//! Erased blocks computed from the others of their stripe.
//!
//! A lost node is the case in which all blocks of a member are erased, a corrupt block the case of one. The others of a
//! stripe send to one of them, the *combiner*, which forwards the result to the owner: the work and the traffic are spread over
//! the set, and the owner receives no more than it stores. What arrives is compared with the checksum of completion
//! before it counts.
//!
//! A set is rebuilt by the ranks that run where its members are: a node can be home to several members, when there are
//! fewer nodes than before. Row by row, ascending, in all ranks: the lowest row not yet done can always proceed.

use super::cache::Part;
use super::encode::combine;
use super::protect::geometry_of;
use super::stream::{Mode, Stream};
use super::{Job, wire};
use crate::codec::checksum;
use crate::codec::geometry::Geometry;
use crate::comm::{Comm, In, Out};
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::{NodeHeader, RankSection};
use crate::sabotage::{self, Fault};
use crate::store::{Access, File, Store};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Bytes of a record that are sent at once.
const PIECE_BYTES: usize = 1 << 20;

/// A redundancy set of a dataset, and where its members are now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetMap {
    /// What was encoded, in which blocks.
    pub header: NodeHeader,
    /// For every member, the ranks that run where it is, or shall be.
    pub homes: Vec<Vec<u32>>,
    /// The members of which nothing is left.
    pub missing: Vec<u32>,
    /// For every member and rank position, the numbers of its bad blocks.
    pub bad: Vec<Vec<BTreeSet<u64>>>,
    /// For every member, the rows of which its parity is bad.
    pub bad_parity: Vec<BTreeSet<u64>>,
}

/// One block of a stripe.
#[derive(Clone, Copy, Debug)]
enum Element {
    Data { member: usize, index: usize, offset_bytes: u64, length: usize },
    Parity { member: usize, row: u64, length: usize },
}

impl Element {
    fn member(self) -> usize {
        match self {
            Self::Data { member, .. } | Self::Parity { member, .. } => member,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Data { length, .. } | Self::Parity { length, .. } => length,
        }
    }
}

/// A member that is, or will be, on this node.
struct Hosted {
    part: Part,
    is_new: bool,
    streams: BTreeMap<usize, (Stream, RankSection)>,
    parity: Option<Box<dyn File>>,
}

struct Rebuild<'a> {
    job: &'a Job,
    map: &'a SetMap,
    geometry: Geometry,
    hosted: BTreeMap<usize, Hosted>,
    trouble: Option<Error>,
    blocks: u64,
}

/// Rebuilds what is missing or bad in a set; parts that were missing stay under their rebuild name.
///
/// # Collective
/// On all ranks of `map.homes`. The inner result is this rank's own; on success it is the number of blocks it restored.
pub fn rebuild(job: &Job, map: &SetMap) -> Result<Result<u64>> {
    let me = job.topology.world.rank() as u32;
    let geometry = match geometry_of(&map.header) {
        Ok(geometry) => geometry,
        // All of them have the same header, so nobody waits for us.
        Err(error) => return Ok(Err(error)),
    };
    let mut hosted = BTreeMap::new();
    for member in 0..map.homes.len() {
        if map.homes[member].contains(&me) {
            let is_new = map.missing.contains(&(member as u32));
            let part = map.part(job, member, is_new);
            hosted.insert(member, Hosted { part, is_new, streams: BTreeMap::new(), parity: None });
        }
    }
    let mut rebuild = Rebuild { job, map, geometry, hosted, trouble: None, blocks: 0 };
    rebuild.pass_records()?;
    rebuild.open();
    for row in 0..rebuild.geometry.rows() {
        rebuild.row(row)?;
    }
    rebuild.close();
    Ok(match rebuild.trouble {
        Some(error) => Err(error),
        None => Ok(rebuild.blocks),
    })
}

impl SetMap {
    /// The part of `member` on this node.
    pub fn part(&self, job: &Job, member: usize, is_new: bool) -> Part {
        let mut place = self.header.place;
        place.member = member as u32;
        if is_new && !sabotage::active(Fault::RebuildInPlace) {
            job.cache.rebuilding(&self.header.dataset, &place)
        } else {
            job.cache.part(&self.header.dataset, &place)
        }
    }
}

impl Rebuild<'_> {
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.trouble.get_or_insert(error);
        }
    }

    /// Gives every missing member its own node record, and the copies of others' that it held.
    fn pass_records(&mut self) -> Result<()> {
        let n = self.map.homes.len();
        let copies = self.map.header.place.scheme.tolerance() as usize;
        for &lost in &self.map.missing {
            let lost = lost as usize;
            if let Some(new) = self.hosted.get(&lost) {
                let made = if self.job.is_leader() {
                    let data = new.part.data_path();
                    let store = &*new.part.store;
                    let cleared = if sabotage::active(Fault::RebuildInPlace) {
                        Ok(())
                    } else {
                        store.remove_tree(&new.part.dir)
                    };
                    cleared.and_then(|()| store.create_dir_all(&data))
                } else {
                    Ok(())
                };
                self.note(made);
                self.job.topology.node.barrier()?;
            }
            let holder = (1..=copies)
                .map(|d| (lost + d) % n)
                .find(|h| !self.map.missing.contains(&(*h as u32)));
            if let Some(holder) = holder {
                self.pass(holder, &|part| part.copy_path(lost as u32), lost, &Part::node_path)?;
            }
            for distance in 1..=copies.min(n - 1) {
                let other = (lost + n - distance) % n;
                if !self.map.missing.contains(&(other as u32)) {
                    self.pass(other, &Part::node_path, lost, &|part| part.copy_path(other as u32))?;
                }
            }
            if self.hosted.contains_key(&lost) {
                self.job.topology.node.barrier()?;
            }
        }
        Ok(())
    }

    /// Passes a file of member `from` to member `to`, between the first ranks of their homes.
    fn pass(
        &mut self,
        from: usize,
        source: &dyn Fn(&Part) -> std::path::PathBuf,
        to: usize,
        sink: &dyn Fn(&Part) -> std::path::PathBuf,
    ) -> Result<()> {
        let world = &*self.job.topology.world;
        let me = world.rank();
        let (sender, receiver) = (self.map.homes[from][0] as usize, self.map.homes[to][0] as usize);
        let bytes = if me == sender {
            self.hosted.get(&from).map(|h| h.part.store.read(&source(&h.part)))
        } else {
            None
        };
        let bytes = match bytes {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => {
                self.note(Err(error));
                Vec::new()
            }
            None => Vec::new(),
        };
        let received = if sender == receiver {
            (me == sender).then_some(bytes)
        } else {
            pass_bytes(world, sender, receiver, &bytes)?
        };
        if let (Some(bytes), Some(hosted)) = (received, self.hosted.get(&to))
            && me == receiver
        {
            let path = sink(&hosted.part);
            let written = write_file(&*hosted.part.store, &path, &bytes);
            self.note(written);
        }
        Ok(())
    }

    /// Opens the streams and parity files for which this rank is responsible.
    fn open(&mut self) {
        let (lane, lanes) = (self.job.topology.lane(), self.job.topology.ranks.len());
        let mut trouble = Vec::new();
        for (&member, hosted) in &mut self.hosted {
            for (index, &(rank, _)) in self.map.header.members[member].iter().enumerate() {
                if index % lanes == lane
                    && let Err(error) =
                        hosted.open_stream(index, rank, !self.map.bad[member].is_empty())
                {
                    trouble.push(error);
                }
            }
            let is_made = hosted.is_new || !self.map.bad_parity.is_empty();
            let access = (!is_made).then_some(Access::Write);
            match hosted.open_parity(access, self.geometry.parity_bytes()) {
                Ok(file) => hosted.parity = Some(file),
                Err(error) if is_made => trouble.push(error),
                // It may not be needed: the bad blocks of a node are restored from the parity of others.
                Err(_) => {}
            }
        }
        self.trouble = self.trouble.take().or_else(|| trouble.into_iter().next());
    }

    fn row(&mut self, row: u64) -> Result<()> {
        let n = self.map.homes.len();
        let mut jobs = Vec::new();
        for stripe in 0..n {
            let elements = elements(&self.geometry, n, row, stripe);
            let erased: Vec<Element> =
                elements.iter().copied().filter(|e| self.is_erased(*e)).collect();
            match erased[..] {
                [] => {}
                [target] => {
                    let after = 1 + stripe % (n - 1);
                    let combiner = (target.member() + after) % n;
                    let sources = elements
                        .into_iter()
                        .filter(|e| e.member() != target.member())
                        .collect::<Vec<_>>();
                    jobs.push((target, combiner, sources));
                }
                _ => {
                    let text = format!(
                        "{} blocks of one stripe are lost or bad, XOR restores 1",
                        erased.len()
                    );
                    self.note(Err(Error::new(ErrorKind::Lost, text)));
                }
            }
        }
        if jobs.is_empty() || !self.hosted.keys().any(|&m| self.is_lane(m, row)) {
            return Ok(());
        }
        self.combine_row(row, &jobs)
    }

    fn is_erased(&self, element: Element) -> bool {
        if self.map.missing.contains(&(element.member() as u32)) {
            return true;
        }
        match element {
            Element::Data { member, index, offset_bytes, .. } => {
                let number = offset_bytes / u64::from(self.map.header.block_bytes);
                self.map.bad[member].get(index).is_some_and(|bad| bad.contains(&number))
            }
            Element::Parity { member, row, .. } => {
                self.map.bad_parity.get(member).is_some_and(|bad| bad.contains(&row))
            }
        }
    }

    /// The rank that reads and writes what `member` has in `row`: the one that has its owner's section at hand.
    fn lane(&self, member: usize, row: u64) -> usize {
        let home = &self.map.homes[member];
        let turn = self.geometry.row_owner(member, row).map_or(row as usize, |(index, _)| index);
        home[turn % home.len()] as usize
    }

    fn is_lane(&self, member: usize, row: u64) -> bool {
        self.lane(member, row) == self.job.topology.world.rank()
    }

    fn combine_row(&mut self, row: u64, jobs: &[(Element, usize, Vec<Element>)]) -> Result<()> {
        let world = &*self.job.topology.world;
        let block = self.map.header.block_bytes as usize;
        let me = world.rank();
        // First, every source goes to the combiner of its stripe.
        let mut sent: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut gathered: Vec<(usize, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut froms: Vec<Vec<usize>> = Vec::new();
        for (number, (_, combiner, sources)) in jobs.iter().enumerate() {
            let at = self.lane(*combiner, row);
            for source in sources {
                if self.lane(source.member(), row) == me
                    && self.hosted.contains_key(&source.member())
                {
                    sent.push((at, self.read(*source)));
                }
            }
            if at == me && self.hosted.contains_key(combiner) {
                let lengths: Vec<usize> = sources.iter().map(|s| s.length()).collect();
                froms.push(sources.iter().map(|s| self.lane(s.member(), row)).collect());
                gathered.push((number, lengths, vec![0; block * sources.len()]));
            }
        }
        let outs: Vec<Out<'_>> = sent.iter().map(|(to, data)| Out { to: *to, data }).collect();
        let mut ins: Vec<In<'_>> = Vec::new();
        for ((_, lengths, buffer), froms) in gathered.iter_mut().zip(&froms) {
            for ((data, &length), &from) in buffer.chunks_mut(block).zip(lengths.iter()).zip(froms)
            {
                ins.push(In { from, data: &mut data[..length] });
            }
        }
        world.transfer(&outs, &mut ins, &mut || {})?;
        drop(ins);

        // Then the result goes to the owner of the erased block.
        let mut results: Vec<(usize, Vec<u8>)> = Vec::new();
        for (number, lengths, buffer) in &mut gathered {
            let target = jobs[*number].0;
            let mut result = combine(lengths, buffer, block).to_vec();
            result.resize(target.length(), 0);
            results.push((self.lane(target.member(), row), result));
        }
        let mut restored: Vec<(Element, usize, Vec<u8>)> = Vec::new();
        for (target, combiner, _) in jobs {
            if self.hosted.contains_key(&target.member()) && self.lane(target.member(), row) == me {
                restored.push((*target, self.lane(*combiner, row), vec![0; target.length()]));
            }
        }
        let outs: Vec<Out<'_>> = results.iter().map(|(to, data)| Out { to: *to, data }).collect();
        let mut ins: Vec<In<'_>> =
            restored.iter_mut().map(|(_, from, data)| In { from: *from, data }).collect();
        world.transfer(&outs, &mut ins, &mut || {})?;
        drop(ins);
        for (target, _, data) in restored {
            let written = self.write(target, &data);
            self.note(written);
            self.blocks += 1;
        }
        Ok(())
    }

    /// Reads a block; trouble is noted, and zeros take its place: the receiver's checksum will not match.
    fn read(&mut self, element: Element) -> Vec<u8> {
        let mut data = vec![0; element.length()];
        let read = match (element, self.hosted.get_mut(&element.member())) {
            (Element::Data { index, offset_bytes, .. }, Some(hosted)) => {
                match hosted.streams.get_mut(&index) {
                    Some((stream, _)) => stream.read(offset_bytes, &mut data),
                    None => Err(Error::new(ErrorKind::Lost, "a rank's files cannot be read")),
                }
            }
            (Element::Parity { row, .. }, Some(hosted)) => match &hosted.parity {
                Some(file) => {
                    file.read_at(self.geometry.parity_offset(row, 0), &mut data).map(|_| ())
                }
                None => Err(Error::new(ErrorKind::Lost, "the parity file cannot be read")),
            },
            (_, None) => Ok(()),
        };
        self.note(read);
        data
    }

    /// Compares a restored block with its checksum and writes it.
    fn write(&mut self, element: Element, data: &[u8]) -> Result<()> {
        let block = u64::from(self.map.header.block_bytes);
        let checked = self.map.header.has_checksums && !sabotage::active(Fault::IgnoreDataChecksum);
        let lanes = self.map.header.members[element.member()].len() as u64;
        let Some(hosted) = self.hosted.get_mut(&element.member()) else { return Ok(()) };
        let mismatch = |what: &str| {
            let text = format!(
                "{what} rebuilt from redundancy does not match its checksum: another block of its stripe is bad too"
            );
            Err(Error::new(ErrorKind::Lost, text))
        };
        match element {
            Element::Data { index, offset_bytes, .. } => {
                let Some((stream, section)) = hosted.streams.get_mut(&index) else {
                    return Err(Error::new(ErrorKind::Lost, "a rank's files cannot be written"));
                };
                let number = (offset_bytes / block) as usize;
                if checked && section.data_checksums.get(number) != Some(&checksum::block(data)) {
                    return mismatch(&format!("block {number} of rank {}", section.rank));
                }
                stream.write(offset_bytes, data)
            }
            Element::Parity { row, .. } => {
                let owner = hosted.streams.get(&((row % lanes) as usize));
                if let Some((_, section)) = owner
                    && checked
                    && section.parity_checksums.get((row / lanes) as usize)
                        != Some(&checksum::block(data))
                {
                    return mismatch(&format!("parity block {row}"));
                }
                match &hosted.parity {
                    Some(file) => file.write_at(self.geometry.parity_offset(row, 0), data),
                    None => Err(Error::new(ErrorKind::Lost, "the parity file cannot be written")),
                }
            }
        }
    }

    fn close(&mut self) {
        let mut results = Vec::new();
        for (member, hosted) in &mut self.hosted {
            if hosted.is_new || !self.map.bad[*member].is_empty() {
                results.extend(hosted.streams.values_mut().map(|(s, _)| s.restore_metadata()));
            }
        }
        for result in results {
            self.note(result);
        }
    }
}

impl Hosted {
    fn open_stream(&mut self, index: usize, rank: u32, repair: bool) -> Result<()> {
        let section = self.part.node()?.section(rank)?;
        let mode = match (self.is_new, repair) {
            (true, _) => Mode::Create,
            (false, true) => Mode::Repair,
            (false, false) => Mode::Read,
        };
        let files = section.files.clone();
        let stream = Stream::below(self.part.store.clone(), &self.part.data_path(), files, mode)?;
        self.streams.insert(index, (stream, section));
        Ok(())
    }

    fn open_parity(&self, access: Option<Access>, size_bytes: u64) -> Result<Box<dyn File>> {
        let path = self.part.parity_path();
        if let Some(access) = access {
            return self.part.store.open(&path, access);
        }
        // Several ranks of the node may come first; none may empty what another has written.
        match self.part.store.open(&path, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.part.store.append(&path, &[])?;
                let file = self.part.store.open(&path, Access::Write)?;
                file.set_size(size_bytes)?;
                Ok(file)
            }
            other => other,
        }
    }
}

/// The elements of a stripe that have bytes.
fn elements(geometry: &Geometry, members: usize, row: u64, stripe: usize) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut longest = 0;
    for member in 0..members {
        if let Some(block) = geometry.data_block(member, row, stripe) {
            let (index, offset_bytes) = (block.rank_index, block.stream_offset);
            let length = block.length as usize;
            longest = longest.max(length);
            elements.push(Element::Data { member, index, offset_bytes, length });
        }
    }
    if longest > 0 {
        elements.push(Element::Parity { member: stripe, row, length: longest });
    }
    elements
}

/// The rows whose parity, made by rank position `lane` of `member`, does not match its checksum or cannot be read.
pub fn bad_parity(
    part: &Part,
    header: &NodeHeader,
    section: &RankSection,
    lane: usize,
) -> Result<BTreeSet<u64>> {
    let geometry = geometry_of(header)?;
    let member = header.place.member as usize;
    let lanes = header.members[member].len();
    let file = part.store.open(&part.parity_path(), Access::Read).ok();
    let mut data = vec![0; header.block_bytes as usize];
    let mut bad = BTreeSet::new();
    for (row, expected) in (lane as u64..).step_by(lanes).zip(&section.parity_checksums) {
        let last = elements(&geometry, header.members.len(), row, member).pop();
        let data = &mut data[..last.map_or(0, Element::length)];
        let read = file.as_ref().map(|f| f.read_at(geometry.parity_offset(row, 0), data));
        let is_good = matches!(read, Some(Ok(got)) if got == data.len());
        let is_whole = is_good && checksum::block(data) == *expected;
        if !data.is_empty() && !is_whole {
            bad.insert(row);
        }
    }
    Ok(bad)
}

/// Sends bytes from one rank to another; the receiver gets them, others `None`.
fn pass_bytes(comm: &dyn Comm, from: usize, to: usize, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    if comm.rank() == from {
        let length = wire::length(bytes);
        comm.transfer(&[Out { to, data: &length }], &mut [], &mut || {})?;
        for piece in bytes.chunks(PIECE_BYTES) {
            comm.transfer(&[Out { to, data: piece }], &mut [], &mut || {})?;
        }
        Ok(None)
    } else if comm.rank() == to {
        let mut length = [0; 8];
        comm.transfer(&[], &mut [In { from, data: &mut length }], &mut || {})?;
        let mut bytes = vec![0; u64::from_be_bytes(length) as usize];
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            comm.transfer(&[], &mut [In { from, data: piece }], &mut || {})?;
        }
        Ok(Some(bytes))
    } else {
        Ok(None)
    }
}

fn write_file(store: &dyn Store, path: &Path, bytes: &[u8]) -> Result<()> {
    store.open(path, Access::Create)?.write_at(0, bytes)
}
