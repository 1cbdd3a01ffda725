//! Pipelines: calls that wait for a server go out together, and come back each with its own answer.
//!
//! Invariants: what an earlier line says to a call that its home has made anew is not heard; a call that
//! left with a line that ended is answered as lost and never sent again; a call that is made again was
//! refused by a server that did nothing.

use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::task::JoinError;

use crate::metrics::LinkState;
use crate::room::broker::Fault;
use crate::room::name::RoomKey;

use super::answer::number;
use super::astray::Sent;
use super::call::Call;
use super::desk::Desk;
use super::dial::Login;
use super::failure;
use super::map::Map;
use super::mouth::{Mouth, Packet};
use super::queue::Waiting;
use super::run::Bridge;
use super::script::Name;
use super::time;
use super::watch::Listening;
use super::way::Pace;

/// What most commands take beside what they hold of clients.
const COMMAND_BYTES: usize = 512;

/// What a pipeline was for.
pub(super) enum Errand {
    /// Calls. Those that are patient were sent with a last command that waits for replicas.
    Calls(Vec<Waiting>),
    /// Scripts.
    Load,
    /// Whether the server answers, and takes writes.
    Probe,
}

/// A pipeline that is over.
pub(super) struct Outcome {
    number: u64,
    line: u64,
    pace: Pace,
    errand: Errand,
    /// The connection, if it was made for it.
    made: Option<Mouth>,
    /// None: there was no connection for it.
    answers: Option<RedisResult<Vec<Value>>>,
}

impl Bridge {
    /// Asks something of Redis; it fails at once if no link leads there, or too much waits.
    pub(super) fn ask(&mut self, call: Box<dyn Call>) {
        if self.lines.is_empty() {
            return call.fail(Fault::Unsent, &mut self.desk);
        }
        match self.places.take(call) {
            Ok(waiting) => self.route(waiting),
            Err(call) => call.fail(Fault::Overload, &mut self.desk),
        }
    }

    /// Puts a call where it is to wait.
    pub(super) fn route(&mut self, mut waiting: Waiting) {
        let slot = match self.lines.map().is_one() {
            true => 0,
            false => waiting.call.slot(&self.desk),
        };
        waiting.slot = slot;
        if self.astray.holds(slot, &waiting) {
            return self.astray.wait(slot, waiting);
        }
        let Some(number) = self.lines.of(slot) else {
            return waiting.call.fail(Fault::Unsent, &mut self.desk);
        };
        if let Some((room, core)) = waiting.call.room_to_hear() {
            let room = room.clone();
            let keys = &self.desk.keys;
            let watched = self.desk.watch.keep(&room, core, || keys.room(&room));
            let ear = watched.ear();
            if ear != Listening::Yes(number) {
                if ear != Listening::Asked(number) {
                    self.listen(&room, number);
                }
                return self.parked.entry(room).or_default().push(waiting);
            }
        }
        if let Some(line) = self.lines.get_mut(number) {
            line.way(Pace::of(&*waiting.call)).push(waiting);
        }
    }

    /// Puts what waits into pipelines.
    pub(super) fn dispatch(&mut self) {
        for waiting in self.astray.release(&self.on_way) {
            self.route(waiting);
        }
        let (patience, mut expired) = (self.patience(), Vec::new());
        for number in self.lines.numbers() {
            for pace in self.lines.get(number).map(|line| line.ways.paces()).unwrap_or_default() {
                if self.lines.get_mut(number).is_some_and(|line| line.way(pace).recall()) {
                    self.load_scripts(number, pace);
                }
                while let Some(line) = self.lines.get_mut(number) {
                    let calls = line.way(pace).next(patience, &mut expired);
                    if calls.is_empty() {
                        break;
                    }
                    let calls = self.hold_back(calls);
                    self.send_calls(number, pace, calls);
                }
            }
        }
        for waiting in expired {
            waiting.call.fail(Fault::Unsent, &mut self.desk);
        }
    }

    /// What waited for a line while calls of its slot came back waits with these.
    fn hold_back(&mut self, calls: Vec<Waiting>) -> Vec<Waiting> {
        if self.astray.is_empty() {
            return calls;
        }
        let mut others = Vec::with_capacity(calls.len());
        for waiting in calls {
            if self.astray.holds(waiting.slot, &waiting) {
                self.astray.wait(waiting.slot, waiting);
            } else {
                others.push(waiting);
            }
        }
        others
    }

    /// Slots are elsewhere than they were: what waits for the servers that had them, and what comes, waits
    /// until nothing of them is on its way any more, so that their order holds.
    pub(super) fn heed_moves(&mut self, before: &Map) {
        let moved = self.lines.map().moved_since(before);
        for (number, sent) in &self.on_way {
            for slot in sent.slots.iter().filter(|slot| moved.contains(slot)) {
                self.astray.hold(*slot, sent.pace, *number);
            }
        }
        for way in self.lines.iter_mut().flat_map(|line| line.ways.all()) {
            for waiting in way.part(|waiting| moved.contains(&waiting.slot)) {
                self.astray.wait(waiting.slot, waiting);
            }
        }
    }

