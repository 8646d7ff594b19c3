// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a launch finds in the prefix.

use crate::error::Result;
use crate::event::{EventKind, Level};
use crate::exec::prefix::DELETING;
use crate::exec::{Job, scr3};
use crate::format::DatasetHeader;
use crate::format::current::{ChosenBy, Current};
use crate::format::scr3::{Dataset, Index};
use crate::format::summary::{PrefixState, Summary};
use crate::host::NO_JOB_ID;
use crate::id::{DatasetId, DatasetIdentity, DatasetName, JobId};
use crate::plan::order::Candidate;

/// What the prefix holds, as rank 0 found it.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Found {
    pub(super) summaries: Vec<Summary>,
    /// The choice on record.
    pub(super) current: Option<Current>,
    /// That of `SCR_CURRENT`.
    pub(super) wanted: Option<Current>,
    pub(super) last_id: DatasetId,
    /// What was taken out of the index.
    pub(super) dropped: Vec<DatasetIdentity>,
    /// What SCR 3 left.
    pub(super) scr3: scr3::Left,
}

/// Rank 0 ends what a dead launch sealed but did not end, and reads what there is.
pub(super) fn look_at_prefix(job: &Job) -> Result<Found> {
    let prefix = &job.prefix;
    let (mut summaries, unreadable) = prefix.summaries()?;
    for error in unreadable {
        job.host.tell(EventKind::Message, Level::Warning, format!("left aside: {error:#}"));
    }
    for summary in &summaries {
        if matches!(&summary.state, PrefixState::Failed { reason } if reason == DELETING)
            && let Err(error) = prefix.delete(&summary.dataset)
        {
            let text = format!("dataset {} is not gone yet: {error:#}", summary.dataset.id);
            job.host.tell(EventKind::Message, Level::Warning, text);
        }
    }
    for summary in &mut summaries {
        if !matches!(summary.state, PrefixState::Flushing { .. }) {
            continue;
        }
        let id = summary.dataset.id;
        let ended = prefix.rename_list(&summary.dataset).and_then(|list| {
            list.map(|list| prefix.finish(&list, job.host.unix_micros())).transpose()
        });
        match ended {
            Ok(None) => {}
            Ok(Some(ended)) => {
                *summary = ended;
                let text = format!("ended the flush of dataset {id} that another launch began");
                tell(job, EventKind::FlushSuccess, Level::Note, &summary.dataset, text);
            }
            // Others can be used all the same.
            Err(error) => {
                let text = format!("the flush of dataset {id} cannot be ended: {error:#}");
                tell(job, EventKind::FlushFail, Level::Warning, &summary.dataset, text);
            }
        }
    }
    let (_, rebuilt) = prefix.refresh_index()?;
    if let Some(why) = rebuilt {
        job.host.tell(EventKind::Message, Level::Note, why);
    }
    let mut summaries = prefix.summaries()?.0;
    for summary in &mut summaries {
        // Ranks look up their own range when they fetch; the list as a whole is only told.
        summary.ranges = Vec::new();
    }
    let left = scr3::look(prefix);
    if let Some(why) = &left.unreadable {
        job.host.tell(EventKind::Message, Level::Warning, format!("left aside: {why}"));
    }
    let wanted = chosen_by_parameter(job, &summaries, &left.index);
    let current = match prefix.current() {
        Ok(current) => current,
        Err(error) => {
            job.host.tell(EventKind::Message, Level::Warning, format!("left aside: {error:#}"));
            None
        }
    };
    let last_id = prefix.last_id()?.max(left.last_id);
    let dropped = prefix.dropped()?;
    Ok(Found { summaries, current, wanted, last_id, dropped, scr3: left })
}

fn tell(job: &Job, kind: EventKind, level: Level, dataset: &DatasetHeader, text: String) {
    let mut event = job.host.event(kind, level, text);
    (event.dataset, event.name) = (Some(dataset.id), Some(dataset.name.clone()));
    job.host.sink.tell(&event);
}

impl Found {
    /// The choice that counts for a restart, before it is known what this job has written.
    pub(super) fn choice(&self) -> Option<&Current> {
        self.wanted.as_ref().or(self.current.as_ref())
    }

    /// The choice that counts beside these candidates, in the allocation `job_id`.
    ///
    /// `SCR_CURRENT` is for the first restart of an allocation, as in SCR: launched again, a job goes on from what it has
    /// written since, whatever is still in its environment. Without an id every launch is the first.
    pub(super) fn choice_beside(
        &self,
        candidates: &[Candidate],
        job_id: &JobId,
    ) -> Option<&Current> {
        let wanted = self.wanted.as_ref().filter(|wanted| {
            job_id.as_str() == NO_JOB_ID
                || !candidates.iter().any(|candidate| {
                    let header = &candidate.header;
                    let is_mine = header.is_checkpoint && header.job_id == *job_id;
                    is_mine && header.identity != wanted.identity
                })
        });
        wanted.or(self.current.as_ref())
    }
}

/// `SCR_CURRENT` is a person's choice.
fn chosen_by_parameter(job: &Job, summaries: &[Summary], scr3: &Index) -> Option<Current> {
    let name = job.config.current.as_deref()?;
    let ours = summaries.iter().rev().find(|s| s.dataset.name.as_str() == name);
    let ours = ours.map(|summary| summary.dataset.identity);
    let identity = ours.or_else(|| scr3.named(name).map(Dataset::identity));
    if identity.is_none() {
        let text = format!("SCR_CURRENT={name}: there is no such dataset in the prefix");
        job.host.tell(EventKind::Message, Level::Warning, text);
    }
    Some(Current {
        identity: identity?,
        name: DatasetName::new(name),
        by: ChosenBy::Person,
        newest_known: DatasetId(u64::MAX),
    })
}
