// SPDX-License-Identifier: MIT OR Apache-2.0
//! libscr as C and Fortran see it: the headers, the exported symbols, and programs built with `mpicc` and its kin and run.
//!
//! `MPICC`, and `MPIRUN` where its launcher has another kind of name, say which MPI is tested; `SCR_BLESS=1` writes `include/scr.h`
//! anew. A program checks itself and says what was wrong; here only its exit status counts.

mod calls;
mod cmake;
mod fortran;
mod header;
mod install;
mod log;
mod mpich;
mod parts;
mod programs;
mod sanitizers;
mod single;
mod symbols;
