//! A client that has ended its side, and is owed something: answers, a refusal, a close frame. It gets
//! them, on either driver and over TLS; and does not stay for longer than a goodbye may take.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::{BINARY, CLOSE, Client, FIN, TEXT, Wire, frame, head, raw};
use crate::server::{Plan, Server, eventually};
use crate::talk::Talk;
use crate::tls::{self, Certificates, TlsStream};

const DRIVERS: [&str; 2] = ["uring", "epoll"];

/// The kernel of the server holds little of the answers.
fn plan(driver: &str) -> Plan {
    Plan::new().arguments(&["--driver", driver]).set("tcp.send_buffer_bytes=4096")
}

fn close() -> Vec<u8> {
    frame(FIN | CLOSE, &1000_u16.to_be_bytes())
}

fn is_left_alone(server: &Server) {
    eventually("nobody stays", || server.metric("ringroom_connections_open", "") < 1.0);
}

/// As `printf … | nc -N` does: it has said all, and now reads.
#[test]
fn who_has_ended_its_side_still_gets_its_answers() {
    for driver in DRIVERS {
        let server = Plan::new().arguments(&["--driver", driver]).start();
        for (count, bytes) in [(1, 10), (50, 20_000)] {
            let stream = raw(server.address());
            let half = stream.try_clone().unwrap();
            let mut client = Client::try_echo(stream, "").unwrap();
            let payload = vec![b'x'; bytes];
            let said = frame(FIN | TEXT, &payload).repeat(count);
            let talking = thread::spawn(move || {
                (&half).write_all(&said).unwrap();
                half.shutdown(Shutdown::Write).unwrap();
            });
            for number in 0..count {
                let answer = client.receive();
                let answer = answer.unwrap_or_else(|| panic!("{driver}: {number} of {count}"));
                assert_eq!(answer.payload, payload, "{driver}");
            }
            talking.join().unwrap();
            assert!(client.is_at_its_end(), "{driver}");
        }
        is_left_alone(&server);
    }
}

/// It is not waited for longer than for a goodbye.
#[test]
fn who_has_ended_its_side_and_reads_nothing_is_let_go() {
    for driver in DRIVERS {
        let server = plan(driver).start();
        // More than the kernel holds of the answers, and less than the server holds.
        let said = frame(FIN | TEXT, &[b'x'; 60_000]).repeat(6);
        let clients = [said.clone(), [said, close()].concat()].map(|said| {
            let stream = raw(server.address());
            let half = stream.try_clone().unwrap();
            let client = Client::try_echo(stream, "").unwrap();
            (&half).write_all(&said).unwrap();
            half.shutdown(Shutdown::Write).unwrap();
            client
        });
        is_left_alone(&server);
        drop(clients);
    }
}

/// Whether the end is read with the request or behind it is chance.
#[test]
fn a_request_with_the_end_behind_it_has_its_answer() {
    let upgrade = head("/echo", "").into_bytes();
    let bad = head("/echo", "Content-Length: 5\r\n").into_bytes();
    let echo = [&upgrade[..], &frame(FIN | TEXT, b"hi")].concat();
    let rows: [(&[u8], &[u8], &[u8]); 6] = [
        (b"GET /\r\n\r\n", b"HTTP/1.1 400 ", b"}"),
        (&bad, b"HTTP/1.1 400 ", b"}"),
        (&upgrade, b"HTTP/1.1 101 ", b"\r\n\r\n"),
        (&echo, b"HTTP/1.1 101 ", b"\x81\x02hi"),
        (&[&echo[..], &close()].concat(), b"HTTP/1.1 101 ", b"\x81\x02hi\x88\x02\x03\xE8"),
        (&[&echo[..], &frame(FIN | 0x3, b"x")].concat(), b"HTTP/1.1 101 ", b"opcode"),
    ];
    for driver in DRIVERS {
        let server = plan(driver).start();
        for (said, first, last) in rows {
            for _ in 0..20 {
                let mut stream = raw(server.address());
                stream.write_all(said).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).unwrap();
                let text = String::from_utf8_lossy(&heard);
                assert!(heard.starts_with(first), "{driver}: {text}");
                let has_last = heard.windows(last.len()).any(|window| window == last);
                assert!(has_last, "{driver}: {text}");
            }
        }
        is_left_alone(&server);
    }
}

/// Says so much, ends its side, and reads only then: all echoes, then a close frame if it sent one.
fn is_answered<W: Wire + 'static>(what: &str, mut wire: W, says_goodbye: bool, end: fn(&mut W)) {
    const COUNT: usize = 20;
    let mut said = head("/echo", "").into_bytes();
    said.extend(frame(FIN | BINARY, &[7; 20_000]).repeat(COUNT));
    if says_goodbye {
        said.extend(close());
    }
    wire.write_all(&said).unwrap();
    end(&mut wire);
    // The answers fill the socket meanwhile.
    thread::sleep(Duration::from_millis(300));
    let mut client = Client::over(wire);
    assert_eq!(client.response().unwrap().status, 101, "{what}");
    for number in 0..COUNT {
        let echo = client.receive().unwrap_or_else(|| panic!("{what}: {number} of {COUNT}"));
        assert_eq!((echo.first, echo.payload.len()), (FIN | BINARY, 20_000), "{what}");
    }
    if says_goodbye {
        let close = client.receive().unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!(close.close_code(), Some(1000), "{what}");
    }
    assert!(client.is_at_its_end(), "{what}: its end is no orderly one");
}

