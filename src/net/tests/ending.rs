//! However a connection ends, nothing of it stays.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use bytes::Bytes;

use crate::id::ConnectionKey;
use crate::letter::Letter;
use crate::letter::relay::{Event, Message};
use crate::net::socket;

use super::{Bench, wait_until};

/// A plain HTTP request that has reached the control plane.
fn ask(bench: &mut Bench) -> (TcpStream, ConnectionKey) {
    let mut client = bench.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let Message { connection, event } = bench.hear_relay();
    assert!(matches!(event, Event::Open(_)));
    (client, connection)
}

fn answer(bench: &mut Bench, connection: ConnectionKey, event: Event) {
    bench.post(Letter::Relay(Message { connection, event }));
}

#[test]
fn a_peer_that_does_not_answer_the_close_frame_is_let_go() {
    let bench = Bench::start(|_| {});
    let mut client = bench.open_echo();
    // Fails if the connection outlives the engine's patience.
    bench.drain();
    let mut close = [0; 4];
    client.read_exact(&mut close).unwrap();
    assert_eq!(close[0], 0x88);
    assert_eq!(u16::from_be_bytes([close[2], close[3]]), 1012);
    // Nothing is waited for any more, on neither side.
    let mut reason = Vec::new();
    let end = client.read_to_end(&mut reason).unwrap_err();
    assert_eq!((&reason[..], end.kind()), (&b"drain"[..], ErrorKind::ConnectionReset));
}

#[test]
fn a_relayed_client_that_is_gone_before_its_response_leaves_nothing() {
    let mut bench = Bench::start(|_| {});
    let (client, connection) = ask(&mut bench);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.hear_relay().event, Event::End, "it may still be owed a response");
    socket::reset_on_close(client.as_raw_fd()).unwrap();
    drop(client);
    answer(&mut bench, connection, Event::Data(Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n")));
    assert_eq!(bench.hear_relay().event, Event::Reset);
    wait_until("the end of the connection", || bench.metrics.relayed.get() == 0);
    // Fails if the connection is still there.
    bench.drain();
}

#[test]
fn the_control_plane_hears_the_end_of_a_connection_that_it_ended_itself() {
    let mut bench = Bench::start(|_| {});
    let (mut client, connection) = ask(&mut bench);
    answer(&mut bench, connection, Event::Data(Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n")));
    assert_eq!(bench.hear_relay().event, Event::Credit(19));
    answer(&mut bench, connection, Event::End);
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert_eq!(response, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(bench.hear_relay().event, Event::Reset);
    drop(client);
    bench.drain();
}
