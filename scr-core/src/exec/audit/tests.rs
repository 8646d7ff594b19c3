// SPDX-License-Identifier: MIT OR Apache-2.0
//! Damage to a dataset in the caches of four nodes: what is told of it, and what a repair makes of it.

use super::*;
use crate::comm::thread::{Scheduler, World};
use crate::config::CopyType;
use crate::exec::Job;
use crate::exec::cache::{Cache, Part};
use crate::exec::fetch;
use crate::exec::lease::Holder;
use crate::exec::prefix::Prefix;
use crate::exec::protect::{Request, look_up, protect};
use crate::exec::topology::{RedundancySet, Topology};
use crate::format::Place;
use crate::id::{DatasetId, DatasetIdentity, DatasetName, Epoch};
use crate::store::mem::Mem;
use crate::store::{Access, Store};
use std::path::{Path, PathBuf};

const NODES: usize = 4;
const RANKS_PER_NODE: usize = 2;
const RS2: Scheme = Scheme::ReedSolomon { failures: 2 };

/// Four nodes with one committed dataset of eight ranks.
struct Machine {
    nodes: Vec<Mem>,
    shared: Mem,
}

type Files = Vec<BTreeMap<PathBuf, Option<Vec<u8>>>>;

impl Machine {
    fn new(scheme: Scheme, checksums: bool) -> Self {
        let nodes = (0..NODES).map(|_| Mem::new()).collect();
        let machine = Self { nodes, shared: Mem::new() };
        let done = World::new(NODES * RANKS_PER_NODE, Scheduler::Seeded(1)).run(|world| {
            let mut job = machine.job(world, |rank| rank / RANKS_PER_NODE);
            job.config.checksums = checksums;
            write(&job, scheme);
        });
        done.into_iter().for_each(Result::unwrap);
        machine
    }

    fn host(&self, node: usize) -> Host {
        Host::in_memory(format!("n{node}"), &self.nodes[node], &self.shared)
    }

    fn job(&self, world: Box<dyn Comm>, node_of: impl Fn(usize) -> usize) -> Job {
        let host = self.host(node_of(world.rank()));
        let config = config();
        let topology = Topology::new(world, host.job.node.clone()).unwrap();
        let cache = Cache::of(&host, &config, &host.job.node);
        let prefix = Prefix::new(host.shared.clone(), config.prefix.clone(), None);
        Job { epoch: Epoch(1), topology, host, config, cache, prefix }
    }

    fn audit(&self, action: Action) -> Audited {
        self.try_audit(action, None).unwrap().remove(0)
    }

    fn try_audit(&self, action: Action, name: Option<&str>) -> Result<Vec<Audited>> {
        let done = World::new(NODES, Scheduler::Seeded(1)).run(|world| {
            let host = self.host(world.rank());
            audit(world, host, config(), action, name)
        });
        let mut results: Vec<_> = done.into_iter().map(Result::unwrap).collect();
        let first = results.remove(0);
        for other in &results {
            assert_eq!(format!("{:?}", other.as_ref().ok()), format!("{:?}", first.as_ref().ok()));
        }
        first
    }

    /// All that is in the caches, without what is only in the way of being removed.
    fn files(&self) -> Files {
        let kept = |path: &Path| !path.components().any(|part| part.as_os_str() == "bin");
        self.nodes
            .iter()
            .map(|node| node.walk().into_iter().filter(|(path, _)| kept(path)).collect())
            .collect()
    }

    /// The path of what is called `name` on a node.
    fn path(&self, node: usize, name: &str) -> PathBuf {
        let files = self.nodes[node].walk();
        files.into_keys().find(|path| path.ends_with(name)).unwrap()
    }

    fn flip(&self, node: usize, name: &str, offset_bytes: u64) {
        self.nodes[node].flip_bit(&self.path(node, name), offset_bytes).unwrap();
    }
}

fn config() -> Config {
    let mut config = Config::default_for("/prefix".into());
    config.cache_base = "/cache".into();
    for descriptor in &mut config.checkpoints {
        descriptor.copy_type = CopyType::Xor;
    }
    config
}

