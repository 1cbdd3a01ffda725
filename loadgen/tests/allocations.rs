//! No allocation per message: what a run allocates does not depend on how long it is.

#![allow(unsafe_code, reason = "a counting allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::echo::Echo;
use ringroom_loadgen::target::Target;
use tungstenite::handshake::derive_accept_key;

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
    let (short, short_messages) = measure(address, 0.5);
    let (long, long_messages) = measure(address, 2.5);
    let messages = long_messages.saturating_sub(short_messages);
    assert!(messages > 5_000, "{messages} messages more");
    let allocations = long.saturating_sub(short);
    assert!(
        allocations < messages / 100,
        "{allocations} allocations more for {messages} messages more"
    );
}

/// Allocations of the generator's threads, and messages, of one run.
fn measure(address: SocketAddr, seconds: f64) -> (u64, u64) {
    let target = Target::resolve(&format!("ws://{address}/")).expect("an address");
    let settings = Settings { threads: Some(1), ..Settings::new(target, DialectName::RawBinary) };
    let echo = Echo { connections: 4, in_flight: Some(4), seconds, ..Echo::default() };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let report = run::phase(&settings.shared(), &Workload::Echo(echo)).expect("it runs").0;
    (ALLOCATIONS.load(Ordering::Relaxed) - before, report.totals.received)
}

/// The smallest echo: frames of up to 125 bytes.
fn start_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        UNCOUNTED.set(true);
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                UNCOUNTED.set(true);
                echo(stream)
            });
        }
    });
    address
}

fn echo(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
    let accept = derive_accept_key(key.as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .ok()?;
    let mut frame = [0; 256];
    loop {
        stream.read_exact(&mut frame[..6]).ok()?;
        let len = usize::from(frame[1] & 0x7f);
        let mask = [frame[2], frame[3], frame[4], frame[5]];
        stream.read_exact(&mut frame[2..2 + len]).ok()?;
        frame[1] &= 0x7f;
        for (index, byte) in frame[2..2 + len].iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        stream.write_all(&frame[..2 + len]).ok()?;
        if frame[0] & 0x0f == 8 {
            return None;
        }
    }
}
