//! What one node writes, another reads; and nothing else.

use proptest::prelude::*;

use super::*;
use crate::clock::Moment;
use crate::id::TenantId;
use crate::room::name::RoomName;

fn now() -> Now {
    Now { moment: Moment { us: 50_000_000 }, unix_ms: 1_000_000 }
}

fn room() -> RoomKey {
    RoomKey::new(TenantId::DEFAULT, RoomName::parse("room").expect("a good name"))
}

fn draft() -> Draft {
    let address =
        ConnectionAddress { core: CoreId(3), key: ConnectionKey { index: 70_000, generation: 9 } };
    Draft {
        room: room(),
        epoch: "1.x".into(),
        offset: 7,
        at_ms: 1_000_000,
        data: Data::new(Codec::Json, br#"{"b": 1.50, "a":"\u0041"}"#, 8).expect("JSON").to_owned(),
        event: Some("typed".into()),
        author: Some(Author { user: Some("ada".into()), connection: "c".into(), address }),
        exclude_self: true,
        priority: Priority::High,
        expires: Some(now().moment.plus_ms(500)),
        published: now().moment.into(),
        audience: Some(Box::new(Audience::new(filter()))),
    }
}

fn filter() -> Filter {
    Filter {
        users: Some(["ada".into(), "eve".into()].into()),
        exclude_users: ["mal".into()].into(),
        metadata: [
            ("plan".into(), Scalar::Text("pro".into())),
            ("age".into(), Scalar::Integer(-4)),
            ("beta".into(), Scalar::Bool(true)),
        ]
        .into(),
        min_connection_age_ms: Some(5),
        max_connections: None,
    }
}

fn written(node: u64) -> Box<[u8]> {
    let filter = filter();
    let stamp = Stamp { node, core: 3, ticket: 12 };
    write(&draft(), Made { stamp, ttl_ms: Some(500), filter: Some(&filter) })
}

fn read_at(wire: &[u8], now: Now) -> Option<Draft> {
    let (room, epoch) = (room(), "1.x".into());
    read(wire, Spot { room: &room, epoch: &epoch, offset: 7, node: 1, depth: 8 }, now)
}

#[test]
fn a_publication_reads_back_whole_and_byte_for_byte() {
    let wire = written(1);
    assert_eq!(stamp(&wire), Some(Stamp { node: 1, core: 3, ticket: 12 }));
    let (read, wrote) = (read_at(&wire, now()).expect("what was written"), draft());
    assert_eq!(format!("{read:?}"), format!("{wrote:?}"));
}

#[test]
fn its_time_is_where_a_script_finds_it() {
    // `publish.lua` looks there.
    let at_ms = 1_796_000_000_000;
    let made = Made { stamp: Stamp::default(), ttl_ms: None, filter: None };
    let wire = write(&Draft { at_ms, ..draft() }, made);
    assert_eq!((wire[20], &wire[21..29]), (0xCF, &at_ms.to_be_bytes()[..]));
}

#[test]
fn whoever_is_elsewhere_is_at_no_address_here() {
    let read = read_at(&written(2), now()).expect("what was written");
    assert_eq!(read.author.expect("it has one").address, ELSEWHERE);
}

#[test]
fn age_counts_and_a_clock_that_is_ahead_does_not() {
    let later = Now { moment: Moment { us: 52_000_000 }, unix_ms: 1_000_200 };
    let read = read_at(&written(1), later).expect("what was written");
    assert_eq!(read.published, Moment { us: 51_800_000 }.into());
    assert_eq!(read.expires, Some(later.moment.plus_ms(300)));
    let behind = Now { unix_ms: 999_000, ..now() };
    let read = read_at(&written(1), behind).expect("what was written");
    assert_eq!(
        (read.published, read.expires),
        (now().moment.into(), Some(now().moment.plus_ms(500)))
    );
    let long_after = Now { unix_ms: 100_000_000, ..now() };
    let read = read_at(&written(1), long_after).expect("what was written");
    // The process did not run yet: it is as old all the same.
    let published = Past::before(now().moment, 99_000_000_000);
    assert_eq!((read.published, read.expires), (published, Some(now().moment)));
    assert_eq!(published.plus_ms(99_000_000), now().moment);
}

#[test]
fn another_version_is_not_read() {
    let mut wire = written(1);
    wire[0] = VERSION + 1;
    assert!(read_at(&wire, now()).is_none());
    assert_eq!(stamp(&wire), None);
}

proptest! {
    #[test]
    fn what_was_tampered_with_is_read_as_something_or_nothing(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        len in any::<prop::sample::Index>(),
    ) {
        let mut wire = written(1).into_vec();
        for (at, byte) in cuts {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        wire.truncate(len.index(wire.len() + 1));
        if let Some(draft) = read_at(&wire, now()) {
            prop_assert!(draft.author.is_none_or(|it| it.user.is_none_or(|user| user.len() <= 128)));
        }
    }
}
