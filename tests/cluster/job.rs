// SPDX-License-Identifier: MIT OR Apache-2.0
//! One job of the application `app.c` through all its launches, and the judge of what its ranks were told.
//!
//! The judge stands outside: it reads the logs of the ranks, which lie on the shared file system and outlive every node, and
//! computes by itself what the result must be.

use crate::lab::{Finished, Lab, Running};
use scr_core::event::EventKind;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Of the computation; `app.c` has the same.
const SEED: u64 = 1;

/// Who starts the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launcher {
    Srun,
    Mpirun,
}

/// A job: its prefix, its ranks, how they are told to behave.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) lab: &'a Lab,
    /// The prefix, on the shared file system.
    pub(crate) prefix: PathBuf,
    pub(crate) ranks: usize,
    steps: u64,
    logs: PathBuf,
    environment: BTreeMap<String, String>,
    arguments: BTreeMap<String, String>,
}

impl<'a> Job<'a> {
    /// A job of `ranks` ranks that computes `steps` steps and writes a checkpoint after each of them.
    pub(crate) fn new(lab: &'a Lab, name: &str, ranks: usize, steps: u64) -> Self {
        let prefix = lab.shared(name);
        let log = prefix.join("log");
        fs::create_dir_all(&log).expect("the prefix");
        let mut job = Self {
            lab,
            ranks,
            steps,
            logs: log.clone(),
            environment: BTreeMap::new(),
            arguments: BTreeMap::new(),
            prefix: prefix.clone(),
        };
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", lab.installed("bin").display());
        for (name, value) in [
            ("PATH", path.as_str()),
            ("LD_LIBRARY_PATH", &lab.installed("lib").to_string_lossy()),
            ("USER", "root"),
            ("HOME", "/root"),
            ("SCR_PREFIX", &prefix.to_string_lossy()),
            ("SCR_CACHE_BYPASS", "0"),
            ("SCR_FLUSH", "0"),
            ("SCR_LOG_ENABLE", "1"),
            ("SCR_RELAUNCH_SECONDS", "0.1"),
            // Others crash now and then, or find networks that are not there.
            ("OMPI_MCA_pml", "ob1"),
            ("OMPI_MCA_btl", "tcp,self,vader"),
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ] {
            job = job.set(name, value);
        }
        let steps = steps.to_string();
        let log = log.to_string_lossy().into_owned();
        job.argue("log", &log).argue("steps", &steps).argue("every", "1")
    }

