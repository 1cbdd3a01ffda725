//! The engine by itself: scripted inputs, virtual time, and what its connections are written.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod acks;
mod addresses;
mod answers;
mod application;
mod attendance;
pub(crate) mod cluster;
mod counted;
mod credentials;
mod direct;
mod doors;
mod durability;
mod entrance;
mod expiry;
mod filling;
pub(crate) mod fleet;
mod foreign;
mod governing;
mod guaranteed;
mod history;
mod keys;
mod limits;
mod lists;
mod moderation;
mod nodes;
mod parents;
mod patterns;
mod random;
mod recovery;
mod roaming;
mod rooms;
mod sessions;
mod slow;
mod spaces;
pub(crate) mod store;
mod vocabulary;
pub(crate) mod witness;

use std::io::IoSlice;

use super::*;
use crate::tenant::Tenants;
use crate::ws::close::Fault;

/// Bytes that are the same in every run (SplitMix64).
#[derive(Debug)]
pub(crate) struct Counting(pub(crate) u64);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            *byte = (mixed >> 56) as u8;
        }
    }
}

impl Counting {
    /// A number below `most`.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % most
    }
}

/// An engine, its time, and what it wanted done.
struct Bench {
    shard: Shard,
    now: Now,
    effects: Effects,
}

fn key(index: u32) -> ConnectionKey {
    ConnectionKey { index, generation: 7 }
}

impl Bench {
    fn new(config: Config) -> Self {
        let senders = Senders::new(&config, Seed(1, 2));
        let setup = Setup {
            core: CoreId(0),
            cores: 1,
            config: Arc::new(config),
            seed: Seed(1, 2),
            entropy: Box::new(Counting(0)),
            metrics: Arc::default(),
            policy: None,
            tenants: Tenants::new(&Config::default()),
            senders,
            stopwatch: || 0,
        };
        Self { shard: Shard::new(setup), now: Now::default(), effects: Effects::default() }
    }

    fn input(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input, &mut self.effects);
    }

    fn open(&mut self, index: u32, route: Route, deflate_up_to: u32) {
        self.input(Input::Opened(Box::new(Opened {
            connection: key(index),
            route,
            codec: crate::protocol::Codec::Json,
            deflate_up_to,
            address: None,
            session: None,
            entry: Entry::Open,
        })));
    }

    fn echo(&mut self, payload: &[u8]) {
        let mut payload = payload.to_vec();
        self.input(Input::Message {
            connection: key(0),
            kind: MessageKind::Text,
            payload: &mut payload,
            frames: 1,
        });
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now.moment.plus_ms(ms);
        while let Some(next) = self.shard.next_timeout().filter(|next| *next <= until) {
            self.now.moment = self.now.moment.max(next);
            self.shard.handle_timeout(self.now, &mut self.effects);
        }
        self.now.moment = until;
    }

    /// What the connection is written, all of it.
    fn written(&mut self, index: u32) -> Vec<u8> {
        let Some(outbox) = self.shard.outbox(key(index)) else { return Vec::new() };
        let mut slices = [IoSlice::new(&[]); 16];
        let count = outbox.gather(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        outbox.advance(bytes.len());
        self.input(Input::Written { connection: key(index) });
        bytes
    }
}

#[test]
fn echo_sends_every_message_back_and_marks_the_connection_once() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    bench.echo(b"one");
    bench.echo(b"two");
    assert_eq!(bench.effects.dirty, [key(0)]);
    assert_eq!(bench.written(0), b"\x81\x03one\x81\x03two");
    bench.echo(b"");
    assert_eq!(bench.effects.dirty, [key(0), key(0)]);
    assert_eq!(bench.written(0), b"\x81\x00");
}

#[test]
fn echo_deflates_what_was_agreed_and_pays() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 32_768);
    let long = vec![b'a'; 4_096];
    bench.echo(&long);
    let frame = bench.written(0);
    assert_eq!(frame[0], 0xC1);
    assert!(frame.len() < 100);
    bench.echo(&[b'a'; 1_000]);
    assert_eq!(bench.written(0)[0], 0x81, "below deflate.min_bytes");
    bench.echo(&vec![b'a'; 40_000]);
    assert_eq!(bench.written(0)[0], 0x81, "beyond the window the peer asked for");
}

#[test]
fn pings_are_answered_and_under_pressure_only_the_latest_waits() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    bench.input(Input::Ping { connection: key(0), payload: b"a" });
    bench.input(Input::Ping { connection: key(0), payload: b"b" });
    assert_eq!(bench.written(0), b"\x8A\x01a\x8A\x01b");
    bench.echo(&[b'x'; 5_000]);
    for payload in [b"c", b"d", b"e"] {
        bench.input(Input::Ping { connection: key(0), payload });
    }
    assert_eq!(bench.written(0).len(), 5_004);
    assert_eq!(bench.written(0), b"\x8A\x01e");
}

