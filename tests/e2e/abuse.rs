//! Peers that mean harm, or have died: what they hold is bounded, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{BINARY, Client, FIN, PING, PONG, TEXT, frame, head, raw};
use crate::http;
use crate::server::{Plan, Server, eventually};
use crate::talk::Talk;

#[test]
fn a_silent_peer_is_pinged_and_given_up() {
    let plan = Plan::new().set("heartbeat.interval_ms=100").set("heartbeat.max_missed=3");
    let server = plan.start();
    let mut client = Client::echo(server.address());
    let mut pings = 0;
    let close = loop {
        let frame = client.receive().expect("a close frame before the end");
        match frame.first {
            first if first == FIN | PING => pings += 1,
            _ => break frame,
        }
    };
    assert_eq!(close.close_code(), Some(1001));
    assert!((2..=4).contains(&pings), "{pings} pings");
    // It does not answer the close either.
    assert!(client.is_at_its_end());
    eventually("it is forgotten", || server.metric("ringroom_connections_open", "") < 1.0);
}

#[test]
fn who_answers_pings_stays() {
    let plan = Plan::new().set("heartbeat.interval_ms=50").set("heartbeat.max_missed=2");
    let server = plan.start();
    let mut client = Client::echo(server.address());
    for _ in 0..20 {
        let ping = client.receive().unwrap();
        assert_eq!(ping.first, FIN | PING);
        client.send(&frame(FIN | PONG, &ping.payload));
    }
    assert!(server.metric("ringroom_connections_open", "") >= 1.0);
}

#[test]
fn who_never_reads_is_bounded() {
    let plan = Plan::new().set("tcp.send_buffer_bytes=4096");
    let server = plan.set("limits.outbox_bytes=131072").start();
    let mut good = Client::echo(server.address());
    let before = server.resident_bytes();
    let message = frame(FIN | BINARY, &[7; 60_000]);
    let mut greedy: Vec<TcpStream> = (0..20).map(|_| raw(server.address())).collect();
    thread::scope(|scope| {
        for stream in &mut greedy {
            let message = &message;
            scope.spawn(move || {
                stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
                stream.write_all(head("/echo", "").as_bytes()).unwrap();
                // Until the server takes no more of it, or ends it.
                while stream.write_all(message).is_ok() {}
            });
        }
    });
    assert!(good.is_served());
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "20 peers that never read hold {grown} bytes");
    let queued = server.metric("ringroom_outbox_bytes", "");
    assert!(queued <= f64::from(21 * 131_072 * 2), "{queued} bytes are queued");
}

/// The kernel still holds what it has said: that is not to be answered, and waited for, any more.
#[test]
fn who_never_read_and_resets_is_let_go() {
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().set("tcp.send_buffer_bytes=65536").arguments(&["--driver", driver]);
        let server = plan.start();
        let message = frame(FIN | BINARY, &[7; 60_000]);
        for _ in 0..3 {
            let mut stream = raw(server.address());
            stream.write_all(head("/echo", "").as_bytes()).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            // Until the server takes no more of it; what has come back makes the close a reset.
            while stream.write_all(&message).is_ok() {}
        }
        // Not after three heartbeats, which is more than this waits.
        eventually("they are let go", || server.metric("ringroom_connections_open", "") < 1.0);
    }
}

#[test]
fn a_flood_of_pings_is_answered_within_bounds() {
    let server = Server::start();
    let mut good = Client::echo(server.address());
    let before = server.resident_bytes();
    let flood = frame(FIN | PING, &[1; 125]).repeat(10_000);
    let mut stream = raw(server.address());
    stream.write_all(head("/echo", "").as_bytes()).unwrap();
    // Far more than any buffer on the way holds, and nothing is read.
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < 40 && stream.write_all(&flood).is_ok() {
        sent += 1;
    }
    assert!(good.is_served());
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "pongs hold {grown} bytes");
    // The latest ping is answered once there is room, though not every one.
    let mut some = vec![0; 4_096];
    assert!(stream.read(&mut some).unwrap() > 0);
}

