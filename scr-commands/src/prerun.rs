// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr prerun`: makes an allocation ready for a job, and says which of its nodes cannot be used.

use crate::agents::clean::{Clean, Cleaned, clean_all};
use crate::agents::probe::{Canary, Probe, Probed, Survey, draw_canary, survey_usable};
use crate::allocation::Allocation;
use crate::exit;
use crate::files::write_note;
use crate::output::{bytes, count, join, note, print, print_json, warn};
use crate::settings::Settings;
use scr_core::config::Config;
use scr_core::event::Level;
use scr_core::exec::prefix::Prefix;
use scr_core::id::NodeName;
use scr_core::store::posix::Posix;
use scr_core::{Context, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Options of `scr prerun`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr prerun                 at the beginning of a batch script, in the prefix
  scr prerun -p /p/run1 -v   another prefix; says how much room each node has
  scr prerun --dry-run       says what would be removed of dead jobs, and removes nothing

It makes the prefix and its .scr/, and asks every node of the allocation whether the directories
of the job can be written there. Where the resource manager says which of your jobs still exist,
it removes what others have left in cache and control directories. A number is left on every
node and in .scr/canary: by it, later commands see whether a node was started anew.

The nodes are those of the allocation (Slurm), or of SCR_NODELIST by ssh, or this machine.
Nodes that are down, or in SCR_EXCLUDE_NODES, are not asked.

Exit status: 0 the prefix and at least SCR_MIN_NODES nodes (1 without it) can be used; 69 too
few nodes can; 65, 70, 71 the prefix cannot.")]
pub(crate) struct Arguments {
    /// The prefix [default: SCR_PREFIX, or the current directory]
    #[arg(short, long)]
    prefix: Option<PathBuf>,
    /// The cache directory of a virtual node on this machine; may be repeated
    #[arg(long, value_name = "DIR")]
    cache: Vec<PathBuf>,
    /// How long a node may take to answer; it may have to be made ready first
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Remove nothing of dead jobs, only say what
    #[arg(long)]
    dry_run: bool,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug)]
struct Report {
    prefix: PathBuf,
    nodes: Vec<NodeName>,
    needed: usize,
    down: BTreeMap<NodeName, String>,
    found: Survey,
    cleaned: BTreeMap<NodeName, Cleaned>,
    dry_run: bool,
    /// What a node needs for a dataset like the last one.
    needed_bytes: u64,
}

/// Makes ready, and reports.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let settings = Settings::read(arguments.prefix.as_deref())?;
    let (config, notices) = settings.resolve()?;
    for notice in notices.iter().filter(|notice| notice.level <= Level::Warning) {
        warn("scr prerun", &notice.text);
    }
    if !config.enable {
        note("SCR_ENABLE=0: nothing to make ready");
        return Ok(exit::SUCCESS);
    }
    let number = prepare_prefix(&config, &settings)?;
    let allocation = Allocation::find(&settings, &arguments.cache)?;
    if arguments.verbose {
        note(&format!("{}, by {}", allocation.describe(), allocation.reach().describe()));
    }
    let limit = Duration::from_secs(arguments.timeout);
    let sent = settings.clone().for_others();
    let probe = Probe { settings: sent.clone(), canary: Canary::Plant(number) };
    let usable = || allocation.usable("scr prerun", &BTreeSet::new());
    let found = survey_usable(allocation.reach(), &usable, &probe, limit);
    let found = found.context(|| "ask the nodes")?;
    let down = allocation.down("scr prerun", &BTreeSet::new());
    let cleaned = match allocation.live_jobs() {
        Ok(Some(alive)) => {
            let answered: Vec<NodeName> = found.answers.keys().cloned().collect();
            let clean = Clean { settings: sent, alive, dry_run: arguments.dry_run };
            clean_all(allocation.reach(), &answered, &clean, limit)?
        }
        Ok(None) => BTreeMap::new(),
        Err(error) => {
            warn("scr prerun", &format!("nothing of dead jobs is removed: {error:#}"));
            BTreeMap::new()
        }
    };
    let report = Report {
        needed_bytes: last_bytes_per_node(&config),
        needed: config.run.min_nodes.unwrap_or(1).max(1) as usize,
        prefix: config.prefix,
        nodes: allocation.nodes.clone(),
        dry_run: arguments.dry_run,
        down,
        found,
        cleaned,
    };
    if arguments.json {
        print_json(&report.json())?;
    } else {
        print(&report.text(arguments.verbose))?;
    }
    Ok(if report.usable().count() >= report.needed { exit::SUCCESS } else { exit::UNAVAILABLE })
}

