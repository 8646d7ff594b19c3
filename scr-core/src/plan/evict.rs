// SPDX-License-Identifier: MIT OR Apache-2.0
//! What may leave the cache, and in which order.
//!
//! A committed checkpoint goes only when a newer committed one survives at least the same losses, when it is in the
//! prefix, or when space forces it. Outputs go only when they are in the prefix, whatever forces. What is being written
//! and the restart point in use never go, and what is on its way to the prefix not before that has ended. So the limit on the number of datasets is not absolute: a cache that may keep
//! one keeps two while only the older survives the loss of a node.
//!
//! The plan depends on numbers that are equal on all nodes, so all compute the same; how far down the list a node must
//! go for its room is [`room`](super::room)'s answer.

use crate::id::DatasetId;
use crate::sabotage::{self, Fault};

/// How far a dataset in the cache has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Being written or protected.
    Unfinished,
    /// Committed on all nodes.
    Committed,
    /// Committed, but not to be had from the nodes present; others may come back.
    Unusable,
    /// Not to be used.
    Condemned,
}

/// A dataset in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its number: higher is newer.
    pub id: DatasetId,
    /// The store that holds it.
    pub store: usize,
    /// Whether one can restart from it.
    pub is_checkpoint: bool,
    /// Whether it must reach the prefix.
    pub is_output: bool,
    /// Lost nodes per set that it survives; the least over its sets.
    pub tolerance: u32,
    /// How far it has come.
    pub standing: Standing,
    /// Whether it is complete in the prefix.
    pub is_flushed: bool,
    /// Whether the application is about to read, or reads, from it.
    pub is_in_use: bool,
    /// Whether its files are being copied to the prefix.
    pub is_flushing: bool,
}

/// At what price a dataset can go. The order is the order of going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Price {
    /// Nothing is lost.
    Free,
    /// Nothing is lost, but the next restart may have to fetch.
    Fetch,
    /// Its flush, which is under way, must end first; at what price it can go then is to be asked anew.
    Wait,
    /// It must be flushed first; if that fails it stays, or goes aloud where space forces it.
    FlushFirst,
    /// A checkpoint is given up: only because space forces it, and said as a warning.
    Aloud,
}

/// A dataset that can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub id: DatasetId,
    /// Its position in the list that was asked about: two copies of a dataset share their number.
    pub position: usize,
    /// At what price.
    pub price: Price,
    /// Why it can go, in words.
    pub reason: String,
}

/// Returns what goes to keep at most `limit` datasets in a store, in this order; call it after a commit, never before.
pub fn over_limit(cached: &[Cached], store: usize, limit: usize) -> Vec<Step> {
    let excess = cached.iter().filter(|c| c.store == store).count().saturating_sub(limit);
    let mut steps = when_forced(cached, store, true);
    steps.retain(|step| match step.price {
        Price::Free | Price::Fetch | Price::Wait => true,
        // An output must be flushed anyway; a checkpoint is not flushed for a count's sake.
        Price::FlushFirst => cached[step.position].is_output,
        Price::Aloud => false,
    });
    steps.truncate(excess);
    steps
}

/// Returns everything that can go when there is no room in a store, in the order of going; what is not listed must stay.
///
/// `may_flush` tells whether datasets can be flushed now.
pub fn when_forced(cached: &[Cached], store: usize, may_flush: bool) -> Vec<Step> {
    let here = (0..cached.len()).filter(|&position| cached[position].store == store);
    let mut steps: Vec<Step> =
        here.filter_map(|position| step(position, cached, may_flush)).collect();
    steps.sort_by_key(|step| (step.price, step.id));
    steps
}

