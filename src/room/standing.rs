//! What one user may do in a room, given what the room knows of them.
//!
//! Invariants: a ban outweighs everything; a role that is not given is [`Role::Guest`]; a decision
//! looks at nothing but its arguments.

#[cfg(test)]
mod tests;

use crate::clock::Moment;
use crate::protocol::{ErrorCode, Role, RoomType};

use super::config::RoomConfig;

/// For how long something holds that was done to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Until then.
    Moment(Moment),
    /// Until it is undone.
    Undone,
}

/// What a room knows of one user and the address they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Their role.
    pub role: Role,
    /// Whether they were invited, and have not joined since.
    pub invited: bool,
    /// They may not even join.
    pub banned: Option<Until>,
    /// They may not publish.
    pub muted: Option<Until>,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Receive it.
    Join {
        /// They showed the room's password or a token for it.
        proven: bool,
    },
    /// Publish in it.
    Publish,
    /// Read its history.
    History {
        /// They have joined it.
        joined: bool,
    },
    /// See who is there.
    Presence {
        /// They have joined it.
        joined: bool,
    },
    /// Invite, kick, ban, mute, and take that back.
    Moderate,
    /// Change its configuration.
    Configure,
    /// End it.
    Delete,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// They are banned.
    Banned(Until),
    /// They are muted.
    Muted(Until),
    /// Only the invited join.
    InviteRequired,
    /// The password or token is missing or wrong.
    ProofRequired,
    /// Their role is too low.
    Forbidden,
}

impl Denied {
    /// The error that says so on the wire.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Banned(_) => ErrorCode::Banned,
            Self::Muted(_) => ErrorCode::Muted,
            Self::InviteRequired => ErrorCode::InviteRequired,
            Self::ProofRequired | Self::Forbidden => ErrorCode::Forbidden,
        }
    }
}

impl Until {
    /// Whether it is over at `now`.
    #[must_use]
    pub fn is_over(self, now: Moment) -> bool {
        matches!(self, Self::Moment(end) if end <= now)
    }

    /// How much longer it holds, rounded up; nothing if nobody knows.
    #[must_use]
    pub fn left_ms(self, now: Moment) -> Option<u64> {
        match self {
            Self::Moment(end) => Some(end.since_us(now).div_ceil(1_000)),
            Self::Undone => None,
        }
    }
}

impl Standing {
    /// Whether they may do that in a room of that configuration.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, action: Action, config: &RoomConfig) -> Result<(), Denied> {
        if let Some(until) = self.banned {
            return Err(Denied::Banned(until));
        }
        match action {
            Action::Join { proven } => self.may_join(config.room_type, proven),
            Action::Publish => match self.muted {
                Some(until) => Err(Denied::Muted(until)),
                None => self.at_least(config.publish_role),
            },
            Action::History { joined } | Action::Presence { joined } => {
                if joined || config.room_type == RoomType::Public {
                    Ok(())
                } else {
                    self.at_least(Role::Member)
                }
            }
            Action::Moderate => self.at_least(Role::Moderator),
            Action::Configure => self.at_least(Role::Admin),
            Action::Delete => self.at_least(Role::Owner),
        }
    }

    /// Whether they may moderate somebody: they keep order, and stand above them.
    ///
    /// # Errors
    /// If not.
    pub fn may_moderate(&self, target: Role, config: &RoomConfig) -> Result<(), Denied> {
        self.may(Action::Moderate, config)?;
        if self.role > target { Ok(()) } else { Err(Denied::Forbidden) }
    }

    /// Whether they may ask somebody in who becomes `role` by joining: they keep order, and stand above
    /// it. So nobody is invited to own the room.
    ///
    /// # Errors
    /// If not.
    pub fn may_invite(&self, role: Role, config: &RoomConfig) -> Result<(), Denied> {
        self.may_moderate(role, config)
    }

    /// Whether they may give `role` to somebody else who has the role `target` now: they stand above
    /// both, or are the owner and pass the room on.
    ///
    /// # Errors
    /// If not.
    pub fn may_give(&self, role: Role, target: Role) -> Result<(), Denied> {
        if let Some(until) = self.banned {
            return Err(Denied::Banned(until));
        }
        let passes_on = self.role == Role::Owner && role == Role::Owner;
        if passes_on || (self.role > role && self.role > target) {
            Ok(())
        } else {
            Err(Denied::Forbidden)
        }
    }

    fn may_join(&self, room_type: RoomType, proven: bool) -> Result<(), Denied> {
        let admitted = self.role >= Role::Member || self.invited || proven;
        match room_type {
            RoomType::Public => Ok(()),
            _ if admitted => Ok(()),
            RoomType::Protected => Err(Denied::ProofRequired),
            RoomType::Private => Err(Denied::Forbidden),
            RoomType::InviteOnly => Err(Denied::InviteRequired),
        }
    }

    fn at_least(&self, role: Role) -> Result<(), Denied> {
        if self.role >= role { Ok(()) } else { Err(Denied::Forbidden) }
    }
}
