//! The engine of one core: inputs in, effects out. It holds the connections' sessions and outboxes,
//! the rooms whose home this core is, and the local members of all other rooms.
//!
//! Invariants: it does no I/O and knows no time but the one it is given; the same inputs give the
//! same outputs; what it queues for a connection is bounded.

mod closing;
mod connection;
mod echo;
mod effect;
mod figures;
mod heartbeat;
mod input;
mod message;
mod outbound;
mod outbox;
mod run;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::clock::{Moment, Now};
use crate::config::Config;
use crate::hash::Seed;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::CloseReason;
use crate::wheel::Wheel;
use crate::ws::MessageKind;
use crate::ws::deflate::Compressor;
use crate::ws::frame::Opcode;

pub use effect::Effects;
pub use figures::Figures;
pub use input::{Input, Opened, Route};
pub use message::CoreMessage;
pub use outbox::Outbox;
pub use setup::{Entropy, Setup};

use self::closing::Drain;
use self::connection::{Connection, Phase, Purpose};
use self::heartbeat::Beat;
use self::outbound::Outbound;

/// Answers that may wait for a connection before its pings are answered only by the latest.
const PONG_QUEUE_BYTES: usize = 4_096;

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    /// Look at a connection: its heartbeat, or the end of its patience.
    Connection(ConnectionKey),
    /// Send the next connections away.
    Drain,
}

/// The engine of one core.
#[derive(Debug)]
pub struct Shard {
    core: CoreId,
    config: Arc<Config>,
    seed: Seed,
    outbound: Outbound,
    wheel: Wheel<Alarm>,
    drain: Option<Drain>,
    compressor: Compressor,
    /// For a payload while it is deflated.
    deflated: Vec<u8>,
    figures: Arc<Figures>,
    /// Whether a call goes on, or ended in a panic.
    is_called: bool,
}

impl Shard {
    /// An engine with no connections.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { core, cores: _, config, seed, entropy: _ } = setup;
        Self {
            core,
            seed,
            outbound: Outbound::new(Arc::clone(&config)),
            wheel: Wheel::new(),
            drain: None,
            compressor: Compressor::new(config.deflate.level),
            deflated: Vec::new(),
            figures: Arc::default(),
            is_called: false,
            config,
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        self.enter(now, effects);
        match input {
            Input::Opened(opened) => self.on_opened(&opened),
            Input::Message { connection, kind, payload } => {
                self.on_message(connection, kind, payload);
            }
            Input::Alive { connection } => self.hear(connection),
            Input::Ping { connection, payload } => self.on_ping(connection, payload),
            Input::Pong { connection, payload } => self.on_pong(connection, payload),
            Input::CloseFrame { connection, code } => self.on_close_frame(connection, code),
            Input::Fault { connection, fault } => self.fault(connection, fault),
            Input::Failed { connection } => self.close(connection, CloseReason::Internal),
            Input::Lost { connection } => self.on_lost(connection),
            Input::Written { connection, bytes } => self.on_written(connection, bytes),
            Input::Core { from: _, message } => match message {},
            Input::Drain { window_ms } => self.begin_drain(window_ms),
        }
        self.leave(effects);
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Effects) {
        self.enter(now, effects);
        while let Some(alarm) = self.wheel.expire(now.moment) {
            match alarm {
                Alarm::Connection(key) => self.on_connection_alarm(key),
                Alarm::Drain => self.drain_step(),
            }
        }
        self.leave(effects);
    }

