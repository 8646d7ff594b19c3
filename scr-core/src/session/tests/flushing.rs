// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flushes that go on while the application does.
//!
//! Without threads a rank copies one file each time that a call looks, so a test can stand between any two of them.
//! [`threads`] has those with threads.

use super::*;
use crate::event::Event;
use crate::event::Sink;
use crate::store::exists;
use crate::store::fault::{Cause, Faulty, Plan, What};
use std::sync::Mutex;

mod threads;

const OUTPUT: Flags = Flags { checkpoint: false, output: true };
const ASYNC: [(&str, &str); 2] = [("SCR_FLUSH", "1"), ("SCR_FLUSH_ASYNC", "1")];

/// Hears everything.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Event>>);

impl Sink for Ear {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Ear {
    fn heard(&self, kind: EventKind) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events.iter().filter(|event| event.kind == kind).map(|event| event.text.clone()).collect()
    }
}

/// A machine whose ranks are heard.
struct Stage {
    machine: Machine,
    ear: Arc<Ear>,
    settings: Vec<(&'static str, String)>,
}

impl Stage {
    fn new(nodes: usize) -> Self {
        let settings = ASYNC.map(|(key, value)| (key, value.to_string())).to_vec();
        Self { machine: Machine::new(nodes), ear: Arc::default(), settings }
    }

    fn set(mut self, key: &'static str, value: &str) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    /// Runs a rank on each node; `change` prepares what it stands on.
    fn run<T: Send>(
        &self,
        change: impl Fn(usize, &mut Host) + Sync,
        body: impl Fn(&mut Session, usize, &Mem) -> T + Sync,
    ) -> Vec<T> {
        let lines: Vec<_> = self.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let nodes: Vec<usize> = (0..self.machine.local.len()).collect();
        let prepare = |rank: usize, host: &mut Host| {
            host.sink = self.ear.clone();
            change(rank, host);
        };
        self.machine.launch_on(&nodes, &lines.join("\n"), prepare, body)
    }

    fn heard(&self, kind: EventKind) -> Vec<String> {
        self.ear.heard(kind)
    }
}

/// Writes a dataset of some files on each rank.
fn put(session: &mut Session, rank: usize, local: &Mem, name: &str, flags: Flags, files: usize) {
    session.start_output(Some(name), flags).unwrap();
    for number in 0..files {
        let path = session.route_file(Path::new(&format!("{name}/{rank}.{number}"))).unwrap();
        let bytes = vec![rank as u8 + 1; 5000 + number];
        local.open(&path, Access::Create).unwrap().write_at(0, &bytes).unwrap();
    }
    assert_eq!(session.complete_output(true).unwrap(), Outcome::Committed);
}

fn state(session: &Session, name: &str) -> Option<PrefixState> {
    let summaries = session.job.prefix.summaries().unwrap().0;
    summaries.into_iter().find(|s| s.dataset.name.as_str() == name).map(|s| s.state)
}

fn is_flushed(session: &Session, name: &str) -> bool {
    state(session, name) == Some(PrefixState::Flushed)
}

fn is_flushing(session: &Session, name: &str) -> bool {
    matches!(state(session, name), Some(PrefixState::Flushing { .. }))
}

fn cached(session: &Session) -> Vec<String> {
    session.cached().map(ToString::to_string).collect()
}

/// The temporary files in the prefix.
fn temporaries(shared: &Mem) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(".scr-")
    };
    shared.walk().into_keys().filter(is_temporary).collect()
}

fn there(shared: &Mem, path: &str) -> bool {
    exists(shared, Path::new(path)).unwrap()
}

