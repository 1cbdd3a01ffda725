#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    offset: u64,
    bytes: usize,
    at: Moment,
}

impl Entry for Stored {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn published_at(&self) -> Past {
        self.at.into()
    }
}

const WIDE: Bounds = Bounds { size: 1_000, bytes: 1 << 20, ttl_ms: 1_000 };

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

/// A history of the offsets, ten bytes and one millisecond each, in that order.
fn filled(bounds: Bounds, offsets: impl IntoIterator<Item = u64>) -> History<Stored> {
    let mut history = History::new(bounds, 0);
    for (n, offset) in offsets.into_iter().enumerate() {
        let at = ms(n as u64);
        assert!(history.push(Stored { offset, bytes: 10, at }, at));
    }
    history
}

fn offsets(page: Page<'_, Stored>) -> (Vec<u64>, bool) {
    (page.entries.map(|stored| stored.offset).collect(), page.truncated)
}

#[test]
fn each_bound_drops_the_oldest() {
    for (bounds, kept) in [
        (Bounds { size: 3, ..WIDE }, vec![8, 9, 10]),
        (Bounds { bytes: 29, ..WIDE }, vec![9, 10]),
        (Bounds { ttl_ms: 4, ..WIDE }, vec![7, 8, 9, 10]),
        (Bounds { size: 0, ..WIDE }, vec![]),
        (Bounds { bytes: 9, ..WIDE }, vec![]),
    ] {
        let mut history = filled(bounds, 1..=10);
        let dropped = kept.first().map_or(10, |first| first - 1);
        assert_eq!(offsets(history.page(Bound::Oldest, 100, ms(9))), (kept, true));
        assert_eq!((history.last(), history.dropped()), (10, dropped));
        assert_eq!(history.bytes(), history.len() as u64 * 10);
    }
}

#[test]
fn an_offset_that_is_not_above_the_last_is_refused() {
    let mut history = filled(WIDE, [1, 5]);
    for offset in [0, 1, 4, 5] {
        assert!(!history.push(Stored { offset, bytes: 1, at: ms(9) }, ms(9)), "{offset}");
    }
    assert_eq!(history.len(), 2);
}

#[test]
fn pages_lie_next_to_their_bound() {
    let mut history = filled(WIDE, [2, 4, 6, 8]);
    for (bound, limit, expected) in [
        (Bound::Oldest, 2, vec![2, 4]),
        (Bound::Newest, 2, vec![6, 8]),
        (Bound::Since(0), 9, vec![2, 4, 6, 8]),
        (Bound::Since(4), 1, vec![6]),
        (Bound::Since(5), 9, vec![6, 8]),
        (Bound::Since(8), 9, vec![]),
        (Bound::Since(u64::MAX), usize::MAX, vec![]),
        (Bound::Before(0), 9, vec![]),
        (Bound::Before(6), 9, vec![2, 4]),
        (Bound::Before(7), 1, vec![6]),
        (Bound::Before(u64::MAX), usize::MAX, vec![2, 4, 6, 8]),
    ] {
        assert_eq!(offsets(history.page(bound, limit, ms(4))), (expected, false), "{bound:?}");
    }
    let newest_first = history.page(Bound::Oldest, 3, ms(4)).reversed().map(Entry::offset);
    assert_eq!(newest_first.collect::<Vec<_>>(), [6, 4, 2]);
}

#[test]
fn a_page_says_whether_older_ones_would_belong_to_it() {
    let mut history = filled(Bounds { size: 4, ..WIDE }, 1..=6);
    for (bound, limit, truncated) in [
        (Bound::Since(2), 9, false),
        (Bound::Since(1), 9, true),
        (Bound::Newest, 4, false),
        (Bound::Newest, 5, true),
        (Bound::Before(5), 2, false),
        (Bound::Before(5), 3, true),
        (Bound::Oldest, 1, true),
    ] {
        assert_eq!(history.page(bound, limit, ms(5)).truncated, truncated, "{bound:?} {limit}");
    }
}

#[test]
fn a_recovery_is_whole_or_refused() {
    let mut history = filled(Bounds { size: 4, ..WIDE }, 1..=6);
    let mut recover = |offset, limit, bytes| {
        let found = history.recover(offset, limit, bytes, ms(5));
        found.map(|missed| missed.map(Entry::offset).collect::<Vec<_>>())
    };
    assert_eq!(recover(2, 4, 40), Ok(vec![3, 4, 5, 6]));
    assert_eq!(recover(6, 0, 0), Ok(vec![]));
    assert_eq!(recover(1, 9, 99), Err(Unrecoverable::Dropped));
    assert_eq!(recover(7, 9, 99), Err(Unrecoverable::Ahead));
    assert_eq!(recover(2, 3, 40), Err(Unrecoverable::TooMuch));
    assert_eq!(recover(2, 4, 39), Err(Unrecoverable::TooMuch));
}

