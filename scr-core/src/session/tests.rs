// SPDX-License-Identifier: MIT OR Apache-2.0
//! Promises that span several calls, or several launches on different nodes.

use super::*;
use crate::comm::thread::{Scheduler, World};
use crate::config::Layers;
use crate::format::Scheme;
use crate::format::summary::PrefixState;
use crate::store::mem::Mem;
use crate::store::{Access, Store};

mod parameters;
mod scr3;
mod stores;

const CHECKPOINT: Flags = Flags { checkpoint: true, output: false };
const FILE_BYTES: usize = 100_000;

/// Nodes and a prefix, in memory.
struct Machine {
    local: Vec<Mem>,
    shared: Mem,
}

impl Machine {
    fn new(nodes: usize) -> Self {
        let local = (0..nodes).map(|_| Mem::new()).collect();
        Self { local, shared: Mem::new() }
    }

    /// Runs `body` on one rank for each of `nodes`, and gives back what it came to on each.
    fn launch<T: Send>(
        &self,
        nodes: &[usize],
        settings: &[(&str, &str)],
        body: impl Fn(&mut Session, usize, &Mem) -> T + Sync,
    ) -> Vec<T> {
        let lines: Vec<String> =
            settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.launch_as(nodes, &lines.join("\n"), body)
    }

    /// The same, with a configuration file.
    fn launch_as<T: Send>(
        &self,
        nodes: &[usize],
        file: &str,
        body: impl Fn(&mut Session, usize, &Mem) -> T + Sync,
    ) -> Vec<T> {
        let mut layers = Layers::new("/prefix", []);
        let file = format!("SCR_CACHE_BYPASS=0\nSCR_FLUSH=0\n{file}");
        layers.set_user_file(Path::new("/prefix/.scrconf"), &file);
        let (config, _) = layers.resolve().unwrap();
        let ranks = World::new(nodes.len(), Scheduler::Seeded(1)).run(|world| {
            let (rank, node) = (world.rank(), nodes[world.rank()]);
            let host = Host::in_memory(format!("n{node}"), &self.local[node], &self.shared);
            let mut session = Session::init(world, host, config.clone()).unwrap();
            body(&mut session, rank, &self.local[node])
        });
        ranks.into_iter().map(Result::unwrap).collect()
    }

    /// How many parts of the dataset `name` node `node` holds.
    fn parts(&self, node: usize, name: &str) -> usize {
        let files = self.local[node].walk();
        files.keys().filter(|path| path.parent().is_some_and(|dir| dir.ends_with(name))).count()
    }
}

fn write(session: &mut Session, rank: usize, local: &Mem, name: &str) {
    session.start_output(Some(name), CHECKPOINT).unwrap();
    let path = session.route_file(Path::new(&format!("{name}/{rank}"))).unwrap();
    let bytes = vec![rank as u8 + 1; FILE_BYTES];
    local.open(&path, Access::Create).unwrap().write_at(0, &bytes).unwrap();
}

fn checkpoint(session: &mut Session, rank: usize, local: &Mem, name: &str) -> Outcome {
    write(session, rank, local, name);
    session.complete_output(true).unwrap()
}

#[test]
fn a_relaunch_on_the_wrong_nodes_keeps_what_the_right_ones_can_complete() {
    let machine = Machine::new(5);
    let small = [("SCR_CACHE_SIZE", "1")];
    machine.launch(&[0, 1, 2], &small, |session, rank, local| {
        assert_eq!(checkpoint(session, rank, local, "a"), Outcome::Committed);
    });
    machine.launch(&[0, 3, 4], &small, |session, rank, local| {
        assert_eq!(session.have_restart().unwrap_err().kind(), ErrorKind::Lost);
        write(session, rank, local, "b");
        session.complete_output(false).unwrap_err();
    });
    assert_eq!([0, 1, 2].map(|node| machine.parts(node, "a")), [1, 1, 1]);
    machine.launch(&[0, 1, 2], &small, |session, rank, local| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
        assert_eq!(checkpoint(session, rank, local, "c"), Outcome::Committed);
        // What was written since is newer than all that is left.
        assert!(session.have_restart().unwrap().is_none());
    });
    assert_eq!([0, 1, 2].map(|node| machine.parts(node, "a")), [0, 0, 0]);
}

