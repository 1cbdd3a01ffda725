//! A message for one connection of another node: that node is told of it on its own channel, and tells on
//! this one's what became of it.

use redis::{Cmd, Value};

use crate::bridge::answer::bytes;
use crate::bridge::desk::Desk;
use crate::bridge::nodes::{node_name, node_number};
use crate::id::{ConnectionName, CoreId, NodeTag, TenantId};
use crate::room::broker::{DirectAsk, DirectNews, Fault, FromBroker, Stamp};
use crate::room::wire;

use super::{Call, Lane};

/// Hands a message to the node that holds a connection.
#[derive(Debug)]
struct Send {
    from: CoreId,
    ticket: u64,
    to: ConnectionName,
    tenant: TenantId,
    wire: Box<[u8]>,
    /// The node, where Redis had to be asked which it is: the last beat has not told of it.
    found: Option<u64>,
}

/// Tells a node what became of a message of its.
#[derive(Debug)]
struct Answer {
    to: Stamp,
    delivered: Option<bool>,
}

pub(super) fn of(from: CoreId, ask: DirectAsk) -> Box<dyn Call> {
    match ask {
        DirectAsk::Send { ticket, to, tenant, wire } => {
            Box::new(Send { from, ticket, to, tenant, wire, found: None })
        }
        DirectAsk::Answer { to, delivered } => Box::new(Answer { to, delivered }),
    }
}

impl Send {
    fn answer(&self, outcome: Result<Option<bool>, Fault>, desk: &mut Desk) {
        let news = DirectNews::Answered { ticket: self.ticket, outcome };
        desk.post(self.from, FromBroker::Direct(news));
    }
}

impl Call for Send {
    fn bytes(&self) -> usize {
        self.wire.len()
    }

    fn lane(&self) -> Lane {
        Lane::Publishes
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let Some(node) = self.found.or_else(|| called(self.to.node, desk.nodes.living())) else {
            let [until, _] = desk.keys.nodes();
            let mut command = redis::cmd("ZRANGE");
            command.arg(until).arg(0).arg(-1);
            return command;
        };
        let mut command = redis::cmd("SPUBLISH");
        let tenant = desk.keys.tenant(self.tenant);
        command.arg(desk.keys.node(&node_name(node)));
        command.arg(written(tenant, &self.to.to_text(), &self.wire));
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        match answer {
            Value::Array(nodes) => {
                let nodes = nodes.iter().filter_map(|it| node_number(bytes(it)?));
                match called(self.to.node, nodes) {
                    Some(node) => desk.ask_next(Box::new(Self { found: Some(node), ..*self })),
                    None => self.answer(Ok(None), desk),
                }
            }
            // Nobody hears that. A node that was there a moment ago may be about to come back.
            Value::Int(0) if self.found.is_none() => self.answer(Err(Fault::NodeAway), desk),
            Value::Int(0) => self.answer(Ok(None), desk),
            Value::Int(_) => {}
            _ => self.answer(Err(Fault::Other), desk),
        }
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.metrics.failed.add(1);
        self.answer(Err(fault), desk);
    }
}

impl Call for Answer {
    /// As many as clients of others like to send.
    fn lane(&self) -> Lane {
        Lane::Publishes
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let Stamp { node, core, ticket } = self.to;
        let delivered = match self.delivered {
            Some(delivered) => u8::from(delivered).to_string(),
            None => String::new(),
        };
        let mut command = redis::cmd("SPUBLISH");
        command.arg(desk.keys.node(&node_name(node)));
        command.arg(format!("A{core}.{ticket} {delivered}"));
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    /// Whoever waits for it does not wait for ever.
    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.metrics.failed.add(1);
    }
}

/// This node is told of a message for a connection of its.
pub(in crate::bridge) fn sent(payload: &[u8], desk: &mut Desk) {
    let Some((tenant, to, wire)) = read(payload) else { return desk.metrics.unreadable.add(1) };
    let Some(stamp) = wire::stamp(wire) else { return desk.metrics.unreadable.add(1) };
    // Cores end before the bridge does.
    let is_there = to.core.0 < desk.cores && !desk.is_leaving;
    let tenant = desk.keys.tenant_called(tenant).filter(|_| is_there);
    match tenant {
        Some(tenant) if !desk.port.is_over(to.core) => {
            let news = DirectNews::Sent { to, tenant, wire: wire.into() };
            desk.post(to.core, FromBroker::Direct(news));
        }
        known => desk.ask_next(Box::new(Answer { to: stamp, delivered: known.map(|_| false) })),
    }
}

