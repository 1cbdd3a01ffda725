//! D6, D8, D9 and D11.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may")]

use flate2::{Compress, Compression, FlushCompress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use proptest::prelude::*;

use super::{Compressor, Inflater, TAIL, UNCOUNTED_BYTES, buffer, most_blocks};
use crate::ws::close::Fault;

const LIMIT: usize = 65_536;

/// RFC 7692 §7.2.3.4: "Hello" in a final block, and what follows it.
const HELLO_FINAL: [u8; 8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
/// RFC 7692 §7.2.3.2: "Hello" by reference to a "Hello" before it.
const HELLO_AGAIN: [u8; 5] = [0xF2, 0x00, 0x11, 0x00, 0x00];

fn inflate(payload: &[u8]) -> Result<Vec<u8>, Fault> {
    Inflater::new().inflate(payload, LIMIT).map(|message| message.to_vec())
}

/// A message as senders built on zlib make it: flushed after every part, the last four bytes left out.
fn sync_stream(parts: &[&[u8]], level: u32) -> Vec<u8> {
    let mut stream = Compress::new(Compression::new(level), false);
    let mut out = Vec::new();
    for part in parts {
        out.reserve(part.len() + part.len() / 8 + 1_024);
        let before = stream.total_in();
        stream.compress_vec(part, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(stream.total_in() - before, part.len() as u64);
    }
    assert_eq!(out.split_off(out.len() - 4), [0x00, 0x00, 0xFF, 0xFF]);
    out
}

/// A final block, without what follows it.
fn final_block(message: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.deflate_compress_bound(message.len())];
    let written = compressor.deflate_compress(message, &mut out).unwrap();
    out.truncate(written);
    out
}

/// Bits, the first of them the lowest of its byte, as deflate writes all but its codes.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, count: usize) {
        for index in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = ((value >> index) & 1) as u8;
            *self.bytes.last_mut().unwrap() |= bit << (self.count % 8);
            self.count += 1;
        }
    }

    /// A block of fixed codes that says nothing.
    fn put_fixed(&mut self) {
        self.put(0b010, 3);
        self.put(0, 7);
    }

    /// A block that says nothing in codes of its own, of as few bits as may be.
    fn put_dynamic(&mut self) {
        self.put(0b100, 3);
        // 257 codes of literals, 1 of a distance, the lengths of 18 codes of lengths.
        self.put(0, 10);
        self.put(14, 4);
        // In RFC 1951's order, 18 (many zeros) is the third and 1 the last of them.
        for index in 0..18 {
            self.put(u32::from(index == 2 || index == 17), 3);
        }
        // 138 zeros, 118 zeros; then the end of the block and a distance.
        for zeros in [138, 118] {
            self.put(1, 1);
            self.put(zeros - 11, 7);
        }
        self.put(0, 2);
        self.put(0, 1);
    }

    /// The payload of a message: the header of the stored block that every tail completes.
    fn end(mut self) -> Vec<u8> {
        self.put(0, 3);
        self.bytes
    }
}

/// As many blocks that say nothing as there is room for, by turns of each kind.
fn nothing(payload_bytes: usize, put: &[fn(&mut Bits)]) -> (Vec<u8>, usize) {
    let mut bits = Bits::default();
    let mut blocks = 0;
    while bits.bytes.len() + 16 < payload_bytes {
        put[blocks % put.len()](&mut bits);
        blocks += 1;
    }
    (bits.end(), blocks)
}

/// Bytes of some structure, the same for the same arguments.
fn sample(len: usize, alphabet: u32, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from((state >> 16) % alphabet).unwrap()
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn the_examples_of_rfc_7692() {
    let two_blocks = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
    let cases: [(&str, &[u8], &[u8]); 5] = [
        ("7.2.3.1", &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], b"Hello"),
        ("7.2.3.3: stored", &stored, b"Hello"),
        ("7.2.3.4: final", &HELLO_FINAL, b"Hello"),
        ("7.2.3.5: two blocks", &two_blocks, b"Hello"),
        ("7.2.3.6: empty", &[0x00], b""),
    ];
    for (example, payload, message) in cases {
        assert_eq!(inflate(payload).as_deref(), Ok(message), "{example}");
    }
}

