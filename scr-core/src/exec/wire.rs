// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values as the bytes of a message between ranks of one launch.

use crate::error::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a message.
pub(super) fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    match postcard::to_stdvec(value) {
        Ok(bytes) => bytes,
        // Owned structs of integers, strings and vectors always serialise into memory.
        Err(error) => unreachable!("pack a message: {error}"),
    }
}

/// The value of a message.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|e| Error::new(ErrorKind::Communication, format!("message not understood: {e}")))
}

/// The length of a message, as a message.
pub(super) fn length(bytes: &[u8]) -> [u8; 8] {
    (bytes.len() as u64).to_be_bytes()
}
