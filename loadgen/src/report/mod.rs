//! What a run found out: figures, the verdict on them, and three ways to write them down.

mod chart;
pub mod html;
pub mod text;
mod verdict;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::observe::kernel::KernelCounters;
use crate::observe::process::Share;
use crate::run::RunError;
use crate::scenario::Workload;
use crate::stats::Counters;

pub use verdict::{Doubts, judge};

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Version of this tool.
    pub version: &'static str,
    /// As it was called.
    pub command: Vec<String>,
    /// The server's URL; those of several, with blanks between them.
    pub url: String,
    /// How it was spoken to.
    pub dialect: String,
    /// Start of the run.
    pub unix_seconds: u64,
    /// Kernel release.
    pub kernel: String,
    /// CPUs of this machine.
    pub machine_cpus: usize,
    /// What threads ran on.
    pub backend: String,
    /// Phases in the order they ran.
    pub phases: Vec<PhaseReport>,
    /// Why the run as a whole must not be believed, whatever its phases say of themselves.
    pub doubts: Vec<String>,
    /// `VALID` or `INVALID`.
    pub verdict: &'static str,
}

impl Report {
    /// Whether every figure in it may be believed.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let sound = self.phases.iter().all(|phase| phase.invalid.is_empty());
        !self.phases.is_empty() && sound && self.doubts.is_empty()
    }

    /// Says what became of so many phases that were asked for, of which the last may have failed.
    pub fn conclude(&mut self, asked: usize, failed: Option<&RunError>) {
        let ran = self.phases.len();
        if let Some(error) = failed {
            self.doubts.push(format!("phase {} of {asked} could not run: {error}", ran + 1));
        }
        if ran < asked {
            self.doubts.push(format!("{} of {asked} phases did not run", asked - ran));
        }
        self.verdict = self.word();
    }

    /// The verdict in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.is_valid() { "VALID" } else { "INVALID" }
    }
}

/// One phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// What was asked for.
    pub workload: Workload,
    /// Whether what was sent waited for answers.
    pub closed_loop: bool,
    /// Threads of this tool.
    pub threads: usize,
    /// Seconds from the first connection to the last.
    pub connect_seconds: f64,
    /// Connections that were made in them, before the load.
    pub connected: u64,
    /// Seconds measured.
    pub seconds: f64,
    /// Counts of the whole phase.
    pub totals: Counters,
    /// Counts within the measured seconds.
    pub measured: Counters,
    /// Connections open when the load ended.
    pub held: u64,
    /// From the intended moment to arrival, microseconds.
    pub latency: Quantiles,
    /// From the start of a connection to the end of its handshake, microseconds.
    pub handshake: Quantiles,
    /// How late this tool was by itself, microseconds.
    pub lateness: Quantiles,
    /// This tool's CPU and memory.
    pub generator: Share,
    /// The server's, if its process was named.
    pub server: Option<Share>,
    /// The server's memory before the first connection.
    pub server_resident_before: Option<u64>,
    /// What the kernel counted meanwhile in this network namespace, whoever it was for.
    pub kernel: KernelCounters,
    /// Second by second.
    pub series: Vec<Second>,
    /// What the server, or the kernel, said of what went wrong, and how often.
    pub complaints: Vec<String>,
    /// Why the figures must not be believed; empty if they may.
    pub invalid: Vec<String>,
    /// What to know when reading them.
    pub notes: Vec<String>,
}

/// One second of a phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Second {
    /// Since the phase began.
    pub at: f64,
    /// Connections open.
    pub open: u64,
    /// Messages sent within it.
    pub sent: u64,
    /// Messages received within it.
    pub received: u64,
    /// Median latency, microseconds; none if nothing came that is timed.
    pub p50_us: Option<u64>,
    /// 99th percentile.
    pub p99_us: Option<u64>,
    /// CPUs busy with this tool.
    pub generator_cpus: f64,
    /// Memory of this tool.
    pub generator_resident_bytes: u64,
    /// CPUs busy with the server.
    pub server_cpus: f64,
    /// The server's memory.
    pub server_resident_bytes: u64,
}

/// A distribution in a few figures, and as a curve.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Quantiles {
    /// Values recorded.
    pub count: u64,
    /// Average.
    pub mean: f64,
    /// Least.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// Greatest.
    pub max: u64,
    /// Pairs of quantile and value, denser towards 1.
    pub curve: Vec<(f64, u64)>,
}

impl Quantiles {
    /// Reads them off a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        let mut curve = Vec::new();
        let mut rest = 1.0;
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 values")]
        let finest = 1.0 / histogram.len() as f64;
        // Past one in so many values there is nothing to tell quantiles apart by.
        while rest > finest.max(1e-7) {
            for step in [1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15] {
                let quantile: f64 = 1.0 - rest * step;
                curve.push((quantile, at(quantile)));
            }
            rest /= 10.0;
        }
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
            curve,
        }
    }
}
