// SPDX-License-Identifier: MIT OR Apache-2.0
//! `watch`: whether the application lives on a node, and signals to its ranks there.
//!
//! Which processes are ranks is told by their environment: they carry the mark of the run, and a variable that launchers
//! give to ranks. Launchers and their daemons carry some of these too, and are known by their names; our own agents by
//! theirs.

use super::node::{COMMAND, Ears, Voice};
use super::protocol::{Answer, Request};
use crate::files::{list, name_of, optional, store};
use crate::process::{Process, has_variable, matching};
use crate::settings::Settings;
use rustix::process::Signal;
use scr_core::Result;
use scr_core::clock::{Clock, SystemClock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The job.
    pub(crate) settings: Settings,
    /// What marks the processes of the run (`SCR_RUN_ID`).
    pub(crate) run_id: String,
    /// How often the counters are told.
    pub(crate) period_ms: u64,
}

/// Variables that only ranks have.
const OF_RANKS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];
/// Variables that the tasks of a job step have: ranks, unless they are a launcher's daemons. A batch script has not both.
const OF_TASKS: [&str; 2] = ["SLURM_PROCID", "SLURM_STEP_ID"];
/// Launchers and what they start to start ranks.
const LAUNCHERS: [&str; 16] = [
    "srun",
    "slurmstepd",
    "mpirun",
    "mpiexec",
    "orterun",
    "orted",
    "prterun",
    "prted",
    "prun",
    "mpirun.openmpi",
    "mpiexec.openmpi",
    "mpirun.mpich",
    "mpiexec.mpich",
    "mpiexec.hydra",
    "hydra_pmi_proxy",
    "hydra_bstrap_proxy",
];
/// Bounds the wait for a process that the kernel cannot end.
const ROUNDS: u32 = 500;
/// Between two looks at who is left.
const POLL: Duration = Duration::from_millis(10);

