#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;

const ASKED: Asked = Asked { connections: 50_000, cores: 0 };

/// A host with everything 50,000 connections want.
fn good() -> Facts {
    let works =
        Ring { plain: Ok(()), coop_taskrun: Ok(()), single_issuer: Ok(()), defer_taskrun: Ok(()) };
    Facts {
        kernel: "6.18.44-generic".to_owned(),
        ring: works,
        descriptors: Limit { soft: 1_024, hard: 1_048_576 },
        locked_bytes: Limit { soft: 65_536, hard: 65_536 },
        own_table: Ok(()),
        cpus: vec![0, 1],
        sysctls: [
            ("fs.file-max", "9223372036854775807"),
            ("fs.nr_open", "1048576"),
            ("kernel.io_uring_disabled", "0"),
            ("net.core.netdev_max_backlog", "16384"),
            ("net.core.somaxconn", "4096"),
            ("net.ipv4.ip_local_port_range", "1024 65535"),
            ("net.ipv4.tcp_max_syn_backlog", "8192"),
            ("net.ipv4.tcp_mem", "287901 383868 575802"),
            ("net.netfilter.nf_conntrack_count", "100"),
            ("net.netfilter.nf_conntrack_max", "262144"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into(),
    }
}

fn finding(facts: &Facts, subject: &str) -> Finding {
    let findings = judge(facts, ASKED).findings;
    findings.into_iter().find(|finding| finding.subject == subject).unwrap()
}

#[test]
fn a_good_host_lacks_nothing() {
    let report = judge(&good(), ASKED);
    assert!(report.sufficient);
    assert_eq!(report.cores, 2);
    for finding in report.findings {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        assert!(finding.cost.is_empty() && finding.mend.is_empty(), "{finding:?}");
        assert!(!finding.found.is_empty() && !finding.wanted.is_empty(), "{finding:?}");
    }
}

type Spoil = fn(&mut Facts);

/// What is spoiled, and what is then said of which subject.
const SHORTAGES: &[(Spoil, &str, Verdict, &str)] = &[
    (|f| f.kernel = "5.15.0-91".to_owned(), "kernel", Verdict::Advice, "newer kernel"),
    (|f| f.kernel = "unknown".to_owned(), "kernel", Verdict::Advice, "newer kernel"),
    (|f| f.ring.plain = Err(libc::EPERM), "io_uring", Verdict::Advice, "seccomp"),
    (|f| f.ring.plain = Err(libc::ENOSYS), "io_uring", Verdict::Advice, "CONFIG_IO_URING"),
    (|f| f.ring.plain = Err(libc::ENOMEM), "io_uring", Verdict::Advice, "ulimit -l"),
    (
        |f| {
            f.ring.plain = Err(libc::EPERM);
            f.sysctls.insert("kernel.io_uring_disabled", "2".to_owned());
        },
        "io_uring",
        Verdict::Advice,
        "sysctl -w kernel.io_uring_disabled=0",
    ),
    (|f| f.ring.defer_taskrun = Err(libc::EINVAL), "io_uring flags", Verdict::Advice, "kernel 6.1"),
    (|f| f.own_table = Err(libc::EPERM), "unshare(CLONE_FILES)", Verdict::Advice, "seccomp"),
    (
        |f| f.descriptors.hard = 20_000,
        "RLIMIT_NOFILE",
        Verdict::Short,
        "ulimit -Hn 26506 as root (systemd: LimitNOFILE=26506), or serve with --cores 3",
    ),
    (
        |f| {
            f.descriptors.hard = 20_000;
            f.own_table = Err(libc::EPERM);
        },
        "RLIMIT_NOFILE",
        Verdict::Short,
        "ulimit -Hn 50512 as root (systemd: LimitNOFILE=50512)",
    ),
    (|f| f.kernel = "5.11.0".to_owned(), "RLIMIT_MEMLOCK", Verdict::Advice, "LimitMEMLOCK=1048576"),
    (|f| f.cpus = vec![3], "CPUs", Verdict::Advice, "taskset"),
    (|f| f.cpus = vec![], "CPUs", Verdict::Advice, "taskset"),
    (
        |f| _ = f.sysctls.insert("fs.file-max", "50000".to_owned()),
        "fs.file-max",
        Verdict::Short,
        "sysctl -w fs.file-max=50512",
    ),
    (
        |f| _ = f.sysctls.insert("fs.nr_open", "1024".to_owned()),
        "fs.nr_open",
        Verdict::Short,
        "sysctl -w fs.nr_open=26506",
    ),
    (
        |f| _ = f.sysctls.insert("net.core.somaxconn", "128".to_owned()),
        "net.core.somaxconn",
        Verdict::Advice,
        "sysctl -w net.core.somaxconn=4096",
    ),
    (
        |f| _ = f.sysctls.insert("net.ipv4.tcp_max_syn_backlog", "512".to_owned()),
        "net.ipv4.tcp_max_syn_backlog",
        Verdict::Advice,
        "sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
    ),
    (
        |f| _ = f.sysctls.insert("net.core.netdev_max_backlog", "1000".to_owned()),
        "net.core.netdev_max_backlog",
        Verdict::Advice,
        "sysctl -w net.core.netdev_max_backlog=4096",
    ),
    (
        |f| _ = f.sysctls.insert("net.ipv4.tcp_mem", "9000 12000 18000".to_owned()),
        "net.ipv4.tcp_mem",
        Verdict::Advice,
        "sysctl -w net.ipv4.tcp_mem='75000 100000 150000'",
    ),
    (
        |f| _ = f.sysctls.insert("net.ipv4.ip_local_port_range", "32768 60999".to_owned()),
        "net.ipv4.ip_local_port_range",
        Verdict::Advice,
        "sysctl -w net.ipv4.ip_local_port_range='1024 65535'",
    ),
    (
        |f| _ = f.sysctls.insert("net.netfilter.nf_conntrack_max", "50099".to_owned()),
        "net.netfilter.nf_conntrack_max",
        Verdict::Short,
        "sysctl -w net.netfilter.nf_conntrack_max=50100",
    ),
];

#[test]
fn each_shortage_is_told_alone_with_its_cost_and_its_remedy() {
    for (spoil, subject, verdict, mend) in SHORTAGES {
        let mut facts = good();
        spoil(&mut facts);
        let found = finding(&facts, subject);
        assert_eq!(found.verdict, *verdict, "{found:?}");
        assert!(found.mend.contains(mend), "{found:?}");
        assert!(!found.cost.is_empty(), "{found:?}");
        let report = judge(&facts, ASKED);
        assert_eq!(report.sufficient, *verdict != Verdict::Short, "{subject}");
        let text = report.to_string();
        assert!(text.contains(&found.mend) && text.contains(&found.cost), "{text}");
    }
}

#[test]
fn what_a_host_does_not_have_is_not_judged() {
    let mut facts = good();
    facts.sysctls.clear();
    let report = judge(&facts, ASKED);
    assert!(report.sufficient);
    let is_sysctl = |finding: &Finding| SYSCTLS.contains(&finding.subject);
    assert!(!report.findings.iter().any(is_sysctl), "{report:?}");
    facts.sysctls.insert("net.ipv4.tcp_mem", "1 2".to_owned());
    facts.sysctls.insert("net.ipv4.ip_local_port_range", "garbage".to_owned());
    facts.sysctls.insert("net.core.somaxconn", String::new());
    assert!(judge(&facts, ASKED).sufficient);
}

#[test]
fn a_ring_that_works_is_good_even_where_the_switch_is_on() {
    let mut facts = good();
    facts.sysctls.insert("kernel.io_uring_disabled", "1".to_owned());
    assert_eq!(finding(&facts, "io_uring").verdict, Verdict::Ok);
}

#[test]
fn more_cores_make_a_low_limit_enough_and_none_make_it_enough_for_a_million() {
    let mut facts = good();
    facts.descriptors.hard = 20_000;
    let verdict = |connections, cores| {
        let report = judge(&facts, Asked { connections, cores });
        report.findings.into_iter().find(|finding| finding.subject == "RLIMIT_NOFILE").unwrap()
    };
    assert_eq!(verdict(50_000, 2).verdict, Verdict::Short);
    assert_eq!(verdict(50_000, 4).verdict, Verdict::Ok);
    let many = verdict(100_000_000, 0);
    assert_eq!(many.verdict, Verdict::Short);
    assert!(!many.mend.contains("--cores"), "{many:?}");
}

#[test]
fn the_largest_question_and_the_poorest_host_overflow_nothing() {
    let mut facts = good();
    facts.descriptors = Limit { soft: 0, hard: u64::MAX };
    facts.sysctls.insert("net.netfilter.nf_conntrack_count", u64::MAX.to_string());
    facts.sysctls.insert("net.ipv4.ip_local_port_range", format!("0 {}", u64::MAX));
    let report = judge(&facts, Asked { connections: 10_000_000, cores: 256 });
    assert!(!report.sufficient);
    assert!(report.to_string().contains("unlimited"));
}

#[test]
fn scripts_find_the_fields_they_read() {
    let mut facts = good();
    facts.descriptors.hard = 9;
    let json: serde_json::Value = serde_json::from_str(&judge(&facts, ASKED).json()).unwrap();
    assert_eq!(json["connections"], 50_000);
    assert_eq!(json["cores"], 2);
    assert_eq!(json["sufficient"], false);
    let findings = json["findings"].as_array().unwrap();
    let fields = ["subject", "verdict", "found", "wanted", "cost", "mend"];
    for finding in findings {
        let finding = finding.as_object().unwrap();
        assert_eq!(finding.len(), fields.len());
        assert!(fields.iter().all(|field| finding[*field].is_string()), "{finding:?}");
        assert!(["ok", "advice", "short"].contains(&finding["verdict"].as_str().unwrap()));
    }
    let subjects: Vec<_> = findings.iter().map(|finding| &finding["subject"]).collect();
    assert_eq!(
        subjects,
        [
            "kernel",
            "io_uring",
            "io_uring flags",
            "unshare(CLONE_FILES)",
            "RLIMIT_NOFILE",
            "RLIMIT_MEMLOCK",
            "CPUs",
            "fs.file-max",
            "fs.nr_open",
            "net.core.somaxconn",
            "net.ipv4.tcp_max_syn_backlog",
            "net.core.netdev_max_backlog",
            "net.ipv4.tcp_mem",
            "net.ipv4.ip_local_port_range",
            "net.netfilter.nf_conntrack_max",
        ]
    );
}

#[test]
fn this_host_can_be_read_and_looking_leaves_nothing_behind() {
    // Tests beside this one may hold some for a moment; a look that leaks holds six.
    const OTHER_TESTS: usize = 4;
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (before, facts) = (open(), read());
    let again = read();
    assert!(open() <= before + OTHER_TESTS, "descriptors: {before}, then {}", open());
    assert_eq!(facts.kernel, again.kernel);
    assert!(facts.kernel.contains('.'), "{facts:?}");
    assert!(facts.descriptors.hard >= facts.descriptors.soft);
    assert!(!facts.cpus.is_empty());
    assert_eq!(facts.sysctls["fs.nr_open"].parse::<u64>().map(|number| number > 0), Ok(true));
}
