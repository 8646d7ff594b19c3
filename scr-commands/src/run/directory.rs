// SPDX-License-Identifier: MIT OR Apache-2.0
//! The run directory: where `scr run`, its ranks and `scr kill-node` leave each other notes.
//!
//! ```text
//! <run>/run                        what the run is, and the nodes of its launch
//! <run>/supervisor                 the process that drives it
//! <run>/down/<node>                why a node is down
//! <run>/<node>/cntl                SCR_CNTL_BASE of the node
//! <run>/<node>/cntl/procs/<rank>   the processes of a rank
//! <run>/<node>/cntl/procs/<rank>.exit   how its program ended
//! <cache>/<node>                   SCR_CACHE_BASE of the node
//! <cache>/launcher                 the launcher's own files in memory
//! ```

use super::decide::{RankEnd, Status};
use crate::files::{list, name_of, optional, read_note, store, write_note};
use crate::process::Process;
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a run is; kept for later launches, and later `scr run`s, in the same directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Marks every process of the run (`SCR_RUN_ID`).
    pub(crate) id: String,
    /// The allocation, as the library sees it (`SCR_JOB_ID`).
    pub(crate) job_id: String,
    /// Where the caches of all nodes are.
    pub(crate) cache_root: PathBuf,
    /// How many launches there were.
    pub(crate) launches: u32,
    /// How many nodes there are, spares included.
    pub(crate) nodes: u32,
    /// How many nodes the first launch had.
    pub(crate) wanted: u32,
    /// The node of each slot of the last launch.
    pub(crate) slots: Vec<NodeName>,
    /// How many ranks each slot has, where the user said so.
    pub(crate) ranks_per_node: Option<Vec<u32>>,
}

/// The processes of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RankProcesses {
    /// `scr rank-exec`.
    pub(crate) wrapper: Process,
    /// The program, once started.
    pub(crate) program: Option<Process>,
    /// Whether the wrapper leads a process group of its own, which the program is in.
    pub(crate) has_own_group: bool,
}

/// How a rank's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RankExit {
    code: Option<i32>,
    signal: Option<i32>,
    ended_unix_nanos: u64,
}

/// One rank as its notes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RankNotes {
    /// Its number.
    pub(crate) rank: u32,
    /// The node it was started on.
    pub(crate) node: NodeName,
    /// Its processes.
    pub(crate) processes: RankProcesses,
    /// How its program ended, once it has.
    pub(crate) end: Option<RankEnd>,
}

