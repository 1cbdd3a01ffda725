//! Guaranteed rooms: what is not acknowledged comes again, what is does not.
//!
//! In the turmoil of a run, a cursor is known only within bounds. So between two episodes a few
//! readers have a room to themselves, and everything comes to rest after each step: then it is known
//! to the offset what each is given, and whether as something that it may have had before.

use std::collections::BTreeMap;

use crate::Checked;
use crate::client::Request;
use crate::message::{Content, Message, Part};
use crate::profile::ACK_TIMEOUT_MS;
use crate::truth::{Outcome, Publication, RoomId};
use crate::world::World;

/// Rooms of that namespace are guaranteed from their first day on.
pub(crate) fn is_guaranteed(room: &RoomId) -> bool {
    room.1.starts_with("safe:")
}

/// What a client was given of a guaranteed room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) room: RoomId,
    pub(crate) offset: u64,
    pub(crate) redelivered: bool,
    pub(crate) at_ms: u64,
}

/// What a client was told that it is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) room: RoomId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) reason: String,
}

/// What readers have acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    /// The most that a reader has ever said.
    claimed: BTreeMap<(RoomId, String), u64>,
    /// What the room's home surely knows, by life of the room.
    taken: BTreeMap<(RoomId, String, String), u64>,
}

impl Acknowledgements {
    pub(crate) fn claim(&mut self, room: &RoomId, whose: String, offset: u64) {
        let claimed = self.claimed.entry((room.clone(), whose)).or_default();
        *claimed = offset.max(*claimed);
    }

    /// Up to here, a reader may have said that it needs nothing.
    pub(crate) fn claimed(&self, room: &RoomId, whose: &str) -> u64 {
        self.claimed.get(&(room.clone(), whose.to_owned())).copied().unwrap_or(0)
    }

    /// Somebody leaves, or is sent out: readers may begin anew.
    pub(crate) fn forget(&mut self, room: &RoomId) {
        self.taken.retain(|(of, _, _), _| of != room);
    }

    /// A reader has asked for what it may have acknowledged, or a session of its comes back that was
    /// there before it began anew.
    pub(crate) fn forget_reader(&mut self, room: &RoomId, whose: &str) {
        self.taken.retain(|(of, _, who), _| of != room || who != whose);
    }

    pub(crate) fn check_redelivery(
        &self,
        room: &RoomId,
        epoch: &str,
        whose: &str,
        offset: u64,
    ) -> Checked {
        if !is_guaranteed(room) {
            return Err(format!("{offset} of {room:?} comes again, which guarantees nothing"));
        }
        let taken = self.taken.get(&(room.clone(), epoch.to_owned(), whose.to_owned()));
        match taken {
            Some(taken) if *taken >= offset => Err(format!(
                "{offset} of {room:?} comes again to {whose}, who acknowledged {taken}"
            )),
            _ => Ok(()),
        }
    }
}

/// A reader of the room that is looked at.
struct Witness {
    /// Which of the people.
    person: usize,
    /// Its connection, or the one it had last.
    client: usize,
    is_here: bool,
    session: String,
    lost_ms: u64,
    /// Up to here it was told what it will not get.
    told: u64,
    /// How much of what came was looked at.
    seen: (usize, usize),
}

/// How far a reader has come, as the room's home should know it.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    acknowledged: u64,
    sent: u64,
}

/// What the room should be.
struct Model {
    room: RoomId,
    /// Of each publication: when it was published, and when it expires.
    published: Vec<(u64, Option<u64>)>,
    cursors: BTreeMap<String, Cursor>,
    witnesses: Vec<Witness>,
}

impl Model {
    fn last(&self) -> u64 {
        self.published.len() as u64
    }

    fn is_expired(&self, offset: u64, now_ms: u64) -> bool {
        let index = usize::try_from(offset).expect("it is small") - 1;
        self.published[index].1.is_some_and(|at| at <= now_ms)
    }
}

impl World {
    /// What the homes know by now: all is at rest.
    pub(crate) fn note_acknowledgements(&mut self) {
        for client in self.clients.iter().filter(|client| client.is_open()) {
            let whose = client.whose();
            for (room, stay) in client.stays.iter().filter(|(room, _)| is_guaranteed(room)) {
                let Some(epoch) = &stay.epoch else { continue };
                let key = (room.clone(), epoch.clone(), whose.clone());
                let taken = self.common.acknowledgements.taken.entry(key).or_default();
                *taken = stay.acknowledged.max(*taken);
            }
        }
    }