fn write(job: &Job, scheme: Scheme) {
    let dataset = DatasetHeader {
        epoch: job.epoch,
        id: DatasetId(1),
        identity: DatasetIdentity([1; 16]),
        parent: None,
        name: DatasetName::new("ckpt.1"),
        is_checkpoint: true,
        is_output: false,
        created_unix_micros: 0,
        job_id: job.host.job.job_id.clone(),
        user: job.host.job.user.clone(),
        ranks: (NODES * RANKS_PER_NODE) as u32,
    };
    let set = RedundancySet::form(&job.topology, NODES as u32, None).unwrap();
    let place = Place {
        layout: 0,
        set: set.set,
        sets: set.sets,
        member: set.member,
        members: set.members.len() as u32,
        scheme,
    };
    fetch::begin(job, &dataset, place, 0).unwrap();
    let part = job.cache.part(&dataset, &place);
    let rank = job.topology.world.rank();
    let names = write_files(&part, rank);
    let request = Request {
        dataset: &dataset,
        set: &set,
        place,
        store: part.store.clone(),
        dir: &part.data_path(),
        files: look_up(&*part.store, &part.data_path(), &names),
        expected: None,
        commit: true,
    };
    assert_eq!(protect(job, request).unwrap().degraded, None);
}

/// A file with something in it, of another length on every rank, and an empty one.
fn write_files(part: &Part, rank: usize) -> BTreeSet<RelPath> {
    let bytes: Vec<u8> = (0..50_000 + 1000 * rank).map(|at| (at * 7 + rank) as u8).collect();
    let files = [(format!("rank.{rank}"), bytes), (format!("empty.{rank}"), Vec::new())];
    let write = |(name, bytes): (String, Vec<u8>)| {
        let file = part.store.open(&part.data_path().join(&name), Access::Create).unwrap();
        file.write_at(0, &bytes).unwrap();
        RelPath::new(name).unwrap()
    };
    files.into_iter().map(write).collect()
}

/// Damages a machine, and expects `bad` in the part of node 1; then heals it, and expects all as it was.
fn heals(scheme: Scheme, damage: impl Fn(&Machine), bad: &BadPart) {
    let machine = Machine::new(scheme, true);
    let good = machine.files();
    damage(&machine);
    let damaged = machine.files();

    let audited = machine.audit(Action::Look);
    assert_eq!(audited.condition, Condition::Whole);
    assert_eq!(audited.bad, BTreeMap::from([((1, 0, 1), bad.clone())]));
    assert!(!audited.is_good() && audited.repaired.is_none());
    assert_eq!(machine.files(), damaged, "looking has written");
    assert_eq!(machine.shared.walk().len(), Mem::new().walk().len(), "looking has written");

    let audited = machine.audit(Action::Repair);
    assert_eq!(audited.repaired, Some(Ok(())), "{scheme}");
    assert!(audited.is_good() && !audited.bad.is_empty());
    assert_eq!(machine.files(), good, "not as it was");
    assert!(machine.audit(Action::Look).bad.is_empty());
}

#[test]
fn what_is_whole_is_good_and_left_alone() {
    for scheme in [Scheme::Single, Scheme::Xor, Scheme::Partner, RS2] {
        let machine = Machine::new(scheme, true);
        let before = machine.files();
        for action in [Action::Look, Action::Repair] {
            let audited = machine.audit(action);
            assert!(audited.is_good() && audited.is_verified && audited.bad.is_empty());
            assert_eq!((audited.condition, audited.repaired), (Condition::Whole, None));
        }
        assert_eq!(machine.files(), before);
        assert_eq!(machine.try_audit(Action::Look, Some("ckpt.1")).unwrap().len(), 1);
        assert_eq!(machine.try_audit(Action::Look, Some("ckpt.2")).unwrap().len(), 0);
    }
}

#[test]
fn bad_blocks_of_data_and_parity_are_restored() {
    let data = BadPart { data_blocks: 1, ..BadPart::default() };
    let parity = BadPart { parity_blocks: 1, ..BadPart::default() };
    for scheme in [Scheme::Xor, Scheme::Partner, RS2] {
        heals(scheme, |machine| machine.flip(1, "rank.3", 5000), &data);
        heals(scheme, |machine| machine.flip(1, "parity", 100), &parity);
    }
}

#[test]
fn files_that_are_gone_or_longer_are_restored() {
    let file = |name: &str| vec![RelPath::new(name).unwrap()];
    let remove = |machine: &Machine, name| {
        machine.nodes[1].remove(&machine.path(1, name)).unwrap();
    };
    let empty = BadPart { files: file("empty.2"), ..BadPart::default() };
    heals(Scheme::Xor, |machine| remove(machine, "empty.2"), &empty);
    let longer = BadPart { files: file("rank.2"), ..BadPart::default() };
    let append = |machine: &Machine| {
        machine.nodes[1].append(&machine.path(1, "rank.2"), b"x").unwrap();
    };
    heals(Scheme::Xor, append, &longer);

    let machine = Machine::new(Scheme::Xor, true);
    let good = machine.files();
    remove(&machine, "rank.2");
    let bad = &machine.audit(Action::Look).bad[&(1, 0, 1)];
    assert!(bad.files == file("rank.2") && bad.data_blocks > 1, "{bad:?}");
    assert_eq!(machine.audit(Action::Repair).repaired, Some(Ok(())));
    assert_eq!(machine.files(), good);
}

