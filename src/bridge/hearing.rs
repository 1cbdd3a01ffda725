//! Subscriptions: which line listens to which room and station, and what comes of it.
//!
//! Invariant: a room is asked for only once its channel is listened to by the line to its slot; a room
//! that was not listened to for a while is opened again by its home.

use crate::metrics::LinkState;
use crate::room::name::RoomKey;

use super::call::End;
use super::ear::{Event, Heard};
use super::queue::Waiting;
use super::run::Bridge;
use super::watch::Subject;
use super::{failure, news, station};

/// Room for so many events is kept from one round to the next.
const KEPT_EVENTS: usize = 1_024;

impl Bridge {
    /// Asks a line to listen to a room.
    pub(super) fn listen(&mut self, room: &RoomKey, number: u64) {
        let Some((channel, before)) = self.desk.watch.ask(room, number) else { return };
        if let Some(line) = before.and_then(|line| self.lines.get(line)) {
            line.link.ear.unsubscribe(&channel);
        }
        if let Some(line) = self.lines.get(number) {
            line.link.ear.subscribe("SSUBSCRIBE", &channel);
        }
    }

    /// Rooms whose slot is elsewhere now, or whose subscription has ended, are listened to there.
    pub(super) fn hear_where_they_are(&mut self) {
        let lines = &self.lines;
        let is_right = |line: Option<u64>, slot| lines.of(slot).is_none_or(|it| line == Some(it));
        let rooms = self.desk.watch.misheard(|it| is_right(it.ear().line(), it.slot));
        for room in rooms {
            let slot = self.desk.slot(&room);
            if let Some(number) = self.lines.of(slot) {
                self.listen(&room, number);
            }
        }
        self.settle_stations();
    }

    /// Stations are listened to by the line to their slot, or by any.
    pub(super) fn settle_stations(&mut self) {
        let any = self.lines.iter().next().map(|(number, _)| number);
        for at in 0..self.desk.watch.stations().len() {
            let row = &self.desk.watch.stations()[at];
            let wanted = row.slot().map_or(any, |slot| self.lines.of(slot));
            let now = self.desk.stations.get(at).copied().flatten();
            let is_kept = now.is_some_and(|line| self.lines.get(line).is_some());
            if is_kept && (row.slot().is_none() || now == wanted) {
                continue;
            }
            if let Some(line) = now.and_then(|line| self.lines.get(line)) {
                line.link.ear.unsubscribe(&row.channel);
            }
            if let Some(line) = wanted.and_then(|line| self.lines.get(line)) {
                line.link.ear.subscribe(row.command, &row.channel);
            }
            self.desk.stations[at] = wanted;
        }
    }

    /// Takes what all ears tell.
    pub(super) fn hear(&mut self) {
        let mut events = self.inbox.take(std::mem::take(&mut self.heard));
        for (number, event) in events.drain(..) {
            if self.lines.get(number).is_none() {
                // A line that is being made is not there yet, and has heard nothing but its end.
                continue;
            }
            match event {
                Event::Heard(heard) => self.heard(heard),
                Event::Missed => self.desk.owe_all(),
                Event::Listening(channel) => self.listening(number, &channel),
                Event::Left(channel) => self.left(number, &channel),
                Event::Silenced(channel) => self.silenced(number, &channel),
                Event::Refused(error) if failure::is_astray(&error) => {
                    self.desk.watch.unask(number);
                    self.forget_stations(number);
                    self.find_soon(error.code() == Some("MOVED"));
                }
                Event::Refused(error) => {
                    tracing::warn!(error = %failure::Said(&error), "channels are not listened to");
                    self.fall(number, failure::state(&error));
                }
                Event::Ended => self.fall(number, LinkState::Lost),
            }
        }
        events.shrink_to(KEPT_EVENTS);
        self.heard = events;
    }

