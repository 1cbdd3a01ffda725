//! Who is let in, as whom, how long, and what each bad credential gets.

use std::path::Path;

use serde_json::json;

use crate::server::{Plan, Server, folder};
use crate::talk::{Talk, now, room_token, token};

pub(crate) const SECRET: &str = "a secret that only the two of us know, or so I hope";
pub(crate) const OTHER_SECRET: &str = "another secret that is quite as long as the first one";

/// A server that checks tokens; `more` is appended to its configuration.
pub(crate) fn server(cores: u16, more: &str) -> Server {
    plan(cores, more).start()
}

/// The same, which keeps what the operator decides in a file.
pub(crate) fn plan_keeping(cores: u16, more: &str, state: &Path) -> Plan {
    plan(cores, more).set(&format!("control.state_file={}", state.display()))
}

fn plan(cores: u16, more: &str) -> Plan {
    let folder = folder();
    for (name, secret) in [("secret", SECRET), ("other", OTHER_SECRET)] {
        std::fs::write(folder.join(name), secret).unwrap();
    }
    let operator = folder.join("operator");
    std::fs::write(&operator, OPERATOR).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\n[control]\ntoken_file = {:?}\n[auth.jwt]\nsecret_file = {:?}\n{}",
        operator.display().to_string(),
        path("secret"),
        more.replace("OTHER_FILE", &path("other"))
    );
    Plan::new().listeners(&config).set(&format!("cores.count={cores}"))
}

/// What the operator shows.
pub(crate) const OPERATOR: &str = "operator-token-0123456789";

fn ann() -> String {
    token(SECRET, json!({ "sub": "ann" }))
}

