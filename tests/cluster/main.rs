// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole jobs under a real Slurm of several nodes, which die for real: no wrong byte, nothing lost that was promised.
//!
//! Each test has a cluster of its own (`lab`), so they run beside each other. They need root; without it they are skipped.
#![expect(clippy::disallowed_methods, reason = "tests look at files and processes from outside")]

mod endings;
mod job;
mod lab;
mod losses;
mod machine;
mod ranks;
mod rebuild;
mod scavenge;
mod scripts;
mod windows;
