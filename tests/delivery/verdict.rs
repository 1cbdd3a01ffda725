//! The verdict on histories: what the server said and did, against what it promises.
//!
//! Publications are first agreed upon: every offset is one message, every message one offset, each
//! publisher's in the order sent. Then each client is followed through its stays in rooms: between
//! two deliveries nothing may be missing that no gap announced, and nothing may come twice but after
//! a resume.

use crate::history::{History, Message, Place, Promise, Record, Room};
use crate::reader::Reader;
use crate::truth::Truth;

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Offsets that neither came nor were announced as a gap, from the place to the offset.
    Lost(Place, u64),
    /// It came again, though nothing was resumed.
    Repeated(Place),
    /// It came after a later one.
    Reordered(Place),
    /// It came while the client was not in the room.
    Outside(Place),
    /// Nobody published what came, or not to this room.
    Foreign(Place, Message),
    /// Two messages have one place, or one message two.
    Contradiction(Place, Message),
    /// A publisher's messages have offsets in another order than they were sent.
    Overtaken(Place, Message),
    /// An offset that no message has; and how many were told of a gap there.
    Unused(Place, usize),
    /// A command was never answered, though the connection stayed.
    Unanswered(Message),
    /// A publish was refused.
    Refused(Message),
    /// A room that recovers exactly did not.
    Inexact(Place, How),
    /// A session that lives was not resumed.
    Forgotten,
    /// A resumed session is no longer in this room.
    RoomForgotten(Room),
    /// A client is in a room that it never asked for.
    Uninvited(Room),
    /// A client was never told that the room's life ended here.
    Untold(Place),
    /// The connection ended without a word.
    Vanished,
}

impl Fault {
    /// Where it is.
    pub(crate) fn place(self) -> Option<Place> {
        match self {
            Self::Lost(at, _)
            | Self::Repeated(at)
            | Self::Reordered(at)
            | Self::Outside(at)
            | Self::Inexact(at, _)
            | Self::Untold(at) => Some(at),
            _ => None,
        }
    }
}

/// How a room was not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// Who joined from an offset on was not given what followed it.
    Joined(u64),
    /// Who came back with a session was not given what they missed.
    Returned,
    /// It had a gap, up to there.
    Gap(u64),
    /// It began a new life.
    Reborn,
}

/// A fault, whose history shows it, and how many processes had been taken over from by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) client: usize,
    pub(crate) round: usize,
    pub(crate) fault: Fault,
}

impl Finding {
    /// What kind of fault it is, without whom and where.
    pub(crate) fn kind(&self) -> String {
        let kind = match self.fault {
            Fault::Inexact(_, how) => format!("Inexact {how:?}"),
            fault => format!("{fault:?}"),
        };
        kind.split('(').next().unwrap_or_default().to_owned()
    }
}

/// What a run amounted to, so that a run in which nothing happened does not pass for a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) repeated: u64,
    pub(crate) gaps: u64,
    pub(crate) resumed: u64,
    pub(crate) recovered: u64,
    pub(crate) closed: u64,
    pub(crate) left: u64,
    pub(crate) refused: u64,
    /// Rooms that could not be recovered, and said so.
    pub(crate) unrecovered: u64,
    /// New lives of rooms that clients were told of.
    pub(crate) reborn: u64,
}

/// What a run whose Redis is in trouble may do, and one without may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excuses {
    /// A publish may be refused.
    pub(crate) refusals: bool,
    /// A room may say that it could not be recovered.
    pub(crate) recovery: bool,
    /// A room may begin a new life, if all are told.
    pub(crate) epochs: bool,
}

/// Judges all histories of a run; `promises` by room.
pub(crate) fn verdict(
    histories: &[History],
    promises: &[Promise],
    excuses: Excuses,
) -> (Vec<Finding>, Tally) {
    let mut findings = Vec::new();
    let truth = Truth::agree(histories, &mut findings);
    let mut tally = Tally { published: truth.count, ..Tally::default() };
    for (client, history) in histories.iter().enumerate() {
        let mut reader = Reader::new(client, &truth, promises, excuses, &mut tally);
        for record in history {
            reader.follow(*record);
        }
        findings.extend(reader.finish());
    }
    (findings, tally)
}

/// Records before and after the one that a fault is found by.
const SHOWN: (usize, usize) = (60, 10);

/// Prints what a client noted of a room, and of its connections, around a place.
pub(crate) fn show(history: &[Record], place: Place) {
    let is_of_room = |at: &Place| at.room == place.room;
    let concerns = |record: &&Record| match record {
        Record::Joining(room) | Record::Leaving(room) | Record::Left(room) => *room == place.room,
        Record::Joined { at, .. }
        | Record::Arrived { at, .. }
        | Record::Acknowledged(at)
        | Record::Delivered(at, _)
        | Record::Redelivered(at, _)
        | Record::Reborn(at, _)
        | Record::Gap(at, _) => is_of_room(at),
        Record::Publishing(..) | Record::Published(..) | Record::Refused(_) => false,
        _ => true,
    };
    let records: Vec<_> = history.iter().filter(concerns).collect();
    // A room in a welcome stands where its last message is, which is yet to come.
    let is_past = |record: &&Record| match record {
        Record::Delivered(at, _) => {
            is_of_room(at) && at.epoch == place.epoch && at.offset > place.offset
        }
        _ => false,
    };
    let found = records.iter().position(is_past).unwrap_or(records.len());
    let shown = found.saturating_sub(SHOWN.0)..records.len().min(found + SHOWN.1);
    for record in &records[shown] {
        println!("    {record:?}");
    }
}
