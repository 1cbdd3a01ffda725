//! `publish` and `broadcast`: a message for everyone in a room.

use std::sync::Arc;

use crate::clock::Now;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::ErrorCode;
use crate::protocol::command::{Post, Publish};
use crate::protocol::event::{Place, Published, Reply};
use crate::room::filter::Audience;
use crate::room::home::{Accepted, Guard, KEYS_ARE_FULL, PublishRequest};
use crate::room::hub::{Delivery, Item, RoomIndex};
use crate::room::name::{RoomKey, RoomName};
use crate::room::publication::{Author, Draft, FormSet, Publication};
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::ask::{PublishAsk, What};
use crate::shard::broker::{Outgoing, Way};
use crate::shard::identity::{Identity, Right};
use crate::shard::message::{AnswerEffect, Asker, Ticket, ToHub};
use crate::shard::receipt::{Waiting, Word};

impl PublishAsk {
    pub(super) fn new(post: Post<'_>) -> Self {
        let owned = |text: crate::protocol::command::Text<'_>| text.into_owned().into_boxed_str();
        Self {
            data: post.data.to_owned(),
            event: post.event.map(owned),
            exclude_self: post.exclude_self,
            transient: post.transient,
            key: post.key.map(owned),
            priority: post.priority,
            ttl_ms: post.ttl_ms,
            filter: post.filter,
            receipt: post.receipt,
            is_send: false,
        }
    }

    /// What is published by that, at a place in a room; whom it is for is said by its filter.
    pub(in crate::shard) fn into_draft(
        self,
        room: RoomKey,
        (epoch, offset): (Arc<str>, u64),
        author: Author,
        now: Now,
    ) -> Draft {
        Draft {
            room,
            epoch,
            offset,
            at_ms: now.unix_ms,
            data: self.data,
            event: self.event,
            author: Some(author),
            exclude_self: self.exclude_self,
            priority: self.priority,
            expires: self.ttl_ms.map(|ttl_ms| now.moment.plus_ms(ttl_ms)),
            published: now.moment.into(),
            audience: None,
        }
    }
}

/// Where a message goes.
#[derive(Debug, Default)]
pub(in crate::shard) struct Audiences {
    pub(in crate::shard) cores: Vec<CoreId>,
    forms: FormSet,
    /// Who may hear it through a pattern; none: everybody, or nobody would.
    pub(in crate::shard) guard: Option<Arc<Guard>>,
}

impl Shard {
    pub(super) fn publish(&mut self, key: ConnectionKey, publish: Publish<'_>, ticket: Ticket) {
        let right = Right::Publish;
        let event = publish.post.event.as_deref();
        let may = |identity: &Identity, name: &RoomName| {
            identity.permit.allows_event(right, name.as_str(), event)
        };
        let Some(room) = self.room_key_if(key, &publish.room, &ticket, may) else { return };
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let index = self.hub.find(&room);
        let joined = index.is_some_and(|index| connection.membership(index).is_some())
            || connection.late_join(&room).is_some();
        let permit = &connection.identity.permit;
        if !joined && !permit.allows_from_outside(right, room.name.as_str()) {
            let refusal = Refusal::new(ErrorCode::NotJoined, "join the room first");
            self.refuse(key, &ticket, refusal);
            return;
        }
        self.causes_deliveries(index);
        let ask = PublishAsk::new(publish.post);
        self.ask(key, room, What::Publish(Box::new(ask)), ticket);
    }

    pub(super) fn broadcast(&mut self, key: ConnectionKey, post: Post<'_>, ticket: Ticket) {
        let Some(connection) = self.outbound.get(key) else { return };
        let room = RoomKey::new(connection.identity.tenant, self.everyone.clone());
        let (permit, event) = (&connection.identity.permit, post.event.as_deref());
        if !permit.allows_event(Right::Broadcast, room.name.as_str(), event) {
            let refusal = Refusal::new(ErrorCode::Forbidden, "not allowed");
            self.refuse(key, &ticket, refusal);
            return;
        }
        self.causes_deliveries(self.hub.find(&room));
        let ask = PublishAsk::new(post);
        self.ask(key, room, What::Publish(Box::new(ask)), ticket);
    }

