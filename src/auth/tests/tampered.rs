//! A token or a session that was good is good no more when any bit of it is another.

use std::sync::Arc;

use proptest::prelude::*;

use super::support::{HEADER, NOW, NOW_MS, SECRET, at, judged, payload, signed, usual_gate};
use crate::auth::Algorithm::{EdDsa, Es256, Hs256, Rs256};
use crate::auth::cookie::CookieKey;
use crate::auth::{Gate, Proof, Verdict};
use crate::ws::handshake::CredentialKind;

const NAME: &str = "__Host-ringroom";

fn session() -> String {
    let key = CookieKey::new("c1", SECRET).expect("a key");
    key.sign(NAME, "default", &format!(r#"{{"sub":"ann","exp":{}}}"#, NOW + 600))
}

fn accepts_cookie(gate: &mut Gate, secret: &str) -> bool {
    let proof = Proof { kind: CredentialKind::Cookie, secret, wanted_tenant: None };
    matches!(gate.judge(at(NOW_MS), &proof), Verdict::Accepted(_))
}

/// `text` with one bit of one byte turned, where that is text at all.
fn turned(text: &str, byte: usize, bit: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let index = byte % bytes.len();
    bytes[index] ^= 1 << (bit % 8);
    String::from_utf8(bytes).ok()
}

#[test]
fn every_bit_of_a_session_counts() {
    let mut gate = usual_gate();
    let session = session();
    assert!(accepts_cookie(&mut gate, &session));
    for byte in 0..session.len() {
        for bit in 0..8 {
            let Some(other) = turned(&session, byte, bit) else { continue };
            assert!(!accepts_cookie(&mut gate, &other), "byte {byte}, bit {bit}");
        }
        assert!(!accepts_cookie(&mut gate, &session[..byte]), "cut after {byte} bytes");
    }
}

#[test]
fn every_bit_of_a_shared_secret_s_token_counts() {
    let mut gate = usual_gate();
    let token = signed(Hs256, HEADER, &payload(""));
    for byte in 0..token.len() {
        for bit in 0..8 {
            let Some(other) = turned(&token, byte, bit) else { continue };
            assert!(judged(&mut gate, &other).is_err(), "byte {byte}, bit {bit}");
        }
        assert!(judged(&mut gate, &token[..byte]).is_err(), "cut after {byte} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_token_with_a_bit_turned_is_refused(byte: usize, bit: u8, of in 0..3_usize) {
        let (algorithm, id) = [(Rs256, "rs"), (Es256, "es"), (EdDsa, "ed")][of];
        let header = format!(r#"{{"alg":"{}","kid":"{id}"}}"#, algorithm.word());
        let token = signed(algorithm, &header, &payload(""));
        let mut gate = usual_gate();
        prop_assert!(judged(&mut gate, &token).is_ok());
        if let Some(other) = turned(&token, byte, bit) {
            prop_assert!(judged(&mut gate, &other).is_err());
        }
    }

    #[test]
    fn two_good_tokens_make_no_third(cut in 0..1_000_usize) {
        let (one, two) = (payload(""), payload(r#","jti":"2""#).replace("ann", "bob"));
        let [one, two] = [one, two].map(|payload| signed(Hs256, HEADER, &payload));
        let cut = cut % one.len().min(two.len());
        let spliced = format!("{}{}", &one[..cut], &two[cut..]);
        let mut gate = usual_gate();
        let good = spliced == one || spliced == two;
        prop_assert_eq!(judged(&mut gate, &spliced).is_ok(), good);
    }
}

#[test]
fn nothing_shows_a_secret() {
    let canary = "canary-in-a-credential-of-32-bytes!";
    let key = Arc::new(CookieKey::new("c1", canary.as_bytes()).expect("a key"));
    let secret = crate::auth::SigningKey::secret(Hs256, canary.as_bytes()).expect("a key");
    let verifying = crate::auth::key::VerifyingKey::secret(Hs256, canary.as_bytes());
    let proof = Proof { kind: CredentialKind::Bearer, secret: canary, wanted_tenant: None };
    let zeroed = crate::auth::Zeroed::copy_of(canary.as_bytes());
    let new = crate::auth::api_key::NewKey::of(&[1; 9], &[2; 32]);
    let shown = format!("{key:?} {secret:?} {verifying:?} {proof:?} {zeroed:?} {new:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.contains("AgIC"), "{shown}");
}
