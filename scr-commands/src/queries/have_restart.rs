// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr have-restart`: the checkpoint in the prefix that a restart would try first.
//!
//! The order is that of the library itself. Caches are not looked at: from outside a launch nobody sees those of all nodes.
//! Nor are data compared: should they be bad, the launch takes the next one, and says so.

use crate::files::read_record;
use crate::output::{note, print, print_json};
use crate::prefix::Prefix;
use crate::{exit, index, settings};
use scr_core::Result;
use scr_core::format::DatasetHeader;
use scr_core::format::current::{ChosenBy, Current};
use scr_core::format::decision::Location;
use scr_core::format::scr3;
use scr_core::format::summary::{PrefixState, RenameList, Summary};
use scr_core::id::{DatasetId, DatasetName};
use scr_core::plan::inherit;
use scr_core::plan::order::{Candidate, restart_order};
use serde_json::json;
use std::path::PathBuf;

/// Options of `scr have-restart`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  name=$(scr have-restart) && set -- --restart \"$name\"
      give the name of the checkpoint to a program that wants it on its command line
  scr have-restart --ranks 64
      that 64 ranks can restart from

It is the one that SCR_Have_restart offers when nothing newer is in the caches: what scr index
--current or SCR_CURRENT chose, else the newest. scr verify compares its data.

Exit status: 0 the name is on stdout, 1 there is none.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, visible_alias = "dir", env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// Only what so many ranks wrote
    #[arg(long, value_name = "N")]
    ranks: Option<u32>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// The checkpoint in the prefix that a restart of so many ranks would try first.
pub(crate) fn newest_in_prefix(prefix: &Prefix, ranks: Option<u32>) -> Result<Option<Candidate>> {
    let summaries = summaries(prefix)?;
    let left = index::left_by_scr3(prefix);
    let config = settings::of(prefix.root())?;
    let by_parameter = config.current.and_then(|name| chosen(&name, &summaries, &left));
    let current = match by_parameter {
        Some(current) => Some(current),
        None => prefix.current()?,
    };
    let is_wanted = |header: &DatasetHeader| {
        // How many ranks wrote what SCR 3 left, only those who read it find out.
        header.ranks == 0 || ranks.is_none_or(|ranks| ranks == header.ranks)
    };
    let order = order(&summaries, &left, current.as_ref());
    Ok(order.into_iter().find(|candidate| is_wanted(&candidate.header)))
}

/// Prints the name.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let first = newest_in_prefix(&Prefix::at(&arguments.prefix), arguments.ranks)?;
    let first = first.as_ref();
    if arguments.json {
        print_json(&json!({ "restart": first.map(|first| json!({
            "id": first.header.id.0,
            "name": first.header.name.as_str(),
            "identity": first.header.identity.to_string(),
            "ranks": Some(first.header.ranks).filter(|&ranks| ranks > 0),
            "written_by": if first.location == Location::Scr3 { "SCR 3" } else { "scr" },
        })) }))?;
    } else if let Some(first) = first {
        print(&format!("{}\n", first.header.name))?;
    }
    Ok(if first.is_some() { exit::SUCCESS } else { exit::NO })
}

/// The summaries as the next launch will find them: a flush that was sealed will have been ended.
fn summaries(prefix: &Prefix) -> Result<Vec<Summary>> {
    let mut summaries = Vec::new();
    for entry in prefix.entries()? {
        match entry.summary {
            Ok(Some(mut summary)) => {
                let renames = entry.path.join("renames");
                if matches!(summary.state, PrefixState::Flushing { .. })
                    && matches!(read_record::<RenameList>(&renames), Ok(Some(_)))
                {
                    summary.state = PrefixState::Flushed;
                }
                summaries.push(summary);
            }
            Ok(None) => {}
            Err(error) => note(&format!("{} is left out: {error:#}", entry.path.display())),
        }
    }
    Ok(summaries)
}

/// What `SCR_CURRENT` names.
fn chosen(name: &str, summaries: &[Summary], left: &scr3::Index) -> Option<Current> {
    let ours = summaries.iter().map(|summary| &summary.dataset);
    let ours = ours.filter(|dataset| dataset.name.as_str() == name).max_by_key(|one| one.age());
    let identity = ours.map(|dataset| dataset.identity);
    let identity = identity.or_else(|| left.named(name).map(scr3::Dataset::identity));
    if identity.is_none() {
        note(&format!("SCR_CURRENT={name}: there is no such dataset in the prefix"));
    }
    Some(Current {
        identity: identity?,
        name: DatasetName::new(name),
        by: ChosenBy::Person,
        newest_known: DatasetId(u64::MAX),
    })
}

/// The checkpoints that can be restarted from, the one that is tried first at the front.
fn order(summaries: &[Summary], left: &scr3::Index, current: Option<&Current>) -> Vec<Candidate> {
    let flushed = summaries.iter().filter(|summary| summary.state == PrefixState::Flushed);
    let mut candidates: Vec<Candidate> = flushed
        .map(|summary| Candidate {
            header: summary.dataset.clone(),
            location: Location::Prefix,
            layout: 0,
            is_committed: true,
        })
        .collect();
    let (theirs, _) = inherit::candidates(left, current);
    // A record of ours says what became of one: it was set aside.
    let is_known = |candidate: &Candidate| {
        summaries.iter().any(|summary| summary.dataset.identity == candidate.header.identity)
    };
    candidates.extend(theirs.into_iter().filter(|candidate| !is_known(candidate)));
    restart_order(candidates, current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_record;
    use crate::samples;
    use scr_core::id::Epoch;
    use std::path::Path;

    fn names(prefix: &Prefix, current: Option<&Current>) -> Vec<String> {
        let left = index::left_by_scr3(prefix);
        let order = order(&summaries(prefix).unwrap(), &left, current);
        order.iter().map(|candidate| candidate.header.name.to_string()).collect()
    }

    #[test]
    fn only_complete_checkpoints_count_and_a_sealed_flush_is_complete() {
        let place = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(place.path(), None);
        assert!(names(&prefix, None).is_empty());
        let flushing = PrefixState::Flushing { epoch: Epoch(1) };
        for (id, state) in [
            (2, PrefixState::Flushed),
            (4, PrefixState::Flushed),
            (6, PrefixState::Failed { reason: "bad".into() }),
            (8, flushing.clone()),
            (10, flushing),
        ] {
            let path = prefix.record(&format!("dataset.{id}/summary"));
            write_record(&path, &samples::summary(id, state)).unwrap();
        }
        assert_eq!(names(&prefix, None), ["ckpt.4", "ckpt.2"]);
        let list = RenameList {
            dataset: samples::dataset(8),
            epoch: Epoch(1),
            maps: 1,
            files: 4,
            bytes: 4096,
            supersedes: Vec::new(),
        };
        write_record(&prefix.record("dataset.8/renames"), &list).unwrap();
        assert_eq!(names(&prefix, None), ["ckpt.8", "ckpt.4", "ckpt.2"]);
        let left = scr3::Index::default();
        let two = chosen("ckpt.2", &summaries(&prefix).unwrap(), &left);
        assert_eq!(names(&prefix, two.as_ref()), ["ckpt.2", "ckpt.8", "ckpt.4"]);
        assert_eq!(chosen("none", &summaries(&prefix).unwrap(), &left), None);
    }

    #[test]
    fn what_scr_3_left_is_offered_too() {
        let prefix = Prefix::new(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/scr3/prefix")),
            None,
        );
        assert_eq!(names(&prefix, None)[0], "ckpt.6");
    }
}
