// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real Slurm of several nodes on this machine (`tests/cluster/lab`) for one test, gone when it is dropped.
//!
//! Nothing waits for ever: every command has a deadline, and so has every [`Lab::wait_until`]. When a test fails, the logs of
//! Slurm and of the job are printed, and the directory stays.

use scr_tests::program::{Program, library, root, scr, succeed};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whatever a command does, it does it within this time, or hangs.
const DEADLINE: Duration = Duration::from_mins(3);

/// Lines of each log that are shown when a test fails.
const LINES_SHOWN: usize = 25;

/// How a host dies, in whole or in part.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// The cable goes, then every process: nobody hears of it.
    Power,
    /// Every process dies, and connections are closed.
    Crash,
    /// The daemon of Slurm dies.
    Slurmd,
    /// The cable goes; the host lives on, alone.
    Net,
    /// Every process is stopped.
    Hang,
}

impl Death {
    fn word(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Crash => "crash",
            Self::Slurmd => "slurmd",
            Self::Net => "net",
            Self::Hang => "hang",
        }
    }
}

/// The cluster of one test.
#[derive(Debug)]
pub(crate) struct Lab {
    test: String,
    nodes: u32,
    directory: Option<tempfile::TempDir>,
    /// Lives as long as its standard input is open.
    yard: Child,
    start: Instant,
    /// What was done, for people.
    journal: Mutex<String>,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The exit status; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// What it printed, errors included.
    pub(crate) said: String,
}

/// A command that goes on. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    lab: &'a Lab,
    child: Child,
    what: String,
    log: PathBuf,
    start: Instant,
}

/// Whether this machine can have a lab; if not, why.
fn obstacle() -> Option<String> {
    let mpi = mpi::environment::library_version().unwrap_or_default();
    if !mpi.contains("Open MPI") {
        // That of Debian hangs between nodes (pmodels/mpich issue 6596).
        return Some("needs Open MPI".to_string());
    }
    let check = script().arg("check").output().expect("bash");
    (!check.status.success()).then(|| String::from_utf8_lossy(&check.stderr).trim().to_string())
}

fn script() -> Command {
    let mut command = Command::new("bash");
    command.arg(root().join("tests/cluster/lab"));
    command
}

impl Lab {
    /// A head and `nodes` nodes, or `None` (and a note of the skip) where that is not possible.
    pub(crate) fn up(test: &str, nodes: u32) -> Option<Self> {
        if let Some(reason) = obstacle() {
            scr_tests::skip(&format!("cluster, {test}"), &reason);
            return None;
        }
        let directory = tempfile::Builder::new().prefix("scr-lab.").tempdir().expect("a directory");
        let place = directory.path();
        for name in ["pfs", "log", "bin", "lib"] {
            fs::create_dir(place.join(name)).expect("a directory of the lab");
        }
        install(place);
        let yard = script()
            .args(["run", &nodes.to_string()])
            .env("LAB", place)
            .env("KEEP", seen_by_nodes().join(":"))
            .stdin(Stdio::piped())
            .stdout(fs::File::create(place.join("log/yard")).expect("a log"))
            .stderr(fs::File::options().append(true).open(place.join("log/yard")).expect("a log"))
            .spawn()
            .expect("bash");
        let start = Instant::now();
        let journal = Mutex::default();
        let ready = place.join("run/ready");
        let test = test.to_string();
        let lab = Self { test, nodes, directory: Some(directory), yard, start, journal };
        lab.wait_until("the lab is up", 60, || ready.exists());
        Some(lab)
    }

    fn directory(&self) -> &Path {
        self.directory.as_ref().expect("it is there until the end").path()
    }

