//! What a session has, as one node writes it and another reads it.
//!
//! The first byte is the version, then follows a MessagePack array.
//!
//! Invariant: whatever stands there, reading it gives a snapshot that this server could have made
//! itself, or nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::{Codec, Data, Priority};
use crate::room::broker::Since;
use crate::room::hub::Interest;
use crate::room::name::{RoomKey, RoomName};
use crate::room::pattern::Pattern;
use crate::shard::identity::Identity;

use super::{KeptRoom, NAMES_MAX, SessionId, Snapshot};

/// The version that this server writes, and the only one that it reads.
const VERSION: u8 = 1;
/// The longest name of a connection that is read.
const NAME_BYTES: usize = 64;

#[derive(Serialize, Deserialize)]
struct Written {
    rooms: Vec<WrittenRoom>,
    patterns: Vec<(Box<str>, WrittenInterest)>,
    state: Option<(bool, Vec<u8>)>,
    names: Vec<Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct WrittenRoom {
    name: Box<str>,
    epoch: Box<str>,
    position: u64,
    interest: WrittenInterest,
    by_token: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenInterest {
    presence: bool,
    events: Option<Box<[Box<str>]>>,
    min_priority: u8,
}

/// Whose a session is, as all nodes say it: tenants may have other numbers there.
pub(in crate::shard) fn owner(identity: &Identity) -> Box<[u8]> {
    let tenant = identity.tenant_name.as_bytes();
    let mut owner = Vec::with_capacity(tenant.len() + 8);
    owner.extend((tenant.len() as u64).to_be_bytes());
    owner.extend(tenant);
    if let Some(user) = &identity.user {
        owner.push(b'u');
        owner.extend(user.as_bytes());
    }
    owner.into()
}

impl Snapshot {
    /// Writes it.
    pub(in crate::shard) fn write(&self) -> Box<[u8]> {
        let written = Written {
            rooms: self.rooms.iter().map(WrittenRoom::new).collect(),
            patterns: self
                .patterns
                .iter()
                .map(|(pattern, it)| (pattern.as_str().into(), WrittenInterest::new(it)))
                .collect(),
            state: self.state.as_ref().map(|state| {
                let data = state.as_data();
                (data.codec() == Codec::Json, data.bytes().to_vec())
            }),
            names: self.names.iter().map(|name| (&**name).into()).collect(),
        };
        let mut bytes = vec![VERSION];
        let wrote = rmp_serde::encode::write(&mut bytes, &written);
        wrote.expect("memory takes whatever is written to it");
        bytes.into()
    }

    /// Reads what was written, for whoever it belongs to.
    pub(in crate::shard) fn read(
        bytes: &[u8],
        identity: &Arc<Identity>,
        depth: u8,
    ) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let written: Written = rmp_serde::from_slice(rest).ok()?;
        let names = &written.names;
        if names.len() > NAMES_MAX || names.iter().any(|name| name.len() > NAME_BYTES) {
            return None;
        }
        let state = match written.state {
            Some((is_json, bytes)) => {
                let codec = if is_json { Codec::Json } else { Codec::MessagePack };
                Some(Data::new(codec, &bytes, depth)?.to_owned())
            }
            None => None,
        };
        let room = |room: WrittenRoom| room.into_room(identity);
        let pattern = |(text, interest): (Box<str>, WrittenInterest)| {
            Some((Pattern::parse(&text).ok()?, interest.into_interest()?))
        };
        Some(Self {
            rooms: written.rooms.into_iter().map(room).collect::<Option<_>>()?,
            patterns: written.patterns.into_iter().map(pattern).collect::<Option<_>>()?,
            state,
            identity: Arc::clone(identity),
            names: written.names.into_iter().map(Arc::from).collect(),
            // That stands beside it.
            since: Since::default(),
        })
    }
}

impl WrittenRoom {
    fn new(kept: &KeptRoom) -> Self {
        Self {
            name: kept.room.name.as_str().into(),
            epoch: (&*kept.epoch).into(),
            position: kept.position,
            interest: WrittenInterest::new(&kept.interest),
            by_token: kept.by_token,
        }
    }

