// SPDX-License-Identifier: MIT OR Apache-2.0
//! The prefix: where its records are, and how they are read and replaced.
//!
//! ```text
//! <prefix>/.scr/                    (.scr/task.<id>/ for one task of several under a prefix)
//!   lease  current  halt  halt.used  decision  events.jsonl  log
//!   index                           a cache of the summaries
//!   dataset.<id>-<identity>/
//!     map.<set>.<member>            node record: which files, with checksums
//!     renames                       seals the rename list; from here on the flush can only end well
//!     summary                       the dataset's own record: the truth
//! ```

use crate::error::{Context, ErrorKind, Result};
use crate::format::current::Current;
use crate::format::decision::Decision;
use crate::format::halt::{HaltRequest, HaltUsed};
use crate::format::index::Index;
use crate::format::summary::{PrefixState, RenameList, Summary};
use crate::format::{self, DatasetHeader, Record};
use crate::id::{DatasetId, DatasetIdentity, Epoch, RelPath};
use crate::sabotage::{self, Fault};
use crate::store::{Durability, Store, exists, publish};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::NodeReader;

/// The summary of a dataset that was taken out of the index.
const DROPPED: &str = "summary.dropped";

/// Why a dataset cannot be used of which some files are gone already.
pub const DELETING: &str = "its deletion did not end";

/// Longest name that file systems allow.
const NAME_MAX: usize = 255;

/// The job's directory on the parallel file system.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// The store that holds it.
    pub store: Arc<dyn Store>,
    root: PathBuf,
    records: PathBuf,
}

impl Prefix {
    /// The prefix at `root`, for one `task` of several where given; nothing is touched.
    pub fn new(store: Arc<dyn Store>, root: PathBuf, task: Option<&str>) -> Self {
        let records = root.join(".scr");
        let records =
            task.map_or_else(|| records.clone(), |task| records.join(format!("task.{task}")));
        Self { store, root, records }
    }

    /// The directory that the application's names are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where records are.
    pub fn records(&self) -> &Path {
        &self.records
    }

    /// Makes the directory for records, durably: all that is published there later would be lost with it.
    pub fn prepare(&self) -> Result<()> {
        self.store
            .create_dir_all(&self.records)
            .and_then(|()| self.sync_above(&BTreeSet::from([self.records.clone()])))
            .context(|| "the prefix cannot be written; set SCR_PREFIX to a directory that can")?;
        if let Some(above) = self.root.parent() {
            // The prefix may be new too; who may not sync the directory above did not make it there.
            let _ = self.store.sync_dir(above);
        }
        Ok(())
    }

    /// Where the records of a dataset are.
    pub fn dataset_dir(&self, dataset: &DatasetHeader) -> PathBuf {
        self.records.join(format!("dataset.{}-{}", dataset.id, dataset.identity.short()))
    }

    /// A rank map of a dataset.
    pub fn map_path(&self, dataset: &DatasetHeader, set: u32, member: u32) -> PathBuf {
        self.dataset_dir(dataset).join(format!("map.{set}.{member}"))
    }

    fn renames_path(&self, dataset: &DatasetHeader) -> PathBuf {
        self.dataset_dir(dataset).join("renames")
    }

    fn summary_path(&self, dataset: &DatasetHeader) -> PathBuf {
        self.dataset_dir(dataset).join("summary")
    }

    /// Where events are appended, as lines of JSON.
    pub fn events_path(&self) -> PathBuf {
        self.records.join("events.jsonl")
    }

    /// SCR's text log.
    pub fn log_path(&self) -> PathBuf {
        self.records.join("log")
    }

    /// The lease record.
    pub fn lease_path(&self) -> PathBuf {
        self.records.join("lease")
    }

    /// The name under which a file waits until its dataset is sealed: beside its own, for renames do not leave a directory.
    pub fn temporary(&self, name: &RelPath, identity: &DatasetIdentity, epoch: Epoch) -> PathBuf {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let path = name.under(&self.root);
        let own = path.file_name().unwrap_or_default().as_bytes();
        let mut bytes = format!(".scr-{}.{epoch}.", identity.short()).into_bytes();
        if bytes.len() + own.len() <= NAME_MAX {
            bytes.extend_from_slice(own);
        } else {
            bytes.extend_from_slice(&own[..128]);
            bytes.extend_from_slice(format!("{:08x}", crc32fast::hash(own)).as_bytes());
        }
        path.with_file_name(std::ffi::OsString::from_vec(bytes))
    }

