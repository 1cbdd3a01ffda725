//! The life of a connection, apart from what it reads and writes: the stages it goes through, and its
//! end.
//!
//! Invariants: a connection counts in one stage at a time; whoever else knows of it, the engine or the
//! control plane, is told of its end once; one that is to end has a deadline, which being told so twice
//! does not put off.

use std::net::Shutdown;

use crate::clock::{Moment, Now};
use crate::id::ConnectionKey;
use crate::metrics::{self, HandshakeFailure};
use crate::ws::refusal::Refusal;

use super::connection::{Course, Stage, Written};
use super::core::{Deadline, State, key_of};
use super::intake::UNAVAILABLE;

/// How long a connection may take over its last goodbye.
pub const GOODBYE_MS: u64 = 4_000;

impl State {
    /// Lets a reader go on.
    pub(super) fn resume(&mut self, key: ConnectionKey) {
        if let Some(reader) = self.connection(key).and_then(|connection| connection.paused.take()) {
            reader.wake();
        }
    }

    /// Nothing of a connection stays: its reader has seen the end.
    pub(super) fn remove(&mut self, now: Now, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        // A task that waits for room in the kernel's buffer sees the end, too.
        connection.stream.shutdown(Shutdown::Both);
        self.retire(now, key);
        let connection = self.connections.remove(key.index as usize);
        if let Some(timer) = connection.deadline {
            self.wheel.cancel(timer);
        }
    }

    /// Nothing more is to come of a connection: whoever else knows of it forgets it, the engine or
    /// the control plane.
    pub(super) fn retire(&mut self, now: Now, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let before = std::mem::replace(&mut connection.stage, Stage::Ending);
        self.leave(&before);
        match before {
            Stage::Open(seat) => {
                self.vacate(seat);
                self.lose(now, key);
            }
            Stage::Relay(relay) => self.post_to_control(relay.reset()),
            Stage::Handshake(greeting) => self.vacate(greeting.waiting.and_then(|it| it.behind)),
            Stage::Ending => {}
        }
    }

    /// A connection has come so far.
    pub(super) fn enter(&self, stage: &Stage) {
        if let Some(figure) = self.figure(stage) {
            figure.add(1);
        }
    }

    /// A connection has left a stage: for the next one, or for good.
    pub(super) fn leave(&self, stage: &Stage) {
        if let Some(figure) = self.figure(stage) {
            figure.sub(1);
        }
    }

    fn figure(&self, stage: &Stage) -> Option<&metrics::Figure> {
        match stage {
            Stage::Handshake(_) => Some(&self.metrics.handshakes_pending),
            Stage::Open(_) => Some(&self.metrics.connections),
            Stage::Relay(_) => Some(&self.metrics.relayed),
            Stage::Ending => None,
        }
    }

    /// Whether the process is to end.
    pub(super) fn is_draining(&self) -> bool {
        self.all_end_at.is_some()
    }

    /// When a goodbye that begins now is over: in a drain, with all others, however late it began.
    fn goodbye_ends(&self, now: Now) -> Moment {
        let ends = now.moment.plus_ms(GOODBYE_MS);
        self.all_end_at.map_or(ends, |all| ends.min(all))
    }

    /// Ends a connection once all that waits is written; it may take [`GOODBYE_MS`], and no longer
    /// for being told twice.
    pub(super) fn part(&mut self, now: Now, key: ConnectionKey) {
        let timer = self.wheel.insert(self.goodbye_ends(now), Deadline::Connection(key));
        let Some(connection) = self.connection(key).filter(|connection| !connection.hangs_up())
        else {
            self.wheel.cancel(timer);
            return;
        };
        connection.course = Course::HangsUp;
        let before = connection.deadline.replace(timer);
        if let Some(before) = before {
            self.wheel.cancel(before);
        }
        self.effects.dirty.push(key);
        self.forget_kept(key);
    }

    /// Whether a WebSocket client that has ended its side is still owed something, as one that said
    /// all it had to say and now reads the answers. It has as long as for a goodbye.
    pub(super) fn stays_for_answers(&mut self, now: Now, key: ConnectionKey) -> bool {
        let engine_owes = self.shard.owes(key);
        let Some(connection) = self.connection(key) else {
            return false;
        };
        let before = connection.course;
        if engine_owes || !connection.raw.is_empty() {
            connection.course = Course::HasEnded;
        } else if !matches!(connection.end_session(), Written::Blocked) {
            return false;
        } else if !connection.is_blocked {
            // Whoever waits for room in the kernel is written when there is some.
            self.effects.dirty.push(key);
        }
        if before != Course::HasEnded {
            let timer = self.wheel.insert(self.goodbye_ends(now), Deadline::Connection(key));
            if let Some(connection) = self.connection(key) {
                connection.deadline = Some(timer);
            }
        }
        true
    }

    /// A connection has had its time: in the handshake it is told so, at the end it is let go.
    pub(super) fn end_overdue(&mut self, now: Now, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.deadline = None;
        let is_late = matches!(connection.stage, Stage::Handshake(_)) && !connection.hangs_up();
        let can_be_told = connection.tls.as_ref().is_none_or(|tls| tls.may_encrypt());
        if is_late && can_be_told {
            let refusal = self.overdue(key);
            return self.refuse(now, key, &refusal);
        }
        if is_late {
            self.metrics.handshake_failures.count(HandshakeFailure::Deadline);
        }
        self.abort(now, key);
    }

    /// Whoever has not finished a handshake or got a response by the end of a drain does not stay
    /// for it: the engine has sent all others away.
    pub(super) fn end_handshakes_and_relays(&mut self, now: Now) {
        let connections = self.connections.iter().filter(|(_, it)| !it.hangs_up());
        let unfinished: Vec<(ConnectionKey, bool)> = connections
            .filter(|(_, it)| matches!(it.stage, Stage::Handshake(_) | Stage::Relay(_)))
            .map(|(index, it)| (key_of(index, it), matches!(it.stage, Stage::Handshake(_))))
            .collect();
        for (key, is_handshake) in unfinished {
            if is_handshake {
                self.metrics.refusals.count(metrics::Refusal::Drain);
                self.tell(key, UNAVAILABLE);
            }
            self.part(now, key);
        }
    }

    /// Queues the answer to a request that has not come, where it can be read.
    fn tell(&mut self, key: ConnectionKey, refusal: Refusal) {
        if let Some(connection) = self.connection(key)
            && connection.tls.as_ref().is_none_or(|tls| tls.may_encrypt())
        {
            connection.raw = refusal.response();
        }
    }
}
