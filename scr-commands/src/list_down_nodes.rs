// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr list-down-nodes`: the nodes of an allocation that a job should not use.

use crate::agents::probe::{Canary, Probe, survey_usable};
use crate::allocation::{Allocation, ordered};
use crate::exit;
use crate::log::{Entry, Log};
use crate::output::{print, print_json};
use crate::prefix::Prefix;
use crate::prerun::{last_bytes_per_node, too_little_room};
use crate::resource_manager::compress;
use crate::settings::Settings;
use scr_core::clock::{Clock, SystemClock};
use scr_core::id::NodeName;
use scr_core::{Context, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `scr list-down-nodes`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  srun --exclude=\"$(scr list-down-nodes)\" ./app
  scr list-down-nodes --reason            a line for each node, with the reason
  scr list-down-nodes --down n3 'n[1-8]'  of these nodes; n3 is known to be down
  scr list-down-nodes --free              nodes without room for a dataset count as down too

A node is down when the resource manager says so, when SCR_EXCLUDE_NODES or --down names it, when
it does not answer, or when the directories of the job cannot be written there.

Exit status: 0 also when nodes are down; 2 not a list of nodes.")]
pub(crate) struct Arguments {
    /// The prefix [default: SCR_PREFIX, or the current directory]
    #[arg(short, long)]
    prefix: Option<PathBuf>,
    /// SCR's option for the launcher; not needed
    #[arg(short, long, value_name = "LAUNCHER", hide = true)]
    joblauncher: Option<String>,
    /// Also nodes that have less room than a dataset like the last one in the prefix takes
    #[arg(short, long)]
    free: bool,
    /// Nodes that are known to be down, and not asked
    #[arg(short, long, value_name = "NODES", default_value = "")]
    down: String,
    /// Print `node: reason` lines instead of a list
    #[arg(short, long)]
    reason: bool,
    /// Note each node that is down in the log of the prefix
    #[arg(short, long)]
    log: bool,
    /// How long the job had run, for the log
    #[arg(short, long, value_name = "SECONDS")]
    secs: Option<f64>,
    /// The cache directory of a virtual node on this machine; may be repeated
    #[arg(long, value_name = "DIR")]
    cache: Vec<PathBuf>,
    /// How long a node may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Only these nodes [default: all of the allocation]
    #[arg(value_name = "NODES")]
    nodes: Vec<String>,
}

/// Prints the nodes that are down.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let settings = Settings::read(arguments.prefix.as_deref())?;
    let (config, _) = settings.resolve()?;
    let mut allocation = Allocation::find(&settings, &arguments.cache)?;
    if !arguments.nodes.is_empty() {
        allocation.nodes = ordered(&arguments.nodes.join(","))?;
    }
    let known: BTreeSet<NodeName> = ordered(&arguments.down)?.into_iter().collect();
    let job_id = settings.job().job_id.to_string();
    let probe = Probe { settings: settings.for_others(), canary: Canary::Ignore };
    let limit = Duration::from_secs(arguments.timeout);
    let usable = || allocation.usable("scr list-down-nodes", &known);
    let found = survey_usable(allocation.reach(), &usable, &probe, limit);
    let found = found.context(|| "ask the nodes")?;
    let mut down = allocation.down("scr list-down-nodes", &known);
    for node in found.silent {
        down.entry(node).or_insert_with(|| "does not answer".to_string());
    }
    down.extend(found.failed.into_iter().map(|(node, error)| (node, format!("{error:#}"))));
    let needed = if arguments.free { last_bytes_per_node(&config).max(1) } else { 0 };
    for (node, probed) in found.answers {
        if let Some(why) = probed.trouble().or_else(|| too_little_room(&probed, needed)) {
            down.insert(node, why);
        }
    }
    if arguments.log {
        let log = Log::new(&Prefix::of(&config), Some(&job_id));
        let now = SystemClock::default().unix().as_secs();
        for (node, why) in &down {
            let entry = Entry::node_fail(node.as_str(), why);
            log.tell(now, Entry { seconds: arguments.secs, ..entry });
        }
    }
    // In the order of the allocation, as SCR has it.
    let in_order: Vec<&NodeName> =
        allocation.nodes.iter().filter(|node| down.contains_key(*node)).collect();
    if arguments.json {
        print_json(&json!({ "down": in_order, "reasons": down, "nodes": allocation.nodes }))?;
    } else if arguments.reason {
        let lines = in_order.iter().map(|node| format!("{node}: {}\n", down[*node]));
        print(&lines.collect::<String>())?;
    } else if !in_order.is_empty() {
        print(&format!("{}\n", compress(in_order)))?;
    }
    Ok(exit::SUCCESS)
}
