//! One server: its connections, who listens to what, and how it takes a command.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::cluster::{Place, Slots};
use super::command::{Work, Wrong, number};
use super::data::Data;
use super::fault::Mood;
use super::lua::Scripts;
use super::reply::Reply;
use crate::bridge::map;
use crate::bridge::tests::transcript::{Transcript, tell};
use crate::shard::tests::Counting;

/// What clocks say when a run begins, in ms.
const BEGAN_MS: u64 = 1_700_000_000_000;

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: usize,
    pub(super) said: UnboundedSender<Vec<u8>>,
    /// Sharded channels, and patterns.
    channels: [BTreeSet<Vec<u8>>; 2],
    /// What was written up to its last write.
    written: u64,
    /// It ends after so many commands more; whether the last one is carried out.
    pub(super) fuse: Option<(u32, bool)>,
    pub(super) held_until: Instant,
    pub(super) ended: Rc<Notify>,
    /// What has come is still carried out, and nobody hears of it.
    pub(super) is_deaf: bool,
}

/// What became of a command.
#[derive(Debug)]
pub(super) enum Taken {
    /// Its replies wait for the client.
    Answered,
    /// It is answered once so many replicas have everything, or after that long.
    Waits(usize, Duration),
    /// The connection has ended.
    Gone,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) slots: Slots,
    pub(super) data: Data,
    /// What the replica has.
    pub(super) replica: Data,
    /// What it had when a copy was made last.
    pub(super) copy: Data,
    pub(super) scripts: Scripts,
    /// What was asked while it had forgotten them.
    pub(super) refused: Vec<Vec<u8>>,
    /// Counts servers.
    pub(super) run: u64,
    pub(super) mood: (Mood, Instant),
    pub(super) held_until: Instant,
    /// Something was published where it had no memory left.
    pub(super) has_overflown: bool,
    /// The replica gets nothing until then.
    pub(super) lags_until: Instant,
    /// Nodes that do not reach it, until then.
    pub(super) parted: BTreeMap<usize, Instant>,
    pub(super) is_slow: bool,
    pub(super) connections: BTreeMap<u64, Connection>,
    last: u64,
    random: Counting,
    began: Instant,
    /// Sums up what it was asked and when.
    pub(super) transcript: Transcript,
}

impl Server {
    pub(super) fn new(seed: u64, place: Place) -> Self {
        let now = Instant::now();
        Self {
            slots: Slots::new(place),
            data: Data::default(),
            replica: Data::default(),
            copy: Data::default(),
            scripts: Scripts::default(),
            refused: Vec::new(),
            run: 1 + place.0 as u64 * 1_000,
            mood: (Mood::Well, now),
            held_until: now,
            has_overflown: false,
            lags_until: now,
            parted: BTreeMap::new(),
            is_slow: false,
            connections: BTreeMap::new(),
            last: 0,
            random: Counting(seed),
            began: now,
            transcript: Transcript::default(),
        }
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        self.random.below(most)
    }

    /// How long something is on its way.
    pub(super) fn delay(&mut self) -> Duration {
        let most_us = match self.below(24) {
            0 if self.is_slow => 1_500_000,
            1 | 2 if self.is_slow => 100_000,
            0 => 40_000,
            1..=5 => 4_000,
            _ => 300,
        };
        Duration::from_micros(self.below(most_us) as u64)
    }

    pub(super) fn now_us(&self) -> u64 {
        BEGAN_MS * 1_000 + micros(self.began.elapsed())
    }

    pub(super) fn mood(&self) -> Mood {
        if Instant::now() < self.mood.1 { self.mood.0 } else { Mood::Well }
    }

    pub(super) fn enter(&mut self, node: usize) -> Option<(u64, UnboundedReceiver<Vec<u8>>)> {
        if self.parted.get(&node).is_some_and(|until| Instant::now() < *until) {
            return None;
        }
        self.last += 1;
        let (said, to_say) = unbounded_channel();
        let connection = Connection {
            node,
            said,
            channels: Default::default(),
            written: 0,
            fuse: None,
            held_until: Instant::now(),
            ended: Rc::default(),
            is_deaf: false,
        };
        self.connections.insert(self.last, connection);
        Some((self.last, to_say))
    }

    /// None: it is no more.
    pub(super) fn held_until(&self, number: u64) -> Option<Instant> {
        self.connections.get(&number).map(|it| it.held_until.max(self.held_until))
    }

    /// How many replicas have what a connection has written.
    pub(super) fn replicas_with(&mut self, number: u64) -> usize {
        if Instant::now() >= self.lags_until {
            self.replica = self.data.clone();
        }
        let written = self.connections.get(&number).map_or(u64::MAX, |it| it.written);
        usize::from(self.replica.writes >= written)
    }

