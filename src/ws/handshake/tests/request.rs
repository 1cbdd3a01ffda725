//! The rows of the opening handshake that concern the request itself.

use super::*;

#[test]
fn h1_only_get_upgrades() {
    for method in ["POST", "HEAD", "get", "OPTIONS", "CONNECT", "GETT", "PUT"] {
        let mut request = Request::get("/ws");
        request.line = format!("{method} /ws HTTP/1.1");
        assert_eq!(request.refusal(), Some(Refusal::Method), "{method}");
    }
}

#[test]
fn h2_only_http_1_1_upgrades() {
    for (version, expected) in [
        ("HTTP/1.1", None),
        ("HTTP/1.0", Some(Refusal::OldHttp)),
        ("HTTP/2.0", Some(Refusal::HttpVersion)),
        ("HTTP/3", Some(Refusal::RequestLine)),
        ("", Some(Refusal::RequestLine)),
    ] {
        let mut request = Request::get("/ws");
        request.line = format!("GET /ws {version}");
        assert_eq!(request.refusal(), expected, "{version}");
    }
}

#[test]
fn h3_host() {
    for (hosts, expected) in [
        (&["app.example.com"][..], None),
        (&["app.example.com:8000"], None),
        (&["[::1]:8000"], None),
        (&["127.0.0.1"], None),
        (&[""], None),
        (&[], Some(Refusal::Host)),
        (&["a", "a"], Some(Refusal::RepeatedHeader)),
        (&["a", "b"], Some(Refusal::RepeatedHeader)),
        (&["a b"], Some(Refusal::Host)),
        (&["a, b"], Some(Refusal::Host)),
        (&["user@a"], Some(Refusal::Host)),
        (&["a/ws"], Some(Refusal::Host)),
        (&["a:b"], Some(Refusal::Host)),
        (&["[::1"], Some(Refusal::Host)),
        (&["ä"], Some(Refusal::HeaderNotText)),
    ] {
        assert_eq!(Request::get("/ws").set("Host", hosts).refusal(), expected, "{hosts:?}");
    }
}

#[test]
fn h4_upgrade_lists_websocket() {
    for (values, expected) in [
        (&["WebSocket"][..], None),
        (&["h2c, websocket"], None),
        (&["websocket,h2c"], None),
        (&["h2c", "WEBSOCKET"], None),
        (&[", ,websocket"], None),
        (&[], Some(Refusal::NotAnUpgrade)),
        (&["h2c"], Some(Refusal::NotAnUpgrade)),
        (&["websockets"], Some(Refusal::NotAnUpgrade)),
        (&["web socket"], Some(Refusal::NotAnUpgrade)),
        (&["\"websocket\""], Some(Refusal::NotAnUpgrade)),
    ] {
        assert_eq!(Request::get("/ws").set("Upgrade", values).refusal(), expected, "{values:?}");
    }
}

#[test]
fn h5_connection_lists_upgrade() {
    for (values, expected) in [
        (&["keep-alive, Upgrade"][..], None),
        (&["keep-alive", "Upgrade"], None),
        (&["upgrade"], None),
        (&["UPGRADE,"], None),
        (&["close"], Some(Refusal::Connection)),
        (&["keep-alive"], Some(Refusal::Connection)),
        (&["upgrades"], Some(Refusal::Connection)),
        (&[""], Some(Refusal::Connection)),
        (&[], Some(Refusal::Connection)),
    ] {
        let request = Request::get("/ws").set("Connection", values);
        assert_eq!(request.refusal(), expected, "{values:?}");
    }
}

#[test]
fn h6_other_versions_are_told_ours() {
    let name = "Sec-WebSocket-Version";
    for values in [
        &["8"][..],
        &["14"],
        &[],
        &["13, 8"],
        &["13", "8"],
        &["13", "13"],
        &["013"],
        &["+13"],
        &["13;"],
        &[""],
        &["ä"],
    ] {
        let refusal = Request::get("/ws").set(name, values).refusal();
        assert_eq!(refusal, Some(Refusal::WebSocketVersion), "{values:?}");
    }
    assert_eq!(Refusal::WebSocketVersion.status(), 426);
    assert_eq!(Request::get("/ws").set(name, &[" 13\t"]).refusal(), None);
}

