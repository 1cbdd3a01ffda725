//! What a phase may ask for: everything ends, and nothing is more than this tool or a machine holds.

use std::fmt;

use crate::payload::{PUBLISHERS_MAX, STAMP_LEN};
use crate::plan::Settings;
use crate::scenario::Plan;

/// Longest time of any kind.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Most connections.
const CONNECTIONS_MAX: u64 = 1 << 22;
/// Most pairs of a member and a publisher it hears: each takes 16 bytes.
const PAIRS_MAX: u64 = 1 << 26;
/// Largest payload: with what a dialect puts around it, a server's message may have 16 MiB.
const SIZE_MAX: u64 = (16 << 20) - 4_096;
/// Most in flight for each connection of a closed loop.
const IN_FLIGHT_MAX: u64 = 100_000;
/// Highest rate of anything, a second.
const RATE_MAX: f64 = 1e9;
/// Most connections begun in a second.
const CONNECT_RATE_MAX: u64 = 1_000_000_000;
/// Most threads.
const THREADS_MAX: u64 = 1_024;

/// Something beyond its bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum OutOfBounds {
    /// A number of things.
    Count {
        /// Of what.
        what: &'static str,
        /// So many.
        count: u64,
        /// At least so many are needed …
        least: u64,
        /// … and at most so many allowed.
        most: u64,
    },
    /// A time or a rate, which need not even be a number.
    Measure {
        /// Of what.
        what: &'static str,
        /// That much.
        value: f64,
        /// Allowed at most.
        most: f64,
    },
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { what, count, least, most } => {
                write!(out, "{what}: {count}, where {least} to {most} are allowed")
            }
            Self::Measure { what, value, most } => {
                write!(out, "{what}: {value}, where 0 to {most} are allowed")
            }
        }
    }
}

impl std::error::Error for OutOfBounds {}

impl OutOfBounds {
    /// What is beyond them.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::Count { what, .. } | Self::Measure { what, .. } => what,
        }
    }
}

/// Whether all that `settings` and `plan` ask for is within bounds.
pub fn check(settings: &Settings, plan: &dyn Plan) -> Result<(), OutOfBounds> {
    for (what, value) in [
        ("seconds", plan.seconds()),
        ("--warmup", settings.warmup_seconds),
        ("--drain", settings.drain_seconds),
        ("--connect-within", settings.connect_seconds),
    ] {
        measure(what, value, SECONDS_MAX)?;
    }
    for (what, value) in plan.rates() {
        measure(what, value, RATE_MAX)?;
    }
    let timeout_seconds = settings.connect_timeout_us / 1_000_000;
    count("--connect-timeout", timeout_seconds, 0, 86_400)?;
    let threads = settings.threads.map_or(1, |threads| threads as u64);
    count("--threads", threads, 1, THREADS_MAX)?;
    count("--connect-rate", settings.connect_rate.unwrap_or(1), 1, CONNECT_RATE_MAX)?;
    count("connections", plan.peers() as u64, 1, CONNECTIONS_MAX)?;
    count("publishers", plan.publishers() as u64, 0, PUBLISHERS_MAX)?;
    count("pairs of member and publisher", plan.pairs() as u64, 0, PAIRS_MAX)?;
    count("bytes of a payload", plan.size() as u64, STAMP_LEN as u64, SIZE_MAX)?;
    let in_flight = plan.in_flight().map_or(1, u64::from);
    count("in flight", in_flight, 1, IN_FLIGHT_MAX)
}

fn count(what: &'static str, count: u64, least: u64, most: u64) -> Result<(), OutOfBounds> {
    let within = (least..=most).contains(&count);
    if within { Ok(()) } else { Err(OutOfBounds::Count { what, count, least, most }) }
}

