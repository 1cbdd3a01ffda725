//! A secret in every kind of credential, good and bad, with all there is to log: none of it is found
//! in anything that the server writes anywhere.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::client::head;
use crate::http::{self, Response};
use crate::oracle::{entered, oracle};
use crate::server::{Plan, Server, eventually, folder};
use crate::talk::{Talk, now, room_token, token};

const SECRET: &str = "canary-of-the-signing-key-0123456789abcdef";
const PREVIOUS_SECRET: &str = "canary-of-the-signing-key-before-0123456789";
const NEXT_SECRET: &str = "canary-of-the-signing-key-to-come-0123456789";
const COOKIE_SECRET: &str = "canary-of-the-cookie-key-0123456789abcdef";
const PREVIOUS_COOKIE_SECRET: &str = "canary-of-the-cookie-key-before-0123456789";
const OPERATOR: &str = "canary-of-the-operator-0123456789";
const API_SECRET: &str = "canaryCanaryCanaryCanaryCanaryCanaryCanarya";
const ORIGIN: &str = "Origin: https://app.example\r\n";

/// Everything that the server has said so far but what it has logged.
#[derive(Default)]
struct Said(String);

impl Said {
    fn response(&mut self, response: &Response) -> u16 {
        self.0.push_str(&response.text());
        for (name, value) in response.headers() {
            self.0.push_str(&format!("\n{name}: {value}"));
        }
        response.status
    }

    fn message(&mut self, mut message: Value) -> Value {
        // A session's id is told to its owner, once.
        if message["type"] == "welcome" {
            message.as_object_mut().unwrap().remove("session");
        }
        self.0.push_str(&message.to_string());
        message
    }
}

