//! As much of DER as a public key needs.

/// The tag of an INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// The tag of a BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// The tag of an OBJECT IDENTIFIER.
pub(super) const OBJECT: u8 = 0x06;
/// The tag of a SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The contents of the next value, which has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        if *found != tag || length > rest.len() {
            return None;
        }
        let (contents, rest) = rest.split_at(length);
        self.0 = rest;
        Some(contents)
    }

    /// The contents of the value that is all there is.
    pub(super) fn only(mut self, tag: u8) -> Option<&'a [u8]> {
        let contents = self.take(tag)?;
        self.0.is_empty().then_some(contents)
    }
}

/// A length of up to 65,535, in its shortest form.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ 0..=0x7f, rest @ ..] => Some((usize::from(*short), rest)),
        [0x81, length @ 0x80..=0xff, rest @ ..] => Some((usize::from(*length), rest)),
        [0x82, high @ 1..=0xff, low, rest @ ..] => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest))
        }
        _ => None,
    }
}