    fn into_room(self, identity: &Identity) -> Option<KeptRoom> {
        let name = match (&*self.name, &identity.user) {
            ("@all", _) => RoomName::everyone(),
            (name, Some(user)) if name.strip_prefix("@user/") == Some(&**user) => {
                RoomName::user(user).ok()?
            }
            (name, _) => RoomName::parse(name).ok()?,
        };
        Some(KeptRoom {
            room: RoomKey::new(identity.tenant, name),
            epoch: self.epoch.into(),
            position: self.position,
            interest: self.interest.into_interest()?,
            by_token: self.by_token,
            // It waited on another node.
            is_counted: false,
        })
    }
}

impl WrittenInterest {
    fn new(interest: &Interest) -> Self {
        Self {
            presence: interest.presence,
            events: interest.events.clone(),
            min_priority: interest.min_priority as u8,
        }
    }

    fn into_interest(self) -> Option<Interest> {
        let all = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let min_priority = all.into_iter().find(|it| *it as u8 == self.min_priority)?;
        Some(Interest { presence: self.presence, events: self.events, min_priority })
    }
}

impl SessionId {
    /// As the broker knows it.
    pub(in crate::shard) fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The one that the broker means.
    pub(in crate::shard) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: Option<&str>) -> Arc<Identity> {
        Arc::new(Identity { user: user.map(Arc::from), ..Identity::anonymous() })
    }

    fn snapshot(identity: &Arc<Identity>) -> Snapshot {
        let interest = Interest {
            presence: true,
            events: Some(Box::from([Box::from("a"), Box::from("b")])),
            min_priority: Priority::High,
        };
        let room = |name: RoomName, position| KeptRoom {
            room: RoomKey::new(identity.tenant, name),
            epoch: "3.x".into(),
            position,
            interest: interest.clone(),
            by_token: position == 7,
            is_counted: false,
        };
        let state = Data::new(Codec::Json, b"{\"a\": 1}", Data::DEPTH_MAX).expect("good data");
        Snapshot {
            identity: Arc::clone(identity),
            rooms: vec![
                room(RoomName::parse("a/b").expect("a good name"), 7),
                room(RoomName::everyone(), 1),
                room(RoomName::user("ada").expect("a good name"), 0),
            ],
            patterns: vec![(Pattern::parse("chat:*").expect("a good pattern"), interest.clone())],
            state: Some(state.to_owned()),
            names: vec!["one".into(), "two".into()],
            since: Since::default(),
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        let identity = identity(Some("ada"));
        let written = snapshot(&identity).write();
        let read = Snapshot::read(&written, &identity, Data::DEPTH_MAX).expect("it reads");
        assert_eq!(format!("{read:?}"), format!("{:?}", snapshot(&identity)));
    }

    #[test]
    fn what_no_node_wrote_is_nothing() {
        let ada = identity(Some("ada"));
        let written = snapshot(&ada).write();
        for len in 0..written.len() {
            assert!(Snapshot::read(&written[..len], &ada, Data::DEPTH_MAX).is_none(), "{len}");
        }
        for names in [vec!["name".into(); NAMES_MAX + 1], vec!["x".repeat(NAME_BYTES + 1).into()]] {
            let other = Snapshot { names, ..snapshot(&ada) }.write();
            assert!(Snapshot::read(&other, &ada, Data::DEPTH_MAX).is_none());
        }
        let mut other = written.clone();
        other[0] = VERSION + 1;
        assert!(Snapshot::read(&other, &ada, Data::DEPTH_MAX).is_none());
        let eve = identity(Some("eve"));
        assert!(Snapshot::read(&written, &eve, Data::DEPTH_MAX).is_none(), "another's messages");
    }

    #[test]
    fn no_two_owners_are_written_alike() {
        let of = |tenant: &str, user: Option<&str>| {
            let tenant_name = tenant.into();
            owner(&Identity { tenant_name, user: user.map(Arc::from), ..Identity::anonymous() })
        };
        let all = [
            of("a", None),
            of("a", Some("")),
            of("a", Some("u")),
            of("au", None),
            of("au", Some("u")),
            of("", Some("a")),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
