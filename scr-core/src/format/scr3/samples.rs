// SPDX-License-Identifier: MIT OR Apache-2.0
//! A prefix as SCR 3 leaves it, for tests: checkpoints 2 and 6 are good, 6 is current; 4 has failed, 5 is an output, and the
//! flush of 8 did not end.
//!
//! Of checkpoint 2 sizes and checksums are recorded, of 6 only totals, as SCR 3.1 does.

use crate::format::kvtree::{Tree, encode, parse};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// The file of a rank.
pub(crate) fn name(id: u64, rank: u32) -> String {
    format!("ckpt.{id}/rank_{rank}")
}

/// What is in it.
pub(crate) fn content(id: u64, rank: u32) -> Vec<u8> {
    vec![id as u8 * 16 + rank as u8; 100 + rank as usize]
}

/// All files below the prefix, by their paths; `together` ranks share a leaf.
pub(crate) fn prefix(ranks: u32, together: u32) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut put = |path: String, bytes: Vec<u8>| files.insert(PathBuf::from(path), bytes);
    put(".scr/index.scr".into(), encode(&index(ranks)));
    for id in [2, 4, 5, 6] {
        let dir = format!(".scr/scr.dataset.{id}");
        let summary = format!("VERSION = 6\nCOMPLETE = 1\nDSET\n{}", dataset(id, ranks, 1));
        put(format!("{dir}/summary.scr"), encode(&parse(&summary)));
        let mut root = format!("LEVEL = 1\nRANKS = {ranks}\nRANK\n");
        for first in (0..ranks).step_by(together as usize) {
            let _ = writeln!(root, "  {first}\n    FILE = .0.{first}\n    OFFSET = 0");
            let last = ranks.min(first + together);
            put(format!("{dir}/rank2file.0.{first}"), encode(&leaf(id, first, last)));
        }
        put(format!("{dir}/rank2file"), encode(&parse(&root)));
        for rank in 0..ranks {
            put(name(id, rank), content(id, rank));
        }
    }
    files
}

/// The leaf of ranks `first` to `last - 1`.
fn leaf(id: u64, first: u32, last: u32) -> Tree {
    let mut text = format!("LEVEL = 0\nRANKS = {}\nRANK\n", last - first);
    for rank in first..last {
        let _ = writeln!(text, "  {rank}\n    FILE\n      {}", name(id, rank));
        if id == 2 {
            let content = content(id, rank);
            let _ = writeln!(text, "        SIZE = {}", content.len());
            let _ = writeln!(text, "        CRC = {:#x}", crc32fast::hash(&content));
        }
    }
    parse(&text)
}

/// `index.scr`.
pub(crate) fn index(ranks: u32) -> Tree {
    let mut text = "VERSION = 2\nCURRENT = ckpt.6\nNAME\n".to_string();
    for id in [2, 4, 5, 6, 8] {
        let _ = writeln!(text, "  ckpt.{id}\n    DSET = {id}");
    }
    text.push_str("DSET\n");
    for id in [2, 4, 5, 6, 8] {
        let complete = u64::from(id != 8);
        let _ = writeln!(text, "  {id}\n    COMPLETE = {complete}");
        if complete == 1 {
            let _ = writeln!(text, "    FLUSHED = 2024-01-31T10:00:0{id}");
        }
        if id == 4 {
            let _ = writeln!(text, "    FAILED = 2024-01-31T11:00:00");
        }
        let _ = write!(text, "    DSET\n{}", dataset(id, ranks, 3));
    }
    parse(&text)
}

/// The description of a dataset, so many levels deep.
fn dataset(id: u64, ranks: u32, level: usize) -> String {
    let bytes: usize = (0..ranks).map(|rank| content(id, rank).len()).sum();
    let (checkpoint, output) = (u64::from(id != 5), u64::from(id == 5));
    let mut fields = vec![
        format!("ID = {id}"),
        format!("NAME = ckpt.{id}"),
        format!("FLAG_CKPT = {checkpoint}"),
        format!("FLAG_OUTPUT = {output}"),
        format!("CREATED = {}", 1_706_695_200_000_000 + id),
        "USER = ann".to_string(),
        "JOBID = 4711".to_string(),
    ];
    if id != 8 {
        fields.extend([format!("FILES = {ranks}"), format!("SIZE = {bytes}")]);
        fields.push("COMPLETE = 1".to_string());
    }
    let indent = "  ".repeat(level);
    fields.iter().fold(String::new(), |text, field| text + &indent + field + "\n")
}
