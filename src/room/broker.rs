//! What a room's home and its broker say to each other, where many nodes are one server: then the
//! broker decides the order of a room's publications, and the homes of all nodes follow it.
//!
//! Invariants: an epoch that follows another has a higher number; offsets of an epoch that a broker
//! gave have no hole; two publications never have the same [`Stamp`].

mod direct;
mod patterns;
mod session;

use std::sync::Arc;

use crate::clock::Moment;
use crate::id::ConnectionKey;
use crate::protocol::{Durability, ErrorCode};

use super::attendance::{Attendance, AttendanceAsk, Mark, Step};
use super::bookmark::{BookmarkAsk, BookmarkNews};
use super::charter::{Amendment, Charter, Motion, Vote};
use super::config::RoomConfig;
use super::entrance::{EntranceAsk, Place};
use super::history::Bounds;
use super::invited::Invited;
use super::name::RoomKey;

pub use self::direct::{DirectAsk, DirectNews};
pub use self::patterns::{Beginning, Call, CallId, Calls, PatternAsk, Patterns};
pub use self::session::{Claim, Found, FromSessions, Since, ToSessions};

/// Tells a publication from all others of all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The process that published it.
    pub node: u64,
    /// The core that is the room's home there.
    pub core: u16,
    /// Counts what that core has published.
    pub ticket: u64,
}

impl Stamp {
    /// How long it is when written.
    pub const BYTES: usize = 18;

    /// As it is written.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.node.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.core.to_be_bytes());
        bytes[10..].copy_from_slice(&self.ticket.to_be_bytes());
        bytes
    }

    /// What was written; none if that is not as long as a stamp.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (node, rest) = bytes.split_first_chunk()?;
        let (core, rest) = rest.split_first_chunk()?;
        let ticket = rest.try_into().ok()?;
        Some(Self {
            node: u64::from_be_bytes(*node),
            core: u16::from_be_bytes(*core),
            ticket: u64::from_be_bytes(ticket),
        })
    }
}

/// How far a home has followed a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which life of it.
    pub epoch: Arc<str>,
    /// Its last offset there.
    pub offset: u64,
    /// What that offset was, where it was a publication.
    pub stamp: Option<Stamp>,
}

/// What the broker is to keep of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Publications.
    pub size: u32,
    /// Bytes of them, as they are [written](super::wire); the last one whatever it takes.
    pub bytes: u64,
    /// For how long.
    pub ttl_ms: u64,
    /// So many replicas have a publication before it is answered.
    pub replicas: u8,
}

impl Keep {
    /// What a room with this configuration wants.
    #[must_use]
    pub fn of(config: &RoomConfig) -> Self {
        let replicas = match config.durability {
            Durability::Replicas(count) => count,
            Durability::Memory | Durability::Everysec | Durability::Always => 0,
        };
        let Bounds { size, bytes, ttl_ms } = config.history;
        Self { size, bytes, ttl_ms, replicas }
    }
}

/// A publication that asks for its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// For the answer.
    pub ticket: u64,
    /// Where.
    pub room: RoomKey,
    /// If the broker has come less far, it has lost something, and begins a new epoch.
    pub seen: Option<Seen>,
    /// What is kept of the room.
    pub keep: Keep,
    /// A second publication with this key is the first one again, for so many milliseconds.
    pub key: Option<(Box<str>, u64)>,
    /// Its publisher may publish again after so many milliseconds, on whichever node.
    pub pace: Option<(Arc<str>, u64)>,
    /// The publication, [written](super::wire).
    pub wire: Box<[u8]>,
}

