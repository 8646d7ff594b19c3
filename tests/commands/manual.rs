// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command lines of SCR's manual ("Halt a job", "Manage datasets", and of "Run a job" those that need no resource
//! manager), pasted into a shell, in a prefix in which a job left fifty checkpoints. Those that need Slurm are in
//! tests/cluster/scripts.rs.

use scr_core::clock::SystemClock;
use scr_core::comm::thread::{Scheduler, World};
use scr_core::config::Layers;
use scr_core::event::Silent;
use scr_core::host::{Host, JobInfo};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::session::{Flags, Outcome, Session};
use scr_core::store::posix::Posix;
use scr_tests::program::{OPEN_MPI, scr};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// SCR's names for the commands.
const NAMES: [&str; 18] = [
    "scr_run",
    "scr_mpirun",
    "scr_srun",
    "scr_index",
    "scr_halt",
    "scr_print",
    "scr_prerun",
    "scr_postrun",
    "scr_should_exit",
    "scr_list_down_nodes",
    "scr_retries_halt",
    "scr_have_restart",
    "scr_flush_file",
    "scr_nodes_file",
    "scr_env",
    "scr_ckpt_interval",
    "scr_log_event",
    "scr_hostlist",
];

/// The prefix of SCR's manual; here it is where the test's is.
const MANUALS_PREFIX: &str = "/p/lscratcha/user1/simulation123";

/// How many datasets there are: the manual speaks of the fiftieth.
const DATASETS: u64 = 50;

/// A line, its exit status, and a word of what it says; without one it says nothing.
type Line = (&'static str, i32, &'static str);

/// "Manage datasets".
const DATASET_LINES: &[Line] = &[
    ("scr_index", 0, "*  ckpt.50"),
    ("scr_index --current ckpt.12", 0, ""),
    ("scr_index", 0, "*  ckpt.12"),
    ("scr_have_restart", 0, "ckpt.12"),
    ("scr_index --drop ckpt.50", 0, ""),
    ("scr_index --list | grep -c ckpt.50", 1, "0"),
    ("scr_index --add ckpt.50", 0, ""),
    ("scr_index --list | grep -c ckpt.50", 0, "1"),
    ("scr_index --drop-after ckpt.18", 0, ""),
    ("scr_index -l | grep -c ckpt", 0, "18"),
    ("scr_index --build 50", 0, ""),
    ("scr_index --build 51", 65, "there is no dataset 51"),
    ("scr_index --prefix /p/lscratcha/user1/simulation123 -l | grep -c ckpt", 0, "19"),
    ("scr_index -p /p/lscratcha/user1/simulation123 -a ckpt.49", 0, ""),
    ("scr_index -c ckpt.50", 0, ""),
    // As older editions have it.
    ("scr_index --remove ckpt.50", 0, ""),
    ("scr_index -a ckpt.50", 0, ""),
    ("scr_print .scr/index", 0, "ckpt.50"),
    ("scr_print -m tree .scr/index", 0, "ckpt.50"),
    ("scr_print -m keyval .scr/index", 0, "\"name\": \"ckpt.50\""),
    ("scr_explain", 0, "A person chose ckpt.50"),
];

