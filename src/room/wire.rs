//! A publication as one node writes it and another reads it.
//!
//! The first byte is the version of the form, then follows the [`Stamp`], then a MessagePack array.
//! Invariant: whatever stands there, reading it gives a publication that this server could have made
//! itself, or nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{Now, Past};
use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::protocol::{Codec, Data, Filter, Priority, Scalar};

use super::broker::Stamp;
use super::filter::Audience;
use super::name::{RoomKey, USER_BYTES};
use super::publication::{Author, Draft};

/// The version that this server writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// The address of whoever is on another node: no core has this number.
pub const ELSEWHERE: ConnectionAddress = ConnectionAddress {
    core: CoreId(u16::MAX),
    key: ConnectionKey { index: u32::MAX, generation: u32::MAX },
};

/// A publication as it stands in its place behind the stamp.
#[derive(Debug, Serialize, Deserialize)]
struct Written<'a> {
    at_ms: u64,
    is_json: bool,
    #[serde(borrow, with = "lent")]
    data: &'a [u8],
    event: Option<Box<str>>,
    author: Option<WrittenAuthor>,
    exclude_self: bool,
    priority: u8,
    ttl_ms: Option<u64>,
    filter: Option<WrittenFilter>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenAuthor {
    user: Option<Box<str>>,
    connection: Box<str>,
    /// Where that is on its node: core, place, generation.
    address: (u16, u32, u32),
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenFilter {
    users: Option<Box<[Box<str>]>>,
    exclude_users: Box<[Box<str>]>,
    metadata: Box<[(Box<str>, WrittenScalar)]>,
    min_connection_age_ms: Option<u64>,
    max_connections: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenScalar {
    Bool(bool),
    Integer(i64),
    Text(Box<str>),
}

/// Bytes that are lent, not copied.
mod lent {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'de [u8], D::Error> {
        <&'de [u8]>::deserialize(from)
    }
}

/// What a publication says about its time and its maker, before it has a place.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// What tells it from all others.
    pub stamp: Stamp,
    /// For how long it is worth anything.
    pub ttl_ms: Option<u64>,
    /// Who gets it.
    pub filter: Option<&'a Filter>,
}

/// Writes a publication.
#[must_use]
pub fn write(draft: &Draft, made: Made<'_>) -> Box<[u8]> {
    let data = draft.data.as_data();
    let written = Written {
        at_ms: draft.at_ms,
        is_json: data.codec() == Codec::Json,
        data: data.bytes(),
        event: draft.event.clone(),
        author: draft.author.as_ref().map(WrittenAuthor::new),
        exclude_self: draft.exclude_self,
        priority: draft.priority as u8,
        ttl_ms: made.ttl_ms,
        filter: made.filter.map(WrittenFilter::new),
    };
    let mut bytes = Vec::with_capacity(96 + data.bytes().len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&made.stamp.to_bytes());
    rmp_serde::encode::write(&mut bytes, &written).expect("memory takes whatever is written to it");
    bytes.into_boxed_slice()
}

/// The stamp of what was written; none if it is of another version.
#[must_use]
pub fn stamp(wire: &[u8]) -> Option<Stamp> {
    let (version, rest) = wire.split_first()?;
    Stamp::from_bytes(rest.get(..Stamp::BYTES)?).filter(|_| *version == VERSION)
}

/// Where a publication that is read has its place.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// Which room.
    pub room: &'a RoomKey,
    /// Which life of it.
    pub epoch: &'a Arc<str>,
    /// 0: transient.
    pub offset: u64,
    /// The node that reads.
    pub node: u64,
    /// How deep its content may be nested.
    pub depth: u8,
}

/// Reads what was written; none if it is not what this server writes.
#[must_use]
pub fn read(wire: &[u8], spot: Spot<'_>, now: Now) -> Option<Draft> {
    let is_own = stamp(wire)?.node == spot.node;
    let written: Written<'_> = rmp_serde::from_slice(&wire[1 + Stamp::BYTES..]).ok()?;
    let codec = if written.is_json { Codec::Json } else { Codec::MessagePack };
    let author = written.author.map(|author| author.into_author(is_own));
    let user_bytes = author.iter().filter_map(|it| it.user.as_ref()).map(|user| user.len());
    if user_bytes.max().unwrap_or(0) > USER_BYTES {
        return None;
    }
    // Another node's clock may be ahead of this one's; it does not make a message younger than new.
    let age_us = now.unix_ms.saturating_sub(written.at_ms).saturating_mul(1_000);
    let published = Past::before(now.moment, age_us);
    let left_ms = |ttl_ms: u64| ttl_ms.saturating_sub(age_us / 1_000);
    Some(Draft {
        room: spot.room.clone(),
        epoch: Arc::clone(spot.epoch),
        offset: spot.offset,
        at_ms: written.at_ms,
        data: Data::new(codec, written.data, spot.depth)?.to_owned(),
        event: written.event,
        author,
        exclude_self: written.exclude_self,
        priority: priority(written.priority)?,
        expires: written.ttl_ms.map(|ttl_ms| now.moment.plus_ms(left_ms(ttl_ms))),
        published,
        audience: written.filter.map(|filter| Box::new(Audience::new(filter.into_filter()))),
    })
}

fn priority(number: u8) -> Option<Priority> {
    [Priority::Low, Priority::Normal, Priority::High, Priority::Critical]
        .into_iter()
        .find(|priority| *priority as u8 == number)
}

impl WrittenAuthor {
    fn new(author: &Author) -> Self {
        let ConnectionAddress { core, key } = author.address;
        Self {
            user: author.user.as_deref().map(Box::from),
            connection: Box::from(&*author.connection),
            address: (core.0, key.index, key.generation),
        }
    }

    fn into_author(self, is_own: bool) -> Author {
        let (core, index, generation) = self.address;
        let key = ConnectionKey { index, generation };
        Author {
            user: self.user.map(Arc::from),
            connection: self.connection.into(),
            address: if is_own { ConnectionAddress { core: CoreId(core), key } } else { ELSEWHERE },
        }
    }
}

impl WrittenFilter {
    fn new(filter: &Filter) -> Self {
        let scalar = |scalar: &Scalar| match scalar {
            Scalar::Bool(value) => WrittenScalar::Bool(*value),
            Scalar::Integer(value) => WrittenScalar::Integer(*value),
            Scalar::Text(value) => WrittenScalar::Text(value.clone()),
        };
        Self {
            users: filter.users.clone(),
            exclude_users: filter.exclude_users.clone(),
            metadata: filter.metadata.iter().map(|(key, it)| (key.clone(), scalar(it))).collect(),
            min_connection_age_ms: filter.min_connection_age_ms,
            max_connections: filter.max_connections,
        }
    }

    fn into_filter(self) -> Filter {
        let scalar = |scalar| match scalar {
            WrittenScalar::Bool(value) => Scalar::Bool(value),
            WrittenScalar::Integer(value) => Scalar::Integer(value),
            WrittenScalar::Text(value) => Scalar::Text(value),
        };
        Filter {
            users: self.users,
            exclude_users: self.exclude_users,
            metadata: self.metadata.into_iter().map(|(key, it)| (key, scalar(it))).collect(),
            min_connection_age_ms: self.min_connection_age_ms,
            max_connections: self.max_connections,
        }
    }
}

#[cfg(test)]
mod tests;
