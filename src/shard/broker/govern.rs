//! Governing a room over many nodes: a home proposes what it would decide, the broker puts it in its
//! order, and the homes of all nodes carry it out when they hear of it.
//!
//! Invariants: of each room one motion is on its way at a time, and the others wait in order; a
//! command is answered `ok` when the broker has it and this node has carried it out; a motion that was
//! made of something outdated is made again of what is known by then; an amendment that does not follow
//! what is known is not taken, all is asked for instead.

mod draft;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::id::CoreId;
use crate::protocol::event::Reply;
use crate::protocol::{ErrorCode, LeftReason, Role};
use crate::record::Deed;
use crate::room::attendance::Mark;
use crate::room::broker::{Fault, ToBroker};
use crate::room::charter::{Amendment, Charter, Decided, Decree, Manner, Motion, Vote};
use crate::room::home::HomeRoom;
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::shard::ask::What;
use crate::shard::message::{AnswerEffect, Ask, Asker};
use crate::shard::{Alarm, Shard};
use crate::wheel::Timer;

use self::draft::Draft;
use super::{begins, not_done, unavailable};

/// Commands and entrances that wait for one room.
const QUEUE_MOST: usize = 256;
/// How often a motion is made again because others were faster.
const TRIES: u8 = 8;
/// The operator has ended whoever asked; nobody hears this.
const ENDED: Refusal = Refusal::new(ErrorCode::Forbidden, "the connection has ended");

/// How far a home has come with what was decided about its room.
#[derive(Debug, Default)]
pub(super) struct Governing {
    mark: Mark,
    /// There is such a room.
    exists: bool,
    /// All was asked for.
    pub(super) is_recalling: bool,
    /// It has not been said since: what is known may be less than what was decided.
    pub(super) is_outdated: bool,
    /// Something was decided meanwhile.
    has_missed: bool,
    /// What was heard, until there is a home to take it.
    heard: Option<Box<Charter>>,
    queue: VecDeque<Matter>,
}

/// Something to be decided.
#[derive(Debug)]
struct Matter {
    of: Of,
    /// The motion that is on its way.
    motion: Option<(u64, Timer)>,
    /// The motion was carried, and goes so far.
    carried: Option<Mark>,
    tries: u8,
}

/// Where it comes from.
#[derive(Clone, Debug)]
enum Of {
    /// A command, and the core of whoever gave it.
    Command(CoreId, Box<Ask>),
    /// Somebody wants to join a room that is not there: it is made, then they join.
    Founding(CoreId, Box<Ask>),
    /// Somebody has come in and has got a role by that.
    Entrance { user: Arc<str>, role: Role },
    /// The broker has lost what is known here.
    Loss,
}

impl Of {
    /// The command, if it comes from one.
    fn ask(&self) -> Option<&Ask> {
        match self {
            Self::Command(_, ask) | Self::Founding(_, ask) => Some(ask),
            Self::Entrance { .. } | Self::Loss => None,
        }
    }
}

impl Governing {
    /// Whether a room is being made for somebody who is to join it then.
    pub(super) fn is_founding(&self) -> bool {
        self.queue.iter().any(|matter| matches!(matter.of, Of::Founding(..)))
    }

    /// Whether anything waits to be decided.
    pub(super) fn is_awaited(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The number of the motion that is on its way, if such a one has asked for it.
    pub(super) fn asked(&self, is_one: impl Fn(&Asker) -> bool) -> Option<u64> {
        let front = self.queue.front()?;
        let (number, _) = front.motion.as_ref()?;
        front.of.ask().is_some_and(|ask| is_one(&ask.asker)).then_some(*number)
    }

    /// Whether a room is there of which no home is.
    pub(super) fn is_of_a_room(&self) -> bool {
        self.heard.as_ref().is_some_and(|charter| charter.is_of_a_room())
    }
}

impl Shard {
    /// Takes a command that governs a room to the broker, where there is one. Gives back any other.
    pub(in crate::shard) fn govern_by_broker(&mut self, from: CoreId, ask: Ask) -> Option<Ask> {
        let governs = matches!(
            ask.what,
            What::Create(..) | What::Update(_) | What::Delete | What::Moderate(_)
        );
        if !governs || !self.broker.is_there() {
            return Some(ask);
        }
        let is_up = self.broker.is_up;
        let refusal = match self.broker.rooms.get(&ask.room) {
            _ if !is_up => unavailable("Redis is out of reach: nothing is decided meanwhile"),
            None => unavailable("Redis has not told how this room is"),
            Some(it) if it.governing.queue.len() >= QUEUE_MOST => {
                unavailable("too much waits for this room")
            }
            Some(_) => {
                let room = ask.room.clone();
                self.take_up(&room, Of::Command(from, Box::new(ask)));
                return None;
            }
        };
        self.refuse_ask(from, ask, refusal);
        None
    }

