//! What the operator looks at and decides: tenants, revocations, the audit trail; and who may.

use std::io::{BufReader, Write as _};

use serde_json::{Value, json};

use crate::http::{self, Response};
use crate::identity::{OPERATOR, SECRET, server};
use crate::server::{Server, eventually};
use crate::talk::{Talk, now, token};

/// A request to the control plane, with a body of JSON unless `kind` says otherwise.
fn request(server: &Server, method: &str, target: &str, headers: &str, body: &str) -> Response {
    let mut stream = http::connect(server.control_address());
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    // A refusal may come before all is sent.
    let _ = stream.write_all(head.as_bytes());
    Response::read(&mut BufReader::new(stream)).expect("a response")
}

/// What the operator asks for, and is told.
pub(crate) fn operate(server: &Server, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {OPERATOR}\r\nContent-Type: application/json\r\n");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = request(server, method, target, &headers, &body);
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

fn user(name: &str, id: &str) -> String {
    token(SECRET, json!({ "sub": name, "jti": id }))
}

#[test]
fn a_revocation_is_done_on_every_core_when_it_is_answered() {
    let server =
        server(4, "[auth]\nleeway_ms = 1_000\n[admission]\nbad_credentials_per_minute = 0\n");
    let address = server.address();
    let mut anns: Vec<Talk> = (0..4).map(|_| Talk::bearer(address, &user("ann", "t1"))).collect();
    let mut bob = Talk::bearer(address, &user("bob", "t2"));
    let revoke = json!({ "token": "t1", "reason": "lost" });
    let (status, done) = operate(&server, "POST", "/v1/revocations", &revoke);
    assert_eq!((status, &done["closed"]), (200, &json!(4)), "{done}");
    for ann in &mut anns {
        assert_eq!(ann.closed(), ("revoked".to_owned(), 1008));
    }
    let header = format!("Authorization: Bearer {}\r\n", user("ann", "t1"));
    let refused = Talk::try_open(address, "/ws", &header).expect_err("a refusal");
    assert!(refused.text().contains("\"reason\":\"revoked\""), "{}", refused.text());
    drop(Talk::bearer(address, &user("ann", "t3")));
    let longest = "t".repeat(512);
    drop(Talk::bearer(address, &user("cy", &longest)));
    for (id, expected) in [(longest, 200), ("t".repeat(513), 400)] {
        let (status, done) = operate(&server, "POST", "/v1/revocations", &json!({ "token": id }));
        assert_eq!(status, expected, "{done}");
        assert!(
            Talk::try_open(
                address,
                "/ws",
                &format!("Authorization: Bearer {}\r\n", user("cy", &id))
            )
            .is_err()
        );
    }
    assert_eq!(bob.ask(json!({ "type": "ping" }))["type"], "pong", "others go on");
    let revoked_at = now();
    let (_, done) = operate(&server, "POST", "/v1/revocations", &json!({ "user": "bob" }));
    assert_eq!(done["closed"], 1);
    assert_eq!(bob.closed().0, "revoked");
    let newer = |iat| token(SECRET, json!({ "sub": "bob", "iat": iat }));
    let enters = |token: &str| {
        Talk::try_open(address, "/ws", &format!("Authorization: Bearer {token}\r\n")).is_ok()
    };
    // By a clock that is ahead, as far as it may: on cores that have never seen it.
    let ahead = newer(revoked_at + 1);
    assert!((0..8).all(|_| !enters(&ahead)), "it may have been there before");
    eventually("a new login is good once clocks cannot be that far apart", || {
        enters(&newer(now() + 1))
    });
    assert!((0..8).all(|_| !enters(&ahead)), "and what was there never is");
    let (_, done) = operate(&server, "POST", "/v1/revocations", &json!({ "all": true }));
    assert!(done["closed"].as_u64().is_some(), "{done}");

    let (_, page) = operate(&server, "GET", "/v1/audit?action=revoke&limit=3", &Value::Null);
    assert_eq!(page["records"].as_array().unwrap().len(), 3);
    assert_eq!(page["records"][0]["subject"], json!({ "token": "t1" }));
    assert_eq!(page["records"][0]["reason"], "lost");
    let next = format!("/v1/audit?action=revoke&after={}", page["next"]);
    let (_, rest) = operate(&server, "GET", &next, &Value::Null);
    assert_eq!(rest["records"][0]["subject"], "tenant");
}

#[test]
fn an_api_key_that_is_taken_back_does_not_come_back_by_itself() {
    let secret = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";
    let hash = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let key = |prefix: &str, user: &str| {
        format!(
            "[[auth.api_keys]]\nprefix = \"{prefix}\"\nhash = \"sha256:{hash}\"\nuser = \"{user}\"\n"
        )
    };
    let ends_at = now() + 100 * 24 * 60 * 60;
    let brief = format!("{}expires_at = {ends_at}\n", key("seasonseason", "season"));
    let keys = [key("billingbilli", "billing"), key("reportsrepor", "reports"), brief].concat();
    let server = server(1, &format!("{keys}[dev]\nfaults = true\n"));
    let come = |prefix: &str| {
        let header = format!("X-API-Key: rr_{prefix}_{secret}\r\n");
        match Talk::try_open(server.address(), "/ws", &header) {
            Ok(mut talk) => talk.hear()["type"].as_str().unwrap().to_owned(),
            Err(refused) => refused.text(),
        }
    };
    let revoke = |what: Value| operate(&server, "POST", "/v1/revocations", &what).1;
    let day_ms = 24 * 60 * 60 * 1_000;
    assert_eq!(come("billingbilli"), "welcome");
    assert_eq!(revoke(json!({ "token": "billingbilli" }))["until"], Value::Null);
    let brief = revoke(json!({ "token": "reportsrepor", "for_ms": day_ms }));
    assert!(brief["until"].as_u64().unwrap() <= (now() + 1) * 1_000 + day_ms, "{brief}: as asked");
    let season = revoke(json!({ "token": "seasonseason" }))["until"].as_u64().unwrap();
    assert!(season >= ends_at * 1_000, "{season}: not before it ends");
    assert!(season <= (ends_at + 3_600) * 1_000, "{season}: nor kept after that");
    let token = revoke(json!({ "token": "billingbilla" }));
    assert!(
        token["until"].as_u64().unwrap() <= (now() + 1) * 1_000 + 30 * day_ms,
        "{token}: no key"
    );
    for prefix in ["billingbilli", "reportsrepor"] {
        assert!(come(prefix).contains("\"reason\":\"revoked\""), "{prefix}");
    }
    assert_eq!(server.fault(&format!("clock?by_ms={}", 1_000 * day_ms)), Some(202));
    eventually("the other's time is over", || come("reportsrepor") == "welcome");
    assert!(come("billingbilli").contains("\"reason\":\"revoked\""));
    revoke(json!({ "user": "billing" }));
    let said = "API keys are taken back, and good again";
    eventually("it is told that this ends", || server.log().matches(said).count() == 2);
}

#[test]
fn a_suspended_tenant_is_closed_and_kept_out_and_others_are_not() {
    let tenants = "[tenants.acme]\n[tenants.other]\n";
    let server = server(2, tenants);
    let of = |tenant: &str| token(SECRET, json!({ "sub": "ann", "tenant": tenant }));
    let mut acme = Talk::bearer(server.address(), &of("acme"));
    let mut other = Talk::bearer(server.address(), &of("other"));
    let state = |state: &str| json!({ "state": state, "reason": "unpaid" });
    let target = "/v1/tenants/acme/state";
    let (status, done) = operate(&server, "PUT", target, &state("suspended"));
    assert_eq!((status, &done["closed"], &done["state"]), (200, &json!(1), &json!("suspended")));
    assert_eq!(acme.closed(), ("suspended".to_owned(), 1008));
    let header = format!("Authorization: Bearer {}\r\n", of("acme"));
    let refused = Talk::try_open(server.address(), "/ws", &header).expect_err("a refusal");
    assert_eq!(refused.status, 403);
    assert_eq!(other.ask(json!({ "type": "ping" }))["type"], "pong");
    assert_eq!(operate(&server, "PUT", target, &state("active")).0, 200);
    drop(Talk::bearer(server.address(), &of("acme")));
    assert_eq!(operate(&server, "PUT", "/v1/tenants/nobody/state", &state("active")).0, 404);
}

#[test]
fn a_tenant_has_no_more_than_its_quota_and_the_other_does_not_notice() {
    let tenants = "[tenants.acme]\nconnections = 2\nrooms = 3\nmessages_per_second = 20\n\
                   [tenants.other]\n";
    let server = server(2, tenants);
    let of = |tenant: &str| token(SECRET, json!({ "sub": "ann", "tenant": tenant }));
    let mut first = Talk::bearer(server.address(), &of("acme"));
    let _second = Talk::bearer(server.address(), &of("acme"));
    let header = format!("Authorization: Bearer {}\r\n", of("acme"));
    let refused = Talk::try_open(server.address(), "/ws", &header).expect_err("a refusal");
    assert_eq!(refused.status, 429);
    let joins: Vec<Value> = (0..4)
        .map(|room| first.ask(json!({ "type": "join", "room": format!("room {room}") })))
        .collect();
    assert!(joins[..3].iter().all(|join| join["type"] == "ok"), "{joins:?}");
    assert_eq!(joins[3]["code"], "limit_exceeded");
    let flood: Vec<Value> = (0..40).map(|_| first.ask(json!({ "type": "rooms" }))).collect();
    assert!(flood.iter().any(|answer| answer["code"] == "rate_limited"), "{:?}", flood.last());
    let mut other = Talk::bearer(server.address(), &of("other"));
    for room in 0..20 {
        let join = json!({ "type": "join", "room": format!("room {room}") });
        assert_eq!(other.ask(join)["type"], "ok");
    }
    let (_, list) = operate(&server, "GET", "/v1/tenants", &Value::Null);
    let acme = &list["tenants"][0];
    assert_eq!(
        (&acme["id"], &acme["connections"]),
        (&json!("acme"), &json!({"count": 2, "limit": 2}))
    );
    assert_eq!((&acme["rooms"]["count"], &acme["users"]["count"]), (&json!(3), &json!(1)));
}

#[test]
fn tenants_with_the_same_names_for_everything_do_not_meet() {
    let server = server(2, "[tenants.acme]\n[tenants.other]\n");
    let of = |tenant: &str| token(SECRET, json!({ "sub": "ann", "tenant": tenant }));
    let mut talks: Vec<Talk> = ["acme", "other"]
        .iter()
        .map(|tenant| Talk::bearer(server.address(), &of(tenant)))
        .collect();
    for talk in &mut talks {
        let joined = talk.ask(json!({ "type": "join", "room": "room" }));
        assert_eq!(joined["user_count"], 1, "{joined}");
    }
    let publish =
        json!({ "type": "publish", "room": "room", "data": "for acme alone", "key": "k" });
    assert_eq!(talks[0].ask(publish.clone())["type"], "ok");
    let second = talks[1].ask(publish);
    assert!(second["duplicate"].is_null(), "another tenant's key: {second}");
    assert_eq!(second["offset"], 1);
    let history = talks[1].ask(json!({ "type": "history", "room": "room" }));
    assert_eq!(history["offset"], 1, "{history}");
}

#[test]
fn what_is_moderated_stands_in_the_audit_trail() {
    let server = server(2, "");
    let mut ann = Talk::bearer(server.address(), &user("ann", "t1"));
    let mut bob = Talk::bearer(server.address(), &user("bob", "t2"));
    assert_eq!(ann.ask(json!({ "type": "join", "room": "r" }))["type"], "ok");
    assert_eq!(bob.ask(json!({ "type": "join", "room": "r" }))["type"], "ok");
    let mute = json!({ "type": "room.mute", "room": "r", "user": "bob", "for_ms": 60_000,
                       "reason": "shouting" });
    assert_eq!(ann.ask(mute)["type"], "ok");
    assert_eq!(bob.ask(json!({ "type": "publish", "room": "r", "data": 1 }))["code"], "muted");
    let mut record = Value::Null;
    eventually("the record comes", || {
        let (_, page) = operate(&server, "GET", "/v1/audit?tenant=default", &Value::Null);
        record = page["records"][0].clone();
        !record.is_null()
    });
    assert_eq!(record["action"], "room.mute");
    assert_eq!(
        (&record["by"], &record["subject"]),
        (&json!({"user": "ann"}), &json!({"user": "bob"}))
    );
    assert_eq!((&record["room"], &record["reason"]), (&json!("r"), &json!("shouting")));
}

#[test]
fn only_the_operator_operates_and_every_wrong_request_is_named() {
    let server = server(1, "");
    let auth = format!("Authorization: Bearer {OPERATOR}\r\n");
    let json_kind = "Content-Type: application/json\r\n";
    let wrong = "Authorization: Bearer operator-token-0123456780\r\n";
    let both = format!("{auth}{json_kind}");
    let long = format!("{{\"token\":\"{}\"}}", "x".repeat(70_000));
    let revocations = "/v1/revocations";
    for (method, target, headers, body, status, code) in [
        ("POST", revocations, json_kind, "{\"all\":true}", 401, "unauthorized"),
        ("GET", "/v1/audit", wrong, "", 401, "unauthorized"),
        ("GET", "/metrics", "", "", 401, "unauthorized"),
        ("GET", "/v1/revocations", &*auth, "", 405, "method_not_allowed"),
        ("POST", "/v1/nothing", &*both, "{}", 404, "not_found"),
        ("POST", revocations, &*auth, "{\"all\":true}", 415, "bad_request"),
        ("POST", revocations, &*both, "{\"all\":true", 400, "bad_request"),
        ("POST", revocations, &*both, "{\"all\":true,\"all\":true}", 400, "bad_request"),
        ("POST", revocations, &*both, "{\"tok\":\"x\"}", 400, "bad_request"),
        ("POST", revocations, &*both, "{}", 400, "bad_request"),
        ("POST", revocations, &*both, "{\"token\":\"x\",\"all\":true}", 400, "bad_request"),
        ("POST", revocations, &*both, "{\"token\":\"\"}", 400, "bad_request"),
        ("POST", revocations, &*both, "{\"user\":\"x\",\"tenant\":\"no\"}", 404, "not_found"),
        ("POST", revocations, &*both, &*long, 413, "too_large"),
        ("GET", "/v1/audit?limit=0", &*auth, "", 400, "bad_request"),
        ("GET", "/v1/audit?limit=1&limit=2", &*auth, "", 400, "bad_request"),
        ("GET", "/v1/audit?action=dance", &*auth, "", 400, "bad_request"),
    ] {
        let response = request(&server, method, target, headers, body);
        assert_eq!(response.status, status, "{method} {target}: {}", response.text());
        let told: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(told["error"]["code"], code, "{method} {target}: {told}");
    }
    assert_eq!(request(&server, "GET", "/live", "", "").status, 200);
}
