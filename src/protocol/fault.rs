//! What is wrong with a message, said so that its author can mend it.

use std::borrow::Cow;

use super::ErrorCode;
use super::name::Name;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON, or not MessagePack, or more than one value.
    Malformed,
    /// A MessagePack map has a key that is no string.
    KeyNotText,
    /// Nested deeper than allowed.
    TooDeep,
    /// A number of too many digits.
    NumberTooLong,
    /// Neither a map nor, around messages, an array.
    NotAMessage,
    /// A batch within a batch.
    NestedBatch,
    /// More messages in a batch than allowed.
    TooManyMessages,
    /// A field is not there.
    Missing(Name),
    /// A field is there twice.
    Twice(Name),
    /// A field is of another kind than it should be.
    WrongKind(Name),
    /// A field's value is none of those it may have.
    BadValue(Name),
    /// A list is longer than allowed.
    TooMany(Name),
    /// Of these two fields there must be exactly one.
    NotOneOf(Name, Name),
}

impl Fault {
    /// For programs.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::TooManyMessages | Self::TooMany(_) => ErrorCode::LimitExceeded,
            _ => ErrorCode::BadRequest,
        }
    }

    /// For people; never text of the peer.
    pub(super) fn message(self) -> Cow<'static, str> {
        match self {
            Self::Malformed => "malformed".into(),
            Self::KeyNotText => "a map has a key that is not a string".into(),
            Self::TooDeep => "nested too deep".into(),
            Self::NumberTooLong => "a number has too many digits".into(),
            Self::NotAMessage => "a message is an object".into(),
            Self::NestedBatch => "a batch within a batch".into(),
            Self::TooManyMessages => "too many messages in a batch".into(),
            Self::Missing(name) => format!("`{name}` is missing").into(),
            Self::Twice(name) => format!("`{name}` is given twice").into(),
            Self::WrongKind(name) => format!("`{name}` has the wrong kind").into(),
            Self::BadValue(name) => format!("`{name}` has a value it cannot have").into(),
            Self::TooMany(name) => format!("`{name}` is too long a list").into(),
            Self::NotOneOf(one, other) => format!("exactly one of `{one}` and `{other}`").into(),
        }
    }
}
