// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of `scr run`, each with SCR's variable where it has one.

use std::ffi::OsString;
use std::path::PathBuf;

/// Options of `scr run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr run mpirun -n 4 ./app input.dat
      one node, one launch: the application as it is, with its checkpoints
  scr run --nodes 4 --spares 1 --runs 3 mpirun -n 4 ./app
      four virtual nodes on this machine and a spare one; up to three launches
  scr kill-node node2
      in another terminal: node2 dies with all it had, and scr run launches again
      with the spare in its place
  scr run --run-cmd ./app --restart-cmd './app -r SCR_CKPT_NAME' mpirun -n 4
      for a program that wants the name of its checkpoint on its command line
  scr run --nodes 2 --run-dir /tmp/r1 mpirun -n 4 ./app
      keeps the nodes' caches for a later scr run with the same --run-dir, should it fail

What it does after a launch (the whole table is in docs/scr-run.md):
  exit status 0, no node lost        stop, success
  SCR_Finalize reached               stop with the application's status
  halt condition holds (scr halt)    stop
  failed, or a node was lost         launch again while --runs allows it; three failures in a
                                     row without a new checkpoint or the loss of a node stop it

Exit status: that of the last launch (128 + n for signal n). 2 wrong usage, 65 damaged record,
69 too few nodes, 70 and 71 failures of scr run itself, 75 a halt condition held before
anything was launched, 126 and 127 the program cannot be executed or is not there.")]
pub(crate) struct Arguments {
    /// How many nodes the application runs on [default: what srun -N says, else all but the spares; without an
    /// allocation 1, virtual nodes on this machine]
    #[arg(long, env = "SCR_LOCAL_NODES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) nodes: Option<u32>,
    /// How many more stand by to replace failed ones [default: in an allocation the rest]
    #[arg(long, env = "SCR_LOCAL_SPARES")]
    pub(crate) spares: Option<u32>,
    /// How long a node may take to answer whether it is there
    #[arg(long, env = "SCR_PROBE_SECONDS", default_value_t = 20.0, value_name = "SECONDS")]
    pub(crate) probe_seconds: f64,
    /// How long a node may show no sign of life before it is asked once more
    #[arg(long, env = "SCR_NODE_SILENCE_SECONDS", default_value_t = 20.0, value_name = "SECONDS")]
    pub(crate) node_silence_seconds: f64,
    /// Run on virtual nodes of this machine, even in an allocation
    #[arg(long)]
    pub(crate) local: bool,
    /// Ranks of each node, for instance 1,2,1; without it they are spread evenly, in blocks
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    pub(crate) ranks_per_node: Option<Vec<u32>>,
    /// How many launches there may be; -1 is no limit [default: SCR_RETRIES + 1, else 1]
    #[arg(long, env = "SCR_RUNS", allow_negative_numbers = true)]
    pub(crate) runs: Option<i64>,
    /// SCR's older name: launches after the first
    #[arg(long, env = "SCR_RETRIES", hide = true)]
    pub(crate) retries: Option<u32>,
    /// How many nodes a launch needs [default: all of the first launch]
    #[arg(long, env = "SCR_MIN_NODES")]
    pub(crate) min_nodes: Option<u32>,
    /// Nodes never to use, separated by commas
    #[arg(long, env = "SCR_EXCLUDE_NODES", default_value = "")]
    pub(crate) exclude_nodes: String,
    /// The job's directory on the parallel file system [default: the current directory]
    #[arg(long, env = "SCR_PREFIX")]
    pub(crate) prefix: Option<PathBuf>,
    /// Where the nodes have their control directories; kept after a failure when given
    #[arg(long, env = "SCR_RUN_DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Where the nodes have their caches
    #[arg(long, default_value = "/dev/shm")]
    pub(crate) cache_base: PathBuf,
    /// Pause between two launches
    #[arg(long, env = "SCR_RELAUNCH_SECONDS", default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) relaunch_seconds: f64,
    /// How long the other ranks may go on after one has died
    #[arg(long, env = "SCR_HANG_SECONDS", default_value_t = 2.0, value_name = "SECONDS")]
    pub(crate) hang_seconds: f64,
    /// 1 ends a launch when a node shows no heartbeat, or the application no progress, for the times below
    #[arg(long, env = "SCR_WATCHDOG", default_value_t = 0)]
    pub(crate) watchdog: u32,
    /// After how long without heartbeat a node counts as silent [default: 60]; and, where given, how long the application
    /// may go on without a call of the library
    #[arg(long, env = "SCR_WATCHDOG_TIMEOUT", value_name = "SECONDS")]
    pub(crate) watchdog_timeout: Option<u64>,
    /// How long a call of the library may take, which may copy to the prefix [default: the same]
    #[arg(long, env = "SCR_WATCHDOG_TIMEOUT_PFS", value_name = "SECONDS")]
    pub(crate) watchdog_timeout_pfs: Option<u64>,
    /// Put the job back into the queue when its allocation ends before its work is done
    #[arg(long, env = "SCR_REQUEUE", value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) requeue: bool,
    /// How long before the end of the allocation the application shall stop, to be requeued
    #[arg(long, env = "SCR_HALT_SECONDS", value_name = "SECONDS")]
    pub(crate) halt_seconds: Option<u64>,
    /// When the allocation ends, in seconds since 1970
    #[arg(long, env = "SCR_END_TIME", hide = true)]
    pub(crate) end_time: Option<u64>,
    /// The program and its arguments, where they are not in COMMAND; as in SCR it may also stand there, as -rc
    #[arg(long, value_name = "COMMAND")]
    pub(crate) run_cmd: Option<String>,
    /// The same for a launch that finds a checkpoint in the prefix, whose name takes the place of SCR_CKPT_NAME; also -rs
    #[arg(long, value_name = "COMMAND")]
    pub(crate) restart_cmd: Option<String>,
    /// 0 starts the command as it is, without any of this
    #[arg(long, env = "SCR_ENABLE", default_value_t = 1, hide = true)]
    pub(crate) enable: u32,
    /// The command: a launcher with its options, the program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Arguments {
    /// How many launches there may be, `None` without limit. As in SCR, 0 launches are 1.
    pub(crate) fn runs(&self) -> Option<u32> {
        let runs = self.runs.or_else(|| self.retries.map(|retries| i64::from(retries) + 1));
        match runs.unwrap_or(1) {
            ..0 => None,
            runs => Some(u32::try_from(runs.max(1)).unwrap_or(u32::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Run {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Option<Arguments> {
        Run::try_parse_from(line.split_whitespace()).ok().map(|run| run.arguments)
    }

    #[test]
    fn the_command_keeps_its_own_options() {
        for line in [
            "run --nodes 2 mpirun -n 4 ./app --runs 9",
            "run --nodes 2 -- mpirun -n 4 ./app --runs 9",
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.nodes, Some(2));
            assert_eq!(arguments.runs(), Some(1));
            assert_eq!(arguments.command, ["mpirun", "-n", "4", "./app", "--runs", "9"]);
        }
        for line in ["run", "run --nodes 0 ./app", "run --nosuch 1 ./app", "run --nodes x ./app"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn launches_are_counted_as_in_scr() {
        let cases = [
            ("run ./app", Some(1)),
            ("run --runs 3 ./app", Some(3)),
            ("run --runs 0 ./app", Some(1)),
            ("run --runs -1 ./app", None),
            ("run --retries 2 ./app", Some(3)),
            ("run --retries 2 --runs 2 ./app", Some(2)),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line).unwrap().runs(), expected, "{line}");
        }
    }
}
