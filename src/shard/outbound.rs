//! The connections of a core and the way out to each: who is there, and what is queued for whom.
//!
//! Invariants: a key finds the connection it was given for, or nothing; a connection is reported
//! dirty exactly when its outbox goes from empty to not empty.

use std::sync::Arc;

use crate::clock::Now;
use crate::config::Config;
use crate::id::ConnectionKey;
use crate::protocol::{self, Codec, Event};
use crate::room::publication::opcode;
use crate::ws::frame::{self, Opcode};

use super::connection::Connection;
use super::effect::Effects;
use super::outbox::{Outbox, Pool};
use super::run::Budget;

/// A place for a connection. Small, because a busy room walks over many of them.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) outbox: Outbox,
    /// It is to be judged message by message in the room that is being settled.
    pub(super) apart: bool,
    pub(super) connection: Option<Box<Connection>>,
}

/// The connections of a core and what they are owed.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) config: Arc<Config>,
    pub(super) now: Now,
    /// What the current call leads to.
    pub(super) effects: Effects,
    pub(super) slots: Vec<Slot>,
    pub(super) pool: Pool,
    pub(super) budget: Budget,
    count: usize,
    /// For the body of an event whose frame header needs its length.
    scratch: Vec<u8>,
}

impl Outbound {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            now: Now::default(),
            effects: Effects::default(),
            slots: Vec::new(),
            pool: Pool::default(),
            budget: Budget::default(),
            count: 0,
            scratch: Vec::new(),
        }
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Takes a connection in. Whoever had its place before is gone.
    pub(super) fn insert(&mut self, connection: Box<Connection>) {
        let ConnectionKey { index, generation } = connection.key;
        let index = index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            self.count += usize::from(slot.connection.is_none());
            *slot = Slot { generation, connection: Some(connection), ..Slot::default() };
        }
    }

    /// Forgets a connection and what waits for it.
    pub(super) fn remove(&mut self, key: ConnectionKey) -> Option<Box<Connection>> {
        let slot = self.slot_mut(key)?;
        let connection = slot.connection.take()?;
        slot.outbox = Outbox::default();
        self.count -= 1;
        Some(connection)
    }

    pub(super) fn slot_mut(&mut self, key: ConnectionKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation && slot.connection.is_some()).then_some(slot)
    }

    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        let slot = self.slots.get(key.index as usize)?;
        slot.connection.as_deref().filter(|_| slot.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.slot_mut(key)?.connection.as_deref_mut()
    }

    /// All connections, in the order of their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = ConnectionKey> + '_ {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref().map(|c| c.key))
    }

    /// Queues frames for one connection alone.
    pub(super) fn push(&mut self, key: ConnectionKey, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if slot.generation != key.generation || slot.connection.is_none() {
            return;
        }
        let was_empty = slot.outbox.is_empty();
        slot.outbox.push_own(&mut self.pool, write);
        if was_empty && !slot.outbox.is_empty() && !slot.outbox.is_held() {
            self.effects.dirty.push(key);
        }
    }

    /// Queues an event for one connection alone.
    pub(super) fn say(&mut self, key: ConnectionKey, event: &Event<'_>) {
        let Some(codec) = self.get(key).map(|connection| connection.codec) else { return };
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        protocol::encode(event, codec, &mut body);
        self.push(key, |out| frame::write(out, opcode(codec), false, &body));
        self.scratch = body;
    }

    /// Queues a control frame.
    pub(super) fn control(&mut self, key: ConnectionKey, opcode: Opcode, payload: &[u8]) {
        self.push(key, |out| frame::write(out, opcode, false, payload));
    }
}

/// Appends the frame of an event.
pub(super) fn write_event(event: &Event<'_>, codec: Codec, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(256);
    protocol::encode(event, codec, &mut body);
    frame::write(out, opcode(codec), false, &body);
}
