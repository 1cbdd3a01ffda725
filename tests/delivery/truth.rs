//! What a run's publications were, as all clients together saw them.

use std::collections::HashMap;

use crate::history::{Epoch, History, Message, Place, Record, Room};
use crate::verdict::{Fault, Finding};

/// The publications of a run.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Which room each message was sent to.
    meant: HashMap<Message, Room>,
    messages: HashMap<Place, Message>,
    places: HashMap<Message, Place>,
    heads: HashMap<(Room, Epoch), u64>,
    /// After how many restarts each place was first heard of.
    seen: HashMap<Place, usize>,
    /// What was announced not to come.
    gaps: HashMap<(Room, Epoch), Vec<(u64, u64)>>,
    /// Places at the beginning of a life that was announced, which no message need have.
    openings: HashMap<(Room, Epoch), u64>,
    /// Publications with an `ok`.
    pub(crate) count: u64,
}

impl Truth {
    /// Puts together what all saw; what contradicts itself is found.
    pub(crate) fn agree(histories: &[History], findings: &mut Vec<Finding>) -> Self {
        let mut truth = Self::default();
        for record in histories.iter().flatten() {
            if let Record::Publishing(room, message) = *record {
                truth.meant.insert(message, room);
            }
        }
        for (client, history) in histories.iter().enumerate() {
            let mut last = HashMap::<(usize, Room, Epoch), u64>::new();
            let mut round = 0;
            for record in history {
                let (message, place) = match *record {
                    Record::Round(now) => {
                        round = now;
                        continue;
                    }
                    Record::Gap(at, to) => {
                        truth.gaps.entry((at.room, at.epoch)).or_default().push((at.offset, to));
                        continue;
                    }
                    Record::Published(message, place)
                    | Record::Delivered(place, message)
                    | Record::Redelivered(place, message) => (message, place),
                    Record::Reborn(at, to) => {
                        let opening = truth.openings.entry((at.room, at.epoch)).or_default();
                        *opening = to.max(*opening);
                        continue;
                    }
                    _ => continue,
                };
                let mut found = |fault| findings.push(Finding { client, round, fault });
                if truth.meant.get(&message) != Some(&place.room) {
                    found(Fault::Foreign(place, message));
                    continue;
                }
                truth
                    .seen
                    .entry(place)
                    .and_modify(|first| *first = round.min(*first))
                    .or_insert(round);
                if !truth.place(message, place) {
                    found(Fault::Contradiction(place, message));
                }
                if matches!(record, Record::Published(..)) {
                    truth.count += 1;
                    let key = (message.publisher, place.room, place.epoch);
                    let before = last.insert(key, place.offset);
                    if before.is_some_and(|before| before >= place.offset) {
                        found(Fault::Overtaken(place, message));
                    }
                }
            }
        }
        truth.check_heads(findings);
        truth
    }

    /// Takes a message to be at a place; false if that contradicts what is known.
    fn place(&mut self, message: Message, place: Place) -> bool {
        let head = self.heads.entry((place.room, place.epoch)).or_default();
        *head = place.offset.max(*head);
        *self.messages.entry(place).or_insert(message) == message
            && *self.places.entry(message).or_insert(place) == place
    }

    /// Up to the last offset of a room, every one is a message.
    fn check_heads(&self, findings: &mut Vec<Finding>) {
        for (&(room, epoch), &head) in &self.heads {
            let first = self.openings.get(&(room, epoch)).map_or(1, |to| to + 1);
            let mut round = 0;
            for offset in (first..=head).rev() {
                let place = Place { room, epoch, offset };
                if let Some(seen) = self.seen.get(&place) {
                    round = *seen;
                    continue;
                }
                let gaps = self.gaps.get(&(room, epoch)).into_iter().flatten();
                let told = gaps.filter(|(from, to)| (*from..=*to).contains(&offset)).count();
                findings.push(Finding { client: 0, round, fault: Fault::Unused(place, told) });
            }
        }
    }

    /// The last offset of a room's life.
    pub(crate) fn head(&self, room: Room, epoch: Epoch) -> u64 {
        self.heads.get(&(room, epoch)).copied().unwrap_or(0)
    }

    /// Whether a room has had another life after this one.
    pub(crate) fn is_past(&self, room: Room, epoch: Epoch) -> bool {
        let lives = self.heads.keys().chain(self.openings.keys());
        lives.into_iter().any(|&(other, later)| other == room && later > epoch)
    }
}
