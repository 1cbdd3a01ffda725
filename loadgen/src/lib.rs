//! A load generator for WebSocket servers: thread per core on io_uring, open loop, and it
//! verifies every message it receives.
//!
//! [`run::phase`] is the whole of it; [`cli`] makes its arguments, [`report`] writes down what it
//! found. Layers: `scenario` and `dialect` know no sockets, `net` knows no scenarios.

pub mod bounds;
pub mod cli;
pub mod clock;
pub mod command;
pub mod complaint;
pub mod control;
pub mod dialect;
pub mod frame;
pub mod net;
pub mod observe;
pub mod pace;
pub mod payload;
pub mod plan;
pub mod plan_file;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stats;
pub mod target;
pub mod track;
pub mod watch;
