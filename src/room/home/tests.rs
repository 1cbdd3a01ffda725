//! Counting who is in, and what the one who comes back gets.

use super::*;
use crate::clock::Past;
use crate::id::{ConnectionKey, TenantId};
use crate::protocol::{Codec, ErrorCode, GapReason, Priority, RoomPatch};
use crate::room::bookmark::{Bookmark, End, Note};
use crate::room::charter::{Charter, Entry, wire};
use crate::room::config::{General, Salt};
use crate::room::name::RoomName;
use crate::room::publication::{Draft, Press};
use crate::room::refusal::Refusal;

fn now(ms: u64) -> Now {
    Now { moment: Moment::default().plus_ms(ms), unix_ms: 1_000 + ms }
}

fn address(core: u16, index: u32) -> ConnectionAddress {
    ConnectionAddress { core: CoreId(core), key: ConnectionKey { index, generation: 0 } }
}

fn bounds() -> Bounds {
    Bounds {
        message_bytes: 100,
        history_bytes: 1 << 20,
        kept: crate::room::broker::Kept::default(),
        general: General::default(),
    }
}

fn room(patch: &RoomPatch) -> HomeRoom {
    let bounds = bounds();
    let namespace = Arc::new(Namespace::new(Settings::default(), &bounds));
    let name = RoomName::parse("room").expect("a good name");
    let key = RoomKey::new(TenantId::DEFAULT, name);
    let mut room = HomeRoom::new(key, "e1".into(), namespace, Seed(1, 2), now(0));
    room.configure(patch, &bounds, Salt([1; 16]), now(0).moment).expect("a good patch");
    room
}

fn request<'a>(
    at: ConnectionAddress,
    user: Option<&'a Arc<str>>,
    since: Option<(&'a str, u64)>,
) -> JoinRequest<'a> {
    let form = Form { codec: Codec::Json, deflated: false };
    JoinRequest {
        address: at,
        ip: None,
        session: None,
        resumes: false,
        user,
        form,
        notices: true,
        password: None,
        since,
        recovery: (3, 1 << 20),
        grant: None,
        info: None,
    }
}

fn publish(
    room: &mut HomeRoom,
    from: ConnectionAddress,
    key: Option<&str>,
) -> Result<Accepted, Refusal> {
    publish_until(room, from, key, None)
}

fn publish_until(
    room: &mut HomeRoom,
    from: ConnectionAddress,
    key: Option<&str>,
    expires: Option<Moment>,
) -> Result<Accepted, Refusal> {
    let request = PublishRequest {
        address: from,
        ip: None,
        session: None,
        user: None,
        from_outside: false,
        data: crate::protocol::Data::null(Codec::Json),
        transient: false,
        key,
        key_window_ms: 1_000,
        keys_most: 2,
    };
    let accepted = room.accept(&request, now(0))?;
    if let Accepted::New { offset, .. } = accepted {
        let draft = Draft {
            room: room.key.clone(),
            epoch: Arc::clone(&room.epoch),
            offset,
            at_ms: 0,
            data: crate::protocol::Data::null(Codec::Json).to_owned(),
            event: None,
            author: None,
            exclude_self: false,
            priority: Priority::Normal,
            expires,
            published: Past::default(),
            audience: None,
        };
        let publication =
            Publication::new(draft, FormSet::default(), &mut Press::new(1, 100, || 0));
        assert!(room.history.push(Arc::new(publication), now(0).moment));
    }
    Ok(accepted)
}

