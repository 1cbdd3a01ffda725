//! Slots: at first each server of a cluster has as many as the others, one after the other; then they are
//! moved, as an operator moves them, and each server hears of that in its own time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Redis;
use super::reply::Reply;
use crate::bridge::map;
use crate::bridge::tests::network;
use crate::bridge::tests::transcript::tell;
use crate::shard::tests::Counting;

const SLOTS: u16 = 16_384;

/// A server's place among all.
pub(super) type Place = (usize, usize);

/// Where slots are, as one server knows it.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) place: Place,
    /// Those that were moved, and where to.
    moved: BTreeMap<u16, usize>,
    /// Those that it has and that are on their way, and where to.
    leaving: BTreeMap<u16, usize>,
}

impl Slots {
    pub(super) fn new(place: Place) -> Self {
        Self { place, moved: BTreeMap::new(), leaving: BTreeMap::new() }
    }

    pub(super) fn are_shared_out(&self) -> bool {
        self.place.1 > 1
    }

    /// The server that has a slot.
    pub(super) fn owner(&self, slot: u16) -> usize {
        let at_first = || usize::from(slot) * self.place.1 / usize::from(SLOTS);
        self.moved.get(&slot).copied().unwrap_or_else(at_first)
    }

    /// Whether it has a key's slot.
    pub(super) fn have(&self, key: &[u8]) -> bool {
        self.owner(map::slot(key)) == self.place.0
    }

    /// Whether it has a key's slot, and that stays.
    pub(super) fn keep(&self, key: &[u8]) -> bool {
        self.have(key) && !self.leaving.contains_key(&map::slot(key))
    }

    /// What a node is told of who has which.
    pub(super) fn tell(&self, node: usize) -> Reply {
        // Only there another one may begin.
        let shares = (0..self.place.1).map(|at| (at * usize::from(SLOTS)).div_ceil(self.place.1));
        let shares = shares.filter_map(|first| u16::try_from(first).ok());
        let mut firsts: BTreeSet<_> = self.moved.keys().flat_map(|at| [*at, at + 1]).collect();
        firsts.extend(shares);
        firsts.remove(&SLOTS);
        let mut ranges: Vec<(usize, u16, u16)> = Vec::new();
        for first in firsts {
            let owner = self.owner(first);
            if let Some((_, _, last)) = ranges.last_mut() {
                *last = first - 1;
            }
            if ranges.last().is_none_or(|it| it.0 != owner) {
                ranges.push((owner, first, SLOTS - 1));
            }
        }
        if let Some((_, _, last)) = ranges.last_mut() {
            *last = SLOTS - 1;
        }
        let one = |(at, first, last): (usize, u16, u16)| {
            let server = vec![Reply::text(network::host_of(node, at)), Reply::Number(6379)];
            Reply::List(vec![
                Reply::Number(first.into()),
                Reply::Number(last.into()),
                Reply::List(server),
            ])
        };
        Reply::List(ranges.into_iter().map(one).collect())
    }

    /// Why a command is for another server, or for none now; none if it is for this one. A channel is where
    /// its slot is; what is no key yet of a slot that is on its way is where that goes, so that a script
    /// that is given a channel, too, is for nobody meanwhile.
    pub(super) fn refusal(
        &self,
        name: &[u8],
        args: &[&[u8]],
        is_there: impl Fn(&[u8]) -> bool,
    ) -> Option<Reply> {
        let (keys, is_script) = match (name, args) {
            (b"EVALSHA", [_, count, rest @ ..]) => {
                let count = std::str::from_utf8(count).ok().and_then(|count| count.parse().ok());
                (rest.get(..count?)?, true)
            }
            (b"SPUBLISH" | b"SSUBSCRIBE" | b"SUNSUBSCRIBE", [channel, ..]) => {
                (std::slice::from_ref(channel), false)
            }
            _ => return None,
        };
        let slot = map::slot(keys.first()?);
        assert!(keys.iter().all(|key| map::slot(key) == slot), "they are of several slots");
        let error = |word: &str, at: usize| {
            Some(Reply::Error(format!("{word} {slot} {}:6379", network::host_of(0, at))))
        };
        let owner = self.owner(slot);
        if owner != self.place.0 {
            assert!(!self.moved.is_empty(), "another server has that");
            return error("MOVED", owner);
        }
        let to = *self.leaving.get(&slot).filter(|_| is_script)?;
        match keys.iter().filter(|key| is_there(key)).count() {
            0 => error("ASK", to),
            count if count == keys.len() => None,
            _ => {
                let why = "TRYAGAIN Multiple keys request during rehashing of slot";
                Some(Reply::Error(why.to_owned()))
            }
        }
    }
}

