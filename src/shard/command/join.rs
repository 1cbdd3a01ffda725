//! `join`: receive a room from here on, and what was missed before.

use std::rc::Rc;

use crate::auth::{self, Zeroed};
use crate::id::ConnectionKey;
use crate::protocol::command::Join;
use crate::protocol::event::{Gap, JoinedRoom, Place, Reply};
use crate::protocol::{ErrorCode, Event, GapReason, LeftReason, Mode, Role};
use crate::room::home::{HomeRoom, JoinRequest, Joining, Recovery};
use crate::room::hub::{Interest, Member, RoomIndex, RoomTag};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::ask::{JoinAsk, Since, What};
use crate::shard::command::answer_frame;
use crate::shard::connection::{Membership, NO_PLACE};
use crate::shard::edict::NOT_ANY_MORE;
use crate::shard::effect::Failure;
use crate::shard::eligible::Reader;
use crate::shard::fanout::single_run;
use crate::shard::identity::Right;
use crate::shard::message::{AnswerEffect, Ask, Asker, Instead, Joined, Loss, Ticket};
use crate::shard::outbound::write_event;
use crate::shard::quota::TOO_MANY_CREATIONS;
use crate::shard::run::{Label, Run};

use super::token::LateJoin;

impl Shard {
    pub(super) fn join(&mut self, key: ConnectionKey, join: Join<'_>, ticket: Ticket) {
        let token = join.token.filter(|_| self.door.gate.is_some());
        let room = match token {
            None => self.room_key(key, &join.room, Right::Join, &ticket),
            // The token stands for the right, too.
            Some(_) => self.room_key_if(key, &join.room, &ticket, |_, _| true),
        };
        let Some(room) = room else { return };
        let events = join.events.map(|events| {
            events.into_iter().map(|event| event.into_owned().into_boxed_str()).collect()
        });
        let ask = JoinAsk {
            interest: Interest { presence: join.presence, events, min_priority: join.min_priority },
            since: join.since.map(|since| Since {
                epoch: since.epoch.into_owned().into_boxed_str(),
                offset: since.offset,
            }),
            password: join.password.map(crate::protocol::Secret::into_owned),
            grant: None,
            may_create: self.may_create(key),
            resumes: false,
            was_kept: false,
        };
        match token {
            None => _ = self.ask_join(key, room, ask, ticket),
            Some(token) => {
                let token = Zeroed::copy_of(token.expose().as_bytes());
                self.join_by_token(key, LateJoin { room, ask, token, ticket, behind: Vec::new() });
            }
        }
    }

    /// Asks a room's home to let a connection in; false if it has too many rooms. It gets by this
    /// nothing that it may not ask for by itself: notices of presence, or history. What its session
    /// has missed it was to get anyway.
    pub(in crate::shard) fn ask_join(
        &mut self,
        key: ConnectionKey,
        room: RoomKey,
        mut ask: JoinAsk,
        ticket: Ticket,
    ) -> bool {
        let home = self.home_core(&room);
        let index = self.hub.enter(&room, home);
        let most = usize::from(self.config.limits.rooms_per_connection);
        let Some(connection) = self.outbound.get_mut(key) else { return false };
        let counted = connection.rooms.iter().filter(|it| !it.implicit).count();
        let full = counted >= most && !room.name.is_reserved();
        ask.interest.presence &= connection.identity.may(Right::Presence, &room.name);
        ask.since = ask
            .since
            .filter(|_| ask.resumes || connection.identity.may(Right::History, &room.name));
        let by_token = ask.grant.is_some();
        match connection.membership(index) {
            Some(membership) => {
                membership.joining += 1;
                membership.by_token |= by_token;
            }
            None if full => {
                self.tidy_room(index);
                let refusal = Refusal::new(ErrorCode::LimitExceeded, "too many rooms are joined");
                self.refuse(key, &ticket, refusal);
                return false;
            }
            None => {
                let implicit = room.name.is_reserved();
                let joining = Membership::joining(index);
                connection.add_room(Membership { implicit, by_token, ..joining });
            }
        }
        if let Some(hub_room) = self.hub.get_mut(index) {
            hub_room.joining += 1;
        }
        self.ask(key, room, What::Join(Box::new(ask)), ticket);
        true
    }

    /// At home, after the broker was asked to make the room: it has, or could not.
    pub(in crate::shard) fn join_founded(&mut self, ask: Ask, is_founded: bool) {
        let room = ask.room.clone();
        if !self.may_still_act(&ask.asker) {
            self.refuse_ask(ask, NOT_ANY_MORE);
        } else if let What::Join(join) = ask.what {
            self.on_join(&room, &ask.asker, ask.ticket, &join, is_founded);
        }
        self.tend(&room);
    }

