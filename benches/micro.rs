// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loops that everything else is made of.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scr_core::codec::{checksum, gf256, reed_solomon, xor};
use scr_core::format::state::{PartState, Phase};
use scr_core::format::{self, DatasetHeader, Place, Scheme};
use scr_core::id::{DatasetId, DatasetIdentity, DatasetName, Epoch, JobId, NodeName, UserName};
use std::hint::black_box;

/// Blocks of encoding: those of small datasets, of large ones, and one that no L2 cache holds.
const BLOCK_BYTES: [usize; 3] = [4 << 10, 128 << 10, 8 << 20];

fn blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    for bytes in BLOCK_BYTES {
        let (mut acc, src) = (vec![0x5a; bytes], vec![0xa5; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("xor_into", bytes), |bencher| {
            bencher.iter(|| xor::xor_into(black_box(&mut acc), black_box(&src)));
        });
        group.bench_function(BenchmarkId::new("multiply_add", bytes), |bencher| {
            bencher.iter(|| gf256::multiply_add(black_box(&mut acc), black_box(&src), 0x8e));
        });
        group.bench_function(BenchmarkId::new("checksum", bytes), |bencher| {
            bencher.iter(|| checksum::block(black_box(&src)));
        });
    }
    group.finish();
}

/// The parities of a stripe, without the messages; throughput in bytes of data.
fn stripes(criterion: &mut Criterion) {
    const SEGMENTS: usize = 8;
    const PARITIES: usize = 2;
    const BYTES: usize = 64 << 10;
    let code = reed_solomon::Code::new(SEGMENTS, PARITIES).expect("few blocks");
    let factors: [[u8; SEGMENTS]; PARITIES] =
        std::array::from_fn(|slot| std::array::from_fn(|segment| code.coefficient(slot, segment)));
    let mut buffer = vec![0x5a; SEGMENTS * BYTES];
    let mut group = criterion.benchmark_group("stripe");
    group.throughput(Throughput::Bytes(buffer.len() as u64));
    group.bench_function("encode 8+2 of 64 KiB", |bencher| {
        bencher.iter(|| {
            for factors in &factors {
                let lengths = [BYTES; SEGMENTS];
                black_box(reed_solomon::combine(factors, &lengths, black_box(&mut buffer), BYTES));
            }
        });
    });
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let state = PartState {
        dataset: DatasetHeader {
            epoch: Epoch(1),
            id: DatasetId(18),
            identity: DatasetIdentity([7; 16]),
            parent: Some(DatasetIdentity([6; 16])),
            name: DatasetName::new("ckpt.18"),
            is_checkpoint: true,
            is_output: false,
            created_unix_micros: 1_700_000_000_000_000,
            job_id: JobId::new("4711"),
            user: UserName::new("user"),
            ranks: 64,
        },
        place: Place { layout: 0, set: 0, sets: 1, member: 2, members: 8, scheme: Scheme::Xor },
        node: NodeName::new("node0002"),
        epoch: Epoch(1),
        phase: Phase::Committed,
    };
    let bytes = format::encode(&state);
    let mut group = criterion.benchmark_group("frame");
    group.bench_function("encode state", |bencher| {
        bencher.iter(|| format::encode(black_box(&state)));
    });
    group.bench_function("decode state", |bencher| {
        bencher.iter(|| format::decode::<PartState>(black_box(&bytes)));
    });
    group.finish();
}

criterion_group!(micro, blocks, stripes, frames);
criterion_main!(micro);
