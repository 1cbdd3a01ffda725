//! What was decided about a room, as one node writes it and another reads it.
//!
//! A field is a letter for its kind and whom it is of; its value is text. What nodes tell each other
//! beside the fields is a MessagePack array. Invariant: whatever stands there, reading it gives what
//! this server could have written itself, or nothing.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Decided, Decree, Entry, Manner, Moderation, Parent, Target, UntilUnix};
use crate::protocol::{ModerationAction, Role, read_room_patch, write_room_patch};
use crate::room::config::Password;
use crate::room::members::Member;
use crate::room::name::USER_BYTES;

/// What stands for a password that is set to none, for no rooms, and for a time without end.
const NONE: &str = "-";

/// A change as nodes tell it; fields are texts, because all that stands in them is.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    manner: u8,
    decree: WrittenDecree,
    by: Option<Box<str>>,
    /// Fields and values; an empty value: there is no such field any more.
    fields: Vec<(Box<str>, Box<str>)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum WrittenDecree {
    Entered,
    Configured,
    Deleted,
    Moderated {
        action: Box<str>,
        user: Option<Box<str>>,
        address: Option<IpAddr>,
        until: UntilUnix,
        role: Option<Box<str>>,
        reason: Option<Box<str>>,
    },
}

/// The name and the value of a field; no value: it is to be taken away.
#[must_use]
pub fn field(entry: &Entry) -> (String, Option<String>) {
    match entry {
        Entry::Created(at_ms) => ("t".to_owned(), Some(at_ms.to_string())),
        Entry::Parents(parents) => {
            let of = |it: &Parent| format!("{} {}", it.name_bytes, it.made_ms);
            let all: Vec<_> = parents.iter().map(of).collect();
            let all = if all.is_empty() { NONE.to_owned() } else { all.join(",") };
            ("h".to_owned(), Some(all))
        }
        Entry::Config(patch) => ("c".to_owned(), Some(write_room_patch(patch))),
        Entry::Password(password) => {
            let trace = password.as_ref().map(Password::to_hex);
            ("p".to_owned(), Some(trace.unwrap_or_else(|| NONE.to_owned())))
        }
        Entry::Member(user, member) => {
            let value = member.map(|it| format!("{} {}", it.role.as_str(), it.joined_at_ms));
            (format!("m{user}"), value)
        }
        Entry::Invited(user, invited) => {
            let value = invited.map(|(role, until)| format!("{} {}", role.as_str(), time(until)));
            (format!("i{user}"), value)
        }
        Entry::BannedUser(user, until) => (format!("b{user}"), until.map(time)),
        Entry::BannedAddress(ip, ban) => {
            let value = ban.map(|(until, below)| match below {
                Some(below) => format!("{} {}", time(until), below.as_str()),
                None => time(until),
            });
            (format!("a{ip}"), value)
        }
        Entry::Muted(user, until) => (format!("u{user}"), until.map(time)),
    }
}

/// What a field says; none if it is no such field.
#[must_use]
pub fn entry(field: &str, value: Option<&str>) -> Option<Entry> {
    let kind = field.chars().next().filter(char::is_ascii)?;
    let of = &field[1..];
    if kind == 'a' {
        return Some(Entry::BannedAddress(of.parse().ok()?, optional(value, read_address_ban)?));
    }
    let whole = match (kind, value) {
        ('t', Some(at_ms)) => Some(Entry::Created(at_ms.parse().ok()?)),
        ('h', Some(parents)) => Some(Entry::Parents(read_parents(parents)?)),
        ('c', Some(patch)) => Some(Entry::Config(Box::new(read_room_patch(patch)?))),
        ('p', Some(NONE)) => Some(Entry::Password(None)),
        // One that cannot be read keeps the room closed.
        ('p', Some(trace)) => {
            Some(Entry::Password(Some(Password::from_hex(trace).unwrap_or(Password::LOST))))
        }
        _ => None,
    };
    if let Some(whole) = whole {
        return of.is_empty().then_some(whole);
    }
    if of.is_empty() || of.len() > USER_BYTES {
        return None;
    }
    let user: Arc<str> = of.into();
    Some(match kind {
        'm' => Entry::Member(user, optional(value, read_member)?),
        'i' => Entry::Invited(user, optional(value, read_invited)?),
        'b' => Entry::BannedUser(user, optional(value, read_time)?),
        'u' => Entry::Muted(user, optional(value, read_time)?),
        _ => return None,
    })
}

