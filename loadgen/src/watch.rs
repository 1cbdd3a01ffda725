//! The main thread's view of a phase: totals, a line of progress, and a value for every second.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use hdrhistogram::Histogram;

use crate::clock;
use crate::observe::process::Usage;
use crate::plan::Settings;
use crate::report::Second;
use crate::report::text::duration;
use crate::stats::{Counters, Shared, Totals, histogram};

/// Seconds kept at most: a run of a day.
const SERIES_MAX: usize = 86_400;

/// The histograms of a phase.
pub struct Histograms {
    /// From the intended moment to arrival.
    pub latency: Histogram<u64>,
    /// Connections.
    pub handshake: Histogram<u64>,
}

/// See the module.
pub struct Watch {
    shared: Arc<Shared>,
    server_pid: Option<u32>,
    quiet: bool,
    on_terminal: bool,
    /// Kept from look to look, so that looking does not allocate.
    taken: Totals,
    counters: Counters,
    latency: Histogram<u64>,
    handshake: Histogram<u64>,
    lateness: Histogram<u64>,
    second: Histogram<u64>,
    series: Vec<Second>,
    began_us: u64,
    line_us: u64,
    line_counters: Counters,
    generator: Usage,
    server: Option<Usage>,
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn new(settings: &Settings, shared: Arc<Shared>) -> Self {
        let now_us = clock::now_us();
        Self {
            shared,
            server_pid: settings.server_pid,
            quiet: settings.quiet,
            on_terminal: io::stderr().is_terminal(),
            taken: Totals::default(),
            counters: Counters::default(),
            latency: histogram(),
            handshake: histogram(),
            lateness: histogram(),
            second: histogram(),
            series: Vec::new(),
            began_us: now_us,
            line_us: now_us,
            line_counters: Counters::default(),
            generator: Usage::read(None).unwrap_or_default(),
            server: settings.server_pid.and_then(|pid| Usage::read(Some(pid)).ok()),
        }
    }

    /// Takes in what threads have published; once a second, writes a line.
    pub fn look(&mut self) {
        self.shared.take_into(&mut self.taken);
        let totals = &self.taken;
        self.counters = totals.counters;
        for (all, new) in [
            (&mut self.latency, &totals.latency),
            (&mut self.second, &totals.latency),
            (&mut self.handshake, &totals.handshake),
            (&mut self.lateness, &totals.lateness),
        ] {
            if !new.is_empty() {
                all.add(new).expect("all histograms here have the same bounds");
            }
        }
        if clock::now_us() >= self.line_us + 1_000_000 {
            self.end_second();
        }
    }

    /// Looks a last time, and leaves the terminal's line clean.
    pub fn end(&mut self) {
        self.look();
        if !self.quiet && self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The server's memory now.
    #[must_use]
    pub fn server_resident(&self) -> Option<u64> {
        self.server.as_ref().map(|usage| usage.resident_bytes)
    }

    /// Forgets latencies and lateness so far, and hands out the handshakes.
    pub fn discard_latencies(&mut self) -> Histogram<u64> {
        self.look();
        self.latency.reset();
        self.lateness.reset();
        std::mem::replace(&mut self.handshake, histogram())
    }

    /// What was recorded since.
    pub fn histograms(&mut self) -> Histograms {
        Histograms {
            latency: std::mem::replace(&mut self.latency, histogram()),
            handshake: std::mem::replace(&mut self.handshake, histogram()),
        }
    }

    /// This tool's own lateness since the last call: what comes after the load does not count.
    pub fn take_lateness(&mut self) -> Histogram<u64> {
        std::mem::replace(&mut self.lateness, histogram())
    }

    /// The values for every second.
    pub fn take_series(&mut self) -> Vec<Second> {
        std::mem::take(&mut self.series)
    }

    fn end_second(&mut self) {
        let now_us = clock::now_us();
        let seconds = seconds(now_us - self.line_us);
        let new = self.counters.since(&self.line_counters);
        let generator = Usage::read(None).unwrap_or_default();
        let server = self.server_pid.and_then(|pid| Usage::read(Some(pid)).ok());
        let server_share = match (&server, &self.server) {
            (Some(after), Some(before)) => after.since(before, seconds),
            _ => Default::default(),
        };
        let counters = &self.counters;
        let second = Second {
            at: seconds_between(self.began_us, now_us),
            open: counters.open(),
            sent: rate(new.sent, seconds),
            received: rate(new.received, seconds),
            p50_us: quantile(&self.second, 0.5),
            p99_us: quantile(&self.second, 0.99),
            generator_cpus: generator.since(&self.generator, seconds).cpus,
            generator_resident_bytes: generator.resident_bytes,
            server_cpus: server_share.cpus,
            server_resident_bytes: server_share.resident_bytes,
        };
        if self.series.len() < SERIES_MAX {
            self.series.push(second);
        }
        self.line_us = now_us;
        self.line_counters = self.counters;
        self.generator = generator;
        self.server = server;
        self.second.reset();
        if !self.quiet {
            self.write_line(&second);
        }
    }

    fn write_line(&self, second: &Second) {
        let counters = &self.counters;
        let faults = counters.lost + counters.repeated + counters.reordered + counters.corrupt;
        let line = format!(
            "{:5.0} s  {} open ({} failed, {} dropped)  {}/s out  {}/s in  p50 {}  p99 {}  faults {}  CPU {:.2} : {:.2}",
            second.at,
            second.open,
            counters.refused,
            counters.dropped,
            second.sent,
            second.received,
            told(second.p50_us),
            told(second.p99_us),
            faults,
            second.generator_cpus,
            second.server_cpus,
        );
        // On a terminal the line replaces itself; in a log each stands for itself.
        let (start, end) = if self.on_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{start}{line}{end}");
        let _ = stderr.flush();
    }
}

/// A second in which nothing came has no latency: 0 would be the best there is.
fn quantile(second: &Histogram<u64>, quantile: f64) -> Option<u64> {
    (!second.is_empty()).then(|| second.value_at_quantile(quantile))
}

fn told(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), duration)
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn seconds_between(earlier_us: u64, later_us: u64) -> f64 {
    seconds(later_us.saturating_sub(earlier_us))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people"
)]
fn rate(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds.max(1e-9)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_an_answer_has_no_latency() {
        let mut second = histogram();
        assert_eq!(quantile(&second, 0.99), None);
        assert_eq!(told(None), "-");
        second.record(7).expect("within bounds");
        assert_eq!(quantile(&second, 0.99), Some(7));
        assert_eq!(told(Some(7)), "7 us");
    }
}
