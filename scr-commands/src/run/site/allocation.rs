// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nodes of an allocation.
//!
//! The ranks are the launcher's; what we know of the nodes comes from agents. Before a launch each node is asked whether
//! it is there; during the launch each tells every second that it is. One that falls silent is asked once more, by another
//! job step, before it counts as lost: schedulers take minutes for that, and a launch that waits for a dead node waits as
//! long. A node that was lost is asked again before the next launch: what is in its cache carries its identity, so nobody
//! can take old data for new.

use super::super::heartbeat::Listener;
use super::super::progress::{Progress, flushed};
use super::super::salvage::Saved;
use super::signs::Signs;
use super::{Aftermath, Site, processes, sweep};
use crate::agents::Agents;
use crate::agents::probe::{Canary, Probe, Probed, survey};
use crate::agents::protocol::{Answer, Request, Task};
use crate::agents::save::{Rescue, rescue};
use crate::agents::watch;
use crate::launcher::{Additions, Launch, Launcher, Place};
use crate::output::{join, say_now};
use crate::prefix::Prefix;
use crate::resource_manager::{HASTE, JobStep, PATIENCE, ResourceManager};
use crate::settings::Settings;
use scr_core::clock::{Clock, SystemClock};
use scr_core::format::lease::LeaseState;
use scr_core::id::NodeName;
use scr_core::{ErrorKind, Result};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often agents say that their node lives.
const PERIOD: Duration = Duration::from_secs(1);
/// How often the manager is asked for nodes that it has given up.
const ASK: Duration = Duration::from_secs(5);
/// How long agents that have ended are left alone before others are sent.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a manager that does not answer is waited for when something is to be saved: they are started anew now and then.
const RETURN: Duration = Duration::from_mins(10);
/// How long a step that was ended may take to be gone.
const STEP_GRACE: Duration = Duration::from_secs(10);

/// How long nodes may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To a question (`SCR_PROBE_SECONDS`).
    pub(crate) answer: Duration,
    /// Between two signs of life during a launch (`SCR_NODE_SILENCE_SECONDS`).
    pub(crate) silence: Duration,
}

/// An allocation with an application in it.
#[derive(Debug)]
pub(crate) struct Allocation {
    manager: Box<dyn ResourceManager>,
    run_id: String,
    excluded: BTreeSet<NodeName>,
    patience: Patience,
    clock: SystemClock,
    slots: Vec<NodeName>,
    launches: u32,
    is_srun: bool,
    settings: Settings,
    answers: BTreeMap<NodeName, Probed>,
    watch: Option<Watch>,
    listener: Listener,
    next_ask: Duration,
    /// Processes of this machine that may have started steps.
    launchers: BTreeSet<i32>,
}

/// The agents that tell of their nodes during a launch.
#[derive(Debug)]
struct Watch {
    agents: Agents,
    started: Duration,
    signs: Signs,
    /// Those who ask nodes that fell silent once more.
    second: Vec<Agents>,
}

impl Allocation {
    /// The allocation of `manager`.
    pub(crate) fn new(
        manager: Box<dyn ResourceManager>,
        run_id: String,
        excluded: BTreeSet<NodeName>,
        patience: Patience,
        listener: Listener,
        settings: Settings,
    ) -> Self {
        Self {
            settings,
            manager,
            run_id,
            excluded,
            patience,
            clock: SystemClock::default(),
            slots: Vec::new(),
            launches: 0,
            is_srun: false,
            answers: BTreeMap::new(),
            watch: None,
            listener,
            next_ask: Duration::ZERO,
            launchers: BTreeSet::new(),
        }
    }