    /// A client here says something in a room, wherever its home is.
    fn causes_deliveries(&mut self, room: Option<RoomIndex>) {
        let members = room.and_then(|index| self.hub.get(index)).map_or(0, |it| it.members.len());
        self.deliveries_caused += members as u64;
    }

    /// At home.
    pub(super) fn on_publish(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: PublishAsk,
    ) {
        let receipt = ask.receipt.then(|| self.homes.receipts.next());
        match self.place(room, asker, &ticket, ask, receipt) {
            Err(refusal) => {
                self.answer_refusal(room, asker, ticket, refusal);
            }
            Ok(None) => {}
            Ok(Some(Placed { epoch, offset, duplicate, cores, is_send })) => match receipt {
                Some(receipt) if cores > 0 => {
                    let timer = self.receipt_timer(receipt);
                    let waiting = Waiting {
                        room: room.clone(),
                        epoch,
                        offset,
                        asker: asker.clone(),
                        ticket,
                        cores_left: cores,
                        word: Word::Given,
                        delivered: 0,
                        total: 0,
                        timer,
                        is_send,
                        is_partial: false,
                    };
                    self.homes.receipts.insert(receipt, waiting);
                }
                _ if is_send => {
                    let (effect, reply) = (AnswerEffect::Sent { delivered: 0 }, Reply::Done);
                    let ticket = Ticket { id: None, ..ticket };
                    self.answer(room, asker, ticket, reply, effect);
                }
                _ => {
                    let reply = Reply::Publish(Published {
                        room: room.name.as_str(),
                        at: (offset > 0).then_some(Place { epoch: &epoch, offset }),
                        duplicate,
                        receipt: receipt.map(|_| crate::protocol::event::Receipt {
                            delivered: 0,
                            total: 0,
                            partial: false,
                        }),
                    });
                    self.answer_ok(room, asker, ticket, reply);
                }
            },
        }
    }

    /// Gives a message its place in the room and sends it out; nothing if the broker is to give it.
    fn place(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: &Ticket,
        mut ask: PublishAsk,
        receipt: Option<u64>,
    ) -> Result<Option<Placed>, Refusal> {
        let now = self.outbound.now;
        let is_send = ask.is_send;
        let way = self.way(room, ask.transient)?;
        let (epoch, accepted) = self.accept(room, asker, &ask, way)?;
        let (offset, masked) = match accepted {
            Accepted::New { offset, masked } => (offset, masked),
            Accepted::Duplicate(offset) => {
                let placed = Placed { epoch, offset, duplicate: true, cores: 0, is_send };
                return Ok(Some(placed));
            }
        };
        let author = Author {
            user: asker.identity.user.clone(),
            connection: Arc::clone(&asker.name),
            address: asker.address,
        };
        if let Some(masked) = masked {
            ask.data = masked;
        }
        let PublishAsk { transient, ttl_ms, receipt: counts, .. } = ask;
        let (filter, key) = (ask.filter.take(), ask.key.take());
        let draft = ask.into_draft(room.clone(), (Arc::clone(&epoch), offset), author, now);
        if way == Way::Broker {
            self.publish_by_broker(Outgoing {
                asker,
                ticket: ticket.clone(),
                draft,
                filter,
                ttl_ms,
                key,
                counts,
                is_send,
            });
            return Ok(None);
        }
        if transient {
            self.pass_on(&draft, ttl_ms, filter.as_deref());
        }
        let audience = filter.map(|filter| Box::new(Audience::new(*filter)));
        let cores = self.spread(Draft { audience, ..draft }, receipt);
        Ok(Some(Placed { epoch, offset, duplicate: false, cores, is_send }))
    }