#[test]
fn all_nodes_plan_alike_when_only_some_hold_what_is_lost() {
    let machine = Machine::new(5);
    machine.launch(&[0, 1, 2], &[], |session, rank, local| {
        checkpoint(session, rank, local, "a");
    });
    let flushed = [("SCR_CACHE_SIZE", "1"), ("SCR_FLUSH", "1")];
    machine.launch(&[0, 3, 4], &flushed, |session, rank, local| {
        for name in ["b", "c", "d"] {
            assert_eq!(checkpoint(session, rank, local, name), Outcome::Committed);
        }
        assert_eq!(session.cached().count(), 1);
        session.finalize().unwrap();
    });
}

#[test]
fn data_without_room_for_parity_are_kept() {
    let machine = Machine::new(2);
    machine.launch(&[0, 1], &[("SCR_FLUSH", "1")], |session, rank, local| {
        write(session, rank, local, "a");
        // XOR over two nodes needs as much again as the data.
        let used: usize = local.walk().values().flatten().map(Vec::len).sum();
        local.capacity((used + FILE_BYTES / 2) as u64, u64::MAX);
        assert_eq!(session.complete_output(true).unwrap(), Outcome::Degraded);
        assert!(session.entries[0].flushed);
    });
}

#[test]
fn calls_in_the_wrong_state_change_no_state() {
    let machine = Machine::new(1);
    machine.launch(&[0], &[], |session, rank, local| {
        checkpoint(session, rank, local, "a");
        session.finalize().unwrap();
        for _ in 0..2 {
            assert_eq!(session.complete_output(true).unwrap_err().kind(), ErrorKind::Misuse);
            assert_eq!(session.complete_restart(true).unwrap_err().kind(), ErrorKind::Misuse);
            assert_eq!(session.need_checkpoint().unwrap_err().kind(), ErrorKind::Misuse);
        }
    });
}

/// In the launch that dropped it, in the next one, and when its room is needed.
#[test]
fn what_was_taken_out_of_the_index_stays_out() {
    let machine = Machine::new(2);
    let flush = [("SCR_FLUSH", "1"), ("SCR_FLUSH_ON_RESTART", "1"), ("SCR_CACHE_SIZE", "1")];
    let listed = |session: &Session| {
        let summaries = session.job.prefix.summaries().unwrap().0;
        summaries.iter().map(|summary| summary.dataset.name.to_string()).collect::<Vec<_>>()
    };
    machine.launch(&[0, 1], &flush, |session, rank, local| {
        checkpoint(session, rank, local, "a");
        session.drop_dataset("a").unwrap();
        session.finalize().unwrap();
        assert_eq!(listed(session), [""; 0]);
    });
    assert_eq!([0, 1].map(|node| machine.parts(node, "a")), [1, 1], "its files stay");
    machine.launch(&[0, 1], &flush, |session, rank, local| {
        assert!(session.have_restart().unwrap().is_none(), "nobody wants it back");
        // Enough room for one dataset and what is kept free, not for two.
        let used: usize = local.walk().values().flatten().map(Vec::len).sum();
        local.capacity((used + (4 << 20) + FILE_BYTES) as u64, u64::MAX);
        session.start_output(Some("b"), CHECKPOINT).unwrap();
        assert_eq!(listed(session), [""; 0], "it went without a flush");
        assert_eq!(machine.parts(rank, "a"), 0);
        session.complete_output(false).unwrap_err();
        local.capacity(u64::MAX, u64::MAX);
        session.finalize().unwrap();
        assert_eq!(listed(session), [""; 0]);
    });
}

