//! The way of bytes from an outbox to a client: a kernel buffer of a size, read or not, and writes
//! that take a part.

use std::collections::VecDeque;

use crate::frames::Decoder;

#[derive(Debug)]
pub(crate) struct Socket {
    /// What the kernel has and the client has not read, and when it was handed over.
    kernel: VecDeque<(Vec<u8>, u64)>,
    held: usize,
    pub(crate) capacity: usize,
    /// The last write did not fit.
    pub(crate) blocked: bool,
    /// Bytes that were gathered and are not advanced past yet.
    pub(crate) flight: Option<(Vec<u8>, u64)>,
    /// The client reads nothing.
    pub(crate) deaf: bool,
    /// The driver ends it when all is written, at the latest then.
    pub(crate) hangs_up: Option<u64>,
    pub(crate) decoder: Decoder,
}

impl Socket {
    pub(crate) fn new(capacity: usize, deflated: bool) -> Self {
        Self {
            kernel: VecDeque::new(),
            held: 0,
            capacity,
            blocked: false,
            flight: None,
            deaf: false,
            hangs_up: None,
            decoder: Decoder::new(deflated),
        }
    }

    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.held)
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.held > 0
    }

    /// The kernel takes bytes.
    pub(crate) fn write(&mut self, bytes: &[u8], now_ms: u64) {
        if !bytes.is_empty() {
            self.held += bytes.len();
            self.kernel.push_back((bytes.to_vec(), now_ms));
        }
    }

    /// The client reads up to `most` bytes.
    pub(crate) fn read(&mut self, mut most: usize) {
        while let Some((bytes, at)) = self.kernel.front_mut() {
            let count = bytes.len().min(most);
            let rest = bytes.split_off(count);
            self.decoder.push(bytes, *at);
            self.held -= count;
            most -= count;
            if rest.is_empty() {
                self.kernel.pop_front();
            } else {
                *bytes = rest;
            }
            if most == 0 {
                return;
            }
        }
    }
}
