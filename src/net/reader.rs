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
use super::inbound::Lease;
use super::intake::{Flow, Intake};
use super::stream::Stream;

/// A pending read begins with this much memory.
const BUFFER_MIN_BYTES: usize = 512;
const BUFFER_MAX_BYTES: usize = 64 * 1024;

/// Reads closer together than this, so many in a row, make a connection a busy one.
const BUSY_GAP_MS: u32 = 50;
const BUSY_READS: u8 = 4;

/// A busy connection that was silent for so long is a quiet one again.
const QUIET_GAP_MS: u32 = 1_000;

/// How often one turn reads what is ready before the others get theirs.
const READS_PER_TURN: usize = 4;

/// Memory in which the quiet connections of a core read.
pub(super) const SHARED_BUFFER_BYTES: usize = BUFFER_MAX_BYTES;

/// What a reader takes with it from one pace to the other.
pub(super) struct Reader {
    core: Rc<Core>,
    key: ConnectionKey,
    stream: Rc<Stream>,
    intake: Intake,
    rhythm: Rhythm,
}

/// How often something is read.
#[derive(Default)]
struct Rhythm {
    /// When it last was, in ms. It begins anew every seven weeks, after which one gap may be taken for
    /// a shorter one.
    last_ms: u32,
    /// Reads close together, up to the last.
    in_a_row: u8,
}

impl Rhythm {
    #[allow(clippy::cast_possible_truncation, reason = "it begins anew")]
    fn note(&mut self, now: Moment) {
        let now_ms = (now.us / 1_000) as u32;
        let gap_ms = now_ms.wrapping_sub(self.last_ms);
        self.last_ms = now_ms;
        if gap_ms < BUSY_GAP_MS {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else if gap_ms >= QUIET_GAP_MS || !self.is_busy() {
            self.in_a_row = 0;
        }
    }

    fn is_busy(&self) -> bool {
        self.in_a_row >= BUSY_READS
    }
}

/// Reads a new connection until it ends.
pub(super) fn spawn(core: Rc<Core>, key: ConnectionKey, stream: Rc<Stream>, intake: Intake) {
    let reader = Reader { core, key, stream, intake, rhythm: Rhythm::default() };
    spawn_task(reader.read_now_and_then());
}

fn spawn_task(task: impl Future<Output = ()> + 'static) {
    // Nobody waits for a reader: it lets go of its connection by itself.
    drop(monoio::spawn(task));
}

/// What follows a read.
enum Next {
    /// The same again.
    Again,
    /// Reading on at the other pace.
    ChangePace,
    /// The connection is gone.
    End,
}

#[allow(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
impl Reader {
    /// The pace of a connection that is mostly silent. A task of its own, because what a pending
    /// read needs would be memory that tens of thousands of silent connections own for nothing.
    fn read_now_and_then(mut self) -> impl Future<Output = ()> {
        async move {
            loop {
                let flow = match self.stream.readable().await {
                    Ok(()) => self.read_ready(),
                    Err(_) => Flow::Gone,
                };
                match self.next(flow, false).await {
                    Next::Again => {}
                    Next::ChangePace => return spawn_task(self.read_often()),
                    Next::End => return,
                }
            }
        }
    }

    /// The pace of a connection that sends often: a read is always pending.
    fn read_often(mut self) -> impl Future<Output = ()> {
        async move {
            let mut buffer = Vec::with_capacity(BUFFER_MIN_BYTES);
            let mut lease = Lease::new(&self.core.tally);
            loop {
                let (read, filled) = self.stream.read(buffer).await;
                buffer = filled;
                let flow = match read {
                    Ok(0) => Flow::End,
                    Err(_) => Flow::Gone,
                    Ok(count) => self.take_buffer(&mut buffer, &mut lease, count),
                };
                match self.next(flow, true).await {
                    Next::Again => {}
                    Next::ChangePace => return spawn_task(self.read_now_and_then()),
                    Next::End => return,
                }
            }
        }
    }

    /// Waits if the core says so, and decides how to go on.
    async fn next(&mut self, flow: Flow, is_busy: bool) -> Next {
        match flow {
            Flow::On => {}
            Flow::Pause => loop {
                self.core.pause(self.key).await;
                if !self.is_waiting() || self.take(&mut []) != Flow::Pause {
                    break;
                }
            },
            Flow::End | Flow::Gone => {
                loop {
                    // What it said before that still counts.
                    if self.is_waiting() {
                        self.take(&mut []);
                    }
                    // Who has ended its side only may still be owed something, also for that.
                    if flow == Flow::Gone || !self.core.end_of_input(self.key) {
                        break;
                    }
                    self.core.pause(self.key).await;
                }
                self.core.end(self.key);
                return Next::End;
            }
        }
        if self.rhythm.is_busy() == is_busy { Next::Again } else { Next::ChangePace }
    }

    /// Whether something was read that is not read again: what came behind a request whose credential
    /// is judged, or behind what the engine took.
    fn is_waiting(&self) -> bool {
        matches!(self.intake, Intake::Waiting { .. } | Intake::Held(_))
    }

