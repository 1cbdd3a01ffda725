//! The patterns of rooms that connections of this core receive, and the confirmation between cores that
//! they hold.
//!
//! Every core tells every home which patterns it receives, so that a room's message crosses to it
//! once, like that of a joined one. A pattern holds when all homes have confirmed that, and where there
//! are other nodes, when all of them know (`shard::broker::desk`).
//!
//! Invariants: once a pattern holds, all that is published for it arrives; whoever waits for one is
//! answered once.

use crate::clock::Moment;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionKey, CoreId, TenantId};
use crate::protocol::ErrorCode;
use crate::protocol::event::Reply;
use crate::room::hub::Interest;
use crate::room::pattern::{Pattern, PatternSet};
use crate::room::publication::{Form, FormSet};
use crate::room::refusal::Refusal;

use super::connection::Subscription;
use super::message::{Ticket, ToEngine};
use super::watch::Watch;
use super::{Alarm, Shard};

/// The patterns that connections of this core receive.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// By tenant; the holders are places of connections.
    pub(super) sets: Map<TenantId, PatternSet<u32>>,
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
    pub(super) fn new(seed: Seed) -> Self {
        Self { sets: Map::with_hasher(seed), held: Map::with_hasher(seed), last: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Shard {
    /// Patterns that a session had: its connection is not welcomed before they hold.
    pub(super) fn resume_patterns(
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
    pub(super) fn await_pattern(
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
    pub(super) fn on_pattern_holds(&mut self, tenant: TenantId, pattern: Pattern, number: u64) {
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
    pub(super) fn on_pattern_known(&mut self, tenant: TenantId, pattern: Pattern, number: u64) {
        let entry = (tenant, pattern);
        let held = self.subscriptions.held.get_mut(&entry).filter(|held| held.number == number);
        if let Some(held) = held {
            held.is_known = true;
            self.answer_pattern(&entry);
        }
    }

    /// A pattern holds: whoever has waited for that is told.
    fn answer_pattern(&mut self, entry: &(TenantId, Pattern)) {
        let Some(held) = self.subscriptions.held.get_mut(entry) else { return };
        for waiting in std::mem::take(&mut held.waiting) {
            self.note_answered(waiting.connection);
            self.pattern_holds(entry.1.as_str(), &waiting);
        }
    }

    /// Not all nodes know a pattern in time: whoever has waited so long is told so; a session that had
    /// it goes on with it.
    pub(super) fn on_pattern_alarm(&mut self, tenant: TenantId, pattern: &Pattern) {
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

    /// Other nodes may know no more what is received here: whoever comes to one of these patterns now
    /// waits until they do again.
    pub(super) fn establish_patterns_again(&mut self) {
        let mut forgotten = Vec::new();
        for ((tenant, pattern), held) in &mut self.subscriptions.held {
            held.is_known = false;
            if held.unconfirmed == 0 {
                forgotten.push((*tenant, pattern.clone(), held.number));
            }
        }
        forgotten.sort_unstable_by_key(|(.., number)| *number);
        for (tenant, pattern, number) in forgotten {
            self.tell_desk(tenant, pattern, Some(number));
        }
    }

    fn tell_desk(&mut self, tenant: TenantId, pattern: Pattern, number: Option<u64>) {
        let watch = Watch::Hold { tenant, pattern, number };
        self.outbound.send(CoreId(0), watch);
    }

    /// A connection receives a pattern: where that is new to the cores, they are told.
    pub(super) fn hold_pattern(
        &mut self,
        tenant: TenantId,
        pattern: &Pattern,
        index: u32,
        form: Form,
    ) {
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
    pub(super) fn drop_pattern(&mut self, tenant: TenantId, pattern: &Pattern, index: u32) {
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
            let message = ToEngine::Pattern { tenant, pattern, form, number };
            self.outbound.send(CoreId(core), message);
        }
    }

    /// At every home: a core does, or does no longer, receive a pattern.
    pub(super) fn on_pattern(
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
                let message = ToEngine::PatternHolds { tenant, pattern, number };
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
}
