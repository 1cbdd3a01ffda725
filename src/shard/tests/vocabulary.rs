//! PROTOCOL §2 and §3, message by message: each command's good forms with the fields of their
//! answers, each refusal that it can meet, and everything the server says of its own accord.
//!
//! Whatever any client is told in these runs is held to the tables of fields: none is missing, none
//! is of another kind, none is there that the protocol does not have. What a message may not look
//! like, whatever the state of the server, is in `protocol::tests::bad`.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;

use super::cluster::{Address, Cluster};
use crate::config::Config;
use crate::protocol::command::Moderate;
use crate::protocol::{
    CloseReason, Command, ErrorCode, Event, GapReason, LeftReason, ModerationAction, ParseLimits,
    PresenceAction, parse,
};
use crate::shard::identity::Identity;
use crate::ws::MessageKind;

mod rows;
mod said;

/// Who of those who are there says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// A user who may do everything but govern rooms without a role there.
    Ann,
    Bob,
    /// As everybody is in open mode.
    Anonymous,
    /// Somebody to whom nothing is granted.
    Nobody,
}
use Who::{Ann, Anonymous, Bob, Nobody};

/// What is to come of a message.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// An `ok` with the fields that it has, of which these are as they are here.
    Well(&'static str),
    /// An error of this code.
    Badly(ErrorCode),
    /// A `pong`.
    Back,
    /// Nothing at all.
    Silence,
}
use Comes::{Back, Badly, Silence, Well};

/// What is said before, what is said then, by whom, and what comes of it.
type Row = (&'static [(Who, &'static str)], Who, &'static str, Comes);

macro_rules! kinds {
    ($of:ident: $type:ty; $($pattern:pat => $kind:literal,)+) => {
        /// What the protocol calls it. A new variant has to be given its name here, and so its rows.
        fn $of(it: &$type) -> &'static str {
            match it { $($pattern => $kind,)+ }
        }
        paste_kinds!($of, $($kind,)+);
    };
}
macro_rules! paste_kinds {
    (command, $($kind:literal,)+) => { const COMMANDS: &[&str] = &[$($kind,)+]; };
    (event, $($kind:literal,)+) => { const EVENTS: &[&str] = &[$($kind,)+]; };
}

kinds! { command: Command<'_>;
    Command::Auth(_) => "auth",
    Command::Join(_) => "join",
    Command::Leave(_) => "leave",
    Command::Publish(_) => "publish",
    Command::Send(_) => "send",
    Command::Broadcast(_) => "broadcast",
    Command::Ack(_) => "ack",
    Command::History(_) => "history",
    Command::Presence(_) => "presence",
    Command::PresenceSet(_) => "presence.set",
    Command::Rooms => "rooms",
    Command::StateSet(_) => "state.set",
    Command::StateGet => "state.get",
    Command::RoomCreate(_) => "room.create",
    Command::RoomUpdate(_) => "room.update",
    Command::RoomDelete(_) => "room.delete",
    Command::RoomInfo(_) => "room.info",
    Command::Moderate(Moderate { action: ModerationAction::Invite, .. }) => "room.invite",
    Command::Moderate(Moderate { action: ModerationAction::Ban, .. }) => "room.ban",
    Command::Moderate(Moderate { action: ModerationAction::Unban, .. }) => "room.unban",
    Command::Moderate(Moderate { action: ModerationAction::Mute, .. }) => "room.mute",
    Command::Moderate(Moderate { action: ModerationAction::Unmute, .. }) => "room.unmute",
    Command::Moderate(Moderate { action: ModerationAction::Kick, .. }) => "room.kick",
    Command::Moderate(Moderate { action: ModerationAction::Role, .. }) => "room.role",
    Command::RoomMembers(_) => "room.members",
    Command::Subscribe(_) => "subscribe",
    Command::Unsubscribe(_) => "unsubscribe",
    Command::Batch(_) => "batch",
    Command::Ping(_) => "ping",
    Command::Response(_) => "response",
    Command::Application(_) => "any other",
}

kinds! { event: Event<'_>;
    Event::Welcome(_) => "welcome",
    Event::AuthRequired { .. } => "auth_required",
    Event::Ok { .. } => "ok",
    Event::Error(_) => "error",
    Event::Message(_) => "message",
    Event::Presence(_) => "presence",
    Event::Gap(_) => "gap",
    Event::Left { .. } => "left",
    Event::Room { .. } => "room",
    Event::Pong { .. } => "pong",
    Event::Request { .. } => "request",
    Event::Expiring { .. } => "expiring",
    Event::Disconnect { .. } => "disconnect",
}

