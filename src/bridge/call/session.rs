//! Sessions: what they have is kept; a node that goes on with one makes the node that has it let go.
//!
//! The two talk by their own channels: `L` and the session, since when the other is known to have it, then
//! who asks: let go of it; `F` and the session: it is free. A node that nobody hears is gone, and one that
//! does not answer is passed over, but for a session that it has fetched since.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Cmd, Value};

use crate::bridge::answer::{bytes, number, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::Name;
use crate::bridge::time;
use crate::id::CoreId;
use crate::room::broker::{Claim, Fault, Found, FromBroker, FromSessions, Since, ToSessions};

use super::Call;

type SessionBytes = [u8; 16];

/// How long a node may take to let go of a session: half of what whoever waits for it does.
fn patience(desk: &Desk) -> Duration {
    Duration::from_millis(desk.config.redis.timeout_ms / 2)
}

/// Between two looks for nodes that did not let go.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Sessions that other nodes were asked to let go of.
#[derive(Debug, Default)]
pub(in crate::bridge) struct Wanted {
    of: BTreeMap<SessionBytes, Asked>,
    /// When to look for those that did not; none: nobody is waited for.
    pub(in crate::bridge) next_look: Option<Instant>,
}

/// A node that was asked for a session, and what waits for it.
#[derive(Debug)]
struct Asked {
    holder: Holder,
    fetch: Fetch,
    at: Instant,
}

/// A node that has a session, and since when.
#[derive(Clone, Debug)]
struct Holder {
    node: Box<str>,
    since: u64,
}

impl Asked {
    /// It is not waited for any more.
    fn pass_over(self) -> Box<Fetch> {
        Box::new(Fetch { passed_over: Some(self.holder), ..self.fetch })
    }
}

/// The call of a message.
pub(in crate::bridge) fn of(from: CoreId, message: ToSessions) -> Box<dyn Call> {
    match message {
        ToSessions::Keep { session, owner, since, ttl_ms, written, wanted_by } => {
            Box::new(Keep { session, owner, since, ttl_ms, written, wanted_by })
        }
        ToSessions::Free { session, wanted_by } => Box::new(Say::free(session, wanted_by)),
        ToSessions::Fetch { session, owner, ttl_ms } => {
            Box::new(Fetch { from, session, owner, ttl_ms, passed_over: None })
        }
    }
}

/// Something was said on the node's own channel; false if it is not about sessions.
pub(in crate::bridge) fn hear(payload: &[u8], desk: &mut Desk) -> bool {
    let Some((kind, rest)) = payload.split_first() else { return false };
    let Some((session, rest)) = rest.split_first_chunk::<16>() else { return false };
    match kind {
        b'L' => {
            let Some(claim) = read_claim(rest) else { return false };
            if desk.is_leaving {
                // Its cores are gone, and what they had is written before this is said.
                desk.next.push(Box::new(Say::free(*session, claim.node)));
            } else {
                let lost = || FromSessions::Lost { session: *session, claim: Some(claim.clone()) };
                desk.tell_cores(|| FromBroker::Session(lost()));
            }
            true
        }
        b'F' if rest.is_empty() => {
            if let Some(asked) = desk.wanted.of.remove(session) {
                desk.next.push(asked.pass_over());
            }
            true
        }
        _ => false,
    }
}

fn read_claim(bytes: &[u8]) -> Option<Claim> {
    let (since, node) = bytes.split_first_chunk()?;
    let node = std::str::from_utf8(node).ok().filter(|node| !node.is_empty())?;
    Some(Claim { node: node.into(), since: u64::from_be_bytes(*since) })
}

/// Passes over nodes that did not let go in time.
pub(in crate::bridge) fn look(desk: &mut Desk) {
    let (now, patience) = (time::now(), patience(desk));
    let late = desk.wanted.of.extract_if(.., |_, asked| asked.at + patience <= now);
    for (_, asked) in late {
        desk.next.push(asked.pass_over());
    }
    let next = desk.wanted.of.values().map(|asked| asked.at + patience).min();
    desk.wanted.next_look = next.map(|next| next.max(now + LOOK_EVERY));
}

/// The link has ended: nobody is waited for.
pub(in crate::bridge) fn forget(desk: &mut Desk) {
    for (_, asked) in std::mem::take(&mut desk.wanted).of {
        Box::new(asked.fetch).fail(Fault::Lost, desk);
    }
}

#[derive(Debug)]
struct Keep {
    session: SessionBytes,
    owner: Box<[u8]>,
    since: Since,
    ttl_ms: u64,
    written: Box<[u8]>,
    wanted_by: Option<Box<str>>,
}

impl Call for Keep {
    fn bytes(&self) -> usize {
        self.written.len()
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::KeepSession, &[desk.keys.session(self.session)]);
        command.arg(&desk.node).arg(&*self.owner).arg(&*self.written).arg(self.ttl_ms);
        command.arg(self.since.at);
        let came_ago_ms = self.since.came_at.map(|at| desk.now().since_ms(at));
        command.arg(came_ago_ms.map_or_else(String::new, |ms| ms.to_string()));
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let session = self.session;
        if let Some(node) = self.wanted_by {
            desk.next.push(Box::new(Say::free(session, node)));
        } else if number(&answer) == Some(0) {
            let lost = || FromSessions::Lost { session, claim: None };
            desk.tell_cores(|| FromBroker::Session(lost()));
        }
    }

    /// It is told of again, or was not to be.
    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}

