// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resource managers: which nodes an allocation has, which of them are down, and how programs get to them. One file each.

pub(crate) mod local;
pub(crate) mod slurm;

use crate::environment::variable;
use crate::process;
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

/// How long a manager may take to answer: on a busy machine it takes seconds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The same for who has something else to look after, and can ask again.
pub(crate) const HASTE: Duration = Duration::from_secs(3);

/// What one launcher started in an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobStep {
    /// By which the manager knows it.
    pub(crate) id: String,
    /// Where it runs.
    pub(crate) nodes: Vec<NodeName>,
    /// The host of its launcher.
    pub(crate) host: String,
    /// The process of its launcher.
    pub(crate) pid: i32,
}

impl JobStep {
    fn is_from_here(&self) -> bool {
        let short = |name: &str| name.split('.').next().unwrap_or_default().to_string();
        short(&self.host) == short(&rustix::system::uname().nodename().to_string_lossy())
    }

    /// Whether one of these processes of this machine started it.
    pub(crate) fn is_of(&self, launchers: &BTreeSet<i32>) -> bool {
        launchers.contains(&self.pid) && self.is_from_here()
    }

    /// Whether it was started from this machine by a process that is no more.
    pub(crate) fn is_left_behind(&self) -> bool {
        self.is_from_here() && process::find(self.pid).is_none()
    }
}

/// Who knows the nodes of an allocation.
pub(crate) trait ResourceManager: std::fmt::Debug {
    /// What it is, for messages.
    fn describe(&self) -> String;

    /// The allocation, as the library names it too.
    fn job_id(&self) -> &str;

    /// All nodes of the allocation in its order; those beyond what a launch needs are spares.
    fn nodes(&self) -> Vec<NodeName>;

    /// The nodes that cannot be used, as far as the manager knows.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](scr_core::ErrorKind::Refused) when there is no such allocation any more, any other when there
    /// is no answer, or none within `limit`.
    fn down(&self, limit: Duration) -> Result<BTreeSet<NodeName>>;

    /// When the allocation ends, in seconds since 1970, where known.
    fn end_unix_seconds(&self) -> Option<u64>;

    /// The ids of this user's jobs that are not over; `None` where nobody knows.
    fn live_jobs(&self) -> Result<Option<BTreeSet<String>>>;

    /// How programs get to its nodes.
    fn reach(&self) -> &dyn Reach;

    /// What the environment of a launcher must say, so that it uses these nodes of the allocation and no others.
    fn environment(&self, _nodes: &[NodeName]) -> Vec<(&'static str, OsString)> {
        Vec::new()
    }

    /// The steps of the allocation that run now, without those of our agents.
    ///
    /// # Errors
    /// Where that cannot be learned within `limit`.
    fn steps(&self, _limit: Duration) -> Result<Vec<JobStep>> {
        Ok(Vec::new())
    }

    /// Ends a step, on nodes that still answer and on those that do not.
    fn end_step(&self, _step: &str, _limit: Duration) -> Result<()> {
        Ok(())
    }

    /// Sends a signal to every process that a step started.
    fn signal_step(&self, _step: &str, _signal: i32, _limit: Duration) -> Result<()> {
        Ok(())
    }

    /// Whether the job can be put back into the queue, where that is known.
    fn can_requeue(&self) -> Option<bool> {
        None
    }

    /// Puts the job back into the queue, which ends it here.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](scr_core::ErrorKind::Refused) where that is not possible.
    fn requeue(&self) -> Result<()> {
        let text = format!("{} cannot be put back into a queue", self.describe());
        Err(Error::new(ErrorKind::Refused, text))
    }
}

/// How programs are started on nodes.
pub(crate) trait Reach: std::fmt::Debug {
    /// What it is, for messages.
    fn describe(&self) -> &'static str;

    /// Command lines that together start `program` once on each of `nodes`. What is written to the standard input of a
    /// line reaches all its nodes, and what they print comes out of its standard output.
    fn command_lines(&self, nodes: &[NodeName], program: &[OsString]) -> Vec<Vec<OsString>>;
}

/// The manager of the allocation that this process is in, if it is in one.
///
/// # Errors
/// [`ErrorKind::Misuse`](scr_core::ErrorKind::Misuse) when the environment cannot be understood.
pub(crate) fn around() -> Result<Option<Box<dyn ResourceManager>>> {
    let slurm = slurm::Slurm::around(&variable)?;
    Ok(slurm.map(|slurm| Box::new(slurm) as Box<dyn ResourceManager>))
}

/// The manager of a job that this process need not be in, if it is one of its manager's.
pub(crate) fn of_job(job_id: &str) -> Option<Box<dyn ResourceManager>> {
    let is_slurms =
        variable("SLURM_CONF").is_some() || crate::ask::find("scontrol".as_ref()).is_ok();
    (is_slurms && job_id.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| Box::new(slurm::Slurm::of_job(job_id)) as Box<dyn ResourceManager>)
}

/// Writes a list of nodes in Slurm's short form.
pub(crate) fn compress<'a>(nodes: impl IntoIterator<Item = &'a NodeName>) -> String {
    let names: Vec<&str> = nodes.into_iter().map(NodeName::as_str).collect();
    crate::hostlist::compress(&names)
}

/// Reads a list of node names (`SCR_EXCLUDE_NODES`), in Slurm's short form or separated by commas or blanks.
pub(crate) fn parse_node_list(text: &str) -> Result<BTreeSet<NodeName>> {
    Ok(crate::hostlist::parse(text)?.into_iter().map(NodeName::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_lists_are_separated_by_commas_or_blanks() {
        let cases = [
            ("", 0),
            ("node1", 1),
            ("node1,node2", 2),
            (" node1, node2 node1 ", 2),
            ("n[1-3],m", 4),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_node_list(text).unwrap().len(), expected, "{text:?}");
        }
    }
}
