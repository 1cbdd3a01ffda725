//! WebSocket frames from the client's side: masked templates out, plain frames in.

use std::fmt;

use crate::payload::STAMP_LEN;

/// Kinds of frames.
pub mod opcode {
    /// The rest of a message.
    pub const CONTINUATION: u8 = 0;
    /// UTF-8 text.
    pub const TEXT: u8 = 1;
    /// Bytes.
    pub const BINARY: u8 = 2;
    /// The end, with a code and a reason.
    pub const CLOSE: u8 = 8;
    /// Are you there?
    pub const PING: u8 = 9;
    /// I am.
    pub const PONG: u8 = 10;
}

/// The bit of a first byte that says the message is compressed.
pub const COMPRESSED: u8 = 0x40;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Appends a masked frame of `payload`; `flags` is [`COMPRESSED`] or 0.
pub fn write(out: &mut Vec<u8>, opcode: u8, flags: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(FINAL | flags | opcode);
    let len = payload.len();
    if let Ok(short @ ..126) = u8::try_from(len) {
        out.push(MASKED | short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.push(MASKED | 126);
        out.extend(medium.to_be_bytes());
    } else {
        out.push(MASKED | 127);
        out.extend((len as u64).to_be_bytes());
    }
    out.extend(mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// A whole masked frame in which only the stamp changes from message to message.
#[derive(Clone, Debug)]
pub struct Template {
    opcode: u8,
    message: Vec<u8>,
    message_stamp_at: usize,
    frame: Vec<u8>,
    stamp_at: usize,
    /// The mask, turned so that it begins at the stamp.
    mask: [u8; 4],
}

impl Template {
    /// A frame of `message`, whose stamp begins at `stamp_at`.
    #[must_use]
    pub fn new(opcode: u8, message: &[u8], stamp_at: usize, mask: [u8; 4]) -> Self {
        let mut frame = Vec::with_capacity(message.len() + 14);
        write(&mut frame, opcode, 0, mask, message);
        let header_len = frame.len() - message.len();
        let mut turned = mask;
        turned.rotate_left(stamp_at % 4);
        Self {
            opcode,
            message: message.to_vec(),
            message_stamp_at: stamp_at,
            frame,
            stamp_at: header_len + stamp_at,
            mask: turned,
        }
    }

    /// The message with this stamp in it, for those who compress it: kind and content.
    pub fn stamped_message(&mut self, stamp: &[u8; STAMP_LEN]) -> (u8, &[u8]) {
        let place = self.message_stamp_at..self.message_stamp_at + STAMP_LEN;
        self.message[place].copy_from_slice(stamp);
        (self.opcode, &self.message)
    }

    /// The frame with this stamp in it.
    pub fn stamped(&mut self, stamp: &[u8; STAMP_LEN]) -> &[u8] {
        let place = &mut self.frame[self.stamp_at..self.stamp_at + STAMP_LEN];
        place.copy_from_slice(stamp);
        apply_mask(place, self.mask);
        &self.frame
    }
}

/// The header of a frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind of frame.
    pub opcode: u8,
    /// Whether it ends its message.
    pub is_final: bool,
    /// Whether its message is compressed.
    pub compressed: bool,
    /// Bytes of the header.
    pub header_len: usize,
    /// Bytes of the payload.
    pub payload_len: usize,
}

/// How the server broke the protocol, or the bounds of this tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Only clients mask.
    Masked,
    /// A bit that nothing was agreed on for.
    Reserved,
    /// Of no known kind.
    Opcode,
    /// More than is taken at once.
    Length,
    /// A ping, pong or close that is long or in pieces.
    Control,
    /// A piece of no message, or a message within another.
    Pieces,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Masked => "a masked frame",
            Self::Reserved => "a frame with a reserved bit",
            Self::Opcode => "a frame of an unknown kind",
            Self::Length => "a message longer than this tool takes",
            Self::Control => "a control frame that is long or in pieces",
            Self::Pieces => "pieces of messages out of order",
        })
    }
}

