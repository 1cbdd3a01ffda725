//! A compressed message inflates to what a plain streaming inflater makes of it, within its limit;
//! and what is compressed comes back.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use ringroom::ws::close::Fault;
use ringroom::ws::deflate::{Compressor, Inflater};

const LIMIT: usize = 16_384;
const TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// How many final blocks a message may have.
const MAX_FINAL_BLOCKS: usize = 64;

/// RFC 7692 §7.2.2 by the letter, with blocks behind final blocks.
fn reference(payload: &[u8]) -> Result<Vec<u8>, Fault> {
    let input = [payload, &TAIL].concat();
    let mut output = vec![0; LIMIT];
    let (mut consumed, mut produced) = (0, 0);
    let mut inflater = Box::<DecompressorOxide>::default();
    for final_blocks in 1..=MAX_FINAL_BLOCKS + 1 {
        inflater.init();
        let (status, read, written) = decompress(
            &mut inflater,
            &input[consumed..],
            &mut output,
            produced,
            TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
        );
        consumed += read;
        produced += written;
        match status {
            TINFLStatus::Done => {}
            TINFLStatus::HasMoreOutput => return Err(Fault::MessageTooLong),
            _ => return Err(Fault::InvalidDeflate),
        }
        let is_at_its_end = matches!(payload.get(consumed..), Some([] | [0x00]));
        let is_whole = is_at_its_end && final_blocks <= MAX_FINAL_BLOCKS;
        if is_whole || consumed == input.len() {
            output.truncate(produced);
            return Ok(output);
        }
    }
    Err(Fault::InvalidDeflate)
}

thread_local! {
    static WARM: RefCell<(Inflater, Compressor)> =
        RefCell::new((Inflater::new(), Compressor::new(6)));
}

fuzz_target!(|data: &[u8]| {
    WARM.with_borrow_mut(|(inflater, compressor)| {
        let ours = inflater.inflate(data, LIMIT).map(|message| message.to_vec());
        match (ours, reference(data)) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
            // Bytes with more than one fault: which one is met first may differ.
            (Err(_), Err(_)) => {}
            // libdeflate reads two unused codes of length as 258, and two of distance likewise.
            (Ok(_), Err(Fault::InvalidDeflate)) => {}
            (ours, theirs) => panic!("{ours:?} {theirs:?}"),
        }

        let mut payload = Vec::new();
        if compressor.compress(data, &mut payload) {
            assert!(payload.len() < data.len());
            match inflater.inflate(&payload, LIMIT) {
                Ok(message) => assert_eq!(message, data),
                Err(fault) => {
                    assert_eq!((fault, data.len() > LIMIT), (Fault::MessageTooLong, true))
                }
            }
        }
    });
});
