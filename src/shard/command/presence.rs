//! `presence` and `presence.set`: who is in a room, and what they say about themselves.

use std::sync::Arc;

use crate::id::ConnectionKey;
use crate::protocol::ErrorCode;
use crate::protocol::OwnedData;
use crate::protocol::command::{Page, PresenceSet};
use crate::protocol::event::{PresentUser, Reply};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::room::standing::Action;
use crate::shard::Shard;
use crate::shard::ask::{PageAsk, What};
use crate::shard::identity::Right;
use crate::shard::message::{Asker, Ticket};

/// The longest `info`.
const INFO_BYTES: usize = 1_024;

/// A page of the users of a room.
struct PresencePage {
    count: u64,
    users: Vec<(Arc<str>, Option<OwnedData>, u64)>,
    next: Option<Arc<str>>,
}

impl PageAsk {
    pub(super) fn new(limit: u32, after: Option<crate::protocol::command::Text<'_>>) -> Self {
        Self { limit, after: after.map(|after| after.into_owned().into_boxed_str()) }
    }
}

impl Shard {
    pub(super) fn presence(&mut self, key: ConnectionKey, page: Page<'_>, ticket: Ticket) {
        let right = Right::Presence;
        let Some(room) = self.room_key(key, &page.room, right, &ticket) else { return };
        let ask = PageAsk::new(page.limit, page.after);
        self.ask(key, room, What::Presence(ask), ticket);
    }

    pub(super) fn presence_set(
        &mut self,
        key: ConnectionKey,
        set: &PresenceSet<'_>,
        ticket: Ticket,
    ) {
        let right = Right::Presence;
        let Some(room) = self.room_key(key, &set.room, right, &ticket) else { return };
        if set.info.bytes().len() > INFO_BYTES {
            self.refuse(key, &ticket, Refusal::new(ErrorCode::TooLarge, "info is too long"));
            return;
        }
        self.ask(key, room, What::PresenceSet(set.info.to_owned()), ticket);
    }

    /// At home.
    pub(super) fn on_presence(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &PageAsk,
    ) {
        match self.presence_page(room, asker, ask) {
            Ok(page) => {
                let users: Vec<_> = page
                    .users
                    .iter()
                    .map(|(user, info, connections)| PresentUser {
                        user,
                        info: info.as_ref().map(OwnedData::as_data),
                        connections: *connections,
                    })
                    .collect();
                let reply = Reply::Presence {
                    room: room.name.as_str(),
                    count: page.count,
                    users: &users,
                    next: page.next.as_deref(),
                };
                self.answer_ok(room, asker, ticket, reply);
            }
            Err(refusal) => {
                self.answer_refusal(room, asker, ticket, refusal);
            }
        }
    }

    fn presence_page(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ask: &PageAsk,
    ) -> Result<PresencePage, Refusal> {
        let now = self.outbound.now.moment;
        let home = self.homes.get_mut(room).ok_or(Refusal::NO_ROOM)?;
        let joined = home.is_attached(asker.address);
        home.standing(asker.user(), asker.ip, now)
            .may(Action::Presence { joined }, &home.config)
            .map_err(|denied| denied.refusal(now))?;
        let mut page = home.presence().page(ask.after.as_deref(), ask.limit as usize);
        let users = page
            .by_ref()
            .map(|(user, present)| {
                (Arc::clone(user), present.info.clone(), present.connections_of_all_nodes())
            })
            .collect();
        let next = page.next_after().map(Arc::clone);
        Ok(PresencePage { count: home.user_count(), users, next })
    }

    /// At home.
    pub(super) fn on_presence_set(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        info: OwnedData,
    ) {
        let now = self.outbound.now.moment;
        let address = asker.address;
        let home = self.homes.get_mut(room).filter(|home| home.is_attached(address));
        let refusal = match (home, asker.user()) {
            (None, _) => Refusal::new(ErrorCode::NotJoined, "join the room first"),
            (Some(_), None) => Refusal::new(ErrorCode::Forbidden, "anonymous"),
            (Some(home), Some(user)) => {
                home.set_info(user, info, now);
                self.answer_ok(room, asker, ticket, Reply::Done);
                return;
            }
        };
        self.answer_refusal(room, asker, ticket, refusal);
    }
}
