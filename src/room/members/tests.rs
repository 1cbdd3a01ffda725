#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

const fn until(end_ms: u64) -> Until {
    Until::Moment(ms(end_ms))
}

fn of(members: &Members, user: &str, now: Moment) -> Standing {
    members.standing(Some(user), None, Standing::default(), now)
}

#[test]
fn what_was_done_to_a_user_holds_until_it_runs_out_or_is_taken_back() {
    let mut members = Members::default();
    members.ban("ann", until(10), ms(0)).unwrap();
    members.mute("bob", until(10), ms(0)).unwrap();
    members.invite("cid", Role::Member, until(10), ms(0)).unwrap();
    for (now, holds) in [(ms(9), true), (ms(10), false)] {
        assert_eq!(of(&members, "ann", now).banned.is_some(), holds);
        assert_eq!(of(&members, "bob", now).muted.is_some(), holds);
        assert_eq!(of(&members, "cid", now).invited, holds);
    }
    assert!(!members.unban(Banned::User("ann"), ms(10)), "it had run out");
    assert!(members.unmute("bob", ms(9)));
    assert!(!members.unmute("bob", ms(9)));
    let invitation = Invitation { role: Role::Member, until: until(10) };
    assert_eq!(members.accept("cid", ms(9)), Some(invitation));
    assert_eq!(members.accept("cid", ms(9)), None, "an invitation is used once");
    assert!(members.is_empty());
}

#[test]
fn an_address_is_banned_however_it_is_written_and_whoever_comes_from_it() {
    let mut members = Members::default();
    let for_all = AddressBan { until: Until::Undone, below: None };
    members.ban_address("::ffff:192.0.2.7".parse().unwrap(), for_all, ms(0)).unwrap();
    let address = Some("192.0.2.7".parse().unwrap());
    members.set_role("ann", Role::Owner, 1).unwrap();
    let above = Standing::default();
    for user in [None, Some("ann")] {
        assert_eq!(members.standing(user, address, above, ms(0)).banned, Some(Until::Undone));
        assert_eq!(members.standing(user, None, above, ms(0)).banned, None);
    }
    assert!(members.unban(Banned::Address("192.0.2.7".parse().unwrap()), ms(0)));
    assert!(!members.has_bans());
}

#[test]
fn an_address_is_banned_for_those_below_the_one_who_banned_it() {
    let address = "192.0.2.7".parse().unwrap();
    for below in Role::ALL {
        let mut members = Members::default();
        let ban = AddressBan { until: until(10), below: Some(*below) };
        members.ban_address(address, ban, ms(0)).unwrap();
        let banned = |members: &Members, user, above, now| {
            let above = Standing { role: above, ..Standing::default() };
            members.standing(user, Some(address), above, ms(now)).banned.is_some()
        };
        for role in Role::ALL {
            members.set_role("ann", *role, 1).unwrap();
            let is_below = role < below;
            assert_eq!(banned(&members, Some("ann"), Role::Guest, 9), is_below, "{role} {below}");
            assert_eq!(banned(&members, Some("bob"), *role, 9), is_below, "by the room above");
            assert!(!banned(&members, Some("ann"), Role::Guest, 10), "it is over");
        }
        assert_eq!(banned(&members, None, Role::Guest, 9), *below > Role::Guest);
    }
}

#[test]
fn of_two_bans_the_longer_one_counts() {
    let mut members = Members::default();
    let address = "192.0.2.7".parse().unwrap();
    members.ban("ann", until(10), ms(0)).unwrap();
    let ban = AddressBan { until: until(20), below: Some(Role::Moderator) };
    members.ban_address(address, ban, ms(0)).unwrap();
    let banned = |members: &Members| {
        members.standing(Some("ann"), Some(address), Standing::default(), ms(0)).banned
    };
    assert_eq!(banned(&members), Some(until(20)));
    members.ban("ann", Until::Undone, ms(0)).unwrap();
    assert_eq!(banned(&members), Some(Until::Undone));
}

#[test]
fn the_roles_and_bans_of_a_parent_hold_here_but_not_its_mutes_and_invitations() {
    let above = Standing {
        role: Role::Admin,
        invited: true,
        banned: Some(Until::Undone),
        muted: Some(until(9)),
    };
    let mut members = Members::default();
    members.set_role("ann", Role::Member, 1).unwrap();
    let expected =
        Standing { role: Role::Admin, banned: Some(Until::Undone), ..Standing::default() };
    assert_eq!(members.standing(Some("ann"), None, above, ms(0)), expected);
    members.set_role("bob", Role::Owner, 1).unwrap();
    let expected = Standing { role: Role::Owner, ..Standing::default() };
    assert_eq!(members.standing(Some("bob"), None, Standing::default(), ms(0)), expected);
    assert_eq!(members.standing(None, None, Standing::default(), ms(0)), Standing::default());
}

