// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of libscr in one process: what each function of scr.h does, in the types of Rust.
//!
//! Without C: arguments arrive converted, or as the error that their conversion met. A phase that was begun is ended
//! by its `complete`, whatever that returns; a phase whose start failed was not begun.

use crate::launch::{self, Launch, Started};
use crate::phase::Phase;
use crate::signals::Signals;
use crate::sink::Lines;
use crate::{job, settings::Settings};
use scr_core::comm::{Comm, agree};
use scr_core::event::Level;
use scr_core::session::{Flags, Outcome};
use scr_core::{Error, ErrorKind, Result};
use std::ffi::c_int;
use std::path::PathBuf;

/// What stands behind the functions now.
#[derive(Debug, Default)]
enum Engine {
    /// Not initialized.
    #[default]
    None,
    /// `SCR_ENABLE=0`: every call passes.
    Disabled,
    /// A session.
    Running(Box<Launch>),
    /// A call panicked: what it left cannot be trusted, and other ranks may be waiting for it.
    Abandoned,
}

/// All that libscr knows between calls.
#[derive(Debug)]
pub(crate) struct Life {
    /// Who prints.
    pub(crate) voice: Lines,
    /// What was printed last: a wrong call in a loop must not fill the output.
    pub(crate) told: String,
    settings: Settings,
    signals: Signals,
    phase: Phase,
    engine: Engine,
}

impl Default for Life {
    fn default() -> Self {
        let voice = Lines { rank: None, node: job::System::ask().host_name, debug: 0 };
        Self {
            voice,
            told: String::new(),
            settings: Settings::default(),
            signals: Signals::default(),
            phase: Phase::Off,
            engine: Engine::None,
        }
    }
}

impl Life {
    /// Starts over the ranks that `ranks` gives, which is asked only where a start is allowed.
    pub(crate) fn init(&mut self, ranks: impl FnOnce() -> Result<Box<dyn Comm>>) -> Result<()> {
        self.at(Phase::Off)?;
        let (signals, voice) = (&mut self.signals, &mut self.voice);
        let mut watch = |names: &[String]| signals.install(names);
        let started = launch::launch(ranks()?, &mut self.settings, voice, &mut watch);
        self.engine = match started.inspect_err(|_| self.signals.let_go())? {
            Started::Disabled => Engine::Disabled,
            Started::Running(launch) => Engine::Running(launch),
        };
        self.phase = Phase::Idle;
        self.exit_if_asked()
    }

    pub(crate) fn finalize(&mut self) -> Result<()> {
        self.at(Phase::Idle)?;
        self.phase = Phase::Off;
        self.signals.let_go();
        match std::mem::take(&mut self.engine) {
            Engine::Running(mut launch) => launch.session.finalize(),
            _ => Ok(()),
        }
    }

    /// Sets or asks for a parameter.
    pub(crate) fn config(&mut self, text: &str) -> Result<Option<String>> {
        let can_set = self.phase == Phase::Off;
        // Before SCR_Init no rank is known to be the one that prints; SCR_Init tells then.
        self.settings.call(text, can_set).inspect_err(|error| {
            if self.voice.rank == Some(0) {
                self.voice.say(Level::Error, &format!("SCR_Config: {error:#}"));
            }
        })
    }

    /// Whether to write a checkpoint now. `place`: whether there is one for the answer, on this rank.
    pub(crate) fn need_checkpoint(&mut self, place: Result<()>) -> Result<bool> {
        let Some(launch) = self.at(Phase::Idle)? else { return place.map(|()| false) };
        agree(&*launch.comm, place)?;
        launch.session.need_checkpoint()
    }

    /// Whether to stop. `place` as for `need_checkpoint`.
    pub(crate) fn should_exit(&mut self, place: Result<()>) -> Result<bool> {
        let Some(launch) = self.at(Phase::Idle)? else { return place.map(|()| false) };
        agree(&*launch.comm, place)?;
        launch.session.should_exit()
    }

    pub(crate) fn start_output(
        &mut self,
        name: Result<Option<String>>,
        flags: c_int,
    ) -> Result<()> {
        let arguments = name.and_then(|name| Ok((name, flags_of(flags)?)));
        self.start(Phase::Output, arguments)
    }

    pub(crate) fn start_checkpoint(&mut self) -> Result<()> {
        self.start(Phase::Checkpoint, Ok((None, Flags { checkpoint: true, output: false })))
    }

