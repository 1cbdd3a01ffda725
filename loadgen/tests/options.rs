//! Options that say how connections are made and what is looked at meanwhile: each does what it says.

mod stub;
mod upgrade;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use ringroom_loadgen::dialect::DialectName;
use ringroom_loadgen::plan::Settings;
use ringroom_loadgen::report::PhaseReport;
use ringroom_loadgen::run;
use ringroom_loadgen::scenario::Workload;
use ringroom_loadgen::scenario::echo::Echo;
use ringroom_loadgen::scenario::storm::Storm;
use ringroom_loadgen::target::Target;
use stub::Manner;

const BINARY: &str = env!("CARGO_BIN_EXE_ringroom-loadgen");

/// How a server is that takes connections and says nothing.
#[derive(Clone, Copy, Default)]
struct Quiet {
    /// CPU time that it takes for each handshake.
    handshake: Duration,
    /// Whether it does not answer a close either.
    deaf: bool,
}

/// Starts it; a descriptor a connection. It tells where each comes from.
fn start(quiet: Quiet) -> (SocketAddr, Receiver<IpAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (told, sources) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            work(quiet.handshake);
            if upgrade::accept(&mut stream, "").is_none() {
                continue;
            }
            let _ = told.send(stream.peer_addr().expect("connected").ip());
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while matches!(stream.read(&mut bytes), Ok(1..)) && quiet.deaf {}
            });
        }
    });
    (address, sources)
}

/// Keeps the calling thread busy for so much CPU time, however long that takes.
fn work(time: Duration) {
    let used_ns = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel that counts");
        text.split(' ').next().and_then(|word| word.parse::<u128>().ok()).expect("a number")
    };
    let until_ns = used_ns() + time.as_nanos();
    while !time.is_zero() && used_ns() < until_ns {}
}

fn run(
    address: SocketAddr,
    workload: &Workload,
    change: impl FnOnce(&mut Settings),
) -> PhaseReport {
    let target = Target::resolve(&format!("ws://{address}/")).expect("an address");
    let mut settings = Settings {
        threads: Some(2),
        drain_seconds: 60.0,
        lateness_max_us: 60_000_000,
        ..Settings::new(target, DialectName::Raw)
    };
    change(&mut settings);
    run::phase(&settings.shared(), workload).expect("it runs").0
}

fn storm(connections: usize) -> Workload {
    Workload::Storm(Storm { connections, seconds: 0.05 })
}

#[test]
fn what_is_measured_of_a_storm_is_the_storm() {
    let (address, _) = start(Quiet { handshake: Duration::from_millis(20), deaf: false });
    let report =
        run(address, &storm(30), |settings| settings.server_pid = Some(std::process::id()));
    assert_eq!((report.measured.opened, report.connected, report.held), (30, 30, 30));
    // The server is this process, and works for 0.6 s while they connect; the 0.05 s afterwards are not in it.
    let server = report.server.expect("a process that lives");
    for share in [report.generator, server] {
        assert!(share.cpu_ns > 500_000_000, "{share:?}");
    }
    let (measured, connecting) = (report.seconds, report.connect_seconds);
    assert!(connecting > 0.5 && measured >= connecting, "{measured} {connecting}");
}

#[test]
fn connections_come_from_all_sources_in_turn() {
    let (address, sources) = start(Quiet::default());
    let report = run(address, &storm(30), |settings| {
        settings.sources = "127.0.0.2-127.0.0.4".parse().expect("addresses");
    });
    assert_eq!(report.connected, 30);
    let mut counts = HashMap::new();
    for source in sources.iter().take(30) {
        *counts.entry(source.to_string()).or_insert(0) += 1;
    }
    let expected = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|source| (source.to_owned(), 10));
    assert_eq!(counts, HashMap::from(expected));
}

#[test]
fn connections_begin_at_their_rate() {
    let (address, _) = start(Quiet::default());
    let report = run(address, &storm(20), |settings| settings.connect_rate = Some(40));
    // On either of two threads ten, 50 ms apart.
    assert!(report.connect_seconds > 0.44, "{}", report.connect_seconds);
    // Timed from its turn, none of them waited for it.
    assert!(report.handshake.p50 < 400_000, "{:?}", report.handshake);
}

