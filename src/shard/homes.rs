//! The rooms whose home this core is: made, found, looked at in time, and ended.
//!
//! Invariant: a room that nobody needs is gone by the end of the command that left it so.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Moment;
use crate::hash::{Map, Seed};
use crate::id::{CoreId, TenantId};
use crate::protocol::{ErrorCode, Mode};
use crate::room::broker::Beginning;
use crate::room::config::{Bounds, Salt};
use crate::room::home::HomeRoom;
use crate::room::hub::Notice;
use crate::room::name::RoomKey;
use crate::room::pattern::PatternSet;
use crate::room::publication::{Form, FormSet, Publication};
use crate::room::refusal::Refusal;
use crate::tenant::Tenants;
use crate::wheel::Timer;

use super::broker::local_epoch;
use super::message::ToHub;
use super::quota::Spaces;
use super::receipt::Receipts;
use super::{Alarm, Shard};

/// A room and when it is looked at.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) room: HomeRoom,
    /// What its history counts among all.
    counted_bytes: u64,
    timer: Option<(Moment, Timer)>,
}

/// The rooms whose home a core is.
#[derive(Debug)]
pub(super) struct Homes {
    pub(super) rooms: Map<RoomKey, Box<Home>>,
    pub(super) bounds: Bounds,
    /// What a room has from its name.
    pub(super) namespaces: Spaces,
    tenants: Arc<Tenants>,
    /// What all their histories hold.
    pub(super) history_bytes: u64,
    history_limit_bytes: u64,
    pub(super) rooms_limit: usize,
    /// Cores that receive patterns.
    pub(super) watchers: Map<TenantId, PatternSet<CoreId>>,
    /// How messages are written on each of them.
    pub(super) watcher_forms: Vec<FormSet>,
    pub(super) receipts: Receipts,
}

impl Homes {
    pub(super) fn new(
        seed: Seed,
        cores: u16,
        config: &crate::config::Config,
        tenants: &Arc<Tenants>,
    ) -> Self {
        let cores = cores.max(1);
        Self {
            rooms: Map::with_hasher(seed),
            bounds: Bounds::new(config),
            namespaces: Spaces::new(config, tenants, seed),
            tenants: Arc::clone(tenants),
            history_bytes: 0,
            history_limit_bytes: config.rooms.history_bytes / u64::from(cores),
            rooms_limit: (config.rooms.count / u32::from(cores)).max(1) as usize,
            watchers: Map::with_hasher(seed),
            watcher_forms: vec![FormSet::default(); cores.into()],
            receipts: Receipts::new(seed),
        }
    }

    pub(super) fn get_mut(&mut self, key: &RoomKey) -> Option<&mut HomeRoom> {
        self.rooms.get_mut(key).map(|home| &mut home.room)
    }

    /// Counts what a room's history holds now: it drops what is old whenever it is looked at.
    fn recount(&mut self, key: &RoomKey) {
        if let Some(home) = self.rooms.get_mut(key) {
            let bytes = home.room.history.bytes();
            self.history_bytes = self.history_bytes + bytes - home.counted_bytes;
            self.tenants.get(key.tenant).recount_history(home.counted_bytes, bytes);
            home.counted_bytes = bytes;
        }
    }

    /// Whether the histories hold more than they may together, or those of a tenant do.
    pub(super) fn is_over_history(&self, tenant: TenantId) -> bool {
        self.tenants.get(tenant).is_over_history()
            || (self.history_limit_bytes > 0 && self.history_bytes > self.history_limit_bytes)
    }

    /// Keeps what came right before all that a room keeps, unless it is too much for the room, or for all
    /// rooms together.
    pub(super) fn keep_older(
        &mut self,
        key: &RoomKey,
        publication: Arc<Publication>,
        now: Moment,
    ) -> bool {
        self.recount(key);
        let is_over = self.is_over_history(key.tenant);
        let Some(HomeRoom { config, history, .. }) = self.get_mut(key) else { return false };
        (!is_over || config.mode == Mode::Guaranteed) && history.push_front(publication, now)
    }
}

impl Shard {
    /// For a password that may be set now.
    pub(super) fn salt(&mut self) -> Salt {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        Salt(salt)
    }

    /// A room; it exists from now on.
    pub(super) fn home_of(&mut self, key: &RoomKey) -> Result<&mut HomeRoom, Refusal> {
        if !self.homes.rooms.contains_key(key) {
            if self.homes.rooms.len() >= self.homes.rooms_limit {
                return Err(Refusal::new(ErrorCode::LimitExceeded, "there are too many rooms"));
            }
            // Reserved rooms are as many as there are users.
            let counts = !key.name.is_reserved();
            if counts && !self.tenants.get(key.tenant).rooms.take() {
                let refusal =
                    Refusal::new(ErrorCode::LimitExceeded, "the tenant has too many rooms");
                return Err(refusal);
            }
            let mut epoch = [0; 8];
            self.entropy.fill(&mut epoch);
            let epoch = URL_SAFE_NO_PAD.encode(epoch);
            let epoch = if self.broker.is_there() { local_epoch(&epoch) } else { epoch.into() };
            let namespace = Arc::clone(self.homes.namespaces.of(key));
            let now = self.outbound.now;
            let mut room = HomeRoom::new(key.clone(), epoch, namespace, self.seed, now);
            room.begin_under(self.inheritance.above(key), &self.homes.bounds, now.moment);
            self.homes
                .rooms
                .insert(key.clone(), Box::new(Home { room, counted_bytes: 0, timer: None }));
            self.metrics.rooms.set(self.homes.rooms.len() as u64);
            self.take_over(key);
        }
        match self.homes.rooms.get_mut(key) {
            Some(home) => Ok(&mut home.room),
            None => Err(Refusal::new(ErrorCode::Internal, "the room is gone")),
        }
    }