    /// Takes a join to the broker, if it makes the room. Gives back any other.
    pub(in crate::shard) fn found_by_broker(&mut self, from: CoreId, ask: Ask) -> Option<Ask> {
        let followed = self.broker.rooms.get(&ask.room).filter(|_| self.broker.is_up);
        let makes = followed.is_some_and(|it| !it.governing.exists && !it.governing.is_recalling);
        if !makes || ask.room.name.is_reserved() || self.may_open(&ask.room).is_err() {
            return Some(ask);
        }
        let now = self.outbound.now.moment;
        if !matches!(&ask.what, What::Join(join) if join.may_create.reserve(now)) {
            return Some(ask);
        }
        let room = ask.room.clone();
        self.take_up(&room, Of::Founding(from, Box::new(ask)));
        None
    }

    /// Somebody has come in and has got a role by that: tells the broker.
    pub(in crate::shard) fn note_entrance(&mut self, room: &RoomKey, user: &Arc<str>) {
        let Some(role) = self.homes.get_mut(room).map(|home| home.members.role(user)) else {
            return;
        };
        let Some(followed) = self.broker.rooms.get(room) else { return };
        if !room.name.is_reserved() && followed.governing.queue.len() < QUEUE_MOST {
            self.take_up(room, Of::Entrance { user: Arc::clone(user), role });
        }
    }

    fn take_up(&mut self, room: &RoomKey, of: Of) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        followed.governing.queue.push_back(Matter::new(of));
        self.proceed(room);
    }

    /// Asks what has been decided about a room.
    pub(super) fn recall(&mut self, room: &RoomKey) {
        // Nothing is decided about a reserved room.
        if room.name.is_reserved() || !self.broker.is_up {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        (governing.is_recalling, governing.has_missed) = (true, false);
        governing.is_outdated = true;
        let known = governing.mark.clone();
        self.tell_broker(ToBroker::Recall { room: room.clone(), known });
    }

    /// Whether it is known who is a member of a room, here and by the rooms above.
    pub(super) fn knows_members(&self, room: &RoomKey) -> bool {
        let governing = self.broker.rooms.get(room).map(|followed| &followed.governing);
        governing.is_some_and(|it| !it.is_outdated && !it.mark.life.is_empty())
            && !self.inheritance.is_waiting(room)
    }

    /// The broker has said what has been decided about a room, or cannot.
    pub(super) fn on_recalled(
        &mut self,
        room: &RoomKey,
        outcome: Result<Option<Box<Charter>>, Fault>,
    ) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        governing.is_recalling = false;
        governing.is_outdated = outcome.is_err();
        let has_missed = governing.has_missed;
        match outcome {
            Ok(charter) => {
                self.compare(room, charter);
                self.release_bookmarks(room);
            }
            Err(_) => self.retry(room),
        }
        if has_missed {
            self.recall(room);
        }
        self.settle_motion(room);
        self.go_on_if_answered(room);
        self.tend(room);
    }

