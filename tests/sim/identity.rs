// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is who: nodes that come back with old data, other rank counts, other jobs, and processes that wake too late.

use crate::cluster::{Cluster, Knobs, Launch, PREFIX};
use crate::program::said;
use crate::scenario::{KNOBS, job, run, steps};
use scr_core::clock::{Clock, ManualClock};
use scr_core::event::EventKind;
use scr_core::exec::prefix::Prefix;
use scr_core::format::{self, lease::Lease};
use scr_core::store::mem::Mem;
use scr_core::store::{Durability, Store, publish};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Two nodes go away with dataset 2, the run goes on from 1 in the prefix and writes another 2, the nodes come back.
#[test]
fn a_node_that_comes_back_old_is_never_mixed_in() {
    let flush = Knobs { flush_every: 2, cache_size: 2, ..KNOBS };
    let mut cluster = Cluster::new(6, 21);
    run(&mut cluster, &job(&[0, 1, 2, 3], flush, "c1 c2 c3"));
    let old = [2, 3].map(|node| (node, cluster.nodes[node].clone_state()));
    for (node, _) in &old {
        cluster.oracle.leaves(*node);
        cluster.nodes[*node].wipe();
    }
    cluster.note("nodes 2 and 3 go away");
    // Dataset 3 is lost with two nodes; 2 is in the prefix.
    run(&mut cluster, &job(&[0, 1, 4, 5], flush, "r c4"));
    for (node, state) in &old {
        cluster.nodes[*node].restore(state);
        cluster.oracle.returns(*node);
    }
    cluster.note("nodes 2 and 3 come back as they were");
    for hosts in [[0, 1, 4, 5], [0, 1, 2, 5], [2, 3, 4, 5], [5, 4, 3, 2]] {
        let mut cluster = cluster.fork();
        run(&mut cluster, &job(&hosts, flush, "r c5"));
        run(&mut cluster, &job(&hosts, flush, "r c6 f"));
    }
    let answers = run(&mut cluster, &job(&[0, 1, 2, 3], flush, "r")).answers;
    assert!(said(&answers, "have_restart").iter().all(|s| s.contains("ckpt.")), "{answers:?}");
}

/// A launch without the nodes of another one gives its dataset the same number; then nodes of both meet.
#[test]
fn two_datasets_of_one_number_are_two() {
    let mut cluster = Cluster::new(6, 27);
    run(&mut cluster, &job(&[0, 1, 2, 3], KNOBS, "c1"));
    let old = [2, 3].map(|node| (node, cluster.nodes[node].clone_state()));
    for node in 0..4 {
        cluster.wipe(node);
    }
    let ended = run(&mut cluster, &job(&[0, 1, 4, 5], KNOBS, "c2"));
    let starts = ended.story.iter().any(|line| line == "start dataset 1 (ckpt.2)");
    assert!(starts, "{}", cluster.explain("dataset 1 has another number"));
    for (node, state) in &old {
        cluster.nodes[*node].restore(state);
    }
    cluster.note("nodes 2 and 3 come back as they were");
    // The new one, beside what would complete it if they were one: it lacks one node, and is rebuilt.
    for hosts in [[0, 1, 2, 5], [0, 1, 4, 3]] {
        let mut cluster = cluster.fork();
        let ended = run(&mut cluster, &job(&hosts, KNOBS, "r"));
        assert_eq!(said(&ended.answers, "have_restart"), vec!["Ok(\"ckpt.2\")"; 4]);
        let rebuilt = |line: &String| line.contains("(ckpt.2): rebuilt");
        assert!(ended.story.iter().any(rebuilt), "{}", cluster.explain("nothing was rebuilt"));
    }
    // Half of each: neither can be had, and both are named.
    let ended = run(&mut cluster, &job(&[0, 1, 2, 3], KNOBS, "r"));
    for words in said(&ended.answers, "have_restart") {
        let both = ["(ckpt.1) in cache: set 0 lost", "(ckpt.2) in cache: set 0 lost"];
        assert!(
            words.starts_with("Err((Lost") && both.iter().all(|b| words.contains(b)),
            "{words}"
        );
    }
    let ended = run(&mut cluster, &job(&[0, 1, 4, 5], KNOBS, "r"));
    assert_eq!(said(&ended.answers, "have_restart"), vec!["Ok(\"ckpt.2\")"; 4]);
}

/// Numbers go on from the highest that is seen anywhere, however little is left of it.
#[test]
fn numbers_are_not_used_twice() {
    let mut cluster = Cluster::new(6, 22);
    run(&mut cluster, &job(&[0, 1, 2, 3], KNOBS, "c1 c2 c3"));
    cluster.wipe(0);
    cluster.wipe(1);
    for hosts in [[4, 5, 2, 3], [4, 5, 3, 2]] {
        let mut cluster = cluster.fork();
        let ended = cluster.run(&job(&hosts, KNOBS, "c4"));
        let started = ended.story.iter().any(|line| line == "start dataset 4 (ckpt.4)");
        assert!(started, "{}", cluster.explain("dataset 4 has another number"));
    }
    // A summary that cannot be read still has a number in its directory's name.
    let flush = Knobs { flush_every: 1, ..KNOBS };
    let mut cluster = Cluster::new(8, 23);
    run(&mut cluster, &job(&[0, 1, 2, 3], flush, "c1 c2 c3"));
    let is_third =
        |p: &PathBuf| p.ends_with("summary") && p.to_string_lossy().contains("dataset.3-");
    let files = Cluster::files(&cluster.prefix);
    let (path, _) = files.iter().find(|(path, _)| is_third(path)).unwrap();
    cluster.prefix.flip_bit(path, 40).unwrap();
    let ended = cluster.run(&job(&[4, 5, 6, 7], flush, "r c4"));
    let started = ended.story.iter().any(|line| line == "start dataset 4 (ckpt.4)");
    assert!(started, "{}", cluster.explain("dataset 4 has another number"));
}

