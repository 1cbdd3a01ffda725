//! Who is sent out, and who is asked in.

use std::sync::Arc;

use super::cluster::Cluster;
use crate::config::Config;
use crate::id::TenantId;
use crate::room::name::{RoomKey, RoomName};
use crate::shard::identity::{Identity, Permit, Right};
use crate::shard::message::ToHub;
use crate::shard::{CoreMessage, Input};

/// May keep order everywhere, and has no role.
#[derive(Debug)]
pub(super) struct Keeper;

impl Permit for Keeper {
    fn allows(&self, right: Right, _on: &str) -> bool {
        matches!(right, Right::Join | Right::Moderate)
    }
    fn allows_from_outside(&self, _right: Right, _on: &str) -> bool {
        false
    }
}

#[test]
fn an_address_is_banned_whoever_comes_from_it() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let far = cores - 1;
        let from = |address: &str| Some(address.parse().unwrap());
        let owner = cluster.open_as(0, "o", |it| it.address = from("10.0.0.1"));
        let bad = cluster.open_as(far, "b", |it| it.address = from("10.0.0.2"));
        let mapped = cluster.open_with(far, |it| it.address = from("::ffff:10.0.0.2"));
        for at in [owner, bad, mapped] {
            cluster.read(at);
            assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"r"}"#)["type"], "ok");
        }
        let ban = r#"{"type":"room.ban","id":2,"room":"r","ip":"10.0.0.2"}"#;
        assert_eq!(cluster.ask(bad, ban)["code"], "forbidden");
        assert_eq!(cluster.ask(owner, ban)["type"], "ok");
        for at in [bad, mapped] {
            assert_eq!(cluster.read(at)[0]["reason"], "banned");
            let join = r#"{"type":"join","id":3,"room":"r"}"#;
            assert_eq!(cluster.ask(at, join)["code"], "banned");
        }
        let unban = r#"{"type":"room.unban","id":4,"room":"r","ip":"10.0.0.2"}"#;
        assert_eq!(cluster.ask(owner, unban)["type"], "ok");
        assert_eq!(cluster.ask(mapped, r#"{"type":"join","id":5,"room":"r"}"#)["type"], "ok");
    }
}

#[test]
fn a_ban_of_an_ipv6_address_is_one_of_its_whole_host() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let from = |address: &str| Some(address.parse().unwrap());
        let owner = cluster.user(0, "o");
        let one = cluster.open_with(cores - 1, |it| it.address = from("2001:db8:0:7::1"));
        let same = cluster.open_with(0, |it| it.address = from("2001:db8:0:7:ffff::2"));
        let next = cluster.open_with(0, |it| it.address = from("2001:db8:0:8::1"));
        let join = r#"{"type":"join","id":1,"room":"r"}"#;
        for at in [owner, one, same, next] {
            cluster.read(at);
            assert_eq!(cluster.ask(at, join)["type"], "ok");
        }
        let act = |kind: &str, ip: &str| {
            format!(r#"{{"type":"room.{kind}","id":2,"room":"r","ip":"{ip}"}}"#)
        };
        assert_eq!(cluster.ask(owner, &act("ban", "2001:db8:0:7::1"))["type"], "ok");
        for at in [one, same] {
            assert_eq!(cluster.read(at)[0]["reason"], "banned");
            assert_eq!(cluster.ask(at, join)["code"], "banned");
        }
        assert!(cluster.read(next).is_empty(), "another host");
        assert_eq!(cluster.ask(owner, &act("unban", "2001:db8:0:7:abcd::9"))["type"], "ok");
        assert_eq!(cluster.ask(one, join)["type"], "ok");
    }
}

