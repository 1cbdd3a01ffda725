//! What a connection is owed by the first pattern that it ever subscribed to: nobody announces where
//! that begins in a room, but from the first message on all of it comes, or a gap.

use std::collections::BTreeMap;

use crate::Checked;
use crate::client::{Client, Common, Request, covers};
use crate::truth::{Interest, Reader, RoomId, Truth};

/// One pattern, and how far it has come in the rooms that are not joined.
#[derive(Debug)]
pub(crate) struct Follow {
    pattern: String,
    interest: Interest,
    /// Up to where all was given, announced as a gap, or not meant for it.
    places: BTreeMap<RoomId, (String, u64)>,
}

impl Client {
    /// A `subscribe` was answered. Of a pattern that is not its first, what the others had left out
    /// may still be on its way.
    pub(crate) fn begin_follow(&mut self, pattern: &str, interest: &Interest) {
        let came_alone = self.resumed_patterns.as_ref().is_some_and(Vec::is_empty);
        let is_first = self.patterns.is_empty() && !self.has_followed;
        let changes =
            |it: &Request| matches!(it, Request::Subscribe { .. } | Request::Unsubscribe { .. });
        let is_changing = self.awaits(changes);
        self.has_followed = true;
        if came_alone && is_first && !is_changing {
            let (pattern, interest) = (pattern.to_owned(), interest.clone());
            self.follow = Some(Follow { pattern, interest, places: BTreeMap::new() });
        }
    }

    /// It asks for something that changes what comes by that pattern.
    pub(crate) fn end_follow(&mut self, pattern: &str) {
        self.follow = self.follow.take().filter(|follow| follow.pattern != pattern);
    }

    /// It comes into a room, or has left it: what comes by a pattern begins anew.
    pub(crate) fn restart_follow(&mut self, room: &RoomId) {
        if let Some(follow) = &mut self.follow {
            follow.places.remove(room);
        }
    }

    /// Offsets of a room that is not joined came, as a message or as a gap.
    pub(crate) fn follow(
        &mut self,
        room: &RoomId,
        epoch: &str,
        (from, to): (u64, u64),
        common: &mut Common,
    ) -> Checked {
        // Whoever is sent out of a room, or may not hear it, is told of nothing by patterns.
        let Some(follow) = self.follow.as_mut().filter(|_| !common.rules.moderates) else {
            return Ok(());
        };
        if !covers(&follow.pattern, &room.1) {
            return Ok(());
        }
        let place = follow.places.insert(room.clone(), (epoch.to_owned(), to));
        match place.filter(|(then, _)| *then == epoch) {
            Some((_, last)) if from <= last => {
                Err(format!("{from} to {to} of {room:?} after {last}, by a pattern"))
            }
            Some((_, last)) => {
                follow.skip(&mut common.truth, room, epoch, (last + 1, from - 1), &self.reader)
            }
            None => Ok(()),
        }
    }

    /// At rest: all of it has come.
    pub(crate) fn check_follow(&mut self, truth: &mut Truth) -> Checked {
        let Some(follow) = &self.follow else { return Ok(()) };
        for (room, (epoch, position)) in &follow.places {
            let range = (position + 1, truth.last(room, epoch));
            follow.skip(truth, room, epoch, range, &self.reader)?;
        }
        Ok(())
    }
}

impl Follow {
    fn skip(
        &self,
        truth: &mut Truth,
        room: &RoomId,
        epoch: &str,
        range: (u64, u64),
        reader: &Reader,
    ) -> Checked {
        truth.skip(room, epoch, range, (reader, &[]), &self.interest)
    }
}
