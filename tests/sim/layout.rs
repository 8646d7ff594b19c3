// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any number of ranks per node, equal or not, moved and packed together at a restart; files of any name and size; and
//! schemes that the nodes of a job cannot have.

use crate::cluster::{Cluster, Ended, Knobs, Wanted};
use crate::program::said;
use crate::scenario::{KNOBS, job, run};

fn found(ended: &Ended) -> String {
    said(&ended.answers, "have_restart").first().cloned().unwrap_or_default()
}

/// `counts[i]` ranks on node *i*.
fn packed(counts: &[usize]) -> Vec<usize> {
    let node = |(node, &count): (usize, &usize)| std::iter::repeat_n(node, count);
    counts.iter().enumerate().flat_map(node).collect()
}

/// Restarts as it was, then with ranks dealt out otherwise, then without a node.
fn restart_everywhere(counts: &[usize], scheme: Wanted) {
    let nodes = counts.len();
    let knobs = Knobs { scheme, ..KNOBS };
    let hosts = packed(counts);
    let mut base = Cluster::new(nodes + 1, 51 + nodes as u64);
    run(&mut base, &job(&hosts, knobs, "c1"));
    run(&mut base, &job(&hosts, knobs, "r"));

    let mut permuted = base.fork();
    let reversed: Vec<usize> = hosts.iter().rev().copied().collect();
    run(&mut permuted, &job(&reversed, knobs, "r"));
    permuted.wipe(nodes - 1);
    run(&mut permuted, &job(&reversed, knobs, "r"));

    // The node with most ranks is lost and replaced.
    let most = (0..nodes).max_by_key(|&node| counts[node]).unwrap_or(0);
    let mut replaced = base.fork();
    replaced.wipe(most);
    let spare: Vec<_> = hosts.iter().map(|&h| if h == most { nodes } else { h }).collect();
    run(&mut replaced, &job(&spare, knobs, "r c2"));

    // One node less, and another less; then as before.
    let mut fewer = base.fork();
    for left in (1..nodes).rev().take(2) {
        fewer.wipe(left);
        let squeezed: Vec<usize> = hosts.iter().map(|host| host % left).collect();
        run(&mut fewer, &job(&squeezed, knobs, "r"));
    }
    run(&mut fewer, &job(&hosts, knobs, "r c3"));
}

#[test]
fn any_number_of_ranks_per_node_is_restored_wherever_the_ranks_go() {
    let mut counts: Vec<Vec<usize>> = (1..=4).map(|ranks| vec![ranks; 3]).collect();
    counts.extend([vec![8, 8], vec![1, 5, 2, 3], vec![16, 1, 1, 16]]);
    if crate::is_long() {
        counts.extend((5..=64).map(|ranks| vec![ranks; 3]));
    }
    for (number, counts) in counts.iter().enumerate() {
        let schemes = [Wanted::Xor, Wanted::Partner, Wanted::Rs(2)];
        restart_everywhere(counts, schemes[number % 3]);
    }
}

#[test]
fn sixty_four_ranks_on_one_node_beside_few_on_others() {
    restart_everywhere(&[64, 3, 1], Wanted::Rs(2));
    restart_everywhere(&[2, 64, 1, 1], Wanted::Xor);
}

/// On fewer nodes there is less redundancy, which is said; none of it is pretended.
#[test]
fn what_fewer_nodes_cannot_have_is_told() {
    let knobs = Knobs { scheme: Wanted::Rs(2), ..KNOBS };
    let mut cluster = Cluster::new(4, 58);
    run(&mut cluster, &job(&[0, 1, 2, 3], knobs, "c1"));
    let cases: [([usize; 4], &str, &[usize]); 3] = [
        ([0, 1, 2, 0], "", &[1, 2]),
        ([0, 1, 1, 0], "RS with 2 failures needs 3 nodes, the set has 2: XOR instead", &[1]),
        ([0, 0, 0, 0], "RS with 2 failures needs 3 nodes, the set has 1: SINGLE instead", &[]),
    ];
    for (hosts, words, lost) in cases {
        let ended = run(&mut cluster, &job(&hosts, knobs, "r"));
        let times = ended.story.iter().filter(|line| line.contains("instead")).count();
        assert_eq!(times, usize::from(!words.is_empty()), "{:?}", ended.story);
        assert!(ended.story.iter().any(|line| line.contains(words)), "{:?}", ended.story);
        let mut cluster = cluster.fork();
        cluster.wipe_all(lost);
        let ended = run(&mut cluster, &job(&hosts, knobs, "r"));
        assert_eq!(found(&ended), "Ok(\"ckpt.1\")", "{hosts:?}");
    }
}

