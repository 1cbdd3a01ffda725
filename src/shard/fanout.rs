//! From a room's messages of a tick to the outboxes of its members here.
//!
//! What came for a room in a tick is queued once, at its end or before anything that changes who is
//! in it. Most members want all of it and read fast enough: they share one run of frames, made once
//! for each form, and cost one push each. The others are judged message by message. Those who receive
//! the room by a pattern, without being in it, come last (`subscribers`).
//!
//! Invariant: a member is queued a room's messages in the order in which they came, each at most
//! once.

mod subscribers;

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::id::ConnectionKey;
use crate::protocol::event;
use crate::protocol::{CloseReason, Event, GapReason, Priority, SlowConsumer};
use crate::room::hub::{Delivery, HubRoom, Item, Member, Notice, RoomIndex, RoomTag};
use crate::room::name::RoomKey;
use crate::room::publication::{Form, Press, Publication};

use super::Shard;
use super::effect::Effects;
use super::eligible::Reader;
use super::message::ToHome;
use super::outbound::{Outbound, Slot};
use super::outbox::Offer;
use super::run::{Label, Run};

/// Messages beyond this begin a new run.
const RUN_BYTES: usize = 65_536;
/// So many are a crowd: each takes some 3 µs to write.
pub const CROWD: u64 = 32;
/// Forms, each with and without notices of presence.
const CLASSES: usize = 2 * Form::COUNT;

/// Messages of a room that most members are sent in one piece.
#[derive(Debug)]
struct Stretch {
    items: Range<usize>,
    /// Whether everyone gets all of it.
    even: bool,
    priority: Priority,
    /// One for each class that was asked for; the inner none: nothing for this class.
    runs: [Option<Option<Rc<Run>>>; CLASSES],
}

/// One message by itself, for those who are judged.
#[derive(Debug, Default)]
struct Single {
    runs: [Option<Rc<Run>>; Form::COUNT],
    delivered: u32,
    total: u32,
}

/// Buffers that are kept between rooms and ticks.
#[derive(Debug, Default)]
pub(super) struct Fanout {
    stretches: Vec<Stretch>,
    singles: Vec<Single>,
    overflowed: Vec<(ConnectionKey, CloseReason)>,
    delivered: u64,
    withheld: u64,
}

impl Shard {
    /// To how many places [`settle`](Self::settle) would bring something now.
    #[must_use]
    pub fn waiting_deliveries(&self) -> usize {
        self.hub.waiting_members()
    }

    /// How many deliveries here the messages of clients here have led to so far.
    #[must_use]
    pub fn deliveries_caused(&self) -> u64 {
        self.deliveries_caused
    }

    /// What a room's home could not send.
    pub(super) fn on_overrun(&mut self, room: &RoomKey, lost: Item) {
        // Of a transient message nothing is said.
        if lost.last_offset() == 0 {
            return;
        }
        match self.hub.find(room) {
            Some(index) => self.hub.collect(index, lost),
            None => self.collect_for_subscribers(room, lost),
        }
    }

    /// Somebody came or went.
    pub(super) fn on_notice(&mut self, notice: Arc<Notice>) {
        if let Some(index) = self.hub.find(&notice.room) {
            self.hub.collect(index, Item::Notice(notice));
        }
    }

    /// The end of a tick: all rooms for which something came.
    pub(super) fn settle_rooms(&mut self) {
        let dirty = self.hub.take_dirty();
        for index in &dirty {
            self.settle_room(*index);
        }
        self.hub.return_dirty(dirty);
    }

    /// Queues what came for a room to its members here.
    pub(super) fn settle_room(&mut self, index: RoomIndex) {
        let Some(room) = self.hub.get_mut(index).filter(|room| !room.items.is_empty()) else {
            return;
        };
        let items = std::mem::take(&mut room.items);
        let mut fanout = std::mem::take(&mut self.fanout);
        let before = self.outbound.effects.dirty.len();
        if let Some(tag) = tag(room, &items) {
            fanout.plan(&items, tag.slow_consumer);
            mark_apart(&mut self.outbound, self.core, &items, true);
            let mut walk = Walk {
                outbound: &mut self.outbound,
                press: &mut self.press,
                seed: self.seed,
                tag: &tag,
                gap: GapReason::Overload,
                items: &items,
                fanout: &mut fanout,
            };
            for member in &room.members {
                walk.member(member);
            }
            mark_apart(&mut self.outbound, self.core, &items, false);
        }
        room.offset = items.iter().map(Item::last_offset).fold(room.offset, u64::max);
        let home = room.home;
        self.subscribers_of(index, &items, &mut fanout);
        let Effects { dirty, crowd, .. } = &mut self.outbound.effects;
        if (dirty.len() - before) as u64 >= CROWD {
            crowd.extend(dirty.drain(before..));
        }
        self.send_receipts(home, &items, &fanout);
        self.finish_fanout(index, items, fanout);
    }

