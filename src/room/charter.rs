//! What has been decided about a room, as its homes and the broker say it to each other: its
//! configuration, its members, who is invited, banned or muted.
//!
//! The broker keeps it as fields, numbers the changes and tells all who listen, so the homes of all
//! nodes carry out the same decisions in the same order. A home proposes a change of what it knows;
//! if the broker knows more, the home hears that first and decides again.
//!
//! Invariants: a change names the whole value of each field that it sets; what a field does not say in
//! this server's words is passed over, but for a password, which then opens to nobody; times are Unix
//! times, so that they mean the same on all nodes.

pub mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::protocol::{ModerationAction, Role, RoomPatch};

use super::attendance::Mark;
use super::config::Password;
use super::members::{AddressBan, Invitation, Member};
use super::standing::Until;

/// Until when something holds, in Unix time; none: until it is undone.
pub type UntilUnix = Option<u64>;

/// One thing that is known of a room.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// When the room was made.
    Created(u64),
    /// The rooms above from which it inherits, if it does: those that were there when it was made so.
    Parents(Box<[Parent]>),
    /// What is set for it, without the password.
    Config(Box<RoomPatch>),
    /// The password; none: it is set to none.
    Password(Option<Password>),
    /// A user's role; none: they have none.
    Member(Arc<str>, Option<Member>),
    /// A user may join, as what and until when.
    Invited(Arc<str>, Option<(Role, UntilUnix)>),
    /// A user is banned.
    BannedUser(Arc<str>, Option<UntilUnix>),
    /// An address is banned, for those below a role, or for everyone.
    BannedAddress(IpAddr, Option<(UntilUnix, Option<Role>)>),
    /// A user is muted.
    Muted(Arc<str>, Option<UntilUnix>),
}

/// A room above another one, in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// How long its name is: the other one's begins with it.
    pub name_bytes: usize,
    /// When it was made, in Unix time.
    pub made_ms: u64,
}

/// All that is known of a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Charter {
    /// How far that goes.
    pub mark: Mark,
    /// Nothing: there is no such room.
    pub entries: Vec<Entry>,
}

/// Whom moderation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A user, wherever they come from.
    User(Box<str>),
    /// Everyone who comes from there; only of bans.
    Address(IpAddr),
}

/// What was decided, for those who are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decree {
    /// The room was made, or somebody in it got the role that was theirs.
    Entered,
    /// It is configured otherwise.
    Configured,
    /// It has ended.
    Deleted,
    /// Somebody was moderated.
    Moderated(Moderation),
}

/// What was done to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moderation {
    /// What.
    pub action: ModerationAction,
    /// To whom.
    pub target: Target,
    /// Until when.
    pub until: UntilUnix,
    /// Which role.
    pub role: Option<Role>,
    /// Told to whom it concerns.
    pub reason: Option<Box<str>>,
}

/// A decree and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What.
    pub decree: Decree,
    /// Who decided it.
    pub by: Option<Arc<str>>,
}

/// What a change does with what the broker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It sets some of it.
    Amend,
    /// It is all there is.
    Replace,
    /// The room ends: nothing is kept, and what follows is another life.
    End,
}

/// A home asks for a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// For the answer.
    pub ticket: u64,
    /// What the home knows; if the broker knows anything else, nothing is changed.
    pub known: Mark,
    /// How the change is made.
    pub manner: Manner,
    /// What is set.
    pub entries: Vec<Entry>,
    /// What all who listen are told with it.
    pub decided: Decided,
    /// The room stays without anybody in it.
    pub is_persistent: bool,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    /// How far it goes: it follows on the number before.
    pub mark: Mark,
    /// How it was made.
    pub manner: Manner,
    /// What is set.
    pub entries: Vec<Entry>,
    /// What was decided.
    pub decided: Decided,
}

/// What came of a motion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It was made, and goes so far.
    Carried(Mark),
    /// The broker knows something else.
    Outdated,
}

impl Target {
    /// The user, if it is one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(user),
            Self::Address(_) => None,
        }
    }
}

impl Charter {
    /// Whether there is such a room.
    #[must_use]
    pub fn is_of_a_room(&self) -> bool {
        !self.entries.is_empty()
    }
}

/// The same in Unix time.
#[must_use]
pub fn to_unix(until: Until, now: Now) -> UntilUnix {
    match until {
        Until::Undone => None,
        Until::Moment(_) => until.left_ms(now.moment).map(|left| now.unix_ms.saturating_add(left)),
    }
}

/// The same by this process' clock.
#[must_use]
pub fn from_unix(until: UntilUnix, now: Now) -> Until {
    until.map_or(Until::Undone, |until_ms| {
        Until::Moment(now.moment.plus_ms(until_ms.saturating_sub(now.unix_ms)))
    })
}

/// The same as members keep it.
#[must_use]
pub fn invitation((role, until): (Role, UntilUnix), now: Now) -> Invitation {
    Invitation { role, until: from_unix(until, now) }
}

/// The same as members keep it.
#[must_use]
pub fn address_ban((until, below): (UntilUnix, Option<Role>), now: Now) -> AddressBan {
    AddressBan { until: from_unix(until, now), below }
}
