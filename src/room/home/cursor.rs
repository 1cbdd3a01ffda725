//! What those who are in a `guaranteed` room have acknowledged, and what is sent to them again.
//!
//! Invariants: one cursor for each user, whichever device acknowledges, or for each anonymous
//! session; a cursor never goes back; it stays when its owner is away, and goes when they leave, unless
//! they are members. A member has one from when they became one, whether they have come yet or not; it
//! goes when they are none any more, unless they have joined and not left. Who is banned has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Moment;
use crate::id::ConnectionAddress;
use crate::protocol::{Mode, Role};
use crate::room::bookmark::End;
use crate::room::history::{Bound, History};
use crate::room::publication::Publication;

use super::bookmark::Unsaid;
use super::{HomeRoom, JoinRequest};

/// Cursors of one room.
const CURSORS_MAX: usize = 100_000;
/// Of a room's history, so many times what one is sent again at most is looked at for it in one go.
const WALKS: usize = 4;

/// As whom a connection acknowledges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReaderId {
    /// With all other connections of its user.
    User(Arc<str>),
    /// For its session alone.
    Session([u8; 16]),
}

/// What a connection has not acknowledged in time.
#[derive(Clone, Debug)]
pub struct Overdue {
    /// Which connection.
    pub address: ConnectionAddress,
    /// The first and last offset of what it will not get again, if that is news.
    pub lost: Option<(u64, u64)>,
    /// What it is sent again.
    pub missed: Vec<Arc<Publication>>,
}

/// How far somebody has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// It began here, by no acknowledgement: what came before was never counted.
    pub(super) began: u64,
    /// Everything up to here was taken in.
    pub(super) acknowledged: u64,
    /// Everything up to here was sent at least once.
    pub(super) sent: u64,
    /// What the broker has to say of it, where there is one, is in it.
    pub(super) is_told: bool,
    /// Its owner has joined and not left; else they have it because they are a member.
    pub(super) has_joined: bool,
}

/// The cursors of a room.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    pub(super) by_reader: BTreeMap<ReaderId, Cursor>,
    /// What the broker is to be told of them, where there is one.
    pub(super) unsaid: Unsaid,
    /// When somebody may have to be sent something again.
    next_check: Option<Moment>,
}

impl Cursors {
    pub(super) fn next_timeout(&self) -> Option<Moment> {
        [self.next_check, self.unsaid.due()].into_iter().flatten().min()
    }

    pub(super) fn is_check_due(&self, now: Moment) -> bool {
        self.next_check.is_some_and(|due| due <= now)
    }

    /// Of somebody who has not come: behind `last`, nothing was sent. False if they have one.
    fn cover(&mut self, reader: &ReaderId, last: u64) -> bool {
        let is_new = !self.by_reader.contains_key(reader) && self.has_space_for(reader);
        if is_new {
            self.by_reader.insert(reader.clone(), Cursor::behind(last));
        }
        is_new
    }

    pub(super) fn has_space_for(&self, reader: &ReaderId) -> bool {
        self.by_reader.len() < CURSORS_MAX || self.by_reader.contains_key(reader)
    }
}

impl Cursor {
    /// Of somebody who is there, and was sent all up to `last`.
    fn at(last: u64) -> Self {
        let (began, acknowledged, sent) = (last, last, last);
        Self { began, acknowledged, sent, is_told: false, has_joined: true }
    }

    /// Of somebody who is to be sent what is behind `last`, and has not come.
    fn behind(last: u64) -> Self {
        Self { sent: 0, has_joined: false, ..Self::at(last) }
    }
}

impl JoinRequest<'_> {
    pub(super) fn reader(&self) -> Option<ReaderId> {
        let user = self.user.map(|user| ReaderId::User(Arc::clone(user)));
        user.or(self.session.map(ReaderId::Session))
    }
}

