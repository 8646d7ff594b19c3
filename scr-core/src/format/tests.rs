// SPDX-License-Identifier: MIT OR Apache-2.0
//! What version 1 wrote must stay readable, and nothing else may pass for a record.
//!
//! `tests/data/v1` has one sample of every kind, as bytes and as JSON. They are made once, with
//! `SCR_BLESS=1`, and never again after a release: a change of the encoding is a new version.

use super::current::{ChosenBy, Current};
use super::dataset::{DatasetHeader, FileEntry, Place, Scheme};
use super::decision::{CandidateReport, Decision, Location, Verdict};
use super::frame::{Frame, HEADER_BYTES, Kind, MAGIC, TRAILER_BYTES, VERSION, to_json};
use super::halt::{HaltRequest, HaltUsed};
use super::index::Index;
use super::lease::{Lease, LeaseState};
use super::node::{NodeEnd, NodeHeader, RankSection};
use super::state::{PartState, Phase};
use super::summary::{PrefixState, RankRange, RenameList, Summary};
use super::{decode, encode};
use crate::ErrorKind;
use crate::id::{
    DatasetId, DatasetIdentity, DatasetName, Epoch, JobId, NodeName, RelPath, UserName,
};
use proptest::prelude::*;

fn identity(byte: u8) -> DatasetIdentity {
    DatasetIdentity(std::array::from_fn(|i| byte + i as u8))
}

fn header() -> DatasetHeader {
    DatasetHeader {
        epoch: crate::id::Epoch(1),
        id: DatasetId(18),
        identity: identity(0x10),
        parent: Some(identity(0x80)),
        name: DatasetName::new("timestep.18"),
        is_checkpoint: true,
        is_output: false,
        created_unix_micros: 1_700_000_000_123_456,
        job_id: JobId::new("4711"),
        user: UserName::new("ada"),
        ranks: 300,
    }
}

fn place() -> Place {
    Place { layout: 1, set: 2, sets: 3, member: 4, members: 8, scheme: Scheme::Xor }
}

fn file(name: &[u8], size_bytes: u64) -> FileEntry {
    FileEntry {
        name: RelPath::new(name).unwrap(),
        size_bytes,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        accessed_unix_nanos: -1,
        modified_unix_nanos: 1_700_000_000_123_456_789,
        inode: u64::MAX,
    }
}

fn summary(state: PrefixState) -> Summary {
    Summary {
        dataset: header(),
        state,
        changed_unix_micros: 1_700_000_001_000_000,
        maps: 2,
        ranges: vec![
            RankRange { first: 0, count: 200, set: 0, member: 1 },
            RankRange { first: 200, count: 100, set: 0, member: 0 },
        ],
        files: 600,
        bytes: 1 << 40,
        has_checksums: true,
    }
}

/// Declares the samples: file name, and the value of each kind that exercises most of it.
macro_rules! samples {
    ($($kind:ident, $name:literal, $value:expr;)*) => {
        /// Every sample: its kind, name, what this library writes for it, and the file of version 1 with its JSON.
        fn samples() -> Vec<Sample> {
            vec![$(Sample {
                kind: Kind::$kind,
                name: $name,
                today: encode(&$value),
                stored: include_bytes!(concat!("../../../tests/data/v1/", $name, ".bin")),
                json: include_str!(concat!("../../../tests/data/v1/", $name, ".json")),
            },)*]
        }
    };
}

struct Sample {
    kind: Kind,
    name: &'static str,
    today: Vec<u8>,
    stored: &'static [u8],
    json: &'static str,
}