impl Redis {
    /// Moves a slot to another server, as tools do: key by key, each with its replica. Nothing, if it is
    /// there, or on its way.
    pub(in crate::bridge::tests) async fn move_slot(
        all: Vec<Self>,
        (slot, to): (u16, usize),
        mut random: Counting,
    ) {
        let owners: Vec<_> = all.iter().map(|it| it.0.borrow().slots.owner(slot)).collect();
        let from = owners[0];
        let is_busy = owners.iter().any(|owner| *owner != from)
            || all[from].0.borrow().slots.leaving.contains_key(&slot);
        if is_busy || from == to {
            return;
        }
        let mut pause = async || {
            let most_us = [1, 500, 5_000, 60_000][random.below(4)];
            let us = random.below(most_us) as u64;
            tokio::time::sleep(Duration::from_micros(us)).await;
        };
        tell(|| format!("slot {slot} goes from {from} to {to}"));
        // What was left there when it was elsewhere before.
        all[to].0.borrow_mut().forget_slot(slot);
        all[from].0.borrow_mut().slots.leaving.insert(slot, to);
        loop {
            pause().await;
            let (mut source, mut target) = (all[from].0.borrow_mut(), all[to].0.borrow_mut());
            if !source.hand_over(slot, &mut target) {
                target.slots.moved.insert(slot, to);
                break;
            }
        }
        tell(|| format!("slot {slot} is {to}'s"));
        pause().await;
        tell(|| format!("{from} knows that slot {slot} is {to}'s"));
        all[from].0.borrow_mut().lose_slot(slot, to);
        for (_, other) in all.iter().enumerate().filter(|(at, _)| ![from, to].contains(at)) {
            pause().await;
            other.0.borrow_mut().slots.moved.insert(slot, to);
        }
    }
}

impl super::server::Server {
    /// Another server has a slot: whoever listens here to what is said there does so no longer.
    fn lose_slot(&mut self, slot: u16, to: usize) {
        self.slots.leaving.remove(&slot);
        self.slots.moved.insert(slot, to);
        self.silence(|channel| map::slot(channel) == slot);
    }
}

#[test]
fn every_slot_has_one_server() {
    for count in 1..4 {
        let servers: Vec<_> = (0..count).map(|at| Slots::new((at, count))).collect();
        let Reply::List(all) = servers[0].tell(0) else { panic!("a list") };
        let mut next = 0;
        for server in all {
            let Reply::List(range) = server else { panic!("a range") };
            let [Reply::Number(first), Reply::Number(last), _] = range.as_slice() else {
                panic!("{range:?}")
            };
            assert_eq!((*first, *first < *last), (next, true));
            next = last + 1;
        }
        assert_eq!(next, 16_384);
        assert_eq!(servers.iter().filter(|server| server.have(b"{nodes}")).count(), 1);
    }
}

#[test]
fn what_is_asked_while_a_slot_moves_is_refused_as_redis_does() {
    let mut slots = Slots::new((0, 2));
    let slot = map::slot(b"{b}");
    let refusal = |slots: &Slots, words: &str| {
        let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
        match slots.refusal(words[0], &words[1..], |key| key.ends_with(b"k")) {
            Some(Reply::Error(why)) => why.split(' ').next().expect("a word").to_owned(),
            other => format!("{other:?}"),
        }
    };
    let all = [
        ("EVALSHA hash 2 {b}k {b}c", "TRYAGAIN"),
        ("EVALSHA hash 2 {b}q {b}c", "ASK"),
        ("EVALSHA hash 1 {b}k", "None"),
        ("EVALSHA hash 0", "None"),
        ("SPUBLISH {b}c said", "None"),
        ("SSUBSCRIBE {b}c", "None"),
        ("SUNSUBSCRIBE {b}c", "None"),
        ("PING", "None"),
    ];
    for (words, _) in all {
        assert_eq!(refusal(&slots, words), "None", "{words}");
    }
    slots.leaving.insert(slot, 1);
    for (words, why) in all {
        assert_eq!(refusal(&slots, words), why, "{words}");
    }
    slots.moved.insert(slot, 1);
    for (words, _) in all {
        let why = if words.contains('{') { "MOVED" } else { "None" };
        assert_eq!(refusal(&slots, words), why, "{words}");
    }
}
