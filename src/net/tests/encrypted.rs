//! TLS, as hostile or broken clients speak it.

use std::io::{Cursor, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, Stream, StreamOwned};

use super::{Bench, assert_echoes, frame, read_head, upgrade, wait_until};

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

#[test]
fn what_follows_a_goodbye_wedges_nobody() {
    let (server, client) = configs();
    let bench = Bench::start_with(Some(server), |_| {});
    let mut socket = bench.connect();
    let mut tls = session(&client);
    let mut stream = Stream::new(&mut tls, &mut socket);
    stream.write_all(&upgrade()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    assert_echoes(&mut stream, "hello");
    // The goodbye and what must not follow it, in one segment.
    tls.send_close_notify();
    let mut last = Cursor::new(Vec::new());
    tls.write_tls(&mut last).unwrap();
    last.write_all(b"\x17\x03\x03\x00\x05hello").unwrap();
    socket.write_all(last.get_ref()).unwrap();
    wait_until("the end of the connection", || bench.metrics.connections.get() == 0);
    bench.drain();
}

/// An echo of what came before, in the same segment, is owed when nothing can be encrypted any more.
#[test]
fn a_session_that_breaks_with_answers_on_their_way_wedges_nobody() {
    let (server, client) = configs();
    let bench = Bench::start_with(Some(server), |_| {});
    let open = || {
        let mut stream = StreamOwned::new(session(&client), bench.connect());
        stream.write_all(&upgrade()).unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
        stream
    };
    let mut breaks = open();
    breaks.conn.writer().write_all(&frame("hello")).unwrap();
    let mut last = Cursor::new(Vec::new());
    breaks.conn.write_tls(&mut last).unwrap();
    last.write_all(&[b"\x17\x03\x03\x00\x30", &[0; 0x30][..]].concat()).unwrap();
    breaks.sock.write_all(last.get_ref()).unwrap();
    let mut end = Vec::new();
    // Whether by a reset is not its business.
    let _ = breaks.sock.read_to_end(&mut end);
    drop(breaks);
    wait_until("the end of the connection", || bench.metrics.connections.get() == 0);
    assert_echoes(&mut open(), "hello");
    bench.drain();
}

#[test]
fn a_plaintext_client_is_told_once_and_ended() {
    let (server, _) = configs();
    let bench = Bench::start_with(Some(server), |_| {});
    let mut socket = bench.connect();
    socket.write_all(&upgrade()).unwrap();
    let mut alert = Vec::new();
    socket.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&0x15), "an alert, and then a clean end: {alert:?}");
    // Dribbling on does not put off the end.
    let began = Instant::now();
    while socket.write_all(b"x").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
    let failures: u64 = bench.metrics.handshake_failures.total();
    assert_eq!(failures, 1, "counted once");
    bench.drain();
}