/// A WebSocket of the protocol that has been welcomed.
fn welcomed(server: &Server) -> Client {
    let mut client = Client::over(raw(server.address()));
    client.send(head("/ws", "").as_bytes());
    assert_eq!(client.response().map(|response| response.status), Some(101));
    assert_eq!(client.receive().map(|welcome| welcome.first), Some(FIN | TEXT));
    client
}

/// Where nobody is told to be slower.
fn unlimited() -> Plan {
    let all = ["rate", "users", "addresses"];
    all.iter().fold(Plan::new(), |plan, of| plan.set(&format!("{of}.messages_per_second=0")))
}

/// Each answer may be a page of history, and a frame or a write may ask for a hundred.
#[test]
fn who_asks_and_never_reads_is_owed_no_more_than_its_bound() {
    const ASKED: u64 = 60;
    for cores in [1, 2] {
        let plan = unlimited().cores(cores).set("tcp.send_buffer_bytes=65536");
        let server = plan.start();
        let mut good = Talk::try_open(server.address(), "/ws", "").unwrap();
        let mut greedy = Talk::try_open(server.address(), "/ws", "").unwrap();
        let create = json!({"type": "room.create", "room": "r", "config": {"history_size": 64}});
        assert_eq!(good.ask(create)["type"], "ok");
        for talk in [&mut good, &mut greedy] {
            assert_eq!(talk.ask(json!({"type": "join", "room": "r"}))["type"], "ok");
        }
        let said = json!({"type": "publish", "room": "r", "data": "x".repeat(7_000)});
        for _ in 0..64 {
            assert_eq!(good.ask(said.clone())["type"], "ok");
            greedy.hear_of("message");
        }
        let before = server.resident_bytes();
        let history = |id: u64| json!({"type": "history", "id": 1_000 + id, "room": "r"});
        let batch = Value::from((0..ASKED).map(history).collect::<Vec<_>>()).to_string();
        let single =
            (ASKED..2 * ASKED).map(|id| frame(FIN | TEXT, history(id).to_string().as_bytes()));
        let end = frame(FIN | PING, b"the end");
        let all = [frame(FIN | TEXT, batch.as_bytes()), single.flatten().collect(), end].concat();
        greedy.say_all(&all);
        let queued = || server.metric("ringroom_outbox_bytes", "");
        eventually("it is owed something", || queued() > 100_000.0);
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(good.ask(json!({"type": "ping"}))["type"], "pong");
            assert!(began.elapsed() < Duration::from_secs(2), "others wait for it");
            assert!(queued() < 2_000_000.0, "{} bytes are queued", queued());
        }
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 12 << 20, "its answers hold {grown} bytes");
        for id in 0..2 * ASKED {
            let answer = greedy.hear();
            assert_eq!((&answer["id"], &answer["type"]), (&json!(1_000 + id), &json!("ok")));
            assert_eq!(answer["messages"].as_array().map(Vec::len), Some(64));
        }
        assert_eq!(greedy.hear_pong(), b"the end", "it is read to the last byte");
        assert_eq!(greedy.ask(json!({"type": "ping"}))["type"], "pong");
        eventually("nothing is owed", || queued() < 1.0);
    }
}

