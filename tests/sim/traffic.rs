// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many messages a rank sends, for more and more ranks: no faster than the logarithm of their number.

use crate::cluster::{Cluster, Ended, Knobs};
use crate::scenario::{KNOBS, job};
use scr_core::comm::thread::Traffic;

/// Messages per rank and doubling of the ranks that a checkpoint or restart may cost, those with data included.
const PER_DOUBLING: u64 = 64;

/// The most that one rank sent or received.
fn most(ended: &Ended) -> u64 {
    let of = |t: &Traffic| t.messages_sent.max(t.messages_received);
    ended.traffic.iter().map(of).max().unwrap_or(0)
}

#[test]
fn messages_per_rank_grow_like_a_logarithm() {
    let knobs = Knobs { set_size: 8, ..KNOBS };
    println!(
        "{:>6} {:>9} {:>22} {:>22}",
        "ranks", "per node", "checkpoint: messages", "restart: messages"
    );
    let largest = if crate::is_long() { 12 } else { 10 };
    for per_node in [16, 1] {
        for doublings in 4..=largest {
            let ranks = 1_usize << doublings;
            let hosts: Vec<usize> = (0..ranks).map(|rank| rank / per_node).collect();
            let mut cluster = Cluster::new(ranks / per_node, 31);
            let written = most(
                &cluster.launch(&job(&hosts, knobs, "c1")).unwrap_or_else(|why| panic!("{why}")),
            );
            let restarted = most(
                &cluster.launch(&job(&hosts, knobs, "r")).unwrap_or_else(|why| panic!("{why}")),
            );
            println!("{ranks:>6} {per_node:>9} {written:>22} {restarted:>22}");
            for (what, messages) in [("checkpoint", written), ("restart", restarted)] {
                let limit = PER_DOUBLING * doublings as u64;
                assert!(messages <= limit, "{what} with {ranks} ranks: {messages} messages");
            }
        }
    }
}