/// Which fields a message of the server has: their kinds, and `?` behind those that may be missing.
/// `s` text, `n` a whole number, `b` true or false, `o` an object, `a` an array, `i` an id, `z` text
/// or null, `*` anything.
const FIELDS: &[(&str, &str)] = &[
    (
        "welcome",
        "protocol:n connection:s session?:s user:z tenant:s heartbeat_ms:n expires_at?:n \
         recovered:b rooms:a",
    ),
    ("auth_required", "within_ms:n"),
    ("error", "id?:i code:s message:s retry_after_ms?:n"),
    (
        "message",
        "room:s epoch?:s offset?:n data:* event?:s from?:o at:n priority?:s redelivered?:b",
    ),
    ("presence", "room:s action:s user:s info?:*"),
    ("gap", "room:s epoch:s from:n to:n reason:s"),
    ("left", "room:s reason:s by?:s"),
    ("room", "room:s change:s config?:o role?:s until?:n by?:s reason?:s"),
    ("pong", "id?:i data?:* at:n"),
    ("request", "id:i event:s data:* within_ms:n"),
    ("expiring", "at:n"),
    ("disconnect", "reason:s reconnect:b retry_after_ms?:n"),
];

/// What the `ok` of each command carries beside its `id`.
const REPLIES: &[(&str, &str)] = &[
    ("auth", "user:z expires_at?:n"),
    ("join", "room:s epoch:s offset:n recovered:b role:s user_count:n"),
    ("leave", "room:s"),
    ("publish", "room:s epoch?:s offset?:n delivered?:n total?:n partial?:b duplicate?:b"),
    ("broadcast", "room:s epoch?:s offset?:n delivered?:n total?:n partial?:b duplicate?:b"),
    ("send", "delivered:n"),
    ("ack", ""),
    ("history", "room:s epoch:s offset:n messages:a truncated:b"),
    ("presence", "room:s count:n users:a next?:s"),
    ("presence.set", ""),
    ("rooms", "rooms:a"),
    ("state.set", ""),
    ("state.get", "data:*"),
    ("room.create", "room:s config:o role:s"),
    ("room.update", "room:s config:o role:s"),
    ("room.delete", ""),
    ("room.info", "room:s config:o user_count:n member_count:n epoch:s offset:n created_at:n"),
    ("room.invite", ""),
    ("room.ban", ""),
    ("room.unban", ""),
    ("room.mute", ""),
    ("room.unmute", ""),
    ("room.kick", ""),
    ("room.role", ""),
    ("room.members", "members:a next?:s"),
    ("subscribe", "pattern:s"),
    ("unsubscribe", "pattern:s"),
    ("batch", ""),
    ("any other", "data:*"),
];

/// Of the elements of arrays, and of `from`.
const ELEMENTS: &[(&str, &str)] = &[
    ("welcome.rooms", "room:s role:s epoch:s offset:n recovered:b"),
    ("ok.rooms", "room:s role:s epoch:s offset:n"),
    ("ok.users", "user:s info:* connections:n"),
    ("ok.members", "user:s role:s muted:b joined_at:n"),
    ("ok.messages", "type:s room:s epoch:s offset:n data:* event?:s from?:o at:n priority?:s"),
    ("message.from", "user:z connection:s"),
];

fn fields_of(table: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(of, _)| *of == name).map(|(_, fields)| *fields)
}

fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "s" => value.is_string(),
        "n" => value.is_u64(),
        "b" => value.is_boolean(),
        "o" => value.is_object(),
        "a" => value.is_array(),
        "i" => value.is_string() || value.is_u64(),
        "z" => value.is_string() || value.is_null(),
        _ => true,
    }
}

/// Holds an object to its fields; those in `more` are known already.
fn check_fields(value: &Value, fields: &str, more: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    let mut known: BTreeSet<&str> = more.iter().copied().collect();
    for field in fields.split_whitespace() {
        let (name, kind) = field.split_once(':').unwrap();
        let required = name.trim_end_matches('?');
        known.insert(required);
        match object.get(required) {
            Some(found) => assert!(is_of_kind(found, kind), "{required} of {value} is not {kind}"),
            None => assert_ne!(required, name, "{required} is missing in {value}"),
        }
    }
    let extra: Vec<_> = object.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(extra.is_empty(), "{extra:?} of {value} are not in the protocol");
}