#[test]
fn users_count_once_and_anonymous_connections_each() {
    let mut room = room(&RoomPatch::default());
    let ada: Arc<str> = "ada".into();
    for (at, user) in [
        (address(0, 1), Some(&ada)),
        (address(1, 1), Some(&ada)),
        (address(1, 2), None),
        (address(1, 3), None),
    ] {
        assert!(room.join(&request(at, user, None), now(0)).is_ok());
        room.audit().expect("it adds up");
    }
    assert_eq!(room.user_count(), 3);
    assert_eq!(room.take_presence(now(0).moment).len(), 1);
    assert!(room.detach(address(0, 1), None, 0, now(1).moment));
    assert!(!room.detach(address(0, 1), None, 0, now(1).moment));
    assert!(room.take_presence(now(1).moment).is_empty());
    assert!(room.detach(address(1, 1), None, 500, now(1).moment));
    assert!(room.take_presence(now(2).moment).is_empty(), "grace");
    assert_eq!(room.next_timeout(), Some(now(501).moment));
    assert_eq!(room.take_presence(now(501).moment).len(), 1);
    room.audit().expect("it adds up");
    assert!(!room.is_idle());
    assert!(room.detach(address(1, 2), Some("e1"), 0, now(2).moment));
    assert!(room.detach(address(1, 3), None, 0, now(2).moment));
    assert!(!room.is_idle() && room.links().is_empty(), "a session keeps it");
    room.forget("e1");
    assert!(room.is_idle());
}

#[test]
fn a_session_that_was_sent_out_as_its_connection_went_is_counted_both_ways() {
    let mut room = room(&RoomPatch::default());
    let (one, two) = (address(0, 1), address(0, 2));
    for at in [one, two] {
        assert!(room.join(&request(at, None, None), now(0)).is_ok());
    }
    // The room sends it out, and where it was it is gone before that is heard.
    assert!(room.leave(one, 0, now(1).moment));
    assert!(!room.detach(one, Some("e1"), 0, now(1).moment));
    assert!(room.detach(two, Some("e1"), 0, now(2).moment));
    room.forget("e1");
    assert!(!room.is_idle(), "the other session keeps it");
    room.forget("e1");
    assert!(room.is_idle());
    assert!(room.join(&request(two, None, None), now(3)).is_ok());
    assert!(!room.detach(one, Some("e0"), 0, now(3).moment), "another life is another matter");
    assert!(room.detach(two, None, 0, now(3).moment) && room.is_idle());
}

#[test]
fn joining_again_changes_how_and_counts_nothing_twice() {
    let mut room = room(&RoomPatch::default());
    assert!(room.join(&request(address(0, 1), None, None), now(0)).is_ok());
    let quiet = JoinRequest { notices: false, ..request(address(0, 1), None, None) };
    assert!(room.join(&quiet, now(0)).is_ok());
    assert_eq!((room.links()[0].attached, room.links()[0].notices), (1, 0));
    room.audit().expect("it adds up");
}

#[test]
fn a_room_takes_no_more_than_its_members() {
    let mut room = room(&RoomPatch { max_members: Some(1), ..RoomPatch::default() });
    assert!(room.join(&request(address(0, 1), None, None), now(0)).is_ok());
    let refused = room.join(&request(address(0, 2), None, None), now(0));
    assert_eq!(refused.err().map(|refusal| refusal.code), Some(ErrorCode::RoomFull));
    room.audit().expect("it adds up");
}

#[test]
fn who_comes_back_gets_all_or_is_told() {
    let mut room = room(&RoomPatch { history_size: Some(4), ..RoomPatch::default() });
    let me = address(0, 1);
    assert_eq!(publish(&mut room, me, None).err().map(|it| it.code), Some(ErrorCode::NotJoined));
    assert!(room.join(&request(me, None, None), now(0)).is_ok());
    for offset in 1..=6 {
        assert_eq!(publish(&mut room, me, None), Ok(Accepted::New { offset, masked: None }));
    }
    for (since, expected) in [
        (("e1", 6), Ok(0)),
        (("e1", 3), Ok(3)),
        // Beyond what one recovery may carry.
        (("e1", 2), Err((3, GapReason::HistoryTruncated))),
        (("e1", 0), Err((1, GapReason::HistoryTruncated))),
        (("e0", 5), Err((1, GapReason::EpochChanged))),
    ] {
        let joining = room.join(&request(me, None, Some(since)), now(0)).expect("it may");
        let got = match joining.recovery {
            Recovery::Rest { .. } | Recovery::Owed { .. } => panic!("nobody acknowledges here"),
            Recovery::Replay(missed) => Ok(missed.len()),
            Recovery::Lost { from, to, reason } => {
                assert_eq!(to, 6);
                Err((from, reason))
            }
            Recovery::None | Recovery::Ahead => panic!("it asked"),
        };
        assert_eq!(got, expected, "{since:?}");
    }
}

