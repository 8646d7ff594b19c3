// SPDX-License-Identifier: MIT OR Apache-2.0
//! The function of scr_mpi.h. It is apart from scr.h because its type is that of mpi.h, and apart from the library
//! without MPI because it would mean nothing there.
#![expect(unsafe_code, reason = "a symbol of C, and a handle that comes through it")]
#![allow(clippy::missing_safety_doc, reason = "the contract is in scr_mpi.h")]

use crate::boundary::boundary;
use scr_core::comm::mpi::{Handle, Mpi};
use std::ffi::c_int;

/// As `SCR_Init`, over the ranks of `comm`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Init_comm(comm: Handle) -> c_int {
    boundary("SCR_Init_comm", |life| {
        life.init(|| {
            // SAFETY: MPI_COMM_NULL or a communicator, by the contract of scr_mpi.h.
            unsafe { Mpi::duplicate(comm) }
        })
    })
}