#[test]
fn a_restart_point_that_is_dropped_makes_room_for_the_one_before() {
    let machine = Machine::new(2);
    let flush = [("SCR_FLUSH", "1"), ("SCR_CACHE_SIZE", "3")];
    machine.launch(&[0, 1], &flush, |session, rank, local| {
        for name in ["a", "b", "c"] {
            checkpoint(session, rank, local, name);
        }
    });
    machine.launch(&[0, 1], &flush, |session, _, _| {
        // One that was offered, and one that was not yet.
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "c");
        session.drop_dataset("c").unwrap();
        session.drop_dataset("b").unwrap();
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
    });
    machine.launch(&[0, 1], &flush, |session, rank, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
        if rank == 0 {
            // As `scr index --add` does.
            let prefix = &session.job.prefix;
            let dir = prefix
                .store
                .list(prefix.records())
                .unwrap()
                .into_iter()
                .find(|name| name.to_str().unwrap().starts_with("dataset.3-"));
            let dir = prefix.records().join(dir.unwrap());
            prefix.store.rename(&dir.join("summary.dropped"), &dir.join("summary")).unwrap();
        }
    });
    machine.launch(&[0, 1], &flush, |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "c");
    });
}

#[test]
fn a_restart_point_that_was_read_may_go_and_one_that_was_not_may_not() {
    let machine = Machine::new(1);
    machine.launch(&[0], &[], |session, rank, local| {
        checkpoint(session, rank, local, "a");
    });
    machine.launch(&[0], &[], |session, _, _| {
        session.have_restart().unwrap().unwrap();
        let in_use = |session: &Session| session.taken.as_ref().and_then(Taken::in_use).is_some();
        session.start_restart().unwrap();
        assert!(in_use(session));
        session.complete_restart(true).unwrap();
        assert!(!in_use(session));
        assert!(session.have_restart().unwrap().is_some());
    });
}

#[test]
fn a_restart_may_start_without_a_question() {
    let machine = Machine::new(1);
    machine.launch(&[0], &[], |session, rank, local| {
        assert_eq!(session.start_restart().unwrap_err().kind(), ErrorKind::Misuse);
        checkpoint(session, rank, local, "a");
        assert_eq!(session.start_restart().unwrap_err().kind(), ErrorKind::Misuse, "it goes on");
    });
    machine.launch(&[0], &[], |session, _, _| {
        assert_eq!(session.start_restart().unwrap().as_str(), "a");
        assert_eq!(session.complete_restart(false).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(session.start_restart().unwrap_err().kind(), ErrorKind::Lost);
    });
}

#[test]
fn a_dataset_whose_files_were_written_over_in_place_is_superseded() {
    let machine = Machine::new(2);
    let bypass = [("SCR_CACHE_BYPASS", "1")];
    let states = |session: &Session| {
        let summaries = session.job.prefix.summaries().unwrap().0;
        summaries.into_iter().map(|s| (s.dataset.name, s.state)).collect::<Vec<_>>()
    };
    machine.launch(&[0, 1], &bypass, |session, rank, _| {
        for (name, dir) in [("a", "same"), ("b", "other"), ("c", "same")] {
            session.start_output(Some(name), CHECKPOINT).unwrap();
            // Only one rank keeps to its name.
            let file = if rank == 0 { format!("{dir}/0") } else { format!("{dir}/{name}.1") };
            let path = session.route_file(Path::new(&file)).unwrap();
            machine.shared.open(&path, Access::Create).unwrap().write_at(0, b"data").unwrap();
            session.complete_output(true).unwrap();
        }
        let states = states(session);
        let is_gone = |state: &PrefixState| matches!(state, PrefixState::Superseded { .. });
        let gone: Vec<_> = states.iter().filter(|(_, s)| is_gone(s)).map(|(n, _)| n).collect();
        assert_eq!(gone.len(), 1, "{states:?}");
        assert_eq!(gone[0].as_str(), "a");
        let whole = states.iter().filter(|(_, state)| *state == PrefixState::Flushed).count();
        assert_eq!(whole, 2, "{states:?}");
    });
}

#[test]
fn a_layout_with_redundancy_stays_when_there_is_no_room_for_it_elsewhere() {
    let machine = Machine::new(4);
    machine.launch(&[0, 1, 2], &[], |session, rank, local| {
        checkpoint(session, rank, local, "a");
    });
    for local in &machine.local {
        let used: usize = local.walk().values().flatten().map(Vec::len).sum();
        // Enough for the file of another rank, too little for new parity.
        local.capacity((used + FILE_BYTES + FILE_BYTES / 4) as u64, u64::MAX);
    }
    machine.launch(&[1, 2, 0], &[], |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
        let schemes = session.entries.iter().map(|e| e.place.scheme).collect::<Vec<_>>();
        assert_eq!(schemes, [Scheme::Xor, Scheme::Single]);
    });
    machine.local.iter().for_each(|local| local.capacity(u64::MAX, u64::MAX));
    machine.local[1].wipe();
    machine.launch(&[3, 2, 0], &[], |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
    });
}

