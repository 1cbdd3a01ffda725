//! What clients do: everything the protocol has, and some that it has not.

use serde_json::{Value, json};

use crate::client::{Client, Request};
use crate::guarantee::is_guaranteed;
use crate::message::{Codec, Content, Message, Part};
use crate::truth::{Filter, Interest, Outcome, Publication, RoomId};
use crate::world::World;

const ROOMS: &[&str] = &["a", "b", "chat:1", "chat:1/x", "d/e", "d/e/f"];
/// In which what is not acknowledged comes again.
const GUARANTEED: &[&str] = &["safe:1", "safe:2"];
const EVENTS: &[&str] = &["move", "say", "typing"];
const PATTERNS: &[&str] = &["**", "chat:*", "d/*", "d/**"];
const PRIORITIES: &[&str] = &["low", "normal", "high", "critical"];
const USERS: &[&str] = &["u0", "u1", "u2", "u3", "u4"];

/// A message and what is to become of it.
pub(crate) type Ask = (Message, Option<Request>);

impl World {
    /// A client does something.
    pub(crate) fn act(&mut self, me: usize) {
        let codec = self.codec(me);
        if self.clients[me].echoes.is_some() {
            self.act_echo(me, codec);
            return;
        }
        if !self.clients[me].is_open() {
            let ping = Message::new("ping").with("data", 7);
            self.clients[me].ask(ping, Some(Request::Any), codec);
            return;
        }
        match self.random.below(40) {
            0..=2 => self.act_batch(me, codec),
            3 => self.act_badly(me, codec),
            _ => {
                let (message, request) = self.command(me, codec);
                self.clients[me].ask(message, request, codec);
            }
        }
    }

    /// Most clients write as they are written to.
    fn codec(&mut self, me: usize) -> Codec {
        match (self.clients[me].codec, self.random.percent(90)) {
            (Codec::Json, true) | (Codec::MessagePack, false) => Codec::Json,
            _ => Codec::MessagePack,
        }
    }

    fn command(&mut self, me: usize, codec: Codec) -> Ask {
        const WEIGHTS: &[u64] = &[14, 6, 40, 6, 5, 2, 4, 2, 2, 4, 2, 2, 1, 3, 3, 2, 4];
        match self.random.weighted(WEIGHTS) {
            0 => self.join(me),
            1 => self.leave(me),
            2 => self.publish(me, codec),
            3 => self.acknowledge(me),
            4 => self.history(me),
            5 => {
                let room = self.some_room(me);
                let limit = self.random.between(1, 3);
                let message = Message::new("presence").with("room", &*room.1).with("limit", limit);
                (message, Some(Request::Any))
            }
            6 => {
                let room = self.some_room(me);
                let info = json!({ "mood": self.random.below(9) });
                let message = Message::new("presence.set").with("room", room.1);
                (message.with("info", info), Some(Request::Any))
            }
            7 => {
                let state = Client::some_state(self.random.next() % 1_000);
                let message = Message::new("state.set").with("data", state.clone());
                (message, Some(Request::StateSet(state)))
            }
            8 => (Message::new("state.get"), Some(Request::StateGet)),
            9 => self.send(me, codec),
            10 => self.broadcast(me, codec),
            11 => self.subscribe(),
            12 => {
                let pattern = *self.random.pick(PATTERNS);
                let request = Request::Unsubscribe { pattern: pattern.into() };
                (Message::new("unsubscribe").with("pattern", pattern), Some(request))
            }
            13 => self.configure(me),
            14 => self.ask_around(me),
            15 if self.profile.moderates => self.moderate(me),
            _ => (Message::new("rooms"), Some(Request::Any)),
        }
    }

    fn some_room(&mut self, me: usize) -> RoomId {
        let client = &self.clients[me];
        let own: Vec<_> = client.stays.keys().filter(|room| !room.1.starts_with('@')).collect();
        if !own.is_empty() && self.random.percent(70) {
            return (*self.random.pick(&own)).clone();
        }
        let guaranteed = self.profile.guarantees && self.random.percent(30);
        let name = *self.random.pick(if guaranteed { GUARANTEED } else { ROOMS });
        client.room(name)
    }

