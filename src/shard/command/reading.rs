//! A message of a client, command by command, as far as its answers are taken.
//!
//! Invariants: no further command is carried out for a connection that leaves too many answers unread,
//! or that is still to be given one that may be long; nothing is kept of a message that was left but how
//! far it was carried out: the driver hands it in again when that is over.

use crate::id::ConnectionKey;
use crate::protocol::{Command, Envelope, Messages, ParseLimits, Place, parse, parse_on};
use crate::shard::ask::What;
use crate::shard::connection::Connection;
use crate::shard::{Shard, pace};
use crate::ws::MessageKind;

/// How far a message was carried out that was left.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Progress {
    /// Where its next command is.
    place: Place,
    /// The number of the batch that it is; 0: it has no id.
    batch: u32,
    /// What its frames weigh, if that has not counted yet: it does with the first command that passes.
    bytes: u32,
}

impl What {
    /// Whether its answer may be a page, so that few of them are more than may wait.
    pub(super) fn has_long_answer(&self) -> bool {
        match self {
            Self::History(_)
            | Self::Presence(_)
            | Self::Members(_)
            | Self::Info
            | Self::Create(..)
            | Self::Update(_) => true,
            Self::Join(_)
            | Self::Leave
            | Self::Publish(_)
            | Self::Ack(_)
            | Self::PresenceSet(_)
            | Self::Delete
            | Self::Moderate(_) => false,
        }
    }
}

impl Connection {
    /// Whether it is still to be given as many answers as may be under way.
    fn is_busy(&self, most: u16) -> bool {
        self.unanswered >= u32::from(most) || self.awaits_long
    }

    /// Whether a message of it was left before its last command.
    pub(in crate::shard) fn is_within_message(&self) -> bool {
        self.is_open() && self.rare.as_ref().is_some_and(|rare| rare.progress.is_some())
    }
}

impl Shard {
    /// Whether more should be read from a connection, or carried out for it, now: false while it leaves
    /// too many answers unread.
    #[must_use]
    pub fn wants_reading(&self, key: ConnectionKey) -> bool {
        let Some(slot) = self.outbound.slots.get(key.index as usize) else { return false };
        let Some(peer) = &slot.connection else { return false };
        let (limits, pool) = (&self.config.limits, &self.outbound.pool);
        slot.generation == key.generation
            && slot.outbox.own_bytes() <= limits.outbox_bytes as usize / 2
            && !peer.is_busy(limits.unanswered_commands)
            && !(pool.is_over_budget() && slot.outbox.lags(pool))
    }

    /// Whether the message that a connection has sent last was left before its last command, and is to be
    /// handed in again once more [is wanted](Self::wants_reading).
    #[must_use]
    pub fn is_within_message(&self, key: ConnectionKey) -> bool {
        self.outbound.get(key).is_some_and(Connection::is_within_message)
    }

    /// A message of a client, from its beginning or from where it was left.
    pub(in crate::shard) fn read(
        &mut self,
        key: ConnectionKey,
        kind: MessageKind,
        payload: &[u8],
        frames: u32,
    ) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let left = match connection.rare.as_mut().and_then(|rare| rare.progress.take()) {
            Some(progress) => {
                let limits = ParseLimits::from(&self.config.limits);
                let messages = parse_on(kind, payload, progress.place, &limits);
                self.carry_out_all(key, messages, payload, progress.batch, progress.bytes)
            }
            None => self.begin(key, kind, payload, pace::weight(payload.len(), frames)),
        };
        if left.is_some()
            && let Some(connection) = self.outbound.get_mut(key)
        {
            connection.rare().progress = left;
        }
    }

    /// Reads a message that was not begun; how far it has come, if it is left.
    fn begin(
        &mut self,
        key: ConnectionKey,
        kind: MessageKind,
        payload: &[u8],
        bytes: u32,
    ) -> Option<Progress> {
        let mut messages = parse(kind, payload, &ParseLimits::from(&self.config.limits));
        if !messages.is_one() {
            return self.carry_out_all(key, messages, payload, 0, bytes);
        }
        let envelope = match messages.next()? {
            Ok(envelope) if self.pace(key, &envelope, bytes) => envelope,
            Ok(_) => return None,
            Err(bad) => {
                self.bad(key, &bad, 0);
                return None;
            }
        };
        match envelope {
            Envelope { id, command: Command::Batch(inner) } if self.is_welcomed(key) => {
                let batch = id.map_or(0, |id| self.begin_batch(key, id));
                self.carry_out_all(key, inner, payload, batch, 0)
            }
            envelope => {
                self.command(key, envelope, 0);
                None
            }
        }
    }

    /// Carries out the messages of a batch, and answers it behind them; how far it has come, if it stops
    /// before the last. `bytes` is what counts with the first that passes.
    fn carry_out_all(
        &mut self,
        key: ConnectionKey,
        mut messages: Messages<'_>,
        payload: &[u8],
        batch: u32,
        mut bytes: u32,
    ) -> Option<Progress> {
        while let Some(message) = messages.next() {
            if !self.outbound.get(key).is_some_and(Connection::is_open) {
                return None;
            }
            self.grow_batch(key, batch);
            match message {
                Ok(envelope) if self.pace(key, &envelope, bytes) => {
                    bytes = 0;
                    let is_answered = !matches!(envelope.command, Command::Response(_));
                    self.command(key, envelope, batch);
                    if !is_answered {
                        self.done(key, batch);
                    }
                }
                Ok(_) => self.done(key, batch),
                Err(bad) => self.bad(key, &bad, batch),
            }
            if self.wants_reading(key) {
                continue;
            }
            // What this core itself answers need not be waited for.
            self.hear_oneself();
            if !self.wants_reading(key)
                && messages.has_more()
                && let Some(place) = messages.place(payload)
            {
                return Some(Progress { place, batch, bytes });
            }
        }
        self.done(key, batch);
        None
    }

    fn is_welcomed(&self, key: ConnectionKey) -> bool {
        self.outbound.get(key).is_some_and(|connection| connection.welcomed)
    }

    /// A command is answered; see [`note_answer`](Self::note_answer).
    pub(in crate::shard) fn note_answered(&mut self, key: ConnectionKey) {
        self.note_answer(key, false);
    }

    /// A command is answered. If reading had stopped because of too many that were not, the driver is to
    /// look at the connection again, whether anything is written or not.
    pub(super) fn note_answer(&mut self, key: ConnectionKey, is_long: bool) {
        let most = self.config.limits.unanswered_commands;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let stopped = connection.is_busy(most);
        connection.unanswered = connection.unanswered.saturating_sub(1);
        connection.awaits_long &= !is_long;
        if stopped && !connection.is_busy(most) {
            self.outbound.effects.dirty.push(key);
        }
    }
}