    pub(crate) fn complete_output(&mut self, valid: bool) -> Result<()> {
        self.complete(Phase::Output, valid)
    }

    pub(crate) fn complete_checkpoint(&mut self, valid: bool) -> Result<()> {
        self.complete(Phase::Checkpoint, valid)
    }

    /// Where to write or read the file `name`; outside any phase, and where scr is switched off, that name itself.
    pub(crate) fn route_file(&mut self, name: PathBuf) -> Result<PathBuf> {
        match (&mut self.engine, self.phase) {
            (Engine::Abandoned, _) => Err(abandoned()),
            (Engine::Running(launch), Phase::Output | Phase::Checkpoint | Phase::Restart) => {
                launch.session.route_file(&name)
            }
            _ => Ok(name),
        }
    }

    /// The name of the dataset to restart from. `place` as for `need_checkpoint`; where the caller of any rank cannot take
    /// the name, all get an error, and can ask again.
    pub(crate) fn have_restart(
        &mut self,
        place: Result<()>,
        takes: impl FnOnce(&str) -> Result<()>,
    ) -> Result<Option<String>> {
        let Some(launch) = self.at(Phase::Idle)? else { return place.map(|()| None) };
        agree(&*launch.comm, place)?;
        launch.offer(takes)
    }

    /// Starts to read what `have_restart` named, or would name. Where the caller of any rank cannot take the name, nothing is
    /// started.
    pub(crate) fn start_restart(
        &mut self,
        takes: impl FnOnce(&str) -> Result<()>,
    ) -> Result<String> {
        let Some(launch) = self.at(Phase::Idle)? else {
            return Err(Error::new(ErrorKind::Misuse, "nothing to restart from: SCR_ENABLE=0"));
        };
        launch.offer(takes)?;
        let name = launch.session.start_restart()?.as_str().to_string();
        self.phase = Phase::Restart;
        Ok(name)
    }

    pub(crate) fn complete_restart(&mut self, valid: bool) -> Result<()> {
        let result = match self.at(Phase::Restart)? {
            Some(launch) => launch.session.complete_restart(valid),
            None => Ok(()),
        };
        self.phase = Phase::Idle;
        result
    }

    pub(crate) fn current(&mut self, name: Result<String>) -> Result<()> {
        self.name(name, |launch, name| launch.session.current(name))
    }

    pub(crate) fn drop_dataset(&mut self, name: Result<String>) -> Result<()> {
        self.name(name, |launch, name| launch.session.drop_dataset(name))
    }

    pub(crate) fn delete(&mut self, name: Result<String>) -> Result<()> {
        self.name(name, |launch, name| launch.session.delete(name))
    }

    /// Gives the session up after a panic, without running its destructors, which would communicate.
    pub(crate) fn abandon(&mut self) -> Error {
        std::mem::forget(std::mem::replace(&mut self.engine, Engine::Abandoned));
        abandoned()
    }

    /// What runs in the phase `wanted`; `None` where scr is switched off or not initialized.
    fn at(&mut self, wanted: Phase) -> Result<Option<&mut Launch>> {
        if matches!(self.engine, Engine::Abandoned) {
            return Err(abandoned());
        }
        wanted.require(self.phase)?;
        match &mut self.engine {
            Engine::Running(launch) => Ok(Some(launch)),
            _ => Ok(None),
        }
    }

    fn start(&mut self, opens: Phase, arguments: Result<(Option<String>, Flags)>) -> Result<()> {
        match self.at(Phase::Idle)? {
            Some(launch) => {
                let (name, flags) = agree(&*launch.comm, arguments)?;
                launch.session.start_output(name.as_deref(), flags)?;
            }
            None => drop(arguments?),
        }
        self.phase = opens;
        Ok(())
    }

    fn complete(&mut self, opened: Phase, valid: bool) -> Result<()> {
        let result = match self.at(opened)? {
            Some(launch) => launch.session.complete_output(valid),
            None => Ok(Outcome::Committed),
        };
        self.phase = Phase::Idle;
        let outcome = result?;
        self.exit_if_asked()?;
        match outcome {
            Outcome::Committed => Ok(()),
            Outcome::Degraded => {
                let message =
                    "the dataset is whole, but nothing protects it against the loss of a node";
                Err(Error::new(ErrorKind::Degraded, message))
            }
        }
    }

