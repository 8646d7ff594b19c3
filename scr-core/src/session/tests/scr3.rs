// SPDX-License-Identifier: MIT OR Apache-2.0
//! Launches in a prefix that SCR 3 left.

use super::*;
use crate::format::kvtree::{encode, parse};
use crate::format::scr3::samples;
use crate::store::Metadata;
use std::collections::BTreeMap;

/// What happens to a prefix.
type Damage = Box<dyn Fn(&Mem)>;

/// A machine whose prefix SCR 3 left, written by so many ranks of which so many share a leaf.
fn left(ranks: u32, together: u32) -> Machine {
    let machine = Machine::new(ranks as usize);
    for (path, bytes) in samples::prefix(ranks, together) {
        put(&machine.shared, &path, &bytes);
    }
    machine
}

fn put(shared: &Mem, below: impl AsRef<Path>, bytes: &[u8]) {
    let path = Path::new("/prefix").join(below);
    shared.create_dir_all(path.parent().unwrap()).unwrap();
    shared.open(&path, Access::Create).unwrap().write_at(0, bytes).unwrap();
}

/// What SCR 3 left, with all that is known of it but when it was read.
fn all_of_scr3(machine: &Machine, ranks: u32) -> BTreeMap<PathBuf, (Vec<u8>, Metadata)> {
    let look = |path: PathBuf| {
        let whole = Path::new("/prefix").join(&path);
        let metadata = machine.shared.metadata(&whole).unwrap();
        let bytes = machine.shared.read(&whole).unwrap();
        (path, (bytes, Metadata { accessed_unix_nanos: 0, ..metadata }))
    };
    samples::prefix(ranks, ranks).into_keys().map(look).collect()
}

/// What the launch restarts from, or why there is nothing.
fn restarts_from(machine: &Machine, nodes: &[usize], settings: &[(&str, &str)]) -> String {
    let names = machine.launch(nodes, settings, |session, _, _| match session.have_restart() {
        Ok(name) => name.map_or("nothing".to_string(), |name| name.to_string()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Lost);
            format!("{error:#}")
        }
    });
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    names[0].clone()
}

#[test]
fn what_scr_3_calls_current_is_read_in_place_and_numbers_go_on_after_its_own() {
    let machine = left(2, 2);
    let before = all_of_scr3(&machine, 2);
    machine.launch(&[0, 1], &[("SCR_FLUSH", "1")], |session, rank, local| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "ckpt.6");
        session.start_restart().unwrap();
        let rank = rank as u32;
        let expected = Path::new("/prefix").join(samples::name(6, rank));
        for name in [samples::name(6, rank), format!("elsewhere/rank_{rank}")] {
            let path = session.route_file(Path::new(&name)).unwrap();
            assert_eq!(path, expected);
            assert_eq!(machine.shared.read(&path).unwrap(), samples::content(6, rank));
        }
        // Listed with another rank, it may have been shared.
        let other = samples::name(6, 1 - rank);
        let path = session.route_file(Path::new(&other)).unwrap();
        assert_eq!(path, Path::new("/prefix").join(&other));
        let error = session.route_file(Path::new("ckpt.6/none")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        session.complete_restart(true).unwrap();
        assert_eq!(checkpoint(session, rank as usize, local, "ours"), Outcome::Committed);
        // The highest that SCR 3 gave was 8.
        assert_eq!(session.last_id, DatasetId(9));
        session.finalize().unwrap();
    });
    assert_eq!(all_of_scr3(&machine, 2), before);
    machine.launch(&[0, 1], &[], |session, _, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "ours");
        // Only then those of SCR 3, the one from which ours came first.
        let names: Vec<_> = session.candidates.iter().map(|c| c.header.name.as_str()).collect();
        assert_eq!(names, ["ours", "ours", "ckpt.6", "ckpt.2"]);
    });
}

