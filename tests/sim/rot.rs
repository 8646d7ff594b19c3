// SPDX-License-Identifier: MIT OR Apache-2.0
//! Damage at rest: bits flip, files end early or are gone. One node's worth is healed; what is not is passed over for the
//! next candidate. Never a wrong byte.

use crate::cluster::{Cluster, Knobs};
use crate::random::mix2;
use crate::scenario::{KNOBS, job};
use scr_core::store::Store;
use scr_core::store::mem::Mem;
use std::path::Path;

/// One kind of damage to a file.
#[derive(Clone, Copy, Debug)]
enum Rot {
    /// One bit, at this share of the file in 16ths.
    Flip(u64),
    /// Only this share is left.
    Cut(u64),
    Gone,
    /// Bytes that nobody wrote follow.
    Longer,
}

const ROTS: [Rot; 8] = [
    Rot::Flip(0),
    Rot::Flip(3),
    Rot::Flip(9),
    Rot::Flip(15),
    Rot::Cut(0),
    Rot::Cut(11),
    Rot::Gone,
    Rot::Longer,
];

fn rot(mem: &Mem, path: &Path, size: u64, rot: Rot) -> bool {
    match rot {
        Rot::Flip(share) if size > 0 => mem.flip_bit(path, size * share / 16).unwrap(),
        Rot::Cut(share) if size > 0 => mem.truncate(path, size * share / 16).unwrap(),
        Rot::Flip(_) | Rot::Cut(_) => return false,
        Rot::Gone => mem.remove(path).unwrap(),
        Rot::Longer => mem.append(path, b"x").unwrap(),
    }
    true
}

/// Rots each file on node 1, one at a time, and restarts on `hosts`.
fn rot_a_node(hosts: &[usize], seed: u64) {
    let mut base = Cluster::new(5, seed);
    base.launch(&job(&[0, 1, 1, 2], KNOBS, "c1 c2")).unwrap();
    let mut count = 0;
    for (path, size) in Cluster::files(&base.nodes[1]) {
        for damage in ROTS {
            let mut cluster = base.fork();
            if !rot(&cluster.nodes[1], &path, size, damage) {
                continue;
            }
            cluster.note(format!("{damage:?} in {}", path.display()));
            cluster.oracle.damage(1, "torn");
            cluster.launch(&job(hosts, KNOBS, "r")).unwrap_or_else(|why| panic!("{why}"));
            cluster.launch(&job(hosts, KNOBS, "r c3 f")).unwrap_or_else(|why| panic!("{why}"));
            count += 1;
        }
    }
    println!("rot of one node, restart on {hosts:?}: {count} kinds");
    assert!(count > 50);
}

#[test]
fn the_rot_of_one_node_is_healed() {
    rot_a_node(&[0, 1, 1, 2], 11);
}

#[test]
fn the_rot_of_one_node_is_healed_where_ranks_moved() {
    rot_a_node(&[2, 1, 1, 0], 12);
}

/// What was healed survives the loss of another node: redundancy is whole again, too.
#[test]
fn after_rot_was_healed_a_node_may_be_lost() {
    let hosts = [0, 1, 1, 2];
    let mut base = Cluster::new(5, 13);
    base.launch(&job(&hosts, KNOBS, "c1")).unwrap();
    for (path, size) in Cluster::files(&base.nodes[1]) {
        let damage = if size > 8 { Rot::Cut(7) } else { Rot::Gone };
        let mut cluster = base.fork();
        let is_token =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("token."));
        if is_token || !rot(&cluster.nodes[1], &path, size, damage) {
            continue;
        }
        cluster.note(format!("{damage:?} in {}", path.display()));
        cluster.launch(&job(&hosts, KNOBS, "r")).unwrap_or_else(|why| panic!("{why}"));
        cluster.wipe(0);
        cluster.launch(&job(&[4, 1, 1, 2], KNOBS, "r")).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// With nothing in cache, damage in the prefix costs at most the dataset that it befell.
#[test]
fn rot_in_the_prefix_is_noticed() {
    let flush = Knobs { flush_every: 1, ..KNOBS };
    let mut base = Cluster::new(8, 15);
    base.launch(&job(&[0, 1, 1, 2], flush, "c1 c2 f")).unwrap();
    let mut count = 0;
    for (path, size) in Cluster::files(&base.prefix) {
        for damage in ROTS {
            let text = path.to_string_lossy().into_owned();
            // Nobody but a person misses or needs these.
            if text.ends_with("decision") || text.ends_with("lease") && matches!(damage, Rot::Gone)
            {
                continue;
            }
            let mut cluster = base.fork();
            if !rot(&cluster.prefix, &path, size, damage) {
                continue;
            }
            cluster.note(format!("{damage:?} in {text}"));
            for (number, name) in [(1, "ckpt.1"), (2, "ckpt.2")] {
                if text.contains(name) || text.contains(&format!("dataset.{number}-")) {
                    cluster.oracle.give_up_prefix(name);
                }
            }
            let elsewhere = job(&[4, 5, 5, 6], flush, "r c3 f");
            cluster.launch(&elsewhere).unwrap_or_else(|why| panic!("{why}"));
            // From the cache nothing is missing at all.
            let mut cluster = base.fork();
            rot(&cluster.prefix, &path, size, damage);
            cluster.note(format!("{damage:?} in {text}"));
            let again = job(&[0, 1, 1, 2], flush, "r c3 f");
            cluster.launch(&again).unwrap_or_else(|why| panic!("{why}"));
            count += 1;
        }
    }
    println!("rot in the prefix: {count} kinds");
    assert!(count > 50);
}

/// Two nodes of one set: beyond tolerance, so nothing is owed, and nothing wrong may come back.
#[test]
fn rot_beyond_tolerance_hands_back_nothing_wrong() {
    let hosts = [0, 1, 2, 3];
    let mut base = Cluster::new(4, 17);
    base.launch(&job(&hosts, Knobs { cache_size: 2, ..KNOBS }, "c1 c2")).unwrap();
    for round in 0..60 {
        let mut cluster = base.fork();
        for node in [1, 2] {
            let files = Cluster::files(&cluster.nodes[node]);
            let pick = mix2(round, node as u64);
            let (path, size) = &files[pick as usize % files.len()];
            let damage = ROTS[(pick >> 32) as usize % ROTS.len()];
            rot(&cluster.nodes[node], path, *size, damage);
            cluster.note(format!("{damage:?} in {} of node {node}", path.display()));
            cluster.oracle.damage(node, "torn");
        }
        cluster.launch(&job(&hosts, KNOBS, "r")).unwrap_or_else(|why| panic!("{why}"));
    }
}
