//! `room.create`, `room.update`, `room.delete`, `room.info`, `room.members`.

use std::rc::Rc;
use std::sync::Arc;

use crate::id::ConnectionKey;
use crate::protocol::command::{Page, RoomConfigure};
use crate::protocol::event::RoomChange;
use crate::protocol::event::{Member, Place, Reply, RoomInfo};
use crate::protocol::{Codec, ErrorCode, Event, GapReason, LeftReason, Mode, Role, RoomPatch};
use crate::record::Deed;
use crate::room::config::ConfigError;
use crate::room::home::HomeRoom;
use crate::room::hub::{RoomIndex, RoomTag};
use crate::room::name::{RoomKey, RoomName};
use crate::room::refusal::Refusal;
use crate::room::standing::Action;
use crate::shard::Shard;
use crate::shard::ask::{MayCreate, PageAsk, What};
use crate::shard::identity::{Identity, Right};
use crate::shard::message::{Asker, Configured, Reborn, Ticket, ToHub};
use crate::shard::outbound::write_event;
use crate::shard::quota::TOO_MANY_CREATIONS;

impl Shard {
    pub(super) fn room_create(
        &mut self,
        key: ConnectionKey,
        room: RoomConfigure<'_>,
        ticket: Ticket,
    ) {
        let right = Right::Create;
        let Some(name) = self.room_key(key, &room.room, right, &ticket) else { return };
        let may_create = self.may_create(key);
        if !may_create.reserve(self.outbound.now.moment) {
            self.refuse(key, &ticket, TOO_MANY_CREATIONS);
            return;
        }
        self.ask(key, name, What::Create(room.config, may_create), ticket);
    }

    pub(super) fn room_update(
        &mut self,
        key: ConnectionKey,
        room: RoomConfigure<'_>,
        ticket: Ticket,
    ) {
        self.room_ask(key, &room.room, What::Update(room.config), ticket);
    }

    pub(super) fn room_members(&mut self, key: ConnectionKey, page: Page<'_>, ticket: Ticket) {
        let what = What::Members(PageAsk::new(page.limit, page.after));
        self.room_ask(key, &page.room, what, ticket);
    }

    /// Hands a command to a room's home, which knows whether the role there allows it.
    pub(super) fn room_ask(&mut self, key: ConnectionKey, room: &str, what: What, ticket: Ticket) {
        let suffices = match what {
            What::Moderate(_) => Right::Moderate,
            What::Update(_) | What::Delete => Right::Configure,
            _ => Right::Join,
        };
        let may = |identity: &Identity, name: &RoomName| {
            identity.may(Right::Join, name) || identity.may(suffices, name)
        };
        if let Some(room) = self.room_key_if(key, room, &ticket, may) {
            self.ask(key, room, what, ticket);
        }
    }

    /// At home.
    pub(super) fn on_create(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        patch: &RoomPatch,
        may_create: &MayCreate,
    ) {
        let now = self.outbound.now;
        let (bounds, salt) = (self.homes.bounds, self.salt());
        let created = if self.homes.rooms.contains_key(room) {
            Err(Refusal::new(ErrorCode::RoomExists, "a room of this name exists"))
        } else {
            self.home_of(room).and_then(|home| {
                home.hold(now.moment);
                let configured = home.configure(patch, &bounds, salt, now.moment);
                configured.map_err(ConfigError::refusal)?;
                if let Some(user) = asker.user() {
                    // An empty list of members takes one.
                    let _ = home.members.set_role(user, Role::Owner, now.unix_ms);
                    home.settle(user, now.moment);
                }
                Ok(())
            })
        };
        if created.is_ok() {
            self.record(room, asker, Deed::Create, |_| {});
            may_create.spend();
        }
        if created.is_err_and(|refusal| refusal.code == ErrorCode::BadRequest) {
            self.end_room(room);
        }
        self.answer_config(room, asker, ticket, created);
    }

    /// At home.
    pub(super) fn on_update(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        patch: &RoomPatch,
    ) {
        let now = self.outbound.now.moment;
        let (bounds, salt) = (self.homes.bounds, self.salt());
        let updated = self.governed(room, asker, Action::Configure).and_then(|home| {
            home.configure(patch, &bounds, salt, now).map_err(ConfigError::refusal)
        });
        if updated.is_ok() {
            self.record(room, asker, Deed::Update, |_| {});
            self.announce_config(room);
            self.send_out_banned(room, None);
        }
        self.answer_config(room, asker, ticket, updated);
    }

