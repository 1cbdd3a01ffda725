//! The rows that concern credentials.

use super::*;

fn cookie_request(cookies: &[&str]) -> Request {
    Request::get("/ws").with("Origin", "https://app.example.com").set("Cookie", cookies)
}

/// As found where the page of [`cookie_request`] is named, and no other page comes.
fn found(request: &Request) -> Result<Option<(CredentialKind, String)>, Refusal> {
    let named = Origins::parse(&["https://app.example.com".to_owned()]).unwrap();
    let credential = request.answer_by(&policy(&named))?.credential;
    Ok(credential.map(|credential| (credential.kind, credential.secret.to_string())))
}

fn some(kind: CredentialKind, secret: &str) -> Result<Option<(CredentialKind, String)>, Refusal> {
    Ok(Some((kind, secret.to_owned())))
}

#[test]
fn every_place_is_read() {
    let authorization = |value| found(&Request::get("/ws").with("Authorization", value));
    for value in ["Bearer a.b-c", "bearer a.b-c", "BEARER  a.b-c ", "Bearer\ta.b-c"] {
        assert_eq!(authorization(value), some(CredentialKind::Bearer, "a.b-c"), "{value}");
    }
    for value in ["Basic dXNlcjpwYXNz", "Bearera", "", "Digest a=b"] {
        assert_eq!(authorization(value), Ok(None), "{value}");
    }
    let api_key = Request::get("/ws").with("x-api-key", "k1");
    assert_eq!(found(&api_key), some(CredentialKind::ApiKey, "k1"));
    let query = Request::get("/ws/room?token=a%2Bb+c&x");
    assert_eq!(found(&query), some(CredentialKind::Query, "a+b+c"));
    let subprotocol = Request::get("/ws")
        .with("Sec-WebSocket-Protocol", "ringroom.token.a.b-c, ringroom.v1.json");
    assert_eq!(found(&subprotocol), some(CredentialKind::Subprotocol, "a.b-c"));
    assert!(!subprotocol.response().contains("a.b-c"));
    let echo = Request::get("/echo?token=a");
    assert_eq!(found(&echo), some(CredentialKind::Query, "a"));
    assert_eq!(found(&Request::get("/ws")), Ok(None));
}

#[test]
fn the_cookie_is_read_from_among_others() {
    for (cookies, expected) in [
        (&["__Host-ringroom=abc"][..], some(CredentialKind::Cookie, "abc")),
        (&["a=b; __Host-ringroom=abc; c=d"], some(CredentialKind::Cookie, "abc")),
        (&["a=b", "__Host-ringroom=abc"], some(CredentialKind::Cookie, "abc")),
        (&["x=ä;__Host-ringroom=a=b"], some(CredentialKind::Cookie, "a=b")),
        (&["__Host-ringroom=abc; __Host-ringroom=abc"], some(CredentialKind::Cookie, "abc")),
        (&["__Host-ringroom=abc; __Host-ringroom=abd"], Err(Refusal::RepeatedParameter)),
        (&["__Host-ringroom=abc", "__Host-ringroom=abd"], Err(Refusal::RepeatedParameter)),
        (&["__Host-ringroom=ä"], Err(Refusal::HeaderNotText)),
        (&["__Host-ringroom="], Ok(None)),
        (&["__Host-ringroom"], Ok(None)),
        (&["__host-ringroom=abc"], Ok(None)),
        (&["x__Host-ringroom=abc"], Ok(None)),
        (&["__Host-ringroom2=abc"], Ok(None)),
        (&["a=\"; __Host-ringroom=abc"], some(CredentialKind::Cookie, "abc")),
    ] {
        assert_eq!(found(&cookie_request(cookies)), expected, "{cookies:?}");
    }
    let origins = Origins::default();
    let no_cookie = Policy { cookie: None, ..policy(&origins) };
    let accepted = cookie_request(&["__Host-ringroom=abc"]).answer_by(&no_cookie).unwrap();
    assert_eq!(accepted.credential, None);
}

