// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SCR 3's trees mean; the tree `tests/data/scr3`, with which other tests work, is as made here.

use super::*;
use crate::format::kvtree::{encode, parse};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn tree(text: &str) -> Vec<u8> {
    encode(&parse(text))
}

#[test]
fn an_index_tells_each_dataset_as_it_stands() {
    let index = index(&encode(&samples::index(2))).unwrap();
    assert_eq!(index.current.as_deref(), Some("ckpt.6"));
    let told = |d: &Dataset| {
        (d.id.0, d.is_checkpoint, d.is_output, d.is_complete, d.failed.is_some(), d.files, d.bytes)
    };
    let expected = [
        (2, true, false, true, false, Some(2), Some(201)),
        (4, true, false, true, true, Some(2), Some(201)),
        (5, false, true, true, false, Some(2), Some(201)),
        (6, true, false, true, false, Some(2), Some(201)),
        (8, true, false, false, false, None, None),
    ];
    assert_eq!(index.datasets.iter().map(told).collect::<Vec<_>>(), expected);
    let six = index.named("ckpt.6").unwrap();
    assert_eq!(six.flushed.as_deref(), Some("2024-01-31T10:00:06"));
    let header = six.header();
    assert_eq!(header.name.as_str(), "ckpt.6");
    assert_eq!(
        (header.epoch, header.user.as_str(), header.job_id.as_str()),
        (Epoch(0), "ann", "4711")
    );
    assert!(index.named("ckpt.7").is_none());
}

#[test]
fn an_index_of_little_words_is_one_and_a_wrong_one_is_refused() {
    let bare = index(&tree("VERSION = 2\nDSET\n  3\n  10")).unwrap();
    let ids: Vec<_> = bare.datasets.iter().map(|d| (d.id.0, d.name.to_string())).collect();
    assert_eq!(ids, [(3, "scr.dataset.3".to_string()), (10, "scr.dataset.10".to_string())]);
    assert!(bare.datasets.iter().all(|d| !d.is_complete && !d.is_checkpoint));
    for (text, words) in [
        ("", "VERSION is missing"),
        ("VERSION = 1\nDSET\n  3\n    NAME\n      a", "version 1; this library reads version 2"),
        ("VERSION = 2\nDSET\n  x", "not a number"),
        ("VERSION = 2\nDSET\n  3\n    DSET\n      ID = 4", "of dataset 4"),
        ("VERSION = 2\nDSET\n  3\n    DSET\n      SIZE = many", "SIZE"),
    ] {
        let error = index(&tree(text)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
        assert!(format!("{error:#}").contains(words), "{text}: {error:#}");
    }
}

#[test]
fn an_identity_tells_datasets_apart_that_share_a_number() {
    let datasets = index(&encode(&samples::index(2))).unwrap().datasets;
    let identities: std::collections::BTreeSet<_> =
        datasets.iter().map(Dataset::identity).collect();
    assert_eq!(identities.len(), datasets.len());
    assert!(identities.iter().all(|identity| is_of_scr3(*identity)));
    let later = Dataset { created_unix_micros: 7, ..datasets[0].clone() };
    assert_ne!(later.identity(), datasets[0].identity());
    let failed = Dataset { failed: Some(String::new()), ..datasets[0].clone() };
    assert_eq!(failed.identity(), datasets[0].identity());
}

#[test]
fn a_summary_is_of_its_dataset() {
    let files = samples::prefix(2, 1);
    let bytes = &files[Path::new(".scr/scr.dataset.6/summary.scr")];
    let found = summary(bytes, DatasetId(6)).unwrap();
    assert!(found.is_complete && found.is_checkpoint);
    let index = index(&files[Path::new(".scr/index.scr")]).unwrap();
    assert_eq!(found.identity(), index.named("ckpt.6").unwrap().identity());
    assert!(summary(bytes, DatasetId(7)).is_err());
    assert!(summary(&tree("VERSION = 5"), DatasetId(6)).is_err());
    assert!(summary(&tree("VERSION = 6\nCOMPLETE = 1"), DatasetId(6)).is_err());
}

#[test]
fn a_rank2file_leads_to_the_files_of_each_rank() {
    let files = samples::prefix(12, 1);
    let dir = Path::new(".scr/scr.dataset.2");
    let root = branch(&files[&dir.join("rank2file")]).unwrap();
    assert_eq!((root.level, root.ranks), (1, 12));
    let firsts: Vec<_> = root.below.iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, (0..12).collect::<Vec<_>>());
    assert_eq!(root.below[10].1, ".0.10");
    let ranks = leaf(&files[&dir.join("rank2file.0.10")]).unwrap();
    let expected = File {
        name: RelPath::new("ckpt.2/rank_10").unwrap(),
        size_bytes: Some(110),
        checksum: Some(crc32fast::hash(&samples::content(2, 10))),
    };
    assert_eq!(ranks, [(10, vec![expected])]);
    let bytes = &files[Path::new(".scr/scr.dataset.6/rank2file.0.3")];
    let ranks = leaf(bytes).unwrap();
    assert_eq!((ranks[0].1[0].size_bytes, ranks[0].1[0].checksum), (None, None));
    assert!(branch(bytes).is_err() && leaf(&files[&dir.join("rank2file")]).is_err());
}

#[test]
fn a_rank2file_that_leads_astray_is_refused() {
    for suffix in ["/etc/passwd", "./../x", ".0.0/../x", "0"] {
        let text = format!("LEVEL = 1\nRANKS = 1\nRANK\n  0\n    FILE = {suffix}");
        assert!(branch(&tree(&text)).is_err(), "{suffix}");
    }
    assert!(
        branch(&tree("LEVEL = 1\nRANKS = 1\nRANK\n  0\n    FILE = .0.0\n    OFFSET = 9")).is_err()
    );
    for file in ["/etc/passwd", "../x", "a//b"] {
        assert!(leaf(&tree(&format!("LEVEL = 0\nRANK\n  0\n    FILE\n      {file}"))).is_err());
    }
    for about in ["SIZE = -1", "CRC = 0x100000000", "COMPLETE = 0"] {
        let text = format!("LEVEL = 0\nRANK\n  0\n    FILE\n      a\n        {about}");
        assert!(leaf(&tree(&text)).is_err(), "{about}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a tool for developers, not part of the library")]
fn the_stored_prefix_is_as_made_here() {
    fn stored(dir: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(dir.join(below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            if dir.join(&path).is_dir() {
                stored(dir, &path, files);
            } else {
                files.insert(path.clone(), std::fs::read(dir.join(&path)).unwrap());
            }
        }
    }
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/scr3/prefix"));
    let files = samples::prefix(2, 2);
    if std::env::var_os("SCR_BLESS").is_some() {
        for (path, bytes) in &files {
            std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.join(path), bytes).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    stored(dir, Path::new(""), &mut found);
    assert_eq!(found, files);
}
