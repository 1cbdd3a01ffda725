//! Decides what suffices. Pure: facts and a number of connections in, findings out.

use super::report::{Finding, Report, Verdict};
use super::{Facts, Outcome};

/// What a host is judged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How many connections it shall hold.
    pub connections: u64,
    /// On how many core threads; 0: one for each CPU.
    pub cores: u64,
}

/// Descriptors of a core that are no connections: ring, timer, doorbell, listeners, a spare one.
const SPARE_DESCRIPTORS: u64 = 256;

/// What is known and asked, while it is judged.
struct Case<'a> {
    facts: &'a Facts,
    connections: u64,
    cores: u64,
}

/// What `facts` mean for what is asked.
#[must_use]
pub fn judge(facts: &Facts, asked: Asked) -> Report {
    let cpus = facts.cpus.len().max(1) as u64;
    let cores = if asked.cores == 0 { cpus } else { asked.cores };
    let case = Case { facts, connections: asked.connections, cores };
    let mut findings = vec![
        case.kernel(),
        case.ring(),
        case.ring_flags(),
        case.own_table(),
        case.descriptors(),
        case.locked_bytes(),
        case.cpus(),
    ];
    findings.extend(SYSCTL_RULES.iter().filter_map(|rule| case.sysctl(rule)));
    findings.extend(case.port_range());
    findings.extend(case.conntrack());
    let sufficient = findings.iter().all(|finding| finding.verdict != Verdict::Short);
    Report { connections: asked.connections, cores, sufficient, findings }
}

/// A sysctl of which more is better.
struct SysctlRule {
    name: &'static str,
    /// Which of its words counts.
    word: usize,
    wanted: fn(&Case<'_>) -> u64,
    /// What it is if there is too little.
    verdict: Verdict,
    cost: &'static str,
}

const SYSCTL_RULES: &[SysctlRule] = &[
    SysctlRule {
        name: "fs.file-max",
        word: 0,
        wanted: |case| case.connections + case.cores * SPARE_DESCRIPTORS,
        verdict: Verdict::Short,
        cost: "accept fails with ENFILE beyond it, for every process of the host",
    },
    SysctlRule {
        name: "fs.nr_open",
        word: 0,
        wanted: |case| case.descriptors_wanted(),
        verdict: Verdict::Short,
        cost: "no limit of open files can be raised above it",
    },
    SysctlRule {
        name: "net.core.somaxconn",
        word: 0,
        wanted: |_| 4_096,
        verdict: Verdict::Advice,
        cost: "caps the accept queue: when many connect at once, the rest retry after a second",
    },
    SysctlRule {
        name: "net.ipv4.tcp_max_syn_backlog",
        word: 0,
        wanted: |_| 4_096,
        verdict: Verdict::Advice,
        cost: "when many connect at once, half-open connections are dropped, or lose their options",
    },
    SysctlRule {
        name: "net.core.netdev_max_backlog",
        word: 0,
        wanted: |_| 4_096,
        verdict: Verdict::Advice,
        cost: "bursts over loopback and RPS lose packets before TCP sees them",
    },
    SysctlRule {
        name: "net.ipv4.tcp_mem",
        word: 1,
        // Two pages each: what a connection with a little unread or unacknowledged data takes.
        wanted: |case| case.connections * 2,
        verdict: Verdict::Advice,
        cost: "above this many pages the kernel shrinks windows, and at the third number it drops",
    },
];

impl Case<'_> {
    /// Descriptors that one table must hold. The kernel spreads connections over cores by hash,
    /// so a core gets some more than its share.
    fn descriptors_wanted(&self) -> u64 {
        let (share, tables) = match self.facts.own_table {
            Ok(()) => (self.connections.div_ceil(self.cores), self.cores),
            Err(_) => (self.connections, 1),
        };
        let uneven = if tables > 1 { share / 20 } else { 0 };
        let spare = SPARE_DESCRIPTORS * if tables > 1 { 1 } else { self.cores };
        share + uneven + spare
    }

    fn kernel_is_at_least(&self, wanted: (u64, u64)) -> bool {
        version(&self.facts.kernel).is_some_and(|version| version >= wanted)
    }

    fn kernel(&self) -> Finding {
        let found = self.facts.kernel.clone();
        let finding = Finding::new("kernel", found, "6.1 or later");
        if self.kernel_is_at_least((6, 1)) {
            return finding;
        }
        finding.lacking(
            Verdict::Advice,
            "rings without DEFER_TASKRUN, or none: more CPU for each message",
            "a newer kernel from the distribution (Debian: apt install linux-image-amd64)",
        )
    }

