//! What a server has, as tests look at it.

use std::collections::BTreeSet;

use super::Redis;
use super::data::Data;
use crate::bridge::map;
use crate::bridge::tests::transcript::Transcript;

impl Redis {
    pub(in crate::bridge::tests) fn transcript(&self) -> Transcript {
        self.0.borrow().transcript
    }

    /// Keys of rooms that end so, but of the reserved ones: what is said there waits for their users.
    pub(in crate::bridge::tests) fn keys_of(&self, ends: &[&str]) -> Vec<String> {
        let server = self.0.borrow();
        let names = server.data.names().filter(|name| server.slots.have(name));
        let names = names.map(|name| name.escape_ascii().to_string());
        let names = names.filter(|name| !name.contains(".Q"));
        names.filter(|name| ends.iter().any(|end| name.ends_with(&format!("}}:{end}")))).collect()
    }

    /// The one of all servers that has a key.
    pub(in crate::bridge::tests) fn of<'a>(all: &'a [Self], key: &str) -> &'a Self {
        let have = |it: &&Self| it.0.borrow().slots.have(key.as_bytes());
        let keep = |it: &&Self| it.0.borrow().slots.keep(key.as_bytes());
        let found = all.iter().find(keep).or_else(|| all.iter().find(have));
        found.expect("every slot has a server")
    }

    /// Whether something was published where it had no memory left.
    pub(in crate::bridge::tests) fn has_overflown(&self) -> bool {
        self.0.borrow().has_overflown
    }

    /// The place among all of the one that has a slot, as the first believes.
    pub(in crate::bridge::tests) fn place_of(all: &[Self], slot: u16) -> usize {
        all[0].0.borrow().slots.owner(slot)
    }

    /// The slots of all that it has, and of what is listened to there.
    pub(in crate::bridge::tests) fn used_slots(&self) -> BTreeSet<u16> {
        let server = self.0.borrow();
        let used = server.data.names().chain(server.channels());
        used.filter(|name| server.slots.keep(name)).map(map::slot).collect()
    }

    /// How far a life of a room has come on the replica, where it may be over.
    pub(in crate::bridge::tests) fn has_come_on_replica(&self, state: &str, epoch: &str) -> u64 {
        let life = [state, epoch].map(|it| it.as_bytes().to_vec());
        self.0.borrow().replica.lives.get(&life).copied().unwrap_or(0)
    }

    /// Whether something of which this is part was asked when the scripts were forgotten.
    pub(in crate::bridge::tests) fn has_refused(&self, part: &str) -> bool {
        let server = self.0.borrow();
        server.refused.iter().any(|all| memchr::memmem::find(all, part.as_bytes()).is_some())
    }

    /// How many connections are counted under a key, over the links that nodes have told to one of all
    /// servers.
    pub(in crate::bridge::tests) fn places(
        all: &[Self],
        key: &str,
        [until, facts]: [&str; 2],
    ) -> usize {
        let (server, book) = (Self::of(all, key).0.borrow(), Self::of(all, until).0.borrow());
        let (now_ms, nodes) = (book.now_us() / 1_000, book.data.sorted(until.as_bytes()));
        let lives = |node: &str| {
            let until = nodes.as_ref().ok()?.and_then(|all| all.get(node.as_bytes()))?;
            (*until > now_ms as f64).then_some(())
        };
        let found = server.data.hash(key.as_bytes()).ok().flatten();
        let holds = |name: &&Vec<u8>| {
            let name = String::from_utf8_lossy(name);
            let (node, rest) = name.split_once('.')?;
            let link: u64 = rest.split(' ').next()?.parse().ok()?;
            lives(node)?;
            let held: u64 = field(&book.data, facts, node)?.split(' ').next()?.parse().ok()?;
            (link >= held).then_some(())
        };
        found.map_or(0, |hash| hash.keys().filter(|name| holds(name).is_some()).count())
    }
}

fn field(data: &Data, key: &str, name: &str) -> Option<String> {
    let value = data.hash(key.as_bytes()).ok().flatten()?.get(name.as_bytes())?;
    String::from_utf8(value.clone()).ok()
}