/// From a room's home to the broker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToBroker {
    /// Listen to a room and tell what the home has not seen of it.
    Open {
        /// Which.
        room: RoomKey,
        /// None: nothing.
        seen: Option<Seen>,
        /// What the home has seen is wanted as well, as far as it is kept.
        all: bool,
        /// It is a user's, or everyone's, and what is said there waits for who is not there.
        lasts: bool,
    },
    /// Nobody here needs the room any more.
    Close {
        /// Which.
        room: RoomKey,
    },
    /// Give a publication its place, keep it and tell all who listen.
    Publish(Publish),
    /// Something about who is in a room.
    Attend {
        /// Which.
        room: RoomKey,
        /// What.
        ask: AttendanceAsk,
    },
    /// Tell what has been decided about a room, if it is more than this.
    Recall {
        /// Which.
        room: RoomKey,
        /// What is known.
        known: Mark,
    },
    /// Something about how far users have come in a room.
    Bookmarks {
        /// Which.
        room: RoomKey,
        /// What.
        ask: BookmarkAsk,
    },
    /// Decide something about a room.
    Move {
        /// Which.
        room: RoomKey,
        /// What.
        motion: Box<Motion>,
    },
    /// A connection of a user comes or goes.
    Entrance {
        /// Which.
        place: Place,
        /// What of it.
        ask: EntranceAsk,
    },
    /// Connections of users are there whatever the limit says: they came over an earlier link, or while
    /// nobody could be asked.
    Hold {
        /// Which, and since when.
        places: Vec<(Place, Moment)>,
        /// They are all that the core has over the link of this number; none: some.
        all_of: Option<u64>,
    },
    /// Tell all who listen, and keep nothing.
    Pass {
        /// Where.
        room: RoomKey,
        /// The publication, [written](super::wire).
        wire: Box<[u8]>,
    },
    /// A user is invited: tell the nodes where they are, and those to which they come.
    Invite {
        /// The user's reserved room.
        user: RoomKey,
        /// To what.
        invited: Box<Invited>,
    },
    /// A connection of a user was welcomed: say what they are invited to.
    Greet {
        /// The user's reserved room.
        user: RoomKey,
        /// Which connection.
        connection: ConnectionKey,
    },
    /// About a message for one connection.
    Direct(DirectAsk),
    /// About a session.
    Session(ToSessions),
    /// About patterns of rooms.
    Patterns(PatternAsk),
}

/// Why the broker did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is out of reach: it was asked nothing.
    Unsent,
    /// It was asked and does not answer in time. Whether it was done is not known.
    Lost,
    /// The node that is to do it does not listen.
    NodeAway,
    /// Too much waits for it.
    Overload,
    /// It takes no writes: a replica, or a server that cannot write its log.
    ReadOnly,
    /// Its memory is full.
    OutOfMemory,
    /// It has fewer replicas than it wants to take writes.
    NoReplicas,
    /// It does not allow it.
    Denied,
    /// Its publisher has published a moment ago, and may again in so many milliseconds.
    TooSoon(u64),
    /// Fewer replicas have it than were asked for: whether it stays is not known.
    TooFewReplicas,
    /// It said something else.
    Other,
}

impl Fault {
    /// Whether the broker takes no such thing now, so that whoever can do without it may go on.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Unsent
            | Self::ReadOnly
            | Self::OutOfMemory
            | Self::NoReplicas
            | Self::Denied
            | Self::Other => true,
            Self::Lost
            | Self::NodeAway
            | Self::Overload
            | Self::TooSoon(_)
            | Self::TooFewReplicas => false,
        }
    }

    /// What a client is told: `timeout` if it may have been done, else why it was not.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Lost | Self::TooFewReplicas => ErrorCode::Timeout,
            Self::TooSoon(_) => ErrorCode::RateLimited,
            _ => ErrorCode::Unavailable,
        }
    }
}

/// How safe the broker keeps what it has answered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// On its disk.
    pub disk: Disk,
    /// How many replicas follow it; each primary of a cluster has as many or more.
    pub replicas: u8,
}

/// Through which crash of its own the broker keeps what it has answered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disk {
    /// None: it is in memory.
    #[default]
    Memory,
    /// On disk, within a second or two.
    EverySecond,
    /// On disk, before it answers.
    Always,
}

