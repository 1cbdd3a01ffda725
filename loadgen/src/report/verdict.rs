//! Whether a phase's figures may be believed.

use super::PhaseReport;
use crate::observe::process::SECONDS_MIN;
use crate::scenario::Workload;

/// CPU share from which a thread counts as saturated.
const SATURATED: f64 = 0.95;
/// CPU share from which the server's busiest thread counts as the one that limits.
const SERVER_LIMITS: f64 = 0.90;

/// One turn missed in so many, or in more, leaves a rate reached.
const MISSED_ONE_IN: u64 = 100;

/// Beliefs that the figures alone do not show.
#[derive(Clone, Copy, Debug)]
pub struct Doubts {
    /// Lateness let pass at the 99th percentile.
    pub lateness_max_us: u64,
    /// Whether no message would be no measurement.
    pub expects_messages: bool,
    /// Whether there is a timetable to be late for.
    pub keeps_timetable: bool,
    /// Connections asked for.
    pub wanted: u64,
    /// Whether the load began before all were open, because they took too long.
    pub connect_timed_out: bool,
    /// Whether threads could not have descriptor tables of their own.
    pub table_is_shared: bool,
    /// Whether the user ended it early.
    pub interrupted: bool,
    /// Whether the server's process was named and was not there from beginning to end.
    pub server_unseen: bool,
}

/// Fills in why `phase` must not be believed, and what to know about it.
pub fn judge(phase: &mut PhaseReport, doubts: &Doubts) {
    phase.invalid = faults(phase, doubts);
    let remarks = remarks(phase, doubts);
    phase.notes.extend(remarks);
}

fn faults(phase: &PhaseReport, doubts: &Doubts) -> Vec<String> {
    let counters = &phase.totals;
    let mut faults = told(&[
        (counters.lost, "messages lost"),
        (counters.repeated, "messages repeated"),
        (counters.reordered, "messages out of order"),
        (counters.corrupt, "messages corrupt"),
        (counters.misdelivered, "messages delivered to somebody who should not have them"),
        (counters.unsent, "messages due but not sent (sockets full or gone): latencies understate"),
        (counters.refused, "connections failed"),
        (counters.dropped, "connections dropped by the server"),
        (counters.violations, "connections ended by this tool: the server broke the protocol"),
        (counters.errors, "errors answered by the server"),
    ]);
    if counters.opened < doubts.wanted && counters.refused == 0 {
        let missing = doubts.wanted - counters.opened;
        faults.push(format!("{missing} connections never opened"));
    }
    if doubts.connect_timed_out {
        faults.push("not everything was connected and joined in time".to_owned());
    }
    if doubts.expects_messages && phase.measured.received == 0 {
        faults.push("no message arrived".to_owned());
    }
    faults.extend(missed_turns(phase).filter(|_| !is_rate_reached(phase)));
    faults.extend(saturation(phase, doubts));
    faults
}

fn remarks(phase: &PhaseReport, doubts: &Doubts) -> Vec<String> {
    let counters = &phase.totals;
    let mut remarks = told(&[
        (counters.foreign, "messages of other runs, which are in no other figure"),
        (counters.slow_ended, "slow consumers ended by the server"),
        (counters.resumed, "connections resumed without loss"),
        (counters.not_recovered, "resumptions that the server said it could not do"),
        (
            counters.redelivered,
            "messages that came again, as they may: marked so in guaranteed rooms, or with a session",
        ),
    ]);
    let slowed = matches!(&phase.workload, Workload::Slow(plan) if plan.slow > 0);
    if slowed && counters.slow_ended + counters.announced_gaps == 0 {
        remarks.push(
            "the server ended no slow consumer and told none of a gap: what they did not read may \
             have fitted into buffers (--rate, --size and --seconds make it more)"
                .to_owned(),
        );
    }
    if counters.announced_gaps > 0 {
        let count = counters.announced_gaps;
        remarks.push(format!("the server announced gaps of {count} messages in all"));
    }
    remarks.extend(missed_turns(phase).filter(|_| is_rate_reached(phase)));
    if doubts.table_is_shared {
        remarks.push(
            "threads share one table of descriptors, for they may not have their own here: its \
             limit is that of all together, and they wait for one another in it"
                .to_owned(),
        );
    }
    if doubts.server_unseen {
        remarks.push(
            "the process of --server-pid was not there from beginning to end: what it used is not \
             known"
                .to_owned(),
        );
    }
    if doubts.interrupted {
        remarks.push("interrupted".to_owned());
    }
    let storm = phase.workload.plan().measures_connecting() && counters.opened > 0;
    if storm && phase.seconds < SECONDS_MIN {
        remarks.push(format!(
            "all were open within {SECONDS_MIN} s: too soon to tell whose CPU was the limit"
        ));
    }
    if phase.closed_loop {
        remarks.push(
            "closed loop: the rate is the server's own, latencies leave out the waiting that a \
             fixed load would meet"
                .to_owned(),
        );
    }
    remarks
}

