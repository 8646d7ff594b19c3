// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a log tells of checkpoints and failures. Pure.
//!
//! A launch begins with RUN_START (of `scr run`) or START (of the library). How it ended is judged from what was written
//! until the next one begins:
//!
//! | what there is | the launch |
//! |---|---|
//! | HALT, FINALIZE, or RUN_END with success or a request to stop | ended as it should |
//! | NODE_FAIL | lost a node |
//! | RUN_END with a failure, or the next launch has the same job id | failed otherwise |
//! | the next launch has another job id, or there is none | met the end of its allocation, or goes on |
//!
//! Only lost nodes and other failures count. The mean time between them is the time of *all* launches by the number of
//! failures: a launch that ended well says that for so long there was none.

use super::read::Happening;
use crate::log::{NODE_FAIL, RUN_END, RUN_START, RunEnd};
use std::collections::{BTreeMap, BTreeSet};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    /// Checkpoints of which it is known how long they took.
    pub(crate) checkpoints: u64,
    /// How long these took in all, until they were protected.
    pub(crate) checkpoint_seconds: f64,
    /// Checkpoints that were flushed while the application waited.
    pub(crate) flushes: u64,
    /// How long that took in all.
    pub(crate) flush_seconds: f64,
    /// Launches.
    pub(crate) launches: u64,
    /// How long all launches took together.
    pub(crate) launch_seconds: f64,
    /// Launches that lost a node.
    pub(crate) node_failures: u64,
    /// Launches that failed otherwise.
    pub(crate) other_failures: u64,
    /// Launches that ended as they should.
    pub(crate) ended: u64,
    /// Launches that were cut off by the end of their allocation, as far as one can see, or go on.
    pub(crate) cut_off: u64,
}

impl History {
    /// How many failures there were.
    pub(crate) fn failures(&self) -> u64 {
        self.node_failures + self.other_failures
    }

    /// What a checkpoint costs the application in the mean, flushes spread over all of them.
    pub(crate) fn cost_seconds(&self) -> Option<f64> {
        let total = self.checkpoint_seconds + self.flush_seconds;
        (self.checkpoints > 0).then(|| total / self.checkpoints as f64)
    }

    /// The mean time between failures.
    pub(crate) fn seconds_between_failures(&self) -> Option<f64> {
        (self.failures() > 0 && self.launch_seconds > 0.0)
            .then(|| self.launch_seconds / self.failures() as f64)
    }
}

/// One launch, as far as it has been read.
#[derive(Debug, Default)]
struct Launch {
    job: Option<String>,
    begin: f64,
    end: f64,
    /// Whether the library has begun; until then its START belongs to the RUN_START before.
    has_start: bool,
    is_over: bool,
    ended_well: bool,
    has_failed: bool,
    lost_node: bool,
}

/// Reads what happened, which is in the order of time.
pub(crate) fn history(happenings: &[Happening]) -> History {
    let mut history = History::default();
    cost(&mut history, happenings);
    let launches = launches(happenings);
    history.launches = launches.len() as u64;
    for (launch, next) in launches.iter().zip(launches.iter().skip(1).map(Some).chain([None])) {
        history.launch_seconds += launch.end - launch.begin;
        let is_same_job = next.is_some_and(|next| launch.job.is_some() && launch.job == next.job);
        if launch.ended_well {
            history.ended += 1;
        } else if launch.lost_node {
            history.node_failures += 1;
        } else if launch.has_failed || is_same_job {
            history.other_failures += 1;
        } else {
            history.cut_off += 1;
        }
    }
    history
}

/// Adds up what checkpoints, and their flushes, took.
fn cost(history: &mut History, happenings: &[Happening]) {
    let mut checkpoints = BTreeSet::new();
    // A flush may be told twice, as an event and as a transfer.
    let mut flushes: BTreeMap<u64, f64> = BTreeMap::new();
    for one in happenings {
        let Some(seconds) = one.seconds else { continue };
        match one.kind.as_str() {
            "CHECKPOINT_END" => {
                history.checkpoints += 1;
                history.checkpoint_seconds += seconds;
                checkpoints.extend(one.dataset);
            }
            "FLUSH_SUCCESS" | "FLUSH_SYNC" => {
                if let Some(dataset) = one.dataset {
                    let longest = flushes.entry(dataset).or_default();
                    *longest = longest.max(seconds);
                }
            }
            _ => {}
        }
    }
    let of_checkpoints = flushes.iter().filter(|(dataset, _)| checkpoints.contains(*dataset));
    for (_, seconds) in of_checkpoints {
        history.flushes += 1;
        history.flush_seconds += seconds;
    }
}

