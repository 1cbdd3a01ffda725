//! permessage-deflate without context takeover (RFC 7692 §7.2): one message in, one message out.
//!
//! Invariants: no state outlives a message, so one of each serves all connections of a core; the
//! output is bounded while it is made; once warm, nothing is allocated for a message but a large one.

mod libdeflate;

use std::fmt;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use self::libdeflate::{Failure, Progress};
use crate::clock::Stopwatch;

use super::buffer;
use super::close::Fault;

/// What completes the deflate stream of a message: the end of the empty stored block that every
/// sender leaves out (RFC 7692 §7.2.2), and an empty final block for libdeflate, which wants one.
const TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// What a sender puts behind a final block that ends its message: the header of the stored block
/// that [`TAIL`] completes (RFC 7692 §7.2.3.4).
const AFTER_FINAL_BLOCK: u8 = 0x00;

/// What may remain behind the last final block of a message, tail included.
const ENDS: [&[u8]; 3] = [
    &[AFTER_FINAL_BLOCK, 0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00],
    // Some senders leave that byte out: nothing of the message is missing.
    &TAIL,
    // The final block was itself the empty stored one.
    &[0x03, 0x00],
];

/// The longest payload whose blocks nobody counts. A block may say nothing in eleven bytes, and still
/// have tables that take microseconds to build: this many bytes take half a millisecond at most.
const UNCOUNTED_BYTES: usize = 2_048;

/// How many blocks a payload of that length may have where they are counted, so that 64 KiB never
/// take more than a millisecond. Compressors begin a block every few kilobytes; a sender that flushes
/// begins two each time.
const fn most_blocks(payload_bytes: usize) -> usize {
    256 + payload_bytes / 512
}

/// What was inflated or deflated since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages.
    pub messages: u64,
    /// Bytes on the wire.
    pub compressed_bytes: u64,
    /// Bytes of what they say.
    pub plain_bytes: u64,
    /// Time spent.
    pub time_us: u64,
}

impl Tally {
    fn count(&mut self, compressed: usize, plain: usize, time_us: u64) {
        self.messages += 1;
        self.compressed_bytes += compressed as u64;
        self.plain_bytes += plain as u64;
        self.time_us += time_us;
    }

    /// No message came of it.
    fn count_in_vain(&mut self, compressed: usize, time_us: u64) {
        self.compressed_bytes += compressed as u64;
        self.time_us += time_us;
    }
}

/// Stands still: for whoever does not ask how long it takes.
const STOPPED: Stopwatch = || 0;

/// Inflates messages.
///
/// libdeflate does it, and stops at the first final block. Blocks may follow such a one (RFC 7692
/// §7.2.1) and refer back across it, so the rest, if any, is left to a streaming inflater. So is a
/// payload in which there is room for enough blocks to hold a core up: libdeflate can neither count
/// them nor be stopped, the streaming inflater stops between any two.
/// Both give a meaning to some codes that RFC 1951 leaves out (the crate's documentation says which);
/// who sends them gets bytes of its own making instead of a fault.
pub struct Inflater {
    decompressor: libdeflate::Decompressor,
    /// For what libdeflate is not to do; made when a peer sends some.
    streaming: Option<Box<DecompressorOxide>>,
    /// How many blocks of the last message were counted.
    blocks: usize,
    /// The message with its tail.
    input: Vec<u8>,
    /// As long as the longest limit yet; pages nobody wrote to are not resident.
    output: Vec<u8>,
    stopwatch: Stopwatch,
    tally: Tally,
}

