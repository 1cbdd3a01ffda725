//! What a Redis that is none has of patterns and calls.

use std::collections::BTreeMap;

use crate::id::TenantId;
use crate::room::broker::{
    Beginning, Call, CallId, Calls, Fault, FromBroker, PatternAsk, Patterns,
};
use crate::room::name::RoomKey;
use crate::room::pattern::Pattern;

const REMEMBER_MS: u64 = 120_000;
const LIVE_MS: u64 = 180_000;

/// As the scripts keep it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    /// Which list, since when, and how often it has changed.
    list: Option<(u64, u64)>,
    server: u64,
    changes: u64,
    all: BTreeMap<u64, Vec<(TenantId, Pattern)>>,
    until: BTreeMap<u64, u64>,
    calls: Vec<(CallId, u64, RoomKey, Option<Beginning>)>,
    /// The last call that is not there any more, because there were too many.
    dropped: CallId,
    /// How often something was called.
    pub(super) called: usize,
    /// The server's clock.
    now_ms: u64,
    /// A node that knows nothing of patterns is there.
    pub(super) has_stranger: bool,
    /// It answers nothing but errors.
    pub(super) is_broken: bool,
}

impl Lists {
    /// What comes of an ask of `node`; `chance` tells a new list from others.
    pub(super) fn execute(
        &mut self,
        node: u64,
        now_ms: u64,
        (server, chance): (u64, u64),
        ask: PatternAsk,
    ) -> FromBroker {
        // Those of nodes that were waited for apart differ.
        self.now_ms = self.now_ms.max(now_ms);
        let now_ms = self.now_ms;
        if std::mem::replace(&mut self.server, server) != server {
            self.list = None;
        }
        self.called += usize::from(matches!(ask, PatternAsk::Call { .. }));
        if self.is_broken {
            return Self::fail(ask);
        }
        match ask {
            PatternAsk::Read { says, mark, calls } => {
                let patterns =
                    self.read(node, now_ms, chance, says.map(|says| says.to_vec()), &mark, calls);
                FromBroker::Patterns(Ok(Box::new(patterns)))
            }
            PatternAsk::Call { room, place } => {
                let last = self.calls.last().map_or(CallId::default(), |(id, ..)| *id);
                let id = match now_ms > last.at_ms {
                    true => CallId { at_ms: now_ms, number: 0 },
                    false => CallId { number: last.number + 1, ..last },
                };
                self.calls.push((id, node, room.clone(), place));
                FromBroker::Called { room, outcome: Ok(()) }
            }
        }
    }

    /// There are too many calls.
    pub(super) fn trim(&mut self) {
        let count = self.calls.len() / 2;
        if let Some((id, ..)) = self.calls.drain(..count).next_back() {
            self.dropped = id;
        }
    }

    /// What all nodes receive.
    pub(super) fn received(&self) -> usize {
        self.all.values().map(Vec::len).sum()
    }

    /// It is out of reach, or cannot.
    pub(super) fn fail(ask: PatternAsk) -> FromBroker {
        match ask {
            PatternAsk::Read { .. } => FromBroker::Patterns(Err(Fault::Lost)),
            PatternAsk::Call { room, .. } => FromBroker::Called { room, outcome: Err(Fault::Lost) },
        }
    }

    fn read(
        &mut self,
        node: u64,
        now_ms: u64,
        chance: u64,
        says: Option<Vec<(TenantId, Pattern)>>,
        mark: &str,
        calls: Calls,
    ) -> Patterns {
        let (list, began_ms) = *self.list.get_or_insert((chance, now_ms));
        let gone: Vec<_> =
            self.until.iter().filter(|(_, until)| **until <= now_ms).map(|(it, _)| *it).collect();
        for node in gone {
            self.until.remove(&node);
            self.changes += u64::from(self.all.remove(&node).is_some());
        }
        self.until.insert(node, now_ms + REMEMBER_MS);
        let had_own = self.all.contains_key(&node);
        if let Some(says) = says {
            self.changes += 1;
            self.all.insert(node, says);
            self.all.retain(|_, says| !says.is_empty());
        }
        let now_mark = format!("{list} {}", self.changes);
        let others = self.all.iter().filter(|(it, _)| **it != node);
        let others = others.flat_map(|(_, says)| says.clone()).collect();
        let (from, new_after) = match calls {
            Calls::None => (None, None),
            Calls::After(last) => (Some(last), Some(last)),
            Calls::Live(last) => {
                let at_ms = now_ms.saturating_sub(LIVE_MS);
                (Some(CallId { at_ms, number: 0 }), last)
            }
        };
        let wanted = self.calls.iter().filter(|(id, ..)| from.is_some_and(|from| *id > from));
        let wanted = wanted.filter(|(_, by, ..)| *by != node);
        let told = wanted.map(|(id, _, room, place)| Call {
            room: room.clone(),
            place: place.clone(),
            is_new: new_after.is_some_and(|last| *id > last),
        });
        Patterns {
            others: (now_mark != mark).then_some(others),
            mark: now_mark.into(),
            age_ms: now_ms.saturating_sub(began_ms),
            had_own,
            has_others: self.until.len() > 1,
            has_strangers: self.has_stranger,
            calls: told.collect(),
            last: self.calls.last().map_or(CallId::default(), |(id, ..)| *id),
            is_cut: new_after.is_some_and(|last| last < self.dropped),
        }
    }
}
