//! Governing a room over many nodes: a home proposes what it would decide, the broker puts it in its
//! order, and the homes of all nodes carry it out when they hear of it.
//!
//! Invariants: of each room one motion is on its way at a time, and the others wait in order; a
//! command is answered `ok` when the broker has it and this node has carried it out; a motion that was
//! made of something outdated is made again of what is known by then; an amendment that does not follow
//! what is known is not taken, all is asked for instead.

mod charter;
mod draft;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::event::Reply;
use crate::protocol::{ModerationAction, Role};
use crate::record::Deed;
use crate::room::attendance::Mark;
use crate::room::broker::{Fault, Seen, ToBroker, epoch_number};
use crate::room::charter::{Charter, Decided, Motion, Vote};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::shard::ask::What;
use crate::shard::edict::NOT_ANY_MORE;
use crate::shard::message::{Ask, Asker};
use crate::shard::{Alarm, Shard};
use crate::wheel::Timer;

use self::draft::Draft;
use super::{not_done, unavailable};

/// Commands and entrances that wait for one room.
const QUEUE_MAX: usize = 256;
/// How often a motion is made again because others were faster.
const TRIES: u8 = 8;

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
    /// A command.
    Command(Box<Ask>),
    /// Somebody wants to join a room that is not there: it is made, then they join.
    Founding(Box<Ask>),
    /// Somebody has come in and has got a role by that.
    Entrance { user: Arc<str>, role: Role },
    /// The broker has lost what is known here.
    Loss,
}

impl Of {
    /// The command, if it comes from one.
    fn ask(&self) -> Option<&Ask> {
        match self {
            Self::Command(ask) | Self::Founding(ask) => Some(ask),
            Self::Entrance { .. } | Self::Loss => None,
        }
    }
}

impl Governing {
    /// Whether a room is being made for somebody who is to join it then.
    pub(super) fn is_founding(&self) -> bool {
        self.queue.iter().any(|matter| matches!(matter.of, Of::Founding(..)))
    }

    /// What the broker has lost comes before all that is not on its way: what is decided in a room of which
    /// it knows nothing would be all that the other nodes know.
    fn put_loss_first(&mut self) {
        if self.queue.front().is_none_or(|front| front.motion.is_some()) {
            return;
        }
        let loss = self.queue.iter().position(|matter| matches!(matter.of, Of::Loss));
        if let Some(loss) = loss.and_then(|at| self.queue.remove(at)) {
            self.queue.push_front(loss);
        }
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
    pub(in crate::shard) fn govern_by_broker(&mut self, ask: Ask) -> Option<Ask> {
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
            Some(it) if it.governing.queue.len() >= QUEUE_MAX => {
                unavailable("too much waits for this room")
            }
            Some(_) => {
                let room = ask.room.clone();
                self.take_up(&room, Of::Command(Box::new(ask)));
                return None;
            }
        };
        self.refuse_ask(ask, refusal);
        None
    }

    /// Takes a join to the broker, if it makes the room; a session that comes back makes none. Gives back any
    /// other.
    pub(in crate::shard) fn found_by_broker(&mut self, ask: Ask) -> Option<Ask> {
        let followed = self.broker.rooms.get(&ask.room).filter(|_| self.broker.is_up);
        let makes = followed.is_some_and(|it| !it.governing.exists && !it.governing.is_recalling);
        if !makes || ask.room.name.is_reserved() {
            return Some(ask);
        }
        if self.has_ended_since(&ask) {
            self.refuse_ask(ask, Refusal::NO_ROOM);
            return None;
        }
        if self.may_open(&ask.room).is_err() {
            return Some(ask);
        }
        let now = self.outbound.now.moment;
        if !matches!(&ask.what, What::Join(join) if join.may_create.reserve(now)) {
            return Some(ask);
        }
        let room = ask.room.clone();
        self.take_up(&room, Of::Founding(Box::new(ask)));
        None
    }

