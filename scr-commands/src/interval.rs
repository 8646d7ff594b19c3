// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr ckpt-interval`: how often to write a checkpoint, from what the logs of a prefix tell.

mod history;
mod model;
mod read;

use crate::exit;
use crate::files::{optional, store};
use crate::output::{count, note, print, print_json};
use crate::prefix::Prefix;
use crate::time;
use history::{History, history};
use model::{Model, overhead_percent};
use read::{Read, merge, read};
use scr_core::{Error, ErrorKind, Result};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Options of `scr ckpt-interval`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  export SCR_CHECKPOINT_SECONDS=$(scr ckpt-interval)
      in a job script: as often as the job's own history says
  export SCR_CHECKPOINT_OVERHEAD=$(scr ckpt-interval --percent)
      the same, as a share of the time
  scr ckpt-interval --stats
      what it is reckoned from: checkpoints, flushes, launches, failures
  scr ckpt-interval --model young --mtbf 86400
      a machine on which a job of this size fails once a day

It reads .scr/log and .scr/events.jsonl in the prefix, which jobs write with SCR_LOG_ENABLE=1,
and counts lost nodes and launches that failed, but not the end of an allocation, a halt
condition or a job that reached its end. docs/commands/ckpt-interval.md says how.

Exit status: 0 printed, 1 the logs do not suffice (nothing is printed on stdout, the reason on
stderr), 2 wrong usage, 65 there is no such log.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// Read this log instead of those in the prefix, of either kind
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// The formula
    #[arg(long, value_enum, default_value_t)]
    model: Model,
    /// Print which percentage of the time checkpoints take, not seconds
    #[arg(long)]
    percent: bool,
    /// Print what it is reckoned from, too
    #[arg(long, conflicts_with = "percent")]
    stats: bool,
    /// Print all of it as JSON
    #[arg(long, conflicts_with_all = ["percent", "stats"])]
    json: bool,
    /// The mean time between failures, instead of what the logs say
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    mtbf: Option<f64>,
    /// What a checkpoint costs, instead of what the logs say
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    cost: Option<f64>,
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "not a positive number of seconds".to_string())
}

/// What the formula is fed with, and what it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Answer {
    cost: f64,
    between_failures: f64,
    interval: f64,
}

/// Prints the interval.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let read = match &arguments.logfile {
        Some(path) => read_log(path)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no log {}", path.display()))
        })?,
        None => read_logs(&Prefix::at(&arguments.prefix))?,
    };
    if read.unreadable > 0 {
        note(&format!("{} of the log cannot be read", count(read.unreadable as u64, "line")));
    }
    let history = history(&read.happenings);
    let answer = answer(arguments, &history);
    if arguments.json {
        print_json(&to_json(arguments.model, &history, answer.as_ref().ok()))?;
    } else if arguments.stats {
        print(&describe(arguments.model, &history, answer.as_ref().ok()))?;
    }
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            note(&why);
            return Ok(exit::NO);
        }
    };
    if arguments.percent {
        print(&format!("{:.3}\n", overhead_percent(answer.cost, answer.interval)))?;
    } else if !arguments.json && !arguments.stats {
        print(&format!("{}\n", whole_seconds(answer.interval)))?;
    }
    Ok(exit::SUCCESS)
}

/// For `SCR_CHECKPOINT_SECONDS`, where 0 would mean never.
fn whole_seconds(interval: f64) -> u64 {
    (interval as u64).max(1)
}

/// The logs of a prefix; nothing where there are none.
fn read_logs(prefix: &Prefix) -> Result<Read> {
    let scr = read_log(&prefix.record("log"))?.unwrap_or_default();
    let ours = read_log(&prefix.record("events.jsonl"))?.unwrap_or_default();
    Ok(Read {
        happenings: merge(scr.happenings, ours.happenings),
        unreadable: scr.unreadable + ours.unreadable,
    })
}

fn read_log(path: &Path) -> Result<Option<Read>> {
    let bytes = optional(store().read(path))?;
    Ok(bytes.map(|bytes| read(&String::from_utf8_lossy(&bytes), &time::local())))
}

/// What the formula gives, or why it has nothing to work with.
fn answer(arguments: &Arguments, history: &History) -> std::result::Result<Answer, String> {
    let cost = arguments.cost.or_else(|| history.cost_seconds()).ok_or_else(|| {
        "no checkpoint is in the log; run the job with SCR_LOG_ENABLE=1, or say --cost SECONDS"
            .to_string()
    })?;
    if cost <= 0.0 {
        return Err("the checkpoints in the log took no time; say --cost SECONDS".to_string());
    }
    let between = arguments.mtbf.or_else(|| history.seconds_between_failures());
    let between_failures = between.ok_or_else(|| no_failure(arguments.model, history, cost))?;
    let interval = arguments.model.interval(cost, between_failures);
    Ok(Answer { cost, between_failures, interval })
}