/// Holds a message of the server to the protocol; `asked` is the command that an `ok` is of.
fn check(message: &Value, asked: Option<&str>) {
    let kind = message["type"].as_str().unwrap_or_else(|| panic!("{message} has no type"));
    assert!(EVENTS.contains(&kind), "{message} is not in the protocol");
    if kind == "ok" {
        let asked = asked.unwrap_or_else(|| panic!("{message} answers nothing"));
        check_fields(message, fields_of(REPLIES, asked).unwrap(), &["type", "id"]);
        assert!(is_of_kind(&message["id"], "i"));
    } else {
        check_fields(message, fields_of(FIELDS, kind).unwrap(), &["type"]);
    }
    for (path, fields) in ELEMENTS {
        let (of, name) = path.split_once('.').unwrap();
        match message.get(name).filter(|_| of == kind) {
            Some(Value::Array(items)) => items.iter().for_each(|it| check_fields(it, fields, &[])),
            Some(object) => check_fields(object, fields, &[]),
            None => {}
        }
    }
    if kind == "error" {
        let code = ErrorCode::parse(message["code"].as_str().unwrap()).expect("a known code");
        let has = message.get("retry_after_ms").is_some();
        assert_eq!(has, code.has_retry_after(), "{message}");
    }
    if kind == "message" {
        assert_eq!(message.get("epoch").is_some(), message.get("offset").is_some(), "{message}");
    }
}

/// Everyone who is there, and what they were told.
struct Stage {
    cluster: Cluster,
    people: [(Who, Address); 4],
    said: BTreeSet<String>,
}

impl Stage {
    fn new(cores: u16, config: Config) -> Self {
        let mut cluster = Cluster::new(cores, config);
        let far = cores - 1;
        let ann = cluster.open_as(0, "ann", |_| {});
        let bob = cluster.open_as(far, "bob", |_| {});
        let anonymous = cluster.open_with(far, |_| {});
        cluster.shards[0].assume(Arc::new(Identity::nobody()));
        let nobody = cluster.open_with(0, |_| {});
        cluster.shards[0].assume(Arc::new(Identity::anonymous()));
        let people = [(Ann, ann), (Bob, bob), (Anonymous, anonymous), (Nobody, nobody)];
        let mut stage = Self { cluster, people, said: BTreeSet::new() };
        stage.listen(None);
        stage
    }

    fn at(&self, who: Who) -> Address {
        self.people.iter().find(|(it, _)| *it == who).unwrap().1
    }

    /// What everybody is told, held to the protocol.
    fn listen(&mut self, asked: Option<(Who, &str)>) -> Vec<(Who, Value)> {
        let mut told = Vec::new();
        for (who, at) in self.people {
            let asked = asked.filter(|(asker, _)| *asker == who).map(|(_, kind)| kind);
            for message in self.cluster.read(at) {
                check(&message, asked);
                self.note(&message);
                told.push((who, message));
            }
        }
        told
    }

    /// Remembers that such a message was said.
    fn note(&mut self, message: &Value) {
        let kind = message["type"].as_str().unwrap_or_default();
        self.said.insert(kind.to_owned());
        for form in ["code", "reason", "action", "change"] {
            if let Some(form) = message[form].as_str() {
                self.said.insert(format!("{kind} {form}"));
            }
        }
    }

    /// Says something, with an id: which command that is, and all that anyone is told then.
    fn say(&mut self, who: Who, text: &str) -> (&'static str, Vec<(Who, Value)>) {
        let known = self.fill(text);
        let limits = ParseLimits { depth: 32, batch_messages: 100 };
        let mut messages = parse(MessageKind::Text, known.as_bytes(), &limits);
        let kind = messages.next().unwrap().map(|it| command(&it.command));
        let kind = kind.unwrap_or_else(|bad| panic!("{known} is no message: {}", bad.message));
        let at = self.at(who);
        self.cluster.send(at, &known);
        (kind, self.listen(Some((who, kind))))
    }

    /// Puts in what a row cannot know: names of connections, and the epoch of the room `r`.
    fn fill(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        if text.contains("EPOCH") {
            let (_, told) = self.say(Ann, r#"{"type":"room.info","id":"e","room":"r"}"#);
            let epoch = told.iter().find_map(|(_, it)| it["epoch"].as_str().map(str::to_owned));
            text = text.replace("EPOCH", &epoch.unwrap_or_default());
        }
        if text.contains("BOB") {
            let (at, key) = (self.at(Bob), self.at(Bob).key);
            let shard = &self.cluster.shards[at.core.index()];
            let name = shard.outbound.get(key).map(|it| it.name.to_string());
            text = text.replace("BOB", &name.unwrap_or_default());
        }
        text
    }
}

/// Runs a row on one core and on three: which command it was of.
fn run(row: &Row, said: &mut BTreeSet<String>) -> &'static str {
    let (before, who, text, comes) = row;
    let mut of = "";
    for cores in [1, 3] {
        let mut stage = Stage::new(cores, rows::config());
        for (who, text) in *before {
            stage.say(*who, text);
        }
        let (kind, told) = stage.say(*who, text);
        of = kind;
        let id = serde_json::from_str::<Value>(text).unwrap()["id"].clone();
        let own = told.iter().filter(|(to, it)| to == who && it.get("id") == Some(&id));
        let own: Vec<_> = own.map(|(_, it)| it).collect();
        match comes {
            Silence => assert!(own.is_empty() && told.is_empty(), "{text}: {told:?}"),
            Back => assert_eq!((own.len(), &own[0]["type"]), (1, &"pong".into()), "{text}"),
            Well(expected) => {
                assert_eq!((own.len(), &own[0]["type"]), (1, &"ok".into()), "{text}: {told:?}");
                let expected: Value = serde_json::from_str(expected).unwrap();
                for (name, value) in expected.as_object().unwrap() {
                    assert_eq!(&own[0][name], value, "{name} of the answer to {text}");
                }
            }
            Badly(code) => {
                assert_eq!((own.len(), &own[0]["type"]), (1, &"error".into()), "{text}: {told:?}");
                assert_eq!(own[0]["code"], code.as_str(), "{text}: {}", own[0]);
            }
        }
        said.append(&mut stage.said);
    }
    of
}

