// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is on disk: one file per record type, encode and decode only, no input or output.
//!
//! A record is one or more *frames* ([`frame`]): magic, version, kind, length, payload, checksum. Truncation, a bit
//! flip or an unknown version is a clear error, never a wrong value. `docs/formats.md` has a table per record.

pub mod current;
pub mod dataset;
pub mod decision;
pub mod frame;
pub mod halt;
pub mod index;
pub mod kvtree;
pub mod lease;
pub mod node;
pub mod scr3;
pub mod state;
pub mod summary;

pub use dataset::{DatasetHeader, FileEntry, Place, Scheme};
pub use frame::{Kind, Record, decode, encode};

#[cfg(test)]
mod tests;
