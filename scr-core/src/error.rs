// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one error type of the library: a kind to act on, and a chain of words to read.
//!
//! `{}` prints the outermost message, `{:#}` the whole chain. A message says what failed, on what, and what to do.

use std::fmt;

/// Shorthand for results of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of trouble it is: what a caller can act on.
///
/// Corrupt is not absent is not I/O: a restart treats the three differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call in the wrong state, or with an argument that can never be right.
    Misuse,
    /// A configuration value that is not allowed; the message names the source and what is allowed.
    Config,
    /// Ranks passed different arguments to a collective call.
    Mismatch,
    /// Another rank failed; its cause is on that rank and, in short, in this message.
    PeerFailed,
    /// The operating system refused an operation.
    Io,
    /// Not enough room (bytes or inodes).
    NoSpace,
    /// What was read is not what was written.
    Corrupt,
    /// There is no such thing.
    NotFound,
    /// A rule forbids it: another job holds the prefix, another rank count wrote the dataset, ...
    Refused,
    /// A dataset cannot be completed from what is left.
    Lost,
    /// The application, or a rank of it, said that the dataset is not valid.
    Invalid,
    /// Done, but with less protection than configured.
    Degraded,
    /// MPI failed or a peer died: this communicator answers no more.
    Communication,
    /// Something took longer than it may.
    Timeout,
}

impl ErrorKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 14] = [
        Self::Misuse,
        Self::Config,
        Self::Mismatch,
        Self::PeerFailed,
        Self::Io,
        Self::NoSpace,
        Self::Corrupt,
        Self::NotFound,
        Self::Refused,
        Self::Lost,
        Self::Invalid,
        Self::Degraded,
        Self::Communication,
        Self::Timeout,
    ];

    /// The code that the C interface returns. SCR's only failure code was 1, which `Misuse` keeps.
    pub fn code(self) -> i32 {
        match self {
            Self::Misuse => 1,
            Self::Config => 2,
            Self::Mismatch => 3,
            Self::PeerFailed => 4,
            Self::Io => 5,
            Self::NoSpace => 6,
            Self::Corrupt => 7,
            Self::NotFound => 8,
            Self::Refused => 9,
            Self::Lost => 10,
            Self::Invalid => 11,
            Self::Degraded => 12,
            Self::Communication => 13,
            Self::Timeout => 14,
        }
    }

    /// The kind that has this code.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// A few words for people who see only the code.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Misuse => "call not allowed here, or a wrong argument",
            Self::Config => "configuration value not allowed",
            Self::Mismatch => "ranks passed different arguments",
            Self::PeerFailed => "another rank failed",
            Self::Io => "input or output failed",
            Self::NoSpace => "not enough room",
            Self::Corrupt => "data do not match their checksum",
            Self::NotFound => "not found",
            Self::Refused => "refused",
            Self::Lost => "dataset cannot be completed from what is left",
            Self::Invalid => "dataset is not valid",
            Self::Degraded => "done with less protection than configured",
            Self::Communication => "communication failed",
            Self::Timeout => "took too long",
        }
    }
}

/// What went wrong: a kind, a message, and what it was part of.
pub struct Error {
    kind: ErrorKind,
    /// With [`ErrorKind::PeerFailed`]: what kind of trouble the other rank had.
    peer: Option<ErrorKind>,
    /// Innermost first; each context added later wraps those before it.
    messages: Vec<String>,
}

impl Error {
    /// Creates an error of `kind`; `message` says what failed, on what, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, peer: None, messages: vec![message.into()] }
    }

    /// Creates the error that a healthy rank reports when rank `rank` failed with `kind`.
    pub fn peer(rank: usize, kind: ErrorKind, text: &str) -> Self {
        let message = format!("rank {rank} failed: {text}");
        Self { kind: ErrorKind::PeerFailed, peer: Some(kind), messages: vec![message] }
    }

    /// Creates an error from one of the operating system, naming the operation and its object.
    ///
    /// `ENOSPC`, `EDQUOT` become [`ErrorKind::NoSpace`], `ENOENT` becomes [`ErrorKind::NotFound`].
    pub fn io(
        operation: &str,
        object: impl AsRef<std::path::Path>,
        source: &std::io::Error,
    ) -> Self {
        use std::io::ErrorKind as Os;
        let kind = match source.kind() {
            Os::StorageFull | Os::QuotaExceeded => ErrorKind::NoSpace,
            Os::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("{operation} {}: {source}", object.as_ref().display()))
    }

    /// The kind of the innermost cause.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The kind of trouble on whichever rank had it: what [`kind`](Self::kind) says there.
    pub fn cause_kind(&self) -> ErrorKind {
        self.peer.unwrap_or(self.kind)
    }

    /// Adds what the failed operation was part of: "rebuild dataset 18".
    #[must_use]
    pub fn context(mut self, intent: impl Into<String>) -> Self {
        self.messages.push(intent.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            for (i, message) in self.messages.iter().rev().enumerate() {
                f.write_str(if i == 0 { "" } else { ": " })?;
                f.write_str(message)?;
            }
            Ok(())
        } else {
            f.write_str(self.messages.last().map_or("", String::as_str))
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind)
    }
}

impl std::error::Error for Error {}

/// Adds intent to a failed result.
pub trait Context<T> {
    /// Adds what the failed operation was part of, computed only on failure.
    fn context<S: Into<String>>(self, intent: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context<S: Into<String>>(self, intent: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(intent()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_come_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ErrorKind::from_code(0), None);
    }

    #[test]
    fn alternate_prints_the_whole_chain_outermost_first() {
        let error = Error::new(ErrorKind::Corrupt, "bad checksum").context("rebuild dataset 18");
        assert_eq!(format!("{error}"), "rebuild dataset 18");
        assert_eq!(format!("{error:#}"), "rebuild dataset 18: bad checksum");
    }
}
