//! What clients noted down, each for itself and in its own order. Nothing here is judged.

use std::collections::HashMap;

/// A room of the run, by its place in the list of rooms.
pub(crate) type Room = usize;

/// A room's life, by its place among all epochs that anybody saw.
pub(crate) type Epoch = usize;

/// A message, by who published it and as its how manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

/// Where a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) room: Room,
    pub(crate) epoch: Epoch,
    pub(crate) offset: u64,
}

/// One line of a client's history.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    /// It sent a `publish`.
    Publishing(Room, Message),
    /// Its `ok`.
    Published(Message, Place),
    /// Its `error`.
    Refused(Message),
    /// It sent a `join`.
    Joining(Room),
    /// Its `ok`: the room stands at that place; `since`, if it was given and is recovered from.
    Joined { at: Place, since: Option<Place>, recovered: bool },
    /// It sent a `leave`.
    Leaving(Room),
    /// Its `ok`.
    Left(Room),
    /// The `ok` of an `ack`.
    Acknowledged(Place),
    /// `message`
    Delivered(Place, Message),
    /// The same, with the word that it may have come before.
    Redelivered(Place, Message),
    /// `gap` as the room's new life begins: from the place to the offset, inclusive.
    Reborn(Place, u64),
    /// `gap`, from the place to the offset, inclusive.
    Gap(Place, u64),
    /// The connection ended, in whichever way was announced: the client cut it, or a close came.
    Closed,
    /// The connection ended, and nothing had said that it would.
    Vanished,
    /// It connected anew, without its session.
    Anew,
    /// `welcome`, after a session was asked for; what follows are its rooms, as [`Record::Arrived`].
    Welcome { resumed: bool },
    /// A room in `welcome`.
    Arrived { at: Place, recovered: bool },
    /// All is quiet: what has not come by now does not come.
    Settled,
    /// What follows was noted when so many processes had been taken over from.
    Round(usize),
}

/// What one client noted down.
pub(crate) type History = Vec<Record>;

/// What a room promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Losses are announced.
    Announced,
    /// Nothing is lost, whatever happens to connections.
    Exact,
}

/// Names given to texts, in the order of their appearance.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, usize>);

impl Names {
    pub(crate) fn of(&mut self, text: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(text.to_owned()).or_insert(next)
    }
}