    /// Asks every node that may be there whether it is; returns those that cannot be used.
    fn ask_nodes(&mut self) -> Result<BTreeSet<NodeName>> {
        let mut down = match self.manager.down(PATIENCE) {
            Err(error) if error.kind() != ErrorKind::Refused => {
                // That is trouble of the manager's; what nodes say themselves counts more.
                say_now(&format!("{error:#}; the nodes are asked"));
                BTreeSet::new()
            }
            answer => answer?,
        };
        down.extend(self.excluded.iter().cloned());
        let asked: Vec<_> = self.nodes().into_iter().filter(|n| !down.contains(n)).collect();
        let (reach, probe, limit) = (self.manager.reach(), self.probe(), self.patience.answer);
        let mut found = survey(reach, &asked, &probe, limit)?;
        if !found.silent.is_empty() && !found.answers.is_empty() {
            // A step that does not come up on one node may take others along, and a busy node may be slow: asked once more.
            let again = survey(reach, &found.silent, &probe, limit)?;
            found.answers.extend(again.answers);
            found.failed.extend(again.failed);
            found.silent = again.silent;
        }
        for (node, error) in &found.failed {
            say_now(&format!("{node} cannot be used: {error:#}"));
        }
        self.answers = found.answers;
        for (node, answer) in &self.answers {
            // One node that cannot write is left out; a prefix that cannot be written is everybody's trouble.
            if let Some(why) = answer.directory_trouble() {
                say_now(&format!("{node} is left out: {why}"));
                down.insert(node.clone());
            }
        }
        if self.answers.is_empty() && found.failed.is_empty() && !asked.is_empty() {
            // Then it is our asking that does not work, and no reason to call all nodes dead.
            say_now(&format!(
                "no node answers through {}; the word of {} is taken. {}",
                self.manager.reach().describe(),
                self.manager.describe(),
                found.remarks
            ));
            return Ok(down);
        }
        if !found.silent.is_empty() {
            say_now(&format!("no answer from {}", join(&found.silent)));
        }
        down.extend(found.silent);
        down.extend(found.failed.into_keys());
        Ok(down)
    }

    fn probe(&self) -> Probe {
        Probe { settings: self.settings.clone(), canary: Canary::Ignore }
    }

    /// Sends agents to the nodes of the launch.
    fn start_watch(&mut self, now: Duration) {
        let settings = self.settings.clone();
        let period_ms = PERIOD.as_millis() as u64;
        let task = Task::Watch(watch::Watch { settings, run_id: self.run_id.clone(), period_ms });
        match Agents::start(self.manager.reach(), &self.slots, &task) {
            Ok(agents) => {
                let (signs, second) = (Signs::default(), Vec::new());
                self.watch = Some(Watch { agents, started: now, signs, second });
            }
            Err(error) => say_now(&format!("nodes are not watched: {error:#}")),
        }
    }

    /// Hears what the agents say; returns the nodes that are lost.
    fn hear(&mut self, now: Duration) -> Vec<NodeName> {
        let probe = self.probe();
        let Some(watch) = &mut self.watch else { return Vec::new() };
        while let Some((node, answer)) = watch.agents.next(Duration::ZERO) {
            watch.signs.hear(&node, now);
            if let Answer::Beat(counters) = answer {
                self.listener.hear(&node, counters.as_bytes(), now);
            }
        }
        if watch.agents.is_over() && now >= watch.started + AGAIN {
            // Somebody ended them, or their step lost a node: what was heard before is still true.
            let (signs, second) =
                (std::mem::take(&mut watch.signs), std::mem::take(&mut watch.second));
            watch.started = now;
            self.start_watch(now);
            if let Some(watch) = &mut self.watch {
                (watch.signs, watch.second) = (signs, second);
            }
            return Vec::new();
        }
        watch.judge(now, &self.patience, &*self.manager, probe)
    }

    /// The processes of this machine from which steps of the launch can come.
    fn note_launchers(&mut self) {
        self.launchers.extend(processes(&self.run_id).iter().map(|process| process.pid));
    }

    /// The steps of the launch.
    fn steps(&mut self, limit: Duration) -> Result<Vec<JobStep>> {
        self.note_launchers();
        let mut steps = self.manager.steps(limit)?;
        steps.retain(|step| step.is_of(&self.launchers));
        Ok(steps)
    }

    fn end_steps(&mut self, limit: Duration) -> Result<usize> {
        let steps = self.steps(limit)?;
        for JobStep { id, .. } in &steps {
            if let Err(error) = self.manager.end_step(id, limit) {
                say_now(&format!("step {id} cannot be ended: {error:#}"));
            }
        }
        Ok(steps.len())
    }

    /// Ends the step of a launch whose `scr run` was killed: its ranks would go on beside those of the next launch.
    ///
    /// It is one whose launcher, on this machine, is dead, on the node of the lease.
    fn end_left_behind(&self, prefix: &Prefix) -> Result<()> {
        let Some(lease) = prefix.lease()?.filter(|lease| lease.state == LeaseState::Held) else {
            return Ok(());
        };
        if lease.job_id.as_str() != self.manager.job_id() {
            return Ok(());
        }
        let steps = self.manager.steps(PATIENCE)?;
        for step in steps.iter().filter(|s| s.is_left_behind() && s.nodes.contains(&lease.node)) {
            say_now(&format!("step {} was left behind by an earlier scr run: ending it", step.id));
            self.manager.end_step(&step.id, PATIENCE)?;
        }
        Ok(())
    }
}

