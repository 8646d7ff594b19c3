// SPDX-License-Identifier: MIT OR Apache-2.0
//! How two agents find out that they belong to one world, and that there is one connection between them.
//!
//! ```text
//! caller                                      called
//!   magic, from, to, nonce ------------------>
//!      <------- "that is me" or not, nonce, proof
//!   proof ----------------------------------->
//!      <------------------------ welcome, or not
//! ```
//!
//! A proof is HMAC-SHA256, with the token of the world as key, over both ranks, both nonces and who speaks. The token
//! itself never travels between agents: a port of an agent that died may be another user's by now, and who answers there
//! must not learn it. What follows on the connection is neither encrypted nor signed, no more than the messages of MPI are.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::io::{self, Read, Write};

/// What a connection begins with; its last byte is the version of the protocol.
const MAGIC: [u8; 8] = *b"scr-net\x01";

const NONCE_BYTES: usize = 16;
const PROOF_BYTES: usize = 32;

/// What all agents of a world know and nobody else: drawn by the coordinator, for one world.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token([u8; 16]);

/// Not for logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Draws a new one.
    pub(crate) fn draw() -> Self {
        Self(scr_core::host::random())
    }

    fn prove(&self, caller: &Call, nonce: &[u8], side: Side) -> [u8; PROOF_BYTES] {
        self.mac(caller, nonce, side).finalize().into_bytes().into()
    }

    fn mac(&self, caller: &Call, nonce: &[u8], side: Side) -> Hmac<Sha256> {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(&[side as u8]);
        mac.update(&caller.encode());
        mac.update(nonce);
        mac
    }
}

/// Who proves.
#[derive(Clone, Copy)]
enum Side {
    Caller = 1,
    Called = 2,
}

/// The first words of a caller.
struct Call {
    from: u32,
    to: u32,
    nonce: [u8; NONCE_BYTES],
}

impl Call {
    const BYTES: usize = MAGIC.len() + 8 + NONCE_BYTES;

    fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.from.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.to.to_le_bytes());
        bytes[16..].copy_from_slice(&self.nonce);
        bytes
    }

    fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let nonce = bytes[16..].try_into().ok()?;
        bytes.starts_with(&MAGIC).then_some(Self { from: word(8)?, to: word(12)?, nonce })
    }
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This is the connection between the two.
    Welcome,
    /// There is another one.
    Superfluous,
    /// Another rank answers at this address.
    WrongRank,
}

const THIS_IS_ME: u8 = 1;
const NOT_ME: u8 = 2;
const WELCOME: u8 = 3;
const SUPERFLUOUS: u8 = 4;

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

/// Calls rank `to` over a fresh connection.
///
/// # Errors
/// Those of the connection, and `PermissionDenied` when who answers is not of this world.
pub(crate) fn call(
    stream: &mut (impl Read + Write),
    token: &Token,
    from: usize,
    to: usize,
) -> io::Result<Answer> {
    let call = Call { from: from as u32, to: to as u32, nonce: scr_core::host::random() };
    stream.write_all(&call.encode())?;
    let mut reply = [0; 1 + NONCE_BYTES + PROOF_BYTES];
    stream.read_exact(&mut reply)?;
    let (nonce, proof) = reply[1..].split_at(NONCE_BYTES);
    if token.mac(&call, nonce, Side::Called).verify_slice(proof).is_err() {
        return Err(refused("who answers is not an agent of this run"));
    }
    if reply[0] != THIS_IS_ME {
        return Ok(Answer::WrongRank);
    }
    stream.write_all(&token.prove(&call, nonce, Side::Caller))?;
    let mut verdict = [0];
    stream.read_exact(&mut verdict)?;
    Ok(if verdict[0] == WELCOME { Answer::Welcome } else { Answer::Superfluous })
}

/// Answers a call as rank `me`; `decide` is asked with the caller's rank once that has proved to be of this world, and
/// what it said is returned.
///
/// # Errors
/// Those of the connection, and `PermissionDenied` when the caller is not of this world.
pub(crate) fn answer(
    stream: &mut (impl Read + Write),
    token: &Token,
    me: usize,
    decide: impl FnOnce(usize) -> Answer,
) -> io::Result<Answer> {
    let mut bytes = [0; Call::BYTES];
    stream.read_exact(&mut bytes)?;
    let call = Call::decode(&bytes).ok_or_else(|| refused("no call of an agent"))?;
    let is_me = call.to as usize == me;
    let nonce: [u8; NONCE_BYTES] = scr_core::host::random();
    let mut reply = vec![if is_me { THIS_IS_ME } else { NOT_ME }];
    reply.extend_from_slice(&nonce);
    reply.extend_from_slice(&token.prove(&call, &nonce, Side::Called));
    stream.write_all(&reply)?;
    if !is_me {
        return Ok(Answer::WrongRank);
    }
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof)?;
    if token.mac(&call, &nonce, Side::Caller).verify_slice(&proof).is_err() {
        return Err(refused("the caller is not an agent of this run"));
    }
    let decided = decide(call.from as usize);
    let word = if decided == Answer::Welcome { WELCOME } else { SUPERFLUOUS };
    stream.write_all(&[word])?;
    Ok(decided)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// Calls rank 2 as rank 5, with the tokens of caller and called; tells what both came to.
    fn meet(
        caller: &Token,
        called: &Token,
        to: usize,
        decided: Answer,
    ) -> (io::Result<Answer>, io::Result<Answer>) {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let answering = scope.spawn(move || {
                answer(&mut theirs, called, 2, |from| {
                    assert_eq!(from, 5);
                    decided
                })
            });
            let outcome = call(&mut ours, caller, 5, to);
            drop(ours);
            (outcome, answering.join().unwrap())
        })
    }

    #[test]
    fn only_agents_of_one_world_come_together() {
        let (token, other) = (Token::draw(), Token::draw());
        for decided in [Answer::Welcome, Answer::Superfluous] {
            let (caller, called) = meet(&token, &token, 2, decided);
            assert_eq!((caller.unwrap(), called.unwrap()), (decided, decided));
        }
        let (caller, called) = meet(&token, &token, 3, Answer::Welcome);
        assert_eq!((caller.unwrap(), called.unwrap()), (Answer::WrongRank, Answer::WrongRank));
        let (caller, called) = meet(&other, &token, 2, Answer::Welcome);
        assert_eq!(caller.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(called.is_err());
    }

    #[test]
    fn a_caller_without_the_token_gets_nowhere() {
        let (token, mut answered) = (Token::draw(), None);
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let called = &token;
            let answering = scope.spawn(move || {
                answer(&mut theirs, called, 2, |_| panic!("nobody has proved anything"))
            });
            // Says what a caller says, and sends back the proof that it got.
            let call = Call { from: 5, to: 2, nonce: [7; NONCE_BYTES] };
            ours.write_all(&call.encode()).unwrap();
            let mut reply = [0; 1 + NONCE_BYTES + PROOF_BYTES];
            ours.read_exact(&mut reply).unwrap();
            ours.write_all(&reply[1 + NONCE_BYTES..]).unwrap();
            answered = Some(answering.join().unwrap());
        });
        let error = answered.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        for noise in [&b"GET / HTTP/1.1\r\nHost: a.b.c\r\n\r\n    "[..], b"short"] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            ours.write_all(noise).unwrap();
            drop(ours);
            assert!(answer(&mut theirs, &token, 2, |_| Answer::Welcome).is_err());
        }
    }
}
