// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr halt`: asks a job to stop, and tells what was asked.
//!
//! The request is a record that only this command writes. The job notes in another one (`halt.used`) how many checkpoints
//! it has completed since, for the request of that generation: so neither can undo what the other writes at the same time.

mod immediate;

use crate::files::{store, write_record};
use crate::output::{complain, print, print_json};
use crate::prefix::Prefix;
use crate::{exit, time};
use jiff::tz::TimeZone;
use scr_core::Result;
use scr_core::clock::{Clock, SystemClock};
use scr_core::format::halt::{HaltRequest, HaltUsed};
use scr_core::plan::halt;
use std::fmt::Write;
use std::path::PathBuf;

/// The reason that stands in a request made without any condition, as in SCR.
const JOB_HALTED: &str = "JOB_HALTED";

/// Options of `scr halt`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr halt                          stop the job of this prefix after its next checkpoint
  scr halt --checkpoints 2          ... after two more checkpoints
  scr halt --before 2026-01-31T12:00:00 --seconds 600
                                    ... ten minutes before noon
  scr halt --immediate              ... and end the run that goes on here, now
  scr halt --list                   what has been asked
  scr halt --unset-before           take one condition back
  scr halt --remove                 forget it all, so that the job can run again
  scr halt /p/run1 /p/run2          the jobs of these prefixes

Conditions add up; any one that holds stops the job, after its next checkpoint where it writes
one. A request stays until it is taken back: the next job in the prefix heeds it too.

Exit status: 0 done, 2 wrong usage, 65 no such prefix or a damaged record, 71 cannot be written.
With several prefixes, all are gone through; the status is that of the first that failed.")]
pub(crate) struct Arguments {
    /// Stop after this many more checkpoints; 0 is at once
    #[arg(short = 'c', long, value_name = "N")]
    checkpoints: Option<u64>,
    /// Stop before this time (less --seconds)
    #[arg(short = 'b', long, value_name = "TIME")]
    before: Option<String>,
    /// Stop after this time
    #[arg(short = 'a', long, value_name = "TIME")]
    after: Option<String>,
    /// Stop this many seconds before the end of the allocation, or before --before
    #[arg(short = 's', long, value_name = "N")]
    seconds: Option<u64>,
    /// Stop at the next opportunity, for this reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also end the run that goes on in the prefix now, without another checkpoint; a second time, kill it
    #[arg(short, long)]
    immediate: bool,
    /// The directory of the run to end (with --immediate), where it cannot be found by its prefix
    #[arg(long, env = "SCR_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Print what is asked, and change nothing
    #[arg(short, long, conflicts_with_all = ["immediate", "remove"])]
    list: bool,
    /// Print as JSON (with --list)
    #[arg(long, requires = "list")]
    json: bool,
    /// Forget --checkpoints
    #[arg(long)]
    unset_checkpoints: bool,
    /// Forget --before
    #[arg(long)]
    unset_before: bool,
    /// Forget --after
    #[arg(long)]
    unset_after: bool,
    /// Forget --seconds
    #[arg(long)]
    unset_seconds: bool,
    /// Forget --reason
    #[arg(long)]
    unset_reason: bool,
    /// Forget everything
    #[arg(short, long, conflicts_with = "immediate")]
    remove: bool,
    /// Print what is asked after the change
    #[arg(short, long)]
    verbose: bool,
    /// The prefixes
    #[arg(env = "SCR_PREFIX", default_value = ".")]
    prefixes: Vec<PathBuf>,
}

/// Changes, or tells, what is asked of the jobs in some prefixes. Returns the exit status.
pub(crate) fn main(arguments: &Arguments) -> u8 {
    let zone = time::local();
    let mut code = exit::SUCCESS;
    for root in &arguments.prefixes {
        // The others are asked all the same.
        if let Err(error) = one(&Prefix::at(root), arguments, &zone) {
            complain("scr halt", &error);
            code = if code == exit::SUCCESS { exit::of_error(error.kind()) } else { code };
        }
    }
    code
}

fn one(prefix: &Prefix, arguments: &Arguments, zone: &TimeZone) -> Result<()> {
    prefix.must_exist()?;
    let path = prefix.record("halt");
    if arguments.list {
        return tell(prefix, arguments.json, zone);
    }
    if arguments.remove {
        store().remove(&path)?;
    } else {
        // A request that cannot be read is replaced: the person asks anew.
        let old = prefix.halt().ok().flatten().unwrap_or_default();
        let generation = SystemClock::default().unix().as_nanos() as u64;
        write_record(&path, &change(old, arguments, generation, zone)?)?;
    }
    if arguments.verbose {
        tell(prefix, false, zone)?;
    }
    if arguments.immediate {
        immediate::end_runs(prefix, arguments.run_dir.as_deref())?;
    }
    Ok(())
}

