//! The process: plans the cores, starts them, ends them.

use std::fmt;

use crate::config::Config;

/// Why the server ended.
#[derive(Debug)]
pub enum Failure {
    /// This build has no data plane.
    NoDataPlane,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDataPlane => f.write_str("this build has no data plane to serve with"),
        }
    }
}

impl std::error::Error for Failure {}

/// Serves until told to stop.
pub fn run(config: Config) -> Result<(), Failure> {
    drop(config);
    Err(Failure::NoDataPlane)
}
