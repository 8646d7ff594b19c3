// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr log-event` and `scr log-transfer`: a script writes a line of its own into SCR's log.

use super::{Entry, Log, What};
use crate::environment::{job_id, variable};
use crate::exit;
use crate::prefix::Prefix;
use scr_core::Result;
use scr_core::clock::{Clock, SystemClock};
use std::path::PathBuf;

/// What both have: whose log, and what of SCR's options is for its database only.
#[derive(clap::Args, Debug)]
struct Common {
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// The job id [default: that of the surroundings, else defjobid]
    #[arg(short = 'i', long, value_name = "ID")]
    jobid: Option<String>,
    /// The user; SCR's text log has no place for it
    #[arg(short = 'u', long, value_name = "NAME", hide_short_help = true)]
    username: Option<String>,
    /// The name of the job; SCR's text log has no place for it
    #[arg(short = 'j', long, value_name = "NAME", hide_short_help = true)]
    jobname: Option<String>,
    /// When the job started; SCR's text log has no place for it
    #[arg(short = 's', long, value_name = "SECONDS", hide_short_help = true)]
    jobstart: Option<u64>,
    /// What it is called
    #[arg(short = 'T', long = "type", value_name = "TYPE")]
    kind: String,
    /// The number of the dataset concerned
    #[arg(short = 'D', long, value_name = "ID")]
    dset: Option<u64>,
    /// Its name
    #[arg(short = 'n', long)]
    name: Option<String>,
    /// When it began, in seconds since 1970 [default: now]
    #[arg(short = 'S', long, value_name = "SECONDS")]
    start: Option<u64>,
    /// How long it took
    #[arg(short = 'L', long, value_name = "SECONDS", value_parser = duration)]
    secs: Option<f64>,
}

/// Options of `scr log-event`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr log-event -T BATCH_START                     in the prefix that is the current directory
  scr log-event -p /p/run1 -i 42 -T NODE_FAIL -N 'n7: no answer'
  scr log-event -T STAGE_IN -S \"$begun\" -L 12.5    with its begin and how long it took

The line is appended to .scr/log in the prefix. SCR_LOG_ENABLE=0 or SCR_LOG_TXT_ENABLE=0 in the
environment keep it from being written. docs/commands/log-event.md says what else is in it.

Exit status: 0 written, or switched off; 2 wrong usage, 65 no such prefix, 71 cannot be written.")]
pub(crate) struct EventArguments {
    #[command(flatten)]
    common: Common,
    /// In words
    #[arg(short = 'N', long, value_name = "TEXT")]
    note: Option<String>,
}

/// Options of `scr log-transfer`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr log-transfer -T STAGE_OUT -X /p/run1/out -Y /archive/run1 -B 1048576 -F 3 -L 4.2
  scr log-transfer -T COPY -X /dev/shm -Y /p -D 18 -n ckpt.18 -L 2 -B 4096 -F 1

The line is appended to .scr/log in the prefix. SCR_LOG_ENABLE=0 or SCR_LOG_TXT_ENABLE=0 in the
environment keep it from being written.

Exit status: 0 written, or switched off; 2 wrong usage, 65 no such prefix, 71 cannot be written.")]
pub(crate) struct TransferArguments {
    #[command(flatten)]
    common: Common,
    /// From where
    #[arg(short = 'X', long, value_name = "DIR")]
    from: Option<String>,
    /// To where
    #[arg(short = 'Y', long, value_name = "DIR")]
    to: Option<String>,
    /// How many bytes
    #[arg(short = 'B', long, value_name = "N")]
    bytes: Option<u64>,
    /// How many files
    #[arg(short = 'F', long, value_name = "N")]
    files: Option<u64>,
}

/// A duration is no negative number and no `inf`.
fn duration(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    seconds.ok_or_else(|| "not a number of seconds".to_string())
}

/// Writes an event.
pub(crate) fn event(arguments: &EventArguments) -> Result<u8> {
    let mut entry = arguments.common.entry(What::Event(arguments.common.kind.clone()));
    entry.note.clone_from(&arguments.note);
    arguments.common.write(entry)
}

/// Writes a transfer.
pub(crate) fn transfer(arguments: &TransferArguments) -> Result<u8> {
    let what = What::Transfer {
        kind: arguments.common.kind.clone(),
        from: arguments.from.clone(),
        to: arguments.to.clone(),
    };
    let entry = arguments.common.entry(what);
    arguments.common.write(Entry { bytes: arguments.bytes, files: arguments.files, ..entry })
}

impl Common {
    fn entry(&self, what: What) -> Entry {
        let name = self.name.clone();
        Entry { dataset: self.dset, name, seconds: self.secs, ..Entry::of(what) }
    }

    fn write(&self, entry: Entry) -> Result<u8> {
        // A script that says "log this" wants it; only who switched the log off does not.
        let is_off = |name: &str| variable(name).is_some_and(|value| value.trim() == "0");
        if is_off("SCR_LOG_ENABLE") || is_off("SCR_LOG_TXT_ENABLE") {
            return Ok(exit::SUCCESS);
        }
        let job = self.jobid.clone().or_else(job_id);
        let log = Log::new(&Prefix::at(&self.prefix), job.as_deref());
        let when = self.start.unwrap_or_else(|| SystemClock::default().unix().as_secs());
        log.append(when, entry)?;
        Ok(exit::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_of_seconds() {
        for (text, expected) in [("1", Some(1.0)), ("0", Some(0.0)), ("2.5", Some(2.5))] {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
        for text in ["", "-1", "inf", "nan", "x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
