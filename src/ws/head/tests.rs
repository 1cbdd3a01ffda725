#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::Config;

fn limits() -> config::Handshake {
    Config::default().handshake
}

/// What parsing says, with the length for an accepted head.
fn outcome(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    parse(bytes, &limits()).map(|parsed| parsed.map(|(_, length)| length))
}

/// The same, with the bytes coming one at a time: the outcome, and after how many bytes.
fn dribbled(bytes: &[u8]) -> (Result<Option<usize>, Refusal>, usize) {
    let limits = limits();
    let mut scan = Scan::default();
    for end in 0..=bytes.len() {
        let parsed = scan.parse(&bytes[..end], &limits);
        match parsed.map(|parsed| parsed.map(|(_, length)| length)) {
            Ok(None) => {}
            decided => return (decided, end),
        }
    }
    (Ok(None), bytes.len())
}

fn with_line(line: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat()
}

#[test]
fn a_head_is_read_as_sent() {
    let bytes = b"GET /ws/a%20b?token=x&y HTTP/1.1\r\nHOST:  example.com \r\nX:\r\n\
                  Connection: keep-alive,\tUpgrade\r\nconnection: ,, foo\r\n\r\nbehind";
    let (head, length) = parse(bytes, &limits()).unwrap().unwrap();
    assert_eq!(&bytes[length..], b"behind");
    assert_eq!(head.method(), "GET");
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.target(), "/ws/a%20b?token=x&y");
    assert_eq!(head.path(), "/ws/a%20b");
    assert_eq!(head.query(), Some("token=x&y"));
    assert_eq!(head.single("host"), Ok(Some("example.com")));
    assert_eq!(head.single("x"), Ok(Some("")));
    assert_eq!(head.single("y"), Ok(None));
    assert_eq!(head.single("connection"), Err(Refusal::RepeatedHeader));
    let elements: Vec<_> = head.list("Connection").collect();
    assert_eq!(elements, [&b"keep-alive"[..], b"Upgrade", b"foo"]);
    assert!(head.lists("CONNECTION", "upgrade"));
    assert!(!head.is_upgrade());
}

