//! Content that is passed on and not understood.
//!
//! Invariants: a [`Data`] that exists is one well-formed value of its codec, with nothing before
//! or after it; within its codec it is written byte for byte.

use std::borrow::Cow;

use super::command::Text;
use super::fault::Fault;
use super::msgpack::Head;
use super::{Codec, json, msgpack, transcode};

/// One value as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    codec: Codec,
    bytes: &'a [u8],
}

impl<'a> Data<'a> {
    /// The deepest nesting that is read at all.
    pub const DEPTH_MAX: u8 = 128;

    /// The value that `bytes` are, if they are one, nested at most `depth` deep.
    #[must_use]
    pub fn new(codec: Codec, bytes: &'a [u8], depth: u8) -> Option<Self> {
        let depth = depth.min(Self::DEPTH_MAX);
        let value = match codec {
            Codec::Json => {
                simdutf8::basic::from_utf8(bytes).ok()?;
                let start = json::skip_whitespace(bytes, 0);
                let end = json::skip(bytes, start, depth).ok()?;
                json::is_end(bytes, end).then(|| &bytes[start..end])
            }
            Codec::MessagePack => {
                let end = msgpack::skip(bytes, 0, depth).ok()?;
                (end == bytes.len()).then_some(bytes)
            }
        };
        Some(Self { codec, bytes: value? })
    }

    /// A value that has been checked.
    pub(super) const fn checked(codec: Codec, bytes: &'a [u8]) -> Self {
        Self { codec, bytes }
    }

    /// `null`.
    #[must_use]
    pub const fn null(codec: Codec) -> Self {
        match codec {
            Codec::Json => Self { codec, bytes: b"null" },
            Codec::MessagePack => Self { codec, bytes: &[0xc0] },
        }
    }

    /// What it is written in.
    #[must_use]
    pub const fn codec(self) -> Codec {
        self.codec
    }

    /// As it was written.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The same value in `codec`: the bytes as they are where that is its own.
    #[must_use]
    pub fn to_codec(self, codec: Codec) -> Cow<'a, [u8]> {
        if codec == self.codec {
            return Cow::Borrowed(self.bytes);
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        self.write(codec, &mut out);
        Cow::Owned(out)
    }

    /// Writes the value in `codec` to the end of `out`.
    pub fn write(self, codec: Codec, out: &mut Vec<u8>) {
        match (self.codec, codec) {
            (Codec::Json, Codec::MessagePack) => transcode::to_msgpack(self.bytes, out),
            (Codec::MessagePack, Codec::Json) => transcode::to_json(self.bytes, out),
            _ => out.extend_from_slice(self.bytes),
        }
    }

    /// The same, to be kept.
    #[must_use]
    pub fn to_owned(self) -> OwnedData {
        OwnedData { codec: self.codec, bytes: self.bytes.into() }
    }

    /// What it says, if it is text.
    #[must_use]
    pub fn text(self) -> Option<Text<'a>> {
        match self.codec {
            Codec::Json => json::text(self.bytes),
            Codec::MessagePack => msgpack::text(self.bytes).map(Cow::Borrowed),
        }
    }

    /// The number, if it is a whole one from 0 to 2^64-1, written without fraction or exponent.
    #[must_use]
    pub fn unsigned(self) -> Option<u64> {
        match self.codec {
            Codec::Json => str::from_utf8(self.bytes).ok()?.parse().ok(),
            Codec::MessagePack => match self.head()? {
                Head::Unsigned(value) => Some(value),
                _ => None,
            },
        }
    }

    /// The number, if it is a whole one from -2^63 to 2^63-1, written without fraction or exponent.
    #[must_use]
    pub fn signed(self) -> Option<i64> {
        match self.codec {
            Codec::Json => str::from_utf8(self.bytes).ok()?.parse().ok(),
            Codec::MessagePack => match self.head()? {
                Head::Unsigned(value) => i64::try_from(value).ok(),
                Head::Negative(value) => Some(value),
                _ => None,
            },
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self.codec {
            Codec::Json => match self.bytes {
                b"true" => Some(true),
                b"false" => Some(false),
                _ => None,
            },
            Codec::MessagePack => match self.head()? {
                Head::Bool(value) => Some(value),
                _ => None,
            },
        }
    }

    /// Whether it is an object or a map.
    #[must_use]
    pub fn is_map(self) -> bool {
        Entries::new(self.codec, self.bytes).is_some()
    }

    /// Its pairs, if it is an object or a map.
    pub(super) fn entries(self) -> Option<Entries<'a>> {
        Entries::new(self.codec, self.bytes)
    }

    /// Its elements, if it is an array.
    pub(super) fn items(self) -> Option<Items<'a>> {
        Some(match self.codec {
            Codec::Json => Items::Json(json::Items::new(self.bytes)?),
            Codec::MessagePack => Items::MessagePack(msgpack::Items::new(self.bytes)?),
        })
    }

    /// What a MessagePack value begins with.
    fn head(self) -> Option<Head> {
        Head::read(self.bytes, 0).ok().map(|(head, _)| head)
    }
}

