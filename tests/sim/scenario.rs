// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small jobs, each about one part of the life of a dataset, into which faults are put.

use crate::cluster::{Cluster, Ended, Knobs, Launch, Wanted};
use crate::program::{Program, Step};
use crate::random::mix2;
use crate::stripes::Stripes;

/// A job that has a past, and the launch in which something goes wrong.
pub(crate) struct Scenario {
    pub name: &'static str,
    /// The machine as the launch finds it.
    pub base: Cluster,
    pub launch: Launch,
    /// A node that no launch uses so far.
    pub spare: usize,
}

impl Scenario {
    /// The application's ranks on the nodes of a launch, which may have been a scavenge.
    pub(crate) fn ranks(&self, hosts: &[usize]) -> Vec<usize> {
        if self.launch.program != Program::Scavenge {
            return hosts.to_vec();
        }
        (0..8).map(|rank| hosts[rank / 2 % hosts.len()]).collect()
    }
}

pub(crate) const KNOBS: Knobs =
    Knobs { flush_every: 0, flush_async: false, set_size: 4, cache_size: 1, scheme: Wanted::Xor };

pub(crate) fn steps(words: &str) -> Program {
    let step = |word: &str| match word.split_at(1) {
        ("r", "") => Step::Restart,
        ("f", "") => Step::Finalize,
        // A name that says of which kind its files are.
        _ if word.contains('.') => Step::Checkpoint(word.into()),
        ("n", number) => Step::Ask(number.parse().unwrap()),
        ("o", number) => Step::Output(format!("ckpt.{number}")),
        (_, number) => Step::Checkpoint(format!("ckpt.{number}")),
    };
    Program::Steps(words.split_whitespace().map(step).collect())
}

pub(crate) fn job(hosts: &[usize], knobs: Knobs, words: &str) -> Launch {
    let program = if words == "scavenge" { Program::Scavenge } else { steps(words) };
    Launch { hosts: hosts.to_vec(), job: "7", knobs, program, faults: Vec::new() }
}

/// Runs a launch that must go as the model says.
pub(crate) fn run(cluster: &mut Cluster, launch: &Launch) -> Ended {
    cluster.launch(launch).unwrap_or_else(|why| panic!("{why}"))
}

