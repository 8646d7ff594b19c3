// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands of scr: one program, also reachable by SCR's names (`scr_run`, `scr_index`, ...).

mod agents;
mod allocation;
mod ask;
mod caches;
mod environment;
mod exit;
mod explain;
mod files;
mod generate;
mod halt;
mod hostlist;
mod index;
mod interval;
mod launcher;
mod list_down_nodes;
mod log;
mod output;
mod prefix;
mod prerun;
mod print;
mod process;
mod queries;
mod resource_manager;
mod run;
#[cfg(test)]
mod samples;
mod scavenge;
mod settings;
mod time;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Scalable checkpoint/restart: runs an application, looks after its checkpoints, tells why.
#[derive(Parser, Debug)]
#[command(
    name = "scr",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  scr run --nodes 4 --spares 1 --runs 3 mpirun -n 4 ./app
  scr index              the checkpoints of this directory
  scr explain            why the last restart took the one it took
  scr verify             whether what is in prefix and caches is what it was
  scr halt               stop the job cleanly after its next checkpoint

Exit status: 0 success, 1 nothing to tell or (verify) something bad, 2 wrong usage, 65 missing
or damaged, 69 not available, 70 and 71 failures of scr or the system; scr run returns the application's own."
)]
struct Commands {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Launch an application, and again after failures, on the nodes that are left
    Run(Box<run::Arguments>),
    /// List the datasets in a prefix, choose the one to restart from
    Index(index::Arguments),
    /// Tell why the last restart took what it took
    Explain(explain::Arguments),
    /// Compare what is in prefix and caches with its checksums, heal caches
    Verify(verify::Arguments),
    /// Ask a job to stop cleanly
    Halt(halt::Arguments),
    /// Show a record
    Print(print::Arguments),
    /// Reckon with lists of nodes: expand, compress, count, subtract
    Hostlist(hostlist::command::Arguments),
    /// Tell how often to write a checkpoint, from the history of a prefix
    CkptInterval(interval::Arguments),
    /// Tell whether a script should stop launching the job again
    ShouldExit(queries::should_exit::Arguments),
    /// Tell whether a halt condition forbids another launch
    RetriesHalt(queries::retries_halt::Arguments),
    /// Print the checkpoint in the prefix that a restart would take
    HaveRestart(queries::have_restart::Arguments),
    /// Tell which datasets there are, and which are only in the caches
    FlushFile(queries::flush_file::Arguments),
    /// Print how many nodes the last launch had
    NodesFile(queries::nodes_file::Arguments),
    /// Print what is known of the job around a script
    Env(queries::env::Arguments),
    /// Write an event into SCR's log
    LogEvent(log::command::EventArguments),
    /// Write a transfer of files into SCR's log
    LogTransfer(log::command::TransferArguments),
    /// Make an allocation ready: prefix, directories on every node, what dead jobs have left
    Prerun(prerun::Arguments),
    /// Save what is only in the caches when a job has ended
    Postrun(scavenge::Arguments),
    /// Copy what is only in the caches of an allocation to the prefix
    Scavenge(scavenge::Arguments),
    /// Print the nodes of an allocation that cannot be used
    ListDownNodes(list_down_nodes::Arguments),
    /// Kill a virtual node of a run, with all it has
    KillNode(run::kill_node::Arguments),
    /// Bring a killed virtual node back, empty
    RestoreNode(run::kill_node::Arguments),
    /// Work on one node (started by the other commands)
    #[command(hide = true)]
    NodeAgent(agents::node::Arguments),
    /// Run one rank (started by scr run)
    #[command(hide = true)]
    RankExec(run::rank_exec::Arguments),
    /// Write the manual pages into a directory (for the installation)
    #[command(hide = true)]
    Man(generate::ManArguments),
    /// Print the completions for a shell (for the installation)
    #[command(hide = true)]
    Completions(generate::CompletionsArguments),
    /// Print a configuration file with every parameter commented out (for the installation)
    #[command(hide = true)]
    DefaultConfig,
}

