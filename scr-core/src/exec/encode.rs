// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pass over the data of a redundancy set: each block is read once by the rank that owns it, its checksum taken
//! while it is hot, and sent straight to the ranks that make the parities of its stripe; no ring, so no padding and one
//! loop for every code (the traffic is that of SCR's ring, see redset_xor.c there). While the messages of one row are under way,
//! the row before is combined and the row after is read.
//!
//! The owner takes the checksum, never the combiner: a byte damaged in transfer must not be confirmed by both.

use super::stream::Stream;
use crate::codec::checksum;
use crate::codec::geometry::{Geometry, Turn};
use crate::codec::reed_solomon::{self, Code};
use crate::comm::{Comm, In, Out};
use crate::error::{Error, ErrorKind, Result};
use crate::sabotage::{self, Fault};
use crate::store::File;

/// What a rank encodes, and with whom.
#[derive(Debug)]
pub struct Lane<'a> {
    /// All ranks.
    pub world: &'a dyn Comm,
    /// The stripes of the set.
    pub geometry: &'a Geometry,
    /// The ranks of every member.
    pub members: &'a [Vec<u32>],
    /// Which member this rank's node is.
    pub member: usize,
    /// Position of this rank among those of its node.
    pub index: usize,
    /// Whether checksums are taken.
    pub checksums: bool,
}

/// What came out of the pass. Trouble is kept, not returned: the others wait for our messages.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Checksum of each block of this rank's stream.
    pub data_checksums: Vec<u32>,
    /// Checksum of each parity block this rank made, in row order.
    pub parity_checksums: Vec<u32>,
    /// The first failure to read data.
    pub data_trouble: Option<Error>,
    /// The first failure to write redundancy.
    pub parity_trouble: Option<Error>,
}

/// A block of this rank's stream.
#[derive(Clone, Copy, Debug)]
struct Load {
    offset_bytes: u64,
    length: usize,
}

/// A block that another rank sends for a parity of this one.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    peer: usize,
    length: usize,
    /// Which parity of this member it counts for.
    slot: usize,
    /// Which segment of the stripe it is.
    segment: usize,
}

/// One row as this rank takes part in it.
#[derive(Debug, Default)]
struct Row {
    number: u64,
    /// This rank's blocks, each read once, whatever the number of parities.
    loads: Vec<Load>,
    /// To whom they go: rank, position in `loads`.
    outs: Vec<(usize, usize)>,
    ins: Vec<Incoming>,
    is_lane: bool,
}

/// Takes checksums of a stream without redundancy.
pub fn checksums(stream: &mut Stream, block_bytes: u32) -> Result<Vec<u32>> {
    let mut buffer = vec![0; block_bytes as usize];
    let mut sums = Vec::new();
    let mut at = 0;
    while at < stream.size_bytes() {
        let length = (stream.size_bytes() - at).min(u64::from(block_bytes)) as usize;
        stream.read(at, &mut buffer[..length])?;
        sums.push(checksum::block(&buffer[..length]));
        at += length as u64;
    }
    Ok(sums)
}

/// Encodes: reads `stream`, writes this rank's rows of `parity`.
///
/// # Collective
/// On the ranks of the set. A rank in trouble goes on sending (zeros), so that nobody waits for it; the caller
/// agrees on the outcome.
///
/// # Errors
/// Only of communication.
pub fn encode(lane: &Lane<'_>, stream: &mut Stream, parity: Option<&dyn File>) -> Result<Encoded> {
    let geometry = lane.geometry;
    let block = geometry.block_bytes() as usize;
    let (segments, parities) = (geometry.segments(), geometry.parities());
    let code = Code::new(segments, parities).ok_or_else(|| {
        let text = format!("no code has {segments} data and {parities} parity blocks");
        Error::new(ErrorKind::Misuse, text)
    })?;
    let mut pass = Pass { lane, code, stream, parity, block, result: Encoded::default() };
    let blocks = pass.stream.size_bytes().div_ceil(block as u64) as usize;
    pass.result.data_checksums = vec![0; if lane.checksums { blocks } else { 0 }];
    let room = || (vec![0; block * segments], vec![0; block * segments * parities]);
    let ((mut out, mut inn), (mut out_next, mut in_before)) = (room(), room());

    let mut rows = lane.rows();
    let mut next = rows.next();
    if let Some(row) = &next {
        pass.load(row, &mut out);
    }
    let mut before: Option<Row> = None;
    while let Some(row) = next {
        next = rows.next();
        let out_of = |&(to, load): &(usize, usize)| {
            let data = &out[load * block..][..row.loads[load].length];
            Out { to, data }
        };
        let outs: Vec<Out<'_>> = row.outs.iter().map(out_of).collect();
        let mut cells: Vec<Option<&mut [u8]>> = inn.chunks_mut(block).map(Some).collect();
        let in_of = |i: &Incoming| {
            let data = cells[i.slot * segments + i.segment].take()?;
            Some(In { from: i.peer, data: &mut data[..i.length] })
        };
        let mut ins: Vec<In<'_>> = row.ins.iter().filter_map(in_of).collect();
        lane.world.transfer(&outs, &mut ins, &mut || {
            if let Some(row) = &before {
                pass.combine(row, &mut in_before);
            }
            if let Some(row) = &next {
                pass.load(row, &mut out_next);
            }
        })?;
        before = Some(row);
        std::mem::swap(&mut out, &mut out_next);
        std::mem::swap(&mut inn, &mut in_before);
    }
    if let Some(row) = &before {
        pass.combine(row, &mut in_before);
    }
    Ok(pass.result)
}