    /// Tells homes that asked how many took a message.
    fn send_receipts(&mut self, home: crate::id::CoreId, items: &[Item], fanout: &Fanout) {
        for (item, single) in items.iter().zip(&fanout.singles) {
            let Item::Delivery(Delivery { receipt: Some(receipt), .. }) = item else { continue };
            let (receipt, delivered, total) = (*receipt, single.delivered, single.total);
            self.outbound.send(home, ToHome::Receipt { receipt, delivered, total });
        }
    }

    /// Counts, keeps buffers, and closes those who did not keep up.
    fn finish_fanout(&mut self, index: RoomIndex, mut items: Vec<Item>, mut fanout: Fanout) {
        self.metrics.messages_out.add(std::mem::take(&mut fanout.delivered));
        items.clear();
        if let Some(room) = self.hub.get_mut(index).filter(|_| items.capacity() <= 64) {
            room.items = items;
        }
        fanout.stretches.clear();
        fanout.singles.clear();
        let mut overflowed = std::mem::take(&mut fanout.overflowed);
        for (key, reason) in overflowed.drain(..) {
            self.close(key, reason);
        }
        fanout.overflowed = overflowed;
        self.fanout = fanout;
        self.tidy_room(index);
    }
}

/// What the room is known to be. One that only came by itself or by a pattern was never joined: it is
/// what its messages say, and begins anew with them. Without a word of its home it has no epoch, for
/// as long as this tick.
fn tag(room: &mut HubRoom, items: &[Item]) -> Option<Rc<RoomTag>> {
    if room.tag.is_none() || room.key.name.is_reserved() {
        let epochs = items.iter().rev().filter_map(|item| match item {
            Item::Delivery(delivery) => Some(&delivery.publication.epoch),
            Item::Lost { epoch, .. } => Some(epoch),
            Item::Notice(_) => None,
        });
        let epoch = epochs.into_iter().find(|epoch| !epoch.is_empty());
        match (&room.tag, epoch) {
            (Some(tag), Some(epoch)) if tag.epoch == *epoch => {}
            (_, Some(epoch)) => {
                room.tag = Some(plain_tag(&room.key, Arc::clone(epoch)));
            }
            (_, None) => {}
        }
    }
    let is_said = || items.iter().any(|item| matches!(item, Item::Delivery(_)));
    room.tag.clone().or_else(|| is_said().then(|| plain_tag(&room.key, "".into())))
}

/// Of a room of which nothing but its epoch is known.
fn plain_tag(room: &RoomKey, epoch: Arc<str>) -> Rc<RoomTag> {
    let slow_consumer = SlowConsumer::default();
    Rc::new(RoomTag { room: room.clone(), epoch, slow_consumer, guaranteed: false })
}

/// Marks those who published something that they are not to get, or who go on with their sessions, so
/// that they are judged.
fn mark_apart(outbound: &mut Outbound, core: crate::id::CoreId, items: &[Item], apart: bool) {
    for item in items {
        let Item::Delivery(Delivery { publication, .. }) = item else { continue };
        let Some(author) = publication.author.as_ref().filter(|_| publication.exclude_self) else {
            continue;
        };
        let own = (author.address.core == core).then_some(author.address.key);
        for key in own.into_iter().chain(outbound.heir(&author.connection)) {
            if let Some(slot) = outbound.slot_mut(key) {
                slot.apart = apart;
            }
        }
    }
}

impl Fanout {
    /// A connection is to be closed, for the first reason there is.
    fn overflow(&mut self, key: ConnectionKey, reason: CloseReason) {
        if self.overflowed.last().is_none_or(|(last, _)| *last != key) {
            self.overflowed.push((key, reason));
        }
    }

    /// Divides what came into stretches that can be sent in one piece. Where messages may be dropped
    /// for a slow reader, notices are not in one piece with them: they would go the same way. Where
    /// only the newest of each event counts, messages of two are not: each makes worthless its own.
    fn plan(&mut self, items: &[Item], policy: SlowConsumer) {
        let is_notice = |at: usize| matches!(items.get(at), Some(Item::Notice(_)));
        let event = |at: usize| match items.get(at) {
            Some(Item::Delivery(delivery)) => delivery.publication.event.as_deref(),
            _ => None,
        };
        let goes_with = |at: usize, before: usize| match policy {
            SlowConsumer::Disconnect => true,
            SlowConsumer::Latest => {
                is_notice(at) == is_notice(before) && event(at) == event(before)
            }
            _ => is_notice(at) == is_notice(before),
        };
        self.singles.resize_with(items.len(), Single::default);
        let mut bytes = 0;
        for (at, item) in items.iter().enumerate() {
            let (even, priority, len) = match item {
                Item::Delivery(delivery) => {
                    let publication = &delivery.publication;
                    (delivery.is_even(), publication.priority, publication.held_bytes())
                }
                Item::Notice(_) => (true, Priority::Normal, 128),
                Item::Lost { .. } => (false, Priority::Normal, 0),
            };
            bytes += len;
            match self.stretches.last_mut() {
                Some(last)
                    if last.even
                        && even
                        && last.priority == priority
                        && bytes <= RUN_BYTES
                        && goes_with(at, at - 1) =>
                {
                    last.items.end = at + 1;
                }
                _ => {
                    bytes = len;
                    let runs = [const { None }; CLASSES];
                    self.stretches.push(Stretch { items: at..at + 1, even, priority, runs });
                }
            }
        }
    }
}