    /// A room of its own, and readers that come, go, acknowledge, or do not.
    pub(crate) fn check_guarantees(&mut self) -> Checked {
        let room = (0, format!("safe:looked at {}", self.clients.len()));
        let (published, cursors, witnesses) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut model = Model { room, published, cursors, witnesses };
        // One stays, two are of one user, one is anonymous.
        for person in [1, 2, 2, 5] {
            let client = self.bring(person, None)?;
            let session = self.clients[client].session.clone().unwrap_or_default();
            let (is_here, lost_ms, told, seen) = (true, 0, 0, (0, 0));
            let witness = Witness { person, client, is_here, session, lost_ms, told, seen };
            model.witnesses.push(witness);
            self.join_room(&model.room, client)?;
            let whose = self.clients[client].whose();
            model.cursors.entry(whose).or_insert(Cursor { acknowledged: 0, sent: 0 });
        }
        for _ in 0..60 {
            let at = self.random.below(model.witnesses.len());
            let is_here = model.witnesses[at].is_here;
            match self.random.weighted(&[40, 20, 12, 10, 6]) {
                0 if is_here => self.publish_there(&mut model, at)?,
                1 if is_here => self.acknowledge_there(&mut model, at)?,
                2 if is_here && at > 0 => self.go_away(&mut model, at)?,
                2 | 3 if !is_here => self.come_back(&mut model, at)?,
                4 => self.wait_there(&mut model, 5 * ACK_TIMEOUT_MS / 2)?,
                _ => {
                    let ms = self.random.between(1, ACK_TIMEOUT_MS / 2);
                    self.wait_there(&mut model, ms)?;
                }
            }
        }
        for witness in model.witnesses.iter().filter(|it| it.is_here) {
            let (last, publications) = (None, self.common.truth.publications.len());
            let message = Message::new("leave").with("room", &*model.room.1);
            let request = Request::Leave { room: model.room.clone(), last, publications };
            let codec = self.clients[witness.client].codec;
            self.clients[witness.client].ask(message, Some(request), codec);
            self.quiesce()?;
            self.lose(witness.client);
        }
        self.quiesce()
    }

    fn bring(&mut self, person: usize, session: Option<String>) -> Checked<usize> {
        let core = self.random.below(self.cores.len());
        let person = self.people[person].clone();
        let me = self.open(core, person, session, None);
        self.clients[me].mute = false;
        self.quiesce()?;
        if self.clients[me].is_open() { Ok(me) } else { Err(format!("client {me} is not welcome")) }
    }

    fn join_room(&mut self, room: &RoomId, me: usize) -> Checked {
        let message = Message::new("join").with("room", &*room.1);
        let (interest, since) = (Default::default(), None);
        let request = Request::Join { room: room.clone(), interest, since };
        let codec = self.clients[me].codec;
        self.clients[me].ask(message, Some(request), codec);
        self.quiesce()
    }

    /// Everyone who is there is given it, once and as new.
    fn publish_there(&mut self, model: &mut Model, at: usize) -> Checked {
        let truth = &mut self.common.truth;
        let number = truth.publications.len();
        let client = &mut self.clients[model.witnesses[at].client];
        let priority = u8::try_from(self.random.below(4)).expect("four");
        let ttl_ms = self.random.percent(15).then_some(ACK_TIMEOUT_MS / 2);
        let content = Content::new(number, 0, 0);
        let mut message = Message::new("publish").with("room", &*model.room.1);
        message =
            message.with("priority", ["low", "normal", "high", "critical"][usize::from(priority)]);
        if let Some(ttl_ms) = ttl_ms {
            message = message.with("ttl_ms", ttl_ms);
        }
        let message = message.part("data", Part::Raw(content.clone()));
        let now_ms = self.common.now_ms;
        truth.publications.push(Publication {
            room: Some(model.room.clone()),
            tenant: client.person.tenant,
            author: client.reader.name.clone(),
            user: client.person.user.clone(),
            codec: client.codec,
            content,
            event: None,
            priority,
            transient: false,
            exclude_self: false,
            filter: None,
            key: None,
            ttl_ms,
            sent_ms: now_ms,
            outcome: Outcome::Unknown,
        });
        let codec = client.codec;
        client.ask(message, Some(Request::Publish { number }), codec);
        self.quiesce()?;
        model.published.push((now_ms, ttl_ms.map(|ttl_ms| now_ms + ttl_ms)));
        let expected = vec![(model.last(), false)];
        for at in 0..model.witnesses.len() {
            let (arrivals, gaps) = self.news(model, at);
            let came = offsets(&arrivals);
            let is_right =
                if model.witnesses[at].is_here { came == expected } else { came.is_empty() };
            if !is_right || !gaps.is_empty() {
                return Err(format!("witness {at} is given {came:?} and {gaps:?} of {expected:?}"));
            }
        }
        Ok(())
    }

