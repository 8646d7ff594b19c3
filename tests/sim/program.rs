// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the application does: one rank of a launch, from Init to its end, writing down every answer it gets.

use crate::files::files_of;
use scr_core::comm::Comm;
use scr_core::config::Config;
use scr_core::exec::scavenge::scavenge;
use scr_core::host::Host;
use scr_core::session::{Flags, Session};
use scr_core::store::fault::Faulty;
use scr_core::store::{Access, Store};
use scr_core::{Error, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One thing an application does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Asks for a restart, and reads everything back.
    Restart,
    /// Writes a checkpoint.
    Checkpoint(String),
    /// Writes a checkpoint that must reach the prefix.
    Output(String),
    /// Asks whether to write a checkpoint, and takes no notice of the answer: an occasion for flushes to end. With a number,
    /// so that answers can be told apart.
    Ask(u32),
    /// Ends well.
    Finalize,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// An application.
    Steps(Vec<Step>),
    /// `scr scavenge`, one rank per node.
    Scavenge,
}

/// One answer to one rank.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub rank: usize,
    /// The call, with what it was about.
    pub call: String,
    /// What it said, or why it failed.
    pub said: Result<String, (ErrorKind, String)>,
}

/// What every rank was told by a call.
pub(crate) fn said(answers: &[Answer], call: &str) -> Vec<String> {
    let of = answers.iter().filter(|a| a.call == call);
    of.map(|a| format!("{:?}", a.said.as_ref().map_err(|(kind, why)| (kind, why)))).collect()
}

/// What all ranks were told, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<Answer>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, rank: usize, call: &str, said: Result<String, (ErrorKind, String)>) {
        self.0.lock().unwrap().push(Answer { rank, call: call.into(), said });
    }
}

/// A rank of a launch.
pub(crate) struct Rank<'a> {
    pub seed: u64,
    pub log: &'a Log,
    pub host: Host,
    pub config: Config,
    /// The stores of this rank: a process that died in one of them says nothing more.
    pub stores: &'a [Faulty; 2],
}

/// Why a rank goes no further.
struct Stop;

impl Rank<'_> {
    pub(crate) fn run(self, comm: Box<dyn Comm>, program: &Program) {
        let rank = comm.rank();
        match program {
            Program::Scavenge => {
                let saved = scavenge(comm, self.host.clone(), self.config.clone());
                let told = saved.map(|all| {
                    let word = |s: &scr_core::exec::scavenge::Saved| match &s.outcome {
                        Ok(()) => format!("{}=saved", s.name),
                        Err(_) => format!("{}=not", s.name),
                    };
                    all.iter().map(word).collect::<Vec<_>>().join(" ")
                });
                let _ = self.note(rank, "scavenge", told);
            }
            Program::Steps(steps) => {
                let _ = self.session(comm, steps);
            }
        }
    }

    fn session(&self, comm: Box<dyn Comm>, steps: &[Step]) -> Result<(), Stop> {
        let rank = comm.rank();
        let begun = Session::init(comm, self.host.clone(), self.config.clone());
        let mut session = match begun {
            Ok(session) => {
                self.note(rank, "init", Ok(String::new()))?;
                session
            }
            Err(error) => return self.note(rank, "init", Err(error)),
        };
        for step in steps {
            match step {
                Step::Restart => self.restart(rank, &mut session)?,
                Step::Checkpoint(name) => self.write(rank, &mut session, name, false)?,
                Step::Output(name) => self.write(rank, &mut session, name, true)?,
                Step::Ask(number) => {
                    let asked = session.need_checkpoint().map(|_| String::new());
                    self.note(rank, &format!("ask {number}"), asked)?;
                }
                Step::Finalize => {
                    let done = session.finalize().map(|()| String::new());
                    self.note(rank, "finalize", done)?;
                }
            }
        }
        Ok(())
    }

    /// Writes an answer down; an error of communication ends the rank.
    fn note(&self, rank: usize, call: &str, said: Result<String, Error>) -> Result<(), Stop> {
        if self.stores.iter().any(Faulty::is_dead) {
            return Err(Stop);
        }
        let is_over = matches!(&said, Err(e) if e.kind() == ErrorKind::Communication);
        self.log.note(rank, call, said.map_err(|e| (e.kind(), format!("{e:#}"))));
        if is_over { Err(Stop) } else { Ok(()) }
    }

    fn restart(&self, rank: usize, session: &mut Session) -> Result<(), Stop> {
        let found = session.have_restart();
        let name = match &found {
            Ok(Some(name)) => Some(name.as_str().to_string()),
            _ => None,
        };
        let failed = found.is_err();
        let said = found.map(|name| name.map_or("none".into(), |name| name.as_str().into()));
        self.note(rank, "have_restart", said)?;
        if failed {
            return Err(Stop);
        }
        let Some(name) = name else { return Ok(()) };
        let started = session.start_restart().map(|name| name.as_str().to_string());
        self.note(rank, "start_restart", started)?;
        let read = self.read(rank, session, &name);
        let is_whole = read.is_ok();
        self.note(rank, "read", read.map_err(|why| Error::new(ErrorKind::Corrupt, why)))?;
        let ended = session.complete_restart(is_whole).map(|()| String::new());
        let failed = ended.is_err();
        self.note(rank, "complete_restart", ended)?;
        if failed { Err(Stop) } else { Ok(()) }
    }

    /// Compares every file of this rank with what the model says.
    fn read(&self, rank: usize, session: &mut Session, name: &str) -> Result<String, String> {
        for (file, expected) in files_of(self.seed, name, rank) {
            let path = session
                .route_file(&self.config.prefix.join(&file))
                .map_err(|error| format!("{name}: {}: {error:#}", file.display()))?;
            // A dataset that does not fit in cache is read where it is.
            let is_in_prefix = path.starts_with(&self.config.prefix);
            let store = if is_in_prefix { &self.host.shared } else { &self.host.local };
            let found = store.read(&path);
            let found = found.map_err(|error| format!("{name}: {error:#}"))?;
            if found != expected {
                let at = found.iter().zip(&expected).position(|(a, b)| a != b);
                let (got, want) = (found.len(), expected.len());
                return Err(format!(
                    "WRONG BYTES in {name}: {}: {got} bytes of {want}, first difference {at:?}",
                    file.display()
                ));
            }
        }
        Ok(String::new())
    }

    fn write(
        &self,
        rank: usize,
        session: &mut Session,
        name: &str,
        output: bool,
    ) -> Result<(), Stop> {
        let flags = Flags { checkpoint: true, output };
        let started = session.start_output(Some(name), flags);
        let failed = started.is_err();
        self.note(rank, &format!("start {name}"), started.map(|()| String::new()))?;
        if failed {
            return Ok(());
        }
        let written = self.write_files(rank, session, name);
        let done = session.complete_output(written.is_ok()).map(|outcome| format!("{outcome:?}"));
        self.note(rank, &format!("complete {name}"), done)
    }

    fn write_files(&self, rank: usize, session: &mut Session, name: &str) -> Result<(), Error> {
        files_of(self.seed, name, rank).into_iter().try_for_each(|(file, data)| {
            let path = session.route_file(&self.config.prefix.join(&file))?;
            write_file(&self.host.local, &path, &data)
        })
    }
}

fn write_file(store: &Arc<dyn Store>, path: &Path, data: &[u8]) -> Result<(), Error> {
    let file = store.open(path, Access::Create)?;
    data.chunks(1 << 14)
        .enumerate()
        .try_for_each(|(i, piece)| file.write_at((i << 14) as u64, piece))
}
