// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often to write a checkpoint, so that writing them and doing lost work again cost least together.
//!
//! Both formulas want the time one checkpoint takes and the mean time between failures, in seconds, and give the time to
//! compute between the end of one checkpoint and the begin of the next.

/// Which formula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Model {
    /// Young, of the first order: sqrt(2 cost failures)
    Young,
    /// Daly, of a higher order: also right where checkpoints take long
    #[default]
    Daly,
}

impl Model {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Young => "young",
            Self::Daly => "daly",
        }
    }

    /// The best time to compute between two checkpoints, in seconds. `cost` and `between_failures` are positive.
    pub(crate) fn interval(self, cost: f64, between_failures: f64) -> f64 {
        match self {
            // J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974) 530-531.
            Self::Young => (2.0 * cost * between_failures).sqrt(),
            // J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
            // Generation Computer Systems 22 (2006) 303-312, equation 37.
            Self::Daly if cost >= 2.0 * between_failures => between_failures,
            Self::Daly => {
                let share = cost / (2.0 * between_failures);
                let series = 1.0 + share.sqrt() / 3.0 + share / 9.0;
                (2.0 * cost * between_failures).sqrt() * series - cost
            }
        }
    }
}

/// Which share of the time goes into checkpoints that take `cost` each, `interval` apart: what `SCR_CHECKPOINT_OVERHEAD`
/// means to the library.
pub(crate) fn overhead_percent(cost: f64, interval: f64) -> f64 {
    100.0 * cost / (interval + cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_give_what_was_reckoned_by_hand() {
        // (cost, between failures, Young, Daly)
        let cases = [
            // sqrt(2*300*86400) = 7200; share = 300/172800 = 1/576, its root 1/24.
            (300.0, 86_400.0, 7200.0, 7200.0 * (1.0 + 1.0 / 72.0 + 1.0 / 5184.0) - 300.0),
            // sqrt(2*2*100) = 20; share = 0.01.
            (2.0, 100.0, 20.0, 20.0 * (1.0 + 0.1 / 3.0 + 0.01 / 9.0) - 2.0),
            // On the edge and beyond: a checkpoint takes as long as two failures are apart.
            (20.0, 10.0, 20.0, 10.0),
            (1000.0, 10.0, 20_000_f64.sqrt(), 10.0),
        ];
        for (cost, between, young, daly) in cases {
            let found = [Model::Young, Model::Daly].map(|model| model.interval(cost, between));
            assert!((found[0] - young).abs() < 1e-9, "{cost} {between}: {found:?}");
            assert!((found[1] - daly).abs() < 1e-9, "{cost} {between}: {found:?}");
        }
    }

    #[test]
    fn the_interval_costs_least_of_all_near_it() {
        // Daly's complete model of the time that a job takes, in which a failure may also hit the restart.
        let total = |cost: f64, between: f64, interval: f64| {
            between * (((interval + cost) / between).exp() - 1.0) / interval
        };
        for (cost, between) in [(1.0, 10_000.0), (60.0, 3600.0), (300.0, 1800.0)] {
            let best = Model::Daly.interval(cost, between);
            for factor in [0.5, 0.8, 1.25, 2.0] {
                let (here, there) =
                    (total(cost, between, best), total(cost, between, factor * best));
                assert!(here < there, "{cost} {between}: {factor} times {best} is better");
            }
        }
    }

    #[test]
    fn overhead_is_a_share_of_all_time() {
        for (cost, interval, expected) in [(1.0, 9.0, 10.0), (5.0, 5.0, 50.0), (1.0, 999.0, 0.1)] {
            assert!((overhead_percent(cost, interval) - expected).abs() < 1e-9);
        }
    }
}
