// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pass over the data of a redundancy set: each block is read once by the rank that owns it, its checksum taken
//! while it is hot, and sent straight to the rank that combines its stripe; no ring, so no padding and one loop for
//! every code (the traffic is that of SCR's ring, see redset_xor.c there). While the messages of one row are under way,
//! the row before is combined and the row after is read.
//!
//! The owner takes the checksum, never the combiner: a byte damaged in transfer must not be confirmed by both.

use super::stream::Stream;
use crate::codec::geometry::{Geometry, Turn};
use crate::codec::{checksum, xor};
use crate::comm::{Comm, In, Out};
use crate::error::{Error, Result};
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

/// One block to send or receive within a row.
#[derive(Clone, Copy, Debug)]
struct Message {
    peer: usize,
    /// Where the block is in this rank's stream (when sending).
    offset_bytes: u64,
    length: usize,
}

/// One row as this rank takes part in it.
#[derive(Debug, Default)]
struct Row {
    number: u64,
    outs: Vec<Message>,
    ins: Vec<Message>,
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
    let block = lane.geometry.block_bytes() as usize;
    let room = block * (lane.members.len() - 1);
    let (mut out, mut out_next) = (vec![0; room], vec![0; room]);
    let (mut inn, mut in_before) = (vec![0; room], vec![0; room]);
    let mut pass = Pass { lane, stream, parity, block, result: Encoded::default() };
    let blocks = pass.stream.size_bytes().div_ceil(block as u64) as usize;
    pass.result.data_checksums = vec![0; if lane.checksums { blocks } else { 0 }];

    let mut rows = lane.rows();
    let mut next = rows.next();
    if let Some(row) = &next {
        pass.load(row, &mut out);
    }
    let mut before: Option<Row> = None;
    while let Some(row) = next {
        next = rows.next();
        let outs: Vec<Out<'_>> = pieces(&row.outs, &out, block);
        let mut ins: Vec<In<'_>> = row
            .ins
            .iter()
            .zip(inn.chunks_mut(block))
            .map(|(m, data)| In { from: m.peer, data: &mut data[..m.length] })
            .collect();
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

fn pieces<'a>(messages: &[Message], buffer: &'a [u8], block: usize) -> Vec<Out<'a>> {
    messages
        .iter()
        .zip(buffer.chunks(block))
        .map(|(m, data)| Out { to: m.peer, data: &data[..m.length] })
        .collect()
}

impl Lane<'_> {
    /// The rows in which this rank sends or combines, ascending: the order in which all ranks go through them, so that
    /// the lowest row not yet done can always proceed.
    fn rows(&self) -> impl Iterator<Item = Row> {
        self.geometry.turns(self.member, self.index).map(|turn| self.row(&turn))
    }

    fn row(&self, turn: &Turn) -> Row {
        let (geometry, me) = (self.geometry, self.member);
        let mut row = Row { number: turn.row, is_lane: turn.is_lane, ..Row::default() };
        for other in (0..self.members.len()).filter(|&other| other != me) {
            if turn.local_row.is_some()
                && let Some(block) = geometry.data_block(me, turn.row, other)
            {
                let peer = self.members[other][geometry.lane(other, turn.row)] as usize;
                let (offset_bytes, length) = (block.stream_offset, block.length as usize);
                row.outs.push(Message { peer, offset_bytes, length });
            }
            if turn.is_lane
                && let Some(block) = geometry.data_block(other, turn.row, me)
            {
                let peer = self.members[other][block.rank_index] as usize;
                row.ins.push(Message { peer, offset_bytes: 0, length: block.length as usize });
            }
        }
        row
    }
}

struct Pass<'a> {
    lane: &'a Lane<'a>,
    stream: &'a mut Stream,
    parity: Option<&'a dyn File>,
    block: usize,
    result: Encoded,
}

impl Pass<'_> {
    /// Reads the blocks of a row and takes their checksums.
    fn load(&mut self, row: &Row, buffer: &mut [u8]) {
        for (message, data) in row.outs.iter().zip(buffer.chunks_mut(self.block)) {
            let data = &mut data[..message.length];
            if let Err(error) = self.stream.read(message.offset_bytes, data) {
                data.fill(0);
                self.result.data_trouble.get_or_insert(error);
            }
            if self.lane.checksums {
                let number = (message.offset_bytes / self.block as u64) as usize;
                self.result.data_checksums[number] = checksum::block(data);
            }
        }
    }

    /// Combines what was received for a row and writes its parity.
    fn combine(&mut self, row: &Row, buffer: &mut [u8]) {
        if !row.is_lane || self.result.parity_trouble.is_some() {
            return;
        }
        let lengths: Vec<usize> = row.ins.iter().map(|m| m.length).collect();
        let parity = combine(&lengths, buffer, self.block);
        if self.lane.checksums {
            self.result.parity_checksums.push(checksum::block(parity));
        }
        let is_last = row.number + 1 == self.lane.geometry.rows();
        if is_last && sabotage::active(Fault::SkipParity) {
            return;
        }
        if let Some(file) = self.parity
            && let Err(error) =
                file.write_at(self.lane.geometry.parity_offset(row.number, 0), parity)
        {
            self.result.parity_trouble = Some(error);
        }
    }
}

/// Joins blocks of these lengths, which lie `block` bytes apart in `buffer`, by XOR; shorter ones count as padded with zeros.
pub(super) fn combine<'a>(lengths: &[usize], buffer: &'a mut [u8], block: usize) -> &'a [u8] {
    let Some(longest) = (0..lengths.len()).max_by_key(|&i| lengths[i]) else { return &[] };
    let mut blocks: Vec<&mut [u8]> =
        buffer.chunks_mut(block).zip(lengths).map(|(b, &length)| &mut b[..length]).collect();
    let result = blocks.swap_remove(longest);
    for other in blocks {
        xor::xor_into(&mut result[..other.len()], other);
    }
    result
}
