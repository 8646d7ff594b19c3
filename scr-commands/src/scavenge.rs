// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr postrun` and `scr scavenge`: what is only in the caches of an allocation goes to the prefix.

use crate::agents::save::{Rescue, Rescued, rescue};
use crate::allocation::Allocation;
use crate::exit;
use crate::log::{Entry, Log};
use crate::output::{bytes, count, note, print, print_json, progress, warn};
use crate::prefix::Prefix;
use crate::resource_manager::compress;
use crate::settings::Settings;
use scr_core::clock::{Clock, SystemClock};
use scr_core::event::Level;
use scr_core::format::lease::{Lease, LeaseState};
use scr_core::format::summary::Summary;
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Options of `scr postrun` and `scr scavenge`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr postrun                      at the end of a batch script, in the prefix
  scr scavenge --prefix /p/run1    another prefix, with the nodes of this allocation
  scr scavenge --cache /tmp/node0 --cache /tmp/node1
                                   virtual nodes of this machine, a directory each

Outputs are saved first, the oldest first, then the newest checkpoint that can be completed;
what was on lost nodes is rebuilt from redundancy. It may be interrupted and repeated: nothing
is visible in the prefix before it is complete.

The nodes are those of the allocation (Slurm), or of SCR_NODELIST by ssh, or this machine.
Nodes that are down, or in SCR_EXCLUDE_NODES, are left out. The job is SCR_JOB_ID, or
SLURM_JOB_ID; caches are where SCR_CACHE_BASE, or .scrconf, says.

Exit status: 0 all is in the prefix, or there was nothing to save; 65 something that is only in
cache could not be saved; 69 no node can be reached, or a job uses the prefix.")]
pub(crate) struct Arguments {
    /// The prefix [default: SCR_PREFIX, or the current directory]
    #[arg(short, long)]
    prefix: Option<PathBuf>,
    /// SCR's option for the launcher; not needed
    #[arg(short, long, value_name = "LAUNCHER", hide = true)]
    joblauncher: Option<String>,
    /// The cache directory of a virtual node on this machine; may be repeated
    #[arg(long, value_name = "DIR")]
    cache: Vec<PathBuf>,
    /// How long a node may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Say what is done
    #[arg(short, long)]
    verbose: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What is told in the end.
#[derive(Debug)]
struct Report {
    prefix: PathBuf,
    rescued: Rescued,
    /// Nodes that were not asked, and why.
    down: BTreeMap<NodeName, String>,
    summaries: Vec<Summary>,
    /// All nodes, in their order.
    nodes: Vec<NodeName>,
}

/// Saves what can be saved.
pub(crate) fn main(command: &'static str, arguments: &Arguments) -> Result<u8> {
    let settings = Settings::read(arguments.prefix.as_deref())?;
    let (config, notices) = settings.resolve()?;
    for notice in notices.iter().filter(|notice| notice.level <= Level::Warning) {
        warn(command, &notice.text);
    }
    if !config.enable {
        note("SCR_ENABLE=0: nothing to save");
        return Ok(exit::SUCCESS);
    }
    refuse_while_running(&Prefix::of(&config), &SystemClock::default())?;
    let allocation = Allocation::find(&settings, &arguments.cache)?;
    let down = allocation.down(command, &BTreeSet::new());
    if arguments.verbose {
        let asked = count((allocation.nodes.len() - down.len()) as u64, "node");
        note(&format!("{}: {asked} by {}", allocation.describe(), allocation.reach().describe()));
        for (node, why) in &down {
            note(&format!("{node} is left out: {why}"));
        }
    }
    let stopped = stop_on_signals()?;
    let clock = SystemClock::default();
    let started = clock.unix().as_secs();
    let rescued = rescue(&Rescue {
        reach: allocation.reach(),
        nodes: &|| allocation.usable(command, &BTreeSet::new()),
        settings: &settings,
        limit: Duration::from_secs(arguments.timeout),
        say: &|level, text| match level {
            Level::Error | Level::Warning => warn(command, text),
            _ if arguments.verbose => note(text),
            _ => progress(text),
        },
        is_stopped: &|| stopped.load(Ordering::Relaxed),
    })?;
    let prefix = Prefix::of(&config);
    if config.log {
        let log = Log::new(&prefix, Some(settings.job().job_id.as_str()));
        let (ended, seconds) = (clock.unix().as_secs(), clock.monotonic().as_secs_f64());
        for one in &rescued.datasets {
            let (id, name, why) = (one.id.0, Some(one.name.as_str()), one.trouble.as_deref());
            log.tell(started, Entry::scavenge_start(id, name));
            log.tell(ended, Entry::scavenge_end(id, name, seconds, why));
        }
    }
    let entries = prefix.entries()?.into_iter();
    let summaries = entries.filter_map(|entry| entry.summary.ok()?).collect();
    let report =
        Report { prefix: config.prefix, rescued, down, summaries, nodes: allocation.nodes };
    if arguments.json {
        print_json(&report.json())?;
    } else {
        print(&report.text())?;
    }
    Ok(if report.rescued.lost().next().is_some() { exit::DATA } else { exit::SUCCESS })
}

/// Refuses to work beside a launch that lives. One of another job is refused by the library in any case; one of this job
/// would lose its hold of the prefix, for a job's next launch is known to come after its last.
fn refuse_while_running(prefix: &Prefix, clock: &dyn Clock) -> Result<()> {
    /// A beat may be late on a busy machine.
    const PERIODS: u32 = 3;
    const LONGEST: Duration = Duration::from_secs(30);
    let held = || Ok(prefix.lease()?.filter(|lease| lease.state == LeaseState::Held));
    // A lease that cannot be read is nobody's.
    let Some(before) = held().unwrap_or_default() else { return Ok(()) };
    let period = Duration::from_millis(before.period_ms);
    clock.sleep((period * PERIODS).min(LONGEST));
    let is_alive = |now: &Lease| (now.epoch, now.heartbeat) != (before.epoch, before.heartbeat);
    match held() {
        Ok(Some(now)) if is_alive(&now) => {
            let text = format!(
                "job {} (node {}) is at work in {}: its heartbeat moves; scr halt stops a launch cleanly, and what saves \
                 caches ends by itself",
                now.job_id,
                now.node,
                prefix.root().display()
            );
            Err(Error::new(ErrorKind::Refused, text))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Notes the first request to stop; the second has the effect it always has.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order counts: the second signal finds the flag set, and ends us as if we had caught nothing.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stopped))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stopped)))
            .map_err(|error| Error::io("catch signals in", Path::new("scr"), &error))?;
    }
    Ok(stopped)
}

