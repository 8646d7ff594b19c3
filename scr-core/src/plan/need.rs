// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the application should write a checkpoint now. Rank 0 decides and broadcasts.
//!
//! The order is SCR's: a halt condition first, since the job must leave something to restart from; then calls, time and
//! cost, each off at 0. With nothing configured the answer is always no.

/// What the decision is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The halt condition that holds, in words.
    pub halt: Option<String>,
    /// Calls of Need_checkpoint in this launch, this one included.
    pub calls: u64,
    /// Checkpoints that this launch has completed.
    pub checkpoints: u64,
    /// What these took in all, from start to the end of protection.
    pub checkpoints_seconds: f64,
    /// Time since the end of the last checkpoint, or since Init.
    pub idle_seconds: f64,
    /// `SCR_CHECKPOINT_INTERVAL`; 0 = off.
    pub interval_calls: u32,
    /// `SCR_CHECKPOINT_SECONDS`; 0 = off.
    pub interval_seconds: u32,
    /// `SCR_CHECKPOINT_OVERHEAD`; 0 = off.
    pub overhead_percent: f64,
}

/// Decides whether a checkpoint is needed, and says why or why not.
pub fn decide(facts: &Facts) -> (bool, String) {
    let mut waits = Vec::new();
    if let Some(halt) = &facts.halt {
        return (true, format!("the job is about to halt: {halt}"));
    }
    if facts.interval_calls > 0 {
        let said = format!("call {}, one in {} is a checkpoint", facts.calls, facts.interval_calls);
        if facts.calls.is_multiple_of(facts.interval_calls.into()) {
            return (true, said);
        }
        waits.push(said);
    }
    if facts.interval_seconds > 0 {
        let said =
            format!("{:.0} of {} seconds passed", facts.idle_seconds, facts.interval_seconds);
        if facts.idle_seconds >= facts.interval_seconds.into() {
            return (true, said);
        }
        waits.push(said);
    }
    if facts.overhead_percent > 0.0 {
        let (due, said) = by_overhead(facts);
        if due {
            return (true, said);
        }
        waits.push(said);
    }
    if waits.is_empty() {
        waits.push(
            "none of SCR_CHECKPOINT_INTERVAL, SCR_CHECKPOINT_SECONDS and SCR_CHECKPOINT_OVERHEAD is set"
                .into(),
        );
    }
    (false, waits.join("; "))
}

/// A checkpoint now would cost `cost` of the time since the last one and itself.
fn by_overhead(facts: &Facts) -> (bool, String) {
    if facts.checkpoints == 0 {
        return (true, "the cost of a checkpoint is not known yet".into());
    }
    let cost = facts.checkpoints_seconds / facts.checkpoints as f64;
    let percent = 100.0 * cost / (facts.idle_seconds + cost);
    let said = format!(
        "a checkpoint now would cost {percent:.1} % of the time, {} % are allowed",
        facts.overhead_percent
    );
    // A cost of 0 after no time at all is no number, and no overhead either.
    (percent.is_nan() || percent < facts.overhead_percent, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_alone_and_their_order() {
        let off = Facts { calls: 7, idle_seconds: 59.0, ..Facts::default() };
        let overhead = Facts { overhead_percent: 10.0, ..off.clone() };
        let cases = [
            ("nothing configured", off.clone(), false, "none of SCR_CHECKPOINT_INTERVAL"),
            ("call 7 of 5", Facts { interval_calls: 5, ..off.clone() }, false, "call 7"),
            (
                "call 10 of 5",
                Facts { interval_calls: 5, calls: 10, ..off.clone() },
                true,
                "call 10",
            ),
            ("one second early", Facts { interval_seconds: 60, ..off.clone() }, false, "59 of 60"),
            (
                "on the second",
                Facts { interval_seconds: 60, idle_seconds: 60.0, ..off.clone() },
                true,
                "60 of 60",
            ),
            ("no cost known", overhead.clone(), true, "not known yet"),
            (
                "9 % of 10",
                Facts {
                    checkpoints: 2,
                    checkpoints_seconds: 18.0,
                    idle_seconds: 91.0,
                    ..overhead.clone()
                },
                true,
                "9.0 %",
            ),
            (
                "exactly 10 % is not below 10 %",
                Facts {
                    checkpoints: 1,
                    checkpoints_seconds: 1.0,
                    idle_seconds: 9.0,
                    ..overhead.clone()
                },
                false,
                "10.0 %",
            ),
            (
                "free checkpoints, no time passed",
                Facts { checkpoints: 1, idle_seconds: 0.0, ..overhead.clone() },
                true,
                "",
            ),
            (
                "halt wins over everything",
                Facts { halt: Some("time limit".into()), interval_calls: 7, ..off.clone() },
                true,
                "time limit",
            ),
            (
                "any one is enough",
                Facts { interval_calls: 5, interval_seconds: 50, ..off.clone() },
                true,
                "59 of 50",
            ),
            (
                "all that wait are named",
                Facts { interval_calls: 5, interval_seconds: 60, ..off },
                false,
                "checkpoint; 59",
            ),
        ];
        for (what, facts, needed, words) in cases {
            let (answer, reason) = decide(&facts);
            assert_eq!(answer, needed, "{what}: {reason}");
            assert!(reason.contains(words), "{what}: {reason}");
        }
    }
}
