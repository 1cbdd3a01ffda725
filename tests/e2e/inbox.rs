//! What is kept of those who send: messages of which only a part has come, and what waits because they do not
//! read. What all of it takes together is bounded, and those who sit on theirs do not keep others from ending
//! theirs.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{BINARY, Client, FIN, TEXT, echoes, frame, head, raw};
use crate::server::{Plan, Server, eventually};

const BUDGET_BYTES: u32 = 1 << 20;

fn held(server: &Server) -> f64 {
    server.metric("ringroom_inbox_bytes", "")
}

fn overloaded(server: &Server) -> f64 {
    server.metric("ringroom_closes_total", "reason=\"overloaded\"")
}

#[test]
fn those_who_sit_on_halves_of_messages_make_room() {
    let message = frame(FIN | BINARY, &[7; 60_000]);
    let (half, rest) = message.split_at(40_000);
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().arguments(&["--driver", driver]);
        let server = plan.set(&format!("limits.inbox_total_bytes={BUDGET_BYTES}")).start();
        let mut good = Client::echo(server.address());
        let before = server.resident_bytes();
        let mut bad = echoes(server.address(), 150);
        for client in &mut bad {
            client.send(half);
            assert!(held(&server) <= f64::from(BUDGET_BYTES));
        }
        // 26 of 40,000 bytes fit, or fewer while readers have larger buffers.
        eventually("most are sent away", || overloaded(&server) >= 124.0);
        assert!(good.is_served(), "{driver}");
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes for {BUDGET_BYTES}");

        // Those that are left sit there; a message in parts, slowly, is whole in the end.
        good.send(&frame(BINARY, &[1; 20_000]));
        good.send(&frame(0, &[2; 20_000]));
        thread::sleep(Duration::from_millis(100));
        let before = overloaded(&server);
        good.send(&frame(FIN, &[3; 20_000]));
        let echo = good.receive().unwrap();
        assert_eq!((echo.first, echo.payload.len()), (FIN | BINARY, 60_000), "{driver}");
        assert!(before > 124.0, "who has sat there for longer has made room");

        // The first went first, and was told; the last is still there, and may end what it began.
        assert_eq!(bad[0].closed(), Some(1013), "{driver}");
        let mut last = bad.pop().unwrap();
        last.send(rest);
        assert_eq!(last.receive().unwrap().payload.len(), 60_000, "{driver}");
        drop(bad);
        eventually("nothing is held", || held(&server) < 1.0);
        assert!(good.is_served() && last.is_served(), "{driver}");
    }
}

/// What was read behind what they are still to be answered is kept for none of them alone.
#[test]
fn those_who_do_not_read_their_answers_make_room() {
    let ping = |id: u32| json!({"type": "ping", "id": id, "data": "x".repeat(500)});
    let batch = Value::from((0..100).map(ping).collect::<Vec<_>>()).to_string();
    let floods = [
        ("/echo", frame(FIN | BINARY, &[7; 1_000]).repeat(60)),
        ("/ws", frame(FIN | TEXT, batch.as_bytes())),
    ];
    for (path, flood) in floods {
        let server = Plan::new()
            .set(&format!("limits.inbox_total_bytes={BUDGET_BYTES}"))
            .set("limits.outbox_bytes=65536")
            .set("tcp.send_buffer_bytes=16384")
            .set("rate.messages_per_second=0")
            .set("addresses.messages_per_second=0")
            .start();
        let mut good = Client::echo(server.address());
        let mut bad: Vec<_> = (0..60).map(|_| raw(server.address())).collect();
        thread::scope(|scope| {
            for stream in &mut bad {
                scope.spawn(|| {
                    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
                    stream.write_all(head(path, "").as_bytes()).unwrap();
                    // Until the server takes no more of it, or ends it.
                    while stream.write_all(&flood).is_ok() {}
                });
            }
            for _ in 0..20 {
                assert!(held(&server) <= f64::from(BUDGET_BYTES), "{path}");
                thread::sleep(Duration::from_millis(50));
            }
        });
        eventually("some are sent away", || overloaded(&server) > 0.0);
        assert!(held(&server) > 0.0, "{path}: others stay");
        assert!(good.is_served(), "{path}");
        drop(bad);
        eventually("nothing is held", || held(&server) < 1.0);
    }
}

/// The smallest budget that there may be still lets one after the other through.
#[test]
fn a_budget_of_one_message_is_enough_for_whoever_ends_theirs() {
    let server = Plan::new().set("limits.inbox_total_bytes=65536").start();
    let message = frame(FIN | BINARY, &[7; 65_536]);
    let mut clients = echoes(server.address(), 3);
    for _ in 0..20 {
        for client in &mut clients {
            client.send(&message[..30_000]);
            eventually("a part has come", || held(&server) > 0.0);
            client.send(&message[30_000..]);
            assert_eq!(client.receive().unwrap().payload.len(), 65_536);
        }
    }
    assert!(overloaded(&server) < 1.0);
    eventually("nothing is held", || held(&server) < 1.0);
}

#[test]
fn nothing_is_held_for_whoever_has_ended_or_panicked() {
    let plan = Plan::new().set("dev.faults=true");
    let server = plan.set("limits.inbox_total_bytes=1048576").start();
    let half = &frame(FIN | BINARY, &[7; 60_000])[..30_000];
    let mut clients = echoes(server.address(), 4);
    // Gone without a word, and against the rules.
    for client in &mut clients {
        client.send(half);
    }
    eventually("all halves have come", || held(&server) > 110_000.0);
    drop(clients);
    eventually("nothing is held", || held(&server) < 1.0);
    let mut client = Client::echo(server.address());
    client.send(&frame(TEXT, &[b'a'; 30_000]));
    eventually("a part has come", || held(&server) > 0.0);
    client.send(&frame(FIN | TEXT, b"another"));
    assert_eq!(client.closed(), Some(1002));
    eventually("nothing is held", || held(&server) < 1.0);

    // In the middle of a message that has come in parts; and away from its reader.
    let mut client = Client::echo(server.address());
    client.send(&frame(TEXT, b"pan"));
    eventually("a part has come", || held(&server) > 0.0);
    client.send(&frame(FIN, b"ic"));
    assert_eq!(client.closed(), Some(1011));
    eventually("nothing is held", || held(&server) < 1.0);
    let mut client = Client::echo(server.address());
    client.send(&[&frame(FIN | TEXT, b"panic in a timer")[..], half].concat());
    assert_eq!(client.closed(), Some(1011));
    eventually("nothing is held", || held(&server) < 1.0);
    assert!(server.metric("ringroom_panics_total", "") > 1.0);
}
