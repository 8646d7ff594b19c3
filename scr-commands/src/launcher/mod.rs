// SPDX-License-Identifier: MIT OR Apache-2.0
//! Launchers: how ranks are started. One file each; pure functions from a user's command line to the one we run.
//!
//! On virtual nodes every launcher starts `scr rank-exec ...` in front of the program, which learns its rank from
//! [`rank_and_size`]. In an allocation the user's command line stays as it is, but for the nodes it may use.

mod mpirun;
mod none;
mod srun;

use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::Path;

/// What `scr run` adds to a user's command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Additions<'a> {
    /// Where the ranks run.
    pub(crate) place: Place<'a>,
    /// Whether we run as root, which some launchers refuse unless told.
    pub(crate) is_root: bool,
}

/// Where ranks run, and what a launcher needs for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// Virtual nodes of this machine.
    Here {
        /// What stands in front of the program of every rank.
        wrapper: &'a [OsString],
        /// A directory in memory for the launcher's own files, removed with the run.
        scratch: &'a Path,
    },
    /// Nodes of an allocation, which the environment tells the launcher.
    Nodes {
        /// Those of the allocation that must not be used.
        unused: &'a [NodeName],
        /// Whether an earlier launch may still hold on to what it had.
        again: bool,
    },
}

/// A command line that is ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
    /// Variables for the launcher itself.
    pub(crate) env: Vec<(&'static str, OsString)>,
}

/// A way to start ranks.
pub(crate) trait Launcher: std::fmt::Debug {
    /// What it is, for messages.
    fn describe(&self) -> &'static str;

    /// How many ranks the user asked for, where the command line says so.
    fn ranks(&self) -> Option<u32>;

    /// How many nodes it can do with and how many it can use, where the command line says so.
    fn nodes(&self) -> Option<RangeInclusive<u32>> {
        None
    }

    /// The user's command line with what we add to it.
    fn launch(&self, additions: &Additions<'_>) -> Launch;
}

/// Names of launchers of resource managers that are not known here.
const OF_OTHER_MANAGERS: [&str; 6] = ["flux", "jsrun", "lrun", "aprun", "prun", "prterun"];

/// Finds the launcher that `command` begins with; `version_of` asks a program for its version text.
///
/// # Errors
/// [`ErrorKind::Misuse`] when the command line cannot be understood.
pub(crate) fn choose(
    command: &[OsString],
    has_allocation: bool,
    version_of: &dyn Fn(&OsStr) -> Result<String>,
) -> Result<Box<dyn Launcher>> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::new(
            ErrorKind::Misuse,
            "no command to run; say for instance: scr run mpirun -n 4 ./app",
        ));
    };
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    if OF_OTHER_MANAGERS.contains(&name.as_str()) {
        return Err(Error::new(
            ErrorKind::Misuse,
            format!("{name} is not known to scr run; use srun, mpirun or mpiexec"),
        ));
    }
    if name == "srun" {
        return if has_allocation {
            Ok(Box::new(srun::Srun::parse(program, arguments)?))
        } else {
            let text = "srun needs an allocation, and there is none: begin with salloc or sbatch, \
                        with --no-kill; on one machine use mpirun";
            Err(Error::new(ErrorKind::Misuse, text))
        };
    }
    if mpirun::is_name(&name) {
        let version = version_of(program)?;
        return Ok(Box::new(mpirun::Mpirun::parse(program, arguments, &version)?));
    }
    Ok(Box::new(none::None::new(command)))
}

/// The variables by which launchers tell a process its rank and how many ranks there are.
const RANK_VARIABLES: [(&str, &str); 2] =
    [("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")];

/// The rank of a process and how many there are, from its environment; `(0, 1)` without a launcher.
///
/// # Errors
/// [`ErrorKind::Misuse`] when a variable is there and is not a number.
pub(crate) fn rank_and_size(variable: &dyn Fn(&str) -> Option<String>) -> Result<(u32, u32)> {
    let number = |name: &str| {
        variable(name).map_or(Ok(None), |text| {
            text.parse::<u32>().map(Some).map_err(|_| {
                Error::new(ErrorKind::Misuse, format!("{name}={text} is not a number of ranks"))
            })
        })
    };
    for (rank, size) in RANK_VARIABLES {
        if let (Some(rank), Some(size)) = (number(rank)?, number(size)?) {
            return Ok((rank, size));
        }
    }
    Ok((0, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_first_word_chooses_the_launcher() {
        let open_mpi = |_: &OsStr| Ok("mpirun (Open MPI) 4.1.4".to_string());
        let cases = [
            ("mpirun -n 4 ./app", "mpirun of Open MPI"),
            ("/opt/x/bin/mpiexec ./app", "mpirun of Open MPI"),
            ("mpirun.openmpi ./app", "mpirun of Open MPI"),
            ("./app -n 4", "no launcher"),
            ("./mpirunner", "no launcher"),
        ];
        for (line, expected) in cases {
            for has_allocation in [false, true] {
                let chosen = choose(&words(line), has_allocation, &open_mpi).unwrap();
                assert_eq!(chosen.describe(), expected, "{line}");
            }
        }
        assert_eq!(choose(&words("srun ./app"), true, &open_mpi).unwrap().describe(), "srun");
        for line in ["", "srun -n 4 ./app", "/usr/bin/flux run ./app"] {
            assert_eq!(
                choose(&words(line), false, &open_mpi).unwrap_err().kind(),
                ErrorKind::Misuse,
                "{line}"
            );
        }
        let unknown = |_: &OsStr| Ok("mpirun of another kind 1.0".to_string());
        assert!(choose(&words("mpirun ./app"), false, &unknown).is_err());
    }

    #[test]
    fn ranks_are_told_by_variables() {
        type Case = (&'static [(&'static str, &'static str)], Option<(u32, u32)>);
        let cases: [Case; 5] = [
            (&[], Some((0, 1))),
            (&[("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "8")], Some((3, 8))),
            (&[("PMI_RANK", "1"), ("PMI_SIZE", "2")], Some((1, 2))),
            (&[("PMI_RANK", "1")], Some((0, 1))),
            (&[("PMI_RANK", "x"), ("PMI_SIZE", "2")], None),
        ];
        for (variables, expected) in cases {
            let lookup = |name: &str| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string())
            };
            assert_eq!(rank_and_size(&lookup).ok(), expected, "{variables:?}");
        }
    }
}
