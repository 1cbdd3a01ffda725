//! The command line: which command, with which settings, and what it says at the end.
//!
//! Invariants: 0 is success, 1 a failure at run time, 2 a wrong usage or configuration, 3 a host
//! that falls short (`probe`). Flags that name a setting are read as settings, by the same rows.

mod credential;

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};
use ringroom::config::{self, Config, Flag, Reading};
use ringroom::net::probe;
use ringroom::net::tls::Certificates;

/// Run time went wrong.
const FAILURE: u8 = 1;
/// The usage or the configuration is wrong.
const USAGE: u8 = 2;
/// The host falls short of what was asked.
const SHORT: u8 = 3;

/// The most that is read of a configuration file or a secret.
const FILE_BYTES: u64 = 1 << 20;

/// Names the configuration file where `--config` does not.
const CONFIG_VARIABLE: &str = "RINGROOM_CONFIG";

/// A real-time messaging server: rooms over WebSocket, a thread per core on `io_uring`.
///
/// Without a command it serves. Settings come from a file, the environment (RINGROOM_SECTION_KEY)
/// and flags, each over the one before; `print-config` shows all of them.
#[derive(Debug, Parser)]
#[command(name = "ringroom", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    Serve(Settings),
    /// Say whether the configuration is valid, or all that is wrong with it.
    CheckConfig(Settings),
    /// Print every setting as a configuration file, with its default, unit and reason.
    PrintConfig(Settings),
    /// Say what this host has and lacks: kernel, `io_uring`, limits, sysctls.
    Probe(Probe),
    /// Make a token, or look into one.
    #[command(subcommand)]
    Token(credential::Token),
    /// Make an API key.
    #[command(subcommand)]
    Key(credential::Key),
    /// Sign a session cookie.
    #[command(subcommand)]
    Cookie(credential::Cookie),
}

#[derive(Args, Clone, Debug)]
struct Settings {
    /// A configuration file (TOML); else the one that RINGROOM_CONFIG names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here, in place of what the file says: 127.0.0.1:8000, [::1]:8000, unix:/run/x.sock
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Where the control plane listens
    #[arg(long, value_name = "ADDRESS")]
    control: Option<String>,
    /// CPUs that may be used, such as 0,2-5
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// How many core threads
    #[arg(long, value_name = "COUNT")]
    cores: Option<String>,
    /// How cores talk to the kernel
    #[arg(long, value_name = "auto|uring|epoll")]
    driver: Option<String>,
    /// Let another process listen on the same port, as in a hot restart
    #[arg(long)]
    share_port: bool,
    /// Any setting, such as limits.message_bytes=1048576
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
}

#[derive(Args, Debug)]
struct Probe {
    /// Judge for this many connections
    #[arg(long, value_name = "COUNT", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    connections: u64,
    /// On this many core threads; else one for each CPU
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=256))]
    cores: u64,
    /// For machines
    #[arg(long)]
    json: bool,
}

fn parse_setting(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("wanted SECTION.KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Does what the process was asked to do.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version arrive here too, and go to the standard output with code 0.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        None => serve(&arguments.settings),
        Some(Command::Serve(settings)) => serve(&settings),
        Some(Command::CheckConfig(settings)) => check(&settings),
        Some(Command::PrintConfig(settings)) => with_config(&settings, |config| {
            say(format_args!("{}", config::print(&config).trim_end()));
            ExitCode::SUCCESS
        }),
        Some(Command::Probe(asked)) => probe(&asked),
        Some(Command::Token(asked)) => asked.run(),
        Some(Command::Key(asked)) => asked.run(),
        Some(Command::Cookie(asked)) => asked.run(),
    }
}

/// Everything that is wrong, in the settings and in the files that they name.
fn check(settings: &Settings) -> ExitCode {
    let reading = match settings.read() {
        Ok(reading) => reading,
        Err(failure) => {
            complain(format_args!("{failure}"));
            return ExitCode::from(USAGE);
        }
    };
    let (listeners, places): (Vec<_>, Vec<_>) = reading.listeners.into_iter().unzip();
    let wrong = Certificates::load(&listeners).err();
    let wrong = wrong.map_or_else(Vec::new, |wrong| wrong.placed(&places));
    let told = match reading.config {
        Err(mut problems) => {
            problems.0.extend(wrong);
            problems.to_string()
        }
        Ok(config) => {
            let credentials = credential::policy(&config).err().map(|wrong| wrong.to_string());
            let wrong = wrong.iter().map(ToString::to_string);
            let told: Vec<String> = credentials.into_iter().chain(wrong).collect();
            if told.is_empty() {
                say(format_args!("{}", summary(&config)));
                return ExitCode::SUCCESS;
            }
            told.join("\n")
        }
    };
    complain(format_args!("the configuration cannot be used:\n{told}"));
    ExitCode::from(USAGE)
}

