//! Whose doing it would be if a call of the engine panicked, and what is done then.
//!
//! Invariant: somebody is to blame only while what they asked for is carried out, of which no other
//! connection's state depends; for all else, what the engine holds can no longer be trusted.

use crate::id::{ConnectionAddress, ConnectionKey, CoreId};

use super::life::FLUSH_FAULT;
use super::message::{CoreMessage, ToConnection, ToEngine, ToHome};
use super::{Alarm, Effects, Shard};

impl Shard {
    /// A call may have panicked: gives back the effects that it held, which are those of others, too,
    /// and says whose doing it was. None: this engine cannot go on.
    pub fn recover(&mut self, effects: &mut Effects) -> Option<ConnectionAddress> {
        if std::mem::take(&mut self.is_called) {
            std::mem::swap(&mut self.outbound.effects, effects);
        }
        self.blame.take()
    }

    /// What follows is done for this connection of this core.
    pub(super) fn blame(&mut self, key: ConnectionKey) {
        self.blame = Some(ConnectionAddress { core: self.core, key });
    }

    /// What follows is done because of a message.
    pub(super) fn blame_for(&mut self, message: &CoreMessage) {
        self.blame = match message {
            CoreMessage::Home(ToHome::Ask(ask)) => Some(ask.asker.address),
            CoreMessage::Engine(ToEngine::Fault { by }) => Some(*by),
            CoreMessage::Connection(ToConnection::Answer(answer)) => {
                Some(ConnectionAddress { core: self.core, key: answer.connection })
            }
            _ => None,
        };
    }

    /// For the test suite: a message that a server which obeys it dies of, in one place or another.
    pub(super) fn act_up(&mut self, key: ConnectionKey, payload: &[u8]) {
        match payload {
            b"panic" => panic!("a panic on request"),
            b"panic in a timer" => {
                let due = self.outbound.now.moment;
                self.wheel.insert(due, Alarm::Fault(key));
            }
            b"panic on the mesh" => {
                let other = CoreId((self.core.0 + 1) % self.cores);
                let by = ConnectionAddress { core: self.core, key };
                self.outbound.send(other, ToEngine::Fault { by });
            }
            FLUSH_FAULT => {
                if let Some(connection) = self.outbound.get_mut(key) {
                    connection.rare().pong = Some(FLUSH_FAULT.into());
                }
            }
            _ => {}
        }
    }
}