#[test]
fn copies_of_node_records_are_given_again() {
    let copy = BadPart { copies: 1, ..BadPart::default() };
    let remove = |machine: &Machine| {
        machine.nodes[1].remove(&machine.path(1, "copy.2")).unwrap();
    };
    heals(Scheme::Xor, remove, &copy);
    heals(RS2, |machine| machine.flip(1, "copy.3", 40), &copy);
}

#[test]
fn a_lost_part_is_rebuilt_where_nothing_of_its_set_is() {
    let machine = Machine::new(Scheme::Xor, true);
    let good = machine.files();
    machine.nodes[3].wipe();
    let missing = vec![Missing { set: 0, member: 3, ranks: vec![6, 7] }];
    let audited = machine.audit(Action::Look);
    assert_eq!(audited.condition, Condition::Rebuildable { missing });
    assert!(!audited.is_good());
    assert_eq!(machine.nodes[3].walk().len(), Mem::new().walk().len(), "looking has written");

    assert_eq!(machine.audit(Action::Repair).repaired, Some(Ok(())));
    assert_eq!(machine.audit(Action::Look).condition, Condition::Whole);
    let data = |files: &Files| -> Vec<_> {
        files[3].iter().filter(|(path, _)| !path.ends_with("state")).map(|f| f.1.clone()).collect()
    };
    assert!(data(&machine.files()).iter().flatten().eq(data(&good).iter().flatten()));
}

#[test]
fn blocks_on_two_members_are_restored_from_reed_solomon_and_not_from_xor() {
    for (scheme, is_healed) in [(RS2, true), (Scheme::Xor, false)] {
        let machine = Machine::new(scheme, true);
        let good = machine.files();
        for (node, name) in [(1, "rank.2"), (2, "rank.4")] {
            machine.nodes[node].truncate(&machine.path(node, name), 0).unwrap();
        }
        let damaged = machine.audit(Action::Look);
        assert_eq!(damaged.bad.keys().copied().collect::<Vec<_>>(), [(1, 0, 1), (2, 0, 2)]);
        let audited = machine.audit(Action::Repair);
        assert_eq!(audited.is_good(), is_healed, "{scheme}: {:?}", audited.repaired);
        if is_healed {
            assert_eq!(machine.files(), good);
        } else {
            let why = audited.repaired.unwrap().unwrap_err();
            assert!(
                why.contains("2 blocks of one stripe are lost or bad, XOR restores 1"),
                "{why}"
            );
        }
    }
}

#[test]
fn without_redundancy_nothing_is_healed_and_without_checksums_little_is_known() {
    let machine = Machine::new(Scheme::Single, true);
    machine.flip(0, "rank.0", 9);
    assert!(machine.audit(Action::Repair).repaired.unwrap().is_err());

    let machine = Machine::new(Scheme::Xor, false);
    machine.flip(0, "rank.0", 9);
    let audited = machine.audit(Action::Look);
    assert!(audited.is_good() && !audited.is_verified);
    machine.nodes[0].truncate(&machine.path(0, "rank.0"), 9).unwrap();
    assert!(!machine.audit(Action::Look).is_good());
    let why = machine.audit(Action::Repair).repaired.unwrap().unwrap_err();
    assert!(why.contains("rank.0 of node n0") && why.contains("SCR_CRC_ON_COPY"), "{why}");
}

#[test]
fn too_much_lost_is_told_and_a_live_job_is_left_alone() {
    let machine = Machine::new(Scheme::Xor, true);
    for node in [1, 2] {
        machine.nodes[node].wipe();
    }
    let audited = machine.audit(Action::Repair);
    assert!(matches!(&audited.condition, Condition::Lost { why } if why.contains("lost")));
    assert!(!audited.is_good());

    let machine = Machine::new(Scheme::Xor, true);
    machine.flip(1, "rank.2", 9);
    let mut launch = machine.job(Box::new(crate::comm::solo::Solo), |_| 0);
    launch.config.heartbeat_seconds = 0.0;
    let lease = Holder::take(&launch).unwrap();
    let damaged = machine.files();
    let refused = machine.try_audit(Action::Repair, None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(machine.files(), damaged);
    assert!(!machine.audit(Action::Look).is_good());
    lease.give_back(crate::format::lease::LeaseState::Released).unwrap();
    assert!(machine.audit(Action::Repair).is_good());
}
