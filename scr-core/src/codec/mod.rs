// SPDX-License-Identifier: MIT OR Apache-2.0
//! Redundancy as arithmetic on numbers and slices; imports nothing of this library.
//!
//! [`geometry`] says which bytes belong together, [`reed_solomon`] joins them with the products of [`gf256`] and the sums of
//! [`xor`], [`repair`] says which blocks give back those that are lost, [`checksum`] whether they are still right.

pub mod checksum;
pub mod geometry;
pub mod gf256;
pub mod reed_solomon;
pub mod repair;
pub mod xor;