#[test]
fn a_key_publishes_once() {
    let mut room = room(&RoomPatch::default());
    let me = address(0, 1);
    assert!(room.join(&request(me, None, None), now(0)).is_ok());
    assert_eq!(publish(&mut room, me, Some("k")), Ok(Accepted::New { offset: 1, masked: None }));
    assert_eq!(publish(&mut room, me, Some("k")), Ok(Accepted::Duplicate(1)));
    assert_eq!(publish(&mut room, me, Some("l")), Ok(Accepted::New { offset: 2, masked: None }));
    // Two are remembered: no other takes the place of one of them, and what has no key goes on.
    assert_eq!(publish(&mut room, me, Some("m")), Err(KEYS_ARE_FULL));
    assert_eq!(publish(&mut room, me, Some("k")), Ok(Accepted::Duplicate(1)));
    assert_eq!(publish(&mut room, me, None), Ok(Accepted::New { offset: 3, masked: None }));
}

#[test]
fn a_slow_room_says_when() {
    let mut room = room(&RoomPatch { slow_mode_ms: Some(250), ..RoomPatch::default() });
    let me = address(0, 1);
    assert!(room.join(&request(me, None, None), now(0)).is_ok());
    assert_eq!(publish(&mut room, me, None), Ok(Accepted::New { offset: 1, masked: None }));
    let refusal = publish(&mut room, me, None).expect_err("it was just now");
    assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::RateLimited, Some(250)));
}

#[test]
fn a_room_whose_password_cannot_be_read_opens_to_nobody() {
    let secret = |text: &'static str| Some(crate::protocol::Secret(text.into()));
    let mut above = Settings::default();
    let patch = RoomPatch { password: secret("above"), ..RoomPatch::default() };
    above.apply(&patch, &bounds(), Salt([2; 16])).expect("a good patch");
    let (members, from) = (Members::default(), Parent { name_bytes: 2, made_ms: 7 });
    let heritage = Heritage { settings: above, members, inherits: false, from };
    let config = RoomPatch {
        room_type: Some(crate::protocol::RoomType::Protected),
        parent_inherit: Some(true),
        ..RoomPatch::default()
    };
    for (trace, opens) in [(None, true), (Some("0a"), false)] {
        let mut room = room(&RoomPatch::default());
        room.inherit(vec![Arc::new(heritage.clone())], &bounds(), now(0).moment);
        let mut entries =
            vec![Entry::Config(Box::new(config.clone())), Entry::Parents([from].into())];
        entries.extend(trace.and_then(|trace| wire::entry("p", Some(trace))));
        let charter = Charter { entries, ..Charter::default() };
        room.adopt(&charter, &bounds(), now(0));
        let ann: Arc<str> = "ann".into();
        let request =
            JoinRequest { password: Some("above"), ..request(address(0, 1), Some(&ann), None) };
        assert_eq!(room.join(&request, now(0)).is_ok(), opens, "{trace:?}");
    }
}

