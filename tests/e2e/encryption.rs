//! TLS: versions, client certificates, resumption, new certificates, and clients that speak none.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::client::{BINARY, Client, FIN, PING, TEXT, frame, head, raw};
use crate::http::{exchange, request};
use crate::server::{Plan, Server, eventually};
use crate::tls::{self, Certificates, TlsStream};

fn serve(certificates: &Certificates, more: &str) -> Server {
    Plan::new().listeners(&certificates.listener(more)).start()
}

fn echo(stream: TlsStream) -> Client {
    Client::try_echo(stream, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        .expect("the upgrade")
}

#[test]
fn both_versions_serve_websockets_and_pages() {
    let certificates = Certificates::new();
    let server = serve(&certificates, "");
    for version in [&TLS12, &TLS13] {
        let config = certificates.client(&[version]);
        let mut client = echo(tls::connect(server.address(), &config).expect("a session"));
        assert!(client.is_served());
        // More than one record, both ways.
        let long = vec![b'x'; 60_000];
        client.send(&frame(FIN | TEXT, &long));
        assert!(client.receive().is_some());
        let mut page = tls::connect(server.address(), &config).expect("a session");
        page.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).expect("it ends with a close_notify");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn a_client_that_speaks_no_tls_meets_a_clean_end() {
    let certificates = Certificates::new();
    let server = serve(&certificates, "");
    for plain in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\x16\x03\x01\x00\x05hello", b"\0"] {
        let mut stream = raw(server.address());
        stream.write_all(plain).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // An alert at most, then the end; no reset.
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.len() <= 7, "{rest:?}");
    }
    let config = certificates.client(&[&TLS13]);
    assert!(echo(tls::connect(server.address(), &config).unwrap()).is_served());
}

#[test]
fn client_certificates_are_asked_for_as_configured() {
    let certificates = Certificates::new();
    let roots = certificates.file("ca", "pem");
    for (word, stranger_is_served) in [("optional", true), ("required", false)] {
        let more = format!("tls.client_ca_file = {roots:?}\ntls.client_certificate = \"{word}\"");
        let server = serve(&certificates, &more);
        let known = tls::connect(server.address(), &certificates.known_client());
        assert!(echo(known.expect("a session")).is_served(), "{word}");
        let stranger = tls::connect(server.address(), &certificates.client(&[&TLS13]));
        // In TLS 1.3 the client is done before the server has looked at its certificate.
        let served = stranger.is_some_and(|it| Client::try_echo(it, "").is_ok());
        assert_eq!(served, stranger_is_served, "{word}");
    }
}

/// How a session began that asks for a page.
fn handshake(server: &Server, config: &Arc<rustls::ClientConfig>) -> HandshakeKind {
    let mut stream = tls::connect(server.address(), config).expect("a session");
    // The tickets of TLS 1.3 come with the first answer.
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    stream.conn.handshake_kind().unwrap()
}

#[test]
fn sessions_are_resumed_until_the_certificate_is_another() {
    let certificates = Certificates::new();
    let server = serve(&certificates, "");
    let clients = [&TLS12, &TLS13].map(|version| certificates.client(&[version]));
    let begun = || clients.each_ref().map(|client| handshake(&server, client));
    assert_eq!(begun(), [HandshakeKind::Full; 2]);
    assert_eq!(begun(), [HandshakeKind::Resumed; 2]);
    server.signal("HUP");
    eventually("it is reloaded", || server.log().contains("certificates are reloaded"));
    assert_eq!(begun(), [HandshakeKind::Resumed; 2], "the files say what they said");
    let before = leaf(&server, &certificates.client(&[&TLS13]));
    certificates.issue("server", "localhost");
    eventually("the new certificate serves", || {
        leaf(&server, &certificates.client(&[&TLS13])) != before
    });
    assert_eq!(begun(), [HandshakeKind::Full; 2]);
}