/// Finds the launches.
fn launches(happenings: &[Happening]) -> Vec<Launch> {
    let mut launches: Vec<Launch> = Vec::new();
    for one in happenings {
        let kind = one.kind.as_str();
        let current = launches.last_mut().filter(|launch| {
            // Our events have no job id: they belong to the launch that goes on.
            launch.job.is_none() || one.job.is_none() || launch.job == one.job
        });
        let begins = match (kind, &current) {
            (RUN_START, _) | ("START", None) => true,
            ("START", Some(launch)) => launch.has_start || launch.is_over,
            _ => false,
        };
        if begins {
            launches.push(Launch {
                job: one.job.clone(),
                begin: one.unix_seconds,
                end: one.unix_seconds,
                has_start: kind == "START",
                ..Launch::default()
            });
            continue;
        }
        // What has no launch, or is of another job, tells nothing of how this one fared.
        let Some(launch) = current else { continue };
        launch.job = launch.job.take().or_else(|| one.job.clone());
        if kind == NODE_FAIL {
            // Often noticed only before the next launch: it does not make this one longer.
            launch.lost_node = true;
        } else if !launch.is_over {
            launch.end = one.unix_seconds;
        }
        match kind {
            "START" => launch.has_start = true,
            "FINALIZE" | "HALT" => launch.ended_well = true,
            RUN_END => {
                launch.is_over = true;
                match one.note.as_deref().and_then(RunEnd::from_note) {
                    Some(RunEnd::Success | RunEnd::Stopped(_)) => launch.ended_well = true,
                    Some(RunEnd::Failure(_)) => launch.has_failed = true,
                    None => {}
                }
            }
            _ => {}
        }
    }
    launches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<time> <job> <kind>[ <seconds>s][ d<dataset>][ (<note>)]`; the job `-` is none.
    fn happening(text: &str) -> Happening {
        let (text, note) = text.split_once(" (").map_or((text, None), |(text, note)| {
            (text, Some(note.trim_end_matches(')').to_string()))
        });
        let words: Vec<&str> = text.split_whitespace().collect();
        let more = &words[3..];
        Happening {
            unix_seconds: words[0].parse().unwrap(),
            job: Some(words[1].to_string()).filter(|job| job != "-"),
            kind: words[2].to_string(),
            seconds: more.iter().find_map(|word| word.strip_suffix('s')?.parse().ok()),
            dataset: more.iter().find_map(|word| word.strip_prefix('d')?.parse().ok()),
            note,
        }
    }

    fn of(lines: &[&str]) -> History {
        history(&lines.iter().map(|line| happening(line)).collect::<Vec<_>>())
    }

    /// Launches: their time, lost nodes, other failures, ended well, cut off.
    type Launches = (f64, u64, u64, u64, u64);

    fn launches_of(lines: &[&str]) -> Launches {
        let found = of(lines);
        assert_eq!(found.launches, found.failures() + found.ended + found.cut_off, "{lines:?}");
        let (nodes, others) = (found.node_failures, found.other_failures);
        (found.launch_seconds, nodes, others, found.ended, found.cut_off)
    }

    #[test]
    fn failures_are_told_from_ends() {
        let cases: [(&str, &[&str], Launches); 14] = [
            ("nothing", &[], (0.0, 0, 0, 0, 0)),
            (
                "all went well",
                &["0 1 START", "50 1 CHECKPOINT_END 1s d1", "90 1 HALT (SCR_FINALIZE_CALLED)"],
                (90.0, 0, 0, 1, 0),
            ),
            (
                "our own log says it with another word",
                &["0 - START", "90 - FINALIZE"],
                (90.0, 0, 0, 1, 0),
            ),
            (
                "the allocation ended, the next job goes on",
                &["0 1 START", "100 1 CHECKPOINT_END 1s d1", "500 2 START", "600 2 HALT (x)"],
                (200.0, 0, 0, 1, 1),
            ),
            (
                "launched again in its allocation",
                &["0 1 START", "100 1 CHECKPOINT_END 1s d1", "120 1 START", "200 1 HALT (x)"],
                (180.0, 0, 1, 1, 0),
            ),
            (
                "a node was lost",
                &[
                    "0 1 RUN_START (run=1)",
                    "2 1 START",
                    "100 1 RUN_END (run=1: failure, signal 9)",
                    "101 1 NODE_FAIL (n2: no answer)",
                    "102 1 RUN_START (run=2)",
                    "103 1 START",
                    "200 1 RUN_END (run=2: success)",
                ],
                (198.0, 1, 0, 1, 0),
            ),
            (
                "two nodes at once end the work once",
                &["0 1 START", "10 1 NODE_FAIL (n1: x)", "10 1 NODE_FAIL (n2: x)", "20 1 START"],
                (0.0, 1, 0, 0, 1),
            ),
            (
                "a node was lost, and the allocation with it",
                &["0 1 START", "50 1 COMPUTE_START", "60 1 NODE_FAIL (n1: x)", "99 2 START"],
                (50.0, 1, 0, 0, 1),
            ),
            (
                "a spare node was lost",
                &[
                    "0 1 RUN_START (run=1)",
                    "9 1 NODE_FAIL (n9: x)",
                    "50 1 RUN_END (run=1: success)",
                ],
                (50.0, 0, 0, 1, 0),
            ),
            (
                "failed, and no launches were left",
                &["0 1 RUN_START (run=1)", "50 1 RUN_END (run=1: failure, exit status 3)"],
                (50.0, 0, 1, 0, 0),
            ),
            (
                "asked to stop, and stopped with a status",
                &[
                    "0 1 RUN_START (run=1)",
                    "50 1 RUN_END (run=1: stopped, SIGTERM)",
                    "60 1 RUN_START (run=1)",
                ],
                (50.0, 0, 0, 1, 1),
            ),
            (
                "a run of SCR, which does not say how it ended",
                &[
                    "0 1 RUN_START (run=1)",
                    "50 1 RUN_END (run=1)",
                    "110 1 RUN_START (run=2)",
                    "130 1 RUN_END (run=2)",
                ],
                (70.0, 0, 1, 0, 1),
            ),
            (
                "nodes that were down before",
                &["0 1 NODE_FAIL (n1: down)", "5 1 START", "10 1 HALT (x)"],
                (5.0, 0, 0, 1, 0),
            ),
            (
                "without job ids nobody can say",
                &[
                    "0 - START",
                    "40 - CHECKPOINT_END 1s d1",
                    "60 - START",
                    "90 - CHECKPOINT_END 1s d2",
                ],
                (70.0, 0, 0, 0, 2),
            ),
        ];
        for (what, lines, expected) in cases {
            assert_eq!(launches_of(lines), expected, "{what}");
        }
    }

    #[test]
    fn the_mean_time_between_failures_counts_all_launches() {
        let found = of(&[
            "0 1 START",
            "100 1 COMPUTE_START",
            "150 1 START",
            "450 1 HALT (SCR_FINALIZE_CALLED)",
            "900 2 START",
            "1500 2 HALT (TIME_LIMIT)",
        ]);
        assert_eq!((found.failures(), found.launch_seconds), (1, 1000.0));
        assert_eq!(found.seconds_between_failures(), Some(1000.0));
        let none = of(&["0 1 START", "450 1 HALT (SCR_FINALIZE_CALLED)"]);
        assert_eq!(none.seconds_between_failures(), None);
    }

    #[test]
    fn flushes_are_spread_over_checkpoints_and_counted_once() {
        let found = of(&[
            "0 1 START",
            "10 1 CHECKPOINT_END 2s d1",
            "20 1 CHECKPOINT_END 4s d2",
            "30 1 FLUSH_SYNC 6s d2",
            "30 1 FLUSH_SUCCESS 6s d2",
            "40 1 OUTPUT_END 9s d3",
            "50 1 FLUSH_SUCCESS 9s d3",
            "60 1 CHECKPOINT_END d4",
            "70 1 ASYNC_FLUSH_SUCCESS 50s d1",
        ]);
        assert_eq!((found.checkpoints, found.checkpoint_seconds), (2, 6.0));
        assert_eq!((found.flushes, found.flush_seconds), (1, 6.0));
        assert_eq!(found.cost_seconds(), Some(6.0));
        assert_eq!(of(&["0 1 START"]).cost_seconds(), None);
    }
}
