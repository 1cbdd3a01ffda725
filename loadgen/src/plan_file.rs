//! Plans of several phases, in TOML.
//!
//! A mistake is told with its file, its line and its key: each key of a phase is tried by itself, in
//! the place of its default.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::bounds::SECONDS_MAX;
use crate::run::RunError;
use crate::scenario::Workload;

/// Phases of one plan at most.
const PHASES_MAX: usize = 64;

/// A phase, and where it stands.
#[derive(Debug)]
pub struct Planned {
    /// What it is to do.
    pub workload: Workload,
    title: Title,
    line: usize,
    lines: BTreeMap<String, usize>,
}

impl Planned {
    /// A mistake that shows only beside the options of the command line.
    #[must_use]
    pub fn refused(&self, file: &Path, error: RunError) -> PlanError {
        let key = error.option().map(|option| option.trim_start_matches('-').replace('-', "_"));
        let line = key.and_then(|key| self.lines.get(&key)).copied();
        let wrong = Wrong::Refused(self.title.clone(), Box::new(error));
        Mistake { line: line.unwrap_or(self.line), wrong }.of(file)
    }
}

/// Why a plan is none.
#[derive(Debug)]
pub enum PlanError {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// There is a mistake in it.
    Mistake(PathBuf, Mistake),
}

/// What is wrong, and on which line.
#[derive(Debug)]
pub struct Mistake {
    line: usize,
    wrong: Wrong,
}

/// How people find a phase.
#[derive(Clone, Debug)]
struct Title {
    number: usize,
    scenario: String,
}

#[derive(Debug)]
enum Wrong {
    /// It is no TOML.
    Syntax(String),
    /// Something beside the phases.
    Stray(String),
    /// It has no phase, or too many.
    Phases(usize),
    /// Its phases together would take too long, or their times are no times.
    Seconds(f64),
    /// A phase without a scenario, or with one that is none.
    Scenario(usize, Option<String>),
    /// A key that the scenario does not know, and those it does.
    Key(Title, String, Vec<String>),
    /// A value that the key does not take.
    Value(Title, String, String),
    /// What cannot be run.
    Refused(Title, Box<RunError>),
}

impl fmt::Display for PlanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(out, "{}: {error}", file.display()),
            Self::Mistake(file, mistake) => {
                write!(out, "{}:{}: {}", file.display(), mistake.line, mistake.wrong)
            }
        }
    }
}

impl fmt::Display for Title {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "phase {} ({})", self.number, self.scenario)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(why) => out.write_str(why),
            Self::Stray(key) => write!(out, "`{key}`: a plan holds `[[phase]]` and nothing else"),
            Self::Phases(count) => write!(out, "{count} phases: 1 to {PHASES_MAX} are allowed"),
            Self::Seconds(seconds) => {
                write!(out, "{seconds} s in all: 0 to {SECONDS_MAX} are allowed")
            }
            Self::Scenario(number, name) => {
                match name {
                    Some(name) => write!(out, "phase {number}: `{name}` is no scenario")?,
                    None => write!(out, "phase {number} names no `scenario`")?,
                }
                write!(out, "; there are {}", Workload::names().join(", "))
            }
            Self::Key(title, key, known) => {
                write!(out, "{title}: no option `{key}`; there are {}", known.join(", "))
            }
            Self::Value(title, key, why) => write!(out, "{title}: `{key}`: {why}"),
            Self::Refused(title, error) => write!(out, "{title}: {error}"),
        }
    }
}

impl std::error::Error for PlanError {}

impl Mistake {
    fn of(self, file: &Path) -> PlanError {
        PlanError::Mistake(file.to_owned(), self)
    }
}

/// Reads the phases of a plan.
pub fn read(file: &Path) -> Result<Vec<Planned>, PlanError> {
    let text =
        fs::read_to_string(file).map_err(|error| PlanError::Unreadable(file.to_owned(), error))?;
    parse(&text).map_err(|mistake| mistake.of(file))
}

fn parse(text: &str) -> Result<Vec<Planned>, Mistake> {
    let line = |span: Range<usize>| 1 + text[..span.start].matches('\n').count();
    let syntax = |error: toml::de::Error| Mistake {
        line: error.span().map_or(1, line),
        wrong: Wrong::Syntax(error.message().to_owned()),
    };
    let places = DeTable::parse(text).map_err(syntax)?;
    let values: Table = text.parse().map_err(syntax)?;
    for (key, _) in places.get_ref() {
        if key.get_ref() != "phase" {
            let wrong = Wrong::Stray(key.get_ref().to_string());
            return Err(Mistake { line: line(key.span()), wrong });
        }
    }
    let places = places.get_ref().get("phase").map(Spanned::get_ref);
    let (Some(DeValue::Array(places)), Some(Value::Array(values))) = (places, values.get("phase"))
    else {
        return Err(Mistake { line: 1, wrong: Wrong::Phases(0) });
    };
    if !(1..=PHASES_MAX).contains(&values.len()) {
        return Err(Mistake { line: 1, wrong: Wrong::Phases(values.len()) });
    }
    let mut phases = Vec::new();
    for (index, (place, value)) in places.iter().zip(values).enumerate() {
        let (DeValue::Table(keys), Value::Table(values)) = (place.get_ref(), value) else {
            return Err(Mistake { line: line(place.span()), wrong: Wrong::Phases(0) });
        };
        let lines = keys.keys().map(|key| (key.get_ref().to_string(), line(key.span())));
        phases.push(phase(index + 1, values, line(place.span()), lines.collect())?);
    }
    let seconds: f64 = phases.iter().map(|phase| phase.workload.plan().seconds()).sum();
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(Mistake { line: 1, wrong: Wrong::Seconds(seconds) });
    }
    Ok(phases)
}

