// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr index`: the datasets in a prefix.
//!
//! The truth is each dataset's own summary; the index is a cache of them, made anew with a message when it is missing,
//! torn or old. A dataset is dropped by giving its summary another name, which `--add` takes back: nothing is deleted.

use crate::files::{read_record, store, write_record};
use crate::output::{note, print, print_json};
use crate::prefix::Prefix;
use crate::{exit, time};
use jiff::tz::TimeZone;
use scr_core::format::current::{ChosenBy, Current};
use scr_core::format::index::Index;
use scr_core::format::summary::{PrefixState, Summary};
use scr_core::id::{DatasetId, DatasetIdentity};
use scr_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// The summary of a dataset that was dropped from the index.
const DROPPED: &str = "summary.dropped";

/// Options of `scr index`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr index                        list the datasets in the current directory
  scr index --prefix /p/run1       ... in another one
  scr index --current ckpt.12      restart from ckpt.12 next time
  scr index --drop-after ckpt.12   forget what came after it (files stay; --add takes it back)")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// List the datasets (the default)
    #[arg(short, long)]
    list: bool,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
    /// Restart from this dataset next time
    #[arg(short, long, value_name = "NAME")]
    current: Option<String>,
    /// Forget this dataset; its files stay
    #[arg(long, value_name = "NAME")]
    drop: Option<String>,
    /// Forget all datasets after this one; their files stay
    #[arg(long, value_name = "NAME")]
    drop_after: Option<String>,
    /// Take back a dataset that was dropped
    #[arg(short, long, value_name = "NAME")]
    add: Option<String>,
}

/// Lists, or changes, what is in a prefix.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let prefix = Prefix::new(&arguments.prefix);
    let mut has_changed = false;
    if let Some(name) = &arguments.add {
        add(&prefix, name)?;
        has_changed = true;
    }
    let mut index = load(&prefix)?;
    if let Some(name) = &arguments.current {
        set_current(&prefix, &index, name)?;
        has_changed = true;
    }
    if let Some(name) = &arguments.drop_after {
        let after = find(&index, name)?.dataset.id;
        drop_datasets(&prefix, &mut index, &|summary| summary.dataset.id > after)?;
        has_changed = true;
    }
    if let Some(name) = &arguments.drop {
        let identity = find(&index, name)?.dataset.identity;
        drop_datasets(&prefix, &mut index, &|summary| summary.dataset.identity == identity)?;
        has_changed = true;
    }
    if arguments.list || arguments.json || !has_changed {
        let current = prefix.current()?.map(|current| current.identity);
        if arguments.json {
            print_json(&to_json(&index, current))?;
        } else {
            print(&table(&index, current, &time::local()))?;
        }
    }
    Ok(exit::SUCCESS)
}

/// The index as the summaries say, told and kept where the record said otherwise.
pub(crate) fn load(prefix: &Prefix) -> Result<Index> {
    let path = prefix.record("index");
    let (truth, damaged) = from_summaries(prefix)?;
    for (path, error) in damaged {
        note(&format!("{} is left out: {error:#}", path.display()));
    }
    let why = match read_record::<Index>(&path) {
        Ok(Some(index)) if index == truth => return Ok(truth),
        Ok(None) if truth.entries.is_empty() => return Ok(truth),
        Ok(Some(_)) => "old".to_string(),
        Ok(None) => "missing".to_string(),
        Err(error) if error.kind() == ErrorKind::Corrupt => format!("damaged ({error:#})"),
        Err(error) => return Err(error),
    };
    // A job that holds the prefix writes its own index, newer than ours would be.
    if prefix.is_held() {
        note(&format!("the index was {why}; listing the datasets' own records"));
    } else {
        note(&format!("the index was {why}; made anew from the datasets' own records"));
        write_record(&path, &truth)?;
    }
    Ok(truth)
}

/// What the summaries say, and those that cannot be read.
fn from_summaries(prefix: &Prefix) -> Result<(Index, Vec<(PathBuf, Error)>)> {
    let (mut index, mut damaged) = (Index::default(), Vec::new());
    for entry in prefix.entries()? {
        match entry.summary {
            Ok(summary) => index.entries.extend(summary),
            Err(error) => damaged.push((entry.path, error)),
        }
    }
    for summary in &mut index.entries {
        summary.ranges.clear();
    }
    index.entries.sort_by_key(|summary| (summary.dataset.id, summary.dataset.identity));
    Ok((index, damaged))
}

