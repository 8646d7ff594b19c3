// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which blocks of a redundancy set belong together: arithmetic only, the same on every rank.
//!
//! A set has *n* members (nodes); a stripe has *d* data blocks and *k* parity blocks, on *d + k <= n* members that follow
//! each other in a ring. Each rank of a member has a *stream* (its files end to end), cut into blocks of equal size; only
//! the last may be short.
//!
//! - **Rank rows.** A stream of *b* blocks is cut into *d* segments of *c = ceil(b / d)* blocks. Local row *i* are the
//!   blocks *s·c + i*, one of each segment *s*; those beyond the end are zeros, neither sent nor stored.
//! - **Member rows.** The rows of all ranks of a member, dealt in rounds: local row 0 of every rank, then local row 1 of
//!   every rank that has one, ... Within a round, ranks with more rows come first, then lower ones: so those that still
//!   have rows are always the first few of one fixed order. With equal streams that is simply the order of the ranks.
//! - **Stripes.** Row *r* of the set has stripes *j = 0 .. n*. With *t = (m - j) mod n*, member *m* holds parity *t* of stripe
//!   *j* when *t < k*, contributes segment *t - k* of its member row *r* when *t < k + d*, and else has no part in it. So
//!   every block is in exactly one stripe, a stripe has every segment number once (the column of a Reed-Solomon code), and
//!   parity is spread evenly.
//! - **Parity.** The parity file of a member has *k* blocks per row of the set: block *(r, i)* at *(r·k + i)* blocks.
//!   Rank *r mod p* of a member with *p* ranks, its *lane*, combines row *r*.
//!
//! *k = 0* is a set without redundancy: the stripes only number the blocks. *d = n - 1, k = 1* is XOR; *d = 1, k = 1* is a
//! copy on the member before.

/// The layout of one redundancy set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    block_bytes: u32,
    segments: usize,
    parities: usize,
    rows: u64,
    members: Vec<Member>,
}

/// Where a part of a stream lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which rank of the member, counted from 0 within it.
    pub rank_index: usize,
    /// Where it starts in the rank's stream, in bytes.
    pub stream_offset: u64,
    /// How long it is: the size of a block, less only at the end of the stream; never 0.
    pub length: u32,
}

/// One row of the set, as one rank sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The row of the set.
    pub row: u64,
    /// The row of this rank that is the member's row, when it is this rank's.
    pub local_row: Option<u64>,
    /// Whether this rank combines the parity of the row.
    pub is_lane: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// Bytes of the stream of each rank.
    bytes: Vec<u64>,
    /// Rows of each rank.
    rank_rows: Vec<u64>,
    /// Ranks by rows, descending, then by index.
    order: Vec<usize>,
    /// Where each rank stands in `order`.
    position: Vec<usize>,
    /// Runs of rounds in which the same ranks have rows, ascending.
    tiers: Vec<Tier>,
    rows: u64,
}

/// A run of rounds in which the first `active` ranks of the order have rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tier {
    first_round: u64,
    first_row: u64,
    active: usize,
}

impl Member {
    fn new(bytes: Vec<u64>, block_bytes: u32, segments: usize) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let rank_rows: Vec<u64> = bytes
            .iter()
            .map(|bytes| bytes.div_ceil(block_bytes.into()).div_ceil(segments as u64))
            .collect();
        let mut order: Vec<usize> = (0..bytes.len()).collect();
        order.sort_by_key(|&rank| (std::cmp::Reverse(rank_rows[rank]), rank));
        let mut position = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &rank)| position[rank] = at);

        let mut tiers = Vec::new();
        let (mut round, mut rows) = (0_u64, 0_u64);
        for active in (1..=order.len()).rev() {
            let end = rank_rows[order[active - 1]];
            if end > round {
                tiers.push(Tier { first_round: round, first_row: rows, active });
                rows = rows.checked_add((end - round).checked_mul(active as u64)?)?;
                round = end;
            }
        }
        Some(Self { bytes, rank_rows, order, position, tiers, rows })
    }

    fn owner(&self, row: u64) -> Option<(usize, u64)> {
        if row >= self.rows {
            return None;
        }
        let tier = self.tiers[self.tiers.partition_point(|tier| tier.first_row <= row) - 1];
        let (round, at) = (
            (row - tier.first_row) / tier.active as u64,
            (row - tier.first_row) % tier.active as u64,
        );
        Some((self.order[at as usize], tier.first_round + round))
    }

    fn row_of(&self, rank: usize, local_row: u64) -> Option<u64> {
        if local_row >= *self.rank_rows.get(rank)? {
            return None;
        }
        let tier = self.tiers[self.tiers.partition_point(|tier| tier.first_round <= local_row) - 1];
        let rounds = local_row - tier.first_round;
        Some(tier.first_row + rounds * tier.active as u64 + self.position[rank] as u64)
    }
}