fn serve(settings: &Settings) -> ExitCode {
    let again = settings.clone();
    let reread = Box::new(move || again.load().map_err(|failure| failure.to_string()));
    with_config(settings, |config| match ringroom::server::run(config, reread) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::from(FAILURE)
        }
    })
}

fn probe(asked: &Probe) -> ExitCode {
    let what = probe::Asked { connections: asked.connections, cores: asked.cores };
    let report = probe::judge(&probe::read(), what);
    if asked.json {
        say(format_args!("{}", report.json()));
    } else {
        say(format_args!("{}", report.to_string().trim_end()));
    }
    if report.sufficient { ExitCode::SUCCESS } else { ExitCode::from(SHORT) }
}

fn with_config(settings: &Settings, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match settings.load() {
        Ok(config) => then(config),
        Err(failure) => {
            complain(format_args!("{failure}"));
            ExitCode::from(USAGE)
        }
    }
}

/// What a valid configuration comes to.
fn summary(config: &Config) -> String {
    let listeners: Vec<String> =
        config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    format!(
        "the configuration is valid: listeners {}; control {}",
        listeners.join(", "),
        config.control.address
    )
}

/// Why there is no configuration.
#[derive(Debug)]
enum Failure {
    /// Its file cannot be read.
    File { path: PathBuf, error: io::Error },
    /// It is not valid.
    Problems(config::Problems),
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Problems(problems) => {
                write!(f, "the configuration cannot be used:\n{problems}")
            }
        }
    }
}

impl Settings {
    /// The settings of all sources. Can be called again: then they are what the sources say now.
    fn load(&self) -> Result<Config, Failure> {
        self.read()?.config.map_err(Failure::Problems)
    }

    fn read(&self) -> Result<Reading, Failure> {
        // Later it keeps itself to those that it was told to use.
        static CPUS_ALLOWED: LazyLock<Vec<usize>> = LazyLock::new(probe::cpus_allowed);
        let path =
            self.config.clone().or_else(|| std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from));
        let text = match &path {
            None => None,
            Some(path) => match read_file(path) {
                Ok(text) => Some(text),
                Err(error) => return Err(Failure::File { path: path.clone(), error }),
            },
        };
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        let environment: Vec<(String, String)> = std::env::vars_os()
            .map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            })
            .collect();
        Ok(config::read(&config::Sources {
            file: text.as_deref().map(|text| config::File { name: &name, text }),
            environment: &environment,
            flags: &self.flags(),
            cpus_allowed: &CPUS_ALLOWED,
            read_secret: &read_file,
        }))
    }

    /// The flags that give settings; `--set` last, so that it has the last word.
    fn flags(&self) -> Vec<Flag> {
        let flag = |name: &str, key: &str, value: &str| Flag {
            name: name.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let short = [
            ("--control", "control.address", &self.control),
            ("--cpus", "cores.cpus", &self.cpus),
            ("--cores", "cores.count", &self.cores),
            ("--driver", "cores.driver", &self.driver),
        ];
        let mut flags: Vec<Flag> =
            self.listen.iter().map(|address| flag("--listen", "listen", address)).collect();
        flags.extend(
            short.into_iter().filter_map(|(name, key, value)| {
                value.as_deref().map(|value| flag(name, key, value))
            }),
        );
        flags.extend(self.share_port.then(|| flag("--share-port", "tcp.share_port", "true")));
        flags.extend(self.set.iter().map(|(key, value)| flag("--set", key, value)));
        flags
    }
}

/// A small text file.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if bytes as u64 > FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// To the standard output. Whoever stops reading has read enough.
fn say(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// To the standard error, which may be closed.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "ringroom: {text}");
}
