// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a dataset in the prefix stands: its rank maps, and every file against size and checksums. Nothing is written.
//!
//! A checksum is of a block of a rank's stream, and a block may hold the end of one file and the next: then a bad one is said
//! of each of them, unless one is known to be bad by its size.

use super::cache::NodeReader;
use super::prefix::Prefix;
use super::stream::{Mode, Stream};
use crate::codec::checksum;
use crate::error::{Error, ErrorKind, Result};
use crate::format::FileEntry;
use crate::format::node::{NodeHeader, RankSection};
use crate::format::summary::{RankRange, Summary};
use crate::id::RelPath;
use std::collections::{BTreeMap, BTreeSet};

/// What was found of a dataset in the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Files that the rank maps name.
    pub files: u64,
    /// Their bytes, as the rank maps say.
    pub bytes: u64,
    /// Whether there are checksums to compare the data with.
    pub is_verified: bool,
    /// What is wrong with its records.
    pub records: Vec<String>,
    /// The files that are not what they were.
    pub bad: Vec<BadFile>,
}

/// A file that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// The rank that wrote it.
    pub rank: u32,
    /// Its path below the prefix.
    pub name: RelPath,
    /// What is wrong with it.
    pub why: String,
}

impl Inspected {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.records.is_empty() && self.bad.is_empty()
    }
}

/// Examines a dataset that was flushed.
pub fn inspect(prefix: &Prefix, summary: &Summary) -> Inspected {
    let mut found = Inspected { is_verified: summary.has_checksums, ..Inspected::default() };
    let mut maps: BTreeMap<(u32, u32), Vec<RankRange>> = BTreeMap::new();
    for range in &summary.ranges {
        maps.entry((range.set, range.member)).or_default().push(*range);
    }
    for ((set, member), ranges) in maps {
        let path = prefix.map_path(&summary.dataset, set, member);
        let ranks: Vec<String> = ranges.iter().map(name_of).collect();
        if let Err(error) = map(prefix, summary, (set, member), &ranges, &mut found) {
            found.records.push(format!(
                "{} (files of rank {}): {error:#}",
                path.display(),
                ranks.join(", ")
            ));
        }
    }
    let known: u64 = summary.ranges.iter().map(|range| u64::from(range.count)).sum();
    if known != u64::from(summary.dataset.ranks) {
        let ranks = summary.dataset.ranks;
        found.records.push(format!("the summary knows files of {known} ranks, written by {ranks}"));
    }
    let (files, bytes) = (summary.files, summary.bytes);
    if found.records.is_empty() && (found.files, found.bytes) != (files, bytes) {
        found.records.push(format!(
            "the summary counts {files} files of {bytes} bytes, the rank maps {} of {}",
            found.files, found.bytes
        ));
    }
    found
}

fn name_of(range: &RankRange) -> String {
    let RankRange { first, count, .. } = range;
    if *count == 1 { first.to_string() } else { format!("{first}-{}", first + count - 1) }
}

/// Examines a rank map and the files that it names.
fn map(
    prefix: &Prefix,
    summary: &Summary,
    (set, member): (u32, u32),
    ranges: &[RankRange],
    found: &mut Inspected,
) -> Result<()> {
    let path = prefix.map_path(&summary.dataset, set, member);
    let reader = NodeReader::open(&*prefix.store, &path)?;
    let header = reader.header();
    if header.dataset.identity != summary.dataset.identity {
        return Err(Error::new(ErrorKind::Corrupt, "it is of another dataset"));
    }
    found.is_verified &= header.has_checksums;
    let mut seen = BTreeSet::new();
    reader.sections(&mut |section| {
        found.files += section.files.len() as u64;
        found.bytes += section.files.iter().map(|file| file.size_bytes).sum::<u64>();
        found.bad.extend(bad_files(prefix, header, &section)?);
        seen.insert(section.rank);
        Ok(true)
    })?;
    let mut wanted = ranges.iter().flat_map(|range| range.first..range.first + range.count);
    wanted.find(|rank| !seen.contains(rank)).map_or(Ok(()), |rank| {
        Err(Error::new(ErrorKind::Corrupt, format!("it has no files of rank {rank}")))
    })
}

