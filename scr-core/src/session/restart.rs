// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handing a dataset back: verified on all ranks before its name is returned.

use super::entry::Entry;
use super::levels::Seat;
use super::{Session, State};
use crate::comm::agree;
use crate::config::Bypass;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::fetch::{self, Share};
use crate::exec::lease::Holder;
use crate::exec::scr3;
use crate::exec::stream::{Mode, Stream};
use crate::exec::verify::{self, verify};
use crate::format::current::ChosenBy;
use crate::format::decision::{CandidateReport, Location, Verdict};
use crate::format::state::Phase;
use crate::format::summary::PrefixState;
use crate::format::{DatasetHeader, FileEntry};
use crate::id::{DatasetIdentity, DatasetName};
use crate::plan::evict::Standing;
use crate::plan::level;
use crate::plan::order::Candidate;
use crate::plan::route;
use crate::store::exists;
use std::path::{Path, PathBuf};

/// The dataset that is handed back.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    header: DatasetHeader,
    location: Location,
    /// Below which directory this rank's files are.
    dir: PathBuf,
    files: Vec<FileEntry>,
    /// Whether the application has read it: then it may go like any other dataset.
    is_read: bool,
}

impl Taken {
    /// Which dataset must stay because of it.
    pub(super) fn in_use(&self) -> Option<DatasetIdentity> {
        (!self.is_read).then_some(self.header.identity)
    }
}

impl Session {
    /// The name of the dataset to restart from, or `None` when there is none. Its data were verified on all ranks; bad
    /// blocks were healed, and a dataset that could not be was passed over for the next one.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] when there are checkpoints and none can be used: a job must not begin from zero beside them
    /// without knowing.
    pub fn have_restart(&mut self) -> Result<Option<DatasetName>> {
        self.enter("SCR_Have_restart")?;
        let found = self.find_restart();
        self.leave(found)
    }

    fn find_restart(&mut self) -> Result<Option<DatasetName>> {
        if let Some(taken) = &self.taken {
            return Ok(Some(taken.header.name.clone()));
        }
        if self.has_written {
            // The application went on; what it wrote since is newer.
            return Ok(None);
        }
        while self.tried < self.candidates.len() {
            let candidate = self.candidates[self.tried].clone();
            self.tried += 1;
            let tried = match candidate.location {
                Location::Cache => self.take_from_cache(&candidate),
                Location::Prefix => self.take_from_prefix(&candidate),
                Location::Scr3 => self.take_from_scr3(&candidate),
            };
            match tried {
                Ok((taken, reason)) => {
                    self.report_candidate(&candidate, Verdict::Taken, &reason);
                    let others = self.candidates[self.tried..].to_vec();
                    for other in others {
                        let text = format!("usable, but {} comes first", taken.header.name);
                        self.report_candidate(&other, Verdict::NotNeeded, &text);
                    }
                    self.write_decision();
                    self.reached = Some(taken.header.identity);
                    let name = taken.header.name.clone();
                    self.taken = Some(taken);
                    return Ok(Some(name));
                }
                Err(error) if error.kind() == ErrorKind::Communication => return Err(error),
                Err(error) => {
                    self.set_unusable(&candidate);
                    self.report_candidate(&candidate, Verdict::Rejected, &format!("{error:#}"));
                }
            }
        }
        self.write_decision();
        if !self.unusable.is_empty() {
            let text = self.none_usable();
            return Err(Error::new(ErrorKind::Lost, text));
        }
        Ok(None)
    }

    fn set_unusable(&mut self, candidate: &Candidate) {
        let key = (candidate.header.identity, candidate.layout);
        for entry in self.entries.iter_mut().filter(|entry| entry.key() == key) {
            if candidate.location == Location::Cache {
                entry.standing = Standing::Unusable;
            }
        }
    }

