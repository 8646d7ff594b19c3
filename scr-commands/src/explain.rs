// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr explain`: why the last restart took what it took, and what the prefix holds now.

use crate::files::{absolute, list, list_deep, name_of, read_record};
use crate::output::{print, print_json};
use crate::prefix::Prefix;
use crate::{exit, index, time};
use jiff::tz::TimeZone;
use scr_core::exec::cache::{NODE, prefix_directory};
use scr_core::format::current::{ChosenBy, Current};
use scr_core::format::decision::{CandidateReport, Decision, Location, Verdict};
use scr_core::format::index::Index;
use scr_core::format::lease::{Lease, LeaseState};
use scr_core::format::scr3;
use scr_core::format::state::{PartState, Phase};
use scr_core::{Error, ErrorKind, Result};
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Options of `scr explain`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr explain                      why the last launch in this directory restarted as it did
  scr explain --cache /tmp/node1 --cache /tmp/node2
  scr explain --prefix /p/run1 --json

Exit status: 0 told, 1 no launch has decided anything here yet, 65 a record is damaged.")]
pub(crate) struct Arguments {
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// Also tell what is in this cache directory now; may be repeated
    #[arg(short, long, value_name = "DIR", env = "SCR_CACHE_BASE", default_value = "/dev/shm")]
    cache: Vec<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Tells why. Exit status 1 when no decision was ever made here.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let prefix = Prefix::at(&arguments.prefix);
    let decision: Option<Decision> = read_record(&prefix.record("decision"))?;
    let index = index::load(&prefix)?;
    let left = index::left_by_scr3(&prefix);
    let (current, lease) = (prefix.current()?, prefix.lease()?);
    let cached = cached(&arguments.cache, &prefix)?;
    let identity = current.as_ref().map(|current| current.identity);
    if arguments.json {
        let value = json!({
            "decision": decision,
            "prefix": index::to_json(&index, &left, identity),
            "current": current,
            "lease": lease,
            "caches": cached.iter().map(|part| json!({
                "directory": part.directory,
                "state": part.state.as_ref().ok(),
                "error": part.state.as_ref().err().map(|error| format!("{error:#}")),
            })).collect::<Vec<_>>(),
        });
        print_json(&crate::print::readable(value))?;
    } else {
        let zone = time::local();
        let mut text = match &decision {
            Some(decision) => describe(decision, &zone),
            None => format!(
                "No launch has looked for a restart in {} yet.\n",
                arguments.prefix.display()
            ),
        };
        text.push_str(&describe_caches(&cached));
        text.push_str(&describe_prefix(&index, &left, current.as_ref(), lease.as_ref(), &zone));
        print(&text)?;
    }
    Ok(if decision.is_some() { exit::SUCCESS } else { exit::NO })
}

/// One part of a dataset in a cache directory of this machine.
#[derive(Debug)]
pub(crate) struct CachedPart {
    pub(crate) directory: PathBuf,
    pub(crate) state: Result<PartState>,
}

/// The parts below these cache directories that belong to the prefix, whatever the user and the job.
pub(crate) fn cached(bases: &[PathBuf], prefix: &Prefix) -> Result<Vec<CachedPart>> {
    let ours = prefix_directory(&absolute(prefix.root())?);
    let mut parts = Vec::new();
    for base in bases {
        // A cache that others use too: what cannot be listed is not ours. In one that nodes share each has a directory.
        let is_of_node = |path: &&PathBuf| name_of(path).starts_with(NODE);
        let mut directories = list_deep(base, 3).unwrap_or_default();
        let of_nodes = directories.iter().filter(is_of_node).map(|node| list(node));
        let of_nodes: Vec<_> = of_nodes.flat_map(Result::unwrap_or_default).collect();
        directories.extend(of_nodes);
        for directory in directories {
            if name_of(&directory) != ours {
                continue;
            }
            for part in list(&prefix.in_cache(&directory))? {
                if name_of(&part).starts_with("dataset.") {
                    let missing = || Error::new(ErrorKind::NotFound, "no state: never begun");
                    let state =
                        read_record(&part.join("state")).and_then(|s| s.ok_or_else(missing));
                    parts.push(CachedPart { directory: part, state });
                }
            }
        }
    }
    parts.sort_by_key(|part| {
        let state = part.state.as_ref().ok();
        state.map(|state| {
            (state.dataset.age(), state.place.layout, state.place.set, state.place.member)
        })
    });
    Ok(parts)
}

