//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dialect::DialectName;
use crate::observe::process::Usage;
use crate::plan::Settings;
use crate::scenario::Workload;
use crate::target::{Sources, Target, TargetError};

/// Load a WebSocket server, and verify every message that comes back.
///
/// Without a scenario: half a minute against ws://127.0.0.1:8000/ws, and a few numbers.
#[derive(Parser, Clone, Debug)]
#[command(name = "ringroom-loadgen", version)]
pub struct Cli {
    /// Options of all scenarios.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What can be done.
#[derive(Subcommand, Clone, Debug)]
pub enum Action {
    /// One scenario.
    #[command(flatten)]
    One(Workload),
    /// Run the phases of a plan, one after the other.
    Plan {
        /// The plan, in TOML: a `[[phase]]` for each, with `scenario = "…"` and its options.
        file: PathBuf,
    },
}

/// Options of all scenarios.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "All scenarios")]
pub struct Common {
    /// The server; `{room}` and `{peer}` in the path are replaced for each connection. May be given
    /// several times, for nodes that share their rooms: publishers connect to the first, and those
    /// members of their rooms who only listen to the others in turn.
    #[arg(
        long = "url",
        value_name = "URL",
        global = true,
        default_value = "ws://127.0.0.1:8000/ws"
    )]
    pub urls: Vec<String>,
    /// How to speak to it.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub dialect: DialectName,
    /// Addresses to connect from, as 127.0.0.2-127.0.0.9.
    #[arg(long, global = true)]
    pub sources: Option<Sources>,
    /// Offer permessage-deflate.
    #[arg(long, global = true)]
    pub deflate: bool,
    /// Accept any TLS certificate.
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Further line of the upgrade request, as 'Name: value'.
    #[arg(long = "header", global = true, value_parser = header)]
    pub headers: Vec<String>,
    /// Threads (default: one per CPU, and as many as the descriptor limit demands).
    #[arg(long, global = true)]
    pub threads: Option<usize>,
    /// Use epoll even where there is io_uring.
    #[arg(long, global = true)]
    pub epoll: bool,
    /// CPUs to pin threads to, as 1 or 2-3,6.
    #[arg(long, global = true)]
    pub cpus: Option<CpuList>,
    /// Pin threads to the CPUs in turn.
    #[arg(long, global = true)]
    pub pin: bool,
    /// Seconds at the start of a load that are not measured.
    #[arg(long, global = true, default_value_t = 0.0)]
    pub warmup: f64,
    /// Seconds to wait at the end for what is under way.
    #[arg(long, global = true, default_value_t = 3.0)]
    pub drain: f64,
    /// Connections begun a second (default: as many as may be under way).
    #[arg(long, global = true)]
    pub connect_rate: Option<u64>,
    /// Connections under way at once, per thread.
    #[arg(long, global = true, default_value_t = 128)]
    pub connect_concurrency: usize,
    /// Seconds a connection may take to open.
    #[arg(long, global = true, default_value_t = 10)]
    pub connect_timeout: u64,
    /// Seconds all connections together may take to open.
    #[arg(long, global = true, default_value_t = 120.0)]
    pub connect_within: f64,
    /// The server's process id, to watch its CPU and memory.
    #[arg(long, global = true)]
    pub server_pid: Option<u32>,
    /// Milliseconds this tool itself may be late at the 99th percentile.
    #[arg(long, global = true, default_value_t = 20)]
    pub lateness_max_ms: u64,
    /// Write the report as JSON.
    #[arg(long, global = true)]
    pub json: Option<PathBuf>,
    /// Write the report as a page with charts.
    #[arg(long, global = true)]
    pub html: Option<PathBuf>,
    /// No progress line.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Needed for any target that is not this machine.
    #[arg(long, global = true)]
    pub yes_i_own_this_target: bool,
}

/// Why the options make no run.
#[derive(Debug)]
pub enum OptionError {
    /// The target.
    Target(TargetError),
    /// Not this machine, and not said to be one's own.
    NotLoopback,
    /// The server's process is none.
    NoProcess(u32),
}

impl std::fmt::Display for OptionError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target(error) => error.fmt(out),
            Self::NoProcess(pid) => write!(out, "--server-pid {pid}: there is no such process"),
            Self::NotLoopback => write!(
                out,
                "the target is not this machine: load only servers that are yours, and say so with \
                 --yes-i-own-this-target"
            ),
        }
    }
}

impl std::error::Error for OptionError {}

