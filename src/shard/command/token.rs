//! Joins by a room token: it stands for the right to join, and whoever signed it may have to be
//! looked up first.
//!
//! Invariants: how many joins of a connection wait for that is bounded; each is answered once, by
//! the answer about the keys, by a `leave` of its room or by the connection's end. What the
//! connection asks of the room meanwhile waits behind it; as unanswered commands that is bounded.

use std::mem;

use crate::auth::Zeroed;
use crate::id::ConnectionKey;
use crate::protocol::{CloseReason, ErrorCode};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::ask::{JoinAsk, What};
use crate::shard::effect::Failure;
use crate::shard::message::Ticket;

use super::auth::LATER;

/// Joins of a connection that may wait.
const WAITING_MAX: usize = 4;

/// A join whose token cannot be judged before its keys are here.
#[derive(Debug)]
pub(in crate::shard) struct LateJoin {
    pub(in crate::shard) room: RoomKey,
    pub(super) ask: JoinAsk,
    pub(super) token: Zeroed,
    pub(super) ticket: Ticket,
    /// What was asked of the room since.
    pub(in crate::shard) behind: Vec<(What, Ticket)>,
}

impl Shard {
    /// Lets into a room who shows a token for it.
    pub(super) fn join_by_token(&mut self, key: ConnectionKey, join: LateJoin) {
        let now = self.outbound.now;
        let Some(connection) = self.outbound.get(key) else { return };
        let may_wait = connection.rare.as_ref().is_none_or(|it| it.joins.len() < WAITING_MAX);
        let (user, address) = (connection.identity.user.clone(), connection.address);
        let text = std::str::from_utf8(join.token.expose()).unwrap_or_default();
        let effects = &mut self.outbound.effects;
        let judged = self.door.judge_room(now, key, text, &join.room, user.as_deref(), effects);
        let (refusal, is_bad) = match judged {
            Some(Ok(grant)) => {
                let ask = JoinAsk { grant: Some(grant.role), ..join.ask };
                self.ask_join(key, join.room.clone(), ask, join.ticket);
                self.ask_behind(key, &join.room, join.behind);
                return;
            }
            Some(Err(refusal)) if !refusal.is_temporary() => {
                self.outbound.effects.failures.push(Failure { address, refusal });
                (Refusal::new(ErrorCode::Forbidden, "the room token is not good"), true)
            }
            None if may_wait => {
                if let Some(connection) = self.outbound.get_mut(key) {
                    connection.rare().joins.push(join);
                }
                return;
            }
            Some(Err(_)) | None => (LATER, false),
        };
        self.refuse(key, &join.ticket, refusal);
        self.ask_behind(key, &join.room, join.behind);
        if is_bad {
            self.count_bad(key, CloseReason::AuthFailed);
        }
    }

    /// A join waits no more: asks what has waited behind it.
    fn ask_behind(&mut self, key: ConnectionKey, room: &RoomKey, behind: Vec<(What, Ticket)>) {
        for (what, ticket) in behind {
            let Some(connection) = self.outbound.get_mut(key) else { return };
            // It is counted again.
            connection.unanswered -= 1;
            self.ask(key, room.clone(), what, ticket);
        }
    }

    /// The keys are here, or cannot be had: judges the joins that have waited for that.
    pub(in crate::shard) fn join_again(&mut self, key: ConnectionKey) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let joins = connection.rare.as_mut().map(|rare| mem::take(&mut rare.joins));
        for join in joins.into_iter().flatten() {
            self.join_by_token(key, join);
        }
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.forget_rare();
        }
    }

    /// A room is left that is not joined yet: then it will not be.
    pub(super) fn give_up_joins(&mut self, key: ConnectionKey, room: &RoomKey) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let Some(rare) = connection.rare.as_mut().filter(|it| !it.joins.is_empty()) else { return };
        let (given_up, others) =
            mem::take(&mut rare.joins).into_iter().partition(|it| it.room == *room);
        rare.joins = others;
        let given_up: Vec<LateJoin> = given_up;
        for join in given_up {
            self.refuse(key, &join.ticket, Refusal::new(ErrorCode::NotJoined, "left meanwhile"));
            self.ask_behind(key, room, join.behind);
        }
    }
}
