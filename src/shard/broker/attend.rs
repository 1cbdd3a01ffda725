//! Who is in a room on all nodes: the home tells the broker who is here, and hears who is elsewhere.
//!
//! Invariants: of each room one word is on its way at a time, and what was not confirmed is said
//! again; a step that does not follow what is known is not taken, all is asked for instead; what this
//! node has said of a room that it no longer follows is taken back; what a node has said in another life
//! holds until it has had the time to say it again, and no longer.

use std::collections::VecDeque;

use crate::clock::Moment;
use crate::room::attendance::{Attendance, AttendanceAsk, Mark, Said, Step};
use crate::room::broker::{Fault, ToBroker};
use crate::room::name::RoomKey;
use crate::shard::{Alarm, Shard};

use super::RETRY_MS;

/// Users of whom one word speaks.
const SAY_MAX: usize = 256;
/// Steps that are kept while all is asked for.
const HELD_MAX: usize = 256;
/// Words that the broker has taken and that have not been heard yet; with more, all is asked for.
const UNHEARD_MAX: usize = 16;
/// When it is not known yet how long the others need.
const NEVER: Moment = Moment { us: u64::MAX };

/// How far a home has come with who is in its room.
#[derive(Debug, Default)]
pub(super) struct Attending {
    /// None: nothing was heard yet.
    mark: Option<Mark>,
    /// All was asked for.
    pub(super) is_looking: bool,
    /// What is on its way to the broker.
    saying: Option<Vec<Said>>,
    /// What it has taken, and how far that goes: the steps up to there may come later than the answer.
    unheard: VecDeque<(Mark, Vec<Said>)>,
    /// The broker did not take what was said: nothing is said before it has told who is there.
    is_refused: bool,
    /// This node has said something that holds.
    has_said: bool,
    /// What was heard, until there is a home to take it.
    heard: Option<Box<Attendance>>,
    held: Vec<Step>,
    /// Some steps could not be kept.
    has_missed: bool,
    /// The broker may have lost what it knew; until then all nodes have time to say it again, and what
    /// they have said before holds.
    settles: Option<Moment>,
}

/// What follows from all that the broker knows.
struct Taken {
    /// It is to be asked for once more, after a while.
    settles: bool,
    /// Nodes that have not said again in time what they have said in another life.
    silent: Vec<AttendanceAsk>,
}

impl Attending {
    /// Whether something is known that the broker has not lost since.
    fn is_settled(&self) -> bool {
        self.settles.is_none() && self.mark.as_ref().is_some_and(|mark| !mark.life.is_empty())
    }

    /// Whether this node has said something of a user that comes behind what it has heard.
    fn is_ahead(&self, user: &str) -> bool {
        let unheard = self.unheard.iter().map(|(_, said)| said);
        unheard.chain(&self.saying).flatten().any(|said| *said.user == *user)
    }

    /// The broker has taken what is on its way to it.
    fn be_taken(&mut self, mark: Mark) {
        let Some(said) = self.saying.take() else { return };
        if !self.mark.as_ref().is_some_and(|known| known.covers(&mark)) {
            self.unheard.push_back((mark, said));
        }
    }

    /// It is known what there is up to this mark.
    fn come_to(&mut self, mark: Mark) {
        self.unheard.retain(|(word, _)| word.life == mark.life && !mark.covers(word));
        self.mark = Some(mark);
    }

    /// Takes all that the broker knows. What it has lost nodes have to say again by `settled`.
    fn take(
        &mut self,
        heard: Box<Attendance>,
        own: u64,
        (now, settled): (Moment, Moment),
    ) -> Taken {
        let mark = self.mark.as_ref().filter(|mark| !mark.life.is_empty());
        let is_old = mark.is_some_and(|mark| mark.covers(&heard.mark));
        let is_lost = mark.is_some_and(|mark| mark.life != heard.mark.life);
        let silent: Vec<_> = heard.former.iter().copied().filter(|node| *node != own).collect();
        let mut taken = Taken { settles: false, silent: Vec::new() };
        match self.settles {
            None if is_old => return taken,
            None if !is_lost && silent.is_empty() => {}
            Some(at) if at <= now && !is_lost => {
                self.settles = None;
                let life = Some(heard.mark.life.clone());
                let forget = |node| AttendanceAsk::Forget { node, life: life.clone() };
                taken.silent = silent.into_iter().map(forget).collect();
            }
            Some(at) if at < NEVER && !is_lost => {}
            _ => {
                self.settles = Some(settled);
                taken.settles = true;
            }
        }
        self.come_to(heard.mark.clone());
        self.heard = Some(heard);
        taken
    }
}