/// One phase: the scenario's defaults, and over them what the plan says.
fn phase(
    number: usize,
    values: &Table,
    line: usize,
    lines: BTreeMap<String, usize>,
) -> Result<Planned, Mistake> {
    let at = |key: &str| lines.get(key).copied().unwrap_or(line);
    let name = values.get("scenario").map(|name| name.as_str().unwrap_or("").to_owned());
    let Some(defaults) = name.as_deref().and_then(Workload::named) else {
        return Err(Mistake { line: at("scenario"), wrong: Wrong::Scenario(number, name) });
    };
    let title = Title { number, scenario: defaults.plan().name().to_owned() };
    let known = options(&defaults);
    let defaults = Table::try_from(&defaults).expect("options are numbers and words");
    let with = |table: &Table, key: &str, value: &Value| {
        let mut table = table.clone();
        table.insert(key.to_owned(), value.clone());
        table
    };
    let mut all = defaults.clone();
    for (key, value) in values.iter().filter(|(key, _)| *key != "scenario") {
        let wrong = if !known.contains(key) {
            Wrong::Key(title.clone(), key.clone(), known.clone())
        } else if let Err(error) = Workload::deserialize(with(&defaults, key, value)) {
            Wrong::Value(title.clone(), key.clone(), error.message().to_owned())
        } else {
            all = with(&all, key, value);
            continue;
        };
        return Err(Mistake { line: at(key), wrong });
    }
    let workload = Workload::deserialize(all).map_err(|error| Mistake {
        line,
        wrong: Wrong::Value(title.clone(), "scenario".to_owned(), error.message().to_owned()),
    })?;
    Ok(Planned { workload, title, line, lines })
}

/// The keys that a scenario knows: what its defaults have, those without a value too.
fn options(defaults: &Workload) -> Vec<String> {
    let value = serde_json::to_value(defaults).expect("options are numbers and words");
    let keys = value.as_object().expect("a scenario has options").keys();
    keys.filter(|key| *key != "scenario").cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    const SCENARIOS: [&str; 8] =
        ["storm", "hold", "echo", "fanout", "chat", "churn", "resume", "slow"];

    #[test]
    fn these_are_all_scenarios() {
        let mut names = Workload::names();
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
        let names: Vec<_> = phases.iter().map(|phase| phase.workload.plan().name()).collect();
        assert_eq!(names, SCENARIOS);
        assert_eq!(phases[0].workload.plan().peers(), 7);
        assert!(phases[2].workload.plan().is_closed_loop());
        assert_eq!(phases[4].workload.plan().peers(), 27);
    }

    #[test]
    fn a_mistake_is_told_with_its_line_its_key_and_what_would_be_right() {
        let table = [
            ("conections = 5", "phase 2 (echo): no option `conections`; there are connections, "),
            ("size = \"x\"", "phase 2 (echo): `size`: invalid type: string \"x\", expected usize"),
            ("connections = -1", "phase 2 (echo): `connections`: invalid value: integer `-1`"),
        ];
        for (key, told) in table {
            let text = format!(
                "[[phase]]\nscenario = \"storm\"\n\n[[phase]]\nscenario = \"echo\"\n{key}\n"
            );
            assert_mistake(&text, 6, told);
        }
        let tables = [
            ("", 1, "0 phases: 1 to 64"),
            ("phase = []", 1, "0 phases: 1 to 64"),
            ("\n[[phase]", 2, ""),
            ("[[phase]]\nscenario = \"hold\"\n[other]\n", 3, "`other`: a plan holds `[[phase]]`"),
            ("[[phase]]\nscenario = \"dance\"", 2, "phase 1: `dance` is no scenario; there are "),
            ("\n[[phase]]\nrate = 2", 2, "phase 1 names no `scenario`; there are "),
            ("[[phase]]\nscenario = \"resume\"\nby = \"luck\"", 3, "phase 1 (resume): `by`: "),
            ("[[phase]]\nscenario = \"hold\"\nseconds = 1e9", 1, "1000000000 s in all"),
        ];
        for (text, line, told) in tables {
            assert_mistake(text, line, told);
        }
    }

    fn assert_mistake(text: &str, line: usize, told: &str) {
        let error = parse(text).unwrap_err().of(Path::new("a.toml")).to_string();
        assert!(error.starts_with(&format!("a.toml:{line}: {told}")), "{text}: {error}");
    }

    #[test]
    fn what_no_scenario_knows_is_refused_by_all_of_them() {
        for name in SCENARIOS {
            let phase = format!("[[phase]]\nscenario = \"{name}\"\nseconds = 1\n");
            assert_eq!(parse(&phase).unwrap()[0].workload.plan().seconds(), 1.0, "{name}");
            assert_mistake(
                &format!("{phase}conections = 5\n"),
                4,
                &format!("phase 1 ({name}): no"),
            );
        }
    }

    #[test]
    fn what_is_beyond_bounds_is_told_where_it_stands() {
        let text = "[[phase]]\nscenario = \"echo\"\nsize = 40\nrate = inf\n";
        let phase = &parse(text).unwrap()[0];
        let target = crate::target::Target::resolve("ws://127.0.0.1:1/").unwrap();
        let settings = crate::plan::Settings::new(target, crate::dialect::DialectName::Raw);
        let error = crate::run::check(&settings, &phase.workload).unwrap_err();
        let told = phase.refused(Path::new("a.toml"), error).to_string();
        assert!(told.starts_with("a.toml:4: phase 1 (echo): --rate: inf, where 0 to "), "{told}");
    }
}
