//! Frames over the wire: breaches and their codes, bounds that hold before memory is taken, and what
//! a peer may do that looks odd and is right.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::client::{BINARY, CLOSE, Client, FIN, PING, PONG, RSV1, TEXT, frame, head, raw};
use crate::http;
use crate::identity;
use crate::server::{Plan, Server, eventually};

/// What ends a message of permessage-deflate on the wire and is not sent.
const SYNC_TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// What else may become resident while bombs are thrown: of twice a limit of 64 KiB and of 1 MiB, 0.3
/// and 1.9 MB were measured.
const MARGIN: u64 = 1 << 20;

/// Deflated as RFC 7692 says, in any number of blocks.
pub(crate) fn deflate(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).unwrap();
    encoder.flush().unwrap();
    let mut bytes = encoder.get_ref().clone();
    assert!(bytes.ends_with(&SYNC_TAIL));
    bytes.truncate(bytes.len() - SYNC_TAIL.len());
    bytes
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(payload.len()).unwrap()];
    bytes.extend(payload);
    bytes
}

/// A masked header that says how much comes, in a form of choice.
fn header(first: u8, length: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(length);
    bytes.extend([0; 4]);
    bytes
}

fn wide(length: u64) -> Vec<u8> {
    let mut bytes = vec![0xFF];
    bytes.extend(length.to_be_bytes());
    bytes
}