#[test]
fn what_the_application_cannot_use_is_set_aside_in_our_records_only() {
    let machine = left(2, 1);
    let before = all_of_scr3(&machine, 2);
    machine.launch(&[0, 1], &[], |session, rank, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "ckpt.6");
        session.start_restart().unwrap();
        session.complete_restart(rank == 0).unwrap_err();
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "ckpt.2");
    });
    assert_eq!(restarts_from(&machine, &[0, 1], &[]), "ckpt.2");
    machine.launch(&[0, 1], &[], |session, _, _| {
        session.have_restart().unwrap().unwrap();
        session.start_restart().unwrap();
        session.complete_restart(false).unwrap_err();
        assert_eq!(session.have_restart().unwrap_err().kind(), ErrorKind::Lost);
    });
    let why = restarts_from(&machine, &[0, 1], &[]);
    assert!(why.contains("could not restart from it"), "{why}");
    assert_eq!(all_of_scr3(&machine, 2), before);
}

#[test]
fn what_is_not_as_scr_3_recorded_it_is_passed_over() {
    let written_later = |shared: &Mem| {
        let path = Path::new("/prefix/ckpt.6/rank_1");
        let mut metadata = shared.metadata(path).unwrap();
        metadata.modified_unix_nanos += 3_600_000_000_000;
        shared.set_metadata(path, &metadata).unwrap();
    };
    let remove = |name: &'static str| {
        move |shared: &Mem| shared.remove(&Path::new("/prefix").join(name)).unwrap()
    };
    let replace =
        |name: &'static str, bytes: &'static [u8]| move |shared: &Mem| put(shared, name, bytes);
    let elsewhere = encode(&parse("LEVEL = 1\nRANKS = 2\nRANK\n  0\n    FILE = .0.7"));
    let turns = encode(&parse("LEVEL = 2\nRANKS = 2\nRANK\n  0\n    FILE = .1.0"));
    let around = move |shared: &Mem| {
        put(shared, ".scr/scr.dataset.6/rank2file", &turns);
        put(shared, ".scr/scr.dataset.6/rank2file.1.0", &turns);
    };
    let cases: [(&str, Damage, &str); 11] = [
        ("a lost file", Box::new(remove("ckpt.6/rank_1")), "ckpt.6/rank_1"),
        ("a short file", Box::new(replace("ckpt.6/rank_1", b"short")), "recorded 201"),
        ("a file written since", Box::new(written_later), "was written after"),
        ("no summary", Box::new(remove(".scr/scr.dataset.6/summary.scr")), "summary.scr"),
        ("a torn summary", Box::new(replace(".scr/scr.dataset.6/summary.scr", b"x")), "cut short"),
        ("no rank2file", Box::new(remove(".scr/scr.dataset.6/rank2file")), "rank2file"),
        (
            "a leaf as rank2file",
            {
                let leaf =
                    samples::prefix(2, 1)[Path::new(".scr/scr.dataset.6/rank2file.0.0")].clone();
                Box::new(move |shared| put(shared, ".scr/scr.dataset.6/rank2file", &leaf))
            },
            "a leaf where",
        ),
        ("a lost leaf", Box::new(remove(".scr/scr.dataset.6/rank2file.0.1")), "rank2file.0.1"),
        ("a torn leaf", Box::new(replace(".scr/scr.dataset.6/rank2file.0.1", b"")), "cut short"),
        (
            "another leaf",
            Box::new(move |shared| {
                put(shared, ".scr/scr.dataset.6/rank2file", &elsewhere);
            }),
            "rank2file.0.7",
        ),
        ("a rank2file that leads around", Box::new(around), "of level 2, not 1"),
    ];
    for (what, damage, words) in cases {
        let machine = left(2, 1);
        damage(&machine.shared);
        let reasons = machine.launch(&[0, 1], &[], |session, _, _| {
            assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "ckpt.2", "{what}");
            session.unusable.join("; ")
        });
        assert!(reasons.iter().any(|why| why.contains(words)), "{what}: {reasons:?}");
    }
}

