// SPDX-License-Identifier: MIT OR Apache-2.0
//! From written files to a committed dataset.
//!
//! 1. One pass over the data ([`encode`](super::encode)): checksums and redundancy.
//! 2. Phase 1: every node writes its node record and gives copies to the members before it in its set; all agree that all
//!    is complete.
//! 3. Phase 2: every node publishes `Committed`; all agree, and only then is anybody told.
//!
//! One surviving `Committed` record proves that phase 1 ended everywhere. A failure of redundancy alone (no room for
//! parity) does not fail the dataset: it is committed without, and the caller is told.

use super::Job;
use super::cache::Part;
use super::encode::{self, Encoded, Lane};
use super::stream::{Mode, Stream};
use super::topology::{RedundancySet, all};
use super::wire::{pack, unpack};
use crate::codec::geometry::{self, Geometry};
use crate::comm::{Comm, In, Out, Reduce, agree, agree_on_largest, collective};
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::{NodeEnd, NodeHeader, RankSection};
use crate::format::state::Phase;
use crate::format::{self, DatasetHeader, FileEntry, Place, Scheme};
use crate::id::RelPath;
use crate::sabotage::{self, Fault};
use crate::store::{Access, Durability, File, Metadata, Store, publish_with};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a node record that are under way at once.
const PIECE_BYTES: usize = 1 << 20;

/// A dataset whose files are written, to be protected and committed.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which dataset.
    pub dataset: &'a DatasetHeader,
    /// The set that this node belongs to.
    pub set: &'a RedundancySet,
    /// This node's place in it, with the scheme wanted.
    pub place: Place,
    /// Where its files are.
    pub store: Arc<dyn Store>,
    /// Below which directory.
    pub dir: &'a Path,
    /// This rank's files, ascending by name, or why they cannot be known.
    pub files: Result<Vec<FileEntry>>,
    /// Checksums that the data must have, with their block size, where they were taken before.
    pub expected: Option<Expected>,
    /// Whether to commit; data that are in the prefix already are registered there instead.
    pub commit: bool,
}

/// Checksums taken at completion.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Bytes per block.
    pub block_bytes: u32,
    /// Whether there are checksums at all.
    pub has_checksums: bool,
    /// Of this rank's stream.
    pub data_checksums: Vec<u32>,
}

/// A committed dataset.
#[derive(Clone, Debug)]
pub struct Protected {
    /// Where this node's part belongs, with the scheme achieved.
    pub place: Place,
    /// Why redundancy failed, where it did.
    pub degraded: Option<String>,
    /// What this rank wrote.
    pub section: RankSection,
    /// Bytes per block.
    pub block_bytes: u32,
    /// Files of all ranks.
    pub files: u64,
    /// Bytes of all ranks.
    pub bytes: u64,
    /// Bytes of data on this node.
    pub data_bytes: u64,
    /// Bytes on this node, redundancy included.
    pub node_bytes: u64,
}

