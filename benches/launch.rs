// SPDX-License-Identifier: MIT OR Apache-2.0
//! Launches ranks of this very program under `mpirun`, and gathers what they measured.

use crate::{Case, Outcome};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How this program knows that it is a rank.
const RANK: &str = "--rank";

/// Where nodes keep their directories; memory, as on the nodes of a cluster.
const BASE: &str = "/dev/shm";

/// What this process was started for.
#[derive(Debug)]
pub enum Role {
    /// To measure: as a rank, below a directory.
    Rank(PathBuf, Vec<Case>),
    /// To launch the ranks and print.
    Harness {
        /// Whether a rough result is enough.
        quick: bool,
    },
    /// Not to measure at all: `cargo test --benches` only wants to know that it runs.
    Test,
}

impl Role {
    /// Reads it from the arguments.
    ///
    /// # Errors
    /// When a rank does not understand its cases.
    pub fn from_arguments(arguments: &[String]) -> io::Result<Self> {
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        match arguments {
            [first, dir, cases] if first == RANK => {
                Ok(Self::Rank(dir.into(), serde_json::from_str(cases)?))
            }
            _ if has("--bench") => Ok(Self::Harness { quick: has("--quick") }),
            _ => Ok(Self::Test),
        }
    }
}

/// Runs jobs one after the other, each in a directory that is gone afterwards.
#[derive(Debug)]
pub struct Launcher {
    /// Set by Ctrl-C, of which `mpirun` hears too; it ends, and we clean up.
    stopped: Arc<AtomicBool>,
}

impl Launcher {
    /// Takes note of signals from now on.
    ///
    /// # Errors
    /// When a signal cannot be taken note of.
    pub fn new() -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stopped))?;
        }
        Ok(Self { stopped })
    }

    /// Runs the cases on this many nodes, in one job.
    ///
    /// # Errors
    /// When the job fails, whose reason is on stderr then, or was stopped.
    pub fn run(&self, nodes: usize, cases: &[Case]) -> io::Result<Vec<Outcome>> {
        let dir = tempfile::Builder::new().prefix("scr-bench.").tempdir_in(base())?;
        let mut ranks = Command::new("mpirun")
            .args(["--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1"])
            .args(["-n", &nodes.to_string()])
            .arg(std::env::current_exe()?)
            .arg(RANK)
            .arg(dir.path())
            .arg(serde_json::to_string(cases)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = ranks.stdout.take().map(BufReader::new);
        let outcomes = lines
            .into_iter()
            .flat_map(BufRead::lines)
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect::<io::Result<Vec<Outcome>>>();
        let status = ranks.wait()?;
        if !status.success() || self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other(format!("the job on {nodes} nodes ended with {status}")));
        }
        outcomes
    }
}

/// Where nodes keep their directories: in memory where the system has such files.
pub fn base() -> PathBuf {
    let base = Path::new(BASE);
    if base.is_dir() { base.to_path_buf() } else { std::env::temp_dir() }
}
