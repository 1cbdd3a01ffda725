//! The figures of the control plane move with what is done, each family with its own.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::json;

use crate::client::{BINARY, Client, FIN, Frame, PING, PONG, RSV1, TEXT, frame, raw};
use crate::frames::deflate;
use crate::http;
use crate::server::{Plan, Server, eventually};
use crate::talk::Talk;

/// What everybody's traffic moves, deflated messages, heartbeats, and sockets that take no more.
const FAMILIES: [&str; 19] = [
    "accepts_total",
    "handshakes_total",
    "handshake_latency_seconds_count",
    "messages_in_total",
    "messages_out_total",
    "bytes_in_total",
    "bytes_out_total",
    "inflate_messages_total",
    "inflate_compressed_bytes_total",
    "inflate_plain_bytes_total",
    "deflate_messages_total",
    "deflate_compressed_bytes_total",
    "deflate_plain_bytes_total",
    "pings_total",
    "pongs_total",
    "round_trip_seconds_count",
    "write_latency_seconds_count",
    "loop_time_seconds_count",
    "timer_lateness_seconds_count",
];

fn figures(server: &Server) -> BTreeMap<&'static str, f64> {
    let figure = |name| (name, server.metric(&format!("ringroom_{name}"), ""));
    FAMILIES.into_iter().map(figure).collect()
}

/// The next frame that is no ping; pings are answered.
fn receive(client: &mut Client) -> Frame {
    loop {
        let next = client.receive().expect("a frame");
        if next.first != FIN | PING {
            return next;
        }
        client.send(&frame(FIN | PONG, &next.payload));
    }
}

#[test]
fn every_family_rises_with_what_it_counts() {
    const LARGE: usize = 60_000;
    const MANY: usize = 8;
    let server = Plan::new()
        .set("heartbeat.interval_ms=100")
        .set("heartbeat.max_missed=100")
        .set("tcp.send_buffer_bytes=4096")
        .start();
    let before = figures(&server);

    let text = b"What is said often is soon said shortly. ".repeat(100);
    let mut client = Client::deflated(server.address());
    client.send(&frame(FIN | RSV1 | TEXT, &deflate(&text)));
    assert_eq!(receive(&mut client).first, FIN | RSV1 | TEXT);
    // It falls silent, is asked, and answers.
    let ping = client.receive().expect("a ping");
    assert_eq!(ping.first, FIN | PING);
    client.send(&frame(FIN | PONG, &ping.payload));

    // More than the kernel holds for a client that does not read.
    let stream = raw(server.address());
    let half = stream.try_clone().unwrap();
    let mut slow = Client::try_echo(stream, "").unwrap();
    let said = frame(FIN | BINARY, &[7; LARGE]).repeat(MANY);
    let talking = std::thread::spawn(move || (&half).write_all(&said).unwrap());
    let taken = before["messages_in_total"] + 1.0 + MANY as f64 * 0.6;
    eventually("it is owed much", || server.metric("ringroom_messages_in_total", "") >= taken);
    for _ in 0..MANY {
        assert_eq!(receive(&mut slow).payload.len(), LARGE);
    }
    talking.join().unwrap();

    // What goes out is counted where a room has it delivered.
    let member = || {
        let mut member = Talk::try_open(server.address(), "/ws", "").unwrap();
        assert_eq!(member.ask(json!({ "type": "join", "room": "r" }))["type"], "ok");
        member
    };
    let (mut hears, mut speaks) = (member(), member());
    let said = json!({ "type": "publish", "room": "r", "data": "hello" });
    assert_eq!(speaks.ask(said)["type"], "ok");
    assert_eq!(hears.hear_of("message")["data"], "hello");

    let mut after = figures(&server);
    eventually("all of it is counted", || {
        after = figures(&server);
        FAMILIES.iter().all(|name| after[name] > before[name])
    });
    let rise = |name: &str| after[name] - before[name];
    assert_eq!(rise("handshakes_total"), 4.0);
    assert_eq!(rise("messages_in_total"), 1.0 + MANY as f64 + 3.0);
    assert_eq!((rise("inflate_messages_total"), rise("deflate_messages_total")), (1.0, 1.0));
    for way in ["inflate", "deflate"] {
        let plain = rise(&format!("{way}_plain_bytes_total"));
        assert_eq!(plain, text.len() as f64, "{way}");
        assert!(rise(&format!("{way}_compressed_bytes_total")) < plain / 4.0, "{way}");
    }
    let large = (LARGE * MANY) as f64;
    assert!(rise("bytes_in_total") > large && rise("bytes_out_total") > large);
}

/// Whatever becomes of a connection, it is counted once more than as one that was accepted.
#[test]
fn all_that_is_accepted_is_told() {
    let server = Plan::new().start();
    assert!(Client::echo(server.address()).is_served());
    assert_eq!(http::request(server.address(), "GET", "/live").status, 200);
    assert_eq!(http::exchange(server.address(), b"no\r\n\r\n").map(|it| it.status), Some(400));
    let total = |name: &str| server.metric(&format!("ringroom_{name}_total"), "");
    assert_eq!(total("relays"), 1.0);
    let told = || {
        let ways = ["handshakes", "relays", "handshake_failures", "refusals"];
        ways.map(total).iter().sum::<f64>()
    };
    eventually("they are as many", || told() == total("accepts"));
}

/// What does not come to a message costs as well.
#[test]
fn what_is_inflated_in_vain_is_counted_in_bytes() {
    let server = Plan::new().start();
    let bomb = deflate(&vec![0; 1 << 20]);
    for (payload, code) in [(&bomb[..], 1009), (&b"\xff\xff\xff"[..], 1007)] {
        let mut client = Client::deflated(server.address());
        client.send(&frame(FIN | RSV1 | TEXT, payload));
        assert_eq!(client.receive().unwrap().payload[..2], u16::to_be_bytes(code));
    }
    let all = (bomb.len() + 3) as f64;
    eventually("both are", || server.metric("ringroom_inflate_compressed_bytes_total", "") == all);
    assert_eq!(server.metric("ringroom_inflate_messages_total", ""), 0.0);
}