/// One room's messages on their way to its members.
struct Walk<'a> {
    outbound: &'a mut Outbound,
    press: &'a mut Press,
    seed: crate::hash::Seed,
    tag: &'a Rc<RoomTag>,
    /// Why something is lost.
    gap: GapReason,
    items: &'a [Item],
    fanout: &'a mut Fanout,
}

impl Walk<'_> {
    /// Queues all of it to one member.
    fn member(&mut self, member: &Member) {
        let index = member.connection as usize;
        let Some(slot) = self.outbound.slots.get_mut(index) else { return };
        let plain = !slot.apart && member.interest.is_none();
        let class = member.form.index() + Form::COUNT * usize::from(member.presence);
        for at in 0..self.fanout.stretches.len() {
            if plain && self.fanout.stretches[at].even {
                if self.fanout.stretches[at].runs[class].is_none() {
                    let run = self.run(&self.fanout.stretches[at], member);
                    self.fanout.stretches[at].runs[class] = Some(run);
                }
                let stretch = &self.fanout.stretches[at];
                let Some(Some(run)) = &stretch.runs[class] else { continue };
                if let Some(Offer::Taken) = take_whole(self.outbound, index, run) {
                    self.fanout.delivered += stretch.items.len() as u64;
                    continue;
                }
            }
            for item in self.fanout.stretches[at].items.clone() {
                self.judge(member, item);
            }
        }
    }

    /// Queues one message to one member, if it is for them and they keep up.
    fn judge(&mut self, member: &Member, at: usize) {
        let Some(slot) = self.outbound.slots.get(member.connection as usize) else { return };
        let Some(connection) = slot.connection.as_deref() else { return };
        match &self.items[at] {
            Item::Delivery(delivery) => {
                let reader = Reader {
                    connection,
                    interest: member.interest.as_deref(),
                    now: self.outbound.now.moment,
                };
                if !reader.takes(&delivery.publication) {
                    return;
                }
                self.offer_single(member.connection, member.form, at);
            }
            Item::Notice(notice) if member.presence => {
                let notice = Arc::clone(notice);
                self.notice(member, &notice);
            }
            Item::Notice(_) => {}
            Item::Lost { epoch, from, to, .. } => {
                self.lost(member.connection, epoch, (*from, *to));
            }
        }
    }

    /// Offers a message by itself to a connection.
    fn offer_single(&mut self, index: u32, form: Form, at: usize) {
        let Item::Delivery(Delivery { publication, .. }) = &self.items[at] else { return };
        if self.fanout.singles[at].runs[form.index()].is_none() {
            let label = self.label(publication);
            let run = single_run(self.press, publication, form, label, &self.outbound.pool.budget);
            self.fanout.singles[at].runs[form.index()] = Some(run);
        }
        let single = &mut self.fanout.singles[at];
        let Some(run) = &single.runs[form.index()] else { return };
        let Some(slot) = self.outbound.slots.get(index as usize) else { return };
        single.total += 1;
        let key = key_of(slot, index);
        match self.outbound.offer_run(key, run) {
            Offer::Taken => {
                single.delivered += 1;
                self.fanout.delivered += 1;
            }
            Offer::Withheld => self.fanout.withheld += 1,
            Offer::Overflow => self.fanout.overflow(key, CloseReason::SlowConsumer),
            Offer::Overload => self.fanout.overflow(key, CloseReason::Overloaded),
        }
    }

    fn notice(&mut self, member: &Member, notice: &Notice) {
        let Some(slot) = self.outbound.slots.get(member.connection as usize) else { return };
        let key = key_of(slot, member.connection);
        // Presence is a state that can be asked for: a reader that is far behind is spared it.
        if slot.outbox.pending_bytes() < self.outbound.config.limits.outbox_bytes as usize {
            self.outbound.say(key, &event_of(notice));
        }
    }

    /// Tells a connection what it will not get.
    fn lost(&mut self, index: u32, epoch: &Arc<str>, offsets: (u64, u64)) {
        let Some(slot) = self.outbound.slots.get(index as usize) else { return };
        let key = key_of(slot, index);
        let tag = self.tag_of(epoch);
        self.outbound.push_gap(key, &tag, offsets, self.gap);
    }

    /// The frames of a stretch for members like this one.
    fn run(&self, stretch: &Stretch, member: &Member) -> Option<Rc<Run>> {
        let items = &self.items[stretch.items.clone()];
        let wanted = |item: &&Item| member.presence || matches!(item, Item::Delivery(_));
        let mut label = None::<Label>;
        for item in items {
            let Item::Delivery(Delivery { publication, .. }) = item else { continue };
            let label = label.get_or_insert_with(|| self.label(publication));
            if label.first == 0 {
                label.first = publication.offset;
            }
            label.last = label.last.max(publication.offset);
        }
        let label = label.unwrap_or_else(|| Label::nameless(self.tag));
        let budget = &self.outbound.pool.budget;
        let mut parts = items.iter().filter(wanted);
        if let (Some(Item::Delivery(only)), None) = (parts.next(), parts.next())
            && let Some(run) = Run::whole(&only.publication, member.form, label.clone(), budget)
        {
            return Some(run);
        }
        let mut bytes = Vec::new();
        for item in items.iter().filter(wanted) {
            write_item(item, member.form, &mut bytes);
        }
        (!bytes.is_empty()).then(|| Run::joined(bytes.into_boxed_slice(), label, budget))
    }

    fn label(&self, publication: &Publication) -> Label {
        let named = publication.event.as_ref();
        let event = match self.tag.slow_consumer {
            SlowConsumer::Latest => named.map_or(0, |event| self.seed.hash(event)),
            _ => 0,
        };
        Label::of(publication, &self.tag_of(&publication.epoch), event)
    }

    /// What is known of the room in that life of it: one in which nobody has to be may have ended and
    /// begun anew since the last tick.
    fn tag_of(&self, epoch: &Arc<str>) -> Rc<RoomTag> {
        if self.tag.epoch == *epoch {
            return Rc::clone(self.tag);
        }
        plain_tag(&self.tag.room, Arc::clone(epoch))
    }
}