    fn send_calls(&mut self, number: u64, pace: Pace, calls: Vec<Waiting>) {
        if calls.is_empty() {
            return;
        }
        let bytes: usize = calls.iter().map(|waiting| COMMAND_BYTES + waiting.call.bytes()).sum();
        let mut packet = Packet::with_capacity(bytes);
        for waiting in &calls {
            packet.add(&waiting.call.command(&self.desk));
        }
        if let Pace::Patient(count) = pace {
            // It counts for all that was written before it on this connection.
            let mut wait = redis::cmd("WAIT");
            wait.arg(count).arg((self.desk.config.redis.timeout_ms / 2).max(1));
            packet.add(&wait);
        }
        self.send(number, pace, packet, Errand::Calls(calls));
    }

    pub(super) fn send(&mut self, number: u64, pace: Pace, packet: Packet, errand: Errand) {
        let Some(line) = self.lines.get_mut(number) else { return };
        let known = match pace {
            Pace::Plain => Some(&line.link.mouth),
            Pace::Patient(count) => line.link.patient.get(&count),
        };
        let known = known.map(|mouth| mouth.connection.clone());
        let url = line.url.clone();
        line.way(pace).leaves();
        self.sent += 1;
        let slots = match &errand {
            Errand::Calls(calls) if !self.lines.map().is_one() => {
                calls.iter().map(|waiting| waiting.slot).collect()
            }
            _ => Vec::new(),
        };
        self.on_way.insert(self.sent, Sent { pace, slots });
        let (sent, line, config) = (self.sent, number, self.desk.config.clone());
        self.pipelines.spawn_local(async move {
            let redis = &config.redis;
            let made = match known {
                Some(_) => None,
                None => Mouth::open(redis, &url, Login::of(redis)).await.ok(),
            };
            let connection = || made.as_ref().map(|mouth| mouth.connection.clone());
            let answers = match known.or_else(connection) {
                Some(connection) => Some(connection.ask_all(packet).await),
                None => None,
            };
            Outcome { number: sent, line, pace, errand, made, answers }
        });
    }

    pub(super) fn finish_ready(&mut self) {
        while let Some(outcome) = self.pipelines.try_join_next() {
            self.finish(outcome);
        }
    }

    /// A pipeline was answered, or failed as a whole.
    pub(super) fn finish(&mut self, outcome: Result<Outcome, JoinError>) {
        let Ok(Outcome { number, line, pace, errand, made, answers }) = outcome else {
            // What panics there is a bug of the client; its callers' time runs out.
            self.on_way.clear();
            self.lines.numbers().into_iter().for_each(|line| self.fall(line, LinkState::Lost));
            return;
        };
        self.on_way.remove(&number);
        let mut present = self.lines.get_mut(line);
        if let Some(line) = &mut present {
            line.way(pace).is_over();
            if let (Pace::Patient(count), Some(mouth)) = (pace, made) {
                line.link.patient.insert(count, mouth);
            }
        }
        let Some(answers) = answers else { return self.give_up(errand) };
        match (errand, answers) {
            (Errand::Calls(calls), Ok(answers)) => self.answer(line, pace, calls, answers),
            (Errand::Calls(calls), Err(error)) => {
                for Waiting { call, .. } in calls {
                    if !self.is_asked_anew(&*call, line) {
                        call.fail(failure::fault(&error), &mut self.desk);
                    }
                }
                self.doubt(&error, line);
            }
            (Errand::Probe, Ok(answers)) => self.probed(line, answers),
            (Errand::Load, Ok(answers)) => self.loaded(line, answers),
            (Errand::Load | Errand::Probe, Err(error)) => self.doubt(&error, line),
        }
    }

    /// Whether the line by which a call left has ended, and with it what listened to its room: then its home
    /// has heard that, and asks anew.
    fn is_asked_anew(&self, call: &dyn Call, line: u64) -> bool {
        let fell = |(room, _): (&RoomKey, _)| self.desk.watch.fell_with(room, line);
        self.lines.get(line).is_none() && call.room_to_hear().is_some_and(fell)
    }

    /// The connection for it could not be made; whoever comes next tries again.
    fn give_up(&mut self, errand: Errand) {
        if let Errand::Calls(calls) = errand {
            for waiting in calls {
                waiting.call.fail(Fault::Unsent, &mut self.desk);
            }
        }
    }