#[test]
fn each_place_of_a_credential_serves_and_says_who_it_is() {
    let server = server(1, "");
    let token = ann();
    for (target, header) in [
        ("/ws".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        (format!("/ws?token={token}"), String::new()),
        (
            "/ws".to_owned(),
            format!("Sec-WebSocket-Protocol: ringroom.v1.json, ringroom.token.{token}\r\n"),
        ),
        (format!("/ws?token={token}&tenant=default"), String::new()),
    ] {
        let mut talk = Talk::try_open(server.address(), &target, &header)
            .unwrap_or_else(|refused| panic!("{target} {header}: {}", refused.text()));
        let welcome = talk.hear();
        assert_eq!((&welcome["user"], &welcome["tenant"]), (&json!("ann"), &json!("default")));
        assert!(welcome["expires_at"].as_u64().unwrap() > now() * 1_000);
    }
}

#[test]
fn each_bad_credential_in_a_request_is_refused_by_name() {
    let server = server(1, "");
    let good = ann();
    let bearer = |token: &str| ("/ws".to_owned(), format!("Authorization: Bearer {token}\r\n"));
    let expired = token(SECRET, json!({ "sub": "ann", "exp": now() - 120 }));
    let early = token(SECRET, json!({ "sub": "ann", "nbf": now() + 600 }));
    let nowhere = token(SECRET, json!({ "sub": "ann", "tenant": "nowhere" }));
    for ((target, header), status, reason) in [
        (bearer("nonsense"), 401, Some("unsupported")),
        (bearer(&token(OTHER_SECRET, json!({ "sub": "ann" }))), 401, Some("signature")),
        (bearer(&expired), 401, Some("expired")),
        (bearer(&early), 401, Some("not_yet")),
        (bearer(&nowhere), 401, Some("unknown_tenant")),
        ((format!("/ws?token={good}&tenant=other"), String::new()), 403, None),
        (("/ws".to_owned(), "Authorization: Bearer \r\n".to_owned()), 401, None),
        ((format!("/ws?token={good}"), "Authorization: Bearer x.y.z\r\n".to_owned()), 400, None),
        ((format!("/ws?token={good}&token={good}"), String::new()), 400, None),
    ] {
        let refused = Talk::try_open(server.address(), &target, &header).expect_err("a refusal");
        assert_eq!(refused.status, status, "{target} {header}: {}", refused.text());
        let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        if let Some(reason) = reason {
            assert_eq!(body["error"]["reason"], reason, "{body}");
        }
        assert!(!refused.text().contains(&good[..20]), "nothing of it comes back");
    }
    assert!(server.metric("ringroom_credentials_refused_total", "") >= 5.0);
}

#[test]
fn the_first_message_says_who_it_is_or_time_runs_out() {
    let server = server(1, "[auth]\ntimeout_ms = 400\n");
    let open = || Talk::try_open(server.address(), "/ws/lobby", "").expect("the upgrade");
    let mut talk = open();
    assert_eq!(talk.hear(), json!({ "type": "auth_required", "within_ms": 400 }));
    assert_eq!(talk.ask(json!({ "type": "join", "room": "a" }))["code"], "unauthorized");
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong");
    let answer = talk.ask(json!({ "type": "auth", "token": ann() }));
    assert_eq!((&answer["type"], &answer["user"]), (&json!("ok"), &json!("ann")));
    let welcome = talk.hear();
    assert_eq!(
        (&welcome["type"], &welcome["rooms"][0]["room"]),
        (&json!("welcome"), &json!("lobby"))
    );
    assert_eq!(talk.ask(json!({ "type": "rooms" }))["rooms"].as_array().unwrap().len(), 1);

    let mut late = open();
    assert_eq!(late.closed(), ("auth_timeout".to_owned(), 1008));
    let mut wrong = open();
    wrong.say(&json!({ "type": "auth", "token": "nonsense" }));
    assert_eq!(wrong.closed(), ("auth_failed".to_owned(), 1008));
}

#[test]
fn a_token_that_runs_out_is_told_of_refreshed_or_the_end() {
    let more = "[auth]\nexpiring_ms = 60_000\nleeway_ms = 0\n";
    let server = server(1, more);
    let soon = || token(SECRET, json!({ "sub": "ann", "exp": now() + 3 }));
    let mut talk = Talk::bearer(server.address(), &soon());
    assert!(talk.hear_of("expiring")["at"].as_u64().unwrap() > now() * 1_000);
    let mut other = Talk::bearer(server.address(), &soon());
    let answer = talk.ask(json!({ "type": "auth", "token": ann() }));
    assert!(answer["expires_at"].as_u64().unwrap() > (now() + 3_000) * 1_000, "{answer}");
    assert_eq!(other.closed(), ("token_expired".to_owned(), 1008));
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong", "it goes on");
    let bob = token(SECRET, json!({ "sub": "bob" }));
    assert_eq!(talk.ask(json!({ "type": "auth", "token": bob }))["code"], "forbidden");
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong", "nothing has changed");
}

#[test]
fn narrower_rights_end_what_they_do_not_allow() {
    let server = server(2, "");
    let limited = |rooms: &[&str]| {
        let rooms: serde_json::Value =
            rooms.iter().map(|room| ((*room).to_owned(), json!(["join", "publish"]))).collect();
        token(SECRET, json!({ "sub": "ann", "permissions": [], "rooms": rooms }))
    };
    let mut talk = Talk::bearer(server.address(), &limited(&["a", "b"]));
    for room in ["a", "b"] {
        assert_eq!(talk.ask(json!({ "type": "join", "room": room }))["type"], "ok");
    }
    assert_eq!(talk.ask(json!({ "type": "join", "room": "c" }))["code"], "forbidden");
    assert_eq!(talk.ask(json!({ "type": "auth", "token": limited(&["b"]) }))["type"], "ok");
    let left = talk.hear_of("left");
    assert_eq!((&left["room"], &left["reason"]), (&json!("a"), &json!("permission_revoked")));
    let rooms = talk.ask(json!({ "type": "rooms" }));
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 1, "{rooms}");
    assert_eq!(talk.ask(json!({ "type": "publish", "room": "a", "data": 1 }))["code"], "forbidden");
    assert_eq!(talk.ask(json!({ "type": "publish", "room": "b", "data": 1 }))["type"], "ok");
}

