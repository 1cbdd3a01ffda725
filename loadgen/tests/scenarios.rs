//! Every scenario against an honest stub.

mod stub;

use std::time::Duration;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::report::{PhaseReport, Report, text};
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::chat::Chat;
use ringroom_loadgen::scenario::churn::Churn;
use ringroom_loadgen::scenario::fanout::Fanout;
use ringroom_loadgen::scenario::hold::Hold;
use ringroom_loadgen::scenario::resume::Resume;
use ringroom_loadgen::scenario::slow::Slow;
use ringroom_loadgen::scenario::storm::Storm;
use ringroom_loadgen::target::Target;
use stub::Manner;

fn run(workload: &Workload) -> PhaseReport {
    let report = phase(&Manner::default(), workload);
    assert_eq!(report.invalid, [""; 0]);
    report
}

fn phase(manner: &Manner, workload: &Workload) -> PhaseReport {
    let address = stub::start(*manner);
    let target = Target::resolve(&format!("ws://{address}/ws")).expect("an address");
    let settings = Settings {
        threads: Some(2),
        // However busy the machine is: it ends as soon as all has come.
        drain_seconds: 60.0,
        lateness_max_us: 60_000_000,
        ..Settings::new(target, DialectName::Ringroom)
    };
    run::phase(&settings.shared(), workload).expect("it runs").0
}

/// What is said of it.
fn text(phase: PhaseReport) -> String {
    text::render(&Report { phases: vec![phase], ..Report::default() })
}

#[test]
fn a_rate_that_is_not_reached_is_told() {
    // Each of a handful can do two or so in a second, and hundreds are asked for.
    let rooms = Fanout { members: 6, rate: 20.0, seconds: 1.5, ..Fanout::default() };
    let churn = Churn { connections: 5, rate: 200.0, seconds: 1.5, ..Churn::default() };
    for (workload, word) in [
        (Workload::Churn(churn), "renewals"),
        (Workload::Chat(Chat { fanout: rooms.clone(), commands: 200.0 }), "commands"),
        (Workload::Resume(Resume { fanout: rooms, cuts: 200.0, ..Resume::default() }), "cuts"),
    ] {
        let late = Manner { answers_late: Duration::from_millis(400), ..Manner::default() };
        let report = phase(&late, &workload);
        let missed = report.totals.missed;
        let due = missed + report.totals.turns;
        assert!(
            (250..=302).contains(&due) && report.totals.turns > 3,
            "{word}: {:?}",
            report.totals
        );
        let reason = format!("{missed} {word} were due and not made");
        assert!(report.invalid.iter().any(|it| it.starts_with(&reason)), "{:?}", report.invalid);
        let told = text(report);
        assert!(told.contains("/s of 200/s asked for ("), "{told}");
    }
}

/// Rooms of three at several servers, of which one is dead: nobody opens who is to use that.
fn fanout_with_one_dead(dead: usize) -> PhaseReport {
    let mut servers = vec![
        Target::resolve(&format!("ws://{}/ws", stub::start(Manner::default())))
            .expect("an address");
        3
    ];
    servers[dead].address.set_port(1);
    let settings = Settings {
        others: servers.split_off(1),
        threads: Some(2),
        connect_seconds: 10.0,
        ..Settings::new(servers.remove(0), DialectName::Ringroom)
    };
    let fanout = Fanout { rooms: 4, members: 3, seconds: 0.2, ..Fanout::default() };
    run::phase(&settings.shared(), &Workload::Fanout(fanout)).expect("it runs").0
}

#[test]
fn publishers_use_the_first_server_and_listeners_the_others_in_turn() {
    let reports = [0, 1, 2].map(fanout_with_one_dead);
    // Publishers hear themselves, and that is not timed.
    for report in &reports[1..] {
        let (timed, received) = (report.latency.count, report.totals.received);
        assert!(0 < timed && timed * 2 <= received, "{timed} of {received}");
    }
    let totals = reports.map(|report| report.totals);
    assert_eq!(totals.each_ref().map(|totals| totals.opened), [8; 3]);
    assert_eq!(totals.each_ref().map(|totals| totals.sent > 0), [false, true, true]);
}

fn rooms() -> Fanout {
    Fanout { members: 12, publishers: 1, rate: 100.0, seconds: 1.5, ..Fanout::default() }
}

#[test]
fn hold_joins_and_holds() {
    let report = run(&Workload::Hold(Hold { connections: 40, seconds: 0.3, members: 4 }));
    assert_eq!(report.held, 40);
    assert_eq!(report.totals.answered, 40);
}

#[test]
fn storm_times_every_handshake() {
    let report = run(&Workload::Storm(Storm { connections: 60, seconds: 0.1 }));
    assert_eq!(report.handshake.count, 60);
    assert!(report.connect_seconds > 0.0);
}

#[test]
fn churn_ends_connections_and_makes_them_anew() {
    let churn = Churn { connections: 20, rate: 50.0, cut_every: 3, seconds: 1.5 };
    let report = run(&Workload::Churn(churn));
    assert!(report.totals.closed > 20, "{:?}", report.totals);
    assert!(report.totals.opened > 40, "{:?}", report.totals);
    assert_eq!(report.totals.dropped, 0);
    // What came anew is no part of how fast the first of them came.
    assert_eq!((report.connected, report.totals.refused), (20, 0));
    let anew = report.totals.opened - 20;
    let told = text(report);
    assert!(told.contains("  connections   20 opened in "), "{told}");
    assert!(told.contains(&format!(" ({anew} in all)\n")), "{told}");
}

#[test]
fn chat_comes_and_goes_without_a_fault() {
    let report = run(&Workload::Chat(Chat { fanout: rooms(), commands: 60.0 }));
    // Joins at the start are answers, too; the rest are comings, goings and questions.
    assert!(report.totals.answered > 60, "{:?}", report.totals);
    assert!(report.totals.turns > 50, "{:?}", report.totals);
    assert!(report.totals.received > 500, "{:?}", report.totals);
}

#[test]
fn resume_takes_up_where_it_ended() {
    let resume = Resume { fanout: rooms(), cuts: 20.0, ..Resume::default() };
    let report = run(&Workload::Resume(resume));
    assert!(report.totals.resumed > 5, "{:?}", report.totals);
    assert_eq!(report.totals.received, report.totals.sent * 12);
}

#[test]
fn slow_consumers_do_not_spoil_the_books_of_others() {
    let report = run(&Workload::Slow(Slow { fanout: rooms(), slow: 3 }));
    assert_eq!(report.totals.received, report.totals.sent * 9);
}
