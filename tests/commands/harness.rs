// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real runs of `scr run` with a small MPI program, and what can be seen of them from outside.

use rustix::process::{Pid, Signal, kill_process};
use scr_tests::program::scr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nothing here takes this long; a run that does hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// One MPI implementation: its compiler and its launcher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mpi {
    pub(crate) name: &'static str,
    compiler: &'static str,
    pub(crate) launcher: &'static str,
}

/// The implementations that the commands are tested with.
pub(crate) const ALL: [Mpi; 2] = [
    Mpi { name: "Open MPI", compiler: "mpicc", launcher: "mpirun" },
    Mpi { name: "MPICH", compiler: "mpicc.mpich", launcher: "mpiexec.mpich" },
];

impl Mpi {
    /// The test program built for this implementation; `None` where it is not installed.
    fn application(self) -> Option<PathBuf> {
        static BUILT: [OnceLock<Option<PathBuf>>; 2] = [OnceLock::new(), OnceLock::new()];
        let slot = ALL.iter().position(|mpi| mpi.name == self.name)?;
        BUILT[slot].get_or_init(|| self.build()).clone()
    }

    #[expect(clippy::disallowed_methods, reason = "a file of the test, not a record")]
    fn build(self) -> Option<PathBuf> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("commands/application.c");
        let program =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("application.{}", self.compiler));
        // Each test may be a process of its own: none may write what another is running.
        let beside = program.with_extension(format!("{}.{}", self.compiler, std::process::id()));
        let built =
            Command::new(self.compiler).arg("-O1").arg("-o").arg(&beside).arg(source).status();
        match built {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("{}: {error}", self.compiler),
            Ok(status) => {
                assert!(status.success(), "{} failed", self.compiler);
                std::fs::rename(&beside, &program).expect("a place for the program");
                Some(program)
            }
        }
    }
}

/// A place for one test: a prefix, a run directory, caches and signs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) mpi: Mpi,
    application: PathBuf,
    base: tempfile::TempDir,
}

impl Place {
    /// A fresh place, `None` (and a note of the skip) where the MPI implementation is not installed.
    pub(crate) fn new(test: &str, mpi: Mpi) -> Option<Self> {
        let Some(application) = mpi.application() else {
            scr_tests::skip(&format!("{test} with {}", mpi.name), "not installed");
            return None;
        };
        let base = tempfile::tempdir().expect("temporary directory");
        for name in ["signs", "prefix", "cache"] {
            std::fs::create_dir(base.path().join(name)).expect("directory");
        }
        Some(Self { mpi, application, base })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// A sign that the application leaves, or looks for.
    pub(crate) fn sign(&self, name: &str) -> PathBuf {
        self.path("signs").join(name)
    }

    /// `scr` in the prefix, with nothing of the surroundings that would change what it does.
    pub(crate) fn scr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(scr());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SCR_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.path("prefix")).env("SCR_RELAUNCH_SECONDS", "0.1");
        command
    }

    /// Starts `scr run <options> <launcher> -n <ranks> application <task> <signs>`.
    pub(crate) fn run(&self, options: &[&str], ranks: u32, task: &str) -> Run<'_> {
        let mut command = self.scr(&["run", "--run-dir"]);
        command.arg(self.path("run")).arg("--cache-base").arg(self.path("cache"));
        command.args(options).args([self.mpi.launcher, "-n", &ranks.to_string()]);
        command.arg(&self.application).arg(task).arg(self.path("signs"));
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("scr run");
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        Run { place: self, child, out }
    }

    /// Processes that belong to the run: none when it is over.
    pub(crate) fn processes(&self) -> Vec<String> {
        let mark = format!("SCR_RUN_DIR={}", self.path("run").display());
        let has_mark = |pid: &String| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
            })
        };
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.parse::<u32>().is_ok()).filter(has_mark).collect()
    }
}

/// A `scr run` that goes on.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    place: &'a Place,
    child: Child,
    pub(crate) out: BufReader<ChildStdout>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) log: String,
    pub(crate) seconds: f64,
}

impl Run<'_> {
    /// Waits until a file is there; time is only a bound.
    pub(crate) fn wait_for(&mut self, path: &Path) {
        self.wait_until(&format!("{} is there", path.display()), || path.exists());
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none() || is_so(), "scr run ended before {what}: {}", self.log());
            assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("pid");
        kill_process(pid, signal).expect("signal");
    }

    /// Waits until no process of the run is left.
    pub(crate) fn wait_until_gone(mut self) {
        self.wait();
        let start = Instant::now();
        while !self.place.processes().is_empty() {
            assert!(start.elapsed() < PATIENCE, "left: {:?}", self.place.processes());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes a line of the application's output while it runs.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("output");
        line
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        let mut err = self.child.stderr.take().expect("stderr");
        err.read_to_string(&mut log).expect("log");
        log
    }

    /// Waits for the end and checks that nothing of the run is left alive.
    pub(crate) fn finish(mut self) -> Finished {
        let start = Instant::now();
        let status = self.wait();
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(self.place.processes(), Vec::<String>::new(), "processes left behind");
        let mut out = String::new();
        self.out.read_to_string(&mut out).expect("output");
        let log = self.log();
        Finished { code: status.code(), out, log, seconds }
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().expect("kill");
                panic!("scr run hangs: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // A test that failed half-way must not leave a run behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