impl Inflater {
    /// An inflater that has inflated nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::timed(STOPPED)
    }

    /// One that counts how long it takes.
    #[must_use]
    pub fn timed(stopwatch: Stopwatch) -> Self {
        Self {
            decompressor: libdeflate::Decompressor::new(),
            streaming: None,
            blocks: 0,
            input: Vec::new(),
            output: Vec::new(),
            stopwatch,
            tally: Tally::default(),
        }
    }

    /// What was inflated since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Gives back what large messages have taken.
    pub fn give_back(&mut self) {
        buffer::give_back(&mut self.input);
        buffer::give_back(&mut self.output);
    }

    /// The message that the compressed `payload` holds, if it is at most `limit` bytes.
    ///
    /// # Errors
    /// The payload is not deflate, not whole, refers to an earlier message, inflates to more, or is
    /// of more blocks than its length explains.
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<&mut [u8], Fault> {
        let began = (self.stopwatch)();
        let produced = self.inflate_all(payload, limit);
        let time_us = (self.stopwatch)().saturating_sub(began);
        match produced {
            Ok(produced) => self.tally.count(payload.len(), produced, time_us),
            Err(_) => self.tally.count_in_vain(payload.len(), time_us),
        }
        Ok(&mut self.output[..produced?])
    }

    /// Returns how long the message is.
    fn inflate_all(&mut self, payload: &[u8], limit: usize) -> Result<usize, Fault> {
        self.blocks = 0;
        self.input.clear();
        self.input.reserve(payload.len() + TAIL.len());
        self.input.extend_from_slice(payload);
        self.input.extend_from_slice(&TAIL);
        if self.output.len() < limit {
            self.output = vec![0; limit];
        }
        let progress = if payload.len() <= UNCOUNTED_BYTES {
            self.inflate_uncounted(limit)?
        } else {
            Progress { consumed: 0, produced: 0 }
        };
        if progress.consumed == self.input.len() {
            return Ok(progress.produced);
        }
        self.inflate_rest(progress, limit)
    }

    /// Through the first final block, which is mostly the last of all.
    fn inflate_uncounted(&mut self, limit: usize) -> Result<Progress, Fault> {
        let output = &mut self.output[..limit];
        self.decompressor.decompress(&self.input, output).map_err(|failure| match failure {
            Failure::BadData => Fault::InvalidDeflate,
            Failure::InsufficientSpace => Fault::MessageTooLong,
        })
    }

    /// What follows, block by block; returns how long the whole message is.
    fn inflate_rest(&mut self, first: Progress, limit: usize) -> Result<usize, Fault> {
        let Progress { mut consumed, mut produced } = first;
        let most_blocks = most_blocks(self.input.len());
        let streaming = self.streaming.get_or_insert_default();
        streaming.init();
        let mut is_behind_final_block = true;
        // Between other blocks a byte may be read in part, and mean more than what follows it.
        while !(is_behind_final_block && ENDS.contains(&&self.input[consumed..])) {
            self.blocks += 1;
            if self.blocks > most_blocks {
                return Err(Fault::TooManyBlocks);
            }
            let (status, read, written) = decompress(
                streaming,
                &self.input[consumed..],
                &mut self.output[..limit],
                produced,
                TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
            );
            consumed += read;
            produced += written;
            is_behind_final_block = status == TINFLStatus::Done;
            match status {
                TINFLStatus::BlockBoundary => {}
                TINFLStatus::Done if consumed == self.input.len() => break,
                TINFLStatus::Done => streaming.init(),
                TINFLStatus::HasMoreOutput => return Err(Fault::MessageTooLong),
                _ => return Err(Fault::InvalidDeflate),
            }
        }
        Ok(produced)
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflater").finish_non_exhaustive()
    }
}

/// Deflates messages, each on its own.
///
/// It refers back at most as far as its message is long: a peer that asked for a window of 2^N
/// bytes can read every message of at most 2^N bytes, whatever window libdeflate has.
pub struct Compressor {
    compressor: libdeflater::Compressor,
    stopwatch: Stopwatch,
    tally: Tally,
}

impl Compressor {
    /// A compressor of `level` 1 (fast) to 12 (small).
    #[must_use]
    pub fn new(level: u8) -> Self {
        Self::timed(level, STOPPED)
    }

    /// One that counts how long it takes.
    #[must_use]
    pub fn timed(level: u8, stopwatch: Stopwatch) -> Self {
        let level = libdeflater::CompressionLvl::new(level.clamp(1, 12).into()).unwrap_or_default();
        let compressor = libdeflater::Compressor::new(level);
        Self { compressor, stopwatch, tally: Tally::default() }
    }

    /// What was deflated since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Appends the payload of a compressed frame for `payload` to `out` and returns true; or false,
    /// with `out` as it was, if it would not be smaller: then send it plain.
    #[must_use]
    pub fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let began = (self.stopwatch)();
        let start = out.len();
        // With the byte behind the final block it is still smaller.
        let Some(room) = payload.len().checked_sub(2) else { return false };
        out.resize(start + room, 0);
        let Ok(written) = self.compressor.deflate_compress(payload, &mut out[start..]) else {
            out.truncate(start);
            return false;
        };
        out.truncate(start + written);
        out.push(AFTER_FINAL_BLOCK);
        let time_us = (self.stopwatch)().saturating_sub(began);
        self.tally.count(out.len() - start, payload.len(), time_us);
        true
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Compressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
