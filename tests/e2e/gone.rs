//! A client whose socket is gone: nothing can reach it, so nothing keeps it in its rooms.

use std::io::Write as _;

use serde_json::json;

use crate::abuse::reset;
use crate::client::{head, raw};
use crate::server::{Plan, eventually};
use crate::talk::Talk;
use crate::tls::{self, Certificates};

/// Not after as long as the end of its session might wait to be written, for which a handshake's deadline
/// stands here that is over before that.
#[test]
fn members_over_tls_whose_sockets_are_reset_leave_at_once() {
    let certificates = Certificates::new();
    let config = certificates.client(rustls::ALL_VERSIONS);
    for driver in ["uring", "epoll"] {
        let plan =
            Plan::new().arguments(&["--driver", driver]).listeners(&certificates.listener(""));
        let server = plan.set("handshake.deadline_ms=3500").start();
        let connect = || tls::connect(server.address(), &config).expect("a session");
        let mut stays = Talk::try_over(connect(), "/ws/r", "").expect("the upgrade");
        // As a client does that closes with something unread: the end of the session, then the reset.
        for says_goodbye in [false, true] {
            let members = |stays: &mut Talk| {
                let info = stays.ask(json!({ "type": "room.info", "room": "r" }));
                info["user_count"].as_u64().expect("a count")
            };
            let mut go: Vec<_> = (0..10).map(|_| connect()).collect();
            for stream in &mut go {
                stream.write_all(head("/ws/r", "").as_bytes()).unwrap();
            }
            eventually("all are in", || members(&mut stays) == 11);
            let silent = raw(server.address());
            eventually("it is in", || server.metric("ringroom_handshakes_pending", "") > 0.5);
            for mut stream in go {
                reset(&stream.sock);
                if says_goodbye {
                    stream.conn.send_close_notify();
                    stream.conn.write_tls(&mut stream.sock).unwrap();
                }
            }
            eventually("all are gone", || members(&mut stays) == 1);
            let is_at_once = server.metric("ringroom_handshakes_pending", "") > 0.5;
            assert!(is_at_once, "{driver}, goodbye: {says_goodbye}");
            drop(silent);
            eventually("it is gone", || server.metric("ringroom_handshakes_pending", "") < 0.5);
        }
    }
}