/// A change, as all who listen are told it.
#[must_use]
pub fn write(manner: Manner, entries: &[Entry], decided: &Decided) -> Vec<u8> {
    let fields = entries.iter().map(|entry| {
        let (field, value) = field(entry);
        (field.into_boxed_str(), value.unwrap_or_default().into_boxed_str())
    });
    let written = Written {
        manner: manner as u8,
        decree: write_decree(&decided.decree),
        by: decided.by.as_deref().map(Box::from),
        fields: fields.collect(),
    };
    rmp_serde::to_vec(&written).expect("memory takes whatever is written to it")
}

/// A change that was told; none if no node of this version tells that.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(Manner, Vec<Entry>, Decided)> {
    let written: Written = rmp_serde::from_slice(bytes).ok()?;
    let manner = match written.manner {
        0 => Manner::Amend,
        1 => Manner::Replace,
        2 => Manner::End,
        _ => return None,
    };
    let fields = written.fields.iter();
    let entries = fields
        .filter_map(|(field, value)| entry(field, Some(&**value).filter(|it| !it.is_empty())))
        .collect();
    let decree = read_decree(written.decree)?;
    Some((manner, entries, Decided { decree, by: written.by.map(Arc::from) }))
}

fn write_decree(decree: &Decree) -> WrittenDecree {
    match decree {
        Decree::Entered => WrittenDecree::Entered,
        Decree::Configured => WrittenDecree::Configured,
        Decree::Deleted => WrittenDecree::Deleted,
        Decree::Moderated(it) => {
            let (user, address) = match &it.target {
                Target::User(user) => (Some(user.clone()), None),
                Target::Address(address) => (None, Some(*address)),
            };
            WrittenDecree::Moderated {
                action: it.action.as_str().into(),
                user,
                address,
                until: it.until,
                role: it.role.map(|role| role.as_str().into()),
                reason: it.reason.clone(),
            }
        }
    }
}

fn read_decree(written: WrittenDecree) -> Option<Decree> {
    Some(match written {
        WrittenDecree::Entered => Decree::Entered,
        WrittenDecree::Configured => Decree::Configured,
        WrittenDecree::Deleted => Decree::Deleted,
        WrittenDecree::Moderated { action, user, address, until, role, reason } => {
            let target = match (user, address) {
                (Some(user), None) => Target::User(user),
                (None, Some(address)) => Target::Address(address),
                _ => return None,
            };
            let action = ModerationAction::parse(&action)?;
            let role = match role {
                Some(role) => Some(Role::parse(&role)?),
                None => None,
            };
            Decree::Moderated(Moderation { action, target, until, role, reason })
        }
    })
}

