//! A room of many, and a member who says all at once what it has to say.

use serde_json::json;

use crate::client::{FIN, TEXT, frame};
use crate::server::Plan;
use crate::talk::Talk;

/// As many as a core writes by parts, and some more.
const MEMBERS: usize = 40;
const MESSAGES: usize = 200;
/// Less than all of them together, and more than is read before some of it is written.
const OUTBOX: &str = "limits.outbox_bytes=131072";
/// What the kernel takes for those who have not begun to read.
const SEND_BUFFER: &str = "tcp.send_buffer_bytes=200000";

#[test]
fn who_says_much_at_once_makes_no_slow_consumers_of_those_who_hear_it() {
    for driver in ["uring", "epoll"] {
        let plan =
            Plan::new().cores(1).arguments(&["--driver", driver]).set(OUTBOX).set(SEND_BUFFER);
        let server = plan.start();
        let mut members: Vec<Talk> = (0..MEMBERS)
            .map(|_| {
                let mut talk = Talk::try_open(server.address(), "/ws", "").expect("it is let in");
                let joined = talk.ask(json!({ "type": "join", "room": "a" }));
                assert_eq!(joined["type"], "ok", "{joined}");
                talk
            })
            .collect();
        let burst: Vec<u8> = (0..MESSAGES)
            .flat_map(|number| {
                let data = format!("{number} {}", "x".repeat(900));
                let publish = json!({ "type": "publish", "room": "a", "data": data });
                frame(FIN | TEXT, publish.to_string().as_bytes())
            })
            .collect();
        members[0].say_all(&burst);
        for talk in &mut members {
            for number in 0..MESSAGES {
                let message = talk.hear_of("message");
                let data = message["data"].as_str().expect("a text");
                assert!(data.starts_with(&format!("{number} ")), "{driver}: {message}");
            }
        }
        assert!(server.metric("ringroom_closes_total", "slow_consumer") < 1.0, "{driver}");
    }
}
