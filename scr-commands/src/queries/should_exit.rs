// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr should-exit`: whether a script that launches again and again should stop.

use super::{nodes_file, retries_halt};
use crate::environment::variable;
use crate::hostlist;
use crate::output::{print, print_json};
use crate::prefix::Prefix;
use crate::resource_manager::{self, ResourceManager};
use crate::{exit, output::count};
use scr_core::{Context, Error, ErrorKind, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Options of `scr should-exit`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  if scr should-exit --runs $left; then break; fi
      in a loop of launches, with the number of those that are left
  scr should-exit --down \"$(scr list-down-nodes)\" --min-nodes 4 -v
      also when fewer than 4 nodes are left, and say why

What it looks at, in this order: halt conditions and whether the application came to its end (see
scr retries-halt), the launches left, the nodes left. Nodes are those of SCR_NODELIST, else of the
allocation, without those that are down; needed are --min-nodes, else as many as the last launch
had, else all.

Exit status: 0 the script should exit, 1 it may launch again; anything else is no answer.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// Nodes that are down, besides those that the resource manager knows of
    #[arg(long, value_name = "NODES")]
    down: Option<String>,
    /// How many nodes a launch needs; 0 is as if not given
    #[arg(long, env = "SCR_MIN_NODES", value_name = "N")]
    min_nodes: Option<u64>,
    /// How many launches are left
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    runs: Option<i64>,
    /// When the allocation ends, in seconds since 1970
    #[arg(long, env = "SCR_END_TIME", hide = true)]
    end_time: Option<u64>,
    /// Say why
    #[arg(short, long)]
    verbose: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Answers.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let manager = resource_manager::around()?;
    let why = reason(arguments, manager.as_deref())?;
    if arguments.json {
        print_json(&json!({ "exit": why.is_some(), "reason": why }))?;
    } else if arguments.verbose {
        let why = why.as_deref().unwrap_or("Nothing keeps the job from another launch.");
        print(&format!("scr_should_exit: {why}\n"))?;
    }
    Ok(if why.is_some() { exit::SUCCESS } else { exit::NO })
}

fn reason(arguments: &Arguments, manager: Option<&dyn ResourceManager>) -> Result<Option<String>> {
    let end = arguments.end_time.or_else(|| manager.and_then(ResourceManager::end_unix_seconds));
    if let Some(why) = retries_halt::reason(&arguments.prefix, end)? {
        return Ok(Some(format!("Halt condition detected: {why}")));
    }
    if arguments.runs.is_some_and(|runs| runs <= 0) {
        return Ok(Some("No launches are left.".to_string()));
    }
    let names = match (variable("SCR_NODELIST"), manager) {
        (Some(list), _) => Some(hostlist::parse(&list).context(|| "read SCR_NODELIST")?),
        (None, Some(manager)) => Some(manager.nodes().iter().map(ToString::to_string).collect()),
        (None, None) => None,
    };
    let Some(names) = names else {
        if arguments.down.as_deref().is_some_and(|down| !down.trim().is_empty()) {
            let text = "which nodes there are is not known; set SCR_NODELIST to them";
            return Err(Error::new(ErrorKind::Misuse, text));
        }
        return Ok(None);
    };
    let mut down: BTreeSet<String> =
        hostlist::parse(arguments.down.as_deref().unwrap_or_default())?.into_iter().collect();
    if let Some(manager) = manager {
        down.extend(
            manager.down(crate::resource_manager::PATIENCE)?.iter().map(ToString::to_string),
        );
    }
    let names: BTreeSet<String> = names.into_iter().collect();
    let min_nodes = arguments.min_nodes.filter(|&nodes| nodes > 0);
    let last = nodes_file::of_last_launch(&Prefix::at(&arguments.prefix))?;
    Ok(too_few(&names, &down, min_nodes, last))
}

/// Whether fewer nodes are left than a launch needs, in words.
fn too_few(
    names: &BTreeSet<String>,
    down: &BTreeSet<String>,
    min_nodes: Option<u64>,
    last: Option<u64>,
) -> Option<String> {
    let all = names.len() as u64;
    // A launch may have counted containers, each a node for its storage: there are no more than all.
    let needed = min_nodes.unwrap_or_else(|| last.map_or(all, |last| last.min(all)));
    let left = names.difference(down).count() as u64;
    (left < needed)
        .then(|| format!("{} left of {all}, nodes_needed={needed}.", count(left, "node")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_as_in_scr() {
        let set = |list: &str| hostlist::parse(list).unwrap().into_iter().collect();
        // (down, --min-nodes, last launch, exits) of four nodes
        let cases = [
            ("", None, None, false),
            ("n1", None, None, true),
            ("n1", None, Some(3), false),
            ("n[1-2]", None, Some(3), true),
            ("n[1-2]", Some(2), Some(3), false),
            ("n1", Some(4), Some(3), true),
            ("", Some(5), None, true),
            ("", None, Some(64), false),
            ("other", None, None, false),
        ];
        for (down, min_nodes, last, expected) in cases {
            let found = too_few(&set("n[1-4]"), &set(down), min_nodes, last);
            assert_eq!(found.is_some(), expected, "{down} {min_nodes:?} {last:?}: {found:?}");
        }
    }
}
