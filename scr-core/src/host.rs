// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a session stands on: its ports, and what the embedding program knows of the job.

use crate::clock::Clock;
use crate::event::{Event, EventKind, Level, Sink};
use crate::id::{JobId, NodeName, UserName};
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;

/// What the embedding program knows of the job; scr-core never looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The allocation.
    pub job_id: JobId,
    /// Who runs it.
    pub user: UserName,
    /// The node this rank runs on: the unit that fails as a whole.
    pub node: NodeName,
    /// When the allocation ends, in seconds since 1970, where known.
    pub end_unix_seconds: Option<u64>,
}

/// The ports and facts that a session runs on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Node-local files: cache and control directories.
    pub local: Arc<dyn Store>,
    /// Files of the prefix.
    pub shared: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who is told what happens.
    pub sink: Arc<dyn Sink>,
    /// The job.
    pub job: JobInfo,
    /// Where identities come from: 128 random bits a call.
    pub random: fn() -> [u8; 16],
    /// The directory that relative names are relative to.
    pub directory: PathBuf,
    /// Whether background threads (heartbeat, transfers) may run; false in the simulator.
    pub background: bool,
}

impl Host {
    /// An event of this moment, to be completed and told.
    pub fn event(&self, kind: EventKind, level: Level, text: impl Into<String>) -> Event {
        Event {
            unix_seconds: self.clock.unix().as_secs_f64(),
            kind,
            level,
            text: text.into(),
            dataset: None,
            name: None,
            seconds: None,
            bytes: None,
            files: None,
            from: None,
            to: None,
            note: None,
            launch: None,
        }
    }

    /// Tells an event that needs no more than words.
    pub fn tell(&self, kind: EventKind, level: Level, text: impl Into<String>) {
        self.sink.tell(&self.event(kind, level, text));
    }

    /// Microseconds since 1970, for records that people read.
    pub fn unix_micros(&self) -> u64 {
        self.clock.unix().as_micros() as u64
    }
}

#[cfg(test)]
impl Host {
    /// A node of a test: its own storage and the prefix are in memory, nobody listens, time stands still.
    pub(crate) fn in_memory(
        node: impl Into<String>,
        local: &crate::store::mem::Mem,
        shared: &crate::store::mem::Mem,
    ) -> Self {
        Self {
            local: Arc::new(local.clone()),
            shared: Arc::new(shared.clone()),
            clock: Arc::new(crate::clock::ManualClock::default()),
            sink: Arc::new(crate::event::Silent),
            job: JobInfo {
                job_id: JobId::new("7"),
                user: UserName::new("ann"),
                node: NodeName::new(node),
                end_unix_seconds: None,
            },
            random,
            directory: "/prefix".into(),
            background: false,
        }
    }
}

/// 128 random bits of the operating system.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // The only failures are interruptions, and a kernel without the call, which we do not support.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or(0);
    }
    bytes
}

/// The job id where no resource manager gives one (SCR's word for it).
pub const NO_JOB_ID: &str = "defjobid";
