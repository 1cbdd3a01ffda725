//! The generator finds every lie of a server, and hides none of its delays.

mod stub;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::report::PhaseReport;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::chat::Chat;
use ringroom_loadgen::scenario::echo::Echo;
use ringroom_loadgen::scenario::fanout::Fanout;
use ringroom_loadgen::scenario::resume::{By, Resume};
use ringroom_loadgen::target::Target;
use stub::{Lie, Manner};

fn run(address: SocketAddr, dialect: DialectName, workload: &Workload) -> PhaseReport {
    run_and_wait(address, dialect, workload, 1.0)
}

/// Against a server that owes nothing at the end: however busy the machine is, all will come.
fn run_honest(address: SocketAddr, dialect: DialectName, workload: &Workload) -> PhaseReport {
    run_and_wait(address, dialect, workload, 60.0)
}

/// Runs it, and waits so long at the end for what is under way.
fn run_and_wait(
    address: SocketAddr,
    dialect: DialectName,
    workload: &Workload,
    drain_seconds: f64,
) -> PhaseReport {
    let path = match dialect {
        DialectName::SocketIo => "socket.io/?EIO=4&transport=websocket",
        _ => "ws",
    };
    let target = Target::resolve(&format!("ws://{address}/{path}")).expect("an address");
    let settings = Settings {
        threads: Some(2),
        // The machine that runs the tests may be busy with others; that is not what is tested.
        lateness_max_us: 60_000_000,
        drain_seconds,
        ..Settings::new(target, dialect)
    };
    run::phase(&settings.shared(), workload).expect("it runs").0
}

fn echo() -> Workload {
    Workload::Echo(Echo {
        connections: 4,
        rate: 5_000.0,
        seconds: 0.5,
        size: 48,
        ..Echo::default()
    })
}

fn fanout(publishers: usize) -> Workload {
    Workload::Fanout(Fanout {
        rooms: 1,
        members: 10,
        publishers,
        rate: 250.0,
        seconds: 0.5,
        ..Fanout::default()
    })
}

const DIALECTS: [DialectName; 5] = [
    DialectName::Ringroom,
    DialectName::RingroomMsgpack,
    DialectName::Raw,
    DialectName::RawBinary,
    DialectName::SocketIo,
];

/// What can be run in a dialect, and whether the server is to broadcast for it.
fn workloads(dialect: DialectName, publishers: usize) -> Vec<(bool, Workload)> {
    // socket.io has no echo but a room of one.
    let echo = (dialect != DialectName::SocketIo).then(|| (false, echo()));
    echo.into_iter().chain([(true, fanout(publishers))]).collect()
}

#[test]
fn an_honest_server_is_valid_in_every_dialect() {
    for dialect in DIALECTS {
        for (broadcast, workload) in workloads(dialect, 2) {
            let address = stub::start(Manner { broadcast, ..Manner::default() });
            let report = run_honest(address, dialect, &workload);
            assert_eq!(report.invalid, [""; 0], "{dialect}");
            let fold = if broadcast { 10 } else { 1 };
            assert_eq!(report.totals.received, report.totals.sent * fold, "{dialect}");
            assert!(report.totals.sent > 20, "{dialect}: {}", report.totals.sent);
            assert_eq!(report.latency.count, report.totals.received);
        }
    }
}

#[test]
fn every_lie_is_found_out() {
    // They mostly wait, so they may wait together.
    thread::scope(|scope| {
        for dialect in DIALECTS {
            scope.spawn(move || every_lie_is_found_out_in(dialect));
        }
    });
}

fn every_lie_is_found_out_in(dialect: DialectName) {
    // Without numbers of a room, there is an order of each publisher's messages only.
    let numbers = matches!(dialect, DialectName::Ringroom | DialectName::RingroomMsgpack);
    for (lie, word) in [
        (Lie::Lose, "lost"),
        (Lie::Repeat, "repeated"),
        (Lie::Reorder, "out of order"),
        (Lie::Corrupt, "corrupt"),
        (Lie::Drop, "dropped"),
    ] {
        for (broadcast, workload) in workloads(dialect, if numbers { 2 } else { 1 }) {
            let manner = Manner { broadcast, lie, one_in: 300, ..Manner::default() };
            let report = run(stub::start(manner), dialect, &workload);
            let told = report.invalid.iter().any(|reason| reason.contains(word));
            assert!(told, "{dialect} {lie:?} {broadcast}: {:?}", report.invalid);
        }
    }
}

