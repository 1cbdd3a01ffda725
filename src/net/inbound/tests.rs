#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::ws::decoder::{Chunk, Decoder, Limits, Scratch};

const LIMITS: Limits = Limits { message_bytes: 8_192, frame_bytes: 8_192, fragments: 16 };

/// What one takes at most: a message, as much that waits, and what surrounds both.
const ONE_BYTES: u64 = 2 * 8_192 + 512;

fn key(index: u32) -> ConnectionKey {
    ConnectionKey { index, generation: 1 }
}

/// The header of a frame of as many bytes as may be; its mask is 0.
const HEADER: [u8; 8] = [0x82, 0x80 | 126, 0x20, 0, 0, 0, 0, 0];

/// What is kept once so much of a message has come.
fn part(bytes: usize) -> Kept {
    let mut decoder = Decoder::new(false);
    read(&mut decoder, &[&HEADER[..], &vec![1; bytes]].concat());
    unfinished(&mut decoder)
}

fn unfinished(decoder: &mut Decoder) -> Kept {
    Kept { unfinished: decoder.suspend(), held: None }
}

/// What is kept where the engine wants no more.
fn held(message: usize, behind: usize) -> Kept {
    let payload = vec![b'x'; message].into();
    let message = Message { kind: MessageKind::Text, payload, frames: 1 };
    let held = Held { message: Some(message), bytes: vec![b'y'; behind] };
    Kept { unfinished: None, held: Some(Box::new(held)) }
}

fn read(decoder: &mut Decoder, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let mut chunk = Chunk::new(&mut bytes);
    let mut scratch = Scratch::new();
    while decoder.next(&mut chunk, &LIMITS, &mut scratch).unwrap().is_some() {}
}

fn inbound(budget_bytes: u64) -> Inbound {
    Inbound::new(Tally::of_core(budget_bytes, 1))
}

/// Keeps a part of a message for each, and sends away whoever has to go; who that is.
fn fill(inbound: &mut Inbound, keys: impl Iterator<Item = u32>, bytes: usize) -> Vec<u32> {
    let mut gone = Vec::new();
    for index in keys {
        inbound.keep(key(index), part(bytes));
        gone.extend(std::iter::from_fn(|| inbound.evict()).map(|key| key.index));
    }
    gone
}

#[test]
fn each_core_has_its_share() {
    assert_eq!(Tally::of_core(1_000, 4).budget_bytes, 250);
    assert_eq!(Tally::of_core(1_000, 0).budget_bytes, 1_000);
}

#[test]
fn who_has_sat_on_it_for_longest_goes_first() {
    let mut inbound = inbound(100_000);
    let gone = fill(&mut inbound, 0..100, 4_000);
    let left = inbound.seats.len();
    assert!((20..25).contains(&left), "{left}");
    assert_eq!(gone, (0..100 - left as u32).collect::<Vec<_>>());
}

#[test]
fn who_moves_keeps_its_age_and_a_message_has_one_of_its_own() {
    let mut inbound = inbound(100_000);
    let mut decoder = Decoder::new(false);
    read(&mut decoder, &HEADER);
    let mut seat = inbound.keep(key(0), unfinished(&mut decoder));
    inbound.keep(key(1), part(100));
    for _ in 0..8 {
        let begun = inbound.take(seat).unwrap().1.unfinished.unwrap();
        assert_eq!(begun.since, 1);
        decoder.resume(begun);
        read(&mut decoder, &[1; 1_000]);
        seat = inbound.keep(key(0), unfinished(&mut decoder));
    }
    decoder.resume(inbound.take(seat).unwrap().1.unfinished.unwrap());
    // The end of one, and the beginning of another.
    read(&mut decoder, &[&[1; 192][..], &HEADER].concat());
    let seat = inbound.keep(key(0), unfinished(&mut decoder));
    assert_eq!(inbound.take(seat).unwrap().1.unfinished.unwrap().since, 3);
}

#[test]
fn what_waits_for_the_engine_counts_and_makes_room_as_parts_do() {
    let mut inbound = inbound(100_000);
    let seat = inbound.keep(key(0), held(8_000, 20_000));
    assert!(inbound.held_bytes() >= 28_000);
    assert_eq!(inbound.message(&seat).map(|message| message.payload.len()), Some(8_000));
    assert_eq!(inbound.take(seat).unwrap().1.held.unwrap().bytes.len(), 20_000);
    assert_eq!(inbound.held_bytes(), 0);

    assert!(fill(&mut inbound, 0..5, 200).is_empty());
    for index in 10..20 {
        inbound.keep(key(index), held(8_000, 20_000));
    }
    let gone: Vec<_> = std::iter::from_fn(|| inbound.evict()).map(|key| key.index).collect();
    assert_eq!(gone, [10, 11, 12, 13, 14, 15, 16]);
}

#[test]
fn small_messages_do_not_pay_for_large_ones_and_those_who_sit_pay_for_those_who_move() {
    let mut inbound = inbound(200_000);
    assert!(fill(&mut inbound, 0..20, 200).is_empty());
    let gone = fill(&mut inbound, 100..300, 6_000);
    assert!(gone.iter().all(|&index| index >= 100), "{gone:?}");
    // Larger than any, of a class of its own.
    let gone = fill(&mut inbound, 500..501, 8_191);
    assert!(!gone.is_empty() && gone.iter().all(|&it| (100..300).contains(&it)), "{gone:?}");
}

