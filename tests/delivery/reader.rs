//! One client, followed through its history: the rooms it is in, and what it is owed there.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Message, Place, Promise, Record, Room};
use crate::stay::{Delivery, Stay};
use crate::truth::Truth;
use crate::verdict::{Excuses, Fault, Finding, How, Tally};

pub(crate) struct Reader<'a> {
    client: usize,
    round: usize,
    truth: &'a Truth,
    promises: &'a [Promise],
    excuses: Excuses,
    tally: &'a mut Tally,
    pub(crate) findings: Vec<Finding>,
    stays: BTreeMap<Room, Stay>,
    /// What its session was in when its connection ended.
    kept: BTreeMap<Room, Stay>,
    /// Rooms whose `join` or `leave` is under way; nobody knows what became of it if the connection
    /// ends.
    asked: BTreeSet<Room>,
    unsure: BTreeSet<Room>,
    unanswered: BTreeSet<Message>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        client: usize,
        truth: &'a Truth,
        promises: &'a [Promise],
        excuses: Excuses,
        tally: &'a mut Tally,
    ) -> Self {
        Self {
            client,
            round: 0,
            truth,
            promises,
            excuses,
            tally,
            findings: Vec::new(),
            stays: BTreeMap::new(),
            kept: BTreeMap::new(),
            asked: BTreeSet::new(),
            unsure: BTreeSet::new(),
            unanswered: BTreeSet::new(),
        }
    }

    /// The next line of its history.
    pub(crate) fn follow(&mut self, record: Record) {
        match record {
            Record::Publishing(_, message) => {
                self.unanswered.insert(message);
            }
            Record::Published(message, _) => {
                self.unanswered.remove(&message);
            }
            Record::Refused(message) => {
                self.unanswered.remove(&message);
                match self.excuses.refusals {
                    true => self.tally.refused += 1,
                    false => self.found(Fault::Refused(message)),
                }
            }
            Record::Joining(room) | Record::Leaving(room) => {
                self.asked.insert(room);
            }
            Record::Joined { at, since, recovered } => self.join(at, since, recovered),
            Record::Left(room) => self.leave(room),
            Record::Acknowledged(at) => {
                let stay = self.stays.get_mut(&at.room).filter(|stay| stay.epoch == at.epoch);
                if let Some(stay) = stay {
                    stay.acknowledge(at.offset);
                }
            }
            Record::Delivered(place, _) => self.deliver(place, Stay::deliver),
            Record::Redelivered(place, _) => self.deliver(place, Stay::redeliver),
            Record::Reborn(at, to) => self.be_reborn(at, to),
            Record::Gap(from, to) => self.gap(from, to),
            Record::Closed => self.end(),
            Record::Vanished => {
                self.found(Fault::Vanished);
                self.end();
            }
            Record::Anew => self.begin_anew(),
            Record::Welcome { resumed } => self.welcome(resumed),
            Record::Arrived { at, recovered } => self.arrive(at, recovered),
            Record::Settled => self.settle(),
            Record::Round(round) => self.round = round,
        }
    }

    /// The end of its history.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        // Until somebody comes to a room or publishes there, nobody knows that its life has ended: that
        // may be after all else was settled.
        for (&room, stay) in &self.stays {
            if self.truth.is_past(room, stay.epoch) {
                let offset = self.truth.head(room, stay.epoch);
                let fault = Fault::Untold(Place { room, epoch: stay.epoch, offset });
                self.findings.push(Finding { client: self.client, round: self.round, fault });
            }
        }
        let stays = std::mem::take(&mut self.stays).into_values();
        for stay in stays.chain(std::mem::take(&mut self.kept).into_values()) {
            self.lose(&stay);
        }
        for message in std::mem::take(&mut self.unanswered) {
            self.found(Fault::Unanswered(message));
        }
        self.findings
    }

    fn found(&mut self, fault: Fault) {
        self.findings.push(Finding { client: self.client, round: self.round, fault });
    }

    fn lose(&mut self, stay: &Stay) {
        self.findings.extend(stay.losses().map(|fault| Finding {
            client: self.client,
            round: self.round,
            fault,
        }));
    }

    fn is_exact(&self, room: Room) -> bool {
        self.promises[room] == Promise::Exact
    }

    fn join(&mut self, at: Place, since: Option<Place>, recovered: bool) {
        self.asked.remove(&at.room);
        let position = match since {
            Some(since) if recovered => {
                self.tally.recovered += 1;
                since.offset
            }
            Some(since) if self.is_exact(at.room) => {
                self.inexact(at, How::Joined(since.offset));
                at.offset
            }
            _ => at.offset,
        };
        if let Some(before) = self.stays.insert(at.room, Stay::new(at, Some(position))) {
            self.lose(&before);
        }
    }

    fn leave(&mut self, room: Room) {
        self.asked.remove(&room);
        self.tally.left += 1;
        if let Some(stay) = self.stays.remove(&room) {
            self.lose(&stay);
        }
    }

    fn deliver(
        &mut self,
        place: Place,
        take: impl FnOnce(&mut Stay, u64) -> Result<Delivery, Fault>,
    ) {
        self.tally.delivered += 1;
        let stay = self.stays.get_mut(&place.room).filter(|stay| stay.epoch == place.epoch);
        let Some(stay) = stay else {
            self.found(Fault::Outside(place));
            return;
        };
        match take(stay, place.offset) {
            Ok(Delivery::New) => {}
            Ok(Delivery::Again) => self.tally.repeated += 1,
            Err(fault) => self.found(fault),
        }
    }

    /// The room's life has ended, and another has begun up to an offset.
    fn be_reborn(&mut self, at: Place, to: u64) {
        self.tally.reborn += 1;
        if !self.excuses.epochs {
            self.found(Fault::Inexact(at, How::Reborn));
        }
        match self.stays.insert(at.room, Stay::reborn(at, to)) {
            Some(before) => self.lose(&before),
            None => self.found(Fault::Outside(at)),
        }
    }

    /// A room that recovers exactly did not, and said so.
    fn inexact(&mut self, at: Place, how: How) {
        match self.excuses.recovery {
            true => self.tally.unrecovered += 1,
            false => self.found(Fault::Inexact(at, how)),
        }
    }

    fn gap(&mut self, from: Place, to: u64) {
        self.tally.gaps += 1;
        // What a life that has ended had is owed to nobody.
        if self.is_exact(from.room) && !self.excuses.epochs {
            self.found(Fault::Inexact(from, How::Gap(to)));
        }
        match self.stays.get_mut(&from.room).filter(|stay| stay.epoch == from.epoch) {
            Some(stay) => stay.announce(from.offset, to),
            None => self.found(Fault::Outside(from)),
        }
    }

    fn end(&mut self) {
        self.tally.closed += 1;
        self.unanswered.clear();
        self.kept = std::mem::take(&mut self.stays);
        self.unsure = std::mem::take(&mut self.asked);
    }

    fn welcome(&mut self, resumed: bool) {
        if resumed {
            self.tally.resumed += 1;
            return;
        }
        self.found(Fault::Forgotten);
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        for stay in std::mem::take(&mut self.kept).into_values() {
            self.lose(&stay);
        }
        self.unsure.clear();
    }

    fn arrive(&mut self, at: Place, recovered: bool) {
        let is_unsure = self.unsure.remove(&at.room);
        let stay = match self.kept.remove(&at.room) {
            Some(kept) if is_unsure => {
                self.lose(&kept);
                Stay::new(at, None)
            }
            Some(kept) if kept.epoch == at.epoch => {
                if !recovered && self.is_exact(at.room) {
                    self.inexact(at, How::Returned);
                }
                kept.resumed()
            }
            Some(kept) if self.excuses.epochs => {
                // `welcome` tells it. If its life there had begun when the connection ended, it goes
                // on from wherever that was.
                self.tally.reborn += 1;
                self.lose(&kept);
                Stay::new(at, None)
            }
            Some(kept) => {
                // Rooms of a run live as long as it.
                self.lose(&kept);
                self.found(Fault::RoomForgotten(at.room));
                Stay::new(at, None)
            }
            None if is_unsure => Stay::new(at, None),
            None => {
                self.found(Fault::Uninvited(at.room));
                Stay::new(at, None)
            }
        };
        self.stays.insert(at.room, stay);
    }

    fn settle(&mut self) {
        for (room, kept) in std::mem::take(&mut self.kept) {
            self.lose(&kept);
            if !self.unsure.contains(&room) {
                self.found(Fault::RoomForgotten(room));
            }
        }
        for stay in self.stays.values_mut() {
            stay.reach(self.truth.head(stay.room, stay.epoch));
        }
    }
}