#[test]
fn every_breach_has_its_code() {
    let server = Server::start();
    let long_reason = [&1000_u16.to_be_bytes()[..], &[b'r'; 124]].concat();
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("no mask", unmasked(FIN | TEXT, b"hello"), 1002),
        ("RSV1 without deflate", frame(FIN | RSV1 | TEXT, b"hello"), 1002),
        ("RSV2", frame(FIN | 0x20 | TEXT, b"hello"), 1002),
        ("RSV3", frame(FIN | 0x10 | TEXT, b"hello"), 1002),
        ("opcode 3", frame(FIN | 0x3, b"hello"), 1002),
        ("opcode 11", frame(FIN | 0xB, b"hello"), 1002),
        ("a ping in fragments", frame(PING, b"hello"), 1002),
        ("a ping too long", frame(FIN | PING, &[0; 126]), 1002),
        ("the top bit of a length", header(FIN | TEXT, &wide(1 << 63)), 1002),
        ("a length of 2^62", header(FIN | TEXT, &wide(1 << 62)), 1009),
        ("a length of the limit and one", header(FIN | TEXT, &wide(65_537)), 1009),
        ("a length that is not minimal", header(FIN | TEXT, &[0xFE, 0, 5]), 1002),
        ("a wide length that is not minimal", header(FIN | TEXT, &wide(5)), 1002),
        ("a continuation of nothing", frame(FIN, b"hello"), 1002),
        ("a message inside a message", [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(), 1002),
        ("text that is not UTF-8", frame(FIN | TEXT, b"\xC0\xAF"), 1007),
        ("bad text in a first fragment", frame(TEXT, b"\xED\xA0\x80"), 1007),
        ("half a character", frame(FIN | TEXT, b"\xE2\x82"), 1007),
        ("a close of one byte", frame(FIN | CLOSE, b"\x03"), 1002),
        ("close code 1005", frame(FIN | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("close code 1016", frame(FIN | CLOSE, &1016_u16.to_be_bytes()), 1002),
        ("a close reason that is too long", frame(FIN | CLOSE, &long_reason), 1002),
        ("a close reason that is not UTF-8", frame(FIN | CLOSE, b"\x03\xE8\xFF"), 1007),
        ("too many fragments", [frame(TEXT, b""), frame(0, b"").repeat(2_000)].concat(), 1009),
    ];
    for (what, bytes, code) in rows {
        let mut client = Client::echo(server.address());
        // It may be sent away before it has said all.
        let _ = client.try_send(&bytes);
        let close = client.receive().unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!(close.close_code(), Some(code), "{what}");
        assert!(client.is_at_its_end(), "{what}");
    }
    assert!(Client::echo(server.address()).is_served());
}

#[test]
fn what_looks_odd_and_is_right_is_served() {
    let server = Server::start();
    let mut client = Client::echo(server.address());
    // A ping between fragments is answered at once; an unsolicited pong is nothing.
    client.send(&frame(BINARY, b"one "));
    client.send(&frame(FIN | PONG, b"unasked"));
    client.send(&frame(FIN | PING, b"now"));
    let pong = client.receive().unwrap();
    assert_eq!((pong.first, pong.payload.as_slice()), (FIN | PONG, &b"now"[..]));
    client.send(&frame(0, b""));
    client.send(&frame(FIN, b"message"));
    let whole = client.receive().unwrap();
    assert_eq!((whole.first, whole.payload.as_slice()), (FIN | BINARY, &b"one message"[..]));
    // An empty message, a BOM and a NUL, a mask of zeros.
    for message in [&b""[..], b"\xEF\xBB\xBF\0"] {
        client.send(&frame(FIN | TEXT, message));
        assert_eq!(client.receive().unwrap().payload, message);
    }
    client.send(&[header(FIN | TEXT, &[0x82]), b"hi".to_vec()].concat());
    assert_eq!(client.receive().unwrap().payload, b"hi");
    // A character that is cut by a fragment and by a segment.
    for byte in [frame(TEXT, b"\xE2\x82"), frame(FIN, b"\xAC")].concat() {
        client.send(&[byte]);
    }
    assert_eq!(client.receive().unwrap().payload, "€".as_bytes());
}

#[test]
fn a_close_is_answered_once_and_nothing_follows() {
    let server = Server::start();
    for (payload, code) in [(vec![], None), (3000_u16.to_be_bytes().to_vec(), Some(3000))] {
        let mut client = Client::echo(server.address());
        client.send(&[frame(FIN | CLOSE, &payload), frame(FIN | TEXT, b"too late")].concat());
        let close = client.receive().unwrap();
        assert_eq!(close.first, FIN | CLOSE);
        assert_eq!(close.close_code(), code);
        assert!(client.is_at_its_end());
    }
}

#[test]
fn deflate_is_read_in_all_its_forms() {
    let server = Server::start();
    let text = "real time ".repeat(500).into_bytes();
    let packed = deflate(&text);
    let (head, tail) = packed.split_at(packed.len() / 2);
    let stored = [&[0x01, 5, 0, 0xFA, 0xFF][..], b"hello", &[0x00]].concat();
    let rows: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("in one frame", frame(FIN | RSV1 | TEXT, &packed), text.clone()),
        (
            "in fragments",
            [frame(RSV1 | TEXT, head), frame(FIN | PING, b""), frame(FIN, tail)].concat(),
            text.clone(),
        ),
        ("plain among deflated", frame(FIN | TEXT, b"plain"), b"plain".to_vec()),
        ("an empty message", frame(FIN | RSV1 | TEXT, &[0x00]), vec![]),
        ("stored, in a final block", frame(FIN | RSV1 | TEXT, &stored), b"hello".to_vec()),
        (
            "blocks behind a final block",
            frame(FIN | RSV1 | TEXT, &[&stored[..stored.len() - 1], &deflate(b" there")].concat()),
            b"hello there".to_vec(),
        ),
    ];
    let mut client = Client::deflated(server.address());
    for (what, bytes, message) in rows {
        client.send(&bytes);
        let mut echoed = client.receive().unwrap();
        if echoed.first == FIN | PONG {
            echoed = client.receive().unwrap();
        }
        let got = if echoed.first & RSV1 == 0 { echoed.payload } else { inflate(&echoed.payload) };
        assert_eq!(got, message, "{what}");
    }
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    // The library ends at a final block, which is how the server ends.
    flate2::read::DeflateDecoder::new(payload).read_to_end(&mut message).unwrap();
    message
}

#[test]
fn deflate_that_is_none_is_1007_and_a_bomb_is_1009() {
    let server = Server::start();
    let bomb = deflate(&vec![0; 200 << 20]);
    assert!(bomb.len() > 65_536, "it is over the limit of a frame, too");
    let small_bomb = deflate(&vec![0; 10 << 20]);
    assert!(small_bomb.len() < 65_536);
    let half = small_bomb.len() / 2;
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("noise", frame(FIN | RSV1 | TEXT, &[0xFF; 64]), 1007),
        ("cut off", frame(FIN | RSV1 | TEXT, &deflate(&[b'x'; 9_000])[..9]), 1007),
        ("not UTF-8 once inflated", frame(FIN | RSV1 | TEXT, &deflate(b"\xC0\xAF")), 1007),
        ("RSV1 on a continuation", [frame(TEXT, b"a"), frame(FIN | RSV1, b"b")].concat(), 1002),
        ("a deflated ping", frame(FIN | RSV1 | PING, b"\0"), 1002),
        ("a bomb", frame(FIN | RSV1 | BINARY, &small_bomb), 1009),
        (
            "a bomb in fragments",
            [frame(RSV1 | BINARY, &small_bomb[..half]), frame(FIN, &small_bomb[half..])].concat(),
            1009,
        ),
        ("a large bomb", frame(FIN | RSV1 | BINARY, &bomb), 1009),
    ];
    let before = server.resident_bytes();
    for (what, bytes, code) in rows {
        let mut client = Client::deflated(server.address());
        // It may be sent away before it has said all.
        let _ = client.try_send(&bytes);
        let close = client.receive().unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!(close.close_code(), Some(code), "{what}");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 2 * 65_536 + MARGIN, "bombs took {grown} bytes");
}

