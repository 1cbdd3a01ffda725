//! Buffers that serve one message after the other, and what a large one leaves of them.

/// What such a buffer keeps between two beats of a core, at most.
pub const KEPT_BYTES: usize = 1 << 20;

/// Gives back a buffer that has grown beyond that. What is in it is lost.
pub fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}