#[test]
fn every_command_has_its_answers() {
    let (mut good, mut bad, mut said) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut failed = 0;
    for row in rows::ROWS {
        // Each row that does not hold says so, and the others are still looked at.
        let Ok(kind) = catch_unwind(AssertUnwindSafe(|| run(row, &mut said))) else {
            failed += 1;
            continue;
        };
        let list = if matches!(row.3, Badly(_)) { &mut bad } else { &mut good };
        list.insert(kind);
    }
    assert_eq!(failed, 0, "rows of the table do not hold");
    let missing = |list: &BTreeSet<&str>, none: &[&str]| -> Vec<_> {
        COMMANDS.iter().filter(|it| !list.contains(*it) && !none.contains(it)).collect()
    };
    assert!(missing(&good, rows::ONLY_REFUSED).is_empty(), "{:?}", missing(&good, &[]));
    assert!(missing(&bad, rows::NEVER_REFUSED).is_empty(), "{:?}", missing(&bad, &[]));
    for code in ErrorCode::ALL.iter().filter(|it| !rows::ELSEWHERE.contains(it)) {
        assert!(said.contains(&format!("error {code}")), "no row is refused with {code}");
    }
}

#[test]
fn whoever_is_not_allowed_is_told_so() {
    for text in rows::NEEDS_A_RIGHT {
        run(
            &(&[(Ann, rows::JOIN)], Nobody, text, Badly(ErrorCode::Forbidden)),
            &mut BTreeSet::new(),
        );
    }
}

/// Before `welcome` only `auth` and `ping` are heard.
#[test]
fn the_tables_know_every_message() {
    for kind in COMMANDS.iter().filter(|it| !["ping", "response"].contains(it)) {
        assert!(fields_of(REPLIES, kind).is_some(), "{kind}");
    }
    for kind in EVENTS.iter().filter(|it| **it != "ok") {
        assert!(fields_of(FIELDS, kind).is_some(), "{kind}");
    }
    // The function is what makes the compiler ask for a name.
    assert_eq!(event(&Event::Expiring { at_ms: 0 }), "expiring");
}

/// The page that clients are written by has every word that is said, and every field.
#[test]
fn the_reference_has_every_word() {
    const REFERENCE: &str = include_str!("../../protocol/PROTOCOL.md");
    let spans = REFERENCE.split('`').skip(1).step_by(2).flat_map(|span| {
        span.split(|it: char| !it.is_alphanumeric() && !"_.".contains(it)).map(str::to_owned)
    });
    let known: BTreeSet<String> = spans.collect();
    let mut words: Vec<&str> = COMMANDS.iter().chain(EVENTS).copied().collect();
    words.retain(|it| *it != "any other");
    words.extend(ErrorCode::ALL.iter().map(|it| it.as_str()));
    words.extend(GapReason::ALL.iter().map(|it| it.as_str()));
    words.extend(LeftReason::ALL.iter().map(|it| it.as_str()));
    words.extend(CloseReason::ALL.iter().map(|it| it.as_str()));
    words.extend(PresenceAction::ALL.iter().map(|it| it.as_str()));
    words.extend(["updated", "invited", "muted", "unmuted", "role"]);
    let fields = FIELDS.iter().chain(REPLIES).chain(ELEMENTS).flat_map(|(_, fields)| {
        fields.split_whitespace().filter_map(|field| field.split([':', '?']).next())
    });
    words.extend(fields);
    let missing: BTreeSet<_> = words.into_iter().filter(|it| !known.contains(*it)).collect();
    assert!(missing.is_empty(), "PROTOCOL.md does not know {missing:?}");
}
