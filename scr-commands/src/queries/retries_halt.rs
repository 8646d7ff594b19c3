// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr retries-halt`: whether a halt condition, or the end of the application's work, forbids another launch.
//!
//! SCR writes "SCR_FINALIZE_CALLED" into the halt file, where it stays for the next job too. Here the lease of the prefix
//! says that the last launch reached its end, and which job that was: a later job may launch again.

use crate::exit;
use crate::output::{print, print_json};
use crate::prefix::Prefix;
use crate::{environment, settings, time};
use jiff::tz::TimeZone;
use scr_core::clock::{Clock, SystemClock};
use scr_core::format::halt::{HaltRequest, HaltUsed};
use scr_core::format::lease::{Lease, LeaseState};
use scr_core::plan::halt::{self, FINALIZE_CALLED, Reason};
use scr_core::{ErrorKind, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Options of `scr retries-halt`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr retries-halt && exit         in a loop of launches: leave it when the job must halt
  scr retries-halt --dir /p/run1   of another prefix

It looks at what scr halt was told, SCR_HALT_SECONDS, SCR_END_TIME (when the allocation ends), and
whether the last launch of this job came to SCR_Finalize. scr should-exit counts nodes, too.

Exit status: 0 the job must halt, 1 it may go on; anything else is no answer.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, visible_alias = "dir", env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// When the allocation ends, in seconds since 1970
    #[arg(long, env = "SCR_END_TIME", hide = true)]
    end_time: Option<u64>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the answer.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let why = reason(&arguments.prefix, arguments.end_time)?;
    if arguments.json {
        print_json(&json!({ "halt": why.is_some(), "reason": why }))?;
    } else {
        let text = why.as_ref().map_or_else(
            || "CONTINUE RUN: No halt condition holds.".to_string(),
            |why| format!("HALT RUN: {why}"),
        );
        print(&format!("scr_retries_halt: {text}\n"))?;
    }
    Ok(if why.is_some() { exit::SUCCESS } else { exit::NO })
}

/// What the answer is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Facts<'a> {
    request: Option<&'a HaltRequest>,
    used: Option<&'a HaltUsed>,
    lease: Option<&'a Lease>,
    /// The job that asks, where known.
    job: Option<&'a str>,
    /// `SCR_HALT_SECONDS`.
    halt_seconds: u32,
    end: Option<u64>,
    now: u64,
}

/// Why the jobs of a prefix must not launch again, in SCR's words; `None` when they may.
///
/// # Errors
/// Those of reading the configuration.
pub(super) fn reason(root: &Path, end: Option<u64>) -> Result<Option<String>> {
    let prefix = Prefix::at(root);
    let request = match prefix.halt() {
        // Somebody asked for something: who cannot read what it was had better stop.
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            return Ok(Some(format!("Failed to read the halt request: {error:#}.")));
        }
        request => request?,
    };
    // Records of the job that cannot be read say nothing; the next launch tells of them.
    let (used, lease) =
        (prefix.halt_used().unwrap_or_default(), prefix.lease().unwrap_or_default());
    let job = environment::job_id();
    let facts = Facts {
        request: request.as_ref(),
        used: used.as_ref(),
        lease: lease.as_ref(),
        job: job.as_deref(),
        halt_seconds: settings::of(root)?.halt_seconds,
        end,
        now: SystemClock::default().unix().as_secs(),
    };
    Ok(judge(&facts, &time::local()))
}

fn judge(facts: &Facts<'_>, zone: &TimeZone) -> Option<String> {
    let found = halt::reason(&halt::Facts {
        request: facts.request,
        used: facts.used,
        halt_seconds: facts.halt_seconds,
        end_unix_seconds: facts.end,
        now_unix_seconds: facts.now,
    });
    if let Some(found) = found {
        return Some(in_words(&found, facts, zone));
    }
    let is_ours = |lease: &Lease| facts.job.is_none_or(|job| lease.job_id.as_str() == job);
    let has_ended =
        facts.lease.is_some_and(|lease| lease.state == LeaseState::Finalized && is_ours(lease));
    has_ended.then(|| format!("Reason: {FINALIZE_CALLED}."))
}

