#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

#[test]
fn a_burst_passes_at_once_and_then_the_rate_holds() {
    let quota = Quota::per_second(10, 3);
    let mut bucket = Bucket::default();
    for _ in 0..3 {
        assert_eq!(bucket.take(quota, ms(5), 1), Ok(()));
    }
    assert_eq!(bucket.take(quota, ms(5), 1), Err(100));
    assert_eq!(bucket.take(quota, ms(104), 1), Err(1));
    assert_eq!(bucket.take(quota, ms(105), 1), Ok(()));
    assert_eq!(bucket.take(quota, ms(105), 1), Err(100));
}

#[test]
fn a_rate_that_divides_no_second_loses_nothing() {
    let quota = Quota::per_second(7, 1);
    let mut bucket = Bucket::default();
    let passed = (0..70_000_000_u64)
        .step_by(100)
        .filter(|us| bucket.take(quota, Moment { us: *us }, 1).is_ok())
        .count();
    // Seventy seconds at seven a second; the steps of 100 µs cost at most one each.
    assert!((489..=490).contains(&passed), "{passed}");
}

#[test]
fn a_cost_above_the_burst_needs_a_full_bucket_and_leaves_a_debt() {
    let quota = Quota::per_second(1_000, 1_000);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(quota, ms(0), 5_000), Ok(()));
    assert_eq!(bucket.take(quota, ms(0), 1), Err(4_001));
    assert_eq!(bucket.take(quota, ms(4_001), 1), Ok(()));
    assert_eq!(bucket.take(quota, ms(4_001), 5_000), Err(1_000));
}

#[test]
fn no_rate_is_no_limit() {
    let mut bucket = Bucket::default();
    for _ in 0..10_000 {
        assert_eq!(bucket.take(Quota::UNLIMITED, ms(0), u32::MAX), Ok(()));
    }
    assert!(bucket.is_full(Quota::UNLIMITED, ms(0)));
}

#[test]
fn extremes_neither_overflow_nor_let_more_through() {
    let quota = Quota::per_minute(u32::MAX);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(quota, ms(0), u32::MAX), Ok(()));
    assert!(bucket.take(quota, ms(0), u32::MAX).is_err());
    assert_eq!(bucket.take(quota, Moment { us: u64::MAX }, u32::MAX), Ok(()));
}

#[test]
fn a_clock_that_seems_to_go_back_yields_nothing_twice() {
    let quota = Quota::per_second(1_000, 10);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(quota, ms(100), 10), Ok(()));
    assert_eq!(bucket.take(quota, ms(50), 1), Err(1));
    assert_eq!(bucket.take(quota, ms(101), 2), Err(1), "a single token has come back since");
}

/// The definition itself, over everything that ever passed: no stretch of time that ends now holds
/// more than the burst and what the rate yields in it.
fn may_pass(quota: Quota, passed: &[(u64, u32)], now_us: u64, cost: u32) -> bool {
    let mut total = u128::from(cost);
    if total > u128::from(quota.burst) {
        return false;
    }
    passed.iter().rev().all(|(at_us, cost)| {
        total += u128::from(*cost);
        let yielded = u128::from(now_us - at_us) * u128::from(quota.rate);
        (total - u128::from(quota.burst).min(total)) * u128::from(quota.period_us) <= yielded
    })
}

proptest! {
    #[test]
    fn it_lets_through_exactly_what_the_definition_allows(
        rate in 1..50_u32,
        burst in 1..50_u32,
        per_minute in any::<bool>(),
        steps in prop::collection::vec((0..200_000_u64, 1..50_u32), 1..200),
    ) {
        let quota =
            if per_minute { Quota::per_minute(rate) } else { Quota::per_second(rate, burst) };
        let mut bucket = Bucket::default();
        let mut passed = Vec::new();
        let mut now = 0;
        for (pause_us, cost) in steps {
            now += pause_us;
            let cost = cost.min(quota.burst);
            let verdict = bucket.take(quota, Moment { us: now }, cost);
            prop_assert_eq!(verdict.is_ok(), may_pass(quota, &passed, now, cost));
            match verdict {
                Ok(()) => passed.push((now, cost)),
                Err(wait_ms) => {
                    prop_assert!(wait_ms > 0);
                    prop_assert!(may_pass(quota, &passed, now + wait_ms * 1_000, cost));
                    let too_early = now + (wait_ms - 1) * 1_000;
                    prop_assert!(!may_pass(quota, &passed, too_early, cost));
                }
            }
        }
    }
}
