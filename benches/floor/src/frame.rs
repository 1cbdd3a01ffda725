//! WebSocket frames, in place: a client's masked frames become a server's plain ones.
//!
//! An answer is never longer than its question, so both share one buffer.

use std::io;
use std::ops::Range;

const OPCODE_CLOSE: u8 = 8;
const OPCODE_PING: u8 = 9;
const OPCODE_PONG: u8 = 10;

/// What [`answer_in_place`] made of a buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Bytes of whole frames that were read.
    pub consumed: usize,
    /// Bytes of answers, at the front of the buffer.
    pub produced: usize,
    /// Whether a close frame was among them; it is answered, then the connection ends.
    pub closing: bool,
}

/// One whole client frame, unmasked where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// First byte: final bit and opcode.
    pub first: u8,
    /// Where its payload is.
    pub payload: Range<usize>,
}

impl ClientFrame {
    /// Kind of frame.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// The first byte of the answer, if there is to be one: a ping's is a pong, others' their own.
    #[must_use]
    pub fn answer(&self) -> Option<u8> {
        match self.opcode() {
            OPCODE_PONG => None,
            OPCODE_PING => Some(0x80 | OPCODE_PONG),
            _ => Some(self.first),
        }
    }

    /// Whether it ends the connection.
    #[must_use]
    pub fn is_close(&self) -> bool {
        self.opcode() == OPCODE_CLOSE
    }

    /// Whether it is a message or a part of one.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.opcode() < OPCODE_CLOSE
    }
}

/// Takes the frame that begins at `start`; `None` until it is whole.
pub fn take_frame(buffer: &mut [u8], start: usize) -> io::Result<Option<ClientFrame>> {
    let Some(header) = ClientHeader::parse(&buffer[start..])? else { return Ok(None) };
    let payload = start + header.header_len;
    let end = payload + header.payload_len;
    if end > buffer.len() {
        return Ok(None);
    }
    for (index, byte) in buffer[payload..end].iter_mut().enumerate() {
        *byte ^= header.mask[index % 4];
    }
    Ok(Some(ClientFrame { first: header.first, payload: payload..end }))
}

/// Rewrites every whole client frame in `buffer` as the server's echo of it, packed at the front.
pub fn answer_in_place(buffer: &mut [u8]) -> io::Result<Answered> {
    let mut answered = Answered::default();
    while !answered.closing {
        let Some(frame) = take_frame(buffer, answered.consumed)? else { break };
        answered.closing = frame.is_close();
        answered.consumed = frame.payload.end;
        let Some(first) = frame.answer() else { continue };
        let len = frame.payload.len();
        let start = answered.produced + write_header(&mut buffer[answered.produced..], first, len);
        buffer.copy_within(frame.payload, start);
        answered.produced = start + len;
    }
    Ok(answered)
}

/// Appends a server's frame to `out`.
pub fn append_server_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let mut header = [0; 4];
    let header_len = write_header(&mut header, first, payload.len());
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(payload);
}

struct ClientHeader {
    first: u8,
    mask: [u8; 4],
    header_len: usize,
    payload_len: usize,
}

impl ClientHeader {
    /// `None` until the header is complete. Frames past 65,535 bytes are refused: the floor
    /// measures small ones.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (payload_len, rest, length_len) = match (second & 0x7f, rest) {
            (127, _) => return Err(io::ErrorKind::InvalidData.into()),
            (126, &[high, low, ref rest @ ..]) => {
                (usize::from(u16::from_be_bytes([high, low])), rest, 2)
            }
            (126, _) => return Ok(None),
            (short, rest) => (usize::from(short), rest, 0),
        };
        let Some(&mask) = rest.first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Self { first, mask, header_len: 6 + length_len, payload_len }))
    }
}

fn write_header(buffer: &mut [u8], first: u8, payload_len: usize) -> usize {
    buffer[0] = first;
    match u8::try_from(payload_len) {
        Ok(short @ ..126) => {
            buffer[1] = short;
            2
        }
        _ => {
            let len = u16::try_from(payload_len).expect("parse refuses longer ones");
            buffer[1] = 126;
            buffer[2..4].copy_from_slice(&len.to_be_bytes());
            4
        }
    }
}

/// Length of the plain server frame at the front of `bytes`, header included; `None` until its
/// header is there. Frames past 65,535 bytes are refused.
pub fn server_frame_len(bytes: &[u8]) -> io::Result<Option<usize>> {
    match *bytes {
        [] | [_] | [_, 126] | [_, 126, _] => Ok(None),
        [_, 126, high, low, ..] => Ok(Some(4 + usize::from(u16::from_be_bytes([high, low])))),
        [_, short @ ..126, ..] => Ok(Some(2 + usize::from(short))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A masked binary client frame of `payload`.
#[must_use]
pub fn client_frame(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    let header_len = write_header(&mut frame, 0x82, payload.len());
    frame.truncate(header_len);
    frame[1] |= 0x80;
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn echoes_whole_frames_and_leaves_the_rest() {
        let mut buffer = client_frame(b"one", [1, 2, 3, 4]);
        buffer.extend(client_frame(&[7; 300], [5, 6, 7, 8]));
        let whole = buffer.len();
        buffer.extend(&client_frame(b"half", [9; 4])[..7]);
        let answered = answer_in_place(&mut buffer).unwrap();
        assert_eq!(answered.consumed, whole);
        assert_eq!(&buffer[..5], b"\x82\x03one");
        assert_eq!(server_frame_len(&buffer[5..]).unwrap(), Some(304));
        assert_eq!(&buffer[9..309], &[7; 300]);
        assert_eq!(answered.produced, 309);
    }

    #[test]
    fn ping_becomes_pong_and_close_ends() {
        let mut buffer = client_frame(b"p", [1; 4]);
        buffer[0] = 0x89;
        let mut close = client_frame(b"", [1; 4]);
        close[0] = 0x88;
        buffer.extend(close);
        let answered = answer_in_place(&mut buffer).unwrap();
        assert!(answered.closing);
        assert_eq!(&buffer[..answered.produced], b"\x8a\x01p\x88\x00");
    }

    #[test]
    fn unmasked_and_huge_frames_are_refused() {
        assert!(answer_in_place(&mut [0x82, 0x01, b'x']).is_err());
        assert!(answer_in_place(&mut [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