    /// At home. `is_founded`: the broker has made the room for this.
    pub(super) fn on_join(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &JoinAsk,
        is_founded: bool,
    ) {
        let now = self.outbound.now;
        let recovery = (self.config.limits.recovery_messages, self.config.limits.recovery_bytes);
        let ack_timeout_ms = self.config.rooms.ack_timeout_ms;
        let is_new = !self.homes.rooms.contains_key(room);
        let is_founder = is_new && !self.broker.is_there() && !room.name.is_reserved();
        let request = JoinRequest {
            address: asker.address,
            ip: asker.ip,
            session: asker.session.map(|session| session.0),
            user: asker.identity.user.as_ref(),
            form: asker.form,
            notices: ask.interest.presence,
            password: ask.password.as_ref().map(crate::protocol::Secret::expose),
            resumes: ask.resumes,
            since: ask.since.as_ref().map(|since| (&*since.epoch, since.offset)),
            recovery,
            grant: ask.grant,
            info: asker.identity.presence_info(),
        };
        let home = self.home_to_join(room, asker, ask);
        let outcome = home.and_then(|home| {
            if let (true, Some(since)) = (ask.was_kept, &ask.since) {
                home.forget(&since.epoch);
            }
            if let (true, Some(user)) = (is_founder, asker.user()) {
                // An empty list of members takes one.
                let _ = home.members.set_role(user, Role::Owner, now.unix_ms);
            }
            let joining = home.join(&request, now)?;
            home.expect_acknowledgement_of(request.address, now.moment, ack_timeout_ms);
            Ok(joining)
        });
        if is_founded || (is_new && outcome.is_ok()) {
            ask.may_create.spend();
        }
        // Those who were there are told first: who comes in does not hear of it.
        self.tend(room);
        let joining = match outcome {
            Ok(joining) => joining,
            Err(refusal) => {
                self.refuse_join(room, asker, ticket, ask, refusal);
                return;
            }
        };
        if let Some(user) = &asker.identity.user {
            self.read_if_unread(room, user);
        }
        if let Some(user) = asker.user().filter(|_| joining.was_invited) {
            self.withdraw_invitation(room, user);
        }
        let has_got_a_role = joining.was_invited || matches!(ask.grant, Some(Some(_)));
        if let Some(user) = asker.identity.user.as_ref().filter(|_| has_got_a_role) {
            self.note_entrance(room, user);
        }
        self.answer_joined(room, asker, ticket, ask, joining);
    }

    /// At home: the room that somebody wants in, made if it is not there. Who is in it stays, and a session
    /// comes back, though Redis has become less safe since.
    fn home_to_join(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ask: &JoinAsk,
    ) -> Result<&mut HomeRoom, Refusal> {
        let is_new = !self.homes.rooms.contains_key(room);
        if is_new && ask.resumes && !self.broker.is_there() && !room.name.is_reserved() {
            // A session keeps its rooms: this one was deleted.
            return Err(Refusal::NO_ROOM);
        }
        if is_new && !ask.may_create.reserve(self.outbound.now.moment) {
            return Err(TOO_MANY_CREATIONS);
        }
        // What was decided about it is known once it is there.
        let is_in = self.home_of(room)?.is_attached(asker.address);
        let stays = is_in || ask.resumes || room.name.is_reserved();
        if let Err(refusal) = self.may_open(room)
            && !stays
        {
            if is_new {
                // A persistent one would be there from now on.
                self.end_room(room);
            }
            return Err(refusal);
        }
        self.home_of(room)
    }

    /// At home. A wrong password is counted here, so that nobody escapes by leaving before the answer.
    fn refuse_join(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &JoinAsk,
        refusal: Refusal,
    ) {
        let password = ask.password.as_ref().map(crate::protocol::Secret::expose);
        let wrong_password = self.homes.get_mut(room).is_some_and(|it| it.is_wrong(password));
        if wrong_password {
            let failure = Failure { address: asker.ip, refusal: auth::Refusal::Password };
            self.outbound.effects.failures.push(failure);
        }
        self.answer_not_joined(room, asker, ticket, ask, (refusal, wrong_password));
    }

    /// At home: who wants in is told why not, and who was in before, by their session, that they no longer are.
    pub(in crate::shard) fn answer_not_joined(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &JoinAsk,
        (refusal, wrong_password): (Refusal, bool),
    ) {
        let effect = AnswerEffect::NotJoined { wrong_password };
        match why_out(refusal).filter(|_| ask.resumes) {
            Some(reason) => {
                let event = Event::Left { room: room.name.as_str(), reason, by: None };
                let mut frame = Vec::new();
                write_event(&event, asker.form.codec, &mut frame);
                self.answer_frame(room, asker, ticket, frame, effect);
            }
            None => self.answer_refusal_with(room, asker, ticket, refusal, effect),
        }
    }