/// Makes the prefix, and leaves a number there, which shows that it can be written.
fn prepare_prefix(config: &Config, settings: &Settings) -> Result<String> {
    let prefix = Prefix::new(Arc::new(Posix::new()), config.prefix.clone(), config.task.as_deref());
    prefix.prepare()?;
    let number = draw_canary();
    let canary = json!({ "job_id": settings.job().job_id, "number": number });
    write_note(&prefix.records().join("canary"), &canary)
        .context(|| "the prefix cannot be written; set SCR_PREFIX to a directory that can")?;
    Ok(number)
}

/// What a node had to hold of the newest dataset in the prefix, without redundancy.
pub(crate) fn last_bytes_per_node(config: &Config) -> u64 {
    let entries = crate::prefix::Prefix::of(config).entries().unwrap_or_default();
    let summaries = entries.into_iter().filter_map(|entry| entry.summary.ok().flatten());
    let newest = summaries.max_by_key(|summary| summary.dataset.age());
    newest.map_or(0, |summary| summary.bytes / u64::from(summary.maps.max(1)))
}

/// The directory of a node that has the least room, where it has less than `needed_bytes`.
pub(crate) fn too_little_room(probed: &Probed, needed_bytes: u64) -> Option<String> {
    // The first is the control directory, which needs next to nothing.
    let caches = probed.directories.iter().skip(1);
    let tightest = caches.min_by_key(|directory| directory.free_bytes)?;
    (tightest.free_bytes < needed_bytes).then(|| {
        format!(
            "{} has {} free, and a dataset like the last takes {}",
            tightest.path.display(),
            bytes(tightest.free_bytes),
            bytes(needed_bytes)
        )
    })
}

impl Report {
    fn usable(&self) -> impl Iterator<Item = (&NodeName, &Probed)> {
        let answers = self.found.answers.iter();
        answers.filter(|(_, probed)| probed.trouble().is_none() && probed.canary == Some(true))
    }

    /// Nodes that cannot be used, and why.
    fn unusable(&self) -> BTreeMap<&NodeName, String> {
        let mut unusable: BTreeMap<&NodeName, String> =
            self.down.iter().map(|(node, why)| (node, why.clone())).collect();
        unusable.extend(self.found.silent.iter().map(|node| (node, "does not answer".to_string())));
        let failed = self.found.failed.iter();
        unusable.extend(failed.map(|(node, error)| (node, format!("{error:#}"))));
        for (node, probed) in &self.found.answers {
            let trouble = probed.trouble().or_else(|| {
                (probed.canary != Some(true))
                    .then(|| "its control directory cannot be written".to_string())
            });
            if let Some(trouble) = trouble {
                unusable.insert(node, trouble);
            }
        }
        unusable
    }

    fn text(&self, is_verbose: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let usable = self.usable().count();
        let _ = writeln!(
            text,
            "prefix {}: {usable} of {} can be used",
            self.prefix.display(),
            count(self.nodes.len() as u64, "node")
        );
        for (node, why) in self.unusable() {
            let _ = writeln!(text, "{node}: {why}");
        }
        for (node, probed) in self.usable() {
            if let Some(why) = too_little_room(probed, self.needed_bytes) {
                let _ = writeln!(text, "{node}: {why}");
            }
            if is_verbose {
                let room = |one: &crate::agents::probe::Directory| {
                    format!("{} {} free", one.path.display(), bytes(one.free_bytes))
                };
                let mut rooms: Vec<_> = probed.directories.iter().map(room).collect();
                rooms.dedup();
                let cached = probed.highest_committed();
                rooms.extend(cached.map(|id| format!("dataset {id} in the cache")));
                let _ = writeln!(text, "{node}: {}", join(&rooms));
            }
        }
        for (node, cleaned) in &self.cleaned {
            let (freed, verb) = (
                cleaned.removed.iter().map(|one| one.bytes).sum(),
                if self.dry_run { "would be removed" } else { "removed" },
            );
            if !cleaned.removed.is_empty() {
                let jobs: Vec<_> = cleaned.removed.iter().map(|one| one.path.display()).collect();
                let _ = writeln!(text, "{node}: {verb}: {} ({})", join(&jobs), bytes(freed));
            }
            for trouble in &cleaned.troubles {
                let _ = writeln!(text, "{node}: {trouble}");
            }
        }
        if is_verbose && !self.found.remarks.is_empty() {
            let _ = writeln!(text, "{}", self.found.remarks);
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "prefix": self.prefix,
            "nodes": self.nodes,
            "usable": self.usable().map(|(node, _)| node).collect::<Vec<_>>(),
            "unusable": self.unusable(),
            "answers": self.found.answers,
            "removed": self.cleaned,
            "needed_nodes": self.needed,
            "needed_bytes": self.needed_bytes,
        })
    }
}
