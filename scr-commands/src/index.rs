// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr index`: the datasets in a prefix.
//!
//! The truth is each dataset's own summary; the index is a cache of them, made anew with a message when it is missing,
//! torn or old. A dataset is dropped by giving its summary another name, which `--add` takes back: nothing is deleted.
//!
//! What SCR 3 left is listed with ours, and can be chosen to restart from; nothing else can be done with it.

use crate::files::{read_record, store, write_record};
use crate::output::{note, print, print_json};
use crate::prefix::Prefix;
use crate::{exit, time};
use jiff::tz::TimeZone;
use scr_core::format::current::{ChosenBy, Current};
use scr_core::format::index::Index;
use scr_core::format::scr3::{self, Dataset, is_of_scr3};
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
  scr index --drop-after ckpt.12   forget what came after it (files stay; --add takes it back)

Exit status: 0 done, 2 wrong usage, 65 no such dataset, 69 it cannot be chosen or changed.")]
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
    #[arg(long, alias = "remove", value_name = "NAME")]
    drop: Option<String>,
    /// Forget all datasets after this one; their files stay
    #[arg(long, value_name = "NAME")]
    drop_after: Option<String>,
    /// Take back a dataset that was dropped
    #[arg(short, long, value_name = "NAME")]
    add: Option<String>,
    /// SCR's way to take a dataset in by its number, after a scavenge; here that is done by then
    #[arg(short, long, value_name = "ID", hide = true)]
    build: Option<u64>,
}

/// Lists, or changes, what is in a prefix.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let prefix = Prefix::at(&arguments.prefix);
    let mut has_changed = false;
    if let Some(name) = &arguments.add {
        add(&prefix, name)?;
        has_changed = true;
    }
    if let Some(id) = arguments.build {
        build(&prefix, DatasetId(id))?;
        has_changed = true;
    }
    let mut index = load(&prefix)?;
    let left = left_by_scr3(&prefix);
    if let Some(name) = &arguments.current {
        set_current(&prefix, &index, &left, name)?;
        has_changed = true;
    }
    if let Some(name) = &arguments.drop_after {
        let after = find(&index, &left, name)?.dataset.id;
        drop_datasets(&prefix, &mut index, &|summary| summary.dataset.id > after)?;
        has_changed = true;
    }
    if let Some(name) = &arguments.drop {
        let identity = find(&index, &left, name)?.dataset.identity;
        drop_datasets(&prefix, &mut index, &|summary| summary.dataset.identity == identity)?;
        has_changed = true;
    }
    if arguments.list || arguments.json || !has_changed {
        let current = prefix.current()?.map(|current| current.identity);
        if arguments.json {
            print_json(&to_json(&index, &left, current))?;
        } else {
            print(&table(&index, &left, current, &time::local()))?;
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

/// What SCR 3 left in the prefix; that it cannot be read is told.
pub(crate) fn left_by_scr3(prefix: &Prefix) -> scr3::Index {
    let left = prefix.scr3();
    if let Some(why) = left.unreadable {
        note(&why);
    }
    left.index
}

/// The newest dataset of ours with this name.
fn find<'a>(index: &'a Index, left: &scr3::Index, name: &str) -> Result<&'a Summary> {
    let found = index.entries.iter().rev().find(|summary| summary.dataset.name.as_str() == name);
    found.ok_or_else(|| match left.named(name) {
        Some(_) => {
            let message = format!("{name} was written by SCR 3, and what SCR 3 left is only read");
            Error::new(ErrorKind::Refused, message)
        }
        None => Error::new(
            ErrorKind::NotFound,
            format!("there is no dataset {name:?}; scr index lists them"),
        ),
    })
}

