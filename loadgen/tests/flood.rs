//! The generator finds a lie in a hundred thousand. In a process of its own: it takes all the CPU there
//! is, and others' clocks are not to suffer.

mod stub;
mod torrent;
mod upgrade;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::report::PhaseReport;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::fanout::Fanout;
use ringroom_loadgen::stats::Counters;
use ringroom_loadgen::target::Target;
use stub::Lie;

fn run(address: SocketAddr, dialect: DialectName, workload: &Workload) -> PhaseReport {
    let target = Target::resolve(&format!("ws://{address}/ws")).expect("an address");
    let settings = Settings {
        threads: Some(2),
        // However busy the machine is: it ends as soon as all has come.
        lateness_max_us: 60_000_000,
        drain_seconds: 60.0,
        ..Settings::new(target, dialect)
    };
    run::phase(&settings.shared(), workload).expect("it runs").0
}

/// Deliveries of a run that is long enough for two rare lies.
const DELIVERIES: u64 = 200_000;

/// A run of so many deliveries and more; what was counted, what was delivered, and how often the
/// server lied.
fn flood(dialect: DialectName, lie: Lie) -> (PhaseReport, u64, u64) {
    // A busy machine takes longer for as many messages.
    for seconds in [0.27, 0.4, 0.8, 1.6, 3.2] {
        let packed = dialect == DialectName::RingroomMsgpack;
        let server = torrent::start(packed, lie, DELIVERIES / 2, || {});
        let rooms = Fanout { members: 100, rate: 8_000.0, seconds, ..Fanout::default() };
        let report = run(server.address, dialect, &Workload::Fanout(rooms));
        let delivered = server.delivered.load(Ordering::Relaxed);
        if delivered >= DELIVERIES {
            return (report, delivered, server.lies.load(Ordering::Relaxed));
        }
    }
    panic!("not {DELIVERIES} deliveries in some seconds");
}

#[test]
fn one_lie_in_a_hundred_thousand_is_found_out_over_sockets() {
    type Count = fn(&Counters) -> u64;
    let table: [(Lie, &str, Count); 5] = [
        (Lie::Lose, "lost", |counters| counters.lost),
        (Lie::Repeat, "repeated", |counters| counters.repeated),
        // One that is held to the end has not arrived at all.
        (Lie::Reorder, "out of order", |counters| counters.reordered + counters.lost),
        (Lie::Corrupt, "corrupt", |counters| counters.corrupt),
        (Lie::Drop, "dropped", |counters| counters.dropped),
    ];
    for dialect in [DialectName::Ringroom, DialectName::RingroomMsgpack] {
        for (lie, word, count) in table {
            let (report, delivered, lies) = flood(dialect, lie);
            assert_eq!(lies, delivered / (DELIVERIES / 2), "{dialect} {lie:?}");
            assert_eq!(count(&report.totals), lies, "{dialect} {lie:?}: {:?}", report.totals);
            let told = report.invalid.iter().any(|reason| reason.contains(word));
            assert!(told, "{dialect} {lie:?}: {:?}", report.invalid);
        }
    }
}
