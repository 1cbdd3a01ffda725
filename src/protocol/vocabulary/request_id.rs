//! What ties an answer to its command.

/// What ties an answer to its command: chosen by whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// At most [`RequestId::NUMBER_MAX`].
    Number(u64),
    /// At most [`RequestId::TEXT_MAX_BYTES`].
    Text(Box<str>),
}

impl RequestId {
    /// 2^53-1: the greatest integer that every client holds exactly.
    pub const NUMBER_MAX: u64 = (1 << 53) - 1;
    /// The longest text.
    pub const TEXT_MAX_BYTES: usize = 64;

    /// The id of this number, if it is one.
    #[must_use]
    pub fn number(number: u64) -> Option<Self> {
        (number <= Self::NUMBER_MAX).then_some(Self::Number(number))
    }

    /// The id of this text, if it is one.
    #[must_use]
    pub fn text(text: &str) -> Option<Self> {
        (text.len() <= Self::TEXT_MAX_BYTES).then(|| Self::Text(text.into()))
    }
}