/// Watches until there is no coordinator any more.
pub(super) fn watch(watch: &Watch, settings: &Settings, voice: &Voice, ears: &Ears) -> Result<()> {
    let (config, _) = settings.resolve()?;
    let job = settings.job();
    let control = config.control_base.join(job.user.as_str()).join(format!("scr.{}", job.job_id));
    let period = Duration::from_millis(watch.period_ms.max(1));
    loop {
        let beat = String::from_utf8_lossy(&counters(&control)?).into_owned();
        voice.say(Answer::Beat(beat))?;
        match ears.next(period) {
            Ok(Some(Request::Signal(signal))) => {
                voice.say(Answer::Signalled(signal_ranks(&watch.run_id, signal)))?;
            }
            Ok(Some(Request::Kill)) => {
                voice.say(Answer::Killed(kill_all(&watch.run_id, &SystemClock::default())))?;
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// The counters of a job on this node, end to end: `<prefix hash>/heartbeat`, and the same below `task.<...>/`.
pub(crate) fn counters(job: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for of_prefix in list(job)? {
        let tasks = list(&of_prefix)?.into_iter().filter(|path| name_of(path).starts_with("task."));
        for directory in tasks.chain([of_prefix.clone()]) {
            if let Some(counter) = optional(store().read(&directory.join("heartbeat")))? {
                all.extend(counter);
                all.push(b'\n');
            }
        }
    }
    Ok(all)
}

fn signal_ranks(run_id: &str, signal: i32) -> u32 {
    let Some(signal) = Signal::from_named_raw(signal) else { return 0 };
    let ranks = matching(&|environment, arguments| {
        has_variable(environment, "SCR_RUN_ID", Some(run_id)) && is_rank(environment, arguments)
    });
    ranks.into_iter().filter(|rank| rank.signal(signal)).count() as u32
}

/// Kills until nothing of the run is left but agents; returns how many processes were found.
fn kill_all(run_id: &str, clock: &dyn Clock) -> u32 {
    let mut killed: BTreeSet<Process> = BTreeSet::new();
    for _ in 0..ROUNDS {
        let left = matching(&|environment, arguments| {
            has_variable(environment, "SCR_RUN_ID", Some(run_id)) && !is_ours(arguments)
        });
        if left.is_empty() {
            break;
        }
        for process in left {
            process.signal(Signal::KILL);
            killed.insert(process);
        }
        clock.sleep(POLL);
    }
    killed.len() as u32
}

fn words(arguments: &[u8]) -> impl Iterator<Item = &[u8]> {
    arguments.split(|&byte| byte == 0)
}

/// Whether a process is an agent, or carries agents.
fn is_ours(arguments: &[u8]) -> bool {
    words(arguments).any(|word| word == COMMAND.as_bytes())
}

/// Whether a process of a run is one of its ranks, or was started by one.
fn is_rank(environment: &[u8], arguments: &[u8]) -> bool {
    let program = words(arguments).next().unwrap_or_default();
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    // Slurm's daemon gives itself a title: "slurmstepd: [7.0]".
    let name = name.split(|&byte| byte == b':').next().unwrap_or_default();
    let is_launcher = LAUNCHERS.iter().any(|launcher| launcher.as_bytes() == name);
    let has = |variable: &&str| has_variable(environment, variable, None);
    let is_told = OF_RANKS.iter().any(has) || OF_TASKS.iter().all(has);
    is_told && !is_launcher && !is_ours(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::spawn;
    use std::process::{Command, Stdio};

    #[test]
    fn ranks_are_told_from_those_who_start_them() {
        let cases = [
            ("OMPI_COMM_WORLD_RANK=0", "./app -x", true),
            ("PMI_RANK=3", "/home/a/app", true),
            ("PMIX_RANK=3", "scr rank-exec --run-dir /r -- app", true),
            ("SLURM_PROCID=1 SLURM_STEP_ID=0", "python3 app.py", true),
            ("SLURM_PROCID=1 SLURM_STEP_ID=0 OMPI_COMM_WORLD_RANK=7", "./srun_like", true),
            // A batch script, and what it starts.
            ("SLURM_PROCID=0", "bash job.sh", false),
            ("SLURM_PROCID=0", "srun -n 4 ./app", false),
            ("SLURM_PROCID=1 SLURM_STEP_ID=0", "/usr/bin/orted -mca x y", false),
            ("SLURM_PROCID=1 SLURM_STEP_ID=0 PMI_RANK=1", "hydra_pmi_proxy --x", false),
            ("SLURM_PROCID=1 SLURM_STEP_ID=4", "/opt/scr node-agent watch", false),
            ("SLURM_PROCID=1 SLURM_STEP_ID=4", "slurmstepd: [7.4]", false),
            ("HOME=/", "./helper", false),
        ];
        let entries = |text: &str| text.split(' ').flat_map(|w| [w, "\0"]).collect::<String>();
        for (environment, arguments, expected) in cases {
            let found = is_rank(entries(environment).as_bytes(), entries(arguments).as_bytes());
            assert_eq!(found, expected, "{environment} {arguments}");
        }
    }

    #[test]
    fn counters_are_found_with_and_without_tasks() {
        let base = tempfile::tempdir().unwrap();
        let job = base.path().join("scr.7");
        assert!(counters(&job).unwrap().is_empty());
        for (directory, counter) in [("aa", "17"), ("bb/task.3", "4"), ("bb/dataset.1-0", "9")] {
            let directory = job.join(directory);
            store().create_dir_all(&directory).unwrap();
            store().append(&directory.join("heartbeat"), counter.as_bytes()).unwrap();
        }
        assert_eq!(counters(&job).unwrap(), b"17\n4\n");
    }

    #[test]
    fn signals_go_to_ranks_of_the_run_and_death_to_all_of_it() {
        let run = format!("watch-test-{}", std::process::id());
        let start = |rank: bool, run: &str| {
            let mut command = Command::new("cat");
            command.env("SCR_RUN_ID", run).stdin(Stdio::piped());
            if rank {
                command.env("PMI_RANK", "0");
            }
            spawn(&mut command).unwrap()
        };
        let mut stranger = start(true, "another-run");
        let (mut rank, mut helper) = (start(true, &run), start(false, &run));
        assert_eq!(signal_ranks(&run, Signal::USR1.as_raw()), 1);
        assert_eq!(
            crate::process::status_of(rank.wait().unwrap()).exit_code(),
            128 + Signal::USR1.as_raw() as u8
        );
        assert!(helper.try_wait().unwrap().is_none());
        assert_eq!(kill_all(&run, &SystemClock::default()), 1);
        assert_eq!(crate::process::status_of(helper.wait().unwrap()).exit_code(), 137);
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
