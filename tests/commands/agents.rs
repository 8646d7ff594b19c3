// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agents as processes: nodes that are directories of this machine, reached directly, or by an `ssh` of our own that can
//! lose them.
//!
//! What is in the caches was put there by the library itself, with a thread for each rank.

use rustix::process::{Pid, Signal, kill_process};
use scr_core::clock::SystemClock;
use scr_core::comm::thread::{Scheduler, World};
use scr_core::config::Layers;
use scr_core::event::Silent;
use scr_core::host::{Host, JobInfo};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::session::{Flags, Outcome, Session};
use scr_core::store::posix::Posix;
use scr_tests::program::scr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHECKPOINT: Flags = Flags { checkpoint: true, output: false };
const OUTPUT: Flags = Flags { checkpoint: false, output: true };

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_mins(2);

/// Nodes and a prefix.
struct Machine {
    place: tempfile::TempDir,
    nodes: usize,
}

impl Machine {
    fn new(nodes: usize) -> Self {
        let machine = Self { place: tempfile::tempdir().expect("a directory"), nodes };
        fs::create_dir(machine.prefix()).expect("a prefix");
        (0..nodes).for_each(|node| fs::create_dir(machine.node(node)).expect("a node"));
        machine
    }

    fn prefix(&self) -> PathBuf {
        self.place.path().join("prefix")
    }

    fn node(&self, node: usize) -> PathBuf {
        self.place.path().join(format!("n{node}"))
    }

    /// The node was started anew: it is there, and empty.
    fn reboot(&self, node: usize) {
        fs::remove_dir_all(self.node(node)).expect("a node");
        fs::create_dir(self.node(node)).expect("a node");
    }

    /// Writes datasets into the caches, each rank a file; nothing goes to the prefix.
    fn write(&self, copy_type: &str, datasets: &[(&str, Flags)]) {
        self.launch(copy_type, false, &|session, rank| {
            for (name, flags) in datasets {
                let mut output = session.output(name, *flags).expect("an output");
                let path = output.route(format!("{name}/{rank}")).expect("a path");
                fs::write(path, content(name, rank)).expect("written");
                let outcome = output.complete(true);
                assert!(matches!(outcome, Ok(Outcome::Committed)), "{name}: {outcome:?}");
            }
        });
    }

    /// Runs `body` on a rank for each node, and dies without a word.
    fn launch(&self, copy_type: &str, beats: bool, body: &(dyn Fn(&mut Session, usize) + Sync)) {
        let world = World::new(self.nodes, Scheduler::Free);
        let ended = world.run(|comm| {
            let rank = comm.rank();
            let mut layers = Layers::new(self.prefix(), []);
            let lines = format!(
                "SCR_CACHE_BYPASS=0\nSCR_FLUSH=0\nSCR_CACHE_SIZE=3\nSCR_COPY_TYPE={copy_type}\n\
                 SCR_HEARTBEAT_SECONDS={2}\nSCR_PREFIX={0}\nSCR_CACHE_BASE={1}\nSCR_CNTL_BASE={1}\n",
                self.prefix().display(),
                self.node(rank).display(),
                // Who may still be alive is watched for a few of these.
                if beats { 0.5 } else { 0.1 }
            );
            layers.set_user_file(Path::new("/test"), &lines);
            let (config, _) = layers.resolve().expect("a configuration");
            let posix = Arc::new(Posix::new());
            let host = Host {
                local: posix.clone(),
                shared: posix,
                clock: Arc::new(SystemClock::default()),
                sink: Arc::new(Silent),
                job: JobInfo {
                    job_id: JobId::new("7"),
                    user: UserName::new("ann"),
                    node: NodeName::new(format!("n{rank}")),
                    end_unix_seconds: None,
                },
                random: scr_core::host::random,
                directory: self.prefix(),
                background: beats,
            };
            let mut session = Session::init(comm, host, config).expect("a session");
            body(&mut session, rank);
            // A job that dies does not finalize.
            if beats {
                drop(session);
            } else {
                std::mem::forget(session);
            }
        });
        for rank in ended {
            rank.expect("a rank");
        }
    }

