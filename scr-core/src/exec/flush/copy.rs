// SPDX-License-Identifier: MIT OR Apache-2.0
//! The copying of a flush: this rank's files go to their temporary names, compared with their checksums on the way, and are
//! made durable.
//!
//! It needs stores and no ranks, and goes in steps: whoever takes them can stop between two, and may be any thread.

use super::{Before, Cargo};
use crate::codec::checksum;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::exec::Job;
use crate::exec::prefix::Prefix;
use crate::exec::stream::{Mode, Stream};
use crate::format::DatasetHeader;
use crate::format::node::RankSection;
use crate::id::Epoch;
use crate::sabotage::{self, Fault};
use crate::store::{Access, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More {
        /// How many bytes were copied.
        bytes: u64,
        /// Whether a file was copied to its end.
        ended_file: bool,
    },
    /// All is copied and durable.
    Done,
}

/// The copying of one rank.
#[derive(Debug)]
pub struct Copying {
    cache: Arc<dyn Store>,
    prefix: Prefix,
    dataset: DatasetHeader,
    cargo: Arc<Cargo>,
    epoch: Epoch,
    before: Before,
    /// The section whose turn it is.
    section: usize,
    /// Its files, as long as there is more of them.
    pump: Option<Pump>,
}

impl Copying {
    /// What this rank has to copy; nothing is touched yet.
    pub(super) fn new(
        job: &Job,
        dataset: &DatasetHeader,
        cargo: &Arc<Cargo>,
        (epoch, before): (Epoch, Before),
    ) -> Self {
        Self {
            cache: job.cache.store.clone(),
            prefix: job.prefix.clone(),
            dataset: dataset.clone(),
            cargo: cargo.clone(),
            epoch,
            before,
            section: 0,
            pump: None,
        }
    }

    /// Copies all that is left.
    pub(super) fn finish(mut self) -> Result<()> {
        while self.step()? != Step::Done {}
        Ok(())
    }

    /// Does a little: a block of a file, or what comes before the first and after the last one.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when data do not match their checksums; those of the stores. What was copied so far is in the
    /// way of nobody.
    pub fn step(&mut self) -> Result<Step> {
        let cargo = self.cargo.clone();
        let Some((dir, section)) = cargo.sections.get(self.section) else {
            self.sync_directories()?;
            return Ok(Step::Done);
        };
        let Some(pump) = &mut self.pump else {
            self.pump = self.begin(dir, section)?;
            self.section += usize::from(self.pump.is_none());
            return Ok(Step::More { bytes: 0, ended_file: false });
        };
        let sums = cargo.has_checksums && !sabotage::active(Fault::FlushUnverified);
        let moved = pump
            .step(sums.then_some(&section.data_checksums[..]))
            .context(|| format!("flush dataset {}", self.dataset.id))?;
        if let Some(moved) = moved {
            return Ok(moved);
        }
        pump.to.restore_metadata()?;
        if !sabotage::active(Fault::SkipPrefixSync) {
            pump.to.sync()?;
        }
        self.pump = None;
        self.section += 1;
        Ok(Step::More { bytes: 0, ended_file: false })
    }

    /// Makes the files of a section under their temporary names, to be filled; those that are in place are only synced.
    fn begin(&self, dir: &Path, section: &RankSection) -> Result<Option<Pump>> {
        let (prefix, identity, epoch) = (&self.prefix, self.dataset.identity, self.epoch);
        // Also those of this epoch: they may have got modes by now that forbid to write.
        if let Before::Attempt(old) = self.before {
            for file in &section.files {
                prefix.store.remove(&prefix.temporary(&file.name, &identity, old))?;
            }
        }
        if self.cargo.in_place {
            sync_in_place(prefix, section)?;
            return Ok(None);
        }
        let from = Stream::below(self.cache.clone(), dir, section.files.clone(), Mode::Read)?;
        from.check_sizes()?;
        let names = prefix.clone();
        let naming = Box::new(move |name: &_| names.temporary(name, &identity, epoch));
        let files = section.files.clone();
        let to = Stream::new(prefix.store.clone(), naming, files, Mode::Create)?;
        Ok(Some(Pump::new(from, to, self.cargo.block_bytes)))
    }

    /// Once the list is sealed its files must be there to be renamed, whatever happens.
    fn sync_directories(&self) -> Result<()> {
        let root = self.prefix.root();
        let names = self.cargo.files().map(|file| file.name.under(root));
        let dirs: BTreeSet<_> =
            names.filter_map(|path| path.parent().map(Path::to_path_buf)).collect();
        self.prefix.sync_above(&dirs)
    }
}

fn sync_in_place(prefix: &Prefix, section: &RankSection) -> Result<()> {
    section.files.iter().try_for_each(|file| {
        let path = file.name.under(prefix.root());
        prefix.store.open(&path, Access::Read)?.sync()
    })
}

/// One stream on its way to become another, block by block.
#[derive(Debug)]
struct Pump {
    from: Stream,
    to: Stream,
    buffer: Vec<u8>,
    /// How far it is.
    offset_bytes: u64,
    /// The number of the block that begins there.
    block: usize,
}

impl Pump {
    fn new(from: Stream, to: Stream, block_bytes: u32) -> Self {
        Self { from, to, buffer: vec![0; block_bytes as usize], offset_bytes: 0, block: 0 }
    }

    /// Copies a block, compared with its checksum; `None` at the end.
    fn step(&mut self, checksums: Option<&[u32]>) -> Result<Option<Step>> {
        let (at, number) = (self.offset_bytes, self.block);
        let length = (self.from.size_bytes() - at).min(self.buffer.len() as u64);
        if length == 0 {
            return Ok(None);
        }
        let data = &mut self.buffer[..length as usize];
        self.from.read(at, data)?;
        if let Some(sums) = checksums
            && sums.get(number) != Some(&checksum::block(data))
        {
            let text = format!("block {number} does not match its checksum");
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        self.to.write(at, data)?;
        (self.offset_bytes, self.block) = (at + length, number + 1);
        let ended_file = self.from.ended_at(at) != self.from.ended_at(at + length);
        Ok(Some(Step::More { bytes: length, ended_file }))
    }
}

/// Copies one stream to another, block by block, and returns it.
pub(in crate::exec) fn pump(from: Stream, to: Stream, block_bytes: u32) -> Result<Stream> {
    let mut pump = Pump::new(from, to, block_bytes);
    while pump.step(None)?.is_some() {}
    Ok(pump.to)
}
