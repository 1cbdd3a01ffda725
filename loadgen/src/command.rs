//! One invocation: options to phases, phases to reports.

use std::error::Error;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::cli::{Action, Cli};
use crate::net::runtime::Backend;
use crate::net::signal;
use crate::plan::Settings;
use crate::plan_file;
use crate::report::{Report, html, text};
use crate::run::{self, INTERRUPTED};
use crate::scenario::Workload;
use crate::scenario::echo::Echo;
use crate::scenario::fanout::Fanout;
use crate::scenario::storm::Storm;

/// Does what the command line says. `Ok(false)`: done, but not to be believed.
pub fn execute(cli: &Cli) -> Result<bool, Box<dyn Error>> {
    let settings = cli.common.settings()?.shared();
    let workloads = workloads(cli, &settings)?;
    for path in outputs(cli) {
        check_writable(path).map_err(|error| NotWritten { path: path.clone(), error })?;
    }
    signal::listen();
    let mut report = Report::new(&settings);
    let mut failed = None;
    for workload in &workloads {
        match run::phase(&settings, workload) {
            Ok((phase, backend)) => {
                report.backend = backend.to_string();
                report.phases.push(phase);
            }
            Err(error) => failed = Some(error),
        }
        if failed.is_some() || INTERRUPTED.load(Ordering::Relaxed) {
            break;
        }
    }
    report.conclude(workloads.len(), failed.as_ref());
    // What has run is told, whatever came after it.
    if !report.phases.is_empty() {
        write(cli, &report)?;
    }
    failed.map_or_else(|| Ok(report.is_valid()), |error| Err(error.into()))
}

/// What to run. All of it is looked at before the first: what cannot be run to its end is not begun.
fn workloads(cli: &Cli, settings: &Settings) -> Result<Vec<Workload>, Box<dyn Error>> {
    let workloads = match &cli.action {
        Some(Action::Plan { file }) => {
            let plan = plan_file::read(file)?;
            for phase in &plan {
                let checked = run::check(settings, &phase.workload);
                checked.map_err(|error| phase.refused(file, error))?;
            }
            return Ok(plan.into_iter().map(|phase| phase.workload).collect());
        }
        Some(Action::One(workload)) => vec![workload.clone()],
        None => canonical(),
    };
    for workload in &workloads {
        run::check(settings, workload)?;
    }
    Ok(workloads)
}

/// Writes the report wherever it is wanted.
fn write(cli: &Cli, report: &Report) -> Result<(), Box<dyn Error>> {
    let said = io::stdout().lock().write_all(text::render(report).as_bytes());
    let mut written: Result<(), Box<dyn Error>> = said.map_err(Into::into);
    let pages = [
        (&cli.common.json, serde_json::to_vec_pretty(report)?),
        (&cli.common.html, html::render(report).into_bytes()),
    ];
    // One that cannot be written does not cost the other.
    for (path, page) in pages {
        if let Some(path) = path
            && let Err(error) = fs::write(path, page)
        {
            written = Err(NotWritten { path: path.clone(), error }.into());
        }
    }
    written
}

/// Where reports go beside the terminal.
fn outputs(cli: &Cli) -> impl Iterator<Item = &PathBuf> {
    cli.common.json.iter().chain(&cli.common.html)
}

/// Whether a report may be written there, found out before anything is measured. Nothing is left behind.
fn check_writable(path: &Path) -> io::Result<()> {
    let known = fs::metadata(path);
    // A pipe is not opened twice: its reader would take the first end for the last.
    if known.as_ref().is_ok_and(|known| !known.is_file() && !known.is_dir()) {
        return Ok(());
    }
    OpenOptions::new().append(true).create(true).open(path)?;
    if known.is_err() { fs::remove_file(path) } else { Ok(()) }
}

/// A report that cannot be written.
#[derive(Debug)]
struct NotWritten {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path.display(), self.error)
    }
}

impl Error for NotWritten {}

/// What runs when nothing is asked for: how fast connections open, how long an echo takes at a
/// modest load, and what rooms deliver. Half a minute in all.
fn canonical() -> Vec<Workload> {
    vec![
        Workload::Storm(Storm { connections: 2_000, seconds: 2.0 }),
        Workload::Echo(Echo { rate: 5_000.0, seconds: 8.0, ..Echo::default() }),
        Workload::Fanout(Fanout { rooms: 10, rate: 20.0, seconds: 8.0, ..Fanout::default() }),
    ]
}

impl Report {
    fn new(settings: &Settings) -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: std::env::args().collect(),
            url: settings.servers().map(|server| &*server.url).collect::<Vec<_>>().join(" "),
            dialect: settings.dialect.to_string(),
            unix_seconds: unix.map_or(0, |since| since.as_secs()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| String::new(), |release| release.trim().to_owned()),
            machine_cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            backend: Backend::Deferred.to_string(),
            phases: Vec::new(),
            ..Self::default()
        }
    }
}
