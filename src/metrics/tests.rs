#![allow(clippy::unwrap_used, reason = "a test may")]

use super::{
    BUCKETS, Close, Core, DriverKind, Gap, HandshakeFailure, Histogram, ProcessFacts, Reason,
    Refusal, Registry, text,
};
use crate::id::CoreId;

/// What comes before the value of each line that has one.
fn series(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

fn traffic(core: &Core) {
    core.connections.set(7);
    core.bytes_in.add(1 << 40);
    for &reason in Close::ALL {
        core.closes.count(reason);
    }
    for us in [0, 3, 1_000_000, u64::MAX / 2] {
        core.round_trip.record(us);
        core.handshake_latency.record(us);
    }
}

#[test]
fn traffic_changes_numbers_and_makes_no_series() {
    let registry = Registry::new(2);
    let before = text(&registry, ProcessFacts::default()).unwrap();
    registry.cores().for_each(|(_, core)| traffic(core));
    let facts = ProcessFacts { resident_bytes: 5, ..ProcessFacts::default() };
    let after = text(&registry, facts).unwrap();
    assert_eq!(series(&before), series(&after));
    assert_ne!(before, after);
    assert!(series(&before).len() < 1_000, "{} series for two cores", series(&before).len());
}

#[test]
fn each_series_stands_once() {
    let text = text(&Registry::new(3), ProcessFacts::default()).unwrap();
    let mut names = series(&text);
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn the_text_says_what_was_counted() {
    let registry = Registry::new(1);
    traffic(registry.core(CoreId(0)).unwrap());
    let text = text(&registry, ProcessFacts::default()).unwrap();
    for line in [
        "ringroom_connections_open{core=\"0\"} 7",
        "ringroom_bytes_in_total{core=\"0\"} 1099511627776",
        "ringroom_closes_total{core=\"0\",reason=\"slow_consumer\"} 1",
        "ringroom_gaps_total{core=\"0\",reason=\"overload\"} 0",
        "ringroom_round_trip_seconds_count{core=\"0\"} 4",
        "ringroom_round_trip_seconds_bucket{le=\"0.000001\",core=\"0\"} 1",
        "ringroom_round_trip_seconds_bucket{le=\"0.000004\",core=\"0\"} 2",
        "ringroom_round_trip_seconds_bucket{le=\"8.388608\",core=\"0\"} 3",
        "ringroom_round_trip_seconds_bucket{le=\"+Inf\",core=\"0\"} 4",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_bucket_holds_what_is_at_most_its_bound() {
    let longest = 1_u64 << (BUCKETS - 1);
    for (us, bound) in [
        (0, 1.0),
        (1, 1.0),
        (2, 2.0),
        (3, 4.0),
        (4, 4.0),
        (5, 8.0),
        (longest, 8_388_608.0),
        (longest + 1, f64::INFINITY),
        (u64::MAX, f64::INFINITY),
    ] {
        let histogram = Histogram::default();
        histogram.record(us);
        let full: Vec<_> = histogram.buckets_us().filter(|(_, count)| *count > 0).collect();
        assert_eq!(full, [(bound, 1)], "{us} us");
        assert_eq!((histogram.count(), histogram.sum_us()), (1, us));
    }
}

#[test]
fn reasons_are_numbered_in_their_order_and_have_distinct_words() {
    fn check<R: Reason>() {
        let mut words: Vec<_> = R::ALL.iter().map(|reason| reason.word()).collect();
        assert!(R::ALL.iter().enumerate().all(|(index, reason)| reason.index() == index));
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
    check::<Refusal>();
    check::<HandshakeFailure>();
    check::<Close>();
    check::<Gap>();
}

#[test]
fn a_core_names_its_driver() {
    let core = Core::default();
    assert_eq!(core.driver(), DriverKind::Unknown);
    for driver in [DriverKind::Uring, DriverKind::PlainUring, DriverKind::Epoll] {
        core.set_driver(driver);
        assert_eq!(core.driver(), driver);
    }
}