/// The same, from somebody who has not yet said who it is: it costs what a message may, and what it
/// is inflated into, no more.
#[test]
fn bombs_before_any_credential_are_bounded_by_a_messages_limit() {
    const LIMIT: u64 = 1 << 20;
    let server = identity::server(1, &format!("[limits]\nmessage_bytes = {LIMIT}\n"));
    let bomb = deflate(&vec![0; 32 << 20]);
    assert!(bomb.len() < LIMIT as usize, "it is within what is sent");
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let throw = |bytes: &[u8]| {
        let mut client = Client::over(raw(server.address()));
        client.send(head("/ws", offer).as_bytes());
        assert_eq!(client.response().unwrap().status, 101);
        let asked = client.receive().unwrap();
        assert!(String::from_utf8_lossy(&asked.payload).contains("auth_required"), "{asked:?}");
        // It may be sent away before it has said all.
        let _ = client.try_send(bytes);
        client.closed()
    };
    // What a connection costs the first time is not the bomb's.
    assert_eq!(throw(&frame(FIN | RSV1 | TEXT, &[0xFF; 64])), Some(1007));
    let before = server.resident_bytes();
    let half = bomb.len() / 2;
    let bombs = [
        frame(FIN | RSV1 | TEXT, &bomb),
        [frame(RSV1 | TEXT, &bomb[..half]), frame(FIN, &bomb[half..])].concat(),
    ];
    for bytes in bombs.iter().cycle().take(10) {
        assert_eq!(throw(bytes), Some(1009));
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 2 * LIMIT + MARGIN, "bombs took {grown} bytes");
    assert!(server.metric("ringroom_closes_total", "too_large") >= 10.0);
}

