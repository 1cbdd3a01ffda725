//! Clients that check what they are told: each offset once, as a message or by a gap; what one was told at
//! a place, all are; what was acknowledged stays; another life of a room is announced.
//!
//! Whoever comes back with a session may be told some of what it had once more, but nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cluster::Address;

type Room = &'static str;
type Place = (Room, String, u64);

/// What goes for all clients.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) rooms: &'static [Room],
    /// What is told at a place may be something else later, because Redis is set back.
    pub(crate) may_fork: bool,
    /// Nothing is lost that Redis has. So each publication has one place, those of one client are in their
    /// order, and no room begins anew under those who are in it, unless Redis was started again. Every other one carries a key, and is made
    /// again if it was not answered.
    pub(crate) is_once: bool,
    /// Publications that rooms of a namespace keep at least: whoever comes back has missed nothing if these
    /// were no more.
    pub(crate) kept: u64,
    /// Why commands may be refused.
    pub(crate) refusals: &'static [&'static str],
}

/// Where a client stands in a room.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    /// What it had may come once more.
    may_repeat: bool,
    /// It did not hear where it came in.
    is_vague: bool,
}

/// A client.
pub(crate) struct Client {
    pub(crate) node: usize,
    pub(crate) at: Address,
    pub(crate) places: BTreeMap<Room, Standing>,
    /// How far it had come in lives of rooms before it was told of others.
    lives: BTreeMap<(Room, String), u64>,
    /// Publishes that were not answered.
    pub(crate) asked: BTreeMap<u64, (Room, String)>,
    /// Publishes that may be made again.
    pub(crate) unknown: Vec<(Room, String)>,
    /// It was welcomed.
    pub(crate) is_here: bool,
    pub(crate) session: String,
}

/// All of them, and what they were told.
pub(crate) struct Witness {
    pub(crate) rules: Rules,
    pub(crate) clients: Vec<Client>,
    /// What everyone was told at a place, where Redis was not set back.
    said: BTreeMap<Place, String>,
    /// Where something was said.
    places: BTreeMap<String, Place>,
    pub(crate) acknowledged: BTreeMap<Place, String>,
    /// What was told as older than what is kept, of what was owed, up to which place.
    truncated: Vec<(Place, Value)>,
    /// Publishes that were refused, or of which nobody knows: their order is not that of their numbers.
    unsure: BTreeSet<String>,
    /// Redis was another one since: a room may have begun anew.
    pub(crate) may_begin_anew: bool,
    /// Publishes that Redis should have taken.
    pub(crate) refused: u64,
    /// Who is where, as clients were told when they asked.
    pub(crate) presence: BTreeMap<(usize, Room), Value>,
    /// What backends have said, who heard it, and from which nodes.
    pub(crate) foreign: BTreeMap<String, BTreeMap<usize, BTreeSet<usize>>>,
    pub(crate) published: u64,
}