#[test]
fn the_application_goes_on_and_a_later_call_ends_the_flush() {
    let stage = Stage::new(3);
    stage.run(
        |_, _| {},
        |session, rank, local| {
            // The ranks are not equally fast: rank 0 has nothing to copy.
            put(session, rank, local, "a", CHECKPOINT, rank);
            assert!(is_flushing(session, "a"), "it returned before");
            assert!(!there(&stage.machine.shared, "/prefix/a/1.0"));
            session.need_checkpoint().unwrap();
            assert!(is_flushing(session, "a"), "rank 2 has another file to copy");
            for _ in 0..3 {
                session.should_exit().unwrap();
            }
            assert!(is_flushed(session, "a"));
            assert!(session.flushing.is_empty() && session.entries[0].flushed);
        },
    );
    assert!(there(&stage.machine.shared, "/prefix/a/2.1"));
    assert!(temporaries(&stage.machine.shared).is_empty());
    assert_eq!(stage.heard(EventKind::AsyncFlushStart).len(), 1);
    assert!(stage.heard(EventKind::FlushStart).is_empty());
    let events = stage.ear.0.lock().unwrap();
    let told = events.iter().find(|e| e.kind == EventKind::AsyncFlushSuccess).unwrap();
    assert_eq!((told.files, told.bytes), (Some(3), Some(15_001)));
    assert!(told.seconds.is_some() && told.dataset == Some(DatasetId(1)));
    drop(events);
    // It is a checkpoint like any other.
    stage.machine.local.iter().for_each(Mem::wipe);
    stage.machine.launch(&[0, 1, 2], &[], |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
    });
}

#[test]
fn without_a_flush_under_way_nothing_is_sent() {
    let traffic = |settings: &[(&str, &str)]| {
        let mut layers = Layers::new("/prefix", []);
        let lines: Vec<_> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        layers.set_user_file(Path::new("/prefix/.scrconf"), &lines.join("\n"));
        let (config, _) = layers.resolve().unwrap();
        let world = World::new(2, Scheduler::Seeded(1));
        let shared = Mem::new();
        world.run(|comm| {
            let host = Host::in_memory(format!("n{}", comm.rank()), &Mem::new(), &shared);
            let mut session = Session::init(comm, host, config.clone()).unwrap();
            session.need_checkpoint().unwrap();
            session.should_exit().unwrap();
        });
        world.traffic().iter().map(|t| t.messages_sent).sum::<u64>()
    };
    assert_eq!(traffic(&ASYNC), traffic(&[]));
}

#[test]
fn finalize_waits() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "3");
    stage.run(
        |_, _| {},
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 4);
            put(session, rank, local, "b", CHECKPOINT, 4);
            assert!(is_flushing(session, "a") && is_flushing(session, "b"));
            session.finalize().unwrap();
            assert!(is_flushed(session, "a") && is_flushed(session, "b"));
            assert_eq!(session.need_checkpoint().unwrap_err().kind(), ErrorKind::Misuse);
        },
    );
    assert!(stage.heard(EventKind::FlushStart).is_empty(), "nothing was left to flush again");
    assert_eq!(stage.heard(EventKind::AsyncFlushSuccess).len(), 2);
}

#[test]
fn who_is_told_to_stop_may_leave_at_once() {
    let stage = Stage::new(2);
    stage.run(
        |_, _| {},
        |session, rank, local| {
            let stop = Arc::new(AtomicBool::new(false));
            session.stop_when(stop.clone());
            put(session, rank, local, "a", CHECKPOINT, 3);
            assert!(!session.should_exit().unwrap() && is_flushing(session, "a"));
            stop.store(rank == 1, Ordering::Relaxed);
            assert!(session.should_exit().unwrap() && is_flushed(session, "a"));
        },
    );
}

