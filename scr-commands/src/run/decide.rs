// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens after a launch has ended: stop, or launch again. Pure; the truth table is in `docs/scr-run.md`.

use std::fmt;

/// How a process, or an application, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It returned this; 0 is success.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

impl Status {
    /// Whether it is success.
    pub(crate) fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit status a shell would show.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code as u8,
            Self::Signal(signal) => 128_u8.wrapping_add(signal as u8),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => f.write_str("success"),
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// How one rank's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RankEnd {
    /// How.
    pub(crate) status: Status,
    /// When, in nanoseconds since 1970: only the order matters.
    pub(crate) ended_unix_nanos: u64,
}

/// The status of the application: that of the rank that failed first, else that of the launcher.
///
/// Launchers do not always pass a status on (MPICH says 9 for an exit of 3), and ranks that a launcher ended after the
/// first failure did not fail by themselves.
pub(crate) fn application_status(launcher: Status, ranks: &[RankEnd]) -> Status {
    let failed = ranks.iter().filter(|end| !end.status.is_success());
    failed.min_by_key(|end| end.ended_unix_nanos).map_or(launcher, |end| end.status)
}

/// How many launches in a row may fail without a new checkpoint and without the loss of a node.
pub(crate) const BARREN_LAUNCHES: u32 = 3;

/// What is known when a launch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How the application ended.
    pub(crate) status: Status,
    /// Whether a node was lost during the launch.
    pub(crate) node_lost: bool,
    /// Whether the application came to SCR_Finalize.
    pub(crate) finalized: bool,
    /// Whether a halt condition holds.
    pub(crate) halted: bool,
    /// Whether a signal told `scr run` to stop.
    pub(crate) interrupted: bool,
    /// Launches that failed in a row, this one included, without a new checkpoint or the loss of a node.
    pub(crate) barren: u32,
    /// How many launches are left; `None` is no limit.
    pub(crate) runs_left: Option<u32>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Stop: the application has done its work.
    Success,
    /// Stop with the application's status, for this reason.
    Stop(Reason),
    /// Launch again.
    Relaunch,
}

/// Why the loop stops without the application having done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It failed after SCR_Finalize: its checkpoints are safe and it said it was done.
    FailedAfterFinalize,
    /// Somebody sent a signal.
    Interrupted,
    /// A halt condition holds.
    Halted,
    /// `SCR_RUNS` launches were made.
    RunsUsedUp,
    /// Launch after launch failed without getting anywhere.
    NoProgress,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FailedAfterFinalize => {
                "it failed after SCR_Finalize, so it is not launched again"
            }
            Self::Interrupted => "stopped by a signal",
            Self::Halted => "a halt condition holds (scr halt --list shows it)",
            Self::RunsUsedUp => "no launches are left; allow more with --runs or SCR_RUNS",
            Self::NoProgress => {
                "3 launches in a row failed without a new checkpoint or the loss of a node"
            }
        })
    }
}

/// Decides what happens after a launch.
pub(crate) fn decide(ended: &Ended) -> Verdict {
    if ended.status.is_success() && (ended.finalized || !ended.node_lost) {
        Verdict::Success
    } else if ended.finalized {
        Verdict::Stop(Reason::FailedAfterFinalize)
    } else if ended.interrupted {
        Verdict::Stop(Reason::Interrupted)
    } else if ended.halted {
        Verdict::Stop(Reason::Halted)
    } else if ended.runs_left == Some(0) {
        Verdict::Stop(Reason::RunsUsedUp)
    } else if ended.barren >= BARREN_LAUNCHES {
        Verdict::Stop(Reason::NoProgress)
    } else {
        Verdict::Relaunch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, node lost, finalized, interrupted, halted, runs left, barren launches, verdict.
    type Row = (Status, bool, bool, bool, bool, Option<u32>, u32, Verdict);

    #[test]
    fn the_truth_table() {
        use Reason::*;
        use Status::{Code, Signal};
        use Verdict::{Relaunch, Stop, Success};
        let (ok, bad, killed) = (Code(0), Code(3), Signal(9));
        let rows: [Row; 18] = [
            (ok, false, false, false, false, Some(5), 0, Success),
            (ok, false, true, true, true, Some(0), 3, Success),
            (ok, true, true, false, false, Some(5), 0, Success),
            (ok, true, false, false, false, Some(5), 0, Relaunch),
            (ok, true, false, false, false, Some(0), 0, Stop(RunsUsedUp)),
            (ok, true, false, false, true, Some(5), 0, Stop(Halted)),
            (bad, false, true, false, false, Some(5), 0, Stop(FailedAfterFinalize)),
            (bad, true, true, false, false, None, 0, Stop(FailedAfterFinalize)),
            (bad, false, false, false, false, Some(5), 1, Relaunch),
            (bad, false, false, false, false, Some(5), 2, Relaunch),
            (bad, false, false, false, false, Some(5), 3, Stop(NoProgress)),
            (bad, false, false, false, false, Some(0), 1, Stop(RunsUsedUp)),
            (bad, false, false, false, true, Some(5), 0, Stop(Halted)),
            (bad, false, false, true, true, Some(5), 0, Stop(Interrupted)),
            (killed, true, false, false, false, Some(1), 0, Relaunch),
            (killed, true, false, false, false, Some(0), 0, Stop(RunsUsedUp)),
            (killed, false, false, false, false, None, 0, Relaunch),
            (killed, false, false, false, false, None, 3, Stop(NoProgress)),
        ];
        for (status, node_lost, finalized, interrupted, halted, runs_left, barren, expected) in rows
        {
            let ended =
                Ended { status, node_lost, finalized, halted, interrupted, barren, runs_left };
            assert_eq!(decide(&ended), expected, "{ended:?}");
        }
    }

    #[test]
    fn nothing_is_launched_after_finalize_a_halt_a_signal_or_the_last_run() {
        let failures =
            [(Status::Code(0), true), (Status::Code(3), false), (Status::Signal(9), true)];
        for (status, node_lost) in failures {
            for bits in 0..16_u32 {
                let has = |bit: u32| bits & (1 << bit) != 0;
                let (finalized, halted, interrupted) = (has(0), has(1), has(2));
                let runs_left = Some(u32::from(!has(3)));
                let ended = Ended {
                    status,
                    node_lost,
                    finalized,
                    halted,
                    interrupted,
                    barren: 0,
                    runs_left,
                };
                assert_eq!(decide(&ended) == Verdict::Relaunch, bits == 0, "{ended:?}");
            }
        }
    }

    #[test]
    fn the_first_rank_that_failed_speaks_for_the_application() {
        let end = |status, ended_unix_nanos| RankEnd { status, ended_unix_nanos };
        let (ok, three, killed) = (Status::Code(0), Status::Code(3), Status::Signal(9));
        let cases: [(Status, &[RankEnd], Status); 6] = [
            (ok, &[end(ok, 1), end(ok, 2)], ok),
            (Status::Code(9), &[end(ok, 1), end(three, 2)], three),
            (Status::Code(9), &[end(killed, 9), end(three, 2)], three),
            (ok, &[end(three, 2)], three),
            (Status::Code(1), &[end(ok, 1)], Status::Code(1)),
            (Status::Code(137), &[], Status::Code(137)),
        ];
        for (launcher, ranks, expected) in cases {
            assert_eq!(application_status(launcher, ranks), expected);
        }
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(Status::Code(0).exit_code(), 0);
        assert_eq!(Status::Code(3).exit_code(), 3);
        assert_eq!(Status::Signal(15).exit_code(), 143);
    }
}
