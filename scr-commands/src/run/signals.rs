// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals that people and schedulers send to `scr run`, meant for the application.
//!
//! They go to the ranks directly: launchers pass some on, turn some into death (MPICH's mpiexec dies of SIGUSR2, Open
//! MPI's mpirun follows SIGTERM with SIGKILL at once), and do nothing about others.

use scr_core::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::path::Path;

/// The signals that are passed on.
pub(crate) const FORWARDED: [i32; 5] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];

/// Whether a signal also means that nothing shall be launched again.
pub(crate) fn means_stop(signal: i32) -> bool {
    matches!(signal, SIGTERM | SIGINT | SIGHUP)
}

/// What to call a signal.
pub(crate) fn name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal)
        .map_or_else(|| format!("signal {signal}"), ToString::to_string)
}

/// Starts collecting the signals; from here on none of them ends this process.
pub(crate) fn collect() -> Result<Signals> {
    Signals::new(FORWARDED)
        .map_err(|error| Error::io("catch signals in", Path::new("scr run"), &error))
}
