//! What this host has for a server of many connections, and what it lacks.
//!
//! Invariant: [`read`] looks and decides nothing; [`judge`] decides and looks at nothing.

mod judge;
mod read;
mod report;
#[cfg(test)]
mod tests;

pub use judge::{Asked, judge};
pub use read::{cpus_allowed, read};
pub use report::{Finding, Report, Verdict};

use std::collections::BTreeMap;

/// The sysctls that matter here.
pub const SYSCTLS: [&str; 10] = [
    "fs.file-max",
    "fs.nr_open",
    "kernel.io_uring_disabled",
    "net.core.netdev_max_backlog",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_mem",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
];

/// What was seen of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// What its rings can do.
    pub ring: Ring,
    /// RLIMIT_NOFILE.
    pub descriptors: Limit,
    /// RLIMIT_MEMLOCK, in bytes.
    pub locked_bytes: Limit,
    /// Whether a thread may have a descriptor table of its own.
    pub own_table: Outcome,
    /// CPUs this process may run on.
    pub cpus: Vec<usize>,
    /// Values by name; those that do not exist here are not in it.
    pub sysctls: BTreeMap<&'static str, String>,
}

/// Whether something worked; if not, the kernel's error number.
pub type Outcome = Result<(), i32>;

/// Whether a ring can be set up, plain and with each of the flags that make it cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// No flags.
    pub plain: Outcome,
    /// `IORING_SETUP_COOP_TASKRUN`.
    pub coop_taskrun: Outcome,
    /// `IORING_SETUP_SINGLE_ISSUER`.
    pub single_issuer: Outcome,
    /// `IORING_SETUP_DEFER_TASKRUN`, which needs the one before.
    pub defer_taskrun: Outcome,
}

/// A resource limit; the greatest number is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}