#[test]
fn a_reference_to_an_earlier_message_is_a_fault_and_harms_no_later_one() {
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&HELLO_FINAL, LIMIT).as_deref(), Ok(&b"Hello"[..]));
    assert_eq!(inflater.inflate(&HELLO_AGAIN, LIMIT), Err(Fault::InvalidDeflate));
    assert_eq!(inflater.inflate(&HELLO_FINAL, LIMIT).as_deref(), Ok(&b"Hello"[..]));
}

#[test]
fn streams_flushed_by_zlib_inflate_whatever_their_parts_levels_and_sizes() {
    for len in [0, 1, 2, 100, 4_096, 60_000] {
        for alphabet in [1, 4, 256] {
            let message = sample(len, alphabet, 7);
            for level in 0..=9 {
                for part_count in 1..=7 {
                    let parts: Vec<&[u8]> = message.chunks(len / part_count + 1).collect();
                    let payload = sync_stream(if len == 0 { &[b""] } else { &parts }, level);
                    assert!(inflate(&payload).as_deref() == Ok(&message[..]), "{len} {level}");
                }
            }
        }
    }
}

#[test]
fn blocks_behind_a_final_block_are_part_of_the_message() {
    let hello = &HELLO_FINAL[..7];
    let mut again = [hello, &HELLO_AGAIN].concat();
    assert_eq!(inflate(&again).as_deref(), Ok(&b"HelloHello"[..]), "referring back across it");
    again.truncate(again.len() - 2);
    assert_eq!(inflate(&again), Err(Fault::InvalidDeflate), "cut");

    let long = sample(9_000, 5, 3);
    let payload = [hello, &final_block(&long), &sync_stream(&[b"end"], 6)].concat();
    assert_eq!(inflate(&payload), Ok([b"Hello", &long[..], b"end"].concat()));

    let payload = [hello, hello, hello, &[0x00]].concat();
    assert_eq!(inflate(&payload).as_deref(), Ok(&b"HelloHelloHello"[..]), "three final blocks");
}

/// A cut message: its last byte begins a block whose codes go on through the tail.
#[test]
fn what_the_tail_completes_in_another_way_is_not_the_end() {
    let mut bits = Bits::default();
    bits.put_fixed();
    bits.put(0b010, 3);
    let payload = [&HELLO_FINAL[..7], &bits.bytes].concat();
    assert_eq!(inflate(&payload), Err(Fault::InvalidDeflate));
}

#[test]
fn a_message_that_ends_at_its_final_block_is_whole() {
    assert_eq!(inflate(&HELLO_FINAL[..7]).as_deref(), Ok(&b"Hello"[..]));
}

#[test]
fn the_empty_stored_block_at_the_end_may_be_final() {
    assert_eq!(inflate(&[0x01]).as_deref(), Ok(&b""[..]));
    let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, b'H', b'e', b'l', b'l', b'o', 0x01];
    assert_eq!(inflate(&stored).as_deref(), Ok(&b"Hello"[..]));
    let behind_a_final_block = [&HELLO_FINAL[..7], &stored].concat();
    assert_eq!(inflate(&behind_a_final_block).as_deref(), Ok(&b"HelloHello"[..]));
}

#[test]
fn blocks_behind_a_final_one_are_counted() {
    let payload = |count| [HELLO_FINAL[..7].repeat(count), vec![0x00]].concat();
    let most = |count: usize| most_blocks(payload(count).len() + TAIL.len());
    // The first is not counted, nor is the end that every message has.
    let count = (1..1_000).take_while(|count| count - 1 <= most(*count)).last().unwrap();
    assert!(payload(count).len() <= UNCOUNTED_BYTES, "or the first were counted");
    assert_eq!(inflate(&payload(count)), Ok(b"Hello".repeat(count)));
    assert_eq!(inflate(&payload(count + 1)), Err(Fault::TooManyBlocks));
}

/// How many tables can be built in a millisecond: one takes some two microseconds.
const IN_A_MILLISECOND: usize = 400;

