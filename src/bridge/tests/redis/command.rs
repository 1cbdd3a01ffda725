//! The commands that scripts and the bridge use, upon one server's keys.
//!
//! A command that the fake does not know, or that is wrong, is an error as Redis would say it.

use std::collections::BTreeMap;

use super::data::{Data, WrongKind};
use super::reply::Reply;
use super::stream;

/// What a command works with.
pub(super) struct Work<'a> {
    pub(super) data: &'a mut Data,
    pub(super) now_us: u64,
    /// What tells the server from others, and from itself before it was started again.
    pub(super) run: u64,
    /// How many listen to a sharded channel.
    pub(super) listeners: &'a dyn Fn(&[u8]) -> usize,
    /// What was said on which channel.
    pub(super) told: &'a mut Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a command is not carried out.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl From<WrongKind> for Wrong {
    fn from(_: WrongKind) -> Self {
        Self("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned())
    }
}

pub(super) type Outcome = Result<Reply, Wrong>;

/// A number as a client writes it.
pub(super) fn number<T: std::str::FromStr>(word: &[u8]) -> Result<T, Wrong> {
    let parsed = std::str::from_utf8(word).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Wrong(format!("ERR value is not a number: {}", word.escape_ascii())))
}

/// A score; an end of a range of them may be infinite, or not be part of it: `(`.
fn score(word: &[u8]) -> Result<(f64, bool), Wrong> {
    match word.strip_prefix(b"(") {
        Some(rest) => Ok((number(rest)?, true)),
        None => Ok((number(word)?, false)),
    }
}

fn pairs(words: &[Vec<u8>]) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    words.chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
}

fn texts<'a>(all: impl IntoIterator<Item = &'a Vec<u8>>) -> Reply {
    Reply::List(all.into_iter().map(Reply::text).collect())
}

