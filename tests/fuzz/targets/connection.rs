//! Whole connections over mocked sockets: head, handshake, decoder, engine and outbox, with bytes
//! that come in any pieces, a peer that reads when it likes, time that passes, and ends. What is
//! written is well-formed to the last byte, bounded, and ends with at most one close frame.

use std::cell::RefCell;
use std::io::IoSlice;
use std::sync::{Arc, LazyLock};

use ringroom::clock::{Moment, Now};
use ringroom::config::Config;
use ringroom::hash::Seed;
use ringroom::id::{ConnectionKey, CoreId};
use ringroom::origin::Origins;
use ringroom::shard::{Effects, Entropy, Entry, Input, Opened, Senders, Setup, Shard};
use ringroom::tenant::Tenants;
use ringroom::ws::MessageKind;
use ringroom::ws::close::valid_code;
use ringroom::ws::decoder::{Chunk, Decoder, Event, Limits, Scratch};
use ringroom::ws::handshake::{self, Accepted, Policy};
use ringroom::ws::head::Scan;

const SOCKETS: usize = 4;

const OUTBOX_BYTES: u32 = 8_192;

/// What a connection may be owed beyond its bound: the answer that went over it, and its goodbye.
const SLACK_BYTES: usize = 3 * 4_096;

static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let mut config = Config::default();
    config.dev.echo = true;
    config.limits.message_bytes = 4_096;
    config.limits.frame_bytes = 2_048;
    config.limits.fragments = 16;
    config.limits.outbox_bytes = OUTBOX_BYTES;
    config.limits.recovery_bytes = OUTBOX_BYTES;
    config.heartbeat.interval_ms = 5_000;
    Arc::new(config)
});

static ORIGINS: LazyLock<Origins> =
    LazyLock::new(|| Origins::parse(&["*".to_owned()]).expect("this is an origin"));

#[derive(Debug)]
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// What stands between a socket and the engine.
enum Stage {
    Closed,
    Head(Vec<u8>, Scan),
    Open(Decoder),
    /// Nothing more is read of it.
    Deaf,
}

/// A mocked socket, and what was written to it.
struct Socket {
    key: ConnectionKey,
    stage: Stage,
    deflate: bool,
    hangs_up: bool,
    /// A message that the engine has left.
    left: Option<(MessageKind, Vec<u8>)>,
    written: Vec<u8>,
}

struct Driver {
    shard: Shard,
    now: Now,
    effects: Effects,
    scratch: Scratch,
    sockets: Vec<Socket>,
    generations: u32,
}

/// The bytes of a test, taken from the front.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte().unwrap_or(0));
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }
}

pub(crate) fn check(data: &[u8]) {
    let mut driver = Driver::new();
    let mut script = Script(data);
    while let Some(step) = script.byte() {
        let socket = usize::from(step >> 3) % SOCKETS;
        match step & 7 {
            0 => driver.connect(socket),
            1 => driver.upgrade(socket, script.bytes()),
            2 => driver.take(socket, script.bytes()),
            3 | 4 => driver.send_frame(socket, script.byte().unwrap_or(0), script.bytes()),
            5 => driver.write(socket, 32 * usize::from(script.byte().unwrap_or(255))),
            6 => driver.pass(u64::from(script.byte().unwrap_or(0)).pow(2)),
            _ => driver.lose(socket),
        }
        driver.settle();
    }
    driver.end();
}

impl Driver {
    fn new() -> Self {
        let setup = Setup {
            core: CoreId(0),
            cores: 1,
            config: Arc::clone(&CONFIG),
            seed: Seed(1, 2),
            entropy: Box::new(Counting(0)),
            metrics: Arc::default(),
            policy: None,
            tenants: Tenants::new(&CONFIG),
            senders: Senders::new(&CONFIG, Seed(1, 2)),
            stopwatch: || 0,
        };
        let closed = |index| Socket {
            key: ConnectionKey { index, generation: 0 },
            stage: Stage::Closed,
            deflate: false,
            hangs_up: false,
            left: None,
            written: Vec::new(),
        };
        Self {
            shard: Shard::new(setup),
            now: Now { moment: Moment { us: 1 }, unix_ms: 1_700_000_000_000 },
            effects: Effects::default(),
            scratch: Scratch::default(),
            sockets: (0..SOCKETS as u32).map(closed).collect(),
            generations: 0,
        }
    }

    fn connect(&mut self, index: usize) {
        self.lose(index);
        self.generations += 1;
        let socket = &mut self.sockets[index];
        socket.key.generation = self.generations;
        socket.stage = Stage::Head(Vec::new(), Scan::default());
    }

