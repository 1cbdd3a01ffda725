//! The rooms and the stations that are listened to.
//!
//! Invariant: a room is here from when a core opens it until so long after the core has closed it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::id::CoreId;
use crate::room::name::RoomKey;

use super::keys::RoomKeys;
use super::station::{Row, Station};

/// A room that is listened to, or will be.
#[derive(Debug)]
pub(super) struct Watched {
    /// Its home here.
    pub(super) core: CoreId,
    pub(super) keys: RoomKeys,
    /// Over the present link.
    pub(super) is_subscribed: bool,
    /// The server on which it was last opened, by [`Watch::server`]; 0: none.
    server: u64,
    closed: Option<Instant>,
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
#[derive(Debug, Default)]
pub(super) struct Watch {
    rooms: HashMap<RoomKey, Watched>,
    stations: Vec<Row>,
    channels: HashMap<Vec<u8>, Subject>,
    /// Counts the servers that there were.
    server: u64,
    server_name: String,
}

impl Watch {
    /// With these stations, and no room.
    pub(super) fn new(stations: Vec<Row>) -> Self {
        let subject = |row: &Row| (row.channel.clone().into_bytes(), Subject::Station(row.station));
        let channels = stations.iter().map(subject).collect();
        Self { stations, channels, ..Self::default() }
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
        let Self { rooms, channels, .. } = self;
        let watched = rooms.entry(room.clone()).or_insert_with(|| {
            let keys = keys();
            channels.insert(keys.channel().into_bytes(), Subject::Room(room.clone()));
            Watched { core, keys, is_subscribed: false, server: 0, closed: None }
        });
        watched.closed = None;
        watched
    }

    /// A core no longer needs a room.
    pub(super) fn close(&mut self, room: &RoomKey) {
        if let Some(watched) = self.rooms.get_mut(room) {
            watched.closed.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn get(&self, room: &RoomKey) -> Option<&Watched> {
        self.rooms.get(room)
    }

    /// Whose channel, or pattern, that is.
    pub(super) fn heard(&self, channel: &[u8]) -> Option<Subject> {
        self.channels.get(channel).cloned()
    }

    /// Forgets rooms that have been closed for so long; the channels of those that were subscribed.
    pub(super) fn sweep(&mut self, grace: Duration) -> Vec<String> {
        let mut silent = Vec::new();
        let channels = &mut self.channels;
        self.rooms.retain(|_, watched| {
            let stays = watched.closed.is_none_or(|closed| closed.elapsed() < grace);
            if !stays {
                let channel = watched.keys.channel();
                channels.remove(channel.as_bytes());
                if watched.is_subscribed {
                    silent.push(channel);
                }
            }
            stays
        });
        silent
    }

    /// A link was made to a server of this name.
    pub(super) fn link(&mut self, server: &str) {
        if self.server == 0 || self.server_name != server {
            self.server += 1;
            server.clone_into(&mut self.server_name);
        }
    }

    /// The link has ended: nothing is listened to, until it is opened again.
    pub(super) fn unlink(&mut self) {
        for watched in self.rooms.values_mut() {
            watched.is_subscribed = false;
        }
    }

    /// Whether a room was last opened on another server than this.
    pub(super) fn is_doubtful(&self, room: &RoomKey) -> bool {
        self.rooms.get(room).is_some_and(|it| it.server != 0 && it.server != self.server)
    }

    /// A room was opened on this server.
    pub(super) fn opened(&mut self, room: &RoomKey) {
        if let Some(watched) = self.rooms.get_mut(room) {
            watched.server = self.server;
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

    fn keys(room: &RoomKey) -> RoomKeys {
        Keys::new("p", &Tenants::new(&Config::default())).room(room)
    }

    #[test]
    fn a_room_is_listened_to_for_a_while_after_it_is_closed() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let made = keys(&room);
        let channel = made.channel();
        let mut watch = Watch::default();
        watch.open(&room, CoreId(2), || made.clone()).is_subscribed = true;
        watch.close(&room);
        assert_eq!(watch.sweep(Duration::from_secs(60)), Vec::<String>::new());
        assert_eq!(watch.heard(channel.as_bytes()), Some(Subject::Room(room.clone())));
        watch.open(&room, CoreId(2), || made.clone());
        assert_eq!(watch.sweep(Duration::ZERO), Vec::<String>::new(), "it was opened again");
        watch.close(&room);
        assert_eq!(watch.sweep(Duration::ZERO), [made.channel()]);
        assert_eq!((watch.heard(channel.as_bytes()), watch.len()), (None, 0));
    }

    #[test]
    fn stations_stay() {
        let row = Row { station: Station::Echo, command: "SSUBSCRIBE", channel: "a".to_owned() };
        let mut watch = Watch::new(vec![row]);
        assert_eq!(watch.sweep(Duration::ZERO), Vec::<String>::new());
        assert_eq!(watch.heard(b"a"), Some(Subject::Station(Station::Echo)));
        assert_eq!((watch.heard(b"b"), watch.stations().len()), (None, 1));
    }

    #[test]
    fn a_room_is_doubtful_until_it_was_opened_on_the_present_server() {
        let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("a").expect("a good name"));
        let mut watch = Watch::default();
        watch.link("one");
        watch.open(&room, CoreId(0), || keys(&room));
        assert!(!watch.is_doubtful(&room), "nothing was seen of it yet");
        watch.opened(&room);
        watch.link("one");
        assert!(!watch.is_doubtful(&room));
        watch.link("two");
        watch.link("two");
        assert!(watch.is_doubtful(&room));
        watch.opened(&room);
        assert!(!watch.is_doubtful(&room));
    }
}
