//! The opening handshake over the wire: a sample of every row that the pure tests go through.

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use crate::client::{Client, FIN, KEY, TEXT, connect_unix, frame, head, raw};
use crate::http::{Response, exchange, is_at_its_end};
use crate::server::{Plan, Server};

/// A head with one line changed, added or taken away.
fn changed(from: &str, to: &str) -> String {
    let good = head("/echo", "");
    assert!(good.contains(from), "{from}");
    good.replacen(from, to, 1)
}

#[test]
fn each_row_of_the_table_has_its_answer() {
    let server = Server::start();
    let line = |line: &str| head("/echo", &format!("{line}\r\n"));
    let rows: Vec<(&str, String, u16)> = vec![
        ("a good one", head("/echo", ""), 101),
        ("POST", changed("GET", "POST"), 405),
        ("HEAD", changed("GET", "HEAD"), 405),
        ("a method in lower case", changed("GET", "get"), 405),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), 400),
        ("HTTP/2.0", changed("HTTP/1.1", "HTTP/2.0"), 505),
        ("no Host", changed("Host: ringroom.test\r\n", ""), 400),
        ("two Hosts", line("Host: other.test"), 400),
        ("Host with port", changed("ringroom.test", "[::1]:8000"), 101),
        ("Upgrade in a list", changed("Upgrade: websocket", "Upgrade: h2c, WebSocket"), 101),
        (
            "keep-alive, Upgrade",
            changed("Connection: Upgrade", "Connection: keep-alive, upgrade"),
            101,
        ),
        ("version 8", changed("Version: 13", "Version: 8"), 426),
        ("no version", changed("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("no key", changed(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""), 400),
        ("a short key", changed(KEY, "dGhlIHNhbXBsZSBub25j"), 400),
        ("trailing bits in the key", changed(KEY, "dGhlIHNhbXBsZSBub25jZR=="), 400),
        ("an origin from elsewhere", line("Origin: https://evil.example"), 403),
        ("only unknown subprotocols", line("Sec-WebSocket-Protocol: chat"), 400),
        ("ours among others", line("Sec-WebSocket-Protocol: chat, ringroom.v1.json"), 101),
        ("a body", line("Content-Length: 5"), 400),
        ("a chunked body", line("Transfer-Encoding: chunked"), 400),
        ("101 headers", head("/echo", &"X: y\r\n".repeat(101)), 431),
        ("a long line", line(&format!("X: {}", "y".repeat(20_000))), 431),
        ("a long target", head(&format!("/echo?{}", "q".repeat(8_200)), ""), 414),
        ("a bare LF", changed("\r\nHost", "\nHost"), 400),
        ("a folded line", line("X: a\r\n b"), 400),
        ("a space before the colon", line("X : a"), 400),
        ("a NUL", line("X: a\0b"), 400),
        ("authority form", changed("/echo", "ringroom.test:80"), 400),
        ("absolute form", changed("/echo", "http://ringroom.test/echo"), 101),
        ("a NUL in the room", head("/ws/a%00b", ""), 400),
        ("two tokens", head("/ws?token=a&token=b", ""), 400),
        ("two credentials", head("/ws?token=a", "Authorization: Bearer b\r\n"), 400),
    ];
    for (what, bytes, status) in rows {
        let response = exchange(server.address(), bytes.as_bytes());
        let response = response.unwrap_or_else(|| panic!("{what}: no response"));
        assert_eq!(response.status, status, "{what}: {response:?}");
        if status == 426 {
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "{what}");
        }
    }
}

#[test]
fn what_was_not_offered_is_not_answered() {
    let server = Server::start();
    let plain = exchange(server.address(), head("/echo", "").as_bytes()).unwrap();
    assert_eq!(plain.header("sec-websocket-protocol"), None);
    assert_eq!(plain.header("sec-websocket-extensions"), None);
    let offers = "Sec-WebSocket-Protocol: x, ringroom.v1.msgpack\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=08\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n";
    let chosen = exchange(server.address(), head("/echo", offers).as_bytes()).unwrap();
    assert_eq!(chosen.header("sec-websocket-protocol"), Some("ringroom.v1.msgpack"));
    let extension = chosen.header("sec-websocket-extensions").unwrap();
    assert!(extension.contains("server_max_window_bits=10"), "{extension}");
    assert!(!extension.contains("client_max_window_bits"), "{extension}");
}

