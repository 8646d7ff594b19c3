// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mpirun` and `mpiexec` of Open MPI and of MPICH (Hydra), on one machine or in an allocation.
//!
//! The wrapper goes in front of each program of the command line (`:` separates several), so the options before it must
//! be understood as far as how many words they take; the tables below are those of Open MPI 4.1 and Hydra 4.0.

use super::{Additions, Launch, Launcher, Place};
use scr_core::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};

/// Whose `mpirun` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    OpenMpi,
    Hydra,
}

/// One program of the command line with the options before it.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    options: Vec<OsString>,
    program: Vec<OsString>,
    ranks: Option<u32>,
}

/// A parsed command line.
#[derive(Debug)]
pub(super) struct Mpirun {
    flavour: Flavour,
    program: OsString,
    segments: Vec<Segment>,
}

/// Whether a program of this name is an `mpirun`: `mpirun`, `mpiexec.hydra`, `orterun`, ...
pub(super) fn is_name(name: &str) -> bool {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    matches!(stem, "mpirun" | "mpiexec" | "orterun")
}

/// Options of Open MPI that take one word; `mca` and `gmca` take two, all others none.
const OPEN_MPI_ONE: &[&str] = &[
    "am",
    "bind-to",
    "c",
    "n",
    "np",
    "N",
    "cf",
    "cartofile",
    "cpu-list",
    "cpu-set",
    "cpus-per-proc",
    "cpus-per-rank",
    "debugger",
    "default-hostfile",
    "H",
    "host",
    "hostfile",
    "hnp",
    "launch-agent",
    "machinefile",
    "map-by",
    "max-restarts",
    "max-vm-size",
    "npernode",
    "npersocket",
    "ompi-server",
    "output-filename",
    "path",
    "personality",
    "ppr",
    "prefix",
    "preload-files",
    "rank-by",
    "report-events",
    "report-pid",
    "report-uri",
    "rf",
    "rankfile",
    "stdin",
    "timeout",
    "tune",
    "wd",
    "wdir",
    "x",
    "xml-file",
    "xterm",
];

/// Options of Hydra that take no word; `env` and `genv` take two, all others one.
const HYDRA_NONE: &[&str] = &[
    "genvnone",
    "genvall",
    "envnone",
    "envall",
    "enable-x",
    "disable-x",
    "verbose",
    "v",
    "info",
    "print-all-exitcodes",
    "profile",
    "prepend-rank",
    "l",
    "disable-auto-cleanup",
    "disable-hostname-propagation",
    "skip-launch-node",
];

/// How many words after `option` belong to it.
fn words_after(flavour: Flavour, option: &str) -> usize {
    let name = option.trim_start_matches('-');
    if name.contains('=') {
        return 0;
    }
    match flavour {
        Flavour::OpenMpi if matches!(name, "mca" | "gmca") => 2,
        Flavour::OpenMpi => usize::from(OPEN_MPI_ONE.contains(&name)),
        Flavour::Hydra if matches!(name, "env" | "genv") => 2,
        Flavour::Hydra => usize::from(!HYDRA_NONE.contains(&name)),
    }
}

/// Whose `mpirun` printed this as its version.
fn flavour_of(version: &str) -> Option<Flavour> {
    if ["Open MPI", "OpenRTE", "Open RTE"].iter().any(|name| version.contains(name)) {
        Some(Flavour::OpenMpi)
    } else if ["HYDRA", "Intel(R) MPI"].iter().any(|name| version.contains(name)) {
        Some(Flavour::Hydra)
    } else {
        None
    }
}

fn misuse(message: String) -> Error {
    Error::new(ErrorKind::Misuse, message)
}

