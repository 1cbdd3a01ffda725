use super::*;
use crate::config::Config;
use crate::protocol::RoomPatch;
use crate::room::config::{Bounds, Layers, Salt, Settings};

fn config(patch: &RoomPatch) -> RoomConfig {
    let bounds = Bounds::new(&Config::default());
    let (mut own, namespace) = (Settings::default(), Settings::default());
    own.apply(patch, &bounds, Salt([1; 16])).expect("the patch is valid");
    RoomConfig::resolve(Layers { own: &own, parents: &[], namespace: &namespace }, &bounds)
}

fn of_type(room_type: RoomType) -> RoomConfig {
    config(&RoomPatch { room_type: Some(room_type), ..RoomPatch::default() })
}

fn role(role: Role) -> Standing {
    Standing { role, ..Standing::default() }
}

#[test]
fn each_type_of_room_lets_in_whom_it_says() {
    let guest = Standing::default();
    let invited = Standing { invited: true, ..guest };
    let member = role(Role::Member);
    for (room_type, alone) in [
        (RoomType::Public, Ok(())),
        (RoomType::Protected, Err(Denied::ProofRequired)),
        (RoomType::Private, Err(Denied::Forbidden)),
        (RoomType::InviteOnly, Err(Denied::InviteRequired)),
    ] {
        let config = of_type(room_type);
        assert_eq!(guest.may(Action::Join { proven: false }, &config), alone, "{room_type}");
        assert_eq!(guest.may(Action::Join { proven: true }, &config), Ok(()), "{room_type}");
        assert_eq!(invited.may(Action::Join { proven: false }, &config), Ok(()), "{room_type}");
        assert_eq!(member.may(Action::Join { proven: false }, &config), Ok(()), "{room_type}");
    }
}

#[test]
fn a_ban_outweighs_everything() {
    let banned = Standing { banned: Some(Until::Undone), invited: true, ..role(Role::Owner) };
    let config = of_type(RoomType::Public);
    for action in [
        Action::Join { proven: true },
        Action::Publish,
        Action::History { joined: true },
        Action::Presence { joined: true },
        Action::Moderate,
        Action::Configure,
        Action::Delete,
    ] {
        assert_eq!(banned.may(action, &config), Err(Denied::Banned(Until::Undone)), "{action:?}");
    }
    assert_eq!(banned.may_give(Role::Member, Role::Guest), Err(Denied::Banned(Until::Undone)));
}

#[test]
fn publishing_takes_the_role_and_no_mute() {
    let config = config(&RoomPatch { publish_role: Some(Role::Member), ..RoomPatch::default() });
    assert_eq!(role(Role::Guest).may(Action::Publish, &config), Err(Denied::Forbidden));
    assert_eq!(role(Role::Member).may(Action::Publish, &config), Ok(()));
    let until = Until::Moment(Moment { us: 5 });
    let muted = Standing { muted: Some(until), ..role(Role::Admin) };
    assert_eq!(muted.may(Action::Publish, &config), Err(Denied::Muted(until)));
    assert_eq!(muted.may(Action::Moderate, &config), Ok(()));
}

#[test]
fn each_action_has_its_least_role() {
    let config = of_type(RoomType::Private);
    for (action, least) in [
        (Action::History { joined: true }, Role::Guest),
        (Action::History { joined: false }, Role::Member),
        (Action::Presence { joined: true }, Role::Guest),
        (Action::Presence { joined: false }, Role::Member),
        (Action::Moderate, Role::Moderator),
        (Action::Configure, Role::Admin),
        (Action::Delete, Role::Owner),
    ] {
        for other in Role::ALL {
            let allowed = role(*other).may(action, &config).is_ok();
            assert_eq!(allowed, *other >= least, "{action:?} {other}");
        }
    }
    let public = of_type(RoomType::Public);
    assert_eq!(role(Role::Guest).may(Action::History { joined: false }, &public), Ok(()));
}

#[test]
fn nobody_moderates_their_equals() {
    let config = of_type(RoomType::Public);
    for actor in Role::ALL {
        for target in Role::ALL {
            let expected = *actor >= Role::Moderator && actor > target;
            let allowed = role(*actor).may_moderate(*target, &config).is_ok();
            assert_eq!(allowed, expected, "{actor} over {target}");
        }
    }
}

#[test]
fn a_role_is_given_from_above_or_passed_on_by_the_owner() {
    for (actor, given, target, allowed) in [
        (Role::Owner, Role::Admin, Role::Guest, true),
        (Role::Owner, Role::Owner, Role::Guest, true),
        (Role::Admin, Role::Moderator, Role::Member, true),
        (Role::Admin, Role::Admin, Role::Member, false),
        (Role::Admin, Role::Owner, Role::Member, false),
        (Role::Admin, Role::Guest, Role::Admin, false),
        (Role::Admin, Role::Guest, Role::Owner, false),
        (Role::Member, Role::Guest, Role::Guest, true),
        (Role::Guest, Role::Guest, Role::Guest, false),
    ] {
        let verdict = role(actor).may_give(given, target);
        assert_eq!(verdict.is_ok(), allowed, "{actor} gives {given} to {target}");
    }
}

#[test]
fn nobody_is_invited_to_stand_where_their_host_does() {
    let config = of_type(RoomType::Public);
    for actor in Role::ALL {
        for given in Role::ALL {
            let expected = *actor >= Role::Moderator && actor > given;
            let allowed = role(*actor).may_invite(*given, &config).is_ok();
            assert_eq!(allowed, expected, "{actor} invites as {given}");
        }
    }
    let banned = Standing { banned: Some(Until::Undone), ..role(Role::Owner) };
    assert_eq!(banned.may_invite(Role::Member, &config), Err(Denied::Banned(Until::Undone)));
}

#[test]
fn what_is_left_of_a_time_is_rounded_up() {
    let until = Until::Moment(Moment { us: 5_001 });
    assert_eq!(until.left_ms(Moment { us: 1 }), Some(5));
    assert_eq!(until.left_ms(Moment { us: 0 }), Some(6));
    assert!(!until.is_over(Moment { us: 5_000 }) && until.is_over(Moment { us: 5_001 }));
    assert_eq!(Until::Undone.left_ms(Moment { us: 0 }), None);
    assert!(!Until::Undone.is_over(Moment { us: u64::MAX }));
}