    pub(in crate::shard) fn answer_config(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        outcome: Result<(), Refusal>,
    ) {
        let home = self.homes.get_mut(room);
        let described = outcome.and_then(|()| {
            let home = home.ok_or(Refusal::new(ErrorCode::Internal, "the room is gone"))?;
            Ok((home.config.describe(), home.role(asker.user())))
        });
        match described {
            Ok((config, role)) => {
                let reply = Reply::Room { room: room.name.as_str(), config: &config, role };
                self.answer_ok(room, asker, ticket, reply);
            }
            Err(refusal) => {
                self.answer_refusal(room, asker, ticket, refusal);
            }
        }
    }

    /// Tells every core that has someone in a room how it is now.
    pub(in crate::shard) fn announce_config(&mut self, room: &RoomKey) {
        let Some(home) = self.homes.get_mut(room) else { return };
        let configured = Configured {
            room: room.clone(),
            epoch: Arc::clone(&home.epoch),
            slow_consumer: home.config.slow_consumer,
            guaranteed: home.config.mode == Mode::Guaranteed,
            config: Arc::new(home.config.describe()),
        };
        for link in home.links() {
            let message = ToHub::Configured(Box::new(configured.clone()));
            self.outbound.send(link.core, message);
        }
    }

    /// A room is another from here on: what came before is queued as it was.
    pub(in crate::shard) fn on_configured(&mut self, configured: &Configured) {
        let Some(index) = self.hub.find(&configured.room) else { return };
        self.settle_room(index);
        let Some(room) = self.hub.get_mut(index) else { return };
        let Some(tag) = room.tag.as_ref().filter(|tag| tag.epoch == configured.epoch) else {
            return;
        };
        room.tag = Some(Rc::new(RoomTag {
            room: configured.room.clone(),
            epoch: Arc::clone(&tag.epoch),
            slow_consumer: configured.slow_consumer,
            guaranteed: configured.guaranteed,
        }));
        let change = RoomChange::Updated { config: &configured.config };
        let event = Event::Room { room: configured.room.name.as_str(), change };
        let mut frames = [Codec::Json, Codec::MessagePack].map(|codec| (codec, Vec::new()));
        let members: Vec<_> =
            room.members.iter().map(|it| (it.connection, it.form.codec)).collect();
        for (connection, of) in members {
            let Some((codec, frame)) = frames.iter_mut().find(|(codec, _)| *codec == of) else {
                continue;
            };
            if frame.is_empty() {
                write_event(&event, *codec, frame);
            }
            if let Some(key) = self.outbound.key_at(connection) {
                self.tell(key, frame);
            }
        }
    }

    /// Another life of a room has begun.
    pub(in crate::shard) fn on_reborn(&mut self, reborn: &Reborn) {
        if let Some(index) = self.hub.find(&reborn.room) {
            self.settle_room(index);
            self.tell_members_of_life(index, reborn);
        }
        if reborn.was_followed && reborn.offset > 0 {
            self.tell_subscribers_of_life(reborn);
        }
    }

    fn tell_members_of_life(&mut self, index: RoomIndex, reborn: &Reborn) {
        let Reborn { room, epoch, offset, .. } = reborn;
        let offset = *offset;
        let Some(hub_room) = self.hub.get_mut(index) else { return };
        let Some(before) = hub_room.tag.take() else { return };
        let tag = Rc::new(RoomTag {
            room: room.clone(),
            epoch: Arc::clone(epoch),
            slow_consumer: before.slow_consumer,
            guaranteed: before.guaranteed,
        });
        hub_room.tag = Some(Rc::clone(&tag));
        hub_room.offset = offset;
        let members: Vec<_> = hub_room.members.iter().map(|member| member.connection).collect();
        for key in
            members.into_iter().filter_map(|place| self.outbound.key_at(place)).collect::<Vec<_>>()
        {
            if offset > 0 {
                self.outbound.push_gap(key, &tag, (1, offset), GapReason::EpochChanged);
            }
            let Some(connection) = self.outbound.get_mut(key) else { continue };
            if let Some(membership) = connection.membership(index) {
                // Until the gap is known to have arrived, what it tells of is still owed.
                (membership.position, membership.pinged) = (0, 0);
            }
        }
    }