#[test]
fn flushes_end_in_the_order_of_age() {
    // All datasets have the same names.
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "4");
    let shared = &stage.machine.shared;
    stage.run(
        |_, _| {},
        |session, rank, local| {
            let write = |session: &mut Session, name: &str, files: usize| {
                session.start_output(Some(name), CHECKPOINT).unwrap();
                for number in 0..files {
                    let file = format!("latest/{rank}.{number}");
                    let path = session.route_file(Path::new(&file)).unwrap();
                    let file = local.open(&path, Access::Create).unwrap();
                    file.write_at(0, name.repeat(5000).as_bytes()).unwrap();
                }
                session.complete_output(true).unwrap();
            };
            write(session, "a", 4);
            write(session, "b", 1);
            let names = |session: &Session| {
                let names = session.flushing.iter().map(|one| one.dataset().name.to_string());
                names.collect::<Vec<_>>()
            };
            assert_eq!(names(session), ["a", "b"]);
            session.finalize().unwrap();
            assert!(is_flushed(session, "b"));
            assert!(matches!(state(session, "a"), Some(PrefixState::Superseded { .. })));
        },
    );
    assert_eq!(shared.read(Path::new("/prefix/latest/1.0")).unwrap()[..2], *b"bb");
    assert_eq!(shared.read(Path::new("/prefix/latest/1.3")).unwrap()[..2], *b"aa");
    assert!(stage.heard(EventKind::AsyncFlushFail).is_empty());
}

#[test]
fn a_dataset_stays_in_the_cache_until_its_flush_has_ended() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "1");
    stage.run(
        |_, _| {},
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 8);
            put(session, rank, local, "b", CHECKPOINT, 8);
            assert_eq!(cached(session), ["a", "b"], "one more than the cache may keep");
            assert!(is_flushing(session, "a"));
            // With this one there would be two more.
            session.start_output(Some("c"), CHECKPOINT).unwrap();
            assert!(is_flushed(session, "a") && is_flushing(session, "b"));
            assert_eq!(cached(session), ["b"]);
            session.complete_output(true).unwrap();
            session.finalize().unwrap();
            assert_eq!(cached(session), ["c"]);
        },
    );
    let waits: Vec<_> = stage.heard(EventKind::Message);
    assert!(
        waits.contains(
            &"waiting for the flush of dataset 1 (a): the cache keeps 1 dataset(s) (SCR_CACHE_SIZE)"
                .to_string()
        ),
        "{waits:?}"
    );
    for name in ["a", "b"] {
        assert_eq!([0, 1].map(|node| stage.machine.parts(node, name)), [0, 0], "{name}");
    }
}

#[test]
fn what_stayed_for_its_flush_goes_when_that_has_ended() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "1");
    stage.run(
        |_, _| {},
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 4);
            put(session, rank, local, "b", CHECKPOINT, 4);
            assert_eq!(cached(session), ["a", "b"]);
            while is_flushing(session, "a") {
                session.need_checkpoint().unwrap();
            }
            assert_eq!(cached(session), ["b"]);
        },
    );
}

#[test]
fn who_needs_the_room_waits_for_the_flush() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "9");
    stage.run(
        |_, _| {},
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 3);
            // Room for the reserve, and for less than another one.
            let used: usize = local.walk().values().flatten().map(Vec::len).sum();
            local.capacity(
                (used + 10_000 + crate::session::output::RESERVE_BYTES as usize) as u64,
                u64::MAX,
            );
            session.start_output(Some("b"), CHECKPOINT).unwrap();
            assert!(is_flushed(session, "a") && cached(session).is_empty());
        },
    );
    assert_eq!(
        stage.heard(EventKind::Message),
        ["waiting for the flush of dataset 1 (a): no room for another dataset"]
    );
}

/// The prefix of rank 1 fails once at some operation, counted after the flush was opened.
fn broken_prefix(rank: usize, host: &mut Host) -> Option<Faulty> {
    let plan = Plan { at: 1, what: What::From(Cause::NoSpace) };
    let faulty = Faulty::new(host.shared.clone()).under("/prefix/a").plan(plan);
    (rank == 1).then(|| {
        host.shared = Arc::new(faulty.clone());
        faulty
    })
}

