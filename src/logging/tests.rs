use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing_subscriber::layer::SubscriberExt as _;

use super::layer::Lines;
use super::limit::{EVENTS_MAX, Limiter, WINDOW};
use super::writer::Writer;
use crate::config::LogFormat;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `events` lead to.
fn lines(format: LogFormat, events: impl FnOnce()) -> Vec<String> {
    let sink = Sink::default();
    let writer = Writer::start(sink.clone()).expect("a thread");
    let subscriber = tracing_subscriber::registry().with(Lines::new(format, writer.queue()));
    tracing::subscriber::with_default(subscriber, events);
    drop(writer);
    let text = String::from_utf8(sink.0.lock().expect("unpoisoned").clone()).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// A room's name that tries to be another line, in colours.
const HOSTILE: &str = "room\r\n2026 ERROR forged\u{1b}[2J\u{2028}x";

#[test]
fn a_hostile_value_stays_one_printable_line_in_both_formats() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = lines(format, || {
            tracing::info!(room = HOSTILE, debug = ?HOSTILE, "{HOSTILE}");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].chars().all(|character| !character.is_control()), "{lines:?}");
        assert!(!lines[0].contains('\u{2028}'), "{lines:?}");
    }
}

#[test]
fn text_says_level_place_message_and_fields() {
    let lines = lines(LogFormat::Text, || {
        tracing::warn!(core = 3_u64, name = "a b", word = "c", "it happened");
    });
    let expected = "Z  WARN ringroom::logging::tests: it happened core=3 name=\"a b\" word=c";
    assert!(lines[0].ends_with(expected), "{lines:?}");
}

#[test]
fn json_is_one_object_a_line_with_numbers_as_numbers() {
    let lines = lines(LogFormat::Json, || {
        tracing::error!(core = 3_u64, ok = false, level = "forged", long = "x".repeat(9_999), "m");
    });
    let line: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!(line["core"], 3);
    assert_eq!(line["ok"], false);
    assert_eq!(line["message"], "m");
    assert_eq!(line["level"], "ERROR", "a field does not stand for the level");
    assert!(line["long"].as_str().is_some_and(|long| long.len() < 1_100));
}

#[test]
fn one_place_that_repeats_itself_is_held_back_and_others_are_not() {
    let lines = lines(LogFormat::Text, || {
        for _ in 0..1_000 {
            tracing::warn!("again and again");
        }
        tracing::warn!("another place");
    });
    assert_eq!(lines.len(), EVENTS_MAX as usize + 1);
    assert!(lines.last().is_some_and(|line| line.contains("another place")));
}

#[test]
fn what_was_held_back_is_told_with_the_next() {
    let mut limiter = Limiter::default();
    let place = {
        use tracing::Callsite as _;
        tracing::callsite!(name: "place", kind: tracing::metadata::Kind::EVENT, fields: x)
            .metadata()
            .callsite()
    };
    let begun = Instant::now();
    let admitted: Vec<_> = (0..50).map(|_| limiter.admit(place.clone(), begun)).collect();
    assert_eq!(admitted.iter().filter(|admitted| **admitted == Some(0)).count(), 20);
    assert_eq!(limiter.admit(place.clone(), begun + WINDOW - Duration::from_millis(1)), None);
    assert_eq!(limiter.admit(place.clone(), begun + WINDOW), Some(31));
    assert_eq!(limiter.admit(place, begun + WINDOW), Some(0));
}
