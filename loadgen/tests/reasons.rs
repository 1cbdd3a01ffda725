//! What goes wrong is told with its reason: the server's own words, what it broke, what was waited for.

mod upgrade;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::report::PhaseReport;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::hold::Hold;
use ringroom_loadgen::target::Target;

/// A server that says this to everyone once they are upgraded, and then listens; without words it does
/// not even answer.
fn start(words: Option<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let words = words.clone();
            thread::spawn(move || {
                if let Some(words) = words {
                    upgrade::accept(&mut stream, "")?;
                    stream.write_all(&words).ok()?;
                }
                while matches!(stream.read(&mut [0; 256]), Ok(1..)) {}
                Some(())
            });
        }
    });
    address
}

/// Three connections to it, held for a moment.
fn hold(words: Option<Vec<u8>>, dialect: DialectName) -> PhaseReport {
    hold_in_rooms(words, dialect, 0)
}

/// The same, in rooms of so many.
fn hold_in_rooms(words: Option<Vec<u8>>, dialect: DialectName, members: usize) -> PhaseReport {
    let target = Target::resolve(&format!("ws://{}/", start(words))).expect("an address");
    let settings = Settings {
        threads: Some(1),
        connect_timeout_us: 500_000,
        lateness_max_us: 60_000_000,
        ..Settings::new(target, dialect)
    };
    let hold = Hold { connections: 3, seconds: 0.5, members };
    run::phase(&settings.shared(), &Workload::Hold(hold)).expect("it runs").0
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).expect("short");
    assert!(len < 126, "short");
    [&[first, len], payload].concat()
}

#[test]
fn a_connection_that_the_server_ends_has_its_code_and_its_reason() {
    for (payload, told) in [
        (&b"\x03\xf0policy says no"[..], "the server closed with 1008: policy says no (3 times)"),
        (b"\x03\xf3", "the server closed with 1011 (3 times)"),
        (b"", "the server closed without a code (3 times)"),
    ] {
        let report = hold(Some(frame(0x88, payload)), DialectName::Raw);
        assert_eq!(report.complaints, [told]);
        assert_eq!((report.totals.dropped, report.totals.violations), (3, 0));
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_hung_up_on_and_that_is_told() {
    for (bytes, told) in [
        (&b"\x81\x85\0\0\0\0hello"[..], "a masked frame"),
        (b"\xa1\x05hello", "a frame with a reserved bit"),
        (b"\xc1\x05hello", "a frame with a reserved bit"),
        (b"\x85\x05hello", "a frame of an unknown kind"),
        (b"\x80\x05hello", "pieces of messages out of order"),
        (b"\x81\x7f\x40\0\0\0\0\0\0\0", "a message longer than this tool takes"),
    ] {
        let report = hold(Some(bytes.to_vec()), DialectName::Raw);
        assert_eq!(report.complaints, [format!("the server broke the protocol: {told} (3 times)")]);
        assert_eq!((report.totals.dropped, report.totals.violations), (0, 3), "{told}");
        assert_eq!((report.held, report.totals.opened), (0, 3), "{told}");
        let reason = "3 connections ended by this tool: the server broke the protocol";
        assert_eq!(report.invalid, [reason]);
    }
}

#[test]
fn the_protocol_s_own_words_are_told() {
    let words = [
        frame(0x81, br#"{"type":"welcome","session":"s"}"#),
        frame(0x81, br#"{"type":"error","code":"rate_limited"}"#),
        frame(0x81, br#"{"type":"error","code":"rate_limited"}"#),
        frame(0x81, br#"{"type":"disconnect","reason":"drain"}"#),
        frame(0x88, b"\x03\xf4drain"),
    ];
    let report = hold(Some(words.concat()), DialectName::Ringroom);
    let told = [
        "the server answered with the error rate_limited (6 times)",
        "the server closed with 1012: drain (3 times)",
        "the server said that it disconnects: drain (3 times)",
    ];
    assert_eq!(report.complaints, told);
    assert_eq!((report.totals.errors, report.totals.dropped), (6, 3));
}

#[test]
fn who_is_refused_in_place_of_a_welcome_hears_why() {
    let words = [
        frame(0x81, br#"{"type":"error","code":"unauthorized"}"#),
        frame(0x88, b"\x0f\xa1unauthorized"),
    ];
    let report = hold(Some(words.concat()), DialectName::Ringroom);
    let told = [
        "before it greeted, the server closed with 4001: unauthorized (3 times)",
        "the server answered with the error unauthorized (3 times)",
    ];
    assert_eq!(report.complaints, told);
    assert_eq!((report.totals.opened, report.totals.refused), (0, 3));
}

#[test]
fn what_was_waited_for_in_vain_is_named() {
    let report = hold(None, DialectName::Raw);
    assert_eq!(report.complaints, ["the upgrade was not answered within 0.5 s (3 times)"]);
    let report = hold(Some(Vec::new()), DialectName::Ringroom);
    let told = "no greeting (is the dialect the server's own?) within 0.5 s (3 times)";
    assert_eq!(report.complaints, [told]);
}

#[test]
fn nobody_waits_for_the_join_of_a_connection_that_is_gone() {
    let words =
        [frame(0x81, br#"{"type":"welcome","session":"s"}"#), frame(0x88, b"\x03\xf0room_full")];
    let report = hold_in_rooms(Some(words.concat()), DialectName::Ringroom, 3);
    assert!(report.connect_seconds < 30.0, "{}", report.connect_seconds);
    assert_eq!(report.invalid, ["3 connections dropped by the server"]);
}