    fn interest(&mut self) -> (Interest, Message) {
        let mut interest = Interest::default();
        let mut message = Message::default();
        if self.random.percent(15) {
            let events = vec![(*self.random.pick(EVENTS)).to_owned()];
            message = message.with("events", events.clone());
            interest.events = Some(events);
        }
        if self.random.percent(15) {
            interest.min_priority = u8::try_from(self.random.below(4)).expect("four");
            let word = PRIORITIES[usize::from(interest.min_priority)];
            message = message.with("min_priority", word);
        }
        (interest, message)
    }

    pub(crate) fn join(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let (mut interest, options) = self.interest();
        let kind = if self.random.percent(10) { "join_room" } else { "join" };
        let mut message = Message::new(kind).with("room", &*room.1);
        message.0.extend(options.0);
        if self.random.percent(50) {
            interest.presence = true;
            message = message.with("presence", true);
        }
        let since = if self.random.percent(40) { self.some_place(&room) } else { None };
        if let Some((epoch, offset)) = &since {
            message = message.with("since", json!({ "epoch": epoch, "offset": offset }));
        }
        if self.random.percent(2) {
            return (message.with("room", "@all"), Some(Request::Any));
        }
        (message, Some(Request::Join { room, interest, since }))
    }

    /// A place in one of a room's lives, or a little beyond.
    fn some_place(&mut self, room: &RoomId) -> Option<(String, u64)> {
        let lives = &self.common.truth.lives;
        let lives: Vec<_> = lives.iter().filter(|((of, _), _)| of == room).collect();
        if lives.is_empty() {
            return None;
        }
        let ((_, epoch), life) = *self.random.pick(&lives);
        let back = self.random.below(8) as u64;
        let offset =
            if self.random.percent(5) { life.last + 2 } else { life.last.saturating_sub(back) };
        Some((epoch.clone(), offset))
    }

    fn leave(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let epoch = self.clients[me].stays.get(&room).and_then(|stay| stay.epoch.as_ref());
        let last = epoch.map(|epoch| (epoch.clone(), self.common.truth.last(&room, epoch)));
        let publications = self.common.truth.publications.len();
        self.common.acknowledgements.forget(&room);
        let message = Message::new("leave").with("room", &*room.1);
        (message, Some(Request::Leave { room, last, publications }))
    }

    fn publish(&mut self, me: usize, codec: Codec) -> Ask {
        let room = self.some_room(me);
        let alias = self.random.percent(5);
        let message = Message::new(if alias { "send_message" } else { "publish" });
        let message = message.with("room", &*room.1);
        let data = if alias { "content" } else { "data" };
        self.post(me, codec, message, Some(room), data)
    }

    fn broadcast(&mut self, me: usize, codec: Codec) -> Ask {
        let room = self.clients[me].room("@all");
        self.post(me, codec, Message::new("broadcast"), Some(room), "data")
    }

    fn send(&mut self, me: usize, codec: Codec) -> Ask {
        let to = match self.random.below(3) {
            0 => json!({ "user": *self.random.pick(USERS) }),
            1 => json!({ "users": [*self.random.pick(USERS), *self.random.pick(USERS)] }),
            _ => {
                let other = self.random.below(self.clients.len());
                json!({ "connection": self.clients[other].reader.name })
            }
        };
        self.post(me, codec, Message::new("send").with("to", to), None, "data")
    }

    /// A publication, and the options that both it and its message have.
    fn post(
        &mut self,
        me: usize,
        codec: Codec,
        mut message: Message,
        room: Option<RoomId>,
        data: &'static str,
    ) -> Ask {
        let number = self.common.truth.publications.len();
        let padding = *self.random.pick(&[0, 10, 200, 700]);
        let style = self.random.below(4);
        let client = &self.clients[me];
        let mut publication = Publication {
            tenant: client.person.tenant,
            author: client.reader.name.clone(),
            user: client.person.user.clone(),
            codec,
            content: Content::new(number, padding, style),
            event: None,
            priority: 1,
            transient: self.random.percent(10),
            exclude_self: false,
            filter: None,
            key: None,
            ttl_ms: self.random.percent(12).then(|| *self.random.pick(&[1, 30, 2_000])),
            sent_ms: self.common.now_ms,
            outcome: Outcome::Unknown,
            room,
        };
        if self.random.percent(50) {
            publication.event = Some((*self.random.pick(EVENTS)).to_owned());
        }
        if self.random.percent(35) {
            publication.priority = u8::try_from(self.random.below(4)).expect("four");
        }
        if publication.room.is_some() {
            message = self.post_to_room(message, &mut publication);
        }
        if let Some(event) = &publication.event {
            message = message.with("event", &**event);
        }
        if publication.priority != 1 || self.random.percent(5) {
            message = message.with("priority", PRIORITIES[usize::from(publication.priority)]);
        }
        if publication.transient {
            message = message.with("transient", true);
        }
        if let Some(ttl_ms) = publication.ttl_ms {
            message = message.with("ttl_ms", ttl_ms);
        }
        message = message.part(data, Part::Raw(publication.content.clone()));
        self.common.truth.publications.push(publication);
        let is_answered = self.random.percent(85);
        (message, is_answered.then_some(Request::Publish { number }))
    }

