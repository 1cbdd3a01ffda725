//! What the server can say: every message of PROTOCOL §3, borrowed from whoever says it.

use super::{
    CloseReason, Data, ErrorCode, GapReason, LeftReason, PresenceAction, Priority, RequestId, Role,
    RoomPatch, Secret,
};

/// What the server can say.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// `welcome`
    Welcome(Welcome<'a>),
    /// `auth_required`
    AuthRequired {
        /// How long the client has.
        within_ms: u64,
    },
    /// `ok`
    Ok {
        /// The command's.
        id: &'a RequestId,
        /// What it carries.
        reply: Reply<'a>,
    },
    /// `error`
    Error(Error<'a>),
    /// `message`
    Message(Message<'a>),
    /// `presence`
    Presence(Presence<'a>),
    /// `gap`
    Gap(Gap<'a>),
    /// `left`
    Left {
        /// Which room.
        room: &'a str,
        /// Why.
        reason: LeftReason,
        /// The user who did it.
        by: Option<&'a str>,
    },
    /// `room`
    Room {
        /// Which room.
        room: &'a str,
        /// What changed.
        change: RoomChange<'a>,
    },
    /// `pong`
    Pong {
        /// The ping's.
        id: Option<&'a RequestId>,
        /// The ping's.
        data: Option<Data<'a>>,
        /// Unix time.
        at_ms: u64,
    },
    /// `request`
    Request {
        /// For the `response`.
        id: &'a RequestId,
        /// What is asked, in the application's words.
        event: &'a str,
        /// The question.
        data: Data<'a>,
        /// How long the client has.
        within_ms: u64,
    },
    /// `expiring`
    Expiring {
        /// Unix time.
        at_ms: u64,
    },
    /// `disconnect`
    Disconnect {
        /// Why; says also whether to come back.
        reason: CloseReason,
        /// When to come back.
        retry_after_ms: Option<u64>,
    },
}

/// The first message once authenticated.
#[derive(Clone, Debug)]
pub struct Welcome<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The secret that resumes.
    pub session: Option<Secret<'a>>,
    /// None: anonymous.
    pub user: Option<&'a str>,
    /// The tenant's name.
    pub tenant: &'a str,
    /// Between WebSocket pings.
    pub heartbeat_ms: u64,
    /// Unix time.
    pub expires_at_ms: Option<u64>,
    /// Whether a session was resumed.
    pub recovered: bool,
    /// Rooms joined already.
    pub rooms: &'a [WelcomeRoom<'a>],
}

/// A room in `welcome`.
#[derive(Clone, Copy, Debug)]
pub struct WelcomeRoom<'a> {
    /// Which, and where it stands.
    pub joined: JoinedRoom<'a>,
    /// Whether all that was missed follows.
    pub recovered: bool,
    /// It is what one node knows, while Redis is out of reach.
    pub local: bool,
}

/// A room of a connection.
#[derive(Clone, Copy, Debug)]
pub struct JoinedRoom<'a> {
    /// Its name.
    pub room: &'a str,
    /// The user's role.
    pub role: Role,
    /// Where it stands.
    pub at: Place<'a>,
}

/// Where a room stands, or where a publication is: `epoch` and `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Which life of the room.
    pub epoch: &'a str,
    /// 0: nothing yet.
    pub offset: u64,
}

/// What an `ok` carries.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// Nothing: `ack`, `presence.set`, `state.set`, `room.delete`, moderation, `batch`.
    Done,
    /// `auth`
    Auth {
        /// Who that is; none: anonymous.
        user: Option<&'a str>,
        /// Unix time.
        expires_at_ms: Option<u64>,
    },
    /// `join`
    Join {
        /// The room as joined.
        joined: JoinedRoom<'a>,
        /// Whether all that was missed follows.
        recovered: bool,
        /// Users there.
        user_count: u64,
        /// It is what one node knows, while Redis is out of reach.
        local: bool,
    },
    /// `leave`
    Leave {
        /// Which room.
        room: &'a str,
    },
    /// `publish`, `broadcast`
    Publish(Published<'a>),
    /// `send`
    Send {
        /// Connections whose queue took it.
        delivered: u64,
    },
    /// `history`
    History {
        /// Which room.
        room: &'a str,
        /// Where it stands.
        at: Place<'a>,
        /// The page.
        messages: &'a [Message<'a>],
        /// Whether older ones were trimmed.
        truncated: bool,
    },
    /// `presence`
    Presence {
        /// Which room.
        room: &'a str,
        /// Users there.
        count: u64,
        /// The page.
        users: &'a [PresentUser<'a>],
        /// The next page is `after` this.
        next: Option<&'a str>,
    },
    /// `rooms`
    Rooms(&'a [JoinedRoom<'a>]),
    /// `state.get` (null where none was set); an application event's answer.
    Data(Option<Data<'a>>),
    /// `room.create`, `room.update`
    Room {
        /// Which room.
        room: &'a str,
        /// How it is.
        config: &'a RoomPatch,
        /// The user's role there.
        role: Role,
    },
    /// `room.info`
    RoomInfo(RoomInfo<'a>),
    /// `room.members`
    Members {
        /// The page.
        members: &'a [Member<'a>],
        /// The next page is `after` this.
        next: Option<&'a str>,
    },
    /// `subscribe`, `unsubscribe`
    Pattern(&'a str),
}

/// What became of a publish.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// Which room.
    pub room: &'a str,
    /// Where it is; none if transient.
    pub at: Option<Place<'a>>,
    /// Whether its key had been used.
    pub duplicate: bool,
    /// With `receipt: "delivered"`.
    pub receipt: Option<Receipt>,
}

