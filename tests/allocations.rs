//! What a delivery costs in allocations: nothing, once the engine is warm.

#![allow(unsafe_code, reason = "a global allocator is one that is declared so")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringroom::clock::{Moment, Now};
use ringroom::config::Config;
use ringroom::hash::Seed;
use ringroom::id::{ConnectionKey, CoreId};
use ringroom::protocol::Codec;
use ringroom::shard::{Effects, Entropy, Entry, Input, Opened, Route, Senders, Setup, Shard};
use ringroom::tenant::Tenants;
use ringroom::ws::MessageKind;

struct Counted;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

#[derive(Debug)]
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
            *byte = self.0;
        }
    }
}

struct Bench {
    shard: Shard,
    effects: Effects,
    now: Now,
    members: u32,
}

fn key(index: u32) -> ConnectionKey {
    ConnectionKey { index, generation: 1 }
}

impl Bench {
    fn new(members: u32, rooms: u32) -> Self {
        let config = Arc::new(Config::default());
        let setup = Setup {
            core: CoreId(0),
            cores: 1,
            senders: Senders::new(&config, Seed(1, 2)),
            config,
            seed: Seed(1, 2),
            entropy: Box::new(Counting(0)),
            metrics: Arc::default(),
            policy: None,
            tenants: Tenants::new(&Config::default()),
            stopwatch: || 0,
        };
        let mut bench = Self {
            shard: Shard::new(setup),
            effects: Effects::default(),
            now: Now::default(),
            members,
        };
        for index in 0..members {
            let opened = Opened {
                connection: key(index),
                route: Route::Rooms(None),
                codec: Codec::Json,
                deflate_up_to: 0,
                address: None,
                session: None,
                entry: Entry::Open,
            };
            bench.input(Input::Opened(Box::new(opened)));
            for room in 0..rooms {
                bench.send(index, &format!(r#"{{"type":"join","room":"room {room}"}}"#));
            }
        }
        bench.flush();
        bench
    }

    fn input(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input, &mut self.effects);
    }

    fn send(&mut self, index: u32, text: &str) {
        let mut payload = text.as_bytes().to_vec();
        let kind = MessageKind::Text;
        self.input(Input::Message {
            connection: key(index),
            kind,
            payload: &mut payload,
            frames: 1,
        });
    }

    /// Ends a tick and writes everything; returns the bytes.
    fn flush(&mut self) -> usize {
        self.now.moment = Moment { us: self.now.moment.us + 100 };
        self.shard.settle(self.now, &mut self.effects);
        let mut dirty = std::mem::take(&mut self.effects.dirty);
        dirty.append(&mut self.effects.crowd);
        let mut written = 0;
        for connection in dirty.drain(..) {
            while let Some(outbox) = self.shard.outbox(connection) {
                let mut slices = [IoSlice::new(&[]); 8];
                let count = outbox.gather(&mut slices);
                let bytes: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                outbox.advance(bytes);
                if bytes == 0 {
                    break;
                }
                self.input(Input::Written { connection });
                written += bytes;
            }
        }
        self.effects.dirty = dirty;
        written
    }

    /// Allocations of some ticks with so many publishes each, spread over the rooms.
    fn measure(&mut self, ticks: u32, publishes: u32, rooms: u32) -> u64 {
        for pass in 0..2 {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for tick in 0..ticks {
                for n in 0..publishes {
                    let from = (tick * publishes + n) % self.members;
                    let text = format!(
                        r#"{{"type":"publish","room":"room {}","data":"0123456789"}}"#,
                        n % rooms
                    );
                    self.send(from, &text);
                }
                assert!(self.flush() > 0);
            }
            if pass == 1 {
                return ALLOCATIONS.load(Ordering::Relaxed) - before;
            }
        }
        0
    }
}

#[test]
fn a_delivery_allocates_nothing() {
    for (publishes, rooms) in [(1, 1), (16, 1), (16, 4)] {
        let small = Bench::new(10, rooms).measure(20, publishes, rooms);
        let large = Bench::new(1_000, rooms).measure(20, publishes, rooms);
        // A hundred times the deliveries: not one allocation more, but for lists that grow once.
        assert!(large <= small + 40, "{publishes} in {rooms}: {small} for 10, {large} for 1,000");
        let each = small / u64::from(20 * publishes);
        assert!(each < 20, "{each} allocations a publish");
    }
}
