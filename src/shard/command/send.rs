//! `send`: a message for users, which is one to the room of each, or for one connection.

use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, ConnectionName, TenantId};
use crate::protocol::command::{Post, Recipient, Send};
use crate::protocol::event::Reply;
use crate::protocol::{CloseReason, ErrorCode, RequestId, SlowConsumer};
use crate::room::hub::RoomTag;
use crate::room::name::{RoomKey, RoomName};
use crate::room::publication::{Author, Draft, Form, FormSet, Publication};
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::ask::{PublishAsk, What};
use crate::shard::fanout::single_run;
use crate::shard::identity::Right;
use crate::shard::message::{Direct, Ticket, ToConnection};
use crate::shard::outbox::Offer;
use crate::shard::run::Label;

/// Users of one `send`.
const USERS_MAX: usize = 100;

/// A `send` that is answered when all whom it is for are.
#[derive(Debug)]
pub(in crate::shard) struct Sending {
    number: u32,
    id: Option<RequestId>,
    batch: u32,
    left: u32,
    /// To how many connections; none: no home has taken its part.
    delivered: Option<u64>,
    /// Why the first of those homes that did not take their part did not.
    refusal: Option<Refusal>,
}

/// A connection of this core that a message is for.
#[derive(Debug)]
pub(in crate::shard) struct Found {
    key: ConnectionKey,
    form: Form,
    /// The room that it is written as: the user's.
    pub(in crate::shard) room: RoomKey,
}

impl Shard {
    pub(super) fn send_to(&mut self, key: ConnectionKey, send: Send<'_>, ticket: Ticket) {
        let Send { to, data, event, transient, priority, ttl_ms } = send;
        let Some(connection) = self.outbound.get(key) else { return };
        let permit = &connection.identity.permit;
        if !permit.allows_event(Right::Send, "@user", event.as_deref()) {
            self.refuse(key, &ticket, Refusal::new(ErrorCode::Forbidden, "not allowed"));
            return;
        }
        let ask = PublishAsk::new(Post {
            data,
            event,
            exclude_self: false,
            transient,
            key: None,
            priority,
            ttl_ms,
            filter: None,
            receipt: true,
        });
        let ask = PublishAsk { is_send: true, ..ask };
        let users = match to {
            Recipient::User(user) => vec![user],
            Recipient::Users(users) if users.len() <= USERS_MAX => users,
            Recipient::Users(_) => {
                self.refuse(key, &ticket, Refusal::new(ErrorCode::LimitExceeded, "too many users"));
                return;
            }
            Recipient::Connection(name) => {
                self.send_to_connection(key, &name, ask, ticket);
                return;
            }
        };
        let tenant = connection.identity.tenant;
        let rooms: Result<Vec<_>, _> = users.iter().map(|user| RoomName::user(user)).collect();
        let Ok(mut rooms) = rooms else {
            self.refuse(key, &ticket, Refusal::new(ErrorCode::BadRequest, "no user's name"));
            return;
        };
        rooms.sort_unstable();
        rooms.dedup();
        let count = u32::try_from(rooms.len()).unwrap_or(u32::MAX);
        let part = self.begin_send(key, ticket, count);
        for room in rooms {
            let what = What::Publish(Box::new(ask.clone()));
            self.ask(key, RoomKey::new(tenant, room), what, part.clone());
        }
    }

    /// Begins to count the answers; nothing to count is an answer too.
    fn begin_send(&mut self, key: ConnectionKey, ticket: Ticket, left: u32) -> Ticket {
        if left == 0 {
            self.reply(key, &ticket, Reply::Send { delivered: 0 });
            return Ticket::default();
        }
        let Some(connection) = self.outbound.get_mut(key) else { return Ticket::default() };
        let rare = connection.rare();
        rare.last_send = rare.last_send.wrapping_add(1).max(1);
        let number = rare.last_send;
        let Ticket { id, batch, .. } = ticket;
        rare.sendings.push(Sending { number, id, batch, left, delivered: None, refusal: None });
        Ticket { send: number, ..Ticket::default() }
    }

