//! A publication without a place: all who listen are told, and nothing is kept.

use redis::{Cmd, Value};

use crate::bridge::desk::Desk;
use crate::bridge::news;
use crate::room::broker::Fault;
use crate::room::name::RoomKey;

use super::{Call, Lane};

/// A transient publication.
#[derive(Debug)]
pub(in crate::bridge) struct Pass {
    pub(super) room: RoomKey,
    pub(super) wire: Box<[u8]>,
}

impl Call for Pass {
    fn bytes(&self) -> usize {
        self.wire.len()
    }

    fn lane(&self) -> Lane {
        Lane::Publishes
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("SPUBLISH");
        command.arg(desk.names(&self.room).channel()).arg(news::write_transient(&self.wire));
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.metrics.failed.add(1);
    }
}