#[test]
fn h8_a_cookie_is_believed_only_from_a_named_page() {
    let own = Origins::default();
    let any = Origins::parse(&["*".to_owned()]).unwrap();
    let named = Origins::parse(&["*".to_owned(), "https://app.example.com".to_owned()]).unwrap();
    let with_cookie = |origin: &[&str]| {
        Request::get("/ws").set("Origin", origin).with("Cookie", "__Host-ringroom=abc")
    };
    for (origins, origin, expected) in [
        (&own, &["https://app.example.com"][..], Some(Refusal::Origin)),
        (&own, &["http://app.example.com"], Some(Refusal::Origin)),
        (&own, &["https://evil.com"], Some(Refusal::Origin)),
        (&own, &[], Some(Refusal::OriginMissing)),
        (&any, &["https://evil.com"], Some(Refusal::Origin)),
        (&any, &["null"], Some(Refusal::Origin)),
        (&any, &[], Some(Refusal::OriginMissing)),
        (&named, &["https://app.example.com"], None),
        (&named, &["https://evil.com"], Some(Refusal::Origin)),
    ] {
        let refusal = with_cookie(origin).answer_by(&policy(origins)).err();
        assert_eq!(refusal, expected, "{origin:?} by {origins:?}");
    }
    let of_a_tenant = Origins::parse(&["https://shop.example".to_owned()]).unwrap();
    for (general, origin, expected) in [
        (&any, "https://shop.example", None),
        (&any, "https://evil.com", Some(Refusal::Origin)),
        (&named, "https://shop.example", None),
        (&named, "https://app.example.com", None),
    ] {
        let policy = Policy { tenant_origins: Some(&of_a_tenant), ..policy(general) };
        let refusal = with_cookie(&[origin]).answer_by(&policy).err();
        assert_eq!(refusal, expected, "{origin} by {general:?}");
    }
    let policy_of_both = Policy { tenant_origins: Some(&of_a_tenant), local: true, ..policy(&own) };
    assert!(with_cookie(&["https://shop.example"]).answer_by(&policy_of_both).is_ok(), "named");
    let bearer = Request::get("/ws").set("Origin", &["https://evil.com"]);
    let bearer = bearer.with("Authorization", "Bearer abc");
    assert!(bearer.answer_by(&policy(&any)).is_ok());
}

#[test]
fn h17_two_credentials_that_differ_are_both_refused() {
    let places: [fn(Request, &str) -> Request; 5] = [
        |request, secret| request.with("Authorization", &format!("Bearer {secret}")),
        |request, secret| request.with("X-API-Key", secret),
        |mut request, secret| {
            request.line = format!("GET /ws?token={secret} HTTP/1.1");
            request
        },
        |request, secret| {
            let offer = format!("ringroom.v1.json, ringroom.token.{secret}");
            request.with("Sec-WebSocket-Protocol", &offer)
        },
        |request, secret| request.with("Cookie", &format!("__Host-ringroom={secret}")),
    ];
    let page = || Request::get("/ws").with("Origin", "https://app.example.com");
    for (first, put_first) in places.iter().enumerate() {
        for put_second in &places[first + 1..] {
            let same = put_second(put_first(page(), "a"), "a");
            assert_eq!(found(&same).unwrap().unwrap().1, "a");
            let different = put_second(put_first(page(), "a"), "b");
            assert_eq!(found(&different), Err(Refusal::TwoCredentials));
        }
    }
    for request in [
        page().with("Authorization", "Bearer a").with("Authorization", "Bearer a"),
        page().with("Authorization", "Bearer a").with("Authorization", "Basic b"),
        page().with("X-API-Key", "a").with("x-api-key", "a"),
    ] {
        assert_eq!(found(&request), Err(Refusal::RepeatedHeader));
    }
    let two = "ringroom.v1.json, ringroom.token.a, ringroom.token.b";
    let two = page().with("Sec-WebSocket-Protocol", two);
    assert_eq!(found(&two), Err(Refusal::TwoCredentials));
}

#[test]
fn an_empty_credential_is_a_bad_one() {
    for request in [
        Request::get("/ws").with("Authorization", "Bearer"),
        Request::get("/ws").with("Authorization", "Bearer "),
        Request::get("/ws").with("X-API-Key", ""),
        Request::get("/ws?token="),
        Request::get("/ws?token"),
        Request::get("/ws").with("Sec-WebSocket-Protocol", "ringroom.v1.json,ringroom.token."),
    ] {
        assert_eq!(found(&request), Err(Refusal::Unauthorized), "{}", request.line);
    }
}

#[test]
fn nothing_secret_is_shown() {
    let request = Request::get("/ws?token=canary&session=canary");
    let accepted = request.answer().unwrap();
    let shown = format!("{accepted:?} {:?}", accepted.credential);
    assert!(shown.contains("Query"));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!request.response().contains("canary"));
}
