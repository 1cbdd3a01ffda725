//! Credentials that the server cannot check by itself: keys at a URL, an authorization server, and the
//! backend's hook.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use ring::rand::SystemRandom;
use ringroom::auth::{Algorithm, SigningKey};
use serde_json::json;

use crate::identity::server;
use crate::talk::{Talk, now};

/// Answers each request by what `answer` makes of it, and passes on what it was asked.
fn oracle(answer: fn(&str) -> String) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = vec![0; 16_384];
            let count = stream.read(&mut bytes).unwrap();
            let question = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let reply = format!("HTTP/1.1 {}\r\nConnection: close\r\n", answer(&question));
            let _ = asked.send(question);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    (port, questions)
}

fn ok(body: &str) -> String {
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
fn entered(address: std::net::SocketAddr, credential: &str) -> Result<String, (u16, String)> {
    match Talk::try_open(address, "/ws", &format!("Authorization: Bearer {credential}\r\n")) {
        Ok(mut talk) => Ok(talk.hear()["user"].as_str().unwrap_or("nobody").to_owned()),
        Err(refused) => {
            let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
            let reason = body["error"]["reason"].as_str().unwrap_or_default().to_owned();
            Err((refused.status, reason))
        }
    }
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
    let unknown = entered(server.address(), &signed("2024"));
    assert_eq!(unknown, Err((401, "unknown_key".into())));
    assert!(questions.recv().unwrap().starts_with("GET /k HTTP/1.1\r\n"));
    assert!(questions.try_recv().is_err(), "once, for all of them");
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