#[test]
fn another_number_of_ranks_is_refused_and_changes_nothing() {
    for knobs in [KNOBS, Knobs { flush_every: 1, ..KNOBS }] {
        let mut cluster = Cluster::new(8, 24);
        run(&mut cluster, &job(&[0, 1, 2, 3], knobs, "c1 c2 f"));
        for hosts in [vec![0, 1, 2], vec![0, 0, 1, 2, 3]] {
            let ended = cluster.run(&job(&hosts, knobs, "r"));
            for words in said(&ended.answers, "have_restart") {
                let count = format!("written by 4 ranks, this run has {}", hosts.len());
                assert!(words.starts_with("Err((Lost") && words.contains(&count), "{words}");
            }
        }
        let answers = run(&mut cluster, &job(&[0, 1, 2, 3], knobs, "r")).answers;
        assert_eq!(said(&answers, "have_restart"), vec!["Ok(\"ckpt.2\")"; 4]);
    }
}

/// A clock on which the holder of the lease moves its heartbeat whenever somebody waits.
#[derive(Debug)]
struct Beating {
    clock: ManualClock,
    prefix: Mem,
    path: PathBuf,
}

impl Clock for Beating {
    fn unix(&self) -> Duration {
        self.clock.unix()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration);
        let mut lease: Lease = format::decode(&self.prefix.read(&self.path).unwrap()).unwrap();
        lease.heartbeat += 1;
        publish(&self.prefix, &self.path, &format::encode(&lease), Durability::Process).unwrap();
    }
}

fn lease_path(prefix: &Mem) -> PathBuf {
    Prefix::new(Arc::new(prefix.clone()), PREFIX.into(), None).lease_path()
}

#[test]
fn a_second_job_is_refused_only_while_the_first_lives() {
    let mut cluster = Cluster::new(8, 25);
    let flush = Knobs { flush_every: 1, ..KNOBS };
    run(&mut cluster, &job(&[0, 1, 2, 3], flush, "c1"));
    let other = Launch { job: "8", ..job(&[4, 5, 6, 7], flush, "r c2 f") };

    let dead = cluster.clock.clone();
    cluster.clock = Arc::new(Beating {
        clock: ManualClock::new(dead.unix()),
        prefix: cluster.prefix.clone(),
        path: lease_path(&cluster.prefix),
    });
    let before = cluster.prefix.walk();
    let ended = cluster.run(&Launch { program: steps("r"), ..other.clone() });
    for (rank, words) in said(&ended.answers, "init").iter().enumerate() {
        let kind = if rank == 0 { "Refused" } else { "PeerFailed" };
        assert!(words.contains("is in use by job 7"), "{words}");
        let ranks = said(&ended.answers, "init");
        assert!(ranks.iter().any(|words| words.contains(kind)), "{ranks:?}");
    }
    let mut after = cluster.prefix.walk();
    let path = lease_path(&cluster.prefix);
    after.insert(path.clone(), before[&path].clone());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(after == before, "a job that was refused changed the prefix");

    cluster.clock = dead;
    let answers = run(&mut cluster, &other).answers;
    assert_eq!(said(&answers, "have_restart"), vec!["Ok(\"ckpt.1\")"; 4]);
}

/// A process sleeps with a flush ahead of it; a new launch takes over; the old one wakes and must change nothing.
#[test]
fn a_process_that_wakes_too_late_renames_nothing() {
    let flush = Knobs { flush_every: 1, ..KNOBS };
    let beside = Knobs { flush_async: true, ..flush };
    let moments = [
        (EventKind::CheckpointStart, flush),
        (EventKind::CheckpointEnd, flush),
        (EventKind::FlushStart, flush),
        (EventKind::AsyncFlushStart, beside),
    ];
    for (number, (moment, flush)) in moments.into_iter().enumerate() {
        // Seeds of datasets that share names, and of some that do not.
        for seed in (0..3).map(|i| 400 + 10 * number as u64 + i) {
            let mut old = Cluster::new(8, seed);
            run(&mut old, &job(&[0, 1, 2, 3], flush, "c1"));
            let mut new = old.fork();
            new.prefix = old.prefix.clone();
            new.launches += 50;
            let (done, report) = std::sync::mpsc::channel();
            let waker: crate::cluster::Waker = Box::new(move || {
                let answers = new.launch(&job(&[4, 5, 6, 7], flush, "r c50 f"));
                done.send(answers.map(|_| new)).unwrap();
            });
            old.wake_at = Some((moment, waker)).into();
            let ended = old.run(&job(&[0, 1, 2, 3], flush, "r c2 f"));
            let mut new =
                report.recv().expect("the new launch came").unwrap_or_else(|why| panic!("{why}"));
            let words = said(&ended.answers, "finalize");
            assert!(words.iter().all(|w| w.contains("has taken over the prefix")), "{words:?}");
            new.trace.extend(old.trace);
            let answers = run(&mut new, &job(&[0, 1, 2, 3].map(|n| 7 - n), flush, "r")).answers;
            assert_eq!(said(&answers, "have_restart"), vec!["Ok(\"ckpt.50\")"; 4]);
            for node in 4..8 {
                new.wipe(node);
            }
            let answers = run(&mut new, &job(&[4, 5, 6, 7], flush, "r")).answers;
            assert_eq!(said(&answers, "have_restart"), vec!["Ok(\"ckpt.50\")"; 4]);
        }
    }
}
