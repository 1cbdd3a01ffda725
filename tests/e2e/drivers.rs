//! How the cores talk to the kernel: io_uring, or epoll where it is not to be had.

use std::fs;
use std::path::PathBuf;

use crate::client::{Client, FIN, TEXT, echoes, frame, raw};
use crate::server::{Plan, Server, eventually};

const LOAD_NUMBER: libc::sock_filter = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
const ALLOW: libc::sock_filter = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
const REFUSE: libc::sock_filter =
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned());

/// Refuses the three system calls of io_uring, as container runtimes do.
fn refuse_io_uring() -> std::io::Result<()> {
    filter([
        LOAD_NUMBER,
        skip_unless(libc::SYS_io_uring_setup, 1),
        REFUSE,
        skip_unless(libc::SYS_io_uring_enter, 1),
        REFUSE,
        skip_unless(libc::SYS_io_uring_register, 1),
        REFUSE,
        ALLOW,
    ])
}

/// Leaves all cores in one descriptor table, as some container runtimes do; of 80.
fn share_few_descriptors() -> std::io::Result<()> {
    crate::admission::few_descriptors(80)?;
    filter([LOAD_NUMBER, skip_unless(libc::SYS_unshare, 1), REFUSE, ALLOW])
}

#[expect(unsafe_code, reason = "seccomp has no safe wrapper")]
fn filter<const N: usize>(mut filter: [libc::sock_filter; N]) -> std::io::Result<()> {
    let program = libc::sock_fprog { len: N as u16, filter: filter.as_mut_ptr() };
    // SAFETY: no memory is involved.
    let privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the program and its filter live for the time of the call, which copies them.
    let filtered =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if privileges == 0 && filtered == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips as many instructions unless the system call is this one.
const fn skip_unless(number: libc::c_long, count: u8) -> libc::sock_filter {
    let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    libc::sock_filter { code: code as u16, jt: 0, jf: count, k: number.cast_unsigned() as u32 }
}

#[test]
fn where_io_uring_is_refused_epoll_serves_and_says_so() {
    let mut server = Plan::new().before(refuse_io_uring).start();
    assert!(Client::echo(server.address()).is_served());
    assert!(server.control("/health").text().contains("epoll"));
    eventually("it warns", || server.log().contains("WARN") && server.log().contains("epoll"));
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn where_io_uring_is_demanded_and_refused_it_does_not_start() {
    let plan = Plan::new().before(refuse_io_uring).arguments(&["--driver", "uring"]);
    let said = plan.refuses();
    assert!(said.contains("io_uring"), "{said}");
}

/// Some of it are not for clients: else they would keep everybody out of the control plane, too.
#[test]
fn where_unshare_is_refused_cores_share_a_table_and_leave_some_of_it() {
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().cores(2).before(share_few_descriptors);
        let mut server = plan.arguments(&["--driver", driver]).start();
        eventually("it warns", || server.log().contains("share one descriptor table"));
        let connect = || Client::try_echo(raw(server.address()), "").ok();
        let mut inside: Vec<_> = std::iter::from_fn(connect).take(80).collect();
        assert!((5..70).contains(&inside.len()), "{driver}: {} are in", inside.len());
        assert_eq!(server.control("/live").status, 200, "{driver}");
        assert!(server.metric("ringroom_refusals_total", "\"descriptors\"") >= 1.0, "{driver}");
        assert!(inside.iter_mut().all(Client::is_served), "{driver}");
        drop(inside);
        eventually("others come in", || connect().is_some());
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0), "{driver}");
    }
}

#[test]
fn both_drivers_carry_what_is_large_and_what_is_quick() {
    for driver in ["uring", "epoll"] {
        let server = Plan::new().arguments(&["--driver", driver]).start();
        assert!(server.control("/health").text().contains(driver), "{driver}");
        let mut client = Client::deflated(server.address());
        // Pauses between, so that the connection is a quiet one and a busy one in turn.
        for round in 0..200_usize {
            let message = vec![b'a' + (round % 26) as u8; round * 300 % 60_000];
            client.send(&frame(FIN | TEXT, &message));
            let echoed = client.receive().unwrap();
            let is_deflated = echoed.first & crate::client::RSV1 != 0;
            assert_eq!(is_deflated, message.len() >= 1_024, "{driver}, {} bytes", message.len());
            if !is_deflated {
                assert_eq!(echoed.payload, message, "{driver}");
            }
        }
    }
}

/// Where the kernel shows the core threads of a server.
fn core_threads(server: &Server) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let tasks = tasks.map(|task| task.unwrap().path());
    let is_core = |task: &PathBuf| {
        // A thread that has just ended is none.
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("core-"))
    };
    tasks.filter(is_core).collect()
}

/// The value of a line `name: value` in a file of `/proc`.
fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
}

fn number(text: &str, radix: u32) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), radix).unwrap()
}

/// What the kernel says of the threads, and not what was asked of it.
#[test]
fn core_threads_are_pinned_have_roomy_rings_and_leave_nothing_to_children() {
    let server = Plan::new().cores(2).arguments(&["--driver", "uring"]).start();
    // Some on either core, so that accepted sockets are among what is looked at.
    let _clients = echoes(server.address(), 20);
    let whole = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let allowed = value(&whole, "Cpus_allowed_list").unwrap();
    let (mut pinned, mut sockets) = (Vec::new(), 0);
    let cores = core_threads(&server);
    assert_eq!(cores.len(), 2);
    for core in cores {
        let status = fs::read_to_string(core.join("status")).unwrap();
        let cpu = value(&status, "Cpus_allowed_list").unwrap();
        assert!(cpu.parse::<u32>().is_ok(), "one CPU, not {cpu}");
        pinned.push(cpu);
        let mut rings = 0;
        for entry in fs::read_dir(core.join("fd")).unwrap() {
            let path = entry.unwrap().path();
            let what = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let info = fs::read_to_string(core.join("fdinfo").join(&name)).unwrap();
            // Standard input and output are everybody's.
            let is_inherited = number(&name, 10) <= 2;
            let flags = number(&value(&info, "flags").unwrap(), 8);
            let closes = flags & u64::from(libc::O_CLOEXEC.cast_unsigned()) != 0;
            assert!(is_inherited || closes, "{what} is left to children: {info}");
            sockets += u32::from(what.starts_with("socket:"));
            if what.contains("io_uring") {
                rings += 1;
                let entries = |mask| number(&value(&info, mask).unwrap(), 16) + 1;
                assert!(entries("CqMask") >= 4 * entries("SqMask"), "{info}");
            }
        }
        assert_eq!(rings, 1);
    }
    assert!(sockets >= 20, "{sockets} sockets were looked at");
    if allowed.parse::<u32>().is_err() {
        assert_ne!(pinned[0], pinned[1], "of {allowed}");
    }
}

/// Cores share those that may be used, and so does everything else.
#[test]
fn no_thread_runs_on_another_cpu_than_those_that_may_be_used() {
    let allowed = |status: PathBuf| {
        let status = fs::read_to_string(status).unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.unwrap().trim().to_owned()
    };
    let all = allowed(PathBuf::from("/proc/self/status"));
    let first = all.split([',', '-']).next().unwrap();
    let server = Plan::new().cores(2).arguments(&["--cpus", first]).start();
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let tasks: Vec<_> = tasks.map(|task| allowed(task.unwrap().path().join("status"))).collect();
    assert!(tasks.len() > 3 && tasks.iter().all(|cpus| cpus == first), "{tasks:?}");
    // What it keeps itself to does not count as what it may run on.
    server.signal("HUP");
    eventually("it is reloaded", || server.log().contains("certificates are reloaded"));
}