#[test]
fn claims_join_rooms_and_say_who_is_there() {
    let server = server(2, "");
    let claims = json!({ "sub": "ann", "join": ["news", "team/a"], "info": { "name": "Ann" } });
    let mut talk = Talk::by(server.address(), &token(SECRET, claims));
    let welcome = talk.hear();
    let mut rooms: Vec<_> = welcome["rooms"].as_array().unwrap().iter().collect();
    rooms.sort_by_key(|room| room["room"].to_string());
    assert_eq!(rooms.len(), 2, "{welcome}");
    assert_eq!((&rooms[0]["room"], &rooms[1]["room"]), (&json!("news"), &json!("team/a")));
    let present = talk.ask(json!({ "type": "presence", "room": "news" }));
    assert_eq!(present["users"][0]["info"], json!({ "name": "Ann" }), "{present}");
}

#[test]
fn a_room_token_lets_into_its_room_and_no_other() {
    let server = server(2, "");
    let mut owner = Talk::bearer(server.address(), &ann());
    for room in ["secret", "other"] {
        let config = json!({ "type": "protected", "password": "sesame-sesame" });
        let answer = owner.ask(json!({ "type": "room.create", "room": room, "config": config }));
        assert_eq!(answer["type"], "ok", "{answer}");
    }
    let mut bob = Talk::bearer(server.address(), &token(SECRET, json!({ "sub": "bob" })));
    let grant =
        room_token(SECRET, &json!({ "room": "secret", "role": "member", "exp": now() + 60 }));
    let join = |room: &str, token: &str| json!({ "type": "join", "room": room, "token": token });
    let refused = bob.ask(json!({ "type": "join", "room": "secret" }));
    assert_eq!(refused["type"], "error", "{refused}");
    assert_eq!(bob.ask(join("other", &grant))["code"], "forbidden");
    assert_eq!(bob.ask(join("secret", "nonsense"))["code"], "forbidden");
    assert_eq!(bob.ask(join("secret", &ann()))["code"], "forbidden", "it says who, not where");
    let joined = bob.ask(join("secret", &grant));
    assert_eq!((&joined["type"], &joined["role"]), (&json!("ok"), &json!("member")), "{joined}");
    let by_word = json!({ "type": "join", "room": "other", "password": "sesame-sesame" });
    assert_eq!(bob.ask(by_word)["type"], "ok");
}