/// Work is counted in blocks.
#[test]
fn a_message_of_empty_blocks_ends_before_it_has_cost_much() {
    let kinds: [&[fn(&mut Bits)]; 3] =
        [&[Bits::put_fixed], &[Bits::put_dynamic], &[Bits::put_dynamic, Bits::put_fixed]];
    for put in kinds {
        let mut inflater = Inflater::new();
        let (payload, blocks) = nothing(65_536, put);
        assert!(blocks > 5_000, "enough to hold a core up: {blocks}");
        assert_eq!(inflater.inflate(&payload, LIMIT), Err(Fault::TooManyBlocks));
        assert_eq!(inflater.blocks, most_blocks(payload.len() + TAIL.len()) + 1);
        assert!(inflater.blocks < IN_A_MILLISECOND);

        // Behind a final block as well.
        let behind = [&HELLO_FINAL[..7], &payload].concat();
        assert_eq!(inflater.inflate(&behind, LIMIT), Err(Fault::TooManyBlocks));
        assert!(inflater.blocks < IN_A_MILLISECOND);

        // Where nobody counts, there is no room for many that have tables of their own.
        let (payload, blocks) = nothing(UNCOUNTED_BYTES, put);
        assert_eq!(inflater.inflate(&payload, LIMIT).as_deref(), Ok(&b""[..]));
        assert_eq!(inflater.blocks, 0);
        let with_tables =
            if put.contains(&(Bits::put_dynamic as fn(&mut Bits))) { blocks } else { 1 };
        assert!(with_tables < IN_A_MILLISECOND, "{with_tables}");
        assert_eq!(inflater.inflate(&HELLO_FINAL, LIMIT).as_deref(), Ok(&b"Hello"[..]));
    }
}

/// Those are what the limit leaves room for.
#[test]
fn a_message_flushed_every_512_bytes_is_taken() {
    for alphabet in [4, 60, 256] {
        let message = sample(LIMIT, alphabet, 13);
        let parts: Vec<&[u8]> = message.chunks(512).collect();
        let payload = sync_stream(&parts, 6);
        assert!(payload.len() > UNCOUNTED_BYTES);
        assert!(inflate(&payload).as_deref() == Ok(&message[..]), "{alphabet}");
    }
}

