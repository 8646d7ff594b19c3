// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place where the commands look into the environment by themselves; options do it through `clap`.

/// A variable of the environment, where it is set, not empty, and text.
#[expect(clippy::disallowed_methods, reason = "the one place of the commands that asks")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