/// What a room has for somebody who reads slowly keeps them from nothing that they say.
#[test]
fn who_reads_slowly_and_asks_is_heard_though_its_socket_is_full() {
    let overflow = json!({"slow_consumer": "drop_newest"});
    let plan = unlimited().cores(2).set("tcp.send_buffer_bytes=16384");
    let server = plan.set("limits.outbox_bytes=65536").start();
    let mut good = Talk::try_open(server.address(), "/ws", "").unwrap();
    // By their names, rooms are at home on this core and that.
    for name in ["a", "b", "c", "d"] {
        let mut slow = Talk::try_open(server.address(), "/ws", "").unwrap();
        let create = json!({"type": "room.create", "room": name, "config": overflow.clone()});
        assert_eq!(good.ask(create)["type"], "ok");
        for talk in [&mut good, &mut slow] {
            assert_eq!(talk.ask(json!({"type": "join", "room": name}))["type"], "ok");
        }
        let loud = json!({"type": "publish", "room": name, "exclude_self": true,
                          "data": "x".repeat(30_000)});
        // Its socket is full, and stays so.
        for _ in 0..400 {
            assert_eq!(good.ask(loud.clone())["type"], "ok");
        }
        for command in ["room.info", "history", "leave"] {
            slow.say(&json!({"type": command, "id": 9, "room": name}));
        }
        let info = json!({"type": "room.info", "room": name});
        eventually("it has left", || good.ask(info.clone())["user_count"] == 1);
    }
}

/// Who has ended its side is answered all that it has asked.
#[test]
fn who_asks_much_and_ends_its_side_is_answered_to_the_last() {
    const ASKED: u64 = 200;
    let server = unlimited().set("tcp.send_buffer_bytes=16384").start();
    let mut stream = raw(server.address());
    let mut client = Client::over(stream.try_clone().unwrap());
    client.send(head("/ws", "").as_bytes());
    assert_eq!(client.response().map(|response| response.status), Some(101));
    assert_eq!(client.receive().map(|welcome| welcome.first), Some(FIN | TEXT));
    let state = json!({"type": "state.set", "data": "s".repeat(4_000)}).to_string();
    let mut all = frame(FIN | TEXT, state.as_bytes());
    for id in 0..ASKED {
        let ask = json!({"type": "state.get", "id": id}).to_string();
        all.extend(frame(FIN | TEXT, ask.as_bytes()));
    }
    stream.write_all(&all).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // It is pinged meanwhile, and has nothing more to say.
    let frames = std::iter::from_fn(|| client.receive()).filter(|it| it.first == FIN | TEXT);
    let answers = frames.map(|it| serde_json::from_slice::<Value>(&it.payload).unwrap());
    let ids: Vec<_> = answers.map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..ASKED).collect::<Vec<_>>());
}

/// Where bytes are measured, a frame counts 64 however little is in it.
#[test]
fn a_flood_of_empty_pings_is_sent_away_and_honest_heartbeats_are_not() {
    // Nobody is given up who is kept from answering for five seconds.
    let server = Plan::new()
        .set("rate.bytes_per_second=65536")
        .set("rate.ban_ms=60000")
        .set("heartbeat.interval_ms=50")
        .set("heartbeat.max_missed=100")
        .start();
    let mut honest = welcomed(&server);
    beat(&mut honest, 5);
    assert!(server.metric("ringroom_rate_limited_total", "") < 1.0);
    thread::scope(|scope| {
        scope.spawn(|| beat(&mut honest, 20));
        let mut bad = welcomed(&server);
        // It may be sent away in the middle.
        let _ = bad.try_send(&frame(FIN | PING, b"").repeat(50_000));
        assert_eq!(bad.closed(), Some(1008));
    });
    assert!(server.metric("ringroom_rate_limited_total", "") > 100.0);
}

/// Answers so many pings, and has as many of its own answered.
fn beat(client: &mut Client, times: u32) {
    let (mut asked, mut answered) = (0, 0);
    while asked < times || answered < times {
        let beat = client.receive().expect("a ping or a pong");
        if beat.first == FIN | PING {
            asked += 1;
            client.send(&[frame(FIN | PONG, &beat.payload), frame(FIN | PING, b"me")].concat());
        } else {
            assert_eq!((beat.first, &beat.payload[..]), (FIN | PONG, &b"me"[..]));
            answered += 1;
        }
    }
}

