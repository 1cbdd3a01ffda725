//! A configuration that is read again: what can change does, what cannot is named, and a bad one
//! changes nothing.

use serde_json::json;

use crate::client::{Client, head};
use crate::http::exchange;
use crate::identity::SECRET;
use crate::server::{Plan, Server, eventually, folder};
use crate::talk::{now, token};

const OLD: &str = "https://old.example";
const NEW: &str = "https://new.example";

fn config(origin: &str, more: &str) -> String {
    format!("listen = [\"127.0.0.1:0\"]\n[handshake]\norigins = [\"{origin}\"]\n{more}")
}

/// What an upgrade from a page is answered.
fn from_page(server: &Server, origin: &str) -> u16 {
    let head = head("/echo", &format!("Origin: {origin}\r\n"));
    exchange(server.address(), head.as_bytes()).expect("a response").status
}

#[test]
fn what_can_change_does_and_what_cannot_is_named() {
    let server = Plan::new().listeners(&config(OLD, "[limits]\ndepth = 20\n")).start();
    let mut here = Client::echo(server.address());
    assert_eq!((from_page(&server, OLD), from_page(&server, NEW)), (101, 403));
    server.reload(&config(NEW, "[limits]\ndepth = 10\n"));
    eventually("the new page may", || from_page(&server, NEW) == 101);
    assert_eq!(from_page(&server, OLD), 403);
    // What is logged is written a little later.
    eventually("it says that it is done", || server.log().contains("certificates are reloaded"));
    let log = server.log();
    let named: Vec<&str> = log.lines().filter(|line| line.contains("starts again")).collect();
    assert!(matches!(named[..], [line] if line.contains("limits.depth")), "{log}");

    // Each is wrong in one place, and right about an origin.
    let bad = ["[limits]\ndepth = \"deep\"\n", "[limits]\ndepht = 10\n", "[limits\n"];
    for (count, more) in bad.iter().enumerate() {
        server.reload(&config(OLD, more));
        let said = || server.log().matches("the old settings are kept").count();
        eventually("it says that all is kept", || said() == count + 1);
        assert_eq!((from_page(&server, OLD), from_page(&server, NEW)), (403, 101), "{more}");
    }
    let log = server.log();
    assert!(log.contains("config.toml") && log.contains("depht"), "it says what is wrong: {log}");
    assert!(here.is_served(), "who was here stays");

    server.reload(&config(OLD, "[limits]\ndepth = 10\n"));
    eventually("a good one is taken again", || from_page(&server, OLD) == 101);
}

#[test]
fn how_long_a_credential_is_good_for_waits_for_a_restart_and_is_named() {
    let secret = folder().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let config = |leeway_ms: u32, audience: &str| {
        let jwt = format!("[auth.jwt]\nsecret_file = {secret:?}\naudiences = [\"{audience}\"]\n");
        config(OLD, &format!("[auth]\nleeway_ms = {leeway_ms}\n{jwt}"))
    };
    let server = Plan::new().listeners(&config(0, "old")).start();
    let come = |audience: &str, exp: u64| {
        let token = token(SECRET, json!({ "sub": "ann", "aud": audience, "exp": exp }));
        let head = head("/ws", &format!("Authorization: Bearer {token}\r\n"));
        exchange(server.address(), head.as_bytes()).expect("a response").status
    };
    assert_eq!((come("old", now() + 60), come("old", now() - 5)), (101, 401));
    server.reload(&config(60_000, "new"));
    eventually("the new audience is known", || come("new", now() + 60) == 101);
    assert_eq!(come("new", now() - 5), 401, "its time is over, as before");
    eventually("it is named", || {
        let log = server.log();
        let named: Vec<&str> = log.lines().filter(|line| line.contains("starts again")).collect();
        matches!(named[..], [line] if line.contains("auth.leeway_ms"))
    });
}

/// What plain HTTP may take goes by the new settings on every way that it comes in, as the handshake does.
#[test]
fn what_a_request_may_take_is_the_same_for_plain_ones_and_upgrades() {
    let server = Plan::new().listeners(&config(OLD, "")).start();
    let many: String = (0..150).map(|number| format!("X-{number}: a\r\n")).collect();
    let answers = || {
        let plain = format!("GET /live HTTP/1.1\r\nHost: a\r\n{many}\r\n");
        let plain = |address| exchange(address, plain.as_bytes()).expect("a response").status;
        let upgrade = exchange(server.address(), head("/echo", &many).as_bytes());
        let upgrade = upgrade.expect("a response").status;
        [upgrade, plain(server.address()), plain(server.control_address())]
    };
    assert_eq!(answers(), [431; 3]);
    server.reload(&config(OLD, "headers = 200\nhttp_idle_ms = 300\n"));
    eventually("more headers are taken", || answers() == [101, 200, 200]);
    let mut silent = crate::http::connect(server.control_address());
    assert!(crate::http::is_at_its_end(&mut silent), "after a moment, not after a minute");
    let log = server.log();
    assert!(!log.contains("starts again"), "nothing waits: {log}");
}
