// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranks and how they talk: a small port with several implementations.
//!
//! [`solo`] is one process without MPI, [`thread`] runs ranks as threads of one process (the simulator, scavenge),
//! [`mpi`] is the only file of the project that calls MPI; a fourth, over TCP, is the commands' own. What is built *from* the
//! port is in [`collective`]; what a communicator can be made from that has messages between two ranks only, in [`tree`].
//!
//! Every call is collective unless it says otherwise: all ranks of the communicator make the same calls in the same
//! order. After an error of kind [`ErrorKind::Communication`](crate::ErrorKind::Communication) a communicator is
//! broken: every later call returns the same error at once, without communicating.

pub mod collective;
#[doc(hidden)]
pub mod conformance;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod solo;
pub mod thread;
pub mod tree;

pub use collective::{agree, agree_on_largest};

use crate::error::{Error, ErrorKind, Result};

/// One message to send: `data` to rank `to`.
#[derive(Debug)]
pub struct Out<'a> {
    /// The receiving rank.
    pub to: usize,
    /// The bytes.
    pub data: &'a [u8],
}

/// One message to receive: exactly `data.len()` bytes from rank `from`.
#[derive(Debug)]
pub struct In<'a> {
    /// The sending rank.
    pub from: usize,
    /// Where the bytes go.
    pub data: &'a mut [u8],
}

/// How numbers of all ranks are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// The sum, wrapping.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// A group of ranks that talk in bytes.
///
/// Not `Send`: MPI allows communication from one thread only, so communication from a transfer thread must not compile.
pub trait Comm: std::fmt::Debug {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Returns when all ranks have called it.
    fn barrier(&self) -> Result<()>;

    /// Gives every rank the bytes of `root`; `data` has the same length everywhere.
    fn broadcast(&self, root: usize, data: &mut [u8]) -> Result<()>;

    /// Joins `values` of all ranks element by element; `values` has the same length everywhere.
    fn all_reduce(&self, op: Reduce, values: &mut [u64]) -> Result<()>;

    /// Cuts the communicator: ranks of one `color` (below 2^31) come together, ordered by `key`, then by
    /// rank; `None` joins nothing.
    fn split(&self, color: Option<u32>, key: u32) -> Result<Option<Box<dyn Comm>>>;

    /// Posts all receives, then all sends, runs `meanwhile`, and returns when all messages are complete.
    ///
    /// Collective only among the ranks named. Messages between two ranks match in the order of the slices and calls,
    /// and lengths must match. A rank may send to itself. `meanwhile` runs exactly once, whatever happens.
    fn transfer(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<()>;
}

/// Refuses a rank that the communicator does not have.
///
/// # Errors
/// [`ErrorKind::Misuse`].
pub fn check_rank(comm: &dyn Comm, rank: usize) -> Result<()> {
    if rank < comm.size() {
        return Ok(());
    }
    let message = format!("there is no rank {rank} among {}", comm.size());
    Err(Error::new(ErrorKind::Misuse, message))
}

/// Refuses a color that MPI, where it is a non-negative `int`, could not carry.
///
/// # Errors
/// [`ErrorKind::Misuse`].
pub fn check_color(color: Option<u32>) -> Result<()> {
    match color {
        Some(color) if color > i32::MAX as u32 => {
            Err(Error::new(ErrorKind::Misuse, format!("color {color} is not below 2^31")))
        }
        _ => Ok(()),
    }
}