impl Work<'_> {
    pub(super) fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    /// Carries out a command that has a key, or none.
    pub(super) fn execute(&mut self, name: &[u8], args: &[Vec<u8>]) -> Outcome {
        match (name, args) {
            (b"TIME", []) => {
                let (seconds, us) = (self.now_us / 1_000_000, self.now_us % 1_000_000);
                Ok(Reply::List(vec![Reply::text(seconds.to_string()), Reply::text(us.to_string())]))
            }
            (b"INFO", _) => Ok(Reply::text(format!("run_id:{:040x}\r\n", self.run))),
            (b"PUBSUB", [kind, channel]) if kind == b"SHARDNUMSUB" => {
                let count = Reply::count((self.listeners)(channel));
                Ok(Reply::List(vec![Reply::text(channel), count]))
            }
            (b"SPUBLISH", [channel, payload]) => {
                self.told.push((channel.clone(), payload.clone()));
                Ok(Reply::count((self.listeners)(channel)))
            }
            (b"DEL", keys) => {
                let gone = keys.iter().filter(|key| self.data.remove(key)).count();
                Ok(Reply::count(gone))
            }
            (name, [key, rest @ ..]) => {
                let done = self.of_key(name, key, rest);
                self.data.tidy(key);
                done
            }
            _ => unknown(name),
        }
    }

    fn of_key(&mut self, name: &[u8], key: &[u8], rest: &[Vec<u8>]) -> Outcome {
        match name {
            b"GET" | b"SET" | b"PEXPIRE" | b"PTTL" | b"PERSIST" => self.of_any(name, key, rest),
            b"XADD" | b"XTRIM" | b"XLEN" | b"XRANGE" | b"XREVRANGE" => {
                stream::execute(self, name, key, rest)
            }
            _ if name.starts_with(b"H") => self.of_hash(name, key, rest),
            _ if name.starts_with(b"Z") => self.of_sorted(name, key, rest),
            _ => unknown(name),
        }
    }

    fn of_any(&mut self, name: &[u8], key: &[u8], rest: &[Vec<u8>]) -> Outcome {
        let now_ms = self.now_ms();
        match (name, rest) {
            (b"GET", []) => Ok(self.data.text(key)?.map_or(Reply::Nil, Reply::text)),
            (b"SET", [value, px, ms]) if px == b"PX" => {
                self.data.edit_text(key)?.clone_from(value);
                self.data.set_end(key, Some(now_ms + number::<u64>(ms)?));
                Ok(Reply::Status("OK"))
            }
            (b"PEXPIRE", [ms]) => {
                let is_there = self.data.set_end(key, Some(now_ms + number::<u64>(ms)?));
                Ok(Reply::Number(is_there.into()))
            }
            (b"PTTL", []) => {
                let left = self.data.end(key).map(|end| end.saturating_sub(now_ms));
                let left = left.map(|left| i64::try_from(left).expect("not that long"));
                Ok(Reply::Number(left.unwrap_or(if self.data.has(key) { -1 } else { -2 })))
            }
            (b"PERSIST", []) => Ok(Reply::Number(self.data.set_end(key, None).into())),
            _ => unknown(name),
        }
    }

    fn of_hash(&mut self, name: &[u8], key: &[u8], rest: &[Vec<u8>]) -> Outcome {
        let found = self.data.hash(key)?;
        let field = |field: &Vec<u8>| found.and_then(|hash| hash.get(field));
        match (name, rest) {
            (b"HGET", [name]) => Ok(field(name).map_or(Reply::Nil, Reply::text)),
            (b"HMGET", names) => {
                let values = names.iter().map(|name| field(name).map_or(Reply::Nil, Reply::text));
                Ok(Reply::List(values.collect()))
            }
            (b"HEXISTS", [name]) => Ok(Reply::Number(field(name).is_some().into())),
            (b"HLEN", []) => Ok(Reply::count(found.map_or(0, BTreeMap::len))),
            (b"HGETALL", []) => Ok(texts(found.into_iter().flatten().flat_map(|it| [it.0, it.1]))),
            (b"HRANDFIELD", [most, _with_values]) => {
                let some = found.into_iter().flatten().take(number(most)?);
                Ok(texts(some.flat_map(|it| [it.0, it.1])))
            }
            (b"HSET", fields) if !fields.is_empty() && fields.len().is_multiple_of(2) => {
                let hash = self.data.edit_hash(key)?;
                let new = pairs(fields).filter(|(name, value)| {
                    hash.insert((*name).clone(), (*value).clone()).is_none()
                });
                let count = new.count();
                self.data.note_life(key);
                Ok(Reply::count(count))
            }
            (b"HDEL", _) if found.is_none() => Ok(Reply::Number(0)),
            (b"HDEL", names) => {
                let hash = self.data.edit_hash(key)?;
                Ok(Reply::count(names.iter().filter(|name| hash.remove(*name).is_some()).count()))
            }
            _ => unknown(name),
        }
    }

    fn of_sorted(&mut self, name: &[u8], key: &[u8], rest: &[Vec<u8>]) -> Outcome {
        match (name, rest) {
            (b"ZADD", [at, member]) => {
                let at = score(at)?.0;
                let was = self.data.edit_sorted(key)?.insert(member.clone(), at);
                return Ok(Reply::Number(was.is_none().into()));
            }
            (b"ZREM", [_]) if self.data.sorted(key)?.is_none() => return Ok(Reply::Number(0)),
            (b"ZREM", [member]) => {
                let was = self.data.edit_sorted(key)?.remove(member);
                return Ok(Reply::Number(was.is_some().into()));
            }
            _ => {}
        }
        let found = self.data.sorted(key)?;
        let mut all: Vec<_> = found.into_iter().flatten().collect();
        all.sort_by(|(a, at), (b, bt)| at.total_cmp(bt).then_with(|| a.cmp(b)));
        match (name, rest) {
            (b"ZCARD", []) => Ok(Reply::count(all.len())),
            (b"ZSCORE", [member]) => {
                let score = found.and_then(|sorted| sorted.get(member));
                Ok(score.map_or(Reply::Nil, |score| Reply::text(score.to_string())))
            }
            (b"ZRANGE", [first, last, options @ ..]) => {
                if options.iter().any(|option| option == b"REV") {
                    all.reverse();
                }
                let (first, last): (usize, i64) = (number(first)?, number(last)?);
                let last = usize::try_from(last).map_or(all.len(), |last| last + 1);
                let some = all.get(first..last.min(all.len())).unwrap_or_default();
                Ok(scored(some, options))
            }
            (b"ZRANGEBYSCORE", [low, high, options @ ..]) => {
                let ((low, without_low), (high, without_high)) = (score(low)?, score(high)?);
                all.retain(|(_, at)| {
                    let (at, is_low, is_high) = (**at, **at == low, **at == high);
                    at >= low
                        && at <= high
                        && !(is_low && without_low)
                        && !(is_high && without_high)
                });
                if let Some(at) = options.iter().position(|option| option == b"LIMIT") {
                    let (from, most): (usize, usize) =
                        (number(&options[at + 1])?, number(&options[at + 2])?);
                    all = all.into_iter().skip(from).take(most).collect();
                }
                Ok(scored(&all, options))
            }
            _ => unknown(name),
        }
    }
}

fn scored(all: &[(&Vec<u8>, &f64)], options: &[Vec<u8>]) -> Reply {
    let with_scores = options.iter().any(|option| option == b"WITHSCORES");
    let one = |(member, score): &(&Vec<u8>, &f64)| {
        let score = with_scores.then(|| Reply::text(score.to_string()));
        std::iter::once(Reply::text(member)).chain(score)
    };
    Reply::List(all.iter().flat_map(one).collect())
}

pub(super) fn unknown(name: &[u8]) -> Outcome {
    Err(Wrong(format!("ERR unknown command, or wrong arguments: {}", name.escape_ascii())))
}
