//! Publishing through the broker: a home asks for a place, and answers when it is told.

use std::sync::Arc;

use crate::protocol::event::{self, Place, Published, Reply};
use crate::protocol::{Durability, Filter, Mode};
use crate::room::broker::{Fault, Keep, Placed, Publish, Stamp, ToBroker};
use crate::room::filter::Audience;
use crate::room::name::RoomKey;
use crate::room::publication::Draft;
use crate::room::refusal::Refusal;
use crate::room::wire::{self, Made};
use crate::shard::message::{AnswerEffect, Asker, Ticket};
use crate::shard::receipt::{Waiting, Word};
use crate::shard::{Alarm, Shard};
use crate::wheel::Timer;

use super::overdue::is_ahead;
use super::{not_done, unavailable};

/// A publish that waits for its place.
#[derive(Debug)]
pub(super) struct Pending {
    room: RoomKey,
    asker: Asker,
    ticket: Ticket,
    /// The answer counts who took it.
    counts: bool,
    is_send: bool,
    timer: Timer,
    /// What the broker said.
    placed: Option<Placed>,
    /// It was delivered here, and is counted under this number.
    receipt: Option<u64>,
    /// What the broker's answer is to that of the home, once it was delivered here.
    word: Word,
    /// Of a room that promises nothing: what is delivered here without a place if the broker refuses it.
    spare: Option<Box<Draft>>,
}

/// A publish on its way to the broker.
pub(in crate::shard) struct Outgoing<'a> {
    pub(in crate::shard) asker: &'a Asker,
    pub(in crate::shard) ticket: Ticket,
    pub(in crate::shard) draft: Draft,
    pub(in crate::shard) filter: Option<Box<Filter>>,
    pub(in crate::shard) ttl_ms: Option<u64>,
    pub(in crate::shard) key: Option<Box<str>>,
    pub(in crate::shard) counts: bool,
    pub(in crate::shard) is_send: bool,
}

/// How a publish goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Way {
    /// The home gives it its place, or it has none.
    Here,
    /// The broker gives it its place.
    Broker,
    /// It is delivered here without a place, because the broker is out of reach.
    WithoutPlace,
}

impl Pending {
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }
}

impl Shard {
    /// How a publish in a room goes out now.
    ///
    /// # Errors
    /// The broker is needed for what the room promises, and is out of reach or promises less.
    pub(in crate::shard) fn way(&self, room: &RoomKey, transient: bool) -> Result<Way, Refusal> {
        if transient || !self.broker.is_there() {
            return Ok(Way::Here);
        }
        let followed = self.broker.rooms.get(room);
        let is_open = followed.is_some_and(|it| it.seen.is_some() && !it.is_severed);
        if self.broker.is_up && is_open {
            self.check_safety(room)?;
            if self.broker.pending.len() >= self.broker.pending_most {
                return Err(unavailable("too much waits for Redis"));
            }
            return Ok(Way::Broker);
        }
        match self.config_of(room).mode {
            Mode::BestEffort => Ok(Way::WithoutPlace),
            Mode::Reliable | Mode::Guaranteed => Err(unavailable("Redis is out of reach")),
        }
    }

    /// Asks the broker for a place.
    pub(in crate::shard) fn publish_by_broker(&mut self, outgoing: Outgoing<'_>) {
        let Outgoing { asker, ticket, draft, filter, ttl_ms, key, counts, is_send } = outgoing;
        let number = self.next_stamp().ticket;
        let wire = self.write(&draft, number, ttl_ms, filter.as_deref());
        let room = draft.room.clone();
        let Some(home) = self.homes.get_mut(&room) else { return };
        let (keep, word) = (Keep::of(&home.config), word(home.config.durability));
        let spare = (home.config.mode == Mode::BestEffort).then(|| {
            let audience = filter.map(|filter| Box::new(Audience::new(*filter)));
            Box::new(Draft { audience, ..draft })
        });
        let slow_mode_ms = home.config.slow_mode_ms;
        let user = asker.identity.user.clone().filter(|_| slow_mode_ms > 0);
        let window_ms = self.config.rooms.idempotency_window_ms;
        let at = self.outbound.now.moment.plus_ms(self.config.redis.timeout_ms);
        let timer = self.wheel.insert(at, Alarm::Ticket(number));
        let pending = Pending {
            room: room.clone(),
            asker: asker.clone(),
            ticket,
            counts,
            is_send,
            timer,
            placed: None,
            receipt: None,
            word,
            spare,
        };
        self.broker.pending.insert(number, pending);
        let publish = Publish {
            ticket: number,
            room: room.clone(),
            seen: self.seen_by_broker(&room),
            keep,
            key: key.filter(|_| window_ms > 0).map(|key| (key, window_ms)),
            pace: user.map(|user| (user, slow_mode_ms)),
            wire,
        };
        self.heed_own(&room);
        self.tell_called(&room, ToBroker::Publish(publish));
    }

