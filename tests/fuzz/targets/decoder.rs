//! A connection's bytes, cut as the fuzzer likes, come to the same events as in one piece; and what
//! every receiver relies on holds for each event.
use std::cell::RefCell;

use ringroom::ws::MessageKind;
use ringroom::ws::close::{Fault, valid_code};
use ringroom::ws::decoder::{Chunk, Decoder, Event, Limits, Scratch};

const LIMITS: Limits = Limits { message_bytes: 4_096, frame_bytes: 2_048, fragments: 16 };

/// What a decoder may hold beside the bytes that came: its bookkeeping, and room it grew by.
const OVERHEAD_BYTES: usize = 512;

#[derive(Debug, PartialEq)]
enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Fault(Fault),
}

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Message { kind, payload, frames } => {
            assert!((1..=LIMITS.fragments).contains(&frames));
            assert!(payload.len() <= LIMITS.message_bytes);
            assert!(kind == MessageKind::Binary || std::str::from_utf8(payload).is_ok());
            let owned = payload.to_vec();
            payload.fill(0xFF);
            Seen::Message(kind, owned)
        }
        Event::Ping(payload) => {
            assert!(payload.len() <= 125);
            Seen::Ping(payload.to_vec())
        }
        Event::Pong(payload) => {
            assert!(payload.len() <= 125);
            Seen::Pong(payload.to_vec())
        }
        Event::Close { code, reason } => {
            assert!(code.is_none_or(valid_code));
            Seen::Close(code, reason.to_owned())
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn decode<'a>(deflate: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    SCRATCH.with_borrow_mut(|scratch| decode_with(scratch, deflate, pieces))
}

fn decode_with<'a>(
    scratch: &mut Scratch,
    deflate: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut decoder = Decoder::new(deflate);
    let (mut all, mut came) = (Vec::new(), 0);
    for piece in pieces {
        let mut piece = piece.to_vec();
        came += piece.len();
        let mut input = Chunk::new(&mut piece);
        loop {
            match decoder.next(&mut input, &LIMITS, scratch) {
                Ok(Some(event)) => all.push(seen(event)),
                Ok(None) => break,
                Err(fault) => {
                    assert!(valid_code(fault.code()));
                    all.push(Seen::Fault(fault));
                }
            }
        }
        assert!(decoder.held_bytes() <= 2 * came + OVERHEAD_BYTES);
        assert!(!decoder.has_ended() || decoder.held_bytes() == 0);
    }
    all
}

pub(crate) fn check(data: &[u8]) {
    let [settings, cuts @ .., _] = data else { return };
    let deflate = settings & 1 != 0;
    let cut_count = usize::from(settings >> 1).min(cuts.len());
    let (cuts, bytes) = cuts.split_at(cut_count);

    let whole = decode(deflate, std::iter::once(bytes));
    assert_eq!(decode(deflate, bytes.chunks(1)), whole);

    let mut rest = bytes;
    let pieces = cuts.iter().map(|&cut| {
        let (piece, tail) = rest.split_at(usize::from(cut).min(rest.len()));
        rest = tail;
        piece
    });
    let mut pieces: Vec<&[u8]> = pieces.collect();
    pieces.push(rest);
    assert_eq!(decode(deflate, pieces.into_iter()), whole);
}
