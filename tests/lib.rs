// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared by the tests of scr.

pub mod launch;
pub mod program;
mod skip;

pub use skip::skip;
