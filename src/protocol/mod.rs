//! The wire protocol: commands in, events out, in JSON and MessagePack.

/// How the server writes to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text frames, `ringroom.v1.json`.
    #[default]
    Json,
    /// Binary frames, `ringroom.v1.msgpack`.
    MessagePack,
}
