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

/// A running session and what C's side of it needs.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) session: Session,
    /// The ranks of the session, to agree on the arguments of C before the session sees them.
    pub(crate) comm: Box<dyn Comm>,
    /// `SCR_HALT_EXIT`
    pub(crate) halt_exit: bool,
    /// `SCR_EXIT_SIGNALS`
    pub(crate) exit_signals: Vec<String>,
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

/// Starts a session of the ranks of `world` with `settings`; from here on `voice` speaks for this rank.
///
/// # Collective
/// All ranks of `world`.
pub(crate) fn launch(
    world: Box<dyn Comm>,
    settings: &mut Settings,
    voice: &mut Lines,
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
    let (halt_exit, exit_signals) = (settled.config.halt_exit, settled.config.exit_signals.clone());
    let session = Session::init(world, host, settled.config)?;
    Ok(Started::Running(Box::new(Launch { session, comm, halt_exit, exit_signals })))
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
