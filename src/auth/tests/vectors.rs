//! The examples of RFC 7515 (appendix A) and RFC 8037 (appendix A).

use crate::auth::base64url;
use crate::auth::key::{KeyError, jwk, jwk_set};
use crate::auth::token::{Token, Use};

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const A1_KEY: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const A2_KEY: &str = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
const A3_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const A4_KEY: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
const ED_KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

const A1_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[test]
fn rfc_7515_a1_to_a3() {
    let keys = [A1_KEY, A2_KEY, A3_KEY].map(|key| jwk(key, None).expect("a key"));
    let tokens = [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", A1_SIGNATURE),
        ("eyJhbGciOiJSUzI1NiJ9", A2_SIGNATURE),
        ("eyJhbGciOiJFUzI1NiJ9", A3_SIGNATURE),
    ];
    for (of, (header, signature)) in tokens.into_iter().enumerate() {
        let text = format!("{header}.{PAYLOAD}.{signature}");
        let mut decoded = Vec::new();
        let token = Token::parse(&text, Use::Identity, None, &mut decoded).expect("a token");
        assert_eq!(token.payload().expect("an object").get("exp"), Some("1300819380"));
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(token.is_signed_by(key), index == of, "token {of}, key {index}");
        }
    }
}

#[test]
fn rfc_7515_a4_and_a5_are_refused() {
    assert_eq!(jwk(A4_KEY, None).err(), Some(KeyError::Unsupported), "P-521 is not supported");
    let unsecured = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    let refusal = Token::parse(&unsecured, Use::Identity, None, &mut Vec::new()).err();
    assert_eq!(refusal, Some(crate::auth::Refusal::Algorithm), "A.5, alg none");
}

#[test]
fn rfc_8037_a4() {
    let key = jwk(ED_KEY, None).expect("a key");
    let signature =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let text = format!("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{signature}");
    let mut decoded = Vec::new();
    let token = Token::parse(&text, Use::Identity, None, &mut decoded).expect("a token");
    assert!(token.is_signed_by(&key));
    assert!(token.payload().is_err(), "the example says no object");
}

#[test]
fn a_set_leaves_out_what_is_not_for_us() {
    let encryption = A2_KEY.replace("\"kty\"", "\"use\":\"enc\",\"kty\"");
    let wraps = A2_KEY.replace("\"kty\"", "\"key_ops\":[\"wrapKey\"],\"kty\"");
    let set = format!(r#"{{"keys":[{A4_KEY},{encryption},{wraps},{A3_KEY},{ED_KEY}]}}"#);
    let found = jwk_set(&set, None, true).expect("a set");
    assert_eq!((found.keys.len(), found.odd.len()), (2, 0));
    for (set, error) in [
        (format!(r#"{{"keys":[{}]}}"#, vec![ED_KEY; 65].join(",")), KeyError::Set),
        (r#"{"keys":{}}"#.into(), KeyError::Jwk),
        ("{}".into(), KeyError::Jwk),
        ("<html>".into(), KeyError::Jwk),
    ] {
        assert_eq!(jwk_set(&set, None, true).err(), Some(error), "{set}");
    }
}

#[test]
fn an_odd_key_spoils_no_other_of_its_set_and_is_told() {
    for (key, odd) in [
        (A4_KEY, None),
        (r#"{"kty":"EC","crv":"P-256","alg":"RS256"}"#, None),
        (A1_KEY, Some(KeyError::SecretInPublic)),
        (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, Some(KeyError::Jwk)),
        (r#"{"kty":"EC","crv":"P-256","x":"AA"}"#, Some(KeyError::Jwk)),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, Some(KeyError::RsaSize)),
        (r#"{"kty":"RSA","n":5}"#, Some(KeyError::Jwk)),
        (r#"{"kty":"RSA","kty":"EC"}"#, Some(KeyError::Jwk)),
        (r#"{"n":"AQAB"}"#, Some(KeyError::Jwk)),
        ("{}", Some(KeyError::Jwk)),
        ("null", Some(KeyError::Jwk)),
        ("[[]]", Some(KeyError::Jwk)),
    ] {
        let set = format!(r#"{{"keys":[{ED_KEY},{key},{A3_KEY}]}}"#);
        let found = jwk_set(&set, None, true).expect("a set");
        assert_eq!((found.keys.len(), found.odd), (2, odd.map(|it| (1, it)).into_iter().collect()));
        let alone = jwk_set(&format!(r#"{{"keys":[{key}]}}"#), None, true).expect("a set");
        assert!(alone.keys.is_empty(), "{key}");
    }
    let empty = jwk_set(r#"{"keys":[]}"#, None, true).expect("a set");
    assert!(empty.keys.is_empty() && empty.odd.is_empty());
}

#[test]
fn only_the_canonical_spelling_is_read() {
    for good in ["", "AA", "AAA", "AAAA", "-_-_"] {
        let bytes = base64url::decode(good).expect("base64url");
        assert_eq!(base64url::encode(&bytes), good);
    }
    for bad in ["A", "AB", "AAB", "AA=", "AA==", "A A", "AA\n", "+/+/", "AAAAA", "ÄÄ"] {
        assert_eq!(base64url::decode(bad), None, "{bad:?}");
    }
}
