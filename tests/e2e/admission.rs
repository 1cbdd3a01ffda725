//! How many are let in, and what a server does that has no descriptors left.

use std::thread;
use std::time::Duration;

use crate::client::{Client, echoes, raw};
use crate::http::is_at_its_end;
use crate::server::{Plan, eventually};

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

/// A descriptor table of 64.
#[expect(unsafe_code, reason = "resource limits have no safe wrapper")]
fn few_descriptors() -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: the structure lives for the time of the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn without_descriptors_those_inside_are_served_and_accepting_resumes_alone() {
    for driver in ["uring", "epoll"] {
        let plan = Plan::new().before(few_descriptors).arguments(&["--driver", driver]);
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
        let (ticks, pause) = (server.cpu_ticks(), Duration::from_secs(2));
        thread::sleep(pause);
        let used = server.cpu_ticks() - ticks;
        assert!(used <= 20, "{driver}: {used} hundredths of a second of CPU in {pause:?}");
        inside.truncate(inside.len() / 2);
        eventually("accepting resumes", || Client::try_echo(raw(server.address()), "").is_ok());
        assert!(inside.iter_mut().all(Client::is_served), "{driver}");
    }
}
