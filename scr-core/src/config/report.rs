// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said about a configuration: problems, which all come back in one error, and notices, which never stop a job.

use super::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Level;

/// Something a user should know about the configuration, though the job can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How loud: [`Level::Warning`] is always shown, [`Level::Note`] from `SCR_DEBUG=1`.
    pub level: Level,
    /// What to show: source, parameter, what happens instead.
    pub text: String,
}

/// Collects everything that is wrong before anything is said.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<String>,
    pub(super) notices: Vec<Notice>,
}

impl Report {
    pub(super) fn problem(&mut self, source: &Source, text: impl std::fmt::Display) {
        self.problems.push(format!("{source}: {text}"));
    }

    pub(super) fn warn(&mut self, source: &Source, text: impl std::fmt::Display) {
        self.notices.push(Notice { level: Level::Warning, text: format!("{source}: {text}") });
    }

    pub(super) fn note(&mut self, source: &Source, text: impl std::fmt::Display) {
        self.notices.push(Notice { level: Level::Note, text: format!("{source}: {text}") });
    }

    /// Hands out `value` if there was no problem.
    pub(super) fn finish<T>(self, value: T) -> Result<(T, Vec<Notice>)> {
        if self.problems.is_empty() {
            Ok((value, self.notices))
        } else {
            Err(Error::new(ErrorKind::Config, self.problems.join("\n")))
        }
    }
}

/// "; did you mean X?" for the nearest of `known`, or nothing.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// The name of `known` that `name` is most likely a slip of. `SCR_` counts for nothing, so `FLUSH` finds `SCR_FLUSH`.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.strip_prefix("SCR_").unwrap_or(name).to_ascii_uppercase();
    let wanted = bare(name);
    let farthest = (wanted.chars().count() / 3).min(3);
    known
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &bare(candidate)), candidate))
        .filter(|(distance, _)| *distance <= farthest)
        .min()
        .map(|(_, candidate)| candidate)
}