#[test]
fn h2_versions() {
    for (line, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
        ("GET / HTTP/1.0\r\n\r\n", Ok(Some(18))),
        ("GET / HTTP/2.0\r\n\r\n", Err(Refusal::HttpVersion)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Refusal::HttpVersion)),
        ("GET / HTTP/1.2\r\n\r\n", Err(Refusal::HttpVersion)),
        ("GET /\r\n\r\n", Err(Refusal::RequestLine)),
        ("GET / \r\n\r\n", Err(Refusal::RequestLine)),
        ("GET / http/1.1\r\n\r\n", Err(Refusal::RequestLine)),
        ("GET / HTTP/11\r\n\r\n", Err(Refusal::RequestLine)),
        ("GET / HTTP/1.10\r\n\r\n", Err(Refusal::RequestLine)),
        ("GET / HTTP/1.1 \r\n\r\n", Err(Refusal::RequestLine)),
    ] {
        assert_eq!(outcome(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn h5_upgrade_is_looked_for_in_all_lines_and_in_any_case() {
    for (lines, expected) in [
        ("Upgrade: websocket", true),
        ("Upgrade: WebSocket", true),
        ("uPGRADE:websocket", true),
        ("Upgrade: h2c, websocket", true),
        ("Upgrade: h2c\r\nUpgrade: websocket", true),
        ("Upgrade: h2c", false),
        ("Upgrade: websockets", false),
        ("Upgrade: websocket/13", false),
        ("Connection: upgrade", false),
    ] {
        let bytes = with_line(lines.as_bytes());
        let (head, _) = parse(&bytes, &limits()).unwrap().unwrap();
        assert_eq!(head.is_upgrade(), expected, "{lines:?}");
    }
}

#[test]
fn h10_limits_hold_and_end_the_wait_at_once() {
    let line = |bytes: usize| {
        let name = b"X: ".to_vec();
        [name, vec![b'a'; bytes - 3]].concat()
    };
    let target = |bytes: usize| {
        [b"GET /".to_vec(), vec![b'a'; bytes - 1], b" HTTP/1.1\r\n\r\n".to_vec()].concat()
    };
    let headers = |count: usize| {
        [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(count), b"\r\n".to_vec()].concat()
    };
    let total = |bytes: usize| {
        let rest = bytes - b"GET / HTTP/1.1\r\n\r\n\r\n\r\n".len();
        let (first, second) = (line(rest / 2), line(rest - rest / 2));
        [&b"GET / HTTP/1.1\r\n"[..], &first, b"\r\n", &second, b"\r\n\r\n"].concat()
    };
    let fits = |bytes: Vec<u8>| Ok(Some(bytes.len()));
    for (name, bytes, expected) in [
        ("line", with_line(&line(8_192)), fits(with_line(&line(8_192)))),
        ("line", with_line(&line(8_193)), Err(Refusal::HeadTooLarge)),
        ("name", with_line(&[b'a'; 8_193]), Err(Refusal::HeadTooLarge)),
        ("target", target(8_192), fits(target(8_192))),
        ("target", target(8_193), Err(Refusal::TargetTooLong)),
        ("headers", headers(100), fits(headers(100))),
        ("headers", headers(101), Err(Refusal::TooManyHeaders)),
        ("headers", headers(10_000), Err(Refusal::TooManyHeaders)),
        ("total", total(16_384), fits(total(16_384))),
        ("total", total(16_385), Err(Refusal::HeadTooLarge)),
        ("method", vec![b'A'; 33], Err(Refusal::RequestLine)),
    ] {
        assert_eq!(outcome(&bytes), expected, "{name} in {} bytes", bytes.len());
        let (decided, after) = dribbled(&bytes);
        assert_eq!(decided, expected, "{name} in {} bytes, dribbled", bytes.len());
        assert!(after <= 16_385);
    }
}

#[test]
fn h12_bytes_that_may_not_stand_there_are_refused() {
    for (line, expected) in [
        (&b"A: b\nB: c"[..], Refusal::HeaderLine),
        (b"A: b\rB: c", Refusal::HeaderLine),
        (b"A: b\r\n folded", Refusal::HeaderLine),
        (b"A: b\r\n\tfolded", Refusal::HeaderLine),
        (b" A: b", Refusal::HeaderLine),
        (b"A : b", Refusal::HeaderLine),
        (b"A\t: b", Refusal::HeaderLine),
        (b"A", Refusal::HeaderLine),
        (b": b", Refusal::HeaderLine),
        (b"A\0: b", Refusal::HeaderLine),
        (b"A: b\0", Refusal::HeaderLine),
        (b"A: b\x01", Refusal::HeaderLine),
        (b"A: b\x0b", Refusal::HeaderLine),
        (b"A: b\x7f", Refusal::HeaderLine),
        (b"\xc3\xa4: b", Refusal::HeaderLine),
        (b"A\xff: b", Refusal::HeaderLine),
        (b"A(b): c", Refusal::HeaderLine),
        (b"\"A\": c", Refusal::HeaderLine),
    ] {
        let bytes = with_line(line);
        assert_eq!(outcome(&bytes), Err(expected), "{}", line.escape_ascii());
        assert_eq!(dribbled(&bytes).0, Err(expected), "{}", line.escape_ascii());
    }
    for start in [
        &b"\r\nGET / HTTP/1.1\r\n\r\n"[..],
        b"\nGET / HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /  HTTP/1.1\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET /#a HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
        b"G\xc3T / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x05\x01\x00",
    ] {
        assert_eq!(outcome(start), Err(Refusal::RequestLine), "{}", start.escape_ascii());
    }
    let text = with_line(b"A: \xc3\xa4\tb");
    let (head, _) = parse(&text, &limits()).unwrap().unwrap();
    assert_eq!(head.single("a"), Err(Refusal::HeaderNotText));
    assert_eq!(head.lines("a").next(), Some(&b"\xc3\xa4\tb"[..]));
}

#[test]
fn a_hopeless_head_is_refused_at_its_first_wrong_byte() {
    for (bytes, after) in [
        (&b"GET / HTTP/1.1\r\nHost : a"[..], 21),
        (b"\x16\x03\x01", 1),
        (b"GET / XTTP/1.1", 7),
        (b"GET / HTTP/1.1\n", 15),
        (b"GET / HTTP/1.1\r\nA: b\r\n c", 23),
    ] {
        let (decided, at) = dribbled(bytes);
        assert!(decided.is_err(), "{}", bytes.escape_ascii());
        assert_eq!(at, after, "{}", bytes.escape_ascii());
    }
}

#[test]
fn h13_what_is_pipelined_stays() {
    let head = with_line(b"A: b");
    let bytes = [&head[..], b"GET / HTTP/1.1\n\0"].concat();
    assert_eq!(outcome(&bytes), Ok(Some(head.len())));
}

#[test]
fn h16_forms_of_the_target() {
    for (target, authority, path, query) in [
        ("/a/b?c?d", None, "/a/b", Some("c?d")),
        ("http://a:1/b?c", Some("a:1"), "/b", Some("c")),
        ("HTTPS://a", Some("a"), "/", None),
        ("http://a?b", Some("a"), "/", Some("b")),
        ("*", None, "*", None),
        ("a:1", None, "a:1", None),
        ("//a/b", None, "//a/b", None),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\n\r\n");
        let (head, _) = parse(bytes.as_bytes(), &limits()).unwrap().unwrap();
        assert_eq!(head.authority(), authority, "{target}");
        assert_eq!((head.path(), head.query()), (path, query), "{target}");
    }
}

#[test]
fn debug_shows_neither_query_nor_values() {
    let bytes = b"GET /ws?token=canary HTTP/1.1\r\nAuthorization: Bearer canary\r\n\r\n";
    let (head, _) = parse(bytes, &limits()).unwrap().unwrap();
    let shown = format!("{head:?}");
    assert!(shown.contains("/ws") && shown.contains("Authorization"));
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_scan_that_is_asked_again_says_the_same() {
    let bytes = with_line(b"A: b");
    let limits = limits();
    let mut scan = Scan::default();
    assert!(scan.parse(&bytes, &limits).unwrap().is_some());
    assert!(scan.parse(&bytes, &limits).unwrap().is_some());
    assert!(scan.parse(&bytes[..5], &limits).unwrap().is_none());
}

#[test]
fn h14_a_dribbled_head_costs_no_more_than_its_length() {
    let limits = config::Handshake { head_bytes: 2 << 20, headers: 2_000, ..limits() };
    let line = [b"A: ".to_vec(), vec![b'a'; 1_019], b"\r\n".to_vec()].concat();
    let head = [b"GET / HTTP/1.1\r\n".to_vec(), line.repeat(1_024), b"\r\n".to_vec()].concat();
    let mut scan = Scan::default();
    let start = Instant::now();
    for end in 0..head.len() {
        assert!(scan.parse(&head[..end], &limits).unwrap().is_none());
    }
    assert!(scan.parse(&head, &limits).unwrap().is_some());
    // Half a million million steps would be the square.
    assert!(start.elapsed() < Duration::from_secs(30));
}

/// Heads that are valid, of all the bytes they may have.
fn head_bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = ("[A-Za-z!#$%&'*+.^_`|~-]{1,12}", "[\\x20-\\x7e\t\u{a0}-\u{ff}]{0,20}");
    let lines = prop::collection::vec(line, 0..12);
    ("[A-Z]{1,8}", "/[!-\"$-~]{0,30}", "[01]", lines).prop_map(|(method, target, minor, lines)| {
        let mut head = format!("{method} {target} HTTP/1.{minor}\r\n");
        for (name, value) in lines {
            head.push_str(&format!("{name}:{value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    })
}

proptest! {
    #[test]
    fn every_split_of_a_valid_head_gives_the_same(head in head_bytes(), behind: Vec<u8>) {
        let bytes = [&head[..], &behind[..]].concat();
        prop_assert_eq!(outcome(&bytes), Ok(Some(head.len())));
        prop_assert_eq!(dribbled(&bytes), (Ok(Some(head.len())), head.len()));
        for end in 0..head.len() {
            prop_assert_eq!(outcome(&bytes[..end]), Ok(None));
        }
    }

    #[test]
    fn damage_is_decided_alike_whole_and_dribbled(
        head in head_bytes(), place: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = head;
        let place = place.index(bytes.len());
        bytes[place] = byte;
        prop_assert_eq!(outcome(&bytes), dribbled(&bytes).0);
    }

    #[test]
    fn arbitrary_bytes_are_decided_without_a_panic(bytes: Vec<u8>) {
        prop_assert_eq!(outcome(&bytes), dribbled(&bytes).0);
    }
}