#[test]
fn what_is_marked_as_sent_again_may_be_so_in_guaranteed_rooms_alone() {
    let rooms = Fanout { members: 10, rate: 250.0, seconds: 0.5, ..Fanout::default() };
    for dialect in [DialectName::Ringroom, DialectName::RingroomMsgpack] {
        for guaranteed in [false, true] {
            let manner = Manner { lie: Lie::Redeliver, one_in: 300, ..Manner::default() };
            let workload = Workload::Fanout(Fanout { guaranteed, ..rooms.clone() });
            let report = run_honest(stub::start(manner), dialect, &workload);
            let totals = report.totals;
            assert_eq!(totals.received, totals.sent * 10, "{dialect}");
            let (fault, note) = (totals.repeated > 0, totals.redelivered > 0);
            assert_eq!((fault, note), (!guaranteed, guaranteed), "{dialect}: {totals:?}");
            assert_eq!(report.invalid.is_empty(), guaranteed, "{:?}", report.invalid);
            let told = report.notes.iter().any(|told| told.contains("came again"));
            assert_eq!(told, guaranteed, "{:?}", report.notes);
        }
    }
    // One that is not marked is a fault there as well.
    let manner = Manner { lie: Lie::Repeat, one_in: 300, ..Manner::default() };
    let workload = Workload::Fanout(Fanout { guaranteed: true, ..rooms });
    let report = run_honest(stub::start(manner), DialectName::Ringroom, &workload);
    assert!(report.totals.repeated > 0 && report.totals.redelivered == 0, "{:?}", report.totals);
}

/// Members that come back by their session.
fn sessions(cuts: f64, seconds: f64) -> Workload {
    let rooms = Fanout { members: 6, rate: 100.0, seconds, ..Fanout::default() };
    Workload::Resume(Resume { fanout: rooms, cuts, by: By::Session })
}

/// Members that come back: by `leave` and `join`, by an offset, by their session.
fn returns() -> [Workload; 3] {
    let rooms = Fanout { members: 6, rate: 100.0, seconds: 1.0, ..Fanout::default() };
    let resume = Resume { fanout: rooms.clone(), cuts: 23.0, by: By::Offset };
    let chat = Chat { fanout: rooms, commands: 60.0 };
    [Workload::Chat(chat), Workload::Resume(resume), sessions(23.0, 1.0)]
}

#[test]
fn who_comes_back_and_is_forgotten_is_found_out() {
    for workload in returns() {
        let manner = Manner { lie: Lie::Forget, ..Manner::default() };
        let report = run(stub::start(manner), DialectName::Ringroom, &workload);
        let told = report.invalid.iter().any(|reason| reason.contains("lost"));
        assert!(told, "{workload:?}: {:?} {:?}", report.invalid, report.totals);
    }
}

#[test]
fn a_server_that_recovers_nothing_and_says_so_is_honest() {
    for workload in returns().into_iter().skip(1) {
        let manner = Manner { recovers_nothing: true, ..Manner::default() };
        let report = run_honest(stub::start(manner), DialectName::Ringroom, &workload);
        assert_eq!(report.invalid, [""; 0], "{workload:?}");
        let totals = report.totals;
        assert!(totals.not_recovered > 0 && totals.resumed == 0, "{totals:?}");
        // More than its publisher, who is never cut, heard of itself.
        assert!(totals.received > totals.sent + totals.not_recovered, "{totals:?}");
    }
}

#[test]
fn a_session_may_repeat_what_the_protocol_lets_it_and_no_more() {
    for dialect in [DialectName::Ringroom, DialectName::RingroomMsgpack] {
        let report = run_honest(stub::start(Manner::default()), dialect, &sessions(23.0, 1.0));
        assert_eq!(report.invalid, [""; 0], "{dialect}");
        let totals = report.totals;
        assert!(totals.resumed > 0 && totals.redelivered > 0, "{dialect}: {totals:?}");
        assert_eq!((totals.not_recovered, totals.received), (0, totals.sent * 6), "{dialect}");
        assert!(report.notes.iter().any(|note| note.contains("came again")), "{:?}", report.notes);
    }
    for (dialect, lie) in
        [(DialectName::Ringroom, Lie::Rewind), (DialectName::RingroomMsgpack, Lie::Stutter)]
    {
        // Long enough between cuts that pings are answered, and later messages can come again.
        let manner = Manner { lie, ..Manner::default() };
        let report = run(stub::start(manner), dialect, &sessions(4.0, 2.0));
        let told = report.invalid.iter().any(|reason| reason.contains("repeated"));
        assert!(told, "{dialect} {lie:?}: {:?} {:?}", report.invalid, report.totals);
    }
}

#[test]
fn a_stall_of_half_a_second_shows_in_the_percentiles() {
    let manner = Manner { stall_at: 1_000, stall: Duration::from_millis(500), ..Manner::default() };
    let workload =
        Workload::Echo(Echo { connections: 4, rate: 1_000.0, seconds: 3.0, ..Echo::default() });
    let report = run_honest(stub::start(manner), DialectName::Raw, &workload);
    assert_eq!(report.invalid, [""; 0]);
    // All that was meant to be sent meanwhile waited: a sixth of it, half of that for over 250 ms.
    assert!(report.latency.p999 > 400_000, "{:?}", report.latency);
    assert!(report.latency.p99 > 300_000, "{:?}", report.latency);
    // And what came before it did not.
    assert!(report.latency.min < 100_000, "{:?}", report.latency);
}

#[test]
fn nobody_there_is_no_measurement() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let report = run(address, DialectName::Raw, &echo());
    assert!(report.invalid.iter().any(|reason| reason.contains("connections failed")));
    assert!(report.invalid.iter().any(|reason| reason.contains("no message arrived")));
    assert_eq!((report.totals.sent, report.totals.unsent), (0, 0));
    assert!(report.complaints.iter().any(|complaint| complaint.contains("refused")));
}