impl Watch {
    /// Asks nodes that fell silent once more, in the background; returns those that did not answer that either.
    fn judge(
        &mut self,
        now: Duration,
        patience: &Patience,
        manager: &dyn ResourceManager,
        probe: Probe,
    ) -> Vec<NodeName> {
        for agents in &mut self.second {
            while let Some((node, _)) = agents.next(Duration::ZERO) {
                self.signs.hear(&node, now);
            }
        }
        let silent = self.signs.doubt(now, patience.silence, now + patience.answer);
        if !silent.is_empty() {
            say_now(&format!("no sign of life from {}; asking once more", join(&silent)));
            match Agents::start(manager.reach(), &silent, &Task::Probe(probe)) {
                Ok(agents) => self.second.push(agents),
                Err(error) => {
                    say_now(&format!("cannot ask: {error:#}"));
                    self.signs.trust(&silent, now);
                }
            }
        }
        if !self.signs.has_doubts() {
            self.second.clear();
        }
        self.signs.lost(now, patience.silence, now + patience.answer)
    }
}

impl Site for Allocation {
    fn describe(&self) -> String {
        self.manager.describe()
    }

    fn job_id(&self) -> &str {
        self.manager.job_id()
    }

    fn run_id(&self) -> &str {
        &self.run_id
    }

    fn nodes(&self) -> Vec<NodeName> {
        self.manager.nodes()
    }

    fn down(&mut self) -> Result<BTreeSet<NodeName>> {
        self.ask_nodes()
    }

    fn end_unix_seconds(&self) -> Option<u64> {
        self.manager.end_unix_seconds()
    }

    fn slots(&self) -> &[NodeName] {
        &self.slots
    }

    fn prepare(&mut self, slots: Vec<NodeName>, _dropped: bool) -> Result<()> {
        self.slots = slots;
        self.launches += 1;
        self.launchers.clear();
        self.listener.forget();
        self.next_ask = Duration::ZERO;
        let now = self.clock.monotonic();
        self.start_watch(now);
        Ok(())
    }

    fn launch(&mut self, launcher: &dyn Launcher) -> Result<Launch> {
        let unused: Vec<_> =
            self.nodes().into_iter().filter(|node| !self.slots.contains(node)).collect();
        // Nodes that the manager has taken away are unknown to the launcher, too.
        let gone = self.manager.down(PATIENCE).unwrap_or_default();
        let unused: Vec<_> = unused.into_iter().filter(|node| !gone.contains(node)).collect();
        self.is_srun = launcher.describe() == "srun";
        let mut launch = launcher.launch(&Additions {
            place: Place::Nodes { unused: &unused, again: self.launches > 1 },
            is_root: rustix::process::geteuid().is_root(),
        });
        launch.env.extend(self.manager.environment(&self.slots));
        if let Some(end) = self.end_unix_seconds() {
            launch.env.push(("SCR_END_TIME", end.to_string().into()));
        }
        Ok(launch)
    }

    fn look(&mut self, now: Duration) -> Result<Vec<String>> {
        let mut troubles: Vec<String> =
            self.hear(now).iter().map(|node| format!("{node} lost: no sign of life")).collect();
        if now >= self.next_ask {
            self.note_launchers();
            // No answer from the manager is no reason to end a launch that runs. One that is slow is asked less often.
            let before = self.clock.monotonic();
            let down = self.manager.down(HASTE).unwrap_or_default();
            let after = self.clock.monotonic();
            self.next_ask = after + ASK + 4 * after.saturating_sub(before);
            let lost = self.slots.iter().filter(|node| down.contains(node));
            troubles.extend(lost.map(|node| format!("{node} lost: {} says so", self.describe())));
        }
        if self.listener.is_due(now) {
            troubles.extend(self.listener.troubles());
        }
        Ok(troubles)
    }

    fn pass_on(&mut self, signal: i32) -> Result<Option<String>> {
        if self.is_srun {
            let steps = self.steps(HASTE)?;
            for step in &steps {
                self.manager.signal_step(&step.id, signal, HASTE)?;
            }
            let steps: Vec<_> = steps.iter().map(|step| format!("step {}", step.id)).collect();
            return Ok((!steps.is_empty()).then(|| join(&steps)));
        }
        // The ranks of other launchers are not tasks of a step: only those on their nodes find them.
        let Some(watch) = &mut self.watch else { return Ok(None) };
        watch.agents.tell(&Request::Signal(signal))?;
        Ok(Some("the ranks on all nodes".into()))
    }

