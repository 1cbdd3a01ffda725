//! The program as it is called: what it says, what it writes, and what it exits with.

mod stub;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stub::{Lie, Manner};

/// What a call came to.
struct Called {
    code: Option<i32>,
    out: String,
    err: String,
}

fn call(arguments: &[&str]) -> Called {
    let output = Command::new(env!("CARGO_BIN_EXE_ringroom-loadgen"))
        .args(arguments)
        .output()
        .expect("it can be run");
    Called {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/ws")
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

#[test]
fn a_sound_run_of_a_plan_exits_with_0_and_writes_its_reports() {
    let folder = folder("plan");
    let path = |name: &str| folder.join(name).to_str().expect("a path of ours").to_owned();
    let (plan, json, html) = (path("plan.toml"), path("report.json"), path("report.html"));
    let phases = r#"
        [[phase]]
        scenario = "storm"
        connections = 5
        seconds = 0.1

        [[phase]]
        scenario = "echo"
        connections = 2
        rate = 200.0
        seconds = 1.5
    "#;
    fs::write(&plan, phases).expect("the folder can be written");
    let url = url(stub::start(Manner::default()));
    // Whether the machine is busy is not what is tested.
    let patient = ["--url", &url, "--lateness-max-ms", "60000"];
    let reports = ["--json", &json, "--html", &html];
    let called = call(&[&patient[..], &reports, &["plan", &plan]].concat());
    assert_eq!(called.code, Some(0), "{}{}", called.out, called.err);
    assert!(called.out.ends_with("\nVALID\n"), "{}", called.out);
    for words in ["storm: ", "echo, open loop: ", "own memory ", "MiB resident"] {
        assert!(called.out.contains(words), "{words}: {}", called.out);
    }
    // Where there is no terminal, each second's progress is a line of its own.
    let line = called.err.lines().find(|line| line.contains(" open (")).expect("a line a second");
    for words in [" s  ", "/s out", "/s in", "p50 ", "p99 ", "faults 0", "CPU "] {
        assert!(line.contains(words), "{words}: {line}");
    }

    let report: Value =
        serde_json::from_slice(&fs::read(&json).expect("written")).expect("it is JSON");
    let phases = report["phases"].as_array().expect("phases");
    assert_eq!(phases.len(), 2);
    assert_eq!((&report["verdict"], &report["doubts"]), (&"VALID".into(), &Value::Array(vec![])));
    assert_eq!(phases[0]["totals"]["opened"], 5);
    let echoed = &phases[1]["totals"];
    assert!(echoed["sent"].as_u64() > Some(20) && echoed["sent"] == echoed["received"]);
    assert!(phases[1]["generator"]["resident_bytes"].as_u64() > Some(100_000));
    let second = &phases[1]["series"][0];
    assert!(second["generator_resident_bytes"].as_u64() > Some(100_000), "{second}");

    let page = fs::read_to_string(&html).expect("written");
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"), "{page}");
    for foreign in ["http:", "https:", "src=", "href=", "<link", "<script", "url(", "@import"] {
        assert!(!page.contains(foreign), "the page needs something else: {foreign}");
    }
    for chart in ["Latency", "Messages", "Connections open", "CPU", "Memory"] {
        assert!(page.contains(chart), "{chart}");
    }
}

#[test]
fn a_run_that_is_not_to_be_believed_exits_with_1() {
    let manner = Manner { lie: Lie::Lose, one_in: 20, ..Manner::default() };
    let url = url(stub::start(manner));
    let echo = ["echo", "-n", "2", "--rate", "200", "--seconds", "0.5"];
    let called = call(&[&["--url", &url, "--quiet", "--drain", "0.2"], &echo[..]].concat());
    assert_eq!(called.code, Some(1), "{}", called.out);
    assert!(called.out.contains("\nINVALID\n") && called.out.contains("messages lost"));
    assert_eq!(called.err, "");
}

#[test]
fn without_a_scenario_it_runs_all_three_and_says_that_nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = url(listener.local_addr().expect("bound"));
    drop(listener);
    let called = call(&["--url", &url, "--quiet"]);
    assert_eq!(called.code, Some(1), "{}", called.out);
    for words in ["storm: ", "echo, open loop: ", "fanout, open loop: ", "200 connections failed"] {
        assert!(called.out.contains(words), "{words}: {}", called.out);
    }
    // It measured nothing, so nothing was busy with it.
    assert!(!called.out.contains("% busy"), "{}", called.out);
}

#[test]
fn what_cannot_be_run_exits_with_2_and_says_why() {
    let plan = folder("refused").join("plan.toml");
    let second = "[[phase]]\nscenario = \"storm\"\n[[phase]]\nscenario = \"echo\"\nrate = inf\n";
    fs::write(&plan, second).expect("the folder can be written");
    let plan = plan.to_str().expect("a path of ours");
    let table: [(&[&str], &str); 17] = [
        (&["hold", "--seconds", "nan"], "seconds: NaN, where 0 to 86400 are allowed"),
        (&["hold", "--seconds", "1e30"], "seconds: 1"),
        (&["fanout", "--rooms", "9999999999", "--members", "9999999999"], "connections: "),
        (&["plan", plan], "plan.toml:5: phase 2 (echo): --rate: inf, where 0 to "),
        (&["plan", "no-such-plan.toml"], "no-such-plan.toml: No such file"),
        (&["resume", "--dialect", "raw"], "resume cannot be run in the dialect raw"),
        (&["chat", "--dialect", "raw-binary"], "which has no way to leave a room"),
        (&["hold", "--members", "5", "--dialect", "raw"], "which has no way to join a room"),
        (&["echo", "--dialect", "socket-io"], "which has no way to send to oneself"),
        (&["--url", "ws://192.0.2.1/", "storm"], "--yes-i-own-this-target"),
        (&["--url", "http://127.0.0.1/", "storm"], "ws:// or wss://"),
        (&["storm", "--cpus", "3-1"], "3-1 ends before it begins"),
        (&["storm", "--header", "bad"], "it must be like 'Name: value'"),
        (&["storm", "--server-pid", "999999999"], "--server-pid 999999999: there is no such"),
        (&["storm", "--connect-rate", "0"], "--connect-rate: 0, where 1 to 1000000000"),
        (&["storm", "--json", "/nowhere/at.json"], "/nowhere/at.json: No such file"),
        (&["dance"], "dance"),
    ];
    for (arguments, words) in table {
        let called = call(arguments);
        assert_eq!(called.code, Some(2), "{arguments:?}: {}{}", called.out, called.err);
        assert_eq!(called.out, "", "{arguments:?}");
        assert!(called.err.contains(words), "{arguments:?}: {}", called.err);
    }
}