    fn answer_joined(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &JoinAsk,
        joining: Joining,
    ) {
        let is_local = self.is_local(room);
        let Some(home) = self.homes.get_mut(room) else { return };
        let (replay, recovered, missing) = match joining.recovery {
            Recovery::Replay(missed) => (missed, true, None),
            Recovery::Rest { from, to, reason, missed } => {
                (missed, false, Some((from, to, reason)))
            }
            Recovery::Owed { from, to, reason } => (Vec::new(), false, Some((from, to, reason))),
            Recovery::Lost { from, to, reason } => {
                (Vec::new(), false, ask.resumes.then_some((from, to, reason)))
            }
            Recovery::None | Recovery::Ahead => (Vec::new(), false, None),
        };
        let epoch = std::sync::Arc::clone(&home.epoch);
        let (offset, user_count) = (home.offset(), home.user_count());
        let guaranteed = home.config.mode == Mode::Guaranteed;
        let at = Place { epoch: &epoch, offset };
        let joined_room = JoinedRoom { room: room.name.as_str(), role: joining.role, at };
        let gap = |(from, to, reason): (u64, u64, GapReason)| {
            let mut frame = Vec::new();
            let event =
                Event::Gap(Gap { room: room.name.as_str(), epoch: &epoch, from, to, reason });
            write_event(&event, asker.form.codec, &mut frame);
            Loss { frame: frame.into_boxed_slice(), reason, count: (to + 1).saturating_sub(from) }
        };
        let instead = replay.first().map(|first| {
            // What was not acknowledged is still owed, and comes piece by piece; else who asks for it
            // is told by the answer, and who resumes by the gap.
            let (from, reason) = match missing {
                Some((from, _, reason)) => (from, reason),
                None => (first.offset, GapReason::HistoryTruncated),
            };
            let is_told = ask.resumes || guaranteed;
            let (recovered, local) = (false, is_local);
            let reply = Reply::Join { joined: joined_room, recovered, user_count, local };
            Box::new(Instead {
                answer: answer_frame(&ticket, asker, reply).into_boxed_slice(),
                gap: is_told.then(|| gap((from, offset, reason))),
            })
        });
        let joined = Joined {
            epoch: std::sync::Arc::clone(&epoch),
            offset,
            role: joining.role,
            recovered,
            is_local,
            slow_consumer: home.config.slow_consumer,
            guaranteed,
            redelivers: joining.redelivers,
            interest: ask.interest.clone(),
            replay,
            gap: missing.filter(|(from, to, _)| from <= to).map(gap),
            instead,
        };
        let reply = Reply::Join { joined: joined_room, recovered, user_count, local: is_local };
        let effect = AnswerEffect::Joined(Box::new(joined));
        self.answer(room, asker, ticket, reply, effect);
    }

    /// The home has let a connection in: from here on it is delivered to.
    pub(super) fn on_joined(
        &mut self,
        key: ConnectionKey,
        room: &RoomKey,
        mut joined: Joined,
        mut frame: Box<[u8]>,
    ) {
        let Some(index) = self.hub.find(room) else { return };
        self.settle_room(index);
        if let Some(instead) = joined.instead.take().filter(|_| !self.has_space(key, &joined)) {
            (joined.recovered, joined.gap) = (false, instead.gap);
            joined.replay.clear();
            frame = instead.answer;
        }
        let Some(hub_room) = self.hub.get_mut(index) else { return };
        hub_room.joining -= 1;
        hub_room.offset = hub_room.offset.max(joined.offset);
        let same = hub_room.tag.as_ref().is_some_and(|tag| {
            tag.epoch == joined.epoch
                && tag.slow_consumer == joined.slow_consumer
                && tag.guaranteed == joined.guaranteed
        });
        if !same {
            hub_room.offset = joined.offset;
            hub_room.tag = Some(Rc::new(RoomTag {
                room: room.clone(),
                epoch: std::sync::Arc::clone(&joined.epoch),
                slow_consumer: joined.slow_consumer,
                guaranteed: joined.guaranteed,
            }));
        }
        if !self.seat(key, index, &joined) {
            // It is gone, and its home has been told.
            self.tidy_room(index);
            return;
        }
        self.outbound.push_bytes(key, &frame);
        if let Some(loss) = &joined.gap {
            self.outbound.push_bytes(key, &loss.frame);
            self.outbound.pool.drops.count(loss.reason, loss.count);
        }
        self.replay(key, index, &joined);
        self.arrived_in(key, room, &joined);
    }

