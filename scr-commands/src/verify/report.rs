// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `scr verify` found, in words with what to do about it, and as JSON.

use super::{Flushed, Verified, show};
use crate::index;
use crate::output::{count, join};
use scr_core::exec::audit::{Audited, BadPart, Condition, Missing, Seat};
use scr_core::exec::inspect::Inspected;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// All that was found; `bases` are the cache directories of the nodes.
pub(super) fn text(verified: &Verified, bases: &[PathBuf]) -> String {
    let mut text = String::new();
    let prefix = verified.prefix.display();
    // Writing to a string cannot fail.
    if !verified.flushed.is_empty() || !verified.unreadable.is_empty() {
        let _ = writeln!(text, "In the prefix {prefix}:");
    }
    for why in &verified.unreadable {
        let _ = writeln!(text, "  BAD  {why}");
    }
    for one in &verified.flushed {
        flushed(&mut text, one);
    }
    for job in verified.jobs.iter().filter(|job| !job.datasets.is_empty()) {
        let _ = writeln!(text, "In the caches, of job {} (user {}):", job.job, job.user);
        for one in &job.datasets {
            cached(&mut text, one, bases);
        }
    }
    text.push_str(match (verified.is_empty(), verified.is_good()) {
        (true, _) => "There is no dataset to verify.\n",
        (_, true) => "All is good.\n",
        (_, false) => "Something is bad.\n",
    });
    text
}

fn flushed(text: &mut String, Flushed { summary, found }: &Flushed) {
    let dataset = format!("dataset {} ({})", summary.dataset.id, summary.dataset.name);
    let Some(found) = found else {
        let _ = writeln!(text, "  -    {dataset}: {}; not compared", index::describe(summary));
        return;
    };
    let size = format!("{} of {} bytes", count(found.files, "file"), found.bytes);
    if found.is_good() {
        let how = if found.is_verified {
            "as its checksums say"
        } else {
            "unverified: there with their sizes, but no checksums were taken (SCR_CRC_ON_COPY=0)"
        };
        let _ = writeln!(text, "  good {dataset}: {size}, {how}");
        return;
    }
    let _ = writeln!(text, "  BAD  {dataset}: {size}, of which {} bad", found.bad.len());
    for why in &found.records {
        let _ = writeln!(text, "         record: {why}");
    }
    for bad in &found.bad {
        let _ = writeln!(
            text,
            "         rank {}: {} {}",
            bad.rank,
            bad.name.as_path().display(),
            bad.why
        );
    }
    let _ = writeln!(
        text,
        "         nothing here can restore it, and a restart passes it over; bring these files back from a copy, or forget it: scr index --drop {}",
        summary.dataset.name
    );
}

fn cached(text: &mut String, one: &Audited, bases: &[PathBuf]) {
    let mark = match (&one.condition, one.is_good()) {
        (Condition::Uncommitted | Condition::SetAside { .. }, _) => "-   ",
        (_, true) => "good",
        (_, false) => "BAD ",
    };
    let condition = match &one.condition {
        Condition::Whole if one.is_verified => "whole".to_string(),
        Condition::Whole => {
            "whole, but unverified: no checksums were taken (SCR_CRC_ON_COPY=0)".to_string()
        }
        Condition::Rebuildable { missing } => {
            let missing: Vec<String> = missing.iter().map(lost_part).collect();
            format!("can be rebuilt: {} lost", join(&missing))
        }
        Condition::Lost { why } => format!("lost: {why}"),
        Condition::Uncommitted => "never committed; the next launch removes it".to_string(),
        Condition::SetAside { reason } => format!("set aside: {reason}"),
    };
    let _ = writeln!(
        text,
        "  {mark} dataset {} ({}), layout {}, {}: {condition}",
        one.dataset.id, one.dataset.name, one.layout, one.scheme
    );
    for (seat, bad) in &one.bad {
        let _ = writeln!(text, "         {}", bad_part(*seat, bad, bases));
    }
    let advice = match (&one.repaired, &one.condition) {
        (Some(Ok(())), _) => format!("made good from {}", one.scheme),
        (Some(Err(why)), _) => {
            format!("cannot be made good: {why}; a restart takes the next dataset that is whole")
        }
        (None, Condition::Lost { .. }) => {
            "if other nodes hold parts of it, name their cache directories too (--cache)"
                .to_string()
        }
        (None, _) if !one.is_good() => {
            format!("scr verify --repair restores it as far as {} can", one.scheme)
        }
        _ => return,
    };
    let _ = writeln!(text, "         {advice}");
}