    /// After anything that may have changed a room: tells presence, plans its next look, and ends it
    /// if nobody needs it.
    pub(super) fn tend(&mut self, key: &RoomKey) {
        let now = self.outbound.now.moment;
        self.homes.recount(key);
        self.bequeath(key);
        let Some(home) = self.homes.rooms.get_mut(key) else {
            if !self.broker.is_awaiting(key) {
                self.unfollow(key);
            }
            self.stop_following(key);
            return;
        };
        if !home.room.config.parent_inherit {
            self.unfollow(key);
        }
        let Some(home) = self.homes.rooms.get_mut(key) else { return };
        let lacks_history = home.room.history.take_lack();
        let changes = home.room.take_presence(now);
        if !changes.is_empty() {
            for (action, user, info) in changes {
                let notice = Arc::new(Notice { room: key.clone(), action, user, info });
                for link in home.room.links().iter().filter(|link| link.notices > 0) {
                    self.outbound.send(link.core, ToHub::Presence(Arc::clone(&notice)));
                }
            }
        }
        if lacks_history {
            self.fetch_history(key);
        }
        self.write_bookmarks(key);
        // Over many nodes, what is here of a room above is what the rooms below know of it.
        let is_followed = self.broker.is_there() && self.inheritance.has_followers(key);
        let Some(home) = self.homes.rooms.get_mut(key) else { return };
        // As long as a room is followed, what was told of it is here and is not told again.
        let is_awaited = self.broker.is_awaiting(key);
        if home.room.is_idle() && !is_followed && !is_awaited {
            // Over many nodes it goes on elsewhere, or the broker says that it has ended.
            if !self.broker.is_there() {
                self.withdraw_invitations(key);
            }
            self.end_room(key);
            return;
        }
        let due = home.room.next_timeout();
        let planned = home.timer.as_ref().map(|(at, _)| *at);
        if due != planned {
            if let Some((_, timer)) = home.timer.take() {
                self.wheel.cancel(timer);
            }
            home.timer = due.map(|at| (at, self.wheel.insert(at, Alarm::Room(key.clone()))));
        }
        self.say(key);
    }

    /// Forgets a room.
    pub(super) fn end_room(&mut self, key: &RoomKey) {
        let Some(home) = self.homes.rooms.remove(key) else { return };
        let is_followed = home.room.is_followed(self.outbound.now.moment);
        let place = Beginning { epoch: Arc::clone(&home.room.epoch), offset: home.room.offset() };
        if let Some((_, timer)) = home.timer {
            self.wheel.cancel(timer);
        }
        self.homes.history_bytes -= home.counted_bytes;
        let tenant = self.tenants.get(key.tenant);
        tenant.recount_history(home.counted_bytes, 0);
        if !key.name.is_reserved() {
            tenant.rooms.give_back();
        }
        self.metrics.rooms.set(self.homes.rooms.len() as u64);
        let (len, capacity) = (self.homes.rooms.len(), self.homes.rooms.capacity());
        if capacity > 1_024 && len * 4 < capacity {
            self.homes.rooms.shrink_to(len * 2);
        }
        self.heed_end(key, place, is_followed);
        self.bequeath(key);
        self.unfollow(key);
        self.withdraw(key);
        self.stop_following(key);
    }

    /// A room's time has come.
    pub(super) fn on_room_alarm(&mut self, key: &RoomKey) {
        let now = self.outbound.now.moment;
        let Some(home) = self.homes.rooms.get_mut(key) else { return };
        home.timer = None;
        home.room.expire(now);
        if !self.has_to_ask_others(key) {
            self.redeliver(key);
        }
        self.tend(key);
    }

    /// Keeps a room's message, within what the room and all rooms together may keep.
    pub(super) fn keep_publication(&mut self, publication: &Arc<Publication>) {
        let now = self.outbound.now.moment;
        let over = self.homes.is_over_history(publication.room.tenant);
        let Some(home) = self.homes.rooms.get_mut(&publication.room) else { return };
        let history = &mut home.room.history;
        let before = history.bytes();
        history.push(Arc::clone(publication), now);
        // The room that grows pays.
        if over && home.room.config.mode != Mode::Guaranteed {
            while history.bytes() > before && history.drop_oldest().is_some() {}
        }
        self.homes.recount(&publication.room);
    }

    /// A core has, or has no longer, connections that are in a room by themselves.
    pub(super) fn on_attach(&mut self, from: CoreId, key: &RoomKey, form: Option<Form>) {
        let home = match form {
            Some(_) => self.home_of(key).ok(),
            None => self.homes.get_mut(key),
        };
        if let Some(home) = home {
            home.attach_implicitly(from, form);
        }
        self.tend(key);
    }
}
