// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store that fails, or crashes its process, at a chosen operation.
//!
//! Operations are numbered 1, 2, 3 ... as they come, reads and operations on open files included, so that a test can try every
//! number in turn and print the trace of the one that went wrong. A crash freezes the store: this process can no longer
//! change anything, which is all that a death means to others.

use super::{Access, File, Metadata, Space, Store};
use crate::error::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to go wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of the operation, from 1.
    pub at: u64,
    /// What happens to it.
    pub what: What,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The process dies just before the operation.
    Crash,
    /// The process dies in the middle: half of the bytes written, half of the tree removed, the discarded still in the
    /// bin. Operations without a middle do not happen.
    Torn,
    /// The operation fails, once; with [`Cause::NoSpace`] only if it takes space.
    Once(Cause),
    /// This operation and all later ones fail; with [`Cause::NoSpace`] those that take space, as on a full disk.
    From(Cause),
    /// From this operation on, syncs claim success and do nothing: lost write-back.
    SkipSync,
}

/// Why an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `ENOSPC`.
    NoSpace,
    /// `EIO`.
    Io,
}

/// What kind of operation it is, to know which causes apply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Needs no new space.
    Plain,
    /// Takes space.
    Space,
    /// Makes something durable; may find then that there is no space (quotas, delayed allocation).
    Sync,
}

/// What is to be done with an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Whole,
    Torn,
    Nothing,
}

/// Called once, at the crash.
type OnCrash = Arc<dyn Fn() + Send + Sync>;

/// A wrapper that counts the operations of one process and carries out a [`Plan`].
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    script: Arc<Script>,
}

struct Script {
    plan: Option<Plan>,
    under: Option<PathBuf>,
    on_crash: Option<OnCrash>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_dead: bool,
    trace: Vec<String>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("plan", &self.plan).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn File>,
    script: Arc<Script>,
    path: PathBuf,
}

impl Faulty {
    /// Wraps `inner`; nothing goes wrong without a plan.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self::with(inner, None, None, None)
    }

    /// Makes `plan` happen. A new count begins.
    #[must_use]
    pub fn plan(self, plan: Plan) -> Self {
        let script = &self.script;
        Self::with(self.inner, Some(plan), script.under.clone(), script.on_crash.clone())
    }

    /// Counts, and fails, only operations on paths below `prefix`; of a rename or link, where it ends.
    #[must_use]
    pub fn under(self, prefix: impl Into<PathBuf>) -> Self {
        let script = &self.script;
        Self::with(self.inner, script.plan, Some(prefix.into()), script.on_crash.clone())
    }

    /// Calls `on_crash` once, at the crash that the plan asks for, before the operation returns.
    #[must_use]
    pub fn on_crash(self, on_crash: OnCrash) -> Self {
        let script = &self.script;
        Self::with(self.inner, script.plan, script.under.clone(), Some(on_crash))
    }

    /// The process dies now, for a reason outside of its files. `on_crash` is not called.
    pub fn kill(&self) {
        self.script.state().is_dead = true;
    }

    /// Whether the process died.
    pub fn is_dead(&self) -> bool {
        self.script.state().is_dead
    }

    /// How many operations there were so far.
    pub fn count(&self) -> u64 {
        self.script.state().trace.len() as u64
    }

    /// The operations so far: number, name and path.
    pub fn trace(&self) -> Vec<String> {
        self.script.state().trace.clone()
    }

    fn with(
        inner: Arc<dyn Store>,
        plan: Option<Plan>,
        under: Option<PathBuf>,
        on_crash: Option<OnCrash>,
    ) -> Self {
        let script = Script { plan, under, on_crash, state: Mutex::default() };
        Self { inner, script: Arc::new(script) }
    }

    /// Runs an operation that has no middle.
    fn run<T>(
        &self,
        operation: &str,
        path: &Path,
        class: Class,
        work: impl FnOnce(&dyn Store) -> Result<T>,
    ) -> Result<T> {
        match self.script.step(operation, path, class)? {
            Verdict::Torn => Err(self.script.crash(operation, path)),
            Verdict::Whole | Verdict::Nothing => work(&*self.inner),
        }
    }

    /// Runs an operation that may stop in the middle.
    fn run_torn(
        &self,
        operation: &str,
        path: &Path,
        class: Class,
        whole: impl FnOnce(&dyn Store) -> Result<()>,
        half: impl FnOnce(&dyn Store) -> Result<()>,
    ) -> Result<()> {
        match self.script.step(operation, path, class)? {
            Verdict::Torn => {
                // Whether the half succeeds does not matter to a process that is dying.
                let _ = half(&*self.inner);
                Err(self.script.crash(operation, path))
            }
            Verdict::Whole | Verdict::Nothing => whole(&*self.inner),
        }
    }
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation and decides what becomes of it.
    fn step(&self, operation: &str, path: &Path, class: Class) -> Result<Verdict> {
        let mut state = self.state();
        if state.is_dead {
            return Err(dead(operation, path));
        }
        if self.under.as_ref().is_some_and(|prefix| !path.starts_with(prefix)) {
            return Ok(Verdict::Whole);
        }
        let number = state.trace.len() as u64 + 1;
        state.trace.push(format!("{number} {operation} {}", path.display()));
        drop(state);
        let Some(Plan { at, what }) = self.plan else { return Ok(Verdict::Whole) };
        let is_now = number == at;
        match what {
            What::Crash if is_now => Err(self.crash(operation, path)),
            What::Torn if is_now => Ok(Verdict::Torn),
            What::Once(cause) if is_now => fail(operation, path, class, cause),
            What::From(cause) if number >= at => fail(operation, path, class, cause),
            What::SkipSync if number >= at && class == Class::Sync => Ok(Verdict::Nothing),
            _ => Ok(Verdict::Whole),
        }
    }

    /// Ends the process, and returns what its operation returns.
    fn crash(&self, operation: &str, path: &Path) -> Error {
        let was_dead = std::mem::replace(&mut self.state().is_dead, true);
        if let Some(on_crash) = self.on_crash.as_ref().filter(|_| !was_dead) {
            on_crash();
        }
        dead(operation, path)
    }
}