    fn end_ranks(&mut self) -> Result<()> {
        self.end_steps(HASTE).map(drop)
    }

    fn ended(&mut self, clock: &dyn Clock) -> Result<Aftermath> {
        self.watch = None;
        let deadline = clock.monotonic() + STEP_GRACE;
        // A manager that does not answer now must not keep us from launching again, nor from saving.
        while clock.monotonic() < deadline {
            match self.end_steps(PATIENCE) {
                Ok(0) => break,
                Ok(_) => clock.sleep(Duration::from_millis(200)),
                Err(error) => {
                    say_now(&format!("whether steps are left is not known: {error:#}"));
                    break;
                }
            }
        }
        if !sweep(&self.run_id, clock) {
            say_now("some processes of the launch cannot be killed");
        }
        let down = self.ask_nodes().unwrap_or_else(|error| {
            say_now(&format!("which nodes are left is not known: {error:#}"));
            BTreeSet::new()
        });
        let is_lost = |node: &&NodeName| down.contains(*node) && !self.answers.contains_key(*node);
        let lost = self.slots.iter().filter(is_lost).cloned().collect();
        Ok(Aftermath { ranks: Vec::new(), lost })
    }

    fn progress(&mut self, prefix: &Prefix) -> Result<Progress> {
        if self.launches == 0 {
            // Nothing is launched on account of trouble here; the scheduler tells it then.
            if let Err(error) = self.end_left_behind(prefix) {
                say_now(&format!("whether steps are left is not known: {error:#}"));
            }
        }
        if self.answers.is_empty() {
            self.ask_nodes()?;
        }
        let cached = self.answers.values().filter_map(Probed::highest_committed).max();
        Ok(Progress { cached, flushed: flushed(prefix)? })
    }

    fn save(&mut self, prefix: &Prefix, is_stopped: &dyn Fn() -> bool) -> Result<Saved> {
        let progress = self.progress(prefix)?;
        // Where nobody has answered, nobody knows that there is nothing to save.
        if !self.answers.is_empty() && progress.cached.is_none() {
            return Ok(Saved::Nothing);
        }
        let was_silent = Cell::new(false);
        // Asked again at each attempt: a node that was lost meanwhile must not be named to the manager.
        let usable = || {
            let down = self.manager.down(PATIENCE).unwrap_or_else(|error| {
                was_silent.set(error.kind() != ErrorKind::Refused);
                BTreeSet::new()
            });
            let is_usable = |node: &NodeName| !down.contains(node) && !self.excluded.contains(node);
            self.manager.nodes().into_iter().filter(is_usable).collect()
        };
        let task = Rescue {
            reach: self.manager.reach(),
            nodes: &usable,
            settings: &self.settings,
            // Nothing is gained by haste here.
            limit: self.patience.answer.max(Duration::from_mins(2)),
            say: &|_, text| say_now(text),
            is_stopped,
        };
        let end = self.clock.monotonic() + RETURN;
        let mut is_told = false;
        let rescued = loop {
            match rescue(&task) {
                // Its nodes may still be there. Where it has just come back, it may not know them yet.
                Err(error) if was_silent.get() && self.clock.monotonic() < end && !is_stopped() => {
                    if !std::mem::replace(&mut is_told, true) {
                        let minutes = RETURN.as_secs() / 60;
                        say_now(&format!("{error:#}; saving is tried again for {minutes} minutes"));
                    }
                    self.clock.sleep(AGAIN);
                }
                rescued => break rescued?,
            }
        };
        if let Some(lost) = rescued.lost().last() {
            return Ok(Saved::Failed(lost.id, lost.trouble.clone().unwrap_or_default()));
        }
        let saved = rescued.datasets.into_iter().filter(|one| one.trouble.is_none());
        let saved: Vec<_> = saved.map(|one| (one.id, one.name)).collect();
        Ok(if saved.is_empty() { Saved::Nothing } else { Saved::Done(saved) })
    }

    fn can_requeue(&self) -> Option<bool> {
        self.manager.can_requeue()
    }

    fn requeue(&self) -> Result<()> {
        self.manager.requeue()
    }

    fn leave(&mut self, keep: bool) -> Result<Option<String>> {
        self.watch = None;
        let text =
            "the nodes keep their caches while the allocation lasts: the same command goes on";
        Ok(keep.then(|| text.to_string()))
    }
}
