//! `room.invite`, `.ban`, `.unban`, `.mute`, `.unmute`, `.kick`, `.role`.

use std::sync::Arc;

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::protocol::command::{Moderate, ModerationTarget};
use crate::protocol::event::{Reply, RoomChange};
use crate::protocol::{ErrorCode, Event, LeftReason, ModerationAction, Role};
use crate::room::charter::{Entry, Moderation};
use crate::room::home::HomeRoom;
use crate::room::members::{AddressBan, Banned, Full, Members};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::room::standing::{Action, Until};
use crate::shard::Shard;
use crate::shard::ask::{ModerateAsk, Target, What};
use crate::shard::identity::Right;
use crate::shard::message::{Asker, Ticket, ToConnection};
use crate::shard::outbound::write_event;

const LIST_IS_FULL: Refusal = Refusal::new(ErrorCode::LimitExceeded, "the room's list is full");

impl Shard {
    pub(super) fn moderate(&mut self, key: ConnectionKey, moderate: Moderate<'_>, ticket: Ticket) {
        let target = match moderate.target {
            ModerationTarget::User(user) => Target::User(user.into_owned().into_boxed_str()),
            ModerationTarget::Address(ip) => Target::Address(ip),
        };
        let ask = ModerateAsk {
            action: moderate.action,
            target,
            for_ms: moderate.for_ms,
            role: moderate.role,
            reason: moderate.reason.map(|reason| reason.into_owned().into_boxed_str()),
        };
        self.room_ask(key, &moderate.room, What::Moderate(Box::new(ask)), ticket);
    }

    /// At home.
    pub(super) fn on_moderate(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &ModerateAsk,
    ) {
        let now = self.outbound.now;
        let outcome = self.permitted(room, asker, ask).and_then(|(home, below)| {
            carry_out(&mut home.members, ask, below, now).map_err(|Full| LIST_IS_FULL)
        });
        if let Err(refusal) = outcome {
            self.answer_refusal(room, asker, ticket, refusal);
            return;
        }
        if let (Some(user), Some(home)) = (ask.target.user(), self.homes.get_mut(room)) {
            home.settle(user, now.moment);
        }
        self.record_moderation(room, asker, ask);
        self.fulfil_moderation(room, &ask.moderation(now), asker.identity.user.as_ref());
        self.answer_ok(room, asker, ticket, Reply::Done);
    }

    /// What a command would change, where the broker decides.
    pub(in crate::shard) fn draft_moderation(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ask: &ModerateAsk,
    ) -> Result<Vec<Entry>, Refusal> {
        let now = self.outbound.now;
        let (home, below) = self.permitted(room, asker, ask)?;
        home.propose(&ask.target, now, |members| carry_out(members, ask, below, now))
            .map_err(|Full| LIST_IS_FULL)
    }

    /// The room, if the one who asks may do that there, and whom they stand above: those below a role, or
    /// everyone.
    fn permitted(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ask: &ModerateAsk,
    ) -> Result<(&mut HomeRoom, Option<Role>), Refusal> {
        let now = self.outbound.now;
        let home = self.homes.get_mut(room).ok_or(Refusal::NO_ROOM)?;
        let below = permit(home, asker, ask, now)?;
        Ok((home, below))
    }

    /// The lists have changed: does to connections here, and tells them, what follows from it.
    pub(in crate::shard) fn fulfil_moderation(
        &mut self,
        room: &RoomKey,
        moderation: &Moderation,
        by: Option<&Arc<str>>,
    ) {
        let Moderation { action, target, .. } = moderation;
        if let (ModerationAction::Ban, Some(user)) = (action, target.user()) {
            self.withdraw_invitation(room, user);
        }
        match action {
            ModerationAction::Kick => self.send_out(room, target, LeftReason::Kicked, by),
            ModerationAction::Ban => self.send_out(room, target, LeftReason::Banned, by),
            // Where there is a broker, the home that has decided it tells all nodes.
            ModerationAction::Invite if self.broker.is_there() => {}
            ModerationAction::Invite => self.send_invitation(room, moderation, by),
            ModerationAction::Role => {
                self.tell_change(room, moderation, by);
                self.send_out_banned(room, by);
            }
            _ => self.tell_change(room, moderation, by),
        }
    }

    /// Sends out those for whom a ban holds by now, that of a room above, or of their address where they
    /// stood above it and do no more.
    pub(in crate::shard) fn send_out_banned(&mut self, room: &RoomKey, by: Option<&Arc<str>>) {
        let now = self.outbound.now.moment;
        let banned = self.homes.get_mut(room).map(|home| home.outcasts(now));
        self.expel(room, banned.unwrap_or_default(), LeftReason::Banned, by);
    }

