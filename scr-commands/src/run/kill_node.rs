// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr kill-node` and `scr restore-node`: what a power cut does to a node, for virtual nodes.

use super::directory::{Run, RunDirectory};
use super::find_run_directory;
use crate::output::{join, print};
use crate::process::{self, Process};
use crate::{exit, resource_manager::local::node_name};
use rustix::process::Signal;
use scr_core::clock::{Clock, SystemClock};
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Options of `scr kill-node`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr kill-node node2                     the only run of this user
  scr kill-node --run-dir /tmp/r1 node2   the run in this directory
  scr restore-node node2                  the node is back, empty: a spare

Exit status: 0 done, 2 no such node, or several runs to choose from; 65 no run goes on.")]
pub(crate) struct Arguments {
    /// The run directory; not needed when only one run of yours is there
    #[arg(long, env = "SCR_RUN_DIR")]
    run_dir: Option<PathBuf>,
    /// The nodes
    #[arg(required = true)]
    nodes: Vec<String>,
}

fn checked_nodes(arguments: &Arguments, directory: &RunDirectory) -> Result<Vec<NodeName>> {
    let count = directory.existing_run()?.nodes;
    let known: Vec<NodeName> = (0..count).map(node_name).collect();
    let asked = arguments.nodes.iter().map(|name| NodeName::new(name.as_str()));
    asked
        .map(|node| {
            if known.contains(&node) {
                return Ok(node);
            }
            let message = format!("there is no {node} in this run; its nodes are {}", join(&known));
            Err(Error::new(ErrorKind::Misuse, message))
        })
        .collect()
}

/// Kills every process of the nodes, takes their storage away and marks them down.
pub(crate) fn kill(arguments: &Arguments) -> Result<u8> {
    let directory = find_run_directory(arguments.run_dir.as_deref())?;
    let run = directory.existing_run()?;
    for node in checked_nodes(arguments, &directory)? {
        // The mark comes first: whoever sees a rank die can see why.
        directory.set_down(&node, "scr kill-node")?;
        let killed = kill_processes(&directory, &run, &node, &SystemClock::default())?;
        directory.remove_node(&run, &node)?;
        print(&format!("{node} is down: {killed} processes killed, its storage is gone\n"))?;
    }
    Ok(exit::SUCCESS)
}

/// Makes nodes usable again, with empty storage.
pub(crate) fn restore(arguments: &Arguments) -> Result<u8> {
    let directory = find_run_directory(arguments.run_dir.as_deref())?;
    for node in checked_nodes(arguments, &directory)? {
        directory.set_up(&node)?;
        print(&format!("{node} is up again, empty\n"))?;
    }
    Ok(exit::SUCCESS)
}

/// Kills until nothing is left; returns how many processes were found.
fn kill_processes(
    directory: &RunDirectory,
    run: &Run,
    node: &NodeName,
    clock: &dyn Clock,
) -> Result<usize> {
    /// Bounds the wait for a process that the kernel cannot end.
    const ROUNDS: u32 = 500;
    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS {
        let (mut left, mut groups): (Vec<Process>, Vec<Process>) = (Vec::new(), Vec::new());
        for notes in directory.ranks(node)? {
            let processes = notes.processes;
            if processes.has_own_group {
                groups.push(processes.wrapper);
            }
            left.extend([Some(processes.wrapper), processes.program].into_iter().flatten());
        }
        left.extend(process::with_environment(&[
            ("SCR_RUN_ID", Some(&run.id)),
            ("SCR_NODE", Some(node.as_str())),
        ]));
        left.retain(|process| process.is_alive());
        if left.is_empty() {
            return Ok(killed.len());
        }
        for leader in groups {
            leader.signal_group(Signal::KILL);
        }
        for process in left {
            process.signal(Signal::KILL);
            killed.insert(process);
        }
        clock.sleep(Duration::from_millis(10));
    }
    Err(Error::new(ErrorKind::Io, format!("some processes of {node} cannot be killed")))
}
