//! Sections 5 to 8 of RFC 6455 as a table, cut in every way, and against another implementation.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may")]

mod compressed;
mod cuts;
mod memory;
mod peer;
mod rules;
mod tungstenite;
