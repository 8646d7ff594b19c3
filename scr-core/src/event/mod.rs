// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happened, as values: the library never prints, it tells a [`Sink`].
//!
//! An event is told once, by one rank (a rank's own trouble by that rank). Sinks: [`json::JsonLines`] for machines,
//! [`text::TextLog`] for those who read SCR's log, and whatever the embedding program brings (libscr prints SCR's lines).

pub mod json;
pub mod scr_log;
pub mod text;

use crate::id::{DatasetId, DatasetName, JobId, UserName};
use serde::{Deserialize, Serialize};

/// How loud an event is; SCR's `SCR_DEBUG` levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something the user must know: always printed.
    Error,
    /// Something the user should know: always printed.
    Warning,
    /// A step of the life of a dataset: printed from `SCR_DEBUG=1`.
    Note,
    /// Timings and details: printed from `SCR_DEBUG=2`.
    Detail,
}

/// What kind of thing happened. Names are those of SCR's log where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventKind {
    /// A launch begins.
    Start,
    /// The application computes.
    ComputeStart,
    /// The application stops computing, for a checkpoint or for good.
    ComputeEnd,
    /// A checkpoint begins.
    CheckpointStart,
    /// A checkpoint is committed (or not: see the note).
    CheckpointEnd,
    /// An output set begins.
    OutputStart,
    /// An output set is committed.
    OutputEnd,
    /// The application has written a dataset.
    Write,
    /// Redundancy was applied.
    Encode,
    /// A lost part is being rebuilt.
    RebuildStart,
    /// A lost part was rebuilt.
    RebuildSuccess,
    /// A lost part could not be rebuilt.
    RebuildFail,
    /// A restart got its dataset.
    RestartSuccess,
    /// A restart found nothing it could use.
    RestartFail,
    /// Files go to the prefix.
    FlushStart,
    /// Files reached the prefix.
    FlushSuccess,
    /// Files did not reach the prefix.
    FlushFail,
    /// Files begin to go to the prefix while the application goes on.
    AsyncFlushStart,
    /// Files reached the prefix while the application went on.
    AsyncFlushSuccess,
    /// Files did not reach the prefix while the application went on.
    AsyncFlushFail,
    /// Files come from the prefix.
    FetchStart,
    /// Files came from the prefix.
    FetchSuccess,
    /// Files could not be fetched.
    FetchFail,
    /// A dataset leaves the cache.
    Evict,
    /// A halt condition holds.
    Halt,
    /// A decision and its reason.
    Decision,
    /// Anything else worth saying.
    Message,
    /// The application finalized.
    Finalize,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in seconds since 1970.
    pub unix_seconds: f64,
    /// What kind.
    pub kind: EventKind,
    /// How loud.
    pub level: Level,
    /// In words, for people.
    pub text: String,
    /// The dataset concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dataset: Option<DatasetId>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<DatasetName>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds: Option<f64>,
    /// How many bytes were concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
    /// How many files were concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<u64>,
    /// Where the files came from: a directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// Where they went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// What SCR's log has as a note.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// What there is to know of the launch that begins.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub launch: Option<Launch>,
}

/// A launch, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// How many ranks.
    pub ranks: u32,
    /// On how many nodes.
    pub nodes: u32,
    /// The allocation.
    pub job_id: JobId,
    /// Who runs it.
    pub user: UserName,
    /// `SCR_JOB_NAME`
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job_name: Option<String>,
    /// `SCR_CLUSTER_NAME`
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cluster: Option<String>,
}

/// Where events go. A sink that fails stays silent: telling is never a reason for failing.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Takes one event.
    fn tell(&self, event: &Event);
}

/// Tells several sinks, the first one first.
#[derive(Debug)]
pub struct All(pub Vec<Box<dyn Sink>>);

impl Sink for All {
    fn tell(&self, event: &Event) {
        self.0.iter().for_each(|sink| sink.tell(event));
    }
}

/// Forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Sink for Silent {
    fn tell(&self, _event: &Event) {}
}
