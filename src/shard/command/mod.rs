//! What clients ask for: one file for each command, each with its two sides: the core of the
//! connection, and the home of the room.
//!
//! Invariants: a command with an id is answered exactly once, one without only if it fails; a batch
//! is answered after its last message; commands of a connection for one room reach its home in the
//! order in which they were sent.

mod ack;
mod auth;
mod history;
mod join;
mod leave;
mod moderate;
mod presence;
mod publish;
mod reading;
mod room;
mod send;
mod small;
mod subscribe;
mod token;

pub(super) use auth::{Pending, Threshold};
pub(super) use publish::Audiences;
pub(super) use reading::Progress;
pub(super) use send::{Sending, no_such_connection};
pub(super) use token::LateJoin;

use std::hash::Hash;

use crate::hash;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::event::{Error, Reply};
use crate::protocol::{Bad, CloseReason, Command, Envelope, ErrorCode, Event, RequestId};
use crate::room::name::{RoomKey, RoomName};
use crate::room::refusal::Refusal;

use super::Shard;
use super::ask::What;
use super::identity::{Identity, Right};
use super::message::{Answer, AnswerEffect, Ask, Asker, Ticket, ToConnection, ToHome};
use super::outbound::write_event;

/// A batch that is answered after its last message.
#[derive(Debug)]
pub(super) struct Batch {
    number: u32,
    id: RequestId,
    /// Messages without an answer, and one for the batch while it is read.
    left: u32,
}

/// When to try again, where a refusal that is to say so does not know.
const RETRY_MS: u64 = 1_000;
/// How long bad messages are remembered.
const BAD_WINDOW_MS: u64 = 60_000;

