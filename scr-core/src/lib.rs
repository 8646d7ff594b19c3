// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multilevel checkpoints for parallel applications.

pub mod clock;
pub mod codec;
pub mod comm;
pub mod config;
pub mod error;
pub mod event;
pub mod exec;
pub mod format;
pub mod id;
pub mod plan;
pub mod sabotage;
pub mod session;
pub mod store;

pub use error::{Context, Error, ErrorKind, Result};
