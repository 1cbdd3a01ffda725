//! `subscribe` and `unsubscribe`: receive all rooms of a pattern, without being in them.
//!
//! A command is answered when the pattern holds (`shard::patterns`).
//!
//! Invariant: what is published after the answer to `subscribe` arrives, and nothing before it.

use crate::id::ConnectionKey;
use crate::protocol::ErrorCode;
use crate::protocol::command::{Subscribe, Unsubscribe};
use crate::protocol::event::Reply;
use crate::room::hub::Interest;
use crate::room::pattern::Pattern;
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::connection::Subscription;
use crate::shard::identity::Right;
use crate::shard::message::Ticket;

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        key: ConnectionKey,
        subscribe: Subscribe<'_>,
        ticket: &Ticket,
    ) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let most = usize::from(self.config.limits.subscriptions_per_connection);
        let Ok(pattern) = Pattern::parse(&subscribe.pattern) else {
            let refusal = Refusal::new(ErrorCode::InvalidRoom, "no pattern of rooms");
            self.refuse(key, ticket, refusal);
            return;
        };
        if !connection.identity.permit.allows(Right::Subscribe, pattern.as_str()) {
            self.refuse(key, ticket, Refusal::new(ErrorCode::Forbidden, "not allowed"));
            return;
        }
        let events = subscribe.events.map(|events| {
            events.into_iter().map(|event| event.into_owned().into_boxed_str()).collect()
        });
        let interest = Interest { presence: false, events, min_priority: subscribe.min_priority };
        let (tenant, form) = (connection.identity.tenant, connection.form);
        let patterns = &mut connection.rare().patterns;
        let held = patterns.iter().position(|held| held.pattern == pattern);
        match held {
            Some(at) => {
                patterns[at].interest = interest;
                if patterns[at].holds {
                    self.reply(key, ticket, Reply::Pattern(pattern.as_str()));
                    return;
                }
            }
            None if patterns.len() >= most => {
                let refusal = Refusal::new(ErrorCode::LimitExceeded, "too many subscriptions");
                self.refuse(key, ticket, refusal);
                return;
            }
            None => {
                patterns.push(Subscription { pattern: pattern.clone(), interest, holds: false });
                self.hold_pattern(tenant, &pattern, key.index, form);
            }
        }
        self.await_pattern(tenant, pattern, key, Some(ticket.clone()));
    }

    pub(super) fn unsubscribe(
        &mut self,
        key: ConnectionKey,
        unsubscribe: &Unsubscribe<'_>,
        ticket: &Ticket,
    ) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let tenant = connection.identity.tenant;
        let patterns = &mut connection.rare().patterns;
        let at = patterns.iter().position(|it| *it.pattern.as_str() == *unsubscribe.pattern);
        let Some(at) = at else {
            let refusal = Refusal::new(ErrorCode::NotFound, "no such subscription");
            self.refuse(key, ticket, refusal);
            return;
        };
        let Subscription { pattern, .. } = patterns.remove(at);
        // Nothing of it after the answer.
        self.settle_rooms();
        self.drop_pattern(tenant, &pattern, key.index);
        self.reply(key, ticket, Reply::Pattern(pattern.as_str()));
    }
}