impl HomeRoom {
    /// The cursor of somebody who comes in again, or asks once more where they are. Who comes for the
    /// first time has one from now on; nothing, if that is at the end.
    pub(super) fn resume_cursor(
        &mut self,
        request: &JoinRequest<'_>,
        was_here: bool,
        now: Moment,
    ) -> Option<Cursor> {
        if self.config.mode != Mode::Guaranteed {
            return None;
        }
        let last = self.offset();
        let reader = request.reader()?;
        let is_live = was_here || self.has_another(&reader);
        let cursors = self.cursors.get_or_insert_default();
        if !cursors.has_space_for(&reader) {
            return None;
        }
        let is_told = cursors.unsaid.take_newcomer(&reader);
        let start = request.since.filter(|(epoch, _)| **epoch == *self.epoch);
        let began = start.map_or(last, |(_, at)| at.min(last));
        let new = Cursor { began, acknowledged: began, is_told, ..Cursor::at(last) };
        if let Some(cursor) = cursors.by_reader.get_mut(&reader) {
            cursor.has_joined = true;
            let cursor = *cursor;
            let sent = if is_live { last } else { cursor.sent };
            if !is_live {
                self.mark_unsaid(&reader, true, now);
            }
            // On another node they may have acknowledged what has not arrived here yet.
            return Some(Cursor { sent, acknowledged: cursor.acknowledged.min(last), ..cursor });
        }
        cursors.by_reader.insert(reader.clone(), new);
        self.mark_unsaid(&reader, true, now);
        // What it is given it may have had from elsewhere, but not from here.
        (new.acknowledged < last).then_some(Cursor { sent: 0, ..new })
    }

    /// From where on somebody who comes in again is owed what there is: behind what was acknowledged,
    /// unless it is a session that was here before their cursor was.
    pub(super) fn owed_after(&self, cursor: Cursor, request: &JoinRequest<'_>) -> u64 {
        let own = request.since.filter(|(epoch, _)| request.resumes && **epoch == *self.epoch);
        match own {
            Some((_, at)) if at < cursor.began => at,
            _ => cursor.acknowledged,
        }
    }

    /// A connection has taken in everything up to `offset`.
    pub fn acknowledge(&mut self, address: ConnectionAddress, offset: u64, now: Moment) {
        let offset = offset.min(self.offset());
        let reader = self.attached.get(&address).and_then(|attachment| attachment.reader.clone());
        if let (Some(cursors), Some(reader)) = (&mut self.cursors, reader)
            && let Some(cursor) = cursors.by_reader.get_mut(&reader)
            && cursor.acknowledged < offset
        {
            cursor.acknowledged = offset;
            self.mark_unsaid(&reader, false, now);
        }
    }

    /// Somebody has left for good.
    pub fn forget_reader(&mut self, reader: &ReaderId, now: Moment) {
        if let Some(cursors) = &mut self.cursors {
            cursors.by_reader.remove(reader);
            self.mark_ended(reader, End::Left, now);
        }
    }

    /// A message was published: it may have to be sent again.
    pub fn expect_acknowledgements(&mut self, now: Moment, timeout_ms: u64) {
        if let Some(cursors) = &mut self.cursors {
            cursors.next_check.get_or_insert(now.plus_ms(timeout_ms));
        }
    }

    /// To some who are here more is to be sent again than was known, in time: they may have been told that
    /// they would not get what they do get now, of which nothing was looked at.
    pub fn owe_anew(&mut self, is_one: impl Fn(&ReaderId) -> bool, now: Moment, timeout_ms: u64) {
        let (last, dropped) = (self.offset(), self.history.dropped());
        let Some(cursors) = &self.cursors else { return };
        let mut are_behind = false;
        for attachment in self.attached.values_mut() {
            let reader = attachment.reader.as_ref().filter(|reader| is_one(reader));
            let cursor = reader.and_then(|reader| cursors.by_reader.get(reader));
            if let Some(cursor) = cursor.filter(|cursor| cursor.acknowledged < last) {
                attachment.told = attachment.told.min(dropped.max(cursor.acknowledged));
                attachment.looked = 0;
                are_behind = true;
            }
        }
        if are_behind {
            self.expect_acknowledgements(now, timeout_ms);
        }
    }

    /// Puts off what may have to be sent again, or does it now.
    pub fn check_acknowledgements_at(&mut self, at: Moment) {
        if let Some(cursors) = &mut self.cursors {
            cursors.next_check = Some(at);
        }
    }

