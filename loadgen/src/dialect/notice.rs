//! What a Ringroom server says beside messages, in either encoding.

use serde::Deserialize;

use super::Event;

/// A message of the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection may be used.
    Welcome {
        /// What to reconnect with.
        session: Option<String>,
        /// Whether a resumed session lost nothing, in none of its rooms.
        recovered: bool,
        /// The latest number of the room that it is in already; `None`: it is in no room.
        offset: Option<u64>,
    },
    /// A room is joined.
    Joined {
        /// The life of the room's numbering.
        epoch: String,
        /// The latest message's number.
        offset: u64,
        /// Whether what was missed follows.
        recovered: bool,
    },
    /// Any other command was carried out.
    Done,
    /// A command was refused.
    Failed {
        /// The protocol's word for why.
        code: String,
    },
    /// Messages that will not be delivered.
    Gap {
        /// How many.
        count: u64,
    },
    /// The server is about to close.
    Disconnect {
        /// The protocol's word for why.
        reason: String,
    },
}

/// The fields of every server message that this tool reads, whatever its type.
#[derive(Deserialize)]
pub(super) struct Fields {
    r#type: String,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    recovered: Option<bool>,
    #[serde(default)]
    rooms: Vec<Room>,
    #[serde(default)]
    epoch: Option<String>,
    #[serde(default)]
    offset: Option<u64>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    from: Option<serde_json::Value>,
    #[serde(default)]
    to: Option<u64>,
    #[serde(default)]
    reason: Option<String>,
}

/// A room that a welcome speaks of.
#[derive(Deserialize)]
struct Room {
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    offset: u64,
}

impl Fields {
    pub(super) fn into_event<'a>(self) -> Event<'a> {
        Event::Notice(match self.r#type.as_str() {
            "welcome" => Notice::Welcome {
                session: self.session,
                // The session may live on where what its rooms missed does not.
                recovered: self.recovered.unwrap_or(false)
                    && self.rooms.iter().all(|room| room.recovered),
                offset: self.rooms.iter().map(|room| room.offset).max(),
            },
            "ok" => match (self.epoch, self.offset, self.recovered) {
                (Some(epoch), Some(offset), Some(recovered)) => {
                    Notice::Joined { epoch, offset, recovered }
                }
                _ => Notice::Done,
            },
            "error" => Notice::Failed { code: self.code.unwrap_or_default() },
            "gap" => {
                let from = self.from.and_then(|from| from.as_u64()).unwrap_or(0);
                let to = self.to.unwrap_or(from);
                Notice::Gap { count: (to + 1).saturating_sub(from) }
            }
            "disconnect" => Notice::Disconnect { reason: self.reason.unwrap_or_default() },
            // One of ours has the marker and is not read here; this is somebody else's.
            _ => return Event::Other,
        })
    }
}
