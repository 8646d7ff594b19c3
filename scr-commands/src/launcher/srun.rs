// SPDX-License-Identifier: MIT OR Apache-2.0
//! Slurm's `srun` in an allocation.
//!
//! The command line stays the user's; what is ours comes first, so that the user's own options win. Nodes that must not be
//! used are excluded. `--kill-on-bad-exit` ends the step when a rank fails: without it the others wait for the dead one.

use super::{Additions, Launch, Launcher, Place};
use crate::resource_manager::{compress, parse_node_list};
use scr_core::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;

/// A parsed command line.
#[derive(Debug)]
pub(super) struct Srun {
    program: OsString,
    /// All words but the options that name nodes to be left out.
    arguments: Vec<OsString>,
    excluded: Vec<String>,
    /// Whether it shares nothing with other steps, and `srun` takes no `--overlap`.
    is_exclusive: bool,
    nodes: Option<RangeInclusive<u32>>,
    ranks: Option<u32>,
}

/// Short options that stand alone, and may be followed by others in the same word.
const SHORT_ALONE: &str = "EHOQVXZhjklsuv";
/// Those whose value, if they have one, is in the same word. All others take the rest of the word, or the next one.
const SHORT_OPTIONAL: &str = "IK";

/// Long options that stand alone; all others take the next word where they have no `=`.
const LONG_ALONE: &[&str] = &[
    "bcast",
    "compress",
    "contiguous",
    "disable-status",
    "exact",
    "exclusive",
    "help",
    "hold",
    "immediate",
    "kill-on-bad-exit",
    "label",
    "multi-prog",
    "nice",
    "no-allocate",
    "no-kill",
    "overcommit",
    "overlap",
    "oversubscribe",
    "preserve-env",
    "propagate",
    "pty",
    "quiet",
    "quit-on-interrupt",
    "reboot",
    "resv-ports",
    "send-libs",
    "spread-job",
    "test-only",
    "unbuffered",
    "usage",
    "use-min-nodes",
    "verbose",
    "version",
    "x11",
];

/// The options of one word, and of the next where that is a value.
#[derive(Debug, PartialEq, Eq)]
struct Switches<'a> {
    /// Letters that stand alone.
    flags: &'a str,
    name: &'a str,
    value: Option<&'a str>,
    words: usize,
}

/// Reads the options that `words` begins with; `None` where the program begins.
fn options(words: &[OsString]) -> Option<Switches<'_>> {
    let word = words.first()?.to_str()?;
    let next = words.get(1).and_then(|next| next.to_str());
    if let Some(long) = word.strip_prefix("--") {
        if long.is_empty() {
            return None;
        }
        if let Some((name, value)) = long.split_once('=') {
            return Some(Switches { flags: "", name, value: Some(value), words: 1 });
        }
        let stands_alone = LONG_ALONE.contains(&long);
        let (value, words) = if stands_alone { (None, 1) } else { (next, 2) };
        return Some(Switches { flags: "", name: long, value, words });
    }
    let short = word.strip_prefix('-').filter(|short| !short.is_empty())?;
    let (flags, rest) =
        short.split_at(short.find(|c| !SHORT_ALONE.contains(c)).unwrap_or(short.len()));
    let Some(letter) = rest.chars().next() else {
        return Some(Switches { flags, name: "", value: None, words: 1 });
    };
    let (name, rest) = rest.split_at(letter.len_utf8());
    let is_whole = !rest.is_empty() || SHORT_OPTIONAL.contains(letter);
    let (value, words) = if is_whole { (Some(rest), 1) } else { (next, 2) };
    Some(Switches { flags, name, value, words })
}

impl Srun {
    /// Reads the command line of an `srun`.
    pub(super) fn parse(program: &OsStr, arguments: &[OsString]) -> Result<Self> {
        let mut srun = Self {
            program: program.to_os_string(),
            arguments: Vec::new(),
            excluded: Vec::new(),
            is_exclusive: false,
            nodes: None,
            ranks: None,
        };
        let mut at = 0;
        while let Some(Switches { flags, name, value, words }) = options(&arguments[at..]) {
            let end = (at + words).min(arguments.len());
            match (name, value) {
                ("x" | "exclude", Some(list)) => {
                    let names = parse_node_list(list)?;
                    srun.excluded.extend(names.iter().map(|node| node.as_str().to_string()));
                    if !flags.is_empty() {
                        srun.arguments.push(format!("-{flags}").into());
                    }
                    at = end;
                    continue;
                }
                ("w" | "nodelist" | "F" | "nodefile", _) => {
                    let text = "scr run chooses the nodes of srun; leave out its -w and -F, and name \
                                nodes not to be used in SCR_EXCLUDE_NODES";
                    return Err(Error::new(ErrorKind::Misuse, text));
                }
                ("N" | "nodes", Some(range)) => {
                    let (least, most) = range.split_once('-').unwrap_or((range, range));
                    srun.nodes = Some(number(name, least)?..=number(name, most)?);
                }
                ("n" | "ntasks", Some(count)) => srun.ranks = Some(number(name, count)?),
                ("exclusive", _) => srun.is_exclusive = true,
                _ => {}
            }
            srun.arguments.extend_from_slice(&arguments[at..end]);
            at = end;
        }
        srun.arguments.extend_from_slice(&arguments[at..]);
        if arguments[at..].is_empty() {
            return Err(Error::new(
                ErrorKind::Misuse,
                "no program to run after the options of srun",
            ));
        }
        // Several programs on different nodes: how many nodes and ranks there are is not said in one place.
        if arguments[at..].iter().any(|word| word == ":") {
            (srun.nodes, srun.ranks) = (None, None);
        }
        Ok(srun)
    }
}

