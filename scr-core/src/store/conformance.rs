// SPDX-License-Identifier: MIT OR Apache-2.0
//! One suite for every store: real files, memory, and both behind a [`Faulty`] without a plan.

use super::fault::{Cause, Faulty, Plan, What};
use super::mem::Mem;
use super::posix::Posix;
use super::{Access, Durability, Store, exists, publish};
use crate::ErrorKind::{Io, NoSpace, NotFound};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs `test` on every store, in an empty directory.
fn on_every_store(test: impl Fn(&dyn Store, &Path)) {
    let stores: [fn() -> Arc<dyn Store>; 2] = [|| Arc::new(Posix::new()), || Arc::new(Mem::new())];
    for store in stores {
        let new = || tempfile::tempdir().unwrap();
        for (store, scratch) in [(store(), new()), (Arc::new(Faulty::new(store())), new())] {
            store.create_dir_all(scratch.path()).unwrap();
            test(&*store, scratch.path());
        }
    }
}

fn put(store: &dyn Store, path: &Path, data: &[u8]) {
    store.open(path, Access::Create).unwrap().write_at(0, data).unwrap();
}

/// The kind of an error that must name the path it is about.
#[track_caller]
fn kind_at<T: std::fmt::Debug>(result: crate::Result<T>, path: &Path) -> crate::ErrorKind {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    error.kind()
}

#[test]
fn files_are_written_and_read_at_offsets() {
    on_every_store(|store, dir| {
        let path = dir.join("file");
        let file = store.open(&path, Access::Create).unwrap();
        file.write_at(0, b"abcdef").unwrap();
        file.write_at(4, b"XYZ").unwrap();
        assert_eq!(file.size_bytes().unwrap(), 7);
        let mut data = [b'-'; 5];
        assert_eq!(file.read_at(3, &mut data).unwrap(), 4);
        assert_eq!(&data, b"dXYZ-");
        assert_eq!(file.read_at(7, &mut data).unwrap(), 0);
        assert_eq!(file.read_at(1 << 40, &mut data).unwrap(), 0);
        file.set_size(9).unwrap();
        file.sync().unwrap();
        assert_eq!(store.read(&path).unwrap(), b"abcdXYZ\0\0");
        file.set_size(2).unwrap();
        assert_eq!(store.read(&path).unwrap(), b"ab");
    });
}

#[test]
fn access_says_what_is_made_emptied_or_refused() {
    on_every_store(|store, dir| {
        let (path, nowhere) = (dir.join("file"), dir.join("no/file"));
        assert_eq!(kind_at(store.open(&path, Access::Read), &path), NotFound);
        assert_eq!(kind_at(store.open(&path, Access::Write), &path), NotFound);
        assert_eq!(kind_at(store.open(&nowhere, Access::Create), &nowhere), NotFound);
        assert!(!exists(store, &path).unwrap());
        put(store, &path, b"first");
        store.open(&path, Access::Write).unwrap().write_at(0, b"F").unwrap();
        assert_eq!(store.read(&path).unwrap(), b"First");
        drop(store.open(&path, Access::Create).unwrap());
        assert_eq!(store.read(&path).unwrap(), b"");
        assert!(exists(store, &path).unwrap());
        assert_eq!(kind_at(store.open(dir, Access::Write), dir), Io);
        assert_eq!(kind_at(store.read(dir), dir), Io);
    });
}