fn bad_files(prefix: &Prefix, header: &NodeHeader, section: &RankSection) -> Result<Vec<BadFile>> {
    let files = &section.files;
    let mut why: BTreeMap<usize, String> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let wrong = match prefix.store.metadata(&file.name.under(prefix.root())) {
            Ok(now) if now.size_bytes == file.size_bytes => continue,
            Ok(now) => format!("has {} bytes, not {}", now.size_bytes, file.size_bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => "is not there".to_string(),
            Err(error) => format!("cannot be looked up: {error:#}"),
        };
        why.insert(index, wrong);
    }
    if header.has_checksums {
        let mut blocks = BTreeMap::new();
        compare(prefix, header.block_bytes, section, &why, &mut blocks)?;
        for (index, (count, trouble)) in blocks {
            let text = match trouble {
                Some(trouble) => format!("cannot be read: {trouble}"),
                None => format!("does not match its checksums ({count} of its blocks)"),
            };
            why.insert(index, text);
        }
    }
    let name = |index: usize| files[index].name.clone();
    let bad = why.into_iter();
    Ok(bad.map(|(index, why)| BadFile { rank: section.rank, name: name(index), why }).collect())
}

/// For a file by its position: how many of its blocks are bad, and why the first of them cannot be read.
type BadBlocks = BTreeMap<usize, (u64, Option<String>)>;

/// Compares a rank's stream with its checksums, without the blocks in which a file has another size.
fn compare(
    prefix: &Prefix,
    block_bytes: u32,
    section: &RankSection,
    wrong: &BTreeMap<usize, String>,
    bad: &mut BadBlocks,
) -> Result<()> {
    let (root, files) = (prefix.root(), &section.files);
    let mut stream = Stream::below(prefix.store.clone(), root, files.clone(), Mode::Read)?;
    let block_bytes = u64::from(block_bytes);
    if block_bytes == 0
        || section.data_checksums.len() as u64 != stream.size_bytes().div_ceil(block_bytes)
    {
        let text = format!("the checksums of rank {} are not all there", section.rank);
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    let mut buffer = vec![0; block_bytes.min(stream.size_bytes()) as usize];
    let mut first = 0;
    let mut begin = 0;
    for (at, expected) in (0..).step_by(block_bytes as usize).zip(&section.data_checksums) {
        let length = (stream.size_bytes() - at).min(block_bytes);
        let touched = touched(files, (&mut first, &mut begin), at, at + length);
        if touched.clone().any(|index| wrong.contains_key(&index)) {
            continue;
        }
        let data = &mut buffer[..length as usize];
        let trouble = match stream.read(at, data) {
            Ok(()) if checksum::block(data) == *expected => continue,
            Ok(()) => None,
            Err(error) => Some(format!("{error:#}")),
        };
        for index in touched.filter(|&index| files[index].size_bytes > 0) {
            let known = bad.entry(index).or_default();
            known.0 += 1;
            known.1 = known.1.take().or_else(|| trouble.clone());
        }
    }
    Ok(())
}

/// The positions of the files of which bytes lie in `[from, to)`; `first`, which begins at `begin`, moves on with `from`.
fn touched(
    files: &[FileEntry],
    (first, begin): (&mut usize, &mut u64),
    from: u64,
    to: u64,
) -> std::ops::Range<usize> {
    while *first < files.len() && *begin + files[*first].size_bytes <= from {
        *begin += files[*first].size_bytes;
        *first += 1;
    }
    let (mut last, mut end) = (*first, *begin);
    while last < files.len() && end < to {
        end += files[last].size_bytes;
        last += 1;
    }
    *first..last
}
