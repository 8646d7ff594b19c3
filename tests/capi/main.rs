// SPDX-License-Identifier: MIT OR Apache-2.0
//! libscr as C sees it: the header, the exported symbols, and C programs built with `mpicc` and run.
//!
//! `MPICC` and `MPIRUN` name another MPI (with a target directory of its own); `SCR_BLESS=1` writes `include/scr.h`
//! anew. A program checks itself and says what was wrong; here only its exit status counts.

mod header;
mod programs;
mod symbols;
