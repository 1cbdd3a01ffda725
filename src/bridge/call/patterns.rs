//! What nodes tell each other of patterns: what each receives, and which rooms were called.

use std::sync::Arc;

use redis::{Cmd, Value};

use crate::bridge::answer::{bytes, number, text};
use crate::bridge::desk::Desk;
use crate::bridge::keys::Keys;
use crate::bridge::script::{self, Name};
use crate::id::{CoreId, TenantId};
use crate::room::broker::{
    self, Beginning, CallId, Calls, Fault, FromBroker, PatternAsk, Patterns,
};
use crate::room::name::{RoomKey, RoomName};
use crate::room::pattern::Pattern;

use super::Call;

/// How long what a node receives holds after it was last heard of.
const REMEMBER_MS: u64 = 120_000;
/// How long calls are kept: a node that was cut off for as long as it is remembered reads what it missed
/// from a minute before on, as long as a call holds.
const CALLS_MS: u64 = 300_000;
/// Who begins to receive a pattern is told the calls of this time: three times as long as one holds,
/// because what goes out behind it may be on its way.
const LIVE_MS: u64 = 180_000;
/// Calls that are kept at most.
const CALLS_MAX: u32 = 100_000;

/// The question of a node.
#[derive(Debug)]
struct Read {
    from: CoreId,
    says: Option<Arc<[(TenantId, Pattern)]>>,
    mark: Arc<str>,
    calls: Calls,
}

/// A call of a room.
#[derive(Debug)]
struct Note {
    from: CoreId,
    room: RoomKey,
    place: Option<Beginning>,
}

/// The call that an ask is.
pub(super) fn of(from: CoreId, ask: PatternAsk) -> Box<dyn Call> {
    match ask {
        PatternAsk::Read { says, mark, calls } => Box::new(Read { from, says, mark, calls }),
        PatternAsk::Call { room, place } => Box::new(Note { from, room, place }),
    }
}

impl Call for Read {
    fn bytes(&self) -> usize {
        let says = self.says.iter().flat_map(|says| says.iter());
        says.map(|(_, pattern)| pattern.as_str().len()).sum()
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Patterns, &desk.keys.patterns());
        let says = self.says.as_ref().map(|says| write(says, &desk.keys));
        command.arg(&desk.node).arg(says.unwrap_or_default()).arg(&*self.mark);
        let kind = match self.calls {
            Calls::None => "",
            Calls::After(_) => "after",
            Calls::Live(_) => "live",
        };
        let last = self.calls.last().map(|CallId { at_ms, number }| format!("{at_ms}-{number}"));
        command.arg(kind).arg(last.unwrap_or_default());
        command.arg(script::fresh(&desk.chance().to_be_bytes())).arg(REMEMBER_MS).arg(LIVE_MS);
        command.arg(CALLS_MAX);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let patterns = read(&answer, (self.calls.last(), &desk.node), &desk.keys);
        let outcome = patterns.map(Box::new).ok_or(Fault::Other);
        desk.post(self.from, FromBroker::Patterns(outcome));
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Patterns(Err(fault)));
    }
}

impl Call for Note {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Call, &[desk.keys.calls()]);
        command.arg(&desk.node);
        command.arg(desk.keys.tenant(self.room.tenant)).arg(self.room.name.as_str());
        match &self.place {
            Some(Beginning { epoch, offset }) => command.arg(&**epoch).arg(*offset),
            None => command.arg("").arg(0),
        };
        command.arg(CALLS_MAX).arg(CALLS_MS);
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Called { room: self.room, outcome: Ok(()) });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Called { room: self.room, outcome: Err(fault) });
    }
}

/// What a node receives: pairs of a tenant and a pattern, in JSON.
fn write(says: &[(TenantId, Pattern)], keys: &Keys) -> String {
    let pairs: Vec<_> =
        says.iter().map(|(tenant, pattern)| (keys.tenant(*tenant), pattern.as_str())).collect();
    serde_json::to_string(&pairs).expect("pairs of texts are JSON")
}

/// What was written so; none if that is not, and then everything is taken to be received. What is of a
/// tenant that is not known here is nobody's.
fn read_says(says: &[u8], keys: &Keys) -> Option<Vec<(TenantId, Pattern)>> {
    let pairs: Vec<(String, String)> = serde_json::from_slice(says).ok()?;
    let known = pairs.into_iter().filter_map(|(tenant, pattern)| {
        let tenant = keys.tenant_called(tenant.as_bytes())?;
        Some(Pattern::parse(&pattern).ok().map(|pattern| (tenant, pattern)))
    });
    known.collect()
}

