//! What a client claims about its address, or about TLS, changes nothing of what the proxy behind it
//! says, in the same line or in one before; and a peer that is not trusted is believed nothing.
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use ringroom::config::{AddressHeader, Config, Handshake, Proxy};
use ringroom::ws::{forwarded, head};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The header, its name, and how the proxy says [`CLIENT`] in it.
const WORDS: [(AddressHeader, &str, &str); 3] = [
    (AddressHeader::XForwardedFor, "X-Forwarded-For", "192.0.2.1"),
    (AddressHeader::Forwarded, "Forwarded", "proto=http;for=192.0.2.1"),
    (AddressHeader::Forwarded, "Forwarded", "for=\"192.0.2.1:80\";by=\"_a,b\""),
];

static LIMITS: LazyLock<Handshake> = LazyLock::new(|| Config::default().handshake);

pub(crate) fn check(claim: &[u8]) {
    // With a line end it would be more than a value.
    if claim.contains(&b'\r') {
        return;
    }
    for (header, name, word) in WORDS {
        for between in [", ".to_owned(), format!("\r\n{name}: ")] {
            let start = format!("GET / HTTP/1.1\r\n{name}: ");
            let end = format!("{between}{word}\r\n\r\n");
            let bytes = [start.as_bytes(), claim, end.as_bytes()].concat();
            let Ok(Some((head, length))) = head::parse(&bytes, &LIMITS) else { return };
            if length != bytes.len() {
                return;
            }
            let proxy = Proxy { trusted: vec![PROXY.into()], header };
            assert_eq!(forwarded::client(Some(PROXY), &head, &proxy), Some(CLIENT));
            assert_eq!(forwarded::client(Some(STRANGER), &head, &proxy), Some(STRANGER));

            assert!(!forwarded::is_encrypted(Some(PROXY), false, &head, &proxy));
            assert!(!forwarded::is_encrypted(Some(STRANGER), false, &head, &proxy));

            // Where the word comes of a trusted proxy too, the claim may be read: it never panics.
            let trusted = vec![PROXY.into(), CLIENT.into()];
            let proxy = Proxy { trusted, header };
            assert!(forwarded::client(Some(PROXY), &head, &proxy).is_some());
            let _ = forwarded::is_encrypted(Some(PROXY), false, &head, &proxy);
        }
    }
}
