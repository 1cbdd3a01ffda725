//! A connection of a user comes or goes, where their number is limited over all nodes.

use redis::{Cmd, Value};

use crate::bridge::answer::bytes;
use crate::bridge::desk::Desk;
use crate::bridge::nodes::{node_name, node_number};
use crate::bridge::script::Name;
use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::room::broker::{Fault, FromBroker};
use crate::room::entrance::{EntranceAsk, Place};

use super::Call;

/// What a user's home wants of a connection.
#[derive(Debug)]
pub(in crate::bridge) struct Enter {
    pub(super) from: CoreId,
    pub(super) place: Place,
    pub(super) ask: EntranceAsk,
}

/// Another node is told that a connection of its has to go.
#[derive(Debug)]
struct Displace {
    node: u64,
    at: ConnectionAddress,
}

impl Call for Enter {
    fn command(&self, desk: &Desk) -> Cmd {
        let key = desk.keys.places(self.place.tenant, &self.place.user);
        let name = |at| format!("{} {}", desk.nodes.own_link(), written(at));
        let (most, replaces, instead) = match &self.ask {
            EntranceAsk::Exit => {
                let mut command = redis::cmd("HDEL");
                command.arg(key).arg(name(self.place.at));
                return command;
            }
            EntranceAsk::Hold => (0, false, None),
            EntranceAsk::Enter { most, replaces, instead } => (*most, *replaces, *instead),
        };
        let mut command = desk.scripts.call(Name::Enter, &[key]);
        command.arg(name(self.place.at)).arg(most).arg(u8::from(replaces));
        command.arg(instead.map(name).unwrap_or_default());
        let redis = &desk.config.redis;
        command.arg(redis.lease_ms).arg(redis.room_ttl_ms).arg(desk.nodes.links());
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let EntranceAsk::Enter { .. } = self.ask else { return };
        let displaced = bytes(&answer).filter(|name| !name.is_empty()).and_then(read);
        if let Some((node, at)) = displaced {
            if node_name(node) == desk.node {
                desk.post(at.core, FromBroker::Displaced { connection: at.key });
            } else {
                desk.ask_next(Box::new(Displace { node, at }));
            }
        }
        let outcome = Ok(!matches!(answer, Value::Int(_)));
        desk.post(self.from, FromBroker::Entered { place: self.place, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        if matches!(self.ask, EntranceAsk::Enter { .. }) {
            let outcome = Err(fault);
            desk.post(self.from, FromBroker::Entered { place: self.place, outcome });
        }
    }
}

impl Call for Displace {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("SPUBLISH");
        command.arg(desk.keys.node(&node_name(self.node))).arg(format!("D{}", written(self.at)));
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    /// The connection stays, and is one too many.
    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.metrics.failed.add(1);
    }
}

/// This node is told that a connection has to go.
pub(in crate::bridge) fn displaced(payload: &[u8], desk: &mut Desk) {
    let at = std::str::from_utf8(payload).ok().and_then(address);
    if let Some(at) = at.filter(|at| at.core.0 < desk.cores) {
        desk.post(at.core, FromBroker::Displaced { connection: at.key });
    }
}

/// `CORE.INDEX.GENERATION`
fn written(at: ConnectionAddress) -> String {
    format!("{}.{}.{}", at.core.0, at.key.index, at.key.generation)
}

fn address(text: &str) -> Option<ConnectionAddress> {
    let mut parts = text.split('.');
    let core = CoreId(parts.next()?.parse().ok()?);
    let index = parts.next()?.parse().ok()?;
    let generation = parts.next()?.parse().ok()?;
    let key = ConnectionKey { index, generation };
    parts.next().is_none().then_some(ConnectionAddress { core, key })
}

/// `NODE.LINK CORE.INDEX.GENERATION`
fn read(name: &[u8]) -> Option<(u64, ConnectionAddress)> {
    let (link, at) = std::str::from_utf8(name).ok()?.split_once(' ')?;
    Some((node_number(link.split('.').next()?.as_bytes())?, address(at)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_connection_reads_back() {
        let key = ConnectionKey { index: 7, generation: u32::MAX };
        let at = ConnectionAddress { core: CoreId(3), key };
        assert_eq!(address(&written(at)), Some(at));
        let name = format!("{}.4 {}", node_name(9), written(at));
        assert_eq!(read(name.as_bytes()), Some((9, at)));
        for bad in ["", "1.2", "1.2.3.4", "x.2.3", "70000.2.3", "1..3"] {
            assert_eq!(address(bad), None, "{bad}");
        }
        assert_eq!(read(b"zz.1 1.2.3"), None);
    }
}