#[test]
fn a_member_who_was_none_for_a_moment_keeps_the_place_that_the_broker_has() {
    let patch = RoomPatch { mode: Some(crate::protocol::Mode::Guaranteed), ..RoomPatch::default() };
    let mut room = room(&patch);
    room.share_cursors();
    room.begin_life("1.x".into(), 4, now(0).moment);
    let ann: Arc<str> = "ann".into();
    let mut settle = |role, is_known| {
        room.members.set_role(&ann, role, 0).expect("there is room for one");
        room.settle(&ann, now(0).moment);
        let notes = room.take_bookmarks(1, 9);
        room.confirm_bookmarks(1, is_known, now(0).moment);
        notes.into_iter().map(|(_, note)| note).collect::<Vec<_>>()
    };
    let sent = Some(0);
    let mark = Bookmark { began: 4, acknowledged: 4, sent, has_joined: false };
    let (place, end) = (Note::At(mark), Note::Ended(End::Dismissed));
    assert_eq!(settle(Role::Member, true), [place]);
    assert_eq!(settle(Role::Guest, true), [end]);
    assert_eq!(settle(Role::Member, true), [place]);
    assert_eq!(settle(Role::Guest, false), [end], "it does not arrive");
    assert_eq!(settle(Role::Member, true), [place], "and would be wrong by now");
}

#[test]
fn all_have_their_turn_to_be_told_to_the_broker_and_none_waits_twice() {
    let patch = RoomPatch {
        mode: Some(crate::protocol::Mode::Guaranteed),
        history_size: Some(9),
        ..RoomPatch::default()
    };
    let mut room = room(&patch);
    room.share_cursors();
    room.begin_life("1.x".into(), 0, now(0).moment);
    let users: [Arc<str>; 3] = ["a", "b", "c"].map(Into::into);
    for (at, user) in (0..).zip(&users) {
        assert!(room.join(&request(address(0, at), Some(user), None), now(0)).is_ok());
    }
    room.take_bookmarks(1, 9);
    room.confirm_bookmarks(1, true, now(0).moment);
    let mut told = Vec::new();
    for round in 1..=2 {
        publish(&mut room, address(0, 0), None).expect("it is there");
        (0..3).for_each(|at| room.acknowledge(address(0, at), round, now(0).moment));
        assert_eq!(room.has_bookmarks_due(now(0).moment), round == 2, "the first wait for more");
        let notes = room.take_bookmarks(1, 2);
        told.push(notes.into_iter().map(|(user, _)| user).collect::<Vec<_>>());
        room.confirm_bookmarks(1, true, now(0).moment);
        assert!(room.has_bookmarks_due(now(0).moment), "the rest does not");
    }
    let [a, b, c] = users;
    assert_eq!(told, [vec![Arc::clone(&a), b], vec![c, a]]);
}

/// A guaranteed room, and who is there: Ann and Bob.
fn guaranteed_for_two() -> (HomeRoom, ConnectionAddress, ConnectionAddress) {
    let patch = RoomPatch {
        mode: Some(crate::protocol::Mode::Guaranteed),
        history_size: Some(99),
        ..RoomPatch::default()
    };
    let mut room = room(&patch);
    let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
    let (from, to) = (address(0, 0), address(0, 1));
    for (at, user) in [(from, &ann), (to, &bob)] {
        assert!(room.join(&request(at, Some(user), None), now(0)).is_ok());
    }
    (room, from, to)
}

