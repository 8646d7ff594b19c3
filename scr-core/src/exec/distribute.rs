// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files to where their rank now runs, as a new layout of the same dataset.
//!
//! The old layout stays as it is until the new one is committed; a crash on the way leaves both, and the next launch takes the
//! newest that is whole. Files that are on the right node already are linked, not copied.

use super::Job;
use super::cache::Part;
use super::fetch::begin;
use super::protect::{Expected, Protected, Request, look_up, protect};
use super::recover::{Cached, Local};
use super::stream::{Mode, Stream};
use super::topology::{RedundancySet, all, broadcast};
use super::wire::{pack, unpack};
use crate::comm::{In, Out, Reduce, collective};
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::RankSection;
use crate::format::state::PartState;
use crate::format::{FileEntry, Place};
use crate::id::Epoch;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Bytes of one file stream under way at once.
const PIECE_BYTES: usize = 1 << 20;

/// What a rank that can read a section tells the rank that wants it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Offer {
    /// The launch that made the part.
    epoch: Epoch,
    section: RankSection,
    block_bytes: u32,
    has_checksums: bool,
    /// Where the files are, on the holder's node.
    dir: PathBuf,
    /// The ranks of the holder's node.
    ranks: Vec<u32>,
}

/// The places of the parts of a dataset on this node.
///
/// # Collective
/// On the node.
pub fn places_here(job: &Job, cached: &Cached, local: &Local) -> Result<Vec<Place>> {
    let mine: Vec<Place> = local
        .iter()
        .filter(|(_, state)| {
            state.dataset.identity == cached.header.identity && state.place.layout == cached.layout
        })
        .map(|(_, state)| state.place)
        .collect();
    broadcast(&*job.topology.node, &mine)
}

/// Whether every rank finds its files on its own node, in a part that this node's set would make today.
///
/// # Collective
/// On all ranks.
pub fn is_in_place(
    job: &Job,
    set: &RedundancySet,
    cached: &Cached,
    places: &[Place],
) -> Result<bool> {
    let fits = match places {
        [place] => {
            let part = job.cache.part(&cached.header, place);
            let same_set = (place.set, place.sets, place.member) == (set.set, set.sets, set.member);
            same_set
                && part.node().is_ok_and(|node| {
                    let ranks = |m: &Vec<(u32, u64)>| m.iter().map(|&(r, _)| r).collect::<Vec<_>>();
                    node.header().members.iter().map(ranks).eq(set.members.iter().cloned())
                })
        }
        _ => false,
    };
    all(&*job.topology.world, fits)
}

/// Lays a whole dataset out over the nodes where its ranks run now, protects and commits it there.
///
/// # Collective
/// On all ranks.
///
/// # Errors
/// What kept this rank from it, or [`ErrorKind::PeerFailed`]; the old layout is as it was.
pub fn distribute(
    job: &Job,
    cached: &Cached,
    places: &[Place],
    set: &RedundancySet,
    (place, store): (Place, usize),
) -> Result<Protected> {
    begin(job, &cached.header, place, store)?;
    let part = job.cache.part(&cached.header, &place);
    let offers = offers(job, cached, places)?;
    let (files, expected) = match collect(job, &part, offers)? {
        Ok((files, expected)) => (Ok(files), Some(expected)),
        Err(error) => (Err(error), None),
    };
    let request = Request {
        dataset: &cached.header,
        set,
        place,
        store: part.store.clone(),
        dir: &part.data_path(),
        files,
        expected,
        commit: true,
    };
    let done = protect(job, request);
    if done.is_err() && job.is_leader() {
        let _ = job.cache.discard(&part.dir);
    }
    done
}

/// Tells every rank who can read its section; what was made last comes first, then the rank's own node.
fn offers(job: &Job, cached: &Cached, places: &[Place]) -> Result<Vec<(usize, Offer)>> {
    let (lane, lanes) = (job.topology.lane(), job.topology.ranks.len());
    let mut items = Vec::new();
    for place in places {
        let part = job.cache.part(&cached.header, place);
        // A record that cannot be read offers nothing; who misses it says so.
        let (Ok(reader), Ok(PartState { epoch, .. })) = (part.node(), part.state()) else {
            continue;
        };
        let mut index = 0;
        // What cannot be read is not offered; the rank that misses it says so.
        let _ = reader.sections(&mut |section| {
            if index % lanes == lane {
                let to = section.rank as usize % job.topology.world.size();
                let offer = Offer {
                    epoch,
                    section,
                    block_bytes: reader.header().block_bytes,
                    has_checksums: reader.header().has_checksums,
                    dir: part.data_path(),
                    ranks: job.topology.ranks.clone(),
                };
                items.push((to, pack(&offer)));
            }
            index += 1;
            Ok(true)
        });
    }
    let mut offers = collective::route(&*job.topology.world, items)?
        .into_iter()
        .map(|(from, bytes)| Ok((from, unpack(&bytes)?)))
        .collect::<Result<Vec<(usize, Offer)>>>()?;
    offers.sort_by_key(|(from, offer)| {
        (Reverse(offer.epoch), offer.ranks != job.topology.ranks, *from)
    });
    Ok(offers)
}

