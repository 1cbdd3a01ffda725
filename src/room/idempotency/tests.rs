use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

#[test]
fn a_key_is_found_for_exactly_its_window() {
    let mut keys = Idempotency::new(Seed(1, 2), 100, 10);
    assert!(keys.note("a", 7, ms(50)));
    assert_eq!(keys.find("a", ms(149)), Some(7));
    assert_eq!(keys.find("b", ms(149)), None);
    assert_eq!(keys.find("a", ms(150)), None);
    assert!(keys.is_empty());
}

#[test]
fn the_first_answer_stands_and_does_not_last_longer_for_being_asked() {
    let mut keys = Idempotency::new(Seed(1, 2), 100, 10);
    keys.note("a", 7, ms(0));
    keys.note("a", 8, ms(90));
    assert_eq!(keys.find("a", ms(99)), Some(7));
    assert_eq!(keys.find("a", ms(100)), None);
    keys.note("a", 9, ms(100));
    assert_eq!(keys.find("a", ms(199)), Some(9));
}

#[test]
fn when_full_nothing_is_noted_until_a_window_is_over() {
    let mut keys = Idempotency::new(Seed(1, 2), 100, 2);
    assert!(keys.note("a", 1, ms(0)));
    assert!(!keys.is_full(ms(0)));
    assert!(keys.note("b", 2, ms(1)));
    assert!(keys.is_full(ms(99)));
    assert!(!keys.note("c", 3, ms(99)));
    assert!(keys.note("a", 4, ms(99)), "it is known");
    assert_eq!(keys.find("c", ms(99)), None);
    assert_eq!([keys.find("a", ms(99)), keys.find("b", ms(99))], [Some(1), Some(2)]);
    assert!(!keys.is_full(ms(100)), "a was past its window");
    assert!(keys.note("c", 5, ms(100)));
    assert_eq!(keys.len(), 2);
}

#[test]
fn memory_comes_back() {
    let mut keys = Idempotency::new(Seed(1, 2), 100, 1_000);
    for n in 0..1_000 {
        keys.note(&n.to_string(), n, ms(0));
    }
    keys.expire(ms(100));
    assert_eq!((keys.offsets.capacity(), keys.expiries.capacity()), (0, 0));
}

proptest! {
    #[test]
    fn it_remembers_what_a_plain_list_would(
        capacity in 0..6_usize,
        steps in prop::collection::vec((0..30_u64, 0..10_u8, any::<bool>()), 1..100),
    ) {
        let mut keys = Idempotency::new(Seed(5, 6), 50, capacity);
        let mut list: Vec<(Moment, u8, u64)> = Vec::new();
        let mut now = Moment::default();
        for (offset, (wait_ms, key, note)) in steps.into_iter().enumerate() {
            now = now.plus_ms(wait_ms);
            list.retain(|(at, _, _)| now.since_ms(*at) < 50);
            let known = list.iter().find(|(_, k, _)| *k == key).map(|(_, _, offset)| *offset);
            if note {
                let is_full = list.len() == capacity;
                if known.is_none() && !is_full {
                    list.push((now, key, offset as u64));
                }
                let is_noted = known.is_some() || !is_full;
                prop_assert_eq!(keys.is_full(now), is_full);
                prop_assert_eq!(keys.note(&key.to_string(), offset as u64, now), is_noted);
            } else {
                prop_assert_eq!(keys.find(&key.to_string(), now), known);
            }
            prop_assert_eq!(keys.len(), list.len());
        }
    }
}
