// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agents: one process of ours on each node of an allocation, while there is something to do there.
//!
//! The coordinator starts them by whatever reaches the nodes (a job step, ssh, or as processes of this machine), tells all
//! of them the same, line by line, and hears each. A node that says nothing is what it wants to find out, so nothing here
//! fails because one does not answer. Agents end when the coordinator does: their standard input ends then.
//!
//! | file | what it does |
//! |---|---|
//! | [`protocol`] | what they say to each other |
//! | [`node`] | an agent's own life: task, requests, end |
//! | [`probe`], [`watch`], [`clean`], [`save`] | what an agent does, and what the coordinator makes of it |
//! | [`network`] | agents that work together as ranks |
//! | [`here`], [`ssh`] | ways to the nodes; job steps are the resource manager's |

pub(crate) mod clean;
pub(crate) mod here;
mod network;
pub(crate) mod node;
pub(crate) mod probe;
pub(crate) mod protocol;
pub(crate) mod save;
pub(crate) mod ssh;
pub(crate) mod watch;

use crate::process::{self, Process};
use crate::resource_manager::Reach;
use protocol::{Answer, Line, Request, Task};
use rustix::process::Signal;
use scr_core::clock::{Clock, SystemClock};
use scr_core::id::NodeName;
use scr_core::{Context, Error, ErrorKind, Result};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long command lines may take to end when there is nothing left to do.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether they have.
const POLL: Duration = Duration::from_millis(10);
/// No line of an agent is longer.
const MOST_LINE_BYTES: u64 = 64 << 20;
/// Longer arguments than 128 KiB are refused by Linux.
const MOST_ARGUMENT_BYTES: usize = 100 << 10;
/// Of what command lines say besides, the beginning is kept.
const MOST_REMARK_BYTES: usize = 16 << 10;

/// A command line that carries agents.
#[derive(Debug)]
struct Carrier {
    child: Child,
    process: Option<Process>,
    /// What is to be written to it; gone when it shall end.
    input: Option<Sender<Arc<Vec<u8>>>>,
}

/// Agents at work.
///
/// When dropped their standard input ends; command lines that do not end then are killed.
#[derive(Debug)]
pub(crate) struct Agents {
    carriers: Vec<Carrier>,
    answers: Receiver<(NodeName, Answer)>,
    remarks: Arc<Mutex<String>>,
    clock: SystemClock,
}

