// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real files: the only file that touches `std::fs`.
//!
//! Every descriptor is close-on-exec (the standard library sees to it), data move by `pread` and `pwrite`, and
//! interrupted calls are repeated. Several ranks may work in one directory: what another one made or removed meanwhile
//! is no error where the result is what was asked for.

#![expect(clippy::disallowed_methods, reason = "the one file that touches the file system")]

use super::discard::Discards;
use super::{Access, File, Metadata, Space, Store, headroom};
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, SeekFrom};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// `f_type` of file systems whose files are memory (statfs(2)).
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// More than most files in `/proc` that say something of a process have.
const KERNEL_TEXT_BYTES: usize = 8 << 10;

/// How often something is tried again that another rank undid between two of our calls.
const RACE_ATTEMPTS: usize = 16;

/// The files of this node.
#[derive(Debug, Default)]
pub struct Posix {
    discards: Discards,
}

impl Posix {
    /// The files of this node.
    pub fn new() -> Self {
        Self::default()
    }
}

#[derive(Debug)]
struct PosixFile {
    file: fs::File,
    path: PathBuf,
}

/// Repeats `call` while signals interrupt it.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Repeats `call` while `is_race` says that another rank got in between.
fn despite_races<T>(
    is_race: impl Fn(&io::Error) -> bool,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    for _ in 1..RACE_ATTEMPTS {
        match call() {
            Err(error) if is_race(&error) => {}
            result => return result,
        }
    }
    call()
}

/// Turns "there is nothing" into success with `absent`.
fn unless_absent<T>(result: io::Result<T>, absent: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absent),
        result => result,
    }
}

impl PosixFile {
    fn fail(&self, operation: &'static str) -> impl Fn(io::Error) -> Error {
        move |error| Error::io(operation, &self.path, &error)
    }
}

impl File for PosixFile {
    fn read_at(&self, offset_bytes: u64, data: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < data.len() {
            let offset = offset_bytes + done as u64;
            let read = uninterrupted(|| self.file.read_at(&mut data[done..], offset));
            match read.map_err(self.fail("read"))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        // Goes on after short writes and interruptions.
        self.file.write_all_at(data, offset_bytes).map_err(self.fail("write"))
    }

    fn size_bytes(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.fail("stat"))?.len())
    }

    fn set_size(&self, size_bytes: u64) -> Result<()> {
        self.file.set_len(size_bytes).map_err(self.fail("set size of"))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(self.fail("sync"))
    }

    fn next_data(&self, offset_bytes: u64) -> Result<Option<(u64, u64)>> {
        use rustix::io::Errno;
        let size_bytes = self.size_bytes()?;
        if offset_bytes >= size_bytes {
            return Ok(None);
        }
        let find = |position| uninterrupted(|| Ok(rustix::fs::seek(&self.file, position)?));
        let found = find(SeekFrom::Data(offset_bytes))
            .and_then(|start| Ok((start, find(SeekFrom::Hole(start))?)));
        match found {
            Ok(range) => Ok(Some(range)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NXIO) => Ok(None),
                // The file system does not know holes: all is data.
                Some(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((offset_bytes, size_bytes))),
                _ => Err(Error::io("find data in", &self.path, &error)),
            },
        }
    }
}