/// Who has ended its side and reads nothing is not written to again and again: its socket is said to have
/// room, and it has none.
#[test]
fn who_has_ended_its_side_with_a_full_socket_costs_nothing_while_it_waits() {
    let certificates = Certificates::new();
    let config = certificates.client(rustls::ALL_VERSIONS);
    for driver in DRIVERS {
        let plain = plan(driver).start();
        let encrypted = plan(driver).listeners(&certificates.listener("")).start();
        // With one of these the outbox is empty, and what was encrypted is not with the kernel.
        for count in 3..=14 {
            let mut stream = raw(plain.address());
            stream.write_all(&echoes(count)).unwrap();
            end_plain(&mut stream);
            goes_round_seldom(&plain, count);
            let mut stream = tls::connect(encrypted.address(), &config).expect("a session");
            stream.write_all(&echoes(count)).unwrap();
            end_session(&mut stream);
            end_socket(&mut stream);
            goes_round_seldom(&encrypted, count);
        }
        is_left_alone(&plain);
        is_left_alone(&encrypted);
    }
}

/// Nor its breaking: what waits, and what a room is published meanwhile, is for those who are there.
#[test]
fn nothing_follows_the_end_of_a_session() {
    let certificates = Certificates::new();
    let everyone = certificates.client(rustls::ALL_VERSIONS);
    // Where it can be seen what a record is.
    let config = certificates.client(&[&rustls::version::TLS12]);
    for driver in DRIVERS {
        let server = plan(driver).listeners(&certificates.listener("")).start();
        let stream = tls::connect(server.address(), &everyone).expect("a session");
        let mut publisher = Talk::try_over(stream, "/ws/r", "").expect("the upgrade");
        let ping = json!({ "type": "ping", "data": "7".repeat(20_000) }).to_string();
        // With one of these the outbox is empty, and what was encrypted is not with the kernel.
        for (count, end) in
            (3..=14).flat_map(|count| [(count, end_session as End), (count, break_off)])
        {
            let mut stream = tls::connect(server.address(), &config).expect("a session");
            let pings = frame(FIN | TEXT, ping.as_bytes()).repeat(count);
            stream.write_all(&[head("/ws/r", "").into_bytes(), pings].concat()).unwrap();
            end(&mut stream);
            end_socket(&mut stream);
            thread::sleep(Duration::from_millis(50));
            for _ in 0..3 {
                let publish = json!({ "type": "publish", "room": "r", "data": "late" });
                assert_eq!(publisher.ask(publish)["type"], "ok");
            }
            let mut heard = Vec::new();
            stream.sock.read_to_end(&mut heard).expect("an orderly end");
            let kinds = kinds_of_records(&heard);
            let end = kinds.iter().position(|kind| *kind == ALERT).expect("the session's end");
            assert_eq!(end + 1, kinds.len(), "{driver}: {count} pings, {kinds:?}");
        }
        drop(publisher);
        is_left_alone(&server);
    }
}

/// What nobody can decrypt.
fn break_off(stream: &mut TlsStream) {
    stream.sock.write_all(&[&b"\x17\x03\x03\x00\x30"[..], &[0; 0x30]].concat()).unwrap();
}

const ALERT: u8 = 21;

fn kinds_of_records(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        kinds.push(*kind);
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    kinds
}

fn echoes(count: usize) -> Vec<u8> {
    [head("/echo", "").into_bytes(), frame(FIN | BINARY, &[7; 20_000]).repeat(count)].concat()
}

/// Once all that can be written is.
fn goes_round_seldom(server: &Server, count: usize) {
    thread::sleep(Duration::from_millis(50));
    let rounds = || server.metric("ringroom_ticks_total", "");
    let before = rounds();
    thread::sleep(Duration::from_millis(50));
    let went = rounds() - before;
    assert!(went < 300.0, "{went} rounds for {count}");
}

fn end_plain(stream: &mut TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

fn end_socket(stream: &mut TlsStream) {
    stream.sock.shutdown(Shutdown::Write).unwrap();
}

fn end_session(stream: &mut TlsStream) {
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

/// How a client over TLS ends its side: without a word, or with one.
const ENDS: [(&str, End); 2] = [("socket", end_socket), ("session", end_session)];

type End = fn(&mut TlsStream);

#[test]
fn a_full_socket_is_written_to_the_last_frame() {
    for driver in DRIVERS {
        let server = plan(driver).start();
        for says_goodbye in [false, true] {
            let what = format!("{driver}, goodbye: {says_goodbye}");
            is_answered(&what, raw(server.address()), says_goodbye, end_plain);
        }
        is_left_alone(&server);
    }
}

/// Ciphertext that waits is owed as well, and so is the end of the session.
#[test]
fn a_full_socket_is_written_to_the_last_record() {
    let certificates = Certificates::new();
    let config = certificates.client(rustls::ALL_VERSIONS);
    for driver in DRIVERS {
        let server = plan(driver).listeners(&certificates.listener("")).start();
        for says_goodbye in [false, true] {
            for (how, end) in ENDS {
                let what = format!("{driver}, end of the {how}, goodbye: {says_goodbye}");
                let stream = tls::connect(server.address(), &config).expect("a session");
                is_answered(&what, stream, says_goodbye, end);
            }
        }
        is_left_alone(&server);
    }
}