#[test]
fn a_ban_ends_membership() {
    let mut members = Members::default();
    members.set_role("ann", Role::Admin, 1).unwrap();
    members.invite("ann", Role::Member, Until::Undone, ms(0)).unwrap();
    members.ban("ann", until(10), ms(0)).unwrap();
    assert_eq!(of(&members, "ann", ms(10)), Standing::default());
}

#[test]
fn a_new_owner_makes_the_one_before_an_admin() {
    let mut members = Members::default();
    members.set_role("ann", Role::Owner, 1).unwrap();
    assert_eq!(members.set_role("bob", Role::Owner, 2), Ok(None));
    assert_eq!((members.role("ann"), members.role("bob")), (Role::Admin, Role::Owner));
}

#[test]
fn when_the_owner_goes_the_highest_and_then_the_eldest_follows() {
    let mut members = Members::default();
    for (user, role, at) in [
        ("ann", Role::Owner, 1),
        ("bob", Role::Member, 2),
        ("cid", Role::Moderator, 4),
        ("dee", Role::Moderator, 3),
    ] {
        members.set_role(user, role, at).unwrap();
    }
    let follows = |successor: Result<Option<Arc<str>>, Full>| successor.unwrap();
    assert_eq!(follows(members.set_role("ann", Role::Admin, 9)).as_deref(), Some("dee"));
    assert_eq!(members.role("ann"), Role::Admin, "the former owner is passed over");
    let banned = members.ban("dee", Until::Undone, ms(0));
    assert_eq!(follows(banned).as_deref(), Some("ann"));
    assert_eq!(follows(members.set_role("ann", Role::Guest, 9)).as_deref(), Some("cid"));
    assert_eq!(follows(members.set_role("cid", Role::Guest, 9)).as_deref(), Some("bob"));
    assert_eq!(follows(members.set_role("bob", Role::Guest, 9)), None);
    assert_eq!((members.count(), members.owner()), (0, None));
}

#[test]
fn the_only_member_stays_the_owner() {
    let mut members = Members::default();
    members.set_role("ann", Role::Owner, 1).unwrap();
    let successor = members.set_role("ann", Role::Member, 2).unwrap();
    assert_eq!(successor.as_deref(), Some("ann"));
    assert_eq!(members.role("ann"), Role::Owner);
}

#[test]
fn members_are_paged_in_the_order_of_their_ids() {
    let mut members = Members::default();
    for user in ["c", "a", "d", "b"] {
        members.set_role(user, Role::Member, 1).unwrap();
    }
    let page = |after| members.after(after).take(2).map(|(user, _)| &**user).collect::<Vec<_>>();
    assert_eq!(page(None), ["a", "b"]);
    assert_eq!(page(Some("b")), ["c", "d"]);
    assert_eq!(page(Some("bb")), ["c", "d"]);
    assert_eq!(page(Some("d")), [""; 0]);
}

#[test]
fn a_full_list_takes_new_ones_only_when_old_ones_have_run_out() {
    let mut members = Members::default();
    for n in 0..ENTRIES {
        members.mute(&n.to_string(), until(if n == 0 { 10 } else { 100 }), ms(0)).unwrap();
    }
    assert_eq!(members.mute("one more", until(100), ms(9)), Err(Full));
    assert_eq!(members.mute("5", until(200), ms(9)), Ok(()), "a known one is only changed");
    assert_eq!(members.mute("one more", until(100), ms(10)), Ok(()));
    assert_eq!(members.muted.len(), ENTRIES);
}

proptest! {
    #[test]
    fn there_is_never_more_than_one_owner_and_always_one_to_follow(
        steps in prop::collection::vec((0..5_u8, 0..Role::ALL.len(), any::<bool>()), 1..60),
    ) {
        let mut members = Members::default();
        members.set_role("founder", Role::Owner, 0).unwrap();
        for (at, (user, role, ban)) in steps.into_iter().enumerate() {
            let user = user.to_string();
            let successor = if ban {
                members.ban(&user, Until::Undone, ms(0)).unwrap()
            } else {
                members.set_role(&user, Role::ALL[role], at as u64).unwrap()
            };
            let owners = members.after(None).filter(|(_, member)| member.role == Role::Owner);
            prop_assert_eq!(owners.count(), usize::from(members.count() > 0));
            prop_assert!(members.after(None).all(|(_, member)| member.role != Role::Guest));
            if let Some(successor) = successor {
                prop_assert_eq!(members.owner(), Some(&successor));
            }
        }
    }
}
