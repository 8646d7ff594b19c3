// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test says that cannot run on this machine, so that nobody takes a skip for a pass.

use std::io::Write;

/// Notes that `test` was skipped and why; `scripts/test` names it in its last line.
///
/// Call it after asking for the capability itself (a second MPI, the right to make namespaces), and return.
///
/// # Panics
/// Where `CI=true`: there a skip is a failure.
#[expect(clippy::disallowed_methods, reason = "switches of the test suite, not configuration")]
pub fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test} must not be skipped in CI: {reason}"
    );
    if let Ok(path) = std::env::var("SCR_TEST_SKIPS")
        && let Ok(mut file) = std::fs::File::options().append(true).create(true).open(&path)
        && let Err(error) = writeln!(file, "{test}: {reason}")
    {
        panic!("note a skipped test in {path}: {error}");
    }
}
