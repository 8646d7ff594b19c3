// SPDX-License-Identifier: MIT OR Apache-2.0
//! One job through all its launches, and the judge of what it was told: no wrong byte, never less than the last SUCCESS.

use crate::content::{Mark, content, files};
use crate::launcher::{End, Launcher};
use scr_core::exec::prefix::Prefix;
use scr_core::format::summary::PrefixState;
use scr_core::store::posix::Posix;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Launches that a report of a failure shows.
const LAUNCHES_SHOWN: usize = 12;

/// Where a launch shall be killed.
#[derive(Clone, Debug)]
pub(crate) struct Kill {
    pub(crate) window: &'static str,
    pub(crate) after: bool,
    /// At which pass through the window.
    pub(crate) pass: u32,
    /// Which rank counts the passes, and dies.
    pub(crate) victim: usize,
    /// With it all ranks of its node.
    pub(crate) whole_node: bool,
}

/// How a job is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) scheme: &'static str,
    pub(crate) set_size: u32,
    pub(crate) cache_size: u32,
    pub(crate) flush_every: u32,
    /// Whether all datasets use the same file names.
    pub(crate) fixed_names: bool,
}

/// What a restart was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Cache,
    Rebuilt,
    Prefix,
}

/// What a launch came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launched {
    /// Whether the window was reached.
    pub(crate) hit: bool,
    /// Whether it came through its restart: then all that was lost before is whole again.
    pub(crate) restarted: bool,
    /// What it restarted from, as far as rank 0 came to say so.
    pub(crate) source: Option<Source>,
}

/// A job in its own directory.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    launcher: &'a Launcher,
    root: PathBuf,
    seed: u64,
    settings: Settings,
    launches: u64,
    /// The newest that any rank got SUCCESS for, in any launch.
    success: Mark,
    /// The newest that any launch restarted from or got SUCCESS for.
    told: Mark,
    /// What happened, for people.
    journal: String,
}

impl<'a> Job<'a> {
    pub(crate) fn new(
        launcher: &'a Launcher,
        root: PathBuf,
        seed: u64,
        settings: Settings,
    ) -> Self {
        for dir in ["prefix", "tmp"] {
            fs::create_dir_all(root.join(dir)).expect("make the directories of a job");
        }
        fs::write(root.join("alive"), "").expect("make the lock of all processes");
        let (success, told) = (Mark::default(), Mark::default());
        Self { launcher, root, seed, settings, launches: 0, success, told, journal: String::new() }
    }

    /// What happened lately.
    pub(crate) fn journal(&self) -> &str {
        let launches = self.journal.rmatch_indices("\nlaunch ");
        let begin = launches.take(LAUNCHES_SHOWN).last().map_or(0, |(at, _)| at);
        &self.journal[begin..]
    }

    /// Forgets what is in the memory of a node.
    pub(crate) fn lose(&mut self, node: &str) {
        writeln!(self.journal, "lose {node}").expect("write to memory");
        for base in ["cache", "control"] {
            remove(&self.root.join(base).join(node));
        }
    }

    /// Forgets what is in the memory of all nodes: what was flushed remains, and nothing else was promised.
    pub(crate) fn lose_all(&mut self) {
        writeln!(self.journal, "lose all nodes").expect("write to memory");
        remove(&self.root.join("cache"));
        self.told = self.success;
    }

    /// One launch with a node for each rank, and its judgement.
    ///
    /// # Errors
    /// What the library did wrong, in words.
    pub(crate) fn launch(
        &mut self,
        nodes: &[String],
        steps: u32,
        kill: Option<&Kill>,
    ) -> Result<Launched, String> {
        self.launches += 1;
        let args = self.args(nodes, steps, kill);
        let _ = fs::remove_file(self.root.join("hit"));
        remove(&self.root.join("pids"));
        let shown = self.launcher.shown(&self.root, nodes.len(), &args);
        writeln!(self.journal, "launch {}: {shown}", self.launches).expect("write to memory");
        let end = self.launcher.run(&self.root, nodes.len(), &args);
        let hit = self.root.join("hit").exists();
        let (logs, text) = self.take_logs(nodes.len());
        writeln!(self.journal, "{text}  {end:?}, hit: {hit}").expect("write to memory");
        let (restarted, source) = self.judge(&logs, end, hit)?;
        // In the middle of a flush a name belongs to two datasets, until the next launch ends it.
        if !(hit && self.settings.fixed_names) {
            self.judge_prefix(nodes.len())?;
        }
        Ok(Launched { hit, restarted, source })
    }

