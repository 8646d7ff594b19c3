// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr flush-file`: which datasets there are, and which of them are only in the caches.
//!
//! SCR keeps a file about it in the prefix (`flush.scr`), which may be wrong after a failure. Here the answer comes from the
//! datasets' own records, in the prefix and in the caches that this machine sees.

use crate::explain;
use crate::files::absolute;
use crate::output::{note, print, print_json};
use crate::prefix::Prefix;
use crate::{exit, settings};
use scr_core::Result;
use scr_core::format::DatasetHeader;
use scr_core::format::state::Phase;
use scr_core::format::summary::PrefixState;
use scr_core::id::DatasetId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options of `scr flush-file`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr flush-file --list-output     numbers of output datasets, ascending
  scr flush-file --list-ckpt       numbers of checkpoints, descending
  scr flush-file --list-ckpt --before 12
  scr flush-file --need-flush 18 && echo 'only in cache'
  scr flush-file --location 18     CACHE, PFS or SYNC_FLUSHING
  scr flush-file --name 18         its name
  scr flush-file --latest          the number of the newest
  scr flush-file --json            all of it

It looks into the prefix and into the caches of this machine: those that --cache, or the
configuration, names. What is only in the caches of other nodes it does not see.

Exit status: 0 yes, or found; 1 no, or nothing found.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, visible_alias = "dir", env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// A cache directory; may be repeated [default: as the job is configured]
    #[arg(short, long, value_name = "DIR")]
    cache: Vec<PathBuf>,
    #[command(flatten)]
    question: Question,
    /// Only those before this one (with the lists)
    #[arg(short, long, value_name = "ID", conflicts_with_all = ["need_flush", "latest", "location", "name"])]
    before: Option<u64>,
    /// SCR's way to end a flush that was begun, with --name; here a launch, or scr scavenge, does that, and this tells by the
    /// exit status whether it is done
    #[arg(short, long, requires = "name", hide = true)]
    resume: bool,
    /// SCR's way to write the summary of a flush, with --name; as --resume
    #[arg(short = 'S', long, requires = "name", hide = true)]
    summary: bool,
    /// Print as JSON what is known of the datasets that were asked for
    #[arg(long)]
    json: bool,
}

/// What is asked.
#[derive(clap::Args, Debug, Default)]
#[group(multiple = false)]
struct Question {
    /// List output datasets, ascending
    #[arg(short = 'o', long)]
    list_output: bool,
    /// List checkpoints, descending
    #[arg(long)]
    list_ckpt: bool,
    /// Tell by the exit status whether this dataset is only in cache
    #[arg(short, long, value_name = "ID")]
    need_flush: Option<u64>,
    /// Print the number of the newest dataset
    #[arg(short, long)]
    latest: bool,
    /// Print where this dataset is
    #[arg(short = 'L', long, value_name = "ID")]
    location: Option<u64>,
    /// Print the name of this dataset
    #[arg(short = 's', long, value_name = "ID")]
    name: Option<u64>,
}

/// A dataset that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    header: DatasetHeader,
    is_cached: bool,
    is_flushed: bool,
    is_being_flushed: bool,
}

impl Known {
    /// SCR's word for where it is. Complete in the prefix says more than being in a cache as well.
    fn location(&self) -> &'static str {
        if self.is_flushed {
            "PFS"
        } else if self.is_being_flushed {
            "SYNC_FLUSHING"
        } else {
            "CACHE"
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.header.id.0,
            "name": self.header.name.as_str(),
            "checkpoint": self.header.is_checkpoint,
            "output": self.header.is_output,
            "location": self.location(),
            "in_cache": self.is_cached,
            "need_flush": !self.is_flushed,
        })
    }
}

/// Answers.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let root = absolute(&arguments.prefix)?;
    let caches = if arguments.cache.is_empty() {
        let config = settings::of(&root)?;
        config.stores.into_iter().map(|store| store.base).collect()
    } else {
        arguments.cache.clone()
    };
    let prefix = Prefix::at(&root);
    let known = look(&prefix, &explain::cached(&caches, &prefix)?)?;
    if arguments.resume || arguments.summary {
        let asked = arguments.question.name.map(DatasetId);
        let is_whole = asked.and_then(|id| known.get(&id)).is_some_and(|one| one.is_flushed);
        if !is_whole {
            note(
                "it is not whole in the prefix; the next launch ends what it can, scr scavenge does at once",
            );
        }
        return Ok(if is_whole { exit::SUCCESS } else { exit::NO });
    }
    let (found, text) = answer(&known, &arguments.question, arguments.before);
    if arguments.json {
        let datasets: Vec<Value> = found.iter().map(|one| one.to_json()).collect();
        print_json(&json!({ "datasets": datasets }))?;
    } else if !text.is_empty() {
        print(&format!("{text}\n"))?;
    }
    Ok(if found.is_empty() { exit::NO } else { exit::SUCCESS })
}

/// What is known of datasets that can still be used. Of two with one number the younger counts.
fn look(prefix: &Prefix, parts: &[explain::CachedPart]) -> Result<BTreeMap<DatasetId, Known>> {
    let mut all: BTreeMap<_, Known> = BTreeMap::new();
    let mut entry = |header: &DatasetHeader, change: &dyn Fn(&mut Known)| {
        let known = all.entry((header.age(), header.identity)).or_insert_with(|| Known {
            header: header.clone(),
            is_cached: false,
            is_flushed: false,
            is_being_flushed: false,
        });
        change(known);
    };
    let is_held = prefix.is_held();
    for summary in prefix.entries()?.into_iter().filter_map(|entry| entry.summary.ok().flatten()) {
        match summary.state {
            PrefixState::Flushed => entry(&summary.dataset, &|known| known.is_flushed = true),
            PrefixState::Flushing { .. } if is_held => {
                entry(&summary.dataset, &|known| known.is_being_flushed = true);
            }
            // Nothing that one could use; what its flush began from may be in a cache.
            _ => {}
        }
    }
    let states = parts.iter().filter_map(|part| part.state.as_ref().ok());
    for state in states.filter(|state| state.phase == Phase::Committed) {
        entry(&state.dataset, &|known| known.is_cached = true);
    }
    // Ascending by age: the younger one stays.
    Ok(all.into_values().map(|known| (known.header.id, known)).collect())
}

