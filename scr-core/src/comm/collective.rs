// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is built from the port: agreement, trees, sparse routing.
//!
//! Nothing here keeps O(ranks) bytes or sends O(ranks) messages, except where the name says that it is for the few ranks
//! of a node or a set. On an error of the communicator these functions return at once; every other trouble of one rank
//! is brought to the others by [`agree`].

use super::{Comm, In, Out, Reduce};
use crate::error::{Error, ErrorKind, Result};

/// Longest text of one rank's error that reaches the others.
const CAUSE_BYTES: usize = 500;
/// Bytes that are broadcast in one message with their length.
const SHORT_BYTES: usize = 504;

/// Turns the local results of all ranks into one outcome: all `Ok`, or all `Err`.
///
/// # Errors
/// A rank that failed keeps its own error. The others get [`ErrorKind::PeerFailed`] with the lowest failing rank and its
/// text; [`Error::cause_kind`] tells the kind it had there.
///
/// # Collective
/// All ranks of `comm`, except one whose own error is [`ErrorKind::Communication`]: it does not communicate again.
/// One reduction when all is well.
pub fn agree<T>(comm: &dyn Comm, result: Result<T>) -> Result<T> {
    agree_on_largest(comm, result, &mut [])
}

/// As [`agree`], and where all is well `values` are the largest of all ranks; otherwise they mean nothing.
///
/// # Errors
/// See [`agree`].
///
/// # Collective
/// As [`agree`], with as many `values` everywhere. One reduction for both when all is well.
pub fn agree_on_largest<T>(comm: &dyn Comm, result: Result<T>, values: &mut [u64]) -> Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::Communication => Err(error),
        Err(error) => match first_failure(comm, Some(&error), values) {
            Ok(_) => Err(error),
            // Nobody may go on as if the others had learnt it; the cause that is known here is worth telling too.
            Err(broken) => Err(broken.context(format!("{error:#}"))),
        },
        Ok(value) => match first_failure(comm, None, values)? {
            None => Ok(value),
            Some(error) => Err(error),
        },
    }
}

/// The error of the lowest failing rank, as the others see it, and the largest of `values`.
fn first_failure(
    comm: &dyn Comm,
    mine: Option<&Error>,
    values: &mut [u64],
) -> Result<Option<Error>> {
    // The lowest rank has the largest complement; 0 is nobody.
    let mut joined = Vec::with_capacity(1 + values.len());
    joined.push(mine.map_or(0, |_| u64::MAX - comm.rank() as u64));
    joined.extend_from_slice(values);
    comm.all_reduce(Reduce::Max, &mut joined)?;
    values.copy_from_slice(&joined[1..]);
    if joined[0] == 0 {
        return Ok(None);
    }
    let rank = (u64::MAX - joined[0]) as usize;
    let mut cause = [0; 8 + CAUSE_BYTES];
    if let Some(error) = mine {
        let text = format!("{error:#}");
        let text = &text.as_bytes()[..text.floor_char_boundary(CAUSE_BYTES)];
        cause[..4].copy_from_slice(&error.cause_kind().code().to_le_bytes());
        cause[4..8].copy_from_slice(&(text.len() as u32).to_le_bytes());
        cause[8..8 + text.len()].copy_from_slice(text);
    }
    comm.broadcast(rank, &mut cause)?;
    let mut cause = Reader(&cause);
    let kind = ErrorKind::from_code(i32::from_le_bytes(cause.array()?)).ok_or_else(malformed)?;
    let len = cause.u32()? as usize;
    Ok(Some(Error::peer(rank, kind, &String::from_utf8_lossy(cause.bytes(len)?))))
}

/// Returns whether all ranks passed the same `digest`.
///
/// # Collective
/// All ranks of `comm`; the answer is the same everywhere. One reduction.
pub fn same_everywhere(comm: &dyn Comm, digest: u64) -> Result<bool> {
    let mut ends = [digest, !digest];
    comm.all_reduce(Reduce::Max, &mut ends)?;
    Ok(ends[0] == !ends[1])
}

/// Returns the sum of the values of all lower ranks.
///
/// # Collective
/// All ranks of `comm`; log2 P messages each (Hillis and Steele 1986).
pub fn sum_of_lower(comm: &dyn Comm, value: u64) -> Result<u64> {
    let (rank, size) = (comm.rank(), comm.size());
    // Of the last `step` ranks up to this one.
    let mut sum = value;
    for step in powers_of_two_below(size) {
        let data = sum.to_le_bytes();
        let outs = [Out { to: rank + step, data: &data }];
        let outs = &outs[..usize::from(rank + step < size)];
        let mut lower = [0; 8];
        if rank >= step {
            comm.transfer(outs, &mut [In { from: rank - step, data: &mut lower }], &mut || ())?;
        } else {
            comm.transfer(outs, &mut [], &mut || ())?;
        }
        sum = sum.wrapping_add(u64::from_le_bytes(lower));
    }
    Ok(sum.wrapping_sub(value))
}