/// This node is told what became of a message of its.
pub(in crate::bridge) fn answered(payload: &[u8], desk: &mut Desk) {
    let read = |text: &str| {
        let (at, delivered) = text.split_once(' ')?;
        let (core, ticket) = at.split_once('.')?;
        let delivered = match delivered {
            "" => None,
            "0" => Some(false),
            "1" => Some(true),
            _ => return None,
        };
        Some((CoreId(core.parse().ok()?), ticket.parse().ok()?, delivered))
    };
    let read = std::str::from_utf8(payload).ok().and_then(read);
    let Some((core, ticket, delivered)) = read.filter(|(core, ..)| core.0 < desk.cores) else {
        return desk.metrics.unreadable.add(1);
    };
    let news = DirectNews::Answered { ticket, outcome: Ok(delivered) };
    desk.post(core, FromBroker::Direct(news));
}

/// Which of them is called so.
fn called(tag: NodeTag, mut nodes: impl Iterator<Item = u64>) -> Option<u64> {
    nodes.find(|node| NodeTag::of(*node) == tag)
}

/// `TENANT NAME`, a line end, the message.
fn written(tenant: &str, name: &str, wire: &[u8]) -> Vec<u8> {
    [b"M", tenant.as_bytes(), b" ", name.as_bytes(), b"\n", wire].concat()
}

fn read(payload: &[u8]) -> Option<(&[u8], ConnectionName, &[u8])> {
    let end = memchr::memchr(b'\n', payload)?;
    let (line, wire) = (&payload[..end], &payload[end + 1..]);
    let space = memchr::memchr(b' ', line)?;
    let name = std::str::from_utf8(&line[space + 1..]).ok()?;
    Some((&line[..space], ConnectionName::parse(name)?, wire))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::desk::tests::desk;

    fn name() -> ConnectionName {
        ConnectionName::new(NodeTag::of(1), CoreId(1), 9, 77)
    }

    #[test]
    fn what_is_written_of_a_message_reads_back_whatever_it_is() {
        for wire in [b"a \n b".as_slice(), b"", b"\n"] {
            let payload = written("ZGVmYXVsdA", &name().to_text(), wire);
            let (kind, rest) = payload.split_first().expect("it is not empty");
            assert_eq!((*kind, read(rest)), (b'M', Some((b"ZGVmYXVsdA".as_slice(), name(), wire))));
        }
        for bad in [b"".as_slice(), b"a b", b"a b\n", b"AAAAAAAAAAAAAAAA\n", b"a \xff\n"] {
            assert_eq!(read(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn whatever_is_said_to_a_node_it_goes_on_and_counts_what_it_cannot_read() {
        let mut desk = desk(2);
        let tenant = desk.keys.tenant(TenantId::DEFAULT).to_owned();
        let name = name().to_text();
        let stamp = [[1].as_slice(), &Stamp::default().to_bytes()].concat();
        let unreadable = [
            b"x".to_vec(),
            written(&tenant, &name, b"not a stamp")[1..].to_vec(),
            written(&tenant, "nobody", &stamp)[1..].to_vec(),
        ];
        unreadable.iter().for_each(|it| sent(it, &mut desk));
        let answers = [b"".as_slice(), b"1.2", b"1.2 3", b"9.2 1", b"x.2 1", b"1.x 1", b"\xff"];
        answers.iter().for_each(|it| answered(it, &mut desk));
        assert_eq!(desk.metrics.unreadable.get(), 10);
        assert!(desk.next.is_empty());
        // It is told that there is none of a tenant that this node does not know, or on such a core.
        let far = ConnectionName::new(NodeTag::of(1), CoreId(2), 9, 77).to_text();
        for (tenant, name) in [("b3RoZXI", &name), (&tenant, &far)] {
            sent(&written(tenant, name, &stamp)[1..], &mut desk);
            let said = desk.next.pop().expect("it is answered");
            assert_eq!(said.command(&desk).args_iter().count(), 3);
            let said = String::from_utf8(said.command(&desk).get_packed_command());
            assert!(said.expect("text").ends_with("A0.0 \r\n"));
        }
    }
}
