// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the application under the MPI that it was built with, and ends whatever does not end.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A launch takes a second; a machine that is busy with other things may take many.
const DEADLINE: Duration = Duration::from_secs(90);

/// How a launch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With status 0.
    Well,
    /// With another status, or by a signal.
    Badly,
    /// By us, after the deadline.
    Hung,
}

/// Knows how to start ranks on this machine.
#[derive(Debug)]
pub(crate) struct Launcher {
    program: PathBuf,
    is_open_mpi: bool,
}

impl Launcher {
    /// The launcher of the MPI that this build is linked with, or why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let version = mpi::environment::library_version().unwrap_or_default();
        let is_open_mpi = version.contains("Open MPI");
        let names: [&str; 2] =
            if is_open_mpi { ["mpirun.openmpi", "mpirun"] } else { ["mpiexec.hydra", "mpiexec"] };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places =
            names.iter().flat_map(|name| std::env::split_paths(&path).map(move |p| p.join(name)));
        let program = places.into_iter().find(|program| program.is_file());
        let program = program.ok_or_else(|| format!("none of {names:?} in PATH"))?;
        Ok(Self { program, is_open_mpi })
    }

    /// The whole command, for one launch of `ranks` ranks in `root`.
    fn command(&self, root: &Path, ranks: usize, args: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        if self.is_open_mpi {
            // Its files go where ours are: killed ranks leave some of them.
            let scratch = root.join("tmp");
            command.args(["--allow-run-as-root", "--oversubscribe"]);
            for (name, value) in [
                ("mpi_yield_when_idle", "1"),
                ("odls_base_sigkill_timeout", "0"),
                ("btl", "self,vader"),
            ] {
                command.args(["--mca", name, value]);
            }
            for name in ["btl_vader_backing_directory", "orte_tmpdir_base"] {
                command.args(["--mca", name]).arg(&scratch);
            }
        }
        command.arg("-n").arg(ranks.to_string()).arg(env!("CARGO_BIN_EXE_scr-mpi-app")).args(args);
        command
    }

    /// The command as one can type it.
    pub(crate) fn shown(&self, root: &Path, ranks: usize, args: &[String]) -> String {
        let command = self.command(root, ranks, args);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted = words.map(|word| match word.to_string_lossy() {
            word if word.contains(' ') => format!("'{word}'"),
            word => word.into_owned(),
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Runs one launch to its end; on return no process of it is left.
    pub(crate) fn run(&self, root: &Path, ranks: usize, args: &[String]) -> End {
        let output = File::create(root.join("output")).expect("make a file for the output");
        let mut command = self.command(root, ranks, args);
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("share a file"))
            .stdout(output);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().expect("start the launcher");
        let group = Pid::from_child(&child);
        let alive = File::open(root.join("alive")).expect("open the lock of all processes");
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let status = child.wait().expect("wait for the launcher");
            // Every rank shares this lock for as long as it lives.
            alive.lock().expect("wait for all ranks");
            // Nobody listens any more after a panic.
            let _ = sender.send(status);
        });
        match receiver.recv_timeout(DEADLINE) {
            Ok(status) if status.success() => End::Well,
            Ok(_) => End::Badly,
            Err(_) => {
                // Those that are gone already need no signal.
                let _ = kill_process_group(group, Signal::KILL);
                kill_ranks(root);
                receiver.recv().expect("all processes end when killed");
                End::Hung
            }
        }
    }
}

/// Kills the ranks that noted their process id, if it is still theirs.
fn kill_ranks(root: &Path) {
    let nodes = std::fs::read_dir(root.join("pids")).into_iter().flatten().flatten();
    let notes =
        nodes.flat_map(|node| std::fs::read_dir(node.path()).into_iter().flatten().flatten());
    for note in notes {
        let name = note.file_name();
        let command = std::fs::read_to_string(Path::new("/proc").join(&name).join("cmdline"));
        let is_ours = command.is_ok_and(|c| c.contains(&format!("root={}\0", root.display())));
        let pid = name.to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| is_ours) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
