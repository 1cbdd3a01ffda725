//! Connections that a proxy passes on.

use std::io::{Read, Write};

use crate::config::{AddressHeader, Config};
use crate::metrics::HandshakeFailure;

use super::{Bench, read_head, upgrade, wait_until};

fn trust_the_loopback(config: &mut Config) {
    config.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()];
}

#[test]
fn a_trusted_proxy_is_not_its_clients() {
    let bench = Bench::start(|config| {
        trust_the_loopback(config);
        config.proxy.header = AddressHeader::XForwardedFor;
        config.admission.connections_per_ip = 1;
    });
    // All at once still in their handshakes.
    let mut clients = [bench.connect(), bench.connect(), bench.connect()];
    wait_until("the third connection", || bench.metrics.accepts.get() == 3);
    for (client, (ip, status)) in clients.iter_mut().zip([(1, "101"), (2, "101"), (1, "429")]) {
        let mut request = upgrade();
        request.truncate(request.len() - 2);
        request.extend_from_slice(format!("X-Forwarded-For: 192.0.2.{ip}\r\n\r\n").as_bytes());
        client.write_all(&request).unwrap();
        let response = read_head(client);
        assert_eq!(response.split(' ').nth(1), Some(status), "{response}");
    }
    drop(clients);
    bench.drain();
}

#[test]
fn what_is_no_proxy_header_counts_once() {
    let bench = Bench::start(|config| {
        trust_the_loopback(config);
        config.listeners[0].proxy_protocol = true;
    });
    let mut client = bench.connect();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    let failures = &bench.metrics.handshake_failures;
    wait_until("the end", || bench.metrics.handshakes_pending.get() == 0);
    assert_eq!((failures.figure(HandshakeFailure::Proxy).get(), failures.total()), (1, 1));
    bench.drain();
}

/// The status of an upgrade with these lines in it, behind these bytes.
fn status(bench: &Bench, before: &[u8], more: &str) -> String {
    let mut client = bench.connect();
    let mut request = upgrade();
    request.truncate(request.len() - 2);
    request.extend_from_slice(format!("{more}\r\n").as_bytes());
    client.write_all(before).unwrap();
    client.write_all(&request).unwrap();
    let response = read_head(&mut client);
    response.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn where_tls_is_required_a_trusted_proxy_has_to_say_so() {
    let bench = Bench::start(|config| {
        trust_the_loopback(config);
        config.proxy.header = AddressHeader::XForwardedFor;
        config.handshake.require_tls = true;
    });
    let said =
        |proto: &str| format!("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: {proto}\r\n");
    for (more, expected) in [
        (said("https"), "101"),
        (said("wss"), "101"),
        (said("http"), "403"),
        (said("https, http"), "403"),
        (String::new(), "403"),
    ] {
        assert_eq!(status(&bench, b"", &more), expected, "{more}");
    }
    let failures = &bench.metrics.handshake_failures;
    assert_eq!((failures.figure(HandshakeFailure::Tls).get(), failures.total()), (3, 3));
    bench.drain();
    // Whom nobody trusts is believed nothing.
    let bench = Bench::start(|config| {
        config.proxy.trusted = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxy.header = AddressHeader::XForwardedFor;
        config.handshake.require_tls = true;
    });
    assert_eq!(status(&bench, b"", &said("https")), "403");
    bench.drain();
}

#[test]
fn where_tls_is_required_a_proxy_header_may_say_so() {
    let bench = Bench::start(|config| {
        trust_the_loopback(config);
        config.listeners[0].proxy_protocol = true;
        config.handshake.require_tls = true;
    });
    let header = |extension: &[u8]| {
        let addresses = [192, 0, 2, 1, 127, 0, 0, 1, 0x1f, 0x90, 0x1f, 0x91];
        let length = u8::try_from(addresses.len() + extension.len()).unwrap();
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00", &[length][..], &addresses, extension].concat()
    };
    for (before, expected) in [
        (header(&[0x20, 0, 5, 1, 0, 0, 0, 0]), "101"),
        (header(&[0x20, 0, 5, 0, 0, 0, 0, 0]), "403"),
        (header(&[]), "403"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 8080 8081\r\n".to_vec(), "403"),
    ] {
        assert_eq!(status(&bench, &before, ""), expected, "{}", before.escape_ascii());
    }
    bench.drain();
}