#[test]
fn a_job_does_not_begin_anew_without_knowing_of_what_scr_3_left() {
    let wrong_checksum = |shared: &Mem| {
        shared.remove(Path::new("/prefix/ckpt.6/rank_0")).unwrap();
        let mut content = samples::content(2, 1);
        content[50] ^= 1;
        put(shared, "ckpt.2/rank_1", &content);
    };
    let wrong_size = |shared: &Mem| {
        shared.remove(Path::new("/prefix/ckpt.6/rank_0")).unwrap();
        put(shared, "ckpt.2/rank_1", b"short");
    };
    let old_index = encode(&parse("VERSION = 1"));
    let no_ranks = encode(&parse("LEVEL = 1\nRANKS = 2"));
    let cases: [(Damage, &str); 6] = [
        (Box::new(wrong_checksum), "ckpt.2/rank_1 does not match the checksum"),
        (Box::new(wrong_size), "has 5 bytes, SCR 3 recorded 101"),
        (
            Box::new(|shared| put(shared, ".scr/index.scr", b"garbage of some length")),
            "wrong magic",
        ),
        (Box::new(|shared| put(shared, ".scr/index.scr", b"")), "cut short"),
        (Box::new(move |shared| put(shared, ".scr/index.scr", &old_index)), "version 1"),
        (
            Box::new(move |shared| {
                put(shared, ".scr/scr.dataset.6/rank2file", &no_ranks);
                put(shared, ".scr/scr.dataset.2/rank2file", &no_ranks);
            }),
            "its ranks have 0 files together, SCR 3 recorded 2",
        ),
    ];
    for (damage, words) in cases {
        let machine = left(2, 1);
        damage(&machine.shared);
        let words_of_all = machine.launch(&[0, 1], &[], |session, rank, local| {
            let why = session.have_restart().unwrap_err().to_string();
            assert_eq!(checkpoint(session, rank, local, "a"), Outcome::Committed);
            // Numbers go on after those of directories, too.
            assert!(session.last_id > DatasetId(6));
            why
        });
        assert!(words_of_all.iter().any(|why| why.contains(words)), "{words}: {words_of_all:?}");
    }
    let machine = left(2, 1);
    machine.shared.remove(Path::new("/prefix/.scr/index.scr")).unwrap();
    let why = restarts_from(&machine, &[0, 1], &[]);
    assert!(why.contains("the index of SCR 3") && why.contains("index.scr"), "{why}");
    for id in [2, 4, 5, 6] {
        let directory = format!("/prefix/.scr/scr.dataset.{id}");
        machine.shared.remove_tree(Path::new(&directory)).unwrap();
    }
    assert_eq!(restarts_from(&machine, &[0, 1], &[]), "nothing");
}

#[test]
fn another_number_of_ranks_or_no_fetch_is_refused() {
    let machine = left(3, 2);
    let before = all_of_scr3(&machine, 3);
    let why = restarts_from(&machine, &[0, 1], &[]);
    assert!(why.contains("written by 3 ranks, this run has 2"), "{why}");
    let why = restarts_from(&machine, &[0, 1, 2], &[("SCR_FETCH", "0")]);
    assert!(why.contains("SCR_FETCH=0"), "{why}");
    assert_eq!(restarts_from(&machine, &[0, 1, 2], &[]), "ckpt.6");
    assert_eq!(all_of_scr3(&machine, 3), before);
}

#[test]
fn a_person_may_choose_another() {
    let machine = left(2, 1);
    for name in ["ckpt.2", "ckpt.4"] {
        assert_eq!(restarts_from(&machine, &[0, 1], &[("SCR_CURRENT", name)]), name);
    }
    assert_eq!(restarts_from(&machine, &[0, 1], &[("SCR_CURRENT", "ckpt.8")]), "ckpt.6");
    machine.launch(&[0, 1], &[], |session, _, _| session.current("ckpt.2").unwrap());
    assert_eq!(restarts_from(&machine, &[0, 1], &[]), "ckpt.2");
}