    /// Tells other nodes of a publication without a place.
    pub(in crate::shard) fn pass_on(
        &mut self,
        draft: &Draft,
        ttl_ms: Option<u64>,
        filter: Option<&Filter>,
    ) {
        if self.broker.is_up {
            let number = self.next_stamp().ticket;
            let wire = self.write(draft, number, ttl_ms, filter);
            self.tell_called(&draft.room, ToBroker::Pass { room: draft.room.clone(), wire });
        }
    }

    pub(super) fn next_stamp(&mut self) -> Stamp {
        self.broker.last_ticket += 1;
        Stamp { node: self.broker.node, core: self.core.0, ticket: self.broker.last_ticket }
    }

    pub(super) fn write(
        &self,
        draft: &Draft,
        ticket: u64,
        ttl_ms: Option<u64>,
        filter: Option<&Filter>,
    ) -> Box<[u8]> {
        let stamp = Stamp { node: self.broker.node, core: self.core.0, ticket };
        wire::write(draft, Made { stamp, ttl_ms, filter })
    }

    /// The broker has placed a publication, or not.
    pub(super) fn on_published(&mut self, number: u64, outcome: Result<Placed, Fault>) {
        let placed = match outcome {
            Ok(placed) => placed,
            Err(fault) => return self.on_not_published(number, fault),
        };
        if let Some(Pending { room, .. }) = self.broker.pending.get(&number) {
            let room = room.clone();
            self.expect_place(&room, &placed.epoch, placed.offset);
        }
        let Some(pending) = self.broker.pending.get_mut(&number) else { return };
        let is_counted = pending.counts && !placed.is_duplicate && pending.receipt.is_none();
        // A home that began behind it does not get it, and where there is none nobody is there.
        let rooms = &self.homes.rooms;
        let comes = |room| {
            let home = rooms.get(room);
            home.is_some_and(|home| is_ahead(&home.room, &placed.epoch, placed.offset))
        };
        if is_counted && comes(&pending.room) {
            // It is counted when it comes with the room's other news.
            pending.placed = Some(placed);
            return;
        }
        let Some(pending) = self.take_pending(number) else { return };
        match pending.receipt {
            Some(receipt) => self.on_receipt_placed(receipt, placed.nodes > 1),
            None if is_counted => self.answer_uncounted(pending, &placed, placed.nodes > 1),
            None => self.answer_placed(pending, &placed, None),
        }
    }

    /// A room that promises nothing goes on here, if nothing was done.
    fn on_not_published(&mut self, number: u64, fault: Fault) {
        if let Fault::TooSoon(left_ms) = fault {
            self.set_pace(number, left_ms);
        }
        let pending = self.broker.pending.get_mut(&number).filter(|_| fault.is_refusal());
        let Some(draft) = pending.and_then(|it| it.spare.take()) else {
            return self.refuse_pending(number, not_done(fault));
        };
        let placed =
            Placed { epoch: Arc::clone(&draft.epoch), offset: 0, is_duplicate: false, nodes: 1 };
        let own = Stamp { node: self.broker.node, core: self.core.0, ticket: number };
        self.send_out_followed(*draft, Some(own));
        let Some(pending) = self.take_pending(number) else { return };
        match pending.receipt {
            Some(receipt) => self.on_receipt_placed(receipt, false),
            None => self.answer_placed(pending, &placed, None),
        }
    }

    /// Whoever published has done so on another node: they wait here for as long as there.
    fn set_pace(&mut self, number: u64, left_ms: u64) {
        let Some(Pending { room, asker, .. }) = self.broker.pending.get(&number) else { return };
        let now = self.outbound.now.moment;
        if let (Some(user), Some(home)) = (&asker.identity.user, self.homes.get_mut(room)) {
            home.set_pace(user, now.plus_ms(left_ms));
        }
    }