    fn args(&self, nodes: &[String], steps: u32, kill: Option<&Kill>) -> Vec<String> {
        let settings = &self.settings;
        let mut args = vec![
            format!("root={}", self.root.display()),
            format!("nodes={}", nodes.join(",")),
            format!("seed={}", self.seed),
            format!("launch={}", self.launches),
            format!("steps={steps}"),
            format!("scheme={}", settings.scheme),
            format!("set_size={}", settings.set_size),
            format!("cache_size={}", settings.cache_size),
            format!("flush_every={}", settings.flush_every),
            format!("names={}", if settings.fixed_names { "fixed" } else { "own" }),
        ];
        if let Some(kill) = kill {
            args.extend([
                format!("window={}", kill.window),
                format!("when={}", if kill.after { "after" } else { "before" }),
                format!("pass={}", kill.pass),
                format!("victim={}", kill.victim),
                format!("kill={}", if kill.whole_node { "node" } else { "self" }),
            ]);
        }
        args
    }

    /// Reads and clears the logs of this launch: the lines of each rank, and all for people.
    fn take_logs(&self, ranks: usize) -> (Vec<Vec<String>>, String) {
        let (mut logs, mut text) = (Vec::new(), String::new());
        for rank in 0..ranks {
            let path = self.root.join(format!("log.{rank}"));
            let log = fs::read_to_string(&path).unwrap_or_default();
            let _ = fs::remove_file(&path);
            let lines: Vec<String> = log.lines().map(str::to_string).collect();
            writeln!(text, "  rank {rank}: {}", lines.join("; ")).expect("write to memory");
            logs.push(lines);
        }
        (logs, text)
    }

    /// Judges what the ranks of a launch were told.
    fn judge(
        &mut self,
        logs: &[Vec<String>],
        end: End,
        hit: bool,
    ) -> Result<(bool, Option<Source>), String> {
        let lines = || logs.iter().flatten().map(String::as_str);
        if let Some(line) =
            lines().find(|line| line.starts_with("WRONG") || line.starts_with("ERROR"))
        {
            return Err(line.to_string());
        }
        let ended = logs.iter().filter(|log| log.last().is_some_and(|l| l == "END")).count();
        match end {
            End::Hung => return Err("a launch did not end".into()),
            End::Well if hit => return Err("a killed launch ended well".into()),
            End::Badly if !hit => {
                let output = fs::read_to_string(self.root.join("output")).unwrap_or_default();
                return Err(format!("a launch that nobody killed failed: {output}"));
            }
            End::Well if ended < logs.len() => return Err("a launch ended too early".into()),
            End::Well | End::Badly => {}
        }
        let marks = |word: &'static str| {
            lines().filter_map(move |line| line.strip_prefix(word)).map(|rest| {
                let mark = rest.split(' ').next().unwrap_or_default();
                mark.parse::<Mark>().expect("a mark in the log")
            })
        };
        let restarts: BTreeSet<Mark> = marks("RESTART ").collect();
        let source = match restarts.iter().copied().collect::<Vec<_>>()[..] {
            [] => None,
            [mark] if mark < self.told.max(self.success) => {
                return Err(format!(
                    "restarted from {mark}, older than {}",
                    self.told.max(self.success)
                ));
            }
            [mark] => {
                self.told = mark;
                let rank_0 = logs[0].iter().find_map(|line| line.strip_prefix("RESTART "));
                match rank_0.and_then(|rest| rest.split(' ').nth(1)) {
                    Some("cache") => Some(Source::Cache),
                    Some("rebuilt") => Some(Source::Rebuilt),
                    Some("prefix") => Some(Source::Prefix),
                    _ => None,
                }
            }
            _ => return Err(format!("ranks restarted from different states: {restarts:?}")),
        };
        self.success = marks("SUCCESS ").max().unwrap_or_default().max(self.success);
        self.told = self.told.max(self.success);
        Ok((!restarts.is_empty(), source))
    }

    /// Compares what the prefix calls flushed with what was written.
    fn judge_prefix(&self, ranks: usize) -> Result<(), String> {
        let root = self.root.join("prefix");
        let prefix = Prefix::new(Arc::new(Posix::new()), root.clone(), None);
        let (summaries, unreadable) = prefix.summaries().map_err(|error| format!("{error:#}"))?;
        if let Some(error) = unreadable.first() {
            return Err(format!("a record in the prefix cannot be read: {error:#}"));
        }
        for summary in summaries.iter().filter(|s| s.state == PrefixState::Flushed) {
            let name = summary.dataset.name.as_str();
            let mark = Mark::of_name(name).expect("a name that the application gave");
            for rank in 0..ranks {
                for (file, size) in files(mark, rank, self.settings.fixed_names) {
                    let found = fs::read(root.join(&file)).unwrap_or_default();
                    if found != content(self.seed, mark, rank, &file, size) {
                        return Err(format!("{file} in the prefix is not what {name} wrote"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes a directory, if it is there.
fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            panic!("remove {}: {error}", dir.display())
        }
        _ => {}
    }
}