fn dead(operation: &str, path: &Path) -> Error {
    Error::new(ErrorKind::Io, format!("{operation} {}: the process is dead", path.display()))
}

/// Fails the operation, if `cause` can befall it.
fn fail(operation: &str, path: &Path, class: Class, cause: Cause) -> Result<Verdict> {
    let errno = match cause {
        Cause::NoSpace if class == Class::Plain => return Ok(Verdict::Whole),
        Cause::NoSpace => libc::ENOSPC,
        Cause::Io => libc::EIO,
    };
    Err(Error::io(operation, path, &std::io::Error::from_raw_os_error(errno)))
}

impl File for FaultyFile {
    fn read_at(&self, offset_bytes: u64, data: &mut [u8]) -> Result<usize> {
        self.run("read_at", Class::Plain)?;
        self.inner.read_at(offset_bytes, data)
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        match self.script.step("write_at", &self.path, Class::Space)? {
            Verdict::Torn => {
                let _ = self.inner.write_at(offset_bytes, &data[..data.len() / 2]);
                Err(self.script.crash("write_at", &self.path))
            }
            Verdict::Whole | Verdict::Nothing => self.inner.write_at(offset_bytes, data),
        }
    }

    fn size_bytes(&self) -> Result<u64> {
        self.run("size_bytes", Class::Plain)?;
        self.inner.size_bytes()
    }

    fn set_size(&self, size_bytes: u64) -> Result<()> {
        self.run("set_size", Class::Space)?;
        self.inner.set_size(size_bytes)
    }

    fn sync(&self) -> Result<()> {
        match self.run("sync", Class::Sync)? {
            Verdict::Nothing => Ok(()),
            Verdict::Whole | Verdict::Torn => self.inner.sync(),
        }
    }

    fn next_data(&self, offset_bytes: u64) -> Result<Option<(u64, u64)>> {
        self.run("next_data", Class::Plain)?;
        self.inner.next_data(offset_bytes)
    }
}

