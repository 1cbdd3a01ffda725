//! This node says that it lives, and hears of all others.

use redis::{Cmd, Value};

use crate::bridge::answer::{bytes, number};
use crate::bridge::desk::Desk;
use crate::bridge::nodes::{Heard, Sent, node_number};
use crate::bridge::script::Name;
use crate::bridge::time;
use crate::room::broker::Fault;

use super::Call;

/// How long nodes that are no more are remembered.
const REMEMBER_MS: u64 = 60 * 60 * 1_000;

/// One beat.
#[derive(Debug)]
pub(in crate::bridge) struct Beat {
    /// None: the node ends.
    sent: Option<Sent>,
}

impl Beat {
    pub(in crate::bridge) fn next(desk: &mut Desk) -> Self {
        Self { sent: Some(desk.nodes.next_beat()) }
    }

    /// The node ends.
    pub(in crate::bridge) fn last() -> Self {
        Self { sent: None }
    }
}

impl Call for Beat {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Beat, &desk.keys.nodes());
        command.arg(&desk.node).arg(desk.nodes.believed_ms());
        let says = if self.sent.is_some() { desk.nodes.says() } else { String::new() };
        command.arg(says).arg(REMEMBER_MS);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let Some(sent) = self.sent else { return };
        let Value::Array(items) = answer else { return };
        if items.first().and_then(number) == Some(1) {
            desk.nodes.heed_loss();
        }
        let heard = items.iter().filter_map(read).collect();
        let lapsed = desk.nodes.take(sent, time::now(), heard);
        for node in lapsed {
            tracing::warn!(node = format!("{node:016x}"), "a node is no more");
            desk.tell_cores(|| crate::room::broker::FromBroker::Lapsed { node });
        }
        desk.tell_nodes();
    }

    /// The next one may come through.
    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}

/// `[NODE, WHETHER IT LIVES, WHAT IT SAYS]`
fn read(item: &Value) -> Option<Heard> {
    let Value::Array(parts) = item else { return None };
    let [node, lives, says] = parts.as_slice() else { return None };
    let (link, facts) = std::str::from_utf8(bytes(says)?).ok()?.split_once(' ')?;
    Some(Heard {
        node: node_number(bytes(node)?)?,
        lives: number(lives)? == 1,
        link: link.parse().ok()?,
        facts: serde_json::from_str(facts).ok(),
    })
}
