// SPDX-License-Identifier: MIT OR Apache-2.0
//! One frame: magic, version, kind, length, payload, checksum.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | magic `SCR\x04` |
//! | 4 | 2 | format version, big-endian |
//! | 6 | 2 | kind, big-endian |
//! | 8 | 8 | payload length n, big-endian |
//! | 16 | n | payload (postcard) |
//! | 16+n | 4 | CRC-32 of everything before, big-endian |

use super::{current, decision, halt, index, lease, node, state, summary};
use crate::error::{Error, ErrorKind, Result};
use crate::sabotage::{self, Fault};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"SCR\x04";
/// The version of the format that this library writes.
pub const VERSION: u16 = 1;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 16;
/// Bytes after the payload.
pub const TRAILER_BYTES: usize = 4;

/// Declares record kinds and ties them to their types.
macro_rules! kinds {
    ($($variant:ident = $number:literal, $type:ty, $what:literal;)*) => {
        /// What a frame holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind {
            $(#[doc = $what] $variant = $number,)*
        }

        impl Kind {
            /// The kind with this number.
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// What it is, in a few words.
            pub fn describe(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }

        $(impl Record for $type { const KIND: Kind = Kind::$variant; })*

        /// Decodes one frame of any kind into JSON, for people and scripts: its kind, value, and length in bytes.
        pub fn to_json(bytes: &[u8]) -> Result<(Kind, serde_json::Value, usize)> {
            let frame = Frame::parse(bytes)?;
            let value = match frame.kind {
                $(Kind::$variant => serde_json::to_value(frame.decode::<$type>()?),)*
            };
            let value = value.map_err(|e| Error::new(ErrorKind::Corrupt, format!("not printable: {e}")))?;
            Ok((frame.kind, value, frame.total_bytes))
        }
    };
}

/// A type that is stored as one frame.
pub trait Record: Serialize + DeserializeOwned {
    /// The number that marks it.
    const KIND: Kind;
}

kinds! {
    PartState = 1, state::PartState, "part state";
    NodeHeader = 2, node::NodeHeader, "node header";
    RankSection = 3, node::RankSection, "rank section";
    NodeEnd = 4, node::NodeEnd, "node end";
    RenameList = 5, summary::RenameList, "rename list";
    Summary = 6, summary::Summary, "summary";
    Index = 7, index::Index, "index";
    Current = 8, current::Current, "current";
    Lease = 9, lease::Lease, "lease";
    HaltRequest = 10, halt::HaltRequest, "halt request";
    HaltUsed = 11, halt::HaltUsed, "halt use";
    Decision = 12, decision::Decision, "restart decision";
}

/// A frame whose header and checksum were found right.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Bytes from the magic to the checksum.
    pub total_bytes: usize,
    payload: &'a [u8],
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// How long the frame that starts with `header` is in all, magic and checksum included.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when these are not the first [`HEADER_BYTES`] bytes of a frame.
pub fn frame_bytes(header: &[u8]) -> Result<usize> {
    let Some((header, _)) = header.split_first_chunk::<HEADER_BYTES>() else {
        return Err(corrupt(format!(
            "record cut short: {} bytes, {HEADER_BYTES} needed",
            header.len()
        )));
    };
    if header[..4] != MAGIC {
        return Err(corrupt("not a record of scr: wrong magic"));
    }
    let version = u16::from_be_bytes([header[4], header[5]]);
    if version != VERSION {
        return Err(corrupt(format!(
            "format version {version}; this library reads version {VERSION}"
        )));
    }
    let length = u64::from_be_bytes([
        header[8], header[9], header[10], header[11], header[12], header[13], header[14],
        header[15],
    ]);
    usize::try_from(length)
        .ok()
        .and_then(|n| n.checked_add(HEADER_BYTES + TRAILER_BYTES))
        .ok_or_else(|| corrupt("impossible record length"))
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`; more may follow.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], with the reason.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let total_bytes = frame_bytes(bytes)?;
        if bytes.len() < total_bytes {
            return Err(corrupt(format!(
                "record cut short: {} of {total_bytes} bytes",
                bytes.len()
            )));
        }
        let (body, checksum) = bytes[..total_bytes].split_at(total_bytes - TRAILER_BYTES);
        let expected = u32::from_be_bytes([checksum[0], checksum[1], checksum[2], checksum[3]]);
        if crc32fast::hash(body) != expected && !sabotage::active(Fault::IgnoreRecordChecksum) {
            return Err(corrupt("record does not match its checksum"));
        }
        let number = u16::from_be_bytes([body[6], body[7]]);
        let kind = Kind::from_number(number)
            .ok_or_else(|| corrupt(format!("unknown record kind {number}")))?;
        Ok(Self { kind, total_bytes, payload: &body[HEADER_BYTES..] })
    }

    /// Decodes the payload.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the frame is of another kind, or its payload does not decode to the last byte.
    pub fn decode<T: Record>(&self) -> Result<T> {
        if self.kind != T::KIND {
            return Err(corrupt(format!(
                "a {} where a {} was expected",
                self.kind.describe(),
                T::KIND.describe()
            )));
        }
        match postcard::take_from_bytes(self.payload) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => {
                Err(corrupt(format!("{} bytes too many in a {}", rest.len(), T::KIND.describe())))
            }
            Err(error) => Err(corrupt(format!("{} does not decode: {error}", T::KIND.describe()))),
        }
    }
}

/// Encodes one record as one frame.
pub fn encode<T: Record>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&(T::KIND as u16).to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let mut bytes = match postcard::to_extend(value, bytes) {
        Ok(bytes) => bytes,
        // Serialising owned structs of integers, strings and vectors into memory has no way to fail.
        Err(error) => unreachable!("encode {}: {error}", T::KIND.describe()),
    };
    let length = (bytes.len() - HEADER_BYTES) as u64;
    bytes[8..16].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Decodes a record that is one frame and nothing else.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T> {
    let frame = Frame::parse(bytes)?;
    if frame.total_bytes != bytes.len() {
        return Err(corrupt(format!(
            "{} bytes after the end of the record",
            bytes.len() - frame.total_bytes
        )));
    }
    frame.decode()
}
