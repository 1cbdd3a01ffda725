//! The rooms and the stations that are listened to.
//!
//! Invariant: a room is here from when a core opens it until so long after the core has closed it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::hash;
use crate::id::CoreId;
use crate::room::name::RoomKey;

use super::keys::RoomKeys;
use super::map;
use super::station::{Row, Station};
use super::time;

/// Servers that are known again; with more, all are new.
const SERVERS_MAX: usize = 1_024;

/// A room that is listened to, or will be.
#[derive(Debug)]
pub(super) struct Watched {
    /// Its home here.
    pub(super) core: CoreId,
    pub(super) keys: RoomKeys,
    /// Where it is in a cluster.
    pub(super) slot: u16,
    /// Who listens to it.
    ear: Listening,
    /// The server whose line that is; 0: none.
    server: u64,
    /// The server on which it was last opened, and how many there had been by then.
    opened: Option<(u64, u64)>,
    closed: Option<Instant>,
    /// The line that has listened to it and ended last; 0: none has.
    fell: u64,
    /// What is said there is kept for who is not there, so it does not end when nobody listens.
    pub(super) is_lasting: bool,
}

impl Watched {
    pub(super) fn ear(&self) -> Listening {
        self.ear
    }
}

/// By which line a room is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    No,
    /// The server has not confirmed it yet.
    Asked(u64),
    Yes(u64),
}

impl Listening {
    /// The line, confirmed or not.
    pub(super) fn line(self) -> Option<u64> {
        match self {
            Self::No => None,
            Self::Asked(line) | Self::Yes(line) => Some(line),
        }
    }
}

/// Whose channel something was said on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A room's.
    Room(RoomKey),
    /// One that is always listened to.
    Station(Station),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Watch {
    rooms: hash::Map<RoomKey, Watched>,
    stations: Vec<Row>,
    channels: HashMap<Vec<u8>, Subject>,
    /// Rooms that lines were asked to listen to, and that they have not confirmed.
    asked: HashMap<u64, HashSet<RoomKey>>,
    /// Rooms that were forgotten and may have ended, by their channels, and the lines that are told to
    /// listen no longer.
    leaving: HashMap<Vec<u8>, (u64, RoomKey)>,
    /// Servers that there were lines to, and which of all each was.
    servers: HashMap<u64, u64>,
    /// How many there were.
    met: u64,
}

impl Watch {
    /// With these stations, and no room.
    pub(super) fn new(stations: Vec<Row>, seed: hash::Seed) -> Self {
        let subject = |row: &Row| (row.channel.clone().into_bytes(), Subject::Station(row.station));
        let channels = stations.iter().map(subject).collect();
        let rooms = hash::Map::with_hasher(seed);
        let (asked, leaving, servers) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { rooms, stations, channels, asked, leaving, servers, met: 0 }
    }

    /// The channels that are listened to without a room, and how.
    pub(super) fn stations(&self) -> &[Row] {
        &self.stations
    }

    /// A core needs a room.
    pub(super) fn open(
        &mut self,
        room: &RoomKey,
        core: CoreId,
        keys: impl FnOnce() -> RoomKeys,
    ) -> &mut Watched {
        let watched = self.keep(room, core, keys);
        watched.closed = None;
        watched
    }

    /// Something is to be asked of a room. It is kept for that, but no longer than one that was closed, if
    /// its core has closed it while that waited.
    pub(super) fn keep(
        &mut self,
        room: &RoomKey,
        core: CoreId,
        keys: impl FnOnce() -> RoomKeys,
    ) -> &mut Watched {
        let Self { rooms, channels, .. } = self;
        rooms.entry(room.clone()).or_insert_with(|| {
            let keys = keys();
            channels.insert(keys.channel().into_bytes(), Subject::Room(room.clone()));
            let slot = map::slot(keys.channel().as_bytes());
            let (ear, closed) = (Listening::No, Some(time::now()));
            Watched {
                core,
                keys,
                slot,
                ear,
                server: 0,
                opened: None,
                closed,
                fell: 0,
                is_lasting: false,
            }
        })
    }

