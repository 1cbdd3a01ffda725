#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

fn drain<T>(wheel: &mut Wheel<T>, now: Moment) -> Vec<T> {
    std::iter::from_fn(|| wheel.expire(now)).collect()
}

#[test]
fn a_timer_never_fires_early_and_at_most_a_millisecond_late() {
    for deadline_us in [0, 1, 999, 1_000, 1_001, 63_999, 64_000, 64_001, 4_096_001, 25_000_000] {
        let mut wheel = Wheel::new();
        wheel.insert(Moment { us: deadline_us }, ());
        for now in (0..deadline_us).rev().take(1_100).collect::<Vec<_>>().into_iter().rev() {
            assert_eq!(wheel.expire(Moment { us: now }), None, "{deadline_us} fired at {now}");
        }
        assert_eq!(wheel.expire(Moment { us: deadline_us + 999 }), Some(()), "{deadline_us}");
        assert!(wheel.is_empty());
    }
}

#[test]
fn timers_fire_by_deadline_and_within_one_tick_by_insertion() {
    let mut wheel = Wheel::new();
    for (deadline_ms, name) in [(70, 'd'), (5, 'a'), (70, 'e'), (6, 'b'), (69, 'c')] {
        wheel.insert(ms(deadline_ms), name);
    }
    assert_eq!(drain(&mut wheel, ms(64)), ['a', 'b']);
    wheel.insert(ms(70), 'f');
    assert_eq!(drain(&mut wheel, ms(10_000)), ['c', 'd', 'e', 'f']);
}

#[test]
fn what_is_past_when_inserted_fires_at_once() {
    let mut wheel = Wheel::new();
    assert_eq!(wheel.expire(ms(1_000_000)), None);
    wheel.insert(ms(3), 'a');
    assert_eq!(wheel.next(), Some(ms(1_000_000)));
    assert_eq!(wheel.expire(ms(1_000_000)), Some('a'));
}

#[test]
fn a_clock_that_seems_to_go_back_fires_nothing() {
    let mut wheel = Wheel::new();
    assert_eq!(wheel.expire(ms(500)), None);
    wheel.insert(ms(600), 'a');
    assert_eq!(wheel.expire(ms(100)), None);
    assert_eq!(wheel.expire(ms(600)), Some('a'));
}

#[test]
fn a_key_of_a_timer_that_is_gone_finds_nothing() {
    let mut wheel = Wheel::new();
    let cancelled = wheel.insert(ms(10), 'a');
    assert_eq!(wheel.cancel(cancelled), Some('a'));
    assert_eq!(wheel.cancel(cancelled), None);

    let successor = wheel.insert(ms(10), 'b');
    assert_eq!(successor.index, cancelled.index, "the node is used again");
    assert_eq!(wheel.cancel(cancelled), None, "but not under the old key");
    assert_eq!(wheel.expire(ms(10)), Some('b'));
    assert_eq!(wheel.cancel(successor), None);
}

#[test]
fn the_end_of_time_is_a_deadline_like_any_other() {
    let mut wheel = Wheel::new();
    let timer = wheel.insert(Moment { us: u64::MAX }, ());
    assert!(wheel.next().unwrap() <= Moment { us: u64::MAX });
    assert_eq!(wheel.cancel(timer), Some(()));
    assert_eq!(wheel.next(), None);
}

#[test]
fn keys_and_nodes_are_small() {
    assert_eq!(size_of::<Option<Timer>>(), 8);
    assert_eq!(size_of::<Node<crate::id::ConnectionKey>>(), 32);
}

#[derive(Clone, Debug)]
enum Step {
    Insert { after_us: u64 },
    InsertPast { before_us: u64 },
    Cancel { which: usize },
    Advance { us: u64, limit: usize },
}

fn duration_us() -> impl Strategy<Value = u64> {
    // Every level is reached with the same likelihood.
    (0..40_u32).prop_flat_map(|bits| 0..=1_u64 << bits)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => duration_us().prop_map(|after_us| Step::Insert { after_us }),
        1 => duration_us().prop_map(|before_us| Step::InsertPast { before_us }),
        3 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        4 => (duration_us(), 0..8_usize).prop_map(|(us, limit)| Step::Advance { us, limit }),
    ]
}

/// The same promises by a sorted map: ordered by tick, then by insertion.
#[derive(Default)]
struct Model {
    elapsed: u64,
    timers: BTreeMap<(u64, usize), ()>,
}

impl Model {
    fn insert(&mut self, deadline: Moment, sequence: usize) -> (u64, usize) {
        let key = (deadline.us.div_ceil(1_000).max(self.elapsed), sequence);
        self.timers.insert(key, ());
        key
    }

    fn expire(&mut self, now: Moment) -> Option<usize> {
        let now_tick = now.us / 1_000;
        let first = self.timers.first_key_value().map(|(key, ())| *key);
        if let Some((tick, sequence)) = first.filter(|(tick, _)| *tick <= now_tick) {
            self.timers.remove(&(tick, sequence));
            self.elapsed = tick;
            return Some(sequence);
        }
        self.elapsed = self.elapsed.max(now_tick);
        None
    }
}

proptest! {
    #[test]
    fn the_wheel_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..200)) {
        let mut wheel = Wheel::new();
        let mut model = Model::default();
        let mut now = Moment::default();
        let mut keys = Vec::new();
        for step in steps {
            match step {
                Step::Insert { after_us } => {
                    let deadline = Moment { us: now.us + after_us };
                    let sequence = keys.len();
                    keys.push((wheel.insert(deadline, sequence), model.insert(deadline, sequence)));
                }
                Step::InsertPast { before_us } => {
                    let deadline = Moment { us: now.us.saturating_sub(before_us) };
                    let sequence = keys.len();
                    keys.push((wheel.insert(deadline, sequence), model.insert(deadline, sequence)));
                }
                Step::Cancel { which } if !keys.is_empty() => {
                    let sequence = which % keys.len();
                    let (timer, key) = keys[sequence];
                    let expected = model.timers.remove(&key).map(|()| sequence);
                    prop_assert_eq!(wheel.cancel(timer), expected);
                }
                Step::Cancel { .. } => {}
                Step::Advance { us, limit } => {
                    now.us += us;
                    for _ in 0..limit {
                        let expected = model.expire(now);
                        prop_assert_eq!(wheel.expire(now), expected);
                        if expected.is_none() {
                            break;
                        }
                    }
                }
            }
            prop_assert_eq!(wheel.len(), model.timers.len());
            let earliest = model.timers.first_key_value().map(|((tick, _), ())| tick * 1_000);
            match (wheel.next(), earliest) {
                (None, None) => {}
                (Some(next), Some(earliest)) => {
                    prop_assert!(next.us <= earliest);
                    prop_assert!(next.us >= wheel.elapsed * 1_000);
                }
                (next, earliest) => prop_assert!(false, "{:?} for {:?}", next, earliest),
            }
        }
        // Sleeping until `next` and draining, again and again, comes to an end with every timer fired.
        let mut wakes = 0;
        while let Some(next) = wheel.next() {
            now = now.max(next);
            while let Some(sequence) = wheel.expire(now) {
                prop_assert_eq!(model.expire(now), Some(sequence));
            }
            wakes += 1;
            prop_assert!(wakes <= keys.len() * LEVELS, "a wake that makes no progress");
        }
        prop_assert!(model.timers.is_empty());
    }
}