samples! {
    PartState, "part_state", PartState {
        dataset: header(),
        place: place(),
        node: NodeName::new("n4"),
        epoch: Epoch(7),
        phase: Phase::Condemned { reason: "the application said so".into() },
    };
    NodeHeader, "node_header", NodeHeader {
        dataset: header(),
        place: place(),
        node: NodeName::new("n4"),
        block_bytes: 262_144,
        has_checksums: true,
        members: vec![vec![(0, 0), (1, u64::MAX)], vec![(2, 300)]],
    };
    RankSection, "rank_section", RankSection {
        rank: 129,
        files: vec![file(b"ckpt.18/rank_129", 1 << 33), file(b"ckpt.18/\xff\xfe", 0)],
        data_checksums: vec![0, 1, u32::MAX],
        parity_checksums: vec![0xdead_beef],
    };
    NodeEnd, "node_end", NodeEnd { sections: 64, files: 128, bytes: 1 << 50 };
    RenameList, "rename_list", RenameList {
        dataset: header(),
        epoch: Epoch(7),
        maps: 2,
        files: 600,
        bytes: 1 << 40,
        supersedes: vec![identity(0x20), identity(0x30)],
    };
    Summary, "summary", summary(PrefixState::Superseded { by: identity(0x40) });
    Index, "index", Index {
        entries: vec![
            summary(PrefixState::Flushing { epoch: Epoch(3) }),
            summary(PrefixState::Flushed),
            summary(PrefixState::Failed { reason: "bad".into() }),
        ],
    };
    Current, "current", Current {
        identity: identity(0x10),
        name: DatasetName::new("timestep.18"),
        by: ChosenBy::Person,
        newest_known: DatasetId(19),
    };
    Lease, "lease", Lease {
        job_id: JobId::new("4711"),
        step: [9; 16],
        epoch: Epoch(7),
        node: NodeName::new("n0"),
        state: LeaseState::Released,
        heartbeat: 1000,
        period_ms: 5000,
    };
    HaltRequest, "halt_request", HaltRequest {
        generation: 5,
        reason: Some("maintenance".into()),
        checkpoints_left: Some(0),
        exit_before_unix_seconds: Some(1_700_000_000),
        exit_after_unix_seconds: None,
        halt_seconds: Some(600),
    };
    HaltUsed, "halt_used", HaltUsed { generation: 5, checkpoints: 3 };
    Decision, "decision", Decision {
        decided_unix_micros: 1_700_000_002_000_000,
        ranks: 300,
        nodes: 24,
        candidates: vec![CandidateReport {
            id: DatasetId(18),
            identity: identity(0x10),
            name: DatasetName::new("timestep.18"),
            location: Location::Prefix,
            layout: 0,
            verdict: Verdict::Rejected,
            reason: "written by 4 ranks, this run has 3".into(),
        }],
    };
}

