//! Where clients come from: several listeners, IPv6, and what proxies say about them.

use std::io::Write;
use std::net::SocketAddr;

use crate::client::{Client, FIN, TEXT, connect_unix, frame, head, raw};
use crate::http::is_at_its_end;
use crate::server::{Plan, Server};

/// One connection an address, so that an address that is believed shows.
const ONE_EACH: &str = "admission.connections_per_ip=1";

fn behind_proxy(header: &str) -> Server {
    let plan = Plan::new().set("proxy.trusted=127.0.0.1/32").set(ONE_EACH);
    plan.set(&format!("proxy.header={header}")).start()
}

/// The status of an upgrade that claims to come from elsewhere.
fn upgrade(address: SocketAddr, more: &str) -> Result<Client, u16> {
    Client::try_echo(raw(address), more).map_err(|refused| refused.map_or(0, |it| it.status))
}

#[test]
fn every_listener_serves() {
    let path = crate::server::folder().join("socket");
    let config = format!(
        "listen = [\"127.0.0.1:0\", \"[::1]:0\", \"127.0.0.2:0\", \"unix:{}\"]\n",
        path.display()
    );
    let server = Plan::new().arguments(&["--cores", "2"][..0]).listeners(&config).start();
    assert_eq!(server.addresses.len(), 3);
    assert!(server.addresses[1].is_ipv6());
    for address in &server.addresses {
        assert!(Client::echo(*address).is_served(), "{address}");
    }
    assert!(Client::try_echo(connect_unix(&path), "").expect("the upgrade").is_served());
}

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    for (word, name) in [("x-forwarded-for", "X-Forwarded-For: "), ("forwarded", "Forwarded: for=")]
    {
        let server = behind_proxy(word);
        let from = |ip: &str| upgrade(server.address(), &format!("{name}{ip}\r\n"));
        let _first = from("192.0.2.1").expect("the first of an address");
        assert_eq!(from("192.0.2.1").err(), Some(429), "{word}");
        assert!(from("192.0.2.2").is_ok(), "{word}");
        // What the client claims stands left of what the proxy adds.
        let forged = upgrade(
            server.address(),
            &format!(
                "{name}192.0.2.9, {}192.0.2.1\r\n",
                &name[name.len() - 4..].replace("or: ", "")
            ),
        );
        assert_eq!(forged.err(), Some(429), "{word}");
    }
}

#[test]
fn a_stranger_is_believed_nothing() {
    let plan = Plan::new().set("proxy.trusted=10.0.0.0/8").set(ONE_EACH);
    let server = plan.set("proxy.header=x-forwarded-for").start();
    let _first = upgrade(server.address(), "X-Forwarded-For: 192.0.2.1\r\n").expect("the first");
    // The second of the same peer, whatever it claims: dropped before a byte is read.
    assert!(upgrade(server.address(), "X-Forwarded-For: 192.0.2.2\r\n").is_err());
}

fn proxy_listener(trusted: &str) -> Server {
    let config = "[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
    let plan = Plan::new().listeners(config).set(ONE_EACH);
    plan.set(&format!("proxy.trusted={trusted}")).start()
}

/// A header of version 2: PROXY, TCP over IPv4, from 192.0.2.`last`.
fn version_2(last: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C".to_vec();
    bytes.extend([192, 0, 2, last, 127, 0, 0, 1, 0x1F, 0x90, 0x1F, 0x91]);
    bytes
}

/// The upgrade behind a PROXY header, all in one segment or byte for byte.
fn upgrade_behind(server: &Server, header: &[u8], at_once: bool) -> Option<Client> {
    let mut client = Client::over(raw(server.address()));
    let mut bytes = header.to_vec();
    bytes.extend(head("/echo", "").as_bytes());
    let step = if at_once { bytes.len() } else { 1 };
    for piece in bytes.chunks(step) {
        client.try_send(piece).ok()?;
    }
    client.response().filter(|response| response.status == 101).map(|_| client)
}

#[test]
fn a_proxy_header_is_read_in_both_versions() {
    let server = proxy_listener("127.0.0.1/32");
    let version_1 = |last: u8| format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 9 80\r\n").into_bytes();
    let mut held = Vec::new();
    for (last, header) in [(1, version_1(1)), (2, version_2(2)), (3, version_1(3))] {
        let client = upgrade_behind(&server, &header, last != 3);
        held.push(client.unwrap_or_else(|| panic!("the first of 192.0.2.{last}")));
    }
    assert!(held.iter_mut().all(Client::is_served));
    assert!(upgrade_behind(&server, &version_2(1), true).is_none(), "the second of an address");
    // A frame behind the header and the head in one segment is not lost either.
    let mut early = Client::over(raw(server.address()));
    let mut bytes = version_2(4);
    bytes.extend(head("/echo", "").as_bytes());
    bytes.extend(frame(FIN | TEXT, b"early"));
    early.send(&bytes);
    assert_eq!(early.response().unwrap().status, 101);
    assert_eq!(early.receive().unwrap().payload, b"early");
}

#[test]
fn without_a_good_proxy_header_there_is_no_connection() {
    let server = proxy_listener("127.0.0.1/32");
    let mut bad_version = version_2(1);
    bad_version[12] = 0x31;
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"PROXY TCP4 300.0.2.1 127.0.0.1 9 80\r\n".to_vec(),
        format!("PROXY TCP4 {}\r\n", "1".repeat(200)).into_bytes(),
        bad_version,
    ] {
        let mut stream = raw(server.address());
        stream.write_all(&bytes).unwrap();
        assert!(is_at_its_end(&mut stream), "{bytes:?}");
    }
    assert!(server.metric("ringroom_handshake_failures_total", "\"proxy\"") >= 4.0);
}

#[test]
fn a_proxy_header_of_a_stranger_ends_the_connection() {
    let server = proxy_listener("10.0.0.0/8");
    assert!(upgrade_behind(&server, &version_2(1), true).is_none());
}
