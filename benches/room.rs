//! What the parts of a room cost: timers, patterns, buckets, history, presence.
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixture::{HEARTBEAT_MS, heartbeats, key, member};
use ringroom::bucket::{Limiter, Limits, Meter};
use ringroom::clock::{Moment, Past};
use ringroom::config::Rate;
use ringroom::hash::Seed;
use ringroom::id::CoreId;
use ringroom::room::history::{Bound, Bounds, Entry, History};
use ringroom::room::hub::Hub;
use ringroom::room::name::RoomName;
use ringroom::room::pattern::{Pattern, PatternSet};
use ringroom::room::presence::Presence;

const CONNECTIONS: u32 = 50_000;

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    group.bench_function("insert and cancel beside 50,000", |bencher| {
        let mut wheel = heartbeats(CONNECTIONS);
        let mut deadline_ms = 0;
        bencher.iter(|| {
            deadline_ms = (deadline_ms + 7_919) % 100_000;
            let timer = wheel.insert(Moment::default().plus_ms(deadline_ms), key(1));
            black_box(wheel.cancel(timer))
        });
    });
    group.throughput(Throughput::Elements(u64::from(CONNECTIONS)));
    group.bench_function("a round of 50,000 heartbeats", |bencher| {
        let mut wheel = heartbeats(CONNECTIONS);
        let mut now = Moment::default();
        bencher.iter(|| {
            for _ in 0..HEARTBEAT_MS {
                now = now.plus_ms(1);
                while let Some(connection) = wheel.expire(now) {
                    wheel.insert(now.plus_ms(HEARTBEAT_MS), black_box(connection));
                }
            }
        });
    });
    group.finish();
}

fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("patterns");
    let parse = |text: &str| Pattern::parse(text).expect("a valid pattern");
    let room = RoomName::parse("chat:team-77/topic-3").expect("a valid name");
    let mut all = Vec::new();
    for n in 0..5_000 {
        all.push(parse(&format!("chat:team-{n}/*")));
        all.push(parse(&format!("shop-{n}:**")));
    }
    let mut set = PatternSet::new(Seed(1, 2));
    for (pattern, holder) in all.iter().zip(0_u32..) {
        set.insert(pattern, holder);
    }
    group.bench_function("one match among 10,000", |bencher| {
        bencher.iter(|| {
            let mut found = 0;
            set.visit(black_box(&room), |_| found += 1);
            assert_eq!(found, 1);
        });
    });
    group.bench_function("the same one by one", |bencher| {
        bencher.iter(|| {
            let found = all.iter().filter(|pattern| pattern.matches(black_box(&room))).count();
            assert_eq!(found, 1);
        });
    });
    group.bench_function("one pattern", |bencher| {
        let pattern = parse("chat:team-77/*");
        bencher.iter(|| black_box(&pattern).matches(black_box(&room)));
    });
    group.finish();
}

fn buckets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bucket");
    let rate = Rate {
        messages_per_second: 100,
        burst: 200,
        messages_per_minute: 3_000,
        bytes_per_second: 1 << 20,
        ban_ms: 60_000,
    };
    let limits = Limits::new(&rate);
    for (name, step_us) in [("a message that passes", 100_000), ("at twice the rate", 9_000)] {
        group.bench_function(name, |bencher| {
            let mut limiter = Limiter::default();
            let mut now = Moment::default();
            bencher.iter(|| {
                now.us += step_us;
                black_box(limiter.take(&limits, now, black_box(200)))
            });
        });
    }
    // What all connections of a user share, over all cores.
    let meter = Meter::default();
    let limits = Limits::new(&Rate { messages_per_second: 100, burst: 200, ..Rate::default() });
    let mut now = Moment::default();
    group.bench_function("shared by a user's connections", |bencher| {
        bencher.iter(|| {
            now.us += 20_000;
            black_box(meter.take(&limits, now, black_box(200)))
        });
    });
    group.finish();
}

struct Stored {
    offset: u64,
    at: Moment,
}

impl Entry for Stored {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn bytes(&self) -> usize {
        200
    }

    fn published_at(&self) -> Past {
        self.at.into()
    }
}

fn history(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("history");
    let bounds = Bounds { size: 1_000, bytes: 1 << 20, ttl_ms: 300_000 };
    let mut history = History::new(bounds, 0);
    let push = |history: &mut History<Arc<Stored>>| {
        let offset = history.last() + 1;
        let at = Moment::default().plus_ms(offset);
        history.push(Arc::new(Stored { offset, at }), at);
        at
    };
    for _ in 0..1_000 {
        push(&mut history);
    }
    group.bench_function("push to a full ring", |bencher| {
        bencher.iter(|| push(&mut history));
    });
    let now = push(&mut history);
    let missed = history.last() - 100;
    group.bench_function("recover 100 of 1,000", |bencher| {
        bencher.iter(|| {
            let missed = history.recover(black_box(missed), 1_000, 1 << 20, now);
            black_box(missed.expect("they are here").map(Arc::clone).count())
        });
    });
    group.bench_function("find a page of 100 of 1,000", |bencher| {
        bencher.iter(|| {
            let page = history.page(Bound::Since(black_box(missed)), 100, now);
            black_box(page.entries.len())
        });
    });
    group.finish();
}

fn presence(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("presence");
    let users = (0..10_000).map(|n| Arc::from(format!("user-{n}"))).collect::<Vec<Arc<str>>>();
    let full = || {
        let mut presence = Presence::<u32>::new(Seed(1, 2));
        for user in &users {
            presence.enter(user);
        }
        presence
    };
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("a storm of 10,000 in and told", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let mut presence = full();
                presence.drain(usize::MAX, |user, _| {
                    black_box(user);
                });
                presence
            },
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(100));
    group.bench_function("a page of 100 of 10,000", |bencher| {
        let presence = full();
        bencher.iter(|| black_box(presence.page(Some("user-5"), 100).count()));
    });
    group.finish();
}

fn hub(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hub");
    let keys = fixture::rooms(1_000);
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 rooms of one, in and out", |bencher| {
        let mut hub = Hub::new(Seed(1, 2));
        bencher.iter(|| {
            for key in &keys {
                let index = hub.enter(black_box(key), CoreId(0));
                hub.add(index, member(1));
                black_box(hub.remove(index, 0));
                hub.tidy(index);
            }
        });
    });
    group.bench_function("a tick with something for each of 1,000", |bencher| {
        let mut hub = Hub::new(Seed(1, 2));
        let rooms = keys.iter().map(|key| hub.enter(key, CoreId(0))).collect::<Vec<_>>();
        let epoch = Arc::from("5x2k9q");
        bencher.iter(|| {
            for &room in &rooms {
                hub.collect(room, fixture::loss(&epoch));
            }
            let dirty = hub.take_dirty();
            for &index in &dirty {
                hub.get_mut(index).expect("nobody removed it").items.clear();
            }
            hub.return_dirty(dirty);
        });
    });
    group.finish();
}

criterion_group!(parts, wheel, patterns, buckets, history, presence, hub);
criterion_main!(parts);
