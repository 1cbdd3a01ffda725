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
