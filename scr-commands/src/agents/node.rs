// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent's own life: it reads its task, does it, and ends, at the latest when its standard input does.

use super::network::Ender;
use super::protocol::{self, Answer, Failure, Line, Request, Task};
use super::{clean, probe, save, watch};
use crate::{environment, exit, settings};
use rustix::process::Signal;
use scr_core::clock::{Clock, SystemClock};
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The command that starts an agent. No process with this word among its arguments is taken for the application's.
pub(crate) const COMMAND: &str = "node-agent";

/// How long an agent may go on to tidy up after its standard input has ended.
const GRACE: Duration = Duration::from_secs(3);

/// What an agent is started with.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What it does, for people who look at processes
    name: String,
    /// The task; without it, it comes on standard input
    task: Option<String>,
}

/// An agent's standard output, for any thread.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    node: NodeName,
    /// Whole lines only: another thread may want to say something too.
    turn: Arc<Mutex<()>>,
}

impl Voice {
    /// The name of the node.
    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }

    /// Says something, at once.
    ///
    /// # Errors
    /// When nobody hears it any more.
    pub(crate) fn say(&self, answer: Answer) -> Result<()> {
        let line = protocol::encode(&Line { node: self.node.clone(), answer })?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&line).and_then(|()| out.flush());
        written.map_err(|error| Error::io("write to", "stdout", &error))
    }
}

/// What an agent hears while it works.
#[derive(Debug)]
pub(crate) struct Ears {
    requests: Receiver<Request>,
    ending: Arc<Mutex<Option<Ender>>>,
}

impl Ears {
    /// The next request; `None` when nothing comes within `limit`.
    ///
    /// # Errors
    /// When the coordinator is gone.
    pub(crate) fn next(&self, limit: Duration) -> Result<Option<Request>> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.requests.recv_timeout(limit) {
            Ok(request) => Ok(Some(request)),
            Err(Timeout) => Ok(None),
            Err(Disconnected) => Err(is_gone()),
        }
    }

    /// Lets the end of standard input end a world.
    pub(crate) fn end_with_input(&self, ender: Ender) {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(ender);
    }
}

fn is_gone() -> Error {
    Error::new(ErrorKind::Communication, "the coordinator is gone")
}

/// Lives the life of an agent.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    // Where the parent is the coordinator. Elsewhere the end of standard input says the same.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let (tasks, task) = channel();
    let (sender, requests) = channel();
    let ending = Arc::new(Mutex::new(None));
    let ears = Ears { requests, ending: Arc::clone(&ending) };
    if let Some(task) = &arguments.task {
        // The receiver is here.
        let _ = tasks.send(protocol::decode(task.as_bytes()));
    }
    let has_task = arguments.task.is_some();
    let listener = std::thread::Builder::new().name("scr-agent-in".into());
    listener
        .spawn(move || listen((!has_task).then_some(tasks), sender, &ending))
        .map_err(|error| Error::io("start", "a thread", &error))?;
    let Ok(task) = task.recv() else { return Ok(exit::SUCCESS) };
    let own = environment::all();
    let voice = Voice { node: settings::node(&own), turn: Arc::default() };
    let done = task.and_then(|task| work(task, &own, &voice, &ears));
    match done {
        Ok(Some(answer)) => voice.say(answer).map(|()| exit::SUCCESS),
        Ok(None) => Ok(exit::SUCCESS),
        Err(error) => {
            voice.say(Answer::Failed(Failure::from(&error)))?;
            Ok(exit::of_error(error.kind()))
        }
    }
}

/// Does a task; returns its last word, if it has one.
fn work(
    task: Task,
    own: &BTreeMap<String, String>,
    voice: &Voice,
    ears: &Ears,
) -> Result<Option<Answer>> {
    match task {
        Task::Probe(task) => probe::look(&task, &task.settings.clone().on_node(own))
            .map(|found| Some(Answer::Probed(Box::new(found)))),
        Task::Watch(task) => {
            watch::watch(&task, &task.settings.clone().on_node(own), voice, ears).map(|()| None)
        }
        Task::Clean(task) => clean::clean(&task, &task.settings.clone().on_node(own))
            .map(|found| Some(Answer::Cleaned(found))),
        Task::Save(task) => save::take_part(&task.settings.on_node(own), voice, ears)
            .map(|saved| Some(Answer::Saved(saved))),
    }
}

/// Reads what the coordinator says. When it says nothing more it is gone, and so is the reason to be here.
fn listen(
    tasks: Option<Sender<Result<Task>>>,
    requests: Sender<Request>,
    ending: &Mutex<Option<Ender>>,
) {
    let mut lines = std::io::stdin().lock().split(b'\n').map_while(std::io::Result::ok);
    if let Some(tasks) = tasks
        && let Some(line) = lines.next()
    {
        let _ = tasks.send(protocol::decode(&line));
    }
    for line in lines {
        // What makes no sense asks for nothing, and who has ended his work asks for nothing more.
        if let Ok(request) = protocol::decode(&line) {
            let _ = requests.send(request);
        }
    }
    drop(requests);
    if let Some(ender) = &*ending.lock().unwrap_or_else(PoisonError::into_inner) {
        ender.end("told to stop");
    }
    SystemClock::default().sleep(GRACE);
    end_process();
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file system that hangs must not keep an agent whom nobody hears any more"
)]
fn end_process() {
    std::process::exit(i32::from(exit::SUCCESS));
}
