// SPDX-License-Identifier: MIT OR Apache-2.0
//! What runs on a node.

use super::{Answer, Probe};
use crate::environment::variable;
use crate::exit;
use scr_core::Result;
use std::io::{BufRead, Write};

/// Arguments.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    words: Vec<String>,
}

fn tell(answer: &Answer) {
    let node = variable("SCR_NODE").or_else(|| variable("SLURMD_NODENAME")).unwrap_or_default();
    let text = serde_json::to_string(&(node, answer)).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    if arguments.words[0] == "probe" {
        tell(&Answer::Probe(Probe { highest_committed: None }));
        return Ok(exit::SUCCESS);
    }
    std::thread::spawn(|| {
        for _ in std::io::stdin().lock().lines() {}
        std::process::exit(0);
    });
    loop {
        tell(&Answer::Heartbeat { counters: Vec::new() });
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
