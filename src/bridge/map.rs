//! Which server has which slot: one has all, unless it is a cluster.

use std::collections::BTreeSet;

use redis::{Arg, Cmd, RedisError, RedisResult, Value};

use crate::config::{Redis, RedisHost, RedisUrl};
use crate::metrics::LinkState;

use super::answer::{bytes, number, text};
use super::dial::{Login, named};
use super::mouth::{Connection, Mouth};

/// How many slots a cluster has.
const SLOTS: usize = 16_384;
/// No server.
const NONE: u16 = u16::MAX;

/// The primaries, and the slots of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    primaries: Vec<RedisUrl>,
    /// By slot, a place among the primaries; empty: the first has all.
    owners: Vec<u16>,
    has_holes: bool,
}

impl Map {
    fn one(url: RedisUrl) -> Self {
        Self { primaries: vec![url], owners: Vec::new(), has_holes: false }
    }

    pub(super) fn primaries(&self) -> &[RedisUrl] {
        &self.primaries
    }

    /// Whether it makes no difference which slot something has.
    pub(super) fn is_one(&self) -> bool {
        self.owners.is_empty()
    }

    /// Which of the primaries has a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<usize> {
        if self.owners.is_empty() {
            return (!self.primaries.is_empty()).then_some(0);
        }
        let owner = self.owners.get(usize::from(slot)).copied().filter(|owner| *owner != NONE)?;
        Some(usize::from(owner))
    }

    /// Slots that had another server before.
    pub(super) fn moved_since(&self, before: &Self) -> BTreeSet<u16> {
        let slots = before.owners.iter().zip(0_u16..).map(|(_, slot)| slot);
        slots.filter(|slot| self.server(*slot) != before.server(*slot)).collect()
    }

    /// The server that has a slot.
    pub(super) fn server(&self, slot: u16) -> Option<&RedisUrl> {
        self.primaries.get(self.owner(slot)?)
    }

    /// Whether every slot has a server.
    pub(super) fn is_whole(&self) -> bool {
        !self.primaries.is_empty() && !self.has_holes
    }
}

/// The slot of a key: of what stands in its first braces, if something does.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0)?;
        Some(&rest[..close])
    });
    crc16(tag.unwrap_or(key)) % 16_384
}

/// The slot of a command: of the first key of a script, else of its first argument.
pub(super) fn slot_of(command: &Cmd) -> u16 {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(bytes) => bytes,
        _ => b"0".as_slice(),
    });
    let is_script = words.next().is_some_and(|name| name == b"EVALSHA");
    let key = if is_script { words.nth(2) } else { words.next() };
    key.map_or(0, slot)
}

/// CRC-16/XMODEM, as Redis has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Where the servers are now. `known` are those to which there are connections; `turn` says who is
/// asked first, so that one that answers wrongly is not asked first every time.
pub(super) async fn find(
    redis: &Redis,
    mut known: Vec<(RedisUrl, Connection)>,
    turn: u64,
) -> Result<Map, LinkState> {
    let mut seeds = redis.seeds();
    if !redis.sentinels.is_empty() {
        return ask_sentinels(redis, &seeds).await;
    }
    if !redis.cluster {
        return seeds.into_iter().next().map(Map::one).ok_or(LinkState::Lost);
    }
    let turn = usize::try_from(turn % 1_024).unwrap_or_default();
    let first = turn % known.len().max(1);
    known.rotate_left(first);
    for (url, connection) in &known {
        if let Ok(map) = ask_cluster(connection, url).await {
            return Ok(map);
        }
    }
    let first = turn % seeds.len().max(1);
    seeds.rotate_left(first);
    let mut state = LinkState::Lost;
    for seed in &seeds {
        let asked = match Mouth::open(redis, seed, Login::of(redis)).await {
            Ok(mouth) => ask_cluster(&mouth.connection, seed).await,
            Err(state) => Err(state),
        };
        match asked {
            Ok(map) => return Ok(map),
            Err(found) => state = found,
        }
    }
    Err(state)
}

async fn ask_cluster(connection: &Connection, url: &RedisUrl) -> Result<Map, LinkState> {
    let told: RedisResult<Value> = connection.ask(redis::cmd("CLUSTER").arg("SLOTS")).await;
    let told = told.map_err(|error| match is_no_cluster(&error) {
        true => LinkState::NoCluster,
        false => named(&error),
    })?;
    read_slots(&told, url).ok_or(LinkState::ClusterDown)
}

fn is_no_cluster(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("cluster support disabled"))
}

/// `[[FIRST, LAST, [HOST, PORT, …], …], …]`; none if nobody has any slot.
fn read_slots(told: &Value, asked: &RedisUrl) -> Option<Map> {
    let Value::Array(ranges) = told else { return None };
    let mut map = Map { owners: vec![NONE; SLOTS], ..Map::default() };
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [first, last, Value::Array(primary), ..] = range.as_slice() else { return None };
        let port = u16::try_from(number(primary.get(1)?)?).ok()?;
        // A server that does not know how it is called means the way by which it was asked.
        let name = text(primary.first()?).filter(|name| !name.is_empty() && *name != "?");
        let name = match (name, asked) {
            (Some(name), _) => name,
            (None, RedisUrl::Plain(host) | RedisUrl::Tls(host)) => &host.name,
            (None, RedisUrl::Unix(_)) => return None,
        };
        let url = asked.with_host(RedisHost { name: name.to_owned(), port });
        let place = map.primaries.iter().position(|other| *other == url).unwrap_or_else(|| {
            map.primaries.push(url);
            map.primaries.len() - 1
        });
        let (first, last) = (usize::try_from(number(first)?).ok()?, number(last)?);
        let owned = map.owners.get_mut(first..=usize::try_from(last).ok()?)?;
        owned.fill(u16::try_from(place).ok()?);
    }
    map.has_holes = map.owners.contains(&NONE);
    (!map.primaries.is_empty()).then_some(map)
}

