//! No allocation per message: what a run allocates does not depend on how long it is.

#![allow(unsafe_code, reason = "a counting allocator")]

mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::echo::Echo;
use ringroom_loadgen::scenario::fanout::Fanout;
use ringroom_loadgen::target::Target;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Set on threads that are not the generator's.
    static UNCOUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !UNCOUNTED.try_with(Cell::get).unwrap_or(true) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as demanded of our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as demanded of our caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_allocation_per_message() {
    UNCOUNTED.set(true);
    let address = start_echo();
    // A member of a room of its own hears what it says from an echo as from a broadcast.
    for (name, workload) in [("echo", echo as fn(f64) -> Workload), ("fanout", fanout)] {
        let (short, short_messages) = measure(address, &workload(0.2));
        // A busy machine takes longer for as many messages.
        let (long, messages) = [1.0, 4.0, 16.0]
            .into_iter()
            .map(|seconds| measure(address, &workload(seconds)))
            .map(|(long, messages)| (long, messages.saturating_sub(short_messages)))
            .find(|(_, messages)| *messages > 5_000)
            .expect("some thousand messages in some seconds");
        let allocations = long.saturating_sub(short);
        assert!(
            allocations < messages / 100,
            "{name}: {allocations} allocations more for {messages} messages more"
        );
    }
}

fn echo(seconds: f64) -> Workload {
    Workload::Echo(Echo { connections: 4, in_flight: Some(4), seconds, ..Echo::default() })
}

fn fanout(seconds: f64) -> Workload {
    let rooms = Fanout { rooms: 4, members: 1, publishers: 1, ..Fanout::default() };
    Workload::Fanout(Fanout { in_flight: Some(4), seconds, ..rooms })
}

/// Allocations of the generator's threads, and messages, of one run.
fn measure(address: SocketAddr, workload: &Workload) -> (u64, u64) {
    let target = Target::resolve(&format!("ws://{address}/")).expect("an address");
    let settings = Settings { threads: Some(1), ..Settings::new(target, DialectName::RawBinary) };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let report = run::phase(&settings.shared(), workload).expect("it runs").0;
    (ALLOCATIONS.load(Ordering::Relaxed) - before, report.totals.received)
}

fn start_echo() -> SocketAddr {
    tiny::start("", || UNCOUNTED.set(true), |stream| stream)
}