    /// Whether what it missed fits behind what waits for a connection already. Without this a client
    /// that comes back to many rooms would be sent away as a slow one, and again whenever it comes.
    fn has_space(&self, key: ConnectionKey, joined: &Joined) -> bool {
        let Some(slot) = self.outbound.slots.get(key.index as usize) else { return false };
        let Some(connection) = self.outbound.get(key) else { return false };
        let reader =
            Reader { connection, interest: Some(&joined.interest), now: self.outbound.now.moment };
        let missed = joined.replay.iter().filter(|publication| reader.gets(publication));
        let bytes: usize = missed.map(|it| it.written_bytes(connection.form)).sum();
        let most = self.outbound.config.limits.outbox_bytes as usize;
        slot.outbox.pending_bytes() + bytes <= most && !self.outbound.pool.is_over_budget()
    }

    /// Gives a connection its place among the members; false if it is gone.
    fn seat(&mut self, key: ConnectionKey, index: RoomIndex, joined: &Joined) -> bool {
        let Some(connection) = self.outbound.get_mut(key) else { return false };
        let Some(room) = self.hub.get(index) else { return false };
        // Since it asked, its rights may have been narrowed.
        let has_notices =
            joined.interest.presence && connection.identity.may(Right::Presence, &room.key.name);
        let interest = (!joined.interest.is_plain()).then(|| Box::new(joined.interest.clone()));
        let member = Member {
            connection: key.index,
            form: connection.form,
            presence: has_notices,
            interest,
        };
        let Some(membership) = connection.membership(index) else { return false };
        membership.joining -= 1;
        membership.role = joined.role;
        let seen = match membership.kept.take() {
            // Until the gap is known to have arrived, what it tells of is still owed.
            Some(kept) if joined.gap.is_some() => {
                if kept.epoch == joined.epoch {
                    kept.position
                } else {
                    0
                }
            }
            _ => joined.replay.first().map_or(joined.offset, |first| first.offset - 1),
        };
        if membership.place == NO_PLACE {
            membership.position = seen;
            membership.pinged = seen;
            if let Some(place) = self.hub.add(index, member) {
                membership.place = place;
            }
        } else if let Some(hub_room) = self.hub.get_mut(index)
            && let Some(seat) = hub_room.members.get_mut(membership.place as usize)
        {
            *seat = member;
            // What it has asked for once more is owed until it is known to have arrived once more.
            membership.position = membership.position.min(seen);
            membership.pinged = membership.pinged.min(seen);
        }
        self.session_changed(key);
        true
    }

    /// Queues what was missed, before anything live.
    fn replay(&mut self, key: ConnectionKey, index: RoomIndex, joined: &Joined) {
        let Some(tag) = self.hub.get(index).and_then(|room| room.tag.clone()) else { return };
        let now = self.outbound.now.moment;
        for publication in &joined.replay {
            let Some(connection) = self.outbound.get(key) else { return };
            let interest = Some(&joined.interest);
            if !(Reader { connection, interest, now }).takes_again(publication) {
                continue;
            }
            let form = connection.form;
            if publication.expires.is_some_and(|expires| expires <= now) {
                let offset = publication.offset;
                self.outbound.push_gap(key, &tag, (offset, offset), GapReason::Expired);
                continue;
            }
            let label = Label::of(publication, &tag, 0);
            let budget = &self.outbound.pool.budget;
            let run = if publication.offset <= joined.redelivers {
                Run::joined(self.press.message(publication, form.codec, true), label, budget)
            } else {
                single_run(&mut self.press, publication, form, label, budget)
            };
            self.outbound.push_run(key, run);
        }
    }

    /// The home has not let a connection in.
    pub(super) fn on_not_joined(&mut self, key: ConnectionKey, room: &RoomKey, frame: &[u8]) {
        let Some(index) = self.hub.find(room) else { return };
        if let Some(hub_room) = self.hub.get_mut(index) {
            hub_room.joining -= 1;
        }
        if let Some(connection) = self.outbound.get_mut(key) {
            if let Some(membership) = connection.membership(index) {
                membership.joining -= 1;
            }
            connection.rooms.retain(|it| it.joining > 0 || it.place != NO_PLACE);
        }
        self.tidy_room(index);
        if !self.joins_by_name(key, room) {
            self.outbound.push_bytes(key, frame);
        }
        self.arrived_nowhere(key);
    }
}

/// Why a session that comes back is no longer in a room; none: it may be, another time.
fn why_out(refusal: Refusal) -> Option<LeftReason> {
    Some(match refusal.code {
        _ if refusal == Refusal::SENT_OUT => LeftReason::Kicked,
        ErrorCode::Banned => LeftReason::Banned,
        ErrorCode::NotFound => LeftReason::RoomDeleted,
        ErrorCode::Forbidden | ErrorCode::InviteRequired => LeftReason::PermissionRevoked,
        _ => return None,
    })
}