#[test]
fn silence_is_asked_about_and_then_ended() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    bench.wait(25_000);
    let ping = bench.written(0);
    assert_eq!((ping[0], ping.len()), (0x89, 10));
    bench.input(Input::Pong { connection: key(0), payload: &ping[2..] });
    bench.wait(25_000);
    assert_eq!(bench.written(0)[0], 0x89, "the pong was a sign of life, and then none came");
    bench.wait(75_000);
    let last = bench.written(0);
    assert_eq!(&last[last.len() - 21..], b"\x88\x13\x03\xE9heartbeat_timeout");
    bench.wait(4_000);
    assert_eq!(bench.effects.aborts, [key(0)]);
}

#[test]
fn a_close_frame_is_answered_once_and_what_follows_is_ignored() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    bench.input(Input::CloseFrame { connection: key(0), code: Some(1000) });
    bench.input(Input::CloseFrame { connection: key(0), code: Some(1000) });
    bench.echo(b"late");
    bench.input(Input::Ping { connection: key(0), payload: b"late" });
    assert_eq!(bench.written(0), b"\x88\x02\x03\xE8");
    assert_eq!(bench.effects.hangups, [key(0)]);
    bench.input(Input::Lost { connection: key(0) });
    assert_eq!(bench.shard.connections(), 0);
    bench.wait(10_000);
    assert!(bench.effects.aborts.is_empty());
}

#[test]
fn a_fault_closes_with_its_code() {
    for (fault, code) in
        [(Fault::Unmasked, 1002u16), (Fault::InvalidText, 1007), (Fault::FrameTooLong, 1009)]
    {
        let mut bench = Bench::new(Config::default());
        bench.open(0, Route::Echo, 0);
        bench.input(Input::Fault { connection: key(0), fault });
        let bytes = bench.written(0);
        assert_eq!((bytes[0], &bytes[2..4]), (0x88, &code.to_be_bytes()[..]), "{fault:?}");
        assert_eq!(bench.effects.hangups, [key(0)]);
    }
}

#[test]
fn what_cannot_be_kept_of_a_message_sends_its_sender_away() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    for _ in 0..2 {
        bench.input(Input::Overload { connection: key(0) });
    }
    assert_eq!(bench.written(0), b"\x88\x0C\x03\xF5overloaded");
    assert_eq!(bench.effects.hangups, [key(0)]);
}

#[test]
fn an_echo_that_is_not_read_is_not_fed_for_ever() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    let payload = vec![b'x'; 60_000];
    for _ in 0..10 {
        bench.echo(&payload);
    }
    assert!(!bench.shard.wants_reading(key(0)));
    for _ in 0..10 {
        bench.echo(&payload);
    }
    let waiting = bench.shard.outbox(key(0)).map_or(0, |outbox| outbox.pending_bytes());
    assert!(waiting < 200, "{waiting} bytes wait after it was given up");
}

#[test]
fn a_drain_sends_all_away_within_its_window() {
    let mut bench = Bench::new(Config::default());
    for index in 0..100 {
        bench.open(index, Route::Echo, 0);
    }
    bench.input(Input::Drain { window_ms: 1_000 });
    let closing = |bench: &mut Bench| {
        (0..100).filter(|i| bench.shard.outbox(key(*i)).is_some_and(|o| o.is_closing())).count()
    };
    bench.wait(500);
    let half = closing(&mut bench);
    assert!((40..=60).contains(&half), "{half} of 100 in half of the time");
    bench.wait(500);
    assert_eq!(closing(&mut bench), 100);
    assert_eq!(&bench.written(3)[2..4], &1012u16.to_be_bytes());
    bench.open(200, Route::Echo, 0);
    assert!(bench.shard.outbox(key(200)).is_some_and(|outbox| outbox.is_closing()));
}

/// A drain of no window has half a second more than that.
#[test]
fn who_was_sent_away_just_before_a_drain_is_waited_for_no_longer_than_it_has() {
    let mut bench = Bench::new(Config::default());
    for index in 0..2 {
        bench.open(index, Route::Echo, 0);
    }
    bench.input(Input::Failed { connection: key(0) });
    bench.input(Input::Drain { window_ms: 0 });
    bench.wait(4_000);
    assert_eq!(bench.effects.aborts, [key(0), key(1)]);
}

#[test]
fn a_key_finds_only_the_connection_it_was_given_for() {
    let mut bench = Bench::new(Config::default());
    bench.open(0, Route::Echo, 0);
    bench.input(Input::Lost { connection: ConnectionKey { index: 0, generation: 6 } });
    assert_eq!(bench.shard.connections(), 1);
    bench.input(Input::Lost { connection: key(0) });
    bench.echo(b"late");
    assert!(bench.shard.outbox(key(0)).is_none());
}
