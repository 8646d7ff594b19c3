// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measurements of whole checkpoints: what is measured, the ranks that do it, and the launch that gathers their numbers.
//!
//! A machine is never as fast twice, so a checkpoint is compared with a plain write of the same files by the same ranks
//! in the same run. Each number is the maximum over the ranks, then the minimum over the repetitions.

pub mod launch;
pub mod rank;
pub mod table;

use serde::{Deserialize, Serialize};

/// One thing to measure. Every node runs one rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Bytes of each file.
    pub file_bytes: usize,
    /// Files of each rank.
    pub files: usize,
    /// Value of `SCR_COPY_TYPE`.
    pub scheme: String,
    /// Whether checksums are taken.
    pub checksums: bool,
    /// Launches, each beginning with nothing.
    pub launches: usize,
    /// Checkpoints of each launch after its first.
    pub steady: usize,
}

/// Seconds that one checkpoint took, and a plain write of the same files just before it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// Writing the files without scr, over those of the last time.
    pub plain: f64,
    /// From before `SCR_Start_output` to after `SCR_Complete_output`.
    pub whole: f64,
    /// `SCR_Start_output`.
    pub start: f64,
    /// All `SCR_Route_file`.
    pub route: f64,
    /// Writing the files where they were routed.
    pub write: f64,
    /// `SCR_Complete_output`.
    pub complete: f64,
    /// Until the storage of the checkpoint before is free again, which happens in the background.
    pub free: f64,
}

/// What came out of one case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The first checkpoint of each launch.
    pub first: Vec<Times>,
    /// All later ones, which find storage to be used again.
    pub steady: Vec<Times>,
    /// Init when the cache holds a checkpoint.
    pub init: f64,
    /// Have_restart, which compares all data with their checksums.
    pub verify: f64,
    /// Init when a node has come back empty; where the scheme can restore it.
    pub rebuild: Option<f64>,
}

/// The smallest value of one time.
pub fn least(times: &[Times], of: impl Fn(&Times) -> f64) -> f64 {
    times.iter().map(of).fold(f64::INFINITY, f64::min)
}

/// The middle value of one time.
pub fn median(times: &[Times], of: impl Fn(&Times) -> f64) -> f64 {
    let mut values: Vec<f64> = times.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minima_and_medians_are_those_of_the_field_asked_for() {
        let times: Vec<Times> = [3.0, 1.0, 2.0]
            .map(|write| Times { write, plain: 10.0 - write, ..Times::default() })
            .into();
        assert_eq!((least(&times, |t| t.write), median(&times, |t| t.write)), (1.0, 2.0));
        assert_eq!((least(&times, |t| t.plain), median(&times, |t| t.plain)), (7.0, 8.0));
        assert!(median(&[], |t| t.write).is_nan());
    }
}
