//! A report as one page that needs nothing else: figures, charts, and the text report below.

use std::fmt::Write;

use super::chart::{Chart, Line};
use super::text::mebibytes;
use super::{PhaseReport, Report, Second, text};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;\
padding:0 1em;color:#111;background:#fff}h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em;\
border-bottom:1px solid #999}svg{width:100%;height:auto;margin:.5em 0}svg text{font-family:inherit}\
.title{font-size:12px;font-weight:600}.mark{font-size:10px;fill:#333}.grid{stroke:#ddd}\
pre{font-size:12px;overflow-x:auto;background:#f6f6f6;padding:1em}.valid{color:#38761d}\
.invalid{color:#b00020}dl{display:grid;grid-template-columns:10em 1fr;margin:0}dd{margin:0}\
@media print{body{margin:0;max-width:none;font-size:11px}pre{background:none;border:1px solid #999;\
white-space:pre-wrap}svg,h2{break-inside:avoid}h2{break-after:avoid}}";

/// The whole page.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let class = if report.is_valid() { "valid" } else { "invalid" };
    let verdict = report.word();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Load report</title><style>{STYLE}</style>\n\
         <h1>Load report: <span class=\"{class}\">{verdict}</span></h1>\n<dl>"
    );
    for (name, value) in [
        ("Server", report.url.clone()),
        ("Dialect", report.dialect.clone()),
        ("Command", report.command.join(" ")),
        ("Unix time", report.unix_seconds.to_string()),
        ("Machine", format!("{} CPUs, Linux {}", report.machine_cpus, report.kernel)),
        ("Generator", format!("{}, {}", report.version, report.backend)),
    ] {
        let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    out.push_str("</dl>\n");
    for doubt in &report.doubts {
        let _ = writeln!(out, "<p class=\"invalid\">{}</p>", escape(doubt));
    }
    for phase in &report.phases {
        render_phase(&mut out, phase);
    }
    let _ =
        write!(out, "<h2>As text</h2>\n<pre>{}</pre>\n</html>\n", escape(&text::render(report)));
    out
}

fn render_phase(out: &mut String, phase: &PhaseReport) {
    let name = phase.workload.plan().name();
    let kind = if phase.closed_loop { " (closed loop)" } else { "" };
    let _ = writeln!(out, "<h2>{name}{kind}</h2>");
    for reason in &phase.invalid {
        let _ = writeln!(out, "<p class=\"invalid\">{}</p>", escape(reason));
    }
    if phase.latency.count > 0 {
        out.push_str(&quantile_chart(phase).render());
        out.push_str(&over_time(
            phase,
            "Latency",
            "microseconds",
            true,
            &[
                ("p50", |second| second.p50_us.map(exact)),
                ("p99", |second| second.p99_us.map(exact)),
            ],
        ));
        out.push_str(&over_time(
            phase,
            "Messages",
            "a second",
            false,
            &[
                ("received", |second| Some(exact(second.received))),
                ("sent", |second| Some(exact(second.sent))),
            ],
        ));
    }
    out.push_str(&over_time(
        phase,
        "Connections open",
        "",
        false,
        &[("open", |second| Some(exact(second.open)))],
    ));
    let own: (_, Value) = ("generator", |second| Some(second.generator_cpus));
    let server: (_, Value) = ("server", |second| Some(second.server_cpus));
    out.push_str(&over_time(phase, "CPU", "CPUs busy", false, &of_both(phase, own, server)));
    let own: (_, Value) = ("generator", |second| Some(mebibytes(second.generator_resident_bytes)));
    let server: (_, Value) = ("server", |second| Some(mebibytes(second.server_resident_bytes)));
    out.push_str(&over_time(phase, "Memory", "MiB resident", false, &of_both(phase, own, server)));
}

/// A line for this tool, and one for the server where its process is known.
fn of_both<T>(phase: &PhaseReport, own: T, server: T) -> Vec<T> {
    let server = phase.server.is_some().then_some(server);
    std::iter::once(own).chain(server).collect()
}

/// Latency by quantile, the axis stretched towards 1 as such curves are read.
fn quantile_chart(phase: &PhaseReport) -> Chart {
    let stretch = |quantile: f64| -(1.0 - quantile).max(1e-7).log10();
    let points = |curve: &[(f64, u64)]| {
        curve.iter().map(|(quantile, us)| (stretch(*quantile), Some(exact(*us)))).collect()
    };
    let marks = [(0.0, "0"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    Chart {
        title: "Latency from the intended moment",
        x: "quantile",
        x_marks: marks.map(|(quantile, text)| (stretch(quantile), text.to_owned())).to_vec(),
        y: "microseconds",
        logarithmic: true,
        lines: vec![Line { name: "latency", points: points(&phase.latency.curve) }],
    }
}

/// What a chart shows of a second; none where there is none.
type Value = fn(&Second) -> Option<f64>;

fn over_time(
    phase: &PhaseReport,
    title: &'static str,
    y: &'static str,
    logarithmic: bool,
    values: &[(&'static str, Value)],
) -> String {
    let lines = values
        .iter()
        .map(|(name, value)| Line {
            name,
            points: phase.series.iter().map(|second| (second.at, value(second))).collect(),
        })
        .collect();
    Chart { title, x: "seconds", x_marks: Vec::new(), y, logarithmic, lines }.render()
}

#[expect(clippy::cast_precision_loss, reason = "a point on a chart")]
fn exact(value: u64) -> f64 {
    value as f64
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
