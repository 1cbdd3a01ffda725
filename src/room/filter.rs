//! Who of a room gets a publication that says so itself.
//!
//! Invariants: all that a filter gives must hold, and an empty one lets everyone through; a list of
//! users costs the logarithm of its length for each receiver; how many got it is counted outside, for
//! the filter is shared by all cores.

#[cfg(test)]
mod tests;

use crate::clock::Moment;
use crate::protocol::{Filter, Scalar};

/// A filter, prepared to be asked often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// With its users in order, each once.
    filter: Filter,
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

impl Audience {
    /// Prepares a filter.
    #[must_use]
    pub fn new(mut filter: Filter) -> Self {
        filter.users = filter.users.map(in_order);
        filter.exclude_users = in_order(filter.exclude_users);
        Self { filter }
    }

    /// Whether a receiver belongs to it. [`max_connections`](Self::max_connections) is for the
    /// caller to count.
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

    /// How many connections of a node may get it.
    #[must_use]
    pub fn max_connections(&self) -> Option<u64> {
        self.filter.max_connections
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
