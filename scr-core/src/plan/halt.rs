// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the job should stop, and why. Rank 0 decides and broadcasts.
//!
//! What a person asked for (the halt request) and what is configured hold together: the request replaces only those
//! values that it has. (In SCR a halt file, even an old one, switches the parameters off.)

use crate::format::halt::{HaltRequest, HaltUsed};
use std::fmt;

/// The reason that Finalize of SCR leaves behind; it stops nobody.
pub const FINALIZE_CALLED: &str = "SCR_FINALIZE_CALLED";

/// What the decision is made of. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// What a person asked for.
    pub request: Option<&'a HaltRequest>,
    /// What the job used up of it.
    pub used: Option<&'a HaltUsed>,
    /// `SCR_HALT_SECONDS`; 0 = off.
    pub halt_seconds: u32,
    /// When the allocation ends, where known.
    pub end_unix_seconds: Option<u64>,
    /// Now.
    pub now_unix_seconds: u64,
}

/// Why the job should stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The allocation ends soon.
    TimeLimit {
        /// Time left.
        left_seconds: u64,
        /// When to stop before the end.
        halt_seconds: u64,
    },
    /// Somebody asked, with these words.
    Requested(String),
    /// The last of the checkpoints asked for is done.
    NoCheckpointsLeft,
    /// The time before which to exit is near.
    ExitBefore(u64),
    /// The time after which to exit has come.
    ExitAfter(u64),
    /// A rank received a signal that asks for it.
    Signal,
}

impl Reason {
    /// SCR's word for it, as its log and halt file have it.
    pub fn word(&self) -> &str {
        match self {
            Self::TimeLimit { .. } => "TIME_LIMIT",
            Self::Requested(words) => words,
            Self::NoCheckpointsLeft => "NO_CHECKPOINTS_LEFT",
            Self::ExitBefore(_) => "EXIT_BEFORE_TIME",
            Self::ExitAfter(_) => "EXIT_AFTER_TIME",
            Self::Signal => "SIGNAL",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeLimit { left_seconds, halt_seconds } => write!(
                f,
                "the allocation ends in {left_seconds} seconds, the job halts {halt_seconds} before"
            ),
            Self::Requested(words) => write!(f, "halt requested: {words}"),
            Self::NoCheckpointsLeft => f.write_str("the last checkpoint asked for is complete"),
            Self::ExitBefore(time) => write!(f, "asked to exit before {time} (seconds since 1970)"),
            Self::ExitAfter(time) => write!(f, "asked to exit after {time} (seconds since 1970)"),
            Self::Signal => f.write_str("a rank received a signal that asks the job to stop"),
        }
    }
}

/// Returns the first condition that holds, in SCR's order.
pub fn reason(facts: &Facts<'_>) -> Option<Reason> {
    let nothing = HaltRequest::default();
    let request = facts.request.unwrap_or(&nothing);
    let now = facts.now_unix_seconds;
    let halt_seconds = request.halt_seconds.unwrap_or(facts.halt_seconds.into());

    let left_seconds = facts.end_unix_seconds.map(|end| end.saturating_sub(now));
    if let Some(left_seconds) =
        left_seconds.filter(|&left| halt_seconds > 0 && left <= halt_seconds)
    {
        return Some(Reason::TimeLimit { left_seconds, halt_seconds });
    }
    if let Some(words) = &request.reason
        && !words.is_empty()
        && words != FINALIZE_CALLED
    {
        return Some(Reason::Requested(words.clone()));
    }
    if request.checkpoints_left.is_some_and(|left| left <= used_checkpoints(request, facts.used)) {
        return Some(Reason::NoCheckpointsLeft);
    }
    if let Some(time) = request.exit_before_unix_seconds
        && now >= time.saturating_sub(halt_seconds)
    {
        return Some(Reason::ExitBefore(time));
    }
    request.exit_after_unix_seconds.filter(|&time| now >= time).map(Reason::ExitAfter)
}

/// Returns what is used up of `request` once one more checkpoint is complete; `None` when it counts none.
pub fn use_up(request: &HaltRequest, used: Option<&HaltUsed>) -> Option<HaltUsed> {
    request.checkpoints_left?;
    let checkpoints = used_checkpoints(request, used) + 1;
    Some(HaltUsed { generation: request.generation, checkpoints })
}

