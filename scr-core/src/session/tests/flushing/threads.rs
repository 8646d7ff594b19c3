// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flushes by threads. A limit on what they copy holds them while time stands still.

use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::comm::solo::Solo;
use crate::store::posix::Posix;

/// A clock that stands still, whoever sleeps on it, until it is moved.
#[derive(Debug, Default)]
struct Still(ManualClock);

impl Clock for Still {
    fn unix(&self) -> Duration {
        self.0.unix()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, _duration: Duration) {
        std::thread::yield_now();
    }
}

/// Ranks with threads, which copy one block and then wait for time to pass.
fn held(nodes: usize) -> (Stage, Arc<Still>) {
    let stage = Stage::new(nodes).set("SCR_FLUSH_ASYNC_BW", "1").set("SCR_CACHE_SIZE", "9");
    (stage.set("SCR_HEARTBEAT_SECONDS", "0"), Arc::default())
}

fn with_threads(clock: &Arc<Still>) -> impl Fn(usize, &mut Host) + Sync {
    |_, host| (host.background, host.clock) = (true, clock.clone())
}

#[test]
fn threads_copy_while_the_application_goes_on() {
    let (stage, clock) = held(3);
    stage.run(with_threads(&clock), |session, rank, local| {
        put(session, rank, local, "a", CHECKPOINT, 3);
        put(session, rank, local, "b", CHECKPOINT, 3);
        for _ in 0..100 {
            session.need_checkpoint().unwrap();
        }
        assert!(is_flushing(session, "a") && is_flushing(session, "b"));
        while !is_flushed(session, "b") {
            clock.0.advance(Duration::from_secs(100_000));
            session.need_checkpoint().unwrap();
        }
        session.finalize().unwrap();
    });
    assert_eq!(stage.heard(EventKind::AsyncFlushSuccess).len(), 2);
}

#[test]
fn threads_hurry_for_who_waits_and_end() {
    let (stage, clock) = held(2);
    stage.run(with_threads(&clock), |session, rank, local| {
        put(session, rank, local, "a", CHECKPOINT, 3);
        put(session, rank, local, "b", CHECKPOINT, 3);
        session.delete("b").unwrap();
        session.finalize().unwrap();
        assert!(is_flushed(session, "a") && state(session, "b").is_none());
        assert!(!session.transfers.has_thread());
    });
    assert!(temporaries(&stage.machine.shared).is_empty());
}

#[test]
fn threads_end_with_a_session_that_is_dropped() {
    let (stage, clock) = held(2);
    let held = stage.run(with_threads(&clock), |session, rank, local| {
        put(session, rank, local, "a", CHECKPOINT, 3);
        session.transfers.has_thread()
    });
    // The sessions are gone, so nobody has a store of theirs any more.
    assert_eq!(held, [true, true]);
    assert_eq!(Arc::strong_count(&clock), 1);
}

#[test]
fn a_panic_in_a_thread_is_a_flush_that_failed() {
    let (stage, clock) = held(2);
    let prepare = |rank: usize, host: &mut Host| {
        with_threads(&clock)(rank, host);
        if rank == 1 {
            let plan = Plan { at: 1, what: What::Crash };
            let faulty = Faulty::new(host.shared.clone()).under("/prefix/a").plan(plan);
            host.shared = Arc::new(faulty.on_crash(Arc::new(|| panic!("as the test wants it"))));
        }
    };
    stage.run(prepare, |session, rank, local| {
        put(session, rank, local, "a", CHECKPOINT, 3);
        while !session.entries[0].flush_owed {
            session.need_checkpoint().unwrap();
        }
        assert_eq!(cached(session), ["a"]);
    });
    let told = stage.heard(EventKind::AsyncFlushFail);
    assert!(told[0].contains("the thread that copies panicked"), "{told:?}");
}

#[test]
fn real_threads_copy_real_files() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache").display().to_string();
    let settings = [
        ("SCR_CACHE_BYPASS", "0"),
        ("SCR_CACHE_SIZE", "2"),
        ("SCR_CACHE_BASE", &cache),
        ("SCR_CNTL_BASE", &cache),
        ASYNC[0],
        ASYNC[1],
    ];
    let settings = settings.map(|(key, value)| (key.to_string(), value.to_string()));
    let (config, _) = Layers::new(directory.path(), settings).resolve().unwrap();
    let files = Arc::new(Posix::new());
    let mut host = Host::in_memory("n", &Mem::new(), &Mem::new());
    (host.local, host.shared) = (files.clone(), files.clone());
    host.clock = Arc::new(SystemClock::default());
    (host.background, host.directory) = (true, directory.path().to_path_buf());
    let comm = Box::new(Solo);
    let mut session = Session::init(comm, host, config).unwrap();
    for name in ["a", "b", "c"] {
        session.start_output(Some(name), CHECKPOINT).unwrap();
        let path = session.route_file(Path::new(&format!("{name}/state"))).unwrap();
        let file = files.open(&path, Access::Create).unwrap();
        file.write_at(0, &vec![7; 3 << 20]).unwrap();
        assert_eq!(session.complete_output(true).unwrap(), Outcome::Committed);
    }
    assert!(session.transfers.has_thread());
    session.finalize().unwrap();
    for name in ["a", "b", "c"] {
        assert!(is_flushed(&session, name));
        let path = directory.path().join(name).join("state");
        assert_eq!(files.read(&path).unwrap(), vec![7; 3 << 20]);
    }
}
