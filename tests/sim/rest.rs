//! When nothing moves any more: everyone has been told everything, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};

use crate::Checked;
use crate::client::{Request, Stage};
use crate::message::{Codec, Content, Message, Part};
use crate::truth::{Outcome, Publication, RoomId};
use crate::world::World;

/// Rounds in which all that is under way has to arrive.
const ROUNDS: usize = 2_000;

impl World {
    /// Everyone reads and writes until nothing moves.
    pub(crate) fn quiesce(&mut self) -> Checked {
        for _ in 0..ROUNDS {
            let alive: Vec<_> = self.alive().collect();
            for me in &alive {
                self.clients[*me].socket.capacity = 1 << 20;
                self.land(*me);
                self.read(*me, usize::MAX)?;
                while self.hear(*me) {}
            }
            for core in 0..self.cores.len() {
                self.tick(core, usize::MAX)?;
            }
            self.audit()?;
            if self.mesh.is_empty() && self.is_idle() {
                return Ok(());
            }
        }
        Err("it does not come to rest".into())
    }

    fn is_idle(&self) -> bool {
        let clients_are = self.alive().all(|me| {
            let client = &self.clients[me];
            let waits = client.socket.has_unread() || client.socket.flight.is_some();
            !waits && client.uplink.is_empty()
        });
        let cores_are = self.cores.iter().all(|core| {
            let effects = &core.effects;
            let due = core.shard.next_timeout().is_some_and(|at| at <= self.now().moment);
            effects.is_empty() && !due
        });
        clients_are && cores_are
    }

    /// Time passes, timer by timer, and everything moves in between.
    pub(crate) fn let_pass(&mut self, ms: u64) -> Checked {
        let until_ms = self.common.now_ms + ms;
        while self.common.now_ms < until_ms {
            let next = self.cores.iter().filter_map(|core| core.shard.next_timeout()).min();
            let now = self.now().moment;
            let wait_ms = next.map_or(u64::MAX, |at| at.since_us(now).div_ceil(1_000).max(1));
            self.pass(wait_ms.min(until_ms - self.common.now_ms));
            self.quiesce()?;
        }
        Ok(())
    }

    /// Brings everything to rest and looks at what everyone knows.
    pub(crate) fn rest(&mut self) -> Checked {
        self.digest.step(|| "to rest".into());
        for me in self.alive().collect::<Vec<_>>() {
            if self.clients[me].socket.deaf {
                self.lose(me);
            }
        }
        self.quiesce()?;
        // Receipts, grace, late presence, patience with those who do not answer a close frame.
        let mut before = usize::MAX;
        while self.alive().count() < before {
            before = self.alive().count();
            self.let_pass(6_000)?;
        }
        // Somebody was found to be silent just now.
        if self.alive().any(|me| self.clients[me].stage >= Stage::Dismissed) {
            self.let_pass(6_000)?;
        }
        for client in self.clients.iter_mut().filter(|client| client.is_open()) {
            client.is_settled = true;
            let reserved = client.stays.iter_mut().filter(|(room, _)| room.1.starts_with('@'));
            reserved.for_each(|(_, stay)| stay.settle());
        }
        self.probe();
        self.quiesce()?;
        self.check_answers()?;
        self.check_places()?;
        self.common.truth.settle_doubts()?;
        self.check_presence()?;
        self.check_outboxes()
    }

    /// One more message in each room, so that a missing last one shows.
    fn probe(&mut self) {
        let mut probed = BTreeSet::new();
        for me in self.alive().collect::<Vec<_>>() {
            let client = &self.clients[me];
            if !client.is_open() {
                continue;
            }
            let rooms: Vec<_> =
                client.stays.keys().filter(|it| !it.1.starts_with('@')).cloned().collect();
            for room in rooms {
                if probed.insert(room.clone()) {
                    self.probe_room(me, room);
                }
            }
        }
    }

    fn probe_room(&mut self, me: usize, room: RoomId) {
        let truth = &mut self.common.truth;
        let number = truth.publications.len();
        let client = &mut self.clients[me];
        let content = Content::new(number, 0, 0);
        let message = Message::new("publish").with("room", &*room.1);
        let message = message.part("data", Part::Raw(content.clone()));
        truth.publications.push(Publication {
            room: Some(room),
            tenant: client.person.tenant,
            author: client.reader.name.clone(),
            user: client.person.user.clone(),
            codec: client.codec,
            content,
            event: None,
            priority: 1,
            transient: false,
            exclude_self: false,
            filter: None,
            key: None,
            ttl_ms: None,
            sent_ms: self.common.now_ms,
            outcome: Outcome::Unknown,
        });
        let codec = client.codec;
        client.ask(message, Some(Request::Publish { number }), codec);
    }

