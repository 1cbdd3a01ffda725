//! What goes wrong with it.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Redis;
use super::data::Data;

/// How it takes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bridge::tests) enum Mood {
    Well,
    /// It reads what it had.
    Loading,
    /// It is no primary.
    ReadOnly,
    /// It has no memory left.
    Full,
}

/// With what it begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bridge::tests) enum Restart {
    /// With everything.
    Whole,
    /// With what was there when a copy was made last.
    Copy,
    /// With nothing.
    Empty,
    /// It is another one, which has what had come to it.
    Replica,
}

impl Redis {
    pub(super) fn ended(&self, number: u64) -> Option<Rc<Notify>> {
        self.0.borrow().connections.get(&number).map(|it| Rc::clone(&it.ended))
    }

    /// All connections of a node end. What has come from it is carried out, or not.
    pub(in crate::bridge::tests) fn cut(&self, node: usize, arrives: bool) {
        let mut server = self.0.borrow_mut();
        server.connections.retain(|_, connection| {
            if connection.node != node {
                return true;
            }
            connection.ended.notify_one();
            connection.is_deaf = true;
            arrives
        });
    }

    /// One of a node's connections ends in the middle of what it asks; whether the last of that is carried
    /// out.
    pub(in crate::bridge::tests) fn light_fuse(&self, node: usize, arrives: bool) {
        let mut server = self.0.borrow_mut();
        let (at, count) = (server.below(4), u32::try_from(server.below(12)).expect("it is small"));
        let mut own = server.connections.values_mut().filter(|it| it.node == node);
        if let Some(connection) = own.nth(at) {
            connection.fuse = Some((count, arrives));
        }
    }

    /// A node does not reach it for a while: what there is between them hangs, or has ended.
    pub(in crate::bridge::tests) fn part(&self, node: usize, time: Duration, hangs: bool) {
        if !hangs {
            self.cut(node, false);
        }
        let mut server = self.0.borrow_mut();
        let until = Instant::now() + time;
        server.parted.insert(node, until);
        for connection in server.connections.values_mut().filter(|it| it.node == node) {
            connection.held_until = until;
        }
    }

    /// What backends say comes to a node only after a while.
    pub(in crate::bridge::tests) fn hold_backends(&self, node: usize, time: Duration) {
        let mut server = self.0.borrow_mut();
        let own = server.connections.values_mut().filter(|it| it.node == node);
        own.filter(|it| it.hears_backends()).for_each(|it| it.held_until = Instant::now() + time);
    }

    /// What a node asks is not taken for a while.
    pub(in crate::bridge::tests) fn hold_commands(&self, node: usize, time: Duration) {
        let mut server = self.0.borrow_mut();
        let own = server.connections.values_mut().filter(|it| it.node == node);
        own.filter(|it| !it.listens()).for_each(|it| it.held_until = Instant::now() + time);
    }

    /// What a node wants to listen to is not taken for a while.
    pub(in crate::bridge::tests) fn hold_ears(&self, node: usize, time: Duration) {
        let mut server = self.0.borrow_mut();
        let own = server.connections.values_mut().filter(|it| it.node == node);
        own.filter(|it| it.listens()).for_each(|it| it.held_until = Instant::now() + time);
    }

    /// The connections end by which a node listens.
    pub(in crate::bridge::tests) fn cut_ears(&self, node: usize) {
        let mut server = self.0.borrow_mut();
        let ends = server.connections.extract_if(.., |_, it| it.node == node && it.listens());
        ends.for_each(|(_, connection)| connection.ended.notify_one());
    }

    /// It does nothing for a while.
    pub(in crate::bridge::tests) fn hang(&self, time: Duration) {
        self.0.borrow_mut().held_until = Instant::now() + time;
    }

    pub(in crate::bridge::tests) fn set_mood(&self, mood: Mood, time: Duration) {
        self.0.borrow_mut().mood = (mood, Instant::now() + time);
    }

    pub(in crate::bridge::tests) fn set_slow(&self, is_slow: bool) {
        self.0.borrow_mut().is_slow = is_slow;
    }

    /// Its replica gets nothing for a while.
    pub(in crate::bridge::tests) fn lag(&self, time: Duration) {
        self.0.borrow_mut().lags_until = Instant::now() + time;
    }

    pub(in crate::bridge::tests) fn forget_scripts(&self) {
        self.0.borrow_mut().scripts.forget();
    }

    /// Everything goes, and nobody is cut off.
    pub(in crate::bridge::tests) fn empty(&self) {
        self.0.borrow_mut().data = Data::default();
    }

    pub(in crate::bridge::tests) fn make_copy(&self) {
        let mut server = self.0.borrow_mut();
        server.copy = server.data.clone();
    }

    /// What was written comes to the replica, unless it lags.
    pub(in crate::bridge::tests) fn replicate_now(&self) {
        let mut server = self.0.borrow_mut();
        if Instant::now() >= server.lags_until {
            server.replica = server.data.clone();
        }
    }

    /// It ends, and begins again.
    pub(in crate::bridge::tests) fn restart(&self, with: Restart) {
        let mut server = self.0.borrow_mut();
        for connection in std::mem::take(&mut server.connections).into_values() {
            connection.ended.notify_one();
        }
        server.scripts.forget();
        server.run += 1;
        server.data = match with {
            Restart::Whole => std::mem::take(&mut server.data),
            Restart::Copy => server.copy.clone(),
            Restart::Empty => Data::default(),
            Restart::Replica => server.replica.clone(),
        };
        server.replica = server.data.clone();
    }

    /// A backend says something on a plain channel.
    pub(in crate::bridge::tests) fn publish(&self, channel: &str, payload: &str) {
        self.0.borrow().publish(channel, payload);
    }

    /// Nothing is wrong any more.
    pub(in crate::bridge::tests) fn heal(&self) {
        let mut server = self.0.borrow_mut();
        let now = Instant::now();
        server.mood.1 = now;
        server.held_until = now;
        server.lags_until = now;
        server.parted.clear();
        server.is_slow = false;
        for connection in server.connections.values_mut() {
            connection.held_until = now;
            connection.fuse = None;
        }
    }
}