    /// Takes a command of a connection.
    pub(super) fn take(&mut self, from: u64, words: &[Vec<u8>]) -> Taken {
        let Some(connection) = self.connections.get_mut(&from) else { return Taken::Gone };
        let is_last = match &mut connection.fuse {
            Some((0, false)) => return self.gone(from),
            Some((0, true)) => true,
            Some((left, _)) => {
                *left -= 1;
                false
            }
            None => false,
        };
        self.transcript.note(&(self.began.elapsed(), from, words));
        let node = connection.node;
        tell(|| {
            let words = words.iter().map(|it| it[..it.len().min(60)].escape_ascii().to_string());
            format!("node {node} by {from}: {}", words.collect::<Vec<_>>().join(" "))
        });
        let (name, args) = words.split_first().expect("a command has a name");
        if name == b"WAIT"
            && let [count, ms] = args
        {
            let wait = |Wrong(why)| panic!("{why}");
            let (count, ms) = (number(count).unwrap_or_else(wait), number(ms).unwrap_or(0));
            return if is_last {
                self.gone(from)
            } else {
                Taken::Waits(count, Duration::from_millis(ms))
            };
        }
        let before = self.data.writes;
        let answers = self.answer(from, name, args);
        let Some(connection) = self.connections.get_mut(&from) else { return Taken::Gone };
        if self.data.writes != before {
            connection.written = self.data.writes;
        }
        if is_last {
            return self.gone(from);
        }
        if !connection.is_deaf {
            tell(|| format!("  says {answers:?}").chars().take(300).collect());
            answers.iter().for_each(|answer| connection.say(answer));
        }
        Taken::Answered
    }

    fn gone(&mut self, number: u64) -> Taken {
        self.connections.remove(&number);
        Taken::Gone
    }

    fn answer(&mut self, from: u64, name: &[u8], args: &[Vec<u8>]) -> Vec<Reply> {
        let texts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.data.expire(self.now_us() / 1_000);
        if self.slots.are_shared_out()
            && let Some(refusal) = self.slots.refusal(name, &texts, |key| self.data.has(key))
        {
            return vec![refusal];
        }
        vec![match (name, texts.as_slice()) {
            (b"HELLO", _) => Reply::Map(vec![(Reply::text("proto"), Reply::Number(3))]),
            (b"CLUSTER", _) => self.slots.tell(self.connections[&from].node),
            (b"CLIENT", _) => Reply::Status("OK"),
            (b"INFO", _) => Reply::text(self.facts()),
            (b"CONFIG", [b"GET", names @ ..]) => Reply::Map(
                names.iter().map(|name| (Reply::text(name), Reply::text(setting(name)))).collect(),
            ),
            (b"SSUBSCRIBE", [channel]) => self.listen(from, 0, ("ssubscribe", true), channel),
            (b"SUNSUBSCRIBE", [channel]) => self.listen(from, 0, ("sunsubscribe", false), channel),
            (b"PSUBSCRIBE", [pattern]) => self.listen(from, 1, ("psubscribe", true), pattern),
            _ if self.mood() == Mood::Loading => {
                Reply::Error("LOADING Redis is loading the dataset in memory".to_owned())
            }
            (b"PING", []) => Reply::Status("PONG"),
            (b"SCRIPT", [b"LOAD", text]) => Reply::text(self.scripts.load(text)),
            (b"EVALSHA", [hash, count, ..]) => match number(count) {
                Ok(count) => self.run(hash, &args[2..], count),
                Err(Wrong(why)) => Reply::Error(why),
            },
            _ => self.work(|work, _| match work.execute(name, args) {
                Ok(reply) => reply,
                Err(Wrong(why)) => panic!("the bridge asks what is not known here: {why}"),
            }),
        }]
    }

    fn run(&mut self, hash: &[u8], args: &[Vec<u8>], keys: usize) -> Reply {
        let refused = |why: &str| Reply::Error(why.to_owned());
        let Some(script) = self.scripts.get(hash) else {
            self.refused.extend_from_slice(args);
            return refused("NOSCRIPT No matching script.");
        };
        match self.mood() {
            Mood::ReadOnly => {
                refused("READONLY You can't write against a read only replica, script refused")
            }
            Mood::Full if !script.allows_full => {
                refused("OOM allow-oom flag is not set on the script, can not run it")
            }
            mood => {
                let hash = hash.to_vec();
                let before = (mood == Mood::Full).then(|| self.data.lives.clone());
                let reply = self.work(|work, scripts| {
                    let script = scripts.get(&hash).expect("it was found");
                    scripts.run(script, args.split_at(keys), work)
                });
                self.has_overflown |= before.is_some_and(|before| before != self.data.lives);
                reply
            }
        }
    }