impl Shard {
    /// Asks who is there, on all nodes.
    pub(super) fn look(&mut self, room: &RoomKey) {
        // Who is in a reserved room is nobody's business.
        if room.name.is_reserved() || !self.broker.is_up {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let attending = &mut followed.attending;
        (attending.is_looking, attending.has_missed) = (true, false);
        let known = attending.mark.as_ref().filter(|_| attending.settles.is_none());
        let ask = AttendanceAsk::Look(known.cloned().unwrap_or_default());
        self.tell_broker(ToBroker::Attend { room: room.clone(), ask });
    }

    /// Asks for all of it, whatever is known.
    fn look_at_all(&mut self, room: &RoomKey) {
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            followed.attending.mark = Some(Mark::default());
        }
        self.look(room);
    }

    /// The broker has said who is there, or cannot.
    pub(super) fn on_looked(
        &mut self,
        room: &RoomKey,
        outcome: Result<Option<Box<Attendance>>, Fault>,
    ) {
        let (node, now) = (self.broker.node, self.outbound.now.moment);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let attending = &mut followed.attending;
        attending.is_looking = false;
        match outcome {
            Ok(None) if attending.is_settled() => attending.is_refused = false,
            // It knows nothing: then also not what this node has said.
            Ok(heard) => {
                attending.is_refused = false;
                // They may link anew later than this one, and live as long as a lease lasts.
                let settled = now.plus_ms(self.config.redis.lease_ms);
                let taken = attending.take(heard.unwrap_or_default(), node, (now, settled));
                if taken.settles {
                    self.wheel.insert(settled, Alarm::Reopen(room.clone()));
                }
                for ask in taken.silent {
                    self.tell_broker(ToBroker::Attend { room: room.clone(), ask });
                }
            }
            Err(_) => self.retry(room),
        }
        self.take_heard(room);
        self.go_on_if_answered(room);
        self.tend(room);
    }

    /// A home was just made.
    pub(super) fn begin_to_attend(&mut self, room: &RoomKey) {
        let Some(home) = self.homes.get_mut(room).filter(|_| !room.name.is_reserved()) else {
            return;
        };
        home.share_presence();
        let attending = self.broker.rooms.get(room).map(|followed| &followed.attending);
        let has_to_ask = attending.is_some_and(|it| it.mark.is_none() && !it.is_looking);
        if has_to_ask {
            self.look(room);
        }
        self.take_heard(room);
    }

    /// The home takes what was heard, and the steps since.
    fn take_heard(&mut self, room: &RoomKey) {
        let (node, now) = (self.broker.node, self.outbound.now.moment);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let Some(home) = self.homes.get_mut(room) else { return };
        let attending = &mut followed.attending;
        if let Some(heard) = attending.heard.take() {
            home.take_attendance(*heard, (node, attending.settles.is_none()), now);
        }
        for step in std::mem::take(&mut attending.held) {
            self.on_step(room, step);
        }
        let missed = self.broker.rooms.get(room).is_some_and(|followed| {
            followed.attending.has_missed && !followed.attending.is_looking
        });
        if missed {
            self.look(room);
        }
    }

    /// A node has said something, this one included.
    pub(super) fn on_step(&mut self, room: &RoomKey, step: Step) {
        let (node, now) = (self.broker.node, self.outbound.now.moment);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let attending = &mut followed.attending;
        let home = self.homes.get_mut(room);
        let (Some(home), Some(mark), false) = (home, &attending.mark, attending.is_looking) else {
            if attending.held.len() < HELD_MAX {
                attending.held.push(step);
            } else {
                attending.has_missed = true;
            }
            return;
        };
        let is_others = step.node != node;
        // What this node said first may be forgotten already where another's word is the first.
        let may_be_forgotten = mark.life.is_empty() && attending.has_said && is_others;
        if mark.is_before(&step.mark) && !may_be_forgotten {
            if is_others && home.has_forgotten(&step, |user| attending.is_ahead(user)) {
                return self.look_at_all(room);
            }
            attending.come_to(step.mark.clone());
            home.follow_step(step, node, now);
        } else if !mark.covers(&step.mark) {
            self.look(room);
        }
    }

