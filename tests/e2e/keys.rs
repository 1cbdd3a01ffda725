//! API keys with limits of their own, over the cores of a server and over a reload.

use ring::digest;
use serde_json::json;

use crate::server::{Plan, Server, eventually};
use crate::talk::Talk;

const SECRET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

/// A configuration that knows a key, of this prefix and with these limits, and another without any.
fn config(limits: &str) -> String {
    let digest = digest::digest(&digest::SHA256, SECRET.as_bytes());
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let key = |prefix: &str, limits: &str| {
        format!(
            "[[auth.api_keys]]\nprefix = \"{prefix}\"\nhash = \"sha256:{hash}\"\nuser = \"{prefix}\"\n{limits}\n"
        )
    };
    format!(
        "listen = [\"127.0.0.1:0\"]\n[limits]\nconnections_per_user = 0\n{}{}",
        key("limitedlimit", limits),
        key("endlessendle", "")
    )
}

fn come(server: &Server, prefix: &str) -> Result<Talk, u16> {
    let header = format!("X-API-Key: rr_{prefix}_{SECRET}\r\n");
    let mut talk = Talk::try_open(server.address(), "/ws", &header).map_err(|it| it.status)?;
    let first = talk.hear();
    assert!(first["type"] == "welcome" || first["reason"] == "connection_limit", "{first}");
    if first["type"] == "welcome" { Ok(talk) } else { Err(1008) }
}

#[test]
fn a_key_has_its_connections_over_all_cores_and_over_a_reload() {
    let server = Plan::new().listeners(&config("connections = 4")).set("cores.count=2").start();
    let mut all: Vec<Talk> =
        (0..4).map(|_| come(&server, "limitedlimit").expect("one of four")).collect();
    for _ in 0..8 {
        // Whichever core it comes to.
        assert_eq!(come(&server, "limitedlimit").err(), Some(429));
    }
    let _others: Vec<Talk> =
        (0..8).map(|_| come(&server, "endlessendle").expect("no limit")).collect();
    drop(all.pop());
    eventually("its place is given back", || match come(&server, "limitedlimit") {
        Ok(talk) => {
            all.push(talk);
            true
        }
        Err(_) => false,
    });
    server.reload(&config("connections = 2"));
    eventually("it says that it is done", || server.log().contains("certificates are reloaded"));
    all.truncate(2);
    // Two of four have gone, and those that are left are as many as may be now. Each core reads it by
    // itself.
    eventually("nobody else comes", || (0..8).all(|_| come(&server, "limitedlimit").is_err()));
    all.truncate(1);
    eventually("one may come", || match come(&server, "limitedlimit") {
        Ok(talk) => {
            all.push(talk);
            true
        }
        Err(_) => false,
    });
    for _ in 0..8 {
        assert!(come(&server, "limitedlimit").is_err());
    }
}

#[test]
fn all_connections_of_a_key_send_together_what_it_may() {
    let limits = config("messages_per_second = 5");
    let server = Plan::new().listeners(&limits).set("cores.count=2").start();
    let mut all: Vec<Talk> =
        (0..4).map(|_| come(&server, "limitedlimit").expect("no limit on these")).collect();
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.extend(all.iter_mut().map(|talk| talk.ask(json!({ "type": "ping" }))));
    }
    let passed = answers.iter().filter(|answer| answer["type"] == "pong").count();
    let refused = answers.iter().filter(|answer| answer["code"] == "rate_limited").count();
    assert_eq!(passed + refused, 40, "{answers:?}");
    // Five at once, and what a slow machine yields meanwhile.
    assert!((5..30).contains(&passed), "{passed}");
    let mut other = come(&server, "endlessendle").expect("no limit");
    assert!((0..40).all(|_| other.ask(json!({ "type": "ping" }))["type"] == "pong"));
}