    fn take_from_cache(&mut self, candidate: &Candidate) -> Result<(Taken, String)> {
        let header = &candidate.header;
        let key = (header.identity, candidate.layout);
        let entry = self.entries.iter().find(|entry| entry.key() == key);
        let entry = entry
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "it is no longer in the cache"))?;
        let part = entry.part(&self.job);
        let (section, healed) = verify(&self.job, self.levels.set(entry.set), &part, &entry.place)?;
        let has_checksums = part.node().map(|node| node.header().has_checksums);
        let checked = if agree(&*self.job.topology.world, has_checksums)? {
            "verified"
        } else {
            "unverified (SCR_CRC_ON_COPY=0)"
        };
        let reason = match healed {
            0 => format!("newest usable, {checked}, in cache as {}", entry.place.scheme),
            count => format!(
                "newest usable, {checked}, {count} corrupt block(s) restored from {}",
                entry.place.scheme
            ),
        };
        let dir = part.data_path();
        let header = header.clone();
        Ok((
            Taken { header, location: Location::Cache, dir, files: section.files, is_read: false },
            reason,
        ))
    }

    fn take_from_prefix(&mut self, candidate: &Candidate) -> Result<(Taken, String)> {
        if !self.job.config.fetch {
            return Err(Error::new(ErrorKind::Refused, "it is in the prefix, and SCR_FETCH=0"));
        }
        let header = candidate.header.clone();
        let share = fetch::share(&self.job, &header)?;
        let has_checksums = share.expected.has_checksums;
        let checked = if has_checksums { "verified" } else { "unverified (SCR_CRC_ON_COPY=0)" };
        let number = Some(self.checkpoints.max(1));
        let wanted = level::choose(&self.job.config.checkpoints, number, false)
            .map_or(Bypass::Yes, |descriptor| descriptor.bypass);
        if self.job.config.fetch_bypass || self.bypasses(wanted) {
            return self.take_in_place(header, &share, checked);
        }
        let files = share.section.files.clone();
        // Layouts of it that were found in cache are other attempts; this one must not meet them.
        let known = self.entries.iter().filter(|e| e.header.identity == header.identity);
        let known = known.map(|e| e.place.layout).max().unwrap_or(0);
        let layout = self.fresh_layout(1, known);
        let Seat { place, set, store } = self.levels.seat(&self.job, layout, number, false);
        let fetched =
            match fetch::fetch(&self.job, &header, share, self.levels.set(set), (place, store)) {
                Err(error) if error.kind() != ErrorKind::Communication => {
                    // A cache that is too small must not keep a job from a good checkpoint.
                    let text = format!("dataset {} is read in place: {error:#}", header.id);
                    self.tell(EventKind::FetchFail, Level::Warning, &header, text);
                    let share = fetch::share(&self.job, &header)?;
                    return self.take_in_place(header, &share, checked);
                }
                fetched => fetched?,
            };
        self.entries.push(Entry {
            header: header.clone(),
            place: fetched.place,
            set,
            store,
            standing: Standing::Committed,
            flushed: true,
            replaced: false,
            flush_owed: false,
            data_bytes: fetched.data_bytes,
            node_bytes: fetched.node_bytes,
        });
        self.entries.sort_by_key(|entry| (entry.header.id, entry.place.layout));
        self.tell(
            EventKind::FetchSuccess,
            Level::Note,
            &header,
            format!("fetched dataset {} ({})", header.id, header.name),
        );
        let dir = self.job.cache.part(&header, &fetched.place).data_path();
        let reason = format!("newest usable, {checked}, fetched from the prefix");
        Ok((Taken { header, location: Location::Prefix, dir, files, is_read: false }, reason))
    }

    /// Takes what SCR 3 left, in place: it is not fetched, for it has no records to be committed with.
    fn take_from_scr3(&mut self, candidate: &Candidate) -> Result<(Taken, String)> {
        if !self.job.config.fetch {
            return Err(Error::new(ErrorKind::Refused, "it is in the prefix, and SCR_FETCH=0"));
        }
        let ranks = self.job.topology.world.size() as u32;
        let header = DatasetHeader { ranks, ..candidate.header.clone() };
        let files = scr3::files(&self.job, &header)?;
        let (location, dir) = (Location::Scr3, self.job.config.prefix.clone());
        let reason = "newest usable, sizes as SCR 3 recorded them, in place in the prefix";
        Ok((Taken { header, location, dir, files, is_read: false }, reason.to_string()))
    }

    fn take_in_place(
        &self,
        header: DatasetHeader,
        share: &Share,
        checked: &str,
    ) -> Result<(Taken, String)> {
        let files = share.section.files.clone();
        let (store, dir) = (self.job.prefix.store.clone(), self.job.config.prefix.clone());
        let verified = Stream::below(store, &dir, files.clone(), Mode::Read)
            .and_then(|mut stream| verify::check(&mut stream, &share.expected));
        agree(&*self.job.topology.world, verified)?;
        let reason = format!("newest usable, {checked}, in place in the prefix");
        Ok((Taken { header, location: Location::Prefix, dir, files, is_read: false }, reason))
    }

    pub(super) fn report_candidate(
        &mut self,
        candidate: &Candidate,
        verdict: Verdict,
        reason: &str,
    ) {
        let (header, location) = (&candidate.header, candidate.location);
        let (kind, level) = match verdict {
            Verdict::Taken => (EventKind::RestartSuccess, Level::Note),
            Verdict::Rejected => (EventKind::RestartFail, Level::Warning),
            _ => (EventKind::Decision, Level::Detail),
        };
        let text = format!("{} ({}) {location}: {reason}", header.id, header.name);
        if verdict == Verdict::Rejected {
            self.unusable.push(text.clone());
        }
        self.tell(kind, level, header, format!("dataset {text}"));
        self.decision.candidates.push(CandidateReport {
            id: header.id,
            identity: header.identity,
            name: header.name.clone(),
            location,
            layout: candidate.layout,
            verdict,
            reason: reason.to_string(),
        });
    }

    /// Starts reading the dataset that [`have_restart`](Self::have_restart) named, or would name: it need not have been
    /// asked. Returns the name.
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when there is none, and those of `have_restart`.
    pub fn start_restart(&mut self) -> Result<DatasetName> {
        self.enter("SCR_Start_restart")?;
        let found = self.find_restart();
        let name = self.leave(found)?.ok_or_else(|| {
            let text = "SCR_Start_restart: there is no dataset to restart from";
            Error::new(ErrorKind::Misuse, text)
        })?;
        self.state = State::Restart;
        Ok(name)
    }

    pub(super) fn route_restart(&self, name: &Path) -> Result<PathBuf> {
        let not_there = || {
            let text = format!(
                "{} is not a file of this rank in the dataset to restart from",
                name.display()
            );
            Error::new(ErrorKind::NotFound, text)
        };
        let Some(taken) = &self.taken else { return Err(not_there()) };
        let rel = route::route(&self.job.config.prefix, &self.job.host.directory, name).ok();
        let base = name.file_name();
        // A file that ranks share is listed with one of them: where all may read all, its whole name is enough.
        let is_in_place = taken.dir == self.job.config.prefix;
        let is_shared = match &rel {
            Some(rel) if is_in_place => exists(&*self.job.prefix.store, &rel.under(&taken.dir))?,
            _ => false,
        };
        // SCR's old interface finds files by their last component; whole names come first.
        let same = rel.filter(|rel| is_shared || taken.files.iter().any(|f| f.name == *rel));
        let found = same.or_else(|| {
            let mut same = taken.files.iter().filter(|f| f.name.as_path().file_name() == base);
            // Of two with this last component neither is the one that was meant.
            same.next().filter(|_| same.next().is_none()).map(|f| f.name.clone())
        });
        let path = found.ok_or_else(not_there)?.under(&taken.dir);
        let store = if is_in_place { &self.job.prefix.store } else { &self.job.cache.store };
        if exists(&**store, &path)? { Ok(path) } else { Err(not_there()) }
    }

    /// Ends reading. With `valid` false on any rank the dataset is set aside, nothing of it deleted, and the next one is
    /// offered by [`have_restart`](Self::have_restart).
    ///
    /// # Collective
    /// On all ranks.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where this rank said so, [`ErrorKind::PeerFailed`] where another did.
    pub fn complete_restart(&mut self, valid: bool) -> Result<()> {
        self.check_unbroken("SCR_Complete_restart")?;
        if !matches!(self.state, State::Restart) {
            let text = "SCR_Complete_restart without SCR_Start_restart";
            return Err(Error::new(ErrorKind::Misuse, text));
        }
        self.state = State::Idle;
        let mine = if !std::mem::take(&mut self.abandoned) && valid {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Invalid, "the application says that it is not valid"))
        };
        let agreed = agree(&*self.job.topology.world, mine);
        let outcome = match agreed {
            Err(error) if error.kind() != ErrorKind::Communication => {
                self.quarantine(&error).and(Err(error))
            }
            other => other,
        };
        if let (Ok(()), Some(taken)) = (&outcome, &mut self.taken) {
            taken.is_read = true;
        }
        self.leave(outcome)
    }

    /// Sets the dataset aside that the application could not use.
    fn quarantine(&mut self, error: &Error) -> Result<()> {
        let Some(taken) = self.taken.take() else { return Ok(()) };
        let reason = format!("the application could not restart from it: {error:#}");
        let header = &taken.header;
        let mut set_aside = Ok(());
        for entry in self.entries.iter_mut().filter(|e| e.header.identity == header.identity) {
            entry.standing = Standing::Condemned;
            if self.job.is_leader() {
                let phase = Phase::Condemned { reason: reason.clone() };
                let part = self.job.cache.part(&entry.header, &entry.place);
                set_aside = set_aside.and(match part.publish_phase(phase) {
                    // Not every node holds something of what is not usable.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    other => other,
                });
            }
        }
        if self.job.is_first() {
            let lease = self.lease.as_ref().map_or(Ok(()), Holder::check);
            set_aside = set_aside.and(lease).and_then(|()| self.mark_failed(&taken, &reason));
        }
        if let Err(error) = agree(&*self.job.topology.world, set_aside) {
            if error.kind() == ErrorKind::Communication {
                return Err(error);
            }
            let text = format!("dataset {} cannot be marked: {error:#}", header.id);
            self.tell(EventKind::Message, Level::Warning, header, text);
        }
        let identity = header.identity;
        let mut position = 0;
        self.candidates.retain(|candidate| {
            position += 1;
            position <= self.tried || candidate.header.identity != identity
        });
        self.reached = header.parent;
        self.unusable.push(format!("{} ({}): {reason}", header.id, header.name));
        let text = format!("dataset {} ({}) is set aside: {reason}", header.id, header.name);
        self.tell(EventKind::RestartFail, Level::Warning, header, text);
        for report in &mut self.decision.candidates {
            if report.identity == identity && report.verdict == Verdict::Taken {
                report.verdict = Verdict::Rejected;
                report.reason.clone_from(&reason);
            }
        }
        Ok(())
    }

    fn mark_failed(&self, taken: &Taken, reason: &str) -> Result<()> {
        let (prefix, header) = (&self.job.prefix, &taken.header);
        let now = self.job.host.unix_micros();
        if taken.location == Location::Scr3 {
            scr3::set_aside(prefix, header, reason, now)?;
        } else {
            let Some(mut summary) = prefix.summary(header)? else { return Ok(()) };
            if summary.state != PrefixState::Flushed {
                return Ok(());
            }
            summary.state = PrefixState::Failed { reason: reason.to_string() };
            summary.changed_unix_micros = now;
            prefix.publish_summary(&summary)?;
        }
        if let Some(current) = prefix.current()?
            && current.identity == header.identity
            && current.by == ChosenBy::Person
        {
            // A person's choice that cannot be used must not be tried at every launch.
            prefix.publish_current(&crate::format::current::Current {
                by: ChosenBy::Job,
                ..current
            })?;
        }
        prefix.refresh_index().map(|_| ())
    }
}
