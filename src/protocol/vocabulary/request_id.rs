//! What ties an answer to its command.

/// What ties an answer to its command: chosen by whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// At most [`RequestId::MAX_NUMBER`].
    Number(u64),
    /// At most [`RequestId::MAX_TEXT_BYTES`].
    Text(Box<str>),
}

impl RequestId {
    /// 2^53-1: the greatest integer that every client holds exactly.
    pub const MAX_NUMBER: u64 = (1 << 53) - 1;
    /// The longest text.
    pub const MAX_TEXT_BYTES: usize = 64;

    /// The id of this number, if it is one.
    #[must_use]
    pub fn number(number: u64) -> Option<Self> {
        (number <= Self::MAX_NUMBER).then_some(Self::Number(number))
    }

    /// The id of this text, if it is one.
    #[must_use]
    pub fn text(text: &str) -> Option<Self> {
        (text.len() <= Self::MAX_TEXT_BYTES).then(|| Self::Text(text.into()))
    }
}
