//! `subscribe` and `unsubscribe`: receive all rooms of a pattern, without being in them.
//!
//! Every core tells every home which patterns it receives, so that a room's message crosses to it
//! once, like that of a joined one. A command is answered when all homes have confirmed that, and where
//! there are other nodes, when all of them know (`shard::broker::desk`).
//!
//! Invariants: what is published after the answer to `subscribe` arrives, and nothing before it; of a
//! room that somebody could not join by themselves they hear nothing, unless their credential lets
//! them moderate it.

use crate::clock::Moment;
use crate::hash::Map;
use crate::id::{ConnectionKey, CoreId, TenantId};
use crate::protocol::ErrorCode;
use crate::protocol::command::{Subscribe, Unsubscribe};
use crate::protocol::event::Reply;
use crate::room::home::Refusal;
use crate::room::hub::{Interest, Item, RoomIndex};
use crate::room::name::{RoomKey, RoomName};
use crate::room::pattern::{Pattern, PatternSet};
use crate::room::publication::{Form, FormSet};
use crate::shard::connection::{Connection, NO_PLACE, Subscription};
use crate::shard::eligible::Reader;
use crate::shard::fanout::{Fanout, Walk};
use crate::shard::identity::Right;
use crate::shard::message::{CoreMessage, Ticket};
use crate::shard::watch::Watch;
use crate::shard::{Alarm, Shard};

/// The patterns that connections of this core receive.
#[derive(Debug)]
pub(in crate::shard) struct Subscriptions {
    /// By tenant; the holders are places of connections.
    sets: Map<TenantId, PatternSet<u32>>,
    /// Who holds a pattern, and whether every core knows.
    held: Map<(TenantId, Pattern), Held>,
    /// The number of what the cores were told last.
    last: u64,
}

/// A pattern that connections of this core receive.
#[derive(Debug, Default)]
struct Held {
    connections: u32,
    forms: FormSet,
    /// What the cores were told last about it.
    number: u64,
    /// Cores that have not confirmed that.
    unconfirmed: u16,
    /// All nodes know, too.
    is_known: bool,
    /// Who waits for them.
    waiting: Vec<Waiting>,
}

/// Somebody who waits until a pattern holds.
#[derive(Debug)]
struct Waiting {
    connection: ConnectionKey,
    /// Of the command; none: the connection is on its way to its welcome.
    ticket: Option<Ticket>,
    /// How long it waits for other nodes.
    until: Moment,
}

/// The nodes that there are were not all told in time.
const NOT_KNOWN: Refusal = Refusal {
    code: ErrorCode::Unavailable,
    message: "not all nodes know of the pattern: Redis is out of reach, or some are too old",
    retry_after_ms: Some(1_000),
};

impl Held {
    /// Whether what is published from here on is received, on whichever node.
    fn holds(&self, is_over_nodes: bool) -> bool {
        self.unconfirmed == 0 && (self.is_known || !is_over_nodes)
    }
}

