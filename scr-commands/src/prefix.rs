// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of a prefix, as the commands see them: read all, write only what is a person's to write.

use crate::environment::variable;
use crate::files::{list, name_of, read_record, store};
use crate::settings;
use scr_core::exec::scr3;
use scr_core::format::current::Current;
use scr_core::format::halt::{HaltRequest, HaltUsed};
use scr_core::format::lease::Lease;
use scr_core::format::summary::Summary;
use scr_core::{Context, Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A job's directory on the parallel file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    records: PathBuf,
    root: PathBuf,
    task: Option<String>,
}

/// A dataset's directory among the records, and what its summary says.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The directory.
    pub(crate) path: PathBuf,
    /// The summary: missing while nothing was flushed or after a drop, or an error when it is damaged.
    pub(crate) summary: Result<Option<Summary>>,
}

impl Prefix {
    /// The prefix at `root`, for one `task` of several where given.
    pub(crate) fn new(root: &Path, task: Option<&str>) -> Self {
        let files = Arc::new(scr_core::store::posix::Posix::new());
        let core = scr_core::exec::prefix::Prefix::new(files, root.to_path_buf(), task);
        let records = core.records().to_path_buf();
        Self { records, root: root.to_path_buf(), task: task.map(String::from) }
    }

    /// The prefix at `root`, for the task that this process's environment or the configuration there names (`SCR_TASK`).
    pub(crate) fn at(root: &Path) -> Self {
        // With a configuration that is wrong elsewhere a prefix can still be looked at.
        let of_job = || settings::of(root).ok()?.task;
        Self::new(
            root,
            variable("SCR_TASK").filter(|task| !task.is_empty()).or_else(of_job).as_deref(),
        )
    }

    /// The prefix of a job, with the records of its task where it is one of several.
    pub(crate) fn of(config: &scr_core::config::Config) -> Self {
        Self::new(&config.prefix, config.task.as_deref())
    }

    /// The prefix as the library has it.
    pub(crate) fn core(&self) -> scr_core::exec::prefix::Prefix {
        let files = Arc::new(scr_core::store::posix::Posix::new());
        scr_core::exec::prefix::Prefix::new(files, self.root.clone(), self.task())
    }

    /// Which task of several it is for.
    pub(crate) fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// Where a node has what belongs to it, below the directory of the job and the prefix.
    pub(crate) fn in_cache(&self, of_prefix: &Path) -> PathBuf {
        let of_task = |task| of_prefix.join(format!("task.{task}"));
        self.task().map_or_else(|| of_prefix.to_path_buf(), of_task)
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses a prefix that is not there: what a command writes must not make a directory of a mistyped name.
    pub(crate) fn must_exist(&self) -> Result<()> {
        if store().metadata(&self.root).context(|| "find the prefix")?.is_dir {
            return Ok(());
        }
        let text = format!("{} is not a directory", self.root.display());
        Err(Error::new(ErrorKind::Misuse, text))
    }

    /// Where a record lies.
    pub(crate) fn record(&self, name: &str) -> PathBuf {
        self.records.join(name)
    }

    /// Who may write into the prefix.
    pub(crate) fn lease(&self) -> Result<Option<Lease>> {
        read_record(&self.record("lease"))
    }

    /// When the job shall stop.
    pub(crate) fn halt(&self) -> Result<Option<HaltRequest>> {
        read_record(&self.record("halt"))
    }

    /// What the job used up of the request to stop.
    pub(crate) fn halt_used(&self) -> Result<Option<HaltUsed>> {
        read_record(&self.record("halt.used"))
    }

    /// The dataset chosen to restart from.
    pub(crate) fn current(&self) -> Result<Option<Current>> {
        read_record(&self.record("current"))
    }

    /// What SCR 3 left here.
    pub(crate) fn scr3(&self) -> scr3::Left {
        let files = Arc::new(scr_core::store::posix::Posix::new());
        scr3::look(&scr_core::exec::prefix::Prefix::new(files, self.root.clone(), None))
    }

    /// All datasets that have a directory among the records, in the order of their names.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        let paths = list(&self.records)?.into_iter();
        let datasets = paths.filter(|path| name_of(path).starts_with("dataset."));
        Ok(datasets
            .map(|path| Entry { summary: read_record(&path.join("summary")), path })
            .collect())
    }

    /// Whether a person's word must wait: a job holds the prefix as far as its lease says.
    pub(crate) fn is_held(&self) -> bool {
        use scr_core::format::lease::LeaseState;
        self.lease().is_ok_and(|lease| lease.is_some_and(|lease| lease.state == LeaseState::Held))
    }
}
