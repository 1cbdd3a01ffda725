//! The node says something to itself: that shows that Redis answers, and that what is said there is
//! heard here.

use std::time::{Duration, Instant};

use redis::{Cmd, Value};

use crate::bridge::desk::Desk;
use crate::bridge::time;
use crate::room::broker::Fault;

use super::Call;

/// Says something on the node's own channel.
#[derive(Debug)]
pub(in crate::bridge) struct Echo(u64);

/// What was said and is awaited.
#[derive(Debug, Default)]
pub(in crate::bridge) struct Awaited {
    count: u64,
    since: Option<Instant>,
}

impl Awaited {
    /// The next thing to say; none if the last one is still awaited.
    pub(in crate::bridge) fn next(&mut self) -> Option<Echo> {
        if self.since.is_some() {
            return None;
        }
        self.since = Some(time::now());
        self.count += 1;
        Some(Echo(self.count))
    }

    /// Something was heard on the node's own channel.
    pub(in crate::bridge) fn heard(&mut self, payload: &[u8]) {
        if payload == self.count.to_string().as_bytes() {
            self.since = None;
        }
    }

    /// Whether what was said should have been heard by now.
    pub(in crate::bridge) fn is_overdue(&self, patience: Duration) -> bool {
        self.since.is_some_and(|since| time::elapsed(since) > patience)
    }

    /// What was said over a link that has ended is not awaited.
    pub(in crate::bridge) fn forget(&mut self) {
        self.since = None;
    }
}

impl Call for Echo {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("SPUBLISH");
        command.arg(desk.keys.node(&desk.node)).arg(self.0);
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    /// Then it is not heard either, and is said again.
    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.echo.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_awaited_at_a_time_and_only_its_own_word_ends_that() {
        let mut awaited = Awaited::default();
        assert!(!awaited.is_overdue(Duration::ZERO));
        assert!(awaited.next().is_some());
        assert!(awaited.next().is_none());
        std::thread::sleep(Duration::from_millis(1));
        assert!(awaited.is_overdue(Duration::ZERO));
        assert!(!awaited.is_overdue(Duration::from_secs(60)));
        awaited.heard(b"2");
        awaited.heard(b"");
        assert!(awaited.next().is_none());
        awaited.heard(b"1");
        assert!(awaited.next().is_some());
        awaited.heard(b"1");
        assert!(awaited.next().is_none(), "that was the one before");
        awaited.forget();
        assert!(awaited.next().is_some());
    }
}