impl Subscriptions {
    pub(in crate::shard) fn new(seed: crate::hash::Seed) -> Self {
        Self { sets: Map::with_hasher(seed), held: Map::with_hasher(seed), last: 0 }
    }

    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        key: ConnectionKey,
        subscribe: Subscribe<'_>,
        ticket: &Ticket,
    ) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let most = usize::from(self.config.limits.subscriptions_per_connection);
        let Ok(pattern) = Pattern::parse(&subscribe.pattern) else {
            let refusal = Refusal::new(ErrorCode::InvalidRoom, "no pattern of rooms");
            self.refuse(key, ticket, refusal);
            return;
        };
        if !connection.identity.permit.allows(Right::Subscribe, pattern.as_str()) {
            self.refuse(key, ticket, Refusal::new(ErrorCode::Forbidden, "not allowed"));
            return;
        }
        let events = subscribe.events.map(|events| {
            events.into_iter().map(|event| event.into_owned().into_boxed_str()).collect()
        });
        let interest = Interest { presence: false, events, min_priority: subscribe.min_priority };
        let (tenant, form) = (connection.identity.tenant, connection.form);
        let patterns = &mut connection.rare().patterns;
        let held = patterns.iter().position(|held| held.pattern == pattern);
        match held {
            Some(at) => {
                patterns[at].interest = interest;
                if patterns[at].holds {
                    self.reply(key, ticket, Reply::Pattern(pattern.as_str()));
                    return;
                }
            }
            None if patterns.len() >= most => {
                let refusal = Refusal::new(ErrorCode::LimitExceeded, "too many subscriptions");
                self.refuse(key, ticket, refusal);
                return;
            }
            None => {
                patterns.push(Subscription { pattern: pattern.clone(), interest, holds: false });
                self.hold_pattern(tenant, &pattern, key.index, form);
            }
        }
        self.await_pattern(tenant, pattern, key, Some(ticket.clone()));
    }

    /// Patterns that a session had: its connection is not welcomed before they hold.
    pub(in crate::shard) fn resume_patterns(
        &mut self,
        key: ConnectionKey,
        patterns: Vec<(Pattern, Interest)>,
    ) {
        for (pattern, interest) in patterns {
            let Some(connection) = self.outbound.get_mut(key) else { return };
            let (tenant, form) = (connection.identity.tenant, connection.form);
            connection.rare().patterns.push(Subscription {
                pattern: pattern.clone(),
                interest,
                holds: false,
            });
            self.expect_arrival(key);
            self.hold_pattern(tenant, &pattern, key.index, form);
            self.await_pattern(tenant, pattern, key, None);
        }
    }

    /// Answers when every core knows of a pattern.
    fn await_pattern(
        &mut self,
        tenant: TenantId,
        pattern: Pattern,
        key: ConnectionKey,
        ticket: Option<Ticket>,
    ) {
        let until = self.outbound.now.moment.plus_ms(self.patience_of_patterns_ms());
        let waiting = Waiting { connection: key, ticket, until };
        let entry = (tenant, pattern);
        let is_there = self.broker.is_there();
        let is_to_come = |held: &&mut Held| !held.holds(is_there);
        match self.subscriptions.held.get_mut(&entry).filter(is_to_come) {
            Some(held) => {
                held.waiting.push(waiting);
                if is_there {
                    self.wheel.insert(until, Alarm::Pattern(tenant, entry.1));
                }
                if let Some(connection) = self.outbound.get_mut(key) {
                    connection.unanswered += 1;
                }
            }
            None => self.pattern_holds(entry.1.as_str(), &waiting),
        }
    }

    /// Every core knows: what comes from here on is received.
    fn pattern_holds(&mut self, pattern: &str, waiting: &Waiting) {
        if let Some(connection) = self.outbound.get_mut(waiting.connection) {
            let subscriptions = connection.rare().patterns.iter_mut();
            subscriptions
                .filter(|it| it.pattern.as_str() == pattern)
                .for_each(|it| it.holds = true);
        }
        match &waiting.ticket {
            Some(ticket) => self.reply(waiting.connection, ticket, Reply::Pattern(pattern)),
            None => self.arrived_nowhere(waiting.connection),
        }
    }

    /// A core has confirmed that a pattern holds there.
    pub(in crate::shard) fn on_pattern_holds(
        &mut self,
        tenant: TenantId,
        pattern: Pattern,
        number: u64,
    ) {
        let entry = (tenant, pattern);
        let held = self.subscriptions.held.get_mut(&entry).filter(|held| held.number == number);
        let Some(held) = held else { return };
        held.unconfirmed = held.unconfirmed.saturating_sub(1);
        if held.unconfirmed > 0 {
            return;
        }
        if self.broker.is_there() && !held.is_known {
            let (tenant, pattern) = entry;
            self.tell_desk(tenant, pattern, Some(number));
        } else {
            self.answer_pattern(&entry);
        }
    }

    /// All nodes know that a pattern is received here.
    pub(in crate::shard) fn on_pattern_known(
        &mut self,
        tenant: TenantId,
        pattern: Pattern,
        number: u64,
    ) {
        let entry = (tenant, pattern);
        let held = self.subscriptions.held.get_mut(&entry).filter(|held| held.number == number);
        if let Some(held) = held {
            held.is_known = true;
            self.answer_pattern(&entry);
        }
    }

    fn answer_pattern(&mut self, entry: &(TenantId, Pattern)) {
        let Some(held) = self.subscriptions.held.get_mut(entry) else { return };
        for waiting in std::mem::take(&mut held.waiting) {
            self.note_answered(waiting.connection);
            self.pattern_holds(entry.1.as_str(), &waiting);
        }
    }

    /// Not all nodes know a pattern in time: whoever has waited so long is told so; a session that had
    /// it goes on with it.
    pub(in crate::shard) fn on_pattern_alarm(&mut self, tenant: TenantId, pattern: &Pattern) {
        let now = self.outbound.now.moment;
        let Some(held) = self.subscriptions.held.get_mut(&(tenant, pattern.clone())) else {
            return;
        };
        let late = held.waiting.iter().filter(|it| it.until <= now);
        let late: Vec<_> = late.map(|it| it.connection).collect();
        // A connection that has asked twice is refused twice, as it has one subscription.
        let is_late = |it: &mut Waiting| late.contains(&it.connection);
        for waiting in held.waiting.extract_if(.., is_late).collect::<Vec<_>>() {
            self.note_answered(waiting.connection);
            let Waiting { connection: key, ticket: Some(ticket), .. } = &waiting else {
                self.pattern_holds(pattern.as_str(), &waiting);
                continue;
            };
            if let Some(connection) = self.outbound.get_mut(*key) {
                let patterns = &mut connection.rare().patterns;
                let before = patterns.len();
                patterns.retain(|it| it.pattern != *pattern);
                if patterns.len() < before {
                    self.drop_pattern(tenant, pattern, key.index);
                }
            }
            self.refuse(*key, ticket, NOT_KNOWN);
        }
    }

    fn tell_desk(&mut self, tenant: TenantId, pattern: Pattern, number: Option<u64>) {
        let watch = Watch::Hold { tenant, pattern, number };
        self.outbound.send(CoreId(0), CoreMessage::Watch(Box::new(watch)));
    }

    pub(super) fn unsubscribe(
        &mut self,
        key: ConnectionKey,
        unsubscribe: &Unsubscribe<'_>,
        ticket: &Ticket,
    ) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let tenant = connection.identity.tenant;
        let patterns = &mut connection.rare().patterns;
        let at = patterns.iter().position(|it| *it.pattern.as_str() == *unsubscribe.pattern);
        let Some(at) = at else {
            let refusal = Refusal::new(ErrorCode::NotFound, "no such subscription");
            self.refuse(key, ticket, refusal);
            return;
        };
        let Subscription { pattern, .. } = patterns.remove(at);
        // Nothing of it after the answer.
        self.settle_rooms();
        self.drop_pattern(tenant, &pattern, key.index);
        self.reply(key, ticket, Reply::Pattern(pattern.as_str()));
    }

    fn hold_pattern(&mut self, tenant: TenantId, pattern: &Pattern, index: u32, form: Form) {
        let seed = self.seed;
        let sets = &mut self.subscriptions.sets;
        sets.entry(tenant).or_insert_with(|| PatternSet::new(seed)).insert(pattern, index);
        let held = self.subscriptions.held.entry((tenant, pattern.clone())).or_default();
        held.connections += 1;
        if held.connections == 1 || !held.forms.contains(form) {
            held.forms.insert(form);
            self.subscriptions.last += 1;
            held.number = self.subscriptions.last;
            held.unconfirmed = self.cores;
            self.tell_pattern(tenant, pattern, Some(form));
        }
    }

    /// A connection receives a pattern no more.
    pub(in crate::shard) fn drop_pattern(
        &mut self,
        tenant: TenantId,
        pattern: &Pattern,
        index: u32,
    ) {
        if let Some(set) = self.subscriptions.sets.get_mut(&tenant) {
            set.remove(pattern, index);
            if set.is_empty() {
                self.subscriptions.sets.remove(&tenant);
            }
        }
        let entry = (tenant, pattern.clone());
        let Some(held) = self.subscriptions.held.get_mut(&entry) else { return };
        held.connections -= 1;
        let is_its = |waiting: &mut Waiting| waiting.connection.index == index;
        let waiting: Vec<_> = held.waiting.extract_if(.., is_its).collect();
        let is_last = held.connections == 0;
        for waiting in waiting {
            self.note_answered(waiting.connection);
            self.pattern_holds(entry.1.as_str(), &waiting);
        }
        if is_last {
            self.subscriptions.held.remove(&entry);
            self.tell_pattern(tenant, pattern, None);
            if self.broker.is_there() {
                self.tell_desk(tenant, entry.1, None);
            }
        }
    }

    fn tell_pattern(&mut self, tenant: TenantId, pattern: &Pattern, form: Option<Form>) {
        let number = self.subscriptions.last;
        for core in 0..self.cores {
            let pattern = pattern.clone();
            let message = CoreMessage::Pattern { tenant, pattern, form, number };
            self.outbound.send(CoreId(core), message);
        }
    }

    /// At every home: a core does, or does no longer, receive a pattern.
    pub(in crate::shard) fn on_pattern(
        &mut self,
        from: CoreId,
        tenant: TenantId,
        pattern: Pattern,
        form: Option<Form>,
        number: u64,
    ) {
        let seed = self.seed;
        let watchers = &mut self.homes.watchers;
        match form {
            Some(form) => {
                let set = watchers.entry(tenant).or_insert_with(|| PatternSet::new(seed));
                set.insert(&pattern, from);
                if let Some(forms) = self.homes.watcher_forms.get_mut(from.index()) {
                    forms.insert(form);
                }
                let message = CoreMessage::PatternHolds { tenant, pattern, number };
                self.outbound.send(from, message);
            }
            None => {
                if let Some(set) = watchers.get_mut(&tenant) {
                    set.remove(&pattern, from);
                    if set.is_empty() {
                        watchers.remove(&tenant);
                    }
                }
            }
        }
    }

    /// Something came for a room that nobody here is in.
    pub(in crate::shard) fn collect_for_subscribers(&mut self, room: &RoomKey, item: Item) {
        let home = self.home_core(room);
        let index = self.hub.enter(room, home);
        self.hub.collect(index, item);
    }

    /// Queues what came for a room to those who receive it by a pattern and are not in it.
    pub(in crate::shard) fn subscribers_of(
        &mut self,
        index: RoomIndex,
        items: &[Item],
        fanout: &mut Fanout,
    ) {
        if self.subscriptions.is_empty() {
            return;
        }
        let Some(room) = self.hub.get(index) else { return };
        let Some(set) = self.subscriptions.sets.get(&room.key.tenant) else { return };
        let Some(tag) = room.tag.clone() else { return };
        let mut places = Vec::new();
        set.visit(&room.key.name, |place| places.push(place));
        // In an order that does not depend on the map, and one copy each.
        places.sort_unstable();
        places.dedup();
        let name = room.key.name.clone();
        for place in places {
            let mut walk = Walk {
                outbound: &mut self.outbound,
                press: &mut self.press,
                seed: self.seed,
                tag: &tag,
                items,
                fanout: &mut *fanout,
            };
            walk.subscriber(place, index, &name);
        }
    }
}

