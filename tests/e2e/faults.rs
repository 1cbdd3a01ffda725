//! What must never happen, on request: a panic costs one connection, a wedged core is noticed, and a
//! core that is lost takes the process with it.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{BINARY, Client, FIN, TEXT, echoes, frame, raw};
use crate::http::request;
use crate::identity::{self, SECRET};
use crate::server::{Plan, Server, eventually};
use crate::talk::{Talk, now, token};
use crate::tls::{self, Certificates};

/// What even a machine that is busy with other tests has time for.
const GENEROUS: Duration = Duration::from_secs(5);

/// Makes a server that obeys it panic in the middle of this connection's message.
const PANIC: &[u8] = b"panic";

#[test]
fn faults_are_not_to_be_had_unless_asked_for() {
    let server = Plan::new().start();
    assert_eq!(server.fault("panic"), Some(404));
    let mut client = Client::echo(server.address());
    client.send(&frame(FIN | TEXT, PANIC));
    assert_eq!(client.receive().unwrap().payload, PANIC);
}

#[test]
fn a_panic_closes_its_own_connection_only() {
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().set("dev.faults=true").arguments(&["--driver", driver]);
        let server = plan.start();
        let mut others = echoes(server.address(), 5);
        for round in 1..=3_u8 {
            let mut victim = Client::echo(server.address());
            // The others' messages are in the same tick, before and behind.
            for (index, other) in others.iter_mut().enumerate() {
                other.send(&frame(FIN | TEXT, b"are you there?"));
                if index == 2 {
                    victim.send(&frame(FIN | TEXT, PANIC));
                }
            }
            assert_eq!(victim.closed(), Some(1011), "{driver}");
            for other in &mut others {
                assert_eq!(other.receive().unwrap().payload, b"are you there?", "{driver}");
            }
            assert!(others.iter_mut().all(Client::is_served), "{driver}");
            assert_eq!(server.metric("ringroom_panics_total", ""), f64::from(round));
        }
        assert_eq!(server.control("/ready").status, 200);
    }
}

/// It was read long ago, and waited until what comes before it was taken.
#[test]
fn a_panic_in_what_has_waited_closes_whose_it_was() {
    let plan = Plan::new().set("dev.faults=true").set("tcp.send_buffer_bytes=16384");
    let server = plan.set("limits.outbox_bytes=65536").start();
    let mut others = echoes(server.address(), 8);
    let stream = raw(server.address());
    let mut victim = Client::try_echo(stream.try_clone().unwrap(), "").unwrap();
    let held = || server.metric("ringroom_inbox_bytes", "");
    thread::scope(|scope| {
        scope.spawn(|| {
            let before = frame(FIN | BINARY, &[7; 1_000]).repeat(10_000);
            (&stream).write_all(&[before, frame(FIN | TEXT, PANIC)].concat()).unwrap();
        });
        eventually("something waits", || held() > 0.0);
        assert!(others.iter_mut().all(Client::is_served));
        assert_eq!(victim.closed(), Some(1011));
    });
    assert!(others.iter_mut().all(Client::is_served));
    assert_eq!(server.metric("ringroom_panics_total", ""), 1.0);
    eventually("nothing is held", || held() < 1.0);
}

/// In a timer of its own, in what it asks of another core, and once its answer is written.
#[test]
fn a_panic_for_a_connection_away_from_its_reader_closes_that_one_only() {
    let server = Plan::new().set("dev.faults=true").cores(2).start();
    let mut others = echoes(server.address(), 8);
    for (round, words) in
        [(1, "panic in a timer"), (2, "panic on the mesh"), (3, "panic in a flush")]
    {
        let mut victim = Client::echo(server.address());
        victim.send(&frame(FIN | TEXT, words.as_bytes()));
        assert_eq!(victim.closed(), Some(1011), "{words}");
        assert!(others.iter_mut().all(Client::is_served), "{words}");
        assert_eq!(server.metric("ringroom_panics_total", ""), f64::from(round), "{words}");
    }
    assert_eq!(server.control("/ready").status, 200);
}

