// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual nodes of this machine.
//!
//! Every rank runs behind `scr rank-exec`, which gives it the name and directories of its node and leaves notes of its
//! processes; so ranks can be signalled and killed one by one, and their ends are known even where launchers hide them.

use super::super::directory::{RankNotes, Run, RunDirectory};
use super::super::heartbeat::{Listener, read_counters};
use super::super::progress::{Progress, progress};
use super::super::salvage::{Saved, save_what_is_only_in_cache};
use super::super::{own, rank_exec, run_base};
use super::{Aftermath, Site, kill_all, sweep};
use crate::environment::variable;
use crate::files::{absolute, store};
use crate::launcher::{Additions, Launch, Launcher, Place};
use crate::output::{count, say_now};
use crate::prefix::Prefix;
use crate::process;
use crate::resource_manager::{PATIENCE, ResourceManager, local::Local};
use crate::run::Arguments;
use rustix::process::Signal;
use scr_core::clock::Clock;
use scr_core::id::NodeName;
use scr_core::{Context, Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The virtual nodes of a run directory.
#[derive(Debug)]
pub(crate) struct VirtualNodes {
    directory: RunDirectory,
    run: Run,
    excluded: BTreeSet<NodeName>,
    end_unix_seconds: Option<u64>,
    listener: Listener,
    down_before: BTreeSet<NodeName>,
}

impl VirtualNodes {
    /// The nodes that `arguments` ask for: those of an earlier run in the same directory, or new ones.
    ///
    /// # Errors
    /// [`Refused`](scr_core::ErrorKind::Refused) when somebody else uses the run directory.
    pub(crate) fn new(
        arguments: &Arguments,
        started: String,
        excluded: BTreeSet<NodeName>,
        listener: Listener,
    ) -> Result<Self> {
        let root = match &arguments.run_dir {
            Some(root) => absolute(root)?,
            None => run_base().join(&started),
        };
        own(&root)?;
        let directory = RunDirectory::new(&root);
        directory.take().context(|| "take the run directory")?;
        let mut run = match directory.run()? {
            Some(run) => run,
            None => Run {
                job_id: variable("SCR_JOB_ID").unwrap_or_else(|| started.clone()),
                cache_root: absolute(&arguments.cache_base)?.join(&started),
                id: started,
                launches: 0,
                nodes: 0,
                wanted: arguments.nodes.unwrap_or(1),
                slots: Vec::new(),
                ranks_per_node: None,
            },
        };
        run.nodes = run.nodes.max(run.wanted + arguments.spares.unwrap_or(0));
        run.ranks_per_node.clone_from(&arguments.ranks_per_node);
        say_now(&format!("run directory {}", root.display()));
        Ok(Self {
            directory,
            run,
            excluded,
            end_unix_seconds: arguments.end_time,
            listener,
            down_before: BTreeSet::new(),
        })
    }

    /// How many nodes the first launch had.
    pub(crate) fn wanted(&self) -> u32 {
        self.run.wanted
    }

    fn manager(&self) -> Local<'_> {
        Local::new(&self.directory, &self.run, self.excluded.clone(), self.end_unix_seconds)
    }

    /// All nodes with their cache directories.
    fn caches(&self) -> Vec<(NodeName, PathBuf)> {
        let cache = |node: &NodeName| (node.clone(), self.run.cache(node));
        self.manager().nodes().iter().map(cache).collect()
    }

    fn rank_notes(&self) -> Result<Vec<RankNotes>> {
        let mut all = Vec::new();
        for node in &self.run.slots {
            all.extend(self.directory.ranks(node)?);
        }
        Ok(all)
    }

    fn lost_nodes(&self) -> Result<Vec<String>> {
        let down = self.directory.down()?;
        let lost = self.run.slots.iter().filter(|node| down.contains(node));
        Ok(lost.map(|node| format!("{node} lost")).collect())
    }

    /// What is wrong with the ranks: those that ended badly, else those that are gone.
    fn rank_troubles(&self) -> Result<Vec<String>> {
        let (mut ended, mut gone) = (Vec::new(), Vec::new());
        for notes in self.rank_notes()? {
            let RankNotes { rank, node, end, .. } = &notes;
            match end {
                Some(end) if end.status.is_success() => {}
                Some(end) => {
                    let text = format!("rank {rank} on {node} ended with {}", end.status);
                    ended.push((end.ended_unix_nanos, text));
                }
                None if self.is_gone(&notes)? => {
                    gone.push(format!("rank {rank} on {node} was killed"));
                }
                None => {}
            }
        }
        ended.sort();
        let first = ended.into_iter().next().map(|(_, text)| vec![text]);
        Ok(first.unwrap_or(gone))
    }

    /// Whether a rank's wrapper ended without a last note.
    fn is_gone(&self, notes: &RankNotes) -> Result<bool> {
        if notes.processes.wrapper.is_alive() {
            return Ok(false);
        }
        // It may have written the note between our reading and its end; on a killed node there are no notes any more.
        let again = self.directory.ranks(&notes.node)?;
        Ok(again.iter().any(|now| now.rank == notes.rank && now.end.is_none()))
    }
}

