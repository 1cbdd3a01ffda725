//! Every number that a setting may be is one that a server starts with.

use std::process::Command;

use crate::client::head;
use crate::http::exchange;
use crate::server::Plan;

/// What a machine need not have, or a slow one cannot keep, and what only the test suite sets.
const LEFT_OUT: &[&str] = &[
    "cores.count",
    "cores.ring_entries",
    "handshake.deadline_ms",
    "handshake.http_idle_ms",
    "dev.oldest_form",
    "dev.newest_form",
];

/// Every setting that is a number, with the least and the greatest that it may be, as `print-config` says.
fn numbers() -> Vec<(String, u64, u64)> {
    let printed = Command::new(env!("CARGO_BIN_EXE_ringroom")).arg("print-config").output();
    let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
    let (mut section, mut bounds, mut numbers) = ("", None, Vec::new());
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let is_row = !line.starts_with("# Default") && line.contains(" =");
        match (bounds.take(), line.trim_start_matches("# ").split_once(" =")) {
            (Some((least, most)), Some((name, _))) if is_row => {
                numbers.push((format!("{section}.{name}"), least, most));
            }
            _ => bounds = line.rsplit_once("Takes: ").and_then(|(_, takes)| read(takes)),
        }
    }
    // A listener and a namespace are no sections.
    numbers.retain(|(path, ..)| !path.starts_with(['[', 'n']) && !LEFT_OUT.contains(&&**path));
    numbers
}

fn read(takes: &str) -> Option<(u64, u64)> {
    let mut words = takes.trim_end_matches('.').split(' ');
    let mut least = words.next()?;
    let mut next = words.next()?;
    if next == "or" {
        // 0 is off, and less is no more.
        least = words.next()?;
        next = words.next()?;
    }
    let most = (next == "to").then(|| words.next())??;
    Some((least.parse().ok()?, most.parse().ok()?))
}

#[test]
fn a_server_starts_with_every_setting_at_its_least_and_at_its_greatest() {
    let numbers = numbers();
    assert!(numbers.len() > 80, "{numbers:?}");
    let set = |value: fn(&(String, u64, u64)) -> u64| {
        let with =
            |plan: Plan, it: usize| plan.set(&format!("{}={}", numbers[it].0, value(&numbers[it])));
        (0..numbers.len()).fold(Plan::new(), with)
    };
    let least = set(|it| it.1).start();
    drop(least);
    let greatest = set(|it| it.2).start();
    // What a connection is given is asked for when it comes.
    let answer = exchange(greatest.address(), head("/echo", "").as_bytes());
    assert_eq!(answer.map(|answer| answer.status), Some(101));
}