#[test]
fn what_is_not_deflate_is_a_fault() {
    let stored_beyond_the_end = [0x00, 0xFF, 0x00, 0x00, 0xFF, b'a', 0x00];
    let cases: [(&str, &[u8]); 7] = [
        ("nothing at all", b""),
        ("a reserved block type", &[0x07]),
        ("text", b"not deflate at all"),
        ("a stored block whose lengths disagree", &[0x00, 0x05, 0x00, 0x00, 0x00, b'a', 0x00]),
        ("a stored block that is longer than the message", &stored_beyond_the_end),
        ("garbage behind a final block", &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x07, 0x07]),
        ("a zlib header", &[0x78, 0x9C, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
    ];
    for (what, payload) in cases {
        assert_eq!(inflate(payload), Err(Fault::InvalidDeflate), "{what}");
    }
}

#[test]
fn a_cut_message_never_passes_for_the_whole_one() {
    let message = sample(3_000, 20, 11);
    for payload in [sync_stream(&[&message], 6), sync_stream(&[&message], 0), final_block(&message)]
    {
        assert_eq!(inflate(&payload).as_deref(), Ok(&message[..]));
        for end in 0..payload.len() {
            // A cut at the very end can leave only bits that say nothing.
            let cut = inflate(&payload[..end]);
            let says_nothing = end + 1 == payload.len() && cut.as_deref() == Ok(&message[..]);
            assert!(cut.as_deref() != Ok(&message[..]) || says_nothing, "at {end}");
        }
    }
}

#[test]
fn the_limit_is_the_longest_message_both_with_and_without_blocks_behind_a_final_one() {
    let message = sample(10_000, 30, 5);
    let hello_and_it = [&HELLO_FINAL[..7], &final_block(&message), &[0x00]].concat();
    for (payload, len) in [(sync_stream(&[&message], 6), 10_000), (hello_and_it, 10_005)] {
        let mut inflater = Inflater::new();
        assert_eq!(inflater.inflate(&payload, len).map(|message| message.len()), Ok(len));
        assert_eq!(inflater.inflate(&payload, len - 1), Err(Fault::MessageTooLong));
        assert_eq!(inflater.inflate(&payload, 1), Err(Fault::MessageTooLong));
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = final_block(&vec![0; 200_000_000]);
    assert!(bomb.len() < 210_000, "a thousandth: {}", bomb.len());
    let behind_a_final_block = [&HELLO_FINAL[..7], &bomb].concat();
    for payload in [bomb, behind_a_final_block] {
        let mut inflater = Inflater::new();
        assert_eq!(inflater.inflate(&payload, LIMIT), Err(Fault::MessageTooLong));
        assert_eq!(inflater.output.capacity(), LIMIT, "nothing was made for what did not fit");
    }
}

#[test]
fn nothing_is_allocated_once_warm() {
    let (mut inflater, mut compressor) = (Inflater::new(), Compressor::new(6));
    let (message, mut payload) = (sample(20_000, 8, 1), Vec::new());
    assert!(compressor.compress(&message, &mut payload));
    assert!(inflater.inflate(&payload, LIMIT).is_ok());
    let warm = (payload.as_ptr(), inflater.input.as_ptr(), inflater.output.as_ptr());
    for len in [20_000, 300, 10_000] {
        payload.clear();
        assert!(compressor.compress(&message[..len], &mut payload));
        assert_eq!(inflater.inflate(&payload, LIMIT).as_deref(), Ok(&message[..len]));
        let now = (payload.as_ptr(), inflater.input.as_ptr(), inflater.output.as_ptr());
        assert_eq!(now, warm);
    }
}

#[test]
fn what_is_compressed_is_smaller_ends_as_the_rfc_says_and_comes_back() {
    for level in 0..=13 {
        let mut compressor = Compressor::new(level);
        for len in (0..64).chain([100, 4_096, 65_536]) {
            for alphabet in [1, 4, 256] {
                let message = sample(len, alphabet, 9);
                let mut out = b"before".to_vec();
                if !compressor.compress(&message, &mut out) {
                    assert_eq!(out, b"before", "left as it was");
                    continue;
                }
                let payload = &out[b"before".len()..];
                assert!(payload.len() < message.len());
                assert_eq!(payload.last(), Some(&0x00));
                assert_eq!(inflate(payload), Ok(message));
            }
        }
        assert!(compressor.compress(&[b'a'; 4_096], &mut Vec::new()), "level {level} works");
    }
}

#[test]
fn what_large_messages_took_is_given_back_and_small_ones_take_nothing_anew() {
    let (small, large) = (vec![b'a'; 50_000], vec![b'a'; 3 << 20]);
    let mut inflater = Inflater::new();
    for message in [&small, &large, &small] {
        let limit = message.len();
        let mut payload = Vec::new();
        assert!(Compressor::new(1).compress(message, &mut payload));
        assert_eq!(inflater.inflate(&payload, limit), Ok(&mut message.clone()[..]));
        inflater.give_back();
        let kept_bytes = if limit > buffer::KEPT_BYTES { 0 } else { limit };
        assert_eq!(inflater.output.capacity(), kept_bytes);
    }
}

#[test]
fn an_empty_message_is_not_made_smaller() {
    let mut out = Vec::new();
    assert!(!Compressor::new(6).compress(b"", &mut out));
    assert!(out.is_empty());
}

#[test]
fn a_message_within_a_window_can_be_read_with_that_window() {
    for window_bits in 8..=15 {
        let window = 1 << window_bits;
        let half = sample(window / 2, 256, window_bits);
        // The second half refers as far back as can be.
        let message = [&half[..], &half[..]].concat();
        let mut payload = Vec::new();
        assert!(Compressor::new(12).compress(&message, &mut payload));
        // An output that wraps after `window` bytes refuses references beyond it.
        let mut output = vec![0; window];
        let mut inflater = Box::<DecompressorOxide>::default();
        let (status, _, written) = decompress(&mut inflater, &payload, &mut output, 0, 0);
        assert_eq!((status, written), (TINFLStatus::Done, window), "{window_bits}");
        assert!(output == message);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_inflate_to_what_a_streaming_inflater_makes_of_them(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        with_header in 0..3u8,
    ) {
        // Random bytes rarely pass the first block's header: help them.
        let mut payload = payload;
        if let Some(first) = payload.first_mut() {
            *first = (*first & !0x07) | (with_header << 1);
        }
        let mut reference = vec![0; LIMIT];
        let input = [&payload[..], &TAIL].concat();
        let mut streaming = Box::<DecompressorOxide>::default();
        let (status, read, written) = decompress(
            &mut streaming,
            &input,
            &mut reference,
            0,
            super::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
        );
        if status == TINFLStatus::Done && read == input.len() {
            prop_assert_eq!(inflate(&payload), Ok(reference[..written].to_vec()));
        } else if status != TINFLStatus::Done {
            prop_assert!(inflate(&payload).is_err());
        }
    }

    #[test]
    fn a_message_comes_back(message in prop::collection::vec(0..20u8, 0..5_000), level in 1..=12u8) {
        let mut payload = Vec::new();
        if Compressor::new(level).compress(&message, &mut payload) {
            prop_assert_eq!(inflate(&payload), Ok(message));
        }
    }
}
