//! How much a peer may send.

/// What a peer may send at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A message, reassembled and inflated.
    pub message_bytes: usize,
    /// The payload of a frame.
    pub frame_bytes: usize,
    /// Frames of a message.
    pub fragments: u32,
}

impl Limits {
    /// How long a frame of a message may be as sent. Deflate lengthens what it cannot shorten, and
    /// a message within the limit must not fail for being compressed.
    pub(super) fn frame_bytes_on_wire(&self, compressed: bool) -> u64 {
        on_wire(self.frame_bytes, compressed)
    }

    /// How long a message may be as sent.
    pub(super) fn message_bytes_on_wire(&self, compressed: bool) -> u64 {
        on_wire(self.message_bytes, compressed)
    }
}

fn on_wire(bytes: usize, compressed: bool) -> u64 {
    let overhead = if compressed { bytes / 16 + 64 } else { 0 };
    bytes as u64 + overhead as u64
}

impl From<&crate::config::Limits> for Limits {
    fn from(limits: &crate::config::Limits) -> Self {
        Self {
            message_bytes: limits.message_bytes as usize,
            frame_bytes: limits.frame_bytes as usize,
            fragments: limits.fragments,
        }
    }
}
