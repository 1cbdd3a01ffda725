//! The only I/O of the data plane.

pub mod probe;
