#![allow(clippy::unwrap_used, reason = "a test may")]

mod credentials;
mod request;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::ws::head;
use crate::ws::refusal::Refusal;

/// The lines of a request that is accepted.
const GOOD: [(&str, &str); 5] = [
    ("Host", "app.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A request built from the good one.
struct Request {
    line: String,
    fields: Vec<(String, String)>,
}

impl Request {
    /// `GET` that target.
    fn get(target: &str) -> Self {
        let fields = GOOD.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { line: format!("GET {target} HTTP/1.1"), fields: fields.into() }
    }

    /// Adds a line.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes away the lines of that name.
    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Has those values, a line each, in place of what was there.
    fn set(mut self, name: &str, values: &[&str]) -> Self {
        self = self.without(name);
        values.iter().fold(self, |request, value| request.with(name, value))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// The answer under that policy, whole and dribbled.
    fn answer_by(&self, policy: &Policy<'_>) -> Result<Accepted, Refusal> {
        answer(&self.bytes(), policy)
    }

    /// The answer under the default policy, with echo.
    fn answer(&self) -> Result<Accepted, Refusal> {
        self.answer_by(&policy(&Origins::default()))
    }

    fn refusal(&self) -> Option<Refusal> {
        self.answer().err()
    }

    fn response(&self) -> String {
        String::from_utf8(self.answer().unwrap().response).unwrap()
    }
}

fn policy(origins: &Origins) -> Policy<'_> {
    Policy {
        origins,
        tenant_origins: None,
        allow_absent_origin: true,
        local: false,
        tls: false,
        echo: true,
        deflate: true,
        cookie: Some("__Host-ringroom"),
    }
}

fn answer(bytes: &[u8], policy: &Policy<'_>) -> Result<Accepted, Refusal> {
    let limits = Config::default().handshake;
    let (head, length) = head::parse(bytes, &limits)?.unwrap();
    assert_eq!(length, bytes.len());
    accept(&head, policy)
}

/// The value of a header of a response.
fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let mut values = response.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    let found = values.find(|(other, _)| *other == name).map(|(_, value)| value);
    assert!(values.all(|(other, _)| other != name), "{name} twice");
    found
}

#[test]
fn the_example_of_the_rfc() {
    let bytes = b"GET /ws HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                  Origin: http://server.example.com\r\n\
                  Sec-WebSocket-Version: 13\r\n\r\n";
    let accepted = answer(bytes, &policy(&Origins::default())).unwrap();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                    \r\n";
    assert_eq!(String::from_utf8(accepted.response).unwrap(), expected);
    assert_eq!(accepted.route, Route::Rooms(None));
    assert_eq!(accepted.codec, Codec::Json);
    assert_eq!(accepted.deflate, None);
    assert_eq!(accepted.credential, None);
    assert_eq!((accepted.session, accepted.tenant), (None, None));
}

#[test]
fn plain_http_is_told_from_what_is_ours() {
    let origins = Origins::default();
    let with_echo = policy(&origins);
    let without_echo = Policy { echo: false, ..with_echo };
    let plain = |target| Request::get(target).without("Upgrade").without("Connection");
    for (request, ours, ours_without_echo) in [
        (plain("/"), false, false),
        (plain("/live"), false, false),
        (plain("/wsx"), false, false),
        (plain("/ws"), true, true),
        (plain("/ws?token=a"), true, true),
        (plain("/ws/room"), true, true),
        (plain("/echo"), true, false),
        (plain("/echo/a"), false, false),
        (plain("http://app.example.com/ws"), true, true),
        (plain("/").with("Upgrade", "h2c").with("Connection", "Upgrade, HTTP2-Settings"), false, {
            false
        }),
        (Request::get("/"), true, true),
        (Request::get("/echo"), true, true),
    ] {
        let bytes = request.bytes();
        let (head, _) = head::parse(&bytes, &Config::default().handshake).unwrap().unwrap();
        assert_eq!(concerns(&head, &with_echo), ours, "{}", request.line);
        assert_eq!(concerns(&head, &without_echo), ours_without_echo, "{}", request.line);
    }
}

#[test]
fn compression_is_agreed_where_the_listener_has_it() {
    let offer = "permessage-deflate; client_max_window_bits";
    let request = Request::get("/ws").with("Sec-WebSocket-Extensions", offer);
    let agreed = request.answer().unwrap().deflate.unwrap();
    let shown = request.response();
    assert_eq!(header(&shown, "Sec-WebSocket-Extensions"), Some(agreed.response().as_str()));
    assert_eq!(agreed.deflate_up_to, u32::MAX);

    let two = Request::get("/ws")
        .with("Sec-WebSocket-Extensions", "foo, permessage-deflate; unknown")
        .with("sec-websocket-extensions", "permessage-deflate; server_max_window_bits=9");
    assert_eq!(two.answer().unwrap().deflate.unwrap().deflate_up_to, 512);

    let origins = Origins::default();
    let off = request.answer_by(&Policy { deflate: false, ..policy(&origins) }).unwrap();
    assert_eq!(off.deflate, None);
    assert_eq!(header(str::from_utf8(&off.response).unwrap(), "Sec-WebSocket-Extensions"), None);

    for declined in ["permessage-deflate;", "x", "permessage-deflate; a=\"\\", ""] {
        let request = Request::get("/ws").with("Sec-WebSocket-Extensions", declined);
        assert_eq!(request.answer().unwrap().deflate, None, "{declined}");
    }
}

proptest! {
    #[test]
    fn h18_a_response_is_made_of_constants_whatever_was_sent(
        room in "[!-~]{0,20}",
        query in "[!-\"$-~]{0,30}",
        lines in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie",
                    "Authorization", "X-API-Key", "Sec-WebSocket-Key", "X",
                ]),
                "[\\x20-\\x7e\t\u{a0}-\u{ff}]{0,30}",
            ),
            0..4,
        ),
    ) {
        let request = Request::get(&format!("/ws/{}?{query}", room.replace(['#', '?'], "")));
        let request = lines.iter().fold(request, |request, (name, value)| request.with(name, value));
        let response = match request.answer() {
            Ok(accepted) => accepted.response,
            Err(refusal) => refusal.response(),
        };
        let response = String::from_utf8(response).unwrap();
        let (head, _) = response.split_once("\r\n\r\n").unwrap();
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(": ").unwrap();
            prop_assert!(NAMES.contains(&name), "{line}");
            prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        }
    }

    #[test]
    fn arbitrary_targets_and_values_never_panic(
        target in "[!-\"$-~]{1,40}", value in "[\\x20-\\x7e\u{a0}-\u{ff}]{0,40}", field in 0..8_usize,
    ) {
        let name = [
            "Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key",
            "Content-Length", "Transfer-Encoding", "Origin",
        ][field];
        let _ = Request::get(&target).answer();
        let _ = Request::get("/ws").set(name, &[&value]).answer();
    }
}

/// Every header a response may have.
const NAMES: [&str; 12] = [
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Version",
    "Content-Type",
    "Content-Length",
    "Cache-Control",
    "Allow",
    "WWW-Authenticate",
    "Retry-After",
];
