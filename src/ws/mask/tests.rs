//! F15.

use super::apply;

const KEYS: [[u8; 4]; 4] = [[0; 4], [0xFF; 4], [0x37, 0xFA, 0x21, 0x3D], [1, 2, 4, 8]];

fn scalar(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    for (byte, position) in bytes.iter_mut().zip(offset..) {
        *byte ^= key[(position % 4) as usize];
    }
}

#[test]
fn every_alignment_length_and_offset_equals_the_scalar_form() {
    let source: Vec<u8> = (0..128u8).map(|byte| byte.wrapping_mul(37)).collect();
    for key in KEYS {
        for alignment in 0..8 {
            for length in 0..=64 {
                for offset in 0..4 {
                    let mut actual = source.clone();
                    let shift = actual.as_ptr().align_offset(8) + alignment;
                    let mut expected = source.clone();
                    apply(&mut actual[shift..shift + length], key, offset);
                    scalar(&mut expected[shift..shift + length], key, offset);
                    assert_eq!(actual, expected, "{key:?} {alignment} {length} {offset}");
                }
            }
        }
    }
}

#[test]
fn a_mask_of_zero_changes_nothing() {
    let mut bytes = *b"as it was";
    apply(&mut bytes, [0; 4], 3);
    assert_eq!(&bytes, b"as it was");
}

#[test]
fn taking_it_off_in_pieces_is_taking_it_off_in_one() {
    let key = KEYS[2];
    let source: Vec<u8> = (0..61).collect();
    let mut expected = source.clone();
    apply(&mut expected, key, 0);
    for split in 0..=source.len() {
        let mut actual = source.clone();
        let (head, tail) = actual.split_at_mut(split);
        apply(head, key, 0);
        apply(tail, key, split as u64);
        assert_eq!(actual, expected, "{split}");
    }
}