#[test]
fn appending_makes_and_extends() {
    on_every_store(|store, dir| {
        let (path, nowhere) = (dir.join("log"), dir.join("no/log"));
        store.append(&path, b"one\n").unwrap();
        store.append(&path, b"two\n").unwrap();
        assert_eq!(store.read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(kind_at(store.append(&nowhere, b"x"), &nowhere), NotFound);
    });
}

#[test]
fn directories_are_made_listed_and_removed() {
    on_every_store(|store, dir| {
        let deep = dir.join("a/b/c");
        store.create_dir_all(&deep).unwrap();
        store.create_dir_all(&deep).unwrap();
        let metadata = store.metadata(&dir.join("a")).unwrap();
        assert!(metadata.is_dir);
        assert_eq!(metadata.mode, 0o700);
        for name in ["z", "m", "a.1"] {
            put(store, &deep.join(name), b"");
        }
        assert_eq!(store.list(&deep).unwrap(), ["a.1", "m", "z"]);
        assert_eq!(kind_at(store.list(&dir.join("no")), &dir.join("no")), NotFound);
        assert_eq!(kind_at(store.list(&deep.join("z")), &deep.join("z")), Io);
        assert_eq!(kind_at(store.create_dir_all(&deep.join("z")), &deep.join("z")), Io);
        assert_eq!(kind_at(store.create_dir_all(&deep.join("z/y")), &deep.join("z/y")), Io);
        store.sync_dir(&deep).unwrap();
        assert_eq!(kind_at(store.sync_dir(&dir.join("no")), &dir.join("no")), NotFound);

        assert!(!store.remove_empty_dir(&deep).unwrap());
        assert_eq!(kind_at(store.remove(&deep), &deep), Io);
        for name in ["z", "m", "a.1", "never"] {
            store.remove(&deep.join(name)).unwrap();
        }
        assert!(store.remove_empty_dir(&deep).unwrap());
        assert!(!store.remove_empty_dir(&deep).unwrap());
        put(store, &dir.join("a/b/file"), b"x");
        store.remove_tree(&dir.join("a")).unwrap();
        store.remove_tree(&dir.join("a")).unwrap();
        assert!(store.list(dir).unwrap().is_empty());
    });
}

#[test]
fn renaming_moves_and_replaces() {
    on_every_store(|store, dir| {
        let at = |name: &str| dir.join(name);
        put(store, &at("one"), b"1");
        put(store, &at("two"), b"2");
        store.rename(&at("one"), &at("two")).unwrap();
        assert_eq!(store.read(&at("two")).unwrap(), b"1");
        assert_eq!(kind_at(store.rename(&at("one"), &at("two")), &at("two")), NotFound);
        assert_eq!(kind_at(store.rename(&at("two"), &at("no/x")), &at("no/x")), NotFound);

        store.create_dir_all(&at("dir/sub")).unwrap();
        store.create_dir_all(&at("full/sub")).unwrap();
        store.rename(&at("two"), &at("dir/sub/two")).unwrap();
        assert_eq!(kind_at(store.rename(&at("dir"), &at("full")), &at("full")), Io);
        assert_eq!(kind_at(store.rename(&at("dir"), &at("dir/sub/x")), &at("dir/sub/x")), Io);
        store.rename(&at("dir"), &at("moved")).unwrap();
        store.rename(&at("moved"), &at("full/sub")).unwrap();
        assert_eq!(store.read(&at("full/sub/sub/two")).unwrap(), b"1");
        assert_eq!(store.list(dir).unwrap(), ["full"]);
        put(store, &at("file"), b"");
        assert_eq!(kind_at(store.rename(&at("file"), &at("full")), &at("full")), Io);
        assert_eq!(kind_at(store.rename(&at("full"), &at("file")), &at("file")), Io);
    });
}

#[test]
fn links_share_content_until_replaced() {
    on_every_store(|store, dir| {
        let (one, two) = (dir.join("one"), dir.join("two"));
        assert_eq!(kind_at(store.link(&one, &two), &two), NotFound);
        put(store, &one, b"1");
        store.link(&one, &two).unwrap();
        assert_eq!(kind_at(store.link(&one, &two), &two), Io);
        assert_eq!(store.metadata(&one).unwrap().inode, store.metadata(&two).unwrap().inode);
        publish(store, &one, b"new", Durability::Power).unwrap();
        assert_eq!(store.read(&two).unwrap(), b"1");
        store.open(&two, Access::Write).unwrap().write_at(0, b"x").unwrap();
        assert_eq!(store.read(&one).unwrap(), b"new");
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_every_store(|store, dir| {
        let path = dir.join("file");
        put(store, &path, b"kept");
        let file = store.open(&path, Access::Read).unwrap();
        store.remove(&path).unwrap();
        store.sync_dir(dir).unwrap();
        let mut data = [0; 4];
        assert_eq!(file.read_at(0, &mut data).unwrap(), 4);
        assert_eq!(&data, b"kept");
    });
}

#[test]
fn metadata_is_set_and_seen() {
    on_every_store(|store, dir| {
        let (path, copy) = (dir.join("file"), dir.join("copy"));
        put(store, &path, b"12345");
        put(store, &copy, b"12345");
        let mut wanted = store.metadata(&path).unwrap();
        assert_eq!((wanted.is_dir, wanted.size_bytes), (false, 5));
        wanted.mode = 0o640;
        wanted.accessed_unix_nanos = 1_500_000_000_123_456_789;
        wanted.modified_unix_nanos = -1_000_000_001;
        store.set_metadata(&copy, &wanted).unwrap();
        let found = store.metadata(&copy).unwrap();
        assert_ne!(found.inode, wanted.inode);
        wanted.inode = found.inode;
        assert_eq!(found, wanted);
        store.open(&copy, Access::Write).unwrap().write_at(0, b"x").unwrap();
        assert!(store.metadata(&copy).unwrap().modified_unix_nanos > wanted.modified_unix_nanos);
        let none = dir.join("none");
        assert_eq!(kind_at(store.metadata(&none), &none), NotFound);
        assert_eq!(kind_at(store.metadata(&path.join("x")), &path.join("x")), Io);
        assert_eq!(kind_at(store.set_metadata(&none, &wanted), &none), NotFound);
    });
}

#[test]
fn holes_are_skipped_and_data_are_not() {
    const MIB: u64 = 1 << 20;
    on_every_store(|store, dir| {
        let file = store.open(&dir.join("sparse"), Access::Create).unwrap();
        assert_eq!(file.next_data(0).unwrap(), None);
        file.write_at(MIB + 7, b"middle").unwrap();
        file.set_size(4 * MIB).unwrap();
        let mut covered = 0;
        let mut offset = 0;
        while let Some((start, end)) = file.next_data(offset).unwrap() {
            assert!(start >= offset && end > start && end <= 4 * MIB);
            if start <= MIB + 7 && end >= MIB + 13 {
                covered += 1;
            }
            offset = end;
        }
        assert_eq!(covered, 1, "the data are in exactly one range");
        assert_eq!(file.next_data(4 * MIB).unwrap(), None);
        assert_eq!(file.next_data(MIB + 9).unwrap().map(|(start, _)| start), Some(MIB + 9));
    });
}

#[test]
fn the_discarded_is_gone_at_once_and_freed_in_the_end() {
    on_every_store(|store, dir| {
        let bin = dir.join("ctl/bin");
        for round in 0..3 {
            let tree = dir.join("dataset.1");
            store.create_dir_all(&tree.join("sub")).unwrap();
            put(store, &tree.join("sub/file"), b"data");
            put(store, &dir.join("file"), b"data");
            store.discard(&tree, &bin).unwrap();
            store.discard(&dir.join("file"), &bin).unwrap();
            store.discard(&dir.join("never"), &bin).unwrap();
            assert_eq!(store.list(dir).unwrap(), ["ctl"], "round {round}");
        }
        store.wait_for_discards();
        assert!(store.list(&bin).unwrap().is_empty());
        put(store, &bin.join("left-by-a-crash"), b"data");
        store.discard(&bin.join("left-by-a-crash"), &bin).unwrap();
        store.wait_for_discards();
        assert!(store.list(&bin).unwrap().is_empty());
    });
}

#[test]
fn space_is_told() {
    on_every_store(|store, dir| {
        let space = store.space(dir).unwrap();
        assert!(space.free_bytes > 0 && space.total_bytes >= space.free_bytes, "{space:?}");
        assert_eq!(kind_at(store.space(&dir.join("no")), &dir.join("no")), NotFound);
    });
}

#[test]
fn ranks_remove_and_make_one_tree_at_once() {
    on_every_store(|store, dir| {
        for round in 0..20 {
            let tree = dir.join(format!("tree.{round}"));
            for i in 0..30 {
                let below = tree.join(format!("{}/{}", i % 3, i % 5));
                store.create_dir_all(&below).unwrap();
                put(store, &below.join(i.to_string()), b"x");
            }
            let together = std::sync::Barrier::new(3);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        together.wait();
                        store.remove_tree(&tree).unwrap();
                        together.wait();
                        store.create_dir_all(&tree.join("1/2/3/4")).unwrap();
                    });
                }
            });
            assert_eq!(store.list(&tree.join("1/2/3")).unwrap(), ["4"]);
        }
    });
}