    /// Whether a session comes back to a room that has ended, and that nobody has used since. Where the broker
    /// has lost it, the first place of its next life is taken; of a life that only a node knew it says
    /// nothing.
    fn has_ended_since(&self, ask: &Ask) -> bool {
        let What::Join(join) = &ask.what else { return false };
        let Some(since) = join.since.as_ref().filter(|_| join.resumes) else { return false };
        let is_here = self.homes.rooms.contains_key(&ask.room) || self.is_local(&ask.room);
        let is_new = |life: Seen| life.offset == 0 && *life.epoch != *since.epoch;
        let followed = self.broker.rooms.get(&ask.room);
        let is_known = followed.is_some_and(|it| !it.governing.is_outdated);
        let life = self.seen_by_broker(&ask.room).filter(|_| is_known && !is_here);
        epoch_number(&since.epoch) > 0 && life.is_some_and(is_new)
    }

    /// Somebody has come in and has got a role by that: tells the broker.
    pub(in crate::shard) fn note_entrance(&mut self, room: &RoomKey, user: &Arc<str>) {
        let Some(role) = self.homes.get_mut(room).map(|home| home.members.role(user)) else {
            return;
        };
        let Some(followed) = self.broker.rooms.get(room) else { return };
        if !room.name.is_reserved() && followed.governing.queue.len() < QUEUE_MAX {
            self.take_up(room, Of::Entrance { user: Arc::clone(user), role });
        }
    }

    fn take_up(&mut self, room: &RoomKey, of: Of) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        followed.governing.queue.push_back(Matter::new(of));
        self.proceed(room);
    }

    /// Makes the next motion, unless one is on its way.
    fn proceed(&mut self, room: &RoomKey) {
        loop {
            let Some(followed) = self.broker.rooms.get_mut(room) else { return };
            let governing = &mut followed.governing;
            governing.put_loss_first();
            let known = governing.mark.clone();
            let is_busy = governing.is_recalling || !self.broker.is_up;
            let Some(front) = governing.queue.front() else { return };
            if is_busy || front.motion.is_some() {
                return;
            }
            let of = front.of.clone();
            if of.ask().is_some_and(|ask| !self.may_still_act(&ask.asker)) {
                self.close_matter(room, Err(NOT_ANY_MORE));
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
            Of::Command(ask) => ask.asker.identity.user.clone(),
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
        for room in self.broker.followed() {
            let Some(followed) = self.broker.rooms.get_mut(&room) else { continue };
            let governing = &mut followed.governing;
            governing.is_recalling = false;
            for mut matter in std::mem::take(&mut governing.queue) {
                let motion = matter.motion.take();
                let fault = if motion.is_some() { Fault::Lost } else { Fault::Unsent };
                self.end_motion(motion);
                match matter.of {
                    Of::Command(ask) => {
                        self.refuse_ask(*ask, not_done(fault));
                    }
                    Of::Founding(ask) => {
                        self.join_founded(*ask, false);
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
        let ask = match matter.of {
            Of::Command(ask) => ask,
            Of::Founding(ask) => {
                // Without the broker they join what is known here.
                self.join_founded(*ask, outcome.is_ok());
                self.end_patience(room);
                return;
            }
            Of::Entrance { .. } | Of::Loss => return,
        };
        if let Err(refusal) = outcome {
            self.refuse_ask(*ask, refusal);
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
                self.answer_config(&room, &asker, ticket, Ok(()));
            }
            What::Moderate(ask) => {
                if ask.action == ModerationAction::Invite {
                    let done = ask.moderation(self.outbound.now);
                    self.send_invitation(&room, &done, asker.identity.user.as_ref());
                }
                self.record_moderation(&room, &asker, &ask);
                self.answer_ok(&room, &asker, ticket, Reply::Done);
            }
            _ => {
                self.record(&room, &asker, Deed::Delete, |_| {});
                self.answer_ok(&room, &asker, ticket, Reply::Done);
            }
        }
    }

    pub(in crate::shard) fn refuse_ask(&mut self, ask: Ask, refusal: Refusal) {
        let Ask { room, asker, ticket, what } = ask;
        match what {
            What::Join(join) => {
                self.answer_not_joined(&room, &asker, ticket, &join, (refusal, false));
            }
            _ => self.answer_refusal(&room, &asker, ticket, refusal),
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
            Of::Command(ask) => matches!(ask.what, What::Create(..)),
            Of::Founding(..) => true,
            Of::Entrance { .. } | Of::Loss => false,
        }
    }
}
