// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named windows: a store that knows what the library is doing from the files it touches, and dies there when told.
//!
//! A window is `<call>: <operation>`, for example `complete_output: committed`. The library itself has no hooks.

use rustix::process::{Pid, Signal, getpid, kill_process};
use scr_core::Result;
use scr_core::format::state::{PartState, Phase};
use scr_core::format::summary::{PrefixState, Summary};
use scr_core::format::{self};
use scr_core::store::posix::Posix;
use scr_core::store::{Access, File, Metadata, Space, Store};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where, and how, this process shall die.
#[derive(Debug)]
pub(crate) struct Doom {
    /// The window.
    pub(crate) window: String,
    /// After the operation, not before it.
    pub(crate) after: bool,
    /// Passes through the window, this one included, that are left.
    pub(crate) passes: AtomicU32,
    /// Where the hit is noted.
    pub(crate) note: PathBuf,
    /// A directory with the process ids of all that die with this one.
    pub(crate) with: Option<PathBuf>,
}

/// Knows which call the application is in, and whether this process is doomed.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    call: Mutex<&'static str>,
    doom: Option<Doom>,
}

impl Fate {
    pub(crate) fn new(doom: Option<Doom>) -> Self {
        Self { call: Mutex::default(), doom }
    }

    /// Notes which call the application makes next.
    pub(crate) fn enter(&self, call: &'static str) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }

    /// Does an operation, unless the time has come.
    fn around<T>(&self, operation: Option<&str>, act: impl FnOnce() -> T) -> T {
        let doom = self.doom.as_ref().filter(|doom| {
            let Some(operation) = operation else { return false };
            let call = *self.call.lock().unwrap_or_else(PoisonError::into_inner);
            doom.window.strip_prefix(call).and_then(|rest| rest.strip_prefix(": "))
                == Some(operation)
                && doom.passes.fetch_sub(1, Ordering::SeqCst) == 1
        });
        match doom {
            Some(doom) if !doom.after => doom.strike(),
            Some(doom) => {
                act();
                doom.strike()
            }
            None => act(),
        }
    }
}

impl Doom {
    #[expect(clippy::disallowed_methods, reason = "a note of the test, not a record")]
    fn strike(&self) -> ! {
        std::fs::write(&self.note, &self.window).expect("note the hit");
        let victims = self.with.as_deref().map(pids).unwrap_or_default();
        for victim in victims.into_iter().filter(|pid| *pid != getpid()) {
            // One that is gone already is as dead as it shall be.
            let _ = kill_process(victim, Signal::KILL);
        }
        kill_process(getpid(), Signal::KILL).expect("kill myself");
        unreachable!("SIGKILL cannot be survived")
    }
}

/// The process ids noted in a directory.
fn pids(dir: &Path) -> Vec<Pid> {
    let names = Posix::new().list(dir).unwrap_or_default();
    let number = |name: &OsString| name.to_str()?.parse().ok();
    names.iter().filter_map(number).filter_map(Pid::from_raw).collect()
}

/// The files of a node, or of the prefix, watched.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Posix,
    fate: Arc<Fate>,
}

impl Watched {
    pub(crate) fn new(fate: Arc<Fate>) -> Self {
        Self { inner: Posix::new(), fate }
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Box<dyn File>,
    reads: Option<&'static str>,
    writes: Option<&'static str>,
    fate: Arc<Fate>,
}

/// What a path is to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// Below the directory of a part, or of a dataset in the prefix.
    Part,
    /// Below the directory of a part that is being rebuilt.
    Rebuild,
    /// Anywhere else.
    Other,
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn home(path: &Path) -> Home {
    let dirs = path.ancestors().skip(1).map(name);
    let found = dirs.filter_map(|dir| match dir.split_once('.')?.0 {
        "dataset" => Some(Home::Part),
        "rebuild" => Some(Home::Rebuild),
        _ => None,
    });
    found.last().unwrap_or(Home::Other)
}

fn is_data(path: &Path) -> bool {
    path.ancestors().skip(1).any(|dir| name(dir) == "data" && home(dir) != Home::Other)
}

/// What writing into a file means.
fn write_of(path: &Path) -> Option<&'static str> {
    let is_copy = name(path).starts_with("copy.");
    match (home(path), name(path)) {
        (Home::Rebuild, _) if is_data(path) => Some("rebuild data"),
        (Home::Part, _) if is_data(path) => Some("data"),
        (Home::Rebuild, "parity") => Some("rebuild parity"),
        (Home::Part, "parity") => Some("parity"),
        (Home::Rebuild, "node") => Some("rebuild node"),
        (Home::Rebuild, _) if is_copy => Some("rebuild copy"),
        (Home::Part, _) if is_copy => Some("copy"),
        (_, name) if name.starts_with(".scr-") => Some("flush data"),
        _ => None,
    }
}