    /// A call may have panicked: gives back the effects that it held, which are those of others, too.
    pub fn recover(&mut self, effects: &mut Effects) {
        if std::mem::take(&mut self.is_called) {
            std::mem::swap(&mut self.outbound.effects, effects);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.wheel.next()
    }

    /// The end of a tick: all that was published in it is queued, to be flushed next.
    pub fn settle(&mut self, now: Now, effects: &mut Effects) {
        self.enter(now, effects);
        self.leave(effects);
    }

    /// What waits to be written to a connection.
    pub fn outbox(&mut self, connection: ConnectionKey) -> Option<&mut Outbox> {
        self.outbound.slot_mut(connection).map(|slot| &mut slot.outbox)
    }

    /// Whether more should be read from a connection now: false while it leaves too many answers
    /// unread.
    #[must_use]
    pub fn wants_reading(&self, connection: ConnectionKey) -> bool {
        let Some(slot) = self.outbound.slots.get(connection.index as usize) else { return false };
        slot.generation == connection.generation
            && slot.outbox.own_bytes() <= self.config.limits.outbox_bytes as usize / 2
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.outbound.len()
    }

    /// What it counts.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Which core it is the engine of.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Collects into the caller's effects, without handing them down through every call.
    fn enter(&mut self, now: Now, effects: &mut Effects) {
        self.outbound.now = now;
        std::mem::swap(&mut self.outbound.effects, effects);
        self.is_called = true;
    }

    fn leave(&mut self, effects: &mut Effects) {
        self.is_called = false;
        std::mem::swap(&mut self.outbound.effects, effects);
    }

    fn on_opened(&mut self, opened: &Opened) {
        let now = self.outbound.now.moment;
        let purpose = match opened.route {
            Route::Echo => Purpose::Echo,
            Route::Rooms(_) => Purpose::Rooms,
        };
        let key = opened.connection;
        self.outbound.insert(Box::new(Connection::new(opened, purpose, now)));
        self.figures.connections.set(self.outbound.len() as u64);
        if self.config.heartbeat.interval_ms > 0 {
            self.look_again(key, now.plus_ms(self.config.heartbeat.interval_ms));
        }
        if self.is_draining() {
            self.close(key, CloseReason::Drain);
        }
    }

    fn on_message(&mut self, key: ConnectionKey, kind: MessageKind, payload: &mut [u8]) {
        self.hear(key);
        let Some(connection) = self.outbound.get(key).filter(|c| c.is_open()) else { return };
        match connection.purpose {
            Purpose::Echo => self.echo(key, kind, payload),
            Purpose::Rooms => {}
        }
    }

    fn on_ping(&mut self, key: ConnectionKey, payload: &[u8]) {
        self.hear(key);
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        let crowded = slot.outbox.own_bytes() >= PONG_QUEUE_BYTES;
        let Some(connection) = slot.connection.as_deref_mut().filter(|c| c.is_open()) else {
            return;
        };
        if crowded {
            connection.pong = Some(payload.into());
        } else {
            self.outbound.control(key, Opcode::Pong, payload);
        }
    }

    fn on_pong(&mut self, key: ConnectionKey, payload: &[u8]) {
        self.hear(key);
        let now = self.outbound.now.moment;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        connection.pulse.answer(now, payload);
    }

    fn on_written(&mut self, key: ConnectionKey, bytes: usize) {
        self.figures.written_bytes.add(bytes as u64);
        let Some(slot) = self.outbound.slots.get_mut(key.index as usize) else { return };
        if slot.generation != key.generation {
            return;
        }
        slot.outbox.reclaim(&mut self.outbound.pool);
        let Some(connection) = slot.connection.as_deref_mut() else { return };
        if slot.outbox.own_bytes() < PONG_QUEUE_BYTES {
            if let Some(payload) = connection.pong.take() {
                self.outbound.control(key, Opcode::Pong, &payload);
            }
        }
    }

    fn on_lost(&mut self, key: ConnectionKey) {
        let Some(connection) = self.outbound.remove(key) else { return };
        if let Some(timer) = connection.timer {
            self.wheel.cancel(timer);
        }
        self.figures.connections.set(self.outbound.len() as u64);
    }

    /// Notes a sign of life.
    fn hear(&mut self, key: ConnectionKey) {
        let now = self.outbound.now.moment;
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.pulse.hear(now);
        }
    }

    fn on_connection_alarm(&mut self, key: ConnectionKey) {
        let now = self.outbound.now.moment;
        let heartbeat = &self.config.heartbeat;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        connection.timer = None;
        match connection.phase {
            Phase::Open => {
                match connection.pulse.beat(now, heartbeat.interval_ms, heartbeat.max_missed) {
                    Beat::Wait(until) => self.look_again(key, until),
                    Beat::Ask(payload) => {
                        self.outbound.control(key, Opcode::Ping, &payload);
                        self.look_again(key, now.plus_ms(self.config.heartbeat.interval_ms));
                    }
                    Beat::GiveUp => self.close(key, CloseReason::HeartbeatTimeout),
                }
            }
            Phase::Closing | Phase::Ended => self.give_up(key),
        }
    }

    /// Sets the one timer of a connection.
    fn look_again(&mut self, key: ConnectionKey, at: Moment) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let previous = connection.timer.take();
        if let Some(previous) = previous {
            self.wheel.cancel(previous);
        }
        let timer = self.wheel.insert(at, Alarm::Connection(key));
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.timer = Some(timer);
        }
    }
}