fn number(option: &str, text: &str) -> Result<u32> {
    // Slurm takes 1k for 1024.
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024),
        None => (text, 1),
    };
    let count = digits.parse::<u32>().ok().and_then(|count| count.checked_mul(unit));
    count.ok_or_else(|| {
        let dashes = if option.len() == 1 { "-" } else { "--" };
        Error::new(ErrorKind::Misuse, format!("srun {dashes}{option} needs a number, not {text:?}"))
    })
}

impl Launcher for Srun {
    fn describe(&self) -> &'static str {
        "srun"
    }

    fn ranks(&self) -> Option<u32> {
        self.ranks
    }

    fn nodes(&self) -> Option<RangeInclusive<u32>> {
        // Where only ranks are counted, a node without one would be of no use.
        self.nodes.clone().or_else(|| self.ranks.map(|ranks| 1..=ranks))
    }

    fn launch(&self, additions: &Additions<'_>) -> Launch {
        let mut argv = vec![self.program.clone(), "--kill-on-bad-exit=1".into()];
        if let Place::Nodes { unused, again } = additions.place {
            let mut excluded = unused.to_vec();
            excluded.extend(self.excluded.iter().map(scr_core::id::NodeName::new));
            if !excluded.is_empty() {
                argv.push(format!("--exclude={}", compress(&excluded)).into());
            }
            if again && !self.is_exclusive {
                // A step that was killed holds what it had until Slurm has seen its last process go.
                argv.push("--overlap".into());
            }
        }
        argv.extend_from_slice(&self.arguments);
        Launch { argv, env: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::id::NodeName;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn parse(line: &str) -> Result<Srun> {
        Srun::parse(OsStr::new("srun"), &words(line))
    }

    fn launched(line: &str, unused: &[&str], again: bool) -> String {
        let unused: Vec<_> = unused.iter().copied().map(NodeName::new).collect();
        let place = Place::Nodes { unused: &unused, again };
        let argv = parse(line).unwrap().launch(&Additions { place, is_root: false }).argv;
        argv.join(&OsString::from(" ")).into_string().unwrap()
    }

    #[test]
    fn nodes_and_ranks_are_read_whatever_way_they_are_written() {
        let cases = [
            ("-N4 -n 8 ./app -N 9", Some(4..=4), Some(8)),
            ("-N 4-6 ./app", Some(4..=6), None),
            ("--nodes=4 --ntasks 8 ./app", Some(4..=4), Some(8)),
            ("--nodes 4 --label --mpi pmix --ntasks=1k ./app --nodes=9", Some(4..=4), Some(1024)),
            ("-l -u -c 2 -J n -N2 ./app", Some(2..=2), None),
            ("-K1 -N2 ./app", Some(2..=2), None),
            ("-K -N2 ./app", Some(2..=2), None),
            ("-lN2 -ul ./app", Some(2..=2), None),
            ("-lusN 2 -n3 ./app", Some(2..=2), Some(3)),
            ("-n 3 ./app", Some(1..=3), Some(3)),
            ("--overlap ./app -n 3", None, None),
            ("-N2 -- ./app -n 3", Some(2..=2), None),
            ("-N1 ./a : -N1 ./b", None, None),
        ];
        for (line, nodes, ranks) in cases {
            let srun = parse(line).unwrap();
            assert_eq!((srun.nodes(), srun.ranks()), (nodes, ranks), "{line}");
        }
        let wrong = ["", "-N4", "-N x ./app", "-N 4- ./app", "-n 1 --label", "-x n[1- ./app"];
        for line in wrong.into_iter().chain(["-w n1 ./app", "-lw n1 ./app"]) {
            assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::Misuse, "{line}");
        }
    }

    #[test]
    fn ours_comes_before_the_words_of_the_user() {
        let line = "-N2 --mpi=pmix ./app x -x y";
        let first = "srun --kill-on-bad-exit=1";
        assert_eq!(launched(line, &[], false), format!("{first} {line}"));
        let expected = format!("{first} --exclude=n[2-3] --overlap {line}");
        assert_eq!(launched(line, &["n2", "n3"], true), expected);
        for line in ["-N2 --exclusive ./app", "--exclusive=user -N2 ./app"] {
            assert_eq!(launched(line, &[], true), format!("{first} {line}"));
        }
    }

    #[test]
    fn nodes_that_the_user_leaves_out_are_left_out_too() {
        for line in ["-N2 -x n7 ./app", "--exclude n7 -N2 ./app", "-xn7 -N2 ./app"] {
            let expected = "srun --kill-on-bad-exit=1 --exclude=n2,n7 -N2 ./app";
            let got = launched(line, &["n2"], false).replace("n[2,7]", "n2,n7");
            assert_eq!(got, expected, "{line}");
        }
    }
}