    /// Options that a message to a user does not have.
    fn post_to_room(&mut self, mut message: Message, publication: &mut Publication) -> Message {
        publication.exclude_self = self.random.percent(10);
        if publication.exclude_self {
            message = message.with("exclude_self", true);
        }
        if self.random.percent(10) {
            let key = format!("k{}", self.random.below(3));
            message = message.with("key", &*key);
            publication.key = Some(key);
        }
        if self.random.percent(10) {
            message = message.with("receipt", "delivered");
        }
        if self.random.percent(12) {
            let (filter, value) = self.filter();
            message = message.with("filter", value);
            publication.filter = Some(filter);
        }
        message
    }

    fn filter(&mut self) -> (Filter, Value) {
        let mut filter = Filter::default();
        let user = (*self.random.pick(USERS)).to_owned();
        let value = match self.random.below(5) {
            0 => {
                filter.users = Some(vec![user.clone()]);
                json!({ "users": [user] })
            }
            1 => {
                filter.exclude_users = vec![user.clone()];
                json!({ "exclude_users": [user] })
            }
            2 => {
                let team = i64::from(self.random.percent(50));
                filter.team = Some(team);
                json!({ "metadata": { "team": team } })
            }
            3 => {
                filter.min_connection_age_ms = Some(50);
                json!({ "min_connection_age_ms": 50 })
            }
            _ => {
                filter.max_connections = Some(1);
                json!({ "max_connections": 1 })
            }
        };
        (filter, value)
    }

    fn acknowledge(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let stay = self.clients[me].stays.get(&room);
        let epoch = stay.and_then(|stay| stay.epoch.clone());
        let position = stay.and_then(|stay| stay.position);
        let offset = position.unwrap_or(0).saturating_sub(self.random.below(3) as u64);
        let message = Message::new("ack").with("room", &*room.1).with("offset", offset);
        let claimed = self.clients[me].claimed.entry(room.clone()).or_default();
        *claimed = offset.max(*claimed);
        let whose = self.clients[me].whose();
        self.common.acknowledgements.claim(&room, whose, offset);
        (message, Some(Request::Ack { room, epoch, offset }))
    }

    fn history(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let limit = self.random.between(1, 30);
        let reverse = self.random.percent(30);
        let mut message = Message::new("history").with("room", &*room.1).with("limit", limit);
        if reverse {
            message = message.with("reverse", true);
        }
        let (mut after, mut before) = (None, None);
        if let Some((epoch, offset)) = self.some_place(&room) {
            let place = json!({ "epoch": epoch, "offset": offset });
            match self.random.below(3) {
                0 => {
                    after = Some(offset);
                    message = message.with("since", place);
                }
                1 => {
                    before = Some(offset);
                    message = message.with("before", place);
                }
                _ => {}
            }
        }
        (message, Some(Request::History { room, after, before, limit, reverse }))
    }

    fn subscribe(&mut self) -> Ask {
        let pattern = *self.random.pick(PATTERNS);
        let (interest, options) = self.interest();
        let mut message = Message::new("subscribe").with("pattern", pattern);
        message.0.extend(options.0);
        (message, Some(Request::Subscribe { pattern: pattern.into(), interest }))
    }

