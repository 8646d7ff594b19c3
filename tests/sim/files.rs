// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the application writes: the files of every rank in a dataset, told by nothing but seed, name and rank.
//!
//! The name of a dataset, up to its dot, says of which kind its files are:
//!
//! | name | files of a rank |
//! |---|---|
//! | `big` | two, of many blocks, and of another length on every rank |
//! | `some` | one, on every third rank |
//! | `none` | none on any rank |
//! | `empty` | three without a byte |
//! | `base` | five with one base name, in different directories |
//! | `same` | two, with the names that every dataset of the kind gives them |
//! | `bytes` | three with names that are no text |
//! | `tiny` | 2,000 of a few bytes on rank 0, one elsewhere |
//! | anything else | up to five of any size |

use crate::random::{Random, mix2};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The files of a rank in a dataset: path below the prefix, content.
pub(crate) fn files_of(seed: u64, dataset: &str, rank: usize) -> Vec<(PathBuf, Vec<u8>)> {
    let name = dataset.bytes().fold(0, |hash, byte| mix2(hash, byte.into()));
    let mut random = Random::new(mix2(mix2(seed, name), rank as u64));
    let Some(shape) = shape(dataset, rank) else {
        return (0..random.below(5)).map(|i| any(seed, dataset, rank, i, &mut random)).collect();
    };
    shape.into_iter().map(|(path, size)| (path, bytes(size, &mut random))).collect()
}

/// Whether every dataset like this one has the same names of files: each takes them from the one before.
pub(crate) fn is_shared(seed: u64, dataset: &str) -> bool {
    kind(dataset) == "same" || seed.is_multiple_of(4)
}

fn kind(dataset: &str) -> &str {
    dataset.split('.').next().unwrap_or_default()
}

fn bytes(size: u64, random: &mut Random) -> Vec<u8> {
    let data = (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    data.take(size as usize).collect()
}

/// Names and sizes, where the kind tells them.
fn shape(dataset: &str, rank: usize) -> Option<Vec<(PathBuf, u64)>> {
    let number = rank as u64;
    let text = |path: String, size: u64| (PathBuf::from(path), size);
    let files = match kind(dataset) {
        "big" => vec![
            text(format!("{dataset}/{rank}.a"), 70_000 + 17_001 * (number % 5)),
            text(format!("{dataset}/{rank}.b"), 31_234),
        ],
        "some" if rank.is_multiple_of(3) => vec![text(format!("{dataset}.{rank}"), 9_000)],
        "some" | "none" => Vec::new(),
        "empty" => (0..3).map(|i| text(format!("{dataset}/{rank}/{i}"), 0)).collect(),
        "base" => {
            let directory = |i: u64| format!("{dataset}/{i}/{rank}/state");
            (0..5).map(|i| text(directory(i), 1_000 * i + number)).collect()
        }
        "same" => (0..2).map(|i| text(format!("latest/{rank}.{i}"), 6_000 + number)).collect(),
        "bytes" => {
            let name = |i: u8| {
                let mut name = format!("{dataset}.{rank}/").into_bytes();
                name.extend([0xff, b'a' + i, 0x80]);
                name
            };
            let path = |i: u8| PathBuf::from(OsString::from_vec(name(i)));
            (0..3).map(|i| (path(i), 3_000 * u64::from(i))).collect()
        }
        "tiny" if rank == 0 => {
            (0..2_000).map(|i| text(format!("{dataset}/many/{i}"), i % 7)).collect()
        }
        "tiny" => vec![text(format!("{dataset}/{rank}"), 100)],
        _ => return None,
    };
    Some(files)
}

fn any(seed: u64, dataset: &str, rank: usize, i: u64, random: &mut Random) -> (PathBuf, Vec<u8>) {
    let path = match random.below(3) {
        0 if is_shared(seed, dataset) => format!("latest/rank{rank}.{i}"),
        0 => format!("{dataset}.rank{rank}.{i}"),
        1 => format!("{dataset}/rank{rank}/part.{i}"),
        _ => format!("deep/{dataset}/{rank}/{i}/part"),
    };
    let size = match random.below(6) {
        0 => 0,
        1 => 1 + random.below(100),
        2 => 4096,
        _ => random.below(24_000),
    };
    (path.into(), bytes(size, random))
}
