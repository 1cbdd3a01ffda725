//! Messages for one connection that another node holds: they go there, and what became of them comes back.
//!
//! Invariant: each `send` of that kind is answered once, at the latest after `redis.timeout_ms`.

use crate::id::{ConnectionName, TenantId};
use crate::room::broker::{DirectAsk, DirectNews, Fault, ToBroker};
use crate::room::name::{RoomKey, RoomName};
use crate::room::refusal::Refusal;
use crate::room::wire;
use crate::shard::command::no_such_connection;
use crate::shard::message::{Asker, Direct, Ticket};
use crate::shard::{Alarm, Shard};
use crate::wheel::Timer;

use super::{not_done, unavailable};

/// A message on its way to another node.
#[derive(Debug)]
pub(super) struct Sent {
    by: Asker,
    ticket: Ticket,
    timer: Timer,
}

impl Sent {
    pub(super) fn asker(&self) -> &Asker {
        &self.by
    }
}

impl Shard {
    /// Sends a message to the node that has its connection.
    pub(in crate::shard) fn send_elsewhere(&mut self, direct: Direct) {
        let Direct { to, tenant, author, ask, ticket } = direct;
        let key = author.address.key;
        let Some(by) = self.outbound.get(key).map(|it| it.asker(self.core)) else { return };
        if !self.broker.is_up {
            return self.on_directed(key, &ticket, Err(not_done(Fault::Unsent)));
        }
        if self.broker.sent.len() >= self.broker.pending_most {
            return self.on_directed(key, &ticket, Err(unavailable("too much waits for Redis")));
        }
        let ttl_ms = ask.ttl_ms;
        // As what it is written is known where the connection is.
        let room = RoomKey::new(tenant, RoomName::everyone());
        let draft = ask.into_draft(room, ("".into(), 0), author, self.outbound.now);
        let number = self.next_stamp().ticket;
        let wire = self.write(&draft, number, ttl_ms, None);
        let at = self.outbound.now.moment.plus_ms(self.config.redis.timeout_ms);
        let timer = self.wheel.insert(at, Alarm::Sent(number));
        self.broker.sent.insert(number, Sent { by, ticket, timer });
        self.tell_broker(ToBroker::Direct(DirectAsk::Send { ticket: number, to, tenant, wire }));
    }

    pub(super) fn on_direct_news(&mut self, news: DirectNews) {
        match news {
            DirectNews::Sent { to, tenant, wire } => self.on_sent_here(&to, tenant, &wire),
            DirectNews::Answered { ticket, outcome: Err(fault) } => {
                self.answer_sent(ticket, Err(not_done(fault)));
            }
            DirectNews::Answered { ticket, outcome: Ok(delivered) } => {
                self.answer_sent(ticket, delivered.ok_or_else(no_such_connection));
            }
        }
    }

    /// Another node has a message for a connection of this core.
    fn on_sent_here(&mut self, to: &ConnectionName, tenant: TenantId, wire: &[u8]) {
        let Some(from) = wire::stamp(wire) else { return };
        let found = self.find_direct(to, tenant).and_then(|found| {
            let draft = self.read_wire(&found.room, &"".into(), 0, wire)?;
            Some((found, draft))
        });
        let delivered = found.map(|(found, draft)| self.offer_direct(found, draft));
        self.tell_broker(ToBroker::Direct(DirectAsk::Answer { to: from, delivered }));
    }

    /// The broker, or the node, did not say in time what became of it.
    pub(in crate::shard) fn on_sent_alarm(&mut self, number: u64) {
        self.answer_sent(number, Err(not_done(Fault::Lost)));
    }

    /// The broker is out of reach: it is not known what became of them.
    pub(super) fn fail_sent(&mut self) {
        while let Some(number) = self.broker.sent.keys().next().copied() {
            self.on_sent_alarm(number);
        }
    }

    fn answer_sent(&mut self, number: u64, outcome: Result<bool, Refusal>) {
        let Some(Sent { by, ticket, timer }) = self.broker.sent.remove(&number) else { return };
        self.wheel.cancel(timer);
        self.note_done_by_broker(number);
        self.on_directed(by.address.key, &ticket, outcome);
    }
}