    /// A core no longer needs a room.
    pub(super) fn close(&mut self, room: &RoomKey) {
        if let Some(watched) = self.rooms.get_mut(room) {
            watched.closed.get_or_insert_with(time::now);
        }
    }

    /// The slot of a room.
    pub(super) fn slot(&self, room: &RoomKey) -> Option<u16> {
        self.rooms.get(room).map(|watched| watched.slot)
    }

    /// A line is asked to listen to a room: the room's channel, and the line that did before.
    pub(super) fn ask(&mut self, room: &RoomKey, line: u64) -> Option<(String, Option<u64>)> {
        let watched = self.rooms.get_mut(room)?;
        let before = watched.ear.line();
        watched.ear = Listening::Asked(line);
        let channel = watched.keys.channel();
        self.unasked(before, room);
        self.asked.entry(line).or_default().insert(room.clone());
        Some((channel, before.filter(|before| *before != line)))
    }

    /// It is known what became of what a line was asked, or does not matter.
    fn unasked(&mut self, line: Option<u64>, room: &RoomKey) {
        if let Some(rooms) = line.and_then(|line| self.asked.get_mut(&line)) {
            rooms.remove(room);
        }
    }

    /// A channel is listened to by a line to this server. Its room, if it is one's, and if that was
    /// asked of this line, or of none: one that was refused with others may not have been.
    pub(super) fn listening(&mut self, channel: &[u8], line: u64, server: u64) -> Option<RoomKey> {
        let Some(Subject::Room(room)) = self.channels.get(channel) else { return None };
        let watched = self.rooms.get_mut(room)?;
        if !matches!(watched.ear, Listening::No) && watched.ear != Listening::Asked(line) {
            return None;
        }
        watched.ear = Listening::Yes(line);
        watched.server = server;
        let room = room.clone();
        self.unasked(Some(line), &room);
        Some(room)
    }

    /// Whether anybody needs that this line listens to a channel.
    pub(super) fn is_wanted(&self, channel: &[u8], line: u64) -> bool {
        match self.channels.get(channel) {
            Some(Subject::Room(room)) => {
                self.rooms.get(room).is_some_and(|it| it.ear.line() == Some(line))
            }
            Some(Subject::Station(_)) => true,
            None => false,
        }
    }

    /// Whether a line has confirmed that it listens to a room, and nothing else was asked of it since.
    pub(super) fn is_heard(&self, channel: &[u8], line: u64) -> bool {
        let Some(Subject::Room(room)) = self.channels.get(channel) else { return false };
        self.rooms.get(room).is_some_and(|it| it.ear == Listening::Yes(line))
    }

    /// Whether it was this line that has listened to a room and ended last.
    pub(super) fn fell_with(&self, room: &RoomKey, line: u64) -> bool {
        self.rooms.get(room).is_some_and(|it| it.fell == line)
    }

    /// What was asked of a line and not confirmed yet was refused, or may have been.
    pub(super) fn unask(&mut self, line: u64) {
        for room in self.asked.remove(&line).unwrap_or_default() {
            let watched = self.rooms.get_mut(&room);
            if let Some(watched) = watched.filter(|it| it.ear == Listening::Asked(line)) {
                watched.ear = Listening::No;
            }
        }
    }

    /// A line listens to a channel no longer. Whether that matters.
    pub(super) fn silenced(&mut self, channel: &[u8], line: u64) -> bool {
        let Some(Subject::Room(room)) = self.channels.get(channel).cloned() else { return false };
        let watched = self.rooms.get_mut(&room).filter(|it| it.ear.line() == Some(line));
        let Some(watched) = watched else { return false };
        watched.ear = Listening::No;
        self.unasked(Some(line), &room);
        true
    }

    pub(super) fn get(&self, room: &RoomKey) -> Option<&Watched> {
        self.rooms.get(room)
    }

