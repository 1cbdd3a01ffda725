//! What nodes say of who is there, as one writes it and another reads it: a MessagePack array.
//!
//! Invariant: whatever stands there, reading it gives what this server could have said itself, or
//! nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Said;
use crate::protocol::{Codec, Data, OwnedData};
use crate::room::name::USER_BYTES;

#[derive(Debug, Serialize, Deserialize)]
struct Written(u32, Vec<WrittenUser>);

/// A user, their connections, whether they have said something, and what.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenUser(Box<str>, Option<u32>, bool, #[serde(with = "lent")] Vec<u8>);

/// Bytes, not a sequence of numbers.
mod lent {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ptr_arg, reason = "serde asks with what the field is")]
    pub(super) fn serialize<S: Serializer>(bytes: &Vec<u8>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

/// Writes what a node says: how many connections of nobody it has, and of which users there is
/// something new.
#[must_use]
pub fn write(anonymous: u32, users: &[Said]) -> Vec<u8> {
    let user = |said: &Said| {
        let info = write_info(said.info.as_ref());
        WrittenUser(Box::from(&*said.user), said.connections, said.has_said, info)
    };
    let written = Written(anonymous, users.iter().map(user).collect());
    rmp_serde::to_vec(&written).expect("memory takes whatever is written to it")
}

/// Reads what a node says.
#[must_use]
pub fn read(bytes: &[u8], depth: u8) -> Option<(u32, Vec<Said>)> {
    let Written(anonymous, users) = rmp_serde::from_slice(bytes).ok()?;
    let said = |WrittenUser(user, connections, has_said, info)| {
        let info = read_info(&info, depth)?;
        Some(Said { user: read_user(user.as_bytes())?, connections, has_said, info })
    };
    Some((anonymous, users.into_iter().map(said).collect::<Option<_>>()?))
}

/// Reads the id of a user.
#[must_use]
pub fn read_user(bytes: &[u8]) -> Option<Arc<str>> {
    let user = std::str::from_utf8(bytes).ok()?;
    (1..=USER_BYTES).contains(&user.len()).then(|| user.into())
}

/// Writes what a user says about themselves: a letter for its codec, then itself; nothing for nothing.
#[must_use]
pub fn write_info(info: Option<&OwnedData>) -> Vec<u8> {
    let Some(data) = info.map(OwnedData::as_data) else { return Vec::new() };
    let mut bytes = Vec::with_capacity(data.bytes().len() + 1);
    bytes.push(if data.codec() == Codec::Json { b'j' } else { b'm' });
    bytes.extend_from_slice(data.bytes());
    bytes
}

/// Reads that. The outer none: nobody of us writes that.
#[must_use]
pub fn read_info(bytes: &[u8], depth: u8) -> Option<Option<OwnedData>> {
    let Some((kind, data)) = bytes.split_first() else { return Some(None) };
    let codec = match kind {
        b'j' => Codec::Json,
        b'm' => Codec::MessagePack,
        _ => return None,
    };
    Some(Some(Data::new(codec, data, depth)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let info = |text: &[u8]| Data::new(Codec::Json, text, 8).map(Data::to_owned);
        let said = |user: &str, connections, info: Option<OwnedData>| Said {
            user: user.into(),
            connections,
            has_said: info.is_some(),
            info,
        };
        let users = vec![
            said("ann", Some(2), info(br#"{"a":[1]}"#)),
            said("b\u{0}b", None, None),
            said("é", Some(0), None),
        ];
        let bytes = write(7, &users);
        assert_eq!(read(&bytes, 8), Some((7, users)));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], 8), None, "{cut}");
        }
        let long = write(0, &[said(&"x".repeat(USER_BYTES + 1), Some(1), None)]);
        assert_eq!(read(&long, 8), None);
        assert_eq!(read(&write(0, &[said("", Some(1), None)]), 8), None);
        let deep = write(0, &[said("a", Some(1), info(b"[[[1]]]"))]);
        assert_eq!(read(&deep, 2), None);
        for bad in [b"x1".as_slice(), b"j", b"j{", b"j1 2", b"m\xc1"] {
            assert_eq!(read_info(bad, 8), None, "{}", bad.escape_ascii());
        }
        assert_eq!(read_info(b"", 8), Some(None));
    }
}