/// The datasets that the answer is about, none for "no", and the answer in words.
fn answer<'a>(
    known: &'a BTreeMap<DatasetId, Known>,
    question: &Question,
    before: Option<u64>,
) -> (Vec<&'a Known>, String) {
    let is_before = |one: &&Known| before.is_none_or(|before| one.header.id.0 < before);
    let ids = |found: &[&Known]| {
        found.iter().map(|one| one.header.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let one = |id: u64| known.get(&DatasetId(id));
    if let Some(id) = question.need_flush {
        let needed = one(id).filter(|one| !one.is_flushed && one.is_cached);
        (needed.into_iter().collect(), String::new())
    } else if let Some(id) = question.location {
        let found = one(id);
        (found.into_iter().collect(), found.map_or("", Known::location).to_string())
    } else if let Some(id) = question.name {
        let found = one(id);
        let name = found.map_or(String::new(), |one| one.header.name.to_string());
        (found.into_iter().collect(), name)
    } else if question.latest {
        let found: Vec<_> = known.values().next_back().into_iter().collect();
        let text = ids(&found);
        (found, text)
    } else if question.list_ckpt {
        let checkpoints = known.values().rev().filter(|one| one.header.is_checkpoint);
        let found: Vec<_> = checkpoints.filter(is_before).collect();
        let text = ids(&found);
        (found, text)
    } else {
        let wanted = |one: &&Known| !question.list_output || one.header.is_output;
        let found: Vec<_> = known.values().filter(wanted).filter(is_before).collect();
        let text = ids(&found);
        (found, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_record;
    use crate::samples;
    use scr_core::format::dataset::{Place, Scheme};
    use scr_core::format::state::PartState;
    use scr_core::id::{Epoch, NodeName};

    fn part(header: DatasetHeader, phase: Phase) -> explain::CachedPart {
        let place =
            Place { layout: 0, set: 0, sets: 1, member: 0, members: 1, scheme: Scheme::Single };
        let node = NodeName::new("n");
        let state = PartState { dataset: header, place, node, epoch: Epoch(1), phase };
        explain::CachedPart { directory: PathBuf::new(), state: Ok(state) }
    }

    /// 2 and 4 flushed, 4 also in cache; 5, an output, and 6 only in cache; 7 never finished; 8 set aside.
    fn known() -> BTreeMap<DatasetId, Known> {
        let place = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(place.path(), None);
        for (id, state) in [
            (2, PrefixState::Flushed),
            (4, PrefixState::Flushed),
            (6, PrefixState::Flushing { epoch: Epoch(1) }),
            (8, PrefixState::Failed { reason: "bad".into() }),
        ] {
            let path = prefix.record(&format!("dataset.{id}/summary"));
            write_record(&path, &samples::summary(id, state)).unwrap();
        }
        let output = DatasetHeader { is_output: true, is_checkpoint: false, ..samples::dataset(5) };
        let parts = [
            part(samples::dataset(4), Phase::Committed),
            part(output, Phase::Committed),
            part(samples::dataset(6), Phase::Committed),
            part(samples::dataset(7), Phase::Writing),
        ];
        look(&prefix, &parts).unwrap()
    }

    #[test]
    fn questions_are_answered_as_by_scr() {
        let known = known();
        let ask = |question: Question, before| {
            let (found, text) = answer(&known, &question, before);
            (!found.is_empty(), text)
        };
        let q = Question::default;
        let cases = [
            (Question { list_output: true, ..q() }, None, true, "5"),
            (Question { list_output: true, ..q() }, Some(5), false, ""),
            (Question { list_ckpt: true, ..q() }, None, true, "6 4 2"),
            (Question { list_ckpt: true, ..q() }, Some(6), true, "4 2"),
            (Question { need_flush: Some(6), ..q() }, None, true, ""),
            (Question { need_flush: Some(4), ..q() }, None, false, ""),
            (Question { need_flush: Some(9), ..q() }, None, false, ""),
            (Question { latest: true, ..q() }, None, true, "6"),
            (Question { location: Some(2), ..q() }, None, true, "PFS"),
            (Question { location: Some(4), ..q() }, None, true, "PFS"),
            (Question { location: Some(5), ..q() }, None, true, "CACHE"),
            (Question { location: Some(8), ..q() }, None, false, ""),
            (Question { name: Some(5), ..q() }, None, true, "ckpt.5"),
            (Question { name: Some(7), ..q() }, None, false, ""),
            (q(), None, true, "2 4 5 6"),
        ];
        for (question, before, found, text) in cases {
            let said = format!("{question:?}");
            assert_eq!(ask(question, before), (found, text.to_string()), "{said}");
        }
    }

    #[test]
    fn of_two_with_one_number_the_younger_counts() {
        let place = tempfile::tempdir().unwrap();
        let old = samples::dataset(3);
        let mut young = DatasetHeader { epoch: Epoch(9), ..samples::dataset(3) };
        young.identity.0[0] = 0;
        young.name = scr_core::id::DatasetName::new("young");
        let parts = [part(young.clone(), Phase::Committed), part(old, Phase::Committed)];
        let known = look(&Prefix::new(place.path(), None), &parts).unwrap();
        assert_eq!(known[&DatasetId(3)].header, young);
    }
}