/// Looks up the files of this rank.
///
/// # Errors
/// That of the store, naming the first file that cannot be looked up.
pub fn look_up(store: &dyn Store, dir: &Path, names: &BTreeSet<RelPath>) -> Result<Vec<FileEntry>> {
    names
        .iter()
        .map(|name| {
            let found = store.metadata(&name.under(dir))?;
            if found.is_dir {
                let text = format!("{} is a directory", name.under(dir).display());
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            Ok(entry(name, &found))
        })
        .collect()
}

/// A file as it was found.
pub(super) fn entry(name: &RelPath, found: &Metadata) -> FileEntry {
    FileEntry {
        name: name.clone(),
        size_bytes: found.size_bytes,
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        accessed_unix_nanos: found.accessed_unix_nanos,
        modified_unix_nanos: found.modified_unix_nanos,
        inode: found.inode,
    }
}

/// Protects and commits a dataset.
///
/// # Collective
/// On all ranks. On return all agree: committed with the same scheme everywhere, or failed everywhere.
///
/// # Errors
/// What kept this rank from it, or [`ErrorKind::PeerFailed`]; the part may then be `Committed` all the same.
pub fn protect(job: &Job, request: Request<'_>) -> Result<Protected> {
    let world = &*job.topology.world;
    let stream = request
        .files
        .and_then(|files| Stream::below(request.store.clone(), request.dir, files, Mode::Read));
    let mut largest = [stream.as_ref().map_or(0, Stream::size_bytes)];
    let mut stream = agree_on_largest(world, stream, &mut largest)?;

    let set = request.set;
    let parities = request.place.scheme.tolerance() as usize;
    let (segments, _) = request.place.scheme.stripe(set.members.len());
    let block_bytes = request
        .expected
        .as_ref()
        .map_or_else(|| geometry::choose_block_bytes(largest[0], segments), |e| e.block_bytes);
    let has_checksums = request.expected.as_ref().map_or(job.config.checksums, |e| e.has_checksums);
    let sizes = stream_sizes(job, set, stream.size_bytes())?;
    let part = job.cache.part(request.dataset, &request.place);

    let mut header = NodeHeader {
        dataset: request.dataset.clone(),
        place: request.place,
        node: job.topology.name.clone(),
        block_bytes,
        has_checksums,
        members: set
            .members
            .iter()
            .zip(&sizes)
            .map(|(ranks, bytes)| ranks.iter().copied().zip(bytes.iter().copied()).collect())
            .collect(),
    };
    let encoded = encode(job, set, &header, &part, &mut stream)?;
    let mut data_trouble = encoded.data_trouble;
    if let Some(expected) = &request.expected
        && expected.has_checksums
        && expected.data_checksums != encoded.data_checksums
        && !sabotage::active(Fault::IgnoreDataChecksum)
    {
        let text = format!("data of dataset {} do not match their checksums", request.dataset.id);
        data_trouble.get_or_insert(Error::new(ErrorKind::Corrupt, text));
    }
    let mut section = RankSection {
        rank: world.rank() as u32,
        files: stream.files().to_vec(),
        data_checksums: encoded.data_checksums,
        parity_checksums: encoded.parity_checksums,
    };
    let data = data_trouble.map_or(Ok(()), Err);
    let records = write_records(job, &part, &header, &section)?;
    let copies = give_copies(job, set, &part, parities)?;
    let parity = encoded.parity_trouble.map_or(Ok(()), Err);
    // Parity may have taken the room of the records, so both fail alike; without parity the records are vital.
    let (vital, redundancy) = if parities > 0 {
        (data, parity.and(records).and(copies))
    } else {
        (data.and(records), Ok(()))
    };
    if sabotage::active(Fault::SkipPhaseOneAgree) && vital.is_ok() && redundancy.is_ok() {
        publish_committed(job, &part, request.dataset, &header.place)?;
    }
    let mut failed = [u64::from(redundancy.is_err())];
    agree_on_largest(world, vital, &mut failed)?;
    let mut degraded = None;
    if failed[0] > 0 {
        degraded = Some(why(world, &redundancy)?);
        header.place.scheme = Scheme::Single;
        section.parity_checksums.clear();
        let dropped = if job.is_leader() { drop_redundancy(set, &part, parities) } else { Ok(()) };
        let records = write_records(job, &part, &header, &section)?;
        agree(world, dropped.and(records))?;
    }
    let mut sums = [stream.files().len() as u64, stream.size_bytes()];
    world.all_reduce(Reduce::Sum, &mut sums)?;
    if request.commit {
        commit(job, &part, request.dataset, &header.place)?;
    }

    let (data_bytes, node_bytes) = sizes_of(&header);
    let ([files, bytes], place) = (sums, header.place);
    Ok(Protected { place, degraded, section, block_bytes, files, bytes, data_bytes, node_bytes })
}

/// Bytes of data of the node that a record is of, and all its bytes, redundancy included.
pub fn sizes_of(header: &NodeHeader) -> (u64, u64) {
    let ranks = header.members.get(header.place.member as usize);
    let data_bytes = ranks.map_or(0, |ranks| ranks.iter().map(|&(_, bytes)| bytes).sum());
    let parity_bytes = geometry_of(header).map_or(0, |geometry| geometry.parity_bytes());
    (data_bytes, data_bytes + parity_bytes)
}

/// Phase 2. Nobody is told of a commit before all nodes have it: a node that alone knew could be lost.
///
/// # Collective
/// On all ranks.
fn commit(job: &Job, part: &Part, dataset: &DatasetHeader, place: &Place) -> Result<()> {
    let committed = publish_committed(job, part, dataset, place);
    if sabotage::active(Fault::SkipPhaseTwoAgree) {
        return committed;
    }
    agree(&*job.topology.world, committed)
}

fn publish_committed(job: &Job, part: &Part, dataset: &DatasetHeader, place: &Place) -> Result<()> {
    if !job.is_leader() {
        return Ok(());
    }
    part.publish_state(&job.part_state(dataset, *place, Phase::Committed))
}

/// Tells every rank of the set how long the streams of all its ranks are.
fn stream_sizes(job: &Job, set: &RedundancySet, mine: u64) -> Result<Vec<Vec<u64>>> {
    let node = collective::all_gather(&*job.topology.node, &pack(&mine))?
        .iter()
        .map(|bytes| unpack(bytes))
        .collect::<Result<Vec<u64>>>()?;
    set.exchange(&job.topology, &node)
}

/// The stripes of the set that a node record describes.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when there can be no such set.
pub fn geometry_of(header: &NodeHeader) -> Result<Geometry> {
    let bytes = |member: &Vec<(u32, u64)>| member.iter().map(|&(_, bytes)| bytes).collect();
    let sizes: Vec<Vec<u64>> = header.members.iter().map(bytes).collect();
    let stripe = header.place.scheme.stripe(sizes.len());
    Geometry::new(header.block_bytes, stripe, sizes).ok_or_else(|| {
        let text = format!("node record of dataset {}: impossible set", header.dataset.id);
        Error::new(ErrorKind::Corrupt, text)
    })
}

fn encode(
    job: &Job,
    set: &RedundancySet,
    header: &NodeHeader,
    part: &Part,
    stream: &mut Stream,
) -> Result<Encoded> {
    if header.place.scheme == Scheme::Single {
        let mut encoded = Encoded::default();
        if header.has_checksums {
            match encode::checksums(stream, header.block_bytes) {
                Ok(sums) => encoded.data_checksums = sums,
                Err(error) => encoded.data_trouble = Some(error),
            }
        }
        return Ok(encoded);
    }
    let geometry = geometry_of(header)?;
    let parity = open_parity(job, part, geometry.parity_bytes())?;
    let lane = Lane {
        world: &*job.topology.world,
        geometry: &geometry,
        members: &set.members,
        member: set.member as usize,
        index: job.topology.lane(),
        checksums: header.has_checksums,
    };
    let mut encoded = encode::encode(&lane, stream, parity.as_deref().ok())?;
    if let Err(error) = parity {
        encoded.parity_trouble.get_or_insert(error);
    }
    Ok(encoded)
}

/// Makes the parity file, on pages of an evicted one where there is one, and opens it on every rank of the node.
///
/// # Collective
/// On the node.
fn open_parity(job: &Job, part: &Part, size_bytes: u64) -> Result<Result<Box<dyn File>>> {
    let (store, path) = (&*job.cache.store, part.parity_path());
    let mut made = Ok(());
    if job.is_leader() {
        made = match store.rename(&part.spare_parity(), &path) {
            Ok(()) => store.open(&path, Access::Write),
            Err(_) => store.open(&path, Access::Create),
        }
        .and_then(|file| file.set_size(size_bytes));
    }
    let ready = all(&*job.topology.node, made.is_ok())?;
    Ok(match made {
        Err(error) => Err(error),
        Ok(()) if ready => store.open(&path, Access::Write),
        Ok(()) => {
            Err(Error::new(ErrorKind::PeerFailed, format!("no parity file {}", path.display())))
        }
    })
}

/// Writes the node record: the leader takes one section after the other from the ranks of its node.
///
/// # Collective
/// On the node. The inner result is the leader's own.
fn write_records(
    job: &Job,
    part: &Part,
    header: &NodeHeader,
    section: &RankSection,
) -> Result<Result<()>> {
    let node = &*job.topology.node;
    let mine = format::encode(section);
    let mut gathered = None;
    let written = if job.is_leader() {
        let counts = header.members[header.place.member as usize].len() as u32;
        publish_with(&*part.store, &part.node_path(), Durability::Process, &mut |file| {
            let head = format::encode(header);
            let mut at = head.len() as u64;
            let mut outcome = file.write_at(0, &head);
            let (mut files, mut bytes) = (0, 0);
            gathered = Some(collective::gather_each(node, 0, &mine, &mut |_, frame| {
                // Only trouble of communication may come out of the gathering: others wait for what follows it.
                outcome = std::mem::replace(&mut outcome, Ok(())).and_then(|()| {
                    let section: RankSection = format::decode(&frame)?;
                    files += section.files.len() as u64;
                    bytes += section.files.iter().map(|f| f.size_bytes).sum::<u64>();
                    file.write_at(at, &frame)
                });
                at += frame.len() as u64;
                Ok(())
            }));
            outcome?;
            file.write_at(at, &format::encode(&NodeEnd { sections: counts, files, bytes }))
        })
    } else {
        Ok(())
    };
    match gathered {
        Some(gathered) => gathered?,
        None => collective::gather_each(node, 0, &mine, &mut |_, _| Ok(()))?,
    }
    Ok(written)
}

/// Gives copies of the node record to the `copies` members of the set before this one: where a copy of its data is
/// ([`Scheme::Partner`]), there is one of its record.
///
/// # Collective
/// On the leaders of the set. The inner result is this rank's own.
fn give_copies(job: &Job, set: &RedundancySet, part: &Part, copies: usize) -> Result<Result<()>> {
    let Some(leaders) = set.leaders() else { return Ok(Ok(())) };
    let mut outcome = Ok(());
    for distance in 1..=copies.min(leaders.size() - 1) {
        let (me, n) = (leaders.rank(), leaders.size());
        let (to, from) = ((me + n - distance) % n, (me + distance) % n);
        let given = shift(
            leaders,
            &*job.cache.store,
            &part.node_path(),
            to,
            from,
            &part.copy_path(from as u32),
        )?;
        outcome = outcome.and(given);
    }
    Ok(outcome)
}

/// Gives copies of the node record again where one is bad, beside what is there.
///
/// # Collective
/// On the leaders of the set. The inner result is this rank's own.
pub(super) fn mend_copies(
    job: &Job,
    set: &RedundancySet,
    part: &Part,
    copies: usize,
) -> Result<Result<u64>> {
    let Some(leaders) = set.leaders() else { return Ok(Ok(0)) };
    let mut outcome = Ok(0);
    for distance in 1..=copies.min(leaders.size() - 1) {
        let (me, n) = (leaders.rank(), leaders.size());
        let (to, from) = ((me + n - distance) % n, (me + distance) % n);
        let is_good = part.copy(from as u32).is_ok_and(|copy| copy.check().is_ok());
        if all(leaders, is_good)? {
            continue;
        }
        let path = part.copy_path(from as u32);
        let beside = path.with_added_extension("new");
        let given = shift(leaders, &*job.cache.store, &part.node_path(), to, from, &beside)?;
        let mended = given.and_then(|()| part.store.rename(&beside, &path));
        outcome = outcome.and_then(|count| mended.map(|()| count + u64::from(!is_good)));
    }
    Ok(outcome)
}

/// Sends the file at `mine` to rank `to`, and stores the one from rank `from` at `theirs`, piece by piece.
pub(super) fn shift(
    comm: &dyn Comm,
    store: &dyn Store,
    mine: &Path,
    to: usize,
    from: usize,
    theirs: &Path,
) -> Result<Result<()>> {
    let source = store.open(mine, Access::Read).and_then(|f| Ok((f.size_bytes()?, f)));
    let size = source.as_ref().map_or(0, |(size, _)| *size);
    let mut incoming = [0; 8];
    comm.transfer(
        &[Out { to, data: &size.to_be_bytes() }],
        &mut [In { from, data: &mut incoming }],
        &mut || {},
    )?;
    let incoming = u64::from_be_bytes(incoming);
    let sink = store.open(theirs, Access::Create);
    let mut outcome = match (&source, &sink) {
        (Err(error), _) | (_, Err(error)) => Err(Error::new(error.kind(), format!("{error:#}"))),
        _ => Ok(()),
    };
    let drop_copy = sabotage::active(Fault::DropRecordCopy);
    let (mut sent, mut got) = (0, 0);
    let (mut out, mut inn) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    while sent < size || got < incoming {
        let o = (size - sent).min(PIECE_BYTES as u64) as usize;
        let i = (incoming - got).min(PIECE_BYTES as u64) as usize;
        if let Ok((_, file)) = &source
            && let Err(error) = file.read_at(sent, &mut out[..o])
        {
            outcome = outcome.and(Err(error));
        }
        let outs = [Out { to, data: &out[..o] }];
        let mut ins = [In { from, data: &mut inn[..i] }];
        comm.transfer(&outs[..usize::from(o > 0)], &mut ins[..usize::from(i > 0)], &mut || {})?;
        if let Ok(file) = &sink
            && !drop_copy
        {
            outcome = outcome.and(file.write_at(got, &inn[..i]));
        }
        sent += o as u64;
        got += i as u64;
    }
    Ok(outcome)
}

/// Removes what there is of redundancy.
fn drop_redundancy(set: &RedundancySet, part: &Part, copies: usize) -> Result<()> {
    part.store.remove(&part.parity_path())?;
    let n = set.members.len();
    (1..=copies.min(n - 1)).try_for_each(|distance| {
        let from = (set.member as usize + distance) % n;
        part.store.remove(&part.copy_path(from as u32))
    })
}

/// Why redundancy failed on the lowest rank where it did, the same words everywhere.
fn why(world: &dyn Comm, result: &Result<()>) -> Result<String> {
    let mine = result.as_ref().err().map_or_else(String::new, |error| format!("{error:#}"));
    let text =
        collective::fold(world, mine.into_bytes(), &mut |a, b| if a.is_empty() { b } else { a })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
