//! What reading and writing a message costs, with `serde_json` and `simd-json` beside it.
//!
//! It measures the thread's CPU time, not the clock on the wall, so that it can run beside others.
//!
//! `cargo bench -p ringroom-benches --bench protocol`

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::borrow::Cow;
use std::hint::black_box;

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixture::engine::{AT_ONCE, Engines};
use fixture::{PARSE_LIMITS as LIMITS, client_frame, publish};
use ringroom::id::CoreId;
use ringroom::protocol::{Codec, encode, parse};
use ringroom::ws::MessageKind;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The time this thread has run.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The least that `serde_json` must do for the same: known fields, and `data` as it was written.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only made, as a command is")]
struct Reference<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    id: Option<u64>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    exclude_self: Option<bool>,
    transient: Option<bool>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    priority: Option<Cow<'a, str>>,
    ttl_ms: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn read(criterion: &mut Criterion<CpuTime>) {
    let json = publish();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let packed = rmp_serde::to_vec_named(&value).unwrap();
    let mut group = criterion.benchmark_group("read a publish of 200 B");
    group.throughput(Throughput::Elements(1));
    group.bench_function("ringroom, JSON", |bencher| {
        bencher.iter(|| {
            let mut messages = parse(MessageKind::Text, black_box(json.as_bytes()), &LIMITS);
            black_box(messages.next().unwrap().unwrap());
        });
    });
    group.bench_function("ringroom, MessagePack", |bencher| {
        bencher.iter(|| {
            let mut messages = parse(MessageKind::Binary, black_box(&packed), &LIMITS);
            black_box(messages.next().unwrap().unwrap());
        });
    });
    group.bench_function("serde_json, RawValue", |bencher| {
        bencher.iter(|| {
            black_box(serde_json::from_slice::<Reference<'_>>(black_box(json.as_bytes())).unwrap());
        });
    });
    group.bench_function("serde_json, Value", |bencher| {
        bencher.iter(|| {
            let value = serde_json::from_slice::<serde_json::Value>(black_box(json.as_bytes()));
            black_box(value.unwrap());
        });
    });
    // Without the scratch copy and without the span of `data`, both of which it would need.
    group.bench_function("simd-json, tape alone", |bencher| {
        let mut buffers = simd_json::Buffers::default();
        bencher.iter_batched_ref(
            || json.clone().into_bytes(),
            |bytes| {
                black_box(simd_json::to_tape_with_buffers(bytes, &mut buffers).unwrap());
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// From the masked frame to where the room lives, by way of the permission to publish.
fn route(criterion: &mut Criterion<CpuTime>) {
    let frames = client_frame(publish().as_bytes()).repeat(AT_ONCE);
    let mut group = criterion.benchmark_group("decode and route a publish of 200 B");
    group.throughput(Throughput::Elements(1));
    for (name, home) in [
        ("to the room's core, on its way", CoreId(1)),
        ("numbered, stored and lined up on its own core", CoreId(0)),
    ] {
        group.bench_function(name, |bencher| {
            let mut engines = Engines::new(home, Codec::Json);
            let mut read = frames.clone();
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                let mut left = usize::try_from(iterations).unwrap();
                while left > 0 {
                    let count = left.min(AT_ONCE);
                    let bytes = frames.len() / AT_ONCE * count;
                    // Unmasked where it lies, so it is brought anew each time.
                    read[..bytes].copy_from_slice(&frames[..bytes]);
                    let began = CpuTime.start();
                    engines.take_in(black_box(&mut read[..bytes]));
                    spent += CpuTime.end(began);
                    let written = engines.settle();
                    let answers = String::from_utf8_lossy(&written);
                    assert_eq!(answers.matches(r#""ok""#).count(), count, "{answers}");
                    left -= count;
                }
                spent
            });
        });
    }
    group.finish();
}

fn read_large(criterion: &mut Criterion<CpuTime>) {
    let items = vec![r#"{"sku":81723,"name":"A thing with a \"name\"","price":12.5}"#; 1_000];
    let json = format!(r#"{{"type":"publish","room":"shop","data":[{}]}}"#, items.join(","));
    let mut group = criterion.benchmark_group("read a publish of 58 KB");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("ringroom, JSON", |bencher| {
        bencher.iter(|| {
            let mut messages = parse(MessageKind::Text, black_box(json.as_bytes()), &LIMITS);
            black_box(messages.next().unwrap().unwrap());
        });
    });
    group.bench_function("serde_json, RawValue", |bencher| {
        bencher.iter(|| {
            black_box(serde_json::from_slice::<Reference<'_>>(black_box(json.as_bytes())).unwrap());
        });
    });
    group.finish();
}

fn write(criterion: &mut Criterion<CpuTime>) {
    let message = fixture::message();
    let mut group = criterion.benchmark_group("write a message");
    group.throughput(Throughput::Elements(1));
    for (name, codec) in [
        ("JSON, data as it came", Codec::Json),
        ("MessagePack, data converted", Codec::MessagePack),
    ] {
        group.bench_function(name, |bencher| {
            let mut out = Vec::with_capacity(1_024);
            bencher.iter(|| {
                out.clear();
                encode(black_box(&message), codec, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = read, route, read_large, write
}
criterion_main!(benches);