fn leaf(server: &Server, config: &Arc<rustls::ClientConfig>) -> Option<Vec<u8>> {
    let stream = tls::connect(server.address(), config)?;
    stream.conn.peer_certificates().map(|chain| chain[0].to_vec())
}

#[test]
fn a_new_certificate_serves_without_dropping_anyone() {
    let certificates = Certificates::new();
    let server = serve(&certificates, "");
    let config = certificates.client(&[&TLS13]);
    let mut early = echo(tls::connect(server.address(), &config).unwrap());
    let mut before = leaf(&server, &config).unwrap();
    // By the change of the file, and on request.
    for is_asked in [false, true] {
        certificates.issue("server", "localhost");
        if is_asked {
            server.signal("HUP");
        }
        eventually("the new certificate serves", || {
            leaf(&server, &config).is_some_and(|leaf| leaf != before)
        });
        before = leaf(&server, &config).unwrap();
        assert!(early.is_served(), "who was there stays");
    }
}

#[test]
fn a_certificate_that_does_not_serve_changes_nothing() {
    let certificates = Certificates::new();
    let server = serve(&certificates, "");
    let config = certificates.client(&[&TLS13]);
    let before = leaf(&server, &config).unwrap();
    std::fs::write(certificates.file("server", "pem"), "nonsense").unwrap();
    server.signal("HUP");
    eventually("it says so", || server.log().contains("are kept"));
    assert_eq!(leaf(&server, &config), Some(before));
    certificates.issue("server", "localhost");
    eventually("a good one is taken", || leaf(&server, &config).is_some());
}

/// It is not the one that any port was asked for: that waits for a new process, and its settings with it.
#[test]
fn a_listener_that_moves_to_any_port_leaves_its_own_port_as_it_is() {
    let certificates = Certificates::new();
    certificates.issue("other", "localhost");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let any_port = certificates.listener("");
    let fixed = any_port.replace("127.0.0.1:0", &free.to_string());
    let server = Plan::new().listeners(&fixed).start();
    let config = certificates.client(&[&TLS13]);
    let before = leaf(&server, &config).unwrap();
    server.reload(&any_port.replace("/server.", "/other."));
    eventually("it is reloaded", || server.log().contains("certificates are reloaded"));
    assert_eq!(leaf(&server, &config), Some(before));
    let log = server.log();
    for named in [format!("listener {free} (no longer there)"), "127.0.0.1:0 (new)".to_owned()] {
        assert!(log.contains(&named), "{log}");
    }
}

#[test]
fn a_hello_that_drips_has_an_absolute_deadline() {
    let certificates = Certificates::new();
    let plan = Plan::new().listeners(&certificates.listener(""));
    let server = plan.set("handshake.deadline_ms=300").start();
    let mut stream = raw(server.address());
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // Always something new, never the end; of a hello as long as a record, which has room for more
    // than will come.
    stream.write_all(b"\x16\x03\x01\x40\x00\x01\x00\x3F\xFC\x03\x03").unwrap();
    let is_cut_off = (0..3_000).any(|_| {
        stream.write_all(&[0]).is_err()
            || match stream.read(&mut [0; 64]) {
                Ok(length) => length == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            }
    });
    assert!(is_cut_off);
    assert!(server.metric("ringroom_handshake_failures_total", "deadline") >= 1.0);
}

#[test]
fn frames_behind_the_head_are_not_lost() {
    let certificates = Certificates::new();
    let server = serve(&certificates, "");
    let head = head("/echo", "").into_bytes();
    let bytes = [&head[..], &frame(FIN | TEXT, b"early")].concat();
    for version in [&TLS12, &TLS13] {
        let config = certificates.client(&[version]);
        // In one record, behind the head's, and with a cut in each.
        for cut in [bytes.len(), head.len(), 1, head.len() + 3] {
            let mut client =
                Client::over(tls::connect(server.address(), &config).expect("a session"));
            client.send(&bytes[..cut]);
            client.send(&bytes[cut..]);
            assert_eq!(client.response().unwrap().status, 101);
            assert_eq!(client.receive().unwrap().payload, b"early", "{version:?}, cut at {cut}");
        }
    }
}

