//! What can happen to an engine.

use std::net::IpAddr;

use crate::auth::Answer;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::{Codec, Secret};
use crate::ws::MessageKind;
use crate::ws::close::Fault;
pub use crate::ws::handshake::Route;

use super::CoreMessage;
use super::application::Question;
use super::door::Entry;
use super::edict::Edict;

/// Something happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A handshake was accepted: the connection exists from now on.
    Opened(Box<Opened>),
    /// A whole message, unmasked, reassembled, inflated; text is valid UTF-8. The engine may
    /// scribble on it. While it [is left](super::Shard::is_within_message), the next one is that again.
    Message {
        /// From whom.
        connection: ConnectionKey,
        /// Text or binary.
        kind: MessageKind,
        /// What it says.
        payload: &'a mut [u8],
        /// How many frames it came in.
        frames: u32,
    },
    /// Bytes came that make no whole message yet: a sign of life.
    Alive {
        /// From whom.
        connection: ConnectionKey,
    },
    /// A ping, to be answered with the same payload.
    Ping {
        /// From whom.
        connection: ConnectionKey,
        /// At most 125 bytes.
        payload: &'a [u8],
    },
    /// A pong, asked for or not.
    Pong {
        /// From whom.
        connection: ConnectionKey,
        /// At most 125 bytes.
        payload: &'a [u8],
    },
    /// The peer's close frame: the answer to ours, or the first of the two.
    CloseFrame {
        /// From whom.
        connection: ConnectionKey,
        /// Its code, if it gave one.
        code: Option<u16>,
    },
    /// The peer broke the protocol; nothing more will be read from it.
    Fault {
        /// Who.
        connection: ConnectionKey,
        /// How.
        fault: Fault,
    },
    /// What the peer has sent cannot be kept; nothing more will be read from it.
    Overload {
        /// Whose.
        connection: ConnectionKey,
    },
    /// Something on the connection's way panicked: it is to be closed by 1011, and nothing more will
    /// be read from it.
    Failed {
        /// Whose.
        connection: ConnectionKey,
    },
    /// The socket is gone (end of stream, reset, or closed by the driver).
    Lost {
        /// Whose.
        connection: ConnectionKey,
    },
    /// Bytes of the outbox reached the kernel; sent once per connection and flush.
    Written {
        /// Whose.
        connection: ConnectionKey,
    },
    /// A message of another core's engine.
    Core {
        /// Which core.
        from: CoreId,
        /// What it says.
        message: CoreMessage,
    },
    /// The operator has decided something; [`Effects::carried`](super::Effects) will say when it is
    /// done.
    Edict {
        /// Names it.
        number: u64,
        /// What.
        edict: Edict,
    },
    /// The control plane has found out something about credentials.
    Answer(Box<Answer>),
    /// A program asks a client something; [`Effects::answered`](super::Effects) will say what.
    Question(Box<Question>),
    /// Send all connections away (close 1012 `drain`), spread over `window_ms`.
    Drain {
        /// Over how long.
        window_ms: u64,
    },
}

/// What the handshake settled.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The socket.
    pub connection: ConnectionKey,
    /// Where it went.
    pub route: Route,
    /// How the server writes.
    pub codec: Codec,
    /// The longest message that may be sent deflated (the window the peer asked for); 0: none.
    pub deflate_up_to: u32,
    /// The client's address, a trusted proxy's word included; none on a UNIX socket.
    pub address: Option<IpAddr>,
    /// `?session=…`.
    pub session: Option<Secret<'static>>,
    /// Who it is, as far as that is known.
    pub entry: Entry,
}
