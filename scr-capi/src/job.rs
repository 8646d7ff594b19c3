// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of the job, from variables that resource managers set. Pure, and starts no process.

use scr_core::id::{JobId, NodeName, UserName};
use scr_core::session::JobInfo;

/// Where the id of the allocation is looked for, in this order.
pub(crate) const JOB_ID: &[&str] =
    &["SCR_JOB_ID", "SLURM_JOB_ID", "SLURM_JOBID", "FLUX_JOB_ID", "LSB_JOBID", "PBS_JOBID"];

/// Where the name of the user is looked for.
pub(crate) const USER: &[&str] = &["SCR_USER_NAME", "USER", "LOGNAME"];

/// Where the name of the node is looked for. Differs from rank to rank.
pub(crate) const NODE: &[&str] = &["SCR_NODE", "SLURMD_NODENAME"];

/// Where the end of the allocation, in seconds since 1970, is looked for.
pub(crate) const END_TIME: &[&str] = &["SCR_END_TIME", "SLURM_JOB_END_TIME"];

/// The job id where no resource manager gives one; the same as SCR's.
const NO_JOB_ID: &str = "defjobid";

/// What the operating system says where no variable does.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) uid: u32,
    pub(crate) host_name: String,
}

impl System {
    /// Asks the operating system.
    pub(crate) fn ask() -> Self {
        Self {
            uid: rustix::process::getuid().as_raw(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

/// The job as `variable` (name to value) describes it; an empty value counts as none.
pub(crate) fn describe(variable: impl Fn(&str) -> Option<String>, system: &System) -> JobInfo {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
    };
    JobInfo {
        job_id: JobId::new(first(JOB_ID).unwrap_or_else(|| NO_JOB_ID.to_string())),
        user: UserName::new(first(USER).unwrap_or_else(|| system.uid.to_string())),
        node: NodeName::new(first(NODE).unwrap_or_else(|| system.host_name.clone())),
        end_unix_seconds: first(END_TIME).and_then(|text| text.trim().parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables set, then the expected job id, user, node and end.
    type Case = (&'static [(&'static str, &'static str)], [&'static str; 3], Option<u64>);

    #[test]
    fn the_first_variable_that_is_set_wins() {
        let cases: &[Case] = &[
            (&[], ["defjobid", "1000", "host7"], None),
            (
                &[("SLURM_JOB_ID", "42"), ("USER", "ann"), ("SLURMD_NODENAME", "n1")],
                ["42", "ann", "n1"],
                None,
            ),
            (&[("SCR_JOB_ID", "mine"), ("SLURM_JOB_ID", "42")], ["mine", "1000", "host7"], None),
            (&[("SLURM_JOBID", "41")], ["41", "1000", "host7"], None),
            (&[("FLUX_JOB_ID", "f2Bx")], ["f2Bx", "1000", "host7"], None),
            (&[("LSB_JOBID", "7")], ["7", "1000", "host7"], None),
            (&[("PBS_JOBID", "9.srv")], ["9.srv", "1000", "host7"], None),
            (&[("SCR_USER_NAME", "bob"), ("USER", "ann")], ["defjobid", "bob", "host7"], None),
            (&[("LOGNAME", "cyd")], ["defjobid", "cyd", "host7"], None),
            (&[("SCR_NODE", "v3"), ("SLURMD_NODENAME", "n1")], ["defjobid", "1000", "v3"], None),
            (&[("SCR_JOB_ID", ""), ("PBS_JOBID", "9")], ["9", "1000", "host7"], None),
            (&[("SCR_END_TIME", "1700000000")], ["defjobid", "1000", "host7"], Some(1_700_000_000)),
            (&[("SCR_END_TIME", "soon")], ["defjobid", "1000", "host7"], None),
        ];
        let system = System { uid: 1000, host_name: "host7".into() };
        for (set, [job_id, user, node], end) in cases {
            let found = describe(
                |name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string()),
                &system,
            );
            let expected = JobInfo {
                job_id: JobId::new(*job_id),
                user: UserName::new(*user),
                node: NodeName::new(*node),
                end_unix_seconds: *end,
            };
            assert_eq!(found, expected, "{set:?}");
        }
    }
}
