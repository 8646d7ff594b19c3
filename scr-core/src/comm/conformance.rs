// SPDX-License-Identifier: MIT OR Apache-2.0
//! One suite that every communicator must pass, of any size; a real MPI program can run it too.
//!
//! It returns the first thing that is wrong. A rank that finds something wrong stops there, so under MPI the program
//! should then abort.

use super::collective::{
    all_gather, broadcast_bytes, fold, gather_each, route, same_everywhere, split_by_name,
};
use super::{Comm, In, Out, Reduce, agree};
use crate::error::{Error, ErrorKind, Result};

/// Runs all checks.
pub fn check(comm: &dyn Comm) -> Result<()> {
    port(comm)?;
    built_on_it(comm)?;
    // Groups of every shape must do the same, and groups of groups.
    let third = comm.split(Some(comm.rank() as u32 % 3), 0)?;
    if let Some(third) = third {
        port(&*third)?;
        built_on_it(&*third)?;
    }
    port(comm)
}

fn port(comm: &dyn Comm) -> Result<()> {
    comm.barrier()?;
    broadcasts(comm)?;
    reductions(comm)?;
    splits(comm)?;
    ring(comm)?;
    everybody_with_everybody(comm)?;
    order_between_two_ranks(comm)?;
    panics_in_meanwhile(comm)?;
    misuse(comm)
}

fn built_on_it(comm: &dyn Comm) -> Result<()> {
    agreement(comm)?;
    long_and_short_broadcasts(comm)?;
    folds(comm)?;
    gathers(comm)?;
    routes(comm)?;
    names(comm)?;
    let size = comm.size() as u64;
    expect(same_everywhere(comm, size)?, "the same digest is the same")?;
    let differs = same_everywhere(comm, comm.rank() as u64)?;
    expect(differs == (size == 1), "different digests differ")
}

fn expect(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(ErrorKind::Invalid, format!("not so: {what}"))) }
}

/// Bytes that tell from whom they are and how long.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (seed * 31 + i * 7 + len) as u8).collect()
}

fn broadcasts(comm: &dyn Comm) -> Result<()> {
    for root in [0, comm.size() / 2, comm.size() - 1] {
        for len in [0, 1, 8, 100_000] {
            let mut data = if comm.rank() == root { pattern(root, len) } else { vec![0xEE; len] };
            comm.broadcast(root, &mut data)?;
            expect(data == pattern(root, len), "broadcast brings the root's bytes")?;
        }
    }
    Ok(())
}

fn reductions(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank() as u64, comm.size() as u64);
    let mut sums = [rank, 1, if rank == 0 { u64::MAX } else { 0 }, u64::from(rank + 1 == size)];
    comm.all_reduce(Reduce::Sum, &mut sums)?;
    expect(sums == [size * (size - 1) / 2, size, u64::MAX, 1], "sums")?;
    let mut wrapping = [u64::MAX];
    comm.all_reduce(Reduce::Sum, &mut wrapping)?;
    expect(wrapping == [0_u64.wrapping_sub(size)], "sums wrap")?;
    let mut largest = [rank, u64::MAX - rank];
    comm.all_reduce(Reduce::Max, &mut largest)?;
    expect(largest == [size - 1, u64::MAX], "largest, unsigned")?;
    let mut smallest = [rank + 5, u64::MAX - rank];
    comm.all_reduce(Reduce::Min, &mut smallest)?;
    expect(smallest == [5, u64::MAX - (size - 1)], "smallest, unsigned")?;
    // Numbers on both sides of 2^63: some MPIs compare them as if they were signed.
    let mine = if rank == 0 { u64::MAX } else { rank };
    let (mut largest, mut smallest) = ([mine], [mine]);
    comm.all_reduce(Reduce::Max, &mut largest)?;
    comm.all_reduce(Reduce::Min, &mut smallest)?;
    expect(largest == [u64::MAX], "the largest of all unsigned numbers")?;
    expect(smallest == [if size == 1 { u64::MAX } else { 1 }], "the smallest, beside the largest")?;
    comm.all_reduce(Reduce::Min, &mut [])
}

