//! Plans of several phases, in TOML.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::bounds::SECONDS_MAX;
use crate::scenario::Workload;

/// Phases of one plan at most.
const PHASES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    phase: Vec<Workload>,
}

/// Why a plan is none.
#[derive(Debug)]
pub enum PlanError {
    /// It cannot be read.
    Io(io::Error),
    /// It is no TOML, or holds what no scenario knows.
    Syntax(toml::de::Error),
    /// It has no phase, or too many.
    Phases(usize),
    /// Its phases together would take too long, or their times are no times.
    Seconds(f64),
}

impl fmt::Display for PlanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(out),
            Self::Syntax(error) => error.fmt(out),
            Self::Phases(count) => write!(out, "{count} phases: 1 to {PHASES_MAX} are allowed"),
            Self::Seconds(seconds) => {
                write!(out, "{seconds} s in all: 0 to {SECONDS_MAX} are allowed")
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// Reads the phases of a plan.
pub fn read(path: &Path) -> Result<Vec<Workload>, PlanError> {
    parse(&fs::read_to_string(path).map_err(PlanError::Io)?)
}

fn parse(text: &str) -> Result<Vec<Workload>, PlanError> {
    let file: File = toml::from_str(text).map_err(PlanError::Syntax)?;
    if !(1..=PHASES_MAX).contains(&file.phase.len()) {
        return Err(PlanError::Phases(file.phase.len()));
    }
    let seconds: f64 = file.phase.iter().map(|phase| phase.plan().seconds()).sum();
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(PlanError::Seconds(seconds));
    }
    Ok(file.phase)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use clap::{Command, Subcommand};

    use super::*;

    const SCENARIOS: [&str; 8] =
        ["storm", "hold", "echo", "fanout", "chat", "churn", "resume", "slow"];

    #[test]
    fn these_are_all_scenarios() {
        let command = Workload::augment_subcommands(Command::new("every"));
        let mut names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        let mut expected = SCENARIOS;
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn every_scenario_has_defaults_and_takes_options() {
        let text = r#"
            [[phase]]
            scenario = "storm"
            connections = 7
            [[phase]]
            scenario = "hold"
            [[phase]]
            scenario = "echo"
            in_flight = 2
            [[phase]]
            scenario = "fanout"
            [[phase]]
            scenario = "chat"
            rooms = 3
            members = 9
            [[phase]]
            scenario = "churn"
            [[phase]]
            scenario = "resume"
            by = "session"
            [[phase]]
            scenario = "slow"
            slow = 1
        "#;
        let phases = parse(text).unwrap();
        let names: Vec<_> = phases.iter().map(|phase| phase.plan().name()).collect();
        assert_eq!(names, SCENARIOS);
        assert_eq!(phases[0].plan().peers(), 7);
        assert!(phases[2].plan().is_closed_loop());
        assert_eq!(phases[4].plan().peers(), 27);
    }

    #[test]
    fn what_no_scenario_knows_is_refused() {
        for bad in [
            "",
            "phase = []",
            "[[phase]]\nscenario = \"dance\"",
            "[[phase]]\nscenario = \"hold\"\nseconds = 1e9",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for name in SCENARIOS {
            let phase = format!("[[phase]]\nscenario = \"{name}\"\nseconds = 1.0\n");
            assert!(parse(&phase).is_ok(), "{name}");
            let refused = parse(&format!("{phase}conections = 5\n")).expect_err(name);
            assert!(refused.to_string().contains("conections"), "{name}: {refused}");
        }
    }
}