/// What reading from a file means.
fn read_of(path: &Path) -> Option<&'static str> {
    (home(path) == Home::Part && (is_data(path) || name(path) == "parity")).then_some("read")
}

fn link_of(to: &Path) -> Option<&'static str> {
    is_data(to).then_some("link")
}

fn remove_of(path: &Path) -> Option<&'static str> {
    match (home(path), name(path)) {
        (Home::Part, "state") => Some("evict state"),
        (Home::Part, "node") => Some("evict node"),
        _ => None,
    }
}

fn discard_of(path: &Path) -> Option<&'static str> {
    match name(path).split_once('.')?.0 {
        "dataset" => Some("discard"),
        "rebuild" => Some("discard rebuild"),
        _ => None,
    }
}

/// What a rename means; a record tells by its content.
fn rename_of(store: &dyn Store, from: &Path, to: &Path) -> Option<&'static str> {
    match (home(to), name(to)) {
        (_, "spare.parity") => Some("keep parity"),
        (Home::Part, "parity") => Some("reuse parity"),
        (Home::Rebuild, "state") => Some("rebuild state"),
        (Home::Part, "state") => match format::decode::<PartState>(&store.read(from).ok()?) {
            Ok(PartState { phase: Phase::Writing, .. }) => Some("writing"),
            Ok(PartState { phase: Phase::Committed, .. }) => Some("committed"),
            _ => None,
        },
        (Home::Part, "summary") => {
            match format::decode::<Summary>(&store.read(from).ok()?).ok()?.state {
                PrefixState::Flushing { .. } => Some("flushing"),
                PrefixState::Flushed => Some("flushed"),
                PrefixState::Superseded { .. } => Some("superseded"),
                PrefixState::Failed { .. } => None,
            }
        }
        (Home::Part, "node") => Some("node"),
        (Home::Part, "renames") => Some("seal"),
        (Home::Part, map) if map.starts_with("map.") => Some("map"),
        (Home::Other, dir) if dir.starts_with("dataset.") => Some("publish rebuilt"),
        (Home::Other, "lease") => Some("lease"),
        (Home::Other, "index") => Some("index"),
        (Home::Other, "current") => Some("current"),
        (Home::Other, "decision") => Some("decision"),
        (Home::Other, name) if name.starts_with("token.") => Some("token"),
        _ if name(from).starts_with(".scr-") => Some("rename file"),
        _ => None,
    }
}

impl File for WatchedFile {
    fn read_at(&self, offset_bytes: u64, data: &mut [u8]) -> Result<usize> {
        self.fate.around(self.reads, || self.inner.read_at(offset_bytes, data))
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        self.fate.around(self.writes, || self.inner.write_at(offset_bytes, data))
    }

    fn size_bytes(&self) -> Result<u64> {
        self.inner.size_bytes()
    }

    fn set_size(&self, size_bytes: u64) -> Result<()> {
        self.inner.set_size(size_bytes)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn next_data(&self, offset_bytes: u64) -> Result<Option<(u64, u64)>> {
        self.inner.next_data(offset_bytes)
    }
}

impl Store for Watched {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn File>> {
        let inner = self.inner.open(path, access)?;
        let fate = self.fate.clone();
        Ok(Box::new(WatchedFile { inner, reads: read_of(path), writes: write_of(path), fate }))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.inner.read(path)
    }

    fn append(&self, path: &Path, data: &[u8]) -> Result<()> {
        self.inner.append(path, data)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata> {
        self.inner.metadata(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        self.inner.list(path)
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.inner.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let operation = rename_of(&self.inner, from, to);
        self.fate.around(operation, || self.inner.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.fate.around(link_of(to), || self.inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.fate.around(remove_of(path), || self.inner.remove(path))
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        self.inner.remove_tree(path)
    }

    fn remove_empty_dir(&self, path: &Path) -> Result<bool> {
        self.inner.remove_empty_dir(path)
    }

    fn discard(&self, path: &Path, bin: &Path) -> Result<()> {
        self.fate.around(discard_of(path), || self.inner.discard(path, bin))
    }

    fn wait_for_discards(&self) {
        self.inner.wait_for_discards();
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.inner.sync_dir(path)
    }

    fn set_metadata(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        self.inner.set_metadata(path, metadata)
    }

    fn space(&self, path: &Path) -> Result<Space> {
        self.inner.space(path)
    }
}
