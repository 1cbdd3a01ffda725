//! An event as a line.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

use super::limit::Limiter;
use super::value::Value;
use super::writer::Queue;
use crate::config::LogFormat;

/// Puts each event in the queue, as one line.
#[derive(Debug)]
pub(super) struct Lines {
    format: LogFormat,
    queue: Queue,
    limiter: Mutex<Limiter>,
}

impl Lines {
    pub(super) fn new(format: LogFormat, queue: Queue) -> Self {
        Self { format, queue, limiter: Mutex::default() }
    }

    /// Whether to write, and how many like it were not. What was asked for by `debug` or `trace` is
    /// not held back.
    fn admit(&self, metadata: &Metadata<'_>) -> Option<u32> {
        if *metadata.level() > Level::INFO {
            return Some(0);
        }
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.admit(metadata.callsite(), Instant::now())
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(suppressed) = self.admit(event.metadata()) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if suppressed > 0 {
            fields.rest.push(("suppressed", Json::from(suppressed)));
        }
        let line = match self.format {
            LogFormat::Text => text(event.metadata(), &fields),
            LogFormat::Json => json(event.metadata(), fields),
        };
        self.queue.push(line);
    }
}

/// What an event says, cleaned.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Json)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl fmt::Display) {
        let value = Value::of(value);
        if field.name() == "message" {
            self.message = value;
        } else {
            self.rest.push((field.name(), Json::from(value)));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.rest.push((field.name(), Json::from(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.rest.push((field.name(), Json::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.rest.push((field.name(), Json::from(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.rest.push((field.name(), Json::from(value)));
    }
}

fn text(metadata: &Metadata<'_>, fields: &Fields) -> String {
    let mut line =
        format!("{} {:>5} {}: {}", time(), metadata.level(), metadata.target(), fields.message);
    for (name, value) in &fields.rest {
        // Writing to a string does not fail.
        let _ = match value {
            Json::String(value) if is_word(value) => write!(line, " {name}={value}"),
            value => write!(line, " {name}={value}"),
        };
    }
    line
}

/// Needs no quotes to be told from what is around it.
fn is_word(value: &str) -> bool {
    !value.is_empty() && !value.contains([' ', '"', '=', '\\'])
}

fn json(metadata: &Metadata<'_>, fields: Fields) -> String {
    let mut line = Map::new();
    line.insert("time".to_owned(), Json::from(time()));
    line.insert("level".to_owned(), Json::from(metadata.level().as_str()));
    line.insert("target".to_owned(), Json::from(metadata.target()));
    line.insert("message".to_owned(), Json::from(fields.message));
    // A field may not take the place of one of these.
    for (name, value) in fields.rest {
        line.entry(name).or_insert(value);
    }
    Json::Object(line).to_string()
}

fn time() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}
