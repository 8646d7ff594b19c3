// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one source says: keys, each with its values, each with the keys that stood on the same line.

use super::expand::Word;
use super::{Source, table};
use std::collections::BTreeMap;

/// One value of a key, and what stood on its line: `STORE=/ssd COUNT=2`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Word,
    pub(super) children: BTreeMap<String, Word>,
    pub(super) source: Source,
}

/// Everything that one source says.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    keys: BTreeMap<String, Vec<Entry>>,
}

impl Layer {
    /// The values of `key`, in the order in which they came; empty where it says nothing.
    pub(super) fn get(&self, key: &str) -> &[Entry] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// All keys with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Entry])> {
        self.keys.iter().map(|(key, entries)| (key.as_str(), entries.as_slice()))
    }

    /// Adds a value; what is said twice of one value is joined, and the later word counts.
    pub(super) fn add(&mut self, key: String, entry: Entry) {
        let entries = self.keys.entry(key).or_default();
        let merged = match entries.iter().position(|old| old.value == entry.value) {
            Some(place) => {
                let mut old = entries.remove(place);
                old.children.extend(entry.children);
                Entry { source: entry.source, ..old }
            }
            None => entry,
        };
        entries.push(merged);
    }

    /// Makes `entry` the only value of `key`.
    pub(super) fn replace(&mut self, key: String, entry: Entry) {
        self.keys.insert(key, vec![entry]);
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: &str) {
        self.keys.remove(key);
    }

    /// Forgets one key on the line of `key` = `value`.
    pub(super) fn remove_child(&mut self, key: &str, value: &str, child: &str) {
        let entries = self.keys.get_mut(key).into_iter().flatten();
        for entry in entries.filter(|entry| entry.value.text == value) {
            entry.children.remove(child);
        }
    }

    /// What it says of a parameter with one value: the last word.
    pub(super) fn last(&self, key: &str) -> Option<&Entry> {
        self.get(key).last()
    }
}

/// Whether `key` may have several values, each with keys of its own.
pub(super) fn is_descriptor(key: &str) -> bool {
    table::DESCRIPTORS.contains(&key)
}
