//! Maps whose keys a peer may choose: keyed hashing, with the key given and not drawn.
//!
//! Invariant: the same seed and the same calls give the same order of iteration, so a simulation
//! replays; a seed that a peer does not know keeps it from choosing names that collide.

use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// The key of every map of a process that holds names from peers.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64, pub u64);

impl Seed {
    /// The hash of `value` under this key.
    #[must_use]
    pub fn hash(self, value: &impl Hash) -> u64 {
        self.hash_one(value)
    }
}

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A map keyed by names from peers. Made with [`Map::with_hasher`].
pub type Map<K, V> = std::collections::HashMap<K, V, Seed>;

/// A set of names from peers.
pub type Set<K> = std::collections::HashSet<K, Seed>;

/// Where a name lives: the core that is its authority.
#[must_use]
pub fn home(seed: Seed, name: &impl Hash, cores: u16) -> crate::id::CoreId {
    // The high half: the low bits choose the bucket in that core's map.
    let core = (seed.hash(name) >> 32) % u64::from(cores.max(1));
    crate::id::CoreId(u16::try_from(core).expect("a remainder is below its divisor"))
}