#[test]
fn a_room_may_be_plain_beside_one_that_is_compressed() {
    let config = "listen = [\"127.0.0.1:0\"]\n[namespaces.plain]\ncompress = false\n";
    let server = Plan::new().listeners(config).start();
    let mut client = Client::over(raw(server.address()));
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    client.send(head("/ws", offer).as_bytes());
    assert_eq!(client.response().unwrap().status, 101);
    let text = "a secret beside what a stranger wrote; ".repeat(100);
    for (room, is_packed) in [("plain:a", false), ("open:a", true), ("plain:a", false)] {
        let join = serde_json::json!({ "type": "join", "room": room });
        let publish = serde_json::json!({ "type": "publish", "room": room, "data": text });
        for message in [join, publish] {
            client.send(&frame(FIN | TEXT, message.to_string().as_bytes()));
        }
        let message = std::iter::from_fn(|| client.receive())
            .find(|frame| frame.first & RSV1 != 0 || frame.payload.len() > text.len())
            .expect("the message");
        assert_eq!(message.first & RSV1 != 0, is_packed, "{room}");
        let payload = if is_packed { inflate(&message.payload) } else { message.payload };
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&payload["room"], &payload["data"]), (&room.into(), &text.as_str().into()));
    }
}

/// `deflate.enabled` holds where a listener says nothing, and nowhere else.
#[test]
fn a_listener_has_the_last_word_on_deflate() {
    for general in [true, false] {
        let server = Plan::new()
            .set(&format!("deflate.enabled={general}"))
            .listeners(
                "[[listener]]\naddress = \"127.0.0.1:0\"\n\
                 [[listener]]\naddress = \"127.0.0.1:0\"\ndeflate = true\n\
                 [[listener]]\naddress = \"127.0.0.1:0\"\ndeflate = false\n",
            )
            .start();
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let head = head("/echo", offer);
        assert_eq!(server.addresses.len(), 3);
        for (address, is_on) in server.addresses.iter().zip([general, true, false]) {
            let response = http::exchange(*address, head.as_bytes()).unwrap();
            let extension = response.header("sec-websocket-extensions");
            assert_eq!((response.status, extension.is_some()), (101, is_on), "{general} {address}");
        }
        let text = b"What is said often is soon said shortly. ".repeat(100);
        let mut client = Client::deflated(server.addresses[1]);
        client.send(&frame(FIN | RSV1 | TEXT, &deflate(&text)));
        let echoed = client.receive().expect("an echo");
        assert_eq!(echoed.first, FIN | RSV1 | TEXT, "{general}");
        assert!(echoed.payload.len() < text.len() / 4);
    }
}

#[test]
fn what_a_large_message_took_comes_back() {
    const LARGE: usize = 8 << 20;
    let limits = ["message_bytes=33554432", "frame_bytes=33554432", "outbox_bytes=67108864"];
    let limits = limits.iter().chain(&["recovery_bytes=33554432"]);
    let plan = limits.fold(Plan::new(), |plan, limit| plan.set(&format!("limits.{limit}")));
    let server = plan.start();
    assert!(Client::deflated(server.address()).is_served());
    let before = server.resident_bytes();
    let noise: Vec<u8> = (0..LARGE as u64).map(|at| ((at * at * 0x9E37) >> 11) as u8).collect();
    let halves = noise.split_at(LARGE / 2);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&noise).unwrap();
    let final_block = [encoder.finish().unwrap(), vec![0]].concat();
    for (what, said) in [
        ("in two", [frame(BINARY, halves.0), frame(FIN, halves.1)].concat()),
        ("deflated", frame(FIN | RSV1 | BINARY, &final_block)),
    ] {
        let mut client = Client::deflated(server.address());
        client.send(&said);
        assert!(client.receive().is_some(), "{what}");
        drop(client);
        eventually("it is given back", || server.resident_bytes() < before + (4 << 20));
    }
}

#[test]
fn declared_lengths_take_no_memory() {
    let plan = Plan::new().set("limits.message_bytes=268435456");
    let plan = plan.set("limits.outbox_bytes=268435456").set("limits.recovery_bytes=268435456");
    let server = plan.set("mesh.backlog_bytes=268435456").start();
    let before = server.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::echo(server.address());
        client.send(&[header(FIN | BINARY, &wide(268_435_456)), vec![0; 100]].concat());
        clients.push(client);
    }
    assert!(Client::echo(server.address()).is_served());
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for what was only declared");
}