#[test]
fn who_came_by_a_room_token_stays_over_a_refresh_and_a_return() {
    let server = server(2, "");
    let mut owner = Talk::bearer(server.address(), &ann());
    for (room, kind) in [("hidden", "private"), ("open", "public")] {
        let create = json!({ "type": "room.create", "room": room, "config": { "type": kind } });
        assert_eq!(owner.ask(create)["type"], "ok");
    }
    // Bob may join nothing but `open` by himself, and later not even that.
    let rights = |rooms: serde_json::Value| token(SECRET, json!({ "sub": "bob", "rooms": rooms }));
    let some = rights(json!({ "open": ["join", "publish"], "hidden": ["publish"] }));
    let none = rights(json!({ "hidden": ["publish"] }));
    let mut bob = Talk::by(server.address(), &some);
    let session = bob.hear()["session"].as_str().unwrap().to_owned();
    assert_eq!(bob.ask(json!({ "type": "join", "room": "open" }))["type"], "ok");
    assert_eq!(bob.ask(json!({ "type": "join", "room": "hidden" }))["code"], "forbidden");
    let grant = room_token(SECRET, &json!({ "room": "hidden", "exp": now() + 60 }));
    let join = json!({ "type": "join", "room": "hidden", "token": grant });
    assert_eq!(bob.ask(join)["type"], "ok");
    let rooms = |talk: &mut Talk| {
        let rooms = talk.ask(json!({ "type": "rooms" }));
        let names = rooms["rooms"].as_array().unwrap().iter().map(|it| it["room"].to_string());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(bob.ask(json!({ "type": "auth", "token": some }))["type"], "ok");
    assert_eq!(rooms(&mut bob), ["\"hidden\"", "\"open\""]);
    assert_eq!(bob.ask(json!({ "type": "auth", "token": none }))["type"], "ok");
    let left = bob.hear_of("left");
    assert_eq!((&left["room"], &left["reason"]), (&json!("open"), &json!("permission_revoked")));
    assert_eq!(rooms(&mut bob), ["\"hidden\""]);
    drop(bob);
    let header = format!("Authorization: Bearer {none}\r\n");
    let mut back =
        Talk::try_open(server.address(), &format!("/ws?session={session}"), &header).unwrap();
    let welcome = back.hear();
    assert_eq!(
        (&welcome["recovered"], &welcome["rooms"][0]["room"]),
        (&json!(true), &json!("hidden"))
    );
    let kick = json!({ "type": "room.kick", "room": "hidden", "user": "bob" });
    assert_eq!(owner.ask(kick)["type"], "ok");
    assert_eq!(back.hear_of("left")["reason"], "kicked");
    assert_eq!(back.ask(json!({ "type": "join", "room": "hidden" }))["code"], "forbidden");
}

#[test]
fn anonymous_clients_come_in_where_they_may_and_do_what_they_may() {
    let more = "[auth]\nanonymous = true\nanonymous_permissions = [\"join\"]\n";
    let server = server(1, more);
    let mut talk = Talk::try_open(server.address(), "/ws/lobby", "").expect("the upgrade");
    let welcome = talk.hear();
    assert_eq!((&welcome["type"], &welcome["user"]), (&json!("welcome"), &json!(null)));
    let publish = json!({ "type": "publish", "room": "lobby", "data": 1 });
    assert_eq!(talk.ask(publish)["code"], "forbidden");
    let header = "Authorization: Bearer nonsense\r\n";
    let refused = Talk::try_open(server.address(), "/ws", header).expect_err("a refusal");
    assert_eq!(refused.status, 401, "a bad credential is none the less bad");
}

#[test]
fn one_connection_too_many_of_a_user_is_refused_or_replaces_the_oldest() {
    for (policy, cores) in [("refuse", 2), ("replace_oldest", 2)] {
        let more = format!("[limits]\nconnections_per_user = 2\nuser_overflow = \"{policy}\"\n");
        let server = server(cores, &more);
        let mut first = Talk::bearer(server.address(), &ann());
        let _second = Talk::bearer(server.address(), &ann());
        let mut third = Talk::by(server.address(), &ann());
        if policy == "refuse" {
            assert_eq!(third.closed(), ("connection_limit".to_owned(), 1008));
            assert_eq!(first.ask(json!({ "type": "ping" }))["type"], "pong");
        } else {
            assert_eq!(third.hear()["type"], "welcome");
            assert_eq!(first.closed(), ("replaced".to_owned(), 1008));
        }
        let bob = token(SECRET, json!({ "sub": "bob" }));
        let _other = Talk::bearer(server.address(), &bob);
    }
}

#[test]
fn an_address_with_many_bad_credentials_is_shut_out_for_a_time() {
    let more = "[admission]\nbad_credentials_per_minute = 5\nban_ms = 4_000\n";
    let server = server(1, more);
    let mut held = Talk::bearer(server.address(), &ann());
    let header = "Authorization: Bearer nonsense\r\n";
    let statuses: Vec<u16> = (0..6)
        .map(|_| Talk::try_open(server.address(), "/ws", header).expect_err("refused").status)
        .collect();
    assert_eq!(statuses, [401; 6]);
    let shut_out =
        crate::http::exchange(server.address(), crate::client::head("/ws", "").as_bytes());
    assert!(shut_out.is_none(), "it is not even answered");
    assert!(server.metric("ringroom_refusals_total", "banned") >= 1.0);
    assert_eq!(held.ask(json!({ "type": "ping" }))["type"], "pong", "who is in stays in");
    crate::server::eventually("it is let in again", || {
        let head = crate::client::head("/ws", &format!("Authorization: Bearer {}\r\n", ann()));
        let answer = crate::http::exchange(server.address(), head.as_bytes());
        answer.is_some_and(|answer| answer.status == 101)
    });
}