#[test]
fn a_panic_behind_tls_is_told_in_tls() {
    let certificates = Certificates::new();
    let plan = Plan::new().set("dev.faults=true");
    let server = plan.listeners(&certificates.listener("")).start();
    let config = certificates.client(rustls::ALL_VERSIONS);
    let connect = || {
        let stream = tls::connect(server.address(), &config).expect("a session");
        Client::try_echo(stream, "").expect("the upgrade")
    };
    let mut other = connect();
    let mut victim = connect();
    victim.send(&frame(FIN | TEXT, PANIC));
    let close = victim.receive().expect("a close frame in TLS");
    assert_eq!(close.close_code(), Some(1011));
    let mut victim = connect();
    let words = b"panic in a flush";
    victim.send(&frame(FIN | TEXT, words));
    assert_eq!(victim.receive().expect("what was queued before").payload, words);
    let close = victim.receive().expect("a close frame behind it");
    assert_eq!(close.close_code(), Some(1011));
    assert!(other.is_served());
    assert_eq!(server.metric("ringroom_panics_total", ""), 2.0);
}

#[test]
fn a_wedged_core_is_noticed_and_named() {
    let server = Plan::new().set("dev.faults=true").start();
    assert_eq!(server.fault("wedge?for_ms=6000"), Some(202));
    eventually("it is not ready", || server.control("/ready").status == 503);
    let health = server.control("/health");
    assert_eq!(health.status, 503);
    assert!(health.text().contains("wedged"), "{}", health.text());
    assert_eq!(server.control("/live").status, 200, "the control plane lives");
    eventually("it is ready again", || server.control("/ready").status == 200);
    eventually("the log names it", || server.log().contains("wedged"));
    assert!(Client::echo(server.address()).is_served());
}

/// Nobody is sent away, timers go on as before, and what people see is what the clock says.
#[test]
fn the_wall_clock_may_jump() {
    let plan = Plan::new().set("dev.faults=true").set("heartbeat.interval_ms=2000");
    let server = plan.start();
    let mut clients = echoes(server.address(), 10);
    for by_ms in [3_600_000_i64, -3_600_000, 0] {
        assert_eq!(server.fault(&format!("clock?by_ms={by_ms}")), Some(202));
        let before = server.metric("ringroom_pings_total", "");
        eventually("heartbeats go on", || server.metric("ringroom_pings_total", "") > before + 9.0);
        assert!(clients.iter_mut().all(is_alive), "{by_ms}");
    }
    assert_eq!(server.control("/ready").status, 200);
    assert!(clients.iter_mut().all(is_alive));
}

/// Whether what is sent comes back, pings aside.
fn is_alive(client: &mut Client) -> bool {
    client.send(&frame(FIN | TEXT, b"are you there?"));
    let frames = std::iter::from_fn(|| client.receive());
    frames.take(100).any(|frame| frame.first == FIN | TEXT && frame.payload == b"are you there?")
}

/// A server that checks tokens, and whose clock jumps.
fn jumping(leeway_ms: u32) -> Server {
    let more = "[limits]\nconnections_per_user = 100\n[dev]\nfaults = true\n";
    identity::server(1, &format!("[auth]\nleeway_ms = {leeway_ms}\n{more}"))
}

/// A token of somebody's, which runs out so many seconds from now.
fn until(user: &str, seconds: i64) -> String {
    let now = now().cast_signed();
    token(SECRET, json!({ "sub": user, "iat": now - 9_000, "exp": now + seconds }))
}

/// Lets the clock be so far ahead, and waits until it is, by what is published; the place of the last.
fn jump(server: &Server, talk: &mut Talk, by_s: i64, mut offset: u64) -> u64 {
    assert_eq!(server.fault(&format!("clock?by_ms={}", by_s * 1_000)), Some(202));
    eventually("the clock has jumped", || {
        talk.say(&json!({ "type": "publish", "room": "a", "data": by_s }));
        let message = talk.hear_of("message");
        assert_eq!(message["offset"], offset + 1, "{message}");
        offset += 1;
        let ahead_s = message["at"].as_i64().unwrap() / 1_000 - now().cast_signed();
        (ahead_s - by_s).abs() < 600
    });
    offset
}

