//! Listening: a connection on which nothing but subscriptions is said.
//!
//! It is not the one on which commands are given, because Redis ends subscriptions by itself when a
//! slot moves, and a client that counts answers takes that for the answer to something else.
//! Invariant: what is confirmed here is what the server says it is; if the counts differ, the ear has
//! lost track and ends.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Cmd, PushKind, RedisError, Value};
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::config::{Redis, RedisUrl};
use crate::metrics::LinkState;

use super::dial::{self, Login, Stream};
use super::failure::Said;
use super::frame::{self, Frames};
use super::time;

/// News that may wait for the bridge to look.
const HEARD_MAX: usize = 131_072;
/// What one of these counts beside its bytes.
const HEARD_BYTES: usize = 256;

/// Something was said on a channel.
#[derive(Debug)]
pub(super) struct Heard {
    /// What was listened to: the channel, or a pattern that it fits.
    pub(super) by: Bytes,
    pub(super) channel: Bytes,
    pub(super) payload: Bytes,
}

/// What an ear tells.
#[derive(Debug)]
pub(super) enum Event {
    Heard(Heard),
    /// More was heard than could be kept.
    Missed,
    /// A channel is listened to from now on.
    Listening(Vec<u8>),
    /// It is listened to no longer, as was asked.
    Left(Vec<u8>),
    /// Redis has ended that by itself.
    Silenced(Vec<u8>),
    /// A subscription was refused; Redis does not say which.
    Refused(RedisError),
    Ended,
}

/// What came from ears and was not looked at yet.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: RefCell<VecDeque<(u64, Event)>>,
    /// What the news among it count.
    bytes: Cell<usize>,
    bytes_most: usize,
    /// News that did not fit, and that nobody has asked about.
    missed: Cell<u64>,
    rung: Notify,
}

impl Default for Inbox {
    /// Of those who are held to our limits.
    fn default() -> Self {
        Self::bounded(usize::MAX)
    }
}

impl Inbox {
    /// Keeps news of so many bytes, and of one message always.
    pub(super) fn bounded(bytes_most: usize) -> Self {
        let (waiting, bytes) = (RefCell::default(), Cell::default());
        Self { waiting, bytes, bytes_most, missed: Cell::default(), rung: Notify::default() }
    }

    /// Everything, and by which line it came; what is given in its place is empty.
    pub(super) fn take(&self, empty: VecDeque<(u64, Event)>) -> VecDeque<(u64, Event)> {
        self.bytes.set(0);
        self.waiting.replace(empty)
    }

    /// At most so much of it; it rings for the rest.
    pub(super) fn take_some(&self, most: usize) -> Vec<(u64, Event)> {
        let mut waiting = self.waiting.borrow_mut();
        let count = most.min(waiting.len());
        let taken: Vec<_> = waiting.drain(..count).collect();
        let bytes: usize = taken.iter().map(|(_, event)| event.bytes()).sum();
        self.bytes.set(self.bytes.get() - bytes);
        if !waiting.is_empty() {
            self.rung.notify_one();
        }
        taken
    }

    /// How many news did not fit since the last call.
    pub(super) fn take_missed(&self) -> u64 {
        self.missed.take()
    }

    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    fn put(&self, line: u64, event: Event) {
        let mut waiting = self.waiting.borrow_mut();
        let (before, bytes) = (self.bytes.get(), event.bytes());
        let is_full =
            waiting.len() >= HEARD_MAX || (before > 0 && before + bytes > self.bytes_most);
        if matches!(event, Event::Heard(_)) && is_full {
            self.missed.set(self.missed.get() + 1);
            if !matches!(waiting.back(), Some((_, Event::Missed))) {
                waiting.push_back((line, Event::Missed));
            }
            return;
        }
        self.bytes.set(before + bytes);
        waiting.push_back((line, event));
        self.rung.notify_one();
    }
}

impl Event {
    /// What it counts.
    fn bytes(&self) -> usize {
        match self {
            Self::Heard(heard) => HEARD_BYTES + heard.channel.len() + heard.payload.len(),
            _ => 0,
        }
    }
}

/// One connection that listens; dropped, it ends.
#[derive(Debug)]
pub(super) struct Ear {
    /// As many wait here as there are channels.
    orders: mpsc::UnboundedSender<Vec<u8>>,
    state: Rc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Sharded channels that the server has confirmed.
    confirmed: RefCell<BTreeSet<Vec<u8>>>,
    /// Those of which it was asked to end that, and how often; each is answered, in order.
    dismissed: RefCell<BTreeMap<Vec<u8>, u32>>,
    /// Since when an answer is awaited.
    awaited: Cell<Option<Instant>>,
}