/// A scheme that a set cannot have is one that it can, and that is said once, by one rank.
#[test]
fn impossible_schemes_step_down_and_say_so_once() {
    let cases = [
        (Wanted::Rs(2), 4, vec![0, 1], "RS with 2 failures needs 3 nodes, the set has 2: XOR"),
        (
            Wanted::Rs(9),
            4,
            vec![0, 1, 2],
            "RS with 9 failures needs 10 nodes, the set has 3: RS(2)",
        ),
        (
            Wanted::Rs(3),
            2,
            vec![0, 1, 2, 3],
            "RS with 3 failures needs 4 nodes, the set has 2: XOR",
        ),
        (Wanted::Rs(2), 4, vec![0], "RS with 2 failures needs 3 nodes, the set has 1: SINGLE"),
        (Wanted::Xor, 1, vec![0, 1, 2], "XOR needs 2 nodes, the set has 1: SINGLE instead"),
        (Wanted::Partner, 0, vec![0, 1, 2], "PARTNER needs 2 nodes, the set has 1: SINGLE instead"),
    ];
    for (scheme, set_size, nodes, words) in cases {
        let knobs = Knobs { set_size, scheme, ..KNOBS };
        let hosts: Vec<usize> = nodes.iter().chain(&nodes).copied().collect();
        let mut cluster = Cluster::new(5, 59);
        let ended = run(&mut cluster, &job(&hosts, knobs, "c1 c2 c3"));
        let times = ended.story.iter().filter(|line| line.contains(words)).count();
        assert_eq!(times, 1, "{words}: {:?}", ended.story);
        run(&mut cluster, &job(&hosts, knobs, "r"));
        if !words.contains("SINGLE") {
            cluster.wipe(0);
            let hosts: Vec<usize> = hosts.iter().map(|&h| if h == 0 { 4 } else { h }).collect();
            let ended = run(&mut cluster, &job(&hosts, knobs, "r"));
            assert_eq!(found(&ended), "Ok(\"ckpt.3\")", "{words}");
        }
    }
}

/// Two datasets of each kind, in cache and in the prefix, with and without a lost node.
#[test]
fn files_of_every_shape_come_back() {
    let hosts = [0, 1, 1, 2];
    for kind in ["some", "none", "empty", "base", "same", "bytes", "tiny"] {
        for scheme in [Wanted::Single, Wanted::Xor, Wanted::Partner, Wanted::Rs(2)] {
            let words = |r: &str| format!("{r} {kind}.1 {kind}.2 {kind}.3 f");
            for flush_every in [0, 1] {
                let knobs = Knobs { flush_every, scheme, ..KNOBS };
                let mut base = Cluster::new(7, 61);
                run(&mut base, &job(&hosts, knobs, &words("")));
                let newest = format!("Ok(\"{kind}.3\")");
                let restarts: &[(&[usize], [usize; 4])] = &[
                    (&[], hosts),
                    (&[], [2, 0, 1, 1]),
                    (&[1], [0, 3, 3, 2]),
                    (&[1], [0, 0, 2, 2]),
                    (&[0, 1, 2], [3, 4, 5, 6]),
                ];
                for &(lost, hosts) in restarts {
                    let must = flush_every > 0 || lost.len() < 2;
                    if !must || (flush_every == 0 && scheme == Wanted::Single && !lost.is_empty()) {
                        continue;
                    }
                    let mut cluster = base.fork();
                    cluster.wipe_all(lost);
                    let ended = run(&mut cluster, &job(&hosts, knobs, "r"));
                    assert_eq!(found(&ended), newest, "{}", cluster.explain("not the newest"));
                }
            }
        }
    }
}
