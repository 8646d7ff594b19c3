// SPDX-License-Identifier: MIT OR Apache-2.0
//! `save`: what is only in the caches of an allocation goes to the prefix, parts of lost nodes rebuilt on the way.
//!
//! The agents are the ranks of [`scavenge`](scr_core::exec::scavenge::scavenge), one on each node that is left, and talk
//! over the [network](super::network). Each says where it can be called and waits until the coordinator has told all of
//! them who there is. What the coordinator does is in [`rescue`].

mod meter;
mod rescue;

pub(crate) use rescue::{Rescue, Rescued, rescue};

use super::network::{Door, join};
use super::node::{Ears, Voice};
use super::probe::host;
use super::protocol::{Answer, Request};
use crate::settings::Settings;
use meter::Metered;
use scr_core::Result;
use scr_core::event::{Event, Level, Sink};
use scr_core::exec::scavenge::{self, scavenge};
use scr_core::id::{DatasetId, DatasetName};
use scr_core::store::posix::Posix;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How often an agent says how much it has written.
const PERIOD: Duration = Duration::from_secs(1);

/// What is to be saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Save {
    /// The job.
    pub(crate) settings: Settings,
}

/// What became of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Its number.
    pub(crate) id: DatasetId,
    /// Its name.
    pub(crate) name: DatasetName,
    /// Its identity, in hexadecimal.
    pub(crate) identity: String,
    /// Whether it had to reach the prefix.
    pub(crate) is_output: bool,
    /// Whether it was ever complete and good: what was not is no loss.
    pub(crate) was_complete: bool,
    /// Why it is not in the prefix, if so.
    pub(crate) trouble: Option<String>,
}

impl From<scavenge::Saved> for Saved {
    fn from(saved: scavenge::Saved) -> Self {
        let scavenge::Saved { id, name, identity, is_output, was_complete, outcome } = saved;
        let identity = identity.to_string();
        Self { id, name, identity, is_output, was_complete, trouble: outcome.err() }
    }
}

/// Passes on what people should know.
#[derive(Debug)]
struct Told(Voice);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        if event.level <= Level::Note {
            // Nobody to hear it is found out elsewhere.
            let _ = self.0.say(Answer::Event(Box::new(event.clone())));
        }
    }
}

/// Takes part in the work of all agents, as the rank of this node.
///
/// # Errors
/// [`Communication`](scr_core::ErrorKind::Communication) when another agent is gone, or the coordinator.
///
/// # Collective
/// The agents of all nodes that the coordinator names.
pub(super) fn take_part(settings: &Settings, voice: &Voice, ears: &Ears) -> Result<Vec<Saved>> {
    let (config, _) = settings.resolve()?;
    let door = Door::open()?;
    voice.say(Answer::Door(door.addresses()))?;
    let world = loop {
        if let Some(Request::World(world)) = ears.next(PERIOD)? {
            break world;
        }
    };
    let comm = join(door, world, voice.node(), |ender| ears.end_with_input(ender))?;
    // What is rebuilt in the cache is as much work as what goes to the prefix.
    let written_bytes = Arc::default();
    let posix = Arc::new(Posix::new());
    let metered = Arc::new(Metered::new(posix, &written_bytes));
    let host = host(settings, &config, metered, Arc::new(Told(voice.clone())));
    let (stop, stopped) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut told = 0;
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let now = written_bytes.load(Ordering::Relaxed);
                if now != told {
                    told = now;
                    let _ = voice.say(Answer::Written(now));
                }
            }
        });
        let saved = scavenge(comm, host, config);
        drop(stop);
        Ok(saved?.into_iter().map(Saved::from).collect())
    })
}
