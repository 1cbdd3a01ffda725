//! Public keys in PEM: `PUBLIC KEY` (RFC 5280) of any kind, and `RSA PUBLIC KEY` (RFC 8017).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::der::{BIT_STRING, INTEGER, OBJECT, Reader, SEQUENCE};
use super::{KeyError, VerifyingKey};
use crate::config::Algorithm;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P_384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Reads the one key that `text` holds, for `algorithm`.
///
/// # Errors
/// If it is no such key.
pub fn public_key_pem(algorithm: Algorithm, text: &str) -> Result<VerifyingKey, KeyError> {
    let (label, der) = unwrap(text).ok_or(KeyError::Pem)?;
    match label {
        "PUBLIC KEY" => subject_public_key(algorithm, &der),
        "RSA PUBLIC KEY" => rsa_public_key(algorithm, &der),
        _ if label.contains("PRIVATE") || label.contains("CERTIFICATE") => {
            Err(KeyError::NotAPublicKey)
        }
        _ => Err(KeyError::Pem),
    }
}

/// The label of the first section and what it holds.
fn unwrap(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    let (label, after) = after.split_once("-----")?;
    let (body, after) = after.split_once("-----END ")?;
    let end = after.strip_prefix(label)?;
    // A second section might be the key that was meant.
    if !end.starts_with("-----") || end.contains("-----BEGIN ") {
        return None;
    }
    let base64: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some((label, STANDARD.decode(base64).ok()?))
}

fn subject_public_key(algorithm: Algorithm, der: &[u8]) -> Result<VerifyingKey, KeyError> {
    let parts = || {
        let mut key = Reader(Reader(der).only(SEQUENCE)?);
        let mut about = Reader(key.take(SEQUENCE)?);
        let kind = about.take(OBJECT)?;
        let [0, bits @ ..] = key.only(BIT_STRING)? else { return None };
        Some((kind, about, bits))
    };
    let (kind, mut about, bits) = parts().ok_or(KeyError::Pem)?;
    match kind {
        RSA_ENCRYPTION => rsa_public_key(algorithm, bits),
        ED25519 => VerifyingKey::point(algorithm, "Ed25519", bits),
        EC_PUBLIC_KEY => match about.take(OBJECT) {
            Some(P_256) => VerifyingKey::point(algorithm, "P-256", bits),
            Some(P_384) => VerifyingKey::point(algorithm, "P-384", bits),
            _ => Err(KeyError::Unsupported),
        },
        _ => Err(KeyError::Unsupported),
    }
}

fn rsa_public_key(algorithm: Algorithm, der: &[u8]) -> Result<VerifyingKey, KeyError> {
    let numbers = || {
        let mut key = Reader(Reader(der).only(SEQUENCE)?);
        Some((key.take(INTEGER)?, key.only(INTEGER)?))
    };
    let (modulus, exponent) = numbers().ok_or(KeyError::Pem)?;
    VerifyingKey::rsa(algorithm, modulus, exponent)
}