#[test]
fn version_1_still_decodes_to_what_it_meant() {
    for sample in samples() {
        let (kind, value, length) = to_json(sample.stored).unwrap();
        let meant: serde_json::Value = serde_json::from_str(sample.json).unwrap();
        assert_eq!((kind, length), (sample.kind, sample.stored.len()), "{}", sample.name);
        assert_eq!(value, meant, "{}", sample.name);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a tool for developers, not part of the library")]
fn this_library_writes_version_1_byte_by_byte() {
    assert_eq!(VERSION, 1, "a new version needs samples of its own");
    let bless = std::env::var_os("SCR_BLESS").is_some();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/v1");
    for sample in samples() {
        if bless {
            let (_, value, _) = to_json(&sample.today).unwrap();
            let json = serde_json::to_string_pretty(&value).unwrap() + "\n";
            std::fs::write(format!("{directory}/{}.bin", sample.name), &sample.today).unwrap();
            std::fs::write(format!("{directory}/{}.json", sample.name), json).unwrap();
            continue;
        }
        assert_eq!(sample.today, sample.stored, "{}", sample.name);
    }
}

#[test]
fn there_is_a_sample_of_every_kind() {
    let sampled: Vec<Kind> = samples().iter().map(|sample| sample.kind).collect();
    let all: Vec<Kind> = (0..=u16::MAX).filter_map(Kind::from_number).collect();
    assert_eq!(sampled, all);
}

#[test]
fn a_record_cut_anywhere_is_corrupt() {
    for sample in samples() {
        for length in 0..sample.stored.len() {
            let error = to_json(&sample.stored[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{} at {length}", sample.name);
            assert!(
                error.to_string().contains("cut short"),
                "{} at {length}: {error}",
                sample.name
            );
        }
    }
}

#[test]
fn a_record_with_any_bit_flipped_is_corrupt() {
    for sample in samples() {
        for bit in 0..sample.stored.len() * 8 {
            let mut bytes = sample.stored.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = to_json(&bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{} bit {bit}", sample.name);
        }
    }
}

/// The bytes of a frame as somebody else would write it, with a right checksum.
fn frame(version: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend((payload.len() as u64).to_be_bytes());
    bytes.extend(payload);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

#[test]
fn what_is_whole_but_not_ours_is_refused_with_its_reason() {
    let used = encode(&HaltUsed { generation: 1, checkpoints: 2 });
    let payload = &used[HEADER_BYTES..used.len() - TRAILER_BYTES];
    let kind = Kind::HaltUsed as u16;
    assert_eq!(frame(VERSION, kind, payload), used);

    let mut magic = used.clone();
    magic[..4].copy_from_slice(b"RSCR");
    let cases = [
        (
            "an older version",
            frame(0, kind, payload),
            "format version 0; this library reads version 1",
        ),
        ("a newer version", frame(2, kind, payload), "format version 2"),
        ("a kind to come", frame(VERSION, 999, payload), "unknown record kind 999"),
        ("no kind", frame(VERSION, 0, payload), "unknown record kind 0"),
        (
            "a record of another kind",
            encode(&NodeEnd { sections: 0, files: 0, bytes: 0 }),
            "a node end where a halt use",
        ),
        ("payload too long", frame(VERSION, kind, &[payload, &[0]].concat()), "1 bytes too many"),
        ("payload too short", frame(VERSION, kind, &payload[1..]), "does not decode"),
        ("bytes after the record", [used.as_slice(), b"xyz"].concat(), "3 bytes after the end"),
        ("another format", magic, "wrong magic"),
        ("an empty file", Vec::new(), "cut short: 0 bytes"),
    ];
    for (what, bytes, words) in cases {
        let error = decode::<HaltUsed>(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        assert!(error.to_string().contains(words), "{what}: {error}");
    }
}

#[test]
fn an_impossible_length_asks_for_no_memory() {
    for length in [u64::MAX, u64::MAX - 20, 1 << 62] {
        let mut bytes = encode(&HaltUsed::default());
        bytes[8..16].copy_from_slice(&length.to_be_bytes());
        assert_eq!(decode::<HaltUsed>(&bytes).unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
    }
}

#[test]
fn frames_follow_each_other_in_one_file() {
    let first = encode(&NodeEnd { sections: 1, files: 2, bytes: 3 });
    let second = encode(&HaltUsed { generation: 4, checkpoints: 5 });
    let both = [first.as_slice(), &second].concat();
    let frame = Frame::parse(&both).unwrap();
    assert_eq!(frame.total_bytes, first.len());
    assert_eq!(frame.decode::<NodeEnd>().unwrap().bytes, 3);
    assert_eq!(decode::<HaltUsed>(&both[frame.total_bytes..]).unwrap().checkpoints, 5);
}

#[test]
fn a_path_that_leaves_its_base_does_not_decode() {
    let mut section = RankSection {
        rank: 0,
        files: vec![file(b"aa/bb", 1)],
        data_checksums: vec![],
        parity_checksums: vec![],
    };
    let good = encode(&section);
    section.files[0].name = RelPath::new("xx/bb").unwrap();
    assert_eq!(decode::<RankSection>(&encode(&section)).unwrap(), section);
    let mut payload = good[HEADER_BYTES..good.len() - TRAILER_BYTES].to_vec();
    let at = payload.windows(5).position(|window| window == b"aa/bb").unwrap();
    payload[at..at + 2].copy_from_slice(b"..");
    let bytes = frame(VERSION, Kind::RankSection as u16, &payload);
    assert_eq!(decode::<RankSection>(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn a_payload_of_anything_never_panics(which in 0_usize..12, at in any::<prop::sample::Index>(), noise in prop::collection::vec(any::<u8>(), 1..40)) {
        // A right checksum over wrong bytes: what a bug or a forger would write.
        let sample = &samples()[which];
        let mut payload = sample.stored[HEADER_BYTES..sample.stored.len() - TRAILER_BYTES].to_vec();
        let start = at.index(payload.len());
        payload.iter_mut().skip(start).zip(&noise).for_each(|(byte, noise)| *byte = *noise);
        match to_json(&frame(VERSION, sample.kind as u16, &payload)) {
            Ok((kind, ..)) => prop_assert_eq!(kind, sample.kind),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
        if let Err(error) = to_json(&frame(VERSION, sample.kind as u16, &noise)) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn bytes_of_anything_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(to_json(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