impl Witness {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            clients: Vec::new(),
            said: BTreeMap::new(),
            places: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            truncated: Vec::new(),
            unsure: BTreeSet::new(),
            may_begin_anew: false,
            refused: 0,
            presence: BTreeMap::new(),
            foreign: BTreeMap::new(),
            published: 0,
        }
    }

    /// One more.
    pub(crate) fn come(&mut self, node: usize, at: Address, is_here: bool) {
        self.clients.push(Client {
            node,
            at,
            places: BTreeMap::new(),
            lives: BTreeMap::new(),
            asked: BTreeMap::new(),
            unknown: Vec::new(),
            is_here,
            session: String::new(),
        });
    }

    /// A client has lost its connection, and comes back by another one.
    pub(crate) fn come_back(&mut self, who: usize, node: usize, at: Address) {
        let client = &mut self.clients[who];
        (client.node, client.at) = (node, at);
        client.is_here = false;
        for (room, data) in std::mem::take(&mut client.asked).into_values() {
            self.doubt(who, room, data);
        }
    }

    fn doubt(&mut self, who: usize, room: Room, data: String) {
        self.unsure.insert(data.clone());
        if self.rules.is_once && has_key(&data) {
            self.clients[who].unknown.push((room, data));
        }
    }

    /// What a client says to come to a room, or to leave it, if it does.
    pub(crate) fn come_or_go(&self, who: usize, room: Room) -> Option<Value> {
        match self.clients[who].places.contains_key(room) {
            true if self.published.is_multiple_of(3) => {
                Some(json!({"type": "leave", "room": room, "id": format!("leave {room}")}))
            }
            true => None,
            false => Some(json!({"type": "join", "room": room, "id": format!("join {room}")})),
        }
    }

    /// What a client says to publish something, or to publish it once more.
    pub(crate) fn publish(&mut self, who: usize, room: Room) -> Value {
        self.published += 1;
        let id = self.published;
        let client = &mut self.clients[who];
        let again = client.unknown.pop().filter(|(room, _)| client.places.contains_key(room));
        let (room, data) = again.unwrap_or_else(|| (room, format!("{id} by {who}")));
        client.asked.insert(id, (room, data.clone()));
        let mut command = json!({"type": "publish", "room": room, "data": data, "id": id});
        if self.rules.is_once && has_key(&data) {
            command["key"] = data.into();
        }
        command
    }

    /// A client is told something.
    pub(crate) fn take(&mut self, who: usize, event: &Value) {
        match (event["type"].as_str().unwrap(), event["id"].as_str()) {
            ("welcome", _) => self.welcome(who, event),
            ("ok", Some(id)) => self.take_word(who, id, event),
            ("ok" | "error", None) => self.take_answer(who, event),
            ("error", Some(_)) => self.check_refusal(event),
            ("message" | "gap", _) => self.take_news(who, event),
            ("left", _) => self.take_leave(who, event),
            (other, _) => assert_eq!(other, "pong", "{event}"),
        }
    }

    fn room_of(&self, event: &Value) -> Room {
        let room = self.rules.rooms.iter().find(|room| event["room"] == **room);
        room.unwrap_or_else(|| panic!("no such room: {event}"))
    }

    fn welcome(&mut self, who: usize, event: &Value) {
        let rooms = event["rooms"].as_array().unwrap();
        let rooms = rooms.iter().map(|room| (self.room_of(room), place(room)));
        let rooms: BTreeMap<_, _> = rooms.collect();
        let client = &mut self.clients[who];
        assert!(!client.is_here, "{who} is welcomed twice");
        client.is_here = true;
        let is_back = event["recovered"] == true;
        let session = event["session"].as_str().unwrap();
        assert_eq!(is_back, session == client.session, "{who}: {event}");
        session.clone_into(&mut client.session);
        client.places.retain(|room, _| is_back && rooms.contains_key(room));
        for (room, (epoch, offset)) in rooms {
            if let Some(standing) = client.places.get_mut(room).filter(|it| it.epoch != epoch) {
                // The room has begun anew, or its node cannot ask about it, and this says so.
                let before = std::mem::replace(&mut standing.epoch, epoch.clone());
                client.lives.insert((room, before), standing.offset);
                standing.offset = client.lives.get(&(room, epoch.clone())).copied().unwrap_or(0);
            }
            let may_repeat = client.places.contains_key(room);
            // It may be in a room though it has not heard so.
            let standing = Standing { epoch, offset, may_repeat: false, is_vague: true };
            client.places.entry(room).or_insert(standing).may_repeat |= may_repeat;
        }
    }

    /// What was asked in a word is so.
    fn take_word(&mut self, who: usize, id: &str, event: &Value) {
        let kind = id.split(' ').next().unwrap();
        if kind == "ack" {
            return;
        }
        let room = self.room_of(event);
        match kind {
            "join" => {
                let (epoch, offset) = place(event);
                let may_repeat = self.is_owed(room);
                let standing = Standing { epoch, offset, may_repeat, is_vague: false };
                self.clients[who].places.insert(room, standing);
            }
            "leave" => _ = self.clients[who].places.remove(room),
            "presence" => _ = self.presence.insert((who, room), event["users"].clone()),
            _ => panic!("nobody has asked that: {event}"),
        }
    }

    /// A room has ended since a client was in it, and it is told that when it comes back.
    fn take_leave(&self, who: usize, event: &Value) {
        assert_eq!(event["reason"], "room_deleted", "{event}");
        let client = &self.clients[who];
        assert!(!client.places.contains_key(self.room_of(event)), "{who} is in it: {event}");
    }

    /// Whether what was not acknowledged there is sent again.
    fn is_owed(&self, room: Room) -> bool {
        room.starts_with("firm:")
    }

    fn check_refusal(&self, event: &Value) {
        let code = event["code"].as_str().unwrap();
        assert!(self.rules.refusals.contains(&code), "{event}");
    }

    fn take_answer(&mut self, who: usize, event: &Value) {
        let client = &mut self.clients[who];
        let id = event["id"].as_u64().unwrap_or(0);
        let (room, data) = client.asked.remove(&id).unwrap_or_else(|| panic!("to what? {event}"));
        let (epoch, offset) = place(event);
        if event["type"] == "error" {
            let expected = ["timeout", "unavailable", "not_joined"].map(Value::from);
            assert!(expected.contains(&event["code"]), "{event}");
            self.refused += u64::from(event["code"] != "not_joined");
            self.doubt(who, room, data);
        } else if !epoch.is_empty() {
            self.acknowledged.insert((room, epoch, offset), data);
        }
    }

    fn take_news(&mut self, who: usize, event: &Value) {
        let room = self.room_of(event);
        if let Some(data) = event["data"].as_str().filter(|data| data.starts_with("foreign")) {
            // Each node hands it on when it hears it, to whoever has come to it meanwhile as well.
            let node = self.clients[who].node;
            let nodes = self.foreign.entry(data.to_owned()).or_default().entry(who).or_default();
            return assert!(nodes.insert(node), "{who} hears it twice from node {node}: {event}");
        }
        let is_owed = self.is_owed(room);
        let client = &mut self.clients[who];
        let Some(epoch) = event["epoch"].as_str() else { return };
        let standing = client.places.get_mut(room);
        let standing = standing.unwrap_or_else(|| panic!("{who} is not there: {event}"));
        let number = |field: &str| event[field].as_u64().unwrap();
        let is_gap = event["type"] == "gap";
        let (from, to) = if is_gap {
            (number("from"), number("to"))
        } else {
            (number("offset"), number("offset"))
        };
        let is_new = standing.epoch != epoch && event["reason"] == "epoch_changed";
        let is_forced = is_new && standing.is_steady();
        assert!(
            !(self.rules.is_once && !self.may_begin_anew && is_forced),
            "{who} at {standing:?}: {event}"
        );
        // In the first place of a life that follows another no publication is.
        let lacks_first = from == 1 && !epoch.starts_with("1.");
        if self.rules.is_once && event["reason"] == "history_truncated" && room.contains(':') {
            if is_owed {
                if !lacks_first || to > 1 {
                    self.truncated.push(((room, epoch.to_owned(), to), event.clone()));
                }
            } else {
                // Who comes back and is not known to have been told of a life misses all of it.
                let is_untold = lacks_first && standing.may_repeat;
                let is_lost = to - from < self.rules.kept && !is_untold;
                assert!(!is_lost, "{who} at {standing:?}: {event}");
            }
        }
        standing.advance(epoch, (from, to), event, is_owed);
        if !is_gap {
            let at = (room, epoch.to_owned(), from);
            let data = event["data"].as_str().unwrap().to_owned();
            self.hear(who, &at, data);
        }
    }

    /// All has been read that came with what was: of what was owed, nothing was left out but what is older
    /// than what rooms keep.
    pub(crate) fn check_owed(&mut self) {
        for ((room, epoch, to), event) in std::mem::take(&mut self.truncated) {
            let life = (room, epoch.clone(), 0)..=(room, epoch.clone(), u64::MAX);
            let heard = self.said.range(life.clone()).next_back().map(|(at, _)| at.2);
            let known = self.acknowledged.range(life).next_back().map(|(at, _)| at.2);
            let last = heard.max(known).unwrap_or(0);
            assert!(to + self.rules.kept <= last, "{event}, where {last} is the last");
        }
    }

    fn hear(&mut self, who: usize, at: &Place, data: String) {
        let Rules { may_fork, is_once, .. } = self.rules;
        let said = self.said.entry(at.clone()).or_insert_with(|| data.clone());
        assert!(may_fork || *said == data, "{who} is told {data} at {at:?}, others {said}");
        let place = self.places.entry(data).or_insert_with(|| at.clone());
        assert!(!is_once || place == at, "{who} is told at {at:?} what was said at {place:?}");
    }

    /// Of some of what was said it is not known in which order it came.
    pub(crate) fn doubt_order(&mut self, is_doubtful: impl Fn(&str) -> bool) {
        let doubtful = self.said.values().filter(|data| is_doubtful(data));
        self.unsure.extend(doubtful.cloned());
    }

    /// What one client has said in one room has the order in which it was said.
    fn check_order(&self) {
        let mut last: BTreeMap<(Room, &str, &str), u64> = BTreeMap::new();
        for ((room, epoch, _), data) in &self.said {
            let (number, who) = data.split_once(" by ").unwrap();
            let number = number.parse().unwrap();
            if !self.unsure.contains(data) {
                let before = last.insert((room, epoch, who), number).unwrap_or(0);
                assert!(before < number, "{who} said {number} in {room} before {before}");
            }
        }
    }

    /// All are at rest: all are at the same place, and everything is answered.
    pub(crate) fn check_rest(&self) {
        for room in self.rules.rooms {
            let places = self.clients.iter().filter_map(|client| client.places.get(room));
            let places: Vec<_> = places.map(|it| (&it.epoch, it.offset)).collect();
            assert!(places.iter().all(|place| *place == places[0]), "{room}: {places:?}");
        }
        assert!(self.clients.iter().all(|client| client.asked.is_empty()), "all are answered");
        if self.rules.is_once {
            self.check_order();
        }
        if !self.rules.may_fork {
            for (at, data) in &self.acknowledged {
                assert!(self.said.get(at).is_none_or(|said| said == data), "{at:?}: {data}");
            }
        }
    }
}

