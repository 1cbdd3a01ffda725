//! One core: its runtime's main task, and the state that its tasks share.
//!
//! Readers hand what they read to the engine at once (`intake`); everything else happens in the
//! tick, one step after the other. What becomes of single connections is in `life` and `relay`.
//!
//! Invariants: the state is borrowed within a step and never across an await; between two ticks the
//! runtime has looked at every socket.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use crate::clock::{Moment, Now};
use crate::config::Config;
use crate::id::{ConnectionKey, CoreId};
use crate::letter::Letter;
use crate::mesh::Port;
use crate::metrics;
use crate::origin::Origins;
use crate::shard::{CoreMessage, Effects, Input, Pages, Shard};
use crate::wheel::Wheel;
use crate::ws::decoder::{self, Scratch};

use super::admission::Admission;
use super::connection::Connection;
use super::doors::Failures;
use super::entrance::{Entrance, Wait};
use super::inbound::{Inbound, Tally};
use super::listener::{Door, Listener, Pace};
use super::notify::Notify;
use super::park::Account;
use super::timer::{Clock, Counter, Glance, Timer};
use super::turns::Turns;

/// Batches a tick takes before it writes: a flood from one peer must not keep all others waiting.
const BATCHES_PER_TICK: usize = 256;

/// From this many connections to write, a flush is dear enough to look once more at what is ready,
/// so that what it brings goes out in the same writes.
const DEAR_FLUSH: u64 = 32;

/// And only where few reads lead to many writes. Where each leads to one, as in an echo, looking
/// early would only make the ring wait for bytes that the flush is about to be answered with
/// (measured: 5 % of an echo).
const DEAR_PER_READ: u64 = 4;

/// A core, as its tasks share it.
pub(super) struct Core {
    pub(super) state: RefCell<State>,
    pub(super) clock: Clock,
    /// See [`Clock::unix_origin_us`].
    pub(super) unix_origin_us: Cell<u64>,
    /// Rung by whatever leaves work for a tick.
    pub(super) bell: Notify,
    pub(super) admission: Arc<Admission>,
    /// Where clients are to come in, until they do.
    pub(super) entrance: RefCell<Option<Entrance>>,
    /// Where clients come in, until the core drains.
    pub(super) doors: RefCell<Vec<Rc<Door>>>,
    /// Memory in which quiet connections read, each for the time of a system call.
    pub(super) shared_buffer: Cell<Vec<u8>>,
    /// What is held of what is received.
    pub(super) tally: Rc<Tally>,
    pub(super) timer: Timer,
    pub(super) doorbell: Counter,
    pub(super) glance: Glance,
    /// See [`Table::end_for_clients`](super::descriptors::Table::end_for_clients).
    pub(super) end_for_clients: RawFd,
}

/// Everything of a core that changes.
pub(super) struct State {
    pub(super) config: Arc<Config>,
    pub(super) shard: Shard,
    pub(super) effects: Effects,
    pub(super) turns: Turns,
    pub(super) connections: Slab<Connection>,
    pub(super) connections_ever: u32,
    pub(super) listeners: Vec<Listener>,
    pub(super) origins: Arc<Origins>,
    pub(super) pages: Arc<Pages>,
    pub(super) admission: Arc<Admission>,
    /// Bad credentials that were not told of yet.
    pub(super) failures: Failures,
    /// Records that did not fit into the way to the control plane.
    pub(super) records_lost: u64,
    pub(super) pace: Pace,
    pub(super) port: Port<Letter<CoreMessage>>,
    pub(super) control: CoreId,
    pub(super) wheel: Wheel<Deadline>,
    pub(super) metrics: Arc<metrics::Core>,
    pub(super) frame_limits: decoder::Limits,
    pub(super) scratch: Scratch,
    pub(super) inbound: Inbound,
    pub(super) decrypted: Vec<u8>,
    /// How often a reader has brought something.
    pub(super) reads: u64,
    /// How often anything else has happened.
    pub(super) events: u64,
    /// What both were at the last round.
    pub(super) reads_before: u64,
    pub(super) events_before: u64,
    /// What was done up to the last beat, and whether it showed spinning.
    pub(super) account: Account,
    pub(super) was_spinning: bool,
    /// Whether clients have to wait for Redis.
    pub(super) wait: Wait,
    /// When the last goodbye of a drain is over, if there is one.
    pub(super) all_end_at: Option<Moment>,
    /// How many looks in a row have found that nobody needs this core.
    pub(super) looks_over: u32,
    /// How far the test suite has moved the wall clock.
    pub(super) jumped_us: i64,
}

