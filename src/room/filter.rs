//! Who of a room gets a publication that says so itself.
//!
//! Invariants: all that a filter gives must hold, and an empty one lets everyone through; a list of
//! users costs the logarithm of its length for each receiver; where only so many connections may get
//! it, who has is noted here, because all cores and the history share it.

mod takers;
#[cfg(test)]
mod tests;

use crate::clock::Moment;
use crate::protocol::{Filter, Scalar};

use takers::Takers;

/// A filter, prepared to be asked often.
#[derive(Debug)]
pub struct Audience {
    /// With its users in order, each once.
    filter: Filter,
    /// Who has got it, where that counts.
    takers: Option<Takers>,
}

/// What a filter asks of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Receiver<'a> {
    /// Whose it is; none: anonymous.
    pub user: Option<&'a str>,
    /// What its credential says.
    pub metadata: &'a [(Box<str>, Scalar)],
    /// Since when it is open.
    pub opened_at: Moment,
}

impl PartialEq for Audience {
    fn eq(&self, other: &Self) -> bool {
        self.filter == other.filter
    }
}

impl Audience {
    /// Prepares a filter.
    #[must_use]
    pub fn new(mut filter: Filter) -> Self {
        filter.users = filter.users.map(in_order);
        filter.exclude_users = in_order(filter.exclude_users);
        let takers = filter.max_connections.map(Takers::new);
        Self { filter, takers }
    }

    /// Whether a receiver belongs to it, if it is not one too many: see [`take`](Self::take).
    #[must_use]
    pub fn includes(&self, receiver: &Receiver<'_>, now: Moment) -> bool {
        let Filter { users, exclude_users, metadata, min_connection_age_ms, .. } = &self.filter;
        let named = users
            .as_ref()
            .is_none_or(|users| receiver.user.is_some_and(|user| contains(users, user)));
        named
            && !receiver.user.is_some_and(|user| contains(exclude_users, user))
            && min_connection_age_ms.is_none_or(|age_ms| now.since_ms(receiver.opened_at) >= age_ms)
            && metadata.iter().all(|wanted| receiver.metadata.contains(wanted))
    }

    /// Whether one that belongs to it gets it, and is not one too many. `reader`: what tells it from
    /// others, and stays the same when its session goes on with another connection.
    #[must_use]
    pub fn take(&self, reader: u64) -> bool {
        self.takers.as_ref().is_none_or(|takers| takers.take(reader))
    }

    /// The same for one to whom it is sent once more, or who asks for what was published.
    #[must_use]
    pub fn take_again(&self, reader: u64) -> bool {
        self.takers.as_ref().is_none_or(|takers| takers.take_again(reader))
    }

    /// The users it is for, in order; none: it does not say.
    #[must_use]
    pub fn users(&self) -> Option<&[Box<str>]> {
        self.filter.users.as_deref()
    }

    /// The memory it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = |list: &[Box<str>]| {
            list.iter().map(|text| size_of::<Box<str>>() + text.len()).sum::<usize>()
        };
        let metadata = self.filter.metadata.iter().map(|(key, value)| {
            let text = if let Scalar::Text(text) = value { text.len() } else { 0 };
            size_of::<(Box<str>, Scalar)>() + key.len() + text
        });
        size_of::<Self>()
            + self.takers.as_ref().map_or(0, Takers::bytes)
            + self.filter.users.as_deref().map_or(0, texts)
            + texts(&self.filter.exclude_users)
            + metadata.sum::<usize>()
    }
}

fn in_order(users: Box<[Box<str>]>) -> Box<[Box<str>]> {
    let mut users = users.into_vec();
    users.sort_unstable();
    users.dedup();
    users.into()
}

fn contains(users: &[Box<str>], user: &str) -> bool {
    users.binary_search_by(|other| (**other).cmp(user)).is_ok()
}
