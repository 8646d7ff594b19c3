// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which call is allowed when, and which one is missing. Pure.
//!
//! `Session` guards its own states; this says the same in terms of C functions, keeps the legacy pair
//! `SCR_Start_checkpoint`/`SCR_Complete_checkpoint` apart from `SCR_Start_output`/`SCR_Complete_output`, and holds
//! where no session runs (`SCR_ENABLE=0`).

use scr_core::{Error, ErrorKind, Result};

/// Between which calls the application is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before `SCR_Init`, or after `SCR_Finalize`.
    #[default]
    Off,
    /// Initialized, nothing started.
    Idle,
    /// After `SCR_Start_output`.
    Output,
    /// After `SCR_Start_checkpoint`.
    Checkpoint,
    /// After `SCR_Start_restart`.
    Restart,
}

impl Phase {
    /// Checks that the application is in the phase `self`.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] naming the call that is missing.
    pub(crate) fn require(self, now: Self) -> Result<()> {
        if now == self {
            return Ok(());
        }
        let message = match (now, self) {
            (_, Self::Off) => "already initialized".to_string(),
            (Self::Off, _) => "must call SCR_Init() first".to_string(),
            (Self::Idle, wanted) => format!("must call {} first", wanted.opened_by()),
            (started, _) => format!("must call {} first", started.closed_by()),
        };
        Err(Error::new(ErrorKind::Misuse, message))
    }

    fn opened_by(self) -> &'static str {
        match self {
            Self::Off | Self::Idle => "SCR_Init()",
            Self::Output => "SCR_Start_output()",
            Self::Checkpoint => "SCR_Start_checkpoint()",
            Self::Restart => "SCR_Start_restart()",
        }
    }

    fn closed_by(self) -> &'static str {
        match self {
            Self::Off | Self::Idle => "SCR_Finalize()",
            Self::Output => "SCR_Complete_output()",
            Self::Checkpoint => "SCR_Complete_checkpoint()",
            Self::Restart => "SCR_Complete_restart()",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Checkpoint, Idle, Off, Output, Restart};

    #[test]
    fn a_wrong_call_is_told_which_one_is_missing() {
        for (wanted, now, message) in [
            (Off, Idle, "already initialized"),
            (Off, Output, "already initialized"),
            (Idle, Off, "must call SCR_Init() first"),
            (Output, Off, "must call SCR_Init() first"),
            (Idle, Output, "must call SCR_Complete_output() first"),
            (Idle, Checkpoint, "must call SCR_Complete_checkpoint() first"),
            (Idle, Restart, "must call SCR_Complete_restart() first"),
            (Output, Idle, "must call SCR_Start_output() first"),
            (Checkpoint, Idle, "must call SCR_Start_checkpoint() first"),
            (Restart, Idle, "must call SCR_Start_restart() first"),
            (Output, Checkpoint, "must call SCR_Complete_checkpoint() first"),
            (Checkpoint, Output, "must call SCR_Complete_output() first"),
        ] {
            let error = wanted.require(now).expect_err("not allowed");
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Misuse, message));
        }
        for phase in [Off, Idle, Output, Checkpoint, Restart] {
            assert!(phase.require(phase).is_ok());
        }
    }
}