impl Agents {
    /// Starts an agent for `task` on each of `nodes`, and does not wait for them.
    ///
    /// # Errors
    /// When a command line cannot be started at all.
    pub(crate) fn start(reach: &dyn Reach, nodes: &[NodeName], task: &Task) -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|error| Error::io("find", Path::new("the program scr"), &error))?;
        let mut program: Vec<OsString> = vec![own.into(), node::COMMAND.into(), task.name().into()];
        let told = protocol::encode(task)?;
        // Nothing is written to a job step before all its nodes have come up, and one that does not come up is what a
        // probe is to find: so those that do must know their task from the beginning.
        let is_short = told.len() <= MOST_ARGUMENT_BYTES;
        if is_short {
            program.push(OsString::from(String::from_utf8_lossy(&told).trim_end()));
        }
        let (sender, answers) = channel();
        let remarks = Arc::default();
        let clock = SystemClock::default();
        let mut agents = Self { carriers: Vec::new(), answers, remarks, clock };
        for line in reach.command_lines(nodes, &program) {
            let carrier = agents.carry(&line, &sender);
            agents.carriers.push(carrier.context(|| "start agents")?);
        }
        if !is_short {
            agents.write(told);
        }
        Ok(agents)
    }

    fn carry(&self, line: &[OsString], answers: &Sender<(NodeName, Answer)>) -> Result<Carrier> {
        let Some((program, arguments)) = line.split_first() else {
            return Err(Error::new(ErrorKind::Misuse, "an empty command line reaches no node"));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process::die_with_parent(&mut command);
        let mut child = process::spawn(&mut command)?;
        let (input, lines) = channel::<Arc<Vec<u8>>>();
        // A carrier that takes nothing must not hold the coordinator, nor one that says much.
        if let Some(mut stdin) = child.stdin.take() {
            thread("scr-agents-in", move || {
                // Who does not hear any more is dead, and found out to be.
                let _ = lines.iter().try_for_each(|line| stdin.write_all(&line));
            })?;
        }
        if let Some(stdout) = child.stdout.take() {
            let (answers, remarks) = (answers.clone(), Arc::clone(&self.remarks));
            thread("scr-agents-out", move || hear(stdout, &answers, &remarks))?;
        }
        if let Some(stderr) = child.stderr.take() {
            let remarks = Arc::clone(&self.remarks);
            thread("scr-agents-err", move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok) {
                    remark(&remarks, &line);
                }
            })?;
        }
        let process = process::find(child.id().cast_signed());
        Ok(Carrier { child, process, input: Some(input) })
    }

    /// Tells all agents something.
    ///
    /// # Errors
    /// Only when it cannot be put into words; who hears it is not known.
    pub(crate) fn tell(&self, request: &Request) -> Result<()> {
        self.write(protocol::encode(request)?);
        Ok(())
    }

    fn write(&self, line: Vec<u8>) {
        let line = Arc::new(line);
        for input in self.carriers.iter().filter_map(|carrier| carrier.input.as_ref()) {
            // A carrier that has ended is found out elsewhere.
            let _ = input.send(Arc::clone(&line));
        }
    }

    /// The next thing that an agent says; `None` when nothing comes within `limit`, or nobody is left to say anything.
    pub(crate) fn next(&mut self, limit: Duration) -> Option<(NodeName, Answer)> {
        match self.answers.recv_timeout(limit) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.carriers.iter_mut().for_each(|carrier| carrier.input = None);
                None
            }
        }
    }

    /// Whether all command lines have ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.carriers.iter_mut().all(Carrier::has_ended)
    }

    /// What command lines have said that is no agent's: their own troubles, for a report.
    pub(crate) fn remarks(&self) -> String {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).trim_end().to_string()
    }

    /// Tells the agents to end, and waits a little until they have.
    pub(crate) fn stop(&mut self, limit: Duration) {
        self.carriers.iter_mut().for_each(|carrier| carrier.input = None);
        let end = self.clock.monotonic() + limit;
        while !self.is_over() && self.clock.monotonic() < end {
            self.clock.sleep(POLL);
        }
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop(GRACE);
        for carrier in &mut self.carriers {
            if !carrier.has_ended() {
                carrier.process.map(|process| process.signal(Signal::KILL));
                let _ = carrier.child.wait();
            }
        }
    }
}

impl Carrier {
    fn has_ended(&mut self) -> bool {
        // Who waits for all children, as `scr run` does, may have taken leave of this one: then there is none to ask.
        !matches!(self.child.try_wait(), Ok(None))
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = std::thread::Builder::new().name(name.to_string()).spawn(work);
    started.map(drop).map_err(|error| Error::io("start", "a thread", &error))
}

/// Passes on what agents say, until the last of a command line has ended.
fn hear(stdout: impl Read, answers: &Sender<(NodeName, Answer)>, remarks: &Mutex<String>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdout.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match protocol::decode::<Line>(&line) {
            Ok(Line { node, answer }) => {
                if answers.send((node, answer)).is_err() {
                    return;
                }
            }
            Err(_) => remark(remarks, &line),
        }
    }
}

fn remark(remarks: &Mutex<String>, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let mut remarks = remarks.lock().unwrap_or_else(PoisonError::into_inner);
    if !text.trim().is_empty() && remarks.len() + text.len() < MOST_REMARK_BYTES {
        remarks.push_str(text.trim_end());
        remarks.push('\n');
    }
}
