//! The real binary, on ports of the kernel's choice, for as long as a run holds it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::run::{NAMESPACES, SAFE};

/// How long anything that must happen may take: far longer than it should, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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
    errors: PathBuf,
}

impl Server {
    /// One that needs nothing but itself.
    pub(crate) fn start(cores: usize) -> Self {
        Self::serve(cores, 0, NAMESPACES, &[])
    }

    /// A node of one core on a Redis.
    pub(crate) fn node(redis: &str, settings: &[&str]) -> Self {
        Self::node_at(0, redis, settings)
    }

    /// The same at a port; 0: any.
    pub(crate) fn node_at(port: u16, redis: &str, settings: &[&str]) -> Self {
        let url = format!("redis.url={redis}");
        let usual = [url.as_str(), "redis.timeout_ms=1000", "redis.reconnect_max_ms=500"];
        let settings: Vec<_> = usual.iter().chain(settings).copied().collect();
        let node = Self::serve(1, port, &format!("{NAMESPACES}{SAFE}"), &settings);
        eventually("it is linked", || node.said().contains("a link to Redis is up"));
        node
    }

    fn serve(cores: usize, port: u16, config: &str, settings: &[&str]) -> Self {
        let folder = folder();
        let (file, errors) = (folder.join("config.toml"), folder.join("errors"));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroom"));
        command.args(["serve", "--control", "127.0.0.1:0", "--config"]).arg(&file);
        command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        command.arg("--cores").arg(cores.to_string());
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
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
        Self { child, address: address.expect("it says where it serves"), errors }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// How it ends when it is told to.
    pub(crate) fn terminated(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("a server said:\n{}", self.said());
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it is so, with patience.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder of a run's own.
pub(crate) fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("delivery-{}-{count}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
