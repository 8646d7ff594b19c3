// SPDX-License-Identifier: MIT OR Apache-2.0
//! What coordinator and agents say to each other: lines of JSON.
//!
//! An agent is started with its [`Task`] as an argument, or where that would be too long reads it in the first line. Every
//! other line that it reads is a [`Request`]; all agents read the same. Every line that it writes is an [`Answer`] with the
//! name of its node. Both ends are the same program, so the lines need no versions.

use super::clean::{Clean, Cleaned};
use super::probe::{Probe, Probed};
use super::save::{Save, Saved};
use super::watch::Watch;
use scr_core::event::Event;
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use super::network::World;

/// What an agent is started for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Say how the node is.
    Probe(Probe),
    /// Say whether the application lives, and pass signals on.
    Watch(Watch),
    /// Remove what dead jobs have left.
    Clean(Clean),
    /// Save what is only in the caches.
    Save(Save),
}

impl Task {
    /// A word for it: what people see in a list of processes.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Probe(_) => "probe",
            Self::Watch(_) => "watch",
            Self::Clean(_) => "clean",
            Self::Save(_) => "save",
        }
    }
}

/// What agents are told while they work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Send this signal to the ranks on the node.
    Signal(i32),
    /// Kill everything of the run that is on the node.
    Kill,
    /// These are all that work together.
    World(World),
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// How the node is.
    Probed(Box<Probed>),
    /// The heartbeat counters of the node.
    Beat(String),
    /// A signal went to so many processes.
    Signalled(u32),
    /// So many processes were killed.
    Killed(u32),
    /// What was removed.
    Cleaned(Cleaned),
    /// Where the agent can be called.
    Door(Vec<SocketAddr>),
    /// Something happened.
    Event(Box<Event>),
    /// So many bytes were written so far, to cache and prefix.
    Written(u64),
    /// What became of the datasets; the same on all nodes.
    Saved(Vec<Saved>),
    /// The task could not be done.
    Failed(Failure),
}

/// An error on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    code: i32,
    text: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { code: error.kind().code(), text: format!("{error:#}") }
    }
}

impl Failure {
    /// The error as it was on its node.
    pub(crate) fn error(&self) -> Error {
        let kind = ErrorKind::from_code(self.code).unwrap_or(ErrorKind::Io);
        Error::new(kind, self.text.clone())
    }
}

/// A line of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Where it was written.
    pub(crate) node: NodeName,
    /// What it says.
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

/// Writes a value as one line.
///
/// # Errors
/// [`ErrorKind::Misuse`] when it holds a path that is not UTF-8.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Misuse, format!("tell an agent: {error}")))?;
    line.push(b'\n');
    Ok(line)
}

/// Reads a line.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when it is none of these.
pub(crate) fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| {
        let shown: String = String::from_utf8_lossy(line).chars().take(80).collect();
        Error::new(ErrorKind::Corrupt, format!("not a line of an agent: {shown:?}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let error = Error::new(ErrorKind::NoSpace, "full").context("save");
        for answer in [
            Answer::Beat("1\n".into()),
            Answer::Signalled(3),
            Answer::Written(1 << 40),
            Answer::Door(vec!["[::1]:5".parse().unwrap(), "10.0.0.1:7".parse().unwrap()]),
            Answer::Saved(Vec::new()),
            Answer::Failed(Failure::from(&error)),
        ] {
            let line = Line { node: NodeName::new("n1"), answer };
            let text = encode(&line).unwrap();
            assert_eq!(text.iter().position(|byte| *byte == b'\n'), Some(text.len() - 1));
            assert_eq!(decode::<Line>(&text).unwrap(), line);
        }
        let back = Failure::from(&error).error();
        assert_eq!((back.kind(), back.to_string()), (ErrorKind::NoSpace, "save: full".into()));
        for noise in ["", "srun: error: node3", "{}", r#"{"node":"n1"}"#, r#"{"node":"n1","x":1}"#]
        {
            assert_eq!(decode::<Line>(noise.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
