//! `auth`: the first message of a connection that has to say who it is, and the refreshing of a
//! credential that runs out.
//!
//! Invariants: at most one credential of a connection is being judged; whoever has shown a good one
//! refreshes it by the next, be they welcomed yet or not; a refresh changes either all
//! that follows from the identity or nothing; the credential itself is forgotten with its verdict.

use std::sync::Arc;

use crate::auth::{self, Accepted, Zeroed};
use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::protocol::command::Auth;
use crate::protocol::event::Reply;
use crate::protocol::{CloseReason, ErrorCode, Event, LeftReason, Secret};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::shard::connection::Membership;
use crate::shard::door::Denied;
use crate::shard::effect::Failure;
use crate::shard::identity::{Identity, Right};
use crate::shard::message::{Ticket, ToHome};
use crate::shard::{Alarm, Later, Shard};
use crate::wheel::Timer;

/// Nobody is to blame, and it may be shown again.
pub(super) const LATER: Refusal = Refusal {
    code: ErrorCode::Unavailable,
    message: "the credential cannot be judged now",
    retry_after_ms: Some(1_000),
};

/// A connection that has not said yet who it is.
#[derive(Debug)]
pub(in crate::shard) struct Threshold {
    pub(in crate::shard) later: Later,
    /// The room of the request's path.
    pub(in crate::shard) room: Option<String>,
    /// The session that it wants back.
    pub(in crate::shard) session: Option<Secret<'static>>,
    /// The end of its time.
    pub(in crate::shard) timer: Timer,
}

/// A credential that is being judged.
#[derive(Debug)]
pub(in crate::shard) struct Pending {
    secret: Zeroed,
    ticket: Ticket,
}