fn splits(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size());
    // Two halves in reverse order; the last rank joins none.
    let color = (rank + 1 < size || size == 1).then_some((rank % 2) as u32);
    let half = comm.split(color, (size - rank) as u32)?;
    expect(half.is_some() == color.is_some(), "a rank without color gets nothing")?;
    if let Some(half) = half {
        let members: Vec<usize> = match color {
            _ if size == 1 => vec![0],
            _ => (0..size - 1).filter(|member| member % 2 == rank % 2).rev().collect(),
        };
        expect(half.size() == members.len(), "a group has its members")?;
        expect(members.get(half.rank()) == Some(&rank), "a group is ordered by key")?;
        // Both halves talk at once, and not into each other.
        let mut sum = [rank as u64];
        half.all_reduce(Reduce::Sum, &mut sum)?;
        expect(sum[0] == members.iter().sum::<usize>() as u64, "a group talks within itself")?;
        ring(&*half)?;
    }
    let far = comm.split(Some(i32::MAX as u32), if rank == 0 { u32::MAX } else { 1 })?;
    let last_is_first = far.is_some_and(|far| far.rank() == (rank + size - 1) % size);
    expect(last_is_first, "keys are unsigned")?;
    let same_key = comm.split(Some(7), 3)?;
    expect(same_key.is_some_and(|all| all.rank() == rank), "equal keys keep the order of ranks")
}

fn ring(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size());
    let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);
    for len in [0, 1, 4096, 300_000] {
        let (out, mut inp, mut runs) = (pattern(rank, len), vec![0xEE; len], 0);
        comm.transfer(
            &[Out { to: next, data: &out }],
            &mut [In { from: before, data: &mut inp }],
            &mut || runs += 1,
        )?;
        expect(inp == pattern(before, len), "a message arrives whole")?;
        expect(runs == 1, "meanwhile runs once")?;
    }
    comm.transfer(&[], &mut [], &mut || ())
}

fn everybody_with_everybody(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size().min(16));
    if rank >= size {
        return Ok(());
    }
    let out: Vec<_> = (0..size).map(|to| pattern(rank * 100 + to, rank + to)).collect();
    let mut inp: Vec<_> = (0..size).map(|from| vec![0; from + rank]).collect();
    let outs: Vec<_> = out.iter().enumerate().map(|(to, data)| Out { to, data }).collect();
    // Receives in the opposite order: matching is by rank, not by place.
    let mut ins: Vec<_> =
        inp.iter_mut().enumerate().rev().map(|(from, data)| In { from, data }).collect();
    comm.transfer(&outs, &mut ins, &mut || ())?;
    for (from, data) in inp.iter().enumerate() {
        expect(
            *data == pattern(from * 100 + rank, from + rank),
            "each message comes to its place",
        )?;
    }
    Ok(())
}

fn order_between_two_ranks(comm: &dyn Comm) -> Result<()> {
    let (first, last) = (0, comm.size() - 1);
    let numbers: Vec<[u8; 1]> = (0..50).map(|i| [i]).collect();
    let mut received = vec![[0xEE]; 50];
    for (numbers, received) in numbers.chunks(10).zip(received.chunks_mut(10)) {
        let outs: Vec<_> = numbers.iter().map(|data| Out { to: last, data }).collect();
        let mut ins: Vec<_> = received.iter_mut().map(|data| In { from: first, data }).collect();
        let outs = if comm.rank() == first { &outs[..] } else { &[] };
        let ins = if comm.rank() == last { &mut ins[..] } else { &mut [] };
        comm.transfer(outs, ins, &mut || ())?;
    }
    expect(comm.rank() != last || received == numbers, "messages of two ranks keep their order")
}

fn panics_in_meanwhile(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size());
    let mut inp = [0];
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let out = [rank as u8];
        let to = (rank + 1) % size;
        let mut ins = [In { from: (rank + size - 1) % size, data: &mut inp }];
        // Does what `panic!` does, without calling the hook that prints.
        let mut meanwhile = || std::panic::resume_unwind(Box::new("on purpose"));
        comm.transfer(&[Out { to, data: &out }], &mut ins, &mut meanwhile)
    }));
    let is_ours = unwound.is_err_and(|cause| cause.downcast_ref() == Some(&"on purpose"));
    expect(is_ours, "a panic in meanwhile goes on")?;
    if size > 1 {
        expect(inp == [((rank + size - 1) % size) as u8], "the messages are complete before")?;
    }
    ring(comm)
}

fn misuse(comm: &dyn Comm) -> Result<()> {
    let is_misuse = |result: Result<()>| {
        let refused = result.is_err_and(|error| error.kind() == ErrorKind::Misuse);
        expect(refused, "a wrong argument is refused without communication")
    };
    let (beyond, mut runs) = (comm.size(), 0);
    is_misuse(comm.broadcast(beyond, &mut [0]))?;
    is_misuse(comm.split(Some(1 << 31), 0).map(drop))?;
    let out = [Out { to: beyond, data: &[1] }];
    is_misuse(comm.transfer(&out, &mut [], &mut || runs += 1))?;
    is_misuse(comm.transfer(&[], &mut [In { from: beyond, data: &mut [1] }], &mut || runs += 1))?;
    expect(runs == 2, "meanwhile runs whatever happens")?;
    comm.barrier()
}

