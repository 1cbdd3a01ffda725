//! A glance looks at the sockets, whatever the runtime.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::config::Driver;
use crate::net::ring;
use crate::net::stream::Stream;
use crate::net::timer::Glance;

#[test]
fn what_is_ready_is_seen_within_a_glance() {
    for driver in [Driver::Auto, Driver::Epoll] {
        let (mut ring, kind) = ring::build(driver, 256).unwrap();
        ring.block_on(async {
            let glance = Glance::new(kind).unwrap();
            let (mut peer, socket) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            let stream = Stream::new(socket.into()).unwrap();
            let is_seen = Rc::new(Cell::new(false));
            let seen = Rc::clone(&is_seen);
            monoio::spawn(async move {
                stream.readable().await.unwrap();
                seen.set(true);
            });
            for _ in 0..3 {
                glance.glance().await;
            }
            assert!(!is_seen.get(), "nothing is there");
            peer.write_all(b"x").unwrap();
            glance.glance().await;
            assert!(is_seen.get(), "{}", kind.name());
        });
    }
}