#[test]
fn h7_the_key_is_16_bytes_in_canonical_base64() {
    for (values, expected) in [
        (&["dGhlIHNhbXBsZSBub25jZQ=="][..], None),
        (&["  dGhlIHNhbXBsZSBub25jZQ== \t"], None),
        (&["////////////////////+w=="], None),
        (&[], Some(Refusal::Key)),
        (&[""], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25j"], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZWU="], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZWVl"], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZQ="], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZQ"], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZR=="], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZQ==="], Some(Refusal::Key)),
        (&["dGhlIHNhbXBs ZSBub25jZQ=="], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25-ZQ=="], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZQ==, x"], Some(Refusal::Key)),
        (&["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="], {
            Some(Refusal::RepeatedHeader)
        }),
    ] {
        let request = Request::get("/ws").set("Sec-WebSocket-Key", values);
        assert_eq!(request.refusal(), expected, "{values:?}");
    }
    let long = "A".repeat(8_000);
    let request = Request::get("/ws").set("Sec-WebSocket-Key", &[&long]);
    assert_eq!(request.refusal(), Some(Refusal::Key));
}

#[test]
fn h8_origin() {
    let list = ["https://app.example.com".to_owned()];
    let listed = Origins::parse(&list).unwrap();
    let own = Origins::default();
    for (origin, by_list, by_host) in [
        (&["https://app.example.com"][..], None, None),
        (&["https://APP.example.com:443"], None, None),
        (&["http://app.example.com"], Some(Refusal::Origin), None),
        (&["https://app.example.com.evil.com"], Some(Refusal::Origin), Some(Refusal::Origin)),
        (&["https://app.example.com."], Some(Refusal::Origin), Some(Refusal::Origin)),
        (&["null"], Some(Refusal::Origin), Some(Refusal::Origin)),
        (&[""], Some(Refusal::Origin), Some(Refusal::Origin)),
        (
            &["https://app.example.com", "https://app.example.com"],
            { Some(Refusal::RepeatedHeader) },
            Some(Refusal::RepeatedHeader),
        ),
        (&[], None, None),
    ] {
        let request = Request::get("/ws").set("Origin", origin);
        assert_eq!(request.answer_by(&policy(&listed)).err(), by_list, "{origin:?}");
        assert_eq!(request.answer_by(&policy(&own)).err(), by_host, "{origin:?}");
    }
    let strict = Policy { allow_absent_origin: false, ..policy(&own) };
    let refusal = Request::get("/ws").answer_by(&strict).err();
    assert_eq!(refusal, Some(Refusal::OriginMissing));
}

/// A page of `evil.example` whose name resolves to 127.0.0.1 is of the same origin as what it asks.
#[test]
fn where_only_this_machine_connects_an_empty_list_permits_no_foreign_names() {
    let (own, listed) =
        (Origins::default(), Origins::parse(&["http://evil.example".to_owned()]).unwrap());
    for (host, refused) in [
        ("evil.example", true),
        ("evil.example:8000", true),
        ("notlocalhost", true),
        ("localhost.evil.example", true),
        ("127.0.0.1.evil.example", true),
        ("localhost", false),
        ("LocalHost:8000", false),
        ("app.localhost", false),
        ("127.0.0.1:8000", false),
        ("192.168.0.7", false),
        ("[::1]:8000", false),
    ] {
        let request = Request::get("/ws").set("Host", &[host]);
        let page =
            Request::get("/ws").set("Host", &[host]).with("Origin", &format!("http://{host}"));
        let local = Policy { local: true, ..policy(&own) };
        let expected = refused.then_some(Refusal::Origin);
        assert_eq!(page.answer_by(&local).err(), expected, "{host}");
        assert_eq!(page.answer_by(&policy(&own)).err(), None, "{host}, reached by others too");
        assert_eq!(request.answer_by(&local).err(), None, "{host}, and no page");
    }
    let page =
        Request::get("/ws").set("Host", &["evil.example"]).with("Origin", "http://evil.example");
    let local = Policy { local: true, ..policy(&listed) };
    assert_eq!(page.answer_by(&local).err(), None, "it is named");
}