    /// Works upon the keys, and tells whoever listens what was said.
    fn work(&mut self, act: impl FnOnce(&mut Work<'_>, &Scripts) -> Reply) -> Reply {
        let mut told = Vec::new();
        let now_us = self.now_us();
        let Self { data, scripts, connections, .. } = self;
        let listen = |channel: &[u8]| {
            connections
                .values()
                .filter(|it| !it.is_deaf && it.channels[0].contains(channel))
                .count()
        };
        let mut work = Work { data, now_us, run: self.run, listeners: &listen, told: &mut told };
        let reply = act(&mut work, scripts);
        for (channel, payload) in told {
            let push = ["smessage".as_bytes(), &channel, &payload].map(Reply::text);
            let push = Reply::Push(push.to_vec());
            for connection in connections.values().filter(|it| it.channels[0].contains(&channel)) {
                connection.say(&push);
            }
        }
        reply
    }

    /// A backend says something on a plain channel.
    pub(super) fn publish(&self, channel: &str, payload: &str) {
        for connection in self.connections.values() {
            for pattern in &connection.channels[1] {
                let prefix = pattern.strip_suffix(b"*").expect("patterns end so");
                if channel.as_bytes().starts_with(prefix) {
                    let words =
                        [b"pmessage", pattern.as_slice(), channel.as_bytes(), payload.as_bytes()];
                    connection.say(&Reply::Push(words.map(Reply::text).to_vec()));
                }
            }
        }
    }

    fn listen(
        &mut self,
        from: u64,
        kind: usize,
        (word, is_on): (&str, bool),
        name: &[u8],
    ) -> Reply {
        let connection = self.connections.get_mut(&from).expect("it has asked");
        let names = &mut connection.channels[kind];
        let _ = if is_on { names.insert(name.to_vec()) } else { names.remove(name) };
        Reply::Push(vec![Reply::text(word), Reply::text(name), Reply::count(names.len())])
    }

    /// The sharded channels that are listened to.
    pub(super) fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.connections.values().flat_map(|it| &it.channels[0]).map(Vec::as_slice)
    }

    /// Nobody listens to such channels any more, and whoever did is told.
    pub(super) fn silence(&mut self, is_one: impl Fn(&[u8]) -> bool) {
        for connection in self.connections.values_mut() {
            let ended: Vec<_> =
                connection.channels[0].extract_if(.., |channel| is_one(channel)).collect();
            let left = connection.channels[0].len();
            for (at, channel) in ended.iter().enumerate() {
                let count = Reply::count(left + ended.len() - at - 1);
                if !connection.is_deaf {
                    let word = Reply::text("sunsubscribe");
                    let push = Reply::Push(vec![word, Reply::text(channel), count]);
                    tell(|| format!("node {} is told {push:?}", connection.node));
                    connection.say(&push);
                }
            }
        }
    }

    /// Gives another server the next key of a slot; false: there is none left.
    pub(super) fn hand_over(&mut self, slot: u16, to: &mut Self) -> bool {
        let Some(key) = self.data.names().find(|key| map::slot(key) == slot).map(<[u8]>::to_vec)
        else {
            return false;
        };
        self.data.give(&key, [&mut to.data, &mut to.replica]);
        self.data.forget(&key);
        self.replica.forget(&key);
        true
    }

    /// Drops what it has of a slot that is elsewhere.
    pub(super) fn forget_slot(&mut self, slot: u16) {
        for data in [&mut self.data, &mut self.replica] {
            let keys: Vec<_> =
                data.names().filter(|key| map::slot(key) == slot).map(<[u8]>::to_vec).collect();
            keys.iter().for_each(|key| data.forget(key));
        }
    }

    fn facts(&self) -> String {
        let mood = self.mood();
        let loading = u8::from(mood == Mood::Loading);
        let role = if mood == Mood::ReadOnly { "slave" } else { "master" };
        let mode = if self.slots.are_shared_out() { "cluster" } else { "standalone" };
        format!(
            "redis_version:7.2.0\r\nredis_mode:{mode}\r\nrun_id:{:040x}\r\nloading:{loading}\r\n\
             role:{role}\r\nslave0:ip=replica,port=1,state=online,offset=1,lag=0\r\n",
            self.run
        )
    }
}

fn setting(name: &[u8]) -> &'static str {
    match name {
        b"appendonly" => "yes",
        b"appendfsync" => "always",
        b"maxmemory-policy" => "noeviction",
        _ => "no",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a run is short")
}

impl Connection {
    /// Whether backends are listened to on it.
    pub(super) fn hears_backends(&self) -> bool {
        !self.channels[1].is_empty()
    }

    /// Whether anything is.
    pub(super) fn listens(&self) -> bool {
        self.channels.iter().any(|names| !names.is_empty())
    }

    pub(super) fn say(&self, reply: &Reply) {
        let mut bytes = Vec::new();
        reply.write(&mut bytes);
        // Nobody hears it any more.
        let _ = self.said.send(bytes);
    }
}