/// Nothing for no value; none for one that cannot be read.
#[expect(clippy::option_option, reason = "nothing was there, and nothing could be read, differ")]
fn optional<T>(value: Option<&str>, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

fn time(until: UntilUnix) -> String {
    until.map_or_else(|| NONE.to_owned(), |until| until.to_string())
}

fn read_time(text: &str) -> Option<UntilUnix> {
    if text == NONE { Some(None) } else { text.parse().ok().map(Some) }
}

fn read_address_ban(text: &str) -> Option<(UntilUnix, Option<Role>)> {
    match text.split_once(' ') {
        Some((until, below)) => Some((read_time(until)?, Some(Role::parse(below)?))),
        None => Some((read_time(text)?, None)),
    }
}

fn read_parents(text: &str) -> Option<Box<[Parent]>> {
    if text == NONE {
        return Some(Box::default());
    }
    let parent = |text: &str| {
        let (name_bytes, made_ms) = text.split_once(' ')?;
        Some(Parent { name_bytes: name_bytes.parse().ok()?, made_ms: made_ms.parse().ok()? })
    };
    text.split(',').map(parent).collect()
}

fn read_member(text: &str) -> Option<Member> {
    let (role, joined_at_ms) = text.split_once(' ')?;
    let role = Role::parse(role).filter(|role| *role != Role::Guest)?;
    Some(Member { role, joined_at_ms: joined_at_ms.parse().ok()? })
}

fn read_invited(text: &str) -> Option<(Role, UntilUnix)> {
    let (role, until) = text.split_once(' ')?;
    Some((Role::parse(role)?, read_time(until)?))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::protocol::{Mode, RoomPatch, RoomType, WordFilter};

    fn entries() -> Vec<Entry> {
        let patch = RoomPatch {
            room_type: Some(RoomType::Private),
            mode: Some(Mode::Reliable),
            word_filter: Some(WordFilter {
                words: vec!["ünder\"".to_owned()],
                ..WordFilter::default()
            }),
            ..RoomPatch::default()
        };
        let parent = |(name_bytes, made_ms)| Parent { name_bytes, made_ms };
        let ann: Arc<str> = "ann b".into();
        vec![
            Entry::Created(17),
            Entry::Parents(Box::default()),
            Entry::Parents([(4, 17), (2, 9)].map(parent).into()),
            Entry::Config(Box::new(patch)),
            Entry::Password(None),
            Entry::Password(Password::from_hex(&"0b".repeat(48))),
            Entry::Password(Some(Password::LOST)),
            Entry::Member(Arc::clone(&ann), Some(Member { role: Role::Admin, joined_at_ms: 3 })),
            Entry::Member(Arc::clone(&ann), None),
            Entry::Invited(Arc::clone(&ann), Some((Role::Member, Some(9)))),
            Entry::Invited(Arc::clone(&ann), None),
            Entry::BannedUser(Arc::clone(&ann), Some(None)),
            Entry::BannedAddress(std::net::Ipv6Addr::LOCALHOST.into(), Some((Some(4), None))),
            Entry::BannedAddress(Ipv4Addr::LOCALHOST.into(), Some((None, Some(Role::Moderator)))),
            Entry::Muted(ann, Some(Some(5))),
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        for it in entries() {
            let (field, value) = field(&it);
            assert_eq!(entry(&field, value.as_deref()), Some(it), "{field} {value:?}");
        }
        let target = Target::Address(Ipv4Addr::new(10, 0, 0, 1).into());
        for decree in [
            Decree::Entered,
            Decree::Configured,
            Decree::Deleted,
            Decree::Moderated(Moderation {
                action: ModerationAction::Ban,
                target,
                until: Some(1),
                role: None,
                reason: Some("why".into()),
            }),
        ] {
            let decided = Decided { decree, by: Some("bob".into()) };
            for manner in [Manner::Amend, Manner::Replace, Manner::End] {
                let bytes = write(manner, &entries(), &decided);
                assert_eq!(read(&bytes), Some((manner, entries(), decided.clone())));
                assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn what_nobody_writes_is_not_read() {
        for (name, value) in [
            ("", Some("1")),
            ("x", Some("1")),
            ("t", None),
            ("t", Some("-1")),
            ("h", Some("4")),
            ("h", Some("4 17,")),
            ("hann", Some("4 17")),
            ("tann", Some("1")),
            ("c", Some("[]")),
            ("c", Some("{\"type\":7}")),
            ("pann", Some("0a")),
            ("m", Some("owner 1")),
            ("mann", Some("guest 1")),
            ("mann", Some("king 1")),
            ("mann", Some("owner")),
            ("bann", Some("soon")),
            ("aann", Some("1")),
            ("a10.0.0.1", Some("1 king")),
            ("a10.0.0.1", Some("soon owner")),
            ("é", Some("1")),
        ] {
            assert_eq!(entry(name, value), None, "{name} {value:?}");
        }
        assert_eq!(entry(&format!("b{}", "x".repeat(USER_BYTES + 1)), Some("1")), None);
    }

    #[test]
    fn a_password_that_cannot_be_read_is_one_that_nobody_has() {
        let lost = Entry::Password(Some(Password::LOST));
        for trace in ["", "0a", "ü", &"0a".repeat(32)] {
            assert_eq!(entry("p", Some(trace)), Some(lost.clone()), "{trace}");
        }
        for text in ["", "0a", "\0", &"0".repeat(96)] {
            assert!(!Password::LOST.is(text), "{text}");
        }
    }
}