#[test]
fn who_is_alone_is_never_sent_away() {
    let mut inbound = inbound(1_024);
    assert!(fill(&mut inbound, 0..1, 8_000).is_empty());
    assert_eq!(fill(&mut inbound, 1..2, 8_000), [0]);
    assert_eq!(inbound.seats.len(), 1);
}

#[test]
fn buffers_take_a_quarter_and_make_room_for_messages() {
    let mut inbound = inbound(100_000);
    let tally = Rc::clone(&inbound.tally);
    let mut leases: Vec<_> = (0..10).map(|_| Lease::new(&tally)).collect();
    assert_eq!(leases.iter_mut().map(|it| it.extend(10_000)).filter(|took| *took).count(), 2);
    assert!(!leases[0].extend(20_000));
    assert_eq!(inbound.held_bytes(), 20_000, "nothing is taken in part");
    assert!(!leases[0].is_wanted_back());
    fill(&mut inbound, 0..40, 4_000);
    assert!(leases[0].is_wanted_back() && leases[1].is_wanted_back());
    assert!(!leases[2].is_wanted_back(), "it has nothing");
    leases[0].give_back();
    leases[0].give_back();
    assert_eq!(tally.buffer_bytes.get(), 10_000);
    assert!(!leases[3].extend(10_000), "messages need it more");
    drop(leases);
    assert_eq!(tally.buffer_bytes.get(), 0);
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Bytes come.
    Read(usize),
    /// Bytes come that the engine does not want yet.
    Hold(usize),
    /// Bytes come, and what they bring panics.
    Panic,
    /// It ends.
    End,
    /// Its buffer is to be so large.
    Lease(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..9_000).prop_map(Step::Read),
        2 => (1_usize..8_000).prop_map(Step::Hold),
        1 => Just(Step::Panic),
        1 => Just(Step::End),
        1 => (0_usize..4_000).prop_map(Step::Lease),
    ]
}

/// A connection as its reader and its place in the slab know it.
struct Peer {
    decoder: Decoder,
    /// Of a message and its header, what has not come.
    missing: usize,
    seat: Option<Seat>,
    lease: Lease,
}

impl Peer {
    fn new(tally: &Rc<Tally>) -> Self {
        let decoder = Decoder::new(false);
        Self { decoder, missing: 8_192 + HEADER.len(), seat: None, lease: Lease::new(tally) }
    }

    fn read(&mut self, mut count: usize) {
        let whole = 8_192 + HEADER.len();
        while count > 0 {
            let come = whole - self.missing;
            let piece = count.min(self.missing);
            let bytes = (come..come + piece).map(|at| HEADER.get(at).copied().unwrap_or(1));
            read(&mut self.decoder, &bytes.collect::<Vec<_>>());
            count -= piece;
            self.missing = if piece == self.missing { whole } else { self.missing - piece };
        }
    }
}

/// What is counted is what is there, and no more than may be.
fn check(inbound: &Inbound, peers: &[Peer]) {
    let held = inbound.seats.iter().map(|(_, it)| it.kept.bytes()).sum::<u64>();
    assert_eq!(inbound.tally.kept_bytes.get(), held);
    assert_eq!(inbound.class_bytes.iter().sum::<u64>(), held);
    assert_eq!(inbound.line.len(), inbound.seats.len());
    assert_eq!(peers.iter().filter(|peer| peer.seat.is_some()).count(), inbound.seats.len());
    let leased = peers.iter().map(|peer| peer.lease.bytes).sum::<u64>();
    assert_eq!(inbound.tally.buffer_bytes.get(), leased);
    let budget = inbound.tally.budget_bytes;
    assert!(leased <= budget / 4);
    assert!(held + leased <= budget || held <= ONE_BYTES, "{held} and {leased} of {budget}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_counted_is_what_is_held_whatever_happens(
        budget in 1_000_u64..60_000,
        steps in prop::collection::vec((0_usize..12, step()), 1..300),
    ) {
        let mut inbound = inbound(budget);
        let tally = Rc::clone(&inbound.tally);
        let mut peers: Vec<_> = (0..12).map(|_| Peer::new(&tally)).collect();
        for (index, step) in steps {
            let peer = &mut peers[index];
            if let Step::Lease(bytes) = step {
                if peer.lease.is_wanted_back() {
                    peer.lease.give_back();
                }
                let _ = peer.lease.extend(bytes);
                check(&inbound, &peers);
                continue;
            }
            if let Some(seat) = peer.seat.take() {
                let (owner, kept) = inbound.take(seat).unwrap();
                prop_assert_eq!(owner, key(index as u32));
                if let Some(unfinished) = kept.unfinished {
                    peer.decoder.resume(unfinished);
                }
            }
            let mut waits = None;
            match step {
                Step::Read(count) => peer.read(count),
                Step::Hold(count) => waits = held(count / 2, count / 2).held,
                // Its reader lets go of what it had in hand.
                _ => peers[index] = Peer::new(&tally),
            }
            let kept = Kept { held: waits, ..unfinished(&mut peers[index].decoder) };
            if !kept.is_nothing() {
                peers[index].seat = Some(inbound.keep(key(index as u32), kept));
            }
            while let Some(loser) = inbound.evict() {
                peers[loser.index as usize] = Peer::new(&tally);
            }
            check(&inbound, &peers);
        }
        for peer in &mut peers {
            if let Some(seat) = peer.seat.take() {
                prop_assert!(inbound.take(seat).is_some());
            }
        }
        peers.clear();
        prop_assert_eq!(inbound.held_bytes(), 0);
        prop_assert_eq!(inbound.class_bytes, [0; CLASSES]);
        prop_assert!(inbound.line.is_empty());
    }
}
