//! A client's time in a room: what it has to be given, and what it was given.

use crate::history::{Epoch, Place, Room};
use crate::verdict::Fault;

/// What a delivery is to a stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The next one, or one after offsets that did not come.
    New,
    /// One that came before the connection ended, and comes again.
    Again,
}

/// A client's time in a room.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) room: Room,
    pub(crate) epoch: Epoch,
    /// Up to here all came or was announced, but for what is missing. None: unknown until something
    /// comes.
    position: Option<u64>,
    /// Ranges that did not come: lost, unless they come too late.
    missing: Vec<(u64, u64)>,
    /// The last offset that the server knows to have arrived: nothing up to here comes again.
    acknowledged: u64,
    /// After a resume, what came may come again: the last that did.
    repeats: Option<u64>,
}

impl Stay {
    /// From after `position` on.
    pub(crate) fn new(at: Place, position: Option<u64>) -> Self {
        Self {
            room: at.room,
            epoch: at.epoch,
            position,
            missing: Vec::new(),
            acknowledged: position.unwrap_or(0),
            repeats: None,
        }
    }

    /// In a room's new life, of which everything up to `to` was announced. Of that, too, what a
    /// guaranteed room has may be sent again.
    pub(crate) fn reborn(at: Place, to: u64) -> Self {
        Self { acknowledged: 0, ..Self::new(at, Some(to)) }
    }

    /// The same on the next connection of its session.
    pub(crate) fn resumed(self) -> Self {
        Self { repeats: Some(self.acknowledged), ..self }
    }

    pub(crate) fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = offset.max(self.acknowledged);
    }

    /// A message came.
    pub(crate) fn deliver(&mut self, offset: u64) -> Result<Delivery, Fault> {
        match self.position {
            Some(position) if offset <= position => return self.deliver_again(offset),
            Some(position) => self.miss(position + 1, offset - 1),
            None => {}
        }
        self.position = Some(offset);
        self.repeats = None;
        Ok(Delivery::New)
    }

    /// A message came, with the word that it may have come before: in any order, but not after it
    /// was acknowledged.
    pub(crate) fn redeliver(&mut self, offset: u64) -> Result<Delivery, Fault> {
        if offset <= self.acknowledged {
            return Err(Fault::Repeated(self.place(offset)));
        }
        self.find(offset, offset);
        match self.position {
            Some(position) if offset <= position => Ok(Delivery::Again),
            _ => self.deliver(offset),
        }
    }

    fn deliver_again(&mut self, offset: u64) -> Result<Delivery, Fault> {
        if self.repeats.is_some_and(|last| offset > last) {
            self.repeats = Some(offset);
            return Ok(Delivery::Again);
        }
        let place = self.place(offset);
        if self.missing.iter().any(|&(from, to)| (from..=to).contains(&offset)) {
            self.find(offset, offset);
            return Err(Fault::Reordered(place));
        }
        Err(Fault::Repeated(place))
    }

    /// A gap was announced, inclusive.
    pub(crate) fn announce(&mut self, from: u64, to: u64) {
        if let Some(position) = self.position {
            self.miss(position + 1, from.saturating_sub(1));
            self.find(from, to);
        }
        if self.repeats.is_some() {
            self.repeats = self.repeats.max(Some(to));
        }
        self.position = self.position.max(Some(to));
    }

    /// Nothing more up to `offset` comes.
    pub(crate) fn reach(&mut self, offset: u64) {
        if let Some(position) = self.position {
            self.miss(position + 1, offset);
        }
    }

    /// What it was not given.
    pub(crate) fn losses(&self) -> impl Iterator<Item = Fault> {
        self.missing.iter().map(|&(from, to)| Fault::Lost(self.place(from), to))
    }

    fn miss(&mut self, from: u64, to: u64) {
        if from <= to {
            self.missing.push((from, to));
        }
    }

    /// These are not missing, or no longer.
    fn find(&mut self, first: u64, last: u64) {
        let missing = std::mem::take(&mut self.missing);
        for (from, to) in missing {
            if last < from || to < first {
                self.missing.push((from, to));
                continue;
            }
            if from < first {
                self.missing.push((from, first - 1));
            }
            if to > last {
                self.missing.push((last + 1, to));
            }
        }
    }

    fn place(&self, offset: u64) -> Place {
        Place { room: self.room, epoch: self.epoch, offset }
    }
}