#[test]
fn a_refusal_ends_the_connection_and_reflects_nothing() {
    let server = Server::start();
    let bytes = head("/echo", "Sec-WebSocket-Protocol: canary\r\nContent-Length: 0x5\r\n");
    let mut stream = raw(server.address());
    // A second request behind the first is never answered.
    stream.write_all((bytes + "GET /live HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let response = Response::read(&mut stream).unwrap();
    assert_eq!(response.status, 400);
    assert!(!response.text().contains("canary"));
    assert!(is_at_its_end(&mut stream));
}

#[test]
fn frames_behind_the_head_are_not_lost() {
    let server = Server::start();
    let mut bytes = head("/echo", "").into_bytes();
    bytes.extend(frame(FIN | TEXT, b"early"));
    // In one segment, and with each cut.
    for cut in [bytes.len(), 1, bytes.len() - 3, bytes.len() - 12] {
        let mut client = Client::over(raw(server.address()));
        client.send(&bytes[..cut]);
        client.send(&bytes[cut..]);
        assert_eq!(client.response().unwrap().status, 101);
        assert_eq!(client.receive().unwrap().payload, b"early", "cut at {cut}");
    }
}

#[test]
fn what_follows_an_upgrade_is_never_a_second_request() {
    let server = Server::start();
    let live = "GET /live HTTP/1.1\r\nHost: ringroom.test\r\n\r\n";
    for second in [head("/echo", ""), live.to_owned()] {
        let mut client = Client::over(raw(server.address()));
        client.send((head("/echo", "") + &second).as_bytes());
        assert_eq!(client.response().unwrap().status, 101);
        // A frame that is no first one, with a bit that nobody has negotiated.
        assert_eq!(client.closed(), Some(1002));
    }
}

#[test]
fn a_head_that_drips_has_an_absolute_deadline() {
    let server = Plan::new().set("handshake.deadline_ms=300").start();
    let mut stream = raw(server.address());
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // Always something new, never the end; of a header, which has room for more than will come.
    stream.write_all(b"GET /echo HTTP/1.1\r\nX: ").unwrap();
    let mut answer = [0; 1_024];
    let length = (0..3_000).find_map(|_| {
        // Where this is not run for long, the server may have let go meanwhile; what it said is there.
        let _ = stream.write_all(b"G");
        stream.read(&mut answer).ok().filter(|length| *length > 0)
    });
    let length = length.expect("it is never cut off");
    assert!(answer[..length].starts_with(b"HTTP/1.1 408 "), "{:?}", &answer[..length]);
    assert!(server.metric("ringroom_handshake_failures_total", "deadline") >= 1.0);
}

#[test]
fn an_endpoint_that_is_off_is_none() {
    let server = Plan::new().set("dev.echo=false").start();
    assert_eq!(exchange(server.address(), head("/echo", "").as_bytes()).unwrap().status, 404);
}

#[test]
fn allowed_origins_are_compared_whole() {
    let plan = Plan::new().set("handshake.origins=https://app.example");
    let server = plan.set("handshake.allow_absent_origin=false").start();
    for (origin, status) in [
        ("Origin: https://app.example\r\n", 101),
        ("Origin: https://APP.example\r\n", 101),
        ("Origin: https://app.example.evil.example\r\n", 403),
        ("Origin: http://app.example\r\n", 403),
        ("Origin: https://app.example:444\r\n", 403),
        ("Origin: null\r\n", 403),
        ("", 403),
    ] {
        let response = exchange(server.address(), head("/echo", origin).as_bytes()).unwrap();
        assert_eq!(response.status, status, "{origin}");
    }
}

#[test]
fn a_unix_socket_speaks_it_too() {
    let path = crate::server::folder().join("socket");
    let config = format!("listen = [\"unix:{}\"]\n", path.display());
    let mut server = Plan::new().listeners(&config).start();
    let mut client = Client::try_echo(connect_unix(&path), "").expect("the upgrade");
    assert!(client.is_served());
    server.signal("TERM");
    assert_eq!(client.closed(), Some(1012));
    assert!(server.ended().success());
    assert!(!path.exists(), "the path is free again");
}