impl Header {
    /// Reads a header from the front of `bytes`; `None` until it is complete. Frames over
    /// `payload_max` are malformed: this side bounds its memory, too.
    #[inline]
    pub fn parse(bytes: &[u8], payload_max: usize) -> Result<Option<Self>, Malformed> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if second & MASKED != 0 {
            return Err(Malformed::Masked);
        }
        if first & 0x30 != 0 {
            return Err(Malformed::Reserved);
        }
        let (header_len, payload_len) = match second {
            126 => match rest.first_chunk::<2>() {
                Some(len) => (4, usize::from(u16::from_be_bytes(*len))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(len) => {
                    (10, usize::try_from(u64::from_be_bytes(*len)).map_err(|_| Malformed::Length)?)
                }
                None => return Ok(None),
            },
            short => (2, usize::from(short)),
        };
        let opcode = first & 0x0f;
        let is_final = first & FINAL != 0;
        let is_control = opcode >= opcode::CLOSE;
        if payload_len > payload_max {
            return Err(Malformed::Length);
        }
        if is_control && (!is_final || payload_len > 125) {
            return Err(Malformed::Control);
        }
        let compressed = first & COMPRESSED != 0;
        Ok(Some(Self { opcode, is_final, compressed, header_len, payload_len }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;
    use crate::payload::Payload;

    fn unmask(frame: &[u8], header_len: usize) -> Vec<u8> {
        let mask: [u8; 4] = frame[header_len - 4..header_len].try_into().unwrap();
        let mut payload = frame[header_len..].to_vec();
        apply_mask(&mut payload, mask);
        payload
    }

    #[test]
    fn frames_of_every_length_form() {
        for (len, header_len) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let payload: Vec<u8> =
                (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let mut frame = Vec::new();
            write(&mut frame, opcode::BINARY, 0, [1, 2, 3, 4], &payload);
            assert_eq!(frame.len(), header_len + len);
            assert_eq!(unmask(&frame, header_len), payload);
        }
    }

    #[test]
    fn a_template_changes_nothing_but_the_stamp() {
        let payload = Payload::new(9, 40);
        for lead in 0..5 {
            let mut message = vec![b'['; lead];
            message.extend(payload.blank());
            message.push(b']');
            let mut template = Template::new(opcode::TEXT, &message, lead, [7, 99, 180, 3]);
            template.stamped(&payload.stamp(1, 1, 1));
            let got = unmask(template.stamped(&payload.stamp(4, 5, 6)), 6);
            let stamp = payload.check(&got[lead..got.len() - 1]).unwrap();
            assert_eq!((stamp.publisher, stamp.sequence, stamp.intended_us), (4, 5, 6));
            assert!(got[..lead].iter().all(|&byte| byte == b'['));
        }
    }

    #[test]
    fn headers_complete_incomplete_and_malformed() {
        let plain = Header {
            opcode: opcode::TEXT,
            is_final: true,
            compressed: false,
            header_len: 2,
            payload_len: 5,
        };
        type Row = (&'static [u8], Result<Option<Header>, Malformed>);
        let table: [Row; 8] = [
            (&[0x81], Ok(None)),
            (&[0x81, 5], Ok(Some(plain))),
            (&[0xc1, 5], Ok(Some(Header { compressed: true, ..plain }))),
            (&[0x81, 126, 1], Ok(None)),
            (&[0x81, 126, 1, 0], Ok(Some(Header { header_len: 4, payload_len: 256, ..plain }))),
            (&[0x81, 0x85], Err(Malformed::Masked)),
            (&[0xa1, 5], Err(Malformed::Reserved)),
            (&[0x09, 0], Err(Malformed::Control)),
        ];
        for (bytes, expected) in table {
            assert_eq!(Header::parse(bytes, 1_000), expected, "{bytes:x?}");
        }
        assert_eq!(Header::parse(&[0x81, 126, 4, 0], 1_000), Err(Malformed::Length));
    }
}
