// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stores that several nodes see, and directories that must be there.

use super::*;
use crate::store::exists;

/// Nodes that have one storage between them.
fn sharing(nodes: usize) -> Machine {
    let storage = Mem::new();
    Machine { local: vec![storage; nodes], shared: Mem::new() }
}

/// Starts a session on each of two nodes, and returns what kept them from it.
fn init_fails(machine: &Machine, file: &str) -> Vec<Error> {
    let mut layers = Layers::new("/prefix", []);
    layers.set_user_file(Path::new("/prefix/.scrconf"), file);
    let (config, _) = layers.resolve().unwrap();
    let ranks = World::new(2, Scheduler::Seeded(1)).run(|world| {
        let node = world.rank();
        let host = Host::in_memory(format!("n{node}"), &machine.local[node], &machine.shared);
        Session::init(world, host, config.clone()).map(|_| ()).unwrap_err()
    });
    ranks.into_iter().map(Result::unwrap).collect()
}

fn read(session: &mut Session, rank: usize, local: &Mem, name: &str) {
    assert_eq!(session.have_restart().unwrap().unwrap().as_str(), name);
    session.start_restart().unwrap();
    let path = session.route_file(Path::new(&format!("{name}/{rank}"))).unwrap();
    assert_eq!(local.read(&path).unwrap(), vec![rank as u8 + 1; FILE_BYTES]);
    session.complete_restart(true).unwrap();
}

#[test]
fn nodes_that_share_a_store_keep_apart_in_it() {
    let lines = "SCR_CACHE_BASE=/pfs\nSCR_CACHE_SIZE=2\nSTORE=/pfs VIEW=GLOBAL";
    let machine = sharing(4);
    machine.launch_as(&[0, 1, 2], lines, |session, rank, local| {
        for name in ["a", "b", "c"] {
            assert_eq!(checkpoint(session, rank, local, name), Outcome::Committed);
        }
        assert_eq!(session.cached().count(), 2);
    });
    let storage = &machine.local[0];
    let job = |node: usize| PathBuf::from(format!("/pfs/ann/scr.7/node.n{node}"));
    for node in 0..3 {
        assert!(exists(storage, &job(node)).unwrap(), "node {node}");
    }
    machine.launch_as(&[0, 1, 2], lines, |session, rank, local| read(session, rank, local, "c"));

    // A node and what it kept there is lost; another one takes its place.
    storage.remove_tree(&job(1)).unwrap();
    machine.launch_as(&[0, 3, 2], lines, |session, rank, local| read(session, rank, local, "c"));
    assert!(exists(storage, &job(3)).unwrap() && !exists(storage, &job(1)).unwrap());
}

#[test]
fn a_group_of_several_nodes_is_a_shared_store() {
    let lines = "STORE=/pfs GROUP=WORLD\nSCR_CACHE_BASE=/pfs";
    let machine = sharing(2);
    machine.launch_as(&[0, 1], lines, |session, rank, local| {
        assert_eq!(checkpoint(session, rank, local, "a"), Outcome::Committed);
    });
    machine.launch_as(&[0, 1], lines, |session, rank, local| read(session, rank, local, "a"));
}

#[test]
fn nodes_share_the_room_of_a_shared_store() {
    let lines =
        "SCR_CACHE_BASE=/pfs\nSTORE=/pfs VIEW=GLOBAL\nSCR_COPY_TYPE=SINGLE\nSCR_CACHE_SIZE=9";
    let machine = sharing(2);
    machine.launch_as(&[0, 1], lines, |session, rank, local| {
        checkpoint(session, rank, local, "a");
        // Room for both only if each took the other's for its own.
        let used: usize = local.walk().values().flatten().map(Vec::len).sum();
        local.capacity((used + (4 << 20) + 2 * FILE_BYTES) as u64, u64::MAX);
        let error = session.start_output(Some("b"), CHECKPOINT).unwrap_err();
        assert_eq!(error.cause_kind(), ErrorKind::NoSpace);
        local.capacity((used + (9 << 20)) as u64, u64::MAX);
        checkpoint(session, rank, local, "b");
    });
}

#[test]
fn nodes_that_share_a_store_and_do_not_say_so_are_refused() {
    for lines in [
        "SCR_CACHE_BASE=/pfs",
        // Not the first store, and only one of two.
        "SCR_CACHE_BASE=/mem\nSCR_COPY_TYPE=FILE\nSTORE=/mem VIEW=GLOBAL\nSTORE=/pfs\nCKPT=0 STORE=/pfs BYPASS=0",
    ] {
        let machine = sharing(2);
        let errors = init_fails(&machine, lines);
        assert_eq!(errors[0].kind(), ErrorKind::Config, "{}", errors[0]);
        let text = errors[0].to_string();
        assert!(text.contains("/pfs is one directory for nodes n0 and n1"), "{text}");
        assert!(text.contains("STORE=/pfs VIEW=GLOBAL"), "{text}");
    }
}

#[test]
fn a_directory_that_must_be_there_is_not_made() {
    let lines = "SCR_CACHE_BASE=/ssd\nSTORE=/ssd MKDIR=0";
    let machine = Machine::new(2);
    machine.local[0].create_dir_all(Path::new("/ssd")).unwrap();
    let errors = init_fails(&machine, lines);
    assert_eq!(errors[0].kind(), ErrorKind::PeerFailed);
    assert_eq!(errors[1].kind(), ErrorKind::NotFound);
    let text = format!("{:#}", errors[1]);
    assert!(text.contains("STORE=/ssd MKDIR=0: there is no such directory"), "{text}");
    assert!(!exists(&machine.local[1], Path::new("/ssd")).unwrap());

    machine.local[1].create_dir_all(Path::new("/ssd")).unwrap();
    machine.launch_as(&[0, 1], lines, |session, rank, local| {
        assert_eq!(checkpoint(session, rank, local, "a"), Outcome::Committed);
    });
}
