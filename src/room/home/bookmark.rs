//! Cursors of users over many nodes: what the broker has of them, and what it is to be told.
//!
//! Invariants: the broker is told of a user at a time what holds then, and again until it has
//! confirmed; one word of a room is on its way at a time; as long as something is owed, the room is
//! not given up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use crate::clock::Moment;
use crate::protocol::Mode;
use crate::room::bookmark::{Bookmark, Bookmarked, Bookmarks, End, Note};
use crate::room::broker::epoch_number;
use crate::room::presence::Present;

use super::cursor::Cursor;
use super::{HomeRoom, ReaderId};

/// Acknowledgements are collected so long.
const PACE_MS: u64 = 200;

/// A user, and whether they wanted nothing any more meanwhile: then what the broker knows of them is
/// void.
type Owed = (Arc<str>, Option<End>);

/// What of the cursors the broker does not know.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    /// Who, as in [`Owed`].
    users: BTreeMap<Arc<str>, Option<End>>,
    /// What it was told and has not confirmed, and as which message.
    on_way: Option<(u64, Vec<Owed>)>,
    /// When it is to be told; none: when it can be told again.
    due: Option<Moment>,
    /// Somebody came or went, which does not wait for more.
    is_urgent: bool,
    /// A user of whom the broker has just said that it knows nothing.
    newcomer: Option<Arc<str>>,
    /// Who was the last in what it was told.
    last: Option<Arc<str>>,
}

impl Unsaid {
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    fn is_owed(&self) -> bool {
        self.on_way.is_some() || !self.users.is_empty()
    }

    /// Whether it is to be told of a user, or that is on its way.
    pub(super) fn tells_of(&self, user: &str) -> bool {
        let mut on_way = self.on_way.iter().flat_map(|(_, users)| users);
        self.users.contains_key(user) || on_way.any(|(it, _)| **it == *user)
    }

    /// Takes the next: all have their turn, however often the first of them have something to say.
    fn take_next(&mut self) -> Option<Owed> {
        let after = self.last.as_deref().map_or(Unbounded, Excluded);
        let behind = self.users.range::<str, _>((after, Unbounded)).next();
        let (next, _) = behind.or_else(|| self.users.first_key_value())?;
        let next = Arc::clone(next);
        self.last = Some(Arc::clone(&next));
        self.users.remove_entry(&next)
    }

    fn add(&mut self, user: &Arc<str>, end: Option<End>) {
        let of = self.users.entry(Arc::clone(user)).or_default();
        *of = end.max(*of);
    }

