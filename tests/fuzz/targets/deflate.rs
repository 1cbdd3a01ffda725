//! A compressed message inflates to what a plain streaming inflater makes of it, within its limit;
//! and what is compressed comes back.
use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use ringroom::ws::close::Fault;
use ringroom::ws::deflate::{Compressor, Inflater};

#[path = "deflate/lenient.rs"]
mod lenient;

const LIMIT: usize = 16_384;
const TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// A block takes ten bits at least: no shorter message has too many.
const MANY_BLOCKS_BYTES: usize = 256 * 10 / 8;

/// RFC 7692 §7.2.2 by the letter, with blocks behind final blocks. zlib, since it agrees with
/// libdeflate on which sets of codes are none.
fn reference<'a>(
    inflater: &mut Decompress,
    output: &'a mut [u8],
    payload: &[u8],
) -> Result<&'a [u8], Fault> {
    let input = [payload, &TAIL].concat();
    let (mut consumed, mut produced) = (0, 0);
    loop {
        inflater.reset(false);
        if produced > 0 {
            // What follows a final block may refer back across it.
            inflater.set_dictionary(&output[..produced]).unwrap();
        }
        let status = inflater.decompress(
            &input[consumed..],
            &mut output[produced..],
            FlushDecompress::Finish,
        );
        consumed += usize::try_from(inflater.total_in()).unwrap();
        produced += usize::try_from(inflater.total_out()).unwrap();
        match status {
            Ok(Status::StreamEnd) if produced <= LIMIT => {}
            Ok(_) if produced > LIMIT => return Err(Fault::MessageTooLong),
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
    streaming: Decompress,
    output: Vec<u8>,
}

thread_local! {
    static WARM: RefCell<Warm> = RefCell::new(Warm {
        inflater: Inflater::new(),
        compressor: Compressor::new(6),
        streaming: Decompress::new(false),
        output: vec![0; LIMIT + 1],
    });
}

pub(crate) fn check(data: &[u8]) {
    WARM.with_borrow_mut(|warm| {
        let theirs = reference(&mut warm.streaming, &mut warm.output, data);
        match (warm.inflater.inflate(data, LIMIT), theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
            // Bytes with more than one fault: which one is met first may differ.
            (Err(_), Err(_)) => {}
            // What libdeflate gives a meaning to, and RFC 1951 does not: that, and nothing else.
            (Ok(ours), Err(Fault::InvalidDeflate)) => {
                let (lenient, strays) = lenient::read(data, &TAIL, LIMIT).expect("it is none");
                assert!(strays, "zlib is at fault");
                assert_eq!(ours, lenient);
            }
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