/// What the caches of this machine hold, a line for each part.
fn describe_caches(parts: &[CachedPart]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let mut text = "In the caches of this machine now:\n".to_string();
    for CachedPart { directory, state } in parts {
        // Writing to a string cannot fail.
        let _ = match state {
            Err(error) => writeln!(text, "  {}: {error:#}", directory.display()),
            Ok(PartState { dataset, place, node, phase, .. }) => {
                let phase = match phase {
                    Phase::Writing => "not committed".to_string(),
                    Phase::Committed => "committed".to_string(),
                    Phase::Condemned { reason } => format!("set aside: {reason}"),
                };
                writeln!(
                    text,
                    "  dataset {} ({}), layout {}, member {} of {} in set {} of {}, {}, written by {node}: {phase}",
                    dataset.id,
                    dataset.name,
                    place.layout,
                    place.member,
                    place.members,
                    place.set,
                    place.sets,
                    place.scheme
                )
            }
        };
    }
    text
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Taken => "taken",
        Verdict::NotNeeded => "not needed",
        Verdict::Rejected => "rejected",
        Verdict::Discarded => "discarded",
    }
}

fn location(candidate: &CandidateReport) -> String {
    match (candidate.location, candidate.layout) {
        (Location::Cache, 0) => "cache".to_string(),
        (Location::Cache, layout) => format!("cache (layout {layout})"),
        (Location::Prefix, _) => "prefix".to_string(),
        (Location::Scr3, _) => "prefix (SCR 3)".to_string(),
    }
}

/// A decision in words and as a table, in the order in which the candidates were considered.
fn describe(decision: &Decision, zone: &TimeZone) -> String {
    let when = time::show(decision.decided_unix_micros / 1_000_000, zone);
    let taken = decision.candidates.iter().find(|candidate| candidate.verdict == Verdict::Taken);
    let result = match taken {
        Some(taken) => format!("restart from {} (dataset {})", taken.name, taken.id),
        None if decision.candidates.is_empty() => {
            "start anew: there was nothing to restart from".to_string()
        }
        None => "no restart: nothing of what was found could be used".to_string(),
    };
    let mut text = format!(
        "Decided {when}, {} ranks on {} nodes: {result}.\n",
        decision.ranks, decision.nodes
    );
    if decision.candidates.is_empty() {
        return text;
    }
    let name_width =
        decision.candidates.iter().map(|c| c.name.as_str().len()).max().unwrap_or(0).max(4);
    let place_width =
        decision.candidates.iter().map(|c| location(c).len()).max().unwrap_or(0).max(5);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "DSET {:name_width$} {:place_width$} VERDICT    WHY", "NAME", "WHERE");
    for candidate in &decision.candidates {
        let _ = writeln!(
            text,
            "{:4} {:name_width$} {:place_width$} {:10} {}",
            candidate.id.0,
            candidate.name.as_str(),
            location(candidate),
            verdict(candidate.verdict),
            candidate.reason
        );
    }
    text
}