impl Ear {
    /// Connects; what it hears goes to the inbox under this number.
    pub(super) async fn open(
        redis: &Redis,
        url: &RedisUrl,
        inbox: Rc<Inbox>,
        line: u64,
    ) -> Result<Self, LinkState> {
        let mut stream = dial::dial(redis, url).await?;
        Login::of(redis).give(&mut stream, Duration::from_millis(redis.timeout_ms)).await?;
        tracing::trace!(%url, "an ear is open");
        let (orders, given) = mpsc::unbounded_channel();
        let (reader, writer) = tokio::io::split(stream);
        let state = Rc::new(State::default());
        let mut tasks = JoinSet::new();
        tasks.spawn_local(listen(reader, Rc::clone(&state), inbox, line));
        tasks.spawn_local(give(writer, given));
        Ok(Self { orders, state, _tasks: tasks })
    }

    /// Listens to a channel or a pattern, by this command.
    pub(super) fn subscribe(&self, command: &str, channel: &str) {
        self.give(redis::cmd(command).arg(channel));
    }

    /// Listens to a sharded channel no longer.
    pub(super) fn unsubscribe(&self, channel: &str) {
        if self.state.confirmed.borrow().contains(channel.as_bytes()) {
            *self.state.dismissed.borrow_mut().entry(channel.as_bytes().to_vec()).or_default() += 1;
            self.give(redis::cmd("SUNSUBSCRIBE").arg(channel));
        }
    }

    /// Asks whether the server still answers, and has as many subscriptions as this side knows of.
    pub(super) fn verify(&self) {
        self.state.awaited.set(self.state.awaited.get().or_else(|| Some(time::now())));
        let confirmed = self.state.confirmed.borrow();
        let dismissed = self.state.dismissed.borrow();
        match confirmed.iter().find(|channel| !dismissed.contains_key(*channel)) {
            // To subscribe again changes nothing, and is answered by how many there are.
            Some(channel) => self.give(redis::cmd("SSUBSCRIBE").arg(channel)),
            None => self.give(&redis::cmd("PING")),
        }
    }

    /// Whether the server should have answered by now.
    pub(super) fn is_overdue(&self, patience: Duration) -> bool {
        self.state.awaited.get().is_some_and(|since| time::elapsed(since) > patience)
    }

    fn give(&self, command: &Cmd) {
        // If nobody takes it, the reader has told that the ear has ended.
        let _ = self.orders.send(command.get_packed_command());
    }
}

async fn give(mut writer: impl AsyncWrite + Unpin, mut given: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(mut bytes) = given.recv().await {
        while let Ok(more) = given.try_recv() {
            bytes.extend_from_slice(&more);
        }
        // The reader finds out as well.
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

async fn listen(
    mut reader: ReadHalf<Box<dyn Stream>>,
    state: Rc<State>,
    inbox: Rc<Inbox>,
    line: u64,
) {
    let mut frames = Frames::default();
    loop {
        let frame = match frames.take(&mut reader).await {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "an ear has ended");
                break;
            }
        };
        state.awaited.set(None);
        let event = match state.told(&frame) {
            Ok(event) => event,
            Err(LostTrack) => break,
        };
        if let Some(event) = event {
            inbox.put(line, event);
        }
    }
    inbox.put(line, Event::Ended);
}

/// The server has another number of subscriptions than this side.
struct LostTrack;

impl State {
    fn told(&self, frame: &Bytes) -> Result<Option<Event>, LostTrack> {
        if let Some(heard) = heard(frame) {
            return Ok(Some(Event::Heard(heard)));
        }
        match frame::value(frame) {
            Ok(Value::Push { kind, data }) => self.pushed(&kind, data),
            Ok(Value::ServerError(error)) => Ok(Some(Event::Refused(error.into()))),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::debug!(error = %Said(&error), "an ear hears what it cannot read");
                Err(LostTrack)
            }
        }
    }

    fn pushed(&self, kind: &PushKind, data: Vec<Value>) -> Result<Option<Event>, LostTrack> {
        let count = match data.last() {
            Some(Value::Int(count)) => usize::try_from(*count).unwrap_or(usize::MAX),
            _ => 0,
        };
        let Some(Value::BulkString(by)) = data.into_iter().next() else { return Ok(None) };
        let mut confirmed = self.confirmed.borrow_mut();
        let event = match kind {
            PushKind::SSubscribe => {
                let is_new = confirmed.insert(by.clone());
                is_new.then_some(Event::Listening(by))
            }
            PushKind::SUnsubscribe => {
                let was_there = confirmed.remove(&by);
                let was_asked = self.is_dismissed(&by);
                was_there.then(|| if was_asked { Event::Left(by) } else { Event::Silenced(by) })
            }
            PushKind::Subscribe | PushKind::PSubscribe => return Ok(Some(Event::Listening(by))),
            _ => return Ok(None),
        };
        if count == confirmed.len() { Ok(event) } else { Err(LostTrack) }
    }

    /// Whether it was asked to end that, which is answered by this.
    fn is_dismissed(&self, channel: &[u8]) -> bool {
        let mut dismissed = self.dismissed.borrow_mut();
        let Some(count) = dismissed.get_mut(channel) else { return false };
        *count -= 1;
        if *count == 0 {
            dismissed.remove(channel);
        }
        true
    }
}

