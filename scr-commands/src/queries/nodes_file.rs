// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr nodes-file`: how many nodes the last launch had.
//!
//! SCR keeps the number in a file of its own (`nodes.scr`). Ours is part of the decision that every launch records; the
//! START of SCR's log has it too, for prefixes in which that record is damaged.

use crate::exit;
use crate::files::{optional, read_record, store};
use crate::log::{Line, What};
use crate::output::{note, print, print_json};
use crate::prefix::Prefix;
use crate::time;
use scr_core::Result;
use scr_core::format::decision::Decision;
use serde_json::json;
use std::path::PathBuf;

/// Options of `scr nodes-file`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr nodes-file                   of the last launch in this directory
  scr nodes-file --dir /p/run1     in another prefix

Exit status: 0 the number is on stdout, 1 nothing was launched yet.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, visible_alias = "dir", env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the number.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let nodes = of_last_launch(&Prefix::at(&arguments.prefix))?;
    if arguments.json {
        print_json(&json!({ "nodes": nodes }))?;
    } else if let Some(nodes) = nodes {
        print(&format!("{nodes}\n"))?;
    }
    Ok(if nodes.is_some() { exit::SUCCESS } else { exit::NO })
}

/// On how many nodes the last launch ran, where that was recorded.
pub(crate) fn of_last_launch(prefix: &Prefix) -> Result<Option<u64>> {
    match read_record::<Decision>(&prefix.record("decision")) {
        Ok(Some(decision)) if decision.nodes > 0 => return Ok(Some(decision.nodes.into())),
        Ok(_) => {}
        Err(error) => note(&format!("looking into the log: {error:#}")),
    }
    let Some(bytes) = optional(store().read(&prefix.record("log")))? else { return Ok(None) };
    let zone = time::local();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().rev().filter_map(|line| Line::read(line, &zone));
    Ok(lines.find_map(|line| match &line.entry.what {
        What::Event(kind) if kind == "START" => line.entry.nodes,
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_record;
    use crate::log::{Entry, Log};

    #[test]
    fn the_decision_counts_and_the_log_stands_in() {
        let place = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(place.path(), None);
        assert_eq!(of_last_launch(&prefix).unwrap(), None);
        let log = Log::new(&prefix, None);
        for nodes in [7, 5] {
            log.append(0, Entry { nodes: Some(nodes), ..Entry::event("START") }).unwrap();
        }
        log.append(0, Entry::event("HALT")).unwrap();
        assert_eq!(of_last_launch(&prefix).unwrap(), Some(5));
        let decision = Decision { nodes: 3, ..Decision::default() };
        write_record(&prefix.record("decision"), &decision).unwrap();
        assert_eq!(of_last_launch(&prefix).unwrap(), Some(3));
        store().append(&prefix.record("decision"), b"more").unwrap();
        assert_eq!(of_last_launch(&prefix).unwrap(), Some(5));
    }
}
