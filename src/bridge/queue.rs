//! What waits to be asked of Redis, and how it is put into one pipeline.
//!
//! Invariants: what is asked of one room is asked in the order in which it came; publishes that wait
//! or are on their way are bounded, in number and bytes.

use std::collections::VecDeque;
use std::time::Instant;

use crate::id::CoreId;
use crate::room::broker::{Keep, Publish, Seen};
use crate::room::name::RoomKey;

/// Calls of one pipeline.
const BATCH_CALLS: usize = 256;
/// Bytes of one pipeline, the last call not counted.
const BATCH_BYTES: usize = 1 << 20;

/// Something to be asked.
#[derive(Debug)]
pub(super) enum Call {
    Publish { from: CoreId, publish: Box<Publish>, since: Instant },
    Open { from: CoreId, room: RoomKey, seen: Option<Seen>, keep: Keep },
    Pass { room: RoomKey, wire: Box<[u8]> },
}

/// What waits, and what is on its way.
#[derive(Debug)]
pub(super) struct Queue {
    calls: VecDeque<Call>,
    publishes: u64,
    bytes: u64,
    publishes_most: u64,
    bytes_most: u64,
}

impl Call {
    fn bytes(&self) -> usize {
        match self {
            Self::Publish { publish, .. } => publish.wire.len(),
            Self::Pass { wire, .. } => wire.len(),
            Self::Open { .. } => 0,
        }
    }

    fn is_counted(&self) -> bool {
        !self.is_open()
    }

    /// Whether it asks how a room is.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

impl Queue {
    pub(super) fn new(publishes_most: u32, bytes_most: u64) -> Self {
        let publishes_most = u64::from(publishes_most);
        Self { calls: VecDeque::new(), publishes: 0, bytes: 0, publishes_most, bytes_most }
    }

    /// Puts a call behind the others.
    ///
    /// # Errors
    /// The call, if too much waits.
    pub(super) fn push(&mut self, call: Call) -> Result<(), Call> {
        let bytes = call.bytes() as u64;
        if call.is_counted() {
            let is_full = self.publishes >= self.publishes_most
                || (self.bytes > 0 && self.bytes + bytes > self.bytes_most);
            if is_full {
                return Err(call);
            }
            self.publishes += 1;
            self.bytes += bytes;
        }
        self.calls.push_back(call);
        Ok(())
    }

    /// Puts calls that were not carried out before the others, in their order.
    pub(super) fn push_front(&mut self, calls: Vec<Call>) {
        for call in calls.into_iter().rev() {
            self.calls.push_front(call);
        }
    }

    /// The next pipeline; empty if nothing waits.
    pub(super) fn next(&mut self) -> Vec<Call> {
        let (mut count, mut bytes) = (0, 0);
        for call in self.calls.iter().take(BATCH_CALLS) {
            if bytes >= BATCH_BYTES {
                break;
            }
            bytes += call.bytes();
            count += 1;
        }
        self.calls.drain(..count).collect()
    }

    /// A call that was counted is over.
    pub(super) fn done(&mut self, call: &Call) {
        if call.is_counted() {
            self.publishes -= 1;
            self.bytes -= call.bytes() as u64;
        }
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Call> {
        self.calls.drain(..).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn publishes(&self) -> u64 {
        self.publishes
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TenantId;
    use crate::room::name::RoomName;

    fn pass(bytes: usize) -> Call {
        let name = RoomName::parse("a").expect("a good name");
        Call::Pass { room: RoomKey::new(TenantId::DEFAULT, name), wire: vec![0; bytes].into() }
    }

    #[test]
    fn what_does_not_fit_comes_back_and_what_is_over_makes_room() {
        let mut queue = Queue::new(3, 100);
        assert!(queue.push(pass(60)).is_ok());
        assert!(queue.push(pass(60)).is_err(), "too many bytes");
        assert!(queue.push(pass(20)).is_ok());
        assert!(queue.push(pass(20)).is_ok());
        assert!(queue.push(pass(0)).is_err(), "too many");
        let batch = queue.next();
        assert_eq!((batch.len(), queue.publishes(), queue.is_empty()), (3, 3, true));
        assert!(queue.push(pass(0)).is_err(), "they are still on their way");
        for call in &batch {
            queue.done(call);
        }
        assert_eq!((queue.publishes(), queue.bytes()), (0, 0));
        assert!(queue.push(pass(1_000)).is_ok(), "one always fits");
    }

    #[test]
    fn a_pipeline_is_bounded() {
        let mut queue = Queue::new(10_000, 1 << 30);
        for _ in 0..300 {
            queue.push(pass(1)).expect("it fits");
        }
        assert_eq!(queue.next().len(), BATCH_CALLS);
        assert_eq!(queue.drain().len(), 300 - BATCH_CALLS);
        for _ in 0..3 {
            queue.push(pass(BATCH_BYTES / 2 + 1)).expect("it fits");
        }
        assert_eq!(queue.next().len(), 2);
    }
}
