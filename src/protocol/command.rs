//! What a client can ask for: every message of PROTOCOL §2, aliases resolved.
//!
//! Invariants: a command that exists has all its required fields, each of the right kind and
//! within the lengths that PROTOCOL gives; names of rooms and patterns are only text here, and
//! nothing is allowed yet.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{
    Data, Filter, Messages, ModerationAction, Priority, RequestId, Role, RoomPatch, Secret,
};

/// Text of a command: borrowed from the payload unless it was escaped there.
pub type Text<'a> = Cow<'a, str>;

/// A command and what its answer is to carry.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// With an id it is answered exactly once. Never there for `response`.
    pub id: Option<RequestId>,
    /// What is asked.
    pub command: Command<'a>,
}

/// What a client can ask for.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// `auth`
    Auth(Auth<'a>),
    /// `join`, `join_room`
    Join(Box<Join<'a>>),
    /// `leave`, `leave_room`
    Leave(Leave<'a>),
    /// `publish`, `send_message`
    Publish(Publish<'a>),
    /// `send`
    Send(Send<'a>),
    /// `broadcast`
    Broadcast(Post<'a>),
    /// `ack`
    Ack(Ack<'a>),
    /// `history`
    History(History<'a>),
    /// `presence`
    Presence(Page<'a>),
    /// `presence.set`
    PresenceSet(PresenceSet<'a>),
    /// `rooms`
    Rooms,
    /// `state.set`
    StateSet(StateSet<'a>),
    /// `state.get`
    StateGet,
    /// `room.create`
    RoomCreate(RoomConfigure<'a>),
    /// `room.update`
    RoomUpdate(RoomConfigure<'a>),
    /// `room.delete`
    RoomDelete(RoomDelete<'a>),
    /// `room.info`
    RoomInfo(RoomInfo<'a>),
    /// `room.invite`, `.ban`, `.unban`, `.mute`, `.unmute`, `.kick`, `.role`
    Moderate(Moderate<'a>),
    /// `room.members`
    RoomMembers(Page<'a>),
    /// `subscribe`
    Subscribe(Subscribe<'a>),
    /// `unsubscribe`
    Unsubscribe(Unsubscribe<'a>),
    /// `batch`: its messages answer for themselves, and it after them.
    Batch(Messages<'a>),
    /// `ping`
    Ping(Ping<'a>),
    /// `response`
    Response(Response<'a>),
    /// Any other type.
    Application(Application<'a>),
}

/// Who the client is.
#[derive(Clone, Debug)]
pub struct Auth<'a> {
    /// The credential.
    pub token: Secret<'a>,
}

/// A place in a room's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// Which life of the room.
    pub epoch: Text<'a>,
    /// 0: before the first.
    pub offset: u64,
}

/// Receive a room.
#[derive(Clone, Debug)]
pub struct Join<'a> {
    /// Which.
    pub room: Text<'a>,
    /// Lets into this room.
    pub token: Option<Secret<'a>>,
    /// Lets into a protected room.
    pub password: Option<Secret<'a>>,
    /// The last that was seen.
    pub since: Option<Position<'a>>,
    /// Whether notices of presence are wanted.
    pub presence: bool,
    /// Only these events.
    pub events: Option<Vec<Text<'a>>>,
    /// Nothing less urgent.
    pub min_priority: Priority,
}

/// Receive a room no more.
#[derive(Clone, Debug)]
pub struct Leave<'a> {
    /// Which.
    pub room: Text<'a>,
}

/// What is published, wherever it goes.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// The content.
    pub data: Data<'a>,
    /// What it is, in the application's words.
    pub event: Option<Text<'a>>,
    /// Not to the connection that publishes.
    pub exclude_self: bool,
    /// No offset, not stored.
    pub transient: bool,
    /// A second publish with this key is the first one again.
    pub key: Option<Text<'a>>,
    /// How urgent.
    pub priority: Priority,
    /// Worthless after that.
    pub ttl_ms: Option<u64>,
    /// Who gets it.
    pub filter: Option<Box<Filter>>,
    /// `receipt: "delivered"`: the answer waits for the counts.
    pub receipt: bool,
}

/// Publish in a room.
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    /// Which.
    pub room: Text<'a>,
    /// What.
    pub post: Post<'a>,
}

/// To whom a message is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// All connections of a user.
    User(Text<'a>),
    /// All connections of each.
    Users(Vec<Text<'a>>),
    /// One connection.
    Connection(Text<'a>),
}

/// Send to users or a connection.
#[derive(Clone, Debug)]
pub struct Send<'a> {
    /// To whom.
    pub to: Recipient<'a>,
    /// The content.
    pub data: Data<'a>,
    /// What it is.
    pub event: Option<Text<'a>>,
    /// Not stored.
    pub transient: bool,
    /// How urgent.
    pub priority: Priority,
    /// Worthless after that.
    pub ttl_ms: Option<u64>,
}

/// Everything up to here was taken in.
#[derive(Clone, Debug)]
pub struct Ack<'a> {
    /// In which room.
    pub room: Text<'a>,
    /// Up to where.
    pub offset: u64,
}

/// Where a page of history lies; the position itself is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryBound<'a> {
    /// After this.
    Since(Position<'a>),
    /// Before this.
    Before(Position<'a>),
}

/// Read stored publications.
#[derive(Clone, Debug)]
pub struct History<'a> {
    /// Of which room.
    pub room: Text<'a>,
    /// Where; else the newest (`reverse`) or the oldest.
    pub bound: Option<HistoryBound<'a>>,
    /// From 1 to [`Page::LIMIT_MAX`].
    pub limit: u32,
    /// Newest first.
    pub reverse: bool,
}

/// A page of a list of users: `presence`, `room.members`.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Of which room.
    pub room: Text<'a>,
    /// From 1 to [`Page::LIMIT_MAX`].
    pub limit: u32,
    /// What the page before ended with: its `next`.
    pub after: Option<Text<'a>>,
}

impl Page<'_> {
    /// Where nothing is said.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// The longest page.
    pub const LIMIT_MAX: u32 = 1_000;
}

/// Say something about oneself in a room.
#[derive(Clone, Debug)]
pub struct PresenceSet<'a> {
    /// Where.
    pub room: Text<'a>,
    /// What.
    pub info: Data<'a>,
}

/// Keep something for the session.
#[derive(Clone, Debug)]
pub struct StateSet<'a> {
    /// What.
    pub data: Data<'a>,
}

/// Make a room, or change it.
#[derive(Clone, Debug)]
pub struct RoomConfigure<'a> {
    /// Which.
    pub room: Text<'a>,
    /// What is set; the rest stays.
    pub config: Box<RoomPatch>,
}

/// End a room.
#[derive(Clone, Debug)]
pub struct RoomDelete<'a> {
    /// Which.
    pub room: Text<'a>,
}

/// Ask what a room is.
#[derive(Clone, Debug)]
pub struct RoomInfo<'a> {
    /// Which.
    pub room: Text<'a>,
}

/// Whom a moderation command concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModerationTarget<'a> {
    /// A user.
    User(Text<'a>),
    /// Whoever comes from there; only `ban` and `unban`.
    Address(IpAddr),
}

/// Keep order in a room.
#[derive(Clone, Debug)]
pub struct Moderate<'a> {
    /// What is done.
    pub action: ModerationAction,
    /// Where.
    pub room: Text<'a>,
    /// To whom.
    pub target: ModerationTarget<'a>,
    /// For how long; else for good.
    pub for_ms: Option<u64>,
    /// Always there with [`ModerationAction::Role`].
    pub role: Option<Role>,
    /// Told to whom it concerns.
    pub reason: Option<Text<'a>>,
}

/// Receive all rooms of a pattern.
#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    /// Which rooms.
    pub pattern: Text<'a>,
    /// Only these events.
    pub events: Option<Vec<Text<'a>>>,
    /// Nothing less urgent.
    pub min_priority: Priority,
}

/// Receive a pattern no more.
#[derive(Clone, Debug)]
pub struct Unsubscribe<'a> {
    /// Which.
    pub pattern: Text<'a>,
}

/// Ask for life.
#[derive(Clone, Debug)]
pub struct Ping<'a> {
    /// Comes back.
    pub data: Option<Data<'a>>,
}

/// Answer the server's `request`.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// The request's.
    pub id: RequestId,
    /// What came of it.
    pub outcome: Result<Data<'a>, Failure<'a>>,
}

/// What a client says went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The application's.
    pub code: Text<'a>,
    /// For people.
    pub message: Text<'a>,
}

/// An event of the application: for its handler.
#[derive(Clone, Debug)]
pub struct Application<'a> {
    /// The message's `type`.
    pub event: Text<'a>,
    /// What it says.
    pub data: Option<Data<'a>>,
    /// Where it belongs.
    pub room: Option<Text<'a>>,
}
