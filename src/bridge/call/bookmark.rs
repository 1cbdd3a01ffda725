//! A home asks, or says, how far users have come in its room.

use std::sync::Arc;

use redis::{Cmd, Value};

use crate::bridge::answer::text;
use crate::bridge::desk::Desk;
use crate::bridge::script::Name;
use crate::id::CoreId;
use crate::room::bookmark::{
    Bookmark, BookmarkAsk, BookmarkNews, Bookmarked, Bookmarks, End, Note,
};
use crate::room::broker::{Fault, FromBroker};
use crate::room::name::RoomKey;

use super::Call;

/// Users of whom a room's key tells.
const USERS_MAX: u32 = 100_000;

/// The question.
#[derive(Debug)]
struct Read {
    from: CoreId,
    room: RoomKey,
    users: Vec<Arc<str>>,
}

/// What is to be noted.
#[derive(Debug)]
struct Write {
    from: CoreId,
    room: RoomKey,
    ticket: u64,
    epoch: Arc<str>,
    marks: Vec<Bookmarked>,
}

/// The call that an ask is.
pub(super) fn of(from: CoreId, room: RoomKey, ask: BookmarkAsk) -> Box<dyn Call> {
    match ask {
        BookmarkAsk::Read { users } => Box::new(Read { from, room, users }),
        BookmarkAsk::Write { ticket, epoch, marks } => {
            Box::new(Write { from, room, ticket, epoch, marks })
        }
    }
}

impl Read {
    fn answer(self, outcome: Result<Bookmarks, Fault>, desk: &mut Desk) {
        let Self { from, room, users } = self;
        let news = BookmarkNews::Read { users, outcome };
        desk.post(from, FromBroker::Bookmarks { room, news });
    }
}

impl Call for Read {
    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("HMGET");
        command.arg(desk.names(&self.room).bookmarks()).arg("e");
        for user in &self.users {
            command.arg(field(user));
        }
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let outcome = read(&answer, self.users.len()).ok_or(Fault::Other);
        self.answer(outcome, desk);
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        self.answer(Err(fault), desk);
    }
}

impl Write {
    fn answer(self, outcome: Result<(), Fault>, desk: &mut Desk) {
        let Self { from, room, ticket, .. } = self;
        let news = BookmarkNews::Written { ticket, outcome };
        desk.post(from, FromBroker::Bookmarks { room, news });
    }
}

impl Call for Write {
    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.room);
        let keys = [names.bookmarks(), names.state(), names.history()];
        let mut command = desk.scripts.call(Name::Mark, &keys);
        command.arg(&*self.epoch).arg(kept_ms(desk)).arg(USERS_MAX);
        for (user, mark) in &self.marks {
            command.arg(field(user));
            match mark {
                Note::At(mark) => command.arg(&mark.words()),
                Note::Ended(End::Dismissed) => command.arg(&["", "", "-"]),
                Note::Ended(End::Banned | End::Left) => command.arg(&["", "", ""]),
            };
        }
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, desk: &mut Desk) {
        self.answer(Ok(()), desk);
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        self.answer(Err(fault), desk);
    }
}

/// How long it is known how far users have come. A room that is followed is opened again in half of its
/// own time, which each publication begins anew: so this is known for as long as the room is.
pub(super) fn kept_ms(desk: &Desk) -> u64 {
    desk.config.redis.room_ttl_ms * 2
}

/// A user's, which is none of ours.
fn field(user: &str) -> String {
    format!("u{user}")
}

/// What Redis has of so many users; none if it says no such thing.
fn read(answer: &Value, count: usize) -> Option<Bookmarks> {
    let Value::Array(values) = answer else { return None };
    let (epoch, of) = values.split_first()?;
    let of = of.iter().map(|value| text(value).and_then(Bookmark::read)).collect::<Vec<_>>();
    let epoch = text(epoch).unwrap_or("").into();
    (of.len() == count).then_some(Bookmarks { epoch, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_says_is_read_and_nothing_else() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let mark = Bookmark { began: 1, acknowledged: 2, sent: None, has_joined: true };
        let answer = Value::Array(vec![bulk("3.x"), bulk("1 2 +"), Value::Nil, bulk("1 2")]);
        let found = Bookmarks { epoch: "3.x".into(), of: vec![Some(mark), None, None] };
        assert_eq!(read(&answer, 3), Some(found));
        assert_eq!(read(&answer, 2), None);
        let none = Value::Array(vec![Value::Nil, Value::Nil]);
        assert_eq!(read(&none, 1), Some(Bookmarks { epoch: "".into(), of: vec![None] }));
        assert_eq!(read(&Value::Nil, 0), None);
        assert_eq!(read(&Value::Array(Vec::new()), 0), None);
    }
}
