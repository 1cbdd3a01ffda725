//! TLS, compression, epoll and a wrong dialect, each against the smallest server that will do.

mod tiny;
mod upgrade;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::report::PhaseReport;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::echo::Echo;
use ringroom_loadgen::target::Target;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn run(url: &str, change: impl FnOnce(&mut Settings)) -> PhaseReport {
    let target = Target::resolve(url).expect("an address");
    let mut settings = Settings {
        threads: Some(1),
        // However busy the machine is: it ends as soon as all has come.
        drain_seconds: 60.0,
        lateness_max_us: 60_000_000,
        ..Settings::new(target, DialectName::RawBinary)
    };
    change(&mut settings);
    let echo = Echo { connections: 5, rate: 500.0, seconds: 0.6, size: 100, ..Echo::default() };
    run::phase(&settings.shared(), &Workload::Echo(echo)).expect("it runs").0
}

fn start_tls() -> SocketAddr {
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    let config = Arc::new(config);
    tiny::start(
        "",
        || {},
        move |stream: TcpStream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
            StreamOwned::new(session, stream)
        },
    )
}

#[test]
fn tls_with_any_certificate_only_if_told_so() {
    let url = format!("wss://{}/", start_tls());
    let report = run(&url, |settings| settings.insecure = true);
    assert_eq!(report.invalid, [""; 0]);
    assert!(report.totals.received > 20, "{:?}", report.totals);
    let strict = run(&url, |settings| settings.drain_seconds = 0.1);
    assert_eq!(strict.totals.opened, 0);
    assert!(strict.complaints.iter().any(|complaint| complaint.contains("certificate")));
}

#[test]
fn compressed_messages_are_verified_like_others() {
    const EXTENSION: &str =
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let address = tiny::start(EXTENSION, || {}, |stream: TcpStream| stream);
    let url = format!("ws://{address}/");
    let report = run(&url, |settings| settings.deflate = true);
    assert_eq!(report.invalid, [""; 0]);
    assert!(report.totals.received > 20, "{:?}", report.totals);
    // Smaller on the wire than the payloads alone would be.
    assert!(report.totals.bytes_out < report.totals.sent * 100 + 5 * 400, "{:?}", report.totals);
    let not_offered = run(&url, |settings| settings.drain_seconds = 0.1);
    assert_eq!(not_offered.totals.opened, 0, "an extension nobody offered is refused");
}

#[test]
fn epoll_does_where_there_is_no_ring() {
    let address = tiny::start("", || {}, |stream: TcpStream| stream);
    let report = run(&format!("ws://{address}/"), |settings| settings.epoll = true);
    assert_eq!(report.invalid, [""; 0]);
    assert!(report.totals.received > 20, "{:?}", report.totals);
    assert_eq!(report.totals.received, report.totals.sent);
}

#[test]
fn a_server_that_does_not_greet_is_named_as_such() {
    let address = tiny::start("", || {}, |stream: TcpStream| stream);
    let report = run(&format!("ws://{address}/"), |settings| {
        settings.dialect = DialectName::Ringroom;
        settings.connect_timeout_us = 200_000;
        settings.drain_seconds = 0.1;
    });
    assert_eq!((report.totals.opened, report.totals.refused), (0, 5));
    assert!(report.complaints.iter().any(|complaint| complaint.contains("greet")));
}
