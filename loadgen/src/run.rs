//! A run: its phases one after the other, each led through its stages and watched.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::bounds::{self, OutOfBounds};
use crate::clock;
use crate::complaint::Complaints;
use crate::control::{Control, Stage};
use crate::dialect::DialectName;
use crate::net::driver::Driver;
use crate::net::runtime::{Backend, Runtime};
use crate::net::thread as isolation;
use crate::net::tls;
use crate::net::wire::{Place, Wire};
use crate::observe::kernel::KernelCounters;
use crate::observe::process::Usage;
use crate::payload::Payload;
use crate::plan::{self, Settings};
use crate::report::{Doubts, PhaseReport, Quantiles, judge};
use crate::scenario::Workload;
use crate::stats::{Counters, Recorder, Shared};
use crate::watch::Watch;

/// How often the main thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// From "everything is ready" to the first message: every thread has seen it by then.
const START_DELAY_US: u64 = 50_000;

/// How often it looks whether all threads have told their counts, and how long at most: one that is
/// kept from running tells them late.
const MARK_LOOK_EVERY: Duration = Duration::from_millis(1);
const MARK_WITHIN_SECONDS: f64 = 1.0;

/// Set by a signal: end early, and report what there is.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Why a phase could not run.
#[derive(Debug)]
pub enum RunError {
    /// More connections than descriptors, and no table per thread.
    TooMany(plan::TooMany),
    /// More than is allowed, or less than is needed.
    OutOfBounds(OutOfBounds),
    /// The scenario has to say something that the dialect has no words for.
    Wordless {
        /// Which scenario.
        scenario: &'static str,
        /// Which dialect.
        dialect: DialectName,
        /// What it would say.
        lacks: &'static str,
    },
    /// The machine.
    Io(io::Error),
}

impl std::fmt::Display for RunError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany(plan::TooMany { per_thread }) => write!(
                out,
                "this process may hold {per_thread} connections: threads cannot have descriptor \
                 tables of their own here"
            ),
            Self::OutOfBounds(refused) => refused.fmt(out),
            Self::Wordless { scenario, dialect, lacks } => write!(
                out,
                "{scenario} cannot be run in the dialect {dialect}, which has no way to {lacks}"
            ),
            Self::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for RunError {}

impl RunError {
    /// The option that is to blame, if it is one alone.
    #[must_use]
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Self::OutOfBounds(refused) => Some(refused.what()),
            _ => None,
        }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a thread says at its end.
struct Finished {
    backend: Backend,
    /// Whether it had to do with the descriptor table of the process.
    shares_table: bool,
    complaints: Complaints,
}

/// Runs one phase.
pub fn phase(
    settings: &Arc<Settings>,
    workload: &Workload,
) -> Result<(PhaseReport, Backend), RunError> {
    let plan = workload.plan();
    let places = check(settings, workload)?;
    let threads = places.len();
    let control = Arc::new(Control::new(plan.publishers()));
    let shared = Arc::new(Shared::default());
    let run = u32::try_from(run_number() & 0x00ff_ffff).expect("masked to 24 bits");
    let mut phase = Phase {
        settings,
        workload,
        control: Arc::clone(&control),
        watch: Watch::new(settings, Arc::clone(&shared)),
        threads,
    };
    let before = phase.snapshot()?;
    let handles = places
        .into_iter()
        .map(|place| {
            let (settings, workload) = (Arc::clone(settings), workload.clone());
            let (control, shared) = (Arc::clone(&control), Arc::clone(&shared));
            thread::Builder::new()
                .name(format!("loadgen-{}", place.thread))
                .spawn(move || serve(place, &settings, &workload, &control, shared, run))
        })
        .collect::<io::Result<Vec<_>>>()?;
    phase.lead(before, handles)
}

/// Whether a phase can be run at all; if so, by which threads.
pub fn check(settings: &Settings, workload: &Workload) -> Result<Vec<Place>, RunError> {
    let plan = workload.plan();
    bounds::check(settings, plan).map_err(RunError::OutOfBounds)?;
    if let Some(lacks) = plan.lacks(&*settings.dialect.make()) {
        let (scenario, dialect) = (plan.name(), settings.dialect);
        return Err(RunError::Wordless { scenario, dialect, lacks });
    }
    let descriptors = isolation::raise_descriptor_limit()?;
    plan::spread(settings, plan.peers(), descriptors, can_separate()).map_err(RunError::TooMany)
}