impl Lane<'_> {
    /// The rows in which this rank sends or combines, ascending: the order in which all ranks go through them, so that
    /// the lowest row not yet done can always proceed.
    fn rows(&self) -> impl Iterator<Item = Row> {
        self.geometry.turns(self.member, self.index).map(|turn| self.row(&turn))
    }

    /// Messages of two ranks match in order: both go through the stripes ascending.
    fn row(&self, turn: &Turn) -> Row {
        let (geometry, me) = (self.geometry, self.member);
        let mut row = Row { number: turn.row, is_lane: turn.is_lane, ..Row::default() };
        for stripe in 0..geometry.members() {
            if turn.local_row.is_some()
                && let Some(block) = geometry.data_block(me, turn.row, stripe)
            {
                let load = row.loads.len();
                let (offset_bytes, length) = (block.stream_offset, block.length as usize);
                row.loads.push(Load { offset_bytes, length });
                for slot in 0..geometry.parities() {
                    let holder = geometry.parity_holder(stripe, slot);
                    let peer = self.members[holder][geometry.lane(holder, turn.row)];
                    row.outs.push((peer as usize, load));
                }
            }
            let Some(slot) = geometry.parity_slot(me, stripe).filter(|_| turn.is_lane) else {
                continue;
            };
            for segment in 0..geometry.segments() {
                let other = geometry.contributor(stripe, segment);
                if let Some(block) = geometry.data_block(other, turn.row, stripe) {
                    let peer = self.members[other][block.rank_index] as usize;
                    row.ins.push(Incoming { peer, length: block.length as usize, slot, segment });
                }
            }
        }
        row
    }
}

struct Pass<'a> {
    lane: &'a Lane<'a>,
    code: Code,
    stream: &'a mut Stream,
    parity: Option<&'a dyn File>,
    block: usize,
    result: Encoded,
}

impl Pass<'_> {
    /// Reads the blocks of a row and takes their checksums.
    fn load(&mut self, row: &Row, buffer: &mut [u8]) {
        for (load, data) in row.loads.iter().zip(buffer.chunks_mut(self.block)) {
            let data = &mut data[..load.length];
            if let Err(error) = self.stream.read(load.offset_bytes, data) {
                data.fill(0);
                self.result.data_trouble.get_or_insert(error);
            }
            if self.lane.checksums {
                let number = (load.offset_bytes / self.block as u64) as usize;
                self.result.data_checksums[number] = checksum::block(data);
            }
        }
    }

    /// Combines what was received for a row and writes its parities.
    fn combine(&mut self, row: &Row, buffer: &mut [u8]) {
        if !row.is_lane {
            return;
        }
        let segments = self.code.segments();
        for (slot, buffer) in buffer.chunks_mut(self.block * segments).enumerate() {
            let mut lengths = vec![0; segments];
            for incoming in row.ins.iter().filter(|incoming| incoming.slot == slot) {
                lengths[incoming.segment] = incoming.length;
            }
            let mut factors: Vec<u8> =
                (0..segments).map(|s| self.code.coefficient(slot, s)).collect();
            if slot == 1 && sabotage::active(Fault::WrongCoefficient) {
                factors[0] ^= 2;
            }
            let parity = reed_solomon::combine(&factors, &lengths, buffer, self.block);
            if self.lane.checksums {
                self.result.parity_checksums.push(checksum::block(parity));
            }
            if slot == 1 && sabotage::active(Fault::ForgetSecondParity) {
                continue;
            }
            let geometry = self.lane.geometry;
            let is_last = row.number + 1 == geometry.rows() && slot + 1 == geometry.parities();
            if is_last && sabotage::active(Fault::SkipParity) {
                return;
            }
            if self.result.parity_trouble.is_none()
                && let Some(file) = self.parity
                && let Err(error) = file.write_at(geometry.parity_offset(row.number, slot), parity)
            {
                self.result.parity_trouble = Some(error);
            }
        }
    }
}
