// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store that counts what is written to its files, so that somebody can tell how far a copy is.

use scr_core::Result;
use scr_core::store::{Access, File, Metadata, Space, Store};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Another store, with a count of the bytes written.
#[derive(Debug)]
pub(super) struct Metered {
    inner: Arc<dyn Store>,
    written_bytes: Arc<AtomicU64>,
}

impl Metered {
    /// Counts what is written to `inner` with what was written elsewhere.
    pub(super) fn new(inner: Arc<dyn Store>, written_bytes: &Arc<AtomicU64>) -> Self {
        Self { inner, written_bytes: Arc::clone(written_bytes) }
    }
}

#[derive(Debug)]
struct MeteredFile {
    inner: Box<dyn File>,
    written_bytes: Arc<AtomicU64>,
}

impl File for MeteredFile {
    fn read_at(&self, offset_bytes: u64, data: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset_bytes, data)
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        self.inner.write_at(offset_bytes, data)?;
        self.written_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
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

impl Store for Metered {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn File>> {
        let written_bytes = Arc::clone(&self.written_bytes);
        Ok(Box::new(MeteredFile { inner: self.inner.open(path, access)?, written_bytes }))
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
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.inner.remove(path)
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        self.inner.remove_tree(path)
    }

    fn remove_empty_dir(&self, path: &Path) -> Result<bool> {
        self.inner.remove_empty_dir(path)
    }

    fn discard(&self, path: &Path, bin: &Path) -> Result<()> {
        self.inner.discard(path, bin)
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

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::store::posix::Posix;

    #[test]
    fn what_is_written_is_counted_and_there() {
        let place = tempfile::tempdir().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let store = Metered::new(Arc::new(Posix::new()), &count);
        let path = place.path().join("file");
        let file = store.open(&path, Access::Create).unwrap();
        file.write_at(0, b"abc").unwrap();
        file.write_at(1, b"xy").unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 5);
        assert_eq!(store.read(&path).unwrap(), b"axy");
    }
}
