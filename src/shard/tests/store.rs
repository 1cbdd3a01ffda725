//! A Redis that is none: what the scripts and the bridge do, as values, with all that can go wrong
//! on the way.

mod attendance;
mod invitations;
mod places;
mod refusal;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::refusal::refusal;
use super::cluster::Cluster;
use super::direct::Directs;
use super::lists::Lists;
use super::roaming::Sessions;
use crate::clock::Moment;
use crate::config::Config;
use crate::id::{ConnectionAddress, CoreId};
use crate::room::attendance::{Attendance, AttendanceAsk, Mark};
use crate::room::bookmark::{
    Bookmark, BookmarkAsk, BookmarkNews, Bookmarked, Bookmarks, End, Note,
};
use crate::room::broker::{
    Fault, FromBroker, Kept, Life, News, PatternAsk, Placed, Publish, Seen, Stamp, ToBroker,
    epoch_number,
};
use crate::room::charter::wire as charter;
use crate::room::charter::{Amendment, Charter, Manner, Motion, Vote};
use crate::room::invited::Invited;
use crate::room::name::RoomKey;
use crate::room::wire;
use crate::shard::CoreMessage;

/// What nodes have in common that are on it, and that nothing is in the way of what tests do.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.redis.url = Some("redis://fake".to_owned());
    config.redis.timeout_ms = 1_000;
    config.rate.messages_per_second = 0;
    config.rate.bytes_per_second = 0;
    config.limits.connections_per_user = 0;
    config
}

#[derive(Clone, Debug, Default)]
struct Room {
    epoch: String,
    offset: u64,
    stamp: Option<Stamp>,
    entries: Vec<(u64, Box<[u8]>)>,
    keys: BTreeMap<Box<str>, (String, u64)>,
    attendance: Attendance,
    charter: Charter,
    /// In which life users have come how far.
    marks: (String, BTreeMap<Arc<str>, Bookmark>),
}

/// The server.
#[derive(Debug, Default)]
pub(super) struct Store {
    rooms: BTreeMap<RoomKey, Room>,
    before: BTreeMap<RoomKey, Room>,
    /// Which server it is.
    server: u64,
    epochs: u64,
    told: Vec<(RoomKey, News)>,
    /// The connections of users, where they are limited, and since when they are there.
    places: BTreeMap<Arc<str>, Vec<(Moment, u64, ConnectionAddress)>>,
    /// Connections that have to go.
    pub(super) displaced: Vec<(u64, ConnectionAddress)>,
    /// Counts all steps that were told because a node had lapsed.
    pub(super) forgotten: u64,
    pub(super) sessions: Sessions,
    directs: Directs,
    /// To which rooms users, whose rooms these are, were invited.
    invited: BTreeMap<RoomKey, Vec<Invited>>,
    /// Patterns of nodes, and what was called because of them.
    pub(super) lists: Lists,
    lists_before: Lists,
}

/// The way of one node to it and back.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Its place among all.
    name: usize,
    /// What tells the node from others; 0: it has never been linked.
    node: u64,
    is_up: bool,
    /// Counts links.
    number: u64,
    to: VecDeque<(CoreId, ToBroker)>,
    pub(super) from: VecDeque<(CoreId, FromBroker)>,
    /// The server has no memory left to open a room, or to note who is there.
    pub(super) is_full: bool,
    /// What it has refused for that.
    pub(super) refused: Vec<RoomKey>,
    /// Rooms that are listened to, their homes, and on which server each was opened.
    rooms: BTreeMap<RoomKey, (CoreId, u64)>,
}

impl Store {
    pub(super) fn empty(&mut self) {
        self.rooms.clear();
        self.lists = Lists::default();
    }

    pub(super) fn snapshot(&mut self) {
        self.before = self.rooms.clone();
        self.lists_before = self.lists.clone();
    }

    /// It ends, and another one begins with what it had once.
    pub(super) fn set_back(&mut self) {
        self.rooms = self.before.clone();
        self.lists = self.lists_before.clone();
        self.server += 1;
    }