    fn ring(&self) -> Finding {
        let disabled = self.facts.sysctls.get("kernel.io_uring_disabled");
        let found = match (self.facts.ring.plain, disabled.map(String::as_str)) {
            (Ok(()), _) => "works".to_owned(),
            (Err(number), Some("1" | "2")) => {
                format!("{}; kernel.io_uring_disabled is on", refusal(number))
            }
            (Err(number), _) => refusal(number),
        };
        let finding = Finding::new("io_uring", found, "works");
        let mend = match (self.facts.ring.plain, disabled.map(String::as_str)) {
            (Ok(()), _) => return finding,
            (Err(_), Some("1" | "2")) => "sysctl -w kernel.io_uring_disabled=0",
            (Err(libc::ENOMEM), _) => "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)",
            (Err(libc::ENOSYS), _) => "a kernel with CONFIG_IO_URING",
            (Err(_), _) => "a seccomp profile that allows io_uring_setup, _enter and _register",
        };
        finding.lacking(Verdict::Advice, "the server falls back to epoll, and says so", mend)
    }

    fn ring_flags(&self) -> Finding {
        let ring = &self.facts.ring;
        let flags = [
            ("SINGLE_ISSUER", ring.single_issuer),
            ("DEFER_TASKRUN", ring.defer_taskrun),
            ("COOP_TASKRUN", ring.coop_taskrun),
        ];
        let named = |wanted: fn(&Outcome) -> bool| -> Vec<&str> {
            flags.iter().filter(|(_, outcome)| wanted(outcome)).map(|(name, _)| *name).collect()
        };
        let (works, lacks) = (named(Result::is_ok), named(Result::is_err));
        let found = if works.is_empty() { "none".to_owned() } else { works.join(" ") };
        let wanted = "SINGLE_ISSUER DEFER_TASKRUN COOP_TASKRUN";
        let finding = Finding::new("io_uring flags", found, wanted);
        if lacks.is_empty() {
            return finding;
        }
        let cost = format!("more interruptions and more CPU for each message without {lacks:?}");
        let mend = if ring.plain.is_ok() { "kernel 6.1 or later" } else { "see io_uring" };
        finding.lacking(Verdict::Advice, &cost, mend)
    }

    fn own_table(&self) -> Finding {
        let found = match self.facts.own_table {
            Ok(()) => "works".to_owned(),
            Err(number) => refusal(number),
        };
        let finding = Finding::new("unshare(CLONE_FILES)", found, "works");
        match self.facts.own_table {
            Ok(()) => finding,
            Err(_) => finding.lacking(
                Verdict::Advice,
                "cores share one descriptor table: they contend for it, and RLIMIT_NOFILE counts \
                 for the process in place of each core",
                "a seccomp profile that allows unshare (docker: --security-opt seccomp=FILE)",
            ),
        }
    }

    /// The hard limit counts: the server raises the soft one to it.
    fn descriptors(&self) -> Finding {
        let (hard, wanted) = (self.facts.descriptors.hard, self.descriptors_wanted());
        let own_table = self.facts.own_table.is_ok();
        let each = if own_table { "for each core" } else { "for the process" };
        let finding = Finding::new("RLIMIT_NOFILE", count(hard), format!("{wanted} {each}"));
        if hard >= wanted {
            return finding;
        }
        let cost = "accept fails with EMFILE beyond it: fewer connections can be held";
        let raise = format!("ulimit -Hn {wanted} as root (systemd: LimitNOFILE={wanted})");
        finding.lacking(
            Verdict::Short,
            cost,
            &match self.cores_that_suffice() {
                Some(cores) if own_table => format!("{raise}, or serve with --cores {cores}"),
                _ => raise,
            },
        )
    }

    /// How many core threads, each with its own table, make the hard limit enough.
    fn cores_that_suffice(&self) -> Option<u64> {
        const CORES_MAX: u64 = 256;
        (self.cores..=CORES_MAX).find(|cores| {
            let case = Case { cores: *cores, ..*self };
            case.descriptors_wanted() <= self.facts.descriptors.hard
        })
    }