    /// Whether somebody may publish, and under which offset if the home gives it; the room's epoch.
    fn accept(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ask: &PublishAsk,
        way: Way,
    ) -> Result<(Arc<str>, Accepted), Refusal> {
        let now = self.outbound.now;
        let permit = &asker.identity.permit;
        let from_outside = room.name.is_reserved()
            || permit.allows_from_outside(Right::Publish, room.name.as_str());
        if !from_outside && !self.homes.rooms.contains_key(room) {
            return Err(Refusal::new(ErrorCode::NotJoined, "join the room first"));
        }
        let request = PublishRequest {
            address: asker.address,
            ip: asker.ip,
            session: asker.session.map(|session| session.0),
            user: asker.identity.user.as_ref(),
            from_outside,
            data: ask.data.as_data(),
            transient: ask.transient || way != Way::Here,
            // The broker knows the keys of all nodes.
            key: ask.key.as_deref().filter(|_| way == Way::Here),
            key_window_ms: self.config.rooms.idempotency_window_ms,
            keys_most: self.config.rooms.idempotency_keys,
        };
        let home = self.home_of(room)?;
        let accepted = home.accept(&request, now);
        let epoch = Arc::clone(&home.epoch);
        if matches!(accepted, Err(KEYS_ARE_FULL)) {
            self.metrics.keys_refused.add(1);
        }
        Ok((epoch, accepted?))
    }

    /// Sends a message out, and keeps it if it has a place; to how many cores.
    pub(in crate::shard) fn spread(&mut self, draft: Draft, receipt: Option<u64>) -> usize {
        let now = self.outbound.now;
        let room = draft.room.clone();
        let compress = self.homes.rooms.get(&room).is_some_and(|home| home.room.config.compress);
        let audiences = self.audiences(&room);
        let forms = if compress { audiences.forms } else { audiences.forms.plain() };
        let publication = Arc::new(Publication::new(draft, forms, &mut self.press));
        if !publication.is_transient() {
            self.keep_publication(&publication);
            let timeout_ms = self.config.rooms.ack_timeout_ms;
            if let Some(home) = self.homes.get_mut(&room) {
                home.expect_acknowledgements(now.moment, timeout_ms);
            }
        }
        self.metrics.published.add(1);
        let cores = audiences.cores.len();
        self.deliver(&publication, receipt, audiences);
        cores
    }

    /// The cores that are to be sent a room's message.
    pub(in crate::shard) fn audiences(&mut self, room: &RoomKey) -> Audiences {
        let mut found = Audiences::default();
        let Some(home) = self.homes.rooms.get(room) else { return found };
        for link in home.room.links() {
            found.cores.push(link.core);
            found.forms.extend(link.forms);
        }
        if let Some(watchers) = self.homes.watchers.get(&room.tenant) {
            let mut is_watched = false;
            watchers.visit(&room.name, |core| {
                is_watched = true;
                if !found.cores.contains(&core) {
                    found.cores.push(core);
                }
                found.forms.extend(self.homes.watcher_forms[core.index()]);
            });
            if is_watched && let Some(home) = self.homes.rooms.get_mut(room) {
                found.guard = home.room.guard();
            }
        }
        found
    }

    /// Sends a message to the cores that have someone to give it to.
    fn deliver(
        &mut self,
        publication: &Arc<Publication>,
        receipt: Option<u64>,
        audiences: Audiences,
    ) {
        for core in audiences.cores {
            let (publication, guard) = (Arc::clone(publication), audiences.guard.clone());
            let delivery = Delivery { publication, receipt, guard };
            self.outbound.send(core, ToHub::Deliver(delivery));
        }
    }

    /// The home has sent a message for those who are here.
    pub(in crate::shard) fn on_deliver(&mut self, delivery: Delivery) {
        match self.hub.find(&delivery.publication.room) {
            Some(index) => self.hub.collect(index, Item::Delivery(delivery)),
            None if self.subscriptions.is_empty() && delivery.receipt.is_none() => {}
            None => {
                let room = delivery.publication.room.clone();
                self.collect_for_subscribers(&room, Item::Delivery(delivery));
            }
        }
    }
}

/// A message has its place.
struct Placed {
    epoch: Arc<str>,
    offset: u64,
    duplicate: bool,
    /// How many cores were sent it.
    cores: usize,
    is_send: bool,
}
