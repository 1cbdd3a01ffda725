#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::ws::head;

fn proxy(header: AddressHeader) -> config::Proxy {
    let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
    config::Proxy { trusted: trusted.into(), header }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The client's address, told by those lines from that peer.
fn client_of(peer: Option<IpAddr>, header: AddressHeader, lines: &[&[u8]]) -> Option<IpAddr> {
    let name: &[u8] = match header {
        AddressHeader::Forwarded => b"forwarded: ",
        _ => b"x-forwarded-for: ",
    };
    let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
    for line in lines {
        bytes.extend_from_slice(&[name, line, b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    let limits = config::Handshake { head_bytes: 1 << 24, ..Config::default().handshake };
    let (head, _) = head::parse(&bytes, &limits).unwrap().unwrap();
    client(peer, &head, &proxy(header))
}

fn assert_client(header: AddressHeader, peer: &str, lines: &[&str], expected: &str) {
    let bytes: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    let client = client_of(Some(ip(peer)), header, &bytes);
    assert_eq!(client, Some(ip(expected)), "{peer} says {lines:?}");
}

#[test]
fn x_forwarded_for_is_read_from_the_right_up_to_the_first_untrusted() {
    for (peer, lines, expected) in [
        ("10.0.0.1", &[][..], "10.0.0.1"),
        ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["10.9.9.9, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["192.0.2.1, 10.0.0.2, 10.0.0.3"], "192.0.2.1"),
        ("10.0.0.1", &["198.51.100.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["192.0.2.1,,  ,"], "192.0.2.1"),
        ("10.0.0.1", &["192.0.2.1:56324"], "192.0.2.1"),
        ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
        ("2001:db8:1::7", &["192.0.2.1, 2001:db8:1::8"], "192.0.2.1"),
        ("::ffff:10.0.0.1", &["192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
    ] {
        assert_client(AddressHeader::XForwardedFor, peer, lines, expected);
    }
}

#[test]
fn a_header_of_an_untrusted_peer_is_ignored() {
    for header in [AddressHeader::XForwardedFor, AddressHeader::Forwarded] {
        for line in ["192.0.2.1", "for=192.0.2.1", "10.0.0.1, 10.0.0.2", "for=10.0.0.1"] {
            assert_client(header, "203.0.113.5", &[line], "203.0.113.5");
        }
    }
    assert_client(AddressHeader::None, "10.0.0.1", &["192.0.2.1"], "10.0.0.1");
    assert_client(AddressHeader::None, "::ffff:203.0.113.5", &[], "203.0.113.5");
}

#[test]
fn a_word_that_cannot_be_read_leaves_the_proxy_that_said_it() {
    for word in [
        "unknown",
        "_hidden",
        "192.0.2",
        "192.0.2.1.5",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:99999",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "[192.0.2.1]",
        "2001:db8::g",
        "192.0.2.1 198.51.100.9",
        "\"192.0.2.1\"",
        "localhost",
        "fe80::1%eth0",
    ] {
        let line = format!("198.51.100.9, {word}, 10.0.0.2");
        assert_client(AddressHeader::XForwardedFor, "10.0.0.1", &[&line], "10.0.0.2");
    }
    let not_text = client_of(Some(ip("10.0.0.1")), AddressHeader::XForwardedFor, &[b"\xff\xfe"]);
    assert_eq!(not_text, Some(ip("10.0.0.1")));
}

#[test]
fn forwarded_is_read_from_the_right_up_to_the_first_untrusted() {
    for (lines, expected) in [
        (&["for=192.0.2.1"][..], "192.0.2.1"),
        (&["For=192.0.2.1;Proto=https;by=203.0.113.43;host=a"], "192.0.2.1"),
        (&["proto=http; for=\"192.0.2.1:4711\" ;by=_x"], "192.0.2.1"),
        (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17"),
        (&["for=\"[2001:db8:cafe::17]:_port\""], "2001:db8:cafe::17"),
        (&["for=198.51.100.9, for=192.0.2.1"], "192.0.2.1"),
        (&["for=192.0.2.1, for=10.0.0.2,for=\"10.0.0.3:80\""], "192.0.2.1"),
        (&["for=192.0.2.1", "for=10.0.0.2"], "192.0.2.1"),
        (&["for=192.0.2.1, , "], "192.0.2.1"),
        (&["for=192.0.2.1;secret=\"a,b;for=10.0.0.9\""], "192.0.2.1"),
        (&["for=\"::ffff:192.0.2.1\""], "192.0.2.1"),
        // What a client leaves open swallows nothing of what the proxy adds.
        (&["for=\"10.0.0.9, for=192.0.2.1"], "192.0.2.1"),
        (&["for=10.0.0.9;x=\"\\\", for=192.0.2.1"], "192.0.2.1"),
        (&["\"", "for=192.0.2.1"], "192.0.2.1"),
    ] {
        assert_client(AddressHeader::Forwarded, "10.0.0.1", lines, expected);
    }
}

#[test]
fn a_forwarded_element_against_the_grammar_leaves_the_proxy_that_said_it() {
    for element in [
        "for=unknown",
        "for=_hidden",
        "for=",
        "for",
        "=192.0.2.1",
        "by=192.0.2.1",
        "proto=https",
        "for=192.0.2.1;for=192.0.2.1",
        "for=192.0.2.1;FOR=198.51.100.9",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "for=\"192.0.2.1",
        "for=192.0.2.1\"",
        "for=\"\"192.0.2.1\"\"",
        "for=\"192.0.2.\\1\"",
        "for=192.0.2.1;x",
        "192.0.2.1",
    ] {
        let line = format!("{element}, for=10.0.0.2");
        assert_client(AddressHeader::Forwarded, "10.0.0.1", &[&line], "10.0.0.2");
    }
}

#[test]
fn peers_on_a_unix_socket_are_trusted() {
    let of_unix = |header, line: &str| client_of(None, header, &[line.as_bytes()]);
    assert_eq!(of_unix(AddressHeader::XForwardedFor, "192.0.2.1"), Some(ip("192.0.2.1")));
    assert_eq!(of_unix(AddressHeader::Forwarded, "for=192.0.2.1"), Some(ip("192.0.2.1")));
    assert_eq!(of_unix(AddressHeader::XForwardedFor, "unknown"), None);
    assert_eq!(of_unix(AddressHeader::None, "192.0.2.1"), None);
}

/// Whether a client came by TLS, told by those lines, from a peer that itself spoke none.
fn came_by_tls(peer: Option<IpAddr>, header: AddressHeader, lines: &[&str]) -> bool {
    let text = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
    let text = text.replace("\r\n\r\n\r\n", "\r\n\r\n");
    let (head, _) = head::parse(text.as_bytes(), &Config::default().handshake).unwrap().unwrap();
    is_encrypted(peer, false, &head, &proxy(header))
}

#[test]
fn whether_a_client_came_by_tls_is_what_all_trusted_proxies_say() {
    let (plain, listed) = (AddressHeader::XForwardedFor, AddressHeader::Forwarded);
    let proto = "X-Forwarded-Proto: ";
    for (header, peer, line, expected) in [
        (plain, "10.0.0.1", format!("{proto}https"), true),
        (plain, "10.0.0.1", format!("{proto}WSS"), true),
        (plain, "10.0.0.1", format!("{proto}https, https"), true),
        (plain, "10.0.0.1", format!("{proto}https\r\n{proto}https"), true),
        (plain, "10.0.0.1", format!("{proto}http"), false),
        (plain, "10.0.0.1", format!("{proto}https, http"), false),
        (plain, "10.0.0.1", format!("{proto}http, https"), false),
        (plain, "10.0.0.1", format!("{proto}https\r\n{proto}http"), false),
        (plain, "10.0.0.1", format!("{proto}httpsx"), false),
        (plain, "10.0.0.1", format!("{proto},"), false),
        (plain, "10.0.0.1", "Host: a".to_owned(), false),
        (plain, "10.0.0.1", "Forwarded: proto=https".to_owned(), false),
        (plain, "192.0.2.1", format!("{proto}https"), false),
        (AddressHeader::None, "10.0.0.1", format!("{proto}https"), false),
        (listed, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=https".to_owned(), true),
        (listed, "10.0.0.1", "Forwarded: Proto=\"HTTPS\"; for=192.0.2.1".to_owned(), true),
        (listed, "10.0.0.1", "Forwarded: proto=https".to_owned(), true),
        (listed, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=http".to_owned(), false),
        (listed, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=https;proto=https".to_owned(), false),
        (listed, "10.0.0.1", "Forwarded: proto=https, for=192.0.2.1".to_owned(), false),
        (listed, "10.0.0.1", "Forwarded: proto=http, for=192.0.2.1;proto=https".to_owned(), true),
        (listed, "10.0.0.1", "Forwarded: proto=http, for=10.0.0.2;proto=https".to_owned(), false),
        (listed, "10.0.0.1", "Forwarded: proto=https, for=10.0.0.2;proto=https".to_owned(), true),
        (listed, "10.0.0.1", "Forwarded: proto=https, for=10.0.0.2".to_owned(), false),
        (listed, "10.0.0.1", format!("{proto}https"), false),
        (listed, "192.0.2.1", "Forwarded: proto=https".to_owned(), false),
    ] {
        assert_eq!(came_by_tls(Some(ip(peer)), header, &[&line]), expected, "{peer} says {line}");
    }
    assert!(came_by_tls(None, plain, &["X-Forwarded-Proto: https"]), "a UNIX socket is trusted");
    let none = b"GET / HTTP/1.1\r\n\r\n";
    let (head, _) = head::parse(none, &Config::default().handshake).unwrap().unwrap();
    assert!(
        is_encrypted(Some(ip("10.0.0.1")), true, &head, &proxy(plain)),
        "nobody says otherwise"
    );
}

proptest! {
    #[test]
    fn nothing_a_client_writes_changes_what_the_proxy_said(
        claim in "[\\x20-\\x7e]{0,40}|([,;\"\\\\]|for=|10\\.0\\.0\\.2| ){0,20}",
    ) {
        for (header, word) in [
            (AddressHeader::XForwardedFor, "192.0.2.1"),
            (AddressHeader::Forwarded, "for=192.0.2.1"),
            (AddressHeader::Forwarded, "for=\"192.0.2.1:80\";by=\"_a,b\""),
        ] {
            let one_line = format!("{claim}, {word}");
            for lines in [&[one_line.as_bytes()][..], &[claim.as_bytes(), word.as_bytes()]] {
                let client = client_of(Some(ip("10.0.0.1")), header, lines);
                prop_assert_eq!(client, Some(ip("192.0.2.1")));
            }
        }
    }

    #[test]
    fn nothing_a_client_writes_makes_it_one_that_came_by_tls(
        claim in "[\\x20-\\x7e]{0,40}|([,;\"\\\\]|proto=https|for=10\\.0\\.0\\.2| |https){0,20}",
    ) {
        for (header, name, word) in [
            (AddressHeader::XForwardedFor, "X-Forwarded-Proto", "http"),
            (AddressHeader::Forwarded, "Forwarded", "for=192.0.2.1;proto=http"),
            (AddressHeader::Forwarded, "Forwarded", "for=192.0.2.1"),
        ] {
            let one_line = format!("{name}: {claim}, {word}");
            let (claim, word) = (format!("{name}: {claim}"), format!("{name}: {word}"));
            for lines in [&[&*one_line][..], &[&*claim, &*word]] {
                prop_assert!(!came_by_tls(Some(ip("10.0.0.1")), header, lines), "{:?}", lines);
            }
        }
    }

    #[test]
    fn arbitrary_values_never_panic(value in prop::collection::vec(0x80..=0xff_u8, 0..40)) {
        for header in [AddressHeader::XForwardedFor, AddressHeader::Forwarded] {
            prop_assert_eq!(client_of(Some(ip("10.0.0.1")), header, &[&value]), Some(ip("10.0.0.1")));
        }
    }
}
