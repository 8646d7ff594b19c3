// SPDX-License-Identifier: MIT OR Apache-2.0
//! Up to the last block and node that redundancy restores, and one beyond: bad blocks on all members at once, lost nodes,
//! both; and after each, redundancy that is whole again.

use crate::cluster::{Cluster, Ended, Knobs, Wanted};
use crate::program::said;
use crate::scenario::{KNOBS, job, run};
use crate::stripes::{Block, Stripes};

const SCHEMES: [Wanted; 3] = [Wanted::Xor, Wanted::Partner, Wanted::Rs(2)];

/// All nodes of a job in one set.
fn one_set(scheme: Wanted, flush_every: u32) -> Knobs {
    Knobs { flush_every, set_size: 5, scheme, ..KNOBS }
}

fn survives(scheme: Wanted) -> usize {
    match scheme {
        Wanted::Single => 0,
        Wanted::Xor | Wanted::Partner => 1,
        Wanted::Rs(failures) => failures as usize,
    }
}

fn found(ended: &Ended) -> String {
    said(&ended.answers, "have_restart").first().cloned().unwrap_or_default()
}

fn told(ended: &Ended, words: &[&str]) -> bool {
    ended.story.iter().any(|line| words.iter().all(|word| line.contains(word)))
}

/// All subsets of `0..n` with at least one element.
fn subsets(n: usize) -> impl Iterator<Item = Vec<usize>> {
    (1_u32..1 << n).map(move |mask| (0..n).filter(|i| mask & (1 << i) != 0).collect())
}

/// Where the ranks run when the nodes `lost` are replaced: node *i* by spare *spares + i*.
fn replaced(hosts: &[usize], lost: &[usize], spares: usize) -> Vec<usize> {
    hosts.iter().map(|host| if lost.contains(host) { host + spares } else { *host }).collect()
}

/// As much bad as can be, on all members, in data and parity; then as many nodes as can be lost: all was healed.
fn heal_everything(scheme: Wanted, hosts: &[usize]) {
    let knobs = one_set(scheme, 0);
    let (before, nodes) = ([0, 1, 1, 2, 3], [0, 1, 2, 3]);
    let mut cluster = Cluster::new(8, 41);
    run(&mut cluster, &job(&before, knobs, "big.1"));
    let [data, parity] = Stripes::of(&cluster, &nodes, 1).spoil(&cluster, &[], survives(scheme));
    assert!(data > 10 && parity > 10, "{data} blocks of data and {parity} of parity");
    cluster.note(format!("{data} blocks of data and {parity} of parity are bad"));
    let ended = run(&mut cluster, &job(hosts, knobs, "r"));
    assert!(told(&ended, &["restored from"]), "{}", cluster.explain("nothing was healed"));
    for lost in subsets(4).filter(|lost| lost.len() <= survives(scheme)) {
        let mut cluster = cluster.fork();
        cluster.wipe_all(&lost);
        run(&mut cluster, &job(&replaced(hosts, &lost, 4), knobs, "r"));
    }
}

#[test]
fn every_stripe_may_have_as_many_bad_blocks_as_it_has_parities() {
    for scheme in SCHEMES {
        heal_everything(scheme, &[0, 1, 1, 2, 3]);
    }
}

#[test]
fn they_are_healed_also_where_ranks_moved() {
    for scheme in SCHEMES {
        heal_everything(scheme, &[3, 1, 1, 0, 2]);
    }
}

/// Lost nodes take their share of what a stripe survives; the rest may be bad wherever it is.
#[test]
fn lost_nodes_and_bad_blocks_elsewhere_are_restored_together() {
    let hosts = [0, 1, 2, 3, 4];
    for scheme in [Wanted::Rs(2), Wanted::Rs(3)] {
        let knobs = one_set(scheme, 0);
        let mut base = Cluster::new(10, 42);
        run(&mut base, &job(&hosts, knobs, "big.1"));
        for lost in subsets(5).filter(|lost| lost.len() < survives(scheme)) {
            let mut cluster = base.fork();
            Stripes::of(&cluster, &hosts, 1).spoil(&cluster, &lost, survives(scheme));
            cluster.wipe_all(&lost);
            let now = replaced(&hosts, &lost, 5);
            run(&mut cluster, &job(&now, knobs, "r"));
            // Others than before, as many as can be.
            let next = now.iter().rev().filter(|node| **node < 5).take(survives(scheme));
            let next: Vec<usize> = next.copied().collect();
            cluster.wipe_all(&next);
            run(&mut cluster, &job(&replaced(&now, &next, 5), knobs, "r"));
        }
    }
}

