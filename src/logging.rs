//! Logs: one line an event, on standard error, as text or JSON.
//!
//! Invariants: whatever a peer put into a value, an event is one line of printable characters, and
//! each value is cut to a length; an event that repeats is written a few times and then counted;
//! a thread that logs never waits for standard error, and what is dropped for that is counted too.

mod layer;
mod limit;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::fmt;
use std::io;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::Log;
use layer::Lines;
use writer::Writer;

/// Why there can be no logs.
#[derive(Debug)]
pub enum LogError {
    /// `log.filter` cannot be read.
    Filter(tracing_subscriber::filter::ParseError),
    /// No thread for the writer.
    Thread(io::Error),
    /// Logs were set up before.
    Twice,
    /// The filter cannot change any more: the logs are gone.
    Gone,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => write!(f, "log.filter: {error}"),
            Self::Thread(error) => write!(f, "no thread for the log: {error}"),
            Self::Twice => f.write_str("the log was set up before"),
            Self::Gone => f.write_str("the log is gone"),
        }
    }
}

impl std::error::Error for LogError {}

/// The logs of this process. Dropped last, it writes out what still waits.
#[derive(Debug)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    /// Its end is the end of the queue.
    _writer: Writer,
}

/// Sets up the logs of this process.
///
/// # Errors
///
/// The filter cannot be read, or the operating system refuses a thread.
pub fn start(log: &Log) -> Result<Logs, LogError> {
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let writer = Writer::start(io::stderr()).map_err(LogError::Thread)?;
    let lines = Lines::new(log.format, writer.queue());
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    Ok(Logs { filter: handle, _writer: writer })
}

impl Logs {
    /// Goes by another filter from now on. The format stays.
    ///
    /// # Errors
    ///
    /// The filter cannot be read; then the old one stays.
    pub fn reload(&self, log: &Log) -> Result<(), LogError> {
        self.filter.reload(filter(log)?).map_err(|_| LogError::Gone)
    }
}

fn filter(log: &Log) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(&log.filter).map_err(LogError::Filter)
}
