// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place where the commands look into the environment by themselves; options do it through `clap`.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// A variable of the environment, where it is set, not empty, and text.
#[expect(clippy::disallowed_methods, reason = "the one place of the commands that asks")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The id of the allocation around this process, where the library looks for it too.
pub(crate) fn job_id() -> Option<String> {
    const NAMES: [&str; 6] =
        ["SCR_JOB_ID", "SLURM_JOB_ID", "SLURM_JOBID", "FLUX_JOB_ID", "LSB_JOBID", "PBS_JOBID"];
    NAMES.into_iter().find_map(variable)
}

/// All variables that are text.
pub(crate) fn all() -> BTreeMap<String, String> {
    let texts = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(texts).collect()
}