#[test]
fn files_of_ranks_are_found_through_all_levels() {
    let machine = left(7, 2);
    let root = "LEVEL = 2\nRANKS = 7\nRANK\n  0\n    FILE = .1.0\n  4\n    FILE = .1.4";
    put(&machine.shared, ".scr/scr.dataset.6/rank2file", &encode(&parse(root)));
    for (name, leaves) in [("rank2file.1.0", [0, 2]), ("rank2file.1.4", [4, 6])] {
        let [first, second] = leaves.map(|n| format!("  {n}\n    FILE = .0.{n}\n"));
        let branch = format!("LEVEL = 1\nRANKS = 4\nRANK\n{first}{second}");
        let path = Path::new(".scr/scr.dataset.6").join(name);
        put(&machine.shared, path, &encode(&parse(&branch)));
    }
    machine.launch(&[0, 1, 2, 3, 4, 5, 6], &[], |session, rank, _| {
        assert_eq!(session.have_restart().unwrap().unwrap().as_str(), "ckpt.6");
        session.start_restart().unwrap();
        let name = samples::name(6, rank as u32);
        assert!(session.route_file(Path::new(&name)).is_ok());
    });
}

#[test]
fn a_purge_of_the_prefix_takes_what_the_index_of_scr_3_lists() {
    // By another number of ranks than wrote it.
    for (ranks, together) in [(2, 1), (3, 2)] {
        let machine = left(ranks, together);
        put(&machine.shared, "input", b"of the user");
        // One that SCR 3 was told to forget; its files stay, as with SCR.
        put(&machine.shared, ".scr/scr.dataset.3/summary.scr", b"dropped");
        assert_eq!(restarts_from(&machine, &[0, 1], &[("SCR_PREFIX_PURGE", "1")]), "nothing");
        let files = machine.shared.walk();
        let is_left = |path: &PathBuf| path.to_string_lossy().contains("ckpt.");
        assert!(!files.keys().any(is_left), "{:?}", files.keys());
        for id in [2, 4, 5, 6, 8] {
            let directory = PathBuf::from(format!("/prefix/.scr/scr.dataset.{id}"));
            assert!(!files.contains_key(&directory), "{id}");
        }
        assert!(files.contains_key(Path::new("/prefix/input")));
        assert!(files.contains_key(Path::new("/prefix/.scr/scr.dataset.3/summary.scr")));
        // What SCR 3 would find.
        let index = machine.shared.read(Path::new("/prefix/.scr/index.scr")).unwrap();
        assert_eq!(crate::format::kvtree::decode(&index).unwrap(), parse("VERSION = 2"));
        // And what we do, without the parameter.
        assert_eq!(restarts_from(&machine, &[0, 1], &[]), "nothing");
    }
}

#[test]
fn a_purge_that_cannot_be_ended_says_so_and_can_be_repeated() {
    let machine = left(2, 1);
    let leaf = ".scr/scr.dataset.5/rank2file.0.1";
    let good = samples::prefix(2, 1)[Path::new(leaf)].clone();
    put(&machine.shared, leaf, b"torn");
    let mut layers = Layers::new("/prefix", []);
    layers.set_user_file(Path::new("/prefix/.scrconf"), "SCR_PREFIX_PURGE=1");
    let (config, _) = layers.resolve().unwrap();
    let errors = World::new(2, Scheduler::Seeded(1)).run(|world| {
        let node = world.rank();
        let host = Host::in_memory(format!("n{node}"), &machine.local[node], &machine.shared);
        Session::init(world, host, config.clone()).map(|_| ()).unwrap_err()
    });
    let first = errors.into_iter().next().unwrap().unwrap();
    let text = format!("{first:#}");
    assert!(text.contains("delete dataset 5") && text.contains("rank2file.0.1"), "{text}");
    let index = machine.shared.read(Path::new("/prefix/.scr/index.scr")).unwrap();
    let index = crate::format::scr3::index(&index).unwrap();
    let ids: Vec<u64> = index.datasets.iter().map(|dataset| dataset.id.0).collect();
    assert_eq!((ids, index.current.as_deref()), (vec![5, 6, 8], Some("ckpt.6")));

    put(&machine.shared, leaf, &good);
    assert_eq!(restarts_from(&machine, &[0, 1], &[("SCR_PREFIX_PURGE", "1")]), "nothing");
    assert!(!machine.shared.walk().contains_key(Path::new("/prefix/ckpt.6")));
}
