//! The real binary, on ports of the kernel's choice, for as long as a run holds it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Outboxes and send buffers so small that slow readers are slow consumers within seconds, a
/// heartbeat that comes often enough to move positions, and no bound on recovery, so that exact
/// rooms have no excuse.
const SETTINGS: &[&str] = &[
    "limits.outbox_bytes=524288",
    "tcp.send_buffer_bytes=16384",
    "heartbeat.interval_ms=2000",
    "limits.recovery_messages=1000000",
    "limits.recovery_bytes=268435456",
    "admission.connections_per_ip=0",
];

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(cores: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroom"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--cores"]);
        command.arg(cores.to_string());
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let greeting = BufReader::new(child.stdout.take().unwrap());
        let mut address = None;
        // To its last line: nobody likes to speak to a closed pipe.
        for line in greeting.lines().map_while(Result::ok) {
            if line.starts_with("Control plane") {
                break;
            }
            let rest = line.strip_prefix("ringroom serves on ");
            let authority = rest.and_then(|rest| rest.split("://").nth(1)?.split('/').next());
            address = address.or(authority.and_then(|authority| authority.parse().ok()));
        }
        Self { child, address: address.expect("it says where it serves") }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