/// What the prefix holds, what is chosen, and who may write.
fn describe_prefix(
    index: &Index,
    left: &scr3::Index,
    current: Option<&Current>,
    lease: Option<&Lease>,
    zone: &TimeZone,
) -> String {
    let mut text = String::new();
    if index.entries.is_empty() && left.datasets.is_empty() {
        text.push_str("The prefix holds no dataset.\n");
    } else {
        text.push_str("In the prefix now:\n");
        text.push_str(&index::table(index, left, current.map(|current| current.identity), zone));
    }
    if let Some(current) = current.filter(|current| current.by == ChosenBy::Person) {
        let _ = writeln!(
            text,
            "A person chose {}; that holds until a dataset after {} is committed.",
            current.name, current.newest_known
        );
    }
    if let Some(lease) = lease {
        let state = match lease.state {
            LeaseState::Held => "holds the prefix, or died holding it",
            LeaseState::Finalized => "has finished (SCR_Finalize)",
            LeaseState::Released => "has let the prefix go without SCR_Finalize",
        };
        let _ = writeln!(text, "Job {} (rank 0 on {}) {state}.", lease.job_id, lease.node);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use scr_core::format::dataset::{Place, Scheme};
    use scr_core::format::summary::PrefixState;
    use scr_core::id::{DatasetId, DatasetIdentity, DatasetName, Epoch, NodeName};
    use std::path::Path;

    fn candidate(id: u64, location: Location, verdict: Verdict, reason: &str) -> CandidateReport {
        CandidateReport {
            id: DatasetId(id),
            identity: DatasetIdentity([id as u8; 16]),
            name: DatasetName::new(format!("ckpt.{id}")),
            location,
            layout: u32::from(id == 17),
            verdict,
            reason: reason.into(),
        }
    }

    #[test]
    fn a_decision_is_told_with_its_reasons() {
        let decision = Decision {
            decided_unix_micros: 1_769_853_600_000_000,
            ranks: 4,
            nodes: 2,
            candidates: vec![
                candidate(
                    18,
                    Location::Cache,
                    Verdict::Rejected,
                    "set 0 lost 2 members, tolerance 1",
                ),
                candidate(17, Location::Cache, Verdict::Taken, "newest that is whole"),
                candidate(17, Location::Prefix, Verdict::NotNeeded, "a copy in cache is nearer"),
            ],
        };
        let expected = "\
Decided 2026-01-31T10:00:00, 4 ranks on 2 nodes: restart from ckpt.17 (dataset 17).
DSET NAME    WHERE            VERDICT    WHY
  18 ckpt.18 cache            rejected   set 0 lost 2 members, tolerance 1
  17 ckpt.17 cache (layout 1) taken      newest that is whole
  17 ckpt.17 prefix           not needed a copy in cache is nearer
";
        assert_eq!(describe(&decision, &TimeZone::UTC), expected);
    }

    #[test]
    fn starting_anew_differs_from_finding_nothing_usable() {
        let mut decision = Decision::default();
        assert!(describe(&decision, &TimeZone::UTC).contains("start anew"));
        decision.candidates = vec![candidate(1, Location::Prefix, Verdict::Rejected, "damaged")];
        assert!(describe(&decision, &TimeZone::UTC).contains("nothing of what was found"));
    }

    #[test]
    fn a_persons_choice_is_told() {
        let index = Index { entries: vec![samples::summary(3, PrefixState::Flushed)] };
        let current = Current {
            identity: index.entries[0].dataset.identity,
            name: DatasetName::new("ckpt.3"),
            by: ChosenBy::Person,
            newest_known: DatasetId(3),
        };
        let text =
            describe_prefix(&index, &scr3::Index::default(), Some(&current), None, &TimeZone::UTC);
        assert!(text.contains("  *  ckpt.3") && text.contains("A person chose ckpt.3"), "{text}");
    }

    #[test]
    fn what_scr_3_left_is_told() {
        let prefix = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/scr3/prefix");
        let left = index::left_by_scr3(&Prefix::new(Path::new(prefix), None));
        let text = describe_prefix(&Index::default(), &left, None, None, &TimeZone::UTC);
        assert!(text.contains("In the prefix now:") && text.contains("*  ckpt.6 (w"), "{text}");
        let decision = Decision {
            candidates: vec![candidate(6, Location::Scr3, Verdict::Taken, "newest usable")],
            ..Decision::default()
        };
        let text = describe(&decision, &TimeZone::UTC);
        assert!(text.contains("   6 ckpt.6 prefix (SCR 3) taken"), "{text}");
    }

    #[test]
    fn caches_are_told_for_this_prefix_only() {
        let base = tempfile::tempdir().unwrap();
        let prefix = Path::new("/p/run1");
        let put = |prefix: &Path, id: u64, phase: Phase| {
            let place =
                Place { layout: 0, set: 0, sets: 1, member: 1, members: 4, scheme: Scheme::Xor };
            let node = NodeName::new("n7");
            let (dataset, epoch) = (samples::dataset(id), Epoch(1));
            let state = PartState { dataset, place, node, epoch, phase };
            let job = base.path().join("ann/scr.4711").join(prefix_directory(prefix));
            let part = job.join(format!("dataset.{id}-00000000.0.0.1"));
            crate::files::write_record(&part.join("state"), &state).unwrap();
        };
        put(prefix, 4, Phase::Writing);
        put(prefix, 3, Phase::Committed);
        put(prefix, 2, Phase::Condemned { reason: "the application said so".into() });
        put(Path::new("/p/run2"), 9, Phase::Committed);
        let text = describe_caches(
            &cached(&[base.path().to_path_buf()], &Prefix::new(prefix, None)).unwrap(),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].ends_with("set aside: the application said so"), "{text}");
        assert_eq!(
            lines[2],
            "  dataset 3 (ckpt.3), layout 0, member 1 of 4 in set 0 of 1, XOR, written by n7: committed"
        );
        assert!(lines[3].ends_with("not committed"), "{text}");
    }
}
