// SPDX-License-Identifier: MIT OR Apache-2.0
//! Brings agents together to save what is only in the caches, again with those that are left when one dies meanwhile.
//!
//! It can be stopped and repeated at any moment: what is not complete in the prefix is not visible there.

use super::{Save, Saved};
use crate::agents::Agents;
use crate::agents::network::{Member, Token, World};
use crate::agents::probe::{Cached, Canary, Probe, Survey, survey_usable};
use crate::agents::protocol::{Answer, Request, Task};
use crate::output::{bytes, count, join};
use crate::prefix::Prefix;
use crate::resource_manager::{Reach, compress};
use crate::settings::Settings;
use scr_core::clock::{Clock, SystemClock};
use scr_core::event::Level;
use scr_core::format::summary::PrefixState;
use scr_core::id::{DatasetId, Epoch, NodeName};
use scr_core::{Context, Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// How often the work is begun again after an agent was lost.
const ATTEMPTS: u32 = 4;
/// After how long without a sign of life agents take each other for dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How long after the first failure others may say theirs: they are told of it at once.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long after the first success others may say theirs.
const AFTER_SUCCESS: Duration = Duration::from_secs(30);
/// How often it is looked whether to stop.
const POLL: Duration = Duration::from_millis(200);
/// How often it is said how far the work is.
const REPORT: Duration = Duration::from_secs(5);
/// How long agents that are told to stop may take to give the prefix back.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is to be saved, and how its nodes are reached.
pub(crate) struct Rescue<'a> {
    /// The way to the nodes.
    pub(crate) reach: &'a dyn Reach,
    /// Those that may still have something, as far as is known when it is asked.
    pub(crate) nodes: &'a dyn Fn() -> Vec<NodeName>,
    /// The job.
    pub(crate) settings: &'a Settings,
    /// How long a node may take to answer.
    pub(crate) limit: Duration,
    /// Takes what people should know.
    pub(crate) say: &'a dyn Fn(Level, &str),
    /// Whether somebody wants us to stop.
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Rescue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rescue").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// What a rescue came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rescued {
    /// The datasets that were in a cache and not in the prefix before, as far as they were looked at; ascending.
    pub(crate) datasets: Vec<Saved>,
    /// The nodes that could not be asked.
    pub(crate) missing: BTreeSet<NodeName>,
}

impl Rescued {
    /// Those that were complete once, should be in the prefix, and are not: outputs, and a checkpoint that is newer than
    /// every other.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &Saved> {
        self.datasets.iter().filter(|one| one.trouble.is_some() && one.was_complete)
    }
}

