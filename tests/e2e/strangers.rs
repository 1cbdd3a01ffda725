//! Those who have no credential, or too much of everything, beside good clients, none of whom is
//! disconnected or misses anything. `STRANGERS` multiplies how many there are, and
//! `GOOD_CLIENTS` says how many good clients (2,000 want `ulimit -n 16384`, and a release build).

use std::iter::from_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::identity::{SECRET, server};
use crate::operator::operate;
use crate::server::{PATIENCE, Server, eventually};
use crate::talk::{Talk, token};

/// Good clients, each of which says something and hears it back, by tens in rooms of their own.
fn good() -> usize {
    std::env::var("GOOD_CLIENTS").ok().and_then(|it| it.parse().ok()).unwrap_or(40)
}

/// As many rooms as they are in.
fn good_rooms() -> u64 {
    good().div_ceil(10) as u64
}

fn scale() -> usize {
    std::env::var("STRANGERS").ok().and_then(|it| it.parse().ok()).unwrap_or(1)
}

/// Ends what goes on for as long as it is there, also when a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Good clients while `harm` is done: all of them are served to the end. One that does not come in ends
/// the test by what it has to say, without any harm.
fn beside_good_clients(server: &Server, harm: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let (came, comers) = channel();
    // However many they are, so much is said in all.
    let pause = Duration::from_micros(500) * u32::try_from(good()).unwrap();
    thread::scope(|scope| {
        let ending = Ending(&over);
        let good: Vec<_> = (0..good())
            .map(|number| {
                let (over, came, address) = (&over, came.clone(), server.address());
                scope.spawn(move || {
                    let user = format!("good{number}");
                    let claims = json!({ "sub": user, "tenant": "good" });
                    let mut talk = Talk::bearer(address, &token(SECRET, claims));
                    let room = format!("quiet{}", number / 10);
                    let joined = talk.ask(json!({ "type": "join", "room": room }));
                    assert_eq!(joined["type"], "ok", "{user}: {joined}");
                    came.send(()).unwrap();
                    drop(came);
                    let mut rounds = 0;
                    while !over.load(Ordering::Relaxed) || rounds < 5 {
                        let publish = json!({ "type": "publish", "room": room, "data": rounds });
                        let answer = talk.ask(publish);
                        assert_eq!(answer["type"], "ok", "{user}: {answer}");
                        rounds += 1;
                        thread::sleep(pause);
                    }
                })
            })
            .collect();
        drop(came);
        // One that has failed comes no more, and one that is late is waited for so long and no longer.
        let in_all = from_fn(|| comers.recv_timeout(PATIENCE).ok()).count();
        if in_all == good.len() {
            harm();
        }
        drop(ending);
        for good in good {
            good.join().unwrap_or_else(|reason| resume_unwind(reason));
        }
    });
}

/// Rooms of all tenants.
fn rooms(server: &Server) -> u64 {
    let (_, list) = operate(server, "GET", "/v1/tenants", &serde_json::Value::Null);
    let tenants = list["tenants"].as_array().unwrap();
    tenants.iter().map(|tenant| tenant["rooms"]["count"].as_u64().unwrap()).sum()
}

/// All clients of a test come from one address, and are not held back by what this one may do.
const NO_RATES: &str = "[admission]\nbad_credentials_per_minute = 0\nconnections_per_ip = 0\n[rate]\nmessages_per_second = 0\n[users]\nmessages_per_second = 0\n\
                        [addresses]\nmessages_per_second = 0\n";

const TENANTS: &str = "[tenants.good]\n[tenants.bad]\n";

#[test]
fn a_flood_of_bad_tokens_is_refused_one_by_one() {
    let server = server(2, &format!("{NO_RATES}{TENANTS}"));
    let before = server.resident_bytes();
    let forged = token("a secret that nobody here has ever heard of", json!({ "sub": "eve" }));
    let count = 400 * scale();
    beside_good_clients(&server, || {
        for number in 0..count {
            // Each another one, so that nothing is remembered of it.
            let bad = format!("{}{number:08}", &forged[..forged.len() - 8]);
            let header = format!("Authorization: Bearer {bad}\r\n");
            let refused = Talk::try_open(server.address(), "/ws", &header).err();
            assert_eq!(refused.map(|refused| refused.status), Some(401));
        }
    });
    assert!(server.metric("ringroom_credentials_refused_total", "") >= count as f64);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes for nothing");
}

#[test]
fn those_who_never_say_who_they_are_are_sent_away() {
    let more = format!("[auth]\ntimeout_ms = 600\n{NO_RATES}");
    let server = server(2, &format!("{more}{TENANTS}"));
    let count = 150 * scale();
    beside_good_clients(&server, || {
        let mut silent: Vec<Talk> = (0..count)
            .filter_map(|_| Talk::try_open(server.address(), "/ws/lobby", "").ok())
            .collect();
        assert_eq!(silent.len(), count);
        for (number, talk) in silent.iter_mut().enumerate() {
            // Some do talk, and say nothing to the point.
            if number % 3 == 0 {
                talk.say(&json!({ "type": "join", "room": "lobby" }));
            }
        }
        for mut talk in silent {
            assert_eq!(talk.closed(), ("auth_timeout".to_owned(), 1008));
        }
    });
    assert_eq!(server.metric("ringroom_handshakes_total", ""), (count + good()) as f64);
    assert!(rooms(&server) <= good_rooms(), "no room was made for them");
}

#[test]
fn who_makes_rooms_without_end_is_stopped_and_leaves_nothing() {
    let more = format!("[limits]\nroom_creations_per_minute = 50\n{NO_RATES}");
    let server = server(2, &format!("{more}{TENANTS}"));
    beside_good_clients(&server, || {
        let claims = json!({ "sub": "eve", "tenant": "bad" });
        let mut eve = Talk::bearer(server.address(), &token(SECRET, claims));
        let mut refused = 0;
        for number in 0..300 * scale() {
            let join = json!({ "type": "join", "room": format!("room {number}") });
            refused += usize::from(eve.ask(join)["type"] == "error");
            eve.ask(json!({ "type": "leave", "room": format!("room {number}") }));
        }
        assert!(refused >= 200 * scale(), "only {refused} were refused");
        assert_eq!(eve.ask(json!({ "type": "ping" }))["type"], "pong");
    });
    // Those of the good ones are kept for their sessions.
    eventually("the rooms are gone", || rooms(&server) <= good_rooms());
}

#[test]
fn a_tenant_at_its_quota_is_told_and_others_do_not_notice() {
    // So few that they are too many one by one, however busy the machine is.
    let tenants = "[tenants.good]\n\
                   [tenants.bad]\nmessages_per_second = 5\nconnections = 5\nrooms = 2\n";
    let server = server(2, &format!("{NO_RATES}{tenants}"));
    beside_good_clients(&server, || {
        let claims = |number| json!({ "sub": format!("eve{number}"), "tenant": "bad" });
        let mut eves: Vec<Talk> = (0..5)
            .map(|number| Talk::bearer(server.address(), &token(SECRET, claims(number))))
            .collect();
        let header = format!("Authorization: Bearer {}\r\n", token(SECRET, claims(9)));
        let sixth = Talk::try_open(server.address(), "/ws", &header).expect_err("a refusal");
        assert_eq!(sixth.status, 429);
        let mut limited = 0;
        for round in 0..400 * scale() {
            let eve = &mut eves[round % 5];
            limited += usize::from(eve.ask(json!({ "type": "rooms" }))["code"] == "rate_limited");
        }
        assert!(limited > 0, "the quota held nothing back");
    });
}
