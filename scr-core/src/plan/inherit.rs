// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of the checkpoints that SCR 3 left a restart may try.
//!
//! As in SCR's own loop (`scr_fetch.c`): the one that it calls current and older ones; complete ones only, and none that has
//! failed before. A newer one than the current is left alone, because a person may have gone back on purpose. One that a
//! person chose here is tried whatever SCR says of it, as long as it is complete.
//!
//! They are older than all of ours, so [`restart_order`](super::order::restart_order) puts them last, newest first.

use super::order::Candidate;
use crate::format::current::{ChosenBy, Current};
use crate::format::decision::Location;
use crate::format::scr3::{Dataset, Index};

/// The candidates among SCR 3's checkpoints, and the other checkpoints with the reason.
pub fn candidates<'a>(
    index: &'a Index,
    current: Option<&Current>,
) -> (Vec<Candidate>, Vec<(&'a Dataset, String)>) {
    let newest = index.current.as_deref().and_then(|name| index.named(name));
    let chosen = current.filter(|current| current.by == ChosenBy::Person);
    let (mut candidates, mut others) = (Vec::new(), Vec::new());
    for dataset in index.datasets.iter().filter(|dataset| dataset.is_checkpoint) {
        let is_chosen = chosen.is_some_and(|chosen| chosen.identity == dataset.identity());
        let why_not = match (&dataset.failed, newest) {
            _ if !dataset.is_complete => Some("its flush did not end".to_string()),
            _ if is_chosen => None,
            (Some(when), _) => Some(format!("marked as failed by SCR 3 {when}")),
            (None, Some(newest)) if dataset.id > newest.id => {
                Some(format!("newer than {}, which SCR 3 calls current", newest.name))
            }
            _ => None,
        };
        match why_not {
            Some(why) => others.push((dataset, why)),
            None => candidates.push(Candidate {
                header: dataset.header(),
                location: Location::Scr3,
                layout: 0,
                // What SCR 3 wrote ends no choice of a person.
                is_committed: false,
            }),
        }
    }
    (candidates, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{kvtree, scr3};
    use crate::id::DatasetId;

    fn index(current: Option<&str>) -> Index {
        let index = scr3::index(&kvtree::encode(&scr3::samples::index(2))).unwrap();
        Index { current: current.map(str::to_string), ..index }
    }

    fn ids(index: &Index, current: Option<&Current>) -> (Vec<u64>, Vec<u64>) {
        let (candidates, others) = candidates(index, current);
        let others = others.iter().map(|(dataset, _)| dataset.id.0).collect();
        (candidates.iter().map(|candidate| candidate.header.id.0).collect(), others)
    }

    #[test]
    fn what_is_current_and_older_is_tried_if_it_is_complete_and_has_not_failed() {
        for (current, tried, not) in [
            (Some("ckpt.6"), vec![2, 6], vec![4, 8]),
            (Some("ckpt.2"), vec![2], vec![4, 6, 8]),
            (Some("ckpt.4"), vec![2], vec![4, 6, 8]),
            (Some("gone"), vec![2, 6], vec![4, 8]),
            (None, vec![2, 6], vec![4, 8]),
        ] {
            assert_eq!(ids(&index(current), None), (tried, not), "{current:?}");
        }
    }

    #[test]
    fn a_person_may_choose_what_scr_passes_over_but_not_what_is_not_there() {
        let index = index(Some("ckpt.2"));
        let choose = |name: &str, by| {
            let dataset = index.named(name).unwrap();
            let newest_known = DatasetId(8);
            let name = dataset.name.clone();
            Current { identity: dataset.identity(), name, by, newest_known }
        };
        for (name, tried) in [("ckpt.4", vec![2, 4]), ("ckpt.6", vec![2, 6]), ("ckpt.8", vec![2])] {
            assert_eq!(ids(&index, Some(&choose(name, ChosenBy::Person))).0, tried, "{name}");
            assert_eq!(ids(&index, Some(&choose(name, ChosenBy::Job))).0, [2], "{name}");
        }
    }
}