#[test]
fn an_invitation_reaches_all_connections_of_a_user_and_later_ones_until_it_is_used() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let far = cores - 1;
        let owner = cluster.user(0, "o");
        let (one, two) = (cluster.user(0, "g"), cluster.user(far, "g"));
        let create = r#"{"type":"room.create","id":1,"room":"r","config":{"type":"invite_only"}}"#;
        assert_eq!(cluster.ask(owner, create)["type"], "ok");
        let invite = r#"{"type":"room.invite","id":2,"room":"r","user":"g","for_ms":60000}"#;
        for _ in 0..2 {
            assert_eq!(cluster.ask(owner, invite)["type"], "ok");
        }
        for at in [one, two] {
            let told = cluster.read(at);
            assert_eq!(told.len(), 2, "once each: {told:?}");
            assert_eq!((&told[0]["change"], &told[0]["by"]), (&"invited".into(), &"o".into()));
        }
        let later = cluster.open_as(far, "g", |_| {});
        let told = cluster.read(later);
        assert_eq!((told.len(), &told[1]["change"]), (2, &"invited".into()), "{told:?}");
        assert_eq!(cluster.ask(later, r#"{"type":"join","id":3,"room":"r"}"#)["role"], "member");
        let after = cluster.open_as(0, "g", |_| {});
        assert_eq!(cluster.read(after).len(), 1, "it is used up");
        let other = r#"{"type":"room.invite","id":4,"room":"r","user":"h","for_ms":10}"#;
        assert_eq!(cluster.ask(owner, other)["type"], "ok");
        cluster.wait(11);
        let late = cluster.open_as(0, "h", |_| {});
        assert_eq!(cluster.read(late).len(), 1, "its time is over");
    }
}

#[test]
fn an_invitation_gives_no_more_than_its_host_has_and_takes_nothing_away() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = cluster.user(0, "o");
        let (host, guest) = (cluster.user(cores - 1, "h"), cluster.user(0, "g"));
        let create = r#"{"type":"room.create","id":1,"room":"r"}"#;
        assert_eq!(cluster.ask(owner, create)["role"], "owner");
        let give = r#"{"type":"room.role","id":2,"room":"r","user":"h","role":"moderator"}"#;
        assert_eq!(cluster.ask(owner, give)["type"], "ok");
        let invite = |cluster: &mut Cluster, by, user: &str, role: &str| {
            let invite = format!(
                r#"{{"type":"room.invite","id":3,"room":"r","user":"{user}","role":"{role}"}}"#
            );
            let answer = cluster.ask(by, &invite);
            if answer["type"] == "ok" { answer["type"].clone() } else { answer["code"].clone() }
        };
        for role in ["owner", "admin", "moderator"] {
            assert_eq!(invite(&mut cluster, host, "g", role), "forbidden", "{role}");
        }
        assert_eq!(invite(&mut cluster, owner, "g", "owner"), "forbidden");
        let join = r#"{"type":"join","id":4,"room":"r"}"#;
        assert_eq!(cluster.ask(guest, join)["role"], "guest");
        for (by, role, becomes) in
            [(host, "member", "member"), (owner, "admin", "admin"), (host, "guest", "admin")]
        {
            assert_eq!(invite(&mut cluster, by, "g", role), "ok");
            cluster.read(guest);
            assert_eq!(cluster.ask(guest, join)["role"], becomes, "invited as {role}");
        }
        assert_eq!(invite(&mut cluster, host, "o", "guest"), "ok");
        cluster.read(owner);
        assert_eq!(cluster.ask(owner, join)["role"], "owner");
    }
}

