//! The end of a connection: which codes may be sent, what a close frame carries, and every way in
//! which a peer can break the protocol.
//!
//! Invariant: one [`Fault`] variant is one cause, and its code is the one this server closes with.

use super::frame::{self, CONTROL_MAX_BYTES, Opcode};

/// The longest reason that fits behind the code.
pub const REASON_MAX_BYTES: usize = CONTROL_MAX_BYTES - 2;

/// A way to break the protocol. Final: nothing more is read from a peer that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A frame from a client without a mask.
    Unmasked,
    /// RSV2 or RSV3: no extension that we speak uses them.
    ReservedBit,
    /// RSV1 where nothing can be compressed: not negotiated, a control frame, a continuation.
    UnexpectedCompression,
    /// An opcode that RFC 6455 does not define.
    ReservedOpcode,
    /// A control frame that is not final.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A 64-bit length with its top bit set.
    NegativeLength,
    /// A length in more bytes than it needs.
    PaddedLength,
    /// A continuation of no message.
    UnexpectedContinuation,
    /// A new message inside an unfinished one.
    InterruptedMessage,
    /// A frame over `limits.frame_bytes`.
    FrameTooLong,
    /// A message over `limits.message_bytes`, as sent or as inflated.
    MessageTooLong,
    /// A message in more than `limits.fragments` frames.
    TooManyFragments,
    /// Text that is not UTF-8.
    InvalidText,
    /// A compressed message that does not inflate.
    InvalidDeflate,
    /// A compressed message of so many blocks that they, and not their bytes, are the work.
    TooManyBlocks,
    /// A close frame of one byte.
    TruncatedCloseCode,
    /// A close code that must not be sent.
    InvalidCloseCode,
    /// A close reason that is not UTF-8.
    InvalidCloseReason,
}

impl Fault {
    /// The code to close with.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Unmasked
            | Self::ReservedBit
            | Self::UnexpectedCompression
            | Self::ReservedOpcode
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NegativeLength
            | Self::PaddedLength
            | Self::UnexpectedContinuation
            | Self::InterruptedMessage
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode => 1002,
            Self::InvalidText | Self::InvalidDeflate | Self::InvalidCloseReason => 1007,
            Self::FrameTooLong
            | Self::MessageTooLong
            | Self::TooManyFragments
            | Self::TooManyBlocks => 1009,
        }
    }

    /// The cause, for the close frame, logs and metric labels.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unmasked => "frame is not masked",
            Self::ReservedBit => "reserved bit is set",
            Self::UnexpectedCompression => "frame must not be compressed",
            Self::ReservedOpcode => "opcode is reserved",
            Self::FragmentedControl => "control frame is fragmented",
            Self::LongControl => "control frame is too long",
            Self::NegativeLength => "length has its top bit set",
            Self::PaddedLength => "length is not minimal",
            Self::UnexpectedContinuation => "continuation of no message",
            Self::InterruptedMessage => "message inside a message",
            Self::FrameTooLong => "frame is too long",
            Self::MessageTooLong => "message is too long",
            Self::TooManyFragments => "message has too many fragments",
            Self::InvalidText => "text is not UTF-8",
            Self::InvalidDeflate => "message does not inflate",
            Self::TooManyBlocks => "compressed message has too many blocks",
            Self::TruncatedCloseCode => "close code is truncated",
            Self::InvalidCloseCode => "close code is invalid",
            Self::InvalidCloseReason => "close reason is not UTF-8",
        }
    }
}

/// Whether a close frame may carry `code` (RFC 6455 §7.4 and its registry).
#[must_use]
pub const fn valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Appends the payload of a close frame. A reason that is too long is cut between characters.
pub fn write_payload(out: &mut Vec<u8>, code: u16, reason: &str) {
    out.extend_from_slice(&code.to_be_bytes());
    let end = reason.floor_char_boundary(REASON_MAX_BYTES);
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// Appends a whole close frame. Without a code it is empty, as the answer to an empty one is.
pub fn write_frame(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let Some(code) = code else {
        frame::write_header(out, Opcode::Close, false, 0);
        return;
    };
    let payload_len = 2 + reason.floor_char_boundary(REASON_MAX_BYTES);
    frame::write_header(out, Opcode::Close, false, payload_len);
    write_payload(out, code, reason);
}

/// Reads the payload of a peer's close frame: its code, if there is one, and its reason.
///
/// # Errors
/// The payload is one byte, the code must not be sent, or the reason is not UTF-8.
pub fn parse_payload(payload: &[u8]) -> Result<(Option<u16>, &str), Fault> {
    let (code, reason) = match payload {
        [] => return Ok((None, "")),
        [_] => return Err(Fault::TruncatedCloseCode),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !valid_code(code) {
        return Err(Fault::InvalidCloseCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Fault::InvalidCloseReason)?;
    Ok((Some(code), reason))
}

#[cfg(test)]
mod tests;
