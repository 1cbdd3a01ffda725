//! How many instructions the pure pieces take, counted by callgrind: the same on every run, so that
//! a change of a few percent shows where time would only be noise.
//!
//! `benches/instructions.py` runs it and compares the counts with those stored beside it.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "the crate's macros make public functions, and name things in full"
)]

use std::hint::black_box;
use std::sync::Arc;

use fixture::credential::{is_accepted, token};
use fixture::{
    FRAME_LIMITS, HEARTBEAT_MS, Letter, MASK, PARSE_LIMITS, client_frame, json, key, member,
};
use gungraun::{library_benchmark, library_benchmark_group, main};
use ringroom::auth::Gate;
use ringroom::clock::Moment;
use ringroom::hash::Seed;
use ringroom::id::{ConnectionKey, CoreId};
use ringroom::mesh::Port;
use ringroom::protocol::{Codec, Event, Priority, encode, parse};
use ringroom::room::hub::{Hub, Interest, RoomIndex};
use ringroom::room::name::RoomKey;
use ringroom::wheel::Wheel;
use ringroom::ws::MessageKind;
use ringroom::ws::decoder::{Chunk, Decoder, Scratch};
use ringroom::ws::deflate::{Compressor, Inflater};
use ringroom::ws::handshake::CredentialKind;
use ringroom::ws::mask;

/// Sixteen frames of a client, as a busy connection has them in one read.
fn frames(len: usize) -> (Vec<u8>, Decoder, Scratch) {
    (client_frame(&json(len)).repeat(16), Decoder::new(false), Scratch::new())
}

#[library_benchmark]
#[bench::of_32_bytes(frames(32))]
#[bench::of_200_bytes(frames(200))]
fn decode_16_frames((mut bytes, mut decoder, mut scratch): (Vec<u8>, Decoder, Scratch)) -> usize {
    let mut input = Chunk::new(&mut bytes);
    let mut count = 0;
    while let Ok(Some(event)) = decoder.next(&mut input, &FRAME_LIMITS, &mut scratch) {
        black_box(event);
        count += 1;
    }
    count
}

#[library_benchmark]
#[bench::of_200_bytes(vec![0x55; 200])]
#[bench::of_4_kib(vec![0x55; 4_096])]
fn unmask(mut bytes: Vec<u8>) -> Vec<u8> {
    mask::apply(black_box(&mut bytes), black_box(MASK), 0);
    bytes
}

#[library_benchmark]
#[bench::of_4_kib((Compressor::new(6), json(4_096), Vec::with_capacity(8_192)))]
fn deflate((mut compressor, message, mut out): (Compressor, Vec<u8>, Vec<u8>)) -> Vec<u8> {
    black_box(compressor.compress(black_box(&message), &mut out));
    out
}

fn deflated() -> (Inflater, Vec<u8>) {
    let mut out = Vec::new();
    black_box(Compressor::new(6).compress(&json(4_096), &mut out));
    (Inflater::new(), out)
}

#[library_benchmark]
#[bench::of_4_kib(deflated())]
fn inflate((mut inflater, payload): (Inflater, Vec<u8>)) -> usize {
    inflater.inflate(black_box(&payload), FRAME_LIMITS.message_bytes).map_or(0, |bytes| bytes.len())
}

/// A publish as a client sends it in either encoding.
fn published(codec: Codec) -> (MessageKind, Vec<u8>) {
    let json = fixture::publish();
    match codec {
        Codec::Json => (MessageKind::Text, json.into_bytes()),
        Codec::MessagePack => {
            let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
            (MessageKind::Binary, rmp_serde::to_vec_named(&value).expect("it encodes"))
        }
    }
}

#[library_benchmark]
#[bench::json(published(Codec::Json))]
#[bench::messagepack(published(Codec::MessagePack))]
fn read_a_publish((kind, bytes): (MessageKind, Vec<u8>)) -> usize {
    parse(kind, black_box(&bytes), &PARSE_LIMITS)
        .filter(|message| black_box(message).is_ok())
        .count()
}