    fn send_out(
        &mut self,
        room: &RoomKey,
        target: &Target,
        reason: LeftReason,
        by: Option<&Arc<str>>,
    ) {
        let now = self.outbound.now.moment;
        let Some(home) = self.homes.get_mut(room) else { return };
        // A ban keeps sessions out by itself.
        if let (LeftReason::Kicked, Some(user)) = (reason, target.user()) {
            home.send_out(user, now.plus_ms(self.config.session.ttl_ms), now);
        }
        let connections = match target {
            Target::User(user) => home.connections_of(user),
            // Whoever stands above the one who banned it stays.
            Target::Address(_) => home.outcasts(now),
        };
        self.expel(room, connections, reason, by);
    }

    /// Tells the user's connections in the room what was done to them.
    fn tell_change(&mut self, room: &RoomKey, done: &Moderation, by: Option<&Arc<str>>) {
        let by = by.map(|by| &**by);
        let change = match done.action {
            ModerationAction::Mute => {
                RoomChange::Muted { until_ms: done.until, by, reason: done.reason.as_deref() }
            }
            ModerationAction::Unmute => RoomChange::Unmuted { by },
            ModerationAction::Role => RoomChange::Role { role: done.role.unwrap_or_default(), by },
            ModerationAction::Invite
            | ModerationAction::Kick
            | ModerationAction::Ban
            | ModerationAction::Unban => return,
        };
        let Some(home) = self.homes.get_mut(room) else { return };
        let event = Event::Room { room: room.name.as_str(), change };
        let mut to: Vec<_> = home
            .attached()
            .filter(|(_, it)| it.user.is_some() && it.user.as_deref() == done.target.user())
            .map(|(address, it)| (*address, it.form.codec))
            .collect();
        to.sort_unstable_by_key(|(address, _)| *address);
        for (address, codec) in to {
            let mut frame = Vec::new();
            write_event(&event, codec, &mut frame);
            let frame = frame.into_boxed_slice();
            let message = ToConnection::Notify { connection: address.key, frame };
            self.outbound.send(address.core, message);
        }
    }
}

impl ModerateAsk {
    /// What somebody who is invited becomes.
    fn invites_as(&self) -> Role {
        self.role.unwrap_or(Role::Member)
    }

    /// The same, done at a time.
    pub(in crate::shard) fn moderation(&self, now: Now) -> Moderation {
        Moderation {
            action: self.action,
            target: self.target.clone(),
            until: self.for_ms.map(|for_ms| now.unix_ms.saturating_add(for_ms)),
            role: self.role,
            reason: self.reason.clone(),
        }
    }
}

/// Whether the role in the room, or the credential, allows it; and over whom: those below a role, or
/// everyone.
fn permit(
    home: &HomeRoom,
    asker: &Asker,
    ask: &ModerateAsk,
    now: Now,
) -> Result<Option<Role>, Refusal> {
    let mut standing = home.standing(asker.user(), asker.ip, now.moment);
    let by_right = asker.identity.may(Right::Moderate, &home.key.name);
    if by_right {
        // Where roles are compared it counts as one, and never as the owner's.
        standing.role = standing.role.max(Role::Admin);
    }
    let target = home.role(ask.target.user());
    let allowed = match ask.action {
        ModerationAction::Role => standing.may_give(ask.role.unwrap_or_default(), target),
        ModerationAction::Invite => standing.may_invite(ask.invites_as(), &home.config),
        _ if by_right => standing.may(Action::Moderate, &home.config),
        _ => standing.may_moderate(target, &home.config),
    };
    allowed.map_err(|denied| denied.refusal(now.moment))?;
    Ok((!by_right).then_some(standing.role))
}

/// Changes the room's lists. `below` is whom the one who asks stands above.
fn carry_out(
    members: &mut Members,
    ask: &ModerateAsk,
    below: Option<Role>,
    now: Now,
) -> Result<(), Full> {
    let until =
        ask.for_ms.map_or(Until::Undone, |for_ms| Until::Moment(now.moment.plus_ms(for_ms)));
    let (user, banned) = match &ask.target {
        Target::User(user) => (&**user, Banned::User(user)),
        // Only bans are of addresses.
        Target::Address(ip) => ("", Banned::Address(*ip)),
    };
    match ask.action {
        ModerationAction::Invite => {
            members.invite(user, ask.invites_as(), until, now.moment)?;
        }
        ModerationAction::Ban => match banned {
            Banned::User(user) => _ = members.ban(user, until, now.moment)?,
            Banned::Address(ip) => {
                members.ban_address(ip, AddressBan { until, below }, now.moment)?;
            }
        },
        ModerationAction::Unban => {
            members.unban(banned, now.moment);
        }
        ModerationAction::Mute => members.mute(user, until, now.moment)?,
        ModerationAction::Unmute => {
            members.unmute(user, now.moment);
        }
        ModerationAction::Role => {
            members.set_role(user, ask.role.unwrap_or_default(), now.unix_ms)?;
        }
        ModerationAction::Kick => {}
    }
    Ok(())
}