impl Geometry {
    /// Lays out a set whose stripes have (`segments`, `parities`) blocks of data and of parity: `members[m]` are the
    /// stream lengths, in bytes, of the ranks of member `m`.
    ///
    /// Returns `None` for what no set can have: blocks of 0 bytes, stripes without data or with more blocks than members,
    /// a member without ranks, or more rows than fit 64 bits. (Lengths come from records, so they are checked, not trusted.)
    pub fn new(
        block_bytes: u32,
        (segments, parities): (usize, usize),
        members: Vec<Vec<u64>>,
    ) -> Option<Self> {
        if block_bytes == 0 || segments == 0 || members.len() < segments.checked_add(parities)? {
            return None;
        }
        let members: Vec<Member> = members
            .into_iter()
            .map(|bytes| Member::new(bytes, block_bytes, segments))
            .collect::<Option<_>>()?;
        let rows = members.iter().map(|member| member.rows).max().unwrap_or(0);
        rows.checked_mul(parities as u64)?.checked_mul(block_bytes.into())?;
        Some(Self { block_bytes, segments, parities, rows, members })
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Parity blocks per stripe: how many lost members the set survives.
    pub fn parities(&self) -> usize {
        self.parities
    }

    /// How many members the set has; also the number of stripes of a row.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// How many segments a stream is cut into; also the number of data blocks of a stripe.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Rows of the set: those of the member that has most.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many ranks `member` has.
    pub fn ranks(&self, member: usize) -> usize {
        self.members[member].bytes.len()
    }

    /// Bytes of the stream of a rank.
    pub fn stream_bytes(&self, member: usize, rank_index: usize) -> u64 {
        self.members[member].bytes[rank_index]
    }

    /// Blocks of the stream of a rank, the short one at its end included.
    pub fn stream_blocks(&self, member: usize, rank_index: usize) -> u64 {
        self.stream_bytes(member, rank_index).div_ceil(self.block_bytes.into())
    }

    /// Bytes of the parity file, the same for every member.
    pub fn parity_bytes(&self) -> u64 {
        self.rows * self.parities as u64 * u64::from(self.block_bytes)
    }

    /// Where parity block `slot` of `row` starts in the parity file of the member that holds it.
    pub fn parity_offset(&self, row: u64, slot: usize) -> u64 {
        (row * self.parities as u64 + slot as u64) * u64::from(self.block_bytes)
    }

    /// Which parity of stripe `stripe` a member holds; `None` when it contributes data.
    pub fn parity_slot(&self, member: usize, stripe: usize) -> Option<usize> {
        let turn = self.turn(member, stripe);
        (turn < self.parities).then_some(turn)
    }

    /// Which segment a member contributes to stripe `stripe`; `None` when it holds parity or has no part in it.
    pub fn data_slot(&self, member: usize, stripe: usize) -> Option<usize> {
        self.turn(member, stripe).checked_sub(self.parities).filter(|&slot| slot < self.segments)
    }

    /// The member that holds parity `slot` of a stripe.
    pub fn parity_holder(&self, stripe: usize, slot: usize) -> usize {
        (stripe + slot) % self.members()
    }

    /// The member that contributes segment `segment` to a stripe.
    pub fn contributor(&self, stripe: usize, segment: usize) -> usize {
        (stripe + self.parities + segment) % self.members()
    }

    /// The stripe of which a member holds parity `slot`.
    pub fn stripe_of_parity(&self, member: usize, slot: usize) -> usize {
        (member + self.members() - slot) % self.members()
    }

    /// The stripe to which a member contributes segment `segment`.
    pub fn stripe_of(&self, member: usize, segment: usize) -> usize {
        (member + 2 * self.members() - self.parities - segment) % self.members()
    }

    fn turn(&self, member: usize, stripe: usize) -> usize {
        (member + self.members() - stripe) % self.members()
    }

    /// The rank of `member` that owns its row `row`, and the row's number within that rank; `None` beyond its last row.
    pub fn row_owner(&self, member: usize, row: u64) -> Option<(usize, u64)> {
        self.members[member].owner(row)
    }

    /// The rank of `member` that combines the parity of `row`.
    pub fn lane(&self, member: usize, row: u64) -> usize {
        (row % self.ranks(member) as u64) as usize
    }

    /// The block of a rank's row that lies in `segment`: its offset in the stream and length; `None` beyond the stream's end.
    pub fn block_of(
        &self,
        member: usize,
        rank_index: usize,
        local_row: u64,
        segment: usize,
    ) -> Option<(u64, u32)> {
        let member = &self.members[member];
        let rank_rows = *member.rank_rows.get(rank_index)?;
        if local_row >= rank_rows {
            return None;
        }
        let block = rank_rows.checked_mul(segment as u64)?.checked_add(local_row)?;
        let offset = block.checked_mul(self.block_bytes.into())?;
        let left = member.bytes[rank_index].checked_sub(offset).filter(|&left| left > 0)?;
        Some((offset, left.min(self.block_bytes.into()) as u32))
    }

    /// The block that `member` contributes to stripe `stripe` of `row`; `None` where it holds parity or has only zeros.
    pub fn data_block(&self, member: usize, row: u64, stripe: usize) -> Option<Block> {
        let segment = self.data_slot(member, stripe)?;
        let (rank_index, local_row) = self.row_owner(member, row)?;
        let (stream_offset, length) = self.block_of(member, rank_index, local_row, segment)?;
        Some(Block { rank_index, stream_offset, length })
    }

    /// The row and stripe that hold block `block` of a rank's stream; `None` beyond its end.
    pub fn locate(&self, member: usize, rank_index: usize, block: u64) -> Option<(u64, usize)> {
        let rank_rows = *self.members[member].rank_rows.get(rank_index)?;
        if block >= self.stream_blocks(member, rank_index) {
            return None;
        }
        let row = self.members[member].row_of(rank_index, block % rank_rows)?;
        Some((row, self.stripe_of(member, (block / rank_rows) as usize)))
    }

    /// The rows that a rank owns, ascending, as (row, local row).
    pub fn owned_rows(&self, member: usize, rank_index: usize) -> impl Iterator<Item = (u64, u64)> {
        let member = &self.members[member];
        (0..member.rank_rows[rank_index])
            .filter_map(move |local_row| Some((member.row_of(rank_index, local_row)?, local_row)))
    }

    /// The rows whose parity a rank combines, ascending.
    pub fn lane_rows(&self, member: usize, rank_index: usize) -> impl Iterator<Item = u64> + use<> {
        (rank_index as u64..self.rows).step_by(self.ranks(member))
    }

    /// The rows in which a rank takes part, as owner or lane or both, ascending.
    pub fn turns(&self, member: usize, rank_index: usize) -> impl Iterator<Item = Turn> {
        let mut owned = self.owned_rows(member, rank_index).peekable();
        let mut lanes = self.lane_rows(member, rank_index).peekable();
        std::iter::from_fn(move || {
            let row = match (owned.peek(), lanes.peek()) {
                (Some(&(own, _)), Some(&lane)) => own.min(lane),
                (Some(&(own, _)), None) => own,
                (None, Some(&lane)) => lane,
                (None, None) => return None,
            };
            let local_row = owned.next_if(|&(own, _)| own == row).map(|(_, local_row)| local_row);
            let is_lane = lanes.next_if_eq(&row).is_some();
            Some(Turn { row, local_row, is_lane })
        })
    }
}

/// Chooses the size of blocks for a set whose longest stream has `max_stream_bytes` and is cut into so many segments.
///
/// At least 16 rows where the stream has them, so that communication and work overlap; never below a page, where the
/// cost of a message rules, nor above 256 KiB, where blocks leave the L2 cache.
pub fn choose_block_bytes(max_stream_bytes: u64, segments: usize) -> u32 {
    const LEAST: u64 = 4096;
    const MOST: u64 = 256 * 1024;
    let wanted = (max_stream_bytes / 16 / segments.max(1) as u64).min(MOST);
    wanted.next_power_of_two().clamp(LEAST, MOST) as u32
}

#[cfg(test)]
mod tests;
