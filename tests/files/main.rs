// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files as only a real file system has them: longer than 2 GiB, with holes, ten thousand to a rank.
//!
//! Ranks are threads, and each is a node: a directory in memory, that a test removes to lose it. The simulator
//! (`tests/sim`) tries the rest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::disallowed_methods, reason = "tests look at files past the library")]

use scr_core::clock::SystemClock;
use scr_core::comm::thread::{Scheduler, World};
use scr_core::config::Layers;
use scr_core::event::Silent;
use scr_core::host::{Host, JobInfo};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::session::{Flags, Outcome, Session};
use scr_core::store::posix::Posix;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const CHECKPOINT: Flags = Flags { checkpoint: true, output: false };

fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

/// Nodes and a prefix.
struct Machine {
    memory: TempDir,
    prefix: TempDir,
    nodes: usize,
}

impl Machine {
    fn new(nodes: usize, prefix: TempDir) -> Self {
        Self { memory: in_memory(), prefix, nodes }
    }

    fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    fn node(&self, node: usize) -> PathBuf {
        self.memory.path().join(format!("n{node}"))
    }

    fn lose(&self, node: usize) {
        fs::remove_dir_all(self.node(node)).unwrap();
    }

    /// Runs `body` on one rank for each node.
    fn launch(&self, settings: &str, body: impl Fn(&mut Session, usize) + Sync) {
        let world = World::new(self.nodes, Scheduler::Free);
        let ended = world.run(|comm| {
            let rank = comm.rank();
            let node = self.node(rank);
            let mut layers = Layers::new(self.prefix(), []);
            let lines = format!(
                "SCR_CACHE_BYPASS=0\nSCR_PREFIX={}\nSCR_CACHE_BASE={1}\nSCR_CNTL_BASE={1}\n{settings}",
                self.prefix().display(),
                node.display()
            );
            layers.set_user_file(Path::new("/test"), &lines);
            let (config, _) = layers.resolve().unwrap();
            let posix = Arc::new(Posix::new());
            let host = Host {
                local: posix.clone(),
                shared: posix,
                clock: Arc::new(SystemClock::default()),
                sink: Arc::new(Silent),
                job: JobInfo {
                    job_id: JobId::new("7"),
                    user: UserName::new("user"),
                    node: NodeName::new(format!("n{rank}")),
                    end_unix_seconds: None,
                },
                random: scr_core::host::random,
                directory: self.prefix().into(),
                background: false,
            };
            let mut session = Session::init(comm, host, config).unwrap();
            body(&mut session, rank);
            session.finalize().unwrap();
        });
        for rank in ended {
            rank.unwrap();
        }
    }

    /// Writes the dataset `name`, one call of `write` for each rank.
    fn write(
        &self,
        settings: &str,
        name: &str,
        write: impl Fn(usize, &mut dyn FnMut(&str) -> PathBuf) + Sync,
    ) {
        self.launch(settings, |session, rank| {
            let mut output = session.output(name, CHECKPOINT).unwrap();
            write(rank, &mut |file| output.route(file).unwrap());
            assert_eq!(output.complete(true).unwrap(), Outcome::Committed);
        });
    }

    /// Restarts from the dataset `name`, one call of `read` for each rank.
    fn read(
        &self,
        settings: &str,
        name: &str,
        read: impl Fn(usize, &mut dyn FnMut(&str) -> PathBuf) + Sync,
    ) {
        self.launch(settings, |session, rank| {
            let mut restart = session.restart().unwrap().expect("a checkpoint");
            assert_eq!(restart.name(), name);
            read(rank, &mut |file| restart.route(file).unwrap());
            restart.complete(true).unwrap();
        });
    }
}

/// Longer than what a signed number of 32 bits can say.
const LONG_BYTES: u64 = (1 << 31) + 70_001;
/// Where a long file has data, and of which value; all else is a hole.
const ISLANDS: [(u64, usize, u8); 3] =
    [(0, 100_000, 1), ((1 << 31) - 33_333, 66_666, 2), (LONG_BYTES - 1_000, 1_000, 3)];
/// Room for the islands, and for what a file system allots around them.
const ISLANDS_ROOM_BYTES: u64 = 8 << 20;

fn write_long(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(LONG_BYTES).unwrap();
    for (at, length, value) in ISLANDS {
        file.write_all_at(&vec![value; length], at).unwrap();
    }
}

/// That the file is what [`write_long`] wrote, byte by byte, and needs no more room.
fn check_long(path: &Path) {
    let mut file = File::open(path).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), LONG_BYTES);
    let room_bytes = metadata.blocks() * 512;
    assert!(room_bytes < ISLANDS_ROOM_BYTES, "{} takes {room_bytes} bytes", path.display());
    let mut expected = vec![0; 1 << 20];
    let mut found = vec![0; 1 << 20];
    let mut at = 0;
    while at < LONG_BYTES {
        let length = (LONG_BYTES - at).min(1 << 20) as usize;
        file.read_exact(&mut found[..length]).unwrap();
        expected.fill(0);
        for (start, size, value) in ISLANDS {
            let from = start.max(at);
            let to = (start + size as u64).min(at + length as u64);
            if from < to {
                expected[(from - at) as usize..(to - at) as usize].fill(value);
            }
        }
        assert!(found[..length] == expected[..length], "wrong bytes after {at}");
        at += length as u64;
    }
}

#[test]
fn a_file_longer_than_2_gib_comes_back_with_its_holes() {
    let machine = Machine::new(3, TempDir::new().unwrap());
    let settings = "SCR_FLUSH=1";
    machine.write(settings, "long", |rank, route| match rank {
        1 => write_long(&route("long/1")),
        _ => fs::write(route(&format!("long/{rank}")), [rank as u8; 5_000]).unwrap(),
    });
    check_long(&machine.prefix().join("long/1"));

    let check = |rank: usize, route: &mut dyn FnMut(&str) -> PathBuf| match rank {
        1 => check_long(&route("long/1")),
        _ => assert_eq!(fs::read(route(&format!("long/{rank}"))).unwrap(), [rank as u8; 5_000]),
    };
    // From parity; then from the prefix.
    machine.lose(1);
    machine.read("SCR_FETCH=0", "long", check);
    (0..3).for_each(|node| machine.lose(node));
    machine.read(settings, "long", check);
}

#[test]
fn ten_thousand_files_of_each_rank_come_back() {
    const FILES: usize = 10_000;
    // Twenty thousand fsyncs on a disk take a minute and show nothing more.
    let machine = Machine::new(2, in_memory());
    let name = |rank: usize, i: usize| format!("many/{rank}/{}/{i}", i % 100);
    let content = |rank: usize, i: usize| format!("{rank} {i}").repeat(i % 5);
    machine.write("SCR_FLUSH=1", "many", |rank, route| {
        for i in 0..FILES {
            fs::write(route(&name(rank, i)), content(rank, i)).unwrap();
        }
    });
    let check = |rank: usize, route: &mut dyn FnMut(&str) -> PathBuf| {
        for i in 0..FILES {
            assert_eq!(fs::read_to_string(route(&name(rank, i))).unwrap(), content(rank, i));
        }
    };
    machine.lose(0);
    machine.read("SCR_FETCH=0", "many", check);
    (0..2).for_each(|node| machine.lose(node));
    machine.read("SCR_FLUSH=1", "many", check);
}
