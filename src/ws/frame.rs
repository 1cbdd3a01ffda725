//! Frame headers: read from a client, written by the server (RFC 6455 §5.2).
//!
//! Invariants: a header is judged byte by byte from the front, so that the verdict does not depend
//! on how it was split; what is written is final, unmasked and minimal.

use super::MessageKind;
use super::close::Fault;

/// The longest header there is: two bytes, a 64-bit length, a mask.
pub const HEADER_MAX_BYTES: usize = 14;

/// The longest payload of a control frame.
pub const CONTROL_MAX_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const LENGTH_IS_U16: u8 = 126;
const LENGTH_IS_U64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of an unfinished message.
    Continuation = 0x0,
    /// A text message, or its beginning.
    Text = 0x1,
    /// A binary message, or its beginning.
    Binary = 0x2,
    /// The end.
    Close = 0x8,
    /// A question for life.
    Ping = 0x9,
    /// Its answer.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with this number, if RFC 6455 defines it.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a control frame: short, whole, and allowed inside a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// Of which kind the message is that this opcode begins.
    #[must_use]
    pub const fn message_kind(self) -> Option<MessageKind> {
        match self {
            Self::Text => Some(MessageKind::Text),
            Self::Binary => Some(MessageKind::Binary),
            _ => None,
        }
    }
}

/// The header of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// RSV1: the message is deflated.
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key its payload is masked with.
    pub mask: [u8; 4],
    /// How long its payload claims to be; at most 2^63-1.
    pub payload_len: u64,
}

impl Header {
    /// Reads a header from the front of `bytes`: the header and its length, or `None` if more bytes
    /// are needed.
    ///
    /// # Errors
    /// The bytes there are can never become a header that a client may send.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = check_first(first)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Fault::Unmasked);
        }
        let short_len = second & LENGTH;
        if opcode.is_control() && usize::from(short_len) > CONTROL_MAX_BYTES {
            return Err(Fault::LongControl);
        }
        let Some((payload_len, mask_at)) = parse_length(bytes, short_len)? else { return Ok(None) };
        let Some(mask) = bytes.get(mask_at..).and_then(<[u8]>::first_chunk) else {
            return Ok(None);
        };
        let header = Self {
            fin: first & FIN != 0,
            compressed: first & RSV1 != 0,
            opcode,
            mask: *mask,
            payload_len,
        };
        Ok(Some((header, mask_at + 4)))
    }
}

/// What the first byte alone can get wrong.
#[inline]
fn check_first(first: u8) -> Result<Opcode, Fault> {
    if first & RSV2_RSV3 != 0 {
        return Err(Fault::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & OPCODE).ok_or(Fault::ReservedOpcode)?;
    if first & RSV1 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Fault::UnexpectedCompression);
    }
    if opcode.is_control() && first & FIN == 0 {
        return Err(Fault::FragmentedControl);
    }
    Ok(opcode)
}

/// The payload's length and where the mask begins, or `None` if more bytes are needed.
#[inline]
fn parse_length(bytes: &[u8], short_len: u8) -> Result<Option<(u64, usize)>, Fault> {
    match short_len {
        LENGTH_IS_U16 => {
            let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            let length = u16::from_be_bytes(*length);
            if length < u16::from(LENGTH_IS_U16) {
                return Err(Fault::PaddedLength);
            }
            Ok(Some((length.into(), 4)))
        }
        LENGTH_IS_U64 => {
            let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*length);
            if length >> 63 != 0 {
                return Err(Fault::NegativeLength);
            }
            if length <= u64::from(u16::MAX) {
                return Err(Fault::PaddedLength);
            }
            Ok(Some((length, 10)))
        }
        _ => Ok(Some((short_len.into(), 2))),
    }
}

/// How long the header is that [`write_header`] writes.
#[must_use]
pub const fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}

/// Appends the header of a server's frame: final, not masked, RSV1 if `deflated`.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, deflated: bool, payload_len: usize) {
    let rsv1 = if deflated { RSV1 } else { 0 };
    let first = FIN | rsv1 | opcode as u8;
    if let Ok(length) = u16::try_from(payload_len) {
        match u8::try_from(length) {
            Ok(length) if length < LENGTH_IS_U16 => out.extend_from_slice(&[first, length]),
            _ => {
                let [high, low] = length.to_be_bytes();
                out.extend_from_slice(&[first, LENGTH_IS_U16, high, low]);
            }
        }
    } else {
        out.extend_from_slice(&[first, LENGTH_IS_U64]);
        out.extend_from_slice(&(payload_len as u64).to_be_bytes());
    }
}

/// Appends a whole frame of a server.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, deflated: bool, payload: &[u8]) {
    out.reserve(header_len(payload.len()) + payload.len());
    write_header(out, opcode, deflated, payload.len());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests;