/// "Halt a job".
const HALT_LINES: &[Line] = &[
    ("scr_halt --list", 0, "None"),
    ("scr_halt", 0, ""),
    ("scr_halt --list", 0, "ExitReason: JOB_HALTED"),
    ("scr_retries_halt --dir /p/lscratcha/user1/simulation123", 0, "HALT RUN: Reason: JOB_HALTED."),
    ("scr_should_exit -v", 0, "JOB_HALTED"),
    ("scr_run ./my_job", 75, "a halt condition holds"),
    ("scr_halt --remove", 0, ""),
    ("scr_halt --list", 0, "None"),
    ("scr_halt /p/lscratcha/user1/simulation123", 0, ""),
    ("scr_halt -l /p/lscratcha/user1/simulation123", 0, "ExitReason: JOB_HALTED"),
    ("scr_halt --unset-reason", 0, ""),
    ("scr_halt --checkpoints 10", 0, ""),
    ("scr_halt --list", 0, "CheckpointsLeft: 10"),
    ("scr_halt --after '2023-07-04T21:00:00'", 0, ""),
    ("scr_halt --list", 0, "ExitAfter: 2023-07-04T21:00:00"),
    ("scr_should_exit -v", 0, "is past ExitAfter time (2023-07-04T21:00:00)"),
    ("scr_halt --unset-after", 0, ""),
    ("scr_halt --before '2023-07-04T21:00:00'", 0, ""),
    ("scr_halt --seconds 600", 0, ""),
    ("scr_halt --list", 0, "ExitBefore - HaltSeconds: 2023-07-04T20:50:00"),
    ("scr_retries_halt", 0, "is past ExitBefore-HaltSeconds time (2023-07-04T20:50:00)"),
    ("scr_halt --unset-before", 0, ""),
    ("scr_halt --unset-seconds", 0, ""),
    ("scr_halt --unset-checkpoints", 0, ""),
    ("scr_halt --list", 0, "None"),
    ("scr_halt --checkpoints 10 --before '2023-07-04T21:00:00'", 0, ""),
    ("scr_halt --before '2033-07-04T21:00:00'", 0, ""),
    ("scr_halt -c 20 -b '2033-07-04T21:00:00' -v", 0, "CheckpointsLeft: 20"),
    ("scr_halt --list", 0, "ExitBefore: 2033-07-04T21:00:00"),
    ("scr_retries_halt", 1, "CONTINUE RUN"),
    ("scr_halt -r", 0, ""),
    // Nothing runs here.
    ("scr_halt --immediate", 0, "nothing that could be ended"),
    ("scr_halt -r -v", 0, "None"),
    // As older editions have it.
    ("scr_halt -a '12:00pm 2008-09-07' -v", 0, "ExitAfter: 2008-09-07T12:00:00"),
    ("scr_halt -r", 0, ""),
    ("scr_halt --after '12:00pm today' -v", 0, "T12:00:00"),
    ("scr_halt --checkpoints 10 --before '8:30am tomorrow' -v", 0, "T08:30:00"),
    ("scr_halt -s 1800 -v", 0, "HaltSeconds: 1800"),
    ("scr_halt --remove", 0, ""),
];

/// "Run a job", and the commands that the scripts there are made of.
const RUN_LINES: &[Line] = &[
    ("scr_prerun", 0, "1 of 1 node can be used"),
    ("scr_prerun -p /p/lscratcha/user1/simulation123 -v", 0, "1 of 1 node can be used"),
    ("scr_list_down_nodes", 0, ""),
    ("scr_list_down_nodes -j srun", 0, ""),
    (
        "SCR_NODELIST=$(hostname) scr_list_down_nodes --down $(hostname) --reason",
        0,
        "known to be down",
    ),
    ("SCR_EXCLUDE_NODES=$(hostname) scr_list_down_nodes --reason", 0, "SCR_EXCLUDE_NODES"),
    (
        "SCR_NODELIST=n[1-4] scr_should_exit --down n1 --min-nodes 4 -v",
        0,
        "3 nodes left of 4, nodes_needed=4",
    ),
    ("scr_should_exit --runs 0 -v", 0, "No launches are left"),
    ("scr_should_exit --runs 1", 1, ""),
    ("scr_nodes_file --dir .", 0, "1"),
    ("scr_env --jobid", 0, "1234"),
    ("scr_have_restart", 0, "ckpt.50"),
    ("scr_flush_file --dir . --latest", 0, "50"),
    ("scr_flush_file --dir . --location 50", 0, "PFS"),
    ("scr_flush_file --dir . --need-flush 50", 1, ""),
    ("scr_flush_file --dir . --list-ckpt --before 3", 0, "2 1"),
    ("scr_hostlist --expand 'n[1-3]'", 0, "n1,n2,n3"),
    ("scr_ckpt_interval --mtbf 86400 --cost 30", 0, "2"),
    ("scr_log_event -p . -i 1234 -T RUN_START -N run=1", 0, ""),
    ("scr_run ./my_job one two", 0, "my job has done: one two"),
    ("scr_run mpirun -n 2 ./my_job one two", 0, "my job has done: one two"),
    ("scr_mpirun -n 2 ./my_job one two", 0, "my job has done: one two"),
    ("SCR_ENABLE=0 scr_run ./my_job one two", 0, "my job has done: one two"),
    ("SCR_RUNS=3 SCR_RELAUNCH_SECONDS=0.1 scr_run ./fails_once", 0, "launch 2 of 3"),
    // There is no allocation.
    ("scr_run srun -n512 -N64 ./my_job", 2, "srun"),
    ("scr_srun -n512 -N64 ./my_job", 2, "srun"),
    ("scr_postrun -j srun", 0, "nothing to save"),
    ("scr_postrun -p /p/lscratcha/user1/simulation123", 0, "nothing to save"),
];