#[test]
fn the_process_that_is_watched_is_the_one_that_was_named() {
    let (address, _) = start(Quiet::default());
    let mut idle = Command::new("sleep").arg("600").spawn().expect("it can be run");
    let report = run(address, &storm(5), |settings| settings.server_pid = Some(idle.id()));
    idle.kill().expect("ours");
    idle.wait().expect("ours");
    let server = report.server.expect("it lives");
    // It may still have been starting for a tick or two.
    assert!(server.cpu_ns <= 20_000_000, "{server:?}");
    assert!((1..report.generator.resident_bytes).contains(&server.resident_bytes), "{server:?}");
    assert_eq!(report.server_resident_before, Some(server.resident_bytes));
    let gone = run(address, &storm(5), |settings| settings.server_pid = Some(u32::MAX >> 1));
    assert_eq!(gone.server, None);
    assert!(gone.notes.iter().any(|note| note.contains("--server-pid")), "{:?}", gone.notes);
}

#[test]
fn a_rate_is_told_as_it_was_kept() {
    let address = stub::start(Manner::default());
    let echo = Echo { connections: 2, rate: 1_000.0, seconds: 1.0, ..Echo::default() };
    // One thread: where the machine is busy, two are late by different times.
    let report = run(address, &Workload::Echo(echo), |settings| settings.threads = Some(1));
    assert_eq!(report.invalid, [""; 0]);
    // What is measured begins with the load, and is counted to its end.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let rate = report.measured.sent as f64 / report.seconds;
    assert!((985.0..=1_015.0).contains(&rate), "{} in {}", report.measured.sent, report.seconds);
    assert!(report.seconds > 0.99, "{}", report.seconds);
    // Both ends are moments of the timetable.
    assert_eq!(report.totals.sent, 1_001);
}

#[test]
fn a_warm_up_is_in_no_figure() {
    let stall = Duration::from_secs(1);
    let address = stub::start(Manner { stall_at: 20, stall, ..Manner::default() });
    let echo = Echo { connections: 2, rate: 200.0, seconds: 0.5, ..Echo::default() };
    let report = run(address, &Workload::Echo(echo), |settings| settings.warmup_seconds = 2.5);
    assert_eq!(report.invalid, [""; 0]);
    // Verified is all of it, 600 messages; told is the last sixth.
    let (all, measured) = (report.totals.received, report.measured.received);
    assert!(all > measured + 300, "{all} {measured}");
    assert!(report.latency.count + 300 < all, "{all} {:?}", report.latency);
    assert!(report.seconds < 2.0, "{}", report.seconds);
    // The server stood still in the first second.
    assert!(report.latency.max < 700_000, "{:?}", report.latency);
}

#[test]
fn more_connections_than_one_descriptor_table_holds() {
    let (address, _) = start(Quiet::default());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tables.json");
    let url = format!("ws://{address}/");
    let shell = ["-c", "ulimit -n 200 && exec \"$0\" \"$@\"", BINARY];
    let hold = ["hold", "-n", "500", "--seconds", "0.2", "--dialect", "raw", "--quiet"];
    let output = Command::new("sh")
        .args(shell)
        .args(hold)
        .args(["--url", &url, "--json"])
        .arg(&file)
        .output()
        .expect("it can be run");
    let text = said(&output);
    assert!(output.status.success() && text.ends_with("\nVALID\n"), "{text}");
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(file).expect("written")).expect("it is JSON");
    let phase = &report["phases"][0];
    assert_eq!(phase["held"], 500);
    // 136 fit into each.
    assert!(phase["threads"].as_u64() >= Some(4), "{}", phase["threads"]);
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Holds three connections for ten minutes, and has held them for a second.
fn held(quiet: Quiet) -> Child {
    let (address, _) = start(quiet);
    let mut child = Command::new(BINARY)
        .args(["hold", "-n", "3", "--seconds", "600", "--dialect", "raw"])
        .args(["--url", &format!("ws://{address}/")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines();
    let open =
        |line: &std::io::Result<String>| line.as_ref().is_ok_and(|it| it.contains(" 3 open"));
    lines.by_ref().filter(open).nth(1).expect("a line a second").expect("text");
    child
}

fn interrupt(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(done.expect("it can be run").success());
}

#[test]
fn the_first_interrupt_ends_the_run_with_a_report() {
    let child = held(Quiet::default());
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    let text = said(&output);
    assert!(output.status.success(), "{:?} {text}", output.status);
    assert!(
        text.contains("3 held at the end") && text.contains("note          interrupted"),
        "{text}"
    );
}

#[test]
fn the_second_interrupt_ends_it_at_once() {
    let child = held(Quiet { deaf: true, ..Quiet::default() });
    interrupt(&child);
    // It waits for two seconds for somebody to answer that it closes.
    thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.signal(), &*output.stdout), (Some(2), &b""[..]));
}