#[test]
fn h9_subprotocols() {
    let (json, message_pack) = ("ringroom.v1.json", "ringroom.v1.msgpack");
    for (values, expected) in [
        (&[][..], Ok(None)),
        (&[""], Ok(None)),
        (&[json], Ok(Some(json))),
        (&[message_pack], Ok(Some(message_pack))),
        (&["a, ringroom.v1.msgpack, ringroom.v1.json"], Ok(Some(message_pack))),
        (&["a", json], Ok(Some(json))),
        (&["ringroom.v1.json,ringroom.v1.json"], Ok(Some(json))),
        (&[", ,ringroom.v1.json,"], Ok(Some(json))),
        (&["ringroom.token.x, ringroom.v1.json"], Ok(Some(json))),
        (&["a"], Err(Refusal::Subprotocol)),
        (&["a, b"], Err(Refusal::Subprotocol)),
        (&["a,a"], Err(Refusal::Subprotocol)),
        (&["RINGROOM.V1.JSON"], Err(Refusal::Subprotocol)),
        (&["ringroom.v2.json"], Err(Refusal::Subprotocol)),
        (&["ringroom.token.x"], Err(Refusal::Subprotocol)),
        (&["ringroom.v1.json, a b"], Err(Refusal::SubprotocolSyntax)),
        (&["ringroom.v1.json, \"a\""], Err(Refusal::SubprotocolSyntax)),
        (&["ringroom.v1.json;q=1"], Err(Refusal::SubprotocolSyntax)),
        (&["ringroom.v1.json, ä"], Err(Refusal::SubprotocolSyntax)),
    ] {
        let request = Request::get("/ws").set("Sec-WebSocket-Protocol", values);
        let chosen = request.answer().map(|accepted| accepted.response);
        let chosen = chosen.map(|response| String::from_utf8(response).unwrap());
        let chosen = chosen.as_ref().map(|response| header(response, "Sec-WebSocket-Protocol"));
        assert_eq!(chosen.map_err(|refusal| *refusal), expected, "{values:?}");
    }
    let long = "a, ".repeat(1_700);
    let request = Request::get("/ws").set("Sec-WebSocket-Protocol", &[&long, &long, json]);
    assert_eq!(request.answer().unwrap().codec, Codec::Json);
    let request = Request::get("/ws").set("Sec-WebSocket-Protocol", &[message_pack]);
    assert_eq!(request.answer().unwrap().codec, Codec::MessagePack);
}

#[test]
fn h11_a_request_that_may_have_a_body_is_refused() {
    let (length, coding) = ("Content-Length", "Transfer-Encoding");
    for (lines, expected) in [
        (&[(length, "0")][..], None),
        (&[(length, "5")], Some(Refusal::Body)),
        (&[(length, "+5")], Some(Refusal::Body)),
        (&[(length, "+0")], Some(Refusal::Body)),
        (&[(length, "-0")], Some(Refusal::Body)),
        (&[(length, "00")], Some(Refusal::Body)),
        (&[(length, "0x0")], Some(Refusal::Body)),
        (&[(length, "5, 5")], Some(Refusal::Body)),
        (&[(length, "0, 0")], Some(Refusal::Body)),
        (&[(length, "")], Some(Refusal::Body)),
        (&[(length, "0"), (length, "0")], Some(Refusal::Body)),
        (&[(length, "0"), ("content-length", "5")], Some(Refusal::Body)),
        (&[(coding, "chunked")], Some(Refusal::Body)),
        (&[(coding, "x, chunked")], Some(Refusal::Body)),
        (&[(coding, "identity")], Some(Refusal::Body)),
        (&[(coding, "")], Some(Refusal::Body)),
        (&[(length, "0"), (coding, "chunked")], Some(Refusal::Body)),
        (&[("transfer-ENCODING", "CHUNKED")], Some(Refusal::Body)),
    ] {
        let mut request = Request::get("/ws");
        for (name, value) in lines {
            request = request.with(name, value);
        }
        assert_eq!(request.refusal(), expected, "{lines:?}");
    }
}

#[test]
fn h15_paths_are_decoded_once() {
    let room = |name: &str| Ok(Route::Rooms(Some(name.to_owned())));
    for (target, expected) in [
        ("/ws", Ok(Route::Rooms(None))),
        ("/ws?a=b", Ok(Route::Rooms(None))),
        ("/ws?", Ok(Route::Rooms(None))),
        ("/ws/", room("")),
        ("/ws/lobby", room("lobby")),
        ("/ws/lobby?a=%zz", room("lobby")),
        ("/ws/a%20b%2fc/d", room("a b/c/d")),
        ("/ws/%E4%BD%A0%e5%a5%bd", room("你好")),
        ("/ws/%2525", room("%25")),
        ("/ws/%2e%2e/..", room("../..")),
        ("/ws//a//b/", room("/a//b/")),
        ("/ws/a+b", room("a+b")),
        ("/ws/%0d%0aX:y", room("\r\nX:y")),
        ("/ws/%00", Err(Refusal::PercentEncoding)),
        ("/ws/%", Err(Refusal::PercentEncoding)),
        ("/ws/%4", Err(Refusal::PercentEncoding)),
        ("/ws/%4g", Err(Refusal::PercentEncoding)),
        ("/ws/%+4", Err(Refusal::PercentEncoding)),
        ("/ws/%ff", Err(Refusal::PercentEncoding)),
        ("/ws/%c0%af", Err(Refusal::PercentEncoding)),
        ("/ws/%ed%a0%80", Err(Refusal::PercentEncoding)),
        ("/echo", Ok(Route::Echo)),
        ("/echo/", Err(Refusal::NotFound)),
        ("/", Err(Refusal::NotFound)),
        ("//ws", Err(Refusal::NotFound)),
        ("/./ws", Err(Refusal::NotFound)),
        ("/WS", Err(Refusal::NotFound)),
        ("/%77s", Err(Refusal::NotFound)),
        ("/wss", Err(Refusal::NotFound)),
        ("/ws;a", Err(Refusal::NotFound)),
    ] {
        let route = Request::get(target).answer().map(|accepted| accepted.route);
        assert_eq!(route, expected, "{target}");
    }
    let origins = Origins::default();
    let no_echo = Policy { echo: false, ..policy(&origins) };
    let refusal = Request::get("/echo").answer_by(&no_echo).err();
    assert_eq!(refusal, Some(Refusal::NotFound));
}