    fn take_buffer(&mut self, buffer: &mut Vec<u8>, lease: &mut Lease, count: usize) -> Flow {
        let flow = self.take(&mut buffer[..count]);
        let is_full = count == buffer.capacity();
        buffer.clear();
        if lease.is_wanted_back() {
            lease.give_back();
            *buffer = Vec::with_capacity(BUFFER_MIN_BYTES);
        }
        if !is_full {
            return flow;
        }
        // Also for who is to wait now: all that came meanwhile is to be read at once, and so be written
        // at once. Else a room's publishers are read in morsels, and each costs a write per member.
        let wanted = (count * 4).min(BUFFER_MAX_BYTES);
        if buffer.capacity() < wanted && lease.extend(wanted - BUFFER_MIN_BYTES) {
            *buffer = Vec::with_capacity(wanted);
        }
        if flow != Flow::On {
            return flow;
        }
        self.read_ready()
    }

    /// Reads what is there into the core's shared buffer.
    fn read_ready(&mut self) -> Flow {
        let mut shared = self.core.shared_buffer.take();
        let mut flow = Flow::On;
        for _ in 0..READS_PER_TURN {
            match self.stream.receive(&mut shared) {
                Ok(0) => flow = Flow::End,
                Ok(count) => {
                    flow = self.take(&mut shared[..count]);
                    if count == shared.len() && flow == Flow::On {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => flow = Flow::Gone,
            }
            break;
        }
        self.core.shared_buffer.set(shared);
        flow
    }

    /// Hands bytes on, and notes how often there are some.
    fn take(&mut self, bytes: &mut [u8]) -> Flow {
        let (flow, now) = self.core.take(self.key, &mut self.intake, bytes);
        self.rhythm.note(now);
        flow
    }
}

impl Core {
    /// Waits until the core lets this reader go on.
    async fn pause(&self, key: ConnectionKey) {
        let mut is_registered = false;
        poll_fn(|context| {
            if std::mem::replace(&mut is_registered, true) {
                return Poll::Ready(());
            }
            match self.state.borrow_mut().connection(key) {
                Some(connection) => {
                    connection.paused = Some(context.waker().clone());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Hands bytes to the intake. A panic on the way ends this connection and no other.
    fn take(&self, key: ConnectionKey, intake: &mut Intake, bytes: &mut [u8]) -> (Flow, Moment) {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        state.reads += 1;
        state.metrics.bytes_in.add(bytes.len() as u64);
        let caused = state.shard.deliveries_caused();
        let took = panic::catch_unwind(AssertUnwindSafe(|| state.take(now, key, intake, bytes)));
        let flow = took.unwrap_or_else(|_| {
            *intake = Intake::Deaf;
            state.contain_panic(now, key);
            Flow::On
        });
        self.bell.ring();
        let caused = state.shard.deliveries_caused() - caused;
        let is_much = bytes.len() >= BUFFER_MAX_BYTES;
        if flow != Flow::End && state.waits_for_crowd(key, caused, is_much) {
            return (Flow::Pause, now.moment);
        }
        (flow, now.moment)
    }

    /// The client will send no more; whether its connection is to stay for what it is owed.
    fn end_of_input(&self, key: ConnectionKey) -> bool {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let hangs_up = state.connection(key).is_some_and(|connection| connection.hangs_up());
        let stays = match state.connection(key).map(|connection| &mut connection.stage) {
            Some(Stage::Relay(relay)) => {
                relay.end();
                state.pass_on(key);
                state.connection(key).is_some_and(|connection| !connection.is_over())
            }
            // Its last words are not written, and have their time.
            Some(Stage::Handshake(_) | Stage::Open(_)) if hangs_up => true,
            // The handshake's deadline runs.
            Some(Stage::Handshake(greeting)) => greeting.waiting.is_some(),
            Some(Stage::Open(_)) => state.stays_for_answers(now, key),
            Some(Stage::Ending) | None => false,
        };
        self.bell.ring();
        stays
    }

    /// The reader is done: nothing of the connection stays.
    fn end(&self, key: ConnectionKey) {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let left_early = state.connection(key).is_some_and(|connection| {
            matches!(connection.stage, Stage::Handshake(_)) && !connection.hangs_up()
        });
        if left_early {
            state.metrics.handshake_failures.count(HandshakeFailure::Left);
        }
        state.remove(now, key);
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connection::Connection;

    #[test]
    fn who_reads_often_is_busy_until_a_silence() {
        let mut rhythm = Rhythm::default();
        // Across the moment at which it begins anew.
        let first_ms = u64::from(u32::MAX) - 60;
        let busy_after = |rhythm: &mut Rhythm, ms: u64| {
            rhythm.note(Moment::default().plus_ms(first_ms + ms));
            rhythm.is_busy()
        };
        for (ms, is_busy) in [
            (0, false),
            (49, false),
            (98, false),
            (147, false),
            (196, true),
            // Slower, and not silent: the same pace goes on.
            (1_195, true),
            (2_195, false),
            (2_244, false),
        ] {
            assert_eq!(busy_after(&mut rhythm, ms), is_busy, "{ms} ms");
        }
    }

    fn task_bytes<F>(_: fn(Reader) -> F) -> usize {
        size_of::<F>()
    }

    /// Tens of thousands of silent connections each own one of these.
    #[test]
    fn what_a_silent_connection_owns_stays_small() {
        assert!(task_bytes(Reader::read_now_and_then) <= 168, "its task");
        assert!(size_of::<Connection>() <= 120, "its place in the slab");
        assert!(size_of::<Stream>() <= 88, "its socket");
    }
}