    /// At home.
    pub(super) fn on_delete(&mut self, room: &RoomKey, asker: &Asker, ticket: Ticket) {
        if let Err(refusal) = self.governed(room, asker, Action::Delete).map(|_| ()) {
            self.answer_refusal(room, asker, ticket, refusal);
            return;
        }
        self.fulfil_end(room, asker.identity.user.as_ref());
        self.record(room, asker, Deed::Delete, |_| {});
        self.answer_ok(room, asker, ticket, Reply::Done);
    }

    /// A room has ended: all who are in it here are told.
    pub(in crate::shard) fn fulfil_end(&mut self, room: &RoomKey, by: Option<&Arc<str>>) {
        let Some(home) = self.homes.get_mut(room) else { return };
        let mut all: Vec<_> = home.attached().map(|(address, _)| *address).collect();
        all.sort_unstable();
        self.expel(room, all, LeftReason::RoomDeleted, by);
        self.withdraw_invitations(room);
        self.end_room(room);
    }

    /// A room, if the role there or the credential allows to govern it.
    pub(in crate::shard) fn governed(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        action: Action,
    ) -> Result<&mut HomeRoom, Refusal> {
        let now = self.outbound.now.moment;
        let home = self.homes.get_mut(room).ok_or(Refusal::NO_ROOM)?;
        let mut standing = home.standing(asker.user(), asker.ip, now);
        if asker.identity.may(Right::Configure, &room.name) {
            // It stands for a role, and a ban outweighs any.
            standing.role = Role::Owner;
        }
        standing.may(action, &home.config).map_err(|denied| denied.refusal(now))?;
        Ok(home)
    }

    /// At home.
    pub(super) fn on_info(&mut self, room: &RoomKey, asker: &Asker, ticket: Ticket) {
        match self.seen(room, asker) {
            Ok(home) => {
                let (config, epoch) = (home.config.describe(), Arc::clone(&home.epoch));
                let info = RoomInfo {
                    room: room.name.as_str(),
                    config: &config,
                    user_count: home.user_count(),
                    member_count: home.members.count() as u64,
                    at: Place { epoch: &epoch, offset: home.offset() },
                    created_at_ms: home.created_at_ms,
                };
                self.answer_ok(room, asker, ticket, Reply::RoomInfo(info));
            }
            Err(refusal) => {
                self.answer_refusal(room, asker, ticket, refusal);
            }
        }
    }

    /// A room, if the one who asks may see that it is there.
    fn seen(&mut self, room: &RoomKey, asker: &Asker) -> Result<&mut HomeRoom, Refusal> {
        let now = self.outbound.now.moment;
        let home = self.homes.get_mut(room).ok_or(Refusal::NO_ROOM)?;
        let joined = home.is_attached(asker.address);
        // Whoever may not see who is there is not told that anything is.
        home.standing(asker.user(), asker.ip, now)
            .may(Action::Presence { joined }, &home.config)
            .map_err(|_| Refusal::NO_ROOM)?;
        Ok(home)
    }

    /// At home.
    pub(super) fn on_members(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &PageAsk,
    ) {
        let now = self.outbound.now.moment;
        let home = match self.seen(room, asker) {
            Ok(home) => home,
            Err(refusal) => {
                self.answer_refusal(room, asker, ticket, refusal);
                return;
            }
        };
        let limit = ask.limit as usize;
        let mut listed: Vec<_> = home
            .members
            .after(ask.after.as_deref())
            .take(limit + 1)
            .map(|(user, member)| {
                let muted = home.members.is_muted(user, now);
                (Arc::clone(user), *member, muted)
            })
            .collect();
        let more = listed.len() > limit;
        listed.truncate(limit);
        let members: Vec<_> = listed
            .iter()
            .map(|(user, member, muted)| Member {
                user,
                role: member.role,
                muted: *muted,
                joined_at_ms: member.joined_at_ms,
            })
            .collect();
        let next = listed.last().filter(|_| more).map(|(user, ..)| &**user);
        self.answer_ok(room, asker, ticket, Reply::Members { members: &members, next });
    }
}
