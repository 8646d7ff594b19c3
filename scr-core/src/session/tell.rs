// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a session tells of the life of the launch and of its datasets: what SCR's log is made of.
//!
//! Rank 0 tells it, once; only what was measured on the way is told where it was.

use super::{Open, Session};
use crate::error::Error;
use crate::event::{Event, EventKind, Launch, Level};
use crate::exec::Job;
use crate::exec::protect::Protected;
use crate::format::DatasetHeader;
use crate::plan::halt::{self, FINALIZE_CALLED};
use std::path::PathBuf;
use std::time::Duration;

impl Session {
    /// Tells, on rank 0, what begins here.
    pub(super) fn tell_launch(&self) {
        let Job { topology, host, config, .. } = &self.job;
        if !self.job.is_first() {
            return;
        }
        let (ranks, nodes) = (topology.world.size() as u32, topology.count);
        let text = format!("launch of {ranks} rank(s) on {nodes} node(s)");
        let mut event = host.event(EventKind::Start, Level::Detail, text);
        event.launch = Some(Launch {
            ranks,
            nodes,
            job_id: host.job.job_id.clone(),
            user: host.job.user.clone(),
            job_name: config.job_name.clone(),
            cluster: config.cluster_name.clone(),
        });
        host.sink.tell(&event);
    }

    /// Tells, on rank 0, that the application computes from here on.
    pub(super) fn tell_computing(&mut self) {
        self.costs.computing_since = self.job.host.clock.monotonic();
        if self.job.is_first() {
            self.job.host.tell(EventKind::ComputeStart, Level::Detail, "the application computes");
        }
    }

    /// Tells, on rank 0, that the application computed until `now`.
    pub(super) fn tell_computed(&self, now: Duration) {
        if self.job.is_first() {
            let seconds = now.saturating_sub(self.costs.computing_since).as_secs_f64();
            let text = format!("the application computed for {seconds:.3} s");
            let mut event = self.job.host.event(EventKind::ComputeEnd, Level::Detail, text);
            event.seconds = Some(seconds);
            self.job.host.sink.tell(&event);
        }
    }

    /// Tells a halt condition once, however often the application asks.
    pub(super) fn tell_halt(&mut self, reason: Option<&halt::Reason>) {
        if let Some(reason) = reason
            && self.told_halt.as_deref() != Some(reason.word())
        {
            let mut event = self.job.host.event(EventKind::Halt, Level::Note, reason.to_string());
            event.note = Some(reason.word().to_string());
            self.job.host.sink.tell(&event);
            self.told_halt = Some(reason.word().to_string());
        }
    }

    /// Tells, on rank 0, that the application came to its end.
    pub(super) fn tell_end_of_launch(&self) {
        self.tell_computed(self.job.host.clock.monotonic());
        if self.job.is_first() {
            let mut event = self.job.host.event(EventKind::Finalize, Level::Detail, "finalize");
            event.note = Some(FINALIZE_CALLED.to_string());
            self.job.host.sink.tell(&event);
        }
    }

    /// Tells, on rank 0, that a dataset begins.
    pub(super) fn tell_start(&self, open: &Open) {
        let header = &open.header;
        let kind =
            if header.is_checkpoint { EventKind::CheckpointStart } else { EventKind::OutputStart };
        if self.job.is_first() {
            let text = format!("start dataset {} ({})", header.id, header.name);
            let note = Some(self.storage(open).0.display().to_string());
            self.tell_more(kind, Level::Detail, header, text, |event| event.note = note);
        }
    }

    /// The storage that a dataset is written to, and its directory there.
    fn storage(&self, open: &Open) -> (PathBuf, PathBuf) {
        if open.bypass {
            let prefix = &self.job.config.prefix;
            return (prefix.clone(), prefix.clone());
        }
        let cache = &self.job.cache;
        let part = cache.part_in(open.store, &open.header, &open.place);
        (cache.base(open.store).to_path_buf(), part.dir)
    }

    /// Tells, on rank 0, what the application did until `written`, and what protecting that took.
    pub(super) fn tell_written(&self, open: &Open, protected: &Protected, written: Duration) {
        let (id, name) = (open.header.id, &open.header.name);
        let text = format!("dataset {id} ({name}) written");
        self.tell_step(EventKind::Write, open, protected, (open.started, written), text);
        if !open.bypass {
            let text = format!("dataset {id} ({name}) protected");
            let now = self.job.host.clock.monotonic();
            self.tell_step(EventKind::Encode, open, protected, (written, now), text);
        }
    }

    /// Tells, on rank 0, that a dataset is complete.
    pub(super) fn tell_end(&self, open: &Open, protected: &Protected, text: String) {
        let now = self.job.host.clock.monotonic();
        let kind = kind_of_end(&open.header);
        self.tell_step(kind, open, protected, (open.started, now), text);
    }

    fn tell_step(
        &self,
        kind: EventKind,
        open: &Open,
        protected: &Protected,
        (from, to): (Duration, Duration),
        text: String,
    ) {
        if !self.job.is_first() {
            return;
        }
        let (base, directory) = self.storage(open);
        let base = base.display().to_string();
        self.tell_more(kind, Level::Detail, &open.header, text, |event| {
            event.seconds = Some(to.saturating_sub(from).as_secs_f64());
            (event.files, event.bytes) = (Some(protected.files), Some(protected.bytes));
            (event.from, event.to) = (Some(base.clone()), Some(directory.display().to_string()));
            event.note = (kind == kind_of_end(&open.header)).then_some(base);
        });
    }

    /// Tells why a dataset is not complete, or did not come to where it must: the caller says it aloud, this is for the record.
    pub(super) fn tell_failure(&self, open: &Open, error: &Error) {
        let header = &open.header;
        let is_committed = self.entries.iter().any(|e| e.header.identity == header.identity);
        let kind = if is_committed { EventKind::Message } else { kind_of_end(header) };
        let text = format!("dataset {} ({}) is not complete: {error:#}", header.id, header.name);
        if self.job.is_first() {
            let note = Some(text.clone());
            self.tell_more(kind, Level::Detail, header, text, |event| event.note = note);
        }
    }

    /// Tells an event about a dataset, on rank 0.
    pub(super) fn tell(&self, kind: EventKind, level: Level, header: &DatasetHeader, text: String) {
        if self.job.is_first() {
            self.tell_more(kind, level, header, text, |_| {});
        }
    }

    pub(super) fn tell_more(
        &self,
        kind: EventKind,
        level: Level,
        header: &DatasetHeader,
        text: String,
        more: impl FnOnce(&mut Event),
    ) {
        let mut event = self.job.host.event(kind, level, text);
        event.dataset = Some(header.id);
        event.name = Some(header.name.clone());
        more(&mut event);
        self.job.host.sink.tell(&event);
    }
}

fn kind_of_end(header: &DatasetHeader) -> EventKind {
    if header.is_checkpoint { EventKind::CheckpointEnd } else { EventKind::OutputEnd }
}
