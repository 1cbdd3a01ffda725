#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Command, Commander, Plane, commands, run};
use crate::clock::Moment;
use crate::config::Config;
use crate::id::{ConnectionKey, CoreId};
use crate::letter::relay::{Event, Message, Opening};
use crate::letter::{Letter, Order};
use crate::mesh::{self, Port};
use crate::metrics::{DriverKind, Registry};
use crate::tenant::Tenants;

const CONTROL: CoreId = CoreId(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// A control plane on a thread of its own, and this thread in the place of its one core.
struct Process {
    port: Port<Letter<()>>,
    started: Instant,
    registry: Registry,
    address: SocketAddr,
    commander: Commander,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    connections: u32,
}

impl Process {
    fn start() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let plan = mesh::Plan { parties: 2, inbox_batches: 8, backlog_bytes: 1 << 20 };
        let mut ports = mesh::build(plan).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, started) = (listener.local_addr().unwrap(), Instant::now());
        let registry = Registry::new(1);
        let (commander, commands) = commands();
        let tenants = Tenants::new(&config);
        let plane = Plane {
            node: 1,
            config: Arc::new(config),
            started,
            port: ports.pop().unwrap(),
            registry: registry.clone(),
            listener,
            commands,
            commander: commander.clone(),
            tenants,
            policy: None,
            standing: Vec::new(),
        };
        let thread = Some(thread::spawn(move || run(plane)));
        let port = ports.pop().unwrap();
        let process = Self { port, started, registry, address, commander, thread, connections: 0 };
        process.beat();
        process
    }

    fn now(&self) -> Moment {
        Moment { us: u64::try_from(self.started.elapsed().as_micros()).unwrap() }
    }

    /// The core comes round.
    fn beat(&self) {
        let core = self.registry.core(CoreId(0)).unwrap();
        core.heartbeat_us.set(self.now().us.max(1));
        core.listening.set(1);
    }

    fn send(&mut self, connection: ConnectionKey, event: Event) {
        let message = Message { connection, event };
        let bytes = message.cost_bytes();
        self.port.post(CONTROL, Letter::Relay(message), bytes).unwrap();
        self.port.deliver(self.now());
    }

    /// The next letters, as a core that sleeps gets them.
    fn wait(&mut self) -> Vec<Letter<()>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.port.deliver(self.now());
            if let Some(batch) = self.port.receive() {
                assert_eq!(batch.from, CONTROL);
                return batch.messages;
            }
            if self.port.fall_asleep() {
                while !self.port.clear_doorbell() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(1));
                }
                self.port.wake();
            }
        }
        panic!("the control plane says nothing");
    }

    /// Opens a connection with `head`, sends `more` as further reads, then the client's end.
    fn exchange(&mut self, head: &[u8], more: &[&[u8]]) -> String {
        let connection = self.open(head);
        for bytes in more {
            self.send(connection, Event::Data(Bytes::copy_from_slice(bytes)));
        }
        self.send(connection, Event::End);
        self.answer(connection)
    }

    fn open(&mut self, head: &[u8]) -> ConnectionKey {
        self.connections += 1;
        let connection = ConnectionKey { index: self.connections, generation: 0 };
        let peer = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        let opening = Opening { peer, tls: false, bytes: Bytes::copy_from_slice(head) };
        self.send(connection, Event::Open(Box::new(opening)));
        connection
    }

    /// All that comes for a connection until the control plane ends it.
    fn answer(&mut self, expected: ConnectionKey) -> String {
        let mut bytes = Vec::new();
        loop {
            for letter in self.wait() {
                let Letter::Relay(Message { connection, event }) = letter else {
                    panic!("{letter:?}")
                };
                if connection != expected {
                    continue;
                }
                match event {
                    Event::Data(more) => {
                        bytes.extend_from_slice(&more);
                        self.send(connection, Event::Credit(more.len()));
                    }
                    Event::End | Event::Reset => return String::from_utf8(bytes).unwrap(),
                    Event::Credit(_) => {}
                    Event::Open(_) => panic!("the control plane opens no connections"),
                }
            }
        }
    }

    fn get(&mut self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(), &[])
    }

    /// Asks the control plane's own listener.
    fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.commander.send(Command::Stop).unwrap();
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn code(response: &str) -> &str {
    response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or(response)
}