impl Site for VirtualNodes {
    fn describe(&self) -> String {
        self.manager().describe()
    }

    fn job_id(&self) -> &str {
        &self.run.job_id
    }

    fn run_id(&self) -> &str {
        &self.run.id
    }

    fn nodes(&self) -> Vec<NodeName> {
        self.manager().nodes()
    }

    fn down(&mut self) -> Result<BTreeSet<NodeName>> {
        self.manager().down(PATIENCE)
    }

    fn end_unix_seconds(&self) -> Option<u64> {
        self.end_unix_seconds
    }

    fn slots(&self) -> &[NodeName] {
        &self.run.slots
    }

    fn prepare(&mut self, slots: Vec<NodeName>, dropped: bool) -> Result<()> {
        if dropped && self.run.ranks_per_node.take().is_some() {
            say_now("--ranks-per-node no longer fits; ranks are spread evenly");
        }
        self.run.slots = slots;
        self.run.launches += 1;
        self.directory.set_run(&self.run)?;
        for node in &self.run.slots {
            self.directory.prepare_node(&self.run, node)?;
        }
        store().remove_tree(&self.run.launcher_scratch())?;
        store().create_dir_all(&self.run.launcher_scratch())?;
        self.listener.forget();
        self.down_before = self.directory.down()?;
        Ok(())
    }

    fn launch(&mut self, launcher: &dyn Launcher) -> Result<Launch> {
        let own_program = std::env::current_exe()
            .map_err(|error| Error::io("find", Path::new("the program scr"), &error))?;
        let wrapper = rank_exec::wrapper(&own_program, &self.directory);
        let scratch = self.run.launcher_scratch();
        let mut launch = launcher.launch(&Additions {
            place: Place::Here { wrapper: &wrapper, scratch: &scratch },
            is_root: rustix::process::geteuid().is_root(),
        });
        launch.env.push(("SCR_RUN_DIR", self.directory.root().into()));
        Ok(launch)
    }

    fn look(&mut self, now: Duration) -> Result<Vec<String>> {
        let mut troubles = self.lost_nodes()?;
        if troubles.is_empty() {
            troubles = self.rank_troubles()?;
        }
        if self.listener.is_due(now) {
            for node in &self.run.slots {
                self.listener.hear(node, &read_counters(&self.directory.control(node))?, now);
            }
            troubles.extend(self.listener.troubles());
        }
        Ok(troubles)
    }

    fn pass_on(&mut self, signal: i32) -> Result<Option<String>> {
        let Some(number) = Signal::from_named_raw(signal) else { return Ok(None) };
        let ranks = self.rank_notes()?;
        for rank in ranks.iter().filter(|rank| rank.end.is_none()) {
            let processes = rank.processes;
            if processes.has_own_group {
                processes.wrapper.signal_group(number);
            } else if let Some(program) = processes.program {
                program.signal(number);
            }
        }
        Ok((!ranks.is_empty()).then(|| count(ranks.len() as u64, "rank")))
    }

    fn end_ranks(&mut self) -> Result<()> {
        for notes in self.rank_notes()?.into_iter().filter(|notes| notes.end.is_none()) {
            notes.processes.wrapper.signal(Signal::KILL);
        }
        let of_ranks = [("SCR_RUN_ID", Some(self.run.id.as_str())), ("SCR_NODE", None)];
        kill_all(&process::with_environment(&of_ranks));
        Ok(())
    }

    fn ended(&mut self, clock: &dyn Clock) -> Result<Aftermath> {
        if !sweep(&self.run.id, clock) {
            say_now("some processes of the launch cannot be killed");
        }
        let ranks = self.rank_notes()?.into_iter().filter_map(|notes| notes.end).collect();
        let down = self.directory.down()?;
        let lost = self.run.slots.iter().filter(|node| down.contains(node));
        let lost = lost.filter(|node| !self.down_before.contains(node)).cloned().collect();
        Ok(Aftermath { ranks, lost })
    }

    fn progress(&mut self, prefix: &Prefix) -> Result<Progress> {
        let bases: Vec<PathBuf> = self.caches().into_iter().map(|(_, base)| base).collect();
        progress(&bases, prefix).context(|| "look for checkpoints")
    }

    fn save(&mut self, prefix: &Prefix, _is_stopped: &dyn Fn() -> bool) -> Result<Saved> {
        save_what_is_only_in_cache(&self.run, &self.caches(), prefix)
    }

    fn can_requeue(&self) -> Option<bool> {
        None
    }

    fn requeue(&self) -> Result<()> {
        self.manager().requeue()
    }

    fn leave(&mut self, keep: bool) -> Result<Option<String>> {
        if !keep {
            return self.directory.remove(&self.run).map(|()| None);
        }
        let (root, caches) = (self.directory.root().display(), self.run.cache_root.display());
        Ok(Some(format!(
            "nodes kept: go on with scr run --run-dir {root}, or remove {root} and {caches}"
        )))
    }
}