    /// A connection has come in: what it is given of what it was given before, or might have been,
    /// may have to be sent again as well.
    pub fn expect_acknowledgement_of(
        &mut self,
        address: ConnectionAddress,
        now: Moment,
        timeout_ms: u64,
    ) {
        let reader = self.attached.get(&address).and_then(|attachment| attachment.reader.as_ref());
        let cursors = self.cursors.as_ref();
        let cursor = reader.and_then(|reader| cursors?.by_reader.get(reader));
        if cursor.is_some_and(|cursor| cursor.acknowledged < self.offset()) {
            self.expect_acknowledgements(now, timeout_ms);
        }
    }

    /// A connection goes: up to here its reader was sent everything.
    pub(super) fn note_sent(&mut self, reader: Option<&ReaderId>, now: Moment) {
        let last = self.offset();
        if let (Some(cursors), Some(reader)) = (&mut self.cursors, reader)
            && let Some(cursor) = cursors.by_reader.get_mut(reader)
        {
            cursor.sent = last;
            self.mark_unsaid(reader, true, now);
        }
    }

    /// Whether somebody is owed what is published though they have left.
    pub(super) fn is_owed(&self, reader: &ReaderId, now: Moment) -> bool {
        let ReaderId::User(user) = reader else { return false };
        let standing = self.standing(Some(user), None, now);
        standing.banned.is_none() && standing.role >= Role::Member
    }

    /// Somebody leaves: they want nothing any more, unless they are owed it as a member.
    pub(super) fn note_left(&mut self, reader: &ReaderId, now: Moment) {
        if !self.is_owed(reader, now) {
            self.forget_reader(reader, now);
            return;
        }
        let last = self.offset();
        let cursor = self.cursors.as_mut().and_then(|cursors| cursors.by_reader.get_mut(reader));
        let Some(cursor) = cursor else { return };
        cursor.has_joined = false;
        if last == 0 {
            // Their place is that of somebody who has never come, which replaces none.
            self.mark_ended(reader, End::Left, now);
        }
    }

    /// A user's role has changed, or whether they are banned: from now on they are owed what is
    /// published, or no more.
    pub fn settle(&mut self, user: &str, now: Moment) {
        let reader = ReaderId::User(user.into());
        let (is_lacking, last) = (self.lacks_bookmark(user), self.offset());
        let cursors = self.cursors.as_mut().filter(|it| is_lacking && !it.unsaid.tells_of(user));
        if let Some(cursor) = cursors.and_then(|it| it.by_reader.get_mut(&reader))
            && cursor.has_joined
        {
            // Only the broker knows whether they have left, on another node.
            *cursor = Cursor::behind(last);
            self.mark_unsaid(&reader, true, now);
        }
        self.settle_by_standing(user, now);
    }

    fn settle_by_standing(&mut self, user: &str, now: Moment) {
        if self.config.mode != Mode::Guaranteed {
            return;
        }
        let reader = ReaderId::User(user.into());
        let last = self.offset();
        let known = self.cursors.as_ref().and_then(|cursors| cursors.by_reader.get(&reader));
        let has_joined = known.is_some_and(|it| it.has_joined);
        let standing = self.standing(Some(user), None, now);
        let cursors = self.cursors.get_or_insert_default();
        if standing.banned.is_some() {
            cursors.by_reader.remove(&reader);
            self.mark_ended(&reader, End::Banned, now);
        } else if standing.role >= Role::Member {
            if cursors.cover(&reader, last) {
                self.mark_unsaid(&reader, true, now);
            }
        } else if !has_joined && cursors.by_reader.remove(&reader).is_some() {
            self.mark_ended(&reader, End::Dismissed, now);
        }
    }

    /// The same of all, here and by the rooms above.
    pub(super) fn settle_all(&mut self, now: Moment) {
        let readers = self.cursors.iter().flat_map(|cursors| cursors.by_reader.keys());
        let known = readers.filter_map(|reader| match reader {
            ReaderId::User(user) => Some(user),
            ReaderId::Session(_) => None,
        });
        let above = self.heritage().flat_map(|heritage| heritage.members.after(None));
        let members = above.chain(self.members.after(None)).map(|(user, _)| user);
        let mut all: Vec<_> = known.chain(members).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all.iter().for_each(|user| self.settle_by_standing(user, now));
    }

