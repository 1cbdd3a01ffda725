//! What a message costs on the mesh, from post to receipt, and what it costs to ring.
#![allow(missing_docs, reason = "a benchmark has no interface")]

use std::hint::black_box;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixture::{Letter, ports as pair, tick};
use ringroom::clock::Moment;
use ringroom::id::CoreId;
use ringroom::mesh::Port;

const TO: CoreId = CoreId(1);
fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh/post_deliver_receive");
    for count in [1, 16, 256] {
        let (mut from, mut to) = pair();
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count}_a_tick"), |bencher| {
            bencher.iter(|| {
                tick(&mut from, count);
                while let Some(batch) = to.receive() {
                    black_box(batch.messages);
                }
            });
        });
    }
    group.finish();
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh/ring");
    for (name, sleeps) in [("peer_awake", false), ("peer_asleep", true)] {
        let (mut from, mut to) = pair();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    while to.receive().is_some() {}
                    to.clear_doorbell();
                    to.wake();
                    assert!(!sleeps || to.fall_asleep());
                },
                |()| tick(&mut from, 1),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// From one thread to another that sleeps in `poll` and back.
fn round_trip(criterion: &mut Criterion) {
    let (mut here, mut there) = pair();
    let echo = std::thread::spawn(move || {
        while let Some(message) = wait(&mut there) {
            there.post(CoreId(0), message, 64).expect("the peer lives");
            there.deliver(Moment::default());
        }
    });
    criterion.bench_function("mesh/round_trip_between_sleeping_threads", |bencher| {
        bencher.iter(|| {
            tick(&mut here, 1);
            black_box(wait(&mut here));
        });
    });
    here.post(TO, [u64::MAX; 6], 64).expect("the peer lives");
    here.deliver(Moment::default());
    echo.join().expect("the echo does not panic");
}

/// The next message; none if it is the last.
fn wait(port: &mut Port<Letter>) -> Option<Letter> {
    loop {
        if let Some(batch) = port.receive() {
            let message = batch.messages[0];
            return (message[0] != u64::MAX).then_some(message);
        }
        if port.fall_asleep() {
            block_on(port.doorbell_fd());
            port.clear_doorbell();
            port.wake();
        }
    }
}

fn block_on(doorbell: BorrowedFd<'_>) {
    use std::os::fd::AsRawFd as _;
    let mut poll =
        libc::pollfd { fd: doorbell.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    #[allow(unsafe_code, reason = "poll has no safe form in std")]
    // SAFETY: `poll` is one valid entry.
    unsafe {
        libc::poll(&raw mut poll, 1, -1);
    }
}

criterion_group!(benches, messages, ring, round_trip);
criterion_main!(benches);