#[test]
fn h15_parameters_are_decoded_once_and_given_once() {
    let long = "t".repeat(128);
    for (query, session, tenant) in [
        ("session=s%2B1&tenant=t%20a".to_owned(), Some("s+1"), Some("t a")),
        ("session=a+b".to_owned(), Some("a+b"), None),
        ("session=%2541".to_owned(), Some("%41"), None),
        ("session=a=b".to_owned(), Some("a=b"), None),
        ("session=&&x&session2=a".to_owned(), None, None),
        ("Session=a&TENANT=b&ses%73ion=c".to_owned(), None, None),
        ("x=%zz&session=a&x=%00".to_owned(), Some("a"), None),
        (format!("tenant={long}"), None, Some(long.as_str())),
    ] {
        let accepted = Request::get(&format!("/ws?{query}")).answer().unwrap();
        assert_eq!(accepted.session.as_ref().map(Secret::expose), session, "{query}");
        assert_eq!(accepted.tenant.as_deref(), tenant, "{query}");
    }
    for (query, refusal) in [
        ("token=a&token=a".to_owned(), Refusal::RepeatedParameter),
        ("token=a&token=b".to_owned(), Refusal::RepeatedParameter),
        ("session=a&session=".to_owned(), Refusal::RepeatedParameter),
        ("tenant=a&x&tenant=b".to_owned(), Refusal::RepeatedParameter),
        ("token=%00".to_owned(), Refusal::PercentEncoding),
        ("session=%f".to_owned(), Refusal::PercentEncoding),
        ("tenant=%ff".to_owned(), Refusal::PercentEncoding),
        ("tenant=".to_owned(), Refusal::Tenant),
        ("tenant".to_owned(), Refusal::Tenant),
        (format!("tenant={long}t"), Refusal::Tenant),
    ] {
        let request = Request::get(&format!("/ws?{query}"));
        assert_eq!(request.refusal(), Some(refusal), "{query}");
    }
    let full = format!("/ws?{}", "a".repeat(8_192 - 4));
    assert_eq!(Request::get(&full).refusal(), None);
    assert_eq!(Request::get(&(full + "a")).refusal(), Some(Refusal::TargetTooLong));
}

#[test]
fn h16_forms_of_the_target() {
    for (target, expected) in [
        ("http://app.example.com/ws", None),
        ("HTTPS://APP.example.com/ws", None),
        ("http://app.example.com/ws/room?token=a", None),
        ("http://app.example.com", Some(Refusal::NotFound)),
        ("http://app.example.com:80/ws", Some(Refusal::TargetForm)),
        ("http://evil.com/ws", Some(Refusal::TargetForm)),
        ("http://user@app.example.com/ws", Some(Refusal::TargetForm)),
        ("http:///ws", Some(Refusal::TargetForm)),
        ("ftp://app.example.com/ws", Some(Refusal::TargetForm)),
        ("*", Some(Refusal::TargetForm)),
        ("app.example.com:80", Some(Refusal::TargetForm)),
        ("ws", Some(Refusal::TargetForm)),
        ("?token=a", Some(Refusal::TargetForm)),
    ] {
        assert_eq!(Request::get(target).refusal(), expected, "{target}");
    }
}

#[test]
fn h18_line_ends_in_a_room_or_token_stay_out_of_the_response() {
    let target = "/ws/%0d%0aSet-Cookie:a?token=%0d%0aX:y&session=%0d%0aZ:1";
    let response = Request::get(target).response();
    assert!(!response.contains("Set-Cookie") && !response.contains("X:y"));
    assert_eq!(response.matches("\r\n").count(), 5);
}
