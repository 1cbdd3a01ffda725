//! What the data plane does to every message: decode, unmask, inflate, deflate.
#![allow(missing_docs, reason = "a macro of criterion makes a public function")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixture::{FRAME_LIMITS as LIMITS, MASK, client_frame, json};
use ringroom::ws::decoder::{Chunk, Decoder, Scratch};
use ringroom::ws::deflate::{Compressor, Inflater};
use ringroom::ws::mask;

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, len) in [("32 B", 32), ("200 B", 200), ("4 KiB", 4_096)] {
        // One read of sixteen messages, as a busy connection has.
        let read = client_frame(&json(len)).repeat(16);
        group.throughput(Throughput::Elements(16));
        group.bench_function(format!("16 masked texts of {name}"), |bencher| {
            let (mut decoder, mut scratch) = (Decoder::new(false), Scratch::new());
            bencher.iter_batched_ref(
                || read.clone(),
                |bytes| {
                    let mut input = Chunk::new(bytes);
                    while let Ok(Some(event)) = decoder.next(&mut input, &LIMITS, &mut scratch) {
                        black_box(event);
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for len in [32, 200, 4_096, 65_536] {
        let mut bytes = vec![0x55; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("{len} B"), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut bytes), black_box(MASK), 0));
        });
    }
    group.finish();
}

fn deflate(criterion: &mut Criterion) {
    let message = json(4_096);
    let mut group = criterion.benchmark_group("deflate");
    group.throughput(Throughput::Bytes(message.len() as u64));
    let mut compressor = Compressor::new(6);
    let mut payload = Vec::new();
    group.bench_function("4 KiB of JSON, level 6", |bencher| {
        bencher.iter(|| {
            payload.clear();
            compressor.compress(black_box(&message), &mut payload)
        });
    });
    let mut inflater = Inflater::new();
    group.bench_function("inflate it", |bencher| {
        bencher
            .iter(|| inflater.inflate(black_box(&payload), LIMITS.message_bytes).map(|m| m.len()));
    });
    // Without a bound on final blocks each two bytes would cost a table.
    let costly = [0x03, 0x00].repeat(32_768);
    group.throughput(Throughput::Bytes(costly.len() as u64));
    group.bench_function("refuse 64 KiB of final blocks", |bencher| {
        bencher.iter(|| inflater.inflate(black_box(&costly), LIMITS.message_bytes).is_err());
    });
    group.finish();
}

criterion_group!(benches, decode, unmask, deflate);
criterion_main!(benches);
