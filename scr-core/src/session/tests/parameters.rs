// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters that change where datasets go and how long they stay, over whole launches.

use super::*;
use crate::store::exists;

/// Writes a file of this rank, wherever it belongs, and returns its path.
fn put(session: &mut Session, machine: &Machine, node: usize, name: &str, text: &str) -> PathBuf {
    let path = session.route_file(Path::new(name)).unwrap();
    let shared: &dyn Store = &machine.shared;
    let store = if path.starts_with("/prefix") { shared } else { &machine.local[node] };
    let existing = if exists(store, &path).unwrap() { Access::Write } else { Access::Create };
    store.open(&path, existing).unwrap().write_at(0, text.as_bytes()).unwrap();
    path
}

/// Writes a dataset with one file of each rank; whether it went to the prefix.
fn checkpoint_in(session: &mut Session, machine: &Machine, rank: usize, name: &str) -> bool {
    session.start_output(Some(name), CHECKPOINT).unwrap();
    let path = put(session, machine, rank, &format!("{name}/{rank}"), name);
    assert_eq!(session.complete_output(true).unwrap(), Outcome::Committed);
    path.starts_with("/prefix")
}

/// The datasets that the index of the prefix has.
fn listed(session: &Session) -> Vec<String> {
    let summaries = session.job.prefix.summaries().unwrap().0;
    summaries.iter().map(|summary| summary.dataset.name.to_string()).collect()
}

fn found(session: &mut Session) -> Option<String> {
    session.have_restart().unwrap().map(|name| name.to_string())
}

#[test]
fn auto_takes_the_cache_until_ranks_share_a_file() {
    let machine = Machine::new(3);
    machine.launch(&[0, 1, 2], &[("SCR_CACHE_BYPASS", "AUTO")], |session, rank, _| {
        assert!(checkpoint_in(session, &machine, rank, "a"), "the first one");
        assert!(!checkpoint_in(session, &machine, rank, "b"), "each file had one rank");
        session.start_output(Some("c"), CHECKPOINT).unwrap();
        let name = if rank == 0 { "c/0" } else { "c/shared" };
        let path = put(session, &machine, rank, name, "c");
        assert!(!path.starts_with("/prefix"));
        let error = session.complete_output(true).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Misuse | ErrorKind::PeerFailed), "{error:#}");
        for name in ["d", "e"] {
            assert!(checkpoint_in(session, &machine, rank, name), "{name} after that");
        }
    });
    machine.launch(&[0, 1, 2], &[("SCR_CACHE_BYPASS", "AUTO")], |session, _, _| {
        assert_eq!(found(session).as_deref(), Some("e"));
    });
}

#[test]
fn auto_stays_with_the_prefix_where_there_is_no_room() {
    let machine = Machine::new(2);
    machine.local[1].capacity(1 << 20, 1000);
    machine.launch(&[0, 1], &[("SCR_CACHE_BYPASS", "AUTO")], |session, rank, _| {
        for name in ["a", "b"] {
            assert!(checkpoint_in(session, &machine, rank, name), "{name}");
        }
    });
}

#[test]
fn ranks_that_share_a_file_in_the_cache_are_told_and_lose_nothing() {
    let machine = Machine::new(2);
    // On one node, where they even have one path, and on two.
    for nodes in [[0, 0], [0, 1]] {
        machine.launch(&nodes, &[], |session, rank, local| {
            checkpoint(session, rank, local, "good");
            session.start_output(Some("bad"), CHECKPOINT).unwrap();
            put(session, &machine, nodes[rank], "bad/shared", "x");
            let error = session.complete_output(true).unwrap_err();
            if error.kind() == ErrorKind::Misuse {
                let text = format!("{error:#}");
                assert!(text.contains("ranks 0, 1 all routed bad/shared"), "{text}");
            } else {
                assert_eq!(error.kind(), ErrorKind::PeerFailed);
            }
        });
        machine.launch(&nodes, &[("SCR_CACHE_PURGE", "0")], |session, _, _| {
            assert_eq!(found(session).as_deref(), Some("good"));
        });
    }
}

#[test]
fn a_file_that_ranks_share_in_the_prefix_can_be_read_by_each() {
    let machine = Machine::new(2);
    let bypass = [("SCR_CACHE_BYPASS", "1")];
    machine.launch(&[0, 1], &bypass, |session, rank, _| {
        session.start_output(Some("a"), CHECKPOINT).unwrap();
        put(session, &machine, rank, "a/shared", "both write this");
        assert_eq!(session.complete_output(true).unwrap(), Outcome::Committed);
        let summary = session.named("a").unwrap();
        assert_eq!((summary.files, summary.bytes), (1, 15));
    });
    machine.launch(&[0, 1], &bypass, |session, _, _| {
        assert_eq!(found(session).as_deref(), Some("a"));
        session.start_restart().unwrap();
        assert_eq!(
            session.route_file(Path::new("a/shared")).unwrap(),
            Path::new("/prefix/a/shared")
        );
        session.complete_restart(true).unwrap();
    });
}