/// Turns SCR's program names into commands: `scr_run a b` is `scr run a b`.
fn command_line(mut words: Vec<OsString>) -> Vec<OsString> {
    let name = words.first().map(|word| files::name_of(Path::new(word))).unwrap_or_default();
    let Some(command) = name.strip_prefix("scr_") else { return words };
    let commands: Vec<OsString> = match command {
        launcher @ ("mpirun" | "srun") => vec!["run".into(), launcher.into()],
        other => vec![other.replace('_', "-").into()],
    };
    words.splice(0..1, std::iter::once(OsString::from("scr")).chain(commands));
    words
}

fn main() -> ExitCode {
    let commands = Commands::parse_from(command_line(std::env::args_os().collect()));
    let (name, result) = match &commands.command {
        Command::Run(arguments) => ("scr run", run::main(arguments)),
        Command::Index(arguments) => ("scr index", index::main(arguments)),
        Command::Explain(arguments) => ("scr explain", explain::main(arguments)),
        Command::Verify(arguments) => ("scr verify", verify::main(arguments)),
        Command::Halt(arguments) => ("scr halt", Ok(halt::main(arguments))),
        Command::Print(arguments) => ("scr print", print::main(arguments)),
        Command::Hostlist(arguments) => ("scr hostlist", hostlist::command::main(arguments)),
        Command::CkptInterval(arguments) => ("scr ckpt-interval", interval::main(arguments)),
        Command::ShouldExit(arguments) => {
            ("scr should-exit", queries::should_exit::main(arguments))
        }
        Command::RetriesHalt(arguments) => {
            ("scr retries-halt", queries::retries_halt::main(arguments))
        }
        Command::HaveRestart(arguments) => {
            ("scr have-restart", queries::have_restart::main(arguments))
        }
        Command::FlushFile(arguments) => ("scr flush-file", queries::flush_file::main(arguments)),
        Command::NodesFile(arguments) => ("scr nodes-file", queries::nodes_file::main(arguments)),
        Command::Env(arguments) => ("scr env", queries::env::main(arguments)),
        Command::LogEvent(arguments) => ("scr log-event", log::command::event(arguments)),
        Command::LogTransfer(arguments) => ("scr log-transfer", log::command::transfer(arguments)),
        Command::Prerun(arguments) => ("scr prerun", prerun::main(arguments)),
        Command::Postrun(arguments) => ("scr postrun", scavenge::main("scr postrun", arguments)),
        Command::Scavenge(arguments) => ("scr scavenge", scavenge::main("scr scavenge", arguments)),
        Command::ListDownNodes(arguments) => {
            ("scr list-down-nodes", list_down_nodes::main(arguments))
        }
        Command::KillNode(arguments) => ("scr kill-node", run::kill_node::kill(arguments)),
        Command::RestoreNode(arguments) => ("scr restore-node", run::kill_node::restore(arguments)),
        Command::NodeAgent(arguments) => ("scr node-agent", agents::node::main(arguments)),
        Command::RankExec(arguments) => ("scr rank-exec", run::rank_exec::main(arguments)),
        Command::Man(arguments) => ("scr man", generate::man(Commands::command(), arguments)),
        Command::Completions(arguments) => {
            ("scr completions", generate::completions(&mut Commands::command(), arguments))
        }
        Command::DefaultConfig => ("scr default-config", generate::default_config()),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        output::complain(name, &error);
        exit::of_error(error.kind())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Commands::command().debug_assert();
    }

    #[test]
    fn the_names_of_scr_are_commands() {
        let cases = [
            ("scr run x", "scr run x"),
            ("/opt/bin/scr_run x", "scr run x"),
            ("scr_mpirun -n 4 x", "scr run mpirun -n 4 x"),
            ("scr_srun -n 4 x", "scr run srun -n 4 x"),
            ("scr_index --list", "scr index --list"),
            ("scr_kill_node node1", "scr kill-node node1"),
            ("scr", "scr"),
        ];
        for (line, expected) in cases {
            let words = line.split(' ').map(OsString::from).collect();
            assert_eq!(command_line(words).join(&OsString::from(" ")), expected, "{line}");
        }
    }
}
