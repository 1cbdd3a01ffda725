//! permessage-deflate without context takeover, for both directions.

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};

/// Ends a message's DEFLATE data: the tail that senders leave out, then an empty final block.
const TAIL: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];
const LEVEL: i32 = 1;

/// One thread's compressor and decompressor with their buffers.
pub struct Deflate {
    compressor: Compressor,
    decompressor: Decompressor,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Deflate {
    fn default() -> Self {
        let level = CompressionLvl::new(LEVEL).expect("a level that exists");
        Self {
            compressor: Compressor::new(level),
            decompressor: Decompressor::new(),
            input: Vec::new(),
            output: Vec::new(),
        }
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

    /// Inflates one message of at most `max` bytes into `out`. `false`: it is damaged or longer.
    pub fn inflate(&mut self, message: &[u8], max: usize, out: &mut Vec<u8>) -> bool {
        self.input.clear();
        self.input.extend_from_slice(message);
        self.input.extend_from_slice(&TAIL);
        let mut room = (message.len() * 4).max(1_024);
        loop {
            out.resize(room.min(max), 0);
            match self.decompressor.deflate_decompress(&self.input, out) {
                Ok(len) => {
                    out.truncate(len);
                    return true;
                }
                Err(DecompressionError::InsufficientSpace) if room < max => room *= 4,
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_bound() {
        let mut deflate = Deflate::default();
        let message = b"again and ".repeat(1_000);
        let compressed = deflate.deflate(&message).to_vec();
        assert!(compressed.len() < message.len() / 10);
        let mut out = Vec::new();
        assert!(deflate.inflate(&compressed, 1 << 20, &mut out));
        assert_eq!(out, message);
        assert!(!deflate.inflate(&compressed, 100, &mut out));
        assert!(!deflate.inflate(b"\xff\xff\xff", 100, &mut out));
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut out = Vec::new();
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert!(Deflate::default().inflate(&hello, 100, &mut out));
        assert_eq!(out, b"Hello");
    }
}