    fn plan(&mut self, now: Moment) {
        if self.on_way.is_none() && !self.users.is_empty() {
            let at = if self.is_urgent { now } else { now.plus_ms(PACE_MS) };
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Whether the broker has just said that it knows nothing of a user.
    pub(super) fn take_newcomer(&mut self, reader: &ReaderId) -> bool {
        let newcomer = self.newcomer.take();
        matches!((newcomer, reader), (Some(newcomer), ReaderId::User(user)) if newcomer == *user)
    }
}

impl HomeRoom {
    /// From now on the broker knows how far users have come.
    pub fn share_cursors(&mut self) {
        self.shares_cursors = true;
    }

    /// Whether it is for the broker to say how far a user has come: nobody here knows.
    #[must_use]
    pub fn lacks_bookmark(&self, user: &str) -> bool {
        self.config.mode == Mode::Guaranteed && self.is_of_broker() && !self.has_here(user)
    }

    pub(super) fn is_of_broker(&self) -> bool {
        self.shares_cursors && epoch_number(&self.epoch) > 0
    }

    fn has_here(&self, user: &str) -> bool {
        self.presence.get(user).is_some_and(|present| present.connections > 0)
    }

    /// The cursor of a user is another now; `is_urgent`: because they came or went.
    pub(super) fn mark_unsaid(&mut self, reader: &ReaderId, is_urgent: bool, now: Moment) {
        self.owe_word(reader, None, is_urgent, now);
    }

    /// A user has none any more.
    pub(super) fn mark_ended(&mut self, reader: &ReaderId, end: End, now: Moment) {
        self.owe_word(reader, Some(end), true, now);
    }

    fn owe_word(&mut self, reader: &ReaderId, end: Option<End>, is_urgent: bool, now: Moment) {
        let is_of_broker = self.is_of_broker();
        let (Some(cursors), ReaderId::User(user)) = (&mut self.cursors, reader) else { return };
        if is_of_broker {
            cursors.unsaid.add(user, end);
            cursors.unsaid.is_urgent |= is_urgent;
            cursors.unsaid.plan(now);
        }
    }

    /// Whether the broker is to be told something now.
    #[must_use]
    pub fn has_bookmarks_due(&self, now: Moment) -> bool {
        let due = self.cursors.as_ref().and_then(|cursors| cursors.unsaid.due);
        due.is_some_and(|due| due <= now)
    }

    /// Whether there is something that the broker has not confirmed.
    #[must_use]
    pub fn owes_bookmarks(&self) -> bool {
        self.cursors.as_ref().is_some_and(|cursors| cursors.unsaid.is_owed())
    }

    /// The broker cannot be told now.
    pub fn hold_bookmarks(&mut self) {
        if let Some(cursors) = &mut self.cursors {
            cursors.unsaid.due = None;
        }
    }

    /// The broker can be told again.
    pub fn release_bookmarks(&mut self, now: Moment) {
        if let Some(cursors) = &mut self.cursors {
            cursors.unsaid.plan(now);
        }
    }

    /// What the broker is to be told, of at most `limit` users, as the message `ticket`.
    pub fn take_bookmarks(&mut self, ticket: u64, limit: usize) -> Vec<Bookmarked> {
        let Some(cursors) = &mut self.cursors else { return Vec::new() };
        let unsaid = &mut cursors.unsaid;
        let mut users = Vec::new();
        while users.len() < limit
            && let Some(user) = unsaid.take_next()
        {
            users.push(user);
        }
        // The rest has waited already.
        unsaid.is_urgent = !unsaid.users.is_empty();
        unsaid.due = None;
        unsaid.on_way = Some((ticket, users.clone()));
        let mut marks = Vec::with_capacity(users.len());
        for (user, end) in users {
            let mark = self.bookmark_of(&user);
            // What was decided is undone: their place is the one that others may have told meanwhile.
            let end = end.filter(|end| *end == End::Left || mark.is_none());
            marks.extend(end.map(|end| (Arc::clone(&user), Note::Ended(end))));
            marks.extend(mark.map(|mark| (user, Note::At(mark))));
        }
        marks
    }

    fn bookmark_of(&self, user: &Arc<str>) -> Option<Bookmark> {
        let reader = ReaderId::User(Arc::clone(user));
        let cursor = self.cursors.as_ref()?.by_reader.get(&reader)?;
        let sent = (!self.has_here(user)).then_some(cursor.sent);
        let Cursor { began, acknowledged, has_joined, .. } = *cursor;
        Some(Bookmark { began, acknowledged, sent, has_joined })
    }

    /// The broker has confirmed the message `ticket`, or not.
    pub fn confirm_bookmarks(&mut self, ticket: u64, is_known: bool, now: Moment) {
        let Some(cursors) = &mut self.cursors else { return };
        let unsaid = &mut cursors.unsaid;
        let Some((_, users)) = unsaid.on_way.take_if(|(asked, _)| *asked == ticket) else { return };
        if is_known {
            unsaid.plan(now);
        } else {
            users.iter().for_each(|(user, end)| unsaid.add(user, *end));
            unsaid.is_urgent = true;
        }
    }

    /// What was on its way to the broker may not have arrived.
    pub fn lose_bookmarks(&mut self) {
        let on_way = self.cursors.as_ref().and_then(|cursors| cursors.unsaid.on_way.as_ref());
        if let Some((ticket, _)) = on_way {
            self.confirm_bookmarks(*ticket, false, Moment::default());
        }
    }

    /// Users who may be sent something again now, and may have acknowledged it on another node.
    #[must_use]
    pub fn doubtful_bookmarks(&self, now: Moment, limit: usize) -> Vec<Arc<str>> {
        let cursors = self.cursors.as_ref().filter(|_| self.is_of_broker());
        let Some(cursors) = cursors.filter(|it| it.is_check_due(now)) else { return Vec::new() };
        let last = self.offset();
        let behind = cursors.by_reader.iter().filter(|(_, cursor)| cursor.acknowledged < last);
        let users = behind.filter_map(|(reader, _)| match reader {
            ReaderId::User(user) if self.has_here(user) && self.may_be_elsewhere(user) => {
                Some(Arc::clone(user))
            }
            _ => None,
        });
        users.take(limit).collect()
    }

    /// Nobody says of a reserved room who is there.
    fn may_be_elsewhere(&self, user: &str) -> bool {
        let present = self.presence.get(user);
        self.key.name.is_reserved() || present.is_some_and(Present::is_elsewhere)
    }

    /// Whether the broker has not said how far a user had come who is here.
    #[must_use]
    pub fn is_unread(&self, user: &Arc<str>) -> bool {
        let reader = ReaderId::User(Arc::clone(user));
        let cursor = self.cursors.as_ref().and_then(|cursors| cursors.by_reader.get(&reader));
        cursor.is_some_and(|cursor| !cursor.is_told) && self.is_of_broker()
    }

    /// Some of those here of whom the broker has not said how far they had come.
    #[must_use]
    pub fn unread_bookmarks(&self, limit: usize) -> Vec<Arc<str>> {
        let Some(cursors) = self.cursors.as_ref().filter(|_| self.is_of_broker()) else {
            return Vec::new();
        };
        let unread = cursors.by_reader.iter().filter(|(_, cursor)| !cursor.is_told);
        let users = unread.filter_map(|(reader, _)| match reader {
            ReaderId::User(user) if self.has_here(user) => Some(Arc::clone(user)),
            _ => None,
        });
        users.take(limit).collect()
    }

    /// The broker says how far some users have come. Who was not sent all they are owed is, in time.
    /// `knows_members`: nobody is a member who is not known to be one.
    pub fn learn_bookmarks(
        &mut self,
        users: &[Arc<str>],
        heard: &Bookmarks,
        knows_members: bool,
        (now, timeout_ms): (Moment, u64),
    ) {
        if self.config.mode != Mode::Guaranteed || !self.is_of_broker() {
            return;
        }
        let is_ours = *heard.epoch == *self.epoch;
        let mut behind = BTreeSet::new();
        for (user, mark) in users.iter().zip(&heard.of) {
            let mark = mark.filter(|_| is_ours);
            let is_void = knows_members && mark.is_some_and(|mark| !mark.has_joined);
            let reader = ReaderId::User(Arc::clone(user));
            if is_void && !self.is_owed(&reader, now) {
                // No home that knew of their place has heard that they are no member any more.
                self.learn_bookmark(user, None, now);
                self.mark_ended(&reader, End::Left, now);
            } else {
                self.learn_bookmark(user, mark, now);
            }
            let acknowledged = self.bookmark_of(user).map(|it| it.acknowledged);
            let is_behind = acknowledged.is_some_and(|it| it < self.offset());
            if is_behind && self.has_here(user) {
                behind.insert(reader);
            }
        }
        if !behind.is_empty() {
            self.owe_anew(|reader| behind.contains(reader), now, timeout_ms);
        }
    }

    fn learn_bookmark(&mut self, user: &Arc<str>, mark: Option<Bookmark>, now: Moment) {
        let (last, is_here) = (self.offset(), self.has_here(user));
        let reader = ReaderId::User(Arc::clone(user));
        let is_owed = self.is_owed(&reader, now);
        let cursors = self.cursors.get_or_insert_default();
        let unsaid = cursors.unsaid.users.get(user).copied();
        let is_known = cursors.by_reader.contains_key(&reader);
        // That they want nothing any more the broker did not know yet.
        let mark = mark.filter(|mark| match unsaid.flatten() {
            Some(End::Left) => false,
            Some(End::Banned) => is_known,
            Some(End::Dismissed) => is_known || mark.has_joined,
            None => true,
        });
        let has_space = cursors.has_space_for(&reader);
        let known = cursors.by_reader.get_mut(&reader);
        match (known, mark) {
            (Some(cursor), Some(mark)) => {
                let own = Bookmark {
                    began: cursor.began,
                    acknowledged: cursor.acknowledged,
                    sent: mark.sent.map(|sent| sent.max(cursor.sent)),
                    has_joined: cursor.has_joined || mark.has_joined,
                };
                *cursor = Cursor::told(own.after(Some(mark)), last);
            }
            (None, Some(mark)) if has_space => {
                cursors.by_reader.insert(reader, Cursor::told(mark, last));
            }
            (None, Some(_)) => {}
            // The broker knows of all members, unless it has lost it.
            (Some(cursor), None)
                if is_here || is_owed || unsaid.is_some() || !cursor.has_joined =>
            {
                cursor.is_told = true;
                self.mark_unsaid(&reader, true, now);
            }
            // They have left, on another node.
            (_, None) => {
                cursors.by_reader.remove(&reader);
                cursors.unsaid.newcomer = Some(Arc::clone(user));
            }
        }
    }
}

impl Cursor {
    /// As the broker says, where `last` is the last there is.
    fn told(mark: Bookmark, last: u64) -> Self {
        let Bookmark { began, acknowledged, sent, has_joined } = mark;
        Self { began, acknowledged, sent: sent.unwrap_or(last), is_told: true, has_joined }
    }
}