/// One thread, from its first descriptor to its last.
fn serve(
    place: Place,
    settings: &Arc<Settings>,
    workload: &Workload,
    control: &Arc<Control>,
    shared: Arc<Shared>,
    run: u32,
) -> io::Result<Finished> {
    let shares_table = !isolation::separate_descriptors();
    if !settings.cpus.is_empty()
        && !isolation::pin(settings.cpus[place.thread % settings.cpus.len()])
    {
        return Err(io::Error::other("cannot pin a thread to its CPU"));
    }
    let speaks_tls = settings.servers().any(|server| server.tls);
    let tls = if speaks_tls { Some(tls::configure(settings.insecure)?) } else { None };
    let payload = Payload::new(run, workload.plan().size());
    let recorder = Recorder::new(shared);
    let wire = Wire::new(place, Arc::clone(settings), Arc::clone(control), recorder, payload);
    let scenario = workload.plan().scenario(&wire);
    let mut runtime = Runtime::new(settings.epoll)?;
    let backend = runtime.backend;
    let blocking = backend != Backend::Epoll;
    let complaints = runtime.block_on(Driver::run(wire, scenario, tls, blocking))?;
    Ok(Finished { backend, shares_table, complaints })
}

/// Whether a thread may have its own descriptor table, tried on a thread that ends at once.
fn can_separate() -> bool {
    thread::spawn(isolation::separate_descriptors).join().unwrap_or(false)
}

fn run_number() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_us = since.map_or(0, |since| since.as_micros());
    let mixed = now_us.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    u64::try_from(mixed & 0xffff_ffff).expect("masked to 32 bits") ^ u64::from(std::process::id())
}

struct Phase<'a> {
    settings: &'a Settings,
    workload: &'a Workload,
    control: Arc<Control>,
    watch: Watch,
    threads: usize,
}