    /// `room.create` or `room.update`.
    fn configure(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let mut config = json!({
            "history_size": *self.random.pick(&[0, 3, 20, 200]),
            "slow_consumer": *self.random.pick(&["disconnect", "drop_oldest", "drop_newest", "latest"]),
        });
        if self.random.percent(30) {
            config = json!({ "mode": "reliable" });
        }
        if is_guaranteed(&room) {
            // It stays what it is from its first day on.
            config = json!({ "mode": "guaranteed" });
        }
        if self.random.percent(15) {
            config["history_ttl_ms"] = json!(2_000);
        }
        if self.random.percent(10) {
            config["compress"] = json!(false);
        }
        if self.profile.refuses && self.random.percent(20) {
            config["max_members"] = json!(2);
        }
        if self.profile.moderates && self.random.percent(10) {
            config["presence"] = json!(self.random.percent(50));
            self.common.muted_presence.insert(room.clone());
        }
        let kind = if self.random.percent(40) { "room.create" } else { "room.update" };
        (Message::new(kind).with("room", room.1).with("config", config), Some(Request::Any))
    }

    /// Questions whose answers are only counted.
    fn ask_around(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let message = match self.random.below(6) {
            0 => Message::new("room.info").with("room", room.1),
            1 => Message::new("room.members").with("room", room.1).with("limit", 2),
            2 => Message::new("game.move").with("data", 1),
            3 => Message::new("ping"),
            4 => Message::new("auth").with("token", "nothing is configured"),
            _ => Message::new("join").with("room", "/no name"),
        };
        (message, Some(Request::Any))
    }

    fn moderate(&mut self, me: usize) -> Ask {
        let room = self.some_room(me);
        let user = *self.random.pick(USERS);
        self.common.acknowledgements.forget(&room);
        let message = match self.random.below(8) {
            0 | 1 => return (Message::new("room.delete").with("room", room.1), Some(Request::Any)),
            2 | 3 => return self.silence(me, room, user),
            4 => {
                let message = Message::new("room.unmute").with("room", &*room.1);
                let silence = (room, user.to_owned());
                self.common.silences.remove(&silence);
                *self.common.unmutes.entry(silence.clone()).or_default() += 1;
                return (message.with("user", user), Some(Request::Unmute(silence)));
            }
            5 => Message::new("room.role").with("role", "moderator"),
            _ => Message::new("room.kick"),
        };
        (message.with("room", room.1).with("user", user), Some(Request::Any))
    }

    /// From the answer on, and for a time, nothing of that user is published there.
    fn silence(&mut self, me: usize, room: RoomId, user: &str) -> Ask {
        const FOR_MS: u64 = 500;
        let kind = if self.random.percent(50) { "room.ban" } else { "room.mute" };
        let message = Message::new(kind).with("room", &*room.1).with("user", user);
        let until_ms = self.common.now_ms + FOR_MS;
        let epoch = self.clients[me].stays.get(&room).and_then(|stay| stay.epoch.clone());
        let (room, user) = (room, user.to_owned());
        let request = epoch.map(|epoch| Request::Silence { room, user, until_ms, epoch });
        (message.with("for_ms", FOR_MS), Some(request.unwrap_or(Request::Any)))
    }

    /// Several messages in one frame: as an array, or as a `batch`.
    fn act_batch(&mut self, me: usize, codec: Codec) {
        let count = 1 + self.random.below(6);
        let mut messages = Vec::new();
        let mut members = Vec::new();
        for _ in 0..count {
            let (message, request) = self.command(me, codec);
            let is_answered = request.is_some();
            let message = self.clients[me].register(message, request);
            if is_answered {
                members.push(self.clients[me].last_id);
            }
            messages.push(message);
        }
        // Where a batch may be refused as a whole, its name tells that its messages were.
        let is_named = self.random.percent(70) || self.profile.refuses;
        let batch = Message::new("batch").part("messages", Part::List(messages));
        self.clients[me].ask(batch, is_named.then_some(Request::Batch(members)), codec);
    }

    /// What nobody should send.
    fn act_badly(&mut self, me: usize, codec: Codec) {
        let client = &mut self.clients[me];
        let bad = match self.random.below(6) {
            0 => Message::new("join"),
            1 => Message::new("publish").with("room", 7),
            2 => {
                Message::new("publish").with("room", "a").with("data", 1).with("priority", "urgent")
            }
            3 => Message::new("history").with("room", "a").with("limit", 0),
            4 => Message::default().with("type", Value::Null),
            _ => {
                let bytes =
                    if self.random.percent(50) { b"{\"type\"".to_vec() } else { b"[[".to_vec() };
                client.uplink.push_back(crate::client::Up::Message(Codec::Json, bytes));
                return;
            }
        };
        self.clients[me].ask(bad, Some(Request::Any), codec);
    }
}