/// Of what there was any.
fn told(counts: &[(u64, &str)]) -> Vec<String> {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!("{count} {what}")).collect()
}

/// What a rate asked for and was not done.
fn missed_turns(phase: &PhaseReport) -> Option<String> {
    let (word, _) = phase.workload.plan().turns()?;
    let missed = phase.totals.missed;
    (missed > 0).then(|| format!("{missed} {word} were due and not made: nobody was free in time"))
}

fn is_rate_reached(phase: &PhaseReport) -> bool {
    phase.totals.missed.saturating_mul(MISSED_ONE_IN) <= phase.totals.turns
}

/// The generator must not be what was measured, if anything was.
fn saturation(phase: &PhaseReport, doubts: &Doubts) -> Option<String> {
    if phase.seconds < SECONDS_MIN || phase.totals.opened == 0 {
        return None;
    }
    let late = doubts.keeps_timetable && phase.lateness.p99 > doubts.lateness_max_us;
    let busy = phase.generator.busiest_thread >= SATURATED;
    let server_limits = phase.server.is_some_and(|server| server.busiest_thread >= SERVER_LIMITS);
    match (late, busy) {
        (true, _) => Some(format!(
            "the generator itself was {} us late at the 99th percentile",
            phase.lateness.p99
        )),
        (false, true) if !server_limits => Some(format!(
            "a thread of the generator was {:.0} % busy, and the server is not known to have \
             been the limit",
            phase.generator.busiest_thread * 100.0
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::KernelCounters;
    use crate::observe::process::Share;
    use crate::report::{Quantiles, Report};
    use crate::run::RunError;
    use crate::scenario::churn::Churn;
    use crate::scenario::echo::Echo;
    use crate::scenario::slow::Slow;
    use crate::scenario::storm::Storm;
    use crate::stats::Counters;

    /// Nothing that `sound` does not have.
    const TRUST: Doubts = Doubts {
        lateness_max_us: 20_000,
        expects_messages: true,
        keeps_timetable: true,
        wanted: 200,
        connect_timed_out: false,
        table_is_shared: false,
        interrupted: false,
        server_unseen: false,
    };

    /// Ten seconds of echoes, none of them missing, nobody near a limit.
    fn sound() -> PhaseReport {
        let counters =
            Counters { opened: 200, sent: 1_000, received: 1_000, ..Counters::default() };
        PhaseReport {
            workload: Workload::Echo(Echo::default()),
            closed_loop: false,
            threads: 2,
            connect_seconds: 0.1,
            connected: 200,
            seconds: 10.0,
            totals: counters,
            measured: counters,
            held: 200,
            latency: Quantiles::default(),
            handshake: Quantiles::default(),
            lateness: Quantiles { p99: 20_000, ..Quantiles::default() },
            generator: busy(0.94),
            server: None,
            server_resident_before: None,
            kernel: KernelCounters::default(),
            series: Vec::new(),
            complaints: Vec::new(),
            invalid: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Makes it a storm that took so long.
    fn storm(phase: &mut PhaseReport, doubts: &mut Doubts, seconds: f64) {
        phase.workload = Workload::Storm(Storm::default());
        phase.seconds = seconds;
        phase.measured.received = 0;
        (doubts.expects_messages, doubts.keeps_timetable) = (false, false);
    }

    /// Makes it churn that renewed so many connections, and missed so many.
    fn churn(phase: &mut PhaseReport, doubts: &mut Doubts, turns: u64, missed: u64) {
        phase.workload = Workload::Churn(Churn::default());
        (phase.totals.turns, phase.totals.missed) = (turns, missed);
        phase.measured.received = 0;
        doubts.expects_messages = false;
    }

    fn busy(busiest_thread: f64) -> Share {
        Share { cpus: busiest_thread, busiest_thread, ..Share::default() }
    }

    /// What is said of a phase and of doubts that differ from the sound ones in this.
    fn judged(change: impl FnOnce(&mut PhaseReport, &mut Doubts)) -> PhaseReport {
        let (mut phase, mut doubts) = (sound(), TRUST);
        change(&mut phase, &mut doubts);
        judge(&mut phase, &doubts);
        phase
    }

    type Change = fn(&mut PhaseReport, &mut Doubts);

    #[test]
    fn every_fault_makes_a_phase_invalid_and_is_named() {
        let table: [(Change, &str); 18] = [
            (|phase, _| phase.totals.lost = 1, "1 messages lost"),
            (|phase, _| phase.totals.repeated = 2, "2 messages repeated"),
            (|phase, _| phase.totals.reordered = 3, "3 messages out of order"),
            (|phase, _| phase.totals.corrupt = 1, "1 messages corrupt"),
            (|phase, _| phase.totals.misdelivered = 1, "1 messages delivered to somebody"),
            (|phase, _| phase.totals.unsent = 1, "1 messages due but not sent"),
            (|phase, _| phase.totals.refused = 4, "4 connections failed"),
            (|phase, _| phase.totals.dropped = 1, "1 connections dropped by the server"),
            (|phase, _| phase.totals.violations = 1, "1 connections ended by this tool"),
            (|phase, _| phase.totals.errors = 1, "1 errors answered"),
            (|phase, _| phase.totals.opened = 199, "1 connections never opened"),
            (|_, doubts| doubts.connect_timed_out = true, "not everything was connected"),
            (|phase, _| phase.measured.received = 0, "no message arrived"),
            // The generator before the server: late against its own timetable, or out of CPU while
            // nothing says that the server was, too.
            (|phase, _| phase.lateness.p99 = 20_001, "the generator itself was 20001 us late"),
            (|phase, _| phase.generator = busy(0.95), "a thread of the generator was 95 % busy"),
            (
                |phase, _| {
                    phase.closed_loop = true;
                    phase.lateness.p99 = 0;
                    phase.generator = busy(1.0);
                },
                "a thread of the generator was 100 % busy",
            ),
            (
                |phase, _| (phase.generator, phase.server) = (busy(0.99), Some(busy(0.89))),
                "a thread of the generator was 99 % busy",
            ),
            (
                |phase, _| {
                    phase.lateness.p99 = 90_000;
                    (phase.generator, phase.server) = (busy(0.99), Some(busy(1.0)));
                },
                "the generator itself was 90000 us late",
            ),
        ];
        assert_invalid(&table);
    }

    fn assert_invalid(table: &[(Change, &str)]) {
        for (change, words) in table {
            let phase = judged(change);
            let [reason] = &*phase.invalid else { panic!("{words}: {:?}", phase.invalid) };
            assert!(reason.starts_with(words), "{reason}");
            assert!(!report(vec![phase]).is_valid(), "{words}");
        }
    }

    #[test]
    fn what_is_no_fault_leaves_it_valid_and_is_noted() {
        let table: [(Change, Option<&str>); 17] = [
            (|_, _| (), None),
            (|phase, _| phase.totals.announced_gaps = 5, Some("the server announced gaps of 5")),
            (|phase, _| phase.totals.foreign = 3, Some("3 messages of other runs")),
            (|phase, _| phase.totals.slow_ended = 1, Some("1 slow consumers ended")),
            (|phase, _| phase.totals.resumed = 1, Some("1 connections resumed without loss")),
            (|phase, _| phase.totals.not_recovered = 1, Some("1 resumptions that the server")),
            (|phase, _| phase.totals.redelivered = 1, Some("1 messages that came again")),
            (|_, doubts| doubts.table_is_shared = true, Some("threads share one table")),
            (
                |phase, _| phase.workload = Workload::Slow(Slow::default()),
                Some("the server ended no slow consumer"),
            ),
            (
                |phase, _| {
                    phase.workload = Workload::Slow(Slow::default());
                    phase.totals.slow_ended = 1;
                },
                Some("1 slow consumers ended"),
            ),
            (|_, doubts| doubts.interrupted = true, Some("interrupted")),
            (|_, doubts| doubts.server_unseen = true, Some("the process of --server-pid was not")),
            (|phase, _| phase.closed_loop = true, Some("closed loop")),
            // A closed loop has no timetable, and where no messages are expected none is late.
            (
                |phase, doubts| {
                    (phase.closed_loop, doubts.keeps_timetable) = (true, false);
                    phase.lateness.p99 = 1_000_000;
                },
                Some("closed loop"),
            ),
            (
                |phase, doubts| {
                    (doubts.expects_messages, doubts.keeps_timetable) = (false, false);
                    phase.measured.received = 0;
                    phase.lateness.p99 = 1_000_000;
                },
                None,
            ),
            // Both at their limit, and the server is known to be.
            (|phase, _| (phase.generator, phase.server) = (busy(1.0), Some(busy(0.90))), None),
            // Nothing was measured, so the figures of that nothing say nothing.
            (
                |phase, _| {
                    phase.seconds = 0.000_2;
                    phase.lateness.p99 = 1_000_000;
                    phase.generator = busy(14.43);
                },
                None,
            ),
        ];
        assert_valid(&table);
    }

    fn assert_valid(table: &[(Change, Option<&str>)]) {
        for (change, words) in table {
            let phase = judged(change);
            assert_eq!(phase.invalid, [""; 0], "{words:?}");
            let notes: Vec<&str> = phase.notes.iter().map(String::as_str).collect();
            match (words, &*notes) {
                (None, []) => {}
                (Some(words), [note]) if note.starts_with(words) => {}
                _ => panic!("{words:?}: {notes:?}"),
            }
            assert!(report(vec![phase]).is_valid());
        }
    }

    #[test]
    fn a_storm_and_a_rate_are_judged_by_what_they_are() {
        let faults: [(Change, &str); 3] = [
            (|phase, doubts| churn(phase, doubts, 199, 2), "2 renewals were due and not made"),
            (
                |phase, doubts| {
                    churn(phase, doubts, 1_000, 0);
                    phase.lateness.p99 = 20_001;
                },
                "the generator itself was 20001 us late",
            ),
            // A storm is one as long as it connects, and the server had time to spare.
            (
                |phase, doubts| {
                    storm(phase, doubts, 0.5);
                    (phase.generator, phase.server) = (busy(0.97), Some(busy(0.5)));
                },
                "a thread of the generator was 97 % busy",
            ),
        ];
        assert_invalid(&faults);
        let sound: [(Change, Option<&str>); 5] = [
            (|phase, doubts| churn(phase, doubts, 1_000, 0), None),
            (|phase, doubts| churn(phase, doubts, 200, 2), Some("2 renewals were due")),
            (
                |phase, doubts| {
                    storm(phase, doubts, 0.5);
                    (phase.generator, phase.server) = (busy(0.99), Some(busy(0.95)));
                },
                None,
            ),
            (
                |phase, doubts| {
                    storm(phase, doubts, 0.05);
                    phase.generator = busy(1.0);
                },
                Some("all were open within 0.1 s"),
            ),
            // However busy it was with being refused, that was no storm.
            (
                |phase, doubts| {
                    storm(phase, doubts, 0.5);
                    (phase.totals.opened, doubts.wanted) = (0, 0);
                    phase.generator = busy(1.0);
                },
                None,
            ),
        ];
        assert_valid(&sound);
    }

    #[test]
    fn a_report_is_as_good_as_its_worst_phase_and_none_is_not_good() {
        let lost = || judged(|phase, _| phase.totals.lost = 1);
        assert!(report(vec![sound(), sound()]).is_valid());
        assert!(!report(vec![sound(), lost()]).is_valid());
        assert!(!report(vec![lost(), sound()]).is_valid());
        assert!(!report(Vec::new()).is_valid());
    }

    #[test]
    fn a_run_whose_phases_have_not_all_run_is_not_good() {
        let concluded = |ran: usize, failed: Option<&RunError>| {
            let mut report = report(vec![sound(); ran]);
            report.conclude(3, failed);
            (report.verdict, report.doubts)
        };
        assert_eq!(concluded(3, None), ("VALID", Vec::new()));
        let (verdict, doubts) = concluded(1, None);
        assert_eq!((verdict, &*doubts), ("INVALID", &["2 of 3 phases did not run".to_owned()][..]));
        let failed = RunError::Io(std::io::Error::other("no ring"));
        let (verdict, doubts) = concluded(2, Some(&failed));
        let told = ["phase 3 of 3 could not run: no ring", "1 of 3 phases did not run"];
        assert_eq!((verdict, doubts), ("INVALID", told.map(str::to_owned).to_vec()));
    }

    fn report(phases: Vec<PhaseReport>) -> Report {
        Report { phases, ..Report::default() }
    }
}