/// What was said on a channel, if something was.
fn heard(frame: &Bytes) -> Option<Heard> {
    if let Some([kind, channel, payload]) = frame::said(frame) {
        let is_heard = matches!(&*kind, b"smessage" | b"message");
        return is_heard.then(|| Heard { by: channel.clone(), channel, payload });
    }
    let [kind, by, channel, payload] = frame::said(frame)?;
    (kind == "pmessage").then_some(Heard { by, channel, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(state: &State, kind: &PushKind, channel: &str, count: i64) -> Option<Option<String>> {
        let data = vec![Value::BulkString(channel.as_bytes().to_vec()), Value::Int(count)];
        state.pushed(kind, data).ok().map(|event| event.map(|event| format!("{event:?}")))
    }

    fn said(bytes: usize) -> Event {
        let (by, channel, payload) = (Bytes::new(), Bytes::new(), vec![0; bytes].into());
        Event::Heard(Heard { by, channel, payload })
    }

    #[test]
    fn what_redis_ends_by_itself_is_told_and_a_wrong_count_is_an_end() {
        let state = State::default();
        assert!(push(&state, &PushKind::SSubscribe, "a", 1).unwrap_or_default().is_some());
        assert_eq!(push(&state, &PushKind::SSubscribe, "a", 1), Some(None), "it was verified");
        assert!(push(&state, &PushKind::SSubscribe, "b", 2).unwrap_or_default().is_some());
        state.dismissed.borrow_mut().insert(b"a".to_vec(), 1);
        let told = push(&state, &PushKind::SUnsubscribe, "a", 1).flatten();
        assert!(told.is_some_and(|told| told.starts_with("Left")), "as asked");
        let told = push(&state, &PushKind::SUnsubscribe, "b", 0).flatten();
        assert!(told.is_some_and(|told| told.starts_with("Silenced")));
        assert_eq!(
            push(&state, &PushKind::SSubscribe, "c", 2),
            None,
            "there is one we know not of"
        );
    }

    #[test]
    fn a_channel_that_is_wanted_again_before_it_is_left_is_listened_to() {
        let state = State::default();
        let told = |kind: &PushKind, count| {
            push(&state, kind, "a", count).flatten().map(|told| told[..4].to_owned())
        };
        let told = |kind: &PushKind, count| told(kind, count).unwrap_or_default();
        assert_eq!(told(&PushKind::SSubscribe, 1), "List");
        // Asked to end twice, and each time to begin again before that was answered.
        state.dismissed.borrow_mut().insert(b"a".to_vec(), 2);
        assert_eq!(told(&PushKind::SUnsubscribe, 0), "Left");
        assert_eq!(told(&PushKind::SSubscribe, 1), "List");
        assert_eq!(told(&PushKind::SUnsubscribe, 0), "Left");
        assert_eq!(told(&PushKind::SSubscribe, 1), "List");
        assert_eq!(told(&PushKind::SUnsubscribe, 0), "Sile", "nobody asked for that one");
        // Redis has ended it by itself while it was asked to: both are told, one matters.
        assert_eq!(told(&PushKind::SSubscribe, 1), "List");
        state.dismissed.borrow_mut().insert(b"a".to_vec(), 1);
        assert_eq!(told(&PushKind::SUnsubscribe, 0), "Left");
        assert_eq!(told(&PushKind::SUnsubscribe, 0), "");
    }

    #[test]
    fn what_does_not_fit_is_told_as_missed_once() {
        let inbox = Inbox::default();
        let heard = || said(0);
        for _ in 0..HEARD_MAX + 3 {
            inbox.put(1, heard());
        }
        inbox.put(1, Event::Ended);
        let taken = inbox.take(VecDeque::new());
        assert_eq!(taken.len(), HEARD_MAX + 2);
        assert!(matches!(taken[HEARD_MAX], (1, Event::Missed)));
        assert!(matches!(taken[HEARD_MAX + 1], (1, Event::Ended)));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_where_nobody_else_bounds_it() {
        let inbox = Inbox::bounded(4 * HEARD_BYTES);
        let heard = said;
        inbox.put(1, heard(100 * HEARD_BYTES));
        inbox.put(1, heard(0));
        inbox.put(1, heard(0));
        inbox.put(1, Event::Ended);
        let taken = inbox.take_some(9);
        assert!(matches!(&*taken, [(_, Event::Heard(_)), (_, Event::Missed), (_, Event::Ended)]));
        assert_eq!((inbox.take_missed(), inbox.take_missed()), (2, 0), "one always fits");
        (0..6).for_each(|_| inbox.put(1, heard(0)));
        assert_eq!((inbox.take_some(3).len(), inbox.take_missed()), (3, 2));
        (0..4).for_each(|_| inbox.put(1, heard(0)));
        let kinds: Vec<_> = inbox
            .take(VecDeque::new())
            .into_iter()
            .map(|(_, event)| matches!(event, Event::Missed))
            .collect();
        assert_eq!(kinds, [false, true, false, false, false, true]);
        assert_eq!(inbox.take_missed(), 1);
    }
}