    /// The same with an environment variable.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_string(), value.to_string());
        self
    }

    /// The same with an argument of the application.
    pub(crate) fn argue(mut self, name: &str, value: &str) -> Self {
        self.arguments.insert(name.to_string(), value.to_string());
        self
    }

    /// The same behind a gate.
    pub(crate) fn behind(self, gate: &Gate) -> Self {
        gate.variables.iter().fold(self, |job, (name, value)| job.set(name, value))
    }

    /// The same with its logs in another place of the prefix.
    pub(crate) fn within(&self, logs: &str) -> Self {
        Self {
            lab: self.lab,
            prefix: self.prefix.clone(),
            ranks: self.ranks,
            steps: self.steps,
            environment: self.environment.clone(),
            arguments: self.arguments.clone(),
            logs: self.prefix.join(logs),
        }
    }

    /// The application and its arguments.
    pub(crate) fn application(&self) -> Vec<String> {
        let program = self.lab.installed("bin/app").to_string_lossy().into_owned();
        let arguments = self.arguments.iter().map(|(name, value)| format!("{name}={value}"));
        std::iter::once(program).chain(arguments).collect()
    }

    /// A command in the prefix and the environment of the job, and in no other.
    pub(crate) fn command(&self, words: &[String]) -> Vec<String> {
        let env = ["env", "-i", "-C", &self.prefix.to_string_lossy()].map(str::to_string);
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        env.into_iter().chain(variables).chain(words.iter().cloned()).collect()
    }

    /// Runs a command on the head, in the prefix and the environment of the job.
    pub(crate) fn run(&self, words: &[&str]) -> Finished {
        let words: Vec<String> = words.iter().map(|word| (*word).to_string()).collect();
        self.lab.start("head", &self.command(&words)).finish()
    }

    /// Starts one launch by `srun` in an allocation, without `scr run`.
    pub(crate) fn srun(&self, allocation: &str, options: &[&str]) -> Running<'a> {
        let ranks = self.ranks.to_string();
        let mut words: Vec<String> =
            ["srun", "--jobid", allocation, "-N", &ranks, "-n", &ranks].map(String::from).into();
        words.extend(options.iter().map(|option| (*option).to_string()));
        words.extend(self.application());
        self.lab.start("head", &self.command(&words))
    }

    /// The words of `scr run` with a rank on each of as many nodes as there are ranks.
    pub(crate) fn scr_run(&self, options: &[&str], launcher: Launcher) -> Vec<String> {
        let ranks = self.ranks.to_string();
        let launcher = match launcher {
            Launcher::Srun => vec!["srun", "-N", &ranks, "-n", &ranks],
            Launcher::Mpirun => vec!["mpirun", "-n", &ranks, "--map-by", "ppr:1:node"],
        };
        let words = ["scr_run"].iter().chain(options).chain(&launcher);
        words.map(|word| (*word).to_string()).chain(self.application()).collect()
    }

    /// Starts a command on the head in an allocation of its own, which survives the loss of nodes.
    pub(crate) fn salloc(&self, nodes: u32, words: &[String]) -> Running<'a> {
        let salloc = ["salloc", "--no-kill", "-N", &nodes.to_string()].map(String::from);
        self.lab.start("head", &self.command(&[&salloc[..], words].concat()))
    }

    /// Submits a command as a batch job, with `options` of sbatch; returns the job's id.
    pub(crate) fn sbatch(&self, options: &[&str], words: &[String]) -> String {
        let script = self.prefix.join("job.sh");
        let text = format!("#!/bin/bash\nexec {}\n", words.join(" "));
        fs::write(&script, text).expect("a script");
        let output = self.prefix.join("log/batch.%A_%a").to_string_lossy().into_owned();
        let script = script.to_string_lossy();
        let all = [&["sbatch", "--parsable", "-o", &output], options, &[&script]].concat();
        let Finished { code, said } = self.run(&all);
        assert_eq!(code, Some(0), "{said}");
        said.trim().to_string()
    }

    /// How often the text log notes an event.
    pub(crate) fn noted(&self, event: &str) -> usize {
        let log = fs::read_to_string(self.prefix.join(".scr/log")).unwrap_or_default();
        let field = format!("event={event}");
        log.lines().filter(|line| line.split(", ").any(|part| part.ends_with(&field))).count()
    }

    /// A file of the application's logs and signs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(name)
    }

    /// Whether every rank waits before a step.
    pub(crate) fn is_held(&self, step: u64) -> bool {
        (0..self.ranks).all(|rank| self.log(&format!("at.{step}.{rank}")).exists())
    }

    /// Lets the ranks go on that wait before a step, and those that come there.
    pub(crate) fn release(&self, step: u64) {
        fs::write(self.log(&format!("go.{step}")), "").expect("a sign");
    }

    /// What the ranks logged.
    pub(crate) fn story(&self) -> Story {
        let logs = (0..self.ranks)
            .map(|rank| fs::read_to_string(self.log(&format!("log.{rank}"))).unwrap_or_default());
        Story::read(&logs.collect::<Vec<_>>())
    }

    /// How often something was noted among the events.
    pub(crate) fn count(&self, kind: EventKind) -> usize {
        let log = fs::read_to_string(self.prefix.join(".scr/events.jsonl")).unwrap_or_default();
        let kind = format!("\"kind\":{}", serde_json::to_string(&kind).expect("a name"));
        log.lines().filter(|line| line.contains(&kind)).count()
    }

    /// Checks that the job has come to its end with the right result, and that no launch broke a promise.
    pub(crate) fn assert_done(&self) -> Story {
        let story = self.story();
        story.judge();
        let found = fs::read_to_string(self.log("result")).unwrap_or_default();
        assert_eq!(found, result(self.ranks, self.steps), "{story:#?}");
        story
    }
}

/// What one rank logged in one launch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chapter {
    pub(crate) node: String,
    /// The step of the checkpoint, and the launch that wrote it; `(0, 0)` for a start from nothing.
    pub(crate) restart: Option<(u64, u64)>,
    /// Steps of the checkpoints that were promised.
    pub(crate) successes: Vec<u64>,
    pub(crate) outputs: Vec<u64>,
    /// The step at which SCR said to stop.
    pub(crate) exit: Option<u64>,
    pub(crate) end: Option<u64>,
    /// Lines that say that something is not as it should be.
    pub(crate) complaints: Vec<String>,
}

/// What all ranks logged: launches by their number, from 1, and in them ranks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story(pub(crate) BTreeMap<u64, BTreeMap<usize, Chapter>>);

