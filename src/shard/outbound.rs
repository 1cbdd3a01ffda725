//! The connections of a core and the way out to each: who is there, and what is queued for whom.
//!
//! Invariants: a key finds the connection it was given for, or nothing; a connection is reported
//! dirty exactly when its outbox goes from empty to not empty.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::Config;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::{self, Codec, Event, GapReason};
use crate::room::hub::RoomTag;
use crate::room::publication::opcode;
use crate::ws::buffer;
use crate::ws::frame::{self, Opcode};

use super::connection::Connection;
use super::effect::Effects;
use super::message::CoreMessage;
use super::outbox::{Offer, Outbox, Pool, Terms};
use super::run::Run;

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
    core: CoreId,
    /// What this core says to itself, as it would to another.
    pub(super) local: VecDeque<CoreMessage>,
    pub(super) config: Arc<Config>,
    pub(super) now: Now,
    /// What the current call leads to.
    pub(super) effects: Effects,
    pub(super) slots: Vec<Slot>,
    pub(super) pool: Pool,
    /// Who goes on with the session of a connection that was called so.
    heirs: BTreeMap<Arc<str>, ConnectionKey>,
    count: usize,
    /// For the body of an event whose frame header needs its length.
    scratch: Vec<u8>,
}

impl Outbound {
    pub(super) fn new(core: CoreId, cores: u16, config: Arc<Config>) -> Self {
        let budget_bytes = config.limits.outbox_total_bytes / u64::from(cores.max(1));
        Self {
            core,
            local: VecDeque::new(),
            config,
            now: Now::default(),
            effects: Effects::default(),
            slots: Vec::new(),
            pool: Pool::new(budget_bytes),
            heirs: BTreeMap::new(),
            count: 0,
            scratch: Vec::new(),
        }
    }

    /// A connection goes on with the session of others.
    pub(super) fn note_names(&mut self, key: ConnectionKey) {
        let earlier = self.get(key).map(|connection| connection.earlier().to_vec());
        self.heirs.extend(earlier.into_iter().flatten().map(|name| (name, key)));
    }

    /// It does so no more.
    pub(super) fn forget_names(&mut self, connection: &Connection) {
        for name in connection.earlier() {
            if self.heirs.get(name) == Some(&connection.key) {
                self.heirs.remove(name);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn heirs_count(&self) -> usize {
        self.heirs.len()
    }

    /// Who goes on with the session of a connection that was called so.
    pub(super) fn heir(&self, name: &str) -> Option<ConnectionKey> {
        self.heirs.get(name).copied()
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

    /// Who is at a place.
    pub(super) fn key_at(&self, index: u32) -> Option<ConnectionKey> {
        let slot = self.slots.get(index as usize)?;
        slot.connection.as_deref().map(|connection| connection.key)
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

    /// Sends a message to a core; to this one in the same way, without leaving it.
    pub(super) fn send(&mut self, to: CoreId, message: impl Into<CoreMessage>) {
        let message = message.into();
        if to == self.core {
            self.local.push_back(message);
        } else {
            self.effects.letters.push((to, message));
        }
    }

    /// Queues frames for one connection alone.
    pub(super) fn push(&mut self, key: ConnectionKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.fill(key, |outbox, pool, _| outbox.push_own(pool, write));
    }

    /// Queues whole frames, if there are any.
    pub(super) fn push_bytes(&mut self, key: ConnectionKey, frames: &[u8]) {
        if !frames.is_empty() {
            self.push(key, |out| out.extend_from_slice(frames));
        }
    }

    /// Queues messages, whether there is space or not.
    pub(super) fn push_run(&mut self, key: ConnectionKey, run: Rc<Run>) {
        self.fill(key, |outbox, pool, _| outbox.push_run(run, pool));
    }

    /// Offers messages to one connection.
    pub(super) fn offer_run(&mut self, key: ConnectionKey, run: &Rc<Run>) -> Offer {
        let limit_bytes = self.config.limits.outbox_bytes as usize;
        let offer = self
            .fill(key, |outbox, pool, codec| outbox.offer(run, Terms { limit_bytes, codec }, pool));
        offer.unwrap_or(Offer::Withheld)
    }

    /// Tells one connection that messages will not come.
    pub(super) fn push_gap(
        &mut self,
        key: ConnectionKey,
        room: &Rc<RoomTag>,
        (from, to): (u64, u64),
        reason: GapReason,
    ) {
        self.fill(key, |outbox, pool, codec| {
            outbox.push_gap(room, (from, to), reason, codec, pool);
        });
    }

    /// Lets go what was held back, behind what `write` makes.
    pub(super) fn release(&mut self, key: ConnectionKey, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if slot.generation != key.generation || !slot.outbox.is_held() {
            return;
        }
        slot.outbox.release(&mut self.pool, write);
        if !slot.outbox.is_empty() {
            self.effects.dirty.push(key);
        }
    }

    /// A connection that is not welcomed any more: nothing that was held back is for it.
    pub(super) fn let_go(&mut self, key: ConnectionKey) {
        if let Some(slot) = self.slot_mut(key).filter(|slot| slot.outbox.is_held()) {
            slot.outbox.clear();
            self.release(key, |_| {});
        }
    }

    /// Changes an outbox; the driver hears of it if it was empty.
    fn fill<T>(
        &mut self,
        key: ConnectionKey,
        change: impl FnOnce(&mut Outbox, &mut Pool, Codec) -> T,
    ) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        let connection = slot.connection.as_ref()?;
        if slot.generation != key.generation {
            return None;
        }
        let was_empty = slot.outbox.is_empty();
        let result = change(&mut slot.outbox, &mut self.pool, connection.form.codec);
        if was_empty && !slot.outbox.is_empty() && !slot.outbox.is_held() {
            self.effects.dirty.push(key);
        }
        Some(result)
    }

    /// Queues an event for one connection alone.
    pub(super) fn say(&mut self, key: ConnectionKey, event: &Event<'_>) {
        let Some(codec) = self.get(key).map(|connection| connection.form.codec) else { return };
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        protocol::encode(event, codec, &mut body);
        self.push(key, |out| frame::write(out, opcode(codec), false, &body));
        self.scratch = body;
    }

    /// Gives back what a large event has taken.
    pub(super) fn give_back(&mut self) {
        buffer::give_back(&mut self.scratch);
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
