//! Pipelines: calls that wait go out together, and come back each with its own answer.
//!
//! Invariants: an answer over an earlier link says nothing about this one; a call that left with a
//! link that ended is answered as lost and never sent again.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::task::JoinError;

use crate::metrics::LinkState;
use crate::room::broker::Fault;

use super::call::Call;
use super::failure;
use super::queue::Waiting;
use super::run::Bridge;

/// Pipelines on their way at once.
const PIPELINES_MOST: usize = 16;

/// What a pipeline was for.
pub(super) enum Errand {
    Calls(Vec<Waiting>),
    /// So many channels.
    Subscribe(usize),
    /// Nothing waits for it: a ping, scripts, or word that channels are no longer listened to.
    Chore,
}

/// What came of a pipeline: over which link it went, and what each command was answered.
pub(super) type Outcome = (u64, Errand, RedisResult<Vec<Value>>);

impl Bridge {
    /// Asks something of Redis; it fails at once if there is no link, or too much waits.
    pub(super) fn ask(&mut self, call: Box<dyn Call>) {
        if self.link.is_none() {
            return call.fail(Fault::Lost, &mut self.desk);
        }
        if let Err(call) = self.queue.push(call) {
            call.fail(Fault::Overload, &mut self.desk);
        }
    }

    /// Puts what waits into pipelines.
    pub(super) fn dispatch(&mut self) {
        while self.link.is_some() && !self.queue.is_empty() {
            if self.pipelines.len() >= PIPELINES_MOST {
                return;
            }
            let calls = self.queue.next();
            self.listen_for(&calls);
            let mut pipeline = redis::pipe();
            for waiting in &calls {
                pipeline.add_command(waiting.call.command(&self.desk));
            }
            self.send(pipeline, Errand::Calls(calls));
        }
    }

    /// Listens to rooms that are about to be asked for and are not listened to yet.
    fn listen_for(&mut self, calls: &[Waiting]) {
        let mut channels = Vec::new();
        for (room, core) in calls.iter().filter_map(|waiting| waiting.call.room_to_hear()) {
            let keys = &self.desk.keys;
            let watched = self.desk.watch.open(room, core, || keys.room(room));
            if !watched.is_subscribed {
                watched.is_subscribed = true;
                channels.push(watched.keys.channel());
            }
        }
        if !channels.is_empty() {
            let count = channels.len();
            self.send(each("SSUBSCRIBE", channels), Errand::Subscribe(count));
        }
    }

    pub(super) fn send(&mut self, pipeline: Pipeline, errand: Errand) {
        let Some(link) = &self.link else { return };
        let (mut connection, links) = (link.connection.clone(), self.links);
        self.pipelines.spawn_local(async move {
            let answers = all(&mut connection, &pipeline).await;
            (links, errand, answers)
        });
    }

    pub(super) fn finish_ready(&mut self) {
        while let Some(outcome) = self.pipelines.try_join_next() {
            self.finish(outcome);
        }
    }

    /// A pipeline was answered, or failed as a whole.
    pub(super) fn finish(&mut self, outcome: Result<Outcome, JoinError>) {
        // What panics there is a bug of the client; its callers' time runs out.
        let Ok((links, errand, answers)) = outcome else { return self.fall(LinkState::Lost) };
        let is_present = links == self.links;
        match (errand, answers) {
            (Errand::Calls(calls), Ok(answers)) => self.answer(calls, answers, is_present),
            (Errand::Calls(calls), Err(error)) => {
                for Waiting { call, .. } in calls {
                    if is_present || call.room_to_hear().is_none() {
                        call.fail(failure::fault(&error), &mut self.desk);
                    }
                }
                self.doubt(&error, is_present);
            }
            (Errand::Subscribe(channels), answers) => {
                let refused = answers.map(|answers| answers.into_iter().find_map(refusal));
                if let Some(error) = refused.unwrap_or_else(Some) {
                    tracing::warn!(%error, channels, "channels are not listened to");
                    if is_present {
                        self.fall(failure::state(&error));
                    }
                }
            }
            (Errand::Chore, Err(error)) => self.doubt(&error, is_present),
            (Errand::Chore, Ok(_)) => {}
        }
    }

    fn answer(&mut self, calls: Vec<Waiting>, answers: Vec<Value>, is_present: bool) {
        let mut again = Vec::new();
        let mut doubt = None;
        for (waiting, answer) in calls.into_iter().zip(answers) {
            if !is_present && waiting.call.room_to_hear().is_some() {
                continue;
            }
            match answer {
                Value::ServerError(error) => {
                    let error = RedisError::from(error);
                    if failure::is_forgotten(&error) && is_present {
                        again.push(waiting);
                    } else {
                        waiting.call.fail(failure::fault(&error), &mut self.desk);
                        doubt = Some(error);
                    }
                }
                answer => {
                    if is_present {
                        self.desk.note(LinkState::Up);
                    }
                    waiting.call.succeed(answer, &mut self.desk);
                }
            }
        }
        if !again.is_empty() {
            let mut pipeline = redis::pipe();
            for load in self.desk.scripts.load() {
                pipeline.add_command(load);
            }
            self.send(pipeline, Errand::Chore);
            self.queue.push_front(again);
        }
        if let Some(error) = doubt {
            self.doubt(&error, is_present);
        }
    }

    /// After an error: is the link still of use?
    fn doubt(&mut self, error: &RedisError, is_present: bool) {
        if is_present && failure::ends_link(error) {
            self.fall(failure::state(error));
        } else if is_present && failure::state(error) != LinkState::Lost {
            self.desk.note(failure::state(error));
        }
    }
}

/// One command for each channel: the client counts an answer for each command.
pub(super) fn each(name: &str, channels: Vec<String>) -> Pipeline {
    let mut pipeline = redis::pipe();
    for channel in channels {
        let mut command = redis::cmd(name);
        command.arg(channel);
        pipeline.add_command(command);
    }
    pipeline
}

/// All answers of a pipeline; errors of single commands are among them.
async fn all(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> RedisResult<Vec<Value>> {
    connection.send_packed_commands(pipeline, 0, pipeline.len()).await
}

fn refusal(answer: Value) -> Option<RedisError> {
    match answer {
        Value::ServerError(error) => Some(error.into()),
        _ => None,
    }
}