/// The newest dataset with this name.
fn find<'a>(index: &'a Index, name: &str) -> Result<&'a Summary> {
    let found = index.entries.iter().rev().find(|summary| summary.dataset.name.as_str() == name);
    found.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("there is no dataset {name:?}; scr index lists them"),
        )
    })
}

fn set_current(prefix: &Prefix, index: &Index, name: &str) -> Result<()> {
    let summary = find(index, name)?;
    if !summary.dataset.is_checkpoint || summary.state != PrefixState::Flushed {
        let message = format!("{name} is {}; one cannot restart from it", describe(summary));
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let newest_known = index.entries.iter().map(|summary| summary.dataset.id).max();
    let current = Current {
        identity: summary.dataset.identity,
        name: summary.dataset.name.clone(),
        by: ChosenBy::Person,
        newest_known: newest_known.unwrap_or(DatasetId(0)),
    };
    write_record(&prefix.record("current"), &current)
}

/// Hides the summaries of all datasets that `is_meant` names.
fn drop_datasets(
    prefix: &Prefix,
    index: &mut Index,
    is_meant: &dyn Fn(&Summary) -> bool,
) -> Result<()> {
    for entry in prefix.entries()? {
        if entry.summary.as_ref().is_ok_and(|found| found.as_ref().is_some_and(is_meant)) {
            store().rename(&entry.path.join("summary"), &entry.path.join(DROPPED))?;
            store().sync_dir(&entry.path)?;
        }
    }
    index.entries.retain(|summary| !is_meant(summary));
    write_record(&prefix.record("index"), index)
}

fn add(prefix: &Prefix, name: &str) -> Result<()> {
    for entry in prefix.entries()?.iter().rev() {
        let hidden = entry.path.join(DROPPED);
        if let Some(summary) = read_record::<Summary>(&hidden)?
            && summary.dataset.name.as_str() == name
        {
            store().rename(&hidden, &entry.path.join("summary"))?;
            return store().sync_dir(&entry.path);
        }
        if matches!(&entry.summary, Ok(Some(found)) if found.dataset.name.as_str() == name) {
            return Ok(());
        }
    }
    let message =
        format!("no dataset {name:?} was flushed to {} or dropped", prefix.root().display());
    Err(Error::new(ErrorKind::NotFound, message))
}

/// How a dataset stands, in words.
pub(crate) fn describe(summary: &Summary) -> String {
    let state = match &summary.state {
        PrefixState::Flushing { .. } => "being flushed".to_string(),
        PrefixState::Flushed => "complete".to_string(),
        PrefixState::Failed { reason } => format!("set aside: {reason}"),
        PrefixState::Superseded { by } => {
            format!("superseded by a dataset that took its file names ({})", by.short())
        }
    };
    let what = if summary.dataset.is_checkpoint { "checkpoint" } else { "output" };
    format!("{what}, {state}")
}

/// SCR's list, newest first.
pub(crate) fn table(index: &Index, current: Option<DatasetIdentity>, zone: &TimeZone) -> String {
    let mut text = "DSET VALID FLUSHED             CUR NAME\n".to_string();
    for summary in index.entries.iter().rev() {
        let is_flushed = summary.state == PrefixState::Flushed;
        let valid = if is_flushed { "YES" } else { "NO" };
        let flushed = if is_flushed {
            time::show(summary.changed_unix_micros / 1_000_000, zone)
        } else {
            String::new()
        };
        let mark = if current == Some(summary.dataset.identity) { "*" } else { "" };
        let (id, name) = (summary.dataset.id.0, &summary.dataset.name);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{id:4} {valid:5} {flushed:19}  {mark:1}  {name}");
    }
    text
}

/// The list for scripts, oldest first.
pub(crate) fn to_json(index: &Index, current: Option<DatasetIdentity>) -> Value {
    let entry = |summary: &Summary| {
        let dataset = &summary.dataset;
        json!({
            "id": dataset.id.0,
            "name": dataset.name.as_str(),
            "identity": dataset.identity.to_string(),
            "valid": summary.state == PrefixState::Flushed,
            "state": describe(summary),
            "changed_unix_seconds": summary.changed_unix_micros / 1_000_000,
            "current": current == Some(dataset.identity),
            "checkpoint": dataset.is_checkpoint,
            "output": dataset.is_output,
            "ranks": dataset.ranks,
            "files": summary.files,
            "bytes": summary.bytes,
            "directory": format!("dataset.{}", dataset.id),
        })
    };
    json!({ "datasets": index.entries.iter().map(entry).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn put(prefix: &Prefix, id: u64, state: PrefixState) {
        let path = prefix.record(&format!("dataset.{id}/summary"));
        write_record(&path, &samples::summary(id, state)).unwrap();
    }

    fn ids(index: &Index) -> Vec<u64> {
        index.entries.iter().map(|summary| summary.dataset.id.0).collect()
    }

    #[test]
    fn the_list_is_that_of_scr() {
        let entries = vec![
            samples::summary(6, PrefixState::Failed { reason: "bad".into() }),
            samples::summary(12, PrefixState::Flushed),
        ];
        let current = Some(entries[1].dataset.identity);
        let expected = "\
DSET VALID FLUSHED             CUR NAME
  12 YES   2026-01-31T10:00:00  *  ckpt.12
   6 NO                            ckpt.6
";
        assert_eq!(table(&Index { entries }, current, &TimeZone::UTC), expected);
    }

    #[test]
    fn the_index_is_made_anew_when_missing_torn_or_old() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path());
        let path = prefix.record("index");
        assert!(load(&prefix).unwrap().entries.is_empty());
        put(&prefix, 10, PrefixState::Flushed);
        put(&prefix, 9, PrefixState::Flushed);
        assert_eq!(ids(&load(&prefix).unwrap()), [9, 10]);
        assert_eq!(ids(&read_record(&path).unwrap().unwrap()), [9, 10]);

        put(&prefix, 11, PrefixState::Flushing { epoch: scr_core::id::Epoch(1) });
        assert_eq!(ids(&load(&prefix).unwrap()), [9, 10, 11]);

        store().remove(&path).unwrap();
        store().append(&path, b"SCR\x04 torn").unwrap();
        assert_eq!(ids(&load(&prefix).unwrap()), [9, 10, 11]);
        assert_eq!(ids(&read_record(&path).unwrap().unwrap()), [9, 10, 11]);
    }

    #[test]
    fn a_damaged_summary_hides_only_its_own_dataset() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path());
        put(&prefix, 1, PrefixState::Flushed);
        put(&prefix, 2, PrefixState::Flushed);
        store().append(&prefix.record("dataset.2/summary"), b"x").unwrap();
        assert_eq!(ids(&load(&prefix).unwrap()), [1]);
    }

    #[test]
    fn a_persons_choice_is_kept_and_only_good_checkpoints_are_chosen() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path());
        put(&prefix, 1, PrefixState::Flushed);
        put(&prefix, 2, PrefixState::Flushing { epoch: scr_core::id::Epoch(1) });
        let index = load(&prefix).unwrap();
        set_current(&prefix, &index, "ckpt.1").unwrap();
        let current = prefix.current().unwrap().unwrap();
        assert_eq!((current.by, current.newest_known), (ChosenBy::Person, DatasetId(2)));
        assert_eq!(set_current(&prefix, &index, "ckpt.2").unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(set_current(&prefix, &index, "none").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(prefix.current().unwrap().unwrap(), current);
    }

    #[test]
    fn dropped_datasets_stay_dropped_until_added() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path());
        for id in 1..=4 {
            put(&prefix, id, PrefixState::Flushed);
        }
        let mut index = load(&prefix).unwrap();
        drop_datasets(&prefix, &mut index, &|summary| summary.dataset.id.0 > 2).unwrap();
        store().remove(&prefix.record("index")).unwrap();
        assert_eq!(ids(&load(&prefix).unwrap()), [1, 2]);
        add(&prefix, "ckpt.3").unwrap();
        assert_eq!(ids(&load(&prefix).unwrap()), [1, 2, 3]);
        add(&prefix, "ckpt.3").unwrap();
        assert_eq!(add(&prefix, "ckpt.9").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
