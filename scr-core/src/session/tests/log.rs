// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SCR's log says of whole launches.

use super::*;
use crate::clock::ManualClock;
use crate::event::scr_log::Author;
use crate::event::text::TextLog;
use std::time::Duration;

/// Three nodes, each with its rank, and a log that rank 0 keeps. Time moves when `body` lets it.
fn launch(
    machine: &Machine,
    nodes: [usize; 3],
    file: &str,
    body: impl Fn(&mut Session, usize, &ManualClock) + Sync,
) {
    let mut layers = Layers::new("/prefix", []);
    let file = format!("SCR_CACHE_BYPASS=0\nSCR_COPY_TYPE=XOR\n{file}");
    layers.set_user_file(Path::new("/prefix/.scrconf"), &file);
    let (config, _) = layers.resolve().unwrap();
    let ranks = World::new(3, Scheduler::Seeded(1)).run(|world| {
        let rank = world.rank();
        let clock = Arc::new(ManualClock::new(Duration::from_secs(1_704_164_645)));
        let mut host = Host::in_memory(
            format!("n{}", nodes[rank]),
            &machine.local[nodes[rank]],
            &machine.shared,
        );
        host.clock = clock.clone();
        if rank == 0 {
            let [name, job_id, user] = ["n0", "7", "ann"].map(str::to_string);
            let (prefix, cache) = ("/prefix".to_string(), "/dev/shm".to_string());
            let author = Author { host: name, job_id, user, prefix, cache };
            let path = PathBuf::from("/prefix/.scr/log");
            let store = Arc::new(machine.shared.clone());
            host.sink = Arc::new(TextLog::new(store, path, author, |_| 0));
        }
        let mut session = Session::init(world, host, config.clone()).unwrap();
        body(&mut session, rank, &clock);
    });
    for rank in ranks {
        rank.unwrap();
    }
}

/// The lines since the last look, without host and job, and with directories of datasets shortened.
fn said(machine: &Machine) -> Vec<String> {
    let path = Path::new("/prefix/.scr/log");
    let text = String::from_utf8(machine.shared.read(path).unwrap()).unwrap();
    machine.shared.remove(path).unwrap();
    let shorten = |line: &str| {
        let line = line.strip_prefix("2024-01-02T03:").unwrap_or(line);
        let line = line.replace(": host=n0, jobid=7,", "");
        match line.split_once("/dataset.") {
            Some((before, after)) => {
                let (_, after) = after.split_once(", ").unwrap();
                let (start, _) = before.rsplit_once("to=").unwrap();
                format!("{start}to=DIR, {after}")
            }
            None => line,
        }
    };
    text.lines().map(shorten).collect()
}

fn write_in(
    session: &mut Session,
    machine: &Machine,
    rank: usize,
    clock: &ManualClock,
    name: &str,
) {
    let path = session.route_file(Path::new(&format!("{name}/{rank}"))).unwrap();
    let store = if path.starts_with("/prefix") { &machine.shared } else { &machine.local[rank] };
    store.open(&path, Access::Create).unwrap().write_at(0, &[1; 1000]).unwrap();
    clock.advance(Duration::from_secs(2));
}