    fn answer(&mut self, line: u64, pace: Pace, calls: Vec<Waiting>, mut answers: Vec<Value>) {
        let replicas = match pace {
            Pace::Patient(_) => answers.pop().and_then(|it| self.waited(line, it)),
            Pace::Plain => None,
        };
        let mut end = None;
        for (waiting, answer) in calls.into_iter().zip(answers) {
            if self.is_asked_anew(&*waiting.call, line) {
                continue;
            }
            let error = match answer {
                Value::ServerError(error) => RedisError::from(error),
                _ if u64::from(waiting.call.replicas()) > replicas.unwrap_or(0) => {
                    waiting.call.fail(Fault::TooFewReplicas, &mut self.desk);
                    continue;
                }
                answer => {
                    self.heed_success(line, |desk| waiting.call.command(desk));
                    waiting.call.succeed(answer, &mut self.desk);
                    continue;
                }
            };
            let present = self.lines.get_mut(line);
            if let Some(line) = present.filter(|_| failure::is_forgotten(&error)) {
                line.way(pace).forget(waiting);
            } else if failure::is_astray(&error) && self.desk.config.redis.cluster {
                self.stray(waiting, &error);
            } else {
                self.heed_refusal(line, &error, |desk| waiting.call.command(desk));
                waiting.call.fail(failure::fault(&error), &mut self.desk);
                end = end.or(failure::ends_link(&error).then_some(error));
            }
        }
        if let Some(error) = end {
            self.doubt(&error, line);
        }
    }

    fn heed_refusal(&mut self, line: u64, error: &RedisError, command: impl FnOnce(&Desk) -> Cmd) {
        if let Some(line) = self.lines.get_mut(line) {
            let state = failure::state(error);
            line.refusal.refused(state, time::now(), || command(&self.desk));
            self.note_state();
        }
    }

    fn heed_success(&mut self, line: u64, command: impl FnOnce(&Desk) -> Cmd) {
        let Some(line) = self.lines.get_mut(line) else { return };
        if line.refusal.allowed(|| command(&self.desk)) {
            self.note_state();
        }
    }

    /// How many replicas have what was written; if that was refused, none is known to.
    fn waited(&mut self, line: u64, answer: Value) -> Option<u64> {
        let wait = |_: &Desk| redis::cmd("WAIT");
        match answer {
            Value::ServerError(error) => {
                self.heed_refusal(line, &error.into(), wait);
                None
            }
            count => {
                self.heed_success(line, wait);
                number(&count)
            }
        }
    }

    /// Scripts were loaded, or not: then it is tried again when a probe needs them.
    fn loaded(&mut self, number: u64, answers: Vec<Value>) {
        let load = |_: &Desk| redis::cmd("SCRIPT");
        let mut refused = answers.into_iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(RedisError::from(error)),
            _ => None,
        });
        let error = refused.next();
        self.know_scripts(number, error.is_none());
        let Some(error) = error else { return self.heed_success(number, load) };
        self.heed_refusal(number, &error, load);
        self.doubt(&error, number);
    }

    fn know_scripts(&mut self, number: u64, are_known: bool) {
        let Some(line) = self.lines.get_mut(number) else { return };
        line.ways.all().for_each(|way| way.loaded(are_known));
    }

    /// Asks a server whether it answers, and takes writes.
    pub(super) fn probe(&mut self, number: u64) {
        let mut packet = Packet::default();
        packet.add(&self.desk.scripts.call(Name::Probe, &[]));
        self.send(number, Pace::Plain, packet, Errand::Probe);
    }

    fn probed(&mut self, number: u64, mut answers: Vec<Value>) {
        let Some(line) = self.lines.get_mut(number) else { return };
        match answers.pop() {
            Some(Value::ServerError(error)) => {
                let error = RedisError::from(error);
                if failure::is_forgotten(&error) {
                    return self.load_scripts(number, Pace::Plain);
                }
                self.heed_refusal(number, &error, |desk| desk.scripts.call(Name::Probe, &[]));
                self.doubt(&error, number);
            }
            _ => {
                line.is_proven = true;
                line.refusal.probed();
                line.refusal.allowed(|| self.desk.scripts.call(Name::Probe, &[]));
                self.note_state();
                self.know_scripts(number, true);
                if self.lines.are_proven() {
                    self.attempts = 0;
                }
            }
        }
    }

    /// Before what waits, by the same connection, which takes what comes in order.
    fn load_scripts(&mut self, number: u64, pace: Pace) {
        let mut packet = Packet::default();
        self.desk.scripts.load().for_each(|load| packet.add(&load));
        self.send(number, pace, packet, Errand::Load);
    }

    /// A server does not have the slot of a call: it is made again when it is known who has.
    fn stray(&mut self, waiting: Waiting, error: &RedisError) {
        if waiting.is_older(self.patience(), time::now()) {
            return waiting.call.fail(Fault::Unsent, &mut self.desk);
        }
        self.desk.metrics.strayed.add(1);
        self.astray.add(waiting.slot, waiting, self.sent);
        self.find_soon(error.code() == Some("MOVED"));
    }

    /// After an error: is the line still of use?
    fn doubt(&mut self, error: &RedisError, line: u64) {
        if failure::ends_link(error) {
            self.fall(line, failure::state(error));
        }
    }
}
