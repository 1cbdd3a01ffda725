//! Hostile tokens, each with the one answer that is right. A token is written as its header and its
//! payload and is signed by the key that the row names, unless what is wrong is the writing itself.

use ring::hmac;

use super::support::{HEADER, NOW, OTHER_SECRET, RSA_PUBLIC, judged, payload, signed, usual_gate};
use crate::auth::Algorithm::{self, EdDsa, Es256, Hs256, Hs384, Hs512, Ps256, Rs256, Rs512};
use crate::auth::Refusal::{
    self, Algorithm as Alg, Audience, Claims, Expired, Header, Issuer, Malformed, NotYet,
    Signature, TooLong, UnknownKey, UnknownTenant, Unsupported,
};
use crate::auth::base64url;

fn refused(rows: &[(&str, String, Refusal)]) -> usize {
    let (mut gate, mut warm) = (usual_gate(), usual_gate());
    let good = signed(Hs256, HEADER, &payload(""));
    assert_eq!(judged(&mut warm, &good), Ok("ann".into()));
    for (name, token, refusal) in rows {
        assert_eq!(judged(&mut gate, token), Err(*refusal), "{name}");
        assert_eq!(judged(&mut gate, token), Err(*refusal), "{name}, remembered");
        assert_eq!(judged(&mut warm, token), Err(*refusal), "{name}, where its header is known");
    }
    rows.len()
}

