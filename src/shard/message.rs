//! What engines say to each other, by whom it is for: one file for each, with what may be said and who
//! takes it in.
//!
//! Invariant: what one engine says to another arrives once and in order. So an answer to a join
//! stands before every delivery that the joined gets, and after every one that it does not.

mod answer;
mod connection;
mod engine;
mod home;
mod hub;
mod session;
mod user;

use std::sync::Arc;

use crate::id::CoreId;
use crate::protocol::RequestId;
use crate::room::broker::{FromBroker, ToBroker};

use super::Shard;
use super::foreign::Foreign;
use super::watch::Watch;

pub use self::answer::{Answer, AnswerEffect, Instead, Joined, Loss};
pub use self::connection::{Direct, Expel, ToConnection};
pub use self::engine::ToEngine;
pub use self::home::{Ask, Asker, ToHome};
pub use self::hub::{Configured, Reborn, ToHub};
pub use self::session::ToSession;
pub use self::user::ToUser;

/// A message from one core's engine to another's.
#[derive(Clone, Debug)]
pub enum CoreMessage {
    /// To a room's home.
    Home(ToHome),
    /// To a hub: for those who are in a room.
    Hub(ToHub),
    /// To one connection.
    Connection(ToConnection),
    /// To a user's home.
    User(ToUser),
    /// To a session's home.
    Session(ToSession),
    /// To an engine as a whole.
    Engine(ToEngine),
    /// Of patterns that are received over nodes.
    Watch(Box<Watch>),
    /// From a room's home to the broker, where there is one.
    ToBroker(Box<ToBroker>),
    /// From the broker to a room's home.
    FromBroker(Box<FromBroker>),
    /// From the bridge to every core: a message of a backend that knows only `PUBLISH`.
    Foreign(Arc<Foreign>),
}

/// Ties an answer to the command of a connection.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    /// What the client called it.
    pub id: Option<RequestId>,
    /// The batch it came in; 0: none.
    pub batch: u32,
    /// The `send` it is a part of; 0: none.
    pub send: u32,
    /// Its answer may be long: nothing else is carried out for its connection before that is there.
    pub is_long: bool,
}

impl CoreMessage {
    /// What it counts on the mesh: what is in memory because of it, until it is taken.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        let content = match self {
            Self::Home(message) => message.content_bytes(),
            Self::Hub(message) => message.content_bytes(),
            Self::Connection(message) => message.content_bytes(),
            Self::Session(message) => message.content_bytes(),
            Self::ToBroker(message) => size_of::<ToBroker>() + message.content_bytes(),
            Self::FromBroker(message) => size_of::<FromBroker>() + message.content_bytes(),
            Self::Foreign(foreign) => size_of::<Foreign>() + foreign.content_bytes(),
            // Small, or what homes hold, too.
            Self::User(_) | Self::Engine(_) | Self::Watch(_) => 0,
        };
        size_of::<Self>() + content
    }

    /// What stands for a delivery that does not fit into the backlog for a core: its place in the
    /// room's sequence, to be joined with that of the ones around it. None for what must arrive:
    /// everything but deliveries, and those that somebody counts.
    #[must_use]
    pub fn collapsed(&self) -> Option<Self> {
        let Self::Hub(message) = self else { return None };
        message.collapsed().map(Self::Hub)
    }

    /// Takes in a later message of the same room that has collapsed too; gives it back if it has
    /// not, or is of another room, or others may hear of it.
    ///
    /// # Errors
    /// The message that was not taken in.
    pub fn absorb(&mut self, later: Self) -> Result<(), Self> {
        match (self, later) {
            (Self::Hub(range), Self::Hub(later)) => range.absorb(later).map_err(Self::Hub),
            (_, later) => Err(later),
        }
    }
}

impl From<ToHome> for CoreMessage {
    fn from(message: ToHome) -> Self {
        Self::Home(message)
    }
}

impl From<ToHub> for CoreMessage {
    fn from(message: ToHub) -> Self {
        Self::Hub(message)
    }
}

impl From<ToConnection> for CoreMessage {
    fn from(message: ToConnection) -> Self {
        Self::Connection(message)
    }
}

impl From<ToUser> for CoreMessage {
    fn from(message: ToUser) -> Self {
        Self::User(message)
    }
}

impl From<ToSession> for CoreMessage {
    fn from(message: ToSession) -> Self {
        Self::Session(message)
    }
}

impl From<ToEngine> for CoreMessage {
    fn from(message: ToEngine) -> Self {
        Self::Engine(message)
    }
}

impl From<Watch> for CoreMessage {
    fn from(message: Watch) -> Self {
        Self::Watch(Box::new(message))
    }
}

impl From<ToBroker> for CoreMessage {
    fn from(message: ToBroker) -> Self {
        Self::ToBroker(Box::new(message))
    }
}

impl Shard {
    /// A message of an engine.
    pub(super) fn on_core(&mut self, from: CoreId, message: CoreMessage) {
        self.blame_for(&message);
        match message {
            CoreMessage::Home(message) => self.on_home(from, message),
            CoreMessage::Hub(message) => self.on_hub(message),
            CoreMessage::Connection(message) => self.on_connection(from, message),
            CoreMessage::User(message) => self.on_user(from, message),
            CoreMessage::Session(message) => self.on_session(from, message),
            CoreMessage::Engine(message) => self.on_engine(from, message),
            CoreMessage::Watch(watch) => self.on_watch(from, *watch),
            CoreMessage::FromBroker(message) => self.on_broker(*message),
            CoreMessage::Foreign(foreign) => self.on_foreign(&foreign),
            // The mesh takes it to the bridge.
            CoreMessage::ToBroker(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small() {
        assert!(size_of::<CoreMessage>() <= 80, "{}", size_of::<CoreMessage>());
    }
}
