// SPDX-License-Identifier: MIT OR Apache-2.0
//! What only this store does: losses of power, full disks, copies of its state.

use super::*;
use crate::ErrorKind;
use std::collections::BTreeSet;

fn put(mem: &Mem, path: &str, data: &[u8]) {
    mem.open(Path::new(path), Access::Create).unwrap().write_at(0, data).unwrap();
}

fn file_names(mem: &Mem) -> Vec<String> {
    let files = mem.walk().into_iter().filter(|(_, data)| data.is_some());
    files.map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn a_full_tree_says_so_and_keeps_what_fits() {
    let mem = Mem::new();
    mem.capacity(10, 3);
    let file = mem.open(Path::new("/a"), Access::Create).unwrap();
    file.write_at(0, b"1234").unwrap();
    assert_eq!(mem.space(Path::new("/")).unwrap().free_bytes, 6);
    assert_eq!(file.write_at(4, b"567890ABC").unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(mem.read(Path::new("/a")).unwrap(), b"1234567890");
    file.write_at(0, b"over").unwrap();
    assert_eq!(file.set_size(11).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(mem.append(Path::new("/a"), b"x").unwrap_err().kind(), ErrorKind::NoSpace);
    mem.create_dir_all(Path::new("/dir")).unwrap();
    let third = mem.create_dir_all(Path::new("/dir/dir"));
    assert_eq!(third.unwrap_err().kind(), ErrorKind::NoSpace);
    mem.remove(Path::new("/a")).unwrap();
    assert_eq!(mem.space(Path::new("/")).unwrap().free_bytes, 0, "the file is still open");
    drop(file);
    assert_eq!(mem.space(Path::new("/")).unwrap().free_bytes, 10);
}

#[test]
fn rot_changes_bytes_and_nothing_else_and_stays() {
    let mem = Mem::new();
    put(&mem, "/a", b"abcd");
    let before = mem.metadata(Path::new("/a")).unwrap();
    mem.flip_bit(Path::new("/a"), 1).unwrap();
    assert_eq!(mem.read(Path::new("/a")).unwrap(), b"accd");
    assert_eq!(mem.metadata(Path::new("/a")).unwrap(), before);
    mem.truncate(Path::new("/a"), 3).unwrap();
    mem.sync_dir(Path::new("/")).unwrap();
    mem.power_loss(0);
    assert_eq!(mem.read(Path::new("/a")).unwrap(), b"acc");
    assert_eq!(mem.flip_bit(Path::new("/a"), 3).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(mem.flip_bit(Path::new("/b"), 0).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_node_vanishes_and_comes_back_old() {
    let mem = Mem::new();
    put(&mem, "/a", b"old");
    let state = mem.clone_state();
    let shared = mem.clone();
    put(&shared, "/a", b"new");
    put(&shared, "/b", b"new");
    assert_eq!(file_names(&mem), ["/a", "/b"]);
    let stale = mem.open(Path::new("/a"), Access::Write).unwrap();
    mem.wipe();
    assert!(mem.walk().is_empty());
    mem.restore(&state);
    assert_eq!(shared.read(Path::new("/a")).unwrap(), b"old");
    assert_eq!(file_names(&shared), ["/a"]);
    assert_eq!(stale.write_at(0, b"x").unwrap_err().kind(), ErrorKind::Io);
    drop(stale);
    assert_eq!(mem.read(Path::new("/a")).unwrap(), b"old");
}

#[test]
fn equal_seeds_lose_the_same() {
    let mem = Mem::new();
    for i in 0..20 {
        put(&mem, &format!("/{i}"), &[i; 300]);
    }
    let state = mem.clone_state();
    let outcome = |seed| {
        mem.restore(&state);
        mem.power_loss(seed);
        mem.walk()
    };
    assert!((0..50).all(|seed| outcome(seed) == outcome(seed)));
    assert!((0..50).map(outcome).collect::<BTreeSet<_>>().len() > 10);
}

#[test]
fn names_survive_by_their_own_directory_and_earlier_changes_of_the_same_names() {
    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let mem = Mem::new();
        mem.create_dir_all(Path::new("/d")).unwrap();
        mem.create_dir_all(Path::new("/e")).unwrap();
        mem.sync_dir(Path::new("/")).unwrap();
        put(&mem, "/d/kept", b"");
        mem.sync_dir(Path::new("/d")).unwrap();
        put(&mem, "/d/1", b"");
        mem.rename(Path::new("/d/1"), Path::new("/d/2")).unwrap();
        mem.rename(Path::new("/d/2"), Path::new("/e/3")).unwrap();
        put(&mem, "/e/other", b"");
        mem.power_loss(seed);
        let mut names = file_names(&mem);
        assert!(names.contains(&"/d/kept".to_owned()), "seed {seed}: {names:?}");
        names.retain(|name| name != "/d/kept");
        seen.insert(names.join(" "));
    }
    // The one file is under one of its names or lost whole; the other comes and goes independently.
    let outcomes = ["", "/d/1", "/d/2", "/e/3"];
    let expected: BTreeSet<_> = outcomes
        .into_iter()
        .flat_map(|one| [one.to_owned(), format!("{one} /e/other").trim().to_owned()])
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn syncing_a_directory_keeps_what_ends_in_it() {
    for seed in 0..50 {
        let mem = Mem::new();
        mem.create_dir_all(Path::new("/d")).unwrap();
        mem.create_dir_all(Path::new("/e")).unwrap();
        mem.sync_dir(Path::new("/")).unwrap();
        put(&mem, "/d/moved", b"");
        put(&mem, "/d/gone", b"");
        mem.rename(Path::new("/d/moved"), Path::new("/e/moved")).unwrap();
        mem.sync_dir(Path::new("/e")).unwrap();
        mem.remove(Path::new("/d/gone")).unwrap();
        mem.sync_dir(Path::new("/d")).unwrap();
        mem.power_loss(seed);
        assert_eq!(file_names(&mem), ["/e/moved"], "seed {seed}");
    }
}

#[test]
fn what_is_old_is_written_back_and_what_is_gone_is_forgotten() {
    let mem = Mem::new();
    put(&mem, "/first", b"");
    for i in 0..10_000 {
        put(&mem, "/again", &[i as u8; 10]);
        mem.remove(Path::new("/again")).unwrap();
    }
    for seed in 0..20 {
        let state = mem.clone_state();
        mem.power_loss(seed);
        assert!(file_names(&mem).contains(&"/first".to_owned()));
        mem.restore(&state);
    }
    assert!(lock(&mem.shared).tree.count() < 5_000);
}
