//! Whom the operator, a room or the server itself shuts out, and what a restart does not forget.

use std::time::Duration;

use serde_json::{Value, json};

use crate::identity::{SECRET, plan_keeping, server};
use crate::operator::operate;
use crate::server::{Server, folder};
use crate::talk::{Talk, token};

fn user(name: &str, id: &str) -> String {
    token(SECRET, json!({ "sub": name, "jti": id }))
}

fn bearer(name: &str, id: &str) -> String {
    format!("Authorization: Bearer {}\r\n", user(name, id))
}

fn refused(server: &Server, headers: &str) -> (u16, Value) {
    let response = Talk::try_open(server.address(), "/ws", headers).expect_err("a refusal");
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

#[test]
fn a_user_whom_the_operator_bans_is_closed_on_every_core_and_kept_out_until_it_is_lifted() {
    let server = server(4, "");
    let address = server.address();
    let mut anns: Vec<Talk> = (0..4).map(|_| Talk::bearer(address, &user("ann", "t1"))).collect();
    let mut bob = Talk::bearer(address, &user("bob", "t2"));
    let ban = json!({ "user": "ann", "for_ms": 600_000, "reason": "threats" });
    let (status, done) = operate(&server, "POST", "/v1/bans", &ban);
    assert_eq!((status, &done["closed"]), (200, &json!(4)), "{done}");
    for ann in &mut anns {
        assert_eq!(ann.closed(), ("banned".to_owned(), 1008));
    }
    // Unlike a revocation, whatever credential she gets.
    let (status, told) = refused(&server, &bearer("ann", "new"));
    assert_eq!((status, &told["error"]["code"]), (403, &json!("banned")));
    let mut late = Talk::try_open(address, "/ws", "").expect("she may say who she is");
    assert_eq!(late.hear()["type"], "auth_required");
    late.say(&json!({ "type": "auth", "token": user("ann", "new") }));
    assert_eq!(late.closed(), ("banned".to_owned(), 1008));
    assert_eq!(bob.ask(json!({ "type": "ping" }))["type"], "pong", "others go on");

    let (_, list) = operate(&server, "GET", "/v1/bans", &Value::Null);
    assert_eq!(list["bans"][0]["banned"]["user"], json!({ "tenant": "default", "user": "ann" }));
    let (status, _) = operate(&server, "DELETE", "/v1/bans?user=ann", &Value::Null);
    assert_eq!(status, 200);
    drop(Talk::bearer(address, &user("ann", "t3")));
    let (_, page) = operate(&server, "GET", "/v1/audit?action=ban", &Value::Null);
    assert_eq!(page["records"][0]["subject"], json!({ "user": "ann" }));
    assert_eq!(page["records"][0]["reason"], "threats");
    let (_, page) = operate(&server, "GET", "/v1/audit?action=unban", &Value::Null);
    assert_eq!(page["records"][0]["by"], "operator");
}

#[test]
fn an_address_that_the_operator_bans_is_not_accepted_any_more() {
    let server = server(2, "[proxy]\nheader = \"x-forwarded-for\"\ntrusted = [\"127.0.0.1\"]\n");
    let from = |address: &str| format!("{}X-Forwarded-For: {address}\r\n", bearer("ann", "t"));
    let open = |address: &str| {
        let mut talk = Talk::try_open(server.address(), "/ws", &from(address)).expect("let in");
        assert_eq!(talk.hear()["type"], "welcome");
        talk
    };
    let (mut bad, mut good) = (open("2001:db8::1"), open("192.0.2.1"));
    let ban = json!({ "address": "2001:db8::99" });
    let (status, done) = operate(&server, "POST", "/v1/bans", &ban);
    assert_eq!((status, &done["closed"]), (200, &json!(1)), "its /64: {done}");
    assert_eq!(bad.closed(), ("banned".to_owned(), 1008));
    let (status, told) = refused(&server, &from("2001:db8::2"));
    assert_eq!((status, &told["error"]["code"]), (403, &json!("banned")));
    assert_eq!(good.ask(json!({ "type": "ping" }))["type"], "pong");
    let lift = "/v1/bans?address=2001:db8::5";
    assert_eq!(operate(&server, "DELETE", lift, &Value::Null).0, 200, "by any of its /64");
    drop(open("2001:db8::1"));
    for wrong in [
        json!({}),
        json!({ "user": "a", "address": "192.0.2.1" }),
        json!({ "address": "192.0.2.1", "tenant": "default" }),
        json!({ "address": "everyone" }),
        json!({ "user": "a", "for_ms": 0 }),
    ] {
        assert_eq!(operate(&server, "POST", "/v1/bans", &wrong).0, 400, "{wrong}");
    }
    let unknown = json!({ "user": "a", "tenant": "nobody" });
    assert_eq!(operate(&server, "POST", "/v1/bans", &unknown).0, 404);
}

#[test]
fn a_room_that_has_banned_somebody_says_so_and_the_connection_stays() {
    let server = server(2, "");
    let mut ann = Talk::bearer(server.address(), &user("ann", "t1"));
    assert_eq!(ann.ask(json!({ "type": "join", "room": "r" }))["type"], "ok");
    let ban = json!({ "type": "room.ban", "room": "r", "user": "bob" });
    assert_eq!(ann.ask(ban)["type"], "ok");
    let mut bob =
        Talk::try_open(server.address(), "/ws/r", &bearer("bob", "t2")).expect("he is let in");
    let (first, second) = (bob.hear(), bob.hear());
    let both = [&first, &second];
    let error = both.iter().find(|it| it["type"] == "error").expect("he is told");
    assert_eq!((&error["code"], &error["id"]), (&json!("banned"), &Value::Null));
    let welcome = both.iter().find(|it| it["type"] == "welcome").expect("and welcome");
    assert_eq!(welcome["rooms"], json!([]));
    assert_eq!(bob.ask(json!({ "type": "join", "room": "other" }))["type"], "ok");
}

#[test]
fn what_the_operator_has_decided_outlives_the_process() {
    let state = folder().join("state");
    let more = "[tenants.default]\n[tenants.acme]\n[tenants.late]\nsuspended = true\n";
    let server = plan_keeping(2, more, &state).start();
    let of = |tenant: &str| token(SECRET, json!({ "sub": "ann", "tenant": tenant }));
    for (method, target, body) in [
        ("POST", "/v1/revocations", json!({ "token": "t1" })),
        ("POST", "/v1/revocations", json!({ "token": "brief", "for_ms": 1 })),
        ("POST", "/v1/bans", json!({ "user": "bob" })),
        ("PUT", "/v1/tenants/acme/state", json!({ "state": "suspended" })),
        ("PUT", "/v1/tenants/late/state", json!({ "state": "active" })),
    ] {
        assert_eq!(operate(&server, method, target, &body).0, 200, "{target} {body}");
    }
    // Without a word of farewell, as in a crash.
    drop(server);
    std::thread::sleep(Duration::from_millis(5));
    let server = plan_keeping(2, more, &state).start();
    let (_, told) = refused(&server, &bearer("cid", "t1"));
    assert_eq!(told["error"]["reason"], "revoked", "{told}");
    assert_eq!(refused(&server, &bearer("bob", "t2")).1["error"]["code"], "banned");
    let header = format!("Authorization: Bearer {}\r\n", of("acme"));
    assert_eq!(refused(&server, &header).0, 403, "suspended");
    drop(Talk::bearer(server.address(), &of("late")));
    drop(Talk::bearer(server.address(), &user("cid", "brief")));
    let kept = std::fs::read_to_string(&state).unwrap();
    assert_eq!(kept.lines().count(), 4, "what has ended is not kept: {kept}");
    drop(server);
    std::fs::write(&state, format!("{kept}nonsense\n")).unwrap();
    let said = plan_keeping(2, more, &state).refuses();
    assert!(said.contains("control.state_file") && said.contains("line 5"), "{said}");
}
