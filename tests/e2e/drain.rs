//! The end: everyone is sent away in order, and another process may take over.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serde_json::json;

use crate::client::{Client, FIN, TEXT, connect_unix, echoes, frame, raw};
use crate::http;
use crate::identity::OPERATOR;
use crate::operator::operate;
use crate::server::{Plan, Server, eventually};
use crate::talk::Talk;

#[test]
fn a_signal_sends_everyone_away_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let plan = Plan::new().set("drain.window_ms=400").arguments(&["--driver", "auto"]);
        let mut server = plan.start();
        let mut clients = echoes(server.address(), 20);
        // What is on its way is still answered.
        clients[0].send(&frame(FIN | TEXT, b"last words"));
        assert_eq!(clients[0].receive().unwrap().payload, b"last words");
        server.signal(signal);
        for client in &mut clients {
            assert_eq!(client.closed(), Some(1012), "{signal}");
        }
        assert_eq!(server.ended().code(), Some(0), "{signal}");
    }
}

/// A UNIX socket is one for all cores: the first that closes it closes it for those that have not yet
/// heard of the drain, and that they must still do.
#[test]
fn cores_that_share_a_socket_all_end() {
    let path = crate::server::folder().join("shared");
    let config = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", path.display());
    for driver in ["epoll", "auto"] {
        // Which core hears of it first is chance.
        for _ in 0..4 {
            let plan = Plan::new().arguments(&["--driver", driver]).set("drain.window_ms=0");
            let mut server = plan.cores(2).listeners(&config).start();
            let mut client = Client::try_echo(connect_unix(&path), "").expect("the upgrade");
            server.signal("TERM");
            assert_eq!(client.closed(), Some(1012), "{driver}");
            drop(client);
            assert_eq!(server.ended().code(), Some(0), "{driver}");
            // Who gives up on a core ends at once and leaves the socket's file.
            assert!(!path.exists(), "{driver}: {}", server.log());
        }
    }
}