/// Every scenario of the suite.
pub(crate) fn all() -> Vec<Scenario> {
    let flush = Knobs { flush_every: 1, ..KNOBS };
    let eager = Knobs { cache_size: 2, flush_every: 2, ..KNOBS };
    let two_sets = Knobs { set_size: 2, ..KNOBS };
    let rs = Knobs { scheme: Wanted::Rs(2), set_size: 5, ..KNOBS };
    let partner = Knobs { scheme: Wanted::Partner, ..KNOBS };
    let five = [0, 1, 2, 3, 4];
    let wipe = |node: usize| move |c: &mut Cluster| c.wipe(node);
    let wipe_two = |a: usize, b: usize| {
        move |c: &mut Cluster| {
            c.wipe(a);
            c.wipe(b);
        }
    };
    let four = [0, 1, 2, 3];
    let pairs = [0, 0, 1, 1, 2, 2, 3, 3];
    let nothing = |_: &mut Cluster| {};
    vec![
        build("checkpoint", 5, &[], nothing, job(&four, KNOBS, "r c1 c2 f")),
        build("evict", 5, &[job(&four, KNOBS, "r c1 c2")], nothing, job(&four, KNOBS, "r c3 c4")),
        build("flush", 5, &[job(&four, flush, "c1")], nothing, job(&four, flush, "r c2 c3 f")),
        build(
            "same names",
            5,
            &[job(&four, flush, "c1 c2")],
            nothing,
            job(&four, flush, "r c3 c4 f"),
        ),
        build("unequal", 4, &[], nothing, job(&[0, 1, 1, 2], flush, "c1 c2 f")),
        build("two per node", 5, &[job(&pairs, eager, "c1")], nothing, job(&pairs, eager, "r c2")),
        build(
            "rebuild",
            6,
            &[job(&four, KNOBS, "c1 c2")],
            wipe(1),
            job(&[0, 4, 2, 3], KNOBS, "r c3"),
        ),
        build("rs checkpoint", 6, &[job(&five, rs, "c1")], nothing, job(&five, rs, "r c2 f")),
        build(
            "rs rebuild",
            8,
            &[job(&five, rs, "c1 c2")],
            wipe_two(1, 2),
            job(&[0, 5, 6, 3, 4], rs, "r c3"),
        ),
        // One bad block in every stripe: what is left of the tolerance is one node.
        build(
            "rs heal",
            6,
            &[job(&five, rs, "big.1")],
            |c| {
                Stripes::of(c, &five, 1).spoil(c, &[], 1);
            },
            job(&five, rs, "r c2"),
        ),
        build(
            "partner rebuild",
            7,
            &[job(&four, partner, "c1 c2")],
            wipe_two(1, 3),
            job(&[0, 4, 2, 5], partner, "r c3"),
        ),
        build(
            "two sets",
            6,
            &[job(&four, two_sets, "c1")],
            wipe(2),
            job(&[0, 1, 4, 3], two_sets, "r c2"),
        ),
        build(
            "permuted",
            5,
            &[job(&four, KNOBS, "c1")],
            nothing,
            job(&[2, 0, 3, 1], KNOBS, "r c2"),
        ),
        build(
            "fewer nodes",
            5,
            &[job(&four, KNOBS, "c1")],
            wipe(3),
            job(&[0, 1, 2, 0], KNOBS, "r c2"),
        ),
        build(
            "fetch",
            9,
            &[job(&four, flush, "c1 c2")],
            nothing,
            job(&[4, 5, 6, 7], flush, "r c3"),
        ),
        build(
            "scavenge",
            5,
            &[job(&pairs, KNOBS, "c1 c2")],
            nothing,
            job(&four, KNOBS, "scavenge"),
        ),
        build(
            "scavenge rebuilds",
            5,
            &[job(&pairs, KNOBS, "c1 c2")],
            wipe(2),
            job(&[0, 1, 3], KNOBS, "scavenge"),
        ),
        build(
            "one node",
            2,
            &[job(&[0, 0], flush, "c1")],
            nothing,
            job(&[0, 0], flush, "r c2 o3 f"),
        ),
    ]
}

/// Scenarios in which files are flushed while the application goes on.
pub(crate) fn beside() -> Vec<Scenario> {
    let beside = Knobs { flush_every: 1, flush_async: true, ..KNOBS };
    let roomy = Knobs { cache_size: 3, ..beside };
    let four = [0, 1, 2, 3];
    let pairs = [0, 0, 1, 2, 2];
    let nothing = |_: &mut Cluster| {};
    vec![
        // Each waits for the one before: the cache keeps one.
        build(
            "beside",
            5,
            &[job(&four, beside, "c1")],
            nothing,
            job(&four, beside, "r c2 n1 c3 n2 n3 c4 f"),
        ),
        // Several under way.
        build(
            "beside, same names",
            5,
            &[job(&four, roomy, "c1 c2 f")],
            nothing,
            job(&four, roomy, "r big.3 c4 o5 n1 f"),
        ),
        // What a killed launch left, by one that waits for nothing in the end.
        build(
            "beside, unequal",
            4,
            &[job(&pairs, roomy, "c1 c2")],
            nothing,
            job(&pairs, roomy, "r c3 n1 n2 c4 n3 n4 n5"),
        ),
    ]
}

fn build(
    name: &'static str,
    nodes: usize,
    before: &[Launch],
    change: impl Fn(&mut Cluster),
    launch: Launch,
) -> Scenario {
    let seed = name.bytes().fold(1, |hash, b| mix2(hash, b.into()));
    // The seed tells whether all datasets have the same file names.
    let seed = if name.ends_with("same names") { seed & !3 } else { seed | 1 };
    let mut base = Cluster::new(nodes, seed);
    for earlier in before {
        base.launch(earlier).unwrap_or_else(|why| panic!("scenario {name}: {why}"));
    }
    change(&mut base);
    Scenario { name, base, launch, spare: nodes - 1 }
}