/// A read is decrypted record by record. Were those that follow not held back, more would be answered than
/// may wait, which closes a connection.
#[test]
fn records_behind_one_that_has_to_wait_wait_as_well() {
    let certificates = Certificates::new();
    let sizes = ["message_bytes", "frame_bytes", "outbox_bytes"];
    let plan = Plan::new().listeners(&certificates.listener(""));
    let server = sizes.iter().fold(plan, |it, of| it.set(&format!("limits.{of}=16384"))).start();
    let config = certificates.client(&[&TLS13]);
    let mut client =
        Client::try_echo(tls::connect(server.address(), &config).unwrap(), "").unwrap();
    // Each fills a record.
    let message = frame(FIN | BINARY, &[7; 16_376]);
    assert_eq!(message.len(), 16_384);
    for _ in 0..20 {
        client.send(&message.repeat(4));
        for _ in 0..4 {
            let echo = client.receive().unwrap();
            assert_eq!((echo.first, echo.payload.len()), (FIN | BINARY, 16_376));
        }
    }
}

#[test]
fn where_tls_is_required_nobody_comes_in_the_clear() {
    let certificates = Certificates::new();
    let plain = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let config = format!("[handshake]\nrequire_tls = true\n{}{plain}", certificates.listener(""));
    let server = Plan::new().listeners(&config).start();
    let [encrypted, clear] = server.addresses[..] else { panic!("two listeners") };
    let config = certificates.client(&[&TLS13]);
    assert!(echo(tls::connect(encrypted, &config).expect("a session")).is_served());
    for target in ["/echo", "/ws", "/ws?token=canary"] {
        // Nobody is trusted here, whatever is claimed.
        for claim in ["", "X-Forwarded-Proto: https\r\n", "Forwarded: proto=https\r\n"] {
            let answer = exchange(clear, head(target, claim).as_bytes()).expect("an answer");
            assert_eq!(answer.status, 403, "{target} {claim}");
            let text = answer.text();
            assert!(text.contains("TLS is required") && !text.contains("canary"), "{text}");
        }
    }
    for page in ["/live", "/ready", "/health"] {
        assert_eq!(request(clear, "GET", page).status, 200, "{page}: a health check is no client");
    }
    assert!(server.metric("ringroom_handshake_failures_total", "tls") >= 9.0);
    let said = Plan::new().set("handshake.require_tls=true").refuses();
    assert!(
        said.contains("handshake.require_tls") && said.contains("a listener with TLS"),
        "{said}"
    );
}

/// As the same bytes are without TLS, where they are part of a frame.
#[test]
fn a_record_that_comes_slowly_is_a_sign_of_life() {
    let certificates = Certificates::new();
    let plan = Plan::new().listeners(&certificates.listener(""));
    let server = plan.set("heartbeat.interval_ms=500").set("heartbeat.max_missed=3").start();
    let config = certificates.client(&[&TLS13]);
    let mut stream = tls::connect(server.address(), &config).expect("a session");
    stream.write_all(head("/echo", "").as_bytes()).unwrap();
    stream.conn.writer().write_all(&frame(FIN | BINARY, &[7; 3_000])).unwrap();
    let mut record = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut record).unwrap();
    }
    // Three times as long as silence may last.
    for piece in record.chunks(50) {
        stream.sock.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut client = Client::over(stream);
    assert_eq!(client.response().unwrap().status, 101);
    let mut frames = std::iter::from_fn(|| client.receive()).filter(|it| it.first != FIN | PING);
    let echo = frames.next().map(|echo| (echo.first, echo.payload.len()));
    assert_eq!(echo, Some((FIN | BINARY, 3_000)));
}