    /// Begins a new epoch where somebody has seen more than is here.
    fn judge(&mut self, key: &RoomKey, seen: Option<&Seen>, is_forked: bool) {
        let room = self.rooms.entry(key.clone()).or_default();
        let number = epoch_number(&room.epoch);
        let theirs = seen.map_or(0, |seen| epoch_number(&seen.epoch));
        let differs =
            seen.is_some_and(|seen| *seen.epoch != room.epoch || seen.offset > room.offset);
        let is_ahead =
            theirs > number || (theirs > 0 && theirs == number && (differs || is_forked));
        let is_new = room.epoch.is_empty();
        if is_new || is_ahead {
            self.epochs += 1;
            let epoch = format!("{}.{}", number.max(theirs) + 1, self.epochs);
            let offset = u64::from(is_ahead);
            if is_ahead {
                let news = News::Epoch { epoch: epoch.as_str().into(), offset };
                self.told.push((key.clone(), news));
            }
            let keys = std::mem::take(&mut room.keys);
            let attendance = std::mem::take(&mut room.attendance);
            let charter = std::mem::take(&mut room.charter);
            let marks = std::mem::take(&mut room.marks);
            *room = Room { epoch, offset, keys, attendance, charter, marks, ..Room::default() };
        }
    }

    fn publish(&mut self, publish: &Publish) -> Placed {
        let key = &publish.room;
        if let (Some(room), Some((name, _))) = (self.rooms.get(key), &publish.key)
            && let Some((epoch, offset)) = room.keys.get(name)
        {
            let (epoch, offset) = (epoch.as_str().into(), *offset);
            return Placed { epoch, offset, is_duplicate: true, nodes: 0 };
        }
        self.judge(key, publish.seen.as_ref(), false);
        let room = self.rooms.get_mut(key).expect("it was judged");
        room.offset += 1;
        room.stamp = wire::stamp(&publish.wire);
        if publish.keep.size > 0 {
            room.entries.push((room.offset, publish.wire.clone()));
            let over = room.entries.len().saturating_sub(publish.keep.size as usize);
            room.entries.drain(..over);
        }
        let place = (room.epoch.clone(), room.offset);
        if let Some((name, _)) = &publish.key {
            room.keys.insert(name.clone(), place.clone());
        }
        let (epoch, offset) = (place.0.as_str().into(), place.1);
        let news = News::Publication { epoch, offset, wire: publish.wire.clone() };
        self.told.push((key.clone(), news));
        Placed { epoch: place.0.as_str().into(), offset, is_duplicate: false, nodes: 1 }
    }

    fn open(&mut self, key: &RoomKey, seen: Option<&Seen>, all: bool, is_doubtful: bool) -> Life {
        let room = self.rooms.entry(key.clone()).or_default();
        let is_forked = seen.is_some_and(|seen| {
            let there = if seen.offset == room.offset {
                Some(room.stamp)
            } else {
                let entry = room.entries.iter().find(|(offset, _)| *offset == seen.offset);
                entry.map(|(_, wire)| wire::stamp(wire))
            };
            let is_comparable = seen.stamp.is_some() && seen.offset > 0;
            is_comparable && there != Some(seen.stamp) && (there.is_some() || is_doubtful)
        });
        self.judge(key, seen, is_forked);
        let room = &self.rooms[key];
        let after = seen.filter(|seen| !all && *seen.epoch == room.epoch);
        let after = after.map_or(0, |seen| seen.offset);
        let entries = room.entries.iter().filter(|(offset, _)| *offset > after).cloned().collect();
        let (epoch, offset, stamp) = (room.epoch.as_str().into(), room.offset, room.stamp);
        Life { epoch, offset, stamp, is_whole: all, entries }
    }
}

impl Store {
    /// Decides about a room, if it is as it was known.
    fn decide(&mut self, key: &RoomKey, motion: Motion) -> Vote {
        let room = self.rooms.entry(key.clone()).or_default();
        if room.charter.mark != motion.known {
            return Vote::Outdated;
        }
        if motion.manner != Manner::Amend {
            room.charter.entries.clear();
        }
        for entry in &motion.entries {
            let (field, value) = charter::field(entry);
            room.charter.entries.retain(|it| charter::field(it).0 != field);
            room.charter.entries.extend(value.map(|_| entry.clone()));
        }
        let mark = &mut room.charter.mark;
        if mark.life.is_empty() {
            self.epochs += 1;
            mark.life = self.epochs.to_string().into();
        }
        mark.number += 1;
        let mark = mark.clone();
        let Motion { manner, entries, decided, .. } = motion;
        // As it is read from what was written.
        let told = charter::write(manner, &entries, &decided);
        let (manner, entries, decided) = charter::read(&told).expect("it was written so");
        let amendment = Amendment { mark: mark.clone(), manner, entries, decided };
        self.told.push((key.clone(), News::Amendment(Box::new(amendment))));
        if manner == Manner::End {
            self.epochs += 1;
            room.epoch = format!("{}.{}", epoch_number(&room.epoch) + 1, self.epochs);
            (room.offset, room.stamp) = (0, None);
            room.entries.clear();
        }
        Vote::Carried(mark)
    }

