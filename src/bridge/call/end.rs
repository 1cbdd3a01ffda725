//! Nobody here follows a room any more: if it is temporary and nobody does elsewhere, it is gone.

use redis::{Cmd, Value};

use crate::bridge::answer::number;
use crate::bridge::desk::Desk;
use crate::bridge::nodes::node_name;
use crate::bridge::script::Name;
use crate::bridge::time;
use crate::room::broker::Fault;
use crate::room::name::RoomKey;

use super::Call;

/// A room that is not listened to any more.
#[derive(Debug)]
pub(in crate::bridge) struct End {
    pub(in crate::bridge) room: RoomKey,
    /// That was asked a lease ago, and not known.
    pub(in crate::bridge) again: bool,
}

impl Call for End {
    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.room);
        let keys = [
            names.state(),
            names.history(),
            names.channel(),
            names.attendance(),
            names.charter(),
            names.bookmarks(),
        ];
        let mut command = desk.scripts.call(Name::End, &keys);
        let is_sure = desk.nodes.is_sure(time::now());
        command.arg(&desk.node).arg(u8::from(is_sure) + u8::from(is_sure && self.again));
        for node in desk.nodes.living() {
            command.arg(node_name(node));
        }
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        match number(&answer) {
            Some(1) => desk.metrics.ended.add(1),
            // That node comes back to it, or is found to be no more.
            Some(2) => desk.doubt_end(self.room),
            _ => {}
        }
    }

    /// It runs out.
    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}
