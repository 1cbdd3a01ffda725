//! Maps whose keys a peer may choose: keyed hashing, with the key given and not drawn.
//!
//! Invariant: the same seed and the same calls give the same order of iteration, so a simulation
//! replays; a seed that a peer does not know keeps it from choosing names that collide.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// The key of every map of a process that holds names from peers.
#[derive(Clone, Copy)]
pub struct Seed(pub u64, pub u64);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// How evenly names fall into the buckets of a map of as many: the sum of squares, which is what
    /// looking all of them up costs where those of a bucket stand in a row.
    fn cost(seed: Seed, names: &[String], bits: u32) -> u64 {
        let mut buckets = vec![0_u64; 1 << bits];
        for name in names {
            let low = seed.hash(name) & ((1 << bits) - 1);
            buckets[usize::try_from(low).expect("it is small")] += 1;
        }
        buckets.iter().map(|count| count * count).sum()
    }

    /// Names that one seed throws into few buckets, as somebody would choose them who knew it.
    fn crafted(known: Seed, count: usize, bits: u32) -> Vec<String> {
        let names = (0_u64..).map(|n| format!("room-{n}"));
        names
            .filter(|name| known.hash(name) & ((1 << bits) - 1) < 1 << (bits - 5))
            .take(count)
            .collect()
    }

    #[test]
    fn names_that_collide_under_a_known_seed_do_not_under_another() {
        const BITS: u32 = 17;
        let known = Seed(0, 0);
        let hostile = crafted(known, 100_000, BITS);
        let random: Vec<_> = (0..100_000).map(|n: u64| format!("other-{}", n * 7_919)).collect();
        assert!(cost(known, &hostile, BITS) > 10 * cost(known, &random, BITS), "they do collide");
        for seed in [Seed(1, 0), Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)] {
            let (hostile, random) = (cost(seed, &hostile, BITS), cost(seed, &random, BITS));
            assert!(hostile < 2 * random, "{hostile} of {random}");
        }
    }
}
