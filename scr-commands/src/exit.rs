// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exit statuses, in one table. `scr run` returns the application's own; these are the commands'.

use scr_core::ErrorKind;

/// All went well; for `scr run`, the application did its work.
pub(crate) const SUCCESS: u8 = 0;
/// The answer is no: there is nothing to report, or something is bad.
pub(crate) const NO: u8 = 1;
/// The command line, or a configuration value, is wrong.
pub(crate) const USAGE: u8 = 2;
/// What was asked for is not there, or is damaged.
pub(crate) const DATA: u8 = 65;
/// Too few nodes are left, somebody else holds what is needed, or whom we asked does not answer.
pub(crate) const UNAVAILABLE: u8 = 69;
/// We failed.
pub(crate) const SOFTWARE: u8 = 70;
/// The operating system refused.
pub(crate) const OS: u8 = 71;
/// A halt condition held before anything was launched.
pub(crate) const HALTED: u8 = 75;
/// The program cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// There is no such program.
pub(crate) const NO_SUCH_PROGRAM: u8 = 127;

/// The exit status for a command that failed with this kind of error.
pub(crate) fn of_error(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Misuse | ErrorKind::Config => USAGE,
        ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Invalid | ErrorKind::Lost => DATA,
        ErrorKind::Refused | ErrorKind::Timeout => UNAVAILABLE,
        ErrorKind::Io | ErrorKind::NoSpace => OS,
        _ => SOFTWARE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_looks_like_success_or_a_signal() {
        for kind in ErrorKind::ALL {
            let code = of_error(kind);
            assert!(code != SUCCESS && code < 128, "{kind:?}");
        }
    }
}
