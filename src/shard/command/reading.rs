//! A message of a client, command by command, as far as its answers are taken.
//!
//! Invariants: no further command is carried out for a connection that leaves too many answers unread,
//! or that is still to be given one that may be long; what was read of it already waits, in order, and
//! is taken up when that is over, without being asked for.

use std::collections::VecDeque;

use crate::id::ConnectionKey;
use crate::protocol::{Command, Envelope, Messages, ParseLimits, Place, parse, parse_on};
use crate::shard::ask::What;
use crate::shard::connection::Connection;
use crate::shard::{Shard, pace};
use crate::ws::MessageKind;

/// What is left of a message that was read in part.
#[derive(Debug)]
pub(in crate::shard) struct Rest {
    kind: MessageKind,
    payload: Box<[u8]>,
    progress: Progress,
}

/// How far a message has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Where its next message is, and the number of the batch that it is (0: it has no id), if it was
    /// begun.
    left: Option<(Place, u32)>,
    /// What its frames weigh: counts once, with the first of its messages that passes.
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

    /// Whether something that was read of it waits.
    pub(in crate::shard) fn has_rest(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.rests.is_empty())
    }

    /// Nothing more of it is carried out.
    pub(in crate::shard) fn forget_rests(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.rests = VecDeque::new();
        }
    }

    fn take_rest(&mut self) -> Option<Rest> {
        self.rare.as_mut()?.rests.pop_front()
    }
}

impl Shard {
    /// Whether more should be read from a connection now: false while it leaves too many answers
    /// unread.
    #[must_use]
    pub fn wants_reading(&self, connection: ConnectionKey) -> bool {
        self.takes_more(connection)
            && self.outbound.get(connection).is_some_and(|peer| !peer.has_rest())
    }

    /// Whether another of its commands may be carried out now.
    fn takes_more(&self, key: ConnectionKey) -> bool {
        let Some(slot) = self.outbound.slots.get(key.index as usize) else { return false };
        let Some(peer) = &slot.connection else { return false };
        let (limits, pool) = (&self.config.limits, &self.outbound.pool);
        slot.generation == key.generation
            && slot.outbox.own_bytes() <= limits.outbox_bytes as usize / 2
            && !peer.is_busy(limits.unanswered_commands)
            && !(pool.is_over_budget() && slot.outbox.lags(pool))
    }

    /// A message of a client.
    pub(in crate::shard) fn read(
        &mut self,
        key: ConnectionKey,
        kind: MessageKind,
        payload: &[u8],
        frames: u32,
    ) {
        let bytes = pace::weight(payload.len(), frames);
        let progress = Progress { bytes, ..Progress::default() };
        match self.outbound.get_mut(key).filter(|it| it.has_rest()) {
            Some(connection) => {
                let rest = Rest { kind, payload: payload.into(), progress };
                connection.rare().rests.push_back(rest);
            }
            None => {
                if let Some(progress) = self.read_on(key, kind, payload, progress) {
                    self.keep(key, Rest { kind, payload: payload.into(), progress });
                }
            }
        }
    }

    /// Reads a message from where it was left; how far it has come, if it is left again.
    fn read_on(
        &mut self,
        key: ConnectionKey,
        kind: MessageKind,
        payload: &[u8],
        progress: Progress,
    ) -> Option<Progress> {
        let limits = ParseLimits::from(&self.config.limits);
        if let Some((place, batch)) = progress.left {
            let messages = parse_on(kind, payload, place, &limits);
            return self.carry_out_all(key, messages, payload, batch, progress.bytes);
        }
        let mut messages = parse(kind, payload, &limits);
        if !messages.is_one() {
            return self.carry_out_all(key, messages, payload, 0, progress.bytes);
        }
        let envelope = match messages.next()? {
            Ok(envelope) if self.pace(key, &envelope, progress.bytes) => envelope,
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
            if !self.takes_more(key)
                && messages.has_more()
                && let Some(place) = messages.place(payload)
            {
                return Some(Progress { left: Some((place, batch)), bytes });
            }
        }
        self.done(key, batch);
        None
    }

    fn is_welcomed(&self, key: ConnectionKey) -> bool {
        self.outbound.get(key).is_some_and(|connection| connection.welcomed)
    }

    fn keep(&mut self, key: ConnectionKey, rest: Rest) {
        if let Some(connection) = self.outbound.get_mut(key).filter(|it| it.is_open()) {
            connection.rare().rests.push_front(rest);
        }
    }

    /// Reads on what was left of a connection's messages, as far as its answers are taken now.
    pub(in crate::shard) fn read_rest(&mut self, key: ConnectionKey) {
        self.blame(key);
        while self.takes_more(key) {
            let connection = self.outbound.get_mut(key);
            let Some(rest) = connection.and_then(Connection::take_rest) else { return };
            let Rest { kind, payload, progress } = rest;
            if let Some(progress) = self.read_on(key, kind, &payload, progress) {
                self.keep(key, Rest { kind, payload, progress });
            } else if self.wants_reading(key) {
                self.outbound.effects.dirty.push(key);
            }
        }
    }

    /// A command is answered; see [`note_answer`](Self::note_answer).
    pub(in crate::shard) fn note_answered(&mut self, key: ConnectionKey) {
        self.note_answer(key, false);
    }

    /// A command is answered. If reading had stopped because of too many that were not, it goes on:
    /// with what was read already, else the driver is to look at the connection again, whether
    /// anything is written or not.
    pub(super) fn note_answer(&mut self, key: ConnectionKey, is_long: bool) {
        let most = self.config.limits.unanswered_commands;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let stopped = connection.is_busy(most);
        connection.unanswered = connection.unanswered.saturating_sub(1);
        connection.awaits_long &= !is_long;
        if !stopped || connection.is_busy(most) {
            return;
        }
        if connection.has_rest() {
            self.resumed.push(key);
        } else {
            self.outbound.effects.dirty.push(key);
        }
    }
}
