//! The scripts, carried out by Lua 5.1 as Redis has it.

use std::collections::BTreeMap;

use mlua::{Function, Lua, Table, Value, Variadic};

use super::command::{Work, Wrong};
use super::reply::Reply;

/// A script as Redis takes it.
#[derive(Debug)]
pub(super) struct Script {
    function: Function,
    /// It runs where there is no memory.
    pub(super) allows_full: bool,
}

/// What carries them out, and those that it knows, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    lua: Lua,
    known: BTreeMap<Vec<u8>, Script>,
}

impl Scripts {
    /// Takes a script; its hash.
    pub(super) fn load(&mut self, text: &[u8]) -> String {
        let hash = redis::Script::new(std::str::from_utf8(text).expect("it is text"));
        let hash = hash.get_hash().to_owned();
        let end = text.iter().position(|byte| *byte == b'\n').expect("it has lines");
        let (first, rest) = text.split_at(end);
        assert!(first.starts_with(b"#!lua"), "keys have to be declared");
        let allows_full =
            first.ends_with(b" flags=allow-oom") || first.ends_with(b" flags=no-writes");
        let function = self.lua.load(rest).into_function().expect("it is Lua");
        self.known.insert(hash.clone().into_bytes(), Script { function, allows_full });
        hash
    }

    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    pub(super) fn get(&self, hash: &[u8]) -> Option<&Script> {
        self.known.get(hash)
    }

    /// Carries one out, with its keys and what else it is given.
    ///
    /// # Panics
    /// It fails: that is a bug of the script.
    pub(super) fn run(
        &self,
        script: &Script,
        (keys, rest): (&[Vec<u8>], &[Vec<u8>]),
        work: &mut Work<'_>,
    ) -> Reply {
        let done: mlua::Result<Reply> = self.lua.scope(|scope| {
            let call = scope.create_function_mut(|lua, words: Variadic<Value>| {
                let words = words.iter().map(word).collect::<mlua::Result<Vec<_>>>()?;
                let done = call(&words, keys, work);
                value(lua, done.map_err(|Wrong(why)| mlua::Error::runtime(why))?)
            })?;
            let globals = self.lua.globals();
            let redis = self.lua.create_table()?;
            redis.set("call", call)?;
            globals.set("redis", redis)?;
            globals.set("KEYS", self.texts(keys)?)?;
            globals.set("ARGV", self.texts(rest)?)?;
            reply(script.function.call(())?)
        });
        done.unwrap_or_else(|error| panic!("a script fails: {error}"))
    }

    fn texts(&self, texts: &[Vec<u8>]) -> mlua::Result<Table> {
        let texts = texts.iter().map(|text| self.lua.create_string(text));
        self.lua.create_sequence_from(texts.collect::<mlua::Result<Vec<_>>>()?)
    }
}

/// A command of a script. It touches nothing but what was declared.
fn call(words: &[Vec<u8>], keys: &[Vec<u8>], work: &mut Work<'_>) -> Result<Reply, Wrong> {
    let (name, args) = words.split_first().expect("it has a name");
    let touched = match name.as_slice() {
        b"TIME" | b"INFO" => &[],
        b"DEL" => args,
        b"PUBSUB" => &args[1..],
        _ => &args[..1],
    };
    if let Some(stranger) = touched.iter().find(|key| !keys.contains(key)) {
        let stranger = stranger.escape_ascii();
        return Err(Wrong(format!("ERR Script attempted to access a non local key: {stranger}")));
    }
    work.execute(name, args)
}

/// A word of a command, of what Lua gives.
fn word(value: &Value) -> mlua::Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        _ => Err(mlua::Error::runtime("commands are made of texts and numbers")),
    }
}

/// What a script finds of a reply: it speaks RESP2.
fn value(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        Reply::Number(number) => Value::Integer(number),
        Reply::Text(text) => Value::String(lua.create_string(text)?),
        Reply::List(items) => {
            let items = items.into_iter().map(|item| value(lua, item));
            let items = items.collect::<mlua::Result<Vec<_>>>()?;
            Value::Table(lua.create_sequence_from(items)?)
        }
        Reply::Status(text) => {
            let table = lua.create_table()?;
            table.set("ok", text)?;
            Value::Table(table)
        }
        other => return Err(mlua::Error::runtime(format!("no command says {other:?}"))),
    })
}

/// What a client is answered of what a script gives.
fn reply(value: Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::Nil | Value::Boolean(false) => Reply::Nil,
        Value::Boolean(true) => Reply::Number(1),
        Value::Integer(number) => Reply::Number(number),
        #[allow(clippy::cast_possible_truncation, reason = "so does Redis")]
        Value::Number(number) => Reply::Number(number as i64),
        Value::String(text) => Reply::text(text.as_bytes()),
        Value::Table(table) => {
            // It ends before the first that is not there.
            let items = table.sequence_values::<Value>();
            let items = items.map(|item| item.and_then(reply));
            Reply::List(items.collect::<mlua::Result<_>>()?)
        }
        other => return Err(mlua::Error::runtime(format!("no reply: {other:?}"))),
    })
}

#[test]
fn what_comes_late_by_an_earlier_link_does_not_count_a_connection_out() {
    use super::data::Data;

    let mut scripts = Scripts::default();
    let hash = scripts.load(include_bytes!("../../script/enter.lua"));
    let script = scripts.get(hash.as_bytes()).expect("it was loaded");
    let (mut data, mut told) = (Data::default(), Vec::new());
    let mut tell = |link: u64, age_ms: &str| {
        let now_us = 1_000_000_000;
        let mut work = Work { data: &mut data, now_us, run: 1, listeners: &|_| 0, told: &mut told };
        let (name, own) = (format!("aa.{link} 0.1.1"), format!("aa.{link}"));
        let words = [&name, age_ms, "0", "0", "", "3000", "60000", "1", &own];
        let words = words.map(|word| word.as_bytes().to_vec());
        scripts.run(script, (&[b"places".to_vec()], &words), &mut work);
        let found = data.hash(b"places").expect("it is a hash");
        found.into_iter().flatten().map(|it| it.0.escape_ascii().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(tell(3, "5"), ["aa.3 0.1.1"]);
    assert_eq!(tell(4, "5"), ["aa.4 0.1.1"]);
    assert_eq!(tell(3, "5"), ["aa.4 0.1.1"], "it is late");
    assert_eq!(tell(3, ""), [""; 0], "it has gone, over whichever link");
}
