//! A connection's time in a room: what it has to be given, and what it was given.

use std::collections::BTreeMap;

use crate::Checked;
use crate::guarantee::is_guaranteed;
use crate::truth::{Interest, Meant, Reader, RoomId, Truth};

/// A connection's time in a room, from the `ok` of the join to the `ok` of the leave.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    /// None: in a room of which nothing was seen yet, in which it is by itself.
    pub(crate) epoch: Option<String>,
    /// Up to here all was given, announced as a gap, or not meant for it. None: unknown.
    pub(crate) position: Option<u64>,
    /// Where the position is unknown: the last that came once more.
    came_again: u64,
    /// The last offset that the server knows to be taken in: nothing up to here comes again.
    pub(crate) acknowledged: u64,
    /// After a resume, what was seen may come again, up to the position: the last that came.
    repeats: Option<u64>,
    /// After a resume, up to here it has said itself that it need not be given anything.
    pub(crate) claimed: u64,
    /// As whom it was here before: until something new comes, what was withheld from one of them is not
    /// owed to this one.
    before: Vec<Reader>,
    pub(crate) interest: Interest,
    /// It came in with all that was not acknowledged behind it.
    pub(crate) is_recovered: bool,
    /// Nobody knows what it asked for last: an answer was lost on the way.
    pub(crate) is_vague: bool,
    /// What notices have said: who is there.
    pub(crate) notices: BTreeMap<String, bool>,
}

impl Stay {
    pub(crate) fn new(epoch: Option<String>, position: Option<u64>, interest: Interest) -> Self {
        Self {
            epoch,
            position,
            came_again: 0,
            acknowledged: 0,
            repeats: None,
            claimed: 0,
            before: Vec::new(),
            interest,
            is_recovered: false,
            is_vague: false,
            notices: BTreeMap::new(),
        }
    }

    /// One of which little is known, because an answer was lost on the way.
    pub(crate) fn vague(epoch: String) -> Self {
        let stay = Self::new(Some(epoch), None, Interest::default());
        Self { is_vague: true, ..stay }
    }

    /// Whether everything up to an offset has come.
    pub(crate) fn is_at(&self, offset: u64) -> bool {
        self.position.is_some_and(|position| offset <= position)
    }

    /// The same after a resume in which the room is where it was.
    pub(crate) fn resumed(&self, room: &RoomId, before: &Reader, claimed: u64) -> Self {
        // In a guaranteed room others of the same user may have left meanwhile, and begun anew.
        let acknowledged = if is_guaranteed(room) { 0 } else { self.acknowledged };
        let mut stay = self.clone();
        stay.before.push(before.clone());
        let (repeats, claimed) = (Some(acknowledged), claimed.max(self.claimed));
        Self { acknowledged, repeats, claimed, notices: BTreeMap::new(), ..stay }
    }

    pub(crate) fn message(
        &mut self,
        truth: &mut Truth,
        room: &RoomId,
        reader: &Reader,
        (epoch, offset): (&str, u64),
        redelivered: bool,
    ) -> Checked {
        self.check_epoch(room, epoch)?;
        if let Some(number) = truth.at(room, epoch, offset) {
            let meant = truth.publications[number].meant(reader, &self.interest);
            if meant == Meant::No && !self.is_vague {
                return Err(format!(
                    "{} ({:?}) was given {offset} of {room:?}, not meant for it",
                    reader.name, reader.user
                ));
            }
        }
        match self.position {
            Some(position) if offset <= position && redelivered => Ok(()),
            Some(position) if offset <= position => self.repeat(room, offset),
            Some(position) => {
                self.repeats = None;
                self.skip(truth, room, reader, (position + 1, offset - 1))?;
                self.before.clear();
                self.position = Some(offset);
                Ok(())
            }
            // Without a recovery it may be any of those that are not acknowledged.
            None if redelivered && !self.is_recovered => {
                self.came_again = self.came_again.max(offset);
                Ok(())
            }
            None => {
                self.position = Some(offset);
                Ok(())
            }
        }
    }