/// It has taken the signals over before anyone can come in.
#[test]
fn a_server_that_waits_for_its_redis_ends_as_any_other() {
    // Takes the connection, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis.url=redis://{}", silent.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringroom"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--cores", "1"]);
    command.args(["--set", &url, "--set", "redis.timeout_ms=60000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("once there is word of the link to Redis")));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert!(log.any(|line| line.contains("draining")));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut greeting = String::new();
    child.stdout.take().unwrap().read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "", "nobody was told that it serves");
}

/// Rooms of theirs are there.
#[test]
fn a_core_that_nobody_is_on_stays_for_those_of_the_others() {
    let mut server = Plan::new().cores(2).set("drain.window_ms=2000").start();
    let on_the_first = || server.metric("ringroom_connections_open", "core=\"0\"");
    // Which core gets whom is the kernel's choice. So many go one after the other, for a second.
    let (mut goes, mut stays) = (Vec::new(), Vec::new());
    while stays.len() < 60 {
        let before = on_the_first();
        let mut talk = Talk::try_open(server.address(), "/ws", "").expect("the upgrade");
        assert_eq!(talk.hear()["type"], "welcome");
        let side = if on_the_first() > before { &mut goes } else { &mut stays };
        side.push(talk);
    }
    goes.clear();
    eventually("nobody is on the first core", || on_the_first() == 0.0);
    let mut last = stays.pop().unwrap();
    for room in 0..8 {
        assert_eq!(last.ask(json!({ "type": "join", "room": format!("{room}") }))["type"], "ok");
    }
    server.signal("TERM");
    let mut answered = 0;
    let is_sent_away = loop {
        let room = format!("{}", answered % 8);
        last.say(&json!({ "type": "publish", "id": answered, "room": room, "data": 0 }));
        let mut heard = last.hear();
        while heard["type"] == "message" {
            heard = last.hear();
        }
        if heard["type"] != "ok" {
            break heard["reason"] == "drain";
        }
        assert_eq!(heard["id"], answered);
        answered += 1;
    };
    assert!(is_sent_away && answered > 40, "{answered} publishes were answered");
    drop(stays);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_draining_server_is_not_ready_and_takes_no_one_in() {
    let mut server = Plan::new().set("drain.window_ms=60000").start();
    // The window is for all of them: some are still there while we look.
    let clients = echoes(server.address(), 10);
    server.signal("TERM");
    eventually("it is not ready", || server.control("/ready").status == 503);
    assert_eq!(server.control("/live").status, 200);
    eventually("its door is closed", || std::net::TcpStream::connect(server.address()).is_err());
    assert!(server.is_running(), "it waits for {} clients", clients.len());
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(1), "a second signal ends it now");
}

#[test]
fn clients_go_one_after_the_other() {
    let mut server = Plan::new().set("drain.window_ms=2000").start();
    let clients = echoes(server.address(), 8);
    let gone = AtomicU32::new(0);
    server.signal("TERM");
    let seen: HashSet<u32> = thread::scope(|scope| {
        for mut client in clients {
            let gone = &gone;
            scope.spawn(move || {
                assert_eq!(client.closed(), Some(1012));
                gone.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut seen = HashSet::new();
        eventually("all are gone", || {
            let count = gone.load(Ordering::Relaxed);
            seen.insert(count);
            count == 8
        });
        seen
    });
    assert!(seen.len() > 2, "not all at once: {seen:?}");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_client_that_does_not_answer_holds_nothing_up_for_ever() {
    let mut server = Plan::new().set("drain.window_ms=100").start();
    let _silent = Client::echo(server.address());
    let mut in_its_handshake = raw(server.address());
    in_its_handshake.write_all(b"GET /live HT").unwrap();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

/// Nothing of theirs is on its way, so nothing is waited for once they are told.
#[test]
fn whoever_has_said_nothing_is_not_waited_for() {
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().arguments(&["--driver", driver]).set("drain.window_ms=300");
        let mut server = plan.start();
        let mut silent = raw(server.address());
        eventually("it is in", || server.metric("ringroom_handshakes_pending", "") > 0.5);
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0), "{driver}");
        assert!(!server.log().contains("did not go in time"), "{driver}: {}", server.log());
        let mut told = String::new();
        silent.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("HTTP/1.1 503 "), "{driver}: {told}");
    }
}

/// It does not answer its close frame, and had its time from before the drain.
#[test]
fn who_was_sent_away_just_before_is_no_reason_to_end_by_force() {
    let mut server = Plan::new().set("drain.window_ms=0").start();
    let mut silent = Talk::try_open(server.address(), "/ws", "").expect("the upgrade");
    for _ in 0..11 {
        silent.say(&json!("no message"));
    }
    assert_eq!(silent.closed(), ("bad_messages".to_owned(), 1008));
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(!server.log().contains("did not go in time"), "{}", server.log());
}

/// What the process has made is taken away, and what it has to say is said.
#[test]
fn a_core_that_hangs_is_left_behind_and_nothing_else() {
    let path = crate::server::folder().join("left");
    let config = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", path.display());
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().arguments(&["--driver", driver]).set("drain.window_ms=0");
        let mut server = plan.set("dev.faults=true").listeners(&config).start();
        assert_eq!(server.fault("wedge?for_ms=60000"), Some(202));
        eventually("it hangs", || server.log().contains("wedged"));
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0), "{driver}");
        assert!(server.log().contains("did not go in time"), "{driver}: {}", server.log());
        assert!(!path.exists(), "{driver}");
    }
}

/// The log is written to its end, the audit trail too, and the path is free again.
#[test]
fn a_second_signal_leaves_nothing_behind() {
    let folder = crate::server::folder();
    let (path, audit) = (folder.join("socket"), folder.join("audit"));
    let token = folder.join("token");
    std::fs::write(&token, OPERATOR).unwrap();
    let config = format!(
        "listen = [\"127.0.0.1:0\", \"unix:{}\"]\n[control]\ntoken_file = {:?}\n",
        path.display(),
        token.display().to_string()
    );
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().arguments(&["--driver", driver]).set("drain.window_ms=60000");
        let plan = plan.set(&format!("audit.file={}", audit.display()));
        let mut server = plan.listeners(&config).start();
        let _client = Client::try_echo(connect_unix(&path), "").expect("the upgrade");
        let ban = json!({ "address": "192.0.2.1", "for_ms": 600_000 });
        assert_eq!(operate(&server, "POST", "/v1/bans", &ban).0, 200, "{driver}");
        server.signal("TERM");
        eventually("it drains", || server.control("/ready").status == 503);
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(1), "{driver}");
        assert!(server.log().contains("a second signal: not everyone"), "{}", server.log());
        assert!(!path.exists(), "{driver}");
        let trail = std::fs::read_to_string(&audit).unwrap();
        assert!(trail.contains("192.0.2.1") && trail.ends_with('\n'), "{driver}: {trail}");
    }
}

