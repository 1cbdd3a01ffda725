//! Findings, for people and for machines.
//!
//! Invariant: the names of the JSON fields and the words of [`Verdict`] are a contract with
//! scripts that read them.

use std::fmt;

use serde::Serialize;

/// What is said of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: a sysctl by its name, a limit, a feature.
    pub subject: &'static str,
    /// Whether it suffices.
    pub verdict: Verdict,
    /// What is there.
    pub found: String,
    /// What is wanted for as many connections as were asked for.
    pub wanted: String,
    /// What its shortage costs; empty if there is none.
    pub cost: String,
    /// The command that mends it; empty if there is nothing to mend.
    pub mend: String,
}

/// Whether something suffices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Ok,
    /// It does not, and the server works all the same, only worse.
    Advice,
    /// It does not, and that many connections cannot be held.
    Short,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Advice => "advice",
            Self::Short => "SHORT",
        }
    }
}

/// Everything that is said of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Judged for this many connections.
    pub connections: u64,
    /// On this many cores.
    pub cores: u64,
    /// Whether nothing essential is short.
    pub sufficient: bool,
    /// One for each subject.
    pub findings: Vec<Finding>,
}

impl Report {
    /// For machines.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain strings and numbers")
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
        writeln!(f, "For {} connections on {} core threads:\n", self.connections, self.cores)?;
        for finding in &self.findings {
            let Finding { subject, verdict, found, wanted, cost, mend } = finding;
            writeln!(f, "{subject:width$}  {:6}  {found} (wanted: {wanted})", verdict.word())?;
            for (label, text) in [("costs", cost), ("mend", mend)] {
                if !text.is_empty() {
                    writeln!(f, "{:width$}  {label:6}  {text}", "")?;
                }
            }
        }
        let short = self.findings.iter().filter(|finding| finding.verdict == Verdict::Short);
        match short.count() {
            0 => writeln!(f, "\nNothing essential is short."),
            count => writeln!(f, "\nEssential and short: {count}."),
        }
    }
}