#[test]
fn the_prefix_keeps_as_many_checkpoints_as_it_may() {
    let machine = Machine::new(2);
    for bypass in ["0", "1"] {
        let settings = [
            ("SCR_CACHE_BYPASS", bypass),
            ("SCR_FLUSH", "1"),
            ("SCR_PREFIX_SIZE", "2"),
            ("SCR_PREFIX_PURGE", "1"),
        ];
        machine.launch(&[0, 1], &settings, |session, rank, _| {
            for name in ["a", "b"] {
                checkpoint_in(session, &machine, rank, name);
            }
            session
                .start_output(Some("result"), Flags { checkpoint: false, output: true })
                .unwrap();
            put(session, &machine, rank, &format!("result/{rank}"), "result");
            session.complete_output(true).unwrap();
            for name in ["c", "d", "e"] {
                checkpoint_in(session, &machine, rank, name);
            }
            assert_eq!(listed(session), ["result", "d", "e"], "outputs do not count, {bypass}");
            let is_there = |file: &str| exists(&machine.shared, Path::new(file)).unwrap();
            assert!(
                !is_there("/prefix/a/0") && !is_there("/prefix/c/1") && is_there("/prefix/d/0")
            );
        });
        machine.launch(&[0, 1], &[], |session, _, _| {
            assert_eq!(found(session).as_deref(), Some("e"));
        });
    }
}

#[test]
fn a_purge_of_the_prefix_takes_what_the_index_lists() {
    let machine = Machine::new(2);
    machine.launch(&[0, 1], &[("SCR_FLUSH", "1")], |session, rank, _| {
        checkpoint_in(session, &machine, rank, "a");
    });
    let purge = [("SCR_PREFIX_PURGE", "1"), ("SCR_CACHE_PURGE", "1")];
    machine.launch(&[0, 1], &purge, |session, _, _| {
        assert!(listed(session).is_empty());
        assert_eq!(found(session), None);
    });
    assert!(!exists(&machine.shared, Path::new("/prefix/a")).unwrap());
}

#[test]
fn a_deletion_that_was_stopped_is_ended_by_the_next_launch() {
    let machine = Machine::new(2);
    let settings = [("SCR_CACHE_BYPASS", "1")];
    machine.launch(&[0, 1], &settings, |session, rank, _| {
        checkpoint_in(session, &machine, rank, "a");
        checkpoint_in(session, &machine, rank, "b");
        if rank == 0 {
            // As if rank 0 had died after the first file.
            let mut summary = session.named("b").unwrap();
            summary.state = PrefixState::Failed { reason: crate::exec::prefix::DELETING.into() };
            session.job.prefix.publish_summary(&summary).unwrap();
            machine.shared.remove(Path::new("/prefix/b/0")).unwrap();
        }
    });
    machine.launch(&[0, 1], &settings, |session, _, _| {
        assert_eq!(listed(session), ["a"]);
        assert_eq!(found(session).as_deref(), Some("a"));
    });
    assert!(!exists(&machine.shared, Path::new("/prefix/b")).unwrap());
}

#[test]
fn the_end_of_a_deletion_spares_who_took_the_names_since() {
    let machine = Machine::new(2);
    for bypass in ["0", "1"] {
        let settings =
            [("SCR_CACHE_BYPASS", bypass), ("SCR_FLUSH", "1"), ("SCR_PREFIX_PURGE", "1")];
        machine.launch(&[0, 1], &settings, |session, rank, _| {
            let write = |session: &mut Session, name: &str| {
                session.start_output(Some(name), CHECKPOINT).unwrap();
                put(session, &machine, rank, &format!("latest/{rank}"), name);
                assert_eq!(session.complete_output(true).unwrap(), Outcome::Committed);
            };
            write(session, "a");
            if rank == 0 {
                // As if the deletion had failed when all files were gone.
                let mut summary = session.named("a").unwrap();
                summary.state =
                    PrefixState::Failed { reason: crate::exec::prefix::DELETING.into() };
                session.job.prefix.publish_summary(&summary).unwrap();
                for rank in 0..2 {
                    let file = format!("/prefix/latest/{rank}");
                    machine.shared.remove(Path::new(&file)).unwrap();
                }
            }
            session.should_exit().unwrap();
            write(session, "b");
        });
        machine.local.iter().for_each(Mem::wipe);
        machine.launch(&[0, 1], &[("SCR_FETCH_BYPASS", "1")], |session, _, _| {
            assert_eq!(found(session).as_deref(), Some("b"), "bypass {bypass}");
        });
    }
}

