// SPDX-License-Identifier: MIT OR Apache-2.0
//! Collectives as trees of messages between two ranks: for communicators below which there is nothing that has them.
//!
//! No rank sends or receives more than about log2 P messages a call.

use super::Reduce;
use crate::error::Result;

/// Messages between two ranks of one communicator, apart from those of [`transfer`](super::Comm::transfer).
///
/// They match in the order of the calls. `call` names the collective, for messages about what went wrong.
pub trait Mail {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Sends bytes; a few bytes go without waiting for the receiver.
    fn send(&self, to: usize, call: &'static str, data: &[u8]) -> Result<()>;

    /// Receives exactly `data.len()` bytes.
    fn receive(&self, from: usize, call: &'static str, data: &mut [u8]) -> Result<()>;
}

/// Returns when all ranks have called it.
///
/// Dissemination (Hensgen, Finkel, Manber 1988): after step k each rank has heard of 2^(k+1) ranks.
///
/// # Collective
/// All ranks of `mail`.
pub fn disseminate(mail: &dyn Mail, call: &'static str) -> Result<()> {
    let (rank, size) = (mail.rank(), mail.size());
    let steps = std::iter::successors(Some(1), |step| Some(step * 2));
    for step in steps.take_while(|&step| step < size) {
        mail.send((rank + step) % size, call, &[])?;
        mail.receive((rank + size - step) % size, call, &mut [])?;
    }
    Ok(())
}

/// Gives every rank the bytes of `root`: a binomial tree, rotated so that `root` is its root.
///
/// # Collective
/// All ranks of `mail`, with the same `root` and as many bytes.
pub fn spread(mail: &dyn Mail, root: usize, call: &'static str, data: &mut [u8]) -> Result<()> {
    let (rank, size) = (mail.rank(), mail.size());
    let place = (rank + size - root) % size;
    let mut step = if place == 0 { size.next_power_of_two() } else { place & place.wrapping_neg() };
    if place != 0 {
        mail.receive((place - step + root) % size, call, data)?;
    }
    while step > 1 {
        step /= 2;
        if place + step < size {
            mail.send((place + step + root) % size, call, data)?;
        }
    }
    Ok(())
}

/// Joins `values` of all ranks element by element: up a binomial tree, and down again.
///
/// # Collective
/// All ranks of `mail`, with as many `values`.
pub fn all_reduce(mail: &dyn Mail, op: Reduce, values: &mut [u64]) -> Result<()> {
    let (call, join): (_, fn(u64, u64) -> u64) = match op {
        Reduce::Sum => ("all_reduce (sum)", u64::wrapping_add),
        Reduce::Max => ("all_reduce (max)", u64::max),
        Reduce::Min => ("all_reduce (min)", u64::min),
    };
    let (rank, size) = (mail.rank(), mail.size());
    let mut bytes = vec![0; values.len() * 8];
    let mut step = 1;
    while step < size && rank & step == 0 {
        if rank + step < size {
            mail.receive(rank + step, call, &mut bytes)?;
            for (value, theirs) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = join(*value, u64::from_le_bytes(*theirs));
            }
        }
        step *= 2;
    }
    for (value, place) in values.iter().zip(bytes.as_chunks_mut().0) {
        *place = value.to_le_bytes();
    }
    if rank != 0 {
        mail.send(rank - step, call, &bytes)?;
    }
    spread(mail, 0, call, &mut bytes)?;
    for (value, joined) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = u64::from_le_bytes(*joined);
    }
    Ok(())
}
