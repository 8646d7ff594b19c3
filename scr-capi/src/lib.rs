// SPDX-License-Identifier: MIT OR Apache-2.0
//! libscr: scr.h, and the same for Fortran, over a [`Session`](scr_core::session::Session).
//!
//! The rules of this crate, so that no function has to repeat them:
//! - Only `api`, `api_mpi`, `configf` and `fortran` define symbols. A body converts its arguments, calls [`life::Life`], and converts
//!   the result, all within one [`boundary::boundary`], which locks, catches panics and turns an error into its code.
//! - Only `slot` holds process-wide state, in a `static` that is never dropped: a destructor at exit would call MPI
//!   after `MPI_Finalize`.
//! - Outputs are written on success only (but `SCR_Have_restart` clears its flag), and never cut.
//! - An argument that is wrong on one rank is still brought to the collective call, so that no rank waits for it.
//! - Nothing here ends the process, but for `SCR_HALT_EXIT=1`.

pub mod api;
#[cfg(feature = "mpi")]
pub mod api_mpi;
mod args;
mod boundary;
pub mod configf;
pub mod fortran;
mod job;
mod launch;
mod life;
mod phase;
mod settings;
mod signals;
mod sink;
mod slot;
mod sources;
mod syslog;