#[test]
fn what_is_later_than_the_current_one_leaves_the_index() {
    let machine = Machine::new(2);
    let settings = [("SCR_CACHE_BYPASS", "1"), ("SCR_DROP_AFTER_CURRENT", "1")];
    machine.launch(&[0, 1], &settings, |session, rank, _| {
        for name in ["a", "b", "c"] {
            checkpoint_in(session, &machine, rank, name);
        }
        session.current("a").unwrap();
        assert_eq!(listed(session), ["a"]);
    });
    assert!(exists(&machine.shared, Path::new("/prefix/c/0")).unwrap(), "files stay");
}

#[test]
fn a_global_restart_reads_from_the_prefix_and_leaves_the_cache() {
    let machine = Machine::new(2);
    machine.launch(&[0, 1], &[], |session, rank, _| {
        assert!(!checkpoint_in(session, &machine, rank, "a"));
        assert!(listed(session).is_empty());
    });
    machine.launch(&[0, 1], &[("SCR_GLOBAL_RESTART", "1")], |session, rank, _| {
        assert_eq!(session.cached().count(), 0);
        assert_eq!(found(session).as_deref(), Some("a"));
        session.start_restart().unwrap();
        // Any rank, any file.
        let other = format!("a/{}", 1 - rank);
        let path = session.route_file(Path::new(&other)).unwrap();
        assert_eq!(path, Path::new("/prefix").join(other));
        session.complete_restart(true).unwrap();
    });
    assert_eq!([0, 1].map(|node| machine.parts(node, "a")), [0, 0]);
}

#[test]
fn what_only_the_prefix_has_is_read_there_when_asked_for() {
    let machine = Machine::new(2);
    machine.launch(&[0, 1], &[("SCR_FLUSH", "1")], |session, rank, _| {
        checkpoint_in(session, &machine, rank, "a");
    });
    machine.local.iter().for_each(Mem::wipe);
    machine.launch(&[0, 1], &[("SCR_FETCH_BYPASS", "1")], |session, rank, _| {
        assert_eq!(found(session).as_deref(), Some("a"));
        session.start_restart().unwrap();
        let name = format!("a/{rank}");
        assert_eq!(session.route_file(Path::new(&name)).unwrap(), Path::new("/prefix").join(name));
        session.complete_restart(true).unwrap();
        assert_eq!(session.cached().count(), 0);
    });
}

#[test]
fn what_scr_current_names_counts_until_the_job_has_gone_on() {
    let machine = Machine::new(2);
    let launch = |job: &str, current: Option<&str>, write: Option<&str>| {
        let mut layers = Layers::new("/prefix", []);
        let current = current.map(|name| format!("SCR_CURRENT={name}")).unwrap_or_default();
        let file = format!("SCR_CACHE_BYPASS=0\nSCR_FLUSH=1\nSCR_CACHE_SIZE=4\n{current}");
        layers.set_user_file(Path::new("/prefix/.scrconf"), &file);
        let (config, _) = layers.resolve().unwrap();
        let ranks = World::new(2, Scheduler::Seeded(1)).run(|world| {
            let rank = world.rank();
            let mut host =
                Host::in_memory(format!("n{rank}"), &machine.local[rank], &machine.shared);
            host.job.job_id = crate::id::JobId::new(job);
            let mut session = Session::init(world, host, config.clone()).unwrap();
            let found = found(&mut session);
            if let Some(name) = write {
                checkpoint_in(&mut session, &machine, rank, name);
            }
            found
        });
        ranks.into_iter().next().unwrap().unwrap()
    };
    for name in ["a", "b", "c"] {
        launch("1", None, Some(name));
    }
    // A new allocation goes back, and dies before it has written anything.
    assert_eq!(launch("2", Some("b"), None).as_deref(), Some("b"));
    assert_eq!(launch("2", Some("b"), Some("d")).as_deref(), Some("b"));
    // Launched again with the same environment, it must not go back once more.
    assert_eq!(launch("2", Some("b"), Some("e")).as_deref(), Some("d"));
    assert_eq!(launch("2", Some("b"), None).as_deref(), Some("e"));
    assert_eq!(launch("3", Some("b"), None).as_deref(), Some("b"));
    // Nobody knows which launches belong together.
    launch(crate::host::NO_JOB_ID, Some("b"), Some("f"));
    assert_eq!(launch(crate::host::NO_JOB_ID, Some("b"), None).as_deref(), Some("b"));
}