/// Gets this rank's files from whoever offers them, while others get theirs from it.
///
/// # Collective
/// On all ranks: in each round everybody receives a piece of its own stream and sends one of each stream it was asked for.
fn collect(
    job: &Job,
    part: &Part,
    offers: Vec<(usize, Offer)>,
) -> Result<Result<(Vec<FileEntry>, Expected)>> {
    let world = &*job.topology.world;
    let chosen = offers.into_iter().next();
    let mut orders = Vec::new();
    if let Some((from, offer)) = &chosen
        && offer.ranks != job.topology.ranks
    {
        orders.push((*from, pack(&(&offer.section.files, &offer.dir))));
    }
    let is_remote = !orders.is_empty();
    let mut outcome = Ok(());
    let mut sources: Vec<(usize, Stream)> = Vec::new();
    for (to, bytes) in collective::route(world, orders)? {
        let (files, dir): (Vec<FileEntry>, PathBuf) = unpack(&bytes)?;
        sources.push((to, Stream::below(part.store.clone(), &dir, files, Mode::Read)?));
    }
    let mut sink = match &chosen {
        Some((_, offer)) if is_remote => {
            let files = offer.section.files.clone();
            match Stream::below(part.store.clone(), &part.data_path(), files, Mode::Create) {
                Ok(stream) => Some(stream),
                Err(error) => {
                    outcome = Err(error);
                    None
                }
            }
        }
        _ => None,
    };
    let from = chosen.as_ref().map_or(0, |(from, _)| *from);
    let incoming = if is_remote {
        chosen.as_ref().map_or(0, |(_, o)| o.section.files.iter().map(|f| f.size_bytes).sum())
    } else {
        0
    };
    let mut rounds = [incoming.div_ceil(PIECE_BYTES as u64)];
    world.all_reduce(Reduce::Max, &mut rounds)?;
    let mut inbox = vec![0; PIECE_BYTES];
    for round in 0..rounds[0] {
        let at = round * PIECE_BYTES as u64;
        let mut outbox = Vec::new();
        for (to, stream) in &mut sources {
            let length = stream.size_bytes().saturating_sub(at).min(PIECE_BYTES as u64);
            let mut data = vec![0; length as usize];
            // Zeros in the place of what cannot be read do not match the checksum.
            outcome = outcome.and(stream.read(at, &mut data));
            outbox.push((*to, data));
        }
        let outs: Vec<Out<'_>> = outbox
            .iter()
            .filter(|(_, data)| !data.is_empty())
            .map(|(to, data)| Out { to: *to, data })
            .collect();
        let length = incoming.saturating_sub(at).min(PIECE_BYTES as u64) as usize;
        let mut ins = vec![In { from, data: &mut inbox[..length] }];
        ins.truncate(usize::from(length > 0));
        world.transfer(&outs, &mut ins, &mut || {})?;
        if let Some(sink) = &mut sink {
            outcome = outcome.and(sink.write(at, &inbox[..length]));
        }
    }
    if let Some(sink) = &mut sink {
        outcome = outcome.and(sink.restore_metadata());
    }
    Ok(outcome.and_then(|()| arrange(part, chosen, is_remote)))
}

/// Links what is on this node already, and looks up what is there now.
fn arrange(
    part: &Part,
    chosen: Option<(usize, Offer)>,
    is_remote: bool,
) -> Result<(Vec<FileEntry>, Expected)> {
    let Some((_, offer)) = chosen else {
        return Err(Error::new(ErrorKind::Lost, "no node offers this rank's files"));
    };
    let data = part.data_path();
    if !is_remote {
        let mut made = BTreeSet::new();
        for file in &offer.section.files {
            let to = file.name.under(&data);
            if let Some(parent) = to.parent()
                && made.insert(parent.to_path_buf())
            {
                part.store.create_dir_all(parent)?;
            }
            part.store.link(&file.name.under(&offer.dir), &to)?;
        }
    }
    let names = offer.section.files.iter().map(|f| f.name.clone()).collect();
    let files = look_up(&*part.store, &data, &names)?;
    let expected = Expected {
        block_bytes: offer.block_bytes,
        has_checksums: offer.has_checksums,
        data_checksums: offer.section.data_checksums,
    };
    Ok((files, expected))
}
