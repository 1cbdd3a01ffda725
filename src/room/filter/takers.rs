//! Who has got a publication that only so many connections may get.
//!
//! All cores write here at once, and nothing is locked: a place is taken by a compare-and-swap, and never
//! given up.
//!
//! Invariants: never more than so many take it, on whichever cores they are; whoever has taken it may
//! have it again. What it holds is bounded, so of more than [`NOTED`] it is only known how many they are.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// So many are known one by one, in 4 KiB of each publication that says so.
const NOTED: usize = 256;

/// Those who have got it.
#[derive(Debug)]
pub(super) struct Takers {
    most: usize,
    count: AtomicUsize,
    /// Who they are, by open addressing; 0 is nobody. Twice as many as may be, so that a search ends.
    places: Box<[AtomicU64]>,
}

impl Takers {
    pub(super) fn new(most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = if most <= NOTED { (2 * most).next_power_of_two() } else { 0 };
        let places = (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { most, count: AtomicUsize::new(0), places }
    }

    /// Whether `reader` may have it: it has, or there is room for one more.
    pub(super) fn take(&self, reader: u64) -> bool {
        // 0 is nobody.
        let reader = reader.max(1);
        if self.places.is_empty() {
            return self.reserve();
        }
        let mut has_reserved = false;
        let first = usize::try_from(reader % self.places.len() as u64).unwrap_or(0);
        for place in self.places.iter().cycle().skip(first).take(self.places.len()) {
            let by = place.load(Relaxed);
            let mut by =
                if by == 0 && !has_reserved && !self.reserve() { return false } else { by };
            has_reserved |= by == 0;
            if by == 0 {
                match place.compare_exchange(0, reader, Relaxed, Relaxed) {
                    Ok(_) => return true,
                    // Another core was first here.
                    Err(other) => by = other,
                }
            }
            if by == reader {
                if has_reserved {
                    self.count.fetch_sub(1, Relaxed);
                }
                return true;
            }
        }
        false
    }

    /// Whether `reader`, who comes back for it, may have it. Where nobody knows who has got it, one who
    /// has must not be kept from it.
    pub(super) fn take_again(&self, reader: u64) -> bool {
        self.places.is_empty() || self.take(reader)
    }

    /// The memory it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }

    fn reserve(&self) -> bool {
        let more = |count| (count < self.most).then_some(count + 1);
        self.count.fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_take_it_and_have_it_again() {
        let takers = Takers::new(2);
        for _ in 0..2 {
            assert!(takers.take(7) && takers.take(11), "both have it, however often they ask");
            assert!(!takers.take(13) && !takers.take(0));
            assert!(takers.take_again(7) && !takers.take_again(13));
        }
        assert!(!Takers::new(0).take(7));
    }

    #[test]
    fn those_who_hash_alike_are_told_apart() {
        let takers = Takers::new(4);
        let places = takers.places.len() as u64;
        let alike: Vec<_> = (1..=6).map(|number| 5 + number * places).collect();
        let let_in: Vec<_> = alike.iter().map(|reader| takers.take(*reader)).collect();
        assert_eq!(let_in, [true, true, true, true, false, false]);
        let again: Vec<_> = alike.iter().map(|reader| takers.take(*reader)).collect();
        assert_eq!(again, let_in);
    }

    #[test]
    fn threads_together_take_no_more_than_may_be() {
        for most in [1, 3, 64, 5_000] {
            let takers = Takers::new(most);
            let count = |core: u64| (0..4_000).filter(|it| takers.take(it * 4 + core + 1)).count();
            let taken: usize = std::thread::scope(|scope| {
                let cores: Vec<_> = (0..4).map(|core| scope.spawn(move || count(core))).collect();
                cores.into_iter().map(|core| core.join().expect("it counts")).sum()
            });
            assert_eq!(taken as u64, most);
        }
    }

    #[test]
    fn many_are_only_counted_and_cost_nothing() {
        let takers = Takers::new(u64::MAX);
        assert_eq!(takers.bytes(), 0);
        assert!(takers.take(1) && takers.take_again(2));
        assert!(Takers::new(NOTED as u64).bytes() <= 4_096);
    }

    #[test]
    fn where_many_are_counted_no_more_take_it_and_whoever_asks_again_may_have_it() {
        let most = NOTED as u64 + 1;
        let takers = Takers::new(most);
        assert!((1..=most).all(|reader| takers.take(reader)));
        assert!(!takers.take(most + 1) && takers.take_again(most + 1));
    }
}
