//! The figures as OpenMetrics text. What stands in it depends on the number of cores alone.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Bridge, Core, Figure, Histogram, LinkState, Registry};

/// The media type of [`text`].
pub const TEXT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the operating system knows of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Memory that is resident.
    pub resident_bytes: u64,
    /// Descriptors in use, over all tables of the process.
    pub descriptors: u64,
    /// Descriptors that one table may hold.
    pub descriptors_per_table: u64,
    /// How long the process has run.
    pub uptime_ms: u64,
}

/// All figures as text.
///
/// # Errors
///
/// Never: writing to a string does not fail. The encoder's interface allows for it.
pub fn text(registry: &Registry, facts: ProcessFacts) -> Result<String, fmt::Error> {
    let mut metrics = prometheus_client::registry::Registry::with_prefix("ringroom");
    metrics.register_collector(Box::new(Exposition { registry: registry.clone(), facts }));
    let mut text = String::new();
    encode(&mut text, &metrics)?;
    Ok(text)
}

#[derive(Debug)]
struct Exposition {
    registry: Registry,
    facts: ProcessFacts,
}

/// A name, what it means, and where it stands.
type Row<T> = (&'static str, &'static str, fn(&Core) -> &T);
/// The same for a figure that is kept apart by reason.
type ReasonRow = (&'static str, &'static str, fn(&Core) -> Vec<(&'static str, u64)>);

const GAUGES: &[Row<Figure>] = &[
    ("connections_open", "WebSockets that are open", |core| &core.connections),
    ("handshakes_pending", "Handshakes not finished", |core| &core.handshakes_pending),
    ("relayed_open", "Plain HTTP connections on the main port", |core| &core.relayed),
    ("rooms", "Rooms, on their home cores", |core| &core.rooms),
    ("sessions", "Sessions, on their home cores", |core| &core.sessions),
    ("outbox_bytes", "Bytes queued for connections", |core| &core.outbox_bytes),
    ("outbox_limit_bytes", "Bytes that may be queued for connections", |core| {
        &core.outbox_limit_bytes
    }),
    (
        "inbox_bytes",
        "Bytes held of what connections have sent that is not carried out yet",
        |core| &core.inbox_bytes,
    ),
    ("inbox_limit_bytes", "Bytes that may be held of what connections have sent", |core| {
        &core.inbox_limit_bytes
    }),
    ("mesh_backlog_bytes", "Bytes on their way to other threads", |core| &core.mesh_backlog_bytes),
    ("listening", "1 once clients come in", |core| &core.listening),
    ("draining", "1 while connections are sent away", |core| &core.draining),
];

const COUNTERS: &[Row<Figure>] = &[
    ("accepts", "Connections taken from the kernel", |core| &core.accepts),
    ("handshakes", "Upgrades answered with 101", |core| &core.handshakes),
    ("relays", "Plain HTTP requests on the main port that were relayed", |core| &core.relays),
    ("messages_in", "Messages received", |core| &core.messages_in),
    ("messages_out", "Messages of rooms queued for connections", |core| &core.messages_out),
    ("bytes_in", "Bytes read from sockets", |core| &core.bytes_in),
    ("bytes_out", "Bytes written to sockets", |core| &core.bytes_out),
    ("published", "Messages published", |core| &core.published),
    ("bad_messages", "Messages that could not be understood", |core| &core.bad_messages),
    ("keys_refused", "Publishes refused because their room remembers too many keys", |core| {
        &core.keys_refused
    }),
    ("rate_limited", "Messages and control frames that came too fast", |core| &core.rate_limited),
    ("credentials_refused", "Credentials refused", |core| &core.credentials_refused),
    ("inflate_messages", "Messages inflated", |core| &core.inflate.messages),
    ("inflate_compressed_bytes", "Bytes inflated", |core| &core.inflate.compressed_bytes),
    ("inflate_plain_bytes", "Bytes that came of it", |core| &core.inflate.plain_bytes),
    ("inflate_microseconds", "Time spent inflating", |core| &core.inflate.time_us),
    ("deflate_messages", "Messages deflated", |core| &core.deflate.messages),
    ("deflate_compressed_bytes", "Bytes that came of it", |core| &core.deflate.compressed_bytes),
    ("deflate_plain_bytes", "Bytes deflated", |core| &core.deflate.plain_bytes),
    ("deflate_microseconds", "Time spent deflating", |core| &core.deflate.time_us),
    ("broker_gaps", "Times a room had missed something of other nodes", |core| &core.broker_gaps),
    ("broker_filled", "Publications missed and had from Redis", |core| &core.broker_filled),
    ("broker_lost", "Publications missed, gone from Redis, announced", |core| &core.broker_lost),
    ("broker_unheard", "Rooms received by patterns that were too many to follow", |core| {
        &core.broker_unheard
    }),
    ("pings", "Pings sent", |core| &core.pings),
    ("pongs", "Pings answered", |core| &core.pongs),
    ("panics", "Connections closed by a panic", |core| &core.panics),
    ("ticks", "Times round the loop", |core| &core.ticks),
    ("empty_rounds", "Times round the loop for nothing", |core| &core.empty_rounds),
    ("spinning_beats", "Half seconds whose CPU time went where no work was", |core| {
        &core.spinning_beats
    }),
    ("mesh_batches", "Batches handed to other threads", |core| &core.mesh_batches),
    ("mesh_rings", "Doorbells rung", |core| &core.mesh_rings),
    ("mesh_full", "Times a batch found an inbox full", |core| &core.mesh_full),
    ("mesh_lost", "Messages whose receiver was gone", |core| &core.mesh_lost),
];

const REASONS: &[ReasonRow] = &[
    ("refusals", "Connections not taken in", |core| core.refusals.numbers().collect()),
    ("handshake_failures", "Handshakes that failed", |core| {
        core.handshake_failures.numbers().collect()
    }),
    ("closes", "Ends of WebSockets", |core| core.closes.numbers().collect()),
    ("gaps", "Publications that did not reach a connection", |core| core.gaps.numbers().collect()),
];

const HISTOGRAMS: &[Row<Histogram>] = &[
    ("handshake_latency_seconds", "From accept to 101", |core| &core.handshake_latency),
    ("write_latency_seconds", "How long blocked sockets waited for room in the kernel", |core| {
        &core.write_latency
    }),
    ("round_trip_seconds", "From a ping to its pong", |core| &core.round_trip),
    ("loop_time_seconds", "How long the loop took to come round", |core| &core.loop_time),
    ("timer_lateness_seconds", "From due to run", |core| &core.timer_lateness),
    ("inbox_delay_seconds", "From sent to taken by another thread", |core| &core.inbox_delay),
];

/// Of the bridge, where there is one.
type BridgeRow = (&'static str, &'static str, fn(&Bridge) -> &Figure);

const BRIDGE_GAUGES: &[BridgeRow] = &[
    ("bridge_form", "The wire form of the nodes on this Redis; 0: not known yet", |bridge| {
        &bridge.form
    }),
    ("bridge_rooms", "Rooms that are listened to in Redis", |bridge| &bridge.rooms),
    ("bridge_queue_messages", "Publishes that wait for Redis", |bridge| &bridge.queue_messages),
    ("bridge_interop_up", "1 while backends that know only PUBLISH are listened to", |bridge| {
        &bridge.interop_up
    }),
    ("bridge_queue_bytes", "Bytes of publishes that wait for Redis", |bridge| &bridge.queue_bytes),
];

const BRIDGE_COUNTERS: &[BridgeRow] = &[
    ("bridge_published", "Publishes that Redis has placed", |bridge| &bridge.published),
    (
        "bridge_failed",
        "Publishes that Redis has not placed, but for those in slow mode that came too soon",
        |bridge| &bridge.failed,
    ),
    ("bridge_heard", "News of rooms heard from Redis", |bridge| &bridge.heard),
    ("bridge_unreadable", "News that could not be read", |bridge| &bridge.unreadable),
    ("bridge_missed", "News that did not fit on the way to a core", |bridge| &bridge.missed),
    ("bridge_strayed", "Calls made again because their slot had moved", |bridge| &bridge.strayed),
    ("bridge_silenced", "Subscriptions that Redis has ended by itself", |bridge| &bridge.silenced),
    ("bridge_ended", "Temporary rooms deleted because nobody followed them", |bridge| {
        &bridge.ended
    }),
    ("bridge_connects", "Times a link to Redis was made", |bridge| &bridge.connects),
];

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for &(name, help, figure) in GAUGES {
            self.each_core(&mut encoder, name, help, MetricType::Gauge, figure)?;
        }
        for &(name, help, figure) in COUNTERS {
            self.each_core(&mut encoder, name, help, MetricType::Counter, figure)?;
        }
        for row in REASONS {
            self.each_reason(&mut encoder, row)?;
        }
        for row in HISTOGRAMS {
            self.each_histogram(&mut encoder, row)?;
        }
        self.bridge(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Exposition {
    fn each_core(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        kind: MetricType,
        figure: fn(&Core) -> &Figure,
    ) -> fmt::Result {
        let is_gauge = matches!(kind, MetricType::Gauge);
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for (id, core) in self.registry.cores() {
            let (labels, number) = ([("core", id.0)], figure(core).get());
            let line = metric.encode_family(&labels)?;
            if is_gauge {
                ConstGauge::new(number.cast_signed()).encode(line)?;
            } else {
                ConstCounter::new(number).encode(line)?;
            }
        }
        Ok(())
    }

    fn each_reason(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        &(name, help, numbers): &ReasonRow,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (id, core) in self.registry.cores() {
            let id = id.0.to_string();
            for (word, number) in numbers(core) {
                let labels = [("core", id.as_str()), ("reason", word)];
                ConstCounter::new(number).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn each_histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        &(name, help, histogram): &Row<Histogram>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (id, core) in self.registry.cores() {
            let labels = [("core", id.0)];
            write_histogram(&mut metric.encode_family(&labels)?, histogram(core))?;
        }
        Ok(())
    }

    fn bridge(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bridge = self.registry.bridge();
        if bridge.link() == LinkState::Off {
            return Ok(());
        }
        let help = "1 for the state that the link to Redis is in";
        let mut metric = encoder.encode_descriptor("bridge_link", help, None, MetricType::Gauge)?;
        let labels = [("state", bridge.link().word())];
        ConstGauge::new(1_i64).encode(metric.encode_family(&labels)?)?;
        for &(name, help, figure) in BRIDGE_GAUGES {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(figure(bridge).get().cast_signed()).encode(metric)?;
        }
        for &(name, help, figure) in BRIDGE_COUNTERS {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(figure(bridge).get()).encode(metric)?;
        }
        let (name, help) =
            ("bridge_interop", "What backends said by PUBLISH alone, by its outcome");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (word, number) in bridge.interop.numbers() {
            ConstCounter::new(number).encode(metric.encode_family(&[("outcome", word)])?)?;
        }
        let (name, help) = ("bridge_latency_seconds", "From a publish to its place in Redis");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        write_histogram(&mut metric, &bridge.latency)
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let facts = &self.facts;
        let rows = [
            ("resident_bytes", "Resident memory", facts.resident_bytes),
            ("descriptors", "Descriptors in use", facts.descriptors),
            ("descriptors_per_table", "Descriptors a core may hold", facts.descriptors_per_table),
            ("uptime_milliseconds", "How long the process has run", facts.uptime_ms),
        ];
        for (name, help, number) in rows {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(number.cast_signed()).encode(metric)?;
        }
        Ok(())
    }
}

fn write_histogram(line: &mut MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let buckets: Vec<_> = histogram.buckets_us().map(|(us, count)| (seconds(us), count)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let sum = seconds(histogram.sum_us() as f64);
    line.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// Prometheus' `+Inf` is the largest double.
fn seconds(us: f64) -> f64 {
    if us.is_finite() { us / 1e6 } else { f64::MAX }
}