    /// Brings a name to a collective call on one dataset.
    fn name(
        &mut self,
        name: Result<String>,
        call: impl FnOnce(&mut Launch, &str) -> Result<()>,
    ) -> Result<()> {
        match self.at(Phase::Idle)? {
            Some(launch) => {
                let name = agree(&*launch.comm, name)?;
                call(launch, &name)
            }
            None => name.map(drop),
        }
    }

    /// Ends the process where a halt condition holds and `SCR_HALT_EXIT=1` asks for it.
    fn exit_if_asked(&mut self) -> Result<()> {
        let Engine::Running(launch) = &mut self.engine else { return Ok(()) };
        if launch.halt_exit && launch.session.should_exit()? {
            launch.session.finalize()?;
            #[expect(clippy::disallowed_methods, reason = "what SCR_HALT_EXIT=1 asks for")]
            std::process::exit(0);
        }
        Ok(())
    }
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Communication, "libscr failed inside (a bug in it) and answers no more")
}

/// The meaning of `SCR_FLAG_*`.
fn flags_of(flags: c_int) -> Result<Flags> {
    use crate::api::{SCR_FLAG_CHECKPOINT, SCR_FLAG_OUTPUT};
    if flags & !(SCR_FLAG_CHECKPOINT | SCR_FLAG_OUTPUT) != 0 {
        return Err(Error::new(ErrorKind::Misuse, format!("flags {flags} are not SCR_FLAG_*")));
    }
    Ok(Flags { checkpoint: flags & SCR_FLAG_CHECKPOINT != 0, output: flags & SCR_FLAG_OUTPUT != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(engine: Engine, phase: Phase) -> Life {
        Life { phase, engine, ..Life::default() }
    }

    #[test]
    fn disabled_passes_the_whole_life() {
        let mut life = life(Engine::Disabled, Phase::Idle);
        assert_eq!(life.have_restart(Ok(()), |_| Ok(())).expect("passes"), None);
        assert!(!life.need_checkpoint(Ok(())).expect("passes"));
        assert!(!life.should_exit(Ok(())).expect("passes"));
        life.start_output(Ok(Some("a".into())), 1).expect("passes");
        assert_eq!(life.route_file("d/f".into()).expect("passes"), PathBuf::from("d/f"));
        assert!(life.complete_checkpoint(true).is_err(), "started by SCR_Start_output");
        life.complete_output(true).expect("passes");
        life.start_checkpoint().expect("passes");
        life.complete_checkpoint(false).expect("passes");
        life.delete(Ok("a".into())).expect("passes");
        life.finalize().expect("passes");
        assert_eq!(life.finalize().expect_err("not twice").kind(), ErrorKind::Misuse);
    }

    #[test]
    fn a_start_that_failed_began_nothing() {
        let mut life = life(Engine::Disabled, Phase::Idle);
        assert!(life.start_output(Ok(None), 4).is_err(), "no such flag");
        assert!(life.complete_output(true).is_err());
        life.start_output(Ok(None), 3).expect("passes");
    }

    #[test]
    fn nothing_but_copying_names_works_before_init() {
        let mut life = life(Engine::None, Phase::Off);
        assert_eq!(life.route_file("a".into()).expect("copies"), PathBuf::from("a"));
        let misuse = [
            life.finalize(),
            life.need_checkpoint(Ok(())).map(drop),
            life.should_exit(Ok(())).map(drop),
            life.start_checkpoint(),
            life.complete_checkpoint(true),
            life.start_output(Ok(None), 0),
            life.complete_output(true),
            life.have_restart(Ok(()), |_| Ok(())).map(drop),
            life.start_restart(|_| Ok(())).map(drop),
            life.complete_restart(true),
            life.current(Ok("a".into())),
            life.drop_dataset(Ok("a".into())),
            life.delete(Ok("a".into())),
        ];
        for result in misuse {
            assert_eq!(result.expect_err("refused").kind(), ErrorKind::Misuse);
        }
    }

    #[test]
    fn after_a_panic_every_call_is_an_error() {
        let mut life = life(Engine::Disabled, Phase::Idle);
        assert_eq!(life.abandon().kind(), ErrorKind::Communication);
        assert!(life.need_checkpoint(Ok(())).is_err());
        assert!(life.route_file("a".into()).is_err());
        assert!(life.init(launch::world).is_err());
    }
}
