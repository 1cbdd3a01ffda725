//! One invocation: options to phases, phases to reports.

use std::error::Error;
use std::fs;
use std::io::{self, Write};

use crate::cli::Cli;
use crate::net::runtime::Backend;
use crate::report::{Report, text};
use crate::run;
use crate::scenario::Workload;
use crate::scenario::hold::Hold;

/// Does what the command line says. `Ok(false)`: done, but not to be believed.
pub fn execute(cli: &Cli) -> Result<bool, Box<dyn Error>> {
    let settings = cli.common.settings()?.shared();
    let workloads = match &cli.scenario {
        Some(workload) => vec![workload.clone()],
        None => canonical(),
    };
    let mut report = Report::new(&settings);
    for workload in &workloads {
        let (phase, backend) = run::phase(&settings, workload)?;
        report.backend = backend.to_string();
        report.phases.push(phase);
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text::render(&report).as_bytes())?;
    if let Some(path) = &cli.common.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(report.is_valid())
}

/// What runs when nothing is asked for.
fn canonical() -> Vec<Workload> {
    vec![Workload::Hold(Hold { connections: 1_000, seconds: 5.0, members: 0 })]
}

impl Report {
    fn new(settings: &crate::plan::Settings) -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: std::env::args().collect(),
            url: settings.target.url.clone(),
            dialect: settings.dialect.to_string(),
            unix_seconds: unix.map_or(0, |since| since.as_secs()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| String::new(), |release| release.trim().to_owned()),
            machine_cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            backend: Backend::Deferred.to_string(),
            phases: Vec::new(),
        }
    }
}