    /// What the broker knows is what is known here, or more, or less.
    fn compare(&mut self, room: &RoomKey, charter: Option<Box<Charter>>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        let home = self.homes.rooms.get(room).map(|home| &home.room);
        let ours = &governing.mark;
        let has_lost = match &charter {
            // Nothing was written down of a room that began when Redis was out of reach.
            None => ours.life.is_empty() && home.is_some_and(HomeRoom::has_charter),
            Some(theirs) => {
                let is_behind = theirs.mark.life.is_empty()
                    || (theirs.mark.life == ours.life && theirs.mark.number < ours.number);
                is_behind && home.is_some() && governing.exists
            }
        };
        if let Some(charter) = charter {
            if has_lost {
                governing.mark = charter.mark;
            } else {
                self.adopt(room, charter);
            }
        }
        let Some(followed) = self.broker.rooms.get_mut(room).filter(|_| has_lost) else { return };
        let queue = &mut followed.governing.queue;
        if !queue.iter().any(|matter| matches!(matter.of, Of::Loss)) {
            // What is on its way stays the first.
            let at = usize::from(queue.front().is_some_and(|front| front.motion.is_some()));
            queue.insert(at, Matter::new(Of::Loss));
        }
    }

    /// All is as the broker knows it.
    fn adopt(&mut self, room: &RoomKey, charter: Box<Charter>) {
        let (now, bounds) = (self.outbound.now, self.homes.bounds);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        governing.mark = charter.mark.clone();
        let existed = std::mem::replace(&mut governing.exists, charter.is_of_a_room());
        let Some(home) = self.homes.get_mut(room) else {
            governing.heard = Some(charter);
            if governing.exists && self.inheritance.has_followers(room) {
                // Without a place for it, those below have nothing from it.
                let _ = self.home_of(room);
            }
            return;
        };
        if existed && !charter.is_of_a_room() {
            self.fulfil_end(room, None);
            return;
        }
        let is_other = home.adopt(&charter, &bounds, now);
        self.begin_to_inherit(room);
        let Some(home) = self.homes.get_mut(room) else { return };
        let outcasts = home.outcasts(now.moment);
        if is_other {
            self.announce_config(room);
        }
        self.expel(room, outcasts, LeftReason::Banned, None);
    }

    /// A home that was just made takes over what was heard before.
    pub(super) fn take_charter(&mut self, room: &RoomKey) {
        let (now, bounds) = (self.outbound.now, self.homes.bounds);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let Some(charter) = followed.governing.heard.take() else { return };
        if let Some(home) = self.homes.get_mut(room) {
            home.adopt(&charter, &bounds, now);
        }
        self.begin_to_inherit(room);
    }