#[test]
fn whoever_was_let_in_before_the_drain_is_served_within_its_window() {
    let mut server = Plan::new().set("drain.window_ms=3000").start();
    let mut asks = raw(server.address());
    let comes = raw(server.address());
    let mut dawdles = raw(server.address());
    let mut asks_more = raw(server.address());
    asks_more.write_all(b"GET /live HTTP/1.1\r\n").unwrap();
    eventually("all are in", || server.metric("ringroom_handshakes_pending", "") > 3.5);
    server.signal("TERM");
    eventually("it is not ready", || server.control("/ready").status == 503);
    asks.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    asks_more.write_all(b"Host: a\r\n\r\n").unwrap();
    for (stream, status) in [(asks, 503), (asks_more, 200)] {
        let mut answers = BufReader::new(stream);
        assert_eq!(http::Response::read(&mut answers).unwrap().status, status);
        assert!(http::is_at_its_end(&mut answers));
    }
    comes.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    let mut comes = Client::try_echo(comes, "").expect("a handshake is finished");
    assert_eq!(comes.closed(), Some(1012));
    // Who has not come so far by the end is told that it is the end.
    let mut told = String::new();
    dawdles.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains("Retry-After: "), "{told}");
    drop(dawdles);
    assert_eq!(server.ended().code(), Some(0));
}

/// They are in the kernel's queue, and were told that they are connected.
#[test]
fn a_queue_is_let_in_before_the_door_closes_whatever_the_pace() {
    let plan = Plan::new().set("drain.window_ms=5000").set("admission.accepts_per_second=1");
    let mut server = plan.set("admission.accept_burst=1").start();
    let queue: Vec<_> = (0..20).map(|_| raw(server.address())).collect();
    server.signal("TERM");
    for stream in queue {
        stream.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
        let mut client = Client::try_echo(stream, "").expect("let in");
        assert_eq!(client.closed(), Some(1012));
    }
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn settings_are_not_read_again_in_a_drain() {
    let mut server = Plan::new().set("drain.window_ms=1500").start();
    let mut clients = echoes(server.address(), 2);
    server.signal("TERM");
    eventually("it is not ready", || server.control("/ready").status == 503);
    server.signal("HUP");
    for client in &mut clients {
        assert_eq!(client.closed(), Some(1012));
    }
    assert_eq!(server.ended().code(), Some(0), "it ends as if nothing had been");
}

fn on(address: std::net::SocketAddr, share: bool) -> Plan {
    let plan = Plan::new().listeners(&format!("listen = [\"{address}\"]\n"));
    plan.arguments(if share { &["--share-port"] } else { &[] }).set("drain.window_ms=300")
}

#[test]
fn a_port_is_shared_only_on_request() {
    let server = Server::start();
    let said = on(server.address(), false).refuses();
    assert!(said.contains(&server.address().to_string()), "{said}");
}

#[test]
fn a_new_process_takes_over_while_clients_keep_coming() {
    let mut old = Plan::new().arguments(&["--share-port"]).set("drain.window_ms=300").start();
    let address = old.address();
    let mut inside = echoes(address, 5);
    let (is_over, served, lost) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let new = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let came_in = std::net::TcpStream::connect(address).ok().and_then(|stream| {
                    stream.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
                    Client::try_echo(stream, "").ok()
                });
                let count = if came_in.is_some() { &served } else { &lost };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let new = on(address, true).start();
        old.signal("TERM");
        for client in &mut inside {
            assert_eq!(client.closed(), Some(1012));
        }
        assert_eq!(old.ended().code(), Some(0));
        let count = served.load(Ordering::Relaxed);
        eventually("the new one serves", || served.load(Ordering::Relaxed) > count + 5);
        is_over.store(true, Ordering::Relaxed);
        new
    });
    // The kernel resets what waits in the queue of a door that closes; that is few, and counted.
    let (served, lost) = (served.into_inner(), lost.into_inner());
    println!("hot restart: {lost} of {} connects refused or reset", served + lost);
    assert!(lost * 10 <= served, "{lost} lost, {served} served");
    assert_eq!(http::request(new.address(), "GET", "/ready").status, 200);
}
