// SPDX-License-Identifier: MIT OR Apache-2.0
//! Datasets as values, for programs in Rust: what was begun cannot be forgotten.
//!
//! [`Output`] and [`Restart`] borrow the session until they are completed. One that is dropped instead, by a `?` or a
//! panic, counts as *not valid*. The drop itself only remembers that: it must not communicate, because the other ranks
//! may be anywhere. They get the answer at the next collective call of this rank, which first makes up for the call that
//! is missing. Until then they wait in their own `complete`.

use super::{Flags, Outcome, Session, State};
use crate::error::{ErrorKind, Result};
use crate::id::DatasetName;
use std::path::{Path, PathBuf};

/// A dataset that is being written; see [`Session::output`].
#[derive(Debug)]
#[must_use = "a dataset that is not completed counts as not valid"]
pub struct Output<'a> {
    session: &'a mut Session,
}

/// A dataset that is being read; see [`Session::restart`].
#[derive(Debug)]
#[must_use = "a restart that is not completed counts as not valid"]
pub struct Restart<'a> {
    session: &'a mut Session,
    name: DatasetName,
}

impl Session {
    /// Starts a dataset; an empty name makes one up.
    ///
    /// # Collective
    /// On all ranks, with equal arguments.
    ///
    /// # Errors
    /// Those of [`start_output`](Self::start_output).
    pub fn output(&mut self, name: &str, flags: Flags) -> Result<Output<'_>> {
        self.start_output(Some(name), flags)?;
        Ok(Output { session: self })
    }

    /// Starts to read the dataset to restart from, or returns `None` when there is none.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// Those of [`have_restart`](Self::have_restart): one of them is that there are checkpoints and none can be used.
    pub fn restart(&mut self) -> Result<Option<Restart<'_>>> {
        if self.have_restart()?.is_none() {
            return Ok(None);
        }
        let name = self.start_restart()?;
        Ok(Some(Restart { session: self, name }))
    }

    /// Ends, as not valid, what a dropped guard left open.
    ///
    /// # Collective
    /// With the `complete` in which the other ranks are, or which they make up for as well.
    pub(super) fn make_up(&mut self) -> Result<()> {
        if !self.abandoned {
            return Ok(());
        }
        let ended = match self.state {
            State::Output(_) => self.complete_output(false).map(|_| ()),
            State::Restart => self.complete_restart(false),
            State::Idle | State::Finalized => Ok(()),
        };
        match ended {
            Err(error) if error.kind() == ErrorKind::Communication => Err(error),
            // That it is not valid is what this rank says; it was told as an event.
            _ => Ok(()),
        }
    }
}

impl Output<'_> {
    /// Where to write the file that belongs at `name` in the prefix. Local.
    ///
    /// # Errors
    /// Those of [`Session::route_file`].
    pub fn route(&mut self, name: impl AsRef<Path>) -> Result<PathBuf> {
        self.session.route_file(name.as_ref())
    }

    /// Ends the dataset; `valid` is this rank's word. On `Ok` it is committed on all ranks.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// Those of [`Session::complete_output`].
    pub fn complete(self, valid: bool) -> Result<Outcome> {
        self.session.complete_output(valid)
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.session.abandoned |= matches!(self.session.state, State::Output(_));
    }
}

impl Restart<'_> {
    /// The name of the dataset.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Where to read the file that belongs at `name` in the prefix. Local.
    ///
    /// # Errors
    /// Those of [`Session::route_file`].
    pub fn route(&mut self, name: impl AsRef<Path>) -> Result<PathBuf> {
        self.session.route_file(name.as_ref())
    }

    /// Ends reading. With `valid` false on any rank the dataset is set aside, and the next one is offered.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// Those of [`Session::complete_restart`].
    pub fn complete(self, valid: bool) -> Result<()> {
        self.session.complete_restart(valid)
    }
}