    /// Begins or ends to keep cursors as the mode says: those who are there have got everything.
    pub(super) fn adopt_mode(&mut self, now: Moment) {
        if self.config.mode != Mode::Guaranteed {
            self.cursors = None;
            return;
        }
        if self.cursors.is_some() {
            // What it has from the rooms above may be more or less now.
            self.settle_all(now);
            return;
        }
        let last = self.offset();
        let mut cursors = Box::<Cursors>::default();
        for reader in self.attached.values().filter_map(|it| it.reader.as_ref()).take(CURSORS_MAX) {
            cursors.by_reader.insert(reader.clone(), Cursor::at(last));
        }
        let readers: Vec<_> = cursors.by_reader.keys().cloned().collect();
        self.cursors = Some(cursors);
        for reader in readers {
            self.mark_unsaid(&reader, true, now);
        }
        self.settle_all(now);
    }

    /// Whether another connection of the same reader is in the room.
    pub(super) fn has_another(&self, reader: &ReaderId) -> bool {
        match reader {
            ReaderId::User(user) => self.presence.get(user).is_some_and(|it| it.connections > 1),
            ReaderId::Session(_) => false,
        }
    }

    /// What those who are here have not acknowledged within `timeout_ms`, and what of it the room has
    /// no more; each of them is told that once.
    pub fn take_overdue(&mut self, now: Moment, timeout_ms: u64, most: usize) -> Vec<Overdue> {
        let Some(cursors) = &mut self.cursors else { return Vec::new() };
        if !cursors.is_check_due(now) {
            return Vec::new();
        }
        self.history.trim(now);
        let (last, dropped) = (self.history.last(), self.history.dropped());
        let mut all = Vec::new();
        let mut behind = false;
        for (address, attachment) in &mut self.attached {
            let Some(cursor) = attachment.reader.as_ref().and_then(|it| cursors.by_reader.get(it))
            else {
                continue;
            };
            let seen = cursor.acknowledged.max(attachment.told);
            let lost = (dropped > seen).then_some((seen + 1, dropped));
            attachment.told = attachment.told.max(lost.map_or(0, |(_, to)| to));
            let mut looked = cursor.acknowledged.max(attachment.looked);
            let missed = overdue(&mut self.history, &mut looked, now, timeout_ms, most);
            attachment.looked = looked;
            behind |= looked.max(seen).max(dropped) < last;
            if lost.is_some() || !missed.is_empty() {
                all.push(Overdue { address: *address, lost, missed });
            }
        }
        cursors.next_check = behind.then(|| now.plus_ms(timeout_ms));
        all.sort_unstable_by_key(|it| it.address);
        all
    }

    /// The same of one connection, which gets none of what it was to be sent up to `offset`.
    pub fn overdue_behind(
        &mut self,
        address: ConnectionAddress,
        offset: u64,
        now: Moment,
        timeout_ms: u64,
        most: usize,
    ) -> Vec<Arc<Publication>> {
        let Some(attachment) = self.attached.get_mut(&address) else { return Vec::new() };
        let (reader, cursors) = (attachment.reader.as_ref(), self.cursors.as_ref());
        let cursor = reader.and_then(|reader| cursors?.by_reader.get(reader));
        let Some(cursor) = cursor else { return Vec::new() };
        attachment.looked = attachment.looked.max(offset).max(cursor.acknowledged);
        overdue(&mut self.history, &mut attachment.looked, now, timeout_ms, most)
    }
}

/// What was published behind `looked` and `timeout_ms` ago and has not expired, at most so many. `looked`
/// moves over what has expired in front of it. No more is walked over than [`WALKS`] allows: what stands
/// behind that is for the next time.
fn overdue(
    history: &mut History<Arc<Publication>>,
    looked: &mut u64,
    now: Moment,
    timeout_ms: u64,
    most: usize,
) -> Vec<Arc<Publication>> {
    let old = |publication: &&Arc<Publication>| publication.published.plus_ms(timeout_ms) <= now;
    let mut missed = Vec::new();
    let walked = most.max(1).saturating_mul(WALKS);
    let page = history.page(Bound::Since(*looked), walked, now);
    for publication in page.entries.take_while(old) {
        if publication.expires.is_none_or(|expires| expires > now) {
            missed.push(Arc::clone(publication));
        } else if missed.is_empty() {
            *looked = publication.offset;
        }
        if missed.len() >= most {
            break;
        }
    }
    missed
}