    /// Whose channel, or pattern, that is.
    pub(super) fn heard(&self, channel: &[u8]) -> Option<Subject> {
        self.channels.get(channel).cloned()
    }

    /// Forgets rooms that have been closed for so long; their channels, and who listens to them.
    pub(super) fn sweep(&mut self, grace: Duration) -> Vec<(u64, String)> {
        let mut silent = Vec::new();
        let Self { rooms, channels, asked, leaving, .. } = self;
        rooms.retain(|room, watched| {
            let stays = watched.closed.is_none_or(|closed| time::elapsed(closed) < grace);
            if !stays {
                let channel = watched.keys.channel();
                channels.remove(channel.as_bytes());
                if let Some(line) = watched.ear.line() {
                    if let Some(rooms) = asked.get_mut(&line) {
                        rooms.remove(room);
                    }
                    if !watched.is_lasting {
                        leaving.insert(channel.clone().into_bytes(), (line, room.clone()));
                    }
                    silent.push((line, channel));
                }
            }
            stays
        });
        silent
    }

    /// A line listens to a channel no longer, as it was told. The room, if nobody needs it again and it may
    /// have ended.
    pub(super) fn left(&mut self, channel: &[u8], line: u64) -> Option<RoomKey> {
        self.leaving.get(channel).filter(|(by, _)| *by == line)?;
        let (_, room) = self.leaving.remove(channel)?;
        (!self.rooms.contains_key(&room)).then_some(room)
    }

    /// A line has ended: it listens to nothing. The rooms that it listened to and some core needs.
    pub(super) fn unlink(&mut self, line: u64) -> Vec<RoomKey> {
        self.leaving.retain(|_, (by, _)| *by != line);
        self.asked.remove(&line);
        let of_line = |watched: &Watched| watched.ear.line() == Some(line);
        let mut needed = Vec::new();
        for (room, watched) in self.rooms.iter_mut().filter(|(_, watched)| of_line(watched)) {
            (watched.ear, watched.fell) = (Listening::No, line);
            if watched.closed.is_none() {
                needed.push(room.clone());
            }
        }
        needed
    }

    /// Rooms of which `is_right` says that the wrong line listens to them, or none.
    pub(super) fn misheard(&self, is_right: impl Fn(&Watched) -> bool) -> Vec<RoomKey> {
        let wrong = self.rooms.iter().filter(|(_, it)| it.closed.is_none() && !is_right(it));
        wrong.map(|(room, _)| room.clone()).collect()
    }

    /// There is a line to a server.
    pub(super) fn meet(&mut self, server: u64) {
        if self.servers.len() >= SERVERS_MAX {
            self.servers.clear();
        }
        self.met += u64::from(!self.servers.contains_key(&server));
        self.servers.entry(server).or_insert(self.met);
    }

    /// Whether a room is listened to on another server than the one on which it was last opened, which was
    /// not there then: it may have taken the place of that one, and lack something. Between servers that
    /// stay what they are, a slot takes all with it.
    pub(super) fn is_doubtful(&self, room: &RoomKey) -> bool {
        let Some(watched) = self.rooms.get(room) else { return false };
        let is_known = |met| self.servers.get(&watched.server).is_some_and(|at| *at <= met);
        watched.opened.is_some_and(|(server, met)| server != watched.server && !is_known(met))
    }

    /// A room was opened.
    pub(super) fn opened(&mut self, room: &RoomKey) {
        if let Some(watched) = self.rooms.get_mut(room) {
            watched.opened = Some((watched.server, self.met));
        }
    }

