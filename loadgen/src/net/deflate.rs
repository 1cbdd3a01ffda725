//! permessage-deflate without context takeover, for both directions.
//!
//! A message to a room arrives as the same compressed bytes on every connection, and without context
//! takeover the same bytes say the same. So the last few are remembered with what they say: what is
//! equal byte for byte is not inflated again, and this tool does not become slower than the server
//! that it measures, which compresses once for all.

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};

/// Ends a message's DEFLATE data: the tail that senders leave out, then an empty final block.
const TAIL: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];
const LEVEL: i32 = 1;
/// Messages that are remembered: as many as may be on their way to a room's members at once.
const REMEMBERED: usize = 32;

/// One thread's compressor and decompressor with their buffers.
pub struct Deflate {
    compressor: Compressor,
    decompressor: Decompressor,
    input: Vec<u8>,
    output: Vec<u8>,
    memory: Memory,
}

/// Messages as they came, and what they say. The one after the last that was found is looked at
/// first: connections get a room's messages in one order.
struct Memory {
    entries: [Entry; REMEMBERED],
    next: usize,
    oldest: usize,
}

#[derive(Default)]
struct Entry {
    message: Vec<u8>,
    says: Vec<u8>,
}

/// What a message says, lent: it goes back by [`Deflate::give_back`], so that its memory is kept.
pub struct Inflated {
    at: usize,
    /// The message's content.
    pub bytes: Vec<u8>,
}

impl Default for Deflate {
    fn default() -> Self {
        let level = CompressionLvl::new(LEVEL).expect("a level that exists");
        Self {
            compressor: Compressor::new(level),
            decompressor: Decompressor::new(),
            input: Vec::new(),
            output: Vec::new(),
            memory: Memory {
                entries: std::array::from_fn(|_| Entry::default()),
                next: 0,
                oldest: 0,
            },
        }
    }
}

impl Memory {
    /// Where a message is that came before.
    fn find(&self, message: &[u8]) -> Option<usize> {
        (0..REMEMBERED)
            .map(|step| (self.next + step) % REMEMBERED)
            .find(|&at| self.entries[at].message == message)
    }
}

impl Deflate {
    /// Compresses one message into a final block, ended as RFC 7692 §7.2.3.4 shows.
    pub fn deflate(&mut self, message: &[u8]) -> &[u8] {
        self.output.resize(self.compressor.deflate_compress_bound(message.len()) + 1, 0);
        let written = self
            .compressor
            .deflate_compress(message, &mut self.output)
            .expect("the bound is enough for any input");
        self.output[written] = 0;
        &self.output[..=written]
    }

    /// What a message says, if that is at most `max` bytes. None: it is damaged or longer.
    pub fn inflate(&mut self, message: &[u8], max: usize) -> Option<Inflated> {
        let at = match self.memory.find(message).filter(|_| !message.is_empty()) {
            Some(at) => at,
            None => self.inflate_new(message, max)?,
        };
        self.memory.next = (at + 1) % REMEMBERED;
        let bytes = std::mem::take(&mut self.memory.entries[at].says);
        Some(Inflated { at, bytes })
    }

    /// Takes back what was lent.
    pub fn give_back(&mut self, inflated: Inflated) {
        self.memory.entries[inflated.at].says = inflated.bytes;
    }

    /// Inflates a message in place of the oldest that is remembered.
    fn inflate_new(&mut self, message: &[u8], max: usize) -> Option<usize> {
        self.input.clear();
        self.input.extend_from_slice(message);
        self.input.extend_from_slice(&TAIL);
        let at = self.memory.oldest;
        let entry = &mut self.memory.entries[at];
        entry.message.clear();
        let mut room = (message.len() * 4).max(1_024);
        loop {
            entry.says.resize(room.min(max), 0);
            match self.decompressor.deflate_decompress(&self.input, &mut entry.says) {
                Ok(len) => {
                    entry.says.truncate(len);
                    break;
                }
                Err(DecompressionError::InsufficientSpace) if room < max => room *= 4,
                Err(_) => return None,
            }
        }
        entry.message.extend_from_slice(message);
        self.memory.oldest = (at + 1) % REMEMBERED;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(deflate: &mut Deflate, message: &[u8], max: usize) -> Option<Vec<u8>> {
        let inflated = deflate.inflate(message, max)?;
        let said = inflated.bytes.clone();
        deflate.give_back(inflated);
        Some(said)
    }

    #[test]
    fn round_trip_and_bound() {
        let mut deflate = Deflate::default();
        let message = b"again and ".repeat(1_000);
        let compressed = deflate.deflate(&message).to_vec();
        assert!(compressed.len() < message.len() / 10);
        assert_eq!(said(&mut deflate, &compressed, 100), None);
        assert_eq!(said(&mut deflate, &compressed, 1 << 20), Some(message));
        assert_eq!(said(&mut deflate, b"\xff\xff\xff", 100), None);
        assert_eq!(said(&mut deflate, b"\0", 100), Some(Vec::new()));
        assert_eq!(said(&mut deflate, b"", 100), None);
    }

    #[test]
    fn what_came_before_says_the_same_and_what_differs_in_one_bit_does_not() {
        let mut deflate = Deflate::default();
        let messages: Vec<Vec<u8>> = (0..REMEMBERED * 2)
            .map(|number| format!("{number} {}", "again and ".repeat(number)).into_bytes())
            .collect();
        let compressed: Vec<Vec<u8>> =
            messages.iter().map(|message| deflate.deflate(message).to_vec()).collect();
        for _ in 0..2 {
            for (compressed, message) in compressed.iter().zip(&messages) {
                for _ in 0..3 {
                    assert_eq!(said(&mut deflate, compressed, 1 << 20).as_ref(), Some(message));
                }
            }
        }
        let (sound, message) = (&compressed[40], &messages[40]);
        for bit in 0..sound.len() * 8 {
            let mut altered = sound.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let fresh = said(&mut Deflate::default(), &altered, 1 << 20);
            assert_eq!(said(&mut deflate, &altered, 1 << 20), fresh, "bit {bit}");
            assert_eq!(said(&mut deflate, sound, 1 << 20).as_ref(), Some(message));
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(said(&mut Deflate::default(), &hello, 100).as_deref(), Some(&b"Hello"[..]));
    }
}
