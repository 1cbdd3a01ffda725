//! What every measured message carries: who sent it, its number, when it was meant to be sent,
//! and a check over these.
//!
//! The stamp is 30 printable characters that need no escaping in JSON, so it survives every
//! dialect unchanged; what follows is a fixed filling, compared byte for byte on arrival.

/// What a stamp begins with; dialects look for it in what they receive.
pub const MARKER: &[u8; 4] = b"~rr~";
/// Characters of a stamp, marker included: the least size of a payload.
pub const STAMP_LEN: usize = 30;
/// Publishers that a stamp can tell apart.
pub const PUBLISHERS_MAX: u64 = 1 << (6 * PUBLISHER_CHARS);

const RUN_CHARS: usize = 4;
const PUBLISHER_CHARS: usize = 4;
const SEQUENCE_CHARS: usize = 6;
const TIME_CHARS: usize = 7;
const CHECK_CHARS: usize = 5;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const INVALID: u8 = 0xff;
const VALUES: [u8; 256] = values();

/// The content of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Tells this run's messages from those of others (24 bits).
    pub run: u32,
    /// Index of the publisher within the run.
    pub publisher: u32,
    /// Number of the message among its publisher's, from 1.
    pub sequence: u64,
    /// The moment the message was meant to be sent.
    pub intended_us: u64,
}

/// Why bytes are not a message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The stamp, the filling or the length is not what a publisher wrote.
    Corrupt,
    /// A sound stamp of another run.
    Foreign,
}

impl Stamp {
    /// The stamp's characters.
    #[must_use]
    pub fn encode(&self) -> [u8; STAMP_LEN] {
        let mut out = [0; STAMP_LEN];
        out[..MARKER.len()].copy_from_slice(MARKER);
        let mut at = MARKER.len();
        put::<RUN_CHARS>(&mut out, &mut at, u64::from(self.run));
        put::<PUBLISHER_CHARS>(&mut out, &mut at, u64::from(self.publisher));
        put::<SEQUENCE_CHARS>(&mut out, &mut at, self.sequence);
        put::<TIME_CHARS>(&mut out, &mut at, self.intended_us);
        put::<CHECK_CHARS>(&mut out, &mut at, self.check());
        out
    }

    /// Reads a stamp from the front of `bytes`; `None` if there is no sound one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<STAMP_LEN>()?;
        if !bytes.starts_with(MARKER) {
            return None;
        }
        let mut at = MARKER.len();
        let run = take::<RUN_CHARS>(bytes, &mut at)?;
        let publisher = take::<PUBLISHER_CHARS>(bytes, &mut at)?;
        let sequence = take::<SEQUENCE_CHARS>(bytes, &mut at)?;
        let intended_us = take::<TIME_CHARS>(bytes, &mut at)?;
        let check = take::<CHECK_CHARS>(bytes, &mut at)?;
        let (run, publisher) = (u32::try_from(run).ok()?, u32::try_from(publisher).ok()?);
        let stamp = Self { run, publisher, sequence, intended_us };
        (stamp.check() == check).then_some(stamp)
    }

    fn check(&self) -> u64 {
        let who = u64::from(self.run) << 32 | u64::from(self.publisher);
        let mut hash = who.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 29) ^ self.sequence).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 32) ^ self.intended_us).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash >> (64 - 6 * CHECK_CHARS)
    }
}

/// What a run's payloads look like; makes them and checks them.
#[derive(Clone, Debug)]
pub struct Payload {
    run: u32,
    /// The filling after the stamp.
    filling: Box<[u8]>,
}

impl Payload {
    /// Payloads of `len` bytes (at least [`STAMP_LEN`]) for the run with this number.
    #[must_use]
    pub fn new(run: u32, len: usize) -> Self {
        let filling = filling(len.saturating_sub(STAMP_LEN));
        Self { run: run & 0x00ff_ffff, filling }
    }

    /// The run's number.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }

    /// Bytes of a payload.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a payload is never empty")]
    pub fn len(&self) -> usize {
        STAMP_LEN + self.filling.len()
    }