    fn read<T: Record>(&self, path: &Path) -> Result<T> {
        format::decode(&self.store.read(path)?).context(|| format!("read {}", path.display()))
    }

    fn read_optional<T: Record>(&self, path: &Path) -> Result<Option<T>> {
        match self.read(path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn publish<T: Record>(&self, path: &Path, value: &T) -> Result<()> {
        publish(&*self.store, path, &format::encode(value), Durability::Power)
    }

    /// The summary of a dataset, if it has one.
    pub fn summary(&self, dataset: &DatasetHeader) -> Result<Option<Summary>> {
        self.read_optional(&self.summary_path(dataset))
    }

    /// Replaces the summary of a dataset.
    pub fn publish_summary(&self, summary: &Summary) -> Result<()> {
        self.publish(&self.summary_path(&summary.dataset), summary)
    }

    /// The seal of a dataset's rename list, if it was published.
    pub fn rename_list(&self, dataset: &DatasetHeader) -> Result<Option<RenameList>> {
        self.read_optional(&self.renames_path(dataset))
    }

    /// Publishes the seal.
    pub fn publish_rename_list(&self, list: &RenameList) -> Result<()> {
        self.publish(&self.renames_path(&list.dataset), list)
    }

    /// Takes back what an earlier flush published: its seal must not pass for that of the next, nor its maps.
    pub fn unseal(&self, dataset: &DatasetHeader) -> Result<()> {
        self.store.remove(&self.renames_path(dataset))?;
        for map in self.maps(dataset)? {
            self.store.remove(&map)?;
        }
        self.store.sync_dir(&self.dataset_dir(dataset))
    }

    /// The choice of *current*.
    pub fn current(&self) -> Result<Option<Current>> {
        self.read_optional(&self.records.join("current"))
    }

    /// Replaces the choice of *current*.
    pub fn publish_current(&self, current: &Current) -> Result<()> {
        self.publish(&self.records.join("current"), current)
    }

    /// The halt request and what was used of it.
    pub fn halt(&self) -> Result<(Option<HaltRequest>, Option<HaltUsed>)> {
        Ok((
            self.read_optional(&self.records.join("halt"))?,
            self.read_optional(&self.records.join("halt.used"))?,
        ))
    }

    /// Replaces the halt request (commands do this).
    pub fn publish_halt(&self, request: &HaltRequest) -> Result<()> {
        self.publish(&self.records.join("halt"), request)
    }

    /// Replaces what was used of the halt request (the job does this).
    pub fn publish_halt_used(&self, used: &HaltUsed) -> Result<()> {
        self.publish(&self.records.join("halt.used"), used)
    }

    /// The last restart decision.
    pub fn decision(&self) -> Result<Option<Decision>> {
        self.read_optional(&self.records.join("decision"))
    }

    /// Replaces the restart decision.
    pub fn publish_decision(&self, decision: &Decision) -> Result<()> {
        let bytes = format::encode(decision);
        publish(&*self.store, &self.records.join("decision"), &bytes, Durability::Process)
    }

    /// All summaries, ascending by number, and what could not be read.
    pub fn summaries(&self) -> Result<(Vec<Summary>, Vec<crate::Error>)> {
        let names = match self.store.list(&self.records) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut summaries, mut unreadable) = (Vec::<Summary>::new(), Vec::new());
        for name in names {
            if !name.to_string_lossy().starts_with("dataset.") {
                continue;
            }
            match self.read_optional(&self.records.join(name).join("summary")) {
                Ok(Some(summary)) => summaries.push(summary),
                Ok(None) => {}
                Err(error) => unreadable.push(error),
            }
        }
        summaries.sort_by_key(|s| (s.dataset.id, s.dataset.identity));
        Ok((summaries, unreadable))
    }

    /// The highest number of a dataset of which there is a record, readable or not.
    pub fn last_id(&self) -> Result<DatasetId> {
        let names = self.store.list(&self.records)?;
        Ok(names.iter().filter_map(|name| DatasetId::of_directory(name)).max().unwrap_or_default())
    }

    /// The index, brought in line with the summaries: what was wrong with it is said in the second value.
    pub fn refresh_index(&self) -> Result<(Index, Option<String>)> {
        let (summaries, _) = self.summaries()?;
        let entries = summaries.into_iter().map(|s| Summary { ranges: Vec::new(), ..s }).collect();
        let index = Index { entries };
        let path = self.records.join("index");
        let wrong = match self.read_optional::<Index>(&path) {
            Ok(Some(found)) if found == index => return Ok((index, None)),
            Ok(Some(_)) => "the index was old".to_string(),
            Ok(None) if index.entries.is_empty() => return Ok((index, None)),
            Ok(None) => "the index was missing".to_string(),
            Err(error) => format!("the index was unreadable ({error:#})"),
        };
        self.publish(&path, &index)?;
        Ok((index, Some(format!("{wrong}; rebuilt from the summaries"))))
    }

    /// Carries out the renames of one rank map; those done before are passed over.
    ///
    /// # Errors
    /// Those of the store. Nothing is lost then: the renames can be carried out again.
    pub fn carry_out(&self, list: &RenameList, map: &Path) -> Result<()> {
        let mut dirs = BTreeSet::new();
        NodeReader::open(&*self.store, map)?.sections(&mut |section| {
            for file in &section.files {
                self.take_place(&file.name, list, &mut dirs)?;
            }
            Ok(true)
        })?;
        self.sync_dirs(&dirs)
    }

    /// Gives one file its own name, and notes the directory that changed.
    pub fn take_place(
        &self,
        name: &RelPath,
        list: &RenameList,
        dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let from = self.temporary(name, &list.dataset.identity, list.epoch);
        let to = name.under(&self.root);
        match self.store.rename(&from, &to) {
            // Somebody else was faster, or died after it; a file under neither name must not pass for flushed.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.store.metadata(&to).map(|_| ())?;
            }
            other => other?,
        }
        dirs.extend(to.parent().map(Path::to_path_buf));
        Ok(())
    }