impl Story {
    fn read(logs: &[String]) -> Self {
        let mut story = Self::default();
        for (rank, log) in logs.iter().enumerate() {
            let mut chapter = &mut Chapter::default();
            for line in log.lines() {
                let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
                let words: Vec<&str> = rest.split(' ').collect();
                let number = |at: usize| -> u64 {
                    let number = words.get(at).and_then(|word| word.parse().ok());
                    number.unwrap_or_else(|| panic!("rank {rank}: no number in {line:?}"))
                };
                match word {
                    "LAUNCH" => {
                        let launch = story.0.entry(number(0)).or_default();
                        let node = words[1].to_string();
                        launch.insert(rank, Chapter { node, ..Chapter::default() });
                        chapter = launch.get_mut(&rank).expect("just inserted");
                    }
                    "RESTART" => chapter.restart = Some((number(0), number(1))),
                    "SUCCESS" => chapter.successes.push(number(0)),
                    "OUTPUT" => chapter.outputs.push(number(0)),
                    "EXIT" => chapter.exit = Some(number(0)),
                    "END" => chapter.end = Some(number(0)),
                    "START" | "TROUBLE" => {}
                    _ => chapter.complaints.push(line.to_string()),
                }
            }
        }
        story
    }

    /// Checks every launch: no wrong byte, all ranks restarted from one dataset, and it was none older than the newest that
    /// any rank was promised before. Only for losses that the scheme tolerates.
    pub(crate) fn judge(&self) {
        let mut promised = 0;
        for (launch, ranks) in &self.0 {
            let restarts: BTreeSet<(u64, u64)> = ranks.values().filter_map(|c| c.restart).collect();
            assert!(restarts.len() <= 1, "launch {launch} from several states: {self:#?}");
            if let Some(&(step, _)) = restarts.first() {
                assert!(step >= promised, "launch {launch} from {step}, not {promised}: {self:#?}");
                promised = step;
            }
            for chapter in ranks.values() {
                let wrong = chapter.complaints.iter().find(|line| line.starts_with("WRONG"));
                assert!(wrong.is_none(), "launch {launch}: {wrong:?}");
                promised = chapter.successes.iter().copied().max().unwrap_or(0).max(promised);
            }
        }
    }

    /// How many launches there were.
    pub(crate) fn launches(&self) -> usize {
        self.0.len()
    }

    /// What a launch restarted from: the step, and the launch that wrote it.
    pub(crate) fn restart(&self, launch: u64) -> Option<(u64, u64)> {
        self.0.get(&launch)?.values().find_map(|chapter| chapter.restart)
    }

    /// The nodes of a launch, in the order of ranks.
    pub(crate) fn nodes(&self, launch: u64) -> Vec<&str> {
        let ranks = self.0.get(&launch).into_iter().flat_map(BTreeMap::values);
        ranks.map(|chapter| chapter.node.as_str()).collect()
    }

    /// All that ranks complained of.
    pub(crate) fn complaints(&self) -> Vec<&str> {
        let chapters = self.0.values().flat_map(BTreeMap::values);
        chapters.flat_map(|chapter| chapter.complaints.iter().map(String::as_str)).collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What rank 0 writes at the end, if nothing was lost, doubled or mixed on the way.
fn result(ranks: usize, steps: u64) -> String {
    let mut states: Vec<u64> = (0..ranks as u64).map(|rank| mix(SEED + rank)).collect();
    for _ in 0..steps {
        let lefts = (0..ranks).map(|rank| states[(rank + ranks - 1) % ranks]);
        states = lefts.zip(&states).map(|(left, own)| mix(own ^ left.rotate_left(1))).collect();
    }
    let parts = states.iter().zip(0..).map(|(state, rank)| mix(state ^ rank));
    format!("{:016x} after step {steps}\n", parts.fold(0, |sum, part| sum ^ part))
}

/// A gate that processes of a job wait at (`gate.c`).
#[derive(Debug)]
pub(crate) struct Gate {
    directory: PathBuf,
    /// What puts a program behind the gate.
    variables: [(&'static str, String); 2],
}

impl Gate {
    /// A gate at which each process waits when it is about to write to a path like `pattern` for the `count`-th time.
    pub(crate) fn new(job: &Job, name: &str, count: u32, pattern: &str) -> Self {
        let directory = job.prefix.join(name);
        fs::create_dir(&directory).expect("a directory for a gate");
        let variables = [
            ("LD_PRELOAD", job.lab.installed("lib/gate.so").to_string_lossy().into_owned()),
            ("SCR_TEST_GATE", format!("{}:{count}:{pattern}", directory.display())),
        ];
        Self { directory, variables }
    }

    /// The hosts of which a process waits.
    pub(crate) fn waiting(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.directory).expect("the gate").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let host = |name: String| Some(name.strip_prefix("at.")?.split('.').next()?.to_string());
        names.filter_map(host).collect()
    }

    /// Lets all go on.
    pub(crate) fn open(&self) {
        fs::write(self.directory.join("go"), "").expect("a sign");
    }
}
