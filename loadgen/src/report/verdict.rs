//! Whether a phase's figures may be believed.

use super::PhaseReport;

/// CPU share from which a thread counts as saturated.
const SATURATED: f64 = 0.95;
/// CPU share from which the server's busiest thread counts as the one that limits.
const SERVER_LIMITS: f64 = 0.90;

/// Beliefs that the figures alone do not show.
#[derive(Clone, Copy, Debug)]
pub struct Doubts {
    /// Lateness let pass at the 99th percentile.
    pub lateness_max_us: u64,
    /// Whether no message would be no measurement.
    pub expects_messages: bool,
    /// Connections asked for.
    pub wanted: u64,
    /// Whether the load began before all were open, because they took too long.
    pub connect_timed_out: bool,
    /// Whether the user ended it early.
    pub interrupted: bool,
}

/// Fills in why `phase` must not be believed, and what to know about it.
pub fn judge(phase: &mut PhaseReport, doubts: &Doubts) {
    let counters = &phase.totals;
    let mut invalid = Vec::new();
    for (count, what) in [
        (counters.lost, "messages lost"),
        (counters.repeated, "messages repeated"),
        (counters.reordered, "messages out of order"),
        (counters.corrupt, "messages corrupt"),
        (counters.misdelivered, "messages delivered to somebody who should not have them"),
        (counters.unsent, "messages due but not sent (sockets full or gone): latencies understate"),
        (counters.refused, "connections failed"),
        (counters.dropped, "connections dropped by the server"),
        (counters.errors, "errors answered by the server"),
    ] {
        if count > 0 {
            invalid.push(format!("{count} {what}"));
        }
    }
    if counters.announced_gaps > 0 {
        let count = counters.announced_gaps;
        phase.notes.push(format!("the server announced gaps of {count} messages in all"));
    }
    if counters.opened < doubts.wanted && counters.refused == 0 {
        let missing = doubts.wanted - counters.opened;
        invalid.push(format!("{missing} connections never opened"));
    }
    if doubts.connect_timed_out {
        invalid.push("not everything was connected and joined in time".to_owned());
    }
    for (count, what) in [
        (counters.slow_ended, "slow consumers ended by the server"),
        (counters.resumed, "connections resumed without loss"),
        (counters.not_recovered, "resumptions that the server said it could not do"),
        (counters.redelivered, "messages that came again with a session, none that may not"),
    ] {
        if count > 0 {
            phase.notes.push(format!("{count} {what}"));
        }
    }
    if doubts.interrupted {
        phase.notes.push("interrupted".to_owned());
    }
    if doubts.expects_messages && phase.measured.received == 0 {
        invalid.push("no message arrived".to_owned());
    }
    invalid.extend(saturation(phase, doubts));
    if phase.closed_loop {
        phase.notes.push(
            "closed loop: the rate is the server's own, latencies leave out the waiting that a \
             fixed load would meet"
                .to_owned(),
        );
    }
    phase.invalid = invalid;
}

/// The generator must not be what was measured.
fn saturation(phase: &PhaseReport, doubts: &Doubts) -> Option<String> {
    // A closed loop has no timetable to be late for, and where nothing is sent nothing is late.
    let timetable = doubts.expects_messages && !phase.closed_loop;
    let late = timetable && phase.lateness.p99 > doubts.lateness_max_us;
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