#[test]
fn a_newer_dataset_that_survives_less_pushes_out_none_that_survives_more() {
    let levels =
        "SCR_COPY_TYPE=FILE\nSCR_CACHE_SIZE=1\nCKPT=0 TYPE=SINGLE\nCKPT=1 INTERVAL=2 TYPE=XOR";
    let machine = Machine::new(4);
    machine.launch_as(&[0, 1, 2], levels, |session, rank, local| {
        let mut cached = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(checkpoint(session, rank, local, name), Outcome::Committed);
            cached.push(session.cached().map(|n| n.as_str().to_string()).collect::<Vec<_>>());
        }
        let expected = [vec!["a"], vec!["b"], vec!["b", "c"], vec!["d"], vec!["d", "e"]];
        assert_eq!(cached, expected);
    });
    machine.local[1].wipe();
    machine.launch_as(&[0, 3, 2], levels, |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "d");
    });
}

#[test]
fn nodes_that_fail_together_do_not_protect_each_other() {
    let racks = (0..8).map(|n| format!("GROUPS=n{n} RACK={}", n / 2)).collect::<Vec<_>>();
    let levels = format!("SCR_GROUP=RACK\nSCR_SET_SIZE=2\n{}", racks.join("\n"));
    let machine = Machine::new(8);
    machine.launch_as(&[0, 1, 2, 3], &levels, |session, rank, local| {
        assert_eq!(checkpoint(session, rank, local, "a"), Outcome::Committed);
    });
    // A whole rack.
    machine.local[0].wipe();
    machine.local[1].wipe();
    machine.launch_as(&[4, 6, 2, 3], &levels, |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
    });
}

#[test]
fn each_level_has_its_own_store_and_count() {
    let levels =
        "SCR_COPY_TYPE=FILE\nSCR_CACHE_BASE=/mem\nSCR_CACHE_SIZE=1\nSTORE=/mem\nSTORE=/ssd COUNT=2
CKPT=0 TYPE=SINGLE\nCKPT=1 INTERVAL=2 TYPE=RS SET_FAILURES=2 STORE=/ssd";
    let machine = Machine::new(7);
    let nodes = [0, 1, 2, 3];
    let in_store = |node: usize, base: &str, name: &str| {
        let files = machine.local[node].walk();
        let ours = |path: &PathBuf| {
            path.starts_with(base) && path.parent().is_some_and(|d| d.ends_with(name))
        };
        files.keys().any(ours)
    };
    machine.launch_as(&nodes, levels, |session, rank, local| {
        for name in ["a", "b", "c", "d", "e", "f"] {
            assert_eq!(checkpoint(session, rank, local, name), Outcome::Committed);
        }
        let cached: Vec<_> = session.cached().map(|n| n.as_str().to_string()).collect();
        assert_eq!(cached, ["d", "e", "f"]);
    });
    for node in nodes {
        let found = ["d", "e", "f"]
            .map(|name| (in_store(node, "/mem", name), in_store(node, "/ssd", name)));
        assert_eq!(found, [(false, true), (true, false), (false, true)], "node {node}");
    }
    machine.local[1].wipe();
    machine.local[2].wipe();
    machine.launch_as(&[0, 4, 5, 3], levels, |session, rank, local| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "f");
        checkpoint(session, rank, local, "g");
        checkpoint(session, rank, local, "h");
        let cached: Vec<_> = session.cached().map(|n| n.as_str().to_string()).collect();
        assert_eq!(cached, ["f", "g", "h"]);
    });
    // What was rebuilt is where the rest of it is.
    for node in [0, 4, 5, 3] {
        assert!(in_store(node, "/ssd", "f") && !in_store(node, "/mem", "f"), "node {node}");
    }
    // Laid out anew over two nodes, it is there too.
    machine.launch_as(&[0, 0, 3, 3], levels, |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "h");
    });
    for node in [0, 3] {
        assert!(in_store(node, "/ssd", "h") && !in_store(node, "/mem", "h"), "node {node}");
    }
}