/// Prints what is asked of the job of a prefix.
fn tell(prefix: &Prefix, as_json: bool, zone: &TimeZone) -> Result<()> {
    let (root, request) = (prefix.root(), prefix.halt()?.unwrap_or_default());
    let left = checkpoints_left(&request, &prefix.halt_used()?.unwrap_or_default());
    if as_json {
        return print_json(
            &serde_json::json!({ "prefix": root, "request": request, "checkpoints_left": left }),
        );
    }
    let text = describe(&request, left, zone);
    print(&format!("Halt settings for {}:\n{text}", root.display()))
}

/// Applies what the person asks to what was asked before.
///
/// What the job has used up refers to a generation. So only a new number of checkpoints draws a new one: any other change
/// would make the job count from the start again.
fn change(
    mut request: HaltRequest,
    arguments: &Arguments,
    generation: u64,
    zone: &TimeZone,
) -> Result<HaltRequest> {
    let time = |text: &Option<String>| text.as_deref().map(|t| time::parse(t, zone)).transpose();
    let (before, after) = (time(&arguments.before)?, time(&arguments.after)?);
    let unset = [
        arguments.unset_checkpoints,
        arguments.unset_before,
        arguments.unset_after,
        arguments.unset_seconds,
        arguments.unset_reason,
    ];
    let is_bare = arguments.checkpoints.is_none()
        && before.is_none()
        && after.is_none()
        && arguments.seconds.is_none()
        && arguments.reason.is_none()
        && unset == [false; 5];
    let needs_reason = is_bare || arguments.immediate;
    let reason = arguments.reason.clone().or_else(|| needs_reason.then(|| JOB_HALTED.to_string()));
    let generation = if arguments.checkpoints.is_some() { generation } else { request.generation };
    merge(&mut request.checkpoints_left, arguments.checkpoints, unset[0]);
    merge(&mut request.exit_before_unix_seconds, before, unset[1]);
    merge(&mut request.exit_after_unix_seconds, after, unset[2]);
    merge(&mut request.halt_seconds, arguments.seconds, unset[3]);
    merge(&mut request.reason, reason, unset[4]);
    Ok(HaltRequest { generation, ..request })
}

/// A new value replaces the old one, unless it is to be forgotten.
fn merge<T>(value: &mut Option<T>, new: Option<T>, forget: bool) {
    if forget {
        *value = None;
    } else if new.is_some() {
        *value = new;
    }
}

/// How many checkpoints are left until the job stops, where that was asked.
fn checkpoints_left(request: &HaltRequest, used: &HaltUsed) -> Option<u64> {
    let used = if used.generation == request.generation { used.checkpoints } else { 0 };
    request.checkpoints_left.map(|asked| asked.saturating_sub(used))
}

/// SCR's words for a request.
fn describe(request: &HaltRequest, left: Option<u64>, zone: &TimeZone) -> String {
    let show = |time: u64| time::show(time, zone);
    let before = request.exit_before_unix_seconds;
    let effective = before.zip(request.halt_seconds).map(|(t, s)| show(t.saturating_sub(s)));
    let lines = [
        ("ExitReason", request.reason.clone()),
        ("CheckpointsLeft", left.map(|n| n.to_string())),
        ("ExitAfter", request.exit_after_unix_seconds.map(show)),
        ("ExitBefore", before.map(show)),
        ("HaltSeconds", request.halt_seconds.map(|n| n.to_string())),
        ("ExitBefore - HaltSeconds", effective),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name}: {value}");
        }
    }
    if text.is_empty() { "  None\n".to_string() } else { text }
}

/// Whether a job in this prefix has to stop at `now`: for what is asked there, or because its allocation ends at
/// `end_unix_seconds` and it halts `halt_seconds` before.
pub(crate) fn holds(
    prefix: &Prefix,
    now: u64,
    end_unix_seconds: Option<u64>,
    halt_seconds: u64,
) -> Result<bool> {
    let request = prefix.halt()?.unwrap_or_default();
    let used = prefix.halt_used()?.unwrap_or_default();
    Ok(is_due(&request, &used, now, end_unix_seconds, halt_seconds))
}