/// What the core's own timers are for; the engine has its own.
pub(super) enum Deadline {
    /// A connection has had its time, in the handshake or at the end.
    Connection(ConnectionKey),
    /// Show a sign of life.
    Beat,
    /// Wake a task that sleeps.
    Wake(Rc<Notify>),
    /// The link to Redis has been waited for long enough.
    Redis,
    /// Look whether a core that drains may end.
    Linger,
    /// The time of a drain is over.
    DrainEnd,
}

impl Core {
    /// The main task: returns when the core has drained.
    #[allow(clippy::await_holding_refcell_ref, reason = "it is dropped before each await")]
    pub(super) async fn run(self: &Rc<Self>) {
        self.state.borrow_mut().beat(self.now());
        loop {
            self.bell.heard().await;
            self.look_again_before_a_dear_flush().await;
            let mut state = self.state.borrow_mut();
            let origin_us = self.clock.unix_origin_us();
            self.unix_origin_us.set(origin_us.saturating_add_signed(state.jumped_us));
            let now = self.now();
            state.count_round();
            state.port.wake();
            let is_inbox_empty = state.drain_inbox(now);
            state.run_timers(now);
            state.settle(now);
            state.flush(now, self);
            self.arm(&state, now.moment);
            state.metrics.loop_time.record(self.clock.moment().since_us(now.moment));
            let is_draining = state.is_draining();
            let may_open = !state.waits_for_redis();
            let may_park = is_inbox_empty && state.turns.is_empty() && state.port.fall_asleep();
            drop(state);
            if may_open {
                self.open_doors();
            }
            if is_draining {
                self.close_doors();
                if is_inbox_empty && self.state.borrow().may_end() {
                    return;
                }
            }
            if !may_park {
                self.glance.glance().await;
                self.bell.ring();
            }
        }
    }

    /// Under load the tick grows: as long as looking again brings more, up to a bound, the sockets
    /// are written once for all of it.
    async fn look_again_before_a_dear_flush(&self) {
        let (mut reads, limit_us) = {
            let state = self.state.borrow();
            if state.config.flush.max_delay_us == 0 || !state.is_flush_dear() {
                return;
            }
            (state.reads, state.config.flush.max_delay_us)
        };
        let began = self.clock.moment();
        loop {
            self.glance.glance().await;
            let now = self.state.borrow().reads;
            if now == reads || self.clock.moment().since_us(began) >= limit_us {
                return;
            }
            reads = now;
        }
    }

    /// The moment, and the wall clock as of the last tick.
    pub(super) fn now(&self) -> Now {
        let moment = self.clock.moment();
        Now { moment, unix_ms: (self.unix_origin_us.get() + moment.us) / 1_000 }
    }

    /// Suspends the calling task.
    pub(super) async fn sleep(&self, for_ms: u64) {
        let alarm = Rc::new(Notify::default());
        let due = self.clock.moment().plus_ms(for_ms);
        self.state.borrow_mut().wheel.insert(due, Deadline::Wake(Rc::clone(&alarm)));
        // The tick sets the timer.
        self.bell.ring();
        alarm.heard().await;
    }

    /// Sets the timer for whatever is due next.
    fn arm(&self, state: &State, now: Moment) {
        let next = match (state.shard.next_timeout(), state.wheel.next()) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => match one.or(other) {
                Some(only) => only,
                None => return,
            },
        };
        self.timer.arm(next, now);
    }
}

impl State {
    /// Takes letters; `false`: more wait than a tick may take.
    fn drain_inbox(&mut self, now: Now) -> bool {
        for _ in 0..BATCHES_PER_TICK {
            let Some(batch) = self.port.receive() else {
                return true;
            };
            self.events += 1;
            self.metrics.inbox_delay.record(now.moment.since_us(batch.since));
            for letter in batch.messages {
                match letter {
                    Letter::Core(message) => {
                        let input = Input::Core { from: batch.from, message };
                        self.contain(now, |state| {
                            state.shard.handle(now, input, &mut state.effects);
                        });
                    }
                    other => self.take_letter(now, other),
                }
            }
        }
        false
    }

