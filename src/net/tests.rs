//! A core on a thread of its own, real sockets, and the test in the place of the control plane.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod doors;
mod encrypted;
mod ending;
mod entrance;
mod glance;
mod proxied;
mod writing;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::config::{Config, ListenAddress};
use crate::hash::Seed;
use crate::id::CoreId;
use crate::letter::{Letter, Order, relay};
use crate::mesh::{self, Port};
use crate::metrics;
use crate::origin::Origins;
use crate::shard::{CoreMessage, Entropy, Senders};

use super::{Admission, Clock, Plan};

const CORE: CoreId = CoreId(0);
const CONTROL: CoreId = CoreId(1);

/// No test waits longer than this for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Ones;

impl Entropy for Ones {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

/// A running core.
struct Bench {
    address: SocketAddr,
    control: Port<Letter<CoreMessage>>,
    clock: Clock,
    metrics: Arc<metrics::Core>,
    thread: JoinHandle<()>,
}

impl Bench {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with(None, change)
    }

    fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_as(tls, None, change)
    }

    fn start_as(
        tls: Option<Arc<rustls::ServerConfig>>,
        policy: Option<Arc<crate::auth::Policy>>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let (bench, listens) = Self::begin(tls, policy, change);
        listens.recv().unwrap().unwrap();
        bench
    }

    /// One that has its address; whether clients come in is told.
    fn begin(
        tls: Option<Arc<rustls::ServerConfig>>,
        policy: Option<Arc<crate::auth::Policy>>,
        change: impl FnOnce(&mut Config),
    ) -> (Self, mpsc::Receiver<io::Result<()>>) {
        let mut config = Config::default();
        config.listeners[0].address =
            ListenAddress::Tcp(SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)));
        config.dev.echo = true;
        change(&mut config);
        let mut reserved = super::reserve(&config).unwrap();
        config.listeners[0].address = reserved.addresses.remove(0);
        let ListenAddress::Tcp(address) = config.listeners[0].address else { panic!("TCP") };
        let plan = mesh::Plan { parties: 2, inbox_batches: 64, backlog_bytes: 1 << 20 };
        let mut ports = mesh::build(plan).unwrap();
        let control = ports.pop().unwrap();
        let (clock, metrics) = (Clock::start(), Arc::<metrics::Core>::default());
        let (listening, listens) = mpsc::channel();
        let plan = Plan {
            core: CORE,
            cores: 1,
            control: CONTROL,
            cpu: None,
            origins: Arc::new(Origins::parse(&[]).unwrap()),
            tls: vec![tls],
            unix: vec![None],
            port: ports.pop().unwrap(),
            clock,
            admission: Admission::new(&config.admission, Seed(1, 2)),
            policy,
            handlers: Arc::default(),
            standing: Vec::new().into(),
            tenants: crate::tenant::Tenants::new(&config),
            pages: Arc::default(),
            senders: Senders::new(&config, Seed(1, 2)),
            metrics: Arc::clone(&metrics),
            seed: Seed(1, 2),
            entropy: Box::new(Ones),
            tables: Arc::new(Barrier::new(1)),
            listening,
            config: Arc::new(config),
        };
        let thread = thread::spawn(move || super::run(plan));
        listens.recv().unwrap().unwrap();
        (Self { address, control, clock, metrics, thread }, listens)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A WebSocket at `/echo`.
    fn open_echo(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&upgrade()).unwrap();
        let response = read_head(&mut stream);
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        stream
    }

    fn post(&mut self, letter: Letter<CoreMessage>) {
        self.control.post(CORE, letter, 1).unwrap();
        self.control.deliver(self.clock.moment());
    }

    /// The next thing the core says about a relayed connection.
    fn hear_relay(&mut self) -> relay::Message {
        let mut heard = None;
        wait_until("a word about a relayed connection", || {
            heard = heard.take().or_else(|| self.control.receive());
            heard.is_some()
        });
        let mut messages = heard.unwrap().messages.into_iter();
        let Some(Letter::Relay(message)) = messages.next() else { panic!("another letter") };
        assert!(messages.next().is_none(), "more than one word at a time");
        message
    }

    /// Sends everyone away at once, and waits for the core to end.
    fn drain(mut self) {
        self.post(Letter::Order(Order::Drain { window_ms: 0 }));
        wait_until("the end of the core", || self.thread.is_finished());
        self.thread.join().unwrap();
    }
}

fn upgrade() -> Vec<u8> {
    b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec()
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A masked text frame of fewer than 126 bytes; the mask is 0.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn assert_echoes(stream: &mut (impl Read + Write), text: &str) {
    stream.write_all(&frame(text)).unwrap();
    let mut answer = vec![0; 2 + text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[2..], text.as_bytes());
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn no_port_that_a_process_has_found_is_found_again() {
    let mut config = Config::default();
    let anywhere = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    config.listeners[0].address = ListenAddress::Tcp(anywhere);
    // So many that, left to chance, two would be the same.
    let found: Vec<_> = (0..400).map(|_| super::reserve(&config).unwrap()).collect();
    let ports = found.iter().flat_map(|reserved| &reserved.addresses).map(|address| {
        let ListenAddress::Tcp(address) = address else { panic!("TCP") };
        address.port()
    });
    assert_eq!(ports.collect::<std::collections::HashSet<_>>().len(), found.len());
}

#[test]
fn a_message_that_takes_long_is_a_sign_of_life() {
    const INTERVAL_MS: u64 = 200;
    let bench = Bench::start(|config| {
        config.heartbeat.interval_ms = INTERVAL_MS;
        config.heartbeat.max_missed = 1;
    });
    let text = "x".repeat(40);
    // A machine that is busy may keep the client from sending: that shows nothing, and is not counted.
    let is_shown = (0..20).any(|_| {
        let mut client = bench.open_echo();
        let mut last = Instant::now();
        for byte in frame(&text) {
            thread::sleep(Duration::from_millis(INTERVAL_MS / 8));
            if last.elapsed() > Duration::from_millis(INTERVAL_MS / 2) {
                return false;
            }
            client.write_all(&[byte]).expect("it is not given up");
            last = Instant::now();
        }
        assert_eq!(read_past_pings(&mut client), text.as_bytes(), "five times as long as silence");
        true
    });
    assert!(is_shown, "twenty attempts were too slow");
    bench.drain();
}

/// What the next frame holds that is no ping. A ping is no fault where the core was kept from reading.
fn read_past_pings(stream: &mut impl Read) -> Vec<u8> {
    loop {
        let mut start = [0; 2];
        stream.read_exact(&mut start).unwrap();
        let mut payload = vec![0; usize::from(start[1])];
        stream.read_exact(&mut payload).unwrap();
        if start[0] != 0x89 {
            assert_eq!(start[0], 0x81, "{payload:?}");
            return payload;
        }
    }
}

#[test]
fn an_echo_comes_back_and_the_core_drains() {
    for driver in [crate::config::Driver::Auto, crate::config::Driver::Epoll] {
        let bench = Bench::start(|config| config.cores.driver = driver);
        let mut client = bench.open_echo();
        for turn in 0..10 {
            assert_echoes(&mut client, &format!("hello {turn}"));
        }
        drop(client);
        wait_until("the end of the connection", || bench.metrics.connections.get() == 0);
        bench.drain();
    }
}