    /// A command of scr about this job.
    fn scr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(scr());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("SCR_") || name.starts_with("SLURM") {
                command.env_remove(&*name);
            }
        }
        command.args(arguments).current_dir(self.prefix());
        command.env("SCR_JOB_ID", "7").env("SCR_USER_NAME", "ann");
        command
    }

    /// The same, with virtual nodes.
    fn scr_on(&self, arguments: &[&str], nodes: &[usize]) -> Output {
        let mut command = self.scr(arguments);
        for node in nodes {
            command.arg("--cache").arg(self.node(*node));
        }
        command.output().expect("scr")
    }

    /// The same, with nodes that are reached by an `ssh` of ours; `behave` is shell for what else happens: it sees
    /// `$node` and `$task`.
    fn scr_by_ssh(&self, arguments: &[&str], behave: &str) -> Output {
        let bin = self.place.path().join("bin");
        fs::create_dir_all(&bin).expect("a directory");
        let script = format!(
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nnode=$2\nline=$3\n\
             export SCR_CACHE_BASE={0}/$node SCR_CNTL_BASE={0}/$node\ntask=${{line#*node-agent }}; task=${{task%% *}}\n\
             dead={0}/dead.$node\n[ -e \"$dead\" ] && exit 255\n{behave}\neval \"$line\"\n",
            self.place.path().display()
        );
        let ssh = bin.join("ssh");
        fs::write(&ssh, script).expect("a script");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("a script");
        let mut command = self.scr(arguments);
        let path = [bin.into_os_string(), std::env::var_os("PATH").expect("a path")];
        command.env("PATH", path.join(std::ffi::OsStr::new(":")));
        command.env("SCR_NODELIST", format!("n[0-{}]", self.nodes - 1));
        command.output().expect("scr")
    }

    fn is_saved(&self, name: &str) -> bool {
        (0..self.nodes).all(|rank| {
            fs::read(self.prefix().join(format!("{name}/{rank}")))
                .is_ok_and(|found| found == content(name, rank))
        })
    }
}

/// What a rank writes: of uneven length, and more than one block.
fn content(name: &str, rank: usize) -> Vec<u8> {
    let seed = name.bytes().map(usize::from).sum::<usize>() + rank;
    (0..300_000 + rank * 70_001).map(|i| (i * 7 + i / 251 + seed) as u8).collect()
}

fn expect(output: &Output, code: i32, word: &str) -> String {
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{log}");
    assert!(out.contains(word) || log.contains(word), "no {word:?} in: {out}{log}");
    format!("{out}{log}")
}

#[test]
fn what_was_on_a_lost_node_is_rebuilt_and_saved() {
    let machine = Machine::new(3);
    machine.write("XOR", &[("ckpt.1", CHECKPOINT), ("ckpt.2", CHECKPOINT)]);
    assert!(!machine.is_saved("ckpt.2"));
    machine.reboot(1);
    let told = expect(
        &machine.scr_on(&["postrun", "-j", "srun"], &[0, 1, 2]),
        0,
        "dataset 2 (ckpt.2) saved: 3 files, 1.1 MB",
    );
    assert!(machine.is_saved("ckpt.2"), "{told}");
    assert!(!machine.is_saved("ckpt.1"), "an older checkpoint is of no use: {told}");
    let list = machine.scr(&["index", "--json"]).output().expect("scr index");
    expect(&list, 0, "\"current\": true");
    expect(&machine.scr_on(&["scavenge"], &[0, 1, 2]), 0, "nothing to save");
}

#[test]
fn a_node_that_is_gone_is_done_without() {
    let machine = Machine::new(3);
    machine.write("XOR", &[("ckpt.1", CHECKPOINT)]);
    let told = machine.scr_by_ssh(&["scavenge", "--json"], "[ $node = n1 ] && exit 255");
    let told = expect(&told, 0, "\"saved\": true");
    assert!(told.contains("no answer from n1"), "{told}");
    assert!(machine.is_saved("ckpt.1"), "{told}");
}

#[test]
fn what_cannot_be_saved_is_told() {
    let machine = Machine::new(3);
    machine.write("XOR", &[("ckpt.1", CHECKPOINT)]);
    machine.reboot(0);
    machine.reboot(1);
    let told = expect(&machine.scr_on(&["scavenge"], &[0, 1, 2]), 65, "could not be saved");
    assert!(told.contains("dataset 1 (ckpt.1)"), "{told}");
    assert!(!machine.is_saved("ckpt.1"));
}

#[test]
fn without_a_node_nothing_is_known() {
    let machine = Machine::new(2);
    machine.write("PARTNER", &[("ckpt.1", CHECKPOINT)]);
    expect(&machine.scr_by_ssh(&["scavenge"], "echo no route >&2; exit 255"), 69, "no route");
}

/// Shell that kills the agent which saves on n1 when it has said where it can be called, or a little later.
fn killed_at(word: &str, then: &str) -> String {
    format!(
        "if [ $node = n1 ] && [ $task = save ] && [ ! -e $dead.once ]; then\n\
         touch $dead.once\n\
         eval \"$line\" | while read -r said; do\n\
         echo \"$said\"\n\
         case $said in *{word}*) pkill -KILL -P $$ -x scr; {then} exit;; esac\n\
         done\n\
         exit 255\n\
         fi"
    )
}

#[test]
fn an_agent_that_dies_is_begun_again_with() {
    let machine = Machine::new(3);
    machine.write("XOR", &[("ckpt.1", CHECKPOINT)]);
    let told = machine.scr_by_ssh(&["scavenge"], &killed_at("door", ""));
    let told = expect(&told, 0, "dataset 1 (ckpt.1) saved");
    assert!(told.contains("again with the nodes that are left"), "{told}");
    assert!(machine.is_saved("ckpt.1"));
}

#[test]
fn a_node_that_dies_while_saving_is_rebuilt_by_the_others() {
    let machine = Machine::new(4);
    machine.write("XOR", &[("ckpt.1", CHECKPOINT)]);
    // Its storage dies with it.
    let then = "touch $dead; rm -rf $SCR_CACHE_BASE;";
    let told = machine.scr_by_ssh(&["scavenge", "-v"], &killed_at("door", then));
    let told = expect(&told, 0, "dataset 1 (ckpt.1) saved");
    assert!(told.contains("no answer from n1"), "{told}");
    assert!(machine.is_saved("ckpt.1"));
}

#[test]
fn an_allocation_is_made_ready_and_its_bad_nodes_are_named() {
    let machine = Machine::new(3);
    // A file where the cache should be: no user can write below it, not even root.
    fs::remove_dir(machine.node(2)).expect("a node");
    fs::write(machine.node(2), "").expect("a file");
    let behave = "[ $node = n1 ] && exit 255";
    let told = machine.scr_by_ssh(&["prerun"], behave);
    let told = expect(&told, 0, "1 of 3 nodes can be used");
    assert!(told.contains("n1: does not answer") && told.contains("n2: "), "{told}");
    assert!(machine.prefix().join(".scr/canary").exists());
    let few = {
        fs::write(machine.prefix().join(".scrconf"), "SCR_MIN_NODES=2\n").expect("a file");
        machine.scr_by_ssh(&["prerun", "--json"], behave)
    };
    expect(&few, 69, "\"needed_nodes\": 2");

    let list = |arguments: &[&str]| {
        let command = [&["list-down-nodes"], arguments].concat();
        let output = machine.scr_by_ssh(&command, behave);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(list(&[]), "n[1-2]\n");
    assert_eq!(list(&["n0", "n1"]), "n1\n");
    assert_eq!(list(&["--down", "n0", "n0"]), "n0\n");
    assert_eq!(list(&["n0"]), "");
    let reasons = list(&["--reason", "-j", "srun"]);
    assert!(reasons.starts_with("n1: does not answer\nn2: "), "{reasons}");
}

#[test]
fn the_canary_tells_a_node_that_was_started_anew() {
    let machine = Machine::new(2);
    expect(&machine.scr_on(&["prerun", "-v"], &[0, 1]), 0, "2 of 2 nodes can be used");
    let canary = fs::read_to_string(machine.prefix().join(".scr/canary")).expect("a canary");
    let number = canary.split('"').find(|word| word.len() == 32).expect("a number");
    let probe = format!(r#"{{"expect":"{number}"}}"#);
    for (node, is_there) in [(0, "true"), (1, "false")] {
        if node == 1 {
            machine.reboot(1);
        }
        let task = format!(r#"{{"probe":{{"settings":{},"canary":{probe}}}}}"#, settings(&machine));
        let told = Agent::start(&machine, node, "probe", &task).line();
        assert!(told.starts_with(&format!(r#"{{"node":"n{node}","probed""#)), "{told}");
        assert!(told.contains(&format!(r#""canary":{is_there}"#)), "{told}");
    }
}

#[test]
fn nothing_is_taken_from_a_launch_that_lives() {
    let machine = Machine::new(1);
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            machine.launch("SINGLE", true, &|session, _| {
                let mut output = session.output("ckpt.1", CHECKPOINT).expect("an output");
                fs::write(output.route("ckpt.1/0").expect("a path"), content("ckpt.1", 0))
                    .expect("written");
                output.complete(true).expect("complete");
                // Its heartbeat goes on until the test is done.
                let _ = wait.lock().expect("alone").recv();
            });
        });
        let lease = machine.prefix().join(".scr/lease");
        let start = Instant::now();
        while !lease.exists() {
            assert!(start.elapsed() < PATIENCE, "no launch");
            std::thread::sleep(Duration::from_millis(5));
        }
        let told = machine.scr_on(&["scavenge"], &[0]);
        drop(done);
        expect(&told, 69, "its heartbeat moves");
    });
}

/// The settings that a coordinator sends.
fn settings(machine: &Machine) -> String {
    let prefix = machine.prefix();
    let prefix = prefix.display();
    format!(
        r#"{{"directory":"{prefix}","environment":{{"SCR_JOB_ID":"7","SCR_USER_NAME":"ann"}},
        "user":["{prefix}/.scrconf",""],"system":["/none",""]}}"#
    )
    .replace('\n', "")
}

/// One agent, with the test as its coordinator.
struct Agent {
    child: std::process::Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Agent {
    fn start(machine: &Machine, node: usize, name: &str, task: &str) -> Self {
        let mut command = machine.scr(&["node-agent", name]);
        command.env("SCR_NODE", format!("n{node}"));
        command.env("SCR_CACHE_BASE", machine.node(node));
        command.env("SCR_CNTL_BASE", machine.node(node));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("agent");
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        let mut agent = Self { child, out };
        agent.tell(task);
        agent
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("told");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("an answer");
        line
    }

    /// Waits for its end.
    fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the agent does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_agent_tells_heartbeats_and_ends_with_its_input() {
    let machine = Machine::new(1);
    let control = machine.node(0).join("ann/scr.7/0123");
    fs::create_dir_all(&control).expect("a directory");
    fs::write(control.join("heartbeat"), "17").expect("a counter");
    let task = format!(
        r#"{{"watch":{{"settings":{},"run_id":"nobody-has-this","period_ms":50}}}}"#,
        settings(&machine)
    );
    let mut agent = Agent::start(&machine, 0, "watch", &task);
    assert_eq!(agent.line(), "{\"node\":\"n0\",\"beat\":\"17\\n\"}\n");
    fs::write(control.join("heartbeat"), "18").expect("a counter");
    while !agent.line().contains("18") {}
    agent.tell(r#"{"signal":10}"#);
    while agent.line() != "{\"node\":\"n0\",\"signalled\":0}\n" {}
    agent.tell(r#""kill""#);
    while agent.line() != "{\"node\":\"n0\",\"killed\":0}\n" {}
    drop(agent.child.stdin.take());
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn an_agent_removes_what_dead_jobs_left() {
    let machine = Machine::new(1);
    let all = ["scr.7", "scr.8", "scr.9", "scr.defjobid", "other"];
    for name in all {
        let directory = machine.node(0).join("ann").join(name).join("0123/dataset.1-0");
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("data"), "12345").expect("a file");
    }
    let task = |dry_run: bool| {
        let settings = settings(&machine);
        format!(r#"{{"clean":{{"settings":{settings},"alive":["9"],"dry_run":{dry_run}}}}}"#)
    };
    let left = || {
        let entries = fs::read_dir(machine.node(0).join("ann")).expect("a directory");
        let names = entries.flatten().map(|entry| entry.file_name().into_string().expect("text"));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    for dry_run in [true, false] {
        let told = Agent::start(&machine, 0, "clean", &task(dry_run)).line();
        assert!(told.contains("ann/scr.8\",\"bytes\":5"), "{told}");
        assert_eq!(left().contains(&"scr.8".to_string()), dry_run);
    }
    assert_eq!(left(), ["other", "scr.7", "scr.9", "scr.defjobid"]);
}

#[test]
fn a_rescue_that_is_interrupted_can_be_repeated() {
    let machine = Machine::new(2);
    machine.write("PARTNER", &[("ckpt.1", CHECKPOINT), ("out.2", OUTPUT)]);
    // The agents that save never get their task: all of them wait.
    let bin = machine.place.path().join("bin");
    let mut command = {
        let told = machine.scr_by_ssh(&["list-down-nodes"], "");
        assert!(told.status.success());
        let script = fs::read_to_string(bin.join("ssh")).expect("a script");
        let slow =
            script.replace("eval", "[ $task = save ] && { touch $0.waits; sleep 300; }\neval");
        fs::write(bin.join("ssh"), slow).expect("a script");
        machine.scr(&["scavenge"])
    };
    let path = [bin.clone().into_os_string(), std::env::var_os("PATH").expect("a path")];
    command.env("PATH", path.join(std::ffi::OsStr::new(":"))).env("SCR_NODELIST", "n0,n1");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("scr");
    let start = Instant::now();
    while !bin.join("ssh.waits").exists() {
        assert!(start.elapsed() < PATIENCE, "nobody waits");
        assert!(child.try_wait().expect("wait").is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(child.id().cast_signed()).expect("pid");
    kill_process(pid, Signal::TERM).expect("signal");
    expect(&child.wait_with_output().expect("scr"), 69, "told to stop");
    expect(&machine.scr_on(&["scavenge"], &[0, 1]), 0, "saved");
    assert!(machine.is_saved("ckpt.1") && machine.is_saved("out.2"));
}