fn header(more: &str) -> String {
    format!(r#"{{"alg":"HS256","typ":"JWT","kid":"k1"{more}}}"#)
}

fn encoded(header: &str, payload: &str, signature: &[u8]) -> String {
    let parts = [header.as_bytes(), payload.as_bytes(), signature].map(base64url::encode);
    parts.join(".")
}

/// Signed by a secret that is no key of ours.
fn forged(header: &str, payload: &str, secret: &[u8]) -> String {
    let token = encoded(header, payload, b"");
    let message = token.trim_end_matches('.');
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{message}.{}", base64url::encode(hmac::sign(&key, message.as_bytes()).as_ref()))
}

#[test]
fn the_good_ones_are_accepted() {
    let mut gate = usual_gate();
    for (algorithm, id) in [(Hs256, "k1"), (Rs256, "rs"), (Es256, "es"), (EdDsa, "ed")] {
        let header = format!(r#"{{"alg":"{}","kid":"{id}"}}"#, algorithm.word());
        assert_eq!(judged(&mut gate, &signed(algorithm, &header, &payload(""))), Ok("ann".into()));
    }
    let by_name = |kind: &str| format!(r#"{{"alg":"HS256","kid":"k1","typ":"{kind}"}}"#);
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let token = signed(Hs256, &by_name(kind), &payload(""));
        assert_eq!(judged(&mut gate, &token), Ok("ann".into()), "{kind}");
    }
    let nameless = signed(Hs256, r#"{"alg":"HS256"}"#, &payload(""));
    assert_eq!(judged(&mut gate, &nameless), Ok("ann".into()), "no kid: every key is tried");
    for (user, header) in [("bob", HEADER), ("eve", HEADER), ("joe", r#"{"alg":"HS256"}"#)] {
        let token = signed(Hs256, header, &payload("").replace("ann", user));
        assert_eq!(
            judged(&mut gate, &token),
            Ok(user.into()),
            "the header of the last, or another"
        );
    }
    let edwards = signed(EdDsa, r#"{"alg":"Ed25519","kid":"ed"}"#, &payload(""));
    assert_eq!(judged(&mut gate, &edwards), Ok("ann".into()), "RFC 9864");
}

#[test]
fn algorithms_and_keys() {
    let named = |alg: &str, kid: &str| format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
    let none = |alg: &str| encoded(&named(alg, "k1"), &payload(""), b"");
    let by = |algorithm: Algorithm, alg: &str, kid: &str| {
        signed(algorithm, &named(alg, kid), &payload(""))
    };
    let count = refused(&[
        ("alg none", none("none"), Alg),
        ("alg None", none("None"), Alg),
        ("alg NONE", none("NONE"), Alg),
        ("alg nOnE", none("nOnE"), Alg),
        ("alg empty", none(""), Alg),
        ("alg none, signed all the same", by(Hs256, "none", "k1"), Alg),
        ("alg in lower case", by(Hs256, "hs256", "k1"), Alg),
        ("alg with a space", by(Hs256, "HS256 ", "k1"), Alg),
        ("alg with a NUL", by(Hs256, "HS256\\u0000", "k1"), Alg),
        ("alg that is not supported", by(Hs256, "ES512", "k1"), Alg),
        ("alg for encryption", by(Hs256, "RSA1_5", "k1"), Alg),
        ("alg direct", by(Hs256, "dir", "k1"), Alg),
        ("alg missing", signed(Hs256, r#"{"kid":"k1"}"#, &payload("")), Alg),
        ("alg a number", signed(Hs256, r#"{"alg":256,"kid":"k1"}"#, &payload("")), Header),
        ("alg null", signed(Hs256, r#"{"alg":null,"kid":"k1"}"#, &payload("")), Header),
        ("alg a list", signed(Hs256, r#"{"alg":["HS256"],"kid":"k1"}"#, &payload("")), Header),
        ("a wider hash of the same secret", by(Hs384, "HS384", "k1"), Alg),
        ("the widest hash of the same secret", by(Hs512, "HS512", "k1"), Alg),
        ("HS256 said, HS512 done", by(Hs512, "HS256", "k1"), Signature),
        ("RS512 with a key for RS256", by(Rs512, "RS512", "rs"), Alg),
        ("PS256 with a key for RS256", by(Ps256, "PS256", "rs"), Alg),
        ("RS256 said, PS256 done", by(Ps256, "RS256", "rs"), Signature),
        (
            "HS256 by the PEM of the public key",
            forged(&named("HS256", "rs"), &payload(""), RSA_PUBLIC.as_bytes()),
            Alg,
        ),
        (
            "HS256 by the PEM of the public key, no kid",
            forged(r#"{"alg":"HS256"}"#, &payload(""), RSA_PUBLIC.as_bytes()),
            Signature,
        ),
        ("HS256 by the empty secret", forged(HEADER, &payload(""), b""), Signature),
        ("HS256 by another secret", forged(HEADER, &payload(""), OTHER_SECRET), Signature),
        ("HS256 by the name of the key", forged(HEADER, &payload(""), b"k1"), Signature),
        ("the right key, called another", by(Es256, "ES256", "ed"), Alg),
        ("a key that nobody knows", by(Hs256, "HS256", "k2"), UnknownKey),
        ("a key named as a path", by(Hs256, "HS256", "../../../../dev/null"), UnknownKey),
        ("a key named as a query", by(Hs256, "HS256", "x' OR '1'='1"), UnknownKey),
        ("a key named as a URL", by(Hs256, "HS256", "https://evil.example/key"), UnknownKey),
        ("a key named in upper case", by(Hs256, "HS256", "K1"), UnknownKey),
        ("a key with an empty name", by(Hs256, "HS256", ""), Header),
        ("a key with a long name", by(Hs256, "HS256", &"k".repeat(257)), Header),
        (
            "a key named by a number",
            signed(Hs256, r#"{"alg":"HS256","kid":1}"#, &payload("")),
            Header,
        ),
        (
            "a key named by null",
            signed(Hs256, r#"{"alg":"HS256","kid":null}"#, &payload("")),
            Header,
        ),
    ]);
    assert_eq!(count, 37);
}

#[test]
fn headers() {
    let with = |more: &str| signed(Hs256, &header(more), &payload(""));
    let raw = |header: &str| signed(Hs256, header, &payload(""));
    let count = refused(&[
        ("crit", with(r#","crit":["exp"]"#), Header),
        ("crit, empty", with(r#","crit":[]"#), Header),
        (
            "crit, of something unknown",
            with(r#","crit":["http://example.invalid/UNDEFINED"]"#),
            Header,
        ),
        ("b64 false", with(r#","b64":false,"crit":["b64"]"#), Header),
        ("b64 false, not critical", with(r#","b64":false"#), Header),
        ("a URL of keys", with(r#","jku":"https://evil.example/jwks.json""#), Header),
        ("a URL of a certificate", with(r#","x5u":"https://evil.example/c.pem""#), Header),
        ("a key in the token", with(r#","jwk":{"kty":"oct","k":"AAAA"}"#), Header),
        ("a certificate in the token", with(r#","x5c":["AAAA"]"#), Header),
        ("a token in a token", with(r#","cty":"JWT""#), Header),
        ("an encrypted token's header", with(r#","enc":"A256GCM""#), Header),
        ("a compressed token", with(r#","zip":"DEF""#), Header),
        ("another type", raw(r#"{"alg":"HS256","kid":"k1","typ":"room+jwt"}"#), Header),
        ("an id token's type", raw(r#"{"alg":"HS256","kid":"k1","typ":"JOSE"}"#), Header),
        ("a type that is a number", raw(r#"{"alg":"HS256","kid":"k1","typ":1}"#), Header),
        ("alg twice", raw(r#"{"alg":"HS256","alg":"none","kid":"k1"}"#), Malformed),
        ("alg twice, once escaped", raw(r#"{"alg":"HS256","\u0061lg":"none"}"#), Malformed),
        ("kid twice", with(r#","kid":"k2""#), Malformed),
        ("a member of a member twice", with(r#","x":{"a":1,"\u0061":2}"#), Malformed),
        ("a list", raw(r#"["HS256"]"#), Malformed),
        ("a text", raw(r#""HS256""#), Malformed),
        ("nothing", raw(""), Malformed),
        ("something after", raw(r#"{"alg":"HS256","kid":"k1"} x"#), Malformed),
        ("a byte order mark before", raw("\u{feff}{\"alg\":\"HS256\",\"kid\":\"k1\"}"), Malformed),
        ("a comma too many", raw(r#"{"alg":"HS256","kid":"k1",}"#), Malformed),
        ("a lone surrogate", raw(r#"{"alg":"HS256","kid":"\ud800"}"#), Malformed),
        ("very deep", with(&format!(r#","x":{}1{}"#, "[".repeat(40), "]".repeat(40))), Malformed),
    ]);
    assert_eq!(count, 27);
}

#[test]
fn spellings() {
    let good = signed(Hs256, HEADER, &payload(""));
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let last = |text: &str, other: char| format!("{}{other}", &text[..text.len() - 1]);
    // 32 bytes are 43 letters, and the last has two bits that mean nothing.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = letters.iter().position(|letter| signature.as_bytes()[42] == *letter);
    let twin = char::from(letters[at.expect("a letter") + 1]);
    let count = refused(&[
        ("padding", format!("{good}="), Malformed),
        ("padding of the payload", format!("{head}.{body}=.{signature}"), Malformed),
        ("bits after the end", format!("{head}.{body}.{}", last(signature, twin)), Malformed),
        ("the other alphabet", format!("{head}.{body}.+{}", &signature[1..]), Malformed),
        ("a line end", format!("{good}\n"), Malformed),
        ("a space before", format!(" {good}"), Malformed),
        ("a space within", format!("{head}. {body}.{signature}"), Malformed),
        ("a NUL", format!("{head}.{body}\0.{signature}"), Malformed),
        ("no signature", format!("{head}.{body}."), Signature),
        ("no payload", format!("{head}..{signature}"), Malformed),
        ("no header", format!(".{body}.{signature}"), Malformed),
        ("dots alone", "..".to_owned(), Malformed),
        ("half a signature", format!("{head}.{body}.{}", &signature[..20]), Signature),
        ("a signature too long", format!("{head}.{body}.{signature}AAAA"), Signature),
        ("another payload", format!("{head}.{}.{signature}", base64url::encode(b"{}")), Issuer),
        ("two parts", format!("{head}.{body}"), Unsupported),
        ("four parts", format!("{good}.{signature}"), Unsupported),
        ("five parts, as if encrypted", format!("{good}.{signature}.{signature}"), Unsupported),
        (
            "too long",
            signed(Hs256, HEADER, &payload(&format!(r#","x":"{}""#, "x".repeat(8_000)))),
            TooLong,
        ),
        (
            "JSON serialization",
            format!(r#"{{"payload":"{body}","signature":"{signature}"}}"#),
            Unsupported,
        ),
        ("not ASCII", "é.é.é".to_owned(), Malformed),
        ("nothing", String::new(), Unsupported),
    ]);
    assert_eq!(count, 22);
}

/// A token with this payload.
fn raw(payload: &str) -> String {
    signed(Hs256, HEADER, payload)
}

/// A token that says more than every good one.
fn with(more: &str) -> String {
    raw(&payload(more))
}

/// The usual token with one member replaced.
fn changed(name: &str, value: &str) -> String {
    let object: serde_json::Value = serde_json::from_str(&payload("")).expect("an object");
    let members = object.as_object().expect("an object").iter();
    let members = members.map(|(key, old)| match key == name {
        true => format!("\"{key}\":{value}"),
        false => format!("\"{key}\":{old}"),
    });
    raw(&format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

/// The usual token without a member.
fn without(name: &str) -> String {
    let mut object: serde_json::Value = serde_json::from_str(&payload("")).expect("an object");
    object.as_object_mut().expect("an object").remove(name);
    raw(&object.to_string())
}

#[test]
fn times() {
    let good =
        format!(r#""sub":"ann","iss":"https://id.example","aud":"rooms","exp":{}"#, NOW + 600);
    let count = refused(&[
        ("no end", without("exp"), Claims),
        ("an end long ago", changed("exp", "1"), Expired),
        ("an end at 0", changed("exp", "0"), Expired),
        ("an end just past the leeway", changed("exp", &(NOW - 30).to_string()), Expired),
        ("an end that is text", changed("exp", &format!("\"{}\"", NOW + 600)), Claims),
        ("an end with a fraction", changed("exp", &format!("{}.5", NOW + 600)), Claims),
        ("an end with a point", changed("exp", &format!("{}.0", NOW + 600)), Claims),
        ("an end with an exponent", changed("exp", "17e8"), Claims),
        ("an end past all numbers", changed("exp", "1e999"), Malformed),
        ("an end below zero", changed("exp", "-1"), Claims),
        ("an end below zero by nothing", changed("exp", "-0"), Claims),
        ("an end past 64 bits", changed("exp", "18446744073709551617"), Claims),
        ("an end past the calendar", changed("exp", "253402300800"), Claims),
        ("an end that is null", changed("exp", "null"), Claims),
        ("an end that is true", changed("exp", "true"), Claims),
        ("an end in a list", changed("exp", &format!("[{}]", NOW + 600)), Claims),
        ("the end twice", raw(&format!("{{{good},\"exp\":{}}}", NOW + 900)), Malformed),
        ("the end twice, once escaped", raw(&format!("{{{good},\"e\\u0078p\":1}}")), Malformed),
        ("a beginning later", with(&format!(r#","nbf":{}"#, NOW + 31)), NotYet),
        ("a beginning that is text", with(&format!(r#","nbf":"{NOW}""#)), Claims),
        ("a beginning with a fraction", with(r#","nbf":1.5"#), Claims),
        ("made later", with(&format!(r#","iat":{}"#, NOW + 31)), NotYet),
        ("made below zero", with(r#","iat":-5"#), Claims),
    ]);
    assert_eq!(count, 23);
}

#[test]
fn issuers_audiences_and_users() {
    let count = refused(&[
        ("no issuer", without("iss"), Issuer),
        ("another issuer", changed("iss", "\"https://id.example.evil.example\""), Issuer),
        ("an issuer with a slash", changed("iss", "\"https://id.example/\""), Issuer),
        ("an issuer in upper case", changed("iss", "\"HTTPS://id.example\""), Issuer),
        ("an issuer in a list", changed("iss", "[\"https://id.example\"]"), Claims),
        ("no audience", without("aud"), Audience),
        ("another audience", changed("aud", "\"room\""), Audience),
        ("an empty list of audiences", changed("aud", "[]"), Audience),
        ("a list of other audiences", changed("aud", r#"["a","Rooms"]"#), Audience),
        ("a list with a number", changed("aud", r#"["rooms",1]"#), Claims),
        ("an audience that is an object", changed("aud", r#"{"rooms":1}"#), Claims),
        ("no user", without("sub"), Claims),
        ("an empty user", changed("sub", "\"\""), Claims),
        ("a long user", changed("sub", &format!("\"{}\"", "u".repeat(129))), Claims),
        ("a user with a line end", changed("sub", "\"a\\nb\""), Claims),
        ("a user that is a list", changed("sub", "[\"ann\"]"), Claims),
        ("a user that is null", changed("sub", "null"), Claims),
        ("a user below zero", changed("sub", "-1"), Claims),
    ]);
    assert_eq!(count, 18);
}

#[test]
fn grants_and_everything_else() {
    let count = refused(&[
        ("a tenant that is none", with(r#","tenant":"nobody""#), UnknownTenant),
        ("a tenant that is empty", with(r#","tenant":"""#), Claims),
        ("a tenant that is a number", with(r#","tenant":1"#), Claims),
        ("permissions that are text", with(r#","permissions":"join""#), Claims),
        ("a permission that is none", with(r#","permissions":["admin"]"#), Claims),
        ("a permission with an event", with(r#","permissions":["join:x"]"#), Claims),
        ("a pattern that is none", with(r#","rooms":{"a*b":["join"]}"#), Claims),
        ("a pattern of reserved rooms", with(r#","rooms":["@all"]"#), Claims),
        ("a room twice", with(r#","rooms":{"a":["join"],"\u0061":["*"]}"#), Malformed),
        ("a room to join that is none", with(r#","join":["@user/bob"]"#), Claims),
        ("metadata that is a list", with(r#","metadata":[1]"#), Claims),
        ("metadata with a fraction", with(r#","metadata":{"a":1.5}"#), Claims),
        ("roles that are text", with(r#","roles":"admin""#), Claims),
        ("a token id that is a number", with(r#","jti":7"#), Claims),
        ("not JSON", raw("sub=ann"), Malformed),
        ("not UTF-8", raw("{\"sub\":\"ann\u{0}\"}"), Malformed),
        ("a list", raw("[]"), Malformed),
    ]);
    assert_eq!(count, 17);
}

#[test]
fn clocks_may_be_apart_by_the_leeway_and_no_more() {
    let mut gate = usual_gate();
    let with = |name: &str, at: u64| {
        let more = if name == "exp" { String::new() } else { format!(r#","{name}":{at}"#) };
        let mut payload = payload(&more);
        if name == "exp" {
            payload = payload.replace(&(NOW + 600).to_string(), &at.to_string());
        }
        signed(Hs256, HEADER, &payload)
    };
    for (name, last) in [("exp", NOW - 29), ("nbf", NOW + 30), ("iat", NOW + 30)] {
        assert_eq!(judged(&mut gate, &with(name, last)), Ok("ann".into()), "{name}");
    }
}