#[test]
fn a_credential_that_grants_moderation_makes_nobody_the_owner_and_ends_with_a_ban() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = cluster.user(0, "o");
        let keeper = cluster.open_granted(cores - 1, "k", Arc::new(Keeper), |_| {});
        cluster.read(keeper);
        let create = r#"{"type":"room.create","id":1,"room":"r"}"#;
        assert_eq!(cluster.ask(owner, create)["role"], "owner");
        let act = |cluster: &mut Cluster, by, command: &str, user: &str, role: &str| {
            let role = if role.is_empty() { String::new() } else { format!(r#","role":"{role}""#) };
            let text =
                format!(r#"{{"type":"room.{command}","id":2,"room":"r","user":"{user}"{role}}}"#);
            let answer = cluster.ask(by, &text);
            if answer["type"] == "ok" { answer["type"].clone() } else { answer["code"].clone() }
        };
        for (command, user, role, told) in [
            ("role", "k", "owner", "forbidden"),
            ("role", "k", "admin", "forbidden"),
            ("role", "o", "guest", "forbidden"),
            ("role", "u", "owner", "forbidden"),
            ("invite", "u", "owner", "forbidden"),
            ("invite", "u", "admin", "forbidden"),
            ("role", "u", "moderator", "ok"),
            ("invite", "v", "moderator", "ok"),
            // Order is kept with the owner as with everyone.
            ("mute", "o", "", "ok"),
            ("unmute", "o", "", "ok"),
            ("kick", "o", "", "ok"),
        ] {
            let answer = act(&mut cluster, keeper, command, user, role);
            assert_eq!(answer, told, "{command} {user} {role}");
        }
        cluster.read(owner);
        assert_eq!(act(&mut cluster, owner, "ban", "k", ""), "ok", "the owner is the owner");
        for (command, user, role) in
            [("role", "u", "member"), ("mute", "o", ""), ("unban", "k", ""), ("ban", "o", "")]
        {
            let answer = act(&mut cluster, keeper, command, user, role);
            assert_eq!(answer, "banned", "{command} {user} {role}");
        }
        assert_eq!(act(&mut cluster, owner, "unban", "k", ""), "ok");
        assert_eq!(act(&mut cluster, keeper, "mute", "u", ""), "ok");
    }
}

#[test]
fn an_invitation_ends_with_its_room_and_with_any_way_in() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = cluster.user(0, "o");
        let ask = |cluster: &mut Cluster, at, text: &str| {
            let answer = cluster.ask(at, text);
            assert_eq!(answer["type"], "ok", "{text}: {answer}");
        };
        let invited = |cluster: &mut Cluster| {
            let at = cluster.open_as(cores - 1, "g", |_| {});
            let told = cluster.read(at);
            cluster.lose(at);
            told.iter().filter(|it| it["change"] == "invited").count()
        };
        let create = |more: &str| {
            format!(
                r#"{{"type":"room.create","id":1,"room":"r","config":{{"type":"public"{more}}}}}"#
            )
        };
        let invite = r#"{"type":"room.invite","id":2,"room":"r","user":"g"}"#;
        ask(&mut cluster, owner, &create(r#","persistent":true"#));
        ask(&mut cluster, owner, invite);
        assert_eq!(invited(&mut cluster), 1);
        ask(&mut cluster, owner, r#"{"type":"room.delete","id":3,"room":"r"}"#);
        assert_eq!(invited(&mut cluster), 0, "the room was deleted");
        // A temporary one goes with its last member.
        ask(&mut cluster, owner, r#"{"type":"join","id":4,"room":"r"}"#);
        ask(&mut cluster, owner, invite);
        assert_eq!(invited(&mut cluster), 1);
        ask(&mut cluster, owner, r#"{"type":"leave","id":5,"room":"r"}"#);
        cluster.wait(400_000);
        assert_eq!(invited(&mut cluster), 0, "nobody is in the room");
        assert!(cluster.shards.iter().all(|shard| shard.invitations.is_empty()));
    }
}

#[test]
fn who_makes_configures_and_ends_a_room_stands_in_the_audit_trail() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let (owner, other) = (cluster.user(0, "o"), cluster.user(cores - 1, "b"));
        let act = |kind: &str| {
            format!(r#"{{"type":"room.{kind}","id":1,"room":"r","config":{{"max_members":9}}}}"#)
        };
        for (at, kind, told) in [
            (owner, "create", "ok"),
            (other, "create", "error"),
            (other, "update", "error"),
            (owner, "update", "ok"),
            (other, "delete", "error"),
            (owner, "delete", "ok"),
        ] {
            assert_eq!(cluster.ask(at, &act(kind))["type"], told, "{kind}");
        }
        let records = cluster.effects.iter().flat_map(|effects| &effects.records);
        let records: Vec<_> = records.map(|it| serde_json::to_value(it).unwrap()).collect();
        let said: Vec<_> = records.iter().map(|it| it["action"].as_str().unwrap()).collect();
        assert_eq!(said, ["room.create", "room.update", "room.delete"]);
        for record in records {
            assert_eq!((&record["room"], &record["by"]["user"]), (&"r".into(), &"o".into()));
        }
    }
}

#[test]
fn slow_mode_holds_for_a_user_whatever_the_connection() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let (one, two) = (cluster.user(0, "u"), cluster.user(cores - 1, "u"));
        let (a, b) = (cluster.open(0), cluster.open(cores - 1));
        let create = r#"{"type":"room.create","id":1,"room":"r","config":{"slow_mode_ms":500}}"#;
        assert_eq!(cluster.ask(one, create)["type"], "ok");
        let publish = |cluster: &mut Cluster, at| {
            cluster.send(at, r#"{"type":"join","id":2,"room":"r"}"#);
            let say = r#"{"type":"publish","id":3,"room":"r","data":1,"exclude_self":true}"#;
            cluster.send(at, say);
            let seen = cluster.read(at);
            seen.iter().find(|it| it["id"] == 3).unwrap()["retry_after_ms"].clone()
        };
        let nothing = serde_json::Value::Null;
        assert_eq!(publish(&mut cluster, one), nothing);
        assert_eq!(publish(&mut cluster, two), 500);
        // Nobody knows that two anonymous ones are one.
        assert_eq!(
            (publish(&mut cluster, a), publish(&mut cluster, b)),
            (nothing.clone(), nothing.clone())
        );
        cluster.wait(500);
        assert_eq!(publish(&mut cluster, two), nothing);
    }
}

#[test]
fn slow_mode_holds_for_who_leaves_and_comes_again_and_for_who_publishes_from_outside() {
    #[derive(Debug)]
    struct Herald;
    impl Permit for Herald {
        fn allows(&self, right: Right, _on: &str) -> bool {
            right == Right::Publish
        }
        fn allows_from_outside(&self, right: Right, _on: &str) -> bool {
            right == Right::Publish
        }
    }
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = cluster.user(0, "o");
        let create = r#"{"type":"room.create","id":1,"room":"r","config":{"slow_mode_ms":500}}"#;
        assert_eq!(cluster.ask(owner, create)["type"], "ok");
        assert_eq!(cluster.ask(owner, r#"{"type":"join","id":2,"room":"r"}"#)["type"], "ok");
        let herald = cluster.open_granted(cores - 1, "h", Arc::new(Herald), |_| {});
        let anonymous = cluster.open(cores - 1);
        cluster.read(herald);
        let publish = |cluster: &mut Cluster, at| {
            let say = r#"{"type":"publish","id":3,"room":"r","data":1,"exclude_self":true}"#;
            cluster.ask(at, say)["retry_after_ms"].clone()
        };
        let again = |cluster: &mut Cluster| {
            cluster.send(anonymous, r#"{"type":"leave","room":"r"}"#);
            cluster.send(anonymous, r#"{"type":"join","room":"r"}"#);
            publish(cluster, anonymous)
        };
        cluster.send(anonymous, r#"{"type":"join","room":"r"}"#);
        assert!(publish(&mut cluster, anonymous).is_null());
        assert_eq!(again(&mut cluster), 500);
        assert!(publish(&mut cluster, herald).is_null());
        assert_eq!(publish(&mut cluster, herald), 500, "from outside");
        cluster.wait(500);
        assert!(again(&mut cluster).is_null());
        assert!(publish(&mut cluster, herald).is_null());
    }
}

#[test]
fn what_may_not_be_said_is_hidden_or_refused_and_costs_nothing() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let (owner, other) = (cluster.user(0, "o"), cluster.user(cores - 1, "b"));
        let create = r#"{"type":"room.create","id":1,"room":"r","config":{"slow_mode_ms":500,
            "word_filter":{"words":["heck"],"patterns":["[0-9]{4}"],"action":"mask"}}}"#;
        assert_eq!(cluster.ask(owner, create)["type"], "ok");
        for at in [owner, other] {
            cluster.send(at, r#"{"type":"join","id":2,"room":"r"}"#);
        }
        cluster.read(owner);
        cluster.read(other);
        let say = r#"{"type":"publish","id":3,"room":"r","data":{"heck":["oh Heck", 1.50, "call 12345"]},"exclude_self":true}"#;
        assert_eq!(cluster.ask(owner, say)["offset"], 1);
        let told = cluster.read(other);
        assert_eq!(told[0]["data"].to_string(), r#"{"heck":["oh ****",1.5,"call ****5"]}"#);
        let page = cluster.ask(other, r#"{"type":"history","id":4,"room":"r"}"#);
        assert_eq!(page["type"], "ok", "{page}");
        // From then on it is refused, and a refusal is not what slow mode waits for.
        let update = r#"{"type":"room.update","id":5,"room":"r","config":{
            "word_filter":{"words":["heck"],"action":"block"}}}"#;
        assert_eq!(cluster.ask(owner, update)["type"], "ok");
        cluster.read(other);
        for (text, told) in [("heck", "forbidden"), ("HECK no", "forbidden"), ("check", "ok")] {
            let say = format!(
                r#"{{"type":"publish","id":6,"room":"r","data":"{text}","exclude_self":true}}"#
            );
            let answer = cluster.ask(other, &say);
            let what = if answer["type"] == "ok" { &answer["type"] } else { &answer["code"] };
            assert_eq!(what, told, "{text}: {answer}");
        }
    }
}

#[test]
fn who_could_not_join_a_room_does_not_hear_it_through_a_pattern_either() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let far = cores - 1;
        let from = |address: &str| Some(address.parse().unwrap());
        let owner = cluster.user(0, "o");
        let member = cluster.user(far, "m");
        let bad = cluster.open_as(far, "b", |it| it.address = from("10.0.0.2"));
        for at in [member, bad] {
            cluster.read(at);
            let subscribe = r#"{"type":"subscribe","id":1,"pattern":"x:**"}"#;
            assert_eq!(cluster.ask(at, subscribe)["type"], "ok");
        }
        let create = |room: &str, kind: &str| {
            format!(
                r#"{{"type":"room.create","id":1,"room":"{room}","config":{{"type":"{kind}"}}}}"#
            )
        };
        for (room, kind) in [("x:open", "public"), ("x:closed", "private")] {
            assert_eq!(cluster.ask(owner, &create(room, kind))["type"], "ok");
            let join = format!(r#"{{"type":"join","id":2,"room":"{room}"}}"#);
            assert_eq!(cluster.ask(owner, &join)["type"], "ok");
        }
        let hear = |cluster: &mut Cluster, room: &str| {
            let publish = format!(
                r#"{{"type":"publish","id":3,"room":"{room}","data":1,"exclude_self":true}}"#
            );
            assert_eq!(cluster.ask(owner, &publish)["type"], "ok");
            let count = |messages: Vec<serde_json::Value>| {
                messages.iter().filter(|it| it["type"] == "message").count()
            };
            [count(cluster.read(member)), count(cluster.read(bad))]
        };
        assert_eq!(hear(&mut cluster, "x:open"), [1, 1]);
        assert_eq!(hear(&mut cluster, "x:closed"), [0, 0], "they are no members");
        let role = r#"{"type":"room.role","id":4,"room":"x:closed","user":"m","role":"member"}"#;
        assert_eq!(cluster.ask(owner, role)["type"], "ok");
        cluster.read(member);
        assert_eq!(hear(&mut cluster, "x:closed"), [1, 0]);
        for whom in [r#""user":"b""#, r#""ip":"10.0.0.2""#] {
            let ban = format!(r#"{{"type":"room.ban","id":5,"room":"x:open",{whom}}}"#);
            assert_eq!(cluster.ask(owner, &ban)["type"], "ok");
            assert_eq!(hear(&mut cluster, "x:open"), [1, 0], "banned");
            let unban = format!(r#"{{"type":"room.unban","id":6,"room":"x:open",{whom}}}"#);
            assert_eq!(cluster.ask(owner, &unban)["type"], "ok");
            assert_eq!(hear(&mut cluster, "x:open"), [1, 1], "and let in again");
        }
    }
}

/// What a backlog between two cores had to leave out of a room is told to those who hear it by a
/// pattern, and to nobody who does not.
#[test]
fn what_was_left_out_between_cores_is_told_to_those_who_would_have_heard_it() {
    let mut cluster = Cluster::new(3, Config::default());
    let owner = cluster.user(0, "o");
    let [member, other, bad] = ["m", "p", "b"].map(|user| cluster.user(2, user));
    for (at, pattern) in [(member, "x:**"), (other, "y:**"), (bad, "x:**")] {
        cluster.ask(at, &format!(r#"{{"type":"subscribe","id":1,"pattern":"{pattern}"}}"#));
    }
    let join = cluster.ask(owner, r#"{"type":"join","id":1,"room":"x:r"}"#);
    let ban = r#"{"type":"room.ban","id":2,"room":"x:r","user":"b"}"#;
    assert_eq!(cluster.ask(owner, ban)["type"], "ok");
    for at in [member, other, bad] {
        cluster.read(at);
    }
    let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("x:r").unwrap());
    let home = cluster.shards[0].home_core(&room);
    let guard = cluster.shards[home.index()].homes.get_mut(&room).unwrap().guard();
    assert!(guard.is_some(), "somebody is banned");
    let epoch: Arc<str> = join["epoch"].as_str().unwrap().into();
    let lost = |from, to| {
        let (room, epoch, guard) = (room.clone(), epoch.clone(), guard.clone());
        CoreMessage::from(ToHub::Overrun { room, epoch, from, to, guard })
    };
    // Of transient messages nothing is said.
    for message in [lost(1, 4), lost(0, 0)] {
        cluster.input(member, Input::Core { from: home, message });
    }
    let told = cluster.read(member);
    assert_eq!(told.len(), 1, "{told:?}");
    let gap = &told[0];
    assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"overload".into()), "{gap}");
    assert_eq!((&gap["from"], &gap["to"], &gap["epoch"]), (&1.into(), &4.into(), &join["epoch"]));
    assert!(cluster.read(other).is_empty(), "another pattern");
    assert!(cluster.read(bad).is_empty(), "banned");
    // Ranges of which others may hear are not joined.
    let mut range = lost(5, 6);
    assert!(range.absorb(lost(7, 7)).is_ok());
    let (room, epoch) = (room.clone(), epoch.clone());
    let open = ToHub::Overrun { room, epoch, from: 8, to: 8, guard: None };
    assert!(range.absorb(open.into()).is_err());
}

#[test]
fn who_was_sent_out_is_not_brought_back_by_a_session_that_waited() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let far = cores - 1;
        let owner = cluster.user(0, "o");
        let join = |room: &str| format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#);
        let kick = r#"{"type":"room.kick","id":2,"room":"r","user":"b"}"#;
        let rooms = |cluster: &mut Cluster, at| {
            let welcome = cluster.read(at).swap_remove(0);
            assert_eq!(welcome["type"], "welcome", "{welcome}");
            let rooms = welcome["rooms"].as_array().unwrap().iter();
            let mut rooms: Vec<_> =
                rooms.map(|it| it["room"].as_str().unwrap().to_owned()).collect();
            rooms.sort();
            (rooms, welcome["session"].as_str().unwrap().to_owned())
        };
        cluster.ask(owner, &join("r"));
        let away = cluster.open_as(far, "b", |_| {});
        let (_, session) = rooms(&mut cluster, away);
        for room in ["r", "s"] {
            assert_eq!(cluster.ask(away, &join(room))["type"], "ok");
        }
        cluster.lose(away);
        assert_eq!(cluster.ask(owner, kick)["type"], "ok");
        let back = cluster.open_as(far, "b", |opened| opened.session = Some(session.into()));
        let (there, session) = rooms(&mut cluster, back);
        assert_eq!(there, ["s"], "and the room they were not sent out of");
        let publish = r#"{"type":"publish","id":3,"room":"r","data":1,"exclude_self":true}"#;
        assert_eq!(cluster.ask(owner, publish)["type"], "ok");
        assert!(cluster.read(back).is_empty(), "nothing of it is heard any more");

        // A kick is no ban, and once they have come anew their session keeps the room again.
        assert_eq!(cluster.ask(back, &join("r"))["type"], "ok");
        cluster.lose(back);
        let again = cluster.open_as(0, "b", |opened| opened.session = Some(session.into()));
        assert_eq!(rooms(&mut cluster, again).0, ["r", "s"]);
    }
}

/// One right, everywhere.
#[derive(Debug)]
struct Only(Right);

impl Permit for Only {
    fn allows(&self, right: Right, _on: &str) -> bool {
        right == self.0
    }

    fn allows_from_outside(&self, right: Right, on: &str) -> bool {
        self.allows(right, on)
    }
}

#[test]
fn a_right_to_govern_needs_no_right_to_join() {
    let mut cluster = Cluster::new(2, Config::default());
    let owner = cluster.user(0, "owner");
    assert_eq!(cluster.ask(owner, r#"{"type":"room.create","room":"r","id":1}"#)["type"], "ok");
    let mut whoever = |right| {
        let identity = Identity {
            user: Some("x".into()),
            permit: Arc::new(Only(right)),
            ..Identity::anonymous()
        };
        cluster.shards[1].assume(Arc::new(identity));
        let at = cluster.open_with(1, |_| {});
        cluster.shards[1].assume(Arc::new(Identity::anonymous()));
        cluster.read(at);
        [
            r#"{"type":"room.mute","room":"r","user":"eve","id":1}"#,
            r#"{"type":"room.update","room":"r","config":{"slow_mode_ms":9},"id":2}"#,
            r#"{"type":"room.info","room":"r","id":3}"#,
        ]
        .map(|command| cluster.ask(at, command)["type"] == "ok")
    };
    assert_eq!(whoever(Right::Moderate), [true, false, false]);
    assert_eq!(whoever(Right::Configure), [false, true, false]);
    assert_eq!(whoever(Right::Join), [false, false, true]);
    assert_eq!(whoever(Right::Publish), [false, false, false]);
}

#[test]
fn who_is_banned_governs_nothing_by_any_right() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = cluster.user(0, "owner");
        let permit = Arc::new(Only(Right::Configure));
        let other = cluster.open_granted(cores - 1, "x", permit, |_| {});
        cluster.read(other);
        let create = r#"{"type":"room.create","room":"r","id":1,"config":{"persistent":true}}"#;
        assert_eq!(cluster.ask(owner, create)["type"], "ok");
        let update = r#"{"type":"room.update","room":"r","config":{"slow_mode_ms":9},"id":2}"#;
        let delete = r#"{"type":"room.delete","room":"r","id":3}"#;
        assert_eq!(cluster.ask(other, update)["type"], "ok");
        let ban = r#"{"type":"room.ban","room":"r","user":"x","id":4}"#;
        assert_eq!(cluster.ask(owner, ban)["type"], "ok");
        for command in [update, delete] {
            assert_eq!(cluster.ask(other, command)["code"], "banned", "{command}");
        }
        let unban = r#"{"type":"room.unban","room":"r","user":"x","id":5}"#;
        assert_eq!(cluster.ask(owner, unban)["type"], "ok");
        for command in [update, delete] {
            assert_eq!(cluster.ask(other, command)["type"], "ok", "{command}");
        }
    }
}
