//! How clients come in: at once, or, while a new process takes over a port from an old one, perhaps
//! not at the first attempt. What became of each attempt is counted.

use std::cell::Cell;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::link::{Arrival, Codec, Link};

/// Between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// What became of attempts to come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Knocks {
    pub(crate) welcomed: u64,
    /// Nobody listened.
    pub(crate) refused: u64,
    /// They waited in the queue of a listener that was closed.
    pub(crate) reset: u64,
    /// They were let in by a process that drains, which said so: 503, or `disconnect`.
    pub(crate) sent_away: u64,
}

/// The doors of a run.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Processes take over from each other: only that excuses a client that does not come in.
    pub(crate) are_taken_over: bool,
    pub(crate) knocks: Cell<Knocks>,
}

impl Doors {
    /// Tries until it is let in; what it is told first, and how long it is to stay away if that is
    /// no welcome.
    pub(crate) async fn come_in(
        &self,
        address: SocketAddr,
        codec: Codec,
        session: Option<&str>,
        is_slow: bool,
    ) -> (Link, Value) {
        loop {
            match Link::open(address, codec, session, is_slow).await {
                Ok(mut link) => match link.receive().await {
                    Arrival::Value(value) if value["reason"] == "drain" => {
                        assert!(self.are_taken_over, "the server sends away: {value}");
                        self.count(|knocks| knocks.sent_away += 1);
                        sleep(hint(&value)).await;
                    }
                    Arrival::Value(value) => {
                        self.count(|knocks| knocks.welcomed += 1);
                        return (link, value);
                    }
                    end => panic!("in place of a welcome: {end:?}"),
                },
                Err(error) => {
                    self.note(&error);
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    fn note(&self, error: &Error) {
        assert!(self.are_taken_over, "the server takes no connection: {error}");
        let is_told = error.to_string().starts_with("HTTP/1.1 503 ");
        self.count(|knocks| match error.kind() {
            ErrorKind::ConnectionRefused => knocks.refused += 1,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => knocks.reset += 1,
            ErrorKind::Other if is_told => knocks.sent_away += 1,
            _ => panic!("the server takes no connection: {error}"),
        });
    }

    fn count(&self, one_more: impl FnOnce(&mut Knocks)) {
        let mut knocks = self.knocks.get();
        one_more(&mut knocks);
        self.knocks.set(knocks);
    }
}

/// How long whoever is sent away by a drain is to stay away.
pub(crate) fn hint(disconnect: &Value) -> Duration {
    assert_eq!(disconnect["reconnect"], true, "{disconnect}");
    Duration::from_millis(disconnect["retry_after_ms"].as_u64().expect("a hint"))
}