    /// What came to a witness since this was asked last.
    fn news(&self, model: &mut Model, at: usize) -> (Vec<Arrival>, Vec<Gap>) {
        let witness = &mut model.witnesses[at];
        let client = &self.clients[witness.client];
        let arrivals = client.arrivals[witness.seen.0..].iter();
        let gaps = client.gaps[witness.seen.1..].iter();
        let news = (
            arrivals.filter(|it| it.room == model.room).cloned().collect(),
            gaps.filter(|it| it.room == model.room).cloned().collect(),
        );
        witness.seen = (client.arrivals.len(), client.gaps.len());
        news
    }

    fn acknowledge_there(&mut self, model: &mut Model, at: usize) -> Checked {
        let me = model.witnesses[at].client;
        let whose = self.clients[me].whose();
        let Some(cursor) = model.cursors.get_mut(&whose) else { return Ok(()) };
        let last = model.published.len() as u64;
        let offset = self.random.between(cursor.acknowledged.min(last), last);
        cursor.acknowledged = cursor.acknowledged.max(offset);
        self.common.acknowledgements.claim(&model.room, whose, offset);
        let room = model.room.clone();
        let message = Message::new("ack").with("room", &*room.1).with("offset", offset);
        let codec = self.clients[me].codec;
        let epoch = self.clients[me].stays.get(&room).and_then(|stay| stay.epoch.clone());
        self.clients[me].ask(message, Some(Request::Ack { room, epoch, offset }), codec);
        self.quiesce()
    }

    fn go_away(&mut self, model: &mut Model, at: usize) -> Checked {
        let me = model.witnesses[at].client;
        let whose = self.clients[me].whose();
        self.lose(me);
        self.quiesce()?;
        let last = model.last();
        if let Some(cursor) = model.cursors.get_mut(&whose) {
            cursor.sent = last;
        }
        let witness = &mut model.witnesses[at];
        (witness.is_here, witness.lost_ms) = (false, self.common.now_ms);
        Ok(())
    }

    /// A witness comes back: by its session, or with nothing but its name.
    fn come_back(&mut self, model: &mut Model, at: usize) -> Checked {
        let witness = &model.witnesses[at];
        let (person, is_user) = (witness.person, self.people[witness.person].user.is_some());
        let lives = self.common.now_ms < witness.lost_ms + self.config.session.ttl_ms;
        let resumes = lives && (!is_user || self.random.percent(50));
        let session = resumes.then(|| witness.session.clone());
        let me = self.bring(person, session)?;
        let whose = self.clients[me].whose();
        // An anonymous one without its session is somebody new.
        let before = model.cursors.get(&whose).copied();
        let others = model.witnesses.iter().filter(|it| it.is_here && it.person == person);
        let has_another = is_user && others.count() > 0;
        let witness = &mut model.witnesses[at];
        (witness.client, witness.is_here, witness.told, witness.seen) = (me, true, 0, (0, 0));
        witness.session = self.clients[me].session.clone().unwrap_or_default();
        if !resumes {
            self.join_room(&model.room, me)?;
        }
        let last = model.last();
        let cursor = before.unwrap_or(Cursor { acknowledged: last, sent: last });
        model.cursors.insert(whose, cursor);
        let (arrivals, gaps) = self.news(model, at);
        let sent = if has_another { last } else { cursor.sent };
        self.check_return(model, at, Cursor { sent, ..cursor }, &arrivals, &gaps)
    }

