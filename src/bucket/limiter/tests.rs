use super::*;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

fn rate() -> Rate {
    Rate {
        messages_per_second: 10,
        burst: 20,
        messages_per_minute: 100,
        bytes_per_second: 1_000,
        ban_ms: 5_000,
    }
}

#[test]
fn a_message_must_pass_every_limit_and_is_counted_by_all_or_none() {
    let limits = Limits::new(rate());
    let mut limiter = Limiter::default();
    assert_eq!(limiter.take(&limits, ms(0), 900), Verdict::Pass);
    let before = limiter;
    assert_eq!(limiter.take(&limits, ms(0), 200), Verdict::Refused { retry_after_ms: 100 });
    assert_eq!(limiter.messages_by_second, before.messages_by_second);
    assert_eq!(limiter.bytes, before.bytes);
    assert_eq!(limiter.take(&limits, ms(0), 100), Verdict::Pass);
    // Then at ten a second, until the hundred of the minute are used up.
    let passed =
        (1..=200_u64).filter(|n| limiter.take(&limits, ms(n * 200), 1) == Verdict::Pass).count();
    assert!((100..=200).contains(&passed), "{passed}");
}

#[test]
fn a_peer_that_keeps_on_is_banned_for_a_time_and_then_begins_anew() {
    let limits = Limits::new(rate());
    let mut limiter = Limiter::default();
    let verdicts = (0..41).map(|_| limiter.take(&limits, ms(0), 1)).collect::<Vec<_>>();
    assert_eq!(verdicts[..20], [Verdict::Pass; 20]);
    assert_eq!(verdicts[20..40], [Verdict::Refused { retry_after_ms: 100 }; 20]);
    assert_eq!(verdicts[40], Verdict::Banned { retry_after_ms: 5_000, began: true });

    let later = Moment { us: 1_000_500 };
    let banned = Verdict::Banned { retry_after_ms: 4_000, began: false };
    assert_eq!(limiter.take(&limits, later, 1), banned);
    assert!(!limiter.is_idle(&limits, later));
    assert_eq!(limiter.take(&limits, ms(5_000), 1), Verdict::Pass);
    assert!(limiter.is_idle(&limits, ms(100_000)));
}

#[test]
fn after_a_short_ban_the_refusals_before_it_are_forgotten() {
    let limits = Limits::new(&Rate { ban_ms: 1, ..rate() });
    let mut limiter = Limiter::default();
    let began = |verdict| matches!(verdict, Verdict::Banned { began: true, .. });
    for now in [ms(0), ms(1)] {
        let verdicts = (0..41).map(|_| limiter.take(&limits, now, 1)).collect::<Vec<_>>();
        let refused = verdicts.iter().filter(|v| matches!(v, Verdict::Refused { .. })).count();
        assert!(refused >= 20 && verdicts.iter().copied().filter(|v| began(*v)).count() == 1);
    }
}

#[test]
fn a_peer_that_waits_as_told_is_never_banned() {
    let limits = Limits::new(rate());
    let mut limiter = Limiter::default();
    let mut now = ms(0);
    for _ in 0..1_000 {
        match limiter.take(&limits, now, 10) {
            Verdict::Pass => {}
            Verdict::Refused { retry_after_ms } => {
                now = now.plus_ms(retry_after_ms);
                assert_eq!(limiter.take(&limits, now, 10), Verdict::Pass, "it waited as told");
            }
            Verdict::Banned { .. } => panic!("banned at {now:?}"),
        }
    }
}

#[test]
fn no_ban_and_no_limits_where_none_are_configured() {
    let mut limiter = Limiter::default();
    let unbanned = Limits::new(&Rate { ban_ms: 0, ..rate() });
    for _ in 0..1_000 {
        assert!(!matches!(limiter.take(&unbanned, ms(0), 1), Verdict::Banned { .. }));
    }
    assert!(!unbanned.are_off());
    assert!(Limits::new(&crate::config::Config::default().rate).are_off());
}

#[test]
fn control_frames_have_a_measure_of_their_own_and_one_ban_with_messages() {
    let limits = Limits::new(rate());
    let mut limiter = Limiter::default();
    assert_eq!(limiter.take(&limits, ms(0), 1_000), Verdict::Pass);
    assert_eq!(limiter.take(&limits, ms(0), 10), Verdict::Refused { retry_after_ms: 10 });
    for _ in 0..15 {
        assert_eq!(limiter.take_control(&limits, ms(0), 64), Verdict::Pass, "of a thousand bytes");
    }
    assert_eq!(limiter.take_control(&limits, ms(0), 64), Verdict::Refused { retry_after_ms: 24 });
    assert_eq!(limiter.take_control(&limits, ms(24), 64), Verdict::Pass, "it waited as told");
    assert!(!limiter.is_idle(&limits, ms(1_000)));
    let refused = (0..).find(|_| {
        matches!(limiter.take_control(&limits, ms(24), 64), Verdict::Banned { began: true, .. })
    });
    // Two of the twenty refusals are used up, and a fifth of one has come back.
    assert_eq!(refused, Some(18));
    assert!(matches!(limiter.take(&limits, ms(5_000), 1), Verdict::Banned { began: false, .. }));
    assert_eq!(limiter.take_control(&limits, ms(5_024), 64), Verdict::Pass);
    assert!(limiter.is_idle(&limits, ms(20_000)));
    let nothing = Limits::new(&Rate { bytes_per_second: 0, ..rate() });
    assert!(!nothing.measures_bytes() && limits.measures_bytes());
}