/// Checkpoints that count against this request: what was used up of an older one does not.
fn used_checkpoints(request: &HaltRequest, used: Option<&HaltUsed>) -> u64 {
    used.filter(|used| used.generation == request.generation).map_or(0, |used| used.checkpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> HaltRequest {
        HaltRequest { generation: 5, ..HaltRequest::default() }
    }

    #[test]
    fn the_last_checkpoint_asked_for_uses_the_request_up() {
        let request = HaltRequest { checkpoints_left: Some(2), ..request() };
        let old = HaltUsed { generation: request.generation - 1, checkpoints: 7 };
        let stops = |used: Option<&HaltUsed>| {
            reason(&Facts { request: Some(&request), used, ..Facts::default() }).is_some()
        };
        let one = use_up(&request, Some(&old));
        assert!(!stops(Some(&old)) && !stops(one.as_ref()));
        assert!(stops(use_up(&request, one.as_ref()).as_ref()));
        assert_eq!(use_up(&HaltRequest::default(), None), None);
    }

    #[test]
    fn each_condition_at_its_edges() {
        let now = 1000;
        let time =
            |left_seconds, halt_seconds| Some(Reason::TimeLimit { left_seconds, halt_seconds });
        let left = |n| HaltRequest { checkpoints_left: Some(n), ..request() };
        let before = |t| HaltRequest { exit_before_unix_seconds: Some(t), ..request() };
        let after = |t| HaltRequest { exit_after_unix_seconds: Some(t), ..request() };
        let asked = |words: &str| HaltRequest { reason: Some(words.into()), ..request() };
        let seconds = |n| HaltRequest { halt_seconds: Some(n), ..request() };
        // (what, request, parameter, end, expected)
        let cases = [
            ("nothing", None, 0, None, None),
            ("no end known", None, 60, None, None),
            ("parameter off", None, 0, Some(1000), None),
            ("one second too early", None, 60, Some(1061), None),
            ("in time", None, 60, Some(1060), time(60, 60)),
            ("past the end", None, 60, Some(900), time(0, 60)),
            (
                "an unrelated request keeps the parameter",
                Some(left(3)),
                60,
                Some(1060),
                time(60, 60),
            ),
            ("the request's seconds win", Some(seconds(10)), 60, Some(1060), None),
            ("the request's seconds alone", Some(seconds(100)), 0, Some(1060), time(60, 100)),
            ("the request's 0 switches off", Some(seconds(0)), 60, Some(1000), None),
            ("asked", Some(asked("NOW")), 0, None, Some(Reason::Requested("NOW".into()))),
            ("asked with no words", Some(asked("")), 0, None, None),
            ("left by Finalize", Some(asked(FINALIZE_CALLED)), 0, None, None),
            ("checkpoints left", Some(left(1)), 0, None, None),
            ("no checkpoints left", Some(left(0)), 0, None, Some(Reason::NoCheckpointsLeft)),
            ("exit before, early", Some(before(1001)), 0, None, None),
            ("exit before", Some(before(1000)), 0, None, Some(Reason::ExitBefore(1000))),
            (
                "exit before, less the parameter",
                Some(before(1060)),
                60,
                None,
                Some(Reason::ExitBefore(1060)),
            ),
            ("exit after, early", Some(after(1001)), 60, None, None),
            ("exit after", Some(after(1000)), 0, None, Some(Reason::ExitAfter(1000))),
        ];
        for (what, request, halt_seconds, end_unix_seconds, expected) in cases {
            let facts = Facts {
                request: request.as_ref(),
                used: None,
                halt_seconds,
                end_unix_seconds,
                now_unix_seconds: now,
            };
            assert_eq!(reason(&facts), expected, "{what}");
        }
    }

    #[test]
    fn only_checkpoints_since_this_request_count() {
        let request = HaltRequest { checkpoints_left: Some(2), ..request() };
        for (generation, checkpoints, halts) in
            [(5, 1, false), (5, 2, true), (5, 3, true), (4, 9, false)]
        {
            let used = HaltUsed { generation, checkpoints };
            let facts = Facts { request: Some(&request), used: Some(&used), ..Facts::default() };
            assert_eq!(reason(&facts).is_some(), halts, "{used:?}");
        }
    }
}