impl Phase<'_> {
    /// Connect, run, drain, stop; then the report.
    fn lead(
        &mut self,
        before: Snapshot,
        handles: Vec<Worker>,
    ) -> Result<(PhaseReport, Backend), RunError> {
        let led = self.lead_through_stages(before, &handles)?;
        self.control.advance(Stage::Stop);
        let finished = join(handles)?;
        self.watch.end();
        let doubts = Doubts {
            lateness_max_us: self.settings.lateness_max_us,
            expects_messages: self.workload.plan().expects_messages(),
            keeps_timetable: self.workload.plan().keeps_timetable(),
            wanted: self.workload.plan().peers() as u64,
            connect_timed_out: !led.all_ready,
            table_is_shared: finished.iter().any(|thread| thread.shares_table),
            interrupted: INTERRUPTED.load(Ordering::Relaxed),
            server_unseen: self.settings.server_pid.is_some() && !led.measured.saw_server(),
        };
        let backend = finished.iter().map(|thread| thread.backend).max();
        let mut report = self.report(led, &finished);
        judge(&mut report, &doubts);
        Ok((report, backend.unwrap_or(Backend::Deferred)))
    }

    fn lead_through_stages(&mut self, before: Snapshot, handles: &[Worker]) -> io::Result<Led> {
        let kernel = KernelCounters::read();
        let server_resident = self.watch.server_resident();
        let (all_ready, connect_seconds, connecting) = self.connect(before, handles)?;
        let connected = connecting.after.counters.opened;
        // Without a connection there is nothing to wait for.
        let load_seconds = match connected {
            0 => 0.0,
            _ => self.workload.plan().seconds(),
        };
        // Before the first message: without a warm-up none is left out, however late this thread is.
        let mut handshake = self.watch.discard_latencies();
        let start_us = clock::now_us() + START_DELAY_US;
        let begin_us = start_us + microseconds(self.settings.warmup_seconds);
        // Two marks are never the same moment.
        let end_us = begin_us + microseconds(load_seconds).max(1);
        // Where nobody is connected nothing is due.
        self.control.run(if connected == 0 { u64::MAX } else { start_us }, end_us);
        let before = self.snapshot_at(begin_us, handles)?;
        if self.settings.warmup_seconds > 0.0 {
            let meanwhile = self.watch.discard_latencies();
            handshake.add(&meanwhile).expect("all histograms here have the same bounds");
        }
        let mut after = self.snapshot_at(end_us, handles)?;
        if self.workload.plan().keeps_timetable() {
            // Nothing was done after its end, however late a thread told so.
            after.at_us = after.at_us.min(end_us);
        }
        let held = after.counters.open();
        let load = Measured { before, after, lateness: self.watch.take_lateness() };
        self.control.advance(Stage::Drain);
        let all_settled = |control: &Control, threads: usize| control.settled() >= threads;
        self.wait(self.settings.drain_seconds, all_settled, handles);
        let measured = if self.workload.plan().measures_connecting() { connecting } else { load };
        Ok(Led {
            kernel,
            server_resident,
            all_ready,
            connect_seconds,
            connected,
            held,
            handshake,
            measured,
        })
    }

    /// Waits for the connections: whether all were there in time, after how long, and what it took.
    fn connect(
        &mut self,
        before: Snapshot,
        handles: &[Worker],
    ) -> io::Result<(bool, f64, Measured)> {
        let began_us = clock::now_us();
        let all_ready = |control: &Control, threads: usize| control.ready() >= threads;
        let all_ready = self.wait(self.settings.connect_seconds, all_ready, handles);
        let mut after = self.snapshot()?;
        if all_ready {
            // This thread looks later; since then they were idle.
            after.at_us = self.control.ready_us();
        }
        let seconds = seconds_between(began_us, after.at_us);
        Ok((all_ready, seconds, Measured { before, after, lateness: self.watch.take_lateness() }))
    }

    fn report(&mut self, led: Led, finished: &[Finished]) -> PhaseReport {
        let Measured { before, after, lateness } = led.measured;
        let seconds = seconds_between(before.at_us, after.at_us);
        let mut histograms = self.watch.histograms();
        let bounds = "all histograms here have the same bounds";
        histograms.handshake.add(&led.handshake).expect(bounds);
        PhaseReport {
            workload: self.workload.clone(),
            closed_loop: self.workload.plan().is_closed_loop(),
            threads: self.threads,
            connect_seconds: led.connect_seconds,
            connected: led.connected,
            seconds,
            totals: self.watch.counters(),
            measured: after.counters.since(&before.counters),
            held: led.held,
            latency: Quantiles::of(&histograms.latency),
            handshake: Quantiles::of(&histograms.handshake),
            lateness: Quantiles::of(&lateness),
            generator: after.generator.since(&before.generator, seconds),
            server: after
                .server
                .zip(before.server)
                .map(|(after, before)| after.since(&before, seconds)),
            server_resident_before: led.server_resident,
            kernel: KernelCounters::read().since(&led.kernel),
            series: self.watch.take_series(),
            complaints: complaints(finished),
            invalid: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Watches until `done`, or for so long. `false`: time ran out first.
    fn wait(
        &mut self,
        seconds: f64,
        done: impl Fn(&Control, usize) -> bool,
        handles: &[Worker],
    ) -> bool {
        let began_us = clock::now_us();
        loop {
            if done(&self.control, self.threads) {
                return true;
            }
            let left = seconds - seconds_since(began_us);
            // A thread that ended before its time has failed, and says why when it is joined.
            let over =
                INTERRUPTED.load(Ordering::Relaxed) || handles.iter().any(JoinHandle::is_finished);
            if left <= 0.0 || over {
                return false;
            }
            thread::sleep(LOOK_EVERY.min(Duration::from_secs_f64(left)));
            self.watch.look();
        }
    }

    /// What all threads have at this moment, or when the run ends before it.
    fn snapshot_at(&mut self, at_us: u64, handles: &[Worker]) -> io::Result<Snapshot> {
        self.control.mark_at(at_us);
        let seconds = seconds_between(clock::now_us(), at_us);
        let is_marked = |control: &Control, threads| control.marked_us(threads).is_some();
        if !self.wait(seconds, is_marked, handles) && clock::now_us() < at_us {
            self.control.mark_at(clock::now_us());
        }
        let asked_us = clock::now_us();
        let mut marked_us = None;
        while marked_us.is_none() && seconds_since(asked_us) < MARK_WITHIN_SECONDS {
            thread::sleep(MARK_LOOK_EVERY);
            marked_us = self.control.marked_us(self.threads);
        }
        let snapshot = self.snapshot()?;
        Ok(Snapshot { at_us: marked_us.unwrap_or(snapshot.at_us), ..snapshot })
    }

    fn snapshot(&mut self) -> io::Result<Snapshot> {
        self.watch.look();
        // A server that is gone has no usage; its connections tell the rest.
        let server = self.settings.server_pid.and_then(|pid| Usage::read(Some(pid)).ok());
        Ok(Snapshot {
            at_us: clock::now_us(),
            counters: self.watch.counters(),
            generator: Usage::read(None)?,
            server,
        })
    }
}

type Worker = JoinHandle<io::Result<Finished>>;

/// What the stages left behind.
struct Led {
    kernel: KernelCounters,
    server_resident: Option<u64>,
    all_ready: bool,
    connect_seconds: f64,
    connected: u64,
    held: u64,
    handshake: Histogram<u64>,
    measured: Measured,
}

/// The measured time.
struct Measured {
    before: Snapshot,
    after: Snapshot,
    /// This tool's own in it.
    lateness: Histogram<u64>,
}

impl Measured {
    /// Whether the server's process was there at both ends.
    fn saw_server(&self) -> bool {
        self.before.server.is_some() && self.after.server.is_some()
    }
}

/// One end of the measured time.
struct Snapshot {
    at_us: u64,
    counters: Counters,
    generator: Usage,
    server: Option<Usage>,
}

fn join(handles: Vec<Worker>) -> io::Result<Vec<Finished>> {
    handles
        .into_iter()
        .map(|handle| handle.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
        .collect()
}

fn complaints(finished: &[Finished]) -> Vec<String> {
    let mut all = Complaints::default();
    for thread in finished {
        all.merge(thread.complaints.clone());
    }
    all.lines()
}

fn seconds_since(began_us: u64) -> f64 {
    seconds_between(began_us, clock::now_us())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are checked to be positive and below a day"
)]
fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds_between(began_us: u64, ended_us: u64) -> f64 {
    ended_us.saturating_sub(began_us) as f64 / 1e6
}