impl Shard {
    pub(super) fn auth(&mut self, key: ConnectionKey, auth: &Auth<'_>, ticket: Ticket) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        if self.door.gate.is_none() {
            self.answer_auth(key, &ticket);
            return;
        }
        if connection.rare.as_ref().is_some_and(|rare| rare.auth.is_some()) {
            let refusal = Refusal::new(ErrorCode::LimitExceeded, "a credential is being judged");
            self.refuse(key, &ticket, refusal);
            return;
        }
        let secret = Zeroed::copy_of(auth.token.expose().as_bytes());
        connection.rare().auth = Some(Box::new(Pending { secret, ticket }));
        self.judge_again(key);
    }

    /// Judges the credential that a connection has shown.
    pub(in crate::shard) fn judge_again(&mut self, key: ConnectionKey) {
        let now = self.outbound.now;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let is_known = connection.identity.is_known;
        let Some(rare) = connection.rare.as_mut() else { return };
        let Some(pending) = rare.auth.take() else { return };
        let wanted = rare.threshold.as_ref().and_then(|it| it.later.tenant.clone());
        let text = std::str::from_utf8(pending.secret.expose()).unwrap_or_default();
        let proof = Self::proof(text, wanted.as_deref());
        let judged = self.door.judge(now, key, &proof, &mut self.outbound.effects);
        match judged {
            None => {
                if let Some(connection) = self.outbound.get_mut(key) {
                    connection.rare().auth = Some(pending);
                }
            }
            Some(Ok(accepted)) if is_known => self.refresh(key, &accepted, &pending.ticket),
            Some(Ok(accepted)) => self.come_in(key, &accepted, &pending.ticket),
            Some(Err(refusal)) => self.refuse_credential(key, refusal, &pending.ticket),
        }
    }

    fn refuse_credential(&mut self, key: ConnectionKey, refusal: auth::Refusal, ticket: &Ticket) {
        if refusal.is_temporary() {
            self.refuse(key, ticket, LATER);
            return;
        }
        let address = self.outbound.get(key).and_then(|connection| connection.address);
        self.outbound.effects.failures.push(Failure { address, refusal });
        self.close(key, CloseReason::AuthFailed);
    }

    /// The first credential is good.
    fn come_in(&mut self, key: ConnectionKey, accepted: &Arc<Accepted>, ticket: &Ticket) {
        let Some(connection) = self.outbound.get_mut(key).filter(|it| it.is_open()) else { return };
        let threshold = connection.rare.as_mut().and_then(|rare| rare.threshold.take());
        let Some(threshold) = threshold else { return };
        self.wheel.cancel(threshold.timer);
        let page = threshold.later.page.as_ref();
        if let Err(denied) = self.door.check(self.outbound.now, accepted, page, &self.tenants) {
            let reason = match denied {
                Denied::Suspended => CloseReason::Suspended,
                Denied::TenantFull | Denied::CredentialFull => CloseReason::ConnectionLimit,
                Denied::Banned => CloseReason::Banned,
                Denied::Page | Denied::Credential(_) => CloseReason::AuthFailed,
            };
            self.close(key, reason);
            return;
        }
        self.identify(key, Identity::of(accepted));
        self.answer_auth(key, ticket);
        if self.is_in(key) {
            self.arrive(key, threshold.room, threshold.session.as_ref());
        }
    }

    /// Another credential for a connection that is in.
    fn refresh(&mut self, key: ConnectionKey, accepted: &Arc<Accepted>, ticket: &Ticket) {
        let Some(connection) = self.outbound.get_mut(key).filter(|it| it.is_open()) else { return };
        let identity = Identity::of(accepted);
        if !identity.same_user(&connection.identity) {
            let refusal = Refusal::new(ErrorCode::Forbidden, "another user's, or another tenant's");
            self.refuse(key, ticket, refusal);
            return;
        }
        if !connection.identity.passes_place_to(&identity) {
            let message = "this credential has as many connections as it may";
            self.refuse(key, ticket, Refusal::new(ErrorCode::LimitExceeded, message));
            return;
        }
        connection.identity = Arc::new(identity);
        connection.forget_rare();
        self.watch_expiry(key);
        self.answer_auth(key, ticket);
        self.end_what_is_not_allowed(key);
        self.end_notices(key);
    }

    fn answer_auth(&mut self, key: ConnectionKey, ticket: &Ticket) {
        let Some(connection) = self.outbound.get(key) else { return };
        let identity = Arc::clone(&connection.identity);
        let reply =
            Reply::Auth { user: identity.user.as_deref(), expires_at_ms: identity.expires_at_ms };
        self.reply(key, ticket, reply);
    }

    /// Takes a connection out of what its identity does not allow it any more, but for rooms of which
    /// it has shown a token.
    fn end_what_is_not_allowed(&mut self, key: ConnectionKey) {
        let Some(connection) = self.outbound.get(key) else { return };
        let (identity, hub) = (Arc::clone(&connection.identity), &self.hub);
        let rooms = connection.rooms.iter().filter(|it| !it.implicit && !it.by_token);
        let names =
            rooms.filter_map(|membership| hub.get(membership.room).map(|it| it.key.clone()));
        let ended: Vec<RoomKey> = names.filter(|it| !identity.may(Right::Join, &it.name)).collect();
        for room in ended {
            let home = self.home_core(&room);
            self.outbound.send(home, ToHome::Withdraw { room, connection: key });
        }
        self.end_patterns(key, &identity);
    }

    /// Tells a connection no more of who comes and goes where its identity does not allow it any more.
    fn end_notices(&mut self, key: ConnectionKey) {
        let Some(connection) = self.outbound.get(key) else { return };
        let (identity, hub) = (Arc::clone(&connection.identity), &self.hub);
        let ends = |it: &&Membership| {
            let room = hub.get(it.room);
            room.is_some_and(|room| {
                room.members.get(it.place as usize).is_some_and(|member| member.presence)
                    && !identity.may(Right::Presence, &room.key.name)
            })
        };
        let rooms: Vec<_> = connection.rooms.iter().filter(ends).map(|it| it.room).collect();
        if rooms.is_empty() {
            return;
        }
        for index in rooms {
            // What was told before the refresh still is.
            self.settle_room(index);
            let membership = self.outbound.get_mut(key).and_then(|it| it.membership(index));
            let Some(place) = membership.map(|it| it.place as usize) else { continue };
            let room = self.hub.get_mut(index);
            if let Some(member) = room.and_then(|room| room.members.get_mut(place)) {
                member.presence = false;
            }
        }
        self.session_changed(key);
    }

    /// At a room's home: a connection's identity does not allow it to be there any more. By the
    /// way of all answers, so that a join that was on its way ends, too.
    pub(in crate::shard) fn on_withdraw(
        &mut self,
        from: CoreId,
        room: &RoomKey,
        key: ConnectionKey,
    ) {
        let address = ConnectionAddress { core: from, key };
        if self.homes.get_mut(room).is_some_and(|home| home.is_attached(address)) {
            self.expel(room, vec![address], LeftReason::PermissionRevoked, None);
        }
        self.tend(room);
    }

    fn end_patterns(&mut self, key: ConnectionKey, identity: &Identity) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let Some(rare) = connection.rare.as_mut() else { return };
        let allowed = |pattern: &str| identity.permit.allows(Right::Subscribe, pattern);
        let (kept, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut rare.patterns)
            .into_iter()
            .partition(|subscription| allowed(subscription.pattern.as_str()));
        rare.patterns = kept;
        for subscription in ended {
            self.drop_pattern(identity.tenant, &subscription.pattern, key.index);
            let (room, reason) = (subscription.pattern.as_str(), LeftReason::PermissionRevoked);
            self.outbound.say(key, &Event::Left { room, reason, by: None });
        }
    }

    /// A connection that has to say who it is: it is told so, and has its time for it.
    pub(in crate::shard) fn ask_who(
        &mut self,
        key: ConnectionKey,
        later: Later,
        room: Option<String>,
        session: Option<Secret<'static>>,
    ) {
        let within_ms = self.config.auth.timeout_ms;
        let at = self.outbound.now.moment.plus_ms(within_ms);
        let timer = self.wheel.insert(at, Alarm::Door(key));
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let threshold = Threshold { later, room, session, timer };
        connection.rare().threshold = Some(Box::new(threshold));
        self.outbound.say(key, &Event::AuthRequired { within_ms });
    }

    /// The time to say who one is, is over.
    pub(in crate::shard) fn on_door_alarm(&mut self, key: ConnectionKey) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let threshold = connection.rare.as_mut().and_then(|rare| rare.threshold.take());
        if threshold.is_some() {
            self.close(key, CloseReason::AuthTimeout);
        }
    }
}