#[library_benchmark]
#[bench::json((fixture::message(), Codec::Json, Vec::with_capacity(1_024)))]
#[bench::messagepack((fixture::message(), Codec::MessagePack, Vec::with_capacity(1_024)))]
fn write_an_envelope((message, codec, mut out): (Event<'static>, Codec, Vec<u8>)) -> Vec<u8> {
    encode(black_box(&message), codec, &mut out);
    out
}

/// A gate that remembers so many credentials, and a token.
fn gate(cached: usize) -> (Gate, String) {
    (fixture::credential::gate(cached, []), token())
}

/// One that has seen its token before.
fn gate_that_remembers() -> (Gate, String) {
    let (mut gate, token) = gate(16);
    assert!(is_accepted(&mut gate, CredentialKind::Bearer, &token));
    (gate, token)
}

#[library_benchmark]
#[bench::hs256(gate(0))]
#[bench::remembered(gate_that_remembers())]
fn judge_a_token((mut gate, token): (Gate, String)) -> Gate {
    assert!(is_accepted(&mut gate, CredentialKind::Bearer, black_box(&token)));
    // Given back, so that what it takes to drop it is not counted.
    gate
}

/// A hub in which nobody is yet, and the rooms' names.
fn hub() -> (Hub, Vec<RoomKey>) {
    (Hub::new(Seed(1, 2)), fixture::rooms(100))
}

#[library_benchmark]
#[bench::of_100_rooms(hub())]
fn hub_10_join_and_leave((mut hub, keys): (Hub, Vec<RoomKey>)) -> Hub {
    for key in &keys {
        let index = hub.enter(black_box(key), CoreId(0));
        for connection in 0..10 {
            hub.add(index, member(connection));
        }
        for _ in 0..10 {
            black_box(hub.remove(index, 0));
        }
        hub.tidy(index);
    }
    hub
}

/// A hub with a thousand members, ten in each room.
fn peopled() -> (Hub, Vec<RoomIndex>, Arc<str>) {
    let (mut hub, keys) = hub();
    let rooms = keys.iter().map(|key| hub.enter(key, CoreId(0))).collect::<Vec<_>>();
    for &room in &rooms {
        for connection in 0..10 {
            hub.add(room, member(connection));
        }
    }
    (hub, rooms, Arc::from("5x2k9q"))
}

#[library_benchmark]
#[bench::of_100_rooms(peopled())]
fn hub_tick_of_1000_members((mut hub, rooms, epoch): (Hub, Vec<RoomIndex>, Arc<str>)) -> usize {
    for &room in &rooms {
        hub.collect(room, fixture::loss(&epoch));
    }
    let plain = Interest::default();
    let mut count = hub.waiting_members();
    let dirty = hub.take_dirty();
    for &index in &dirty {
        let Some(room) = hub.get_mut(index) else { continue };
        for member in &room.members {
            let interest = member.interest.as_deref().unwrap_or(&plain);
            count += usize::from(interest.wants(black_box(None), Priority::Normal));
        }
        room.items.clear();
    }
    hub.return_dirty(dirty);
    count
}

#[library_benchmark]
#[bench::tick_of_1(fixture::ports(), 1)]
#[bench::tick_of_256(fixture::ports(), 256)]
fn mesh((mut from, mut to): (Port<Letter>, Port<Letter>), messages: u64) -> usize {
    fixture::tick(&mut from, messages);
    let mut count = 0;
    while let Some(batch) = to.receive() {
        count += black_box(batch.messages).len();
    }
    count
}

#[library_benchmark]
#[bench::of_10000_heartbeats(fixture::heartbeats(10_000))]
fn wheel_round(mut wheel: Wheel<ConnectionKey>) -> Wheel<ConnectionKey> {
    let mut now = Moment::default();
    for _ in 0..HEARTBEAT_MS {
        now = now.plus_ms(1);
        while let Some(connection) = wheel.expire(now) {
            wheel.insert(now.plus_ms(HEARTBEAT_MS), black_box(connection));
        }
    }
    wheel
}

#[library_benchmark]
#[bench::beside_10000(fixture::heartbeats(10_000))]
fn wheel_insert_and_cancel_1000(mut wheel: Wheel<ConnectionKey>) -> Wheel<ConnectionKey> {
    let mut deadline_ms = 0;
    for _ in 0..1_000 {
        deadline_ms = (deadline_ms + 7_919) % 100_000;
        let timer = wheel.insert(Moment::default().plus_ms(deadline_ms), key(1));
        black_box(wheel.cancel(timer));
    }
    wheel
}

library_benchmark_group!(
    name = frames_and_deflate,
    benchmarks = [decode_16_frames, unmask, deflate, inflate]
);
library_benchmark_group!(name = credentials, benchmarks = [judge_a_token]);
library_benchmark_group!(name = messages, benchmarks = [read_a_publish, write_an_envelope]);
library_benchmark_group!(
    name = engine,
    benchmarks = [
        hub_10_join_and_leave,
        hub_tick_of_1000_members,
        mesh,
        wheel_round,
        wheel_insert_and_cancel_1000
    ]
);
main!(library_benchmark_groups = [frames_and_deflate, messages, credentials, engine]);