impl FaultyFile {
    /// Counts an operation that has no middle.
    fn run(&self, operation: &str, class: Class) -> Result<Verdict> {
        match self.script.step(operation, &self.path, class)? {
            Verdict::Torn => Err(self.script.crash(operation, &self.path)),
            verdict => Ok(verdict),
        }
    }
}

impl Store for Faulty {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn File>> {
        let (operation, class) = match access {
            Access::Read => ("open", Class::Plain),
            Access::Write => ("open to write", Class::Plain),
            Access::Create => ("create", Class::Space),
        };
        let inner = self.run(operation, path, class, |inner| inner.open(path, access))?;
        let script = Arc::clone(&self.script);
        Ok(Box::new(FaultyFile { inner, script, path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.run("read", path, Class::Plain, |inner| inner.read(path))
    }

    fn append(&self, path: &Path, data: &[u8]) -> Result<()> {
        let half = |inner: &dyn Store| inner.append(path, &data[..data.len() / 2]);
        self.run_torn("append", path, Class::Space, |inner| inner.append(path, data), half)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata> {
        self.run("metadata", path, Class::Plain, |inner| inner.metadata(path))
    }

    fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        self.run("list", path, Class::Plain, |inner| inner.list(path))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let whole = |inner: &dyn Store| inner.create_dir_all(path);
        let half =
            |inner: &dyn Store| path.parent().map_or(Ok(()), |dir| inner.create_dir_all(dir));
        self.run_torn("create_dir_all", path, Class::Space, whole, half)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let operation = format!("rename {} to", from.display());
        self.run(&operation, to, Class::Plain, |inner| inner.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        let operation = format!("link {} to", from.display());
        self.run(&operation, to, Class::Space, |inner| inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.run("remove", path, Class::Plain, |inner| inner.remove(path))
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        let whole = |inner: &dyn Store| inner.remove_tree(path);
        let half = |inner: &dyn Store| {
            let names = inner.list(path)?;
            let gone = names.iter().take(names.len().div_ceil(2));
            gone.map(|name| path.join(name)).try_for_each(|below| inner.remove_tree(&below))
        };
        self.run_torn("remove_tree", path, Class::Plain, whole, half)
    }

    fn remove_empty_dir(&self, path: &Path) -> Result<bool> {
        self.run("remove_empty_dir", path, Class::Plain, |inner| inner.remove_empty_dir(path))
    }

    fn discard(&self, path: &Path, bin: &Path) -> Result<()> {
        let whole = |inner: &dyn Store| inner.discard(path, bin);
        let half = |inner: &dyn Store| {
            inner.create_dir_all(bin)?;
            inner.rename(path, &bin.join(format!("torn.{}", self.count())))
        };
        self.run_torn("discard", path, Class::Plain, whole, half)
    }

    fn wait_for_discards(&self) {
        self.inner.wait_for_discards();
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        match self.script.step("sync_dir", path, Class::Sync)? {
            Verdict::Torn => Err(self.script.crash("sync_dir", path)),
            Verdict::Nothing => Ok(()),
            Verdict::Whole => self.inner.sync_dir(path),
        }
    }

    fn set_metadata(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        self.run("set_metadata", path, Class::Plain, |inner| inner.set_metadata(path, metadata))
    }

    fn space(&self, path: &Path) -> Result<Space> {
        self.run("space", path, Class::Plain, |inner| inner.space(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mem::Mem;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn faulty(mem: &Mem, at: u64, what: What) -> Faulty {
        Faulty::new(Arc::new(mem.clone())).plan(Plan { at, what })
    }

    fn names(mem: &Mem) -> Vec<String> {
        mem.walk().into_keys().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_trace_names_every_operation() {
        let store = Faulty::new(Arc::new(Mem::new())).under("/a");
        store.create_dir_all(Path::new("/a")).unwrap();
        store.create_dir_all(Path::new("/b")).unwrap();
        let file = store.open(Path::new("/a/f"), Access::Create).unwrap();
        file.write_at(0, b"x").unwrap();
        file.read_at(0, &mut [0]).unwrap();
        file.sync().unwrap();
        store.rename(Path::new("/a/f"), Path::new("/a/g")).unwrap();
        let expected = [
            "1 create_dir_all /a",
            "2 create /a/f",
            "3 write_at /a/f",
            "4 read_at /a/f",
            "5 sync /a/f",
            "6 rename /a/f to /a/g",
        ];
        assert_eq!(store.trace(), expected);
        assert_eq!(store.count(), 6);
    }

    #[test]
    fn a_crash_freezes_everything_and_is_told_once() {
        let (mem, path) = (Mem::new(), Path::new("/f"));
        let crashes = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&crashes);
        let store = faulty(&mem, 3, What::Crash)
            .on_crash(Arc::new(move || _ = counter.fetch_add(1, Ordering::Relaxed)));
        let file = store.open(path, Access::Create).unwrap();
        file.write_at(0, b"before").unwrap();
        let error = file.write_at(0, b"after!").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "write_at /f: the process is dead");
        assert!(store.is_dead());
        assert!(file.size_bytes().is_err() && file.sync().is_err());
        assert!(store.remove(path).is_err() && store.read(path).is_err());
        assert!(store.discard(path, Path::new("/bin")).is_err());
        assert_eq!(crashes.load(Ordering::Relaxed), 1);
        assert_eq!(store.count(), 3, "the dead do nothing");
        assert_eq!(mem.read(path).unwrap(), b"before");
    }

    #[test]
    fn the_killed_are_dead_without_a_call() {
        let store = Faulty::new(Arc::new(Mem::new()))
            .on_crash(Arc::new(|| panic!("the killer knows already")));
        store.clone().kill();
        assert!(store.is_dead() && store.list(Path::new("/")).is_err());
    }

    #[test]
    fn a_torn_operation_is_half_done() {
        let (mem, path) = (Mem::new(), Path::new("/f"));
        let torn = |at| faulty(&mem, at, What::Torn);
        assert!(torn(1).append(path, b"abcdef").is_err());
        assert_eq!(mem.read(path).unwrap(), b"abc");
        let file = torn(2).open(path, Access::Write).unwrap();
        assert!(file.write_at(0, b"XYZW").is_err() && file.write_at(2, b"!").is_err());
        assert_eq!(mem.read(path).unwrap(), b"XYc");
        assert!(torn(1).remove(path).is_err());
        assert!(torn(1).create_dir_all(Path::new("/a/b")).is_err());
        assert_eq!(names(&mem), ["/a", "/f"]);
        for name in ["/a/1", "/a/2", "/a/3"] {
            mem.append(Path::new(name), b"").unwrap();
        }
        assert!(torn(1).remove_tree(Path::new("/a")).is_err());
        assert_eq!(names(&mem), ["/a", "/a/3", "/f"]);
        assert!(torn(1).discard(Path::new("/a"), Path::new("/bin")).is_err());
        assert_eq!(names(&mem), ["/bin", "/bin/torn.1", "/bin/torn.1/3", "/f"]);
    }

    #[test]
    fn causes_befall_the_operations_they_can() {
        let path = Path::new("/f");
        let run = |what| {
            let mem = Mem::new();
            mem.append(path, b"x").unwrap();
            let store = faulty(&mem, 2, what);
            let mut kinds = vec![store.append(path, b"x").err()];
            kinds.push(store.read(path).err());
            kinds.push(store.append(path, b"x").err());
            kinds.push(store.sync_dir(Path::new("/")).err());
            kinds.push(store.remove(path).err());
            assert!(!store.is_dead());
            kinds.into_iter().map(|error| error.map(|error| error.kind())).collect::<Vec<_>>()
        };
        let (io, full) = (Some(ErrorKind::Io), Some(ErrorKind::NoSpace));
        assert_eq!(run(What::Once(Cause::Io)), [None, io, None, None, None]);
        assert_eq!(run(What::Once(Cause::NoSpace)), [None, None, None, None, None]);
        assert_eq!(run(What::From(Cause::Io)), [None, io, io, io, io]);
        assert_eq!(run(What::From(Cause::NoSpace)), [None, None, full, full, None]);
        assert_eq!(run(What::SkipSync), [None, None, None, None, None]);
    }
}