    fn read_marks(&self, key: &RoomKey, users: &[Arc<str>]) -> Bookmarks {
        let Some(Room { marks: (epoch, all), .. }) = self.rooms.get(key) else {
            return Bookmarks { epoch: "".into(), of: vec![None; users.len()] };
        };
        let of = users.iter().map(|user| all.get(user).copied()).collect();
        Bookmarks { epoch: epoch.as_str().into(), of }
    }

    fn write_marks(&mut self, key: &RoomKey, epoch: &str, marks: &[Bookmarked]) {
        let Some(room) = self.rooms.get_mut(key).filter(|room| room.epoch == epoch) else { return };
        if room.marks.0 != epoch {
            room.marks = (epoch.to_owned(), BTreeMap::new());
        }
        let all = &mut room.marks.1;
        for (user, mark) in marks {
            match mark {
                Note::At(mark) => _ = all.insert(user.clone(), mark.after(all.get(user).copied())),
                Note::Ended(End::Banned | End::Left) => _ = all.remove(user),
                Note::Ended(End::Dismissed) => all.retain(|it, mark| it != user || mark.has_joined),
            }
        }
    }

    fn note(&mut self, room: RoomKey, ask: BookmarkAsk, is_up: bool) -> FromBroker {
        let news = match ask {
            BookmarkAsk::Read { users } => {
                let read = self.read_marks(&room, &users);
                let outcome = if is_up { Ok(read) } else { Err(Fault::Lost) };
                BookmarkNews::Read { users, outcome }
            }
            BookmarkAsk::Write { ticket, .. } if !is_up => {
                BookmarkNews::Written { ticket, outcome: Err(Fault::Lost) }
            }
            BookmarkAsk::Write { ticket, epoch, marks } => {
                self.write_marks(&room, &epoch, &marks);
                BookmarkNews::Written { ticket, outcome: Ok(()) }
            }
        };
        FromBroker::Bookmarks { room, news }
    }

    fn list(&mut self, node: &Cluster, ask: PatternAsk, is_up: bool) -> FromBroker {
        if !is_up {
            return Lists::fail(ask);
        }
        self.epochs += 1;
        let list = (self.server, self.epochs);
        self.lists.execute(node.id(), node.now.unix_ms, list, ask)
    }

    /// The life that a room has now.
    pub(super) fn epoch(&self, name: &str) -> Option<&str> {
        let found = self.rooms.iter().find(|(key, _)| key.name.as_str() == name);
        found.map(|(_, room)| room.epoch.as_str())
    }

    /// How far a user has come in the life that a room has now.
    pub(super) fn mark(&self, key: &RoomKey, user: &str) -> Option<Bookmark> {
        let room = self.rooms.get(key).filter(|room| room.marks.0 == room.epoch)?;
        room.marks.1.get(user).copied()
    }

    fn recall(&self, key: &RoomKey, known: &Mark) -> Option<Box<Charter>> {
        let charter = self.rooms.get(key).map(|room| room.charter.clone()).unwrap_or_default();
        (charter.mark != *known).then(|| Box::new(charter))
    }

    /// What has been decided about a room.
    pub(super) fn charter(&self, key: &RoomKey) -> Charter {
        self.rooms.get(key).map(|room| room.charter.clone()).unwrap_or_default()
    }
}