fn lost_part(Missing { set, member, ranks }: &Missing) -> String {
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("member {member} of set {set} ({noun} {})", join(ranks))
}

fn bad_part((node, set, member): Seat, bad: &BadPart, bases: &[PathBuf]) -> String {
    let node = bases.get(node as usize).map(|base| show(base)).unwrap_or_default();
    let mut what = Vec::new();
    for (number, noun) in [
        (bad.data_blocks, "bad block of data"),
        (bad.parity_blocks, "bad block of parity"),
        (bad.copies, "bad copy of a node record"),
    ] {
        match number {
            0 => {}
            1 => what.push(format!("1 {noun}")),
            // The noun comes first in each.
            _ => what.push(format!(
                "{number} {}",
                noun.replace("block", "blocks").replace("copy", "copies")
            )),
        }
    }
    if !bad.files.is_empty() {
        let names: Vec<String> =
            bad.files.iter().map(|name| name.as_path().display().to_string()).collect();
        what.push(format!("missing or of another size: {}", join(&names)));
    }
    format!("{node} (member {member} of set {set}): {}", what.join(", "))
}

/// The same for programs.
pub(super) fn json(verified: &Verified, bases: &[PathBuf]) -> Value {
    json!({
        "good": verified.is_good(),
        "prefix": show(&verified.prefix),
        "unreadable": verified.unreadable,
        "flushed": verified.flushed.iter().map(flushed_json).collect::<Vec<_>>(),
        "caches": verified.jobs.iter().map(|job| json!({
            "user": job.user,
            "job": job.job,
            "datasets": job.datasets.iter().map(|one| cached_json(one, bases)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn flushed_json(Flushed { summary, found }: &Flushed) -> Value {
    json!({
        "id": summary.dataset.id,
        "name": summary.dataset.name,
        "state": index::describe(summary),
        "good": found.as_ref().map(Inspected::is_good),
        "verified": found.as_ref().map(|found| found.is_verified),
        "files": summary.files,
        "bytes": summary.bytes,
        "records": found.as_ref().map(|found| &found.records),
        "bad": found.iter().flat_map(|found| &found.bad).map(|bad| json!({
            "rank": bad.rank,
            "file": show(bad.name.as_path()),
            "why": bad.why,
        })).collect::<Vec<_>>(),
    })
}

fn cached_json(one: &Audited, bases: &[PathBuf]) -> Value {
    json!({
        "id": one.dataset.id,
        "name": one.dataset.name,
        "layout": one.layout,
        "scheme": one.scheme.to_string(),
        "good": one.is_good(),
        "verified": one.is_verified,
        "condition": one.condition,
        "bad": one.bad.iter().map(|((node, set, member), bad)| json!({
            "cache": bases.get(*node as usize).map(|base| show(base)),
            "set": set,
            "member": member,
            "data_blocks": bad.data_blocks,
            "parity_blocks": bad.parity_blocks,
            "record_copies": bad.copies,
            "files": bad.files.iter().map(|name| show(name.as_path())).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "repaired": one.repaired.as_ref().map(std::result::Result::is_ok),
        "why_not_repaired": one.repaired.as_ref().and_then(|repaired| repaired.as_ref().err()),
    })
}