/// Returns the bytes of `root`, of any length; what the other ranks pass does not matter.
///
/// # Collective
/// All ranks of `comm`, with the same `root`.
pub fn broadcast_bytes(comm: &dyn Comm, root: usize, mut data: Vec<u8>) -> Result<Vec<u8>> {
    // What is short goes with its length, in one message.
    let mut head = [0; 8 + SHORT_BYTES];
    let short = data.len().min(SHORT_BYTES);
    head[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
    head[8..8 + short].copy_from_slice(&data[..short]);
    comm.broadcast(root, &mut head)?;
    let mut head = Reader(&head);
    let len = head.u64()? as usize;
    data.resize(len, 0);
    let (first, rest) = data.split_at_mut(len.min(SHORT_BYTES));
    first.copy_from_slice(head.bytes(first.len())?);
    if !rest.is_empty() {
        comm.broadcast(root, rest)?;
    }
    Ok(data)
}

/// Joins the bytes of all ranks, pair by pair up a tree, and returns the whole everywhere.
///
/// `merge(lower, higher)` gets what neighbouring ranges of ranks came to, the lower ranks first; it must be associative.
///
/// # Collective
/// All ranks of `comm`.
pub fn fold(
    comm: &dyn Comm,
    mine: Vec<u8>,
    merge: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Vec<u8>,
) -> Result<Vec<u8>> {
    let (rank, size) = (comm.rank(), comm.size());
    let mut joined = mine;
    for step in powers_of_two_below(size) {
        if rank & step != 0 {
            send_bytes(comm, rank - step, &joined)?;
            break;
        }
        if rank + step < size {
            joined = merge(joined, receive_bytes(comm, rank + step)?);
        }
    }
    broadcast_bytes(comm, 0, joined)
}

/// Returns the bytes of every rank, in rank order. For small groups: the members of a node or a set.
///
/// # Collective
/// All ranks of `comm`; lengths may differ.
pub fn all_gather(comm: &dyn Comm, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut entry = Vec::with_capacity(8 + mine.len());
    put_bytes(&mut entry, mine);
    let all = fold(comm, entry, &mut |mut lower, higher| {
        lower.extend_from_slice(&higher);
        lower
    })?;
    let mut all = Reader(&all);
    (0..comm.size()).map(|_| all.prefixed().map(<[u8]>::to_vec)).collect()
}

/// Hands the bytes of every rank to `sink` at `root`, one rank after the other, without ever holding two of them.
///
/// An error of `sink` does not stop the communication, nor later calls of `sink`: to be told to all by [`agree`].
///
/// # Errors
/// At `root` the first error of `sink`.
///
/// # Collective
/// All ranks of `comm`, with the same `root`, which receives from every other rank: for small groups.
pub fn gather_each(
    comm: &dyn Comm,
    root: usize,
    mine: &[u8],
    sink: &mut dyn FnMut(usize, Vec<u8>) -> Result<()>,
) -> Result<()> {
    if comm.rank() != root {
        return send_bytes(comm, root, mine);
    }
    let mut outcome = Ok(());
    for rank in 0..comm.size() {
        let data = if rank == root { mine.to_vec() } else { receive_bytes(comm, rank)? };
        let taken = sink(rank, data);
        outcome = outcome.and(taken);
    }
    outcome
}

/// Brings each item to the rank it names and returns what came here: (source, bytes), by source, then as sent.
///
/// For few items to anybody in a large group. Items hop over powers of two (Bruck et al. 1997), so a rank sends to
/// ceil(log2 P) others, whatever the items are, and each item travels at most that often.
///
/// # Errors
/// [`ErrorKind::Misuse`] when an item names a rank that does not exist, on that rank only and after the communication,
/// in which its items take no part.
///
/// # Collective
/// All ranks of `comm`, also those without items.
pub fn route(comm: &dyn Comm, items: Vec<(usize, Vec<u8>)>) -> Result<Vec<(usize, Vec<u8>)>> {
    let (rank, size) = (comm.rank(), comm.size());
    let stray = items.iter().map(|(to, _)| *to).find(|to| *to >= size);
    let items = if stray.is_some() { Vec::new() } else { items };
    let load = |(index, (to, data))| Parcel { from: rank, to, index: index as u64, data };
    let mut here: Vec<Parcel> = items.into_iter().enumerate().map(load).collect();
    for step in powers_of_two_below(size) {
        let distance = |parcel: &Parcel| (parcel.to + size - rank) % size;
        let (leaving, staying) = here.into_iter().partition(|p| distance(p) & step != 0);
        here = staying;
        let leaving: Vec<Parcel> = leaving;
        let bundle = leaving.iter().fold(Vec::new(), Parcel::pack);
        drop(leaving);
        let arrived =
            exchange_bytes(comm, (rank + step) % size, &bundle, (rank + size - step) % size)?;
        let mut arrived = Reader(&arrived);
        while !arrived.0.is_empty() {
            here.push(Parcel::unpack(&mut arrived)?);
        }
    }
    here.sort_unstable_by_key(|parcel| (parcel.from, parcel.index));
    match stray {
        None => Ok(here.into_iter().map(|parcel| (parcel.from, parcel.data)).collect()),
        Some(to) => {
            let message = format!("an item is addressed to rank {to} of {size}");
            Err(Error::new(ErrorKind::Misuse, message))
        }
    }
}

/// Cuts the communicator by name: ranks that passed equal strings come together, in rank order.
///
/// # Collective
/// All ranks of `comm`. No rank learns the names of others than its own and, where hashes collide, one more.
pub fn split_by_name(comm: &dyn Comm, name: &str) -> Result<Box<dyn Comm>> {
    let color = crc32fast::hash(name.as_bytes()) & i32::MAX as u32;
    let mut group = split_all(comm, color)?;
    loop {
        let first = broadcast_bytes(&*group, 0, name.as_bytes().to_vec())?;
        let is_same = u64::from(first == name.as_bytes());
        let mut all_same = [is_same];
        group.all_reduce(Reduce::Min, &mut all_same)?;
        if all_same[0] == 1 {
            return Ok(group);
        }
        group = split_all(&*group, is_same as u32)?;
    }
}

fn split_all(comm: &dyn Comm, color: u32) -> Result<Box<dyn Comm>> {
    // The key is the same everywhere: the order is that of the ranks.
    comm.split(Some(color), 0)?.ok_or_else(malformed)
}

/// An item on its way.
struct Parcel {
    from: usize,
    to: usize,
    /// Its place among the items of its sender.
    index: u64,
    data: Vec<u8>,
}

impl Parcel {
    fn pack(mut bundle: Vec<u8>, parcel: &Self) -> Vec<u8> {
        bundle.extend_from_slice(&(parcel.from as u32).to_le_bytes());
        bundle.extend_from_slice(&(parcel.to as u32).to_le_bytes());
        bundle.extend_from_slice(&parcel.index.to_le_bytes());
        put_bytes(&mut bundle, &parcel.data);
        bundle
    }

    fn unpack(bundle: &mut Reader<'_>) -> Result<Self> {
        let (from, to) = (bundle.u32()? as usize, bundle.u32()? as usize);
        Ok(Self { from, to, index: bundle.u64()?, data: bundle.prefixed()?.to_vec() })
    }
}

/// Takes apart what another rank put together.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn prefixed(&mut self) -> Result<&'a [u8]> {
        let len = self.u64()?;
        self.bytes(len as usize)
    }
}