    /// Until 5.12 the memory of rings was counted; now only registered buffers are, and there are
    /// none.
    fn locked_bytes(&self) -> Finding {
        const RING_BYTES: u64 = 512 << 10;
        let found = count(self.facts.locked_bytes.hard);
        if self.kernel_is_at_least((5, 12)) {
            return Finding::new("RLIMIT_MEMLOCK", found, "any: this kernel does not count rings");
        }
        let wanted = RING_BYTES * self.cores;
        let finding = Finding::new("RLIMIT_MEMLOCK", found, format!("{wanted} bytes"));
        if self.facts.locked_bytes.hard >= wanted {
            return finding;
        }
        finding.lacking(
            Verdict::Advice,
            "rings cannot be had: the server falls back to epoll, and says so",
            &format!("ulimit -Hl {} as root (systemd: LimitMEMLOCK={wanted})", wanted >> 10),
        )
    }

    fn cpus(&self) -> Finding {
        let cpus = &self.facts.cpus;
        let found = match cpus.len() {
            0 => "not known".to_owned(),
            _ => crate::config::cpus::format(cpus),
        };
        let finding = Finding::new("CPUs", found, "2 or more");
        if cpus.len() >= 2 {
            return finding;
        }
        let cost = "core threads and the control plane share one CPU";
        finding.lacking(Verdict::Advice, cost, "a larger CPU set (taskset, cpuset, limits)")
    }

    fn number(&self, name: &str, word: usize) -> Option<u64> {
        self.facts.sysctls.get(name)?.split(' ').nth(word)?.parse().ok()
    }

    /// None if this kernel or container does not have it.
    fn sysctl(&self, rule: &SysctlRule) -> Option<Finding> {
        let found = self.number(rule.name, rule.word)?;
        let wanted = (rule.wanted)(self);
        let finding = Finding::new(rule.name, found.to_string(), wanted.to_string());
        if found >= wanted {
            return Some(finding);
        }
        let value = match rule.word {
            0 => wanted.to_string(),
            _ => format!("'{} {wanted} {}'", wanted * 3 / 4, wanted * 3 / 2),
        };
        let mend = format!("sysctl -w {}={value}", rule.name);
        Some(finding.lacking(rule.verdict, rule.cost, &mend))
    }

    /// Not a matter of the server but of what stands before it.
    fn port_range(&self) -> Option<Finding> {
        const NAME: &str = "net.ipv4.ip_local_port_range";
        const FIRST: u64 = 1_024;
        const LAST: u64 = 65_535;
        let (first, last) = (self.number(NAME, 0)?, self.number(NAME, 1)?);
        let ports = last.saturating_add(1).saturating_sub(first);
        let wanted = self.connections.min(LAST + 1 - FIRST);
        let found = format!("{first} {last} ({ports} ports)");
        let finding = Finding::new(NAME, found, format!("{wanted} ports"));
        if ports >= wanted {
            return Some(finding);
        }
        let cost = "a proxy or load generator on this host holds no more connections to one address \
                    from each of its own";
        let mend = format!("sysctl -w {NAME}='{FIRST} {LAST}'");
        Some(finding.lacking(Verdict::Advice, cost, &mend))
    }

    /// Only where the module is loaded.
    fn conntrack(&self) -> Option<Finding> {
        const NAME: &str = "net.netfilter.nf_conntrack_max";
        let most = self.number(NAME, 0)?;
        let taken = self.number("net.netfilter.nf_conntrack_count", 0).unwrap_or(0);
        let wanted = self.connections.saturating_add(taken);
        let finding = Finding::new(NAME, most.to_string(), wanted.to_string());
        if most >= wanted {
            return Some(finding);
        }
        let cost = "connections beyond it are dropped without a word, of every service here";
        Some(finding.lacking(Verdict::Short, cost, &format!("sysctl -w {NAME}={wanted}")))
    }
}

impl Finding {
    fn new(subject: &'static str, found: String, wanted: impl Into<String>) -> Self {
        let (cost, mend) = (String::new(), String::new());
        Self { subject, verdict: Verdict::Ok, found, wanted: wanted.into(), cost, mend }
    }

    fn lacking(self, verdict: Verdict, cost: &str, mend: &str) -> Self {
        Self { verdict, cost: cost.to_owned(), mend: mend.to_owned(), ..self }
    }
}

/// A limit as people write it.
fn count(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

fn refusal(number: i32) -> String {
    let name = match number {
        libc::EPERM => "EPERM",
        libc::EACCES => "EACCES",
        libc::ENOMEM => "ENOMEM",
        libc::ENOSYS => "ENOSYS",
        libc::EINVAL => "EINVAL",
        _ => return format!("refused with error {number}"),
    };
    format!("refused with {name}")
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
