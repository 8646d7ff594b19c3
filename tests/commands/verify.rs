// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr verify` on what a real job left: three virtual nodes, two checkpoints in the caches and in the prefix.

use scr_tests::program::{Program, launcher, scr, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NODES: usize = 3;

/// Each rank is on a node of its own, with a cache of its own.
const ON_NODES: &str = "
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:?}}
export SCR_NODE=node$rank SCR_CACHE_BASE=$PWD/cache/node$rank SCR_CNTL_BASE=$PWD/cache/node$rank
exec ./program -n 64x48 -s 20 -c 10";

/// A prefix and caches, after the job has ended.
pub(crate) struct Place {
    pub(crate) heat: Program,
}

impl Place {
    pub(crate) fn new() -> Self {
        let heat = Program::compile("examples/c/heat2d.c");
        let mut job = Command::new(launcher());
        job.args(["-n", &NODES.to_string(), "sh", "-c", ON_NODES])
            .current_dir(heat.place())
            .env("LD_LIBRARY_PATH", heat.place())
            .envs([("OMPI_MCA_rmaps_base_oversubscribe", "1"), ("OMPI_ALLOW_RUN_AS_ROOT", "1")])
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .envs([("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "2"), ("SCR_FLUSH", "1")])
            .envs([("SCR_COPY_TYPE", "XOR"), ("SCR_SET_SIZE", "3")])
            .env("SCR_LOG_ENABLE", "1");
        succeed(&mut job);
        Self { heat }
    }

    /// Runs `scr verify` on the prefix and all caches.
    fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(scr());
        command.arg("verify").args(arguments).arg("--prefix").arg(self.heat.place());
        for node in 0..NODES {
            command.arg("--cache").arg(self.cache(node));
        }
        command.output().expect("scr verify")
    }

    pub(crate) fn cache(&self, node: usize) -> PathBuf {
        self.heat.place().join(format!("cache/node{node}"))
    }

    /// Runs `scr verify`, expects an exit status, and returns what was printed.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.verify(arguments);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}{log}");
        printed
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written back");
}

/// The file below `dir` whose path ends with `end`.
fn find(dir: &Path, end: &str) -> Option<PathBuf> {
    fs::read_dir(dir).expect("a directory").flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, end) } else { path.ends_with(end).then_some(path) }
    })
}

#[test]
fn bad_files_are_named_and_caches_are_healed() {
    let place = Place::new();
    assert!(place.expect(0, &[]).ends_with("All is good.\n"));
    assert!(place.expect(0, &["--json"]).contains("\"good\": true"));
    place.expect(65, &["nothing"]);
    place.expect(2, &["--nonsense"]);

    let flushed = place.heat.place().join("ckpt/heat.10/rank.1");
    flip(&flushed);
    let printed = place.expect(1, &[]);
    assert!(printed.contains("rank 1: ckpt/heat.10/rank.1 does not match"), "{printed}");
    assert!(printed.contains("scr index --drop heat.10"), "{printed}");
    place.expect(1, &["heat.10"]);
    place.expect(0, &["heat.20"]);
    flip(&flushed);

    for name in ["data/ckpt/heat.20/rank.1", "parity"] {
        flip(&find(&place.cache(1), name).expect("a part in cache"));
        let printed = place.expect(1, &[]);
        assert!(printed.contains("cache/node1 (member 1 of set 0): 1 bad block of"), "{printed}");
        assert!(place.expect(1, &["--json"]).contains("\"good\": false"));
        assert!(place.expect(0, &["--repair"]).contains("made good from XOR"));
        place.expect(0, &[]);
    }

    for entry in fs::read_dir(place.cache(2)).expect("a cache").flatten() {
        fs::remove_dir_all(entry.path()).expect("a node is lost");
    }
    let printed = place.expect(1, &[]);
    assert!(printed.contains("can be rebuilt: member 2 of set 0 (rank 2) lost"), "{printed}");
    place.expect(0, &["--repair"]);
    assert!(find(&place.cache(2), "data/ckpt/heat.20/rank.2").is_some());
    assert!(place.expect(0, &[]).ends_with("All is good.\n"));
}