    fn answer_placed(
        &mut self,
        pending: Pending,
        placed: &Placed,
        receipt: Option<event::Receipt>,
    ) {
        let Pending { room, asker, ticket, is_send, .. } = pending;
        if is_send {
            let (effect, reply) = (AnswerEffect::Sent { delivered: 0 }, Reply::Done);
            let ticket = Ticket { id: None, ..ticket };
            self.answer(&room, &asker, ticket, reply, effect);
            return;
        }
        let reply = Reply::Publish(Published {
            room: room.name.as_str(),
            at: (placed.offset > 0)
                .then_some(Place { epoch: &placed.epoch, offset: placed.offset }),
            duplicate: placed.is_duplicate,
            receipt,
        });
        self.answer_ok(&room, &asker, ticket, reply);
    }

    /// It has its place, and did not come here to be counted; whether others may have been sent it.
    fn answer_uncounted(&mut self, pending: Pending, placed: &Placed, partial: bool) {
        let receipt = event::Receipt { delivered: 0, total: 0, partial };
        self.answer_placed(pending, placed, Some(receipt));
    }

    /// Sends out a publication that came with the room's news; if it was published here, and who
    /// did wants to know how many took it, they are counted.
    pub(super) fn send_out_followed(&mut self, draft: Draft, stamp: Option<Stamp>) {
        let (node, core) = (self.broker.node, self.core.0);
        let own = stamp.filter(|stamp| stamp.node == node && stamp.core == core);
        let counted =
            own.filter(|stamp| self.broker.pending.get(&stamp.ticket).is_some_and(|it| it.counts));
        let Some(Stamp { ticket: number, .. }) = counted else {
            self.spread(draft, None);
            return;
        };
        let receipt = self.homes.receipts.next();
        let (epoch, offset) = (Arc::clone(&draft.epoch), draft.offset);
        let cores = self.spread(draft, Some(receipt));
        let timer = self.receipt_timer(receipt);
        let Some(pending) = self.broker.pending.get_mut(&number) else { return };
        let placed = pending.placed.take();
        self.homes.receipts.insert(
            receipt,
            Waiting {
                room: pending.room.clone(),
                epoch,
                offset,
                asker: pending.asker.clone(),
                ticket: pending.ticket.clone(),
                cores_left: cores,
                word: pending.word,
                delivered: 0,
                total: 0,
                timer,
                is_send: pending.is_send,
                is_partial: false,
            },
        );
        pending.receipt = Some(receipt);
        if let Some(placed) = placed {
            self.on_published(number, Ok(placed));
        }
    }

    /// The broker did not answer in time.
    pub(in crate::shard) fn on_ticket_alarm(&mut self, number: u64) {
        let Some(pending) = self.broker.pending.get_mut(&number) else { return };
        if pending.receipt.is_some() && pending.word != Word::Needed {
            // It was delivered; its receipt has a time of its own.
            self.take_pending(number);
            return;
        }
        match pending.placed.take() {
            Some(placed) => {
                let Some(pending) = self.take_pending(number) else { return };
                self.answer_uncounted(pending, &placed, true);
            }
            None => self.refuse_pending(number, not_done(Fault::Lost)),
        }
    }

    /// The broker is out of reach: what was not answered is not known to be kept.
    pub(super) fn fail_pending(&mut self) {
        let mut numbers: Vec<_> = self.broker.pending.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.refuse_pending(number, not_done(Fault::Lost));
        }
    }

    /// A publish that waits no longer.
    fn take_pending(&mut self, number: u64) -> Option<Pending> {
        let pending = self.broker.pending.remove(&number)?;
        self.wheel.cancel(pending.timer);
        self.note_done_by_broker(number);
        Some(pending)
    }

    fn refuse_pending(&mut self, number: u64, refusal: Refusal) {
        let Some(mut pending) = self.take_pending(number) else { return };
        // What was delivered here, or placed, is answered by what is known of it, if that is enough.
        match (pending.receipt, pending.placed.take()) {
            (Some(receipt), _) if pending.word == Word::Needed => self.forget_receipt(receipt),
            (Some(receipt), _) => return self.on_receipt_placed(receipt, true),
            (None, Some(placed)) => return self.answer_uncounted(pending, &placed, true),
            (None, None) => {}
        }
        let Pending { room, asker, ticket, .. } = pending;
        self.answer_refusal(&room, &asker, ticket, refusal);
    }
}

/// What the broker's answer is to that of a home which has delivered what it published. That it came
/// shows that Redis has it in memory, but neither that replicas do, nor that it is on disk: who listens
/// may be told before that.
fn word(durability: Durability) -> Word {
    match durability {
        Durability::Memory | Durability::Everysec => Word::Awaited,
        Durability::Always | Durability::Replicas(_) => Word::Needed,
    }
}
