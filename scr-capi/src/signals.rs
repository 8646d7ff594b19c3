// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals that ask the job to stop (`SCR_EXIT_SIGNALS`): the handler sets a flag, and `SCR_Should_exit` tells it.
//!
//! The first signal of a kind does no more than that. Another one, and one after `SCR_Finalize`, does what it did before
//! there was a handler, so that a program that does not ask can still be ended. But a signal to all ranks comes to some of
//! them later than others: in a job that it has stopped, the first one stays harmless to the end.

use scr_core::{Error, ErrorKind, Result};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook::flag::{register, register_conditional_default};
use signal_hook::low_level::unregister;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is installed in this process.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    flags: Vec<Arc<AtomicBool>>,
    installed: Vec<SigId>,
    /// Set by the first signal of any kind, and on all ranks once one of them has asked.
    stop: Arc<AtomicBool>,
}

impl Signals {
    /// Installs a handler for each of these, and takes those of an earlier session away. Returns the flag that they set.
    pub(crate) fn install(&mut self, names: &[String]) -> Result<Arc<AtomicBool>> {
        for id in self.installed.drain(..) {
            unregister(id);
        }
        *self = Self::default();
        for name in names {
            let failed = |error: std::io::Error| Error::io("handle signal", name, &error);
            let signal = number(name)?;
            let came = Arc::new(AtomicBool::new(false));
            // In this order: the one that finds the flag set is not the one that sets it.
            for id in [
                register_conditional_default(signal, came.clone()).map_err(failed)?,
                register(signal, came.clone()).map_err(failed)?,
                register(signal, self.stop.clone()).map_err(failed)?,
            ] {
                self.installed.push(id);
            }
            self.flags.push(came);
        }
        Ok(self.stop.clone())
    }

    /// From here on signals do what they did before, unless one has stopped the job and may still be on its way to here.
    pub(crate) fn let_go(&self) {
        if !self.stop.load(Ordering::Relaxed) {
            self.flags.iter().for_each(|came| came.store(true, Ordering::Relaxed));
        }
    }
}

fn number(name: &str) -> Result<i32> {
    match name {
        "HUP" => Ok(SIGHUP),
        "INT" => Ok(SIGINT),
        "TERM" => Ok(SIGTERM),
        "USR1" => Ok(SIGUSR1),
        "USR2" => Ok(SIGUSR2),
        "XCPU" => Ok(SIGXCPU),
        _ => Err(Error::new(ErrorKind::Config, format!("SCR_EXIT_SIGNALS: no signal {name}"))),
    }
}