/// Saves what is only in the caches.
///
/// # Errors
/// [`ErrorKind::Refused`] when no node answers, another launch uses the prefix, or somebody has stopped us;
/// [`ErrorKind::Communication`] when agents were lost again and again.
pub(crate) fn rescue(rescue: &Rescue<'_>) -> Result<Rescued> {
    let flushed = rescue.flushed()?;
    let mut known = BTreeSet::new();
    for attempt in 1.. {
        let found = rescue.ask()?;
        // In the order of the allocation: neighbours talk most.
        let nodes = (rescue.nodes)().into_iter();
        let nodes: Vec<_> = nodes.filter(|node| found.answers.contains_key(node)).collect();
        // One that took part in an earlier attempt and is not asked any more is missing too.
        known.extend(found.answers.keys().chain(&found.silent).chain(found.failed.keys()).cloned());
        let is_missing = |node: &&NodeName| !found.answers.contains_key(*node);
        let missing = known.iter().filter(is_missing).cloned().collect();
        if nodes.is_empty() {
            return Err(none_left(&found));
        }
        let mut cached = found.answers.values().flat_map(|probed| &probed.datasets);
        if !cached.any(|one| flushed.misses(one)) {
            return Ok(Rescued { datasets: Vec::new(), missing });
        }
        match rescue.attempt(&nodes) {
            Ok(mut datasets) => {
                // Who looks after what is in the prefix already says nothing new.
                datasets.retain(|one| !flushed.identities.contains(&one.identity));
                datasets.sort_by_key(|one| one.id);
                return Ok(Rescued { datasets, missing });
            }
            Err(error) if error.kind() == ErrorKind::Communication && attempt < ATTEMPTS => {
                rescue
                    .say(Level::Warning, &format!("{error:#}; again with the nodes that are left"));
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

fn none_left(found: &Survey) -> Error {
    let failed = found.failed.iter().map(|(node, error)| format!("{node}: {error:#}"));
    let mut reasons: Vec<String> = failed.take(4).collect();
    if !found.remarks.is_empty() {
        reasons.push(found.remarks.clone());
    }
    let reasons = reasons.join("\n");
    let reasons = if reasons.is_empty() { "none answers".to_string() } else { reasons };
    Error::new(ErrorKind::Refused, format!("no node can be reached: {reasons}"))
}

/// What is in the prefix.
#[derive(Debug, Default)]
struct Flushed {
    identities: BTreeSet<String>,
    /// The age of the newest checkpoint.
    checkpoint: Option<(Epoch, DatasetId)>,
}

impl Flushed {
    /// Whether a dataset of a cache would be of use there: checkpoints older than one that is there are not.
    fn misses(&self, one: &Cached) -> bool {
        let is_newer = one.is_checkpoint && Some((one.epoch, one.id)) > self.checkpoint;
        !self.identities.contains(&one.identity) && (one.is_output || is_newer)
    }
}

/// What is known while agents work.
#[derive(Debug, Default)]
struct Work {
    /// Those that have not said their last word.
    busy: BTreeSet<NodeName>,
    saved: Option<Vec<Saved>>,
    failures: BTreeMap<NodeName, Error>,
    written_bytes: BTreeMap<NodeName, u64>,
}

impl Work {
    /// Why it failed: of several reasons one that is not about others.
    fn failure(&mut self) -> Option<Error> {
        let is_reason = |error: &Error| {
            !matches!(error.kind(), ErrorKind::PeerFailed | ErrorKind::Communication)
        };
        let first = self.failures.keys().next()?.clone();
        let best = self.failures.iter().find(|(_, error)| is_reason(error));
        let node = best.map_or(first, |(node, _)| node.clone());
        self.failures.remove(&node).map(|error| error.context(format!("on {node}")))
    }
}

impl Rescue<'_> {
    fn say(&self, level: Level, text: &str) {
        (self.say)(level, text);
    }

    /// What is in the prefix.
    fn flushed(&self) -> Result<Flushed> {
        let (config, _) = self.settings.resolve()?;
        let prefix = Prefix::of(&config);
        let summaries = prefix.entries()?.into_iter().filter_map(|entry| entry.summary.ok()?);
        let mut flushed = Flushed::default();
        for summary in summaries.filter(|summary| summary.state == PrefixState::Flushed) {
            let dataset = summary.dataset;
            flushed.identities.insert(dataset.identity.to_string());
            if dataset.is_checkpoint {
                flushed.checkpoint = flushed.checkpoint.max(Some(dataset.age()));
            }
        }
        Ok(flushed)
    }

    fn ask(&self) -> Result<Survey> {
        let settings = self.settings.clone().for_others();
        let probe = Probe { settings, canary: Canary::Ignore };
        let found = survey_usable(self.reach, self.nodes, &probe, self.limit)
            .context(|| "ask the nodes what they have")?;
        if !found.silent.is_empty() {
            self.say(Level::Warning, &format!("no answer from {}", compress(&found.silent)));
        }
        for (node, error) in &found.failed {
            self.say(Level::Warning, &format!("{node} cannot take part: {error:#}"));
        }
        Ok(found)
    }

    /// Lets the agents of these nodes save what they can.
    fn attempt(&self, nodes: &[NodeName]) -> Result<Vec<Saved>> {
        let task = Task::Save(Save { settings: self.settings.clone().for_others() });
        let mut agents = Agents::start(self.reach, nodes, &task)?;
        let members = self.gather(&mut agents, nodes)?;
        self.say(Level::Note, &format!("{} at work", count(members.len() as u64, "node")));
        let silence_ms = SILENCE.as_millis() as u64;
        agents.tell(&Request::World(World { token: Token::draw(), members, silence_ms }))?;
        let mut work = Work { busy: nodes.iter().cloned().collect(), ..Work::default() };
        let worked = self.listen(&mut agents, &mut work);
        // Those that wait for one that is gone end now.
        agents.stop(FAREWELL);
        worked?;
        match work.failure() {
            None => Ok(work.saved.unwrap_or_default()),
            Some(error) => Err(error),
        }
    }

    /// Waits until every agent has said where it can be called.
    fn gather(&self, agents: &mut Agents, nodes: &[NodeName]) -> Result<Vec<Member>> {
        let clock = SystemClock::default();
        let mut doors: BTreeMap<NodeName, Vec<SocketAddr>> = BTreeMap::new();
        while doors.len() < nodes.len() {
            self.check_stopped()?;
            match agents.next(POLL) {
                Some((node, Answer::Door(addresses))) if nodes.contains(&node) => {
                    doors.insert(node, addresses);
                }
                Some((node, Answer::Failed(failure))) => {
                    return Err(failure.error().context(format!("on {node}")));
                }
                None if clock.monotonic() >= self.limit || agents.is_over() => {
                    let silent: Vec<_> =
                        nodes.iter().filter(|node| !doors.contains_key(*node)).collect();
                    let text = format!("no agent comes up on {}", join(&silent));
                    return Err(Error::new(ErrorKind::Communication, text));
                }
                _ => {}
            }
        }
        let member = |node: &NodeName| {
            let addresses = doors.remove(node)?;
            Some(Member { node: node.clone(), addresses })
        };
        Ok(nodes.iter().filter_map(member).collect())
    }

    /// Hears the agents until each has said its last word, or will not any more.
    fn listen(&self, agents: &mut Agents, work: &mut Work) -> Result<()> {
        let clock = SystemClock::default();
        let mut deadline = None;
        let mut next_report = REPORT;
        while !work.busy.is_empty() {
            self.check_stopped()?;
            let now = clock.monotonic();
            match agents.next(POLL) {
                Some((node, Answer::Saved(saved))) => {
                    work.busy.remove(&node);
                    work.saved = Some(saved);
                }
                Some((node, Answer::Failed(failure))) => {
                    work.busy.remove(&node);
                    work.failures.insert(node, failure.error());
                }
                Some((_, Answer::Event(event))) => self.say(event.level, &event.text),
                Some((node, Answer::Written(bytes))) => {
                    work.written_bytes.insert(node, bytes);
                }
                None if agents.is_over() || deadline.is_some_and(|deadline| now >= deadline) => {
                    let gone: Vec<_> = work.busy.iter().collect();
                    let text = format!("{} lost while saving", join(&gone));
                    let error = Error::new(ErrorKind::Communication, text);
                    // What the others know of it is better.
                    return if work.failures.is_empty() { Err(error) } else { Ok(()) };
                }
                _ => {}
            }
            // Of those that say nothing after the others, one is the cause.
            if deadline.is_none() && !work.failures.is_empty() {
                deadline = Some(now + AFTER_FAILURE);
            } else if deadline.is_none() && work.saved.is_some() {
                deadline = Some(now + AFTER_SUCCESS);
            }
            if now >= next_report {
                next_report = now + REPORT;
                let written: u64 = work.written_bytes.values().sum();
                let rate = (written as f64 / now.as_secs_f64()) as u64;
                let text = format!("saving: {} written so far, {}/s", bytes(written), bytes(rate));
                self.say(Level::Detail, &text);
            }
        }
        Ok(())
    }

    fn check_stopped(&self) -> Result<()> {
        if (self.is_stopped)() {
            let text = "told to stop; nothing is half saved, and it can be done again";
            return Err(Error::new(ErrorKind::Refused, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::id::DatasetName;

    #[test]
    fn only_what_the_prefix_could_use_is_missed() {
        let cached = |epoch, id, is_checkpoint, is_output| Cached {
            epoch: Epoch(epoch),
            id: DatasetId(id),
            name: DatasetName::new("d"),
            identity: format!("{epoch}.{id}"),
            is_checkpoint,
            is_output,
            is_committed: false,
        };
        let mut flushed = Flushed::default();
        assert!(flushed.misses(&cached(1, 1, true, false)));
        flushed.identities.insert("2.5".into());
        flushed.checkpoint = Some((Epoch(2), DatasetId(5)));
        // (epoch, id, checkpoint, output, missed)
        let cases = [
            (2, 5, true, false, false),
            (2, 4, true, false, false),
            (2, 4, true, true, true),
            (2, 4, false, true, true),
            (2, 6, true, false, true),
            (1, 9, true, false, false),
            (3, 3, true, false, true),
        ];
        for (epoch, id, is_checkpoint, is_output, expected) in cases {
            let one = cached(epoch, id, is_checkpoint, is_output);
            assert_eq!(flushed.misses(&one), expected, "{one:?}");
        }
    }
}
