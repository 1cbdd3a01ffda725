use proptest::prelude::*;

use super::*;
use crate::config::Rate;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

fn limits(change: impl FnOnce(&mut Rate)) -> Limits {
    let mut rate = Rate {
        messages_per_second: 10,
        burst: 20,
        messages_per_minute: 0,
        bytes_per_second: 0,
        ban_ms: 0,
    };
    change(&mut rate);
    Limits::new(&rate)
}

#[test]
fn a_burst_passes_whole_and_then_the_rate_holds_for_whoever_waits() {
    for messages_per_second in [1, 3, 7, 10, 1_000, 9_999_999] {
        let limits = limits(|rate| rate.messages_per_second = messages_per_second);
        let meter = Meter::default();
        for n in 0..20 {
            assert_eq!(meter.take(&limits, ms(5), 1), Verdict::Pass, "{n}");
        }
        let mut now = ms(5);
        for _ in 0..100 {
            let Verdict::Refused { retry_after_ms } = meter.take(&limits, now, 1) else { continue };
            now = now.plus_ms(retry_after_ms);
            assert_eq!(meter.take(&limits, now, 1), Verdict::Pass, "it waited as told");
        }
    }
}

#[test]
fn what_is_refused_costs_nothing_in_any_bucket() {
    let limits = limits(|rate| rate.bytes_per_second = 100);
    let meter = Meter::default();
    assert_eq!(meter.take(&limits, ms(0), 90), Verdict::Pass);
    for _ in 0..1_000 {
        assert_eq!(meter.take(&limits, ms(0), 20), Verdict::Refused { retry_after_ms: 100 });
    }
    for _ in 0..10 {
        assert_eq!(meter.take(&limits, ms(0), 1), Verdict::Pass);
    }
    meter.give_back(&limits, 1);
    assert_eq!(meter.take(&limits, ms(0), 1), Verdict::Pass);
    assert_eq!(meter.take(&limits, ms(0), 1), Verdict::Refused { retry_after_ms: 10 });
    assert!(!meter.is_idle(ms(999)));
    assert!(meter.is_idle(ms(2_000)));
}

#[test]
fn whoever_keeps_on_is_banned_on_all_cores_and_then_begins_anew() {
    let limits = limits(|rate| rate.ban_ms = 5_000);
    let meter = Meter::default();
    let verdicts: Vec<_> = (0..41).map(|_| meter.take(&limits, ms(0), 1)).collect();
    assert_eq!(verdicts[..20], [Verdict::Pass; 20]);
    assert_eq!(verdicts[20..40], [Verdict::Refused { retry_after_ms: 100 }; 20]);
    assert_eq!(verdicts[40], Verdict::Banned { retry_after_ms: 5_000, began: true });
    let banned = Verdict::Banned { retry_after_ms: 4_000, began: false };
    assert_eq!(meter.take(&limits, ms(1_000), 1), banned);
    assert!(!meter.is_idle(ms(4_999)));
    assert_eq!(meter.take(&limits, ms(5_000), 1), Verdict::Pass);
}

#[test]
fn threads_that_take_at_once_get_no_more_than_one_that_takes_alone() {
    let limits = limits(|rate| {
        rate.burst = 1_000;
        rate.bytes_per_second = 5_000;
    });
    for round in 0..20 {
        let meter = Meter::default();
        let passed: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let passes = |_: &u32| meter.take(&limits, ms(0), 10) == Verdict::Pass;
                        (0..1_000).filter(passes).count()
                    })
                })
                .collect();
            takers.into_iter().map(|taker| taker.join().expect("it does not panic")).sum()
        });
        // The bytes are the tighter limit, and what they refuse is given back to the messages.
        assert_eq!(passed, 500, "round {round}");
    }
}

proptest! {
    #[test]
    fn over_any_split_of_cores_no_stretch_of_time_lets_more_through_than_its_burst_and_its_rate(
        rate in 1..5_000_u32,
        burst in 1..300_u32,
        per_minute in prop_oneof![Just(0), 1..2_000_u32],
        bytes_per_second in prop_oneof![Just(0), 1_000..100_000_u32],
        // How far each core's clock is behind, and who sends how much when.
        lags in prop::collection::vec(0..20_000_u64, 1..5),
        sends in prop::collection::vec((0..5_usize, 0..30_000_u64, 1..1_000_u32), 1..400),
    ) {
        let limits = limits(|it| {
            it.messages_per_second = rate;
            it.burst = burst;
            it.messages_per_minute = per_minute;
            it.bytes_per_second = bytes_per_second;
        });
        let meter = Meter::default();
        let mut at_us = 1_000_000;
        let mut passed = Vec::new();
        for (core, after_us, bytes) in sends {
            at_us += after_us;
            let now = Moment { us: at_us - lags[core % lags.len()] };
            if meter.take(&limits, now, bytes) == Verdict::Pass {
                passed.push((at_us, u64::from(bytes)));
            }
        }
        let worst_lag = lags.iter().max().copied().unwrap_or(0);
        for (first, (from, _)) in passed.iter().enumerate() {
            let (mut count, mut weight) = (0_u64, 0_u64);
            for (until, bytes) in &passed[first..] {
                (count, weight) = (count + 1, weight + bytes);
                // A clock that was behind may catch up within the stretch.
                let us = until - from + worst_lag;
                let most = |rate: u64, burst: u64, period: u64| burst * period + rate * us;
                prop_assert!(count * 1_000_000 <= most(rate.into(), burst.into(), 1_000_000));
                if per_minute > 0 {
                    let minute = 60_000_000;
                    let rate = u64::from(per_minute);
                    prop_assert!(count * minute <= most(rate, rate, minute));
                }
                if bytes_per_second > 0 {
                    let rate = u64::from(bytes_per_second);
                    prop_assert!(weight * 1_000_000 <= most(rate, rate, 1_000_000));
                }
            }
        }
    }
}
