// SPDX-License-Identifier: MIT OR Apache-2.0
//! Brings a session up: communicator, configuration, job, ports.

use crate::job::{self, System};
use crate::settings::{Settings, Settled};
use crate::sink::Lines;
use scr_core::clock::SystemClock;
use scr_core::comm::{Comm, agree};
use scr_core::event::json::JsonLines;
use scr_core::event::{Both, Level, Sink};
use scr_core::exec::prefix::Prefix;
use scr_core::session::{Host, JobInfo, Session};
use scr_core::store::posix::Posix;
use scr_core::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A running session and what C's side of it needs.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) session: Session,
    /// The ranks of the session, to agree on the arguments of C before the session sees them.
    pub(crate) comm: Box<dyn Comm>,
    /// `SCR_HALT_EXIT`
    pub(crate) halt_exit: bool,
}

impl Launch {
    /// The name of the dataset to restart from, where the caller of every rank can take it.
    ///
    /// # Collective
    /// All ranks of the session.
    pub(crate) fn offer(
        &mut self,
        takes: impl FnOnce(&str) -> Result<()>,
    ) -> Result<Option<String>> {
        let Some(name) = self.session.have_restart()? else { return Ok(None) };
        agree(&*self.comm, takes(name.as_str()))?;
        Ok(Some(name.as_str().to_string()))
    }
}

/// What `SCR_Init` came to.
#[derive(Debug)]
pub(crate) enum Started {
    /// `SCR_ENABLE=0`
    Disabled,
    /// A session.
    Running(Box<Launch>),
}

/// Installs handlers for the signals with these names; they set the flag that comes back.
pub(crate) type Watch<'a> = dyn FnMut(&[String]) -> Result<Arc<AtomicBool>> + 'a;

/// Starts a session of the ranks of `world` with `settings`; from here on `voice` speaks for this rank.
///
/// # Collective
/// All ranks of `world`.
pub(crate) fn launch(
    world: Box<dyn Comm>,
    settings: &mut Settings,
    voice: &mut Lines,
    watch: &mut Watch<'_>,
) -> Result<Started> {
    voice.rank = Some(world.rank());
    let settled = settings.settle(&*world)?;
    let job = job::describe(|name| settled.variable(name), &System::ask());
    voice.node = job.node.as_str().to_string();
    voice.debug = settled.config.debug;
    if world.rank() == 0 {
        tell(voice, &settled, &job);
    }
    if !settled.config.enable {
        return Ok(Started::Disabled);
    }

    // First, for it can fail, and nothing was touched yet.
    let stop = agree(&*world, watch(&settled.config.exit_signals))?;
    let comm = world.split(Some(0), world.rank() as u32)?.ok_or_else(|| {
        Error::new(ErrorKind::Communication, "MPI gave no communicator for the color of this rank")
    })?;
    let posix = Arc::new(Posix::new());
    let sink: Arc<dyn Sink> = if settled.config.log {
        let prefix = Prefix::new(
            posix.clone(),
            settled.config.prefix.clone(),
            settled.config.task.as_deref(),
        );
        let log = JsonLines::new(posix.clone(), prefix.events_path());
        Arc::new(Both(voice.clone(), log))
    } else {
        Arc::new(voice.clone())
    };
    let host = Host {
        local: posix.clone(),
        shared: posix,
        clock: Arc::new(SystemClock::default()),
        sink,
        job,
        random: scr_core::host::random,
        directory: std::env::current_dir()
            .map_err(|e| Error::io("look up the working directory", ".", &e))?,
        background: true,
    };
    let (halt_exit, has_signals) =
        (settled.config.halt_exit, !settled.config.exit_signals.is_empty());
    let mut session = Session::init(world, host, settled.config)?;
    if has_signals {
        session.stop_when(stop);
    }
    Ok(Started::Running(Box::new(Launch { session, comm, halt_exit })))
}

/// Says what the user should know of the configuration.
fn tell(voice: &Lines, settled: &Settled, job: &JobInfo) {
    for notice in &settled.notices {
        voice.say(notice.level, &notice.text);
    }
    if settled.config.halt_seconds > 0 && job.end_unix_seconds.is_none() {
        voice.say(
            Level::Warning,
            "SCR_HALT_SECONDS does nothing: nobody says when the allocation ends; set SCR_END_TIME",
        );
    }
}

/// All ranks of this launch, as a communicator of our own.
///
/// # Collective
/// All ranks.
#[cfg(feature = "mpi")]
pub(crate) fn world() -> Result<Box<dyn Comm>> {
    scr_core::comm::mpi::Mpi::duplicate_world()
}

/// This process alone: the library was built without MPI.
#[cfg(not(feature = "mpi"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as with MPI")]
pub(crate) fn world() -> Result<Box<dyn Comm>> {
    Ok(Box::new(scr_core::comm::solo::Solo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::comm::solo::Solo;
    use scr_core::store::Store;

    #[test]
    fn a_start_whose_signals_cannot_be_handled_has_touched_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        for name in ["SCR_PREFIX", "SCR_CACHE_BASE", "SCR_CNTL_BASE"] {
            let text = format!("{name}={}", place.path().display());
            settings.call(&text, true).expect("a setting");
        }
        settings.call("SCR_EXIT_SIGNALS=TERM", true).expect("a setting");
        let mut voice = Lines { rank: None, node: "n0".into(), debug: 0 };
        let mut refuse = |names: &[String]| {
            assert_eq!(names, ["TERM"]);
            Err(Error::new(ErrorKind::Io, "no handler"))
        };
        let error = launch(Box::new(Solo), &mut settings, &mut voice, &mut refuse);
        assert_eq!(error.expect_err("refused").kind(), ErrorKind::Io);
        assert_eq!(Posix::new().list(place.path()).expect("lists"), [""; 0]);

        let mut accept = |_: &[String]| Ok(Arc::default());
        let started = launch(Box::new(Solo), &mut settings, &mut voice, &mut accept);
        assert!(matches!(started.expect("starts"), Started::Running(_)));
        assert_ne!(Posix::new().list(place.path()).expect("lists"), [""; 0]);
    }
}