/// SCR's words for a halt condition.
fn in_words(reason: &Reason, facts: &Facts<'_>, zone: &TimeZone) -> String {
    let now = time::show(facts.now, zone);
    match reason {
        Reason::Requested(words) => format!("Reason: {words}."),
        Reason::NoCheckpointsLeft => "No checkpoints remaining.".to_string(),
        Reason::ExitBefore(before) => {
            let asked = facts.request.and_then(|request| request.halt_seconds);
            let seconds = asked.unwrap_or(facts.halt_seconds.into());
            let time = time::show(before.saturating_sub(seconds), zone);
            format!("Current time ({now}) is past ExitBefore-HaltSeconds time ({time}).")
        }
        Reason::ExitAfter(after) => {
            format!("Current time ({now}) is past ExitAfter time ({}).", time::show(*after, zone))
        }
        Reason::TimeLimit { left_seconds, halt_seconds } => {
            format!("The allocation ends in {left_seconds} seconds, HaltSeconds is {halt_seconds}.")
        }
        Reason::Signal => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::id::{Epoch, JobId, NodeName};

    fn lease(job: &str, state: LeaseState) -> Lease {
        Lease {
            job_id: JobId::new(job),
            step: [1; 16],
            epoch: Epoch(1),
            node: NodeName::new("n"),
            state,
            heartbeat: 0,
            period_ms: 1000,
        }
    }

    #[test]
    fn each_condition_has_the_words_of_scr() {
        let request = |change: fn(&mut HaltRequest)| {
            let mut request = HaltRequest { generation: 7, ..HaltRequest::default() };
            change(&mut request);
            Some(request)
        };
        // (request, SCR_HALT_SECONDS, end of the allocation, what is said at 1000)
        let cases = [
            (None, 0, None, None),
            (None, 60, Some(1061), None),
            (None, 60, Some(1060), Some("The allocation ends in 60 seconds, HaltSeconds is 60.")),
            (
                request(|r| r.reason = Some("JOB_HALTED".into())),
                0,
                None,
                Some("Reason: JOB_HALTED."),
            ),
            (request(|r| r.reason = Some(FINALIZE_CALLED.into())), 0, None, None),
            (request(|r| r.checkpoints_left = Some(2)), 0, None, None),
            (request(|r| r.checkpoints_left = Some(1)), 0, None, Some("No checkpoints remaining.")),
            (
                request(|r| r.exit_before_unix_seconds = Some(1060)),
                60,
                None,
                Some(
                    "Current time (1970-01-01T00:16:40) is past ExitBefore-HaltSeconds time (1970-01-01T00:16:40).",
                ),
            ),
            (
                request(|r| (r.exit_before_unix_seconds, r.halt_seconds) = (Some(1060), Some(100))),
                0,
                None,
                Some(
                    "Current time (1970-01-01T00:16:40) is past ExitBefore-HaltSeconds time (1970-01-01T00:16:00).",
                ),
            ),
            (
                request(|r| r.exit_after_unix_seconds = Some(960)),
                0,
                None,
                Some(
                    "Current time (1970-01-01T00:16:40) is past ExitAfter time (1970-01-01T00:16:00).",
                ),
            ),
            (request(|r| r.exit_after_unix_seconds = Some(1001)), 0, None, None),
        ];
        let used = HaltUsed { generation: 7, checkpoints: 1 };
        for (request, halt_seconds, end, expected) in cases {
            let facts = Facts {
                request: request.as_ref(),
                used: Some(&used),
                halt_seconds,
                end,
                now: 1000,
                ..Facts::default()
            };
            assert_eq!(judge(&facts, &TimeZone::UTC).as_deref(), expected, "{request:?}");
        }
    }

    #[test]
    fn work_that_is_done_is_not_launched_again_by_the_same_job() {
        use LeaseState::{Finalized, Held, Released};
        let cases = [
            (lease("7", Finalized), Some("7"), true),
            (lease("7", Finalized), None, true),
            (lease("7", Finalized), Some("8"), false),
            (lease("7", Held), Some("7"), false),
            (lease("7", Released), Some("7"), false),
        ];
        for (lease, job, expected) in cases {
            let facts = Facts { lease: Some(&lease), job, ..Facts::default() };
            assert_eq!(judge(&facts, &TimeZone::UTC).is_some(), expected, "{lease:?} {job:?}");
        }
    }
}