fn agreement(comm: &dyn Comm) -> Result<()> {
    let rank = comm.rank();
    expect(agree(comm, Ok(rank)).is_ok_and(|mine| mine == rank), "all well is agreed on")?;
    for lowest in [0, comm.size() - 1] {
        let long = "é".repeat(400);
        let local = if rank >= lowest {
            Err(Error::new(ErrorKind::NoSpace, format!("{long} on {rank}")).context("write"))
        } else {
            Ok(())
        };
        let Err(error) = agree(comm, local) else {
            return expect(false, "the failure of one is the failure of all");
        };
        expect(error.cause_kind() == ErrorKind::NoSpace, "the cause is known everywhere")?;
        let text = format!("{error:#}");
        if rank >= lowest {
            expect(error.kind() == ErrorKind::NoSpace, "who failed keeps the kind")?;
            expect(text.ends_with(&format!("on {rank}")), "who failed keeps the text")?;
        } else {
            expect(error.kind() == ErrorKind::PeerFailed, "the others learn that a peer failed")?;
            let start = format!("rank {lowest} failed: write: éé");
            expect(text.starts_with(&start) && text.len() < 600, "the others learn why")?;
        }
    }
    // What a peer's peer failed of is still known.
    let second = Err::<(), _>(Error::peer(9, ErrorKind::Corrupt, "rot"));
    let error = agree(comm, if rank == 0 { second } else { Ok(()) }).err();
    expect(
        error.is_some_and(|error| error.cause_kind() == ErrorKind::Corrupt),
        "the innermost kind goes on",
    )
}

fn long_and_short_broadcasts(comm: &dyn Comm) -> Result<()> {
    for (root, len) in [(0, 0), (comm.size() - 1, 3), (comm.size() / 2, 70_000)] {
        let mine = pattern(comm.rank(), if comm.rank() == root { len } else { comm.rank() });
        let data = broadcast_bytes(comm, root, mine)?;
        expect(data == pattern(root, len), "bytes of unknown length are broadcast")?;
    }
    Ok(())
}

fn folds(comm: &dyn Comm) -> Result<()> {
    let mine = (comm.rank() as u32).to_le_bytes().to_vec();
    let all = fold(comm, mine, &mut |lower, higher| [lower, higher].concat())?;
    let wanted: Vec<u8> = (0..comm.size() as u32).flat_map(u32::to_le_bytes).collect();
    expect(all == wanted, "a fold joins neighbours in rank order")
}

fn gathers(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size());
    let all = all_gather(comm, &pattern(rank, rank % 17))?;
    let wanted: Vec<_> = (0..size).map(|rank| pattern(rank, rank % 17)).collect();
    expect(all == wanted, "all bytes are gathered")?;
    let (root, mut seen) = (size / 2, Vec::new());
    let outcome = gather_each(comm, root, &pattern(rank, rank % 17), &mut |from, data| {
        seen.push(data);
        expect(from != 0, "this sink refuses rank 0")
    });
    expect(outcome.is_err() == (rank == root), "an error of the sink stays at the root")?;
    expect(seen == if rank == root { wanted } else { vec![] }, "bytes come one by one")?;
    comm.barrier()
}

fn routes(comm: &dyn Comm) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size());
    // Every rank can compute what every rank sends.
    let items = |from: usize| -> Vec<(usize, Vec<u8>)> {
        let count = (from * 5 + 3) % 7;
        (0..count).map(|i| ((from * 3 + i * i) % size, pattern(from + i, i * 50))).collect()
    };
    let wanted: Vec<_> = (0..size)
        .flat_map(|from| items(from).into_iter().map(move |(to, data)| (to, (from, data))))
        .filter_map(|(to, item)| (to == rank).then_some(item))
        .collect();
    expect(route(comm, items(rank))? == wanted, "items come to their ranks, in order")?;
    let stray = if rank == 0 { vec![(size, vec![1])] } else { vec![(rank, vec![2])] };
    let outcome = route(comm, stray);
    let is_right = match outcome {
        Ok(items) => rank != 0 && items == [(rank, vec![2])],
        Err(error) => rank == 0 && error.kind() == ErrorKind::Misuse,
    };
    expect(is_right, "a stray item is an error of its sender only")
}

fn names(comm: &dyn Comm) -> Result<()> {
    // These two have the same CRC-32.
    let names = ["plumless", "buckeroo", "node-3"];
    let (rank, size) = (comm.rank(), comm.size());
    let group = split_by_name(comm, names[rank % 3])?;
    let members: Vec<_> = (0..size).filter(|member| member % 3 == rank % 3).collect();
    expect(group.size() == members.len(), "equal names come together, others do not")?;
    expect(members.get(group.rank()) == Some(&rank), "in rank order")
}