#[test]
fn a_flush_that_failed_is_told_and_the_dataset_is_flushed_again() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "1");
    stage.run(
        |rank, host| drop(broken_prefix(rank, host)),
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 3);
            for _ in 0..3 {
                session.need_checkpoint().unwrap();
            }
            assert!(session.flushing.is_empty() && session.entries[0].flush_owed);
            assert!(is_flushing(session, "a"));
            assert_eq!(cached(session), ["a"], "it is nowhere else");
            assert!(temporaries(&stage.machine.shared).is_empty(), "they would only take room");
            // A newer one in its place.
            put(session, rank, local, "b", CHECKPOINT, 1);
            session.finalize().unwrap();
            assert!(is_flushed(session, "b"));
        },
    );
    let told = stage.heard(EventKind::AsyncFlushFail);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("flush of dataset 1 (a) failed, it stays in cache: rank 1 failed:")
    );
    assert!(told[0].contains("No space left"), "{told:?}");
}

#[test]
fn an_output_whose_flush_failed_is_owed_until_the_end() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "1").set("SCR_FLUSH", "0");
    let healed: Mutex<Vec<Faulty>> = Mutex::default();
    let plan = |host: &Host| {
        let plan = Plan { at: 1, what: What::From(Cause::Io) };
        Faulty::new(host.shared.clone()).under("/prefix/a").plan(plan)
    };
    let outcomes = stage.run(
        |rank, host| {
            if rank == 0 {
                let faulty = plan(host);
                host.shared = Arc::new(faulty.clone());
                healed.lock().unwrap().push(faulty);
            }
        },
        |session, rank, local| {
            put(session, rank, local, "a", OUTPUT, 2);
            session.need_checkpoint().unwrap();
            session.need_checkpoint().unwrap();
            assert!(session.entries[0].flush_owed);
            // Each dataset is an occasion to try again.
            put(session, rank, local, "b", OUTPUT, 2);
            put(session, rank, local, "c", CHECKPOINT, 1);
            assert_eq!(cached(session), ["a", "c"], "an output goes when it is in the prefix");
            let ended = session.finalize();
            assert!(is_flushed(session, "b") && !is_flushed(session, "a"));
            ended.unwrap_err().cause_kind()
        },
    );
    assert_eq!(outcomes, [ErrorKind::Io, ErrorKind::Io]);
    assert!(stage.heard(EventKind::AsyncFlushFail).len() >= 2);
    assert_eq!(stage.heard(EventKind::FlushFail).len(), 1);
    // The next launch has a prefix that works.
    stage.machine.launch(&[0, 1], &[], |session, _, _| assert!(is_flushed(session, "a")));
}

#[test]
fn a_corrupt_block_is_healed_on_the_way() {
    let stage = Stage::new(3);
    stage.run(
        |_, _| {},
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 3);
            if rank == 2 {
                let part = session.entries[0].part(&session.job);
                local.flip_bit(&part.data_path().join("a/2.2"), 4000).unwrap();
            }
            session.finalize().unwrap();
            assert!(is_flushed(session, "a"));
        },
    );
    let bytes = stage.machine.shared.read(Path::new("/prefix/a/2.2")).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 3), "healed");
    assert!(stage.heard(EventKind::AsyncFlushFail).is_empty());
    assert_eq!(stage.heard(EventKind::RebuildSuccess).len(), 1);
}

#[test]
fn what_is_deleted_never_arrives_and_what_is_dropped_has_arrived() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "4");
    let shared = &stage.machine.shared;
    stage.run(
        |_, _| {},
        |session, rank, local| {
            for name in ["a", "b", "c"] {
                put(session, rank, local, name, CHECKPOINT, 9);
            }
            assert!(is_flushing(session, "a") && !temporaries(shared).is_empty());
            session.delete("a").unwrap();
            assert_eq!((state(session, "a"), cached(session).len()), (None, 2));
            assert_eq!(session.flushing.len(), 2, "nobody copies it any more");
            session.drop_dataset("b").unwrap();
            assert_eq!(state(session, "b"), None);
            assert!(is_flushing(session, "c"), "nobody waited for this one");
            session.current("c").unwrap();
            assert!(is_flushed(session, "c"));
            session.finalize().unwrap();
            assert_eq!((state(session, "a"), state(session, "b")), (None, None));
        },
    );
    assert!(!there(shared, "/prefix/a/0.0") && there(shared, "/prefix/b/0.0"));
    assert_eq!(
        stage.heard(EventKind::AsyncFlushFail),
        ["flush of dataset 1 (a) given up: the application deletes it"]
    );
    assert!(temporaries(shared).is_empty());
}