impl Shard {
    /// Carries out a command.
    fn command(&mut self, key: ConnectionKey, envelope: Envelope<'_>, batch: u32) {
        let ticket = Ticket { id: envelope.id, batch, ..Ticket::default() };
        let welcomed = self.outbound.get(key).is_some_and(|connection| connection.welcomed);
        if !welcomed && !matches!(envelope.command, Command::Auth(_) | Command::Ping(_)) {
            let refusal = Refusal::new(ErrorCode::Unauthorized, "wait for welcome");
            self.refuse(key, &ticket, refusal);
            return;
        }
        match envelope.command {
            Command::Auth(auth) => self.auth(key, &auth, ticket),
            Command::Join(join) => self.join(key, *join, ticket),
            Command::Leave(leave) => self.leave_room(key, &leave, ticket),
            Command::Publish(publish) => self.publish(key, publish, ticket),
            Command::Send(send) => self.send_to(key, send, ticket),
            Command::Broadcast(post) => self.broadcast(key, post, ticket),
            Command::Ack(ack) => self.ack(key, &ack, ticket),
            Command::History(history) => self.history(key, history, ticket),
            Command::Presence(page) => self.presence(key, page, ticket),
            Command::PresenceSet(set) => self.presence_set(key, &set, ticket),
            Command::Rooms => self.rooms(key, &ticket),
            Command::StateSet(set) => self.state_set(key, &set, &ticket),
            Command::StateGet => self.state_get(key, &ticket),
            Command::RoomCreate(room) => self.room_create(key, room, ticket),
            Command::RoomUpdate(room) => self.room_update(key, room, ticket),
            Command::RoomDelete(room) => self.room_ask(key, &room.room, What::Delete, ticket),
            Command::RoomInfo(room) => self.room_ask(key, &room.room, What::Info, ticket),
            Command::RoomMembers(page) => self.room_members(key, page, ticket),
            Command::Moderate(moderate) => self.moderate(key, moderate, ticket),
            Command::Subscribe(subscribe) => self.subscribe(key, subscribe, &ticket),
            Command::Unsubscribe(unsubscribe) => self.unsubscribe(key, &unsubscribe, &ticket),
            Command::Batch(_) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, "a batch in a batch");
                self.refuse(key, &ticket, refusal);
            }
            Command::Ping(ping) => self.ping(key, &ping, &ticket),
            Command::Response(response) => self.on_response(key, &response),
            Command::Application(message) => self.application(key, &message, &ticket),
        }
    }

    fn begin_batch(&mut self, key: ConnectionKey, id: RequestId) -> u32 {
        let Some(connection) = self.outbound.get_mut(key) else { return 0 };
        let rare = connection.rare();
        rare.last_batch = rare.last_batch.wrapping_add(1).max(1);
        let number = rare.last_batch;
        rare.batches.push(Batch { number, id, left: 1 });
        number
    }

    fn grow_batch(&mut self, key: ConnectionKey, number: u32) {
        let Some(connection) = self.outbound.get_mut(key).filter(|_| number != 0) else { return };
        if let Some(batch) = connection.rare().batches.iter_mut().find(|it| it.number == number) {
            batch.left += 1;
        }
    }

    /// A message of a batch is answered.
    pub(super) fn done(&mut self, key: ConnectionKey, number: u32) {
        let Some(connection) = self.outbound.get_mut(key).filter(|_| number != 0) else { return };
        let batches = &mut connection.rare().batches;
        let Some(at) = batches.iter().position(|batch| batch.number == number) else { return };
        batches[at].left -= 1;
        if batches[at].left == 0 {
            let batch = batches.remove(at);
            self.outbound.say(key, &Event::Ok { id: &batch.id, reply: Reply::Done });
        }
    }

    /// A message that is no command.
    fn bad(&mut self, key: ConnectionKey, bad: &Bad, batch: u32) {
        self.metrics.bad_messages.add(1);
        self.outbound.say(
            key,
            &Event::Error(Error {
                id: bad.id.as_ref(),
                code: bad.code,
                message: &bad.message,
                retry_after_ms: None,
            }),
        );
        self.done(key, batch);
        self.count_bad(key, CloseReason::BadMessages);
    }

    /// A connection has sent something bad; too much of it within a minute ends the connection.
    pub(super) fn count_bad(&mut self, key: ConnectionKey, reason: CloseReason) {
        let now = self.outbound.now.moment;
        let most = self.config.limits.bad_messages;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let rare = connection.rare();
        if rare.bad_messages == 0 || now.since_ms(rare.bad_since) >= BAD_WINDOW_MS {
            rare.bad_messages = 0;
            rare.bad_since = now;
        }
        rare.bad_messages = rare.bad_messages.saturating_add(1);
        if rare.bad_messages >= most {
            self.close(key, reason);
        }
    }

    /// Answers a command that this core has carried out by itself.
    pub(super) fn reply(&mut self, key: ConnectionKey, ticket: &Ticket, reply: Reply<'_>) {
        if let Some(id) = &ticket.id {
            self.outbound.say(key, &Event::Ok { id, reply });
        }
        self.done(key, ticket.batch);
    }

    /// Answers a command that this core has refused.
    pub(super) fn refuse(&mut self, key: ConnectionKey, ticket: &Ticket, refusal: Refusal) {
        self.outbound.say(key, &error(ticket, refusal));
        self.done(key, ticket.batch);
    }

    /// The name of a room that a client wrote, and of which it may do that; else it is told.
    fn room_key(
        &mut self,
        key: ConnectionKey,
        text: &str,
        right: Right,
        ticket: &Ticket,
    ) -> Option<RoomKey> {
        self.room_key_if(key, text, ticket, |identity, name| identity.may(right, name))
    }

    /// The same, where `may` says whether.
    fn room_key_if(
        &mut self,
        key: ConnectionKey,
        text: &str,
        ticket: &Ticket,
        may: impl FnOnce(&Identity, &RoomName) -> bool,
    ) -> Option<RoomKey> {
        let identity = &self.outbound.get(key)?.identity;
        let refusal = match RoomName::parse(text) {
            Ok(name) if !self.homes.namespaces.admit(identity.tenant, &name) => {
                Refusal::new(ErrorCode::InvalidRoom, "no namespace of this server")
            }
            Ok(name) if may(identity, &name) => {
                return Some(RoomKey::new(identity.tenant, name));
            }
            Ok(_) => Refusal::new(ErrorCode::Forbidden, "not allowed"),
            Err(_) => Refusal::new(ErrorCode::InvalidRoom, "no name that a room can have"),
        };
        self.refuse(key, ticket, refusal);
        None
    }

    /// The core that is the authority over a room, a user's connections, or a session.
    pub(super) fn home_core(&self, name: &impl Hash) -> CoreId {
        hash::home(self.seed, name, self.cores)
    }

    /// Hands a command to the room's home.
    pub(super) fn ask(
        &mut self,
        key: ConnectionKey,
        room: RoomKey,
        what: What,
        mut ticket: Ticket,
    ) {
        let home = self.home_core(&room);
        let Some(connection) = self.outbound.get_mut(key) else { return };
        connection.unanswered += 1;
        ticket.is_long = what.has_long_answer();
        connection.awaits_long |= ticket.is_long;
        if let Some(join) = connection.late_join(&room) {
            join.behind.push((what, ticket));
            return;
        }
        let asker = connection.asker(self.core);
        self.outbound.send(home, ToHome::Ask(Box::new(Ask { room, asker, ticket, what })));
    }

    /// A hub asks.
    pub(super) fn on_ask(&mut self, ask: Ask) {
        let room = ask.room.clone();
        let Some(ask) = self.govern_by_broker(ask) else {
            self.tend(&room);
            return;
        };
        let Some(ask) = self.found_by_broker(ask) else {
            self.tend(&room);
            return;
        };
        let Ask { room, asker, ticket, what } = ask;
        match what {
            What::Join(join) => self.on_join(&room, &asker, ticket, &join, false),
            What::Leave => self.on_leave(&room, &asker, ticket),
            What::Publish(publish) => self.on_publish(&room, &asker, ticket, *publish),
            What::Ack(ack) => self.on_ack_asked(&room, &asker, ticket, &ack),
            What::History(history) => self.on_history(&room, &asker, ticket, &history),
            What::Presence(page) => self.on_presence(&room, &asker, ticket, &page),
            What::PresenceSet(info) => self.on_presence_set(&room, &asker, ticket, info),
            What::Create(patch, may_create) => {
                self.on_create(&room, &asker, ticket, &patch, &may_create);
            }
            What::Update(patch) => self.on_update(&room, &asker, ticket, &patch),
            What::Delete => self.on_delete(&room, &asker, ticket),
            What::Info => self.on_info(&room, &asker, ticket),
            What::Members(page) => self.on_members(&room, &asker, ticket, &page),
            What::Moderate(moderate) => self.on_moderate(&room, &asker, ticket, &moderate),
        }
        self.tend(&room);
    }

    /// Tells a hub what came of a command.
    pub(in crate::shard) fn answer_ok(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        reply: Reply<'_>,
    ) {
        self.answer(room, asker, ticket, reply, AnswerEffect::None);
    }

    /// Tells a hub what came of a command, and what to do about it.
    pub(in crate::shard) fn answer(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        reply: Reply<'_>,
        effect: AnswerEffect,
    ) {
        let frame = answer_frame(&ticket, asker, reply);
        self.answer_frame(room, asker, ticket, frame, effect);
    }

    /// Tells a hub why a command was refused.
    pub(in crate::shard) fn answer_refusal(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        refusal: Refusal,
    ) {
        self.answer_refusal_with(room, asker, ticket, refusal, AnswerEffect::None);
    }

    /// Tells a hub why a command was refused, and what to do about it.
    pub(in crate::shard) fn answer_refusal_with(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        refusal: Refusal,
        effect: AnswerEffect,
    ) {
        let mut frame = Vec::new();
        let effect = if ticket.send == 0 {
            write_event(&error(&ticket, refusal), asker.form.codec, &mut frame);
            effect
        } else {
            AnswerEffect::NotSent(refusal)
        };
        self.answer_frame(room, asker, ticket, frame, effect);
    }

    fn answer_frame(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        frame: Vec<u8>,
        effect: AnswerEffect,
    ) {
        let answer = Answer {
            room: room.clone(),
            connection: asker.address.key,
            ticket,
            frame: frame.into_boxed_slice(),
            effect,
        };
        self.outbound.send(asker.address.core, ToConnection::Answer(Box::new(answer)));
    }

    /// A home answers.
    pub(super) fn on_answer(&mut self, answer: Answer) {
        let Answer { room, connection: key, ticket, frame, effect } = answer;
        self.note_answer(key, ticket.is_long);
        self.spare(key);
        match effect {
            AnswerEffect::None => self.outbound.push_bytes(key, &frame),
            AnswerEffect::Joined(joined) => self.on_joined(key, &room, *joined, frame),
            AnswerEffect::NotJoined { wrong_password } => {
                self.on_not_joined(key, &room, &frame);
                if wrong_password {
                    self.count_bad(key, CloseReason::AuthFailed);
                }
            }
            AnswerEffect::Left => self.on_left(key, &room, &frame),
            AnswerEffect::Acknowledged { offset } => {
                self.on_acknowledged(key, &room, offset, &frame);
            }
            AnswerEffect::Sent { delivered } => return self.on_sent(key, &ticket, Ok(delivered)),
            AnswerEffect::NotSent(refusal) => return self.on_sent(key, &ticket, Err(refusal)),
        }
        self.done(key, ticket.batch);
    }
}

/// The answer to a command, if one is wanted.
pub(in crate::shard) fn answer_frame(ticket: &Ticket, asker: &Asker, reply: Reply<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    if let Some(id) = &ticket.id {
        write_event(&Event::Ok { id, reply }, asker.form.codec, &mut frame);
    }
    frame
}

/// The error that says why a command was refused.
fn error(ticket: &Ticket, refusal: Refusal) -> Event<'_> {
    let unnamed = refusal.code.has_retry_after().then_some(RETRY_MS);
    Event::Error(Error {
        id: ticket.id.as_ref(),
        code: refusal.code,
        message: refusal.message,
        retry_after_ms: refusal.retry_after_ms.or(unnamed),
    })
}

impl Asker {
    /// Its user's name; none: anonymous.
    pub(super) fn user(&self) -> Option<&str> {
        self.identity.user.as_deref()
    }
}
