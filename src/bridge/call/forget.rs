//! What a node has said of who is in a room is taken back: by itself, or by another because it is no
//! more.

use std::sync::Arc;

use redis::{Cmd, Value};

use crate::bridge::desk::Desk;
use crate::bridge::nodes::node_name;
use crate::bridge::script::Name;
use crate::id::CoreId;
use crate::room::broker::{Fault, FromBroker};
use crate::room::name::RoomKey;

use super::Call;

/// What is taken back.
#[derive(Debug)]
pub(in crate::bridge) struct Forget {
    pub(super) from: CoreId,
    pub(super) room: RoomKey,
    pub(super) node: u64,
    /// Unless it has said so in this life.
    pub(super) life: Option<Arc<str>>,
}

impl Forget {
    /// Whether this node takes back what it has said itself.
    fn is_own(&self, desk: &Desk) -> bool {
        node_name(self.node) == desk.node
    }
}

impl Call for Forget {
    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.room);
        let keys = [names.attendance(), names.channel()];
        let mut command = desk.scripts.call(Name::Forget, &keys);
        command.arg(node_name(self.node)).arg(self.life.as_deref().unwrap_or_default());
        match self.is_own(desk) {
            true => command.arg(desk.nodes.link()),
            false => command.arg(""),
        };
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        if self.is_own(desk) {
            desk.post(self.from, FromBroker::NotForgotten { room: self.room });
        } else {
            // It is found again to be no more.
            desk.nodes.heard_of([self.node]);
        }
    }
}
