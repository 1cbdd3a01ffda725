//! Publishes whose answer waits until every core has said how many took them.
//!
//! Invariant: each is answered once: when the last core has said, or when its time is over; but never
//! without the broker's word, where that is needed.

use crate::hash::{Map, Seed};
use crate::protocol::event;
use crate::protocol::event::{Place, Published, Reply};
use crate::room::name::RoomKey;
use crate::wheel::Timer;

use super::message::{AnswerEffect, Asker, Ticket};
use super::{Alarm, Shard};

/// What the broker's word is to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has come, or there is nobody to give it.
    Given,
    /// It is awaited for as long as those of the cores.
    Awaited,
    /// There is no answer without it.
    Needed,
}

/// A publish that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) room: RoomKey,
    pub(super) epoch: std::sync::Arc<str>,
    pub(super) offset: u64,
    pub(super) asker: Asker,
    pub(super) ticket: Ticket,
    pub(super) cores_left: usize,
    pub(super) word: Word,
    pub(super) delivered: u64,
    pub(super) total: u64,
    pub(super) timer: Timer,
    /// It is a `send`: the answer carries only the count.
    pub(super) is_send: bool,
    /// Others were sent it who are not counted.
    pub(super) is_partial: bool,
}

/// All that wait.
#[derive(Debug)]
pub(super) struct Receipts {
    waiting: Map<u64, Waiting>,
    last: u64,
}

impl Receipts {
    pub(super) fn new(seed: Seed) -> Self {
        Self { waiting: Map::with_hasher(seed), last: 0 }
    }

    /// A number for the next one.
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn insert(&mut self, receipt: u64, waiting: Waiting) {
        self.waiting.insert(receipt, waiting);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Shard {
    /// A core said how many took a message.
    pub(super) fn on_receipt(&mut self, receipt: u64, delivered: u32, total: u32) {
        let Some(waiting) = self.homes.receipts.waiting.get_mut(&receipt) else { return };
        waiting.delivered += u64::from(delivered);
        waiting.total += u64::from(total);
        waiting.cores_left = waiting.cores_left.saturating_sub(1);
        self.answer_if_counted(receipt);
    }

    /// The broker has placed what is counted; whether other nodes were told of it.
    pub(super) fn on_receipt_placed(&mut self, receipt: u64, is_partial: bool) {
        let Some(waiting) = self.homes.receipts.waiting.get_mut(&receipt) else { return };
        waiting.word = Word::Given;
        waiting.is_partial |= is_partial;
        self.answer_if_counted(receipt);
    }

    /// Some cores did not say in time, or the broker did not.
    pub(super) fn on_receipt_alarm(&mut self, receipt: u64) {
        let Some(waiting) = self.homes.receipts.waiting.get_mut(&receipt) else { return };
        waiting.is_partial = true;
        waiting.cores_left = 0;
        if waiting.word != Word::Needed {
            self.answer_receipt(receipt);
        }
    }

    /// It is answered in another way.
    pub(super) fn forget_receipt(&mut self, receipt: u64) {
        if let Some(waiting) = self.homes.receipts.waiting.remove(&receipt) {
            self.wheel.cancel(waiting.timer);
        }
    }

    fn answer_if_counted(&mut self, receipt: u64) {
        let waiting = self.homes.receipts.waiting.get(&receipt);
        if waiting.is_some_and(|it| it.cores_left == 0 && it.word == Word::Given) {
            self.answer_receipt(receipt);
        }
    }

    fn answer_receipt(&mut self, receipt: u64) {
        let Some(waiting) = self.homes.receipts.waiting.remove(&receipt) else { return };
        self.wheel.cancel(waiting.timer);
        let Waiting { room, epoch, offset, asker, ticket, delivered, total, is_send, .. } = waiting;
        let partial = waiting.is_partial;
        if is_send {
            let effect = AnswerEffect::Sent { delivered };
            self.answer(&room, &asker, ticket, Reply::Done, effect);
            return;
        }
        let reply = Reply::Publish(Published {
            room: room.name.as_str(),
            at: (offset > 0).then_some(Place { epoch: &epoch, offset }),
            duplicate: false,
            receipt: Some(event::Receipt { delivered, total, partial }),
        });
        self.answer_ok(&room, &asker, ticket, reply);
    }

    /// Sets the time a receipt has.
    pub(super) fn receipt_timer(&mut self, receipt: u64) -> Timer {
        let at = self.outbound.now.moment.plus_ms(self.config.rooms.receipt_timeout_ms);
        self.wheel.insert(at, Alarm::Receipt(receipt))
    }
}
