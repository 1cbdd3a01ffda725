//! The one task of a connection: it reads, and hands on what it read.
//!
//! A connection that sends now and then waits for readability and owns no buffer; one that sends
//! often has a read pending into a buffer of its own, which saves the kernel a wake-up per message
//! (measured: 7 % of an echo). Invariant: a read that has begun is awaited to its end.

use std::future::poll_fn;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::task::Poll;

use crate::clock::Moment;
use crate::id::ConnectionKey;
use crate::metrics::HandshakeFailure;

use super::connection::Stage;
use super::core::Core;
use super::intake::{Flow, Intake};
use super::stream::Stream;

/// A pending read begins with this much memory.
const BUFFER_MIN_BYTES: usize = 512;
const BUFFER_MAX_BYTES: usize = 16 * 1024;

/// Reads closer together than this, so many in a row, make a connection a busy one.
const BUSY_GAP_US: u64 = 50_000;
const BUSY_READS: u8 = 4;

/// A busy connection that was silent for so long is a quiet one again.
const QUIET_GAP_US: u64 = 1_000_000;

/// How often one turn reads what is ready before the others get theirs.
const READS_PER_TURN: usize = 4;

/// Memory in which the quiet connections of a core read.
pub(super) const SHARED_BUFFER_BYTES: usize = 64 * 1024;

/// Reads until the connection ends.
pub(super) async fn read(
    core: Rc<Core>,
    key: ConnectionKey,
    stream: Rc<Stream>,
    mut intake: Intake,
) {
    let mut pace = Pace::default();
    loop {
        let flow = match std::mem::take(&mut pace.buffer) {
            Some(buffer) => read_busy(&core, key, &stream, &mut intake, &mut pace, buffer).await,
            None => match stream.readable().await {
                Ok(()) => read_ready(&core, key, &stream, &mut intake, &mut pace),
                Err(_) => Flow::End,
            },
        };
        match flow {
            Flow::On => {}
            Flow::Pause => pause(&core, key).await,
            Flow::End => break,
        }
    }
    // A relayed client that has ended its side may still be owed a response.
    while core.end_of_input(key) {
        pause(&core, key).await;
    }
    core.end(key);
}

/// How often a connection sends.
#[derive(Default)]
struct Pace {
    last: Moment,
    reads_in_a_row: u8,
    /// For the next read; none: wait for readability.
    buffer: Option<Vec<u8>>,
}

impl Pace {
    fn note(&mut self, now: Moment) {
        let gap_us = now.since_us(self.last);
        self.last = now;
        self.reads_in_a_row =
            if gap_us < BUSY_GAP_US { self.reads_in_a_row.saturating_add(1) } else { 0 };
        if gap_us >= QUIET_GAP_US {
            self.buffer = None;
        } else if self.reads_in_a_row >= BUSY_READS && self.buffer.is_none() {
            self.buffer = Some(Vec::with_capacity(BUFFER_MIN_BYTES));
        }
    }
}

async fn read_busy(
    core: &Rc<Core>,
    key: ConnectionKey,
    stream: &Stream,
    intake: &mut Intake,
    pace: &mut Pace,
    buffer: Vec<u8>,
) -> Flow {
    let (read, mut buffer) = stream.read(buffer).await;
    let count = match read {
        Ok(0) | Err(_) => return Flow::End,
        Ok(count) => count,
    };
    let (flow, now) = core.take(key, intake, &mut buffer[..count]);
    let is_full = count == buffer.capacity();
    if is_full && buffer.capacity() < BUFFER_MAX_BYTES {
        buffer = Vec::with_capacity((buffer.capacity() * 4).min(BUFFER_MAX_BYTES));
    }
    buffer.clear();
    pace.buffer = Some(buffer);
    pace.note(now);
    if is_full && flow == Flow::On {
        return read_ready(core, key, stream, intake, pace);
    }
    flow
}

/// Reads what is there into the core's shared buffer.
fn read_ready(
    core: &Rc<Core>,
    key: ConnectionKey,
    stream: &Stream,
    intake: &mut Intake,
    pace: &mut Pace,
) -> Flow {
    let mut shared = core.shared_buffer.take();
    let mut flow = Flow::On;
    for _ in 0..READS_PER_TURN {
        match stream.receive(&mut shared) {
            Ok(0) => flow = Flow::End,
            Ok(count) => {
                let (next, now) = core.take(key, intake, &mut shared[..count]);
                pace.note(now);
                flow = next;
                if count == shared.len() && flow == Flow::On {
                    continue;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => flow = Flow::End,
        }
        break;
    }
    core.shared_buffer.set(shared);
    flow
}

/// Waits until the core lets this reader go on.
async fn pause(core: &Rc<Core>, key: ConnectionKey) {
    let mut is_registered = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_registered, true) {
            return Poll::Ready(());
        }
        match core.state.borrow_mut().connection(key) {
            Some(connection) => {
                connection.paused = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    })
    .await;
}

impl Core {
    /// Hands bytes to the intake. A panic on the way ends this connection and no other.
    fn take(&self, key: ConnectionKey, intake: &mut Intake, bytes: &mut [u8]) -> (Flow, Moment) {
        let now = self.clock.now();
        let mut state = self.state.borrow_mut();
        state.reads += 1;
        state.metrics.bytes_in.add(bytes.len() as u64);
        let took = panic::catch_unwind(AssertUnwindSafe(|| state.take(now, key, intake, bytes)));
        let flow = took.unwrap_or_else(|_| {
            *intake = Intake::Deaf;
            state.contain_panic(now, key);
            Flow::On
        });
        self.bell.ring();
        (flow, now.moment)
    }

    /// The client will send no more; whether its connection is to stay for the response.
    fn end_of_input(&self, key: ConnectionKey) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(relay) = state.relay(key) else {
            return false;
        };
        relay.end();
        state.pass_on(key);
        self.bell.ring();
        state.connection(key).is_some_and(|connection| !connection.is_over())
    }

    /// The reader is done: nothing of the connection stays.
    fn end(&self, key: ConnectionKey) {
        let now = self.clock.now();
        let mut state = self.state.borrow_mut();
        let left_early = state.connection(key).is_some_and(|connection| {
            matches!(connection.stage, Stage::Handshake) && !connection.hangs_up
        });
        if left_early {
            state.metrics.handshake_failures.count(HandshakeFailure::Left);
        }
        state.remove(now, key);
        self.bell.ring();
    }
}
