//! The keys that are known, found by the whole of what is shown.
//!
//! They lie in rows by the first bits of their hash. All rows have the same number of places, as many
//! as the fullest needs, and what is not taken is filled with decoys. So whatever is shown is compared
//! with as many places, wholly with each, and nothing branches on what was found before the end.
//!
//! Invariant: what is done for a key that is refused depends on the key shown alone, but for which row
//! its hash leads to: that some key's hash begins with the same bits may be told by what the processor
//! has in its caches, and is of no use to whoever cannot find a secret to a hash.

use std::hint::black_box;

use super::{ApiKey, PREFIX_LETTERS, SecretHash};

/// What is compared: the hash of the secret, and the prefix, in words.
const WORDS: usize = (32 + PREFIX_LETTERS).div_ceil(8);

/// What is shown, or a place that it is compared with: a cache line of its own, so that all rows take
/// as many.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Place {
    whole: [u64; WORDS],
    /// Which key it is, from one on; zero: a decoy, which is no key whatever is shown.
    number: u64,
}

/// Finds the keys that are known.
#[derive(Debug)]
pub(in crate::auth) struct KnownKeys {
    places: Box<[Place]>,
    rows: usize,
    places_in_a_row: usize,
}

impl Place {
    const DECOY: Self = Self { whole: [0; WORDS], number: 0 };

    fn new(prefix: &str, hash: &SecretHash) -> Self {
        let mut bytes = [0; WORDS * 8];
        let letters = prefix.as_bytes();
        bytes[..32].copy_from_slice(&hash.0);
        // Whoever comes here has a prefix of the right length.
        let length = letters.len().min(PREFIX_LETTERS);
        bytes[32..32 + length].copy_from_slice(&letters[..length]);
        let mut whole = [0; WORDS];
        for (word, bytes) in whole.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { whole, number: 0 }
    }

    /// Its number if the same is shown, else zero.
    fn number_if(&self, shown: &Self) -> u64 {
        let pairs = self.whole.iter().zip(shown.whole);
        let differences = black_box(pairs.fold(0, |all, (a, b)| all | (a ^ b)));
        // One if there is any difference.
        let differs = (differences | differences.wrapping_neg()) >> 63;
        self.number & black_box(differs).wrapping_sub(1)
    }

    fn row(&self, rows: usize) -> usize {
        let [first, ..] = self.whole;
        // There is a power of two of them.
        usize::try_from(first & (rows as u64 - 1)).unwrap_or(0)
    }
}

impl KnownKeys {
    /// Of two with the same prefix the later one counts.
    pub(in crate::auth) fn new(keys: &[ApiKey]) -> Self {
        let by_prefix: std::collections::BTreeMap<_, _> =
            keys.iter().zip(1..).map(|(key, number)| (&*key.prefix, (key, number))).collect();
        let rows = by_prefix.len().next_power_of_two();
        let mut taken: Vec<Vec<Place>> = vec![Vec::new(); rows];
        for (prefix, (key, number)) in by_prefix {
            // No key that can be shown has another.
            if super::is_prefix(prefix) {
                let place = Place { number, ..Place::new(prefix, &key.hash) };
                taken[place.row(rows)].push(place);
            }
        }
        let places_in_a_row = taken.iter().map(Vec::len).max().unwrap_or(0).max(1);
        taken.iter_mut().for_each(|row| row.resize(places_in_a_row, Place::DECOY));
        Self { places: taken.concat().into(), rows, places_in_a_row }
    }

    /// The index of the key with this prefix and the hash of its secret.
    pub(in crate::auth) fn find(&self, prefix: &str, hash: &SecretHash) -> Option<usize> {
        let shown = Place::new(prefix, hash);
        let row = shown.row(self.rows) * self.places_in_a_row;
        let places = self.places.get(row..row + self.places_in_a_row)?;
        let number = places.iter().fold(0, |found, place| found | place.number_if(&shown));
        usize::try_from(number).ok()?.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::Quota;
    use crate::id::TenantId;

    fn key(prefix: &str, hash: SecretHash) -> ApiKey {
        ApiKey {
            prefix: prefix.into(),
            hash,
            tenant: TenantId(0),
            tenant_name: "default".into(),
            user: None,
            rights: Arc::default(),
            expires_at_ms: None,
            quota: Arc::new(Quota::new(0, 0)),
        }
    }

    /// Few of each, so that hashes share rows, differ in one byte, and are the same.
    fn few_keys() -> impl Strategy<Value = Vec<(String, SecretHash)>> {
        let hash = (0_u8..4, 0_usize..32, 0_u8..3).prop_map(|(first, at, byte)| {
            let mut hash = [0; 32];
            hash[at] = byte;
            hash[0] |= first;
            SecretHash(hash)
        });
        let prefix = ("[ab]{2}", any::<bool>()).prop_map(|(letters, is_at_the_end)| {
            let filled = "x".repeat(PREFIX_LETTERS - letters.len());
            if is_at_the_end { filled + &letters } else { letters + &filled }
        });
        proptest::collection::vec((prefix, hash), 0..24)
    }

    proptest! {
        #[test]
        fn a_key_is_found_by_the_whole_of_it_alone(known in few_keys(), asked in few_keys()) {
            let keys: Vec<_> = known.iter().map(|(prefix, hash)| key(prefix, *hash)).collect();
            let found = KnownKeys::new(&keys);
            for (prefix, hash) in known.iter().chain(&asked) {
                let of_prefix = known.iter().rposition(|(known, _)| known == prefix);
                let expected = of_prefix.filter(|index| known[*index].1 == *hash);
                prop_assert_eq!(found.find(prefix, hash), expected);
            }
        }
    }

    #[test]
    fn every_row_has_as_many_places_and_few() {
        let hash = |number: u64| {
            let digest = ring::digest::digest(&ring::digest::SHA256, &number.to_le_bytes());
            SecretHash(digest.as_ref().try_into().expect("32 bytes"))
        };
        let keys: Vec<_> = (0..10_000)
            .map(|number| key(&format!("{number:0>PREFIX_LETTERS$}"), hash(number)))
            .collect();
        let known = KnownKeys::new(&keys);
        assert_eq!(known.places.len(), known.rows * known.places_in_a_row);
        assert!(known.places_in_a_row <= 10, "{}", known.places_in_a_row);
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(known.find(&key.prefix, &key.hash), Some(index));
        }
    }

    #[test]
    fn a_decoy_is_no_key() {
        let known = KnownKeys::new(&[]);
        assert_eq!(known.find(&"\0".repeat(PREFIX_LETTERS), &SecretHash([0; 32])), None);
        let none = KnownKeys::new(&[key("short", SecretHash([1; 32]))]);
        assert_eq!(none.find("short", &SecretHash([1; 32])), None, "nobody can show it");
    }
}