fn parse_segment(flavour: Flavour, words: &[OsString]) -> Result<Segment> {
    let mut at = 0;
    let mut ranks = None;
    while let Some(option) = words.get(at).and_then(|word| word.to_str()) {
        if !option.starts_with('-') {
            break;
        }
        let name = option.trim_start_matches('-');
        if matches!(name, "app" | "configfile") {
            return Err(misuse(format!(
                "{option} hides the programs from scr run; write them on the command line"
            )));
        }
        let value = words.get(at + 1).and_then(|word| word.to_str());
        if matches!(name, "n" | "np") || (name == "c" && flavour == Flavour::OpenMpi) {
            let count = value.and_then(|text| text.parse().ok());
            ranks = Some(count.ok_or_else(|| misuse(format!("{option} needs a number of ranks")))?);
        }
        at += 1 + words_after(flavour, option);
    }
    if at >= words.len() {
        return Err(misuse("no program to run after the options of mpirun".to_string()));
    }
    Ok(Segment { options: words[..at].to_vec(), program: words[at..].to_vec(), ranks })
}

impl Mpirun {
    /// Reads the command line of an `mpirun` that calls itself `version`.
    pub(super) fn parse(program: &OsStr, arguments: &[OsString], version: &str) -> Result<Self> {
        let flavour = flavour_of(version).ok_or_else(|| {
            misuse(format!(
                "{} is neither Open MPI nor MPICH: it says {:?}",
                program.display(),
                version.lines().next().unwrap_or_default()
            ))
        })?;
        let segments = arguments
            .split(|word| word == ":")
            .map(|words| parse_segment(flavour, words))
            .collect::<Result<_>>()?;
        Ok(Self { flavour, program: program.to_os_string(), segments })
    }

    /// Options that make the ranks die at once with their step and share few cores in peace, unless the user chose.
    fn own_options(&self, place: Place<'_>) -> Vec<OsString> {
        let (Flavour::OpenMpi, Place::Here { scratch, .. }) = (self.flavour, place) else {
            return Vec::new();
        };
        let chosen = |name: &str| {
            let mut options = self.segments.iter().flat_map(|segment| &segment.options);
            options.any(|word| word.to_string_lossy().contains(name))
        };
        let parameters = [
            ("odls_base_sigkill_timeout", OsString::from("0")),
            ("mpi_yield_when_idle", OsString::from("1")),
            ("btl_vader_backing_directory", scratch.into()),
        ];
        let mut options = Vec::new();
        for (name, value) in parameters.into_iter().filter(|(name, _)| !chosen(name)) {
            options.extend(["--mca".into(), name.into(), value]);
        }
        if !chosen("oversubscribe") {
            options.push("--oversubscribe".into());
        }
        options
    }
}

