//! How many are let in, and what a server does that has no descriptors left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::client::{Client, echoes, raw};
use crate::http::{is_at_its_end, try_request};
use crate::server::{Plan, Server, eventually, folder};

const REFUSALS: &str = "ringroom_refusals_total";

#[test]
fn limits_refuse_by_name_and_are_freed_by_leaving() {
    for (setting, reason) in [
        ("admission.connections=3", "\"connections\""),
        ("admission.connections_per_ip=3", "\"connections_per_address\""),
    ] {
        let server = Plan::new().set(setting).start();
        let mut held = echoes(server.address(), 3);
        assert!(is_at_its_end(&mut raw(server.address())), "{setting}");
        assert!(server.metric(REFUSALS, reason) >= 1.0, "{setting}");
        assert!(held.iter_mut().all(Client::is_served), "{setting}: who is in is served");
        held.pop();
        eventually("a place is free", || Client::try_echo(raw(server.address()), "").is_ok());
    }
}

#[test]
fn unfinished_handshakes_do_not_take_the_places_of_all() {
    let server = Plan::new().set("admission.handshakes=2").start();
    let dribblers = [raw(server.address()), raw(server.address())];
    eventually("they are counted", || server.metric("ringroom_handshakes_pending", "") >= 2.0);
    assert!(is_at_its_end(&mut raw(server.address())));
    assert!(server.metric(REFUSALS, "\"handshakes\"") >= 1.0);
    drop(dribblers);
    eventually("a place is free", || Client::try_echo(raw(server.address()), "").is_ok());
}

#[test]
fn accepts_are_paced() {
    let plan = Plan::new().set("admission.accepts_per_second=1");
    let server = plan.set("admission.accept_burst=2").start();
    let mut held = echoes(server.address(), 2);
    // It waits in the kernel's queue and is not refused.
    let mut third = Client::try_echo(raw(server.address()), "").expect("it comes in later");
    assert!(third.is_served());
    assert!(held.iter_mut().all(Client::is_served));
}

/// A descriptor table of so many.
#[expect(unsafe_code, reason = "resource limits have no safe wrapper")]
pub(crate) fn few_descriptors(count: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: the structure lives for the time of the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn without_descriptors_those_inside_are_served_and_accepting_resumes_alone() {
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().before(|| few_descriptors(64)).arguments(&["--driver", driver]);
        let server = plan.start();
        let (mut inside, mut turned_away) = (Vec::new(), 0);
        while turned_away < 3 {
            match Client::try_echo(raw(server.address()), "") {
                Ok(client) => inside.push(client),
                Err(_) => turned_away += 1,
            }
            assert!(inside.len() < 64, "{driver}: there is a limit");
        }
        assert!(server.metric(REFUSALS, "\"descriptors\"") >= 1.0, "{driver}");
        // More wait at the door while those inside are served.
        let _waiting: Vec<_> = (0..20).map(|_| raw(server.address())).collect();
        assert!(inside.iter_mut().all(Client::is_served), "{driver}");
        takes_little_cpu(&server, driver);
        inside.truncate(inside.len() / 2);
        eventually("accepting resumes", || Client::try_echo(raw(server.address()), "").is_ok());
        assert!(inside.iter_mut().all(Client::is_served), "{driver}");
    }
}

/// Under a tenth of a CPU for two seconds, whatever else the machine does.
fn takes_little_cpu(server: &Server, case: &str) {
    let (ticks, pause) = (server.cpu_ticks(), Duration::from_secs(2));
    thread::sleep(pause);
    let used = server.cpu_ticks() - ticks;
    assert!(used <= 20, "{case}: {used} hundredths of a second of CPU in {pause:?}");
}

/// The library in whose presence accepting fails on request.
fn poor_system(folder: &Path) -> PathBuf {
    let library = folder.join("accept.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/accept.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().expect("a C compiler, which the build needs as well").success());
    library
}

#[test]
fn without_memory_those_inside_are_served_and_accepting_resumes_alone() {
    let folder = folder();
    let library = poor_system(&folder);
    thread::scope(|scope| {
        for (driver, error, reason) in [
            ("uring", libc::ENOMEM, Some("\"memory\"")),
            ("epoll", libc::ENOMEM, Some("\"memory\"")),
            ("uring", libc::ENOBUFS, Some("\"memory\"")),
            ("uring", libc::ENFILE, Some("\"descriptors\"")),
            // An error that says nothing of why, and does not end.
            ("uring", libc::EIO, None),
        ] {
            let case = format!("{driver}, error {error}");
            let fails = folder.join(&case);
            let plan = Plan::new().arguments(&["--driver", driver]);
            let plan = plan.environment("LD_PRELOAD", &library);
            let plan = plan.environment("ACCEPT_FAILS", &fails);
            scope.spawn(move || {
                let server = plan.start();
                let mut inside = echoes(server.address(), 3);
                fs::write(&fails, error.to_string()).unwrap();
                let _waiting: Vec<_> = (0..20).map(|_| raw(server.address())).collect();
                takes_little_cpu(&server, &case);
                assert!(inside.iter_mut().all(Client::is_served), "{case}");
                fs::remove_file(&fails).unwrap();
                let comes_in = || Client::try_echo(raw(server.address()), "").is_ok();
                eventually("accepting resumes", comes_in);
                assert!(inside.iter_mut().all(Client::is_served), "{case}");
                // The control plane could let nobody in either.
                eventually("it can be asked", || {
                    try_request(server.control_address(), "GET", "/ready").is_some()
                });
                assert!(
                    reason.is_none_or(|reason| server.metric(REFUSALS, reason) >= 1.0),
                    "{case}"
                );
            });
        }
    });
}