/// Runs `publish` with every fault of `whats` at every operation; `check` sees the result and how it went.
fn publish_with_every_fault(
    whats: &[What],
    durability: Durability,
    before: impl Fn() -> (Arc<dyn Store>, PathBuf),
    check: impl Fn(&dyn Store, &crate::Result<()>, &str),
) {
    for what in whats {
        for at in 1.. {
            let (inner, path) = before();
            let store = Faulty::new(Arc::clone(&inner)).plan(Plan { at, what: *what });
            let result = publish(&store, &path, NEW, durability);
            check(&*inner, &result, &format!("{what:?} at {at}: {:#?}", store.trace()));
            if store.count() < at {
                assert!(at > 3, "nothing was tried");
                break;
            }
        }
    }
}

const OLD: &[u8] =
    b"the old record, which is rather longer than a piece: 0123456789012345678901234567890";
const NEW: &[u8] = b"the new record, which is longer than a piece, too: abcdefghijklmnopqrstuvwxyz";
const EVERY_FAULT: [What; 6] = [
    What::Crash,
    What::Torn,
    What::Once(Cause::NoSpace),
    What::Once(Cause::Io),
    What::From(Cause::NoSpace),
    What::From(Cause::Io),
];

#[test]
fn publishing_leaves_old_or_new_whatever_fails() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("record");
    for durability in [Durability::Process, Durability::Power] {
        for is_real in [true, false] {
            publish_with_every_fault(
                &EVERY_FAULT,
                durability,
                || {
                    let store: Arc<dyn Store> =
                        if is_real { Arc::new(Posix::new()) } else { Arc::new(Mem::new()) };
                    store.create_dir_all(scratch.path()).unwrap();
                    put(&*store, &path, OLD);
                    (store, path.clone())
                },
                |store, result, how| {
                    let found = store.read(&path).unwrap();
                    assert!(found == NEW || (found == OLD && result.is_err()), "{how}");
                },
            );
        }
    }
}

