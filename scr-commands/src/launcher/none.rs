// SPDX-License-Identifier: MIT OR Apache-2.0
//! No launcher: a plain program without MPI, one rank.

use super::{Additions, Launch, Launcher, Place};
use std::ffi::OsString;

/// A program that is started as it is.
#[derive(Debug)]
pub(super) struct None {
    command: Vec<OsString>,
}

impl None {
    pub(super) fn new(command: &[OsString]) -> Self {
        Self { command: command.to_vec() }
    }
}

impl Launcher for None {
    fn describe(&self) -> &'static str {
        "no launcher"
    }

    fn ranks(&self) -> Option<u32> {
        Some(1)
    }

    fn launch(&self, additions: &Additions<'_>) -> Launch {
        let argv = match additions.place {
            Place::Here { wrapper, .. } => [wrapper, &self.command].concat(),
            Place::Nodes { .. } => self.command.clone(),
        };
        Launch { argv, env: Vec::new() }
    }
}
