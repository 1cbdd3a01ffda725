//! Application events, both ways: messages of a type that is no command go to the handler that a
//! program has registered for it; and a program may ask a client something.
//!
//! Invariants: a handler is called once for each message and answers at once, so it must neither
//! wait nor do work that others would wait for; a question is answered exactly once: by the client,
//! by the end of its time, or by the end of the connection.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::id::ConnectionKey;
use crate::protocol::command::{Application, Response};
use crate::protocol::event::{Error, Reply};
use crate::protocol::{Data, ErrorCode, Event, OwnedData, RequestId};
use crate::room::refusal::Refusal;
use crate::wheel::Timer;

use super::connection::Connection;
use super::identity::Identity;
use super::message::Ticket;
use super::{Alarm, Shard};

/// Questions that a connection may have unanswered.
const QUESTIONS_MAX: usize = 64;

/// Answers messages of one type.
pub trait Handler: fmt::Debug + Send + Sync {
    /// What the client is answered.
    ///
    /// # Errors
    /// What it is told instead.
    fn handle(&self, message: &Message<'_>) -> Result<OwnedData, Failure>;
}

/// What a client has sent to the application.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its type.
    pub event: &'a str,
    /// What it says.
    pub data: Option<Data<'a>>,
    /// The room it names; nobody has checked whether the client may see it.
    pub room: Option<&'a str>,
    /// Who sends it.
    pub identity: &'a Identity,
    /// The connection's name.
    pub connection: &'a str,
}

/// Why an application does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: Box<str>,
}

/// The handlers of a program, by the type of message.
#[derive(Clone, Debug, Default)]
pub struct Handlers {
    by_event: BTreeMap<Box<str>, Arc<dyn Handler>>,
}

impl Handlers {
    /// With a handler for messages of type `event`, in place of one before. The types of the
    /// protocol never come to a handler.
    #[must_use]
    pub fn with(mut self, event: &str, handler: Arc<dyn Handler>) -> Self {
        self.by_event.insert(event.into(), handler);
        self
    }
}

/// What a program asks a client.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whom.
    pub connection: ConnectionKey,
    /// The program's number for it.
    pub number: u64,
    /// What is asked, in the application's words.
    pub event: Box<str>,
    /// The question.
    pub data: OwnedData,
    /// How long the client has.
    pub within_ms: u64,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Who was asked.
    pub connection: ConnectionKey,
    /// The program's number for it.
    pub number: u64,
    /// What they say.
    pub outcome: Result<OwnedData, Unanswered>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The client says why.
    Failed {
        /// The application's code.
        code: Box<str>,
        /// For people.
        message: Box<str>,
    },
    /// Its time is over.
    TimedOut,
    /// The connection is gone, or has too many questions.
    Unreachable,
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Asked {
    /// What the client calls it.
    id: u64,
    number: u64,
    timer: Timer,
}

impl Shard {
    /// A message of a type that is no command.
    pub(super) fn application(
        &mut self,
        key: ConnectionKey,
        message: &Application<'_>,
        ticket: &Ticket,
    ) {
        let Some(connection) = self.outbound.get(key) else { return };
        let Some(handler) = self.handlers.by_event.get(&*message.event) else {
            let refusal = Refusal::new(ErrorCode::NotFound, "no handler for this type");
            self.refuse(key, ticket, refusal);
            return;
        };
        let outcome = handler.handle(&Message {
            event: &message.event,
            data: message.data,
            room: message.room.as_deref(),
            identity: &connection.identity,
            connection: &connection.name,
        });
        match outcome {
            Ok(data) => self.reply(key, ticket, Reply::Data(Some(data.as_data()))),
            Err(Failure { code, message }) => {
                let (id, retry_after_ms) = (ticket.id.as_ref(), None);
                let error = Error { id, code, message: &message, retry_after_ms };
                self.outbound.say(key, &Event::Error(error));
                self.done(key, ticket.batch);
            }
        }
    }

    /// A program asks a client.
    pub(super) fn on_question(&mut self, question: &Question) {
        let Question { connection: key, number, event, data, within_ms } = question;
        let (key, at) = (*key, self.outbound.now.moment.plus_ms(*within_ms));
        let connection = self.outbound.get_mut(key).filter(|it| it.is_open() && it.welcomed);
        let Some(rare) =
            connection.map(Connection::rare).filter(|it| it.asked.len() < QUESTIONS_MAX)
        else {
            self.answered(key, *number, Err(Unanswered::Unreachable));
            return;
        };
        rare.last_asked += 1;
        let id = rare.last_asked;
        let timer = self.wheel.insert(at, Alarm::Question(key, id));
        rare.asked.push(Asked { id, number: *number, timer });
        let (data, id) = (data.as_data(), &RequestId::Number(id));
        self.outbound.say(key, &Event::Request { id, event, data, within_ms: *within_ms });
    }

    /// A client answers; what nobody asked is not looked at.
    pub(super) fn on_response(&mut self, key: ConnectionKey, response: &Response<'_>) {
        let RequestId::Number(id) = response.id else { return };
        let Some(asked) = self.take_asked(key, id) else { return };
        self.wheel.cancel(asked.timer);
        let outcome = match &response.outcome {
            Ok(data) => Ok(Data::to_owned(*data)),
            Err(failure) => Err(Unanswered::Failed {
                code: (*failure.code).into(),
                message: (*failure.message).into(),
            }),
        };
        self.answered(key, asked.number, outcome);
    }

    /// A question's time is over.
    pub(super) fn on_question_alarm(&mut self, key: ConnectionKey, id: u64) {
        if let Some(asked) = self.take_asked(key, id) {
            self.answered(key, asked.number, Err(Unanswered::TimedOut));
        }
    }

    /// Questions to a connection that is gone.
    pub(super) fn drop_questions(&mut self, key: ConnectionKey, asked: Vec<Asked>) {
        for Asked { number, timer, .. } in asked {
            self.wheel.cancel(timer);
            self.answered(key, number, Err(Unanswered::Unreachable));
        }
    }

    fn take_asked(&mut self, key: ConnectionKey, id: u64) -> Option<Asked> {
        let rare = self.outbound.get_mut(key)?.rare.as_mut()?;
        let at = rare.asked.iter().position(|asked| asked.id == id)?;
        Some(rare.asked.remove(at))
    }

    fn answered(
        &mut self,
        connection: ConnectionKey,
        number: u64,
        outcome: Result<OwnedData, Unanswered>,
    ) {
        self.outbound.effects.answered.push(Answered { connection, number, outcome });
    }
}
