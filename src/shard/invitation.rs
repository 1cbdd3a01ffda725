//! Invitations on their way to all connections of a user: to those that are there by the user's
//! reserved room, and to later ones when they are welcomed. Where there is a broker, it takes them to all
//! nodes, and remembers them.
//!
//! Invariants: what is remembered of a user is bounded, and so are the users; the invitation itself
//! is the room's, so one that is forgotten here still lets in. It goes when the user comes in by
//! whatever way, is banned, or the room ends. A connection that is welcomed at that
//! very moment may hear of it twice.

use std::sync::Arc;

use crate::hash::{Map, Seed};
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::event::RoomChange;
use crate::protocol::{Codec, Event};
use crate::room::broker::ToBroker;
use crate::room::charter::Moderation;
use crate::room::invited::Invited;
use crate::room::name::{RoomKey, RoomName};

use super::Shard;
use super::message::{ToConnection, ToHub, ToUser};
use super::outbound::write_event;

/// Invitations that are remembered of a user.
const PER_USER_MAX: usize = 100;
/// Users of whom any are remembered, on one core.
const USERS_MAX: usize = 100_000;

/// What the users whose reserved rooms live here have been invited to.
#[derive(Debug)]
pub(super) struct Invitations {
    by_user: Map<RoomKey, Vec<Arc<Invited>>>,
}

impl Invitations {
    pub(super) fn new(seed: Seed) -> Self {
        Self { by_user: Map::with_hasher(seed) }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }
}

fn event(invited: &Invited) -> Event<'_> {
    let change = RoomChange::Invited { by: invited.by.as_deref(), role: invited.role };
    Event::Room { room: invited.room.as_str(), change }
}

fn frame(invited: &Invited, codec: Codec) -> Vec<u8> {
    let mut frame = Vec::new();
    write_event(&event(invited), codec, &mut frame);
    frame
}

impl Shard {
    /// At the room's home, where that was decided: tells the user's, here or on all nodes.
    pub(super) fn send_invitation(
        &mut self,
        room: &RoomKey,
        done: &Moderation,
        by: Option<&Arc<str>>,
    ) {
        let Some(Ok(user)) = done.target.user().map(RoomName::user) else { return };
        let Moderation { role, until, .. } = *done;
        let invited = Invited { room: room.name.clone(), by: by.cloned(), role, until };
        let user = RoomKey::new(room.tenant, user);
        if self.broker.is_there() {
            return self.tell_broker(ToBroker::Invite { user, invited: Box::new(invited) });
        }
        let home = self.home_core(&user);
        let message = ToUser::Invite { user, invited: Arc::new(invited) };
        self.outbound.send(home, message);
    }

    /// At the room's home: the user has come, or may not any more. The broker finds that out by itself.
    pub(super) fn withdraw_invitation(&mut self, room: &RoomKey, user: &str) {
        if self.broker.is_there() {
            return;
        }
        let Ok(user) = RoomName::user(user) else { return };
        let user = RoomKey::new(room.tenant, user);
        let home = self.home_core(&user);
        self.outbound.send(home, ToUser::Uninvite { user, room: room.name.clone() });
    }

    /// At the home of a room that ends: nobody is invited to it any more.
    pub(super) fn withdraw_invitations(&mut self, room: &RoomKey) {
        let Some(home) = self.homes.get_mut(room) else { return };
        let invited: Vec<_> = home.members.invited().cloned().collect();
        for user in invited {
            self.withdraw_invitation(room, &user);
        }
    }

    /// At the user's home, where there is no broker to remember it: an invitation.
    pub(super) fn on_invite(&mut self, user: &RoomKey, invited: &Arc<Invited>) {
        let now_ms = self.outbound.now.unix_ms;
        let by_user = &mut self.invitations.by_user;
        if by_user.len() < USERS_MAX || by_user.contains_key(user) {
            let list = by_user.entry(user.clone()).or_default();
            list.retain(|it| it.room != invited.room && !it.is_over(now_ms));
            if list.len() >= PER_USER_MAX {
                list.remove(0);
            }
            list.push(Arc::clone(invited));
        }
        self.spread_invitation(user, invited);
    }

    /// At the user's home: tells the cores where the user is.
    pub(super) fn spread_invitation(&mut self, user: &RoomKey, invited: &Arc<Invited>) {
        let Some(home) = self.homes.get_mut(user) else { return };
        for link in home.links() {
            let (user, invited) = (user.clone(), Arc::clone(invited));
            self.outbound.send(link.core, ToHub::Invited { user, invited });
        }
    }

    /// At the user's home: an invitation was used or taken back.
    pub(super) fn on_uninvite(&mut self, user: &RoomKey, room: &RoomName) {
        if let Some(list) = self.invitations.by_user.get_mut(user) {
            list.retain(|it| it.room != *room);
            if list.is_empty() {
                self.invitations.by_user.remove(user);
            }
        }
    }

    /// On a core where the user is.
    pub(super) fn on_invited(&mut self, user: &RoomKey, invited: &Invited) {
        let Some(index) = self.hub.find(user) else { return };
        let Some(room) = self.hub.get(index) else { return };
        let members: Vec<_> =
            room.members.iter().map(|it| (it.connection, it.form.codec)).collect();
        for (connection, codec) in members {
            if let Some(key) = self.outbound.key_at(connection) {
                self.tell(key, &frame(invited, codec));
            }
        }
    }

    /// A connection has been welcomed: it is told what its user is invited to.
    pub(super) fn greet(&mut self, key: ConnectionKey, user: RoomKey, codec: Codec) {
        if self.broker.is_there() {
            return self.tell_broker(ToBroker::Greet { user, connection: key });
        }
        let home = self.home_core(&user);
        self.outbound.send(home, ToUser::Greet { user, connection: key, codec });
    }

    /// The broker remembers an invitation of a connection's user.
    pub(super) fn on_remembered(&mut self, key: ConnectionKey, invited: &Invited) {
        if !invited.is_over(self.outbound.now.unix_ms) {
            self.outbound.say(key, &event(invited));
        }
    }

    /// At the user's home: a connection has been welcomed.
    pub(super) fn on_greet(
        &mut self,
        from: CoreId,
        user: &RoomKey,
        connection: ConnectionKey,
        codec: Codec,
    ) {
        let now_ms = self.outbound.now.unix_ms;
        let Some(list) = self.invitations.by_user.get_mut(user) else { return };
        list.retain(|it| !it.is_over(now_ms));
        let frames: Vec<u8> = list.iter().flat_map(|it| frame(it, codec)).collect();
        if list.is_empty() {
            self.invitations.by_user.remove(user);
        } else {
            let frame = frames.into_boxed_slice();
            self.outbound.send(from, ToConnection::Notify { connection, frame });
        }
    }
}