/// Asks all, and believes the one that knows of the latest failover.
async fn ask_sentinels(redis: &Redis, seeds: &[RedisUrl]) -> Result<Map, LinkState> {
    let mut best: Option<(u64, RedisUrl)> = None;
    let mut state = LinkState::NoSentinel;
    for seed in seeds {
        match ask_sentinel(redis, seed).await {
            Ok(found) if best.as_ref().is_none_or(|best| best.0 < found.0) => best = Some(found),
            Ok(_) | Err(LinkState::Lost) => {}
            Err(found) => state = found,
        }
    }
    best.map(|(_, url)| Map::one(url)).ok_or(state)
}

async fn ask_sentinel(redis: &Redis, seed: &RedisUrl) -> Result<(u64, RedisUrl), LinkState> {
    let mouth = Mouth::open(redis, seed, Login::of_sentinels(redis)).await?;
    let master = redis.master.as_deref().unwrap_or_default();
    let ask = redis::cmd("SENTINEL").arg("MASTER").arg(master).take();
    let told: RedisResult<Value> = mouth.connection.ask(&ask).await;
    let told = told.map_err(|error| match error.detail() {
        Some(detail) if detail.contains("No such master") => LinkState::NoSentinel,
        _ => named(&error),
    })?;
    read_master(&told, seed).ok_or(LinkState::NoSentinel)
}

/// Names and values, in turn.
fn read_master(told: &Value, asked: &RedisUrl) -> Option<(u64, RedisUrl)> {
    let pairs: Vec<(&Value, &Value)> = match told {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        Value::Array(all) => all.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return None,
    };
    let fact = |name: &str| {
        let found = pairs.iter().find(|(key, _)| bytes(key) == Some(name.as_bytes()));
        found.and_then(|(_, value)| text(value))
    };
    let host = RedisHost { name: fact("ip")?.to_owned(), port: fact("port")?.parse().ok()? };
    Some((fact("config-epoch")?.parse().ok()?, asked.with_host(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` says; the first is the check value of the specification.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, expected) in [
            ("", 0),
            ("foo", 12_182),
            ("bar", 5_061),
            ("{foo}bar", 12_182),
            ("a{foo}{bar}", 12_182),
            ("foo{}{bar}", 8_363),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn the_slot_of_a_command_is_that_of_its_key() {
        let mut get = redis::cmd("GET");
        get.arg("foo");
        let mut script = redis::cmd("EVALSHA");
        script.arg("bar").arg(2).arg("foo").arg("{foo}b");
        let (mut keyless, ping) = (redis::cmd("EVALSHA"), redis::cmd("PING"));
        keyless.arg("bar").arg(0);
        assert_eq!([&get, &script, &keyless, &ping].map(slot_of), [12_182, 12_182, 0, 0]);
    }

    #[test]
    fn a_cluster_says_who_has_which_slot() {
        let asked = RedisUrl::parse("rediss://first:7000").expect("a good URL");
        let server =
            |host: &str, port| Value::Array(vec![text(host), Value::Int(port), text("id")]);
        let told = Value::Array(vec![
            Value::Array(vec![Value::Int(0), Value::Int(99), server("10.0.0.1", 1)]),
            Value::Array(vec![
                Value::Int(100),
                Value::Int(16_383),
                server("", 2),
                server("10.0.0.3", 3),
            ]),
        ]);
        let map = read_slots(&told, &asked).expect("a map");
        let shown: Vec<_> = map.primaries().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["rediss://10.0.0.1:1", "rediss://first:2"]);
        assert_eq!((map.owner(99), map.owner(100), map.owner(16_383)), (Some(0), Some(1), Some(1)));
        assert!(map.is_whole() && !map.is_one());
        let other = Value::Array(vec![
            Value::Array(vec![Value::Int(0), Value::Int(98), server("", 2)]),
            Value::Array(vec![Value::Int(99), Value::Int(99), server("10.0.0.1", 1)]),
            Value::Array(vec![Value::Int(100), Value::Int(16_382), server("first", 2)]),
        ]);
        let moved = read_slots(&other, &asked).expect("a map").moved_since(&map);
        assert_eq!(moved, (0..=98).chain([16_383]).collect());
        assert_eq!(map.moved_since(&Map::default()), BTreeSet::new(), "nothing was anywhere");
        let some = Value::Array(vec![Value::Array(vec![
            Value::Int(5),
            Value::Int(5),
            server("10.0.0.1", 1),
        ])]);
        let map = read_slots(&some, &asked).expect("a map");
        assert_eq!((map.owner(4), map.owner(5), map.is_whole()), (None, Some(0), false));
        for bad in [
            Value::Array(vec![]),
            Value::Nil,
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(0),
                Value::Int(16_384),
                server("a", 1),
            ])]),
            Value::Array(vec![Value::Array(vec![Value::Int(9), Value::Int(1), server("a", -1)])]),
        ] {
            assert_eq!(read_slots(&bad, &asked), None, "{bad:?}");
        }
    }

    #[test]
    fn a_sentinel_says_where_the_primary_is() {
        let asked = RedisUrl::parse("redis://sentinel:26379").expect("a good URL");
        let words = ["name", "main", "ip", "10.0.0.9", "port", "6380", "config-epoch", "7"];
        let told = Value::Array(words.iter().map(|word| text(word)).collect());
        let (epoch, url) = read_master(&told, &asked).expect("a primary");
        assert_eq!((epoch, url.to_string()), (7, "redis://10.0.0.9:6380".to_owned()));
        assert_eq!(read_master(&Value::Nil, &asked), None);
    }
}