/// The pairs of a map, in order: a key, then its value. What it walks over need not have been
/// checked.
pub(super) enum Entries<'a> {
    Json(json::Entries<'a>),
    MessagePack(msgpack::Entries<'a>),
}

impl<'a> Entries<'a> {
    /// The pairs of the map that begins at the start of `bytes`; none if none does.
    pub(super) fn new(codec: Codec, bytes: &'a [u8]) -> Option<Self> {
        match codec {
            Codec::Json => json::Entries::new(bytes).map(Self::Json),
            Codec::MessagePack => msgpack::Entries::new(bytes).map(Self::MessagePack),
        }
    }

    /// The next key; its value must be taken before another is. None where the map ends.
    pub(super) fn next_key(&mut self) -> Result<Option<Cow<'a, [u8]>>, Fault> {
        match self {
            Self::Json(entries) => entries.next_key(),
            Self::MessagePack(entries) => Ok(entries.next_key()?.map(Cow::Borrowed)),
        }
    }

    /// The value of the key just taken, nested at most `depth` deep.
    pub(super) fn value(&mut self, depth: u8) -> Result<Data<'a>, Fault> {
        match self {
            Self::Json(entries) => Ok(Data::checked(Codec::Json, entries.value(depth)?)),
            Self::MessagePack(entries) => {
                Ok(Data::checked(Codec::MessagePack, entries.value(depth)?))
            }
        }
    }

    /// Where the walk has come to.
    pub(super) fn position(&self) -> usize {
        match self {
            Self::Json(entries) => entries.position(),
            Self::MessagePack(entries) => entries.position(),
        }
    }
}

/// The elements of an array that has been checked.
#[derive(Clone, Debug)]
pub(super) enum Items<'a> {
    Json(json::Items<'a>),
    MessagePack(msgpack::Items<'a>),
}

impl<'a> Items<'a> {
    /// Those that were [left](Self::rest).
    pub(super) fn of_rest(codec: Codec, bytes: &'a [u8], left: usize) -> Self {
        match codec {
            Codec::Json => Self::Json(json::Items::of_rest(bytes)),
            Codec::MessagePack => Self::MessagePack(msgpack::Items::of_rest(bytes, left)),
        }
    }

    /// The bytes behind the last one taken; and how many elements they are, where that is counted.
    pub(super) fn rest(&self) -> (&'a [u8], usize) {
        match self {
            Self::Json(items) => (items.rest(), 0),
            Self::MessagePack(items) => items.rest(),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Data<'a>;

    fn next(&mut self) -> Option<Data<'a>> {
        match self {
            Self::Json(items) => items.next().map(|bytes| Data::checked(Codec::Json, bytes)),
            Self::MessagePack(items) => {
                items.next().map(|bytes| Data::checked(Codec::MessagePack, bytes))
            }
        }
    }
}

/// One value, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedData {
    codec: Codec,
    bytes: Box<[u8]>,
}

impl OwnedData {
    /// The value, to be read or written.
    #[must_use]
    pub fn as_data(&self) -> Data<'_> {
        Data { codec: self.codec, bytes: &self.bytes }
    }
}