    /// A part of a `send` is answered. It is refused only if all of it is: whoever sends it again
    /// after an error does not reach anybody twice.
    pub(super) fn on_sent(
        &mut self,
        key: ConnectionKey,
        part: &Ticket,
        outcome: Result<u64, Refusal>,
    ) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let sendings = &mut connection.rare().sendings;
        let Some(at) = sendings.iter().position(|it| it.number == part.send) else { return };
        let sending = &mut sendings[at];
        sending.left -= 1;
        match outcome {
            Ok(delivered) => *sending.delivered.get_or_insert(0) += delivered,
            Err(refusal) => {
                sending.refusal.get_or_insert(refusal);
            }
        }
        if sending.left > 0 {
            return;
        }
        let Sending { id, batch, delivered, refusal, .. } = sendings.remove(at);
        let ticket = Ticket { id, batch, ..Ticket::default() };
        match refusal.filter(|_| delivered.is_none()) {
            Some(refusal) => self.refuse(key, &ticket, refusal),
            None => {
                let delivered = delivered.unwrap_or(0);
                self.reply(key, &ticket, Reply::Send { delivered });
            }
        }
    }

    fn send_to_connection(
        &mut self,
        key: ConnectionKey,
        name: &str,
        ask: PublishAsk,
        ticket: Ticket,
    ) {
        let to = ConnectionName::parse(name).filter(|to| self.may_hold(to));
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let Some(to) = to else { return self.refuse(key, &ticket, no_such_connection()) };
        connection.unanswered += 1;
        let author = Author {
            user: connection.identity.user.clone(),
            connection: Arc::clone(&connection.name),
            address: ConnectionAddress { core: self.core, key },
        };
        let tenant = connection.identity.tenant;
        let direct = Direct { to, tenant, author, ask, ticket };
        if to.node == self.broker.tag() {
            self.outbound.send(to.core, ToConnection::Direct(Box::new(direct)));
        } else {
            self.send_elsewhere(direct);
        }
    }

    /// Whether one of this name may be on a core of this node, or on another node.
    fn may_hold(&self, name: &ConnectionName) -> bool {
        match name.node == self.broker.tag() {
            true => name.core.0 < self.cores,
            false => self.broker.is_there(),
        }
    }

    /// On the core of the connection that a message is for.
    pub(in crate::shard) fn on_direct(&mut self, direct: Direct) {
        let Direct { to, tenant, author, ask, ticket } = direct;
        let from = author.address;
        let now = self.outbound.now;
        let delivered = self.find_direct(&to, tenant).map(|found| {
            let draft = ask.into_draft(found.room.clone(), ("".into(), 0), author, now);
            self.offer_direct(found, Draft { exclude_self: false, ..draft })
        });
        let message = ToConnection::Directed { connection: from.key, ticket, delivered };
        self.outbound.send(from.core, message);
    }

    /// The connection of this core that has that name, if it is one of the tenant's.
    pub(in crate::shard) fn find_direct(
        &self,
        name: &ConnectionName,
        tenant: TenantId,
    ) -> Option<Found> {
        let slot = self.outbound.slots.get(name.index as usize)?;
        let connection = slot.connection.as_deref().filter(|connection| {
            let secret = connection.secret;
            ConnectionName::new(self.broker.tag(), self.core, name.index, secret) == *name
                && connection.identity.tenant == tenant
                && connection.welcomed
        })?;
        let user = connection.identity.user.as_deref().unwrap_or(&connection.name);
        let room = RoomKey::new(tenant, RoomName::user(user).ok()?);
        Some(Found { key: connection.key, form: connection.form, room })
    }

    /// Offers a connection a message that is in no room's sequence. Whether its queue took it.
    pub(in crate::shard) fn offer_direct(&mut self, to: Found, draft: Draft) -> bool {
        let Found { key, form, room } = to;
        let tag = std::rc::Rc::new(RoomTag {
            room,
            epoch: Arc::clone(&draft.epoch),
            slow_consumer: SlowConsumer::DropNewest,
            guaranteed: false,
        });
        let mut forms = FormSet::default();
        forms.insert(form);
        let publication = Arc::new(Publication::new(draft, forms, &mut self.press));
        let label = Label::of(&publication, &tag, 0);
        let budget = &self.outbound.pool.budget;
        let run = single_run(&mut self.press, &publication, form, label, budget);
        match self.outbound.offer_run(key, &run) {
            Offer::Taken => return true,
            Offer::Withheld => {}
            Offer::Overflow => self.close(key, CloseReason::SlowConsumer),
            Offer::Overload => self.close(key, CloseReason::Overloaded),
        }
        false
    }

    /// What became of a message for a connection.
    pub(in crate::shard) fn on_directed(
        &mut self,
        key: ConnectionKey,
        ticket: &Ticket,
        outcome: Result<bool, Refusal>,
    ) {
        self.note_answered(key);
        match outcome {
            Ok(taken) => self.reply(key, ticket, Reply::Send { delivered: taken.into() }),
            Err(refusal) => self.refuse(key, ticket, refusal),
        }
    }
}

/// None of the tenant's is called so.
pub(in crate::shard) fn no_such_connection() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such connection")
}