fn step(position: usize, cached: &[Cached], may_flush: bool) -> Option<Step> {
    let dataset = &cached[position];
    if dataset.is_in_use || dataset.standing == Standing::Unfinished {
        return None;
    }
    let to = |price, reason: String| Some(Step { id: dataset.id, position, price, reason });
    let flush_first = || to(Price::FlushFirst, "goes once it is in the prefix".into());
    if dataset.is_flushing && !sabotage::active(Fault::EvictDuringFlush) {
        return to(Price::Wait, "goes once its flush has ended".into());
    }
    if dataset.standing == Standing::Condemned {
        return to(Price::Free, "is not to be used".into());
    }
    let may_flush = may_flush && dataset.standing == Standing::Committed;
    if dataset.is_output && !dataset.is_flushed {
        return if may_flush { flush_first() } else { None };
    }
    if !dataset.is_checkpoint {
        return if dataset.is_flushed {
            to(Price::Free, "is in the prefix".into())
        } else {
            to(Price::Free, "is neither checkpoint nor output".into())
        };
    }
    if let Some(newer) = cached.iter().find(|newer| dominates(newer, dataset)) {
        let reason = if newer.is_flushed {
            format!("checkpoint {} is newer and in the prefix", newer.id)
        } else {
            format!("checkpoint {} is newer and survives as much", newer.id)
        };
        return to(Price::Free, reason);
    }
    if dataset.is_flushed {
        return to(Price::Fetch, "is in the prefix".into());
    }
    if may_flush {
        return flush_first();
    }
    to(
        Price::Aloud,
        "no newer checkpoint survives as much, but there is no room and it cannot be flushed"
            .into(),
    )
}