/// Queues a shared run whole, if there is space and no policy has a say; this is all that most
/// members of a busy room cost.
#[inline]
fn take_whole(outbound: &mut Outbound, index: usize, run: &Rc<Run>) -> Option<Offer> {
    let slot = outbound.slots.get_mut(index)?;
    let limit_bytes = outbound.config.limits.outbox_bytes as usize;
    let was_empty = slot.outbox.is_empty();
    let waiting = slot.outbox.pending_bytes();
    let crowded = waiting > 0
        && (waiting + run.bytes().len() > limit_bytes
            || outbound.pool.is_over_budget()
            || (run.label.room.slow_consumer == SlowConsumer::Latest
                && slot.outbox.lags(&outbound.pool)));
    if crowded || slot.outbox.is_closing() {
        return None;
    }
    slot.outbox.push_run(Rc::clone(run), &mut outbound.pool);
    if was_empty && !slot.outbox.is_held() {
        #[allow(clippy::cast_possible_truncation, reason = "it was a u32 in the member")]
        outbound
            .effects
            .dirty
            .push(ConnectionKey { index: index as u32, generation: slot.generation });
    }
    Some(Offer::Taken)
}

/// One message for one form, written here if its home did not.
pub(super) fn single_run(
    press: &mut Press,
    publication: &Arc<Publication>,
    form: Form,
    label: Label,
    budget: &super::run::Budget,
) -> Rc<Run> {
    match Run::whole(publication, form, label.clone(), budget) {
        Some(run) => run,
        None => Run::joined(press.message(publication, form.codec, false), label, budget),
    }
}

fn key_of(slot: &Slot, index: u32) -> ConnectionKey {
    ConnectionKey { index, generation: slot.generation }
}

fn event_of(notice: &Notice) -> Event<'_> {
    Event::Presence(event::Presence {
        room: notice.room.name.as_str(),
        action: notice.action,
        user: &notice.user,
        info: notice.info.as_ref().map(crate::protocol::OwnedData::as_data),
    })
}

/// Appends the frame of a message or a notice.
fn write_item(item: &Item, form: Form, out: &mut Vec<u8>) {
    let body = match item {
        Item::Delivery(delivery) => match delivery.publication.frame(form) {
            Some(frame) => return out.extend_from_slice(frame),
            None => Event::Message(delivery.publication.message(false)),
        },
        Item::Notice(notice) => event_of(notice),
        Item::Lost { .. } => return,
    };
    super::outbound::write_event(&body, form.codec, out);
}