#[test]
fn the_application_never_writes_to_the_prefix_beside_an_older_flush() {
    let stage = Stage::new(2)
        .set("SCR_COPY_TYPE", "FILE")
        .set("CKPT", "0 BYPASS=0 TYPE=SINGLE")
        .set("CKPT", "1 INTERVAL=2 BYPASS=1");
    let shared = &stage.machine.shared;
    stage.run(
        |_, _| {},
        |session, rank, local| {
            for name in ["old", "new"] {
                session.start_output(Some(name), CHECKPOINT).unwrap();
                for number in 0..3 {
                    let file = format!("latest/{rank}.{number}");
                    let path = session.route_file(Path::new(&file)).unwrap();
                    let store = if name == "old" { local } else { shared };
                    let file = store.open(&path, Access::Create).unwrap();
                    file.write_at(0, name.as_bytes()).unwrap();
                }
                session.complete_output(true).unwrap();
                assert_eq!(is_flushing(session, "old"), name == "old");
            }
            session.finalize().unwrap();
            assert!(is_flushed(session, "new"));
        },
    );
    for file in ["0.0", "1.2"] {
        assert_eq!(shared.read(&Path::new("/prefix/latest").join(file)).unwrap(), b"new");
    }
}

#[test]
fn a_death_on_the_way_leaves_what_a_killed_flush_leaves() {
    let stage = Stage::new(3).set("SCR_CACHE_SIZE", "2");
    let shared = &stage.machine.shared;
    stage.run(
        |_, _| {},
        |session, rank, local| {
            put(session, rank, local, "a", CHECKPOINT, 4);
            session.need_checkpoint().unwrap();
            session.need_checkpoint().unwrap();
            assert!(is_flushing(session, "a"));
        },
    );
    assert!(!temporaries(shared).is_empty());
    stage.machine.local[1].wipe();
    stage.run(
        |_, _| {},
        |session, _, _| {
            assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
            assert!(!is_flushed(session, "a"));
            session.finalize().unwrap();
            assert!(is_flushed(session, "a"));
        },
    );
    assert!(temporaries(shared).is_empty());
}

#[test]
fn a_dataset_that_is_set_aside_does_not_arrive() {
    let stage = Stage::new(2);
    // Left by a launch that did not get to flush it: an output, and a checkpoint too.
    let both = Flags { checkpoint: true, output: true };
    stage.run(|_, _| {}, |session, rank, local| put(session, rank, local, "a", both, 4));
    let unwilling = |rank: usize, host: &mut Host| {
        let plan = Plan { at: 1, what: What::Once(Cause::Io) };
        let faulty = Faulty::new(host.shared.clone()).under("/prefix/a").plan(plan);
        if rank == 0 {
            host.shared = Arc::new(faulty);
        }
    };
    stage.run(unwilling, |session, rank, local| {
        assert!(session.entries[0].flush_owed, "Init tried");
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "a");
        put(session, rank, local, "result", OUTPUT, 1);
        assert!(
            is_flushing(session, "a") && session.is_under_way(session.entries[0].header.identity)
        );
        session.start_restart().unwrap();
        session.complete_restart(false).unwrap_err();
        session.finalize().unwrap();
        assert!(!is_flushed(session, "a") && is_flushed(session, "result"));
    });
    stage.run(
        |_, _| {},
        |session, _, _| {
            assert_eq!(session.have_restart().unwrap_err().kind(), ErrorKind::Lost);
        },
    );
}