fn set_current(prefix: &Prefix, index: &Index, left: &scr3::Index, name: &str) -> Result<()> {
    let (dataset, is_there, what) = match (find(index, left, name), left.named(name)) {
        (Ok(ours), _) => (ours.dataset.clone(), ours.state == PrefixState::Flushed, describe(ours)),
        (Err(_), Some(theirs)) => (theirs.header(), theirs.is_complete, describe_scr3(theirs)),
        (Err(error), None) => return Err(error),
    };
    if !dataset.is_checkpoint || !is_there {
        let message = format!("{name} is {what}; one cannot restart from it");
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let newest_known = index.entries.iter().map(|summary| summary.dataset.id).max();
    let current = Current {
        identity: dataset.identity,
        name: dataset.name,
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
    let is_meant = |summary: &Summary| summary.dataset.name.as_str() == name;
    if take_back(prefix, &is_meant)?.is_some() {
        return Ok(());
    }
    let message =
        format!("no dataset {name:?} was flushed to {} or dropped", prefix.root().display());
    Err(Error::new(ErrorKind::NotFound, message))
}

/// A scavenge writes the summary last: what has one that is not whole will never be.
fn build(prefix: &Prefix, id: DatasetId) -> Result<()> {
    let (kind, why) = match take_back(prefix, &|summary| summary.dataset.id == id)? {
        Some(summary) if summary.state == PrefixState::Flushed => return Ok(()),
        Some(summary) => (ErrorKind::Refused, format!("dataset {id}: {}", describe(&summary))),
        None => {
            let why = format!("there is no dataset {id} in {}", prefix.root().display());
            (ErrorKind::NotFound, why)
        }
    };
    Err(Error::new(kind, format!("{why}; scr scavenge saves what is only in caches")))
}

/// Finds the newest dataset that is meant, and shows its summary again if it was dropped.
fn take_back(prefix: &Prefix, is_meant: &dyn Fn(&Summary) -> bool) -> Result<Option<Summary>> {
    for entry in prefix.entries()?.into_iter().rev() {
        let hidden = entry.path.join(DROPPED);
        if let Some(summary) = read_record::<Summary>(&hidden)?
            && is_meant(&summary)
        {
            store().rename(&hidden, &entry.path.join("summary"))?;
            store().sync_dir(&entry.path)?;
            write_record(&prefix.record("index"), &from_summaries(prefix)?.0)?;
            return Ok(Some(summary));
        }
        if let Ok(Some(summary)) = entry.summary
            && is_meant(&summary)
        {
            return Ok(Some(summary));
        }
    }
    Ok(None)
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

/// How a dataset of SCR 3 stands, in words.
fn describe_scr3(dataset: &Dataset) -> String {
    let state = match &dataset.failed {
        _ if !dataset.is_complete => "not complete".to_string(),
        Some(when) => format!("marked as failed {when}"),
        None => "complete".to_string(),
    };
    let what = if dataset.is_checkpoint { "checkpoint" } else { "output" };
    format!("{what}, {state}, written by SCR 3")
}

/// The datasets of SCR 3 of which no record of ours says something else.
fn only_of_scr3<'a>(index: &Index, left: &'a scr3::Index) -> Vec<&'a Dataset> {
    let is_ours = |one: &Dataset| {
        index.entries.iter().any(|summary| summary.dataset.identity == one.identity())
    };
    left.datasets.iter().filter(|one| !is_ours(one)).collect()
}

/// Whether a dataset of SCR 3 is the current one: as long as nothing else was chosen, the one that SCR 3 calls so.
fn is_current(one: &Dataset, left: &scr3::Index, current: Option<DatasetIdentity>) -> bool {
    let of_scr3 = || left.current.as_deref().and_then(|name| left.named(name));
    current.or_else(|| of_scr3().map(Dataset::identity)) == Some(one.identity())
}

/// SCR's list, newest first.
pub(crate) fn table(
    index: &Index,
    left: &scr3::Index,
    current: Option<DatasetIdentity>,
    zone: &TimeZone,
) -> String {
    let mut rows = Vec::new();
    for summary in &index.entries {
        let (id, identity) = (summary.dataset.id, summary.dataset.identity);
        let is_flushed = summary.state == PrefixState::Flushed;
        let changed = || time::show(summary.changed_unix_micros / 1_000_000, zone);
        let flushed = if is_flushed { changed() } else { String::new() };
        let (name, is_current) = (summary.dataset.name.clone(), current == Some(identity));
        rows.push((id, is_of_scr3(identity), is_flushed, flushed, is_current, name));
    }
    for one in only_of_scr3(index, left) {
        let is_valid = one.is_complete && one.failed.is_none();
        let flushed = one.flushed.clone().unwrap_or_default();
        let is_current = is_current(one, left, current);
        rows.push((one.id, true, is_valid, flushed, is_current, one.name.clone()));
    }
    rows.sort_by_key(|&(id, is_of_scr3, ..)| std::cmp::Reverse((id, !is_of_scr3)));
    let mut text = "DSET VALID FLUSHED             CUR NAME\n".to_string();
    for (id, is_of_scr3, is_valid, flushed, is_current, name) in rows {
        let valid = if is_valid { "YES" } else { "NO" };
        let mark = if is_current { "*" } else { "" };
        let by = if is_of_scr3 { " (written by SCR 3)" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:4} {valid:5} {flushed:19}  {mark:1}  {name}{by}", id.0);
    }
    text
}

/// The list for scripts, oldest first.
pub(crate) fn to_json(
    index: &Index,
    left: &scr3::Index,
    current: Option<DatasetIdentity>,
) -> Value {
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
            "written_by": if is_of_scr3(dataset.identity) { "SCR 3" } else { "scr" },
        })
    };
    let mut datasets: Vec<Value> = index.entries.iter().map(entry).collect();
    datasets.extend(only_of_scr3(index, left).into_iter().map(|one| {
        json!({
            "id": one.id.0,
            "name": one.name.as_str(),
            "identity": one.identity().to_string(),
            "valid": one.is_complete && one.failed.is_none(),
            "state": describe_scr3(one),
            "flushed": one.flushed,
            "current": is_current(one, left, current),
            "checkpoint": one.is_checkpoint,
            "output": one.is_output,
            "files": one.files,
            "bytes": one.bytes,
            "directory": format!("scr.dataset.{}", one.id),
            "written_by": "SCR 3",
        })
    }));
    datasets.sort_by_key(|dataset| dataset["id"].as_u64());
    json!({ "datasets": datasets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use std::path::Path;

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
        let none = scr3::Index::default();
        assert_eq!(table(&Index { entries }, &none, current, &TimeZone::UTC), expected);
    }

    /// The prefix of `tests/data/scr3`.
    fn scr3_prefix() -> Prefix {
        Prefix::new(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/scr3/prefix")),
            None,
        )
    }

    #[test]
    fn what_scr_3_left_is_listed_with_ours_and_marked() {
        let left = left_by_scr3(&scr3_prefix());
        let expected = "\
DSET VALID FLUSHED             CUR NAME
   8 NO                            ckpt.8 (written by SCR 3)
   6 YES   2024-01-31T10:00:06  *  ckpt.6 (written by SCR 3)
   5 YES   2024-01-31T10:00:05     ckpt.5 (written by SCR 3)
   4 NO    2024-01-31T10:00:04     ckpt.4 (written by SCR 3)
   2 YES   2024-01-31T10:00:02     ckpt.2 (written by SCR 3)
";
        assert_eq!(table(&Index::default(), &left, None, &TimeZone::UTC), expected);

        let mut aside = samples::summary(6, PrefixState::Failed { reason: "bad".into() });
        aside.dataset = left.named("ckpt.6").unwrap().header();
        let entries = vec![aside, samples::summary(12, PrefixState::Flushed)];
        let current = Some(entries[1].dataset.identity);
        let index = Index { entries };
        let text = table(&index, &left, current, &TimeZone::UTC);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  12 YES   2026-01-31T10:00:00  *  ckpt.12");
        assert_eq!(lines[3], "   6 NO                            ckpt.6 (written by SCR 3)");
        assert_eq!(lines.len(), 7, "{text}");

        let json = to_json(&index, &left, None);
        let written = |one: &Value| {
            let valid = one["valid"].as_bool().unwrap();
            (one["id"].as_u64().unwrap(), one["written_by"].as_str().unwrap().to_string(), valid)
        };
        let datasets: Vec<_> = json["datasets"].as_array().unwrap().iter().map(written).collect();
        let expected = [(2, true), (4, false), (5, true), (6, false), (8, false)];
        let mut expected = expected.map(|(id, valid)| (id, "SCR 3".to_string(), valid)).to_vec();
        expected.push((12, "scr".to_string(), true));
        assert_eq!(datasets, expected);
    }

    #[test]
    fn what_scr_3_left_can_be_chosen_and_not_dropped() {
        let left = left_by_scr3(&scr3_prefix());
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path(), None);
        let index = Index::default();
        set_current(&prefix, &index, &left, "ckpt.4").unwrap();
        let identity = left.named("ckpt.4").unwrap().identity();
        assert_eq!(prefix.current().unwrap().unwrap().identity, identity);
        assert!(table(&index, &left, Some(identity), &TimeZone::UTC).contains("*  ckpt.4"));
        for (name, kind) in [
            ("ckpt.5", ErrorKind::Refused),
            ("ckpt.8", ErrorKind::Refused),
            ("ckpt.9", ErrorKind::NotFound),
        ] {
            let error = set_current(&prefix, &index, &left, name).unwrap_err();
            assert_eq!(error.kind(), kind, "{name}");
        }
        assert_eq!(find(&index, &left, "ckpt.6").unwrap_err().kind(), ErrorKind::Refused);
    }

    #[test]
    fn the_index_is_made_anew_when_missing_torn_or_old() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path(), None);
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
        let prefix = Prefix::new(base.path(), None);
        put(&prefix, 1, PrefixState::Flushed);
        put(&prefix, 2, PrefixState::Flushed);
        store().append(&prefix.record("dataset.2/summary"), b"x").unwrap();
        assert_eq!(ids(&load(&prefix).unwrap()), [1]);
    }

    #[test]
    fn a_persons_choice_is_kept_and_only_good_checkpoints_are_chosen() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path(), None);
        put(&prefix, 1, PrefixState::Flushed);
        put(&prefix, 2, PrefixState::Flushing { epoch: scr_core::id::Epoch(1) });
        let index = load(&prefix).unwrap();
        set_current(&prefix, &index, &scr3::Index::default(), "ckpt.1").unwrap();
        let current = prefix.current().unwrap().unwrap();
        assert_eq!((current.by, current.newest_known), (ChosenBy::Person, DatasetId(2)));
        assert_eq!(
            set_current(&prefix, &index, &scr3::Index::default(), "ckpt.2").unwrap_err().kind(),
            ErrorKind::Refused
        );
        assert_eq!(
            set_current(&prefix, &index, &scr3::Index::default(), "none").unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(prefix.current().unwrap().unwrap(), current);
    }

    #[test]
    fn dropped_datasets_stay_dropped_until_added() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(base.path(), None);
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
        build(&prefix, DatasetId(4)).unwrap();
        assert_eq!(ids(&load(&prefix).unwrap()), [1, 2, 3, 4]);
        put(&prefix, 5, PrefixState::Failed { reason: "bad".into() });
        assert_eq!(build(&prefix, DatasetId(5)).unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(build(&prefix, DatasetId(6)).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