impl Walk<'_> {
    /// Queues to one that receives the room by a pattern.
    fn subscriber(&mut self, place: u32, index: RoomIndex, name: &RoomName) {
        for at in 0..self.items.len() {
            let slot = self.outbound.slots.get(place as usize);
            let Some(connection) = slot.and_then(|slot| slot.connection.as_deref()) else { return };
            // Before the welcome, the session's rooms still come back with what was missed.
            let joined = connection.rooms.iter().any(|it| it.room == index && it.place != NO_PLACE);
            if joined || !connection.welcomed {
                return;
            }
            let item = &self.items[at];
            if !self.is_for_subscriber(connection, item, name) {
                continue;
            }
            match item {
                Item::Delivery(_) => self.offer_single(place, connection.form, at),
                Item::Lost { epoch, from, to, .. } => self.lost(place, epoch, (*from, *to)),
                Item::Notice(_) => {}
            }
        }
    }

    /// Whether one that is not in a room is to hear something of it.
    fn is_for_subscriber(&self, connection: &Connection, item: &Item, name: &RoomName) -> bool {
        let (guard, publication) = match item {
            Item::Delivery(delivery) => (&delivery.guard, Some(&delivery.publication)),
            Item::Lost { guard, .. } => (guard, None),
            Item::Notice(_) => return false,
        };
        let (now, identity) = (self.outbound.now.moment, &connection.identity);
        let is_kept_out = guard.as_ref().is_some_and(|guard| {
            !guard.lets_hear(identity.user.as_deref(), connection.address, now)
                && !identity.may(Right::Moderate, name)
        });
        if is_kept_out {
            return false;
        }
        let Some(rare) = &connection.rare else { return false };
        rare.patterns.iter().filter(|it| it.holds && it.pattern.matches(name)).any(|it| {
            let reader = Reader { connection, interest: Some(&it.interest), now };
            // What was lost is known by nothing but its place.
            publication.is_none_or(|publication| reader.takes(publication))
        })
    }
}