#[test]
fn the_log_tells_the_life_of_a_launch() {
    let machine = Machine::new(4);
    launch(&machine, [0, 1, 2], "SCR_FLUSH=2", |session, rank, clock| {
        for name in ["a", "b"] {
            clock.advance(Duration::from_secs(10));
            session.start_output(Some(name), CHECKPOINT).unwrap();
            write_in(session, &machine, rank, clock, name);
            session.complete_output(true).unwrap();
        }
        session.start_output(Some("bad"), CHECKPOINT).unwrap();
        session.complete_output(rank != 0).unwrap_err();
        assert!(!session.should_exit().unwrap());
        session.finalize().unwrap();
    });
    insta::assert_snapshot!(said(&machine).join("\n"), @r#"
    04:05 event=START, procs=3, nodes=3
    04:05 event=COMPUTE_START
    04:15 event=COMPUTE_END, secs=10.000000
    04:15 event=CHECKPOINT_START, note="/dev/shm", dset=1, name="a"
    04:15 xfer=WRITE, from=/dev/shm, to=DIR, dset=1, name="a", secs=2.000000, bytes=3000.000000, files=3
    04:17 xfer=ENCODE, from=/dev/shm, to=DIR, dset=1, name="a", secs=0.000000, bytes=3000.000000, files=3
    04:17 event=CHECKPOINT_END, note="/dev/shm", dset=1, name="a", secs=2.000000
    04:15 xfer=CHECKPOINT, from=/dev/shm, to=DIR, dset=1, name="a", secs=2.000000, bytes=3000.000000, files=3
    04:17 event=COMPUTE_START
    04:27 event=COMPUTE_END, secs=10.000000
    04:27 event=CHECKPOINT_START, note="/dev/shm", dset=2, name="b"
    04:27 xfer=WRITE, from=/dev/shm, to=DIR, dset=2, name="b", secs=2.000000, bytes=3000.000000, files=3
    04:29 xfer=ENCODE, from=/dev/shm, to=DIR, dset=2, name="b", secs=0.000000, bytes=3000.000000, files=3
    04:29 event=CHECKPOINT_END, note="/dev/shm", dset=2, name="b", secs=2.000000
    04:27 xfer=CHECKPOINT, from=/dev/shm, to=DIR, dset=2, name="b", secs=2.000000, bytes=3000.000000, files=3
    04:29 event=FLUSH_START, dset=2, name="b"
    04:29 event=FLUSH_SUCCESS, dset=2, name="b", secs=0.000000
    04:29 xfer=FLUSH_SYNC, from=/dev/shm, to=/prefix, dset=2, name="b", secs=0.000000, bytes=3000.000000, files=3
    04:29 event=COMPUTE_START
    04:29 event=COMPUTE_END, secs=0.000000
    04:29 event=CHECKPOINT_START, note="/dev/shm", dset=3, name="bad"
    04:29 event=CHECKPOINT_END, note="dataset 3 (bad) is not complete: the application says that it is not valid", dset=3, name="bad"
    04:29 event=COMPUTE_START
    04:29 event=COMPUTE_END, secs=0.000000
    04:29 event=HALT, note="SCR_FINALIZE_CALLED"
    "#);

    // A node is lost; the next launch is asked to stop, and does not come to its end.
    machine.local[1].wipe();
    launch(&machine, [0, 3, 2], "", |session, rank, clock| {
        session.have_restart().unwrap().unwrap();
        session.start_restart().unwrap();
        session.complete_restart(true).unwrap();
        if rank == 0 {
            let request = crate::format::halt::HaltRequest {
                reason: Some("maintenance".into()),
                ..Default::default()
            };
            session.job.prefix.publish_halt(&request).unwrap();
        }
        clock.advance(Duration::from_secs(1));
        for _ in 0..3 {
            assert!(session.should_exit().unwrap());
            assert!(session.need_checkpoint().unwrap());
        }
    });
    insta::assert_snapshot!(said(&machine).join("\n"), @r#"
    04:05 event=START, procs=3, nodes=3
    04:05 event=REBUILD_START, dset=2, name="b"
    04:05 event=REBUILD_SUCCESS, dset=2, name="b", secs=0.000000
    04:05 event=COMPUTE_START
    04:05 event=RESTART_SUCCESS, dset=2, name="b", secs=0.000000
    04:06 event=HALT, note="maintenance"
    "#);
}

#[test]
fn the_log_tells_what_goes_to_the_prefix_and_comes_from_it() {
    let machine = Machine::new(3);
    let output = Flags { checkpoint: false, output: true };
    launch(&machine, [0, 1, 2], "SCR_CACHE_BYPASS=1", |session, rank, clock| {
        for (name, flags) in [("a", CHECKPOINT), ("result", output)] {
            session.start_output(Some(name), flags).unwrap();
            write_in(session, &machine, rank, clock, name);
            session.complete_output(true).unwrap();
        }
        session.finalize().unwrap();
    });
    insta::assert_snapshot!(said(&machine).join("\n"), @r#"
    04:05 event=START, procs=3, nodes=3
    04:05 event=COMPUTE_START
    04:05 event=COMPUTE_END, secs=0.000000
    04:05 event=CHECKPOINT_START, note="/prefix", dset=1, name="a"
    04:05 xfer=WRITE, from=/prefix, to=/prefix, dset=1, name="a", secs=2.000000, bytes=3000.000000, files=3
    04:07 event=FLUSH_START, dset=1, name="a"
    04:07 event=FLUSH_SUCCESS, dset=1, name="a", secs=0.000000
    04:07 xfer=FLUSH_SYNC, from=/dev/shm, to=/prefix, dset=1, name="a", secs=0.000000, bytes=3000.000000, files=3
    04:07 event=CHECKPOINT_END, note="/prefix", dset=1, name="a", secs=2.000000
    04:05 xfer=CHECKPOINT, from=/prefix, to=/prefix, dset=1, name="a", secs=2.000000, bytes=3000.000000, files=3
    04:07 event=COMPUTE_START
    04:07 event=OUTPUT_START, note="/prefix", dset=2, name="result"
    04:07 xfer=WRITE, from=/prefix, to=/prefix, dset=2, name="result", secs=2.000000, bytes=3000.000000, files=3
    04:09 event=FLUSH_START, dset=2, name="result"
    04:09 event=FLUSH_SUCCESS, dset=2, name="result", secs=0.000000
    04:09 xfer=FLUSH_SYNC, from=/dev/shm, to=/prefix, dset=2, name="result", secs=0.000000, bytes=3000.000000, files=3
    04:09 event=OUTPUT_END, note="/prefix", dset=2, name="result", secs=2.000000
    04:07 xfer=OUTPUT, from=/prefix, to=/prefix, dset=2, name="result", secs=2.000000, bytes=3000.000000, files=3
    04:09 event=COMPUTE_END, secs=2.000000
    04:09 event=HALT, note="SCR_FINALIZE_CALLED"
    "#);
    launch(&machine, [0, 1, 2], "", |session, _, _| {
        session.have_restart().unwrap().unwrap();
    });
    insta::assert_snapshot!(said(&machine).join("\n"), @r#"
    04:05 event=START, procs=3, nodes=3
    04:05 event=COMPUTE_START
    04:05 event=FETCH_START, dset=1, name="a"
    04:05 event=FETCH_SUCCESS, dset=1, name="a", secs=0.000000
    04:05 xfer=FETCH, from=/prefix, to=DIR, dset=1, name="a", secs=0.000000, bytes=3000.000000, files=3
    04:05 event=RESTART_SUCCESS, dset=1, name="a", secs=0.000000
    "#);
    // What is in the prefix turns out to be bad.
    machine.local.iter().for_each(Mem::wipe);
    machine
        .shared
        .open(Path::new("/prefix/a/1"), Access::Write)
        .unwrap()
        .write_at(0, b"x")
        .unwrap();
    launch(&machine, [0, 1, 2], "SCR_FETCH_BYPASS=1", |session, _, _| {
        session.have_restart().unwrap_err();
    });
    insta::assert_snapshot!(said(&machine).join("\n"), @r#"
    04:05 event=START, procs=3, nodes=3
    04:05 event=COMPUTE_START
    04:05 event=FETCH_START, dset=1, name="a"
    04:05 event=FETCH_FAIL, note="cannot fetch dataset 1 (a): rank 1 failed: data do not match their checksums", dset=1, name="a"
    04:05 event=RESTART_FAIL, note="dataset 1 (a) in the prefix: rank 1 failed: data do not match their checksums", dset=1, name="a"
    "#);
}

#[test]
fn a_log_that_cannot_be_written_fails_no_call() {
    let machine = Machine::new(3);
    machine.shared.create_dir_all(Path::new("/prefix/.scr/log")).unwrap();
    launch(&machine, [0, 1, 2], "", |session, rank, clock| {
        session.start_output(Some("a"), CHECKPOINT).unwrap();
        write_in(session, &machine, rank, clock, "a");
        assert_eq!(session.complete_output(true).unwrap(), Outcome::Committed);
        session.finalize().unwrap();
    });
    assert_eq!(machine.shared.list(Path::new("/prefix/.scr/log")).unwrap(), [""; 0]);
}