impl Common {
    /// The settings these options mean.
    pub fn settings(&self) -> Result<Settings, OptionError> {
        let servers: Result<Vec<_>, _> = self.urls.iter().map(|url| Target::resolve(url)).collect();
        let mut servers = servers.map_err(OptionError::Target)?;
        if !servers.iter().all(Target::is_loopback) && !self.yes_i_own_this_target {
            return Err(OptionError::NotLoopback);
        }
        if let Some(pid) = self.server_pid
            && Usage::read(Some(pid)).is_err()
        {
            return Err(OptionError::NoProcess(pid));
        }
        let others = servers.split_off(1);
        let target = servers.remove(0);
        let cpus = match &self.cpus {
            Some(CpuList(cpus)) => cpus.clone(),
            None if self.pin => {
                let ids = core_affinity::get_core_ids().unwrap_or_default();
                ids.into_iter().map(|core| core.id).collect()
            }
            None => Vec::new(),
        };
        Ok(Settings {
            others,
            sources: self.sources.clone().unwrap_or_default(),
            deflate: self.deflate,
            insecure: self.insecure,
            headers: self.headers.clone(),
            threads: self.threads,
            epoll: self.epoll,
            cpus,
            connect_timeout_us: self.connect_timeout.saturating_mul(1_000_000),
            connect_concurrency: self.connect_concurrency.max(1),
            connect_rate: self.connect_rate,
            connect_seconds: self.connect_within,
            warmup_seconds: self.warmup,
            drain_seconds: self.drain,
            server_pid: self.server_pid,
            lateness_max_us: self.lateness_max_ms.saturating_mul(1_000),
            quiet: self.quiet,
            ..Settings::new(target, self.dialect)
        })
    }
}

/// A line of a request's head: a name of visible letters, a colon, and a value without control characters.
fn header(text: &str) -> Result<String, String> {
    let is_header = text.split_once(':').is_some_and(|(name, value)| {
        let named = name.chars().all(|letter| letter.is_ascii_graphic());
        !name.is_empty() && named && !value.contains(|letter: char| letter.is_ascii_control())
    });
    if is_header { Ok(text.to_owned()) } else { Err("it must be like 'Name: value'".to_owned()) }
}

/// CPUs there may be.
const CPUS_MAX: usize = 4_096;

/// CPUs as the kernel writes lists of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

impl std::str::FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.trim().parse() {
            Ok(cpu @ 0..CPUS_MAX) => Ok(cpu),
            _ => Err(format!("{text} is no CPU's number below {CPUS_MAX}")),
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(format!("{part} ends before it begins"));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn strangers_are_not_loaded() {
        let parse = |extra: &[&str]| {
            let line = ["ringroom-loadgen", "--url", "ws://192.0.2.1/"];
            Cli::parse_from(line.iter().chain(extra)).common.settings()
        };
        assert!(matches!(parse(&[]), Err(OptionError::NotLoopback)));
        assert!(parse(&["--yes-i-own-this-target"]).is_ok());
    }

    #[test]
    fn of_several_servers_every_one_must_be_ones_own() {
        let parse = |second: &str| {
            let line = ["ringroom-loadgen", "--url", "ws://127.0.0.1:1/", "--url", second];
            Cli::parse_from(line).common.settings()
        };
        let settings = parse("ws://127.0.0.1:2/").unwrap();
        let ports: Vec<_> = settings.servers().map(|server| server.address.port()).collect();
        assert_eq!(ports, [1, 2]);
        assert!(matches!(parse("ws://192.0.2.1/"), Err(OptionError::NotLoopback)));
    }

    #[test]
    fn cpu_lists() {
        assert_eq!("1".parse::<CpuList>().unwrap().0, [1]);
        assert_eq!("0-2,5".parse::<CpuList>().unwrap().0, [0, 1, 2, 5]);
        for bad in ["x", "", "1,", "0-9999999999999", "4096", "3-1"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_names_and_values() {
        for good in ["A: b", "X-Token:", "Cookie: a=b; c=d: e"] {
            assert_eq!(header(good), Ok(good.to_owned()));
        }
        for bad in ["bad", "", ": b", "A b: c", "A: b\r\nC: d"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn without_a_word_it_is_this_machine_and_the_canonical_run() {
        let cli = Cli::parse_from(["ringroom-loadgen"]);
        assert!(cli.action.is_none());
        assert_eq!(cli.common.settings().unwrap().target.url, "ws://127.0.0.1:8000/ws");
    }
}