#[derive(Debug)]
struct Fetch {
    from: CoreId,
    session: SessionBytes,
    owner: Box<[u8]>,
    ttl_ms: u64,
    /// The node that was asked for it: it has let go, or did not answer.
    passed_over: Option<Holder>,
}

impl Fetch {
    fn tell(&self, outcome: Result<Option<Found>, Fault>, desk: &mut Desk) {
        let fetched = FromSessions::Fetched { session: self.session, outcome };
        desk.post(self.from, FromBroker::Session(fetched));
    }

    /// Waits for a node to let go, and asks it: what it says may come before word that it was asked.
    fn await_node(self, holder: Holder, desk: &mut Desk) {
        let session = self.session;
        let asked = Asked { holder: holder.clone(), fetch: self, at: time::now() };
        desk.wanted.next_look.get_or_insert(asked.at + patience(desk));
        if let Some(before) = desk.wanted.of.insert(session, asked) {
            before.fetch.tell(Ok(None), desk);
        }
        desk.next.push(Box::new(LetGo { holder, session }));
    }
}

impl Call for Fetch {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::FetchSession, &[desk.keys.session(self.session)]);
        command.arg(&desk.node).arg(&*self.owner).arg(self.ttl_ms);
        let passed_over = self.passed_over.as_ref().map(|it| (&*it.node, it.since));
        let (node, since) = passed_over.unwrap_or_default();
        command.arg(node).arg(since);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let items = if let Value::Array(items) = &answer { items.as_slice() } else { &[] };
        match items {
            // Whoever waits for it may be long gone, and back by way of that other node.
            [_, _] if self.passed_over.is_some() => {
                let taken = FromSessions::Taken { session: self.session };
                desk.post(self.from, FromBroker::Session(taken));
            }
            [node, since] => {
                let Some(node) = text(node) else { return self.tell(Err(Fault::Other), desk) };
                let since = number(since).unwrap_or_default();
                self.await_node(Holder { node: node.into(), since }, desk);
            }
            [node, written, since] => {
                let is_own = text(node) == Some(desk.node.as_str());
                let written = bytes(written).unwrap_or_default().into();
                let since = number(since).unwrap_or_default();
                self.tell(Ok(Some(Found { is_own, since, written })), desk);
            }
            _ => self.tell(Ok(None), desk),
        }
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        self.tell(Err(fault), desk);
    }
}

/// Another node is asked to let go.
#[derive(Debug)]
struct LetGo {
    holder: Holder,
    session: SessionBytes,
}

impl LetGo {
    /// What waits for that.
    fn take(&self, desk: &mut Desk) -> Option<Asked> {
        let asked = desk.wanted.of.get(&self.session);
        let is_it = asked.is_some_and(|asked| asked.holder.node == self.holder.node);
        if is_it { desk.wanted.of.remove(&self.session) } else { None }
    }
}

impl Call for LetGo {
    fn command(&self, desk: &Desk) -> Cmd {
        let since = self.holder.since.to_be_bytes();
        let payload = [b"L", &self.session[..], &since, desk.node.as_bytes()].concat();
        let mut command = redis::cmd("SPUBLISH");
        command.arg(desk.keys.node(&self.holder.node)).arg(payload);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        if number(&answer).unwrap_or(0) == 0
            && let Some(asked) = self.take(desk)
        {
            desk.next.push(asked.pass_over());
        }
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        if let Some(asked) = self.take(desk) {
            asked.fetch.tell(Err(fault), desk);
        }
    }
}

/// Something that a node is told.
#[derive(Debug)]
struct Say {
    node: Box<str>,
    payload: Vec<u8>,
}

impl Say {
    fn free(session: SessionBytes, node: Box<str>) -> Self {
        Self { node, payload: [b"F", session.as_slice()].concat() }
    }
}

impl Call for Say {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("SPUBLISH");
        command.arg(desk.keys.node(&self.node)).arg(&self.payload);
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    /// Whoever waits for it does so for a bounded time.
    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}
