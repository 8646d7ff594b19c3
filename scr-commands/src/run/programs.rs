// SPDX-License-Identifier: MIT OR Apache-2.0
//! What launches start: one program, or (`--run-cmd`, `--restart-cmd`) one to begin with and another one to restart.
//!
//! As in SCR these two options may stand anywhere in the command line, before or after the launcher and its options, and
//! `SCR_CKPT_NAME` in the second command is replaced by the name of the checkpoint.

use super::{Arguments, version_of};
use crate::ask;
use crate::launcher::{self, Launch, Launcher};
use scr_core::id::DatasetName;
use scr_core::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What is replaced by the name of a checkpoint.
const NAME: &str = "SCR_CKPT_NAME";

/// The command lines of a run.
#[derive(Debug)]
pub(super) struct Programs {
    /// To begin with; it speaks for both where they have the same launcher.
    pub(super) first: Box<dyn Launcher>,
    /// To restart, where that is another one.
    pub(super) restart: Option<Box<dyn Launcher>>,
}

/// A command line with the two options taken out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    launcher: Vec<OsString>,
    run: Option<String>,
    restart: Option<String>,
}

impl Programs {
    /// Understands the command line.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when it cannot be understood; [`ErrorKind::NotFound`] or [`ErrorKind::Io`] when its first word
    /// is no program that can be started.
    pub(super) fn new(arguments: &Arguments, has_allocation: bool) -> Result<Self> {
        let mut words = Words::take(&arguments.command)?;
        words.run = words.run.or_else(|| arguments.run_cmd.clone());
        words.restart = words.restart.or_else(|| arguments.restart_cmd.clone());
        if words.restart.is_some() && words.run.is_none() {
            let text = "--restart-cmd needs --run-cmd, the command while there is no checkpoint";
            return Err(Error::new(ErrorKind::Misuse, text));
        }
        let choose = |program: Option<&str>| -> Result<Box<dyn Launcher>> {
            let program = program.map_or(Ok(Vec::new()), split)?;
            let line: Vec<OsString> = words.launcher.iter().cloned().chain(program).collect();
            launcher::choose(&line, has_allocation, &version_of)
        };
        let first = choose(words.run.as_deref())?;
        let restart = words.restart.as_deref().map(|restart| choose(Some(restart))).transpose()?;
        if let Some(program) = words.launcher.first() {
            ask::find(program)?;
        }
        Ok(Self { first, restart })
    }
}

/// The command line of a start from nothing, as the user would type it without us.
pub(super) fn plain(arguments: &Arguments) -> Result<Vec<OsString>> {
    let words = Words::take(&arguments.command)?;
    let run = words.run.or_else(|| arguments.run_cmd.clone());
    let program = run.as_deref().map_or(Ok(Vec::new()), split)?;
    Ok(words.launcher.into_iter().chain(program).collect())
}

impl Words {
    fn take(command: &[OsString]) -> Result<Self> {
        let mut words = Self::default();
        let mut rest = command.iter();
        while let Some(word) = rest.next() {
            let text = word.to_string_lossy();
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (&*text, None),
            };
            let place = match name {
                // The words of a program that are not ours, whatever they look like.
                "--" => {
                    words.launcher.push(word.clone());
                    words.launcher.extend(rest.by_ref().cloned());
                    break;
                }
                "-rc" | "--run-cmd" => &mut words.run,
                "-rs" | "--restart-cmd" => &mut words.restart,
                _ => {
                    words.launcher.push(word.clone());
                    continue;
                }
            };
            let next = || rest.next().map(|next| next.to_string_lossy().into_owned());
            let missing = || Error::new(ErrorKind::Misuse, format!("{name} needs a command"));
            *place = Some(value.or_else(next).ok_or_else(missing)?);
        }
        Ok(words)
    }
}

/// Splits a command into words as a shell does.
fn split(command: &str) -> Result<Vec<OsString>> {
    let words = shell_words::split(command).ok().filter(|words| !words.is_empty());
    let wrong = || Error::new(ErrorKind::Misuse, format!("cannot split {command:?} into words"));
    Ok(words.ok_or_else(wrong)?.into_iter().map(OsString::from).collect())
}

/// Puts the name of a checkpoint where the command line asks for it.
pub(super) fn name_checkpoint(launch: &mut Launch, name: &DatasetName) {
    for word in &mut launch.argv {
        *word = replaced(word, name.as_str());
    }
}

fn replaced(word: &OsStr, name: &str) -> OsString {
    let (mut left, mark) = (word.as_bytes(), NAME.as_bytes());
    let mut bytes = Vec::new();
    while let Some(at) = left.windows(mark.len()).position(|window| window == mark) {
        bytes.extend_from_slice(&left[..at]);
        bytes.extend_from_slice(name.as_bytes());
        left = &left[at + mark.len()..];
    }
    bytes.extend_from_slice(left);
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(line: &str) -> Result<(String, Option<String>, Option<String>)> {
        let words: Vec<OsString> =
            shell_words::split(line).unwrap().into_iter().map(OsString::from).collect();
        let Words { launcher, run, restart } = Words::take(&words)?;
        Ok((launcher.join(OsStr::new(" ")).into_string().unwrap(), run, restart))
    }

    #[test]
    fn the_two_commands_are_found_wherever_they_stand() {
        let cases = [
            ("srun -N4 ./app", ("srun -N4 ./app", None, None)),
            ("srun -N4 --run-cmd='./a 1'", ("srun -N4", Some("./a 1"), None)),
            (
                "srun -rc=./a -rs './b SCR_CKPT_NAME' -N4",
                ("srun -N4", Some("./a"), Some("./b SCR_CKPT_NAME")),
            ),
            ("srun -N4 -- ./app --run-cmd x", ("srun -N4 -- ./app --run-cmd x", None, None)),
        ];
        for (line, (launcher, run, restart)) in cases {
            let expected = (launcher.to_string(), run.map(String::from), restart.map(String::from));
            assert_eq!(take(line).unwrap(), expected, "{line}");
        }
        assert_eq!(take("srun --run-cmd").unwrap_err().kind(), ErrorKind::Misuse);
        for bad in ["", "'a"] {
            assert_eq!(split(bad).unwrap_err().kind(), ErrorKind::Misuse, "{bad}");
        }
    }

    #[test]
    fn without_scr_the_command_line_is_the_same() {
        #[derive(clap::Parser)]
        struct Run {
            #[command(flatten)]
            arguments: Arguments,
        }
        for line in [
            vec!["run", "srun", "-N4", "./a", "b c"],
            vec!["run", "srun", "-N4", "-rc=./a 'b c'", "-rs=./b"],
            vec!["run", "--run-cmd", "./a 'b c'", "srun", "-N4"],
        ] {
            let run = <Run as clap::Parser>::try_parse_from(line).ok().unwrap();
            assert_eq!(plain(&run.arguments).unwrap(), ["srun", "-N4", "./a", "b c"]);
        }
    }

    #[test]
    fn the_name_is_put_wherever_it_is_asked_for() {
        for (word, expected) in [
            ("SCR_CKPT_NAME", "ckpt.7"),
            ("--from=SCR_CKPT_NAME/SCR_CKPT_NAME", "--from=ckpt.7/ckpt.7"),
            ("SCR_CKPT", "SCR_CKPT"),
            ("", ""),
        ] {
            assert_eq!(replaced(OsStr::new(word), "ckpt.7"), expected, "{word}");
        }
    }
}