    /// All rooms that some core needs.
    pub(super) fn needed(&self) -> impl Iterator<Item = (&RoomKey, CoreId)> {
        let needed = self.rooms.iter().filter(|(_, watched)| watched.closed.is_none());
        needed.map(|(room, watched)| (room, watched.core))
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::Keys;
    use crate::config::Config;
    use crate::id::TenantId;
    use crate::room::name::RoomName;
    use crate::tenant::Tenants;

    const SEED: hash::Seed = hash::Seed(1, 2);

    fn keys(room: &RoomKey) -> RoomKeys {
        Keys::new("p", &Tenants::new(&Config::default())).room(room)
    }

    #[test]
    fn a_room_is_listened_to_for_a_while_after_it_is_closed() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let made = keys(&room);
        let channel = made.channel();
        let mut watch = Watch::new(Vec::new(), SEED);
        watch.open(&room, CoreId(2), || made.clone());
        assert_eq!(watch.ask(&room, 7), Some((channel.clone(), None)));
        assert_eq!(watch.listening(channel.as_bytes(), 6, 1), None, "that was not asked");
        assert_eq!(watch.listening(channel.as_bytes(), 7, 1), Some(room.clone()));
        watch.close(&room);
        assert_eq!(watch.sweep(Duration::from_secs(60)), []);
        assert_eq!(watch.heard(channel.as_bytes()), Some(Subject::Room(room.clone())));
        watch.open(&room, CoreId(2), || made.clone());
        assert_eq!(watch.sweep(Duration::ZERO), [], "it was opened again");
        watch.close(&room);
        watch.keep(&room, CoreId(2), || made.clone());
        assert_eq!(watch.sweep(Duration::ZERO), [(7, made.channel())]);
        assert_eq!((watch.heard(channel.as_bytes()), watch.len()), (None, 0));
        assert_eq!(watch.left(channel.as_bytes(), 7), Some(room.clone()));
        assert_eq!(watch.left(channel.as_bytes(), 7), None, "it is told once");
    }