#[test]
fn publishing_for_power_leaves_old_or_new_after_a_loss_of_power() {
    let path = Path::new("/prefix/record");
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    for seed in 0..200 {
        let mem = Mem::new();
        mem.create_dir_all(Path::new("/prefix")).unwrap();
        mem.sync_dir(Path::new("/")).unwrap();
        publish(&mem, path, OLD, Durability::Power).unwrap();
        let state = mem.clone_state();
        publish_with_every_fault(
            &EVERY_FAULT,
            Durability::Power,
            || {
                mem.restore(&state);
                (Arc::new(mem.clone()), path.to_owned())
            },
            |store, result, how| {
                mem.power_loss(seed);
                let found = store.read(path).unwrap();
                let is_new = found == NEW;
                assert!(is_new || (found == OLD && result.is_err()), "seed {seed}, {how}");
                seen.borrow_mut().insert((result.is_ok(), is_new));
            },
        );
    }
    let all = [(false, false), (false, true), (true, true)];
    assert_eq!(seen.into_inner().into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn a_loss_of_power_shows_what_was_not_synced() {
    let path = Path::new("/record");
    let [mut is_gone, mut is_torn, mut is_old, mut is_new] = [false; 4];
    for seed in 0..200 {
        let mem = Mem::new();
        publish(&mem, path, OLD, Durability::Process).unwrap();
        mem.power_loss(seed);
        match mem.read(path) {
            Err(error) => is_gone |= error.kind() == NotFound,
            Ok(found) => is_torn |= found != OLD,
        }
        let mem = Mem::new();
        publish(&mem, path, OLD, Durability::Power).unwrap();
        let lying = Plan { at: 1, what: What::SkipSync };
        let store = Faulty::new(Arc::new(mem.clone())).plan(lying);
        publish(&store, path, NEW, Durability::Power).unwrap();
        mem.power_loss(seed);
        let found = mem.read(path).unwrap();
        is_old |= found == OLD;
        is_new |= found == NEW;
        is_torn |= found != OLD && found != NEW;
    }
    assert!(is_gone && is_torn && is_old && is_new, "{is_gone} {is_torn} {is_old} {is_new}");
}

#[test]
fn a_full_device_is_no_space() {
    let full = Path::new("/dev/full");
    let store = Posix::new();
    let file = store.open(full, Access::Write).unwrap();
    assert_eq!(kind_at(file.write_at(0, b"x"), full), NoSpace);
    assert_eq!(kind_at(store.append(full, b"x"), full), NoSpace);
}