#[test]
fn the_public_routes_are_few_and_the_operators_are_not_among_them() {
    let mut process = Process::start();
    for (path, expected) in [
        ("/", "200"),
        ("/live", "200"),
        ("/ready", "200"),
        ("/health", "200"),
        ("/ws", "426"),
        ("/ws/room/a", "426"),
        ("/metrics", "404"),
        ("/health/", "404"),
        ("//health", "404"),
        ("/%2e%2e/metrics", "404"),
        ("/rooms", "404"),
    ] {
        assert_eq!(code(&process.get(path)), expected, "{path}");
    }
    let health = process.get("/health");
    assert!(health.ends_with("{\"status\":\"ok\"}"), "no details: {health}");
    let missing = process.get("/missing");
    assert!(missing.contains("content-type: application/json"), "{missing}");
    assert!(missing.contains("\"code\":\"not_found\""), "{missing}");
}

#[test]
fn other_methods_are_refused() {
    let mut process = Process::start();
    for (method, expected) in
        [("HEAD", "200"), ("POST", "405"), ("DELETE", "405"), ("TRACE", "405"), ("get", "405")]
    {
        let request = format!("{method} / HTTP/1.1\r\nhost: x\r\n\r\n");
        let response = process.exchange(request.as_bytes(), &[]);
        assert_eq!(code(&response), expected, "{method}");
    }
}

#[test]
fn every_response_is_safe_in_a_browser() {
    let mut process = Process::start();
    for path in ["/", "/missing", "/live", "/ws"] {
        let response = process.get(path);
        for header in [
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'",
        ] {
            assert!(response.contains(header), "{header} is not in {path}: {response}");
        }
    }
    assert!(process.get("/").contains("connect-src 'self'"), "the page may connect back");
}

#[test]
fn a_relayed_connection_is_for_one_request_that_may_come_in_pieces() {
    let mut process = Process::start();
    let request = b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n";
    let response = process.exchange(&request.repeat(3), &[]);
    assert_eq!(response.matches("HTTP/1.1 200").count(), 1, "{response}");
    assert!(response.contains("connection: close"), "{response}");
    let bytes: Vec<&[u8]> = request.chunks(1).collect();
    let response = process.exchange(&request[..5], &bytes[5..]);
    assert_eq!(response.matches("HTTP/1.1 200").count(), 1, "{response}");
}

/// Requests about whose length two parsers may disagree. None is served, and what follows is never
/// a request.
#[test]
fn a_doubtful_request_is_refused_and_the_last_of_its_connection() {
    let mut process = Process::start();
    let hidden = "GET /live HTTP/1.1\r\nhost: x\r\n\r\n";
    for doubtful in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        "transfer-encoding: x, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, x\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF0\r\n",
        "content-length: +5\r\n\r\n",
        "content-length: 5, 6\r\n\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n\r\n",
        "content-length: -1\r\n\r\n",
        "content-length: 18446744073709551616\r\n\r\n",
        "content-length: 4\r\nexpect: 100-continue\r\n\r\nabcd",
        "x : y\r\n\r\n",
        "x: a\r\n folded\r\n\r\n",
        "x: a\0b\r\n\r\n",
    ] {
        let request = format!("GET /live HTTP/1.1\r\nhost: x\r\n{doubtful}{hidden}");
        let response = process.exchange(request.as_bytes(), &[]);
        assert_eq!(code(&response), "400", "{doubtful:?}: {response}");
        assert_eq!(response.matches("HTTP/1.1").count(), 1, "{doubtful:?}: {response}");
    }
}