    fn run_timers(&mut self, now: Now) {
        while let Some(deadline) = self.wheel.expire(now.moment) {
            self.events += 1;
            match deadline {
                Deadline::Connection(key) => {
                    let end = AssertUnwindSafe(|| self.end_overdue(now, key));
                    if panic::catch_unwind(end).is_err() {
                        self.contain_panic(now, key);
                    }
                }
                Deadline::Beat => self.beat(now),
                Deadline::Wake(sleeper) => sleeper.ring(),
                Deadline::Redis => self.wait.is_on = false,
                Deadline::Linger => self.linger(now),
                Deadline::DrainEnd => self.end_handshakes_and_relays(now),
            }
        }
        if self.shard.next_timeout().is_some_and(|due| due <= now.moment) {
            self.events += 1;
            // Each panic has taken the alarm with it that it was of.
            while !self.contain(now, |state| {
                state.shard.handle_timeout(now, &mut state.effects);
            }) {}
        }
    }

    /// Ends the engine's tick and sends its letters: before the flush, so that peers begin to work
    /// while this core writes.
    fn settle(&mut self, now: Now) {
        self.judge_again(now);
        self.shard.settle(now, &mut self.effects);
        self.metrics.inflate.add(self.scratch.take_tally());
        self.metrics.inbox_bytes.set(self.inbound.held_bytes());
        self.post_letters();
        self.post_to_control_plane(now);
        let delivery = self.port.deliver(now.moment);
        self.metrics.mesh_batches.add(delivery.batches);
        self.metrics.mesh_rings.add(delivery.rings);
        self.metrics.mesh_full.add(delivery.waiting);
        self.metrics.mesh_lost.add(delivery.lost);
    }

    /// A crowd that is being written is not worth it: who brings more joins its end.
    fn is_flush_dear(&self) -> bool {
        if self.turns.has_crowd() {
            return false;
        }
        let reads = self.reads - self.reads_before;
        let writes = (self.effects.to_write() + self.shard.waiting_deliveries()) as u64;
        writes >= DEAR_FLUSH && writes >= reads.saturating_mul(DEAR_PER_READ)
    }

    /// Posts what the engine has to say to others. For a core that is too far behind, what a room
    /// published becomes a range of offsets, of which its members there are told by a gap.
    fn post_letters(&mut self) {
        let mut overrun: Option<(CoreId, CoreMessage)> = None;
        for (to, message) in self.effects.letters.drain(..) {
            let collapsed = if self.port.is_over(to) { message.collapsed() } else { None };
            let message = match (overrun.take(), collapsed) {
                (None, Some(collapsed)) => {
                    overrun = Some((to, collapsed));
                    continue;
                }
                (Some((of, mut range)), Some(collapsed)) if of == to => {
                    match range.absorb(collapsed) {
                        Ok(()) => {
                            overrun = Some((of, range));
                            continue;
                        }
                        Err(next) => {
                            overrun = Some((to, next));
                            post(&mut self.port, of, range);
                            continue;
                        }
                    }
                }
                (Some((of, range)), collapsed) => {
                    post(&mut self.port, of, range);
                    collapsed.unwrap_or(message)
                }
                (None, None) => message,
            };
            post(&mut self.port, to, message);
        }
        if let Some((to, range)) = overrun {
            post(&mut self.port, to, range);
        }
    }

    /// The connection of that name, if it still is the one.
    pub(super) fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let found = self.connections.get_mut(key.index as usize)?;
        (found.generation == key.generation).then_some(found)
    }
}

fn post(port: &mut Port<Letter<CoreMessage>>, to: CoreId, message: CoreMessage) {
    let bytes = message.cost_bytes();
    // The plan of the mesh knows every core, and cores end together.
    let _ = port.post(to, Letter::Core(message), bytes);
}

/// The name of a connection at a place of the slab.
pub(super) fn key_of(index: usize, connection: &Connection) -> ConnectionKey {
    // A core's descriptors end long before four thousand million.
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    ConnectionKey { index, generation: connection.generation }
}