impl Link {
    /// The link of one of several nodes.
    pub(super) fn of(name: usize) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.to.is_empty() && self.from.is_empty()
    }

    /// The link ends. What was on its way is carried out or not; nobody hears of it.
    pub(super) fn cut(&mut self, node: &mut Cluster, store: &mut Store, arrives: bool) {
        if !self.is_up {
            return;
        }
        self.is_up = false;
        for (_, message) in std::mem::take(&mut self.to) {
            match message {
                ToBroker::Publish(publish) if arrives => {
                    store.publish(&publish);
                }
                ToBroker::Attend { room, ask } if arrives => {
                    store.attend(node.id(), &room, ask);
                }
                ToBroker::Bookmarks { room, ask: BookmarkAsk::Write { epoch, marks, .. } }
                    if arrives =>
                {
                    store.write_marks(&room, &epoch, &marks);
                }
                ToBroker::Move { room, motion } if arrives => {
                    store.decide(&room, *motion);
                }
                _ => {}
            }
        }
        store.unplace(node.id());
        self.from.clear();
        self.tell(node, false);
    }

    pub(super) fn restore(&mut self, node: &mut Cluster) {
        if !self.is_up {
            self.is_up = true;
            self.number += 1;
            self.from.clear();
            self.to.clear();
            self.tell(node, true);
        }
    }

    /// There is one link more, over which places are told anew.
    pub(super) fn relink(&mut self, node: &mut Cluster, store: &mut Store) {
        store.unplace(node.id());
        self.number += 1;
        self.tell(node, true);
    }

    fn tell(&mut self, node: &mut Cluster, is_up: bool) {
        self.node = node.id();
        for core in 0..2 {
            let message = FromBroker::Link { is_up, kept: Kept::BEST, number: self.number };
            hand_over(node, CoreId(core), message);
        }
    }

    /// This node is told that a connection has to go.
    pub(super) fn displace(&mut self, at: ConnectionAddress) {
        if self.is_up {
            self.from.push_back((at.core, FromBroker::Displaced { connection: at.key }));
        }
    }

    /// The part of a cluster that the node asks is out of reach, or no longer; it is linked to others.
    pub(super) fn set_out_of_reach(&mut self, is_out: bool) {
        self.is_up = !is_out;
    }

    /// This node finds that another one is no more.
    pub(super) fn bury(&mut self, lapsed: u64) {
        if self.is_up {
            for core in 0..2 {
                self.from.push_back((CoreId(core), FromBroker::Lapsed { node: lapsed }));
            }
        }
    }

    /// Some of what is on its way to a core is lost, and it is told so.
    pub(super) fn miss(&mut self) {
        for (_, message) in &mut self.from {
            if let FromBroker::News { room, .. } = message {
                *message = FromBroker::Missed { room: room.clone() };
                return;
            }
        }
    }

    /// What has been decided is not said, for want of time.
    pub(super) fn fail_recalls(&mut self) {
        for (_, message) in &mut self.from {
            if let FromBroker::Recalled { outcome, .. } = message {
                *outcome = Err(Fault::Overload);
            }
        }
    }

    /// What is on its way of the rooms' news never comes, and nobody says so.
    pub(super) fn lose_news(&mut self) {
        self.from.retain(|(_, message)| !matches!(message, FromBroker::News { .. }));
    }

    /// Of what is on its way only publications arrive, or only all else; the rest comes later.
    pub(super) fn deliver_part(&mut self, node: &mut Cluster, is_published: bool) {
        let is_first = |(_, message): &(CoreId, FromBroker)| {
            let news = matches!(message, FromBroker::News { news: News::Publication { .. }, .. });
            news == is_published
        };
        let (first, late): (Vec<_>, Vec<_>) = self.from.drain(..).partition(is_first);
        first.into_iter().for_each(|(core, message)| hand_over(node, core, message));
        self.from.extend(late);
    }

    /// What is said to a command that the server does not carry out.
    fn refuse(&mut self, message: &ToBroker) -> Option<FromBroker> {
        if !self.is_up {
            return refusal(message, Fault::Lost);
        }
        let (ToBroker::Open { room, .. }
        | ToBroker::Attend { room, ask: AttendanceAsk::Say { .. } }) = message
        else {
            return None;
        };
        if !self.is_full {
            return None;
        }
        self.refused.push(room.clone());
        refusal(message, Fault::OutOfMemory)
    }

    /// The server takes the next command of a node.
    pub(super) fn execute(&mut self, node: &mut Cluster, store: &mut Store) {
        self.to.extend(node.to_broker.drain(..));
        let Some((core, message)) = self.to.pop_front() else { return };
        let is_up = self.is_up;
        if let Some(refusal) = self.refuse(&message) {
            return self.from.push_back((core, refusal));
        }
        let answer = match message {
            ToBroker::Close { room } => {
                self.rooms.remove(&room);
                return;
            }
            ToBroker::Pass { .. } => return,
            ToBroker::Entrance { place, ask } => {
                let since = node.now.moment;
                let Some(answer) = store.entrance(node.id(), (place, since), &ask, is_up) else {
                    return;
                };
                answer
            }
            ToBroker::Hold { places, .. } => {
                let since = |since: &Moment| is_up.then_some(*since);
                return places.iter().for_each(|(it, at)| store.place(node.id(), it, since(at)));
            }
            ToBroker::Attend { room, ask } => match store.attend(node.id(), &room, ask) {
                Some(answer) => answer,
                None => return,
            },
            ToBroker::Bookmarks { room, ask } => store.note(room, ask, is_up),
            ToBroker::Recall { room, known } => {
                let outcome = Ok(store.recall(&room, &known));
                FromBroker::Recalled { room, outcome }
            }
            ToBroker::Move { room, motion } => {
                let (ticket, outcome) = (motion.ticket, Ok(store.decide(&room, *motion)));
                FromBroker::Voted { room, ticket, outcome }
            }
            ToBroker::Session(message) => {
                if let Some(news) =
                    store.sessions.execute(self.name, message, node.now.moment, is_up)
                {
                    self.from.push_back((core, FromBroker::Session(news)));
                }
                return;
            }
            ToBroker::Invite { user, invited } => return store.invite(user, *invited),
            ToBroker::Greet { user, connection } => {
                let invited = store.invited(&user).map(Box::new);
                let told = invited.map(|invited| FromBroker::Invited { connection, invited });
                return self.from.extend(told.map(|it| (core, it)));
            }
            ToBroker::Direct(ask) => return store.directs.ask((self.node, core), ask),
            ToBroker::Patterns(ask) => store.list(node, ask, is_up),
            ToBroker::Open { room, seen, all, .. } => {
                let opened = self.rooms.get(&room).map(|(_, server)| *server);
                let is_doubtful = opened.is_some_and(|server| server != store.server);
                let life = store.open(&room, seen.as_ref(), all, is_doubtful);
                self.rooms.insert(room.clone(), (core, store.server));
                FromBroker::Opened { room, outcome: Ok(life) }
            }
            ToBroker::Publish(publish) => {
                let outcome = Ok(store.publish(&publish));
                FromBroker::Published { ticket: publish.ticket, outcome }
            }
        };
        self.from.push_back((core, answer));
    }

    /// All who listen are told what the server has told.
    pub(super) fn spread(links: &mut [Self], store: &mut Store) {
        for (to, news) in store.sessions.told() {
            for (name, link) in links.iter_mut().enumerate().filter(|(_, link)| link.is_up) {
                if name == to {
                    let cores =
                        [0, 1].map(|core| (CoreId(core), FromBroker::Session(news.clone())));
                    link.from.extend(cores);
                }
            }
        }
        let nodes: Vec<_> = links.iter().map(|link| (link.node, link.is_up)).collect();
        for ((node, core), news) in store.directs.told(&nodes) {
            let link = links.iter_mut().find(|link| link.node == node && link.is_up);
            link.into_iter()
                .for_each(|it| it.from.push_back((core, FromBroker::Direct(news.clone()))));
        }
        for (room, news) in store.told.drain(..) {
            for link in links.iter_mut().filter(|link| link.is_up) {
                if let Some((core, _)) = link.rooms.get(&room) {
                    let message = FromBroker::News { room: room.clone(), news: news.clone() };
                    link.from.push_back((*core, message));
                }
            }
        }
    }

    /// A core takes the next of what came.
    pub(super) fn deliver(&mut self, node: &mut Cluster) {
        if let Some((core, message)) = self.from.pop_front() {
            hand_over(node, core, message);
        }
    }
}

pub(super) fn hand_over(node: &mut Cluster, core: CoreId, message: FromBroker) {
    node.hear(core, CoreMessage::FromBroker(Box::new(message)));
}