/// What `patterns.lua` said; none if it says no such thing.
fn read(value: &Value, reader: (Option<CallId>, &str), keys: &Keys) -> Option<Patterns> {
    let Value::Array(items) = value else { return None };
    let [mark, age, others, own, nodes, strangers, calls, last, cut] = items.as_slice() else {
        return None;
    };
    let others = match others {
        Value::Array(all) => {
            let mut read = Vec::new();
            for says in all {
                match read_says(bytes(says)?, keys) {
                    Some(says) => read.extend(says),
                    None => read.extend(keys.tenants().map(|id| (id, Pattern::everything()))),
                }
            }
            read.sort_unstable();
            read.dedup();
            Some(read)
        }
        _ => None,
    };
    let Value::Array(entries) = calls else { return None };
    Some(Patterns {
        mark: text(mark)?.into(),
        age_ms: number(age)?,
        others,
        had_own: number(own)? == 1,
        has_others: number(nodes)? > 0,
        has_strangers: number(strangers)? > 0,
        calls: entries.iter().filter_map(|entry| call(entry, reader, keys)).collect(),
        last: call_id(text(last)?)?,
        is_cut: number(cut)? == 1,
    })
}

/// `MS-NUMBER`
fn call_id(text: &str) -> Option<CallId> {
    let (at_ms, number) = text.split_once('-')?;
    Some(CallId { at_ms: at_ms.parse().ok()?, number: number.parse().ok()? })
}

/// `[ID, [n, NODE, t, TENANT, r, ROOM, e, EPOCH, o, OFFSET]]`; what was read before, or came before this node
/// received anything, is not new. A node hears what it publishes itself without its calls.
fn call(
    entry: &Value,
    (read_to, own): (Option<CallId>, &str),
    keys: &Keys,
) -> Option<broker::Call> {
    let Value::Array(parts) = entry else { return None };
    let [id, Value::Array(fields)] = parts.as_slice() else { return None };
    let [_, node, _, tenant, _, room, _, epoch, _, offset] = fields.as_slice() else {
        return None;
    };
    if bytes(node)? == own.as_bytes() {
        return None;
    }
    let id = call_id(text(id)?)?;
    let room =
        RoomKey::new(keys.tenant_called(bytes(tenant)?)?, RoomName::parse(text(room)?).ok()?);
    let epoch = text(epoch)?;
    let place = Beginning { epoch: epoch.into(), offset: text(offset)?.parse().ok()? };
    let is_new = read_to.is_some_and(|last| id > last);
    Some(broker::Call { room, place: (!epoch.is_empty()).then_some(place), is_new })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::tenant::Tenants;

    fn keys() -> Keys {
        Keys::new("p", &Tenants::new(&Config::default()))
    }

    fn said(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn what_a_node_receives_reads_back() {
        let keys = keys();
        for patterns in [&[][..], &["**"], &["chat:*", "a\"b/*", "é/**"]] {
            let says: Vec<_> = patterns
                .iter()
                .map(|text| (TenantId::DEFAULT, Pattern::parse(text).expect("a pattern")))
                .collect();
            assert_eq!(read_says(write(&says, &keys).as_bytes(), &keys), Some(says));
        }
        assert_eq!(read_says(br#"[["bm9ib2R5","x"]]"#, &keys), Some(Vec::new()), "of nobody here");
        let tenant = keys.tenant(TenantId::DEFAULT);
        for bad in ["", "{}", r#"["a"]"#, &format!(r#"[["{tenant}","**/x"]]"#)] {
            assert_eq!(read_says(bad.as_bytes(), &keys), None, "{bad}");
        }
    }

    #[test]
    fn a_call_is_new_once() {
        let keys = keys();
        let tenant = keys.tenant(TenantId::DEFAULT);
        let entry = |id: &str, epoch: &str, offset: &str| {
            let fields = ["n", "one", "t", tenant, "r", "a/b", "e", epoch, "o", offset].map(said);
            Value::Array(vec![said(id), Value::Array(fields.to_vec())])
        };
        let last = |at_ms, number| Some(CallId { at_ms, number });
        for (id, epoch, read_to, is_new) in [
            ("5-1", "1.x", last(5, 0), true),
            ("5-1", "1.x", last(0, 0), true),
            ("5-1", "1.x", last(5, 1), false),
            ("5-1", "1.x", None, false),
            ("5-1", "", last(5, 0), true),
        ] {
            let place = Beginning { epoch: "1.x".into(), offset: 4 };
            let place = Some(place).filter(|_| !epoch.is_empty());
            let entry = entry(id, epoch, "4");
            assert_eq!(call(&entry, (read_to, "one"), &keys), None, "its own");
            let call = call(&entry, (read_to, "two"), &keys).expect("a call");
            assert_eq!(
                (call.room.name.as_str(), call.place, call.is_new),
                ("a/b", place, is_new),
                "{id} {read_to:?}"
            );
        }
        assert_eq!(call(&entry("5", "1.x", "4"), (None, ""), &keys), None);
        assert_eq!(call(&entry("5-1", "1.x", "x"), (None, ""), &keys), None);
        assert_eq!(call(&Value::Nil, (None, ""), &keys), None);
    }
}