#[test]
fn data_without_redundancy_are_flushed_at_once() {
    let stage = Stage::new(2);
    stage.run(
        |_, _| {},
        |session, rank, local| {
            write(session, rank, local, "a");
            let used: usize = local.walk().values().flatten().map(Vec::len).sum();
            local.capacity((used + FILE_BYTES / 2) as u64, u64::MAX);
            assert_eq!(session.complete_output(true).unwrap(), Outcome::Degraded);
            assert!(is_flushed(session, "a"));
        },
    );
}

#[test]
fn a_flush_within_a_call_comes_after_those_under_way() {
    // Both have the same names.
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "9");
    stage.run(
        |_, _| {},
        |session, rank, local| {
            let write = |session: &mut Session, name: &str| {
                session.start_output(Some(name), CHECKPOINT).unwrap();
                for number in 0..4 {
                    let file = format!("latest/{rank}.{number}");
                    let path = session.route_file(Path::new(&file)).unwrap();
                    let file = local.open(&path, Access::Create).unwrap();
                    file.write_at(0, name.repeat(9000).as_bytes()).unwrap();
                }
            };
            write(session, "a");
            session.complete_output(true).unwrap();
            write(session, "b");
            let used: usize = local.walk().values().flatten().map(Vec::len).sum();
            local.capacity((used + 10_000) as u64, u64::MAX);
            assert!(is_flushing(session, "a"));
            assert_eq!(session.complete_output(true).unwrap(), Outcome::Degraded);
            assert!(is_flushed(session, "b"));
            assert!(matches!(state(session, "a"), Some(PrefixState::Superseded { .. })));
        },
    );
    assert!(stage.heard(EventKind::AsyncFlushFail).is_empty());
}

#[test]
fn an_older_output_that_is_tried_again_comes_before_newer_ones_under_way() {
    let stage = Stage::new(2).set("SCR_CACHE_SIZE", "9");
    let prepare = |rank: usize, host: &mut Host| {
        // In the third of its six files.
        let plan = Plan { at: 30, what: What::Once(Cause::Io) };
        let faulty = Faulty::new(host.shared.clone()).under("/prefix/a").plan(plan);
        if rank == 1 {
            host.shared = Arc::new(faulty);
        }
    };
    stage.run(prepare, |session, rank, local| {
        let names = |session: &Session| {
            let names = session.flushing.iter().map(|one| one.dataset().name.to_string());
            names.collect::<Vec<_>>()
        };
        put(session, rank, local, "a", OUTPUT, 6);
        put(session, rank, local, "b", OUTPUT, 9);
        assert_eq!(names(session), ["a", "b"]);
        while names(session) == ["a", "b"] {
            session.need_checkpoint().unwrap();
        }
        assert_eq!(names(session), ["b"]);
        put(session, rank, local, "c", OUTPUT, 1);
        assert_eq!(names(session), ["a", "b", "c"]);
        session.finalize().unwrap();
        assert!(["a", "b", "c"].into_iter().all(|name| is_flushed(session, name)));
    });
    assert_eq!(stage.heard(EventKind::AsyncFlushFail).len(), 1);
}

#[test]
fn sync_is_what_it_says() {
    for (key, value) in [("SCR_FLUSH_TYPE", "SYNC"), ("STORE", "/dev/shm FLUSH=SYNC")] {
        let stage = Stage::new(2).set(key, value);
        stage.run(
            |_, _| {},
            |session, rank, local| {
                put(session, rank, local, "a", CHECKPOINT, 2);
                assert!(is_flushed(session, "a"), "{key}");
            },
        );
        assert_eq!(stage.heard(EventKind::FlushSuccess).len(), 1);
        assert!(stage.heard(EventKind::AsyncFlushStart).is_empty());
    }
}
