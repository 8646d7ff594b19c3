// SPDX-License-Identifier: MIT OR Apache-2.0
//! Redundancy as arithmetic on numbers and slices; imports nothing of this library.
//!
//! [`geometry`] says which bytes belong together, [`xor`] joins them, [`checksum`] tells whether they are still right.

pub mod checksum;
pub mod geometry;
pub mod xor;
