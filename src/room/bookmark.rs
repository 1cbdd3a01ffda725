//! How far users have come in a `guaranteed` room, as its homes and the broker say it to each other,
//! so that what somebody has acknowledged on one node counts on all.
//!
//! Invariant: whatever stands there, reading it gives what this server could have written, or nothing.

use std::sync::Arc;

/// How far a user has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// They began here, by no acknowledgement.
    pub began: u64,
    /// Everything up to here was taken in.
    pub acknowledged: u64,
    /// Everything up to here was sent at least once; none: they are sent all there is.
    pub sent: Option<u64>,
    /// They have joined and not left; else they are owed what is published because they are members.
    pub has_joined: bool,
}

/// Why somebody wants nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// They are no member any more; but if they have joined and not left, nothing ends.
    Dismissed,
    /// They are banned.
    Banned,
    /// They have left.
    Left,
}

/// What the broker is told of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// They have come so far.
    At(Bookmark),
    /// They want nothing any more.
    Ended(End),
}

/// A user, and what is told of them.
pub type Bookmarked = (Arc<str>, Note);

/// What the broker has of some users, in one life of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmarks {
    /// Which life; empty: it has nothing.
    pub epoch: Arc<str>,
    /// Of each who was asked about.
    pub of: Vec<Option<Bookmark>>,
}

/// What a home wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookmarkAsk {
    /// How far have they come?
    Read {
        /// Who.
        users: Vec<Arc<str>>,
    },
    /// So far have they come. What was acknowledged does not go back, and a newcomer's place does not
    /// replace what is known.
    Write {
        /// For the answer.
        ticket: u64,
        /// In which life of the room; in another one it counts for nothing.
        epoch: Arc<str>,
        /// Who, and how far.
        marks: Vec<Bookmarked>,
    },
}

/// What the broker has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookmarkNews {
    /// It was asked about these users.
    Read {
        /// Who.
        users: Vec<Arc<str>>,
        /// How far they have come.
        outcome: Result<Bookmarks, super::broker::Fault>,
    },
    /// It has noted how far some have come, or not.
    Written {
        /// As it was asked.
        ticket: u64,
        /// Whether.
        outcome: Result<(), super::broker::Fault>,
    },
}

impl Bookmark {
    /// What becomes of it where `old` is known of the same user.
    #[must_use]
    pub fn after(self, old: Option<Self>) -> Self {
        let Some(mut old) = old else { return self };
        if old.is_untouched() {
            // Of the homes that tell where a member begins, some know it later than others.
            old.began = old.began.min(self.began);
            old.acknowledged = old.acknowledged.min(self.began);
        }
        if self.is_untouched() {
            // A member who has never come here may have come elsewhere.
            return old;
        }
        let has_acknowledged = self.acknowledged > self.began;
        let own = if has_acknowledged { self.acknowledged } else { 0 };
        let sent = self.sent.map(|sent| sent.max(old.sent.unwrap_or(0)));
        Self { began: old.began, acknowledged: old.acknowledged.max(own), sent, ..self }
    }

    /// Of a member who has never come.
    fn is_untouched(self) -> bool {
        !self.has_joined && self.sent == Some(0)
    }

    /// The places as they are written: of what was sent, `+` for all there is, and with a `-` before
    /// it where they have not joined.
    #[must_use]
    pub fn words(self) -> [String; 3] {
        let sent = match self.sent {
            None => "+".to_owned(),
            Some(sent) if self.has_joined => sent.to_string(),
            Some(sent) => format!("-{sent}"),
        };
        [self.began.to_string(), self.acknowledged.to_string(), sent]
    }

    /// What was written.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let began = parts.next()?.parse().ok()?;
        let acknowledged = parts.next()?.parse().ok()?;
        let sent = parts.next()?;
        let member = sent.strip_prefix('-');
        let sent = match member.unwrap_or(sent) {
            "+" if member.is_none() => None,
            number => Some(number.parse().ok()?),
        };
        let has_joined = member.is_none();
        parts.next().is_none().then_some(Self { began, acknowledged, sent, has_joined })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(began: u64, acknowledged: u64, sent: Option<u64>) -> Bookmark {
        Bookmark { began, acknowledged, sent, has_joined: true }
    }

    fn of_member(began: u64, acknowledged: u64, sent: u64) -> Bookmark {
        Bookmark { has_joined: false, ..mark(began, acknowledged, Some(sent)) }
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        for it in
            [mark(0, 0, None), mark(3, 7, Some(9)), mark(1, 2, Some(u64::MAX)), of_member(4, 4, 0)]
        {
            assert_eq!(Bookmark::read(&it.words().join(" ")), Some(it));
        }
        for bad in [
            "1 2 -+", "1 2 --3", "1 2 -", "", "1", "1 2", "1 2 3 4", "1 2 x", "1 -2 3", "+ 2 3",
            "1  2 3", "1 2 +3x",
        ] {
            assert_eq!(Bookmark::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_goes_back_and_a_newcomer_replaces_nobody() {
        for (new, old, outcome) in [
            (mark(5, 5, None), None, mark(5, 5, None)),
            (mark(5, 5, None), Some(mark(0, 2, Some(5))), mark(0, 2, None)),
            (mark(0, 4, Some(6)), Some(mark(0, 2, None)), mark(0, 4, Some(6))),
            (mark(0, 2, Some(6)), Some(mark(0, 4, None)), mark(0, 4, Some(6))),
            (mark(0, 2, Some(6)), Some(mark(0, 2, Some(7))), mark(0, 2, Some(7))),
            (mark(0, 2, None), Some(mark(0, 2, Some(7))), mark(0, 2, None)),
            (of_member(5, 5, 0), None, of_member(5, 5, 0)),
            (of_member(5, 5, 0), Some(mark(0, 2, None)), mark(0, 2, None)),
            (of_member(5, 5, 0), Some(of_member(1, 2, 3)), of_member(1, 2, 3)),
            (of_member(0, 4, 6), Some(mark(0, 2, None)), of_member(0, 4, 6)),
            (of_member(0, 4, 6), Some(mark(0, 2, Some(7))), of_member(0, 4, 7)),
            (mark(5, 5, None), Some(of_member(1, 1, 0)), mark(1, 1, None)),
            (of_member(1, 1, 0), Some(of_member(5, 5, 0)), of_member(1, 1, 0)),
            (of_member(5, 5, 0), Some(of_member(1, 1, 0)), of_member(1, 1, 0)),
            (of_member(1, 1, 0), Some(of_member(5, 5, 6)), of_member(5, 5, 6)),
            (mark(1, 1, None), Some(of_member(5, 5, 0)), mark(1, 1, None)),
            (mark(1, 4, None), Some(of_member(5, 5, 0)), mark(1, 4, None)),
        ] {
            assert_eq!(new.after(old), outcome);
        }
    }
}