/// Without a failure only a bound is known: one might have come at the very end.
fn no_failure(model: Model, history: &History, cost: f64) -> String {
    let so_far = history.launch_seconds;
    if so_far <= 0.0 {
        return "no launch is in the log, so nothing is known of failures; say --mtbf SECONDS"
            .to_string();
    }
    let at_least = whole_seconds(model.interval(cost, so_far));
    format!(
        "no failure in {so_far:.0} s of {} launch(es), so the mean time between failures is not \
         known; the interval is {at_least} s or more; say --mtbf SECONDS",
        history.launches
    )
}

fn describe(model: Model, history: &History, answer: Option<&Answer>) -> String {
    let mean = |total: f64, number: u64| if number > 0 { total / number as f64 } else { 0.0 };
    let mut lines = vec![
        ("Checkpoints", history.checkpoints.to_string()),
        ("Checkpoint time total/avg (s)", {
            let (total, number) = (history.checkpoint_seconds, history.checkpoints);
            format!("{total:.3} {:.3}", mean(total, number))
        }),
        ("Flushed checkpoints", history.flushes.to_string()),
        ("Flush checkpoint time total/avg (s)", {
            let (total, number) = (history.flush_seconds, history.flushes);
            format!("{total:.3} {:.3}", mean(total, number))
        }),
        ("Starts", history.launches.to_string()),
        ("Ended as they should", history.ended.to_string()),
        ("Cut off by the end of the allocation, or going on", history.cut_off.to_string()),
        ("Failures by loss of a node", history.node_failures.to_string()),
        ("Other failures", history.other_failures.to_string()),
        ("Total time (s)", format!("{:.0}", history.launch_seconds)),
    ];
    if let Some(answer) = answer {
        let percent = overhead_percent(answer.cost, answer.interval);
        lines.extend([
            ("Cost of a checkpoint (s)", format!("{:.3}", answer.cost)),
            ("Mean time to interrupt (s)", format!("{:.0}", answer.between_failures)),
            ("Model", model.name().to_string()),
            ("Checkpoint interval (s)", format!("{:.1}", answer.interval)),
            ("Percent overhead", format!("{percent:.3}")),
        ]);
    }
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

fn to_json(model: Model, history: &History, answer: Option<&Answer>) -> serde_json::Value {
    json!({
        "model": model.name(),
        "interval_seconds": answer.map(|answer| answer.interval),
        "overhead_percent": answer.map(|a| overhead_percent(a.cost, a.interval)),
        "cost_seconds": answer.map(|answer| answer.cost),
        "seconds_between_failures": answer.map(|answer| answer.between_failures),
        "checkpoints": history.checkpoints,
        "checkpoint_seconds": history.checkpoint_seconds,
        "flushes": history.flushes,
        "flush_seconds": history.flush_seconds,
        "launches": history.launches,
        "launch_seconds": history.launch_seconds,
        "ended": history.ended,
        "cut_off": history.cut_off,
        "node_failures": history.node_failures,
        "other_failures": history.other_failures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct CkptInterval {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(line: &str) -> Arguments {
        let words = std::iter::once("ckpt-interval").chain(line.split_whitespace());
        CkptInterval::try_parse_from(words).unwrap().arguments
    }

    fn some() -> History {
        History {
            checkpoints: 10,
            checkpoint_seconds: 15.0,
            flushes: 1,
            flush_seconds: 5.0,
            launches: 4,
            launch_seconds: 200.0,
            node_failures: 1,
            other_failures: 1,
            ended: 1,
            cut_off: 1,
        }
    }

    #[test]
    fn what_is_said_wins_over_what_the_log_says() {
        let cases = [
            ("--model young", 2.0, 100.0, 20.0),
            ("--model young --mtbf 400", 2.0, 400.0, 40.0),
            ("--model young --cost 8", 8.0, 100.0, 40.0),
            ("", 2.0, 100.0, 18.688_888),
        ];
        for (line, cost, between, interval) in cases {
            let found = answer(&arguments(line), &some()).unwrap();
            assert_eq!((found.cost, found.between_failures), (cost, between), "{line}");
            assert!((found.interval - interval).abs() < 1e-5, "{line}: {found:?}");
        }
        for bad in ["--mtbf 0", "--cost -1", "--model x", "--stats --json", "--mtbf nan"] {
            let words = std::iter::once("ckpt-interval").chain(bad.split_whitespace());
            assert!(CkptInterval::try_parse_from(words).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let cases = [
            (History::default(), "no checkpoint is in the log"),
            (History { checkpoint_seconds: 0.0, flush_seconds: 0.0, ..some() }, "took no time"),
            (History { launch_seconds: 0.0, ..some() }, "no launch is in the log"),
            (
                History { node_failures: 0, other_failures: 0, ended: 3, ..some() },
                "no failure in 200 s of 4 launch(es)",
            ),
            (
                History { node_failures: 0, other_failures: 0, ended: 3, ..some() },
                "the interval is 26 s or more",
            ),
        ];
        for (history, expected) in cases {
            let why = answer(&arguments(""), &history).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn an_interval_is_never_0() {
        assert_eq!([0.2, 1.9, 20.0].map(whole_seconds), [1, 1, 20]);
    }
}