#[test]
fn time_alone_empties_it_and_frees_its_memory() {
    let mut history = filled(WIDE, 1..=100);
    assert_eq!(history.next_expiry(), Some(ms(1_000)));
    assert_eq!(history.recover(99, 9, 99, ms(1_098)).unwrap().count(), 1);
    assert_eq!(history.recover(99, 9, 99, ms(1_099)).unwrap_err(), Unrecoverable::Dropped);
    assert_eq!(history.recover(100, 9, 99, ms(1_099)).unwrap().count(), 0);
    assert_eq!((history.bytes(), history.entries.capacity()), (0, 0));
    assert_eq!(history.next_expiry(), None);
}

#[test]
fn a_room_that_comes_from_elsewhere_begins_where_it_was() {
    let mut history = History::new(WIDE, 40);
    assert_eq!(history.recover(39, 9, 99, ms(0)).unwrap_err(), Unrecoverable::Dropped);
    assert!(history.recover(40, 9, 99, ms(0)).is_ok());
    assert!(!history.push(Stored { offset: 40, bytes: 1, at: ms(0) }, ms(0)));
    assert!(history.push(Stored { offset: 41, bytes: 1, at: ms(0) }, ms(0)));
    assert!(!history.page(Bound::Since(40), 9, ms(0)).truncated);
}

