//! The elements of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), one after the other.
//!
//! Invariant: the walk only goes forward, so its cost is linear whatever the quotes and backslashes.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::ws::head::is_token;

/// As many parameters as any acceptable offer can have: each of the four once.
const PARAMETERS: usize = 4;

/// The header does not follow its grammar; what comes behind the fault has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// An extension with its parameters.
pub(super) struct Offer<'a> {
    pub(super) name: &'a [u8],
    pub(super) parameters: SmallVec<[Parameter<'a>; PARAMETERS]>,
    /// There were more parameters than are kept.
    pub(super) too_many: bool,
}

/// `name` or `name=value`.
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    /// Without its quotes.
    pub(super) value: Option<Cow<'a, [u8]>>,
}

/// The rest of a line.
pub(super) struct Offers<'a> {
    rest: &'a [u8],
}

impl<'a> Offers<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// The next element, or none at the end of the line.
    pub(super) fn next(&mut self) -> Result<Option<Offer<'a>>, Malformed> {
        self.skip_space();
        while self.take(b',') {
            self.skip_space();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        let mut offer = Offer { name, parameters: SmallVec::new(), too_many: false };
        self.skip_space();
        while self.take(b';') {
            let parameter = self.parameter()?;
            offer.too_many |= offer.parameters.len() == PARAMETERS;
            if !offer.too_many {
                offer.parameters.push(parameter);
            }
            self.skip_space();
        }
        if self.rest.is_empty() || self.take(b',') { Ok(Some(offer)) } else { Err(Malformed) }
    }

    fn parameter(&mut self) -> Result<Parameter<'a>, Malformed> {
        self.skip_space();
        let name = self.token()?;
        self.skip_space();
        if !self.take(b'=') {
            return Ok(Parameter { name, value: None });
        }
        self.skip_space();
        let value = if self.take(b'"') { self.quoted()? } else { Cow::Borrowed(self.token()?) };
        Ok(Parameter { name, value: Some(value) })
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|byte| !is_token(*byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// What stands between here and the closing quote, unescaped.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let mut value = Cow::Borrowed(&self.rest[..0]);
        loop {
            let special = |byte: &u8| matches!(*byte, b'"' | b'\\');
            let end = self.rest.iter().position(special).ok_or(Malformed)?;
            let (plain, rest) = self.rest.split_at(end);
            if value.is_empty() {
                value = Cow::Borrowed(plain);
            } else {
                value.to_mut().extend_from_slice(plain);
            }
            match *rest {
                [b'"', ref rest @ ..] => {
                    self.rest = rest;
                    return Ok(value);
                }
                [b'\\', escaped, ref rest @ ..] => {
                    value.to_mut().push(escaped);
                    self.rest = rest;
                }
                _ => return Err(Malformed),
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_space(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }
}
