//! JSON Web Tokens, signed (RFC 7515, RFC 7519, RFC 8725).
//!
//! Invariants: the key decides the algorithm, and the header must agree; nothing in a header is
//! followed; what could be spelled in two ways is refused; a token of one type is none of another.

use std::borrow::Cow;

use super::base64url;
use super::key::VerifyingKey;
use super::refusal::Refusal;
use crate::config::Algorithm;
use crate::protocol::json::{self, Object};

/// The longest token.
pub const TOKEN_BYTES: usize = 8 * 1_024;
/// The longest name of a key.
const KEY_ID_BYTES: usize = 256;

/// What a token is for, as its `typ` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To say who someone is: `JWT`, `at+jwt`, or no `typ`.
    Identity,
    /// To let someone into a room: `room+jwt`.
    Room,
}

/// The `typ` of a room token.
pub(super) const ROOM_TYPE: &str = "room+jwt";

/// A header and what it says, which depends on nothing else: most tokens have the one that the last had.
#[derive(Debug)]
pub(super) struct Header {
    text: Box<str>,
    wanted: Use,
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
}

/// A token whose parts have been read, and whose signature has not been checked.
#[derive(Debug)]
pub(super) struct Token<'a> {
    header: &'a str,
    wanted: Use,
    /// What the signature is on.
    signed: &'a [u8],
    signature: &'a [u8],
    algorithm: Algorithm,
    key_id: Option<Cow<'a, str>>,
    payload: &'a [u8],
}

/// Whether it is written as a token: three parts.
pub(super) fn has_shape(text: &str) -> bool {
    memchr::memchr_iter(b'.', text.as_bytes()).count() == 2
}

impl<'a> Token<'a> {
    /// Takes a token apart. What its parts stand for is put into `decoded`, but for a header that is
    /// known.
    pub(super) fn parse(
        text: &'a str,
        wanted: Use,
        known: Option<&'a Header>,
        decoded: &'a mut Vec<u8>,
    ) -> Result<Self, Refusal> {
        if text.len() > TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let known = known.filter(|known| *known.text == *header && known.wanted == wanted);
        decoded.clear();
        decoded.reserve(text.len());
        let mut decode = |part: &str| {
            // A further dot is no base64.
            base64url::decode_into(part, decoded).ok_or(Refusal::Malformed)?;
            Ok(decoded.len())
        };
        let header_end = if known.is_some() { 0 } else { decode(header)? };
        let payload_end = decode(payload)?;
        decode(signature)?;
        let (said, signature) = decoded.split_at(payload_end);
        let (header_said, payload) = said.split_at(header_end);
        let (algorithm, key_id) = match known {
            Some(known) => (known.algorithm, known.key_id.as_deref().map(Cow::Borrowed)),
            None => read_header(header_said, wanted)?,
        };
        let signed = signed.as_bytes();
        Ok(Self { header, wanted, signed, signature, algorithm, key_id, payload })
    }

    /// Its header, unless that is the one which is known.
    pub(super) fn other_header(&self, known: Option<&Header>) -> Option<Header> {
        if known.is_some_and(|known| *known.text == *self.header && known.wanted == self.wanted) {
            return None;
        }
        Some(Header {
            text: self.header.into(),
            wanted: self.wanted,
            algorithm: self.algorithm,
            key_id: self.key_id.as_deref().map(Box::from),
        })
    }

    /// The name of its key, as it says.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Its algorithm, as it says.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What it says; not to be believed before [`is_signed_by`](Self::is_signed_by) is true.
    pub(super) fn payload(&self) -> Result<Object<'a>, Refusal> {
        Object::parse(self.payload).ok_or(Refusal::Malformed)
    }

    /// Whether `key` signed it.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.algorithm() == self.algorithm && key.verifies(self.signed, self.signature)
    }
}

fn read_header(header: &[u8], wanted: Use) -> Result<(Algorithm, Option<Cow<'_, str>>), Refusal> {
    let header = Object::parse(header).ok_or(Refusal::Malformed)?;
    let mut algorithm = None;
    let mut key_id = None;
    let mut kind = None;
    for (name, value) in header.iter() {
        let text = || json::said(value).ok_or(Refusal::Header);
        match name {
            "alg" => algorithm = Some(Algorithm::named(&text()?).ok_or(Refusal::Algorithm)?),
            "typ" => kind = Some(text()?),
            "kid" => {
                let id = text()?;
                if !(1..=KEY_ID_BYTES).contains(&id.len()) {
                    return Err(Refusal::Header);
                }
                key_id = Some(id);
            }
            // Extensions that must be understood, keys that we should take from the token itself or
            // fetch at its word, and tokens within tokens: none of it.
            "crit" | "b64" | "jku" | "jwk" | "x5u" | "x5c" | "cty" | "enc" | "zip" => {
                return Err(Refusal::Header);
            }
            _ => {}
        }
    }
    let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    let fits = match (wanted, kind) {
        (Use::Identity, None) => true,
        (Use::Identity, Some(kind)) => {
            ["jwt", "at+jwt"].iter().any(|it| kind.eq_ignore_ascii_case(it))
        }
        (Use::Room, kind) => kind == Some(ROOM_TYPE),
    };
    if !fits {
        return Err(Refusal::Header);
    }
    Ok((algorithm.ok_or(Refusal::Algorithm)?, key_id))
}