/// A run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// The run directory at `root`, whether or not there is anything yet.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What the run is, `None` in a fresh directory.
    pub(crate) fn run(&self) -> Result<Option<Run>> {
        read_note(&self.root.join("run"))
    }

    /// What the run is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when this is not a run directory.
    pub(crate) fn existing_run(&self) -> Result<Run> {
        self.run()?.ok_or_else(|| {
            let message = format!("{} is not the directory of a run", self.root.display());
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Keeps what the run is.
    pub(crate) fn set_run(&self, run: &Run) -> Result<()> {
        store().create_dir_all(&self.root)?;
        write_note(&self.root.join("run"), run)
    }

    /// Makes this process the one that drives the run.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when another one does.
    pub(crate) fn take(&self) -> Result<()> {
        let path = self.root.join("supervisor");
        let me = crate::process::this();
        if let Some(other) = self.supervisor()?.filter(|other| Some(*other) != me) {
            let message = format!(
                "process {} already runs in {}; choose another --run-dir",
                other.pid,
                self.root.display()
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        store().create_dir_all(&self.root)?;
        write_note(&path, &me)
    }

    /// The process that drives the run, while it lives.
    pub(crate) fn supervisor(&self) -> Result<Option<Process>> {
        let noted = read_note::<Process>(&self.root.join("supervisor"))?;
        Ok(noted.filter(|process| process.is_alive()))
    }

    /// `SCR_CNTL_BASE` of a node.
    pub(crate) fn control(&self, node: &NodeName) -> PathBuf {
        self.root.join(node.as_str()).join("cntl")
    }

    fn processes(&self, node: &NodeName) -> PathBuf {
        self.control(node).join("procs")
    }

    /// Makes the directories of a node ready for a launch, what is in its cache kept.
    pub(crate) fn prepare_node(&self, run: &Run, node: &NodeName) -> Result<()> {
        store().remove_tree(&self.processes(node))?;
        store().create_dir_all(&self.processes(node))?;
        store().create_dir_all(&run.cache(node))
    }

    /// Takes the storage of a node away.
    pub(crate) fn remove_node(&self, run: &Run, node: &NodeName) -> Result<()> {
        store().remove_tree(&run.cache(node))?;
        store().remove_tree(&self.root.join(node.as_str()))
    }

    /// The nodes marked down.
    pub(crate) fn down(&self) -> Result<BTreeSet<NodeName>> {
        Ok(list(&self.root.join("down"))?.iter().map(|path| NodeName::new(name_of(path))).collect())
    }

    /// Marks a node down.
    pub(crate) fn set_down(&self, node: &NodeName, reason: &str) -> Result<()> {
        let down = self.root.join("down");
        store().create_dir_all(&down)?;
        write_note(&down.join(node.as_str()), &reason)
    }

    /// Takes the mark away.
    pub(crate) fn set_up(&self, node: &NodeName) -> Result<()> {
        store().remove(&self.root.join("down").join(node.as_str()))
    }

    /// Notes the processes of a rank.
    pub(crate) fn note_processes(
        &self,
        node: &NodeName,
        rank: u32,
        processes: &RankProcesses,
    ) -> Result<()> {
        write_note(&self.processes(node).join(rank.to_string()), processes)
    }

    /// Notes how the program of a rank ended.
    pub(crate) fn note_end(&self, node: &NodeName, rank: u32, end: RankEnd) -> Result<()> {
        let (code, signal) = match end.status {
            Status::Code(code) => (Some(code), None),
            Status::Signal(signal) => (None, Some(signal)),
        };
        let exit = RankExit { code, signal, ended_unix_nanos: end.ended_unix_nanos };
        write_note(&self.processes(node).join(format!("{rank}.exit")), &exit)
    }

    /// What is noted of the ranks that were started on `node`, ascending by rank.
    pub(crate) fn ranks(&self, node: &NodeName) -> Result<Vec<RankNotes>> {
        let mut ranks = Vec::new();
        for path in list(&self.processes(node))? {
            // A note may go while we look: its node is being killed.
            let Ok(rank) = name_of(&path).parse() else { continue };
            let Some(processes) = read_note(&path)? else { continue };
            let end = optional(read_note::<RankExit>(&path.with_extension("exit")))?.flatten();
            let end = end.map(|exit| RankEnd {
                status: exit.signal.map_or(Status::Code(exit.code.unwrap_or(0)), Status::Signal),
                ended_unix_nanos: exit.ended_unix_nanos,
            });
            ranks.push(RankNotes { rank, node: node.clone(), processes, end });
        }
        ranks.sort_by_key(|notes| notes.rank);
        Ok(ranks)
    }

    /// Takes everything of the run away: caches, control directories, notes.
    pub(crate) fn remove(&self, run: &Run) -> Result<()> {
        store().remove_tree(&run.cache_root)?;
        store().remove_tree(&self.root)
    }
}

impl Run {
    /// `SCR_CACHE_BASE` of a node.
    pub(crate) fn cache(&self, node: &NodeName) -> PathBuf {
        self.cache_root.join(node.as_str())
    }

    /// Where the launcher keeps its own files in memory.
    pub(crate) fn launcher_scratch(&self) -> PathBuf {
        self.cache_root.join("launcher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(root: &Path) -> Run {
        Run {
            id: "r".into(),
            job_id: "j".into(),
            cache_root: root.join("cache"),
            launches: 0,
            nodes: 2,
            wanted: 2,
            slots: vec![NodeName::new("node0"), NodeName::new("node1")],
            ranks_per_node: None,
        }
    }

    #[test]
    fn notes_come_back_and_a_killed_node_has_none() {
        let base = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(&base.path().join("run"));
        let run = run(base.path());
        assert_eq!(directory.run().unwrap(), None);
        assert_eq!(directory.existing_run().unwrap_err().kind(), ErrorKind::NotFound);
        directory.set_run(&run).unwrap();
        assert_eq!(directory.existing_run().unwrap(), run);

        let node = &run.slots[1];
        directory.prepare_node(&run, node).unwrap();
        let me = crate::process::this().unwrap();
        let processes = RankProcesses { wrapper: me, program: None, has_own_group: false };
        let end = RankEnd { status: Status::Signal(11), ended_unix_nanos: 5 };
        directory.note_processes(node, 10, &processes).unwrap();
        directory.note_processes(node, 9, &processes).unwrap();
        directory.note_end(node, 10, end).unwrap();
        let notes = directory.ranks(node).unwrap();
        assert_eq!(
            notes.iter().map(|n| (n.rank, n.end)).collect::<Vec<_>>(),
            [(9, None), (10, Some(end))]
        );

        directory.set_down(node, "killed").unwrap();
        directory.remove_node(&run, node).unwrap();
        assert_eq!(directory.ranks(node).unwrap(), []);
        assert_eq!(directory.down().unwrap(), BTreeSet::from([node.clone()]));
        assert!(!run.cache(node).exists());
        directory.set_up(node).unwrap();
        assert!(directory.down().unwrap().is_empty());
        directory.remove(&run).unwrap();
        assert!(!directory.root().exists() && !run.cache_root.exists());
    }

    #[test]
    fn a_launch_keeps_the_cache_and_forgets_old_processes() {
        let base = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(&base.path().join("run"));
        let run = run(base.path());
        let node = &run.slots[0];
        directory.prepare_node(&run, node).unwrap();
        let kept = run.cache(node).join("kept");
        store().create_dir_all(&kept).unwrap();
        let end = RankEnd { status: Status::Code(0), ended_unix_nanos: 5 };
        directory.note_end(node, 0, end).unwrap();
        directory.prepare_node(&run, node).unwrap();
        assert!(kept.exists());
        assert!(list(&directory.processes(node)).unwrap().is_empty());
    }

    #[test]
    fn one_process_drives_a_run() {
        let base = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(base.path());
        directory.take().unwrap();
        directory.take().unwrap();
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        let parent = crate::process::find(parent).unwrap();
        write_note(&base.path().join("supervisor"), &parent).unwrap();
        assert_eq!(directory.take().unwrap_err().kind(), ErrorKind::Refused);
    }
}
