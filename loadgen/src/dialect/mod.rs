//! What is spoken over the WebSocket. A dialect turns commands into messages and messages into
//! events; everything else of this tool is the same for all servers.
//!
//! The measured payload travels unchanged inside a dialect's message, so that a template needs
//! only its stamp replaced, and an arriving message only be searched for the marker.

mod json;
mod messagepack;
mod notice;
mod raw;
mod ringroom;
mod socket_io;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use notice::Notice;

/// The dialects there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DialectName {
    /// Ringroom's protocol in JSON.
    #[default]
    Ringroom,
    /// Ringroom's protocol in MessagePack.
    RingroomMsgpack,
    /// Text messages as they are: any echo or broadcast server.
    Raw,
    /// The same with binary messages.
    RawBinary,
    /// Events of socket.io over WebSocket alone.
    SocketIo,
}

impl DialectName {
    /// The dialect itself.
    #[must_use]
    pub fn make(self) -> Box<dyn Dialect> {
        match self {
            Self::Ringroom => Box::new(ringroom::Ringroom::<json::Json>::new()),
            Self::RingroomMsgpack => {
                Box::new(ringroom::Ringroom::<messagepack::MessagePack>::new())
            }
            Self::Raw => Box::new(raw::Raw { binary: false }),
            Self::RawBinary => Box::new(raw::Raw { binary: true }),
            Self::SocketIo => Box::new(socket_io::SocketIo),
        }
    }
}

impl fmt::Display for DialectName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ringroom => "ringroom",
            Self::RingroomMsgpack => "ringroom-msgpack",
            Self::Raw => "raw",
            Self::RawBinary => "raw-binary",
            Self::SocketIo => "socket-io",
        })
    }
}

/// A message to be sent: a frame's content, and where the payload stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Text or binary.
    pub opcode: u8,
    /// Content.
    pub bytes: Vec<u8>,
    /// Where the payload begins.
    pub payload_at: usize,
}

/// What a room's member asks for beside publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Receive the room, from a position if one is known.
    Join {
        /// The room.
        room: &'a str,
        /// Epoch and offset seen last.
        since: Option<(&'a str, u64)>,
    },
    /// Receive it no more.
    Leave {
        /// The room.
        room: &'a str,
    },
    /// Who is there?
    Presence {
        /// The room.
        room: &'a str,
    },
    /// What was said?
    History {
        /// The room.
        room: &'a str,
        /// At most so many.
        limit: u32,
    },
}

/// A measured message, not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// The payload as it was received.
    pub payload: &'a [u8],
    /// Its number in the room, where the dialect numbers.
    pub offset: Option<u64>,
    /// The whole message, for [`Dialect::is_redelivery`].
    pub whole: &'a [u8],
}

/// What arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A measured message.
    Message(Arrived<'a>),
    /// A message of the server's own.
    Notice(Notice),
    /// A message that carries neither.
    Other,
    /// What should have been a message is none.
    Malformed,
}

/// See the module.
pub trait Dialect {
    /// What to offer in the handshake.
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    /// Whether the server speaks first, and the connection counts as open only then.
    fn greets(&self) -> bool {
        false
    }

    /// A message to everyone in `room`.
    fn publish(&self, room: &str, payload: &[u8]) -> Message;

    /// A message that comes back to its sender; `None` where the dialect has no such thing.
    fn echo(&self, payload: &[u8]) -> Option<Message>;

    /// A command's message, answered by a [`Notice::Done`] or [`Notice::Joined`]; `None` where the
    /// dialect has no such thing.
    fn command(&self, command: Command<'_>) -> Option<Message>;

    /// Makes sense of a message.
    fn read<'a>(&self, opcode: u8, bytes: &'a [u8]) -> Event<'a>;

    /// Whether the server marks the message as one it sent before.
    fn is_redelivery(&self, _whole: &[u8]) -> bool {
        false
    }
}