fn measure(what: &'static str, value: f64, most: f64) -> Result<(), OutOfBounds> {
    // What is no number is in no range.
    let within = (0.0..=most).contains(&value);
    if within { Ok(()) } else { Err(OutOfBounds::Measure { what, value, most }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use clap::Parser;

    use super::*;
    use crate::cli::{Action, Cli};

    /// What the bounds say of a command line.
    fn judged(line: &str) -> Result<(), String> {
        let words = std::iter::once("ringroom-loadgen").chain(line.split(' '));
        let cli = Cli::try_parse_from(words).unwrap();
        let Some(Action::One(workload)) = &cli.action else { panic!("a scenario: {line}") };
        let settings = cli.common.settings().unwrap();
        check(&settings, workload.plan()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn every_scenario_is_bounded_in_time_and_count() {
        let table = [
            ("hold --seconds nan", "seconds: NaN"),
            ("hold --seconds inf", "seconds: inf"),
            ("hold --seconds 1e30", "seconds: 1000000000000000000000000000000"),
            ("hold --seconds=-1", "seconds: -1"),
            ("hold -n 0", "connections: 0, where 1 to 4194304"),
            ("hold -n 4194305", "connections: 4194305"),
            ("storm --seconds nan", "seconds: NaN"),
            ("storm -n 9999999999", "connections: 9999999999"),
            ("echo --seconds nan", "seconds: NaN"),
            ("echo --rate nan", "--rate: NaN"),
            ("echo --rate inf", "--rate: inf"),
            ("echo --size 29", "bytes of a payload: 29, where 30 to 16773120"),
            ("echo --size 99999999999", "bytes of a payload: 99999999999"),
            ("echo --in-flight 0", "in flight: 0"),
            ("echo --in-flight 4000000000", "in flight: 4000000000"),
            ("fanout --seconds 86401", "seconds: 86401, where 0 to 86400"),
            ("fanout --rate=-5", "--rate: -5"),
            ("fanout --members 0", "connections: 0"),
            ("fanout --rooms 9999999999 --members 9999999999", "connections: 18446744073709551615"),
            ("fanout --members 9000 --publishers 9000", "pairs of member and publisher: 81000000"),
            ("chat --commands inf", "--commands: inf"),
            ("chat --seconds nan", "seconds: NaN"),
            ("churn --rate nan", "--rate: NaN"),
            ("churn --seconds inf", "seconds: inf"),
            ("resume --cuts 1e10", "--cuts: 10000000000, where 0 to 1000000000"),
            ("slow --seconds 1e30", "seconds: 1"),
            ("hold --warmup nan", "--warmup: NaN"),
            ("hold --drain inf", "--drain: inf"),
            ("hold --connect-within 1e30", "--connect-within: 1"),
            ("hold --connect-timeout 18446744073709551615", "--connect-timeout: "),
            ("hold --connect-rate 0", "--connect-rate: 0, where 1 to 1000000000"),
            ("hold --threads 0", "--threads: 0"),
            ("hold --threads 100000", "--threads: 100000"),
        ];
        for (line, words) in table {
            let refused = judged(line).expect_err(line);
            assert!(refused.starts_with(words), "{line}: {refused}");
        }
    }

    #[test]
    fn the_commands_of_the_page_can_be_run_on_a_host_as_it_comes() {
        // Ports of one address, by the kernel's default.
        const PORTS: usize = 28_232;
        let mut seen = 0;
        for line in include_str!("../README.md").lines() {
            let Some((command, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'))
            else {
                continue;
            };
            // A scenario alone is the name of a section.
            if !command.contains(' ') {
                continue;
            }
            let words = command.split(' ').filter(|word| *word != "…");
            let words = std::iter::once("ringroom-loadgen").chain(words);
            let Ok(Cli { action: Some(Action::One(workload)), common }) =
                Cli::try_parse_from(words)
            else {
                continue;
            };
            let settings = common.settings().unwrap();
            assert_eq!(check(&settings, workload.plan()), Ok(()), "{command}");
            let addresses = settings.sources.0.len().max(1);
            assert!(workload.plan().peers() <= addresses * PORTS, "{command}");
            seen += 1;
        }
        assert_eq!(seen, 8, "one for each scenario");
    }

    #[test]
    fn defaults_and_edges_are_allowed() {
        for line in [
            "hold",
            "storm",
            "echo",
            "fanout",
            "chat",
            "churn",
            "resume",
            "slow",
            "hold -n 4194304 --seconds 86400 --threads 1024",
            "echo --size 30 --in-flight 1 --rate 0",
            "echo --size 16773120 --warmup 0 --drain 0 --connect-within 0 --connect-timeout 0",
            "fanout --members 8192 --publishers 8192",
        ] {
            assert_eq!(judged(line), Ok(()), "{line}");
        }
    }
}