    /// Whoever asked with an id was answered.
    fn check_answers(&self) -> Checked {
        for me in self.alive() {
            let client = &self.clients[me];
            if let Some(echo) =
                client.echoes.as_ref().and_then(|it| it.front()).filter(|_| client.is_open())
            {
                return Err(format!("client {me} waits for the echo of {} bytes", echo.1.len()));
            }
            if client.stage == Stage::Arriving {
                return Err(format!("client {me} was never welcomed"));
            }
            if let Some((id, request)) =
                client.pending.first_key_value().filter(|_| client.is_open())
            {
                return Err(format!("client {me} was never answered {id}: {request:?}"));
            }
        }
        Ok(())
    }

    /// Whoever is in a room was given all of it.
    fn check_places(&mut self) -> Checked {
        for me in self.alive().collect::<Vec<_>>() {
            let client = &mut self.clients[me];
            if !client.is_open() {
                continue;
            }
            for (room, stay) in &mut client.stays {
                let Some(epoch) = stay.epoch.clone() else { continue };
                let last = self.common.truth.last(room, &epoch);
                stay.reach(&mut self.common.truth, room, &client.reader, last)
                    .map_err(|what| format!("at rest, client {me}: {what}"))?;
            }
            client
                .check_follow(&mut self.common.truth)
                .map_err(|what| format!("at rest, client {me}, by a pattern: {what}"))?;
        }
        Ok(())
    }

    /// Presence is who is there, and notices have said so.
    fn check_presence(&mut self) -> Checked {
        let mut there: BTreeMap<RoomId, (u64, BTreeMap<String, u64>, usize)> = BTreeMap::new();
        for me in self.alive() {
            let client = &self.clients[me];
            for room in client.stays.keys().filter(|it| client.is_open() && !it.1.starts_with('@'))
            {
                let (anonymous, users, asker) = there.entry(room.clone()).or_default();
                *asker = me;
                match &client.person.user {
                    Some(user) => *users.entry(user.clone()).or_default() += 1,
                    None => *anonymous += 1,
                }
            }
        }
        for (room, (anonymous, users, asker)) in &there {
            self.ask_presence(room, *asker)?;
            let Some(page) = self.common.pages.get(room) else { continue };
            if page.users != *users || page.count != anonymous + users.len() as u64 {
                return Err(format!("in {room:?} are {users:?} and {anonymous}, told is {page:?}"));
            }
        }
        for me in self.alive() {
            let client = &self.clients[me];
            for (room, stay) in client.stays.iter().filter(|_| client.is_open() && !client.lossy) {
                let Some((_, users, _)) = there.get(room) else { continue };
                let wrong =
                    stay.notices.iter().find(|(user, is)| users.contains_key(*user) != **is);
                if let Some((user, is)) =
                    wrong.filter(|_| !self.common.muted_presence.contains(room))
                {
                    return Err(format!("client {me} was told that {user} is in {room:?}: {is}"));
                }
            }
        }
        Ok(())
    }

    /// Reads the whole list, page by page.
    fn ask_presence(&mut self, room: &RoomId, asker: usize) -> Checked {
        self.common.pages.remove(room);
        let mut after = None::<String>;
        loop {
            let mut message = Message::new("presence").with("room", &*room.1).with("limit", 2);
            if let Some(after) = &after {
                message = message.with("after", &**after);
            }
            let request = Request::Presence { room: room.clone() };
            self.clients[asker].ask(message, Some(request), Codec::Json);
            self.quiesce()?;
            match self.common.pages.get(room).and_then(|page| page.next.clone()) {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                Some(_) => return Err("presence has a page that ends where it began".into()),
                None => return Ok(()),
            }
        }
    }

    fn check_outboxes(&mut self) -> Checked {
        for me in self.alive().collect::<Vec<_>>() {
            let client = &self.clients[me];
            let (core, key) = (client.core, client.key);
            let outbox = self.cores[core].shard.outbox(key);
            let waiting = outbox.map_or(0, |outbox| outbox.pending_bytes());
            if waiting > 0 {
                return Err(format!(
                    "{waiting} bytes wait for client {me}, and nobody writes them"
                ));
            }
        }
        Ok(())
    }

    /// Everyone goes and all times pass: nothing may be left.
    pub(crate) fn end(&mut self) -> Checked {
        self.digest.step(|| "the end".into());
        for me in self.alive().collect::<Vec<_>>() {
            self.lose(me);
        }
        self.quiesce()?;
        // Sessions, rooms that were made and wait for somebody, histories.
        self.let_pass(self.config.session.ttl_ms + 400_000)?;
        for (index, core) in self.cores.iter().enumerate() {
            let figures = &core.metrics;
            let left = (core.shard.connections(), figures.sessions.get(), figures.rooms.get());
            if left != (0, 0, 0) {
                return Err(format!(
                    "core {index} has connections, sessions, rooms left: {left:?}"
                ));
            }
            if let Some(at) = core.shard.next_timeout() {
                return Err(format!("core {index} has a timer left, at {at:?}"));
            }
        }
        Ok(())
    }
}