/// A place with a directory of SCR's names, a prefix, and two programs in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        for name in ["bin", "cache", "prefix"] {
            fs::create_dir(place.0.path().join(name)).expect("a directory");
        }
        for name in NAMES.iter().chain(&["scr_explain"]) {
            let link = place.0.path().join("bin").join(name);
            std::os::unix::fs::symlink(scr(), link).expect("a link");
        }
        place.program("my_job", "echo \"my job has done: $*\"");
        place.program("fails_once", "test -e again && exit 0; touch again; exit 3");
        place.run_a_job();
        place
    }

    fn prefix(&self) -> std::path::PathBuf {
        self.0.path().join("prefix")
    }

    fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.prefix().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    /// Two ranks on one node write checkpoints to the prefix, and come to their end.
    fn run_a_job(&self) {
        let ended = World::new(2, Scheduler::Free).run(|comm| {
            let rank = comm.rank();
            let mut layers = Layers::new(self.prefix(), []);
            let lines = format!("SCR_CACHE_BASE={0}\nSCR_CNTL_BASE={0}\n", self.cache().display());
            layers.set_user_file(Path::new("/test"), &lines);
            let (config, _) = layers.resolve().expect("a configuration");
            let posix = Arc::new(Posix::new());
            let host = Host {
                local: posix.clone(),
                shared: posix,
                clock: Arc::new(SystemClock::default()),
                sink: Arc::new(Silent),
                job: JobInfo {
                    job_id: JobId::new("1233"),
                    user: UserName::new("user1"),
                    node: NodeName::new("node"),
                    end_unix_seconds: None,
                },
                random: scr_core::host::random,
                directory: self.prefix(),
                background: false,
            };
            let mut session = Session::init(comm, host, config).expect("a session");
            for id in 1..=DATASETS {
                let name = format!("ckpt.{id}");
                let flags = Flags { checkpoint: true, output: false };
                let mut output = session.output(&name, flags).expect("an output");
                let path = output.route(format!("{name}/rank.{rank}")).expect("a path");
                fs::write(path, &name).expect("written");
                let outcome = output.complete(true);
                assert!(matches!(outcome, Ok(Outcome::Committed)), "{name}: {outcome:?}");
            }
            session.finalize().expect("an end");
        });
        for rank in ended {
            rank.expect("a rank");
        }
    }

    fn cache(&self) -> std::path::PathBuf {
        self.0.path().join("cache")
    }

    /// Pastes lines into a shell in the prefix.
    fn paste(&self, lines: &[Line]) {
        let path = std::env::var("PATH").expect("PATH");
        let path = format!("{}:{path}", self.0.path().join("bin").display());
        let mut wrong = Vec::new();
        for (line, code, word) in lines {
            let prefix = self.prefix();
            let pasted = line.replace(MANUALS_PREFIX, &prefix.to_string_lossy());
            let mut shell = Command::new("sh");
            for (name, _) in std::env::vars_os() {
                let name = name.to_string_lossy();
                if name.starts_with("SCR_") || name.starts_with("SLURM") {
                    shell.env_remove(&*name);
                }
            }
            shell.args(["-c", &pasted]).current_dir(&prefix).env("PATH", &path);
            shell.env("SCR_CACHE_BASE", self.cache()).env("SCR_CNTL_BASE", self.cache());
            shell
                .env("XDG_RUNTIME_DIR", self.0.path())
                .env("SCR_USER_NAME", "user1")
                .env("SCR_JOB_ID", "1234")
                .envs(OPEN_MPI);
            let ended = shell.output().expect("a shell");
            let said = [ended.stdout, ended.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let is_right = if word.is_empty() { said.is_empty() } else { said.contains(word) };
            if ended.status.code() != Some(*code) || !is_right {
                wrong.push(format!(
                    "{line}\n  {}, not {code} and {word:?}: {said:.600}",
                    ended.status
                ));
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}

#[test]
fn the_lines_of_scrs_manual_work_as_pasted() {
    let place = Place::new();
    place.paste(DATASET_LINES);
    place.paste(HALT_LINES);
    place.paste(RUN_LINES);
}