#[test]
fn a_head_without_end_is_refused() {
    let mut process = Process::start();
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(20_000));
    assert_eq!(code(&process.exchange(long.as_bytes(), &[])), "431");
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert_eq!(code(&process.exchange(many.as_bytes(), &[])), "431");
}

#[test]
fn an_idle_connection_is_ended() {
    let mut process = Process::with(|config| config.handshake.http_idle_ms = 100);
    let connection = process.open(b"GET /live HTTP/1.1\r\nhost: x\r\n");
    let begun = Instant::now();
    assert!(!process.answer(connection).contains("200"), "there is no whole request");
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_wedged_core_is_named_and_makes_the_process_not_ready() {
    let mut process = Process::start();
    process.registry.core(CoreId(0)).unwrap().set_driver(DriverKind::Epoll);
    let health = process.ask("/health");
    assert_eq!(code(&health), "200", "{health}");
    for fact in ["\"driver\":\"epoll\"", "\"mesh_backlog_bytes\":0", "\"resident_bytes\":"] {
        assert!(health.contains(fact), "{fact} is not in {health}");
    }
    thread::sleep(Duration::from_millis(super::health::HEARTBEAT_MAX_MS + 100));
    assert_eq!(code(&process.get("/ready")), "503");
    assert_eq!(code(&process.get("/live")), "200", "the process lives");
    let health = process.ask("/health");
    assert_eq!(code(&health), "503");
    let before_age = "{\"core\":0,\"status\":\"wedged\",\"heartbeat_age_ms\":";
    let age = health.split_once(before_age).map(|(_, rest)| rest);
    let age = age.unwrap_or_else(|| panic!("{health}"));
    let digits = age.split(|byte: char| !byte.is_ascii_digit()).next().unwrap();
    assert!(digits.parse::<u64>().unwrap() > super::health::HEARTBEAT_MAX_MS, "{health}");
    process.beat();
    assert_eq!(code(&process.get("/ready")), "200", "it came round again");
}

#[test]
fn a_drain_reaches_the_cores_and_shows_at_once() {
    let mut process = Process::start();
    let drain = Order::Drain { window_ms: 77 };
    process.commander.send(Command::Order(drain)).unwrap();
    let letters = process.wait();
    let [Letter::Order(Order::Drain { window_ms: 77 })] = letters[..] else {
        panic!("{letters:?}")
    };
    assert_eq!(code(&process.get("/ready")), "503");
    assert!(process.get("/health").ends_with("{\"status\":\"draining\"}"));
    assert_eq!(code(&process.ask("/live")), "200");
}

#[test]
fn the_operators_listener_serves_metrics_on_each_of_its_threads() {
    let process = Process::with(|config| config.control.threads = 3);
    process.registry.core(CoreId(0)).unwrap().accepts.add(5);
    for _ in 0..20 {
        let metrics = process.ask("/metrics");
        assert_eq!(code(&metrics), "200");
        assert!(metrics.contains("ringroom_accepts_total{core=\"0\"} 5\n"), "{metrics}");
        assert!(metrics.contains("application/openmetrics-text"));
    }
    assert_eq!(code(&process.ask("/")), "404", "the page is for the main port");
}

#[test]
fn many_connections_at_once_are_all_answered() {
    let mut process = Process::start();
    let opened: Vec<_> = (0..300)
        .map(|_| process.open(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
        .collect();
    let mut ended = 0;
    while ended < opened.len() {
        for letter in process.wait() {
            let Letter::Relay(Message { connection, event }) = letter else { panic!("{letter:?}") };
            assert!(opened.contains(&connection));
            match event {
                Event::Data(bytes) => assert!(bytes.starts_with(b"HTTP/1.1 200")),
                Event::End => ended += 1,
                other => panic!("{other:?}"),
            }
        }
    }
}