    /// Something was decided about a room.
    pub(super) fn on_amendment(&mut self, room: &RoomKey, amendment: &Amendment) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        if governing.is_recalling {
            governing.has_missed = true;
            return;
        }
        if governing.mark.covers(&amendment.mark) {
            return;
        }
        if !governing.mark.is_before(&amendment.mark) {
            self.recall(room);
            return;
        }
        if !self.homes.rooms.contains_key(room) && !self.begin_by_amendment(room, amendment) {
            // Whoever comes next asks for all of it.
            self.recall(room);
            return;
        }
        self.carry_out(room, amendment);
        self.settle_motion(room);
    }

    /// A room was made on another node or for somebody here: makes its home, if that is needed here.
    fn begin_by_amendment(&mut self, room: &RoomKey, amendment: &Amendment) -> bool {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return false };
        let is_made_here = followed.governing.queue.front().is_some_and(Matter::makes);
        let is_needed = is_made_here || self.inheritance.has_followers(room);
        if amendment.manner == Manner::End || !is_needed {
            return false;
        }
        let now = self.outbound.now.moment;
        let Ok(home) = self.home_of(room) else { return false };
        if is_made_here {
            home.hold(now);
        }
        true
    }

    fn carry_out(&mut self, room: &RoomKey, amendment: &Amendment) {
        let (now, bounds) = (self.outbound.now, self.homes.bounds);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        followed.governing.mark = amendment.mark.clone();
        followed.governing.exists = amendment.manner != Manner::End;
        let Decided { decree, by } = &amendment.decided;
        if amendment.manner == Manner::End {
            self.fulfil_end(room, by.as_ref());
            return;
        }
        let Some(home) = self.homes.get_mut(room) else { return };
        let is_other = home.amend(amendment, &bounds, now);
        self.begin_to_inherit(room);
        if is_other || *decree == Decree::Configured {
            self.announce_config(room);
        }
        if let Decree::Moderated(moderation) = decree {
            self.fulfil_moderation(room, moderation, by.as_ref());
        }
    }

    /// Makes the next motion, unless one is on its way.
    fn proceed(&mut self, room: &RoomKey) {
        loop {
            let Some(followed) = self.broker.rooms.get_mut(room) else { return };
            let governing = &mut followed.governing;
            let known = governing.mark.clone();
            let is_busy = governing.is_recalling || !self.broker.is_up;
            let Some(front) = governing.queue.front() else { return };
            if is_busy || front.motion.is_some() {
                return;
            }
            let of = front.of.clone();
            if of.ask().is_some_and(|ask| !self.may_still_act(&ask.asker)) {
                self.close_matter(room, Err(ENDED));
                continue;
            }
            match self.draft(room, &of) {
                Ok(Some(draft)) => {
                    self.put(room, known, &of, draft);
                    return;
                }
                Ok(None) => self.close_matter(room, Ok(())),
                Err(refusal) => self.close_matter(room, Err(refusal)),
            }
        }
    }

    fn put(&mut self, room: &RoomKey, known: Mark, of: &Of, draft: Draft) {
        let ticket = self.next_stamp().ticket;
        let at = self.outbound.now.moment.plus_ms(self.config.redis.timeout_ms);
        let timer = self.wheel.insert(at, Alarm::Motion(room.clone(), ticket));
        let by = match of {
            Of::Command(_, ask) => ask.asker.identity.user.clone(),
            Of::Founding(..) | Of::Entrance { .. } | Of::Loss => None,
        };
        let Draft { manner, entries, decree, is_persistent } = draft;
        let decided = Decided { decree, by };
        let motion = Motion { ticket, known, manner, entries, decided, is_persistent };
        if let Some(front) = self.front(room) {
            front.motion = Some((ticket, timer));
        }
        self.tell_broker(ToBroker::Move { room: room.clone(), motion: Box::new(motion) });
    }

    fn exists(&self, room: &RoomKey) -> bool {
        self.broker.rooms.get(room).is_some_and(|followed| followed.governing.exists)
    }

    fn front(&mut self, room: &RoomKey) -> Option<&mut Matter> {
        self.broker.rooms.get_mut(room)?.governing.queue.front_mut()
    }

    /// The broker has decided about a motion, or cannot.
    pub(super) fn on_voted(&mut self, room: &RoomKey, ticket: u64, outcome: Result<Vote, Fault>) {
        let Some(front) = self.front(room) else { return };
        if front.motion.as_ref().is_none_or(|(number, _)| *number != ticket) {
            return;
        }
        match outcome {
            Ok(Vote::Carried(mark)) => front.carried = Some(mark),
            Ok(Vote::Outdated) => {
                self.try_again(room, unavailable("others keep changing this room"), true);
            }
            Err(fault) => self.try_again(room, not_done(fault), false),
        }
        self.settle_motion(room);
        self.tend(room);
    }

    /// The motion on its way came to nothing, or nobody knows what came of it: hears what is known by
    /// now. Commands are tried again only if they surely came to nothing.
    fn try_again(&mut self, room: &RoomKey, refusal: Refusal, is_sure: bool) {
        let Some(front) = self.front(room) else { return };
        front.tries += 1;
        let may_again = is_sure || matches!(front.of, Of::Entrance { .. } | Of::Loss);
        let is_over = !may_again || front.tries > TRIES;
        let motion = front.motion.take();
        self.end_motion(motion);
        self.recall(room);
        if is_over {
            self.close_matter(room, Err(refusal));
        }
    }

    /// The motion that was on its way, if one was, is awaited no longer.
    fn end_motion(&mut self, motion: Option<(u64, Timer)>) {
        if let Some((number, timer)) = motion {
            self.wheel.cancel(timer);
            self.note_done_by_broker(number);
        }
    }

    /// Answers what has been carried out here, and goes on.
    fn settle_motion(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get(room) else { return };
        let governing = &followed.governing;
        let carried = governing.queue.front().and_then(|front| front.carried.as_ref());
        if carried.is_some_and(|carried| governing.mark.covers(carried)) {
            self.close_matter(room, Ok(()));
        }
        self.proceed(room);
    }

    /// The broker has not answered in time.
    pub(in crate::shard) fn on_motion_alarm(&mut self, room: &RoomKey, ticket: u64) {
        let Some(front) = self.front(room) else { return };
        if front.motion.as_ref().is_none_or(|(number, _)| *number != ticket) {
            return;
        }
        self.try_again(room, not_done(Fault::Lost), false);
        self.proceed(room);
        self.tend(room);
    }

    /// The broker is out of reach: commands are refused; whoever has come in is noted later.
    pub(super) fn stop_governing(&mut self) {
        let mut rooms: Vec<_> = self.broker.rooms.keys().cloned().collect();
        rooms.sort_unstable();
        for room in rooms {
            let Some(followed) = self.broker.rooms.get_mut(&room) else { continue };
            let governing = &mut followed.governing;
            governing.is_recalling = false;
            for mut matter in std::mem::take(&mut governing.queue) {
                let motion = matter.motion.take();
                let fault = if motion.is_some() { Fault::Lost } else { Fault::Unsent };
                self.end_motion(motion);
                match matter.of {
                    Of::Command(from, ask) => {
                        self.refuse_ask(from, *ask, not_done(fault));
                    }
                    Of::Founding(from, ask) => {
                        self.join_founded(from, *ask, false);
                        self.end_patience(&room);
                    }
                    of => {
                        let Some(followed) = self.broker.rooms.get_mut(&room) else { continue };
                        followed.governing.queue.push_back(Matter::new(of));
                    }
                }
            }
        }
    }

    /// The first matter of a room is over.
    fn close_matter(&mut self, room: &RoomKey, outcome: Result<(), Refusal>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let Some(matter) = followed.governing.queue.pop_front() else { return };
        self.end_motion(matter.motion);
        let (from, ask) = match matter.of {
            Of::Command(from, ask) => (from, ask),
            Of::Founding(from, ask) => {
                // Without the broker they join what is known here.
                self.join_founded(from, *ask, outcome.is_ok());
                self.end_patience(room);
                return;
            }
            Of::Entrance { .. } | Of::Loss => return,
        };
        if let Err(refusal) = outcome {
            self.refuse_ask(from, *ask, refusal);
            return;
        }
        let Ask { room, asker, ticket, what } = *ask;
        match what {
            What::Create(..) | What::Update(_) => {
                let deed = match &what {
                    What::Create(_, may_create) => {
                        may_create.spend();
                        Deed::Create
                    }
                    _ => Deed::Update,
                };
                self.record(&room, &asker, deed, |_| {});
                self.answer_config(from, &room, &asker, ticket, Ok(()));
            }
            What::Moderate(ask) => {
                self.record_moderation(&room, &asker, &ask);
                self.answer_ok(from, &room, &asker, ticket, Reply::Done);
            }
            _ => {
                self.record(&room, &asker, Deed::Delete, |_| {});
                self.answer_ok(from, &room, &asker, ticket, Reply::Done);
            }
        }
    }

    pub(super) fn refuse_ask(&mut self, from: CoreId, ask: Ask, refusal: Refusal) {
        let Ask { room, asker, ticket, what } = ask;
        let effect = match what {
            What::Join(_) => AnswerEffect::NotJoined { wrong_password: false },
            _ => AnswerEffect::None,
        };
        self.answer_refusal(from, &room, &asker, ticket, refusal, effect);
    }

    /// Makes the home of a room that is there on other nodes and is asked about here.
    pub(super) fn begin_home(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get(room) else { return };
        let is_asked = followed.deferred.iter().any(|(_, message)| begins(message));
        if is_asked && followed.governing.is_of_a_room() {
            // Without a place for it, whoever asks is told so.
            let _ = self.home_of(room);
        }
    }
}

impl Matter {
    fn new(of: Of) -> Self {
        Self { of, motion: None, carried: None, tries: 0 }
    }

    /// Whether it makes the room.
    fn makes(&self) -> bool {
        match &self.of {
            Of::Command(_, ask) => matches!(ask.what, What::Create(..)),
            Of::Founding(..) => true,
            Of::Entrance { .. } | Of::Loss => false,
        }
    }
}