/// The conditions that the library heeds.
fn is_due(
    request: &HaltRequest,
    used: &HaltUsed,
    now: u64,
    end: Option<u64>,
    halt_seconds: u64,
) -> bool {
    let facts = halt::Facts {
        request: Some(request),
        used: Some(used),
        halt_seconds: u32::try_from(halt_seconds).unwrap_or(u32::MAX),
        end_unix_seconds: end,
        now_unix_seconds: now,
    };
    halt::reason(&facts).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Halt {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn changed(old: &HaltRequest, line: &str) -> HaltRequest {
        changed_as(7, old, line)
    }

    fn changed_as(generation: u64, old: &HaltRequest, line: &str) -> HaltRequest {
        let words = std::iter::once("halt").chain(line.split_whitespace());
        let arguments = Halt::try_parse_from(words).unwrap().arguments;
        change(old.clone(), &arguments, generation, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn requests_add_up() {
        let one = changed(&HaltRequest::default(), "");
        assert_eq!((one.reason.as_deref(), one.generation), (Some(JOB_HALTED), 0));
        let two = changed(&one, "-c 2 --before 1970-01-01T00:10:00 -s 60");
        assert_eq!(two.reason.as_deref(), Some(JOB_HALTED));
        assert_eq!((two.checkpoints_left, two.exit_before_unix_seconds), (Some(2), Some(600)));
        let three = changed(&two, "--unset-reason --unset-before --after 50");
        assert_eq!((three.reason, three.exit_before_unix_seconds), (None, None));
        assert_eq!((three.checkpoints_left, three.exit_after_unix_seconds), (Some(2), Some(50)));
        let four = changed(&HaltRequest::default(), "--immediate --checkpoints 0");
        assert_eq!((four.reason.as_deref(), four.checkpoints_left), (Some(JOB_HALTED), Some(0)));
        let five = changed(&HaltRequest::default(), "--immediate --reason MAINTENANCE");
        assert_eq!(five.reason.as_deref(), Some("MAINTENANCE"));
    }

    #[test]
    fn what_the_job_used_up_counts_until_a_new_number_is_asked_for() {
        let asked = changed(&HaltRequest::default(), "--checkpoints 3");
        let used = HaltUsed { generation: asked.generation, checkpoints: 2 };
        assert_eq!(checkpoints_left(&asked, &used), Some(1));
        let more = changed_as(8, &asked, "--before 1970-01-01T00:10:00 --unset-reason");
        assert_eq!(checkpoints_left(&more, &used), Some(1));
        let again = changed_as(9, &more, "--checkpoints 3");
        assert_eq!(checkpoints_left(&again, &used), Some(3));
        let none = changed(&HaltRequest::default(), "--checkpoints 0");
        assert_eq!(checkpoints_left(&none, &HaltUsed::default()), Some(0));
        assert!(is_due(&none, &HaltUsed::default(), 100, None, 0));
    }

    #[test]
    fn any_condition_is_enough() {
        let none = HaltRequest::default();
        let with = |change: fn(&mut HaltRequest)| {
            let mut request = HaltRequest { generation: 7, ..none.clone() };
            change(&mut request);
            request
        };
        let used = HaltUsed { generation: 7, checkpoints: 2 };
        let stale = HaltUsed { generation: 6, checkpoints: 9 };
        // (request, used, end of the allocation, due at time 100)
        let cases = [
            (none.clone(), &used, Some(101), false),
            (with(|r| r.reason = Some("x".into())), &used, None, true),
            (with(|r| r.reason = Some(String::new())), &used, None, false),
            (with(|r| r.checkpoints_left = Some(0)), &stale, None, true),
            (with(|r| r.checkpoints_left = Some(2)), &used, None, true),
            (with(|r| r.checkpoints_left = Some(3)), &used, None, false),
            (with(|r| r.checkpoints_left = Some(2)), &stale, None, false),
            (with(|r| r.exit_before_unix_seconds = Some(101)), &used, None, false),
            (with(|r| r.exit_before_unix_seconds = Some(100)), &used, None, true),
            (
                with(|r| {
                    r.exit_before_unix_seconds = Some(110);
                    r.halt_seconds = Some(10);
                }),
                &used,
                None,
                true,
            ),
            (with(|r| r.exit_after_unix_seconds = Some(100)), &used, None, true),
            (with(|r| r.exit_after_unix_seconds = Some(101)), &used, None, false),
            (with(|r| r.halt_seconds = Some(10)), &used, Some(110), true),
            (with(|r| r.halt_seconds = Some(10)), &used, Some(111), false),
            (with(|r| r.halt_seconds = Some(10)), &used, None, false),
        ];
        for (request, used, end, expected) in cases {
            assert_eq!(
                is_due(&request, used, 100, end, 0),
                expected,
                "{request:?} {used:?} {end:?}"
            );
        }
    }

    #[test]
    fn the_seconds_of_the_parameter_count_too() {
        let (request, used) = (HaltRequest::default(), HaltUsed::default());
        for (end, seconds, expected) in [
            (Some(110), 10, true),
            (Some(111), 10, false),
            (None, 10, false),
            (Some(100), 0, false),
        ] {
            assert_eq!(is_due(&request, &used, 100, end, seconds), expected, "{end:?} {seconds}");
        }
    }

    #[test]
    fn requests_are_told_in_the_words_of_scr() {
        assert_eq!(describe(&HaltRequest::default(), None, &TimeZone::UTC), "  None\n");
        let request = HaltRequest {
            reason: Some("upgrade".into()),
            exit_before_unix_seconds: Some(600),
            halt_seconds: Some(60),
            ..HaltRequest::default()
        };
        let expected = "  ExitReason: upgrade\n  ExitBefore: 1970-01-01T00:10:00\n  HaltSeconds: 60\n  \
                        ExitBefore - HaltSeconds: 1970-01-01T00:09:00\n";
        assert_eq!(describe(&request, None, &TimeZone::UTC), expected);
    }
}