    /// Makes the entries of directories durable, and those of all directories above them up to the prefix.
    pub fn sync_above(&self, dirs: &BTreeSet<PathBuf>) -> Result<()> {
        let above = |dir: &PathBuf| {
            let below_root = dir.ancestors().take_while(|dir| dir.starts_with(&self.root));
            below_root.map(Path::to_path_buf).collect::<Vec<_>>()
        };
        self.sync_dirs(&dirs.iter().flat_map(above).collect())
    }

    /// Makes the entries of directories durable.
    pub fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<()> {
        if sabotage::active(Fault::SkipPrefixSync) {
            return Ok(());
        }
        dirs.iter().try_for_each(|dir| self.store.sync_dir(dir))
    }

    /// The rank maps of a dataset.
    pub fn maps(&self, dataset: &DatasetHeader) -> Result<Vec<PathBuf>> {
        let dir = self.dataset_dir(dataset);
        let names = self.store.list(&dir)?;
        let is_map = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy();
            name.starts_with("map.") && !name.ends_with(".new")
        };
        Ok(names.into_iter().filter(is_map).map(|name| dir.join(name)).collect())
    }

    /// Ends a flush that was sealed but not summarised: someone died between.
    ///
    /// # Errors
    /// Those of the store; it can be tried again.
    pub fn finish(&self, list: &RenameList, now_unix_micros: u64) -> Result<Summary> {
        let maps = self.maps(&list.dataset)?;
        if maps.len() != list.maps as usize {
            let text = format!("{} rank maps where {} were sealed", maps.len(), list.maps);
            return Err(crate::Error::new(ErrorKind::Corrupt, text));
        }
        self.mark_superseded(list, now_unix_micros)?;
        for map in maps {
            self.carry_out(list, &map)?;
        }
        let summary = self.summarise(list, now_unix_micros)?;
        self.publish_summary(&summary)?;
        Ok(summary)
    }

    /// The summary of a flush that has ended well, from its rank maps.
    fn summarise(&self, list: &RenameList, now_unix_micros: u64) -> Result<Summary> {
        let mut ranges = Vec::new();
        let mut has_checksums = true;
        for map in self.maps(&list.dataset)? {
            let reader = NodeReader::open(&*self.store, &map)?;
            has_checksums &= reader.header().has_checksums;
            let place = reader.header().place;
            let ranks = &reader.header().members[place.member as usize];
            let ranks: Vec<u32> = ranks.iter().map(|&(rank, _)| rank).collect();
            ranges.extend(crate::format::summary::ranges_of(&ranks, place.set, place.member));
        }
        ranges.sort_by_key(|r| r.first);
        Ok(Summary {
            dataset: list.dataset.clone(),
            state: PrefixState::Flushed,
            changed_unix_micros: now_unix_micros,
            maps: list.maps,
            ranges,
            files: list.files,
            bytes: list.bytes,
            has_checksums,
        })
    }

    /// Takes a dataset out of the index; its files and its other records stay, so that it can be added again.
    pub fn drop_dataset(&self, dataset: &DatasetHeader) -> Result<()> {
        let summary = self.summary_path(dataset);
        self.store.rename(&summary, &summary.with_file_name(DROPPED))?;
        self.store.sync_dir(&self.dataset_dir(dataset))?;
        self.refresh_index().map(|_| ())
    }

    /// The datasets that were taken out of the index, and not added again.
    ///
    /// A record that cannot be read says of no dataset that it was.
    pub fn dropped(&self) -> Result<Vec<DatasetIdentity>> {
        let mut dropped = Vec::new();
        for name in self.store.list(&self.records)? {
            if !name.to_string_lossy().starts_with("dataset.") {
                continue;
            }
            let dir = self.records.join(name);
            if !exists(&*self.store, &dir.join("summary"))?
                && let Ok(Some(summary)) = self.read_optional::<Summary>(&dir.join(DROPPED))
            {
                dropped.push(summary.dataset.identity);
            }
        }
        Ok(dropped)
    }

    /// Removes a dataset with its files. Stopped on the way, it is no restart point any more, and can be ended by another
    /// call.
    pub fn delete(&self, dataset: &DatasetHeader) -> Result<()> {
        // Only then are the files under these names its own.
        let owns = |state: &PrefixState| {
            matches!(state, PrefixState::Flushed | PrefixState::Failed { .. })
        };
        let mut maps = Vec::new();
        if let Some(summary) = self.summary(dataset)?.filter(|summary| owns(&summary.state)) {
            let state = PrefixState::Failed { reason: DELETING.into() };
            self.publish_summary(&Summary { state, ..summary })?;
            maps = self.maps(dataset)?;
        }
        for map in maps {
            NodeReader::open(&*self.store, &map)?.sections(&mut |section| {
                for file in &section.files {
                    self.remove_file(&file.name)?;
                }
                Ok(true)
            })?;
        }
        self.store.remove(&self.summary_path(dataset))?;
        self.store.remove_tree(&self.dataset_dir(dataset))?;
        self.refresh_index().map(|_| ())
    }

    /// Removes a file, and the directories below the prefix that it leaves empty.
    pub(super) fn remove_file(&self, name: &RelPath) -> Result<()> {
        let path = name.under(&self.root);
        self.store.remove(&path)?;
        let below = path.ancestors().skip(1).take_while(|dir| *dir != self.root);
        for dir in below {
            if !self.store.remove_empty_dir(dir)? {
                break;
            }
        }
        Ok(())
    }

    /// Marks the datasets that lose a name to this one.
    pub fn mark_superseded(&self, list: &RenameList, now_unix_micros: u64) -> Result<()> {
        if list.supersedes.is_empty() {
            return Ok(());
        }
        for mut summary in self.summaries()?.0 {
            if list.supersedes.contains(&summary.dataset.identity)
                && !matches!(summary.state, PrefixState::Superseded { .. })
            {
                summary.state = PrefixState::Superseded { by: list.dataset.identity };
                summary.changed_unix_micros = now_unix_micros;
                self.publish_summary(&summary)?;
            }
        }
        Ok(())
    }
}
