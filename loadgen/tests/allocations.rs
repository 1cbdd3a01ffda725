//! No allocation per message: what a run allocates does not depend on how long it is. Raw,
//! in Ringroom's two encodings, and compressed. Not counted is what libdeflate, in C, allocates for
//! itself; not tried are TLS, and answers to commands, which are parsed into values of their own.

#![allow(unsafe_code, reason = "a counting allocator")]

mod stub;
mod tiny;
mod torrent;
mod upgrade;

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
use stub::Lie;

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

/// A way to load a server, and the server.
struct Way {
    name: &'static str,
    address: SocketAddr,
    dialect: DialectName,
    deflate: bool,
    workload: fn(f64) -> Workload,
}

#[test]
fn no_allocation_per_message() {
    UNCOUNTED.set(true);
    let raw = Way {
        name: "raw echo",
        address: start_echo(""),
        dialect: DialectName::RawBinary,
        deflate: false,
        workload: echo,
    };
    let rooms = |name, dialect| {
        let packed = dialect == DialectName::RingroomMsgpack;
        let server = torrent::start(packed, Lie::None, u64::MAX, || UNCOUNTED.set(true));
        Way { name, address: server.address, dialect, deflate: false, workload: fanout }
    };
    let deflated = Way {
        name: "deflated echo",
        address: start_echo(
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        ),
        deflate: true,
        ..raw
    };
    for way in [
        // A member of a room of its own hears what it says from an echo as from a broadcast.
        Way { name: "raw fan-out", workload: fanout_alone, ..raw },
        raw,
        rooms("fan-out in JSON", DialectName::Ringroom),
        rooms("fan-out in MessagePack", DialectName::RingroomMsgpack),
        deflated,
    ] {
        let (short, short_messages) = measure(&way, 0.2);
        // A busy machine takes longer for as many messages.
        let (long, messages) = [1.0, 4.0, 16.0]
            .into_iter()
            .map(|seconds| measure(&way, seconds))
            .map(|(long, messages)| (long, messages.saturating_sub(short_messages)))
            .find(|(_, messages)| *messages > 5_000)
            .expect("some thousand messages in some seconds");
        let allocations = long.saturating_sub(short);
        assert!(
            allocations < messages / 100,
            "{}: {allocations} allocations more for {messages} messages more",
            way.name
        );
    }
}

fn echo(seconds: f64) -> Workload {
    Workload::Echo(Echo { connections: 4, in_flight: Some(4), seconds, ..Echo::default() })
}

fn fanout_alone(seconds: f64) -> Workload {
    let rooms = Fanout { rooms: 4, members: 1, publishers: 1, ..Fanout::default() };
    Workload::Fanout(Fanout { in_flight: Some(4), seconds, ..rooms })
}

fn fanout(seconds: f64) -> Workload {
    let room = Fanout { rooms: 1, members: 8, publishers: 1, ..Fanout::default() };
    Workload::Fanout(Fanout { in_flight: Some(4), seconds, ..room })
}

/// Allocations of the generator's threads, and messages, of one run.
fn measure(way: &Way, seconds: f64) -> (u64, u64) {
    let target = Target::resolve(&format!("ws://{}/", way.address)).expect("an address");
    let settings =
        Settings { threads: Some(1), deflate: way.deflate, ..Settings::new(target, way.dialect) };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let report = run::phase(&settings.shared(), &(way.workload)(seconds)).expect("it runs").0;
    assert_eq!(report.totals.corrupt + report.totals.misdelivered, 0, "{}", way.name);
    (ALLOCATIONS.load(Ordering::Relaxed) - before, report.totals.received)
}

fn start_echo(headers: &'static str) -> SocketAddr {
    tiny::start(headers, || UNCOUNTED.set(true), |stream| stream)
}