    /// Tells other nodes what is new here.
    pub(in crate::shard) fn say(&mut self, room: &RoomKey) {
        if !self.broker.is_up {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let attending = &mut followed.attending;
        let is_busy = attending.is_looking || attending.is_refused || attending.saying.is_some();
        let waits = attending.mark.is_none() || is_busy || followed.retry.is_planned();
        let Some(home) = self.homes.get_mut(room).filter(|home| !waits && home.has_unsaid()) else {
            return;
        };
        let (anonymous, users, has_to_ask) = home.take_unsaid(SAY_MAX);
        attending.saying = Some(users.clone());
        attending.has_said = true;
        let ask = AttendanceAsk::Say { anonymous, users };
        self.tell_broker(ToBroker::Attend { room: room.clone(), ask });
        if has_to_ask {
            self.look_at_all(room);
        }
    }

    /// The broker has told all what this node says, or has not.
    pub(super) fn on_said(&mut self, room: &RoomKey, outcome: Result<Mark, Fault>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else {
            if outcome.is_err() {
                // The room was taken back, as far as is known.
                self.owe(room);
            }
            return;
        };
        if let Ok(mark) = outcome {
            followed.attending.be_taken(mark);
            if followed.attending.unheard.len() > UNHEARD_MAX {
                self.look(room);
            }
        } else {
            followed.attending.is_refused = true;
            self.unsay(room);
            self.retry(room);
        }
        self.tend(room);
    }

    /// It is not known whether what was said was heard.
    pub(super) fn unsay(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let said = followed.attending.saying.take();
        if let (Some(said), Some(home)) = (said, self.homes.get_mut(room)) {
            home.say_again(&said);
        }
    }

    /// The link of a room has ended: nothing is on its way any more.
    pub(super) fn stop_attending(&mut self, room: &RoomKey) {
        self.unsay(room);
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            let attending = &mut followed.attending;
            attending.is_looking = false;
            // The others may have no link, either.
            attending.settles = attending.settles.map(|_| NEVER);
        }
    }

    /// Whether it is to be asked once more who is there.
    pub(super) fn has_to_look(&self, room: &RoomKey) -> bool {
        let attending = self.broker.rooms.get(room).map(|followed| &followed.attending);
        attending.is_some_and(|it| it.settles.is_some() || it.is_refused)
    }

    /// The home is gone: nobody is here.
    pub(in crate::shard) fn withdraw(&mut self, room: &RoomKey) {
        let followed = self.broker.rooms.get_mut(room);
        let has_said = followed.is_some_and(|it| std::mem::take(&mut it.attending).has_said);
        if self.broker.owed.remove(room) || has_said {
            self.take_back(room);
        }
    }

    fn take_back(&mut self, room: &RoomKey) {
        if self.broker.is_up {
            let ask = AttendanceAsk::Forget { node: self.broker.node, life: None };
            self.tell_broker(ToBroker::Attend { room: room.clone(), ask });
        } else {
            self.owe(room);
        }
    }

    /// What was said is to be taken back yet: in a while, or over the next link.
    pub(super) fn owe(&mut self, room: &RoomKey) {
        self.broker.owed.insert(room.clone());
        if self.broker.is_up {
            let at = self.outbound.now.moment.plus_ms(RETRY_MS);
            self.wheel.insert(at, Alarm::Owed(room.clone()));
        }
    }

    /// Takes back what could not be before; all of it, or of one room.
    pub(in crate::shard) fn pay(&mut self, room: Option<&RoomKey>) {
        let owed = match room {
            Some(room) => self.broker.owed.take(room).into_iter().collect(),
            None => std::mem::take(&mut self.broker.owed),
        };
        for room in owed {
            // A home that has begun again says what holds, or ends before it could: then it is owed yet.
            if self.homes.rooms.contains_key(&room) {
                self.broker.owed.insert(room);
            } else {
                self.take_back(&room);
            }
        }
    }

    /// A node is no more.
    pub(super) fn on_lapsed(&mut self, node: u64) {
        let homes = self.homes.rooms.iter();
        let concerned = homes.filter(|(_, home)| home.room.has_heard_of(node));
        let mut concerned: Vec<_> = concerned.map(|(room, _)| room.clone()).collect();
        concerned.sort_unstable();
        for room in concerned {
            let ask = AttendanceAsk::Forget { node, life: None };
            self.tell_broker(ToBroker::Attend { room, ask });
        }
    }
}
