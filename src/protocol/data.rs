//! Content that is passed on and not understood.
//!
//! Invariants: a [`Data`] that exists is one well-formed value of its codec, with nothing before
//! or after it; within its codec it is written byte for byte.

use super::Codec;

/// One value as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    codec: Codec,
    bytes: &'a [u8],
}

impl<'a> Data<'a> {
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

    /// The same, to be kept.
    #[must_use]
    pub fn to_owned(self) -> OwnedData {
        OwnedData { codec: self.codec, bytes: self.bytes.into() }
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