/// The same where a lost node has no successor: its part is restored on a node that has one already.
#[test]
fn lost_nodes_and_bad_blocks_are_restored_on_fewer_nodes() {
    let (hosts, knobs) = ([0, 1, 2, 3, 4], one_set(Wanted::Rs(2), 0));
    let mut base = Cluster::new(5, 43);
    run(&mut base, &job(&hosts, knobs, "big.1"));
    for lost in subsets(5).filter(|lost| lost.len() <= 2) {
        let mut cluster = base.fork();
        Stripes::of(&cluster, &hosts, 1).spoil(&cluster, &lost, 2);
        cluster.wipe_all(&lost);
        let left: Vec<usize> = hosts.into_iter().filter(|host| !lost.contains(host)).collect();
        let now =
            hosts.map(|host| if lost.contains(&host) { left[host % left.len()] } else { host });
        run(&mut cluster, &job(&now, knobs, "r"));
        cluster.wipe(left[0]);
        run(&mut cluster, &job(&now, knobs, "r"));
    }
}

/// Sets of up to five nodes, all losses up to one beyond what the scheme survives.
#[test]
fn every_pattern_of_lost_nodes_that_a_code_survives_comes_back() {
    for (members, failures) in (2..=5).flat_map(|n| (1..=3_u32).map(move |k| (n, k))) {
        let hosts: Vec<usize> = (0..members).collect();
        let knobs = one_set(Wanted::Rs(failures), 0);
        let mut base = Cluster::new(2 * members, 44);
        run(&mut base, &job(&hosts, knobs, "c1"));
        // What a set of so few nodes can have.
        let survives = (failures as usize).min(members - 1);
        for lost in subsets(members) {
            let mut cluster = base.fork();
            cluster.wipe_all(&lost);
            let now = replaced(&hosts, &lost, members);
            let ended = run(&mut cluster, &job(&now, knobs, "r"));
            if lost.len() <= survives {
                assert!(found(&ended).contains("ckpt.1"), "{}", cluster.explain("it is lost"));
                let next: Vec<usize> = now.iter().copied().take(survives).collect();
                cluster.wipe_all(&next);
                run(&mut cluster, &job(&now, knobs, "r"));
            } else if lost.len() < members {
                let words = found(&ended);
                let is_named = words.starts_with("Err((Lost") && words.contains("ckpt.1");
                assert!(is_named && words.contains("survives"), "{words}");
            }
        }
    }
}

/// Copies survive every loss but that of two nodes that follow each other. What is lost then is only so until the nodes
/// come back.
#[test]
fn partner_survives_lost_nodes_that_do_not_follow_each_other() {
    let hosts = [0, 1, 2, 3, 4];
    for flush_every in [0, 2] {
        let knobs = one_set(Wanted::Partner, flush_every);
        let mut base = Cluster::new(10, 45);
        run(&mut base, &job(&hosts, knobs, "c1 c2 c3"));
        for lost in subsets(5).filter(|lost| lost.len() < 5) {
            let mut cluster = base.fork();
            let states: Vec<_> = lost.iter().map(|&n| cluster.nodes[n].clone_state()).collect();
            for &node in &lost {
                cluster.note(format!("node {node} goes away"));
                cluster.oracle.leaves(node);
                cluster.nodes[node].wipe();
            }
            let ended = run(&mut cluster, &job(&replaced(&hosts, &lost, 5), knobs, "r"));
            let words = found(&ended);
            if !lost.iter().any(|node| lost.contains(&((node + 1) % 5))) {
                assert_eq!(words, "Ok(\"ckpt.3\")", "{lost:?}");
                continue;
            }
            let why = ["(ckpt.3)", "PARTNER survives none that follow each other"];
            assert!(told(&ended, &why), "{}", cluster.explain("no reason is given"));
            if flush_every > 0 {
                assert_eq!(words, "Ok(\"ckpt.2\")", "{lost:?}");
            } else {
                assert!(words.starts_with("Err((Lost") && words.contains(why[1]), "{words}");
            }
            for (&node, state) in lost.iter().zip(&states) {
                cluster.note(format!("node {node} comes back as it was"));
                cluster.nodes[node].restore(state);
                cluster.oracle.returns(node);
            }
            let ended = run(&mut cluster, &job(&hosts, knobs, "r"));
            assert_eq!(found(&ended), "Ok(\"ckpt.3\")", "{lost:?}");
        }
    }
}

/// All parity and all copies of records are bad, nothing else is: they are made again before they are needed.
#[test]
fn bad_redundancy_is_made_again_while_nothing_is_lost() {
    let hosts = [0, 1, 2, 3];
    for scheme in [Wanted::Xor, Wanted::Partner, Wanted::Rs(2), Wanted::Rs(3)] {
        let knobs = one_set(scheme, 0);
        let mut base = Cluster::new(8, 46);
        run(&mut base, &job(&hosts, knobs, "big.1"));
        let stripes = Stripes::of(&base, &hosts, 1);
        let is_parity = |block: &Block| matches!(block, Block::Parity { .. });
        for block in stripes.all().into_iter().flatten().filter(is_parity) {
            stripes.flip(&base, block);
        }
        let copies = stripes.copies();
        assert_eq!(copies.len(), 4 * survives(scheme));
        for (node, path) in &copies {
            base.nodes[*node].truncate(path, 20).unwrap();
        }
        base.note("all parity and all copies of records are bad");
        let ended = run(&mut base, &job(&hosts, knobs, "r"));
        let is_told =
            told(&ended, &["of parity restored"]) && told(&ended, &["copies of node rec"]);
        assert!(is_told, "{}", base.explain("nothing is said of it"));
        for lost in subsets(4).filter(|lost| lost.len() <= survives(scheme)) {
            let mut cluster = base.fork();
            cluster.wipe_all(&lost);
            run(&mut cluster, &job(&replaced(&hosts, &lost, 4), knobs, "r"));
        }
    }
}

