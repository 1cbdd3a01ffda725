//! A compressed message inflates to what a plain streaming inflater makes of it, within its limit;
//! and what is compressed comes back.
use std::cell::RefCell;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use ringroom::ws::close::Fault;
use ringroom::ws::deflate::{Compressor, Inflater};

const LIMIT: usize = 16_384;
const TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// A block takes ten bits at least: no shorter message has too many.
const MANY_BLOCKS_BYTES: usize = 256 * 10 / 8;

/// RFC 7692 §7.2.2 by the letter, with blocks behind final blocks.
fn reference<'a>(
    inflater: &mut DecompressorOxide,
    output: &'a mut [u8],
    payload: &[u8],
) -> Result<&'a [u8], Fault> {
    let input = [payload, &TAIL].concat();
    let (mut consumed, mut produced) = (0, 0);
    loop {
        inflater.init();
        let (status, read, written) = decompress(
            inflater,
            &input[consumed..],
            output,
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
        if is_at_its_end || consumed == input.len() {
            return Ok(&output[..produced]);
        }
    }
}

struct Warm {
    inflater: Inflater,
    compressor: Compressor,
    streaming: Box<DecompressorOxide>,
    output: Vec<u8>,
}

thread_local! {
    static WARM: RefCell<Warm> = RefCell::new(Warm {
        inflater: Inflater::new(),
        compressor: Compressor::new(6),
        streaming: Box::default(),
        output: vec![0; LIMIT],
    });
}

pub(crate) fn check(data: &[u8]) {
    WARM.with_borrow_mut(|warm| {
        let theirs = reference(&mut warm.streaming, &mut warm.output, data);
        match (warm.inflater.inflate(data, LIMIT), theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
            // Bytes with more than one fault: which one is met first may differ. And libdeflate reads
            // two unused codes of length as 258, and two of distance likewise.
            (Err(_), Err(_)) | (Ok(_), Err(Fault::InvalidDeflate)) => {}
            // The reference takes sets of codes that are not complete, which libdeflate refuses as
            // RFC 1951 lets it.
            (Err(Fault::InvalidDeflate), Ok(_)) => {}
            (Err(Fault::TooManyBlocks), Ok(_)) => assert!(data.len() >= MANY_BLOCKS_BYTES),
            (ours, theirs) => panic!("{ours:?} {theirs:?}"),
        }

        let mut payload = Vec::new();
        if warm.compressor.compress(data, &mut payload) {
            assert!(payload.len() < data.len());
            match warm.inflater.inflate(&payload, LIMIT) {
                Ok(message) => assert_eq!(message, data),
                Err(fault) => {
                    assert_eq!((fault, data.len() > LIMIT), (Fault::MessageTooLong, true));
                }
            }
        }
    });
}
