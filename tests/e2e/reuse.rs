//! Places of connections that are taken again at once: nothing that was for one connection reaches
//! whoever comes after it, from its own core or from another.

use std::thread;

use serde_json::{Value, json};

use crate::server::Plan;
use crate::talk::Talk;

/// Those who come and go at the same time.
const PEOPLE: usize = 8;
/// How often each of them does.
const ROUNDS: usize = 40;

#[test]
fn nothing_for_a_connection_reaches_the_next_one_in_its_place() {
    for driver in ["uring", "epoll"] {
        let server = Plan::new().cores(2).arguments(&["--driver", driver]).start();
        let address = server.address();
        thread::scope(|scope| {
            for person in 0..PEOPLE {
                scope.spawn(move || {
                    let mut gone = None;
                    for round in 0..ROUNDS {
                        let me = format!("{person}-{round}");
                        let mut talk = Talk::try_open(address, "/ws", "").expect("it is let in");
                        let name = talk.hear()["connection"].clone();
                        // Much is on its way when it goes, to both cores and back.
                        ask_for_much(&mut talk, &me, &name, gone.as_ref());
                        if round % 2 == 0 {
                            listen(&mut talk, &me);
                        }
                        gone = Some(name);
                    }
                });
            }
        });
        let mut talk = Talk::try_open(address, "/ws", "").expect("it is let in");
        assert_eq!(talk.ask(json!({ "type": "ping" }))["type"], "pong", "{driver}");
    }
}

/// Everything that is said carries a name, and so does each answer.
fn ask_for_much(talk: &mut Talk, me: &str, name: &Value, gone: Option<&Value>) {
    for room in 0..4 {
        let room = format!("of/{me}/{room}");
        talk.say(&json!({ "type": "join", "id": me, "room": room }));
        for _ in 0..5 {
            talk.say(&json!({ "type": "publish", "id": me, "room": room, "data": me }));
        }
    }
    for _ in 0..5 {
        let to = json!({ "connection": name });
        talk.say(&json!({ "type": "send", "id": me, "to": to, "data": me }));
        if let Some(gone) = gone {
            let to = json!({ "connection": gone });
            talk.say(&json!({ "type": "send", "id": me, "to": to, "data": "for nobody" }));
        }
    }
    talk.say(&json!({ "type": "ping", "id": format!("{me} last") }));
}

/// Hears what there is until the last answer: all of it is of `me`.
fn listen(talk: &mut Talk, me: &str) {
    loop {
        let heard = talk.hear();
        if heard["id"] == format!("{me} last") {
            return;
        }
        assert!(heard["id"].is_null() || heard["id"] == me, "{me} is answered {heard}");
        assert!(heard["data"].is_null() || heard["data"] == me, "{me} is told {heard}");
        let room = heard["room"].as_str().unwrap_or("@user/");
        let is_mine = room.starts_with(&format!("of/{me}/")) || room.starts_with("@user/");
        assert!(is_mine, "{me} is told {heard}");
    }
}
