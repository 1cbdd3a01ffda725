//! Delivery as clients see it, judged afterwards, in the manner of Jepsen: the real binary, clients
//! that come, go, stall, are cut and come back, a note of all they sent and received, and a verdict
//! that knows nothing but those notes.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod history;
mod reader;
mod stay;
mod truth;
mod verdict;

mod planted;