/// Whether `newer` makes `older` needless: a newer committed checkpoint that survives at least the same losses.
fn dominates(newer: &Cached, older: &Cached) -> bool {
    newer.id > older.id
        && newer.is_checkpoint
        && newer.standing == Standing::Committed
        && (newer.is_flushed
            || newer.tolerance >= older.tolerance
            || sabotage::active(Fault::EvictStronger))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` XOR checkpoint, `s` SINGLE checkpoint, `o` output, `b` checkpoint and output (XOR), `n` neither; with
    /// `f` flushed, `w` being written, `c` condemned, `l` lost here, `u` in use, `>` on its way to the prefix, `2` in another
    /// store.
    fn cache(words: &str) -> Vec<Cached> {
        words
            .split_whitespace()
            .map(|word| {
                let (id, marks) = word.split_at(word.find(char::is_alphabetic).unwrap());
                let is = |any: &str| marks.contains(|mark| any.contains(mark));
                Cached {
                    id: DatasetId(id.parse().unwrap()),
                    store: usize::from(is("2")),
                    is_checkpoint: is("xsb"),
                    is_output: is("ob"),
                    tolerance: u32::from(is("xb")),
                    standing: match (is("w"), is("c"), is("l")) {
                        (true, ..) => Standing::Unfinished,
                        (_, true, _) => Standing::Condemned,
                        (.., true) => Standing::Unusable,
                        _ => Standing::Committed,
                    },
                    is_flushed: is("f"),
                    is_in_use: is("u"),
                    is_flushing: is(">"),
                }
            })
            .collect()
    }

    fn show(steps: &[Step]) -> String {
        let price = |step: &Step| match step.price {
            Price::Free => "",
            Price::Fetch => "~",
            Price::Wait => ">",
            Price::FlushFirst => "+",
            Price::Aloud => "!",
        };
        steps.iter().map(|s| format!("{}{}", s.id, price(s))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_limit_evicts_only_what_is_dominated_or_in_the_prefix() {
        let cases = [
            ("below the limit", "1x 2x", 2, ""),
            ("the oldest goes", "1x 2x 3x", 2, "1"),
            ("all but the newest", "1x 2x 3x", 1, "1 2"),
            ("never the newest", "1x 2x", 0, "1"),
            ("a weaker one does not replace a stronger", "5x 6s", 1, ""),
            ("the weaker goes instead", "5x 6s 7s", 2, "6"),
            ("and the limit gives way", "5x 6s 7s", 1, "6"),
            ("a stronger one replaces all", "5x 6s 7x", 1, "5 6"),
            ("a flushed one replaces a stronger", "5x 6sf", 1, "5"),
            ("a flushed one goes at the price of a fetch", "5xf 6s", 1, "5~"),
            ("or free where a newer one survives as much", "5xf 6x", 1, "5"),
            ("outputs wait for the prefix", "1o 2x", 1, "1+"),
            ("flushed outputs go before checkpoints", "1xf 2of", 1, "2"),
            ("an output that is a checkpoint too", "1b 2x", 1, "1+"),
            ("and flushed", "1bf 2x", 1, "1"),
            ("condemned first", "1x 2x 3xc", 2, "1"),
            ("condemned does not dominate", "1x 2xc", 1, "2"),
            ("unfinished does not dominate", "1x 2xw", 1, ""),
            ("nor does one that other nodes may complete, and it stays", "1x 2xl", 1, ""),
            ("until a newer one survives as much", "2xl 3s 4x", 1, "2 3"),
            ("nor does an output", "1x 2o", 1, "2+"),
            ("the restart point in use stays", "1xu 2x 3x", 1, "2"),
            ("neither checkpoint nor output", "1x 2n", 1, "2"),
            ("what is on its way to the prefix waits for that", "1x> 2x 3x>", 1, "2 1>"),
            ("whatever it is", "1o> 2xc> 3x", 1, "1> 2>"),
            ("and may be spared by it", "1x> 2x 3x", 2, "2"),
            ("other stores count for themselves", "1x 2x2 3x2 4x2", 1, ""),
            ("but what they hold dominates", "1x 2x 3x2", 1, "1"),
        ];
        for (what, words, limit, expected) in cases {
            assert_eq!(show(&over_limit(&cache(words), 0, limit)), expected, "{what}: {words}");
        }
    }

    #[test]
    fn force_goes_from_the_cheap_to_the_dear_and_spares_what_is_owed() {
        let cases = [
            ("1x", true, "1+"),
            ("1x", false, "1!"),
            ("1x 2x 3x", false, "1 2 3!"),
            ("1o 2x 3xc 4s 5xf", false, "2 3 4 5~"),
            ("1o 2x 3xc 4s", true, "3 1+ 2+ 4+"),
            ("1o 2x 3xc 4s", false, "3 2! 4!"),
            ("1xl 2s 3olf 4ol", true, "3 2+ 1!"),
            ("1b 2xw 3xu", false, ""),
            ("1x 2x> 3x 4xf", true, "1 3 4~ 2>"),
            ("1x>", false, "1>"),
            ("", false, ""),
        ];
        for (words, may_flush, expected) in cases {
            assert_eq!(
                show(&when_forced(&cache(words), 0, may_flush)),
                expected,
                "{words} {may_flush}"
            );
        }
    }

    /// The promise itself, over every cache of up to four datasets of these kinds.
    #[test]
    fn no_limit_ever_weakens_what_a_restart_can_survive() {
        let kinds = ["x", "s", "xf", "sf", "o", "of", "b", "bf", "xc", "xl", "xw", "xu", "x>"];
        let best = |cached: &[Cached], lost: u32| {
            let usable =
                cached.iter().filter(|d| d.is_checkpoint && d.standing == Standing::Committed);
            usable.filter(|d| d.is_flushed || d.tolerance >= lost).map(|d| d.id).max()
        };
        for code in 0..kinds.len().pow(4) {
            let picks = (0..4).map(|i| kinds[code / kinds.len().pow(i) % kinds.len()]);
            let words: Vec<String> =
                picks.enumerate().map(|(i, kind)| format!("{}{kind}", i + 1)).collect();
            let cached = cache(&words.join(" "));
            for limit in 0..4 {
                let steps = over_limit(&cached, 0, limit);
                // What is flushed stays restartable from the prefix, so only what is not there can be lost.
                let left: Vec<Cached> = cached
                    .iter()
                    .filter(|d| {
                        d.is_flushed || !steps.iter().any(|s| s.id == d.id && s.price < Price::Wait)
                    })
                    .copied()
                    .collect();
                for lost in 0..2 {
                    assert_eq!(
                        best(&left, lost),
                        best(&cached, lost),
                        "{words:?} limit {limit} lost {lost}"
                    );
                }
                assert!(
                    left.iter()
                        .filter(|d| d.is_output && d.standing == Standing::Committed)
                        .count()
                        == cached
                            .iter()
                            .filter(|d| d.is_output && d.standing == Standing::Committed)
                            .count()
                );
            }
        }
    }
}
