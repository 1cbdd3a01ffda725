//! Credentials that the server cannot check by itself: keys at a URL, an authorization server, and the
//! backend's hook.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ring::rand::SystemRandom;
use ringroom::auth::{Algorithm, SigningKey};
use serde_json::json;

use crate::identity::server;
use crate::server::{Server, eventually};
use crate::talk::{Talk, now};

/// Answers each request by what `answer` makes of it, and passes on what it was asked.
pub(crate) fn oracle(answer: impl Fn(&str) -> String + Send + 'static) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = vec![0; 16_384];
            let count = stream.read(&mut bytes).unwrap_or(0);
            let question = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let reply = format!("HTTP/1.1 {}\r\nConnection: close\r\n", answer(&question));
            let _ = asked.send(question);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    (port, questions)
}

pub(crate) fn ok(body: &str) -> String {
    format!("200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const P256: &str = include_str!("../../src/auth/testdata/p256.pem");

/// The set with the public half of that key.
fn keys(_question: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let pem = include_str!("../../src/auth/testdata/p256_public.pem");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap();
    let (x, y) = der[27..].split_at(32);
    let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    let key = json!({ "kty": "EC", "crv": "P-256", "kid": "2025", "x": x, "y": y });
    ok(&json!({ "keys": [key] }).to_string())
}

fn signed(kid: &str) -> String {
    let random = SystemRandom::new();
    let key = SigningKey::private_pem(Algorithm::Es256, P256, &random).unwrap().called(Some(kid));
    key.token(&json!({ "sub": "ann", "exp": now() + 600 }).to_string(), &random).unwrap()
}

/// Who somebody with this credential is, or the status and the reason of the refusal.
pub(crate) fn entered(
    address: std::net::SocketAddr,
    credential: &str,
) -> Result<String, (u16, String)> {
    match Talk::try_open(address, "/ws", &format!("Authorization: Bearer {credential}\r\n")) {
        Ok(mut talk) => Ok(talk.hear()["user"].as_str().unwrap_or("nobody").to_owned()),
        Err(refused) => {
            let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
            let reason = body["error"]["reason"].as_str().unwrap_or_default().to_owned();
            Err((refused.status, reason))
        }
    }
}

/// The settings for a set of keys at this port.
fn keys_at(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/k");
    format!("jwks_hosts = [\"127.0.0.1\"]\nkeys = [{{ jwks_url = \"{url}\" }}]\n")
}

#[test]
fn keys_at_a_url_are_fetched_by_the_control_plane_for_every_core() {
    let (port, questions) = oracle(keys);
    let server = server(
        2,
        &format!(
            "jwks_hosts = [\"127.0.0.1\"]\nkeys = [{{ jwks_url = \"http://127.0.0.1:{port}/k\" }}]\n"
        ),
    );
    for _ in 0..8 {
        assert_eq!(entered(server.address(), &signed("2025")), Ok("ann".into()));
    }
    let newer = entered(server.address(), &signed("2026"));
    assert_eq!(newer, Err((503, "unavailable".into())), "it may be newer than the set");
    assert!(server.metric("ringroom_credentials_refused_total", "") < 1.0, "nobody is to blame");
    assert!(questions.recv().unwrap().starts_with("GET /k HTTP/1.1\r\n"));
    assert!(questions.try_recv().is_err(), "once, for all of them");
}

#[test]
fn an_odd_key_of_a_set_is_left_out_and_told_without_a_word_of_it() {
    let odd = r#""keys":[{"kty":"RSA","n":"canary","e":5},{"kty":"oct","k":"canary"},"#;
    let (port, _questions) = oracle(move |question| {
        let reply = keys(question);
        let (_, set) = reply.split_once("\r\n\r\n").unwrap();
        ok(&set.replace("\"keys\":[", odd))
    });
    let server = server(1, &keys_at(port));
    assert_eq!(entered(server.address(), &signed("2025")), Ok("ann".into()));
    eventually("it is told", || server.log().matches("cannot be used").count() == 2);
    let log = server.log();
    assert!(log.contains("entry=1") && log.contains("entry=2"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_url_that_gives_no_keys_is_an_answer_to_come_back() {
    let (port, _questions) = oracle(|_| "500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned());
    let server = server(
        1,
        &format!(
            "jwks_hosts = [\"127.0.0.1\"]\nkeys = [{{ jwks_url = \"http://127.0.0.1:{port}/k\" }}]\n"
        ),
    );
    let (status, _) = entered(server.address(), &signed("2025")).unwrap_err();
    assert_eq!(status, 503);
    let own = crate::talk::token(crate::identity::SECRET, json!({ "sub": "bob" }));
    assert_eq!(entered(server.address(), &own), Ok("bob".into()), "others are not affected");
}

/// A server whose key set is answered for with what comes through the other end, and someone who is
/// in by a key that the server has itself.
fn late_keys() -> (Server, Sender<String>, Talk) {
    let (release, released) = channel::<String>();
    let (port, _questions) = oracle(move |_| released.recv().unwrap_or_default());
    let server = server(
        2,
        &format!(
            "jwks_timeout_ms = 60_000\njwks_hosts = [\"127.0.0.1\"]\n\
             keys = [{{ jwks_url = \"http://127.0.0.1:{port}/k\" }}]\n"
        ),
    );
    let limited = json!({ "sub": "ann", "permissions": ["publish"] });
    let mut talk =
        Talk::by(server.address(), &crate::talk::token(crate::identity::SECRET, limited));
    assert_eq!(talk.hear()["user"], "ann");
    (server, release, talk)
}

/// A `join` by a token that only a key of the set has signed.
fn join(id: &str, room: &str) -> serde_json::Value {
    let random = SystemRandom::new();
    let key = SigningKey::private_pem(Algorithm::Es256, P256, &random).unwrap();
    let claims = json!({ "room": room, "exp": now() + 600 }).to_string();
    let token = key.called(Some("2025")).room_token(&claims, &random).unwrap();
    json!({ "type": "join", "id": id, "room": room, "token": token })
}

#[test]
fn a_room_token_waits_for_the_keys_that_may_have_signed_it() {
    let (_server, release, mut talk) = late_keys();
    for room in ["a", "b", "c", "d", "e"] {
        talk.say(&join(room, room));
    }
    // Not one more than so many, and none of those is answered for by then.
    let refused = talk.hear();
    assert_eq!((&refused["id"], &refused["code"]), (&json!("e"), &json!("unavailable")));
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 0, "{refused}");
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong");
    // Who leaves a room before it was joined is not in it later.
    talk.say(&json!({ "type": "leave", "id": "left", "room": "b" }));
    for id in ["b", "left"] {
        let answer = talk.hear();
        assert_eq!((&answer["id"], &answer["code"]), (&json!(id), &json!("not_joined")));
    }
    release.send(keys("")).unwrap();
    let mut joined = [(); 3].map(|()| {
        let answer = talk.hear_of("ok");
        assert_eq!(answer["id"], answer["room"], "{answer}");
        answer["room"].as_str().unwrap().to_owned()
    });
    joined.sort();
    assert_eq!(joined, ["a", "c", "d"]);
    assert_eq!(talk.ask(join("", "b"))["type"], "ok", "the keys are here");
}

#[test]
fn what_is_asked_of_a_room_does_not_overtake_a_join_that_waits_for_keys() {
    let (_server, release, mut talk) = late_keys();
    talk.say(&join("join", "a"));
    talk.say(&json!({ "type": "publish", "id": "publish", "room": "a", "data": 1 }));
    talk.say(&json!({ "type": "ack", "id": "ack", "room": "a", "offset": 1 }));
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong", "nothing is answered yet");
    release.send(keys("")).unwrap();
    for id in ["join", "publish", "ack"] {
        let answer = talk.hear_of("ok");
        assert_eq!(answer["id"], id, "{answer}");
    }
}

#[test]
fn who_waits_for_keys_is_answered_though_the_settings_are_read_again() {
    let (server, release, mut talk) = late_keys();
    let random = SystemRandom::new();
    let key = SigningKey::private_pem(Algorithm::Es256, P256, &random).unwrap();
    let claims = json!({ "sub": "ann", "exp": now() + 600 }).to_string();
    let refresh = key.called(Some("2025")).token(&claims, &random).unwrap();
    talk.say(&join("waits", "a"));
    talk.say(&json!({ "type": "auth", "id": "refresh", "token": refresh }));
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong");
    server.signal("HUP");
    // The first is for the fetch that the reload has given up, if it has by now.
    for _ in 0..2 {
        release.send(keys("")).unwrap();
    }
    let mut answered = [(); 2].map(|()| talk.hear_of("ok")["id"].as_str().unwrap().to_owned());
    answered.sort();
    assert_eq!(answered, ["refresh", "waits"]);
}

#[test]
fn a_room_token_whose_keys_cannot_be_had_is_told_to_come_back() {
    let (_server, release, mut talk) = late_keys();
    talk.say(&join("1", "a"));
    assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong", "it waits");
    release.send("500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()).unwrap();
    let refused = talk.hear();
    assert_eq!((&refused["id"], &refused["code"]), (&json!("1"), &json!("unavailable")));
}

#[test]
fn the_backend_says_who_it_is() {
    let (port, questions) = oracle(|question| {
        if question.contains("\"ticket-of-ann\"") {
            ok(&json!({ "user": "ann", "permissions": ["join"] }).to_string())
        } else if question.contains("\"nobody\"") {
            ok(&json!({ "user": null }).to_string())
        } else if question.contains("\"broken\"") {
            ok("<html>")
        } else {
            "401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
    });
    let server = server(1, &format!("[auth]\nhook_url = \"http://127.0.0.1:{port}/who\"\n"));
    for (credential, expected) in [
        ("ticket-of-ann", Ok("ann".to_owned())),
        ("ticket-of-ann", Ok("ann".to_owned())),
        ("nobody", Ok("nobody".to_owned())),
        ("ticket-of-eve", Err((401, "denied".to_owned()))),
    ] {
        assert_eq!(entered(server.address(), credential), expected, "{credential}");
    }
    assert_eq!(entered(server.address(), "broken").unwrap_err().0, 503);
    let asked = questions.try_iter().count();
    assert_eq!(asked, 4, "the second time it was remembered");
}

#[test]
fn the_backend_is_asked_what_the_authorization_server_does_not_know() {
    let (server_port, _tokens) = oracle(|question| {
        let active = question.contains("token=live-one&");
        ok(&json!({ "active": active, "sub": "ann" }).to_string())
    });
    let (hook_port, _tickets) = oracle(|question| match question.contains("ticket") {
        true => ok(&json!({ "user": "bob" }).to_string()),
        false => "401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let server = server(
        1,
        &format!(
            "[auth]\nhook_url = \"http://127.0.0.1:{hook_port}/who\"\n\
             [auth.introspection]\nurl = \"http://127.0.0.1:{server_port}/look\"\n"
        ),
    );
    for (credential, expected) in [
        ("live-one", Ok("ann".into())),
        ("ticket", Ok("bob".into())),
        ("rr_ticket", Ok("bob".into())),
        ("dead-one", Err((401, "denied".into()))),
    ] {
        assert_eq!(entered(server.address(), credential), expected, "{credential}");
    }
}

#[test]
fn the_authorization_server_knows_its_tokens() {
    let (port, _questions) = oracle(|question| {
        let active = question.contains("token=live-one&");
        ok(&json!({ "active": active, "sub": "ann", "exp": now() + 60 }).to_string())
    });
    let server =
        server(1, &format!("[auth.introspection]\nurl = \"http://127.0.0.1:{port}/look\"\n"));
    assert_eq!(entered(server.address(), "live-one"), Ok("ann".into()));
    assert_eq!(entered(server.address(), "dead-one"), Err((401, "denied".into())));
}
