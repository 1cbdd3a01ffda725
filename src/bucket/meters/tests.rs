use super::super::{Limits, Verdict};
use super::*;
use crate::config::Rate;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

fn limits() -> Limits {
    Limits::new(&Rate { messages_per_second: 1, burst: 1, bytes_per_second: 0, ..Rate::default() })
}

#[test]
fn all_connections_of_one_name_share_a_meter_and_coming_back_makes_nobody_new() {
    let (meters, limits) = (Meters::new(Seed(1, 2)), limits());
    let (one, two) = (meters.find("a", ms(0)), meters.find("a", ms(0)));
    assert!(Arc::ptr_eq(&one, &two));
    assert!(!Arc::ptr_eq(&one, &meters.find("b", ms(0))));
    assert_eq!(one.take(&limits, ms(0), 1), Verdict::Pass);
    drop((one, two));
    let again = meters.find("a", ms(1));
    assert!(matches!(again.take(&limits, ms(1), 1), Verdict::Refused { .. }));
}

#[test]
fn millions_of_names_that_come_and_go_leave_little_behind() {
    let (meters, limits) = (Meters::new(Seed(1, 2)), limits());
    let held = meters.find(u64::MAX, ms(0));
    assert_eq!(held.take(&limits, ms(0), 1), Verdict::Pass);
    for name in 0..1_000_000_u64 {
        let now = ms(name / 10);
        assert_eq!(meters.find(name, now).take(&limits, now, 1), Verdict::Pass);
        if name % 100_000 == 0 {
            // Ten thousand a second are remembered for a second each, and at most twice of them.
            assert!(meters.len() < 40_000, "{}", meters.len());
        }
    }
    assert!(Arc::ptr_eq(&held, &meters.find(u64::MAX, ms(100_000))), "it is still there");
}

#[test]
fn of_too_many_with_something_to_remember_those_who_are_there_are_kept() {
    let (meters, limits) = (Meters::new(Seed(1, 2)), limits());
    let held: Vec<_> = (0..1_000_u64).map(|name| meters.find(name, ms(0))).collect();
    for name in 1_000..9 * METERS_MAX as u64 / 4 {
        let meter = meters.find(name, ms(0));
        assert_eq!(meter.take(&limits, ms(0), 1), Verdict::Pass);
    }
    assert!(meters.len() <= 2 * METERS_MAX + held.len(), "{}", meters.len());
    for (name, meter) in held.iter().enumerate() {
        assert!(Arc::ptr_eq(meter, &meters.find(name as u64, ms(0))));
    }
}
