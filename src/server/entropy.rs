//! Randomness from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

use crate::hash::Seed;
use crate::shard::Entropy;

/// The operating system's.
#[derive(Debug)]
pub(super) struct System(SystemRandom);

impl System {
    /// A handle on it.
    pub(super) fn new() -> Self {
        Self(SystemRandom::new())
    }

    /// A key for the maps of this process.
    pub(super) fn seed(&mut self) -> Seed {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let (high, low) = bytes.split_at(8);
        let number = |half: &[u8]| half.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Seed(number(high), number(low))
    }
}

impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        // getrandom(2) fails only on kernels older than io_uring.
        self.0.fill(bytes).expect("the kernel gives random bytes");
    }
}
