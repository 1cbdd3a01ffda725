//! A client and its notes: what it sent and received, as records.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::doors;
use crate::history::{Epoch, History, Message, Place, Record, Room};
use crate::link::{Arrival, Codec, Link};
use crate::random::Random;
use crate::run::Run;

/// A command that was not answered yet.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Join(Room, Option<Place>),
    Leave(Room),
    Publish(Message),
    Acknowledge(Place),
}

/// Where a client stands in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) epoch: Epoch,
    pub(crate) position: u64,
    /// Nobody knows from where on it is in the room, whose `join` was under way when the connection
    /// ended: until something comes, there is nothing that it could acknowledge.
    is_unsure: bool,
}

pub(crate) struct Client {
    pub(crate) run: Rc<Run>,
    pub(crate) random: Random,
    pub(crate) is_slow: bool,
    /// Where it goes.
    node: usize,
    codec: Codec,
    link: Option<Link>,
    session: Option<String>,
    /// How long it was told to stay away.
    away: Option<Duration>,
    pub(crate) history: History,
    /// When it noted something last.
    round: usize,
    pub(crate) rooms: BTreeMap<Room, Standing>,
    /// Rooms it was in once.
    before: BTreeMap<Room, Place>,
    pending: HashMap<u64, Pending>,
    next_id: u64,
}

impl Client {
    pub(crate) fn new(me: usize, run: Rc<Run>, is_slow: bool) -> Self {
        Self {
            random: Random::new(run.seed ^ me as u64),
            node: me % run.addresses.len(),
            run,
            is_slow,
            codec: if me.is_multiple_of(2) { Codec::Json } else { Codec::MessagePack },
            link: None,
            session: None,
            away: None,
            history: History::new(),
            round: 0,
            rooms: BTreeMap::new(),
            before: BTreeMap::new(),
            pending: HashMap::new(),
            next_id: 1,
        }
    }

    /// Connects, with its session if it has one, and takes in the welcome.
    pub(crate) async fn connect(&mut self) {
        let asked = self.session.take();
        if !self.history.is_empty() && (asked.is_none() || self.run.roams) {
            self.node = self.random.below(self.run.addresses.len());
        }
        sleep(self.away.take().unwrap_or_default()).await;
        let address = self.run.addresses[self.node];
        let doors = &self.run.doors;
        let (link, welcome) =
            doors.come_in(address, self.codec, asked.as_deref(), self.is_slow).await;
        if self.is_slow && welcome["reason"] == "slow_consumer" {
            // What it missed does not fit into its queue: it comes as somebody new.
            return Box::pin(self.connect()).await;
        }
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        self.link = Some(link);
        let session = welcome["session"].as_str().expect("a session").to_owned();
        self.note(match asked {
            Some(asked) => Record::Welcome { resumed: asked == session },
            None => Record::Anew,
        });
        self.session = Some(session);
        self.rooms.clear();
        for room in welcome["rooms"].as_array().expect("rooms") {
            let at = self.place(room);
            let recovered = room["recovered"] == true;
            self.note(Record::Arrived { at, recovered });
            // Until something comes, it stands where it stood.
            let known = self.before.get(&at.room).filter(|known| known.epoch == at.epoch);
            let position = known.map_or(at.offset, |known| known.offset);
            let is_unsure = known.is_none();
            self.rooms.insert(at.room, Standing { epoch: at.epoch, position, is_unsure });
        }
    }

    /// Notes it down.
    pub(crate) fn note(&mut self, record: Record) {
        let round = self.run.round.get();
        if std::mem::replace(&mut self.round, round) != round {
            self.history.push(Record::Round(round));
        }
        self.history.push(record);
    }

    /// Takes in what comes next; true if it was the end of the connection.
    pub(crate) async fn receive(&mut self) -> bool {
        let link = self.link.as_mut().expect("it is connected");
        match link.receive().await {
            Arrival::Value(value) => {
                self.take(&value);
                return false;
            }
            Arrival::Close(code) => {
                let is_sent_away = self.away.is_some();
                assert!(is_sent_away == (code == Some(1012)), "{code:?} after {:?}", self.away);
                self.end(Record::Closed);
            }
            // Whoever does not read cannot be told.
            Arrival::End if self.is_slow => self.end(Record::Closed),
            Arrival::End => self.end(Record::Vanished),
        }
        true
    }

    fn take(&mut self, value: &Value) {
        let answered = value["id"].as_u64().and_then(|id| self.pending.remove(&id));
        match (value["type"].as_str().expect("a type"), answered) {
            ("message", _) => {
                let place = self.place(value);
                let number = |name: &str| value["data"][name].as_u64().expect("a number");
                let publisher = usize::try_from(number("publisher")).unwrap();
                let message = Message { publisher, number: number("number") };
                self.note(match value["redelivered"] == true {
                    true => Record::Redelivered(place, message),
                    false => Record::Delivered(place, message),
                });
                self.run.saw(place);
                self.advance(place.room, place.offset);
            }
            ("gap", _) => {
                let number = |name: &str| value[name].as_u64().expect("a number");
                let from = Place { offset: number("from"), ..self.place(value) };
                if value["reason"] == "epoch_changed" {
                    self.note(Record::Reborn(from, number("to")));
                    let (epoch, position) = (from.epoch, number("to"));
                    self.rooms.insert(from.room, Standing { epoch, position, is_unsure: false });
                    return;
                }
                self.note(Record::Gap(from, number("to")));
                self.advance(from.room, number("to"));
            }
            ("ok", Some(pending)) => self.take_ok(value, pending),
            ("error", Some(Pending::Publish(message))) => {
                let may_come_back = value["code"] == "unavailable" || value["code"] == "timeout";
                assert!(!may_come_back || value["retry_after_ms"].is_u64());
                self.note(Record::Refused(message));
            }
            // Another epoch has begun since.
            ("error", Some(Pending::Acknowledge(_))) if value["code"] == "bad_request" => {}
            ("disconnect", _) if value["reason"] == "drain" => self.away = Some(doors::hint(value)),
            ("disconnect", _) => {}
            _ => panic!("not expected after {answered:?}: {value}"),
        }
    }