/// A record has as many copies as losses are survived; one good one is enough to make a lost node's part again.
#[test]
fn one_good_copy_of_a_record_is_enough() {
    let hosts = [0, 1, 2, 3, 4];
    for scheme in [Wanted::Rs(2), Wanted::Rs(3)] {
        let knobs = one_set(scheme, 0);
        let mut base = Cluster::new(10, 50);
        run(&mut base, &job(&hosts, knobs, "c1"));
        let copies = Stripes::of(&base, &hosts, 1).copies();
        for lost in hosts {
            let name = format!("copy.{lost}");
            let its: Vec<_> = copies.iter().filter(|(_, path)| path.ends_with(&name)).collect();
            assert_eq!(its.len(), survives(scheme));
            for good in 0..its.len() {
                let mut cluster = base.fork();
                for (at, (node, path)) in its.iter().enumerate().filter(|(at, _)| *at != good) {
                    cluster.note(format!("copy {at} of the record of node {lost} is cut"));
                    cluster.nodes[*node].truncate(path, 100).unwrap();
                }
                cluster.wipe(lost);
                let now = replaced(&hosts, &[lost], 5);
                run(&mut cluster, &job(&now, knobs, "r"));
                cluster.wipe((lost + 1) % 5);
                run(&mut cluster, &job(&now, knobs, "r"));
            }
        }
    }
}

/// A block made of parity that was wrong from the start must not be handed back, whatever the checksum of the parity says.
#[test]
fn parity_that_was_wrong_from_the_start_is_never_taken_for_data() {
    let hosts = [0, 1, 2, 3];
    for scheme in SCHEMES {
        let knobs = one_set(scheme, 0);
        let mut cluster = Cluster::new(8, 47);
        run(&mut cluster, &job(&hosts, knobs, "big.1"));
        let stripes = Stripes::of(&cluster, &hosts, 1);
        let stripe = stripes.all().swap_remove(5);
        let is_parity = |block: &&Block| matches!(block, Block::Parity { .. });
        for &block in stripe.iter().filter(is_parity) {
            stripes.forge(&cluster, block);
            cluster.oracle.damage(block.member(), "torn");
        }
        cluster.note("parity is wrong, with its checksum");
        let lost = stripe[0].member();
        cluster.wipe(lost);
        let ended = run(&mut cluster, &job(&replaced(&hosts, &[lost], 4), knobs, "r"));
        let words = found(&ended);
        let is_named = words.contains("a restored block does not match its checksum");
        assert!(words.starts_with("Err((Lost") && is_named, "{words}");
    }
}

/// A node was away while its part was rebuilt elsewhere, and comes back rotten: what was made later counts.
#[test]
fn a_part_that_was_away_does_not_stand_in_for_the_one_made_since() {
    let knobs = one_set(Wanted::Xor, 0);
    let mut cluster = Cluster::new(5, 48);
    run(&mut cluster, &job(&[0, 1, 2, 3, 3], knobs, "big.1"));
    let stripes = Stripes::of(&cluster, &[0, 1, 2, 3], 1).all();
    let old = cluster.nodes[1].clone_state();
    cluster.wipe(1);
    run(&mut cluster, &job(&[0, 4, 2, 3, 3], knobs, "r"));
    cluster.nodes[1].restore(&old);
    cluster.note("node 1 comes back with bad blocks, and node 2 has some, too");
    let on = |member: usize| {
        let blocks = stripes.iter().flatten().copied();
        blocks.filter(move |block| block.member() == member)
    };
    let was = Stripes::of(&cluster, &[0, 1, 2, 3], 1);
    for block in on(1).chain(on(2).step_by(3)) {
        was.flip(&cluster, block);
    }
    let ended = run(&mut cluster, &job(&[0, 4, 2, 3, 1], knobs, "r"));
    assert_eq!(found(&ended), "Ok(\"big.1\")");
}

/// A checkpoint without redundancy is newer, but does not survive what the older one does.
#[test]
fn a_weaker_checkpoint_does_not_push_out_a_stronger_one() {
    let (strong, weak) = (one_set(Wanted::Xor, 0), one_set(Wanted::Single, 0));
    let hosts = [0, 1, 2, 3];
    let mut cluster = Cluster::new(5, 49);
    run(&mut cluster, &job(&hosts, strong, "c1"));
    run(&mut cluster, &job(&hosts, weak, "r c2 c3"));
    let ended = run(&mut cluster.fork(), &job(&hosts, strong, "r"));
    assert_eq!(found(&ended), "Ok(\"ckpt.3\")");
    cluster.wipe(2);
    let ended = run(&mut cluster, &job(&[0, 1, 4, 3], strong, "r"));
    assert_eq!(found(&ended), "Ok(\"ckpt.1\")");
}