    /// A whole payload, for templates; its stamp is replaced before it is sent.
    #[must_use]
    pub fn blank(&self) -> Vec<u8> {
        let mut blank = self.stamp(0, 0, 0).to_vec();
        blank.extend_from_slice(&self.filling);
        blank
    }

    /// The stamp's characters for one message.
    #[must_use]
    pub fn stamp(&self, publisher: u32, sequence: u64, intended_us: u64) -> [u8; STAMP_LEN] {
        Stamp { run: self.run, publisher, sequence, intended_us }.encode()
    }

    /// Reads a received payload and holds every byte of it against what was sent.
    pub fn check(&self, bytes: &[u8]) -> Result<Stamp, Fault> {
        let stamp = Stamp::decode(bytes).ok_or(Fault::Corrupt)?;
        if stamp.run != self.run {
            return Err(Fault::Foreign);
        }
        if bytes[STAMP_LEN..] != *self.filling { Err(Fault::Corrupt) } else { Ok(stamp) }
    }
}

/// Letters that compress about as chat does: words of a small vocabulary in a fixed order.
fn filling(len: usize) -> Box<[u8]> {
    const WORDS: [&[u8]; 16] = [
        b"the ",
        b"room ",
        b"message ",
        b"and ",
        b"again ",
        b"today ",
        b"who ",
        b"agrees ",
        b"later ",
        b"release ",
        b"looks ",
        b"fine ",
        b"please ",
        b"check ",
        b"numbers ",
        b"ok ",
    ];
    let mut out = Vec::with_capacity(len + 8);
    let mut state = 1_u32;
    while out.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(WORDS[(state >> 28) as usize]);
    }
    out.truncate(len);
    out.into_boxed_slice()
}

fn put<const CHARS: usize>(out: &mut [u8; STAMP_LEN], at: &mut usize, value: u64) {
    for index in 0..CHARS {
        let six = (value >> (6 * (CHARS - 1 - index))) & 0x3f;
        out[*at + index] = ALPHABET[six as usize];
    }
    *at += CHARS;
}

fn take<const CHARS: usize>(bytes: &[u8; STAMP_LEN], at: &mut usize) -> Option<u64> {
    let (mut value, mut seen) = (0, 0);
    for index in 0..CHARS {
        let six = VALUES[usize::from(bytes[*at + index])];
        seen |= six;
        value = value << 6 | u64::from(six & 0x3f);
    }
    *at += CHARS;
    (seen & 0xc0 == 0).then_some(value)
}

const fn values() -> [u8; 256] {
    let mut table = [INVALID; 256];
    let mut index = 0_u8;
    while index < 64 {
        table[ALPHABET[index as usize] as usize] = index;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    fn whole(payload: &Payload, publisher: u32, sequence: u64, intended_us: u64) -> Vec<u8> {
        let mut bytes = payload.blank();
        bytes[..STAMP_LEN].copy_from_slice(&payload.stamp(publisher, sequence, intended_us));
        bytes
    }

    #[test]
    fn what_is_stamped_is_read_back() {
        let payload = Payload::new(77, 200);
        for (publisher, sequence, intended_us) in
            [(0, 1, 0), (5, 1 << 35, 1 << 41), ((1 << 24) - 1, (1 << 36) - 1, (1 << 42) - 1)]
        {
            let bytes = whole(&payload, publisher, sequence, intended_us);
            assert_eq!(bytes.len(), payload.len());
            let stamp = payload.check(&bytes).unwrap();
            assert_eq!(stamp, Stamp { run: 77, publisher, sequence, intended_us });
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let payload = Payload::new(1, 64);
        let sound = whole(&payload, 3, 4, 5);
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(payload.check(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_wrong_length_or_another_run_is_found() {
        let payload = Payload::new(1, 64);
        let mut bytes = whole(&payload, 3, 4, 5);
        assert_eq!(Payload::new(2, 64).check(&bytes), Err(Fault::Foreign));
        bytes.push(b'.');
        assert_eq!(payload.check(&bytes), Err(Fault::Corrupt));
        assert_eq!(payload.check(&bytes[..20]), Err(Fault::Corrupt));
    }
}
