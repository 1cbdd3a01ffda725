//! A home asks what has been decided about its room.

use redis::{Cmd, Value};

use crate::bridge::answer::{mark, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::Name;
use crate::id::CoreId;
use crate::room::attendance::Mark;
use crate::room::broker::{Fault, FromBroker};
use crate::room::charter::{Charter, wire};
use crate::room::name::RoomKey;

use super::Call;

/// The question.
#[derive(Debug)]
pub(in crate::bridge) struct Recall {
    pub(super) from: CoreId,
    pub(super) room: RoomKey,
    pub(super) known: Mark,
}

impl Call for Recall {
    fn room_to_hear(&self) -> Option<(&RoomKey, CoreId)> {
        Some((&self.room, self.from))
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Recall, &[desk.names(&self.room).charter()]);
        command.arg(format!("{} {}", self.known.life, self.known.number));
        command.arg(desk.config.redis.room_ttl_ms);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let outcome = match answer {
            Value::Int(_) => Ok(None),
            Value::Array(parts) => read(&parts).map(|it| Some(Box::new(it))).ok_or(Fault::Other),
            _ => Err(Fault::Other),
        };
        desk.post(self.from, FromBroker::Recalled { room: self.room, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Recalled { room: self.room, outcome: Err(fault) });
    }
}

/// What `recall.lua` said; none if it says no such thing. Fields that this server does not know are
/// of newer ones. A value that is no text says as little as none.
fn read(parts: &[Value]) -> Option<Charter> {
    let [at, Value::Array(fields)] = parts else { return None };
    let pairs = fields.chunks_exact(2);
    let value = |value| text(value).unwrap_or_default();
    let entries = pairs.filter_map(|pair| wire::entry(text(&pair[0])?, Some(value(&pair[1]))));
    Some(Charter { mark: mark(text(at)?)?, entries: entries.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::charter::Entry;
    use crate::room::config::Password;

    #[test]
    fn what_the_script_says_is_read_and_nothing_else() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = ["m", "x 7", "t", "12", "uann", "-", "zlater", "1", "bann", "soon"].map(bulk);
        let found = read(&[bulk("x 7"), Value::Array(fields.to_vec())]);
        let mark = Mark { life: "x".into(), number: 7 };
        let entries = vec![Entry::Created(12), Entry::Muted("ann".into(), Some(None))];
        assert_eq!(found, Some(Charter { mark, entries }));
        assert_eq!(read(&[bulk(" 0"), Value::Array(Vec::new())]), Some(Charter::default()));
        let no_text = Value::BulkString(vec![0xFF]);
        for (field, entries) in
            [("p", vec![Entry::Password(Some(Password::LOST))]), ("uann", Vec::new())]
        {
            let fields = Value::Array(vec![bulk(field), no_text.clone()]);
            assert_eq!(read(&[bulk("x 7"), fields]).map(|it| it.entries), Some(entries), "{field}");
        }
        assert_eq!(read(&[bulk("x"), Value::Array(Vec::new())]), None);
        assert_eq!(read(&[bulk("x 7")]), None);
    }
}
