//! What a command needs, and who says whether it is granted.

use std::fmt;

/// What a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To join a room.
    Join,
    /// To publish in it.
    Publish,
    /// To read what was published.
    History,
    /// To see who is there.
    Presence,
    /// To keep order in it.
    Moderate,
    /// To make a room.
    Create,
    /// To change or end a room without a role in it.
    Configure,
    /// To reach everyone.
    Broadcast,
    /// To reach users and connections.
    Send,
    /// To receive all rooms of a pattern.
    Subscribe,
}

impl Right {
    /// All of them, as credentials and the configuration call them.
    pub const ALL: [(&'static str, Self); 10] = [
        ("join", Self::Join),
        ("publish", Self::Publish),
        ("history", Self::History),
        ("presence", Self::Presence),
        ("moderate", Self::Moderate),
        ("create", Self::Create),
        ("configure", Self::Configure),
        ("broadcast", Self::Broadcast),
        ("send", Self::Send),
        ("subscribe", Self::Subscribe),
    ];

    /// Whether it can be granted for single events: what it allows carries an event's name.
    #[must_use]
    pub fn has_events(self) -> bool {
        matches!(self, Self::Publish | Self::Broadcast | Self::Send)
    }
}

/// Says what a credential allows.
pub trait Permit: fmt::Debug + Send + Sync {
    /// Whether `right` is granted, whatever the event: on a room, on a pattern, or on everything.
    fn allows(&self, right: Right, on: &str) -> bool;

    /// Whether `right` is granted for this event; none: for a message that names none.
    fn allows_event(&self, right: Right, on: &str, event: Option<&str>) -> bool {
        let _ = event;
        self.allows(right, on)
    }

    /// Whether the credential itself grants it on a room that was not joined.
    fn allows_from_outside(&self, right: Right, on: &str) -> bool;
}

/// Nothing is configured: everyone may do everything to rooms, and nothing to others.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl Permit for Open {
    fn allows(&self, right: Right, _on: &str) -> bool {
        !matches!(right, Right::Broadcast | Right::Moderate)
    }

    fn allows_from_outside(&self, _right: Right, _on: &str) -> bool {
        false
    }
}

/// Several rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RightSet(u16);

impl RightSet {
    /// Every right there is.
    pub const ALL: Self = Self((1 << Right::ALL.len()) - 1);

    /// With `right` in it.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        Self(self.0 | 1 << right as u16)
    }

    /// Whether `right` is in it.
    #[must_use]
    pub const fn contains(self, right: Right) -> bool {
        self.0 & 1 << right as u16 != 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