    /// A head that passes, for a target of the script's choice.
    fn upgrade(&mut self, index: usize, target: &[u8]) {
        self.connect(index);
        let (path, deflate) = match target.first() {
            Some(first) if first & 1 == 0 => ("/echo", first & 2 != 0),
            Some(first) => ("/ws/lobby", first & 2 != 0),
            None => ("/ws", true),
        };
        let offer = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        self.take(index, head.as_bytes());
        assert!(matches!(self.sockets[index].stage, Stage::Open(_)));
    }

    /// A masked frame with a right length, whatever else is wrong with it.
    fn send_frame(&mut self, index: usize, first: u8, payload: &[u8]) {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..126 => bytes.push(0x80 | short as u8),
            long => {
                bytes.push(0x80 | 126);
                bytes.extend((long as u16).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        self.take(index, &bytes);
    }

    /// Bytes come from a peer.
    fn take(&mut self, index: usize, bytes: &[u8]) {
        let socket = &mut self.sockets[index];
        let Stage::Head(unread, scan) = &mut socket.stage else {
            return self.take_frames(index, &mut bytes.to_vec());
        };
        unread.extend_from_slice(bytes);
        let policy = Policy {
            origins: &ORIGINS,
            tenant_origins: None,
            allow_absent_origin: true,
            local: false,
            tls: false,
            echo: true,
            deflate: true,
            cookie: None,
        };
        let accepted = match scan.parse(unread, &CONFIG.handshake) {
            Ok(None) => return,
            Ok(Some((head, length))) => {
                handshake::accept(&head, &policy).ok().map(|accepted| (accepted, length))
            }
            Err(_) => None,
        };
        let Some((accepted, length)) = accepted else {
            socket.stage = Stage::Deaf;
            return;
        };
        let mut rest = unread.split_off(length);
        self.open(index, accepted);
        self.take_frames(index, &mut rest);
    }

    fn open(&mut self, index: usize, accepted: Accepted) {
        let Accepted { route, codec, deflate, session, .. } = accepted;
        let socket = &mut self.sockets[index];
        socket.stage = Stage::Open(Decoder::new(deflate.is_some()));
        socket.deflate = deflate.is_some();
        let opened = Opened {
            connection: socket.key,
            route,
            codec,
            deflate_up_to: deflate.map_or(0, |agreed| agreed.deflate_up_to),
            address: None,
            session,
            entry: Entry::Open,
        };
        self.handle(Input::Opened(Box::new(opened)));
    }

    fn take_frames(&mut self, index: usize, bytes: &mut [u8]) {
        let limits = &CONFIG.limits;
        let limits = Limits {
            message_bytes: limits.message_bytes as usize,
            frame_bytes: limits.frame_bytes as usize,
            fragments: limits.fragments,
        };
        self.hand_in_again(index);
        let socket = &mut self.sockets[index];
        let connection = socket.key;
        let Stage::Open(decoder) = &mut socket.stage else { return };
        // A driver does not read on where the engine has enough to answer.
        if !self.shard.wants_reading(connection) {
            return;
        }
        let mut chunk = Chunk::new(bytes);
        loop {
            let input = match decoder.next(&mut chunk, &limits, &mut self.scratch) {
                Ok(None) => break,
                Ok(Some(Event::Message { kind, payload, frames })) => {
                    let input = Input::Message { connection, kind, payload: &mut *payload, frames };
                    self.shard.handle(self.now, input, &mut self.effects);
                    if self.shard.is_within_message(connection) {
                        self.sockets[index].left = Some((kind, payload.to_vec()));
                        return;
                    }
                    continue;
                }
                Ok(Some(Event::Ping(payload))) => Input::Ping { connection, payload },
                Ok(Some(Event::Pong(payload))) => Input::Pong { connection, payload },
                Ok(Some(Event::Close { code, .. })) => Input::CloseFrame { connection, code },
                Err(fault) => Input::Fault { connection, fault },
            };
            let is_last = matches!(input, Input::CloseFrame { .. } | Input::Fault { .. });
            self.shard.handle(self.now, input, &mut self.effects);
            if is_last {
                self.sockets[index].stage = Stage::Deaf;
                return;
            }
        }
    }

    /// Goes on with a message that the engine has left, if it wants that now.
    fn hand_in_again(&mut self, index: usize) {
        let connection = self.sockets[index].key;
        if !self.shard.wants_reading(connection) {
            return;
        }
        let Some((kind, mut payload)) = self.sockets[index].left.take() else { return };
        self.handle(Input::Message { connection, kind, payload: &mut payload, frames: 1 });
        if self.shard.is_within_message(connection) {
            self.sockets[index].left = Some((kind, payload));
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input, &mut self.effects);
    }

    /// The peer of a socket reads.
    fn write(&mut self, index: usize, room: usize) {
        let socket = &mut self.sockets[index];
        let Some(outbox) = self.shard.outbox(socket.key) else { return };
        assert!(outbox.pending_bytes() <= OUTBOX_BYTES as usize + SLACK_BYTES);
        let mut slices = [IoSlice::new(&[]); 8];
        let count = outbox.gather(&mut slices);
        let came = socket.written.len();
        for slice in &slices[..count] {
            let left = room - (socket.written.len() - came);
            socket.written.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        outbox.advance(socket.written.len() - came);
        let (is_done, connection) = (outbox.is_empty(), socket.key);
        self.handle(Input::Written { connection });
        self.hand_in_again(index);
        if is_done && self.sockets[index].hangs_up {
            self.lose(index);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.moment = self.now.moment.plus_ms(ms);
        self.now.unix_ms += ms;
        if self.shard.next_timeout().is_some_and(|due| due <= self.now.moment) {
            self.shard.handle_timeout(self.now, &mut self.effects);
        }
        assert!(self.shard.next_timeout().is_none_or(|due| due > self.now.moment));
    }

    /// The end of a tick.
    fn settle(&mut self) {
        self.shard.settle(self.now, &mut self.effects);
        self.shard.audit().expect("what must hold between two inputs");
        let effects = std::mem::take(&mut self.effects);
        assert!(effects.letters.is_empty(), "there is no other core");
        for key in effects.hangups {
            self.socket(key).hangs_up = true;
        }
        for key in effects.aborts {
            let index = key.index as usize;
            if self.sockets[index].key == key {
                self.lose(index);
            }
        }
    }

    fn socket(&mut self, key: ConnectionKey) -> &mut Socket {
        &mut self.sockets[key.index as usize]
    }

    /// A socket ends: what was written to it is judged.
    fn lose(&mut self, index: usize) {
        let socket = &mut self.sockets[index];
        let written = std::mem::take(&mut socket.written);
        let was_open = !matches!(
            std::mem::replace(&mut socket.stage, Stage::Closed),
            Stage::Closed | Stage::Head(..)
        );
        let (connection, deflate) = (socket.key, socket.deflate);
        socket.hangs_up = false;
        socket.left = None;
        if was_open {
            self.handle(Input::Lost { connection });
        }
        assert!(self.shard.outbox(connection).is_none());
        judge(&written, deflate);
    }

    fn end(mut self) {
        for index in 0..SOCKETS {
            for _ in 0..64 {
                self.write(index, usize::MAX / 2);
                self.settle();
            }
            self.lose(index);
        }
        assert_eq!(self.shard.connections(), 0);
    }
}

thread_local! {
    static INFLATER: RefCell<ringroom::ws::deflate::Inflater> =
        RefCell::new(ringroom::ws::deflate::Inflater::new());
}

/// Whether what a server wrote is frames as RFC 6455 wants them, the last perhaps unfinished.
fn judge(mut bytes: &[u8], deflate: bool) {
    let mut has_closed = false;
    while let [first, second, rest @ ..] = bytes {
        assert!(!has_closed, "nothing follows a close frame");
        assert_eq!(first & 0xB0, 0x80, "whole messages, and no unknown extension");
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (0..126, rest) => (usize::from(*second), rest),
            (126, _) => return,
            _ => panic!("masked, or longer than anything here"),
        };
        assert!(*second < 126 || length >= 126, "the shortest form");
        let Some((payload, rest)) = rest.split_at_checked(length) else { return };
        let is_deflated = first & 0x40 != 0;
        assert!(!is_deflated || deflate && first & 0x08 == 0);
        match first & 0x0F {
            0x1 if is_deflated => INFLATER.with_borrow_mut(|inflater| {
                let message = inflater.inflate(payload, 1 << 20).expect("it inflates");
                assert!(std::str::from_utf8(message).is_ok());
            }),
            0x1 => assert!(std::str::from_utf8(payload).is_ok()),
            0x2 => {}
            0x8 => {
                has_closed = true;
                let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                assert!(code.is_none_or(valid_code) && payload.len() != 1 && length < 126);
            }
            0x9 | 0xA => assert!(length < 126),
            opcode => panic!("opcode {opcode}"),
        }
        bytes = rest;
    }
}