    /// A path on the file system that all hosts share.
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.directory().join("pfs").join(name)
    }

    /// The path, the same on every host, of the host's own disk, which survives a loss of power.
    pub(crate) fn disk(&self) -> PathBuf {
        self.directory().join("disk")
    }

    /// A program or library of ours, at the same path on every host.
    pub(crate) fn installed(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn note(&self, what: &str) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(journal, "{:8.2} {what}", self.start.elapsed().as_secs_f64()).expect("memory");
    }

    fn command(&self, words: &[&str], deadline: Duration) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", &deadline.as_secs().to_string(), "bash"]);
        command.arg(root().join("tests/cluster/lab")).args(words).env("LAB", self.directory());
        command.stdin(Stdio::null());
        command
    }

    /// Does something to the lab that must succeed.
    fn act(&self, words: &[&str]) {
        self.note(&words.join(" "));
        succeed(&mut self.command(words, DEADLINE));
    }

    pub(crate) fn kill(&self, host: &str, death: Death) {
        self.act(&["kill", host, death.word()]);
    }

    /// Boots a host that is dead or alive, with empty memory.
    pub(crate) fn boot(&self, host: &str) {
        self.act(&["restart", host, "boot"]);
    }

    /// Undoes a death that left the processes there.
    pub(crate) fn revive(&self, host: &str, death: Death) {
        self.act(&["restart", host, death.word()]);
    }

    /// Kills the process that holds the lab together, and does nothing else.
    pub(crate) fn abandon(&mut self) {
        self.note("kill the lab");
        self.yard.kill().expect("kill it");
    }

    /// Tells Slurm that a node is down, as an administrator would: it need not find out by itself.
    pub(crate) fn declare_down(&self, node: &str) {
        self.ask(&["scontrol", "update", &format!("nodename={node}"), "state=down", "reason=test"]);
    }

    /// Starts a command on a host.
    pub(crate) fn start(&self, host: &str, words: &[String]) -> Running<'_> {
        let what = format!("{host}$ {}", without_environment(words).join(" "));
        self.note(&what);
        let mut all = vec!["exec", host];
        all.extend(words.iter().map(String::as_str));
        let (file, log) = tempfile::Builder::new()
            .prefix("command.")
            .tempfile_in(self.directory().join("log"))
            .and_then(|file| Ok(file.keep()?))
            .expect("a log");
        let errors = file.try_clone().expect("share a log");
        let child = self.command(&all, DEADLINE).stdout(file).stderr(errors).spawn();
        Running { lab: self, child: child.expect("timeout"), what, log, start: Instant::now() }
    }

    /// Runs a command on a host to its end.
    pub(crate) fn run(&self, host: &str, words: &[&str]) -> Finished {
        let words: Vec<String> = words.iter().map(|word| (*word).to_string()).collect();
        self.start(host, &words).finish()
    }

    /// What a command on the head says, that must succeed.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let Finished { code, said, .. } = self.run("head", words);
        assert_eq!(code, Some(0), "{words:?} says {said}");
        said.trim().to_string()
    }

    /// An allocation of `nodes` nodes that survives the loss of nodes, and of whoever asked for it. Returns its id.
    pub(crate) fn allocate(&self, nodes: u32) -> String {
        let nodes = nodes.to_string();
        let said = self.ask(&["salloc", "-N", &nodes, "--no-kill", "--no-shell"]);
        let id = said.split("Granted job allocation ").nth(1).and_then(|rest| rest.lines().next());
        id.unwrap_or_else(|| panic!("no allocation: {said}")).to_string()
    }

    /// What Slurm says of a job.
    pub(crate) fn job_state(&self, id: &str) -> String {
        self.job_field(id, "JobState")
    }

    /// The exit status of a batch script that has ended.
    pub(crate) fn exit_status(&self, id: &str) -> i32 {
        let status = self.job_field(id, "ExitCode");
        let code = status.split(':').next().and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no exit status: {status}"))
    }

    fn job_field(&self, id: &str, name: &str) -> String {
        let job = self.ask(&["scontrol", "--oneliner", "show", "job", id]);
        let mut fields = job.split_whitespace().filter_map(|word| word.split_once('='));
        let field = fields.find(|(found, _)| *found == name);
        field.unwrap_or_else(|| panic!("no {name} in {job}")).1.to_string()
    }

    /// How many processes of a host run a program of ours.
    pub(crate) fn count_processes(&self, host: &str, program: &str) -> usize {
        let program = self.installed(program).to_string_lossy().into_owned();
        let words = ["bash", "-c", "tail -n +1 /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\n'"];
        self.run(host, &words).said.lines().filter(|line| *line == program).count()
    }

    /// Waits until something is so. Time is only a bound.
    pub(crate) fn wait_until(&self, what: &str, seconds: u64, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed().as_secs() <= seconds, "waited {seconds} s until {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.note(&format!("({what})"));
    }

    /// What can be learned after a failure.
    fn report(&self) -> String {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report =
            format!("\n==== {} in a lab of {} nodes\n{journal}", self.test, self.nodes);
        let mut logs: Vec<PathBuf> = Vec::new();
        for place in [self.directory().join("log"), self.shared("")] {
            logs.extend(files_below(&place));
        }
        logs.sort();
        for log in logs.iter().filter(|log| is_worth_reading(log)) {
            // What was killed may have left half a letter.
            let text = fs::read(log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            writeln!(report, "---- {}\n{}", log.display(), shown.join("\n")).expect("memory");
        }
        write!(
            report,
            "---- replay: cargo test -p scr-tests --test cluster -- --exact {}\n     files: {}",
            self.test,
            self.directory().display()
        )
        .expect("memory");
        report
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("{}", self.report());
        } else {
            // To be seen with --nocapture.
            let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("==== {} in a lab of {} nodes\n{journal}", self.test, self.nodes);
        }
        // The yard ends when nobody holds its standard input any more, and everything ends with it.
        drop(self.yard.stdin.take());
        let start = Instant::now();
        while !matches!(self.yard.try_wait(), Ok(Some(_))) {
            if start.elapsed() > Duration::from_secs(20) {
                // It takes the yard with it.
                let _ = self.yard.kill();
                let _ = self.yard.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(directory) = self.directory.take().filter(|_| failed) {
            let _ = directory.keep();
        }
    }
}

impl Running<'_> {
    /// What it printed so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until something is so, which it must be before the command ends.
    pub(crate) fn wait_until(&mut self, what: &str, seconds: u64, is_so: impl Fn() -> bool) {
        let child = &mut self.child;
        let mut ended = false;
        self.lab.wait_until(what, seconds, || {
            let is_so = is_so();
            ended = !is_so && child.try_wait().expect("wait").is_some();
            is_so || ended
        });
        assert!(!ended || is_so(), "{} ended before {what}:\n{}", self.what, self.said());
    }

    /// Waits until it has said something.
    pub(crate) fn wait_to_hear(&mut self, words: &str, seconds: u64) {
        let log = self.log.clone();
        let said =
            move || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        self.wait_until(&format!("it says {words:?}"), seconds, || said().contains(words));
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        // `timeout` sees to it that there is one.
        let status = self.child.wait().expect("wait");
        let seconds = self.start.elapsed().as_secs_f64();
        self.lab.note(&format!("{status} after {seconds:.2} s: {}", self.what));
        let said = self.said();
        assert!(seconds < DEADLINE.as_secs_f64(), "{} does not end:\n{said}", self.what);
        Finished { code: status.code(), said }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // One that has ended already is what we want. What runs on the host dies with the one that asked for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command without the `env -i -C <directory> NAME=VALUE ...` in front of it.
fn without_environment(words: &[String]) -> &[String] {
    let is_variable = |word: &String| {
        word.contains('=') && word.starts_with(|first: char| first.is_ascii_uppercase())
    };
    match words {
        [env, _, _, _, rest @ ..] if env == "env" => {
            &rest[rest.iter().take_while(|word| is_variable(word)).count()..]
        }
        _ => words,
    }
}

/// Puts the commands, the library and the programs of the tests where every host finds them.
fn install(place: &Path) {
    let app = Program::compile("tests/cluster/app.c");
    fs::copy(app.exe(), place.join("bin/app")).expect("the application");
    let link = |from: &Path, to: &str| {
        std::os::unix::fs::symlink(from, place.join(to)).expect("a link");
    };
    link(&library().join("libscr.so"), "lib/libscr.so.4");
    for name in ["", "_run", "_srun", "_prerun", "_postrun", "_halt", "_have_restart"] {
        link(scr(), &format!("bin/scr{name}"));
    }
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    compiler.arg(place.join("lib/gate.so")).arg(root().join("tests/cluster/gate.c"));
    succeed(&mut compiler);
}

/// Directories that must be seen by nodes wherever they lie.
fn seen_by_nodes() -> Vec<String> {
    let hidden = ["/tmp", "/var/tmp", "/run", "/dev/shm"];
    let target = scr().ancestors().nth(2).expect("the target directory");
    let is_hidden = |path: &&Path| hidden.iter().any(|dir| path.starts_with(dir));
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_string();
    [root(), target].into_iter().filter(is_hidden).map(text).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_below(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    below.collect()
}

/// Whether a file is a log of Slurm, of a command, of a rank, or of SCR.
fn is_worth_reading(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_text = fs::metadata(path).is_ok_and(|found| found.len() > 0);
    let is_log = path.parent().is_some_and(|dir| dir.ends_with("log"));
    let is_told = ["events.jsonl", "log"].contains(&&*name) || name.starts_with("slurm-");
    is_text && (is_log || is_told)
}
