//! Settings of the process: its threads, its control plane, its beginning and its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::Config;
use crate::config::secret::Secret;
use crate::config::setting::choices;
use crate::config::table::{MINUTE_MS, range, section};

section! {
    /// The control plane: health, metrics, administration.
    pub Config.control: Control {
        /// Where it listens; on any address but loopback it wants a token.
        address: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8001));
        /// Threads that serve it; one is enough for health and metrics.
        threads: u16 = 1, range(1..=64), Count;
        /// The bearer token that everything but `/live` and `/ready` asks for; none: loopback only.
        token: Option<Secret> = None;
        /// Where revocations, bans and tenants' states are kept over a restart; none: in memory alone.
        state_file: Option<PathBuf> = None;
    }
}

choices! {
    /// Which ring, or none.
    Driver {
        /// `io_uring` where the kernel has it, else epoll with a loud warning.
        #[default]
        Auto = "auto",
        /// `io_uring` or refuse to start.
        Uring = "uring",
        /// epoll.
        Epoll = "epoll",
    }
}

section! {
    /// The core threads, which hold the connections and the rooms.
    pub Config.cores: Cores {
        /// CPUs that may be used; empty: all this process may run on.
        cpus: Vec<usize> = Vec::new();
        /// Core threads, which share the CPUs if they are more; 0: one for each CPU.
        count: u16 = 0, range(0..=256), Count;
        /// How they talk to the kernel: epoll only where `io_uring` is not to be had.
        driver: Driver = Driver::Auto;
        /// Entries of a submission queue; the completion queue has four times as many.
        ring_entries: u32 = 1_024, range(64..=16_384), Count;
    }
}

section! {
    /// The way out.
    pub Config.drain: Drain {
        /// Over which clients are sent away, so that they do not all come back at once.
        window_ms: u64 = 10_000, range(0..=60 * MINUTE_MS), Milliseconds;
    }
}

section! {
    /// The audit trail: who did what to whom, when, and why.
    pub Config.audit: Audit {
        /// Records in memory, for `GET /v1/audit`.
        records: u32 = 10_000, range(1..=1_000_000), Count;
        /// Where all of them are appended as JSON lines; SIGHUP opens it again; none: nowhere.
        file: Option<PathBuf> = None;
        /// Whether they are written to the standard output, where there is no file.
        stdout: bool = false;
    }
}

section! {
    /// For development and tests.
    pub Config.dev: Dev {
        /// Whether `GET /echo` upgrades to a plain echo.
        echo: bool = false;
        /// Whether faults come on request (a panic, a wedged core): for the test suite only.
        faults: bool = false;
        /// The oldest wire form that the node says it knows; 0: the oldest that it does know. For the test suite only.
        oldest_form: u8 = 0, range(0..=255), Count;
        /// The newest wire form that the node says it knows; 0: the newest that it does know. For the test suite only.
        newest_form: u8 = 0, range(0..=255), Count;
    }
}

choices! {
    /// How a log line looks.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

section! {
    /// Logs.
    pub Config.log: Log {
        /// For people or for machines.
        format: LogFormat = LogFormat::Text;
        /// Which lines are written, as `tracing` reads it: `info`, `ringroom=debug,warn`.
        filter: String = "info".to_owned();
    }
}