#[test]
fn a_wall_clock_that_jumps_changes_who_may_come_and_not_who_is_here() {
    let server = jumping(60_000);
    let address = server.address();
    let long = until("ann", 9_000);
    let mut names = HashSet::new();
    let mut here: Vec<Talk> = (0..5).map(|_| named(address, &long, &mut names)).collect();
    let mut brief = Talk::bearer(address, &until("bob", 5));
    assert_eq!(here[0].ask(json!({ "type": "join", "room": "a" }))["type"], "ok");
    let mut offset = 0;
    // Its time is over by then, and still within the leeway; over; and far from over.
    for (by_s, user, comes_in) in [(20, "cid", true), (3_600, "dan", false), (-3_600, "eve", true)]
    {
        offset = jump(&server, &mut here[0], by_s, offset);
        let header = format!("Authorization: Bearer {}\r\n", until(user, 5));
        match Talk::try_open(address, "/ws", &header) {
            Ok(_) => assert!(comes_in, "{by_s}"),
            Err(refused) => {
                assert!(!comes_in && refused.text().contains("expired"), "{by_s}: {refused:?}");
            }
        }
        if comes_in {
            assert_eq!(brief.ask(json!({ "type": "ping" }))["type"], "pong", "{by_s}");
        }
        for talk in &mut here {
            assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong", "{by_s}");
        }
        here.push(named(address, &long, &mut names));
    }
}

/// A connection whose name is none of those.
fn named(address: SocketAddr, token: &str, names: &mut HashSet<Value>) -> Talk {
    let mut talk = Talk::by(address, token);
    let welcome = talk.hear();
    assert!(names.insert(welcome["connection"].clone()), "{welcome}");
    talk
}

#[test]
fn a_token_runs_out_by_a_wall_clock_that_has_jumped() {
    let server = jumping(0);
    let address = server.address();
    let mut witness = Talk::bearer(address, &until("ann", 9_000));
    assert_eq!(witness.ask(json!({ "type": "join", "room": "a" }))["type"], "ok");
    jump(&server, &mut witness, -3_600, 0);
    // By its own clock it is over; by the server's there is an hour left.
    let mut over = Talk::bearer(address, &until("bob", -10));
    // A few seconds are left by the server's; how many it takes to come in is the machine's affair.
    let mut soon = (1..20)
        .find_map(|seconds| {
            let header = format!("Authorization: Bearer {}\r\n", until("cid", seconds - 3_600));
            Talk::try_open(address, "/ws", &header).ok()
        })
        .expect("it comes in");
    assert_eq!(soon.closed(), ("token_expired".to_owned(), 1008));
    assert_eq!(over.ask(json!({ "type": "ping" }))["type"], "pong");
}

#[test]
fn a_core_that_is_lost_ends_the_process() {
    let mut server = Plan::new().set("dev.faults=true").start();
    let _held = raw(server.address());
    let began = Instant::now();
    server.fault("panic");
    let status = server.ended();
    // A tenth of a second where nothing else runs; no more than a second is promised.
    assert!(began.elapsed() < GENEROUS, "it lived on for {:?}", began.elapsed());
    assert_eq!(status.code(), Some(1), "a supervisor is to start it again");
    assert!(server.log().contains("a thread panicked"), "{}", server.log());
}

#[test]
fn a_request_on_the_main_port_is_answered_while_another_connection_panics() {
    let server = Plan::new().set("dev.faults=true").start();
    let mut victim = Client::echo(server.address());
    victim.send(&frame(FIN | TEXT, PANIC));
    assert_eq!(request(server.address(), "GET", "/live").status, 200);
    assert_eq!(victim.closed(), Some(1011));
}