fn put_bytes(buffer: &mut Vec<u8>, data: &[u8]) {
    buffer.extend_from_slice(&(data.len() as u64).to_le_bytes());
    buffer.extend_from_slice(data);
}

fn malformed() -> Error {
    Error::new(ErrorKind::Communication, "a rank sent something that makes no sense here")
}

fn powers_of_two_below(size: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |step| step.checked_mul(2)).take_while(move |&s| s < size)
}

/// Sends bytes to one rank that calls [`receive_bytes`]: the length first.
fn send_bytes(comm: &dyn Comm, to: usize, data: &[u8]) -> Result<()> {
    let len = (data.len() as u64).to_le_bytes();
    comm.transfer(&[Out { to, data: &len }, Out { to, data }], &mut [], &mut || ())
}

fn receive_bytes(comm: &dyn Comm, from: usize) -> Result<Vec<u8>> {
    let mut len = [0; 8];
    comm.transfer(&[], &mut [In { from, data: &mut len }], &mut || ())?;
    let mut data = vec![0; u64::from_le_bytes(len) as usize];
    comm.transfer(&[], &mut [In { from, data: &mut data }], &mut || ())?;
    Ok(data)
}

/// Sends to one rank and receives from another, both at once.
fn exchange_bytes(comm: &dyn Comm, to: usize, data: &[u8], from: usize) -> Result<Vec<u8>> {
    let mut len = [0; 8];
    let out = (data.len() as u64).to_le_bytes();
    comm.transfer(&[Out { to, data: &out }], &mut [In { from, data: &mut len }], &mut || ())?;
    let mut received = vec![0; u64::from_le_bytes(len) as usize];
    let outs = if data.is_empty() { vec![] } else { vec![Out { to, data }] };
    let mut ins = if received.is_empty() { vec![] } else { vec![In { from, data: &mut received }] };
    comm.transfer(&outs, &mut ins, &mut || ())?;
    Ok(received)
}