/// Who took a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Connections whose queue took it.
    pub delivered: u64,
    /// Connections it was for.
    pub total: u64,
    /// Whether some cores or nodes did not say in time.
    pub partial: bool,
}

/// A user in a room.
#[derive(Clone, Copy, Debug)]
pub struct PresentUser<'a> {
    /// Who.
    pub user: &'a str,
    /// What they said about themselves.
    pub info: Option<Data<'a>>,
    /// Their connections there.
    pub connections: u64,
}

/// `room.info`
#[derive(Clone, Copy, Debug)]
pub struct RoomInfo<'a> {
    /// Which room.
    pub room: &'a str,
    /// How it is.
    pub config: &'a RoomPatch,
    /// Users there.
    pub user_count: u64,
    /// Users with a role.
    pub member_count: u64,
    /// Where it stands.
    pub at: Place<'a>,
    /// Unix time.
    pub created_at_ms: u64,
}

/// A user with a role.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Who.
    pub user: &'a str,
    /// Their role.
    pub role: Role,
    /// Whether they may not publish for now.
    pub muted: bool,
    /// Unix time.
    pub joined_at_ms: u64,
}

/// A command that failed.
#[derive(Clone, Copy, Debug)]
pub struct Error<'a> {
    /// The command's.
    pub id: Option<&'a RequestId>,
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: &'a str,
    /// When to try again.
    pub retry_after_ms: Option<u64>,
}

/// Who published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender<'a> {
    /// None: anonymous.
    pub user: Option<&'a str>,
    /// Their connection's name.
    pub connection: &'a str,
}

/// A publication.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where.
    pub room: &'a str,
    /// Its place; none if transient.
    pub at: Option<Place<'a>>,
    /// The content.
    pub data: Data<'a>,
    /// What it is.
    pub event: Option<&'a str>,
    /// Who published; none: the server's side.
    pub from: Option<Sender<'a>>,
    /// Unix time.
    pub at_ms: u64,
    /// Written unless normal.
    pub priority: Priority,
    /// May have been seen before.
    pub redelivered: bool,
}

/// A user came, went or said something.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a> {
    /// Where.
    pub room: &'a str,
    /// What happened.
    pub action: PresenceAction,
    /// Who.
    pub user: &'a str,
    /// What they say about themselves.
    pub info: Option<Data<'a>>,
}

/// Publications that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Where.
    pub room: &'a str,
    /// Which life of the room.
    pub epoch: &'a str,
    /// The first offset.
    pub from: u64,
    /// The last offset.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// What changed about a room.
#[derive(Clone, Copy, Debug)]
pub enum RoomChange<'a> {
    /// `updated`
    Updated {
        /// How it is now.
        config: &'a RoomPatch,
    },
    /// `invited`
    Invited {
        /// By whom.
        by: Option<&'a str>,
        /// With which role.
        role: Option<Role>,
    },
    /// `muted`
    Muted {
        /// Until when, in Unix time; else for good.
        until_ms: Option<u64>,
        /// By whom.
        by: Option<&'a str>,
        /// Why.
        reason: Option<&'a str>,
    },
    /// `unmuted`
    Unmuted {
        /// By whom.
        by: Option<&'a str>,
    },
    /// `role`
    Role {
        /// The new one.
        role: Role,
        /// By whom.
        by: Option<&'a str>,
    },
}
