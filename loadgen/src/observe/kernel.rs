//! The kernel's counters that tell whether the network stack itself was short of something.

use std::fs;

use serde::Serialize;

/// Counters since boot, or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelCounters {
    /// Segments sent again.
    pub retransmits: u64,
    /// Connections that found an accept queue full.
    pub listen_overflows: u64,
    /// Connection requests dropped by listeners.
    pub listen_drops: u64,
    /// Connection requests sent again.
    pub syn_retransmits: u64,
    /// Connections given up for want of memory.
    pub memory_aborts: u64,
}

impl KernelCounters {
    /// Reads them; what this kernel does not count is 0.
    #[must_use]
    pub fn read() -> Self {
        let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        let snmp = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
        Self {
            retransmits: field(&snmp, "Tcp:", "RetransSegs"),
            listen_overflows: field(&netstat, "TcpExt:", "ListenOverflows"),
            listen_drops: field(&netstat, "TcpExt:", "ListenDrops"),
            syn_retransmits: field(&netstat, "TcpExt:", "TCPSynRetrans"),
            memory_aborts: field(&netstat, "TcpExt:", "TCPAbortOnMemory"),
        }
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            retransmits: self.retransmits.saturating_sub(earlier.retransmits),
            listen_overflows: self.listen_overflows.saturating_sub(earlier.listen_overflows),
            listen_drops: self.listen_drops.saturating_sub(earlier.listen_drops),
            syn_retransmits: self.syn_retransmits.saturating_sub(earlier.syn_retransmits),
            memory_aborts: self.memory_aborts.saturating_sub(earlier.memory_aborts),
        }
    }
}

/// A value from these files' pairs of lines: names, then numbers, each after the same prefix.
fn field(text: &str, prefix: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(prefix));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    names
        .split_ascii_whitespace()
        .zip(values.split_ascii_whitespace())
        .find(|(candidate, _)| *candidate == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_their_names() {
        let text = "TcpExt: A ListenDrops B\nTcpExt: 1 22 3\nIpExt: ListenDrops\nIpExt: 9\n";
        assert_eq!(field(text, "TcpExt:", "ListenDrops"), 22);
        assert_eq!(field(text, "TcpExt:", "Missing"), 0);
        assert_eq!(field("", "TcpExt:", "A"), 0);
    }
}