fn start(folder: &Path) -> Server {
    for (name, text) in [
        ("jwt", SECRET),
        ("jwt-before", PREVIOUS_SECRET),
        ("cookie", COOKIE_SECRET),
        ("cookie-before", PREVIOUS_COOKIE_SECRET),
        ("operator", OPERATOR),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let hash: String = digest::digest(&digest::SHA256, API_SECRET.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\n[log]\nfilter = \"trace\"\nformat = \"json\"\n\
         [handshake]\norigins = [\"https://app.example\"]\n[dev]\nfaults = true\n\
         [admission]\nbad_credentials_per_minute = 0\n[control]\ntoken_file = {:?}\n\
         [auth]\napi_keys = [{{ prefix = \"abcdefghijkl\", hash = \"sha256:{hash}\", user = \"svc\" }}]\n\
         [auth.jwt]\nsecret_file = {:?}\nprevious_secret_file = {:?}\n\
         [auth.cookie]\nsecret_file = {:?}\nkeys = [{{ id = \"0\", secret_file = {:?} }}]\n",
        path("operator"),
        path("jwt"),
        path("jwt-before"),
        path("cookie"),
        path("cookie-before")
    );
    Plan::new().listeners(&config).set("cores.count=2").start()
}

/// A session cookie of a backend that shares a secret of ours, by what we call the key.
fn cookie(id: &str, secret: &str, user: &str) -> String {
    let claims = json!({ "sub": user, "exp": now() + 600 }).to_string();
    let payload = URL_SAFE_NO_PAD.encode(claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in ["ringroom cookie v1", "__Host-ringroom", "default", id, &payload] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    format!("v1.{id}.{payload}.{}", URL_SAFE_NO_PAD.encode(context.sign()))
}

fn bearer(token: &str) -> (String, String) {
    ("/ws".to_owned(), format!("Authorization: Bearer {token}\r\n"))
}

fn request(server: &Server, method: &str, target: &str, token: &str, body: &str) -> Response {
    let mut stream = http::connect(server.control_address());
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: c\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    Response::read(&mut BufReader::new(stream)).expect("a response")
}

/// Good credentials of every kind are shown; each lets in.
fn come_in(server: &Server, said: &mut Said, good: &str, api_key: &str, cookie: &str) {
    let before = self::cookie("0", PREVIOUS_COOKIE_SECRET, "bea");
    for (target, headers) in [
        bearer(good),
        bearer(&token(PREVIOUS_SECRET, json!({ "sub": "ann" }))),
        ("/ws".to_owned(), format!("Cookie: __Host-ringroom={before}\r\n{ORIGIN}")),
        bearer(api_key),
        (format!("/ws?token={good}"), String::new()),
        (
            "/ws".to_owned(),
            format!("Sec-WebSocket-Protocol: ringroom.v1.json, ringroom.token.{good}\r\n"),
        ),
        ("/ws".to_owned(), format!("X-API-Key: {api_key}\r\n")),
        ("/ws".to_owned(), format!("Cookie: __Host-ringroom={cookie}\r\n{ORIGIN}")),
    ] {
        match Talk::try_open(server.address(), &target, &headers) {
            Ok(mut talk) => assert_eq!(said.message(talk.hear())["type"], "welcome", "{headers}"),
            Err(refused) => panic!("{target} {headers}: {}", refused.text()),
        }
    }
}

/// The signing key is replaced: what it signed still holds, what the one before it signed no more.
fn rotate(server: &Server, said: &mut Said, folder: &Path) {
    std::fs::write(folder.join("jwt-before"), SECRET).unwrap();
    std::fs::write(folder.join("jwt"), NEXT_SECRET).unwrap();
    server.signal("HUP");
    let mut knock = |secret| {
        let (target, headers) = bearer(&token(secret, json!({ "sub": "ann" })));
        match Talk::try_open(server.address(), &target, &headers) {
            Ok(mut talk) => said.message(talk.hear())["type"] == "welcome",
            Err(refused) => said.response(&refused) < 400,
        }
    };
    // Each core reads them by itself.
    eventually("the next key is believed", || (0..8).all(|_| knock(NEXT_SECRET)));
    assert!(knock(SECRET), "it is the one before");
    eventually("the oldest key is forgotten", || (0..8).all(|_| !knock(PREVIOUS_SECRET)));
}

#[test]
fn no_secret_is_found_in_anything_that_is_written() {
    let folder = folder();
    let server = start(&folder);
    let mut said = Said::default();
    let good = token(SECRET, json!({ "sub": "ann", "jti": "t1" }));
    let api_key = format!("rr_abcdefghijkl_{API_SECRET}");
    let (cookie, bad) = (cookie("1", COOKIE_SECRET, "bea"), "canary-of-a-bad-credential");
    come_in(&server, &mut said, &good, &api_key, &cookie);
    let broken = format!("{}x", &good[..good.len() - 1]);
    for (target, headers) in [
        bearer(bad),
        bearer(&broken),
        bearer(&format!("rr_abcdefghijkl_{}b", &API_SECRET[..42])),
        (format!("/ws?token={bad}"), String::new()),
        (format!("/ws?token={bad}&session={bad}&tenant={bad}"), String::new()),
        (format!("/ws?token={bad}%zz"), String::new()),
        (format!("/nothing?token={bad}"), String::new()),
        ("/ws".to_owned(), format!("Sec-WebSocket-Protocol: ringroom.token.{bad}\r\n")),
        ("/ws".to_owned(), format!("X-API-Key: {bad}\r\nAuthorization: Bearer {good}\r\n")),
        ("/ws".to_owned(), format!("Cookie: __Host-ringroom={bad}\r\n{ORIGIN}")),
        ("/ws".to_owned(), format!("Cookie: __Host-ringroom={cookie}\r\n")),
    ] {
        let refused = Talk::try_open(server.address(), &target, &headers).expect_err("a refusal");
        assert!(said.response(&refused) >= 400, "{target} {headers}");
    }
    // Plain HTTP on the same port, and heads that break.
    for head in [
        format!("GET /?token={bad} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {bad}\r\n\r\n"),
        format!("GET /ws?token={bad} HTTP/1.1\r\nHost: h\r\nCookie: a\x01={bad}\r\n\r\n"),
        head("/ws", &format!("Authorization: Bearer {bad}\r\nAuthorization: Bearer {bad}x\r\n")),
    ] {
        said.response(&http::exchange(server.address(), head.as_bytes()).expect("a response"));
    }
    talk(&server, &mut said, &good, bad);
    rotate(&server, &mut said, &folder);
    for (token, body) in [
        (OPERATOR, json!({ "token": "t1" }).to_string()),
        (OPERATOR, format!("{{\"{bad}\":1}}")),
        (bad, "{}".to_owned()),
    ] {
        said.response(&request(&server, "POST", "/v1/revocations", token, &body));
    }
    for target in ["/v1/audit", "/v1/tenants", "/metrics", "/health", "/nothing"] {
        let response = request(&server, "GET", target, OPERATOR, "");
        assert!(said.response(&response) < 500, "{target}");
    }
    let logged = server.log();
    assert!(logged.contains("a credential is refused"), "it does log");
    let parts = |text: &str| text.split('.').next_back().unwrap().to_owned();
    for secret in [&*parts(&good), &*parts(&cookie), API_SECRET, "canary"] {
        for (name, text) in [("log", &logged), ("what is said", &said.0)] {
            let found =
                text.find(secret).map(|at| &text[at.saturating_sub(200)..at + secret.len()]);
            assert_eq!(found, None, "a secret is in the {name}");
        }
    }
}

/// Something that repeats what it is sent and refuses it, as Redis does with a command that it does not
/// know: once for each command, so that the refusal itself is what is wrong, and not the connection.
fn parrot() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, commands) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, heard) = (stream.unwrap(), heard.clone());
            thread::spawn(move || {
                let mut bytes = vec![0; 16_384];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    let refusal = format!("-ERR unknown: {}\r\n", said.replace("\r\n", " "));
                    let commands = said.split("\r\n").filter(|line| line.starts_with('*')).count();
                    let _ = heard.send(said);
                    if stream.write_all(refusal.repeat(commands).as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, commands)
}

#[test]
fn what_the_server_shows_to_others_is_found_in_nothing_that_it_writes() {
    let folder = folder();
    for name in ["redis", "sentinel", "hook", "client"] {
        std::fs::write(folder.join(name), format!("canary-of-the-{name}-0123456789")).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let (redis, commands) = parrot();
    let (other, asked) = oracle(|question| {
        let said = format!("not JSON: {question}");
        format!("200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len())
    });
    let url = format!("url = \"redis://127.0.0.1:{redis}/0\"\n");
    let sentinels = format!(
        "sentinels = [\"redis://127.0.0.1:{redis}\"]\nmaster = \"main\"\n\
         sentinel_password_file = {:?}\n",
        path("sentinel")
    );
    for (name, link, shown, own) in [
        (
            "hook",
            url,
            "canary-of-the-redis",
            format!(
                "[auth]\nhook_url = \"http://127.0.0.1:{other}/who?key=canary-of-the-url\"\n\
                 hook_secret_file = {:?}\n",
                path("hook")
            ),
        ),
        (
            "introspection",
            sentinels,
            "canary-of-the-sentinel",
            format!(
                "[auth.introspection]\nurl = \"http://127.0.0.1:{other}/look?key=canary-of-the-url\"\n\
                 client_id = \"us\"\nclient_secret_file = {:?}\n",
                path("client")
            ),
        ),
    ] {
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\n[log]\nfilter = \"trace\"\nformat = \"json\"\n\
             [redis]\n{link}password_file = {:?}\n{own}",
            path("redis")
        );
        let server = Plan::new().listeners(&config).set("cores.count=1").start();
        let refused = entered(server.address(), "canary-of-a-credential").unwrap_err();
        assert_eq!(refused.0, 503, "{name}: nobody can say");
        let question = asked.recv().unwrap();
        assert!(question.contains("canary-of-a-credential"), "{name}: it was asked");
        assert!(question.contains("key=canary-of-the-url"), "{name}: it was asked");
        eventually("Redis was shown it", || commands.try_iter().any(|it| it.contains(shown)));
        eventually("Redis is given up", || server.log().contains("there is no link to Redis"));
        let mut said = Said(refused.1);
        for target in ["/metrics", "/health", "/ready", "/v1/nodes", "/v1/audit"] {
            said.response(&request(&server, "GET", target, "no token is set", ""));
        }
        let logged = server.log();
        // Basic credentials are encoded: with the name before it.
        let encoded = STANDARD.encode("us:canary-of-the-client-0123456789");
        for secret in ["canary", &*encoded] {
            for (place, text) in [("log", &logged), ("what is said", &said.0)] {
                let found =
                    text.find(secret).map(|at| &text[at.saturating_sub(200)..at + secret.len()]);
                assert_eq!(found, None, "{name}: a secret is in the {place}");
            }
        }
    }
}

/// Secrets in messages.
fn talk(server: &Server, said: &mut Said, good: &str, bad: &str) {
    let mut talk = Talk::by(server.address(), good);
    let session = talk.hear()["session"].as_str().unwrap().to_owned();
    let password = "canary-of-a-password";
    let config = json!({ "type": "protected", "password": password });
    let grant = room_token(SECRET, &json!({ "room": "other", "exp": now() + 60 }));
    for message in [
        json!({ "type": "room.create", "room": "r", "config": config }),
        json!({ "type": "room.info", "room": "r" }),
        json!({ "type": "join", "room": "r", "password": "canary-of-a-wrong-password" }),
        json!({ "type": "join", "room": "r", "token": grant }),
        json!({ "type": "join", "room": "r", "token": bad }),
        json!({ "type": "join", "room": "r", "password": 5, "token": bad }),
        json!({ "type": "auth", "token": good }),
    ] {
        said.message(talk.ask(message));
    }
    let resumed = Talk::try_open(
        server.address(),
        &format!("/ws?session={session}"),
        &format!("Authorization: Bearer {good}\r\n"),
    );
    said.message(resumed.expect("the upgrade").hear());
    for text in [json!({ "type": "auth", "token": bad }), json!({ "type": "auth", "token": [bad] })]
    {
        let mut late = Talk::try_open(server.address(), "/ws", "").expect("the upgrade");
        said.message(late.hear());
        late.say(&text);
        said.message(late.hear());
    }
    assert!(!server.log().contains(&session), "a session's id is in the log");
}
