//! A connection of a user comes or goes, where their number is limited over all nodes.

use redis::{Cmd, Value};

use crate::bridge::answer::bytes;
use crate::bridge::desk::Desk;
use crate::bridge::entrances::Word;
use crate::bridge::nodes::{node_name, node_number};
use crate::bridge::script::Name;
use crate::bridge::time;
use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::room::broker::{Fault, FromBroker};
use crate::room::entrance::{EntranceAsk, Place};

use super::Call;

/// What a user's home wants of a connection.
#[derive(Debug)]
pub(in crate::bridge) struct Enter {
    from: CoreId,
    place: Place,
    ask: EntranceAsk,
}

/// What is told of a connection, because Redis may not know it.
#[derive(Debug)]
pub(in crate::bridge) struct Tell {
    pub(in crate::bridge) word: Word,
    /// Over which link.
    pub(in crate::bridge) link: u64,
}

/// Another node is told that a connection of its has to go.
#[derive(Debug)]
struct Displace {
    node: u64,
    at: ConnectionAddress,
}

impl Enter {
    pub(super) fn new(from: CoreId, place: Place, ask: EntranceAsk) -> Self {
        Self { from, place, ask }
    }
}

impl Call for Enter {
    fn command(&self, desk: &Desk) -> Cmd {
        match self.ask {
            EntranceAsk::Exit => count(&self.place, None, (0, false, None), desk),
            EntranceAsk::Enter { most, replaces, instead } => {
                count(&self.place, Some(0), (most, replaces, instead), desk)
            }
        }
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
        match self.ask {
            EntranceAsk::Exit => desk.entrances.has_gone(self.place),
            EntranceAsk::Enter { .. } => {
                let outcome = Err(fault);
                desk.post(self.from, FromBroker::Entered { place: self.place, outcome });
            }
        }
    }
}

impl Call for Tell {
    fn command(&self, desk: &Desk) -> Cmd {
        let age_ms = self.word.since.map(|since| desk.now().since_ms(since));
        count(&self.word.place, age_ms, (0, false, None), desk)
    }

    fn succeed(self: Box<Self>, _answer: Value, desk: &mut Desk) {
        if self.link == desk.nodes.link() {
            desk.entrances.told(self.word.place.at);
        }
    }

    /// With the next look.
    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        if self.word.since.is_none() || self.link == desk.nodes.link() {
            desk.entrances.refuse(self.word);
        }
    }
}

/// Counts a connection that has been there for so long, if there may be one more of so many (0: any
/// number); whether the oldest one goes then; which one of this node it takes the place of. None: it has
/// gone, and is counted no longer, over whichever link it was told.
fn count(
    place: &Place,
    age_ms: Option<u64>,
    (most, replaces, instead): (u32, bool, Option<ConnectionAddress>),
    desk: &Desk,
) -> Cmd {
    let redis = &desk.config.redis;
    let mut command = desk.scripts.call(Name::Enter, &[key(place, desk)]);
    command.arg(name(place, desk.nodes.link(), desk));
    command.arg(age_ms.map(|ms| ms.to_string()).unwrap_or_default());
    command.arg(most).arg(u8::from(replaces));
    command.arg(instead.map(written).unwrap_or_default());
    command.arg(redis.lease_ms).arg(redis.room_ttl_ms);
    command.arg(u8::from(desk.nodes.is_sure(time::now()))).arg(desk.nodes.links());
    command
}

fn key(place: &Place, desk: &Desk) -> String {
    desk.keys.places(place.tenant, &place.user)
}

fn name(place: &Place, link: u64, desk: &Desk) -> String {
    format!("{}.{link} {}", desk.node, written(place.at))
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
    use crate::bridge::desk::tests::desk;
    use crate::clock::Moment;
    use crate::id::TenantId;

    /// The next word, and over which link it is told.
    fn next(desk: &mut Desk) -> Box<Tell> {
        let word = desk.entrances.next().expect("it waits");
        Box::new(Tell { word, link: desk.nodes.link() })
    }

    /// Of which link others hear, and which is the present one.
    fn links(desk: &mut Desk) -> (String, u64) {
        desk.settle_link();
        (desk.nodes.says(), desk.nodes.link())
    }

    #[test]
    fn others_hear_of_a_link_when_all_places_are_told_over_it() {
        let mut desk = desk(2);
        let there = |index| {
            let key = ConnectionKey { index, generation: 1 };
            let at = ConnectionAddress { core: CoreId(0), key };
            (Place { tenant: TenantId::DEFAULT, user: "ann".into(), at }, Moment::default())
        };
        let told = |call: Box<Tell>, desk: &mut Desk| call.succeed(Value::Int(1), desk);
        desk.next_link();
        desk.hold(CoreId(0), &[], Some(1));
        assert_eq!(links(&mut desk), ("0 ".to_owned(), 1), "of the other core nothing is known");
        desk.hold(CoreId(1), &[], Some(1));
        assert_eq!(links(&mut desk), ("1 ".to_owned(), 1));
        desk.next_link();
        desk.hold(CoreId(0), &[there(0), there(1)], Some(2));
        // That was said before this core had heard of the link.
        desk.hold(CoreId(1), &[], Some(1));
        let (first, second) = (next(&mut desk), next(&mut desk));
        told(first, &mut desk);
        assert_eq!(links(&mut desk), ("1 ".to_owned(), 2), "one is on its way");
        second.fail(Fault::Overload, &mut desk);
        desk.hold(CoreId(1), &[], Some(2));
        assert_eq!(links(&mut desk), ("1 ".to_owned(), 2), "one was refused");
        desk.entrances.look();
        let late = next(&mut desk);
        desk.next_link();
        (0..2).for_each(|core| desk.hold(CoreId(core), &[there(1)], Some(3)));
        let again = next(&mut desk);
        told(late, &mut desk);
        assert_eq!(links(&mut desk), ("1 ".to_owned(), 3), "that was over the link before");
        told(again, &mut desk);
        assert_eq!(links(&mut desk), ("3 ".to_owned(), 3));
    }

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