    /// What was not acknowledged comes, in order; what may have come before says so; what is gone, or
    /// too much at once, is told.
    fn check_return(
        &self,
        model: &mut Model,
        at: usize,
        cursor: Cursor,
        arrivals: &[Arrival],
        gaps: &[Gap],
    ) -> Checked {
        let (last, now_ms) = (model.last(), self.common.now_ms);
        let dropped = last.saturating_sub(self.profile.guaranteed_history.into());
        let first = cursor.acknowledged.max(dropped) + 1;
        let owed: Vec<_> = (first..=last).collect();
        let range = |from: u64, to: u64, reason: &str| {
            let (room, reason) = (model.room.clone(), reason.to_owned());
            Gap { room, from, to, reason }
        };
        let (mut messages, mut missing) = (Vec::new(), Vec::new());
        if cursor.acknowledged < dropped {
            missing.push(range(cursor.acknowledged + 1, dropped, "history_truncated"));
        }
        for offset in owed.iter().copied() {
            if model.is_expired(offset, now_ms) {
                // Those that touch are told as one.
                match missing.last_mut() {
                    Some(gap) if gap.reason == "expired" && gap.to + 1 == offset => gap.to = offset,
                    _ => missing.push(range(offset, offset, "expired")),
                }
            } else {
                messages.push((offset, offset <= cursor.sent));
            }
        }
        let most = self.profile.recovery_messages as usize;
        let all = [range(cursor.acknowledged + 1, last, "history_truncated")];
        // A message is not longer than that, nor is the answer that waits before it.
        let longest = (owed.len() + 1) * 1_024;
        let limits = &self.config.limits;
        let may_be_too_much = owed.len() > most
            || longest > limits.recovery_bytes as usize
            || longest > limits.outbox_bytes as usize;
        if may_be_too_much && *gaps == all && arrivals.is_empty() {
            model.witnesses[at].told = dropped;
            return Ok(());
        }
        if owed.len() > most || offsets(arrivals) != messages || *gaps != *missing {
            return Err(format!(
                "witness {at} came back at {cursor:?} of {last}: {:?} and {gaps:?} where \
                 {messages:?} and {missing:?} are right",
                offsets(arrivals)
            ));
        }
        model.witnesses[at].told = if cursor.acknowledged < dropped { dropped } else { 0 };
        Ok(())
    }

    /// Time passes: what is not acknowledged comes again, not too early, not too often.
    fn wait_there(&mut self, model: &mut Model, ms: u64) -> Checked {
        let began_ms = self.common.now_ms;
        self.let_pass(ms)?;
        let last = model.last();
        let dropped = last.saturating_sub(self.profile.guaranteed_history.into());
        for at in 0..model.witnesses.len() {
            let (arrivals, gaps) = self.news(model, at);
            if !model.witnesses[at].is_here {
                continue;
            }
            let me = model.witnesses[at].client;
            let Some(cursor) = model.cursors.get(&self.clients[me].whose()) else { continue };
            let seen = cursor.acknowledged.max(model.witnesses[at].told);
            let is_told = |gap: &Gap| (gap.from, gap.to) == (seen + 1, dropped);
            if gaps.len() > 1
                || !gaps.iter().all(is_told)
                || gaps.iter().any(|it| it.reason != "history_truncated")
            {
                return Err(format!("witness {at} at {seen} of {dropped} is told {gaps:?}"));
            }
            if !gaps.is_empty() {
                model.witnesses[at].told = dropped;
            }
            let first = cursor.acknowledged.max(dropped) + 1;
            let mut copies: BTreeMap<u64, u64> = BTreeMap::new();
            for arrival in &arrivals {
                let offset = arrival.offset;
                let index = usize::try_from(offset).expect("it is small") - 1;
                let is_due = arrival.at_ms >= model.published[index].0 + ACK_TIMEOUT_MS;
                let is_fresh = !model.is_expired(offset, arrival.at_ms);
                if !arrival.redelivered || offset < first || !is_due || !is_fresh {
                    return Err(format!(
                        "witness {at}, who is at {cursor:?}, is given {arrival:?}"
                    ));
                }
                *copies.entry(offset).or_default() += 1;
            }
            let most = ms / ACK_TIMEOUT_MS + 1;
            if copies.values().any(|count| *count > most) {
                return Err(format!("within {ms} ms witness {at} is given {copies:?}"));
            }
            if ms < 2 * ACK_TIMEOUT_MS {
                continue;
            }
            if dropped > seen && gaps.is_empty() {
                return Err(format!(
                    "witness {at} at {seen} waits for word of what is gone up to {dropped}"
                ));
            }
            // What had expired by then takes no place of what comes at once.
            let page = (first..=last).filter(|it| !model.is_expired(*it, began_ms));
            let page = page.take(self.profile.recovery_messages as usize);
            let owed: Vec<_> = page.filter(|it| !model.is_expired(*it, began_ms + ms)).collect();
            // A small outbox takes some of it at a time; the first is always among them.
            let least = if self.config.limits.outbox_bytes < 65_536 { 1 } else { owed.len() };
            if owed.iter().take(least).any(|offset| !copies.contains_key(offset)) {
                return Err(format!(
                    "witness {at}, at {cursor:?} of {last}, waits for {owed:?} and is given {copies:?}"
                ));
            }
        }
        Ok(())
    }
}

fn offsets(arrivals: &[Arrival]) -> Vec<(u64, bool)> {
    arrivals.iter().map(|it| (it.offset, it.redelivered)).collect()
}
