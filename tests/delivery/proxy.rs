//! A network between a node and Redis that fails: it delays, swallows, or cuts what goes over it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How often a pipe looks at what the network is to do.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Nothing comes through, and nobody is told.
const SWALLOWED: u64 = u64::MAX;
/// What is connected is cut, and what connects as well.
const CUT: u64 = u64::MAX - 1;

/// A way to a port, which it goes until the test's process ends.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Milliseconds by which everything is late, or one of the above.
    state: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(AtomicU64::new(0)),
        };
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", port));
                if let (Ok(far), true) = (far, state.load(Ordering::Relaxed) != CUT) {
                    let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                    let (one, other) = (Arc::clone(&state), Arc::clone(&state));
                    thread::spawn(move || carry(near, far, &one));
                    thread::spawn(move || carry(far_too, near_too, &other));
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self) {
        self.state.store(CUT, Ordering::Relaxed);
    }

    pub(crate) fn swallow(&self) {
        self.state.store(SWALLOWED, Ordering::Relaxed);
    }

    pub(crate) fn delay(&self, ms: u64) {
        self.state.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn heal(&self) {
        self.state.store(0, Ordering::Relaxed);
    }
}

/// Carries bytes one way, until either end or the network ends it.
fn carry(mut from: TcpStream, mut to: TcpStream, state: &AtomicU64) {
    from.set_read_timeout(Some(LOOK_EVERY)).unwrap();
    to.set_nodelay(true).unwrap();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let now = state.load(Ordering::Relaxed);
        if now == CUT {
            break;
        }
        if now == SWALLOWED {
            thread::sleep(LOOK_EVERY);
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                thread::sleep(Duration::from_millis(now));
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The other way ends with it; either may have ended already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
