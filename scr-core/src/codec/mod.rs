// SPDX-License-Identifier: MIT OR Apache-2.0
//! Redundancy as arithmetic on numbers and slices; imports nothing of this library.
//!
//! [`geometry`] says which bytes belong together, [`reed_solomon`] joins them with the products of [`gf256`] and the sums of
//! [`xor`], [`checksum`] tells whether they are still right.

pub mod checksum;
pub mod geometry;
pub mod gf256;
pub mod reed_solomon;
pub mod xor;