    #[test]
    fn a_room_that_is_needed_again_or_whose_line_has_ended_is_not_left() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let made = keys(&room);
        let channel = made.channel();
        let mut watch = Watch::new(Vec::new(), SEED);
        let leave = |watch: &mut Watch| {
            watch.open(&room, CoreId(2), || made.clone());
            watch.ask(&room, 7);
            watch.close(&room);
            assert_eq!(watch.sweep(Duration::ZERO), [(7, made.channel())]);
        };
        leave(&mut watch);
        watch.open(&room, CoreId(2), || made.clone());
        assert_eq!(watch.left(channel.as_bytes(), 7), None, "it was opened again");
        leave(&mut watch);
        assert_eq!(watch.unlink(7), []);
        assert_eq!(watch.left(channel.as_bytes(), 7), None, "nobody knows what was said meanwhile");
        leave(&mut watch);
        assert_eq!(watch.left(channel.as_bytes(), 8), None, "that line was not asked");
        assert_eq!(watch.left(channel.as_bytes(), 7), Some(room.clone()));
    }

    #[test]
    fn what_waits_for_who_is_not_there_does_not_end_when_it_is_left() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::user("ann").expect("a good name"));
        let made = keys(&room);
        let channel = made.channel();
        let mut watch = Watch::new(Vec::new(), SEED);
        for (is_lasting, left) in [(true, None), (false, Some(room.clone()))] {
            watch.open(&room, CoreId(2), || made.clone()).is_lasting = is_lasting;
            watch.ask(&room, 7);
            watch.close(&room);
            assert_eq!(watch.sweep(Duration::ZERO), [(7, made.channel())]);
            assert_eq!(watch.left(channel.as_bytes(), 7), left);
        }
    }

    #[test]
    fn what_a_line_refuses_is_what_it_was_asked_and_has_not_confirmed() {
        let room = |name| RoomKey::new(TenantId::DEFAULT, RoomName::parse(name).expect("a name"));
        let rooms = ["a", "b", "c"].map(room);
        let mut watch = Watch::new(Vec::new(), SEED);
        for room in &rooms {
            watch.open(room, CoreId(0), || keys(room));
            watch.ask(room, 7);
        }
        let [confirmed, refused, moved] = &rooms;
        let channel = keys(confirmed).channel();
        assert_eq!(watch.listening(channel.as_bytes(), 7, 1), Some(confirmed.clone()));
        assert_eq!(watch.ask(moved, 8), Some((keys(moved).channel(), Some(7))));
        let ear = |watch: &Watch, room| watch.get(room).map(Watched::ear);
        for _ in 0..2 {
            watch.unask(7);
            assert_eq!(ear(&watch, confirmed), Some(Listening::Yes(7)));
            assert_eq!(ear(&watch, refused), Some(Listening::No));
            assert_eq!(ear(&watch, moved), Some(Listening::Asked(8)));
        }
        // It was asked behind the one that was refused, and is confirmed: nothing more is said of it.
        let channel = keys(refused).channel();
        assert_eq!(watch.listening(channel.as_bytes(), 7, 1), Some(refused.clone()));
        assert_eq!(ear(&watch, refused), Some(Listening::Yes(7)));
        for room in &rooms {
            watch.close(room);
        }
        watch.sweep(Duration::ZERO);
        assert!(watch.asked.values().all(HashSet::is_empty), "{:?}", watch.asked);
    }

    #[test]
    fn what_a_line_confirms_is_wanted_if_no_other_was_asked_since() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let made = keys(&room);
        let channel = made.channel();
        let channel = channel.as_bytes();
        let mut watch = Watch::new(Vec::new(), SEED);
        watch.open(&room, CoreId(2), || made.clone());
        for (asked, other) in [(7, 8), (8, 7)] {
            watch.ask(&room, other);
            watch.ask(&room, asked);
            assert_eq!(watch.listening(channel, other, 1), None);
            assert!(watch.is_wanted(channel, asked) && !watch.is_wanted(channel, other));
            assert!(!watch.is_heard(channel, asked), "it has not confirmed it");
            assert!(watch.listening(channel, asked, 1).is_some());
            assert!(watch.is_heard(channel, asked) && !watch.is_heard(channel, other));
        }
        assert_eq!(watch.unlink(8), std::slice::from_ref(&room));
        assert!(watch.fell_with(&room, 8) && !watch.fell_with(&room, 7));
        assert!(!watch.is_wanted(b"other", 8));
    }

    #[test]
    fn stations_stay() {
        let row = Row { station: Station::Node, command: "SSUBSCRIBE", channel: "a".to_owned() };
        let mut watch = Watch::new(vec![row], SEED);
        assert_eq!(watch.sweep(Duration::ZERO), []);
        assert_eq!(watch.heard(b"a"), Some(Subject::Station(Station::Node)));
        assert_eq!((watch.heard(b"b"), watch.stations().len()), (None, 1));
    }

    #[test]
    fn a_room_is_doubtful_until_it_was_opened_on_the_present_server() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let made = keys(&room);
        let channel = made.channel();
        let mut watch = Watch::new(Vec::new(), SEED);
        let on = |watch: &mut Watch, line, server| {
            watch.meet(server);
            watch.open(&room, CoreId(0), || made.clone());
            watch.ask(&room, line);
            watch.listening(channel.as_bytes(), line, server);
        };
        on(&mut watch, 1, 11);
        assert!(!watch.is_doubtful(&room), "nothing was seen of it yet");
        watch.opened(&room);
        assert_eq!(watch.unlink(1), std::slice::from_ref(&room));
        on(&mut watch, 2, 11);
        assert!(!watch.is_doubtful(&room));
        on(&mut watch, 3, 12);
        on(&mut watch, 4, 12);
        assert!(watch.is_doubtful(&room));
        watch.opened(&room);
        assert!(!watch.is_doubtful(&room));
        on(&mut watch, 2, 11);
        assert!(!watch.is_doubtful(&room), "its slot goes to a server that was there");
        watch.opened(&room);
        on(&mut watch, 4, 12);
        assert!(!watch.is_doubtful(&room), "and comes back");
        assert!(watch.silenced(channel.as_bytes(), 4));
        assert!(!watch.silenced(channel.as_bytes(), 4));
        assert_eq!(watch.misheard(|it| it.ear == Listening::Yes(4)), [room]);
    }
}
