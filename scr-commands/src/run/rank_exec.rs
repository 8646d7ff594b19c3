// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr rank-exec`: stands in front of the program of every rank.
//!
//! It finds out which virtual node the rank belongs to, tells the program, notes both processes where `scr run` and
//! `scr kill-node` find them, waits, and notes how the program ended: launchers do not always pass that on. It does
//! nothing while the program runs, ends with it, and neither survives the other or the launcher.

use super::decide::{RankEnd, Status};
use super::directory::{RankProcesses, Run, RunDirectory};
use super::placement::slot_of;
use crate::environment::variable;
use crate::{exit, launcher, output, process};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use scr_core::clock::{Clock, SystemClock};
use scr_core::id::NodeName;
use scr_core::{Context, Error, ErrorKind, Result};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Options of the wrapper.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The run directory
    #[arg(long)]
    run_dir: PathBuf,
    /// The program of the rank and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

/// The command line that goes in front of a program.
pub(crate) fn wrapper(scr: &Path, directory: &RunDirectory) -> Vec<OsString> {
    let run_dir = directory.root().into();
    vec![scr.into(), "rank-exec".into(), "--run-dir".into(), run_dir, "--".into()]
}

/// Runs one rank; returns its exit status unless a signal ended it, which then ends this process too.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    outlive_signals()?;
    let directory = RunDirectory::new(&arguments.run_dir);
    let run = directory.existing_run()?;
    let (rank, ranks) = launcher::rank_and_size(&variable)?;
    let slot = slot_of(rank, ranks, run.slots.len() as u32, run.ranks_per_node.as_deref())?;
    let node = &run.slots[slot as usize];
    if directory.down()?.contains(node) {
        return Err(Error::new(ErrorKind::Refused, format!("{node} of rank {rank} is down")));
    }
    let status = run_rank(&directory, &run, node, rank, &arguments.command)
        .context(|| format!("rank {rank} on {node}"))?;
    let ended_unix_nanos = SystemClock::default().unix().as_nanos() as u64;
    // On a node that was just killed there is no place left for the note, and nobody who needs it.
    let _ = directory.note_end(node, rank, RankEnd { status, ended_unix_nanos });
    if let Status::Signal(signal) = status {
        die_of(signal);
    }
    Ok(status.exit_code())
}

/// Keeps the signals that a user sends to the whole process group from ending the wrapper before the program.
///
/// A caught signal, unlike an ignored one, is back to its default in the program.
fn outlive_signals() -> Result<()> {
    let caught = Arc::new(AtomicBool::new(false));
    for signal in super::signals::FORWARDED {
        signal_hook::flag::register(signal, Arc::clone(&caught))
            .map_err(|error| Error::io("catch signals in", Path::new("rank-exec"), &error))?;
    }
    Ok(())
}

fn run_rank(
    directory: &RunDirectory,
    run: &Run,
    node: &NodeName,
    rank: u32,
    words: &[OsString],
) -> Result<Status> {
    let has_own_group = take_own_group();
    let Some(wrapper) = process::this() else {
        return Err(Error::new(ErrorKind::Io, "/proc is not there; scr run needs it"));
    };
    let mut processes = RankProcesses { wrapper, program: None, has_own_group };
    directory.note_processes(node, rank, &processes)?;

    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("SCR_RUN_ID", &run.id)
        .env("SCR_RUN_DIR", directory.root())
        .env("SCR_JOB_ID", &run.job_id)
        .env("SCR_NODE", node.as_str())
        .env("SCR_CNTL_BASE", directory.control(node))
        .env("SCR_CACHE_BASE", run.cache(node));
    process::die_with_parent(&mut command);
    let child = match process::spawn(&mut command) {
        Ok(child) => child,
        Err(error) => {
            output::note(&format!("rank {rank} on {node}: {error:#}"));
            let is_missing = error.kind() == ErrorKind::NotFound;
            let code = if is_missing { exit::NO_SUCH_PROGRAM } else { exit::CANNOT_EXECUTE };
            return Ok(Status::Code(i32::from(code)));
        }
    };
    // What the launcher gave us stays open on purpose: MPICH takes the end of its socket for the end of the rank, and
    // would kill us before we have noted how the program ended.
    processes.program = process::find(child.id().cast_signed());
    // Not being able to write the second note leaves the first one: enough to kill the rank.
    let _ = directory.note_processes(node, rank, &processes);
    wait(child)
}

/// Leads a process group, so that the rank can be killed as a whole; not at a terminal, which would stop a program that
/// reads from it outside the group in front.
fn take_own_group() -> bool {
    if std::io::stdin().is_terminal() {
        return false;
    }
    // Fails for the leader of a session, which leads its group already.
    let _ = rustix::process::setpgid(None, None);
    rustix::process::getpgrp() == rustix::process::getpid()
}

/// Waits for the program, or for the launcher: a rank does not outlive who started it.
fn wait(mut child: Child) -> Result<Status> {
    let failed = |error: std::io::Error| Error::io("wait for", Path::new("the program"), &error);
    let open = |pid: Option<Pid>| pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let launcher = open(rustix::process::getppid());
    let program = open(Pid::from_raw(child.id().cast_signed()));
    if let (Some(launcher), Some(program)) = (launcher, program) {
        let watched = |fd| PollFd::new(fd, PollFlags::IN);
        let mut descriptors = [watched(&program), watched(&launcher)];
        while matches!(poll(&mut descriptors, None), Err(rustix::io::Errno::INTR)) {}
        if descriptors[0].revents().is_empty() {
            child.kill().map_err(failed)?;
        }
    }
    child.wait().map(process::status_of).map_err(failed)
}

/// Ends this process as the signal ended the program, without a second core file; returns if that cannot be.
fn die_of(signal: i32) {
    use rustix::process::{DumpableBehavior, getpid, kill_process, set_dumpable_behavior};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if super::signals::FORWARDED.contains(&signal) {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    } else if let Some(signal) = Signal::from_named_raw(signal) {
        // The Rust runtime takes the first SIGSEGV or SIGBUS to restore the default; the second one counts.
        let _ = kill_process(getpid(), signal);
        let _ = kill_process(getpid(), signal);
    }
}