impl Kept {
    /// What no Redis is better than.
    pub const BEST: Self = Self { disk: Disk::Always, replicas: u8::MAX };

    /// Whether that is as safe as `durability` asks.
    #[must_use]
    pub fn honours(self, durability: Durability) -> bool {
        match durability {
            Durability::Memory => true,
            Durability::Everysec => self.disk >= Disk::EverySecond,
            Durability::Always => self.disk >= Disk::Always,
            Durability::Replicas(count) => self.replicas >= count,
        }
    }

    /// What both keep.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { disk: self.disk.min(other.disk), replicas: self.replicas.min(other.replicas) }
    }
}

/// How a room is, as far as the broker knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Which life of it.
    pub epoch: Arc<str>,
    /// Its last offset.
    pub offset: u64,
    /// What that offset was; none if it was no publication.
    pub stamp: Option<Stamp>,
    /// The home has asked for all, not only for what it has not seen.
    pub is_whole: bool,
    /// What the home has not seen, or all, as far as it was kept: offsets in order, publications written.
    pub entries: Vec<(u64, Box<[u8]>)>,
}

/// A publication has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which life of the room.
    pub epoch: Arc<str>,
    /// Where in it.
    pub offset: u64,
    /// It had that place before.
    pub is_duplicate: bool,
    /// How many nodes were told.
    pub nodes: u32,
}

/// What all who listen to a room are told.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A publication with a place.
    Publication {
        /// Which life of the room.
        epoch: Arc<str>,
        /// Where in it.
        offset: u64,
        /// The publication, [written](super::wire).
        wire: Box<[u8]>,
    },
    /// A publication without.
    Transient {
        /// The publication, [written](super::wire).
        wire: Box<[u8]>,
    },
    /// Somebody came or went.
    Attendance(Step),
    /// Something was decided.
    Amendment(Box<Amendment>),
    /// The user whose room it is is invited to another one.
    Invited(Arc<Invited>),
    /// A new life of the room has begun; its first offsets are taken by no publication.
    Epoch {
        /// Which.
        epoch: Arc<str>,
        /// The last offset that is taken.
        offset: u64,
    },
}

