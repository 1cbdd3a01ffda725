//! The wire protocol: commands in, events out, in JSON and MessagePack.
//!
//! Invariants: what a peer sends is read once, strictly, and costs no more than its length; what
//! is opaque is passed on byte for byte; each name of the protocol is spelled in one place.

pub mod command;
mod data;
mod encode;
pub mod event;
mod fault;
mod fields;
pub(crate) mod json;
mod mask;
mod msgpack;
mod name;
mod parse;
mod read;
#[doc = include_str!("PROTOCOL.md")]
pub mod reference {}
mod secret;
mod transcode;
mod vocabulary;
mod write;

#[cfg(test)]
mod tests;

pub use command::{Command, Envelope};
pub use data::{Data, OwnedData};
pub use encode::{encode, write_room_patch};
pub use event::Event;
pub use mask::Find;
pub use parse::{Bad, Messages, ParseLimits, Place, parse, parse_on};
pub use read::read_room_patch;
pub use secret::Secret;
pub use vocabulary::{
    CloseReason, Durability, ErrorCode, Filter, FilterAction, GapReason, LeftReason, Mode,
    ModerationAction, PresenceAction, Priority, RequestId, Role, RoomPatch, RoomRate, RoomType,
    Scalar, SlowConsumer, WordFilter,
};

/// How the server writes to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text frames, `ringroom.v1.json`.
    #[default]
    Json,
    /// Binary frames, `ringroom.v1.msgpack`.
    MessagePack,
}