    fn repeat(&mut self, room: &RoomId, offset: u64) -> Checked {
        match self.repeats {
            Some(last) if offset > last => {
                self.repeats = Some(offset);
                Ok(())
            }
            _ => Err(format!("{offset} of {room:?} comes again or too late ({self:?})")),
        }
    }

    pub(crate) fn gap(
        &mut self,
        truth: &mut Truth,
        room: &RoomId,
        reader: &Reader,
        (epoch, from, to): (&str, u64, u64),
        reason: &str,
    ) -> Checked {
        self.check_epoch(room, epoch)?;
        if from == 0 || from > to {
            return Err(format!("a gap from {from} to {to} of {room:?}"));
        }
        truth.reaches(room, epoch, to);
        for offset in from..=to {
            let Some(number) = truth.at(room, epoch, offset) else { continue };
            let publication = &truth.publications[number];
            let wanted = !self.is_vague && publication.meant(reader, &self.interest) == Meant::Yes;
            if wanted && reason == "expired" && publication.ttl_ms.is_none() {
                return Err(format!(
                    "{offset} of {room:?} (publication {number}) is said to have expired and cannot"
                ));
            }
            if wanted && reason == "slow_consumer" && publication.priority == 3 {
                return Err(format!("{offset} of {room:?} is critical and was dropped"));
            }
        }
        // What was given once, and is gone before it was acknowledged, is said to be gone as well.
        let is_late = is_guaranteed(room) && matches!(reason, "history_truncated" | "expired");
        let Some(position) = self.position else {
            self.position = Some(to.max(self.came_again));
            return Ok(());
        };
        if from <= position && is_late {
        } else if from <= position {
            self.repeat(room, from)?;
        } else {
            self.skip(truth, room, reader, (position + 1, from - 1))?;
        }
        if self.repeats.is_some() {
            self.repeats = Some(to);
        }
        self.position = Some(position.max(to));
        Ok(())
    }

    /// Nothing more up to `offset` is on its way.
    pub(crate) fn reach(
        &mut self,
        truth: &mut Truth,
        room: &RoomId,
        reader: &Reader,
        offset: u64,
    ) -> Checked {
        let Some(position) = self.position else { return Ok(()) };
        self.skip(truth, room, reader, (position + 1, offset))?;
        self.position = Some(position.max(offset));
        Ok(())
    }

    /// These offsets are not given to it.
    fn skip(
        &self,
        truth: &mut Truth,
        room: &RoomId,
        reader: &Reader,
        (from, to): (u64, u64),
    ) -> Checked {
        let range = (from.max(self.claimed + 1), to);
        match &self.epoch {
            Some(epoch) if !self.is_vague => {
                truth.skip(room, epoch, range, (reader, &self.before), &self.interest)
            }
            _ => Ok(()),
        }
    }

    /// Its home knows by now that it is there: from the next message on it is owed all.
    pub(crate) fn settle(&mut self) {
        if self.is_vague {
            (self.is_vague, self.position) = (false, None);
        }
    }

    /// A notice of presence. Strict: none was lost on the way.
    pub(crate) fn notice(&mut self, user: &str, action: &str, strict: bool) -> Checked {
        let before = self.notices.get(user).copied();
        let (allowed, now) = match action {
            "join" => (before != Some(true), true),
            "leave" => (before != Some(false), false),
            "update" => (before != Some(false), true),
            other => return Err(format!("presence {other}")),
        };
        if strict && !allowed && !self.is_vague {
            return Err(format!("presence {action} of {user} who was there: {before:?}"));
        }
        self.notices.insert(user.to_owned(), now);
        Ok(())
    }

    fn check_epoch(&mut self, room: &RoomId, epoch: &str) -> Checked {
        match &self.epoch {
            Some(known) if known != epoch => {
                Err(format!("{room:?} is in epoch {known} and a message is from {epoch}"))
            }
            Some(_) => Ok(()),
            None => {
                self.epoch = Some(epoch.to_owned());
                Ok(())
            }
        }
    }
}
