//! A home asks who is in its room, on all nodes.

use redis::{Cmd, Value};

use crate::bridge::answer::{self, bytes, text};
use crate::bridge::desk::Desk;
use crate::bridge::nodes::node_number;
use crate::bridge::script::{self, Name};
use crate::id::CoreId;
use crate::room::attendance::{Attendance, Attendant, Mark, wire};
use crate::room::broker::{Fault, FromBroker};
use crate::room::name::RoomKey;

use super::Call;

/// The question.
#[derive(Debug)]
pub(in crate::bridge) struct Look {
    pub(super) from: CoreId,
    pub(super) room: RoomKey,
    pub(super) known: Mark,
}

impl Call for Look {
    fn room_to_hear(&self) -> Option<(&RoomKey, CoreId)> {
        Some((&self.room, self.from))
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Look, &[desk.names(&self.room).attendance()]);
        command.arg(format!("{} {}", self.known.life, self.known.number));
        command.arg(script::fresh(&desk.chance().to_be_bytes()));
        command.arg(desk.config.redis.room_ttl_ms);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let depth = desk.config.limits.depth;
        let outcome = match answer {
            Value::Int(_) => Ok(None),
            Value::Array(parts) => {
                read(&parts, depth, &desk.node).map(|it| Some(Box::new(it))).ok_or(Fault::Other)
            }
            _ => Err(Fault::Other),
        };
        if let Ok(Some(attendance)) = &outcome {
            let there = attendance.anonymous.iter().map(|(node, _)| *node);
            desk.nodes.heard_of(there);
        }
        desk.post(self.from, FromBroker::Looked { room: self.room, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Looked { room: self.room, outcome: Err(fault) });
    }
}

/// What `look.lua` said to the node `own`; none if it says no such thing. A field that nobody wrote who
/// writes as this node does is passed over: it must not keep the others from being read.
fn read(parts: &[Value], depth: u8, own: &str) -> Option<Attendance> {
    let [mark, Value::Array(fields)] = parts else { return None };
    let mark = answer::mark(text(mark)?)?;
    let mut attendance = Attendance { mark, ..Attendance::default() };
    for pair in fields.chunks_exact(2) {
        let (field, value) = (bytes(&pair[0])?, bytes(&pair[1])?);
        match field.split_first() {
            // It has taken back what it has said, and says all of it if somebody is there.
            Some((b'n', node)) if node == own.as_bytes() && value.starts_with(b"-") => {}
            Some((b'n', node)) => {
                let Some((node, count, life)) = said(node, value) else { continue };
                attendance.anonymous.push((node, count));
                let is_former = life != Some(&*attendance.mark.life);
                attendance.former.extend(is_former.then_some(node));
            }
            Some((b'u', user)) => attendance.users.extend(attendant(user, value, depth)),
            // The mark.
            _ => {}
        }
    }
    Some(attendance)
}

/// `COUNT LINK LIFE`, or `- LINK LIFE`, of which a node: how many connections of nobody it has, and in which
/// life it has said so. Without a life it was another one.
fn said<'a>(node: &[u8], value: &'a [u8]) -> Option<(u64, u32, Option<&'a str>)> {
    let mut words = std::str::from_utf8(value).ok()?.splitn(3, ' ');
    let count = match words.next()? {
        "-" => 0,
        count => count.parse().ok()?,
    };
    Some((node_number(node)?, count, words.nth(1)))
}

/// `NODE:COUNT NODE:COUNT `, a line end, what they have said.
fn attendant(user: &[u8], value: &[u8], depth: u8) -> Option<Attendant> {
    let end = memchr::memchr(b'\n', value)?;
    let nodes = std::str::from_utf8(&value[..end]).ok()?.split_terminator(' ').map(|part| {
        let (node, count) = part.split_once(':')?;
        Some((node_number(node.as_bytes())?, count.parse().ok()?))
    });
    Some(Attendant {
        user: wire::read_user(user)?,
        nodes: nodes.collect::<Option<_>>()?,
        info: wire::read_info(&value[end + 1..], depth)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::nodes::node_name;

    #[test]
    fn what_the_script_says_is_read_and_nothing_else() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let (one, other) = (node_name(1), node_name(0xfe));
        let all = |mark: &str, fields: &[(&str, &str)]| {
            let fields = fields.iter().flat_map(|(field, value)| [bulk(field), bulk(value)]);
            read(&[bulk(mark), Value::Array(fields.collect())], 8, &node_name(2))
        };
        let user = format!("{one}:2 {other}:0 \nj\"hi\"");
        let nodes = [one, other].map(|it| format!("n{it}"));
        let nodes = [(&*nodes[0], "3 1 x"), (&*nodes[1], "- 2 w")];
        let own = format!("n{}", node_name(2));
        let fields = [("m", "x 7"), nodes[0], nodes[1], (&own, "- 3 x"), ("uann b", &user)];
        let found = all("x 7", &fields);
        let found = found.expect("it is what the script says");
        assert_eq!(found.mark, Mark { life: "x".into(), number: 7 });
        assert_eq!((found.anonymous, found.former), (vec![(1, 3), (254, 0)], vec![254]));
        assert_eq!(
            (&*found.users[0].user, &found.users[0].nodes),
            ("ann b", &vec![(1, 2), (254, 0)])
        );
        assert!(found.users[0].info.is_some());
        assert_eq!(all(" 0", &[]), Some(Attendance::default()));
        for field in [
            ("", ""),
            ("u", "\n"),
            ("ua", "no line"),
            ("ua", "1:x \n"),
            ("ua", "zz:1 \n"),
            ("ua", "\nj{"),
            ("nq", "1 1 x"),
            ("n0000000000000001", ""),
            ("n0000000000000001", "x 1 x"),
        ] {
            let found = all("x 7", &[field, nodes[0]]).expect("the other field is there");
            assert_eq!((found.anonymous, found.users), (vec![(1, 3)], vec![]), "{field:?}");
        }
        assert_eq!(all("x", &[nodes[0]]), None, "no mark");
        for value in ["3", "3 x", "3 1 w"] {
            let found = all("x 7", &[(nodes[0].0, value)]).expect("it is of another life");
            assert_eq!((found.anonymous, found.former), (vec![(1, 3)], vec![1]), "{value}");
        }
    }
}