/// From the broker to a room's home.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBroker {
    /// It is in reach, or no longer. Rooms are to be opened again when it is so again. Said while it
    /// is in reach, it only tells how safe it is now.
    Link {
        /// Whether it is.
        is_up: bool,
        /// How safe it keeps what it has answered for.
        kept: Kept,
        /// Counts links: over each one the places of users are told anew.
        number: u64,
    },
    /// The nodes that it joins write in a form that this one does not know: until it is in reach,
    /// nothing is to be done in rooms, because that would be another server under the same name.
    Barred,
    /// The part of it that holds this room is out of reach, until the room is opened.
    Severed {
        /// Which.
        room: RoomKey,
    },
    /// A room is listened to.
    Opened {
        /// Which.
        room: RoomKey,
        /// How it is.
        outcome: Result<Life, Fault>,
    },
    /// Who is in a room; none: what was known already.
    Looked {
        /// Which.
        room: RoomKey,
        /// Who.
        outcome: Result<Option<Box<Attendance>>, Fault>,
    },
    /// What this node says of who is in a room is told to all, or not; so is what it said last.
    Said {
        /// Which.
        room: RoomKey,
        /// How far that goes.
        outcome: Result<Mark, Fault>,
    },
    /// What this node has said of who is in a room could not be taken back, as far as is known.
    NotForgotten {
        /// Which.
        room: RoomKey,
    },
    /// What has been decided about a room; none: what was known already.
    Recalled {
        /// Which.
        room: RoomKey,
        /// What.
        outcome: Result<Option<Box<Charter>>, Fault>,
    },
    /// The answer to something about how far users have come in a room.
    Bookmarks {
        /// Which.
        room: RoomKey,
        /// What.
        news: BookmarkNews,
    },
    /// Something was decided about a room, or not.
    Voted {
        /// Which.
        room: RoomKey,
        /// As it was asked.
        ticket: u64,
        /// Whether.
        outcome: Result<Vote, Fault>,
    },
    /// Whether a connection of a user may be there.
    Entered {
        /// Which.
        place: Place,
        /// Whether.
        outcome: Result<bool, Fault>,
    },
    /// A newer connection of the user has taken this one's place, on whichever node.
    Displaced {
        /// Which.
        connection: ConnectionKey,
    },
    /// A node is no more: what it has said does not hold.
    Lapsed {
        /// Which.
        node: u64,
    },
    /// A publication was placed, or not.
    Published {
        /// As it was asked.
        ticket: u64,
        /// Where.
        outcome: Result<Placed, Fault>,
    },
    /// Something was told to all who listen.
    News {
        /// Which room.
        room: RoomKey,
        /// What.
        news: News,
    },
    /// Some news of a room did not fit on the way here: it is to be opened again.
    Missed {
        /// Which.
        room: RoomKey,
    },
    /// The user of a connection that was welcomed is invited to a room.
    Invited {
        /// Which connection.
        connection: ConnectionKey,
        /// To what.
        invited: Box<Invited>,
    },
    /// About a message for one connection.
    Direct(DirectNews),
    /// About a session.
    Session(FromSessions),
    /// What others receive by patterns, and have called.
    Patterns(Result<Box<Patterns>, Fault>),
    /// A room was called, or not.
    Called {
        /// Which.
        room: RoomKey,
        /// Whether.
        outcome: Result<(), Fault>,
    },
}

impl ToBroker {
    /// What of a client it holds in memory.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::Publish(Publish { wire, .. })
            | Self::Pass { wire, .. }
            | Self::Direct(DirectAsk::Send { wire, .. }) => wire.len(),
            Self::Session(message) => message.content_bytes(),
            Self::Patterns(PatternAsk::Read { says: Some(says), .. }) => {
                says.iter().map(|(_, pattern)| pattern.as_str().len()).sum()
            }
            Self::Open { .. }
            | Self::Close { .. }
            | Self::Attend { .. }
            | Self::Recall { .. }
            | Self::Bookmarks { .. }
            | Self::Entrance { .. }
            | Self::Invite { .. }
            | Self::Greet { .. }
            | Self::Direct(DirectAsk::Answer { .. })
            | Self::Patterns(_) => 0,
            Self::Move { motion, .. } => size_of_val(&*motion.entries),
            Self::Hold { places, .. } => size_of_val(&**places),
        }
    }
}

impl FromBroker {
    /// What of a client it holds in memory.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::News {
                news: News::Publication { wire, .. } | News::Transient { wire }, ..
            }
            | Self::Direct(DirectNews::Sent { wire, .. }) => wire.len(),
            Self::Opened { outcome: Ok(life), .. } => {
                life.entries.iter().map(|(_, wire)| wire.len()).sum()
            }
            Self::Session(message) => message.content_bytes(),
            _ => 0,
        }
    }
}

/// The number by which epochs of a broker follow each other; 0 for one that no broker gave.
#[must_use]
pub fn epoch_number(epoch: &str) -> u64 {
    epoch.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back() {
        let stamp = Stamp { node: u64::MAX - 1, core: 513, ticket: 1 << 40 };
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), Some(stamp));
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()[1..]), None);
        assert_eq!(Stamp::from_bytes(&[0; Stamp::BYTES + 1]), None);
    }

    #[test]
    fn epochs_have_numbers() {
        for (epoch, number) in [("1.abc", 1), ("12.a.b", 12), ("0.x", 0), ("", 0), ("abc", 0)] {
            assert_eq!(epoch_number(epoch), number, "{epoch}");
        }
    }
}
