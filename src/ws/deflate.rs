//! permessage-deflate without context takeover (RFC 7692 §7.2): one message in, one message out.
//!
//! Invariants: no state outlives a message, so one of each serves all connections of a core; the
//! output is bounded while it is made; once warm, nothing is allocated for a message.

mod libdeflate;

use std::fmt;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use self::libdeflate::{Failure, Progress};
use crate::clock::Stopwatch;

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

/// How many final blocks a message may have. Nobody needs two; each costs much more than its bytes.
const MAX_FINAL_BLOCKS: usize = 64;

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
}

/// Stands still: for whoever does not ask how long it takes.
const STOPPED: Stopwatch = || 0;

/// Inflates messages.
///
/// libdeflate does it, and stops at the first final block. Blocks may follow such a one (RFC 7692
/// §7.2.1) and refer back across it, so the rest, if any, is left to a streaming inflater.
/// libdeflate gives a meaning to four codes that RFC 1951 leaves out; who sends them gets bytes of
/// its own making instead of a fault.
pub struct Inflater {
    decompressor: libdeflate::Decompressor,
    /// For blocks behind a final block; made when a peer sends some.
    streaming: Option<Box<DecompressorOxide>>,
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

    /// The message that the compressed `payload` holds, if it is at most `limit` bytes.
    ///
    /// # Errors
    /// The payload is not deflate, not whole, refers to an earlier message, or inflates to more.
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<&mut [u8], Fault> {
        let began = (self.stopwatch)();
        self.input.clear();
        self.input.reserve(payload.len() + TAIL.len());
        self.input.extend_from_slice(payload);
        self.input.extend_from_slice(&TAIL);
        if self.output.len() < limit {
            self.output = vec![0; limit];
        }
        let output = &mut self.output[..limit];
        let progress = match self.decompressor.decompress(&self.input, output) {
            Ok(progress) => progress,
            Err(Failure::BadData) => return Err(Fault::InvalidDeflate),
            Err(Failure::InsufficientSpace) => return Err(Fault::MessageTooLong),
        };
        let produced = if progress.consumed == self.input.len() {
            progress.produced
        } else {
            self.inflate_rest(progress, limit)?
        };
        let time_us = (self.stopwatch)().saturating_sub(began);
        self.tally.count(payload.len(), produced, time_us);
        Ok(&mut self.output[..produced])
    }

    /// What stands behind a final block; returns how long the whole message is.
    fn inflate_rest(&mut self, first: Progress, limit: usize) -> Result<usize, Fault> {
        let Progress { mut consumed, mut produced } = first;
        for _ in 0..MAX_FINAL_BLOCKS {
            let rest = &self.input[consumed..];
            if ENDS.contains(&rest) {
                return Ok(produced);
            }
            let streaming = self.streaming.get_or_insert_default();
            streaming.init();
            let (status, read, written) = decompress(
                streaming,
                rest,
                &mut self.output[..limit],
                produced,
                TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
            );
            consumed += read;
            produced += written;
            match status {
                TINFLStatus::Done if consumed == self.input.len() => return Ok(produced),
                TINFLStatus::Done => {}
                TINFLStatus::HasMoreOutput => return Err(Fault::MessageTooLong),
                _ => return Err(Fault::InvalidDeflate),
            }
        }
        Err(Fault::InvalidDeflate)
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
