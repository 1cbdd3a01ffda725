//! Whole frames that many connections of this core are sent, and that count once against its budget.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Moment;
use crate::protocol::Priority;
use crate::room::hub::RoomTag;
use crate::room::publication::{Form, Publication};

/// Stands for what is no message, or is one once more: no other message makes it worthless.
const NO_EVENT: u64 = u64::MAX;

/// Bytes that are in memory because of all outboxes of a core. What connections share counts once; a
/// publication, for each form in which it waits; answers, for the one connection they are for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Rc<Cell<u64>>);

impl Budget {
    pub(crate) fn held_bytes(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes as u64);
    }

    pub(super) fn sub(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes as u64);
    }
}

/// What has to be known about messages to decide whether they may be dropped, and to say so.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) room: Rc<RoomTag>,
    /// The first offset; 0: all are transient.
    pub(crate) first: u64,
    /// The last offset.
    pub(crate) last: u64,
    pub(crate) priority: Priority,
    pub(crate) expires: Option<Moment>,
    /// Stands for the event's name, for the policy `latest`.
    pub(crate) event: u64,
}

impl Label {
    /// Of one message; `event` stands for its event's name.
    pub(crate) fn of(publication: &Publication, room: &Rc<RoomTag>, event: u64) -> Self {
        Self {
            room: Rc::clone(room),
            first: publication.offset,
            last: publication.offset,
            priority: publication.priority,
            expires: publication.expires,
            event,
        }
    }

    /// Of what needs no gap where it is dropped.
    pub(crate) fn nameless(room: &Rc<RoomTag>) -> Self {
        let (room, priority) = (Rc::clone(room), Priority::Normal);
        Self { room, first: 0, last: 0, priority, expires: None, event: NO_EVENT }
    }

    /// Whether this one of the same room makes it worthless, where only the newest counts.
    pub(crate) fn is_superseded_by(&self, newer: &Self) -> bool {
        self.same_room(&newer.room)
            && self.event == newer.event
            && newer.event != NO_EVENT
            && self.priority != Priority::Critical
    }

    /// How many messages it is of, at most.
    pub(crate) fn count(&self) -> u64 {
        self.last.saturating_sub(self.first) + 1
    }

    pub(crate) fn is_transient(&self) -> bool {
        self.last == 0
    }

    /// Whether it is the first to be dropped, without a word.
    pub(crate) fn is_fleeting(&self) -> bool {
        self.is_transient() && self.priority != Priority::Critical
    }

    pub(crate) fn same_room(&self, room: &RoomTag) -> bool {
        self.room.is(room)
    }
}

#[derive(Debug)]
enum Bytes {
    /// Several messages in one piece, or one that was written here.
    Joined(Box<[u8]>),
    /// One message as its home wrote it.
    Whole(Arc<Publication>, Form),
}

/// Whole frames, shared by the outboxes that wait to write them.
#[derive(Debug)]
pub(crate) struct Run {
    bytes: Bytes,
    pub(crate) label: Label,
    budget: Budget,
}

impl Run {
    /// Frames in one piece.
    pub(crate) fn joined(bytes: Box<[u8]>, label: Label, budget: &Budget) -> Rc<Self> {
        Self::new(Bytes::Joined(bytes), label, budget)
    }

    /// A publication as it is; none if its home did not write this form.
    pub(crate) fn whole(
        publication: &Arc<Publication>,
        form: Form,
        label: Label,
        budget: &Budget,
    ) -> Option<Rc<Self>> {
        publication.frame(form)?;
        Some(Self::new(Bytes::Whole(Arc::clone(publication), form), label, budget))
    }

    fn new(bytes: Bytes, label: Label, budget: &Budget) -> Rc<Self> {
        let run = Self { bytes, label, budget: budget.clone() };
        run.budget.add(run.held_bytes());
        Rc::new(run)
    }

    /// What is in memory because of it: a publication holds its data beside what is written of it.
    fn held_bytes(&self) -> usize {
        match &self.bytes {
            Bytes::Joined(bytes) => bytes.len(),
            Bytes::Whole(publication, _) => publication.held_bytes(),
        }
    }

    /// What is written.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Joined(bytes) => bytes,
            Bytes::Whole(publication, form) => publication.frame(*form).unwrap_or_default(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.budget.sub(self.held_bytes());
    }
}
