//! A load generator for WebSocket servers.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use ringroom_loadgen::cli::Cli;
use ringroom_loadgen::command;

fn main() -> ExitCode {
    match command::execute(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "ringroom-loadgen: {error}");
            ExitCode::from(2)
        }
    }
}