#[test]
fn what_was_dropped_comes_back_in_front_as_far_as_the_bounds_allow() {
    for (bounds, first) in [
        (WIDE, 1),
        (Bounds { size: 6, ..WIDE }, 5),
        (Bounds { bytes: 79, ..WIDE }, 4),
        (Bounds { ttl_ms: 8, ..WIDE }, 3),
        (Bounds { size: 0, ..WIDE }, 11),
    ] {
        let mut history = filled(Bounds { size: 3, ..WIDE }, 1..=10);
        history.set_bounds(bounds, ms(9));
        let dropped = history.dropped();
        let stored = |offset| Stored { offset, bytes: 10, at: ms(offset - 1) };
        assert!(
            !history.push_front(stored(dropped + 1), ms(9)),
            "it is here, or was never dropped"
        );
        assert!(dropped == 0 || !history.push_front(stored(dropped - 1), ms(9)), "a hole");
        for offset in (1..=dropped).rev() {
            assert_eq!(history.push_front(stored(offset), ms(9)), offset >= first, "{offset}");
        }
        let kept: Vec<u64> = (first..=10).collect();
        assert_eq!(offsets(history.page(Bound::Oldest, 100, ms(9))), (kept, first > 1));
        assert_eq!((history.last(), history.dropped()), (10, first - 1));
        assert_eq!(history.bytes(), history.len() as u64 * 10);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { skip: u64, bytes: usize },
    Wait { ms: u64 },
    Bounds(Bounds),
    DropOldest,
    Page { bound: Bound, limit: usize },
    Recover { offset: u64, limit: usize, bytes: u64 },
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (0..12_u32, 1..100_u64, 1..60_u64).prop_map(|(size, bytes, ttl_ms)| Bounds {
        size,
        bytes,
        ttl_ms,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let bound = prop_oneof![
        Just(Bound::Oldest),
        Just(Bound::Newest),
        (0..80_u64).prop_map(Bound::Since),
        (0..80_u64).prop_map(Bound::Before),
    ];
    prop_oneof![
        8 => (0..3_u64, 0..20_usize).prop_map(|(skip, bytes)| Step::Push { skip, bytes }),
        3 => (0..20_u64).prop_map(|ms| Step::Wait { ms }),
        1 => bounds().prop_map(Step::Bounds),
        1 => Just(Step::DropOldest),
        4 => (bound, 0..12_usize).prop_map(|(bound, limit)| Step::Page { bound, limit }),
        4 => (0..80_u64, 0..12_usize, 0..150_u64)
            .prop_map(|(offset, limit, bytes)| Step::Recover { offset, limit, bytes }),
    ]
}

/// Everything ever published, and which of it is still kept.
struct Model {
    bounds: Bounds,
    all: Vec<Stored>,
    kept: usize,
}

impl Model {
    fn kept(&mut self, now: Moment) -> &[Stored] {
        let fits = |kept: &[Stored]| {
            kept.len() <= self.bounds.size as usize
                && kept.iter().map(|stored| stored.bytes as u64).sum::<u64>() <= self.bounds.bytes
                && kept.iter().all(|stored| now < stored.at.plus_ms(self.bounds.ttl_ms))
        };
        while !fits(&self.all[self.kept..]) {
            self.kept += 1;
        }
        &self.all[self.kept..]
    }

    fn dropped(&self, matching: impl Fn(u64) -> bool) -> bool {
        self.all[..self.kept].iter().any(|stored| matching(stored.offset))
    }

    fn page(&mut self, bound: Bound, limit: usize, now: Moment) -> (Vec<u64>, bool) {
        let within = move |offset| match bound {
            Bound::Oldest | Bound::Newest => true,
            Bound::Since(since) => offset > since,
            Bound::Before(before) => offset < before,
        };
        let kept = self.kept(now).iter().map(|stored| stored.offset).filter(|o| within(*o));
        let mut page = kept.collect::<Vec<_>>();
        if matches!(bound, Bound::Oldest | Bound::Since(_)) {
            page.truncate(limit);
            (page, self.dropped(within))
        } else {
            let more = page.len() < limit && self.dropped(|_| true);
            (page.split_off(page.len().saturating_sub(limit)), more)
        }
    }
}

proptest! {
    #[test]
    fn it_keeps_and_hands_out_what_a_plain_list_would(
        first in bounds(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut history = History::new(first, 0);
        let mut model = Model { bounds: first, all: Vec::new(), kept: 0 };
        let mut now = Moment::default();
        let mut last = 0;
        for step in steps {
            match step {
                Step::Push { skip, bytes } => {
                    last += 1 + skip;
                    let stored = Stored { offset: last, bytes, at: now };
                    prop_assert!(history.push(stored.clone(), now));
                    model.all.push(stored);
                    model.kept(now);
                }
                Step::Wait { ms } => now = now.plus_ms(ms),
                Step::Bounds(bounds) => {
                    history.set_bounds(bounds, now);
                    model.bounds = bounds;
                    model.kept(now);
                }
                Step::DropOldest => {
                    let expected = model.all.get(model.kept).map(|stored| stored.bytes as u64);
                    prop_assert_eq!(history.drop_oldest(), expected);
                    model.kept += usize::from(expected.is_some());
                }
                Step::Page { bound, limit } => {
                    let expected = model.page(bound, limit, now);
                    prop_assert_eq!(offsets(history.page(bound, limit, now)), expected);
                }
                Step::Recover { offset, limit, bytes } => {
                    model.kept(now);
                    let missed = model.all.iter().filter(|stored| stored.offset > offset);
                    let size = missed.clone().map(|stored| stored.bytes as u64).sum::<u64>();
                    let expected = if offset > last {
                        Err(Unrecoverable::Ahead)
                    } else if model.dropped(|dropped| dropped > offset) {
                        Err(Unrecoverable::Dropped)
                    } else if missed.clone().count() > limit || size > bytes {
                        Err(Unrecoverable::TooMuch)
                    } else {
                        Ok(missed.collect::<Vec<_>>())
                    };
                    let found = history.recover(offset, limit, bytes, now);
                    prop_assert_eq!(found.map(Iterator::collect::<Vec<_>>), expected);
                }
            }
            prop_assert_eq!(history.last(), last);
        }
    }
}

#[test]
fn what_was_dropped_and_would_be_kept_now_is_told_once() {
    let narrow = Bounds { size: 3, ..WIDE };
    let mut history = filled(narrow, 1..=3);
    history.set_bounds(WIDE, ms(3));
    assert!(!history.take_lack(), "nothing was dropped");
    let mut history = filled(narrow, 1..=10);
    history.set_bounds(Bounds { size: 2, ..WIDE }, ms(10));
    assert!(!history.take_lack(), "less is kept now");
    for bounds in [Bounds { bytes: WIDE.bytes + 1, ..narrow }, Bounds { ttl_ms: 2_000, ..narrow }] {
        let mut history = filled(narrow, 1..=10);
        history.set_bounds(bounds, ms(10));
        assert_eq!((history.take_lack(), history.take_lack()), (true, false));
    }
}
