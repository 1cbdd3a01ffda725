//! A report for people, in a terminal.

use std::fmt::Write;

use super::{PhaseReport, Quantiles, Report};
use crate::observe::process::Share;

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} ({}), {}", report.url, report.dialect, report.backend);
    for phase in &report.phases {
        render_phase(&mut out, phase);
    }
    let _ = writeln!(out, "\n{}", report.word());
    let of_phases = report.phases.iter().flat_map(|phase| &phase.invalid);
    for reason in of_phases.chain(&report.doubts) {
        let _ = writeln!(out, "  {reason}");
    }
    out
}

fn render_phase(out: &mut String, phase: &PhaseReport) {
    let name = phase.workload.plan().name();
    let kind = match (phase.workload.plan().expects_messages(), phase.closed_loop) {
        (false, _) => "",
        (true, true) => ", CLOSED LOOP",
        (true, false) => ", open loop",
    };
    let _ =
        writeln!(out, "\n{name}{kind}: {:.1} s measured, {} threads", phase.seconds, phase.threads);
    let _ = writeln!(
        out,
        "  connections   {} opened in {:.2} s ({:.0}/s), {} held at the end, {} failed, {} dropped",
        phase.connected,
        phase.connect_seconds,
        per_second(phase.connected, phase.connect_seconds),
        phase.held,
        phase.totals.refused,
        phase.totals.dropped
    );
    if phase.workload.plan().renews_connections() {
        let _ = writeln!(
            out,
            "  made anew     {:.0}/s ({} in all)",
            per_second(phase.measured.opened, phase.seconds),
            phase.totals.opened.saturating_sub(phase.connected)
        );
    }
    let _ = writeln!(out, "  handshake     {}", quantiles(&phase.handshake));
    if phase.latency.count > 0 {
        let _ = writeln!(
            out,
            "  messages      {:.0}/s sent, {:.0}/s received ({} in all)",
            per_second(phase.measured.sent, phase.seconds),
            per_second(phase.measured.received, phase.seconds),
            phase.totals.received
        );
        let _ = writeln!(out, "  latency       {}", quantiles(&phase.latency));
    }
    if let Some((word, asked)) = phase.workload.plan().turns() {
        let made = per_second(phase.measured.turns, phase.seconds);
        let all = phase.totals.turns;
        let _ = writeln!(out, "  {word:<13} {made:.1}/s of {asked}/s asked for ({all} in all)");
    }
    let _ = writeln!(out, "  own lateness  {}", quantiles(&phase.lateness));
    let _ = writeln!(out, "  generator     {}", usage(&phase.generator, phase));
    let own = mebibytes(phase.generator.resident_bytes);
    let _ = writeln!(out, "  own memory    {own:.1} MiB resident");
    if let Some(server) = &phase.server {
        let _ = writeln!(out, "  server        {}", usage(server, phase));
        let _ = writeln!(out, "  server memory {}", memory(server, phase));
    }
    render_kernel(out, phase);
    for note in phase.complaints.iter().chain(&phase.notes) {
        let _ = writeln!(out, "  note          {note}");
    }
}

fn render_kernel(out: &mut String, phase: &PhaseReport) {
    let kernel = &phase.kernel;
    let told: Vec<String> = [
        (kernel.retransmits, "retransmits"),
        (kernel.listen_overflows, "listen overflows"),
        (kernel.listen_drops, "listen drops"),
        (kernel.syn_retransmits, "SYN retransmits"),
        (kernel.memory_aborts, "aborts for memory"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    let told = if told.is_empty() { "nothing unusual".to_owned() } else { told.join(", ") };
    let _ = writeln!(out, "  kernel        {told} (in all of this network namespace)");
}

fn usage(share: &Share, phase: &PhaseReport) -> String {
    let mut text = format!("{:.2} CPUs (busiest thread {:.2})", share.cpus, share.busiest_thread);
    let (count, what) = if phase.workload.plan().measures_connecting() {
        (phase.measured.opened, "connection made")
    } else {
        (phase.measured.received, "message received")
    };
    if let Some(each_ns) = share.cpu_ns.checked_div(count) {
        let _ = write!(text, ", {each_ns} ns per {what}");
    }
    text
}

fn memory(server: &Share, phase: &PhaseReport) -> String {
    let mut text = format!("{:.1} MiB resident", mebibytes(server.resident_bytes));
    if let (Some(before), 1..) = (phase.server_resident_before, phase.held) {
        let grown = server.resident_bytes.saturating_sub(before);
        let _ = write!(text, ", {} B more per connection than before", grown / phase.held);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-9)
}

fn quantiles(quantiles: &Quantiles) -> String {
    if quantiles.count == 0 {
        return "-".to_owned();
    }
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        duration(quantiles.p50),
        duration(quantiles.p90),
        duration(quantiles.p99),
        duration(quantiles.p999),
        duration(quantiles.max)
    )
}

/// Microseconds in the unit that people would use.
#[must_use]
pub fn duration(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let value = us as f64;
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.2} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
}