    fn take_ok(&mut self, value: &Value, pending: Pending) {
        match pending {
            Pending::Join(room, since) => {
                let at = self.place(value);
                let recovered = value["recovered"] == true;
                self.note(Record::Joined { at, since, recovered });
                let start = since.filter(|_| recovered).unwrap_or(at);
                let (epoch, position) = (at.epoch, start.offset);
                self.rooms.insert(room, Standing { epoch, position, is_unsure: false });
            }
            Pending::Leave(room) => {
                self.note(Record::Left(room));
                self.forget(room);
            }
            Pending::Publish(message) => {
                let place = self.place(value);
                self.note(Record::Published(message, place));
                self.run.saw(place);
            }
            Pending::Acknowledge(place) => self.note(Record::Acknowledged(place)),
        }
    }

    fn place(&self, value: &Value) -> Place {
        let room = self.run.room(value["room"].as_str().expect("a room"));
        let epoch = self.run.epoch(value["epoch"].as_str().expect("an epoch"));
        // A gap has no offset of its own.
        Place { room, epoch, offset: value["offset"].as_u64().unwrap_or(0) }
    }

    fn advance(&mut self, room: Room, offset: u64) {
        if let Some(standing) = self.rooms.get_mut(&room) {
            standing.position = match standing.is_unsure {
                true => offset,
                false => offset.max(standing.position),
            };
            standing.is_unsure = false;
        }
    }

    /// It is out of a room, and remembers where it stood.
    fn forget(&mut self, room: Room) {
        if let Some(standing) = self.rooms.remove(&room).filter(|it| !it.is_unsure) {
            let place = Place { room, epoch: standing.epoch, offset: standing.position };
            self.before.insert(room, place);
        }
    }

    fn end(&mut self, how: Record) {
        self.note(how);
        self.link = None;
        self.pending.clear();
        for room in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.forget(room);
        }
    }

    /// Ends the connection without a word.
    pub(crate) fn cut(&mut self) {
        self.end(Record::Closed);
    }

    /// Ends the connection as it should be.
    pub(crate) async fn close(&mut self) {
        if let Some(link) = &mut self.link {
            // It may have ended by itself.
            let _ = link.close().await;
        }
        self.end(Record::Closed);
    }

    /// Comes back as somebody new.
    pub(crate) fn drop_session(&mut self) {
        self.session = None;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Whether nothing is under way that concerns the room.
    pub(crate) fn is_free(&self, room: Room) -> bool {
        !self.pending.values().any(|pending| match *pending {
            Pending::Join(asked, _) | Pending::Leave(asked) => asked == room,
            Pending::Publish(_) => false,
            Pending::Acknowledge(place) => place.room == room,
        })
    }

    /// Whether every command was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.pending.is_empty()
    }

    /// Joins, from where it stood if it is asked to and was there before.
    pub(crate) async fn join(&mut self, room: Room, goes_on: bool) {
        let since = self.before.get(&room).copied().filter(|_| goes_on);
        let mut command = json!({ "type": "join", "room": self.run.rooms[room].name });
        if let Some(since) = since {
            let epoch = self.run.epoch_text(since.epoch);
            command["since"] = json!({ "epoch": epoch, "offset": since.offset });
        }
        self.note(Record::Joining(room));
        self.command(command, Pending::Join(room, since)).await;
    }

    pub(crate) async fn leave(&mut self, room: Room) {
        self.note(Record::Leaving(room));
        let command = json!({ "type": "leave", "room": self.run.rooms[room].name });
        self.command(command, Pending::Leave(room)).await;
    }

    /// Acknowledges all that it has of a room.
    pub(crate) async fn acknowledge(&mut self, room: Room) {
        let known = |it: &Standing| it.position > 0 && !it.is_unsure;
        let Some(standing) = self.rooms.get(&room).copied().filter(known) else { return };
        let name = &self.run.rooms[room].name;
        let command = json!({ "type": "ack", "room": name, "offset": standing.position });
        let place = Place { room, epoch: standing.epoch, offset: standing.position };
        self.command(command, Pending::Acknowledge(place)).await;
    }

    pub(crate) async fn publish(&mut self, room: Room, message: Message, padding: usize) {
        let Message { publisher, number } = message;
        let data = json!({ "publisher": publisher, "number": number, "pad": "p".repeat(padding) });
        self.note(Record::Publishing(room, message));
        let command = json!({ "type": "publish", "room": self.run.rooms[room].name, "data": data });
        self.command(command, Pending::Publish(message)).await;
    }

    async fn command(&mut self, mut command: Value, pending: Pending) {
        let Some(link) = &mut self.link else { return };
        command["id"] = self.next_id.into();
        self.pending.insert(self.next_id, pending);
        self.next_id += 1;
        // If it ended, the next read tells.
        let _ = link.send(&command).await;
    }
}