impl Store for Posix {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::Write => options.read(true).write(true),
            Access::Create => options.read(true).write(true).create(true).truncate(true),
        };
        let operation = if access == Access::Create { "create" } else { "open" };
        let file = options.open(path).map_err(|error| Error::io(operation, path, &error))?;
        Ok(Box::new(PosixFile { file, path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path).map_err(|error| Error::io("read", path, &error))
    }

    fn append(&self, path: &Path, data: &[u8]) -> Result<()> {
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true);
        let appended = options.open(path).and_then(|file| append_whole(&file, data));
        appended.map_err(|error| Error::io("append to", path, &error))
    }

    fn metadata(&self, path: &Path) -> Result<Metadata> {
        let found = fs::symlink_metadata(path).map_err(|error| Error::io("stat", path, &error))?;
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Ok(Metadata {
            is_dir: found.is_dir(),
            size_bytes: found.len(),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            accessed_unix_nanos: nanos(found.atime(), found.atime_nsec()),
            modified_unix_nanos: nanos(found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        let entries =
            fs::read_dir(path).and_then(|dir| dir.map(|entry| Ok(entry?.file_name())).collect());
        let mut names: Vec<_> = entries.map_err(|error| Error::io("list", path, &error))?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        // A directory above may be removed as empty between its creation and that of the one below.
        let is_race = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let created = despite_races(is_race, || builder.create(path));
        created.map_err(|error| Error::io("create directory", path, &error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
            .map_err(|error| Error::io(&format!("rename {} to", from.display()), to, &error))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::hard_link(from, to)
            .map_err(|error| Error::io(&format!("link {} to", from.display()), to, &error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        unless_absent(fs::remove_file(path), ()).map_err(|error| Error::io("remove", path, &error))
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        remove_any(path).map_err(|error| Error::io("remove", path, &error))
    }

    fn remove_empty_dir(&self, path: &Path) -> Result<bool> {
        match unless_absent(fs::remove_dir(path).map(|()| true), false) {
            Err(error) if is_not_empty(&error) => Ok(false),
            result => result.map_err(|error| Error::io("remove directory", path, &error)),
        }
    }

    fn discard(&self, path: &Path, bin: &Path) -> Result<()> {
        let hidden = bin.join(unique_name());
        let renamed = self.create_dir_all(bin).and_then(|()| match fs::rename(path, &hidden) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true).map_err(|error| Error::io("discard", path, &error)),
        });
        match renamed {
            Ok(true) => self.discards.submit(hidden, |path| {
                // Nobody is left to tell; what stays in the bin is discarded again later.
                let _ = remove_any(path);
            }),
            Ok(false) => {}
            // A full disk may refuse the name in the bin, and room is what the caller is after.
            Err(_) => self.remove_tree(path)?,
        }
        Ok(())
    }

    fn wait_for_discards(&self) {
        self.discards.wait();
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        match fs::File::open(path).and_then(|dir| dir.sync_all()) {
            // Some file systems cannot sync a directory, and need not.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result.map_err(|error| Error::io("sync directory", path, &error)),
        }
    }

    fn set_metadata(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        copy_metadata(path, metadata)
            .map_err(|error| Error::io("set metadata of", path, &error.into()))
    }

    fn space(&self, path: &Path) -> Result<Space> {
        let asked =
            rustix::fs::statvfs(path).and_then(|room| Ok((room, rustix::fs::statfs(path)?)));
        let (room, kind) =
            asked.map_err(|error| Error::io("statfs", path, &io::Error::from(error)))?;
        let in_memory = IN_MEMORY.contains(&(kind.f_type as u32));
        if !in_memory {
            let bytes = |blocks: u64| blocks.saturating_mul(room.f_frsize);
            let (free_bytes, total_bytes) = (bytes(room.f_bavail), bytes(room.f_blocks));
            return Ok(Space { free_bytes, total_bytes, in_memory });
        }
        // A file system in memory that was mounted without a size says 0 of 0 blocks.
        let bytes = |blocks: u64| match room.f_blocks {
            0 => u64::MAX,
            _ => blocks.saturating_mul(room.f_frsize),
        };
        let memory = headroom::free_memory_bytes(&|file| read_kernel_text(file).ok());
        Ok(Space {
            free_bytes: bytes(room.f_bavail).min(memory.unwrap_or(u64::MAX)),
            total_bytes: bytes(room.f_blocks),
            in_memory,
        })
    }
}

/// Reads a file that the kernel writes as it is read: its size is unknown before, and each call takes time.
fn read_kernel_text(path: &Path) -> io::Result<String> {
    let mut text = String::with_capacity(KERNEL_TEXT_BYTES);
    fs::File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Appends with one write, so that no other process's bytes come between; takes back what a full disk cut short.
fn append_whole(mut file: &fs::File, data: &[u8]) -> io::Result<()> {
    let mut written = uninterrupted(|| file.write(data))?;
    if written == data.len() {
        return Ok(());
    }
    let cause = match uninterrupted(|| file.write(&data[written..])) {
        Err(error) => error,
        Ok(more) => {
            written += more;
            io::ErrorKind::StorageFull.into()
        }
    };
    let end = rustix::fs::tell(file)?;
    // What another process appended after ours must stay.
    if file.metadata()?.len() == end {
        file.set_len(end - written as u64)?;
    }
    Err(cause)
}

/// Removes whatever is at `path`. A symbolic link is removed, never followed.
fn remove_any(path: &Path) -> io::Result<()> {
    // While another rank removes the same tree, a listing may miss entries.
    let removed = despite_races(is_not_empty, || {
        let is_dir = fs::symlink_metadata(path)?.is_dir();
        if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    });
    unless_absent(removed, ())
}

/// POSIX lets a file system say either.
fn is_not_empty(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST))
}

/// A name that no other call, process or node makes.
fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut random = [0u8; 8];
    // Without random bytes the rest of the name is still unique on this node.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    let pid = rustix::process::getpid();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{pid}.{count}.{:016x}", u64::from_le_bytes(random))
}

fn copy_metadata(path: &Path, metadata: &Metadata) -> rustix::io::Result<()> {
    use rustix::fs::{Gid, Timespec, Timestamps, Uid};
    let owner = Some(Uid::from_raw(metadata.uid));
    let group = Some(Gid::from_raw(metadata.gid));
    let chown =
        |owner, group| rustix::fs::chownat(CWD, path, owner, group, AtFlags::SYMLINK_NOFOLLOW);
    let mut mode = metadata.mode;
    if chown(owner, group).is_err() {
        // Only root gives files away, but everyone may give them to a group of theirs. As cp does: a program that is
        // not its owner's any more must not run as its owner.
        let _ = chown(None, group);
        mode &= !0o6000;
    }
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?;
    let time = |nanos: i128| Timespec {
        tv_sec: nanos.div_euclid(1_000_000_000) as i64,
        tv_nsec: nanos.rem_euclid(1_000_000_000) as _,
    };
    let times = Timestamps {
        last_access: time(metadata.accessed_unix_nanos),
        last_modification: time(metadata.modified_unix_nanos),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<OsString> {
        Posix::new().list(dir).unwrap()
    }

    #[test]
    fn symbolic_links_are_removed_and_never_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let (outside, tree) = (scratch.path().join("outside"), scratch.path().join("tree"));
        let store = Posix::new();
        store.create_dir_all(&outside).unwrap();
        store.create_dir_all(&tree).unwrap();
        store.append(&outside.join("precious"), b"x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, scratch.path().join("top")).unwrap();
        assert!(!store.metadata(&tree.join("link")).unwrap().is_dir);
        store.remove_tree(&tree).unwrap();
        store.remove_tree(&scratch.path().join("top")).unwrap();
        assert_eq!(names(scratch.path()), ["outside"]);
        assert_eq!(names(&outside), ["precious"]);
    }

    #[test]
    fn descriptors_close_on_exec() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        for access in [Access::Create, Access::Read, Access::Write] {
            let file = Posix::new().open(&path, access).unwrap();
            let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
            let ours: Vec<_> = open
                .filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))
                .collect();
            assert_eq!(ours.len(), 1);
            let about = Path::new("/proc/self/fdinfo").join(ours[0].file_name());
            let about = fs::read_to_string(about).unwrap();
            let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
            assert_ne!(flags & libc::O_CLOEXEC, 0, "{access:?}");
            drop(file);
        }
    }

    #[test]
    fn a_bin_that_cannot_be_had_does_not_keep_the_discarded() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Posix::new();
        let (tree, blocked) = (scratch.path().join("tree"), scratch.path().join("file"));
        store.create_dir_all(&tree.join("below")).unwrap();
        store.append(&blocked, b"no directory").unwrap();
        store.discard(&tree, &blocked).unwrap();
        assert_eq!(names(scratch.path()), ["file"]);
    }

    #[test]
    #[expect(unsafe_code, reason = "there is no safe fork")]
    fn a_forked_child_discards_in_the_foreground() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Posix::new();
        let (tree, bin) = (scratch.path().join("tree"), scratch.path().join("bin"));
        store.create_dir_all(&tree.join("below")).unwrap();
        store.create_dir_all(&bin).unwrap();
        // SAFETY: the child only uses this store, whose locks it does not take, and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let result = store.discard(&tree, &bin);
            store.wait_for_discards();
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(result.is_err())) };
        }
        let mut status = -1;
        // SAFETY: waits for our own child; `status` lives during the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(names(scratch.path()), ["bin"]);
        assert!(names(&bin).is_empty());
    }

    #[test]
    fn memory_bounds_files_in_memory_and_only_those() {
        let store = Posix::new();
        assert!(!store.space(Path::new("/proc")).unwrap().in_memory);
        if rustix::fs::statfs("/dev/shm").is_ok_and(|kind| kind.f_type as u32 == IN_MEMORY[0]) {
            let space = store.space(Path::new("/dev/shm")).unwrap();
            let memory = headroom::free_memory_bytes(&|file| fs::read_to_string(file).ok());
            assert!(space.in_memory);
            // Others use memory meanwhile: compare with the size of it, not to the byte.
            assert!(memory.is_some_and(|bytes| bytes > 0 && bytes < 1 << 50), "{memory:?}");
            assert!(space.free_bytes > 0 && space.free_bytes < 1 << 50, "{space:?}");
        }
    }

    #[test]
    fn names_in_the_bin_are_unique() {
        let names: std::collections::BTreeSet<_> = (0..1000).map(|_| unique_name()).collect();
        assert_eq!(names.len(), 1000);
    }
}