impl Launcher for Mpirun {
    fn describe(&self) -> &'static str {
        match self.flavour {
            Flavour::OpenMpi => "mpirun of Open MPI",
            Flavour::Hydra => "mpiexec of MPICH",
        }
    }

    fn ranks(&self) -> Option<u32> {
        self.segments.iter().map(|segment| segment.ranks).sum()
    }

    fn launch(&self, additions: &Additions<'_>) -> Launch {
        let mut argv = vec![self.program.clone()];
        argv.extend(self.own_options(additions.place));
        let wrapper = match additions.place {
            Place::Here { wrapper, .. } => wrapper,
            Place::Nodes { .. } => &[],
        };
        for (i, segment) in self.segments.iter().enumerate() {
            if i > 0 {
                argv.push(":".into());
            }
            argv.extend_from_slice(&segment.options);
            argv.extend_from_slice(wrapper);
            argv.extend_from_slice(&segment.program);
        }
        let as_root = self.flavour == Flavour::OpenMpi && additions.is_root;
        let env = if as_root {
            ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
                .map(|name| (name, "1".into()))
                .to_vec()
        } else {
            Vec::new()
        };
        Launch { argv, env }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::id::NodeName;
    use std::path::Path;

    const OPEN_MPI: &str = "mpirun (Open MPI) 4.1.4\n\nReport bugs to ...";
    const HYDRA: &str = "HYDRA build details:\n    Version: 4.0.2";
    const ADDED: &str = "--mca odls_base_sigkill_timeout 0 --mca mpi_yield_when_idle 1 \
                         --mca btl_vader_backing_directory /s --oversubscribe";

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn launched(line: &str, version: &str) -> Result<String> {
        let mpirun = Mpirun::parse(OsStr::new("mpirun"), &words(line), version)?;
        let wrapper = words("WRAP --");
        let place = Place::Here { wrapper: &wrapper, scratch: Path::new("/s") };
        let additions = Additions { place, is_root: false };
        let argv = mpirun.launch(&additions).argv;
        Ok(argv.iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_wrapper_stands_in_front_of_each_program() {
        let open_mpi = [
            ("-n 4 ./app -n 5", "-n 4 WRAP -- ./app -n 5"),
            ("./app", "WRAP -- ./app"),
            (
                "--tag-output -x A=1 --host a:2 ./app",
                "--tag-output -x A=1 --host a:2 WRAP -- ./app",
            ),
            ("--mca btl tcp,self -np 2 ./app x", "--mca btl tcp,self -np 2 WRAP -- ./app x"),
            ("-n 1 ./a : -n 2 ./b y", "-n 1 WRAP -- ./a : -n 2 WRAP -- ./b y"),
        ];
        for (line, expected) in open_mpi {
            assert_eq!(launched(line, OPEN_MPI).unwrap(), format!("mpirun {ADDED} {expected}"));
        }
        let hydra = [
            ("-n 4 ./app", "-n 4 WRAP -- ./app"),
            ("-genv A 1 -l -ppn 2 ./app", "-genv A 1 -l -ppn 2 WRAP -- ./app"),
            ("-genvall -np 2 ./app : ./b", "-genvall -np 2 WRAP -- ./app : WRAP -- ./b"),
        ];
        for (line, expected) in hydra {
            assert_eq!(launched(line, HYDRA).unwrap(), format!("mpirun {expected}"));
        }
    }

    #[test]
    fn in_an_allocation_the_command_line_stays_as_it_is() {
        for version in [OPEN_MPI, HYDRA] {
            let mpirun = Mpirun::parse(OsStr::new("mpirun"), &words("-n 4 ./app"), version);
            let place = Place::Nodes { unused: &[NodeName::new("n1")], again: true };
            let launch = mpirun.unwrap().launch(&Additions { place, is_root: false });
            assert_eq!(launch.argv, words("mpirun -n 4 ./app"));
        }
    }

    #[test]
    fn what_the_user_chose_is_not_added_again() {
        let line = "--nooversubscribe --mca mpi_yield_when_idle 0 ./app";
        let all = launched(line, OPEN_MPI).unwrap();
        assert_eq!(all.matches("mpi_yield_when_idle").count(), 1, "{all}");
        assert!(!all.contains(" --oversubscribe"), "{all}");
    }

    #[test]
    fn ranks_are_counted_when_every_program_says_how_many() {
        let cases = [
            ("-n 4 ./app", Some(4)),
            ("-n 1 ./a : -np 2 ./b", Some(3)),
            ("./app -n 4", None),
            ("-n 1 ./a : ./b", None),
        ];
        for (line, expected) in cases {
            let mpirun = Mpirun::parse(OsStr::new("mpirun"), &words(line), HYDRA).unwrap();
            assert_eq!(mpirun.ranks(), expected, "{line}");
        }
    }

    #[test]
    fn command_lines_without_a_program_are_refused() {
        for line in ["", "-n 4", "-n x ./app", "-n", "--app file", "-n 2 ./a :"] {
            assert!(launched(line, OPEN_MPI).is_err(), "{line}");
        }
        assert!(launched("-configfile f", HYDRA).is_err());
        assert!(launched("./app", "mpirun 1.0 by somebody").is_err());
    }

    #[test]
    fn root_is_announced_to_open_mpi_only() {
        let additions =
            Additions { place: Place::Nodes { unused: &[], again: false }, is_root: true };
        for (version, expected) in [(OPEN_MPI, 2), (HYDRA, 0)] {
            let mpirun = Mpirun::parse(OsStr::new("mpirun"), &words("./app"), version).unwrap();
            assert_eq!(mpirun.launch(&additions).env.len(), expected);
        }
    }
}