#[test]
fn who_comes_from_another_life_gets_what_they_are_owed_in_this_one() {
    use GapReason::{EpochChanged, HistoryTruncated};
    let other = ("e0", 9);
    for (since, acknowledged, count, trimmed, expected) in [
        (other, 0, 3, 0, ((1, 0, EpochChanged), [1, 2, 3].as_slice())),
        (other, 1, 3, 0, ((1, 1, EpochChanged), &[2, 3])),
        (other, 1, 3, 2, ((1, 2, EpochChanged), &[3])),
        (other, 1, 5, 0, ((1, 5, EpochChanged), &[])),
        (other, 3, 3, 0, ((1, 3, EpochChanged), &[])),
        (("e1", 9), 1, 3, 0, ((2, 1, HistoryTruncated), &[2, 3])),
        (("e1", 0), 2, 3, 1, ((1, 2, HistoryTruncated), &[3])),
    ] {
        // What a session says of this life counts less than what was acknowledged.
        let ways = if since == other { [false, true].as_slice() } else { &[false] };
        for &resumes in ways {
            let (mut room, from, to) = guaranteed_for_two();
            (0..count).for_each(|_| assert!(publish(&mut room, from, None).is_ok()));
            room.acknowledge(to, acknowledged, now(0).moment);
            assert!(room.detach(to, None, 0, now(0).moment));
            (0..trimmed).for_each(|_| assert!(room.history.drop_oldest().is_some()));
            let bob = "bob".into();
            let request = JoinRequest { resumes, ..request(to, Some(&bob), Some(since)) };
            let (gap, missed) = match room.join(&request, now(0)).expect("they may").recovery {
                Recovery::Rest { from, to, reason, missed } => ((from, to, reason), missed),
                Recovery::Owed { from, to, reason } | Recovery::Lost { from, to, reason } => {
                    ((from, to, reason), Vec::new())
                }
                other => panic!("{other:?}"),
            };
            let missed: Vec<_> = missed.iter().map(|it| it.offset).collect();
            let got = (gap, &*missed);
            assert_eq!(got, expected, "{acknowledged} of {count}, without {trimmed}");
        }
    }
}

#[test]
fn what_is_not_for_somebody_is_looked_at_once() {
    let (mut room, from, to) = guaranteed_for_two();
    let say = |room: &mut HomeRoom, count| {
        (0..count).for_each(|_| assert!(publish(room, from, None).is_ok()));
        room.acknowledge(from, room.offset(), now(0).moment);
        room.expect_acknowledgements(now(0).moment, 10);
    };
    // What is looked at for the one who gets none of it, as long as there is more.
    let look = |room: &mut HomeRoom, ms| {
        let mut looked = Vec::new();
        let all = room.take_overdue(now(ms).moment, 10, 3);
        assert!(all.iter().all(|it| it.address == to && it.lost.is_none()));
        let mut missed: Vec<_> = all.into_iter().flat_map(|it| it.missed).collect();
        while let Some(last) = missed.last().map(|it| it.offset) {
            looked.extend(missed.iter().map(|it| it.offset));
            missed = room.overdue_behind(to, last, now(ms).moment, 10, 3);
        }
        looked
    };
    say(&mut room, 10);
    assert_eq!(look(&mut room, 100), (1..=10).collect::<Vec<_>>());
    say(&mut room, 2);
    assert_eq!(look(&mut room, 200), [11, 12]);
    assert_eq!(look(&mut room, 300), [0; 0]);
    // They may want something else by now.
    assert!(room.join(&request(to, Some(&"bob".into()), None), now(300)).is_ok());
    say(&mut room, 1);
    assert_eq!(look(&mut room, 400), (1..=13).collect::<Vec<_>>());
}

#[test]
fn what_has_expired_is_walked_over_a_little_at_a_time() {
    let (mut room, from, to) = guaranteed_for_two();
    for at in 1..=20 {
        let expires = [2, 20].contains(&at).then_some(now(9_999).moment);
        let expires = expires.or(Some(now(1).moment));
        assert!(publish_until(&mut room, from, None, expires).is_ok());
    }
    room.acknowledge(from, 20, now(0).moment);
    room.check_acknowledgements_at(now(10).moment);
    let mut look = |ms, acknowledged| {
        room.acknowledge(to, acknowledged, now(ms).moment);
        let all = room.take_overdue(now(ms).moment, 10, 2);
        all.into_iter().flat_map(|it| it.missed).map(|it| it.offset).collect::<Vec<_>>()
    };
    assert_eq!(look(10, 0), [2], "and eight at most are looked at");
    assert_eq!(look(20, 0), [2]);
    assert_eq!((look(30, 2), look(40, 2)), (vec![], vec![]), "up to 10, and up to 18");
    assert_eq!(look(50, 2), [20], "the check goes on");
    assert_eq!(look(60, 20), [0; 0]);
}
