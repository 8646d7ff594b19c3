// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files of a rank as one stream of bytes, end to end in the order of its section.
//!
//! A few files stay open, because a stripe reads a stream at several places that each move forward.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::format::FileEntry;
use crate::id::RelPath;
use crate::store::{Access, File, Metadata, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many files of one stream stay open.
const OPEN_FILES: usize = 16;

/// How the bytes of a file are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Files exist and are only read.
    Read,
    /// Files exist and bytes of them may be replaced.
    Repair,
    /// Files are made, with their size.
    Create,
}

/// Where each file of a stream is: its name, to a path.
pub type Naming = Box<dyn Fn(&RelPath) -> PathBuf + Send>;

/// What is done with one piece: of which file, where in it, which of the caller's bytes.
type Each<'a> = dyn FnMut(&mut Stream, usize, u64, std::ops::Range<usize>) -> Result<()> + 'a;

/// The stream of one rank.
pub struct Stream {
    store: Arc<dyn Store>,
    naming: Naming,
    mode: Mode,
    files: Vec<FileEntry>,
    /// Where each file ends in the stream.
    ends: Vec<u64>,
    open: Vec<(usize, Box<dyn File>)>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Stream");
        shown.field("mode", &self.mode).field("files", &self.files).finish_non_exhaustive()
    }
}

impl Stream {
    /// The stream of `files`; with [`Mode::Create`] they are made now, with their sizes.
    pub fn new(
        store: Arc<dyn Store>,
        naming: Naming,
        files: Vec<FileEntry>,
        mode: Mode,
    ) -> Result<Self> {
        let ends = files
            .iter()
            .scan(0, |end, file| {
                *end += file.size_bytes;
                Some(*end)
            })
            .collect();
        let mut stream = Self { store, naming, mode, files, ends, open: Vec::new() };
        if mode == Mode::Repair {
            for index in 0..stream.files.len() {
                let_write(&*stream.store, &stream.path(index))?;
            }
        }
        if mode == Mode::Create {
            for index in 0..stream.files.len() {
                stream.create(index)?;
            }
        }
        Ok(stream)
    }

    /// The stream of files below `dir`.
    pub fn below(
        store: Arc<dyn Store>,
        dir: &Path,
        files: Vec<FileEntry>,
        mode: Mode,
    ) -> Result<Self> {
        let dir = dir.to_path_buf();
        Self::new(store, Box::new(move |name| name.under(&dir)), files, mode)
    }

    /// Bytes in all.
    pub fn size_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How many of its files end at or before `offset_bytes`.
    pub fn ended_at(&self, offset_bytes: u64) -> usize {
        self.ends.partition_point(|&end| end <= offset_bytes)
    }

    /// Its files.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Checks that every file is there with its size.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for another size; that of the store when it is not there.
    pub fn check_sizes(&self) -> Result<()> {
        (0..self.files.len()).try_for_each(|index| self.check_size(index))
    }

    fn check_size(&self, index: usize) -> Result<()> {
        let (file, path) = (&self.files[index], self.path(index));
        let found = self.store.metadata(&path)?.size_bytes;
        if found == file.size_bytes {
            return Ok(());
        }
        let text = format!("{} has {found} bytes, not {}", path.display(), file.size_bytes);
        Err(Error::new(ErrorKind::Corrupt, text))
    }

    /// Fills `data` from `offset_bytes`; all of it lies within the stream.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when a file is shorter than it was.
    pub fn read(&mut self, offset_bytes: u64, data: &mut [u8]) -> Result<()> {
        self.pieces(offset_bytes, data.len(), &mut |stream, index, at, range| {
            let wanted = range.len();
            let got = stream.file(index)?.read_at(at, &mut data[range])?;
            if got == wanted {
                return Ok(());
            }
            let path = stream.path(index);
            let text = format!("{} ends {} bytes early", path.display(), wanted - got);
            Err(Error::new(ErrorKind::Corrupt, text))
        })
    }

    /// Replaces bytes from `offset_bytes`; all of them lie within the stream. Zeros in a new file stay a hole.
    pub fn write(&mut self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        self.pieces(offset_bytes, data.len(), &mut |stream, index, at, range| {
            if stream.mode == Mode::Create && data[range.clone()].iter().all(|&byte| byte == 0) {
                return Ok(());
            }
            stream.file(index)?.write_at(at, &data[range])
        })
    }

    /// Makes all files durable.
    pub fn sync(&mut self) -> Result<()> {
        for index in 0..self.files.len() {
            self.file(index)?.sync()?;
        }
        Ok(())
    }

    /// Gives every file the mode, owner and times it had at completion.
    pub fn restore_metadata(&mut self) -> Result<()> {
        self.open.clear();
        for (index, file) in self.files.iter().enumerate() {
            let metadata = Metadata {
                is_dir: false,
                size_bytes: file.size_bytes,
                mode: file.mode,
                uid: file.uid,
                gid: file.gid,
                accessed_unix_nanos: file.accessed_unix_nanos,
                modified_unix_nanos: file.modified_unix_nanos,
                inode: file.inode,
            };
            self.store.set_metadata(&self.path(index), &metadata)?;
        }
        Ok(())
    }

    /// The path of the file with this position.
    pub fn path(&self, index: usize) -> PathBuf {
        (self.naming)(&self.files[index].name)
    }

    /// Cuts `[offset, offset + length)` at file borders: position, offset in the file, range of the caller's bytes.
    fn pieces(&mut self, offset_bytes: u64, length: usize, each: &mut Each<'_>) -> Result<()> {
        let mut index = self.ended_at(offset_bytes);
        let mut done = 0;
        while done < length {
            let at = offset_bytes + done as u64;
            let begin = self.ends[index] - self.files[index].size_bytes;
            let step = (length - done).min((self.ends[index] - at) as usize);
            if step > 0 {
                each(self, index, at - begin, done..done + step)?;
            }
            done += step;
            index += 1;
        }
        Ok(())
    }

    fn create(&mut self, index: usize) -> Result<()> {
        let path = self.path(index);
        if let Some(parent) = path.parent() {
            self.store.create_dir_all(parent)?;
        }
        let file = self.store.open(&path, Access::Create)?;
        file.set_size(self.files[index].size_bytes)
    }

    fn file(&mut self, index: usize) -> Result<&dyn File> {
        if let Some(found) = self.open.iter().position(|(of, _)| *of == index) {
            return Ok(&*self.open[found].1);
        }
        let path = self.path(index);
        let access = if self.mode == Mode::Read { Access::Read } else { Access::Write };
        let file = self.store.open(&path, access).context(|| "open a file of the dataset")?;
        if self.open.len() == OPEN_FILES {
            self.open.remove(0);
        }
        self.open.push((index, file));
        Ok(&*self.open[self.open.len() - 1].1)
    }
}

/// Lets the owner of a file write to it, whatever mode the application gave it; metadata are restored in the end.
pub(super) fn let_write(store: &dyn Store, path: &Path) -> Result<()> {
    const OWNER_WRITES: u32 = 0o200;
    let found = store.metadata(path)?;
    if found.mode & OWNER_WRITES != 0 {
        return Ok(());
    }
    store.set_metadata(path, &Metadata { mode: found.mode | OWNER_WRITES, ..found })
}