#[test]
fn a_flood_of_tiny_fragments_ends_its_sender_only() {
    let server = Server::start();
    let mut good = Client::echo(server.address());
    for _ in 0..20 {
        let mut bad = Client::echo(server.address());
        // It is sent away in the middle.
        let _ = bad.try_send(&[frame(BINARY, b""), frame(0, b"x").repeat(100_000)].concat());
        let close = bad.receive();
        assert!(close.is_none_or(|close| close.close_code() == Some(1009)));
    }
    assert!(good.is_served());
}

#[test]
fn half_a_close_is_waited_for_and_not_for_ever() {
    let server = Server::start();
    let mut client = Client::echo(server.address());
    // Against the rules, so that the server closes; the answer never comes, and neither does the end.
    client.send(&frame(FIN | 0x3, b""));
    assert_eq!(client.receive().unwrap().close_code(), Some(1002));
    eventually("the server lets go", || server.metric("ringroom_connections_open", "") < 1.0);
    // Its side is ended; it goes on sending and is not listened to.
    for _ in 0..100 {
        if client.try_send(&frame(FIN | TEXT, b"hello?")).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(client.is_at_its_end());
}

#[test]
fn dribblers_do_not_keep_others_out() {
    let server = Plan::new().set("handshake.deadline_ms=60000").start();
    let mut dribblers: Vec<_> = (0..200).map(|_| raw(server.address())).collect();
    for byte in &head("/echo", "").as_bytes()[..20] {
        for dribbler in &mut dribblers {
            dribbler.write_all(&[*byte]).unwrap();
        }
        assert!(Client::echo(server.address()).is_served());
    }
    assert!(server.metric("ringroom_handshakes_pending", "") >= 200.0);
    drop(dribblers);
    eventually("they are forgotten", || server.metric("ringroom_handshakes_pending", "") < 1.0);
}

#[test]
fn a_storm_of_resets_leaves_nothing_behind() {
    let server = Server::start();
    let mut good = Client::echo(server.address());
    for round in 0..300 {
        let mut stream = raw(server.address());
        if round % 3 > 0 {
            stream.write_all(head("/echo", "").as_bytes()).unwrap();
        }
        if round % 3 > 1 {
            stream.write_all(&frame(FIN | TEXT, &[b'x'; 1_000])).unwrap();
        }
        reset(&stream);
    }
    assert!(good.is_served());
    eventually("all are forgotten", || {
        server.metric("ringroom_connections_open", "") <= 1.0
            && server.metric("ringroom_handshakes_pending", "") < 1.0
            && server.metric("ringroom_outbox_bytes", "") < 1.0
    });
}

/// Closes by RST.
#[expect(unsafe_code, reason = "SO_LINGER has no safe form that is stable")]
pub(crate) fn reset(stream: &TcpStream) {
    use std::os::fd::AsRawFd as _;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option is a live structure of the length given.
    let set = unsafe {
        let option = (&raw const linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, option, length)
    };
    assert_eq!(set, 0);
}

#[test]
fn noise_is_no_request() {
    let server = Server::start();
    let mut seed = 7_u64;
    for _ in 0..200 {
        let mut noise = Vec::new();
        for _ in 0..300 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((seed >> 33) as u8);
        }
        let mut stream = raw(server.address());
        // It is refused at the first byte that cannot be.
        let _ = stream.write_all(&noise);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
    }
    assert_eq!(http::request(server.address(), "GET", "/live").status, 200);
}

/// Whoever asks a control plane whether it lives does not wait for those who say nothing, be it at first or after an
/// answer.
#[test]
fn silence_at_the_control_plane_keeps_nobody_from_asking_it() {
    let server = Server::start();
    let address = server.control_address();
    let asked = b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    let silent: Vec<TcpStream> = (0..300)
        .map(|index| {
            let mut stream = http::connect(address);
            if index % 2 == 0 {
                stream.write_all(asked).unwrap();
                assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
            }
            stream
        })
        .collect();
    let mut stream = http::connect(address);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(asked).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer, long before a minute is over");
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(silent);
}
