//! What a hub asks a room's home on behalf of a connection: commands, made independent of the bytes
//! they came in.

use std::sync::Arc;

use crate::protocol::{Filter, ModerationAction, OwnedData, Priority, Role, RoomPatch, Secret};
use crate::room::hub::Interest;

pub use super::quota::MayCreate;
pub use crate::room::charter::Target;

/// What is asked.
#[derive(Clone, Debug)]
pub enum What {
    /// `join`, and coming back.
    Join(Box<JoinAsk>),
    /// `leave`
    Leave,
    /// `publish`
    Publish(Box<PublishAsk>),
    /// `ack` behind commands that are not answered.
    Ack(AckAsk),
    /// `history`
    History(Box<HistoryAsk>),
    /// `presence`
    Presence(PageAsk),
    /// `presence.set`
    PresenceSet(OwnedData),
    /// `room.create`
    Create(Box<RoomPatch>, MayCreate),
    /// `room.update`
    Update(Box<RoomPatch>),
    /// `room.delete`
    Delete,
    /// `room.info`
    Info,
    /// `room.members`
    Members(PageAsk),
    /// `room.invite` and its like.
    Moderate(Box<ModerateAsk>),
}

/// A place in a room's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// Which life of the room.
    pub epoch: Box<str>,
    /// 0: before the first.
    pub offset: u64,
}

/// `join`, and coming back.
#[derive(Clone, Debug, Default)]
pub struct JoinAsk {
    /// What is wanted of the room.
    pub interest: Interest,
    /// The last that was seen.
    pub since: Option<Since>,
    /// Lets into a protected room.
    pub password: Option<Secret<'static>>,
    /// What a room token says: that they may come in, and perhaps as what.
    pub grant: Option<Option<Role>>,
    /// Whether the room may be made by this.
    pub may_create: MayCreate,
    /// The session was in the room before: what it missed and cannot get is told by a gap.
    pub resumes: bool,
    /// The room was kept for that session by its home.
    pub was_kept: bool,
}

/// `ack` behind commands that are not answered.
#[derive(Clone, Debug)]
pub struct AckAsk {
    /// Everything up to here has come.
    pub offset: u64,
    /// In which life of the room, as far as it was known when this was said.
    pub epoch: Option<Arc<str>>,
}

/// `publish`, `broadcast`, `send`
#[derive(Clone, Debug)]
pub struct PublishAsk {
    /// The content.
    pub data: OwnedData,
    /// What it is.
    pub event: Option<Box<str>>,
    /// Not to the connection that publishes.
    pub exclude_self: bool,
    /// No offset, not stored.
    pub transient: bool,
    /// A second publish with this key is the first one again.
    pub key: Option<Box<str>>,
    /// How urgent.
    pub priority: Priority,
    /// Worthless after that.
    pub ttl_ms: Option<u64>,
    /// Who gets it.
    pub filter: Option<Box<Filter>>,
    /// The answer waits for the counts.
    pub receipt: bool,
    /// It is a `send`: the answer is only the count.
    pub is_send: bool,
}

/// Where a page of history lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The oldest, or the newest if reversed.
    End,
    /// After this.
    Since(Since),
    /// Before this.
    Before(Since),
}

/// `history`
#[derive(Clone, Debug)]
pub struct HistoryAsk {
    /// Where.
    pub from: HistoryFrom,
    /// How many.
    pub limit: u32,
    /// Newest first.
    pub reverse: bool,
}

/// `presence`, `room.members`
#[derive(Clone, Debug)]
pub struct PageAsk {
    /// How many.
    pub limit: u32,
    /// Behind whom.
    pub after: Option<Box<str>>,
}

/// `room.invite` and its like.
#[derive(Clone, Debug)]
pub struct ModerateAsk {
    /// What is done.
    pub action: ModerationAction,
    /// To whom.
    pub target: Target,
    /// For how long; else for good.
    pub for_ms: Option<u64>,
    /// Which role.
    pub role: Option<Role>,
    /// Told to whom it concerns.
    pub reason: Option<Box<str>>,
}

impl What {
    /// What a client's content in it takes.
    pub(super) fn content_bytes(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.content_bytes(),
            Self::PresenceSet(info) => info.as_data().bytes().len(),
            _ => 64,
        }
    }
}

impl PublishAsk {
    /// What a client's content in it takes.
    pub(super) fn content_bytes(&self) -> usize {
        size_of::<Self>() + self.data.as_data().bytes().len()
    }
}