    fn heard(&mut self, heard: Heard) {
        let Heard { by, channel, payload } = heard;
        let desk = &mut self.desk;
        desk.metrics.heard.add(1);
        match desk.watch.heard(&by) {
            Some(Subject::Room(room)) => news::hear(room, &payload, desk),
            Some(Subject::Station(station)) => station::hear(station, &channel, &payload, desk),
            None => {}
        }
    }

    fn listening(&mut self, number: u64, channel: &[u8]) {
        let Some(line) = self.lines.get_mut(number) else { return };
        if let Some(Subject::Station(_)) = self.desk.watch.heard(channel) {
            // What was said there before that is not heard, and is no sign of a link that hears nothing.
            self.desk.echo.forget();
        }
        let listening = self.desk.watch.listening(channel, number, line.link.server);
        let Some(room) = listening else {
            if !self.desk.watch.is_wanted(channel, number)
                && let Ok(channel) = std::str::from_utf8(channel)
            {
                // Nobody needed it any more by the time it was confirmed, or another line is to listen: if
                // this one is asked again, that is news only when it was left.
                line.link.ear.unsubscribe(channel);
            }
            return;
        };
        let parked = self.parked.remove(&room).unwrap_or_default();
        if has_to_open(&parked) {
            self.desk.owe(room);
        }
        parked.into_iter().for_each(|waiting| self.route(waiting));
    }

    /// A room that nobody here needs is listened to no longer: if it is temporary, and nobody elsewhere
    /// does, it has ended.
    fn left(&mut self, number: u64, channel: &[u8]) {
        if self.desk.watch.is_heard(channel, number) {
            // It was asked to before it was asked to listen, or Redis has ended that by itself.
            return self.silenced(number, channel);
        }
        if let Some(room) = self.desk.watch.left(channel, number) {
            self.ask(Box::new(End { room, again: false }));
        }
    }

    /// Redis has ended a subscription: the slot has moved.
    fn silenced(&mut self, number: u64, channel: &[u8]) {
        self.desk.metrics.silenced.add(1);
        if let Some(Subject::Station(_)) = self.desk.watch.heard(channel) {
            self.forget_stations(number);
            self.find_soon(true);
        } else if self.desk.watch.silenced(channel, number) {
            self.find_soon(true);
        }
    }

    /// A line no longer listens to the stations that it did.
    fn forget_stations(&mut self, number: u64) {
        let of_line = |line: &&mut Option<u64>| **line == Some(number);
        self.desk.stations.iter_mut().filter(of_line).for_each(|line| *line = None);
    }
}

/// Whether the home of a room that is listened to now has to open it again: it was before, and may have
/// missed something since. These calls waited for that.
fn has_to_open(parked: &[Waiting]) -> bool {
    !parked.iter().any(|waiting| waiting.call.opens())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::call;
    use crate::bridge::queue::Places;
    use crate::id::{CoreId, TenantId};
    use crate::room::attendance::{AttendanceAsk, Mark};
    use crate::room::broker::ToBroker;
    use crate::room::name::RoomName;

    #[test]
    fn a_room_that_is_listened_to_again_is_opened_whatever_else_waits() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let attend = |ask| ToBroker::Attend { room: room.clone(), ask };
        let others = [
            attend(AttendanceAsk::Say { anonymous: 1, users: Vec::new() }),
            attend(AttendanceAsk::Look(Mark::default())),
            ToBroker::Recall { room: room.clone(), known: Mark::default() },
        ];
        let places = Places::new(10, 0);
        let mut parked: Vec<Waiting> = Vec::new();
        let mut park = |message| {
            let call = call::of(CoreId(0), message).expect("it asks something");
            assert!(call.room_to_hear().is_some(), "it waits: {call:?}");
            parked.push(places.take(call).expect("it fits"));
            has_to_open(&parked)
        };
        for other in others {
            assert!(park(other));
        }
        assert!(!park(ToBroker::Open { room: room.clone(), seen: None, all: false, lasts: false }));
    }
}