impl Drop for Restart<'_> {
    fn drop(&mut self) {
        self.session.abandoned |= matches!(self.session.state, State::Restart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::Comm;
    use crate::comm::solo::Solo;
    use crate::comm::thread::{Scheduler, World};
    use crate::config::Layers;
    use crate::host::Host;
    use crate::store::mem::Mem;
    use crate::store::{Access, Store};

    const CHECKPOINT: Flags = Flags { checkpoint: true, output: false };

    fn launch(world: Box<dyn Comm>, local: &Mem, shared: &Mem) -> Session {
        let settings = [("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "3"), ("SCR_FLUSH", "0")];
        let settings = settings.map(|(name, value)| (name.to_string(), value.to_string()));
        let (config, _) = Layers::new("/prefix", settings).resolve().unwrap();
        shared.create_dir_all(Path::new("/prefix")).unwrap();
        let host = Host::in_memory("n0", local, shared);
        Session::init(world, host, config).unwrap()
    }

    fn write(store: &Mem, path: &Path, text: &str) {
        store.open(path, Access::Create).unwrap().write_at(0, text.as_bytes()).unwrap();
    }

    fn checkpoint(session: &mut Session, store: &Mem, name: &str) -> Outcome {
        let mut output = session.output(name, CHECKPOINT).unwrap();
        let path = output.route(format!("{name}/state")).unwrap();
        write(store, &path, name);
        output.complete(true).unwrap()
    }

    fn cached(session: &Session) -> Vec<&str> {
        session.cached().map(DatasetName::as_str).collect()
    }

    #[test]
    fn what_was_completed_comes_back_in_the_next_launch() {
        let (local, shared) = (Mem::new(), Mem::new());
        let mut session = launch(Box::new(Solo), &local, &shared);
        assert!(session.restart().unwrap().is_none());
        assert_eq!(checkpoint(&mut session, &local, "a"), Outcome::Committed);
        drop(session);

        let mut session = launch(Box::new(Solo), &local, &shared);
        let mut restart = session.restart().unwrap().unwrap();
        assert_eq!(restart.name(), "a");
        let path = restart.route("a/state").unwrap();
        assert_eq!(local.read(&path).unwrap(), b"a");
        restart.complete(true).unwrap();
        session.finalize().unwrap();
    }

    #[test]
    fn a_dropped_output_is_not_valid_and_the_drop_touches_nothing() {
        let (local, shared) = (Mem::new(), Mem::new());
        let mut session = launch(Box::new(Solo), &local, &shared);
        checkpoint(&mut session, &local, "a");
        let mut output = session.output("b", CHECKPOINT).unwrap();
        write(&local, &output.route("b/state").unwrap(), "b");
        let before = (local.walk(), shared.walk());
        drop(output);
        assert_eq!((local.walk(), shared.walk()), before);

        assert!(!session.need_checkpoint().unwrap());
        assert_eq!(cached(&session), ["a"]);
        assert!(local.walk().keys().all(|path| !path.ends_with("b/state")));
        checkpoint(&mut session, &local, "c");
        assert_eq!(cached(&session), ["a", "c"]);
    }

    #[test]
    fn a_dropped_output_cannot_be_completed_as_valid() {
        let (local, shared) = (Mem::new(), Mem::new());
        let mut session = launch(Box::new(Solo), &local, &shared);
        drop(session.output("a", CHECKPOINT).unwrap());
        assert_eq!(session.complete_output(true).unwrap_err().kind(), ErrorKind::Invalid);
        checkpoint(&mut session, &local, "b");
        assert_eq!(cached(&session), ["b"]);
    }

    #[test]
    fn a_dropped_restart_makes_room_for_the_one_before() {
        let (local, shared) = (Mem::new(), Mem::new());
        let mut session = launch(Box::new(Solo), &local, &shared);
        checkpoint(&mut session, &local, "a");
        checkpoint(&mut session, &local, "b");
        drop(session);

        let mut session = launch(Box::new(Solo), &local, &shared);
        let restart = session.restart().unwrap().unwrap();
        assert_eq!(restart.name(), "b");
        drop(restart);
        let restart = session.restart().unwrap().unwrap();
        assert_eq!(restart.name(), "a");
        restart.complete(true).unwrap();
    }

    #[test]
    fn the_other_ranks_get_their_answer_at_the_next_call() {
        let (local, shared) = (Mem::new(), Mem::new());
        let kinds = World::new(2, Scheduler::Seeded(1)).run(|world| {
            let rank = world.rank();
            let mut session = launch(world, &local, &shared);
            let output = session.output("a", CHECKPOINT).unwrap();
            let kind = if rank == 0 {
                output.complete(true).unwrap_err().kind()
            } else {
                drop(output);
                ErrorKind::Invalid
            };
            session.finalize().unwrap();
            kind
        });
        let kinds: Vec<ErrorKind> = kinds.into_iter().map(Result::unwrap).collect();
        assert_eq!(kinds, [ErrorKind::PeerFailed, ErrorKind::Invalid]);
    }
}