impl Report {
    fn summary(&self, identity: &str) -> Option<&Summary> {
        self.summaries.iter().find(|one| one.dataset.identity.to_string() == identity)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for one in &self.rescued.datasets {
            let (id, name) = (one.id, &one.name);
            let _ = match (&one.trouble, self.summary(&one.identity)) {
                (None, Some(summary)) => writeln!(
                    text,
                    "dataset {id} ({name}) saved: {}, {}",
                    count(summary.files, "file"),
                    bytes(summary.bytes)
                ),
                (None, None) => writeln!(text, "dataset {id} ({name}) saved"),
                (Some(why), _) if one.was_complete => {
                    writeln!(text, "dataset {id} ({name}) could not be saved: {why}")
                }
                (Some(why), _) => writeln!(text, "dataset {id} ({name}) is left: {why}"),
            };
        }
        if self.rescued.datasets.is_empty() {
            text.push_str("nothing to save: what is in the caches is in the prefix too\n");
        }
        let missing = self.nodes.iter().filter(|node| self.rescued.missing.contains(*node));
        let missing = compress(missing);
        if !missing.is_empty() {
            let _ = writeln!(text, "no answer from {missing}");
        }
        text
    }

    fn json(&self) -> Value {
        let dataset = |one: &crate::agents::save::Saved| {
            let summary = self.summary(&one.identity).filter(|_| one.trouble.is_none());
            json!({
                "id": one.id,
                "name": one.name,
                "identity": one.identity,
                "output": one.is_output,
                "complete": one.was_complete,
                "saved": one.trouble.is_none(),
                "reason": one.trouble,
                "files": summary.map(|summary| summary.files),
                "bytes": summary.map(|summary| summary.bytes),
            })
        };
        json!({
            "prefix": self.prefix,
            "datasets": self.rescued.datasets.iter().map(dataset).collect::<Vec<_>>(),
            "no_answer": self.rescued.missing,
            "down": self.down,
        })
    }
}