/// Whether a publication carries a key.
fn has_key(data: &str) -> bool {
    data.split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .is_some_and(|it: u64| it.is_multiple_of(2))
}

impl Standing {
    /// The room is one that Redis has, and they are in it.
    fn is_steady(&self) -> bool {
        !self.epoch.starts_with("0.") && !self.is_vague && !self.may_repeat
    }

    /// These offsets come, or do not.
    fn advance(&mut self, epoch: &str, (from, to): (u64, u64), event: &Value, is_owed: bool) {
        if self.epoch != epoch {
            let local = self.epoch.starts_with("0.") || self.is_vague;
            assert!(local || event["reason"] == "epoch_changed", "at {self:?}: {event}");
            // What a life that only this node knew had, is not part of the room's.
            epoch.clone_into(&mut self.epoch);
            self.offset = if local { from - 1 } else { 0 };
        }
        if self.is_vague {
            self.offset = from - 1;
        }
        assert!(to >= from, "{event}");
        if self.may_repeat && from <= self.offset {
            self.offset = self.offset.max(to);
            return;
        }
        assert_eq!(from, self.offset + 1, "at {self:?}: {event}");
        (self.offset, self.is_vague, self.may_repeat) = (to, false, is_owed);
    }
}

/// `epoch` and `offset`.
fn place(of: &Value) -> (String, u64) {
    (of["epoch"].as_str().unwrap_or("").to_owned(), of["offset"].as_u64().unwrap_or(0))
}
