//! `history`: read what was published.

use std::sync::Arc;

use crate::clock::Moment;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::ErrorCode;
use crate::protocol::command::{History, HistoryBound, Position};
use crate::protocol::event::{Place, Reply};
use crate::room::filter::Receiver;
use crate::room::history::Bound;
use crate::room::home::Refusal;
use crate::room::name::RoomKey;
use crate::room::publication::Publication;
use crate::room::standing::Action;
use crate::shard::Shard;
use crate::shard::ask::{HistoryAsk, HistoryFrom, Since, What};
use crate::shard::identity::Right;
use crate::shard::message::{AnswerEffect, Asker, Ticket};

impl Since {
    fn new(position: Position<'_>) -> Self {
        Self { epoch: position.epoch.into_owned().into_boxed_str(), offset: position.offset }
    }
}

/// A page of a room's history.
struct HistoryPage {
    epoch: Arc<str>,
    offset: u64,
    messages: Vec<Arc<Publication>>,
    truncated: bool,
}

impl Shard {
    pub(super) fn history(&mut self, key: ConnectionKey, history: History<'_>, ticket: Ticket) {
        let right = Right::History;
        let Some(room) = self.room_key(key, &history.room, right, &ticket) else { return };
        let from = match history.bound {
            None => HistoryFrom::End,
            Some(HistoryBound::Since(position)) => HistoryFrom::Since(Since::new(position)),
            Some(HistoryBound::Before(position)) => HistoryFrom::Before(Since::new(position)),
        };
        let ask = HistoryAsk { from, limit: history.limit, reverse: history.reverse };
        self.ask(key, room, What::History(Box::new(ask)), ticket);
    }

    /// At home.
    pub(super) fn on_history(
        &mut self,
        from: CoreId,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &HistoryAsk,
    ) {
        let page = match self.history_page(from, room, asker, ask) {
            Ok(page) => page,
            Err(refusal) => {
                let effect = AnswerEffect::None;
                self.answer_refusal(from, room, asker, ticket, refusal, effect);
                return;
            }
        };
        let messages: Vec<_> = page.messages.iter().map(|it| it.message(false)).collect();
        let reply = Reply::History {
            room: room.name.as_str(),
            at: Place { epoch: &page.epoch, offset: page.offset },
            messages: &messages,
            truncated: page.truncated,
        };
        self.answer_ok(from, room, asker, ticket, reply);
    }

    fn history_page(
        &mut self,
        from: CoreId,
        room: &RoomKey,
        asker: &Asker,
        ask: &HistoryAsk,
    ) -> Result<HistoryPage, Refusal> {
        let now = self.outbound.now.moment;
        let most_bytes = self.config.limits.recovery_bytes as usize;
        let absent = || Refusal::new(ErrorCode::NotFound, "there is no such room");
        let home = self.homes.get_mut(room).ok_or_else(absent)?;
        let joined = home.is_attached(asker.address(from));
        home.standing(asker.user(), asker.ip, now)
            .may(Action::History { joined }, &home.config)
            .map_err(|denied| denied.refusal(now))?;
        let bound = match &ask.from {
            HistoryFrom::End if ask.reverse => Bound::Newest,
            HistoryFrom::End => Bound::Oldest,
            HistoryFrom::Since(since) | HistoryFrom::Before(since)
                if *since.epoch != *home.epoch =>
            {
                return Err(Refusal::new(ErrorCode::Expired, "the room has begun anew since"));
            }
            HistoryFrom::Since(since) => Bound::Since(since.offset),
            HistoryFrom::Before(before) => Bound::Before(before.offset),
        };
        let (epoch, offset) = (Arc::clone(&home.epoch), home.offset());
        let page = home.history.page(bound, ask.limit as usize, now);
        let truncated = page.truncated;
        let backwards = ask.reverse || matches!(bound, Bound::Newest | Bound::Before(_));
        let mut bytes: usize = 0;
        // Whoever asks now was not asked how long they are connected when it was published.
        let reader = Receiver {
            user: asker.user(),
            metadata: &asker.identity.metadata,
            opened_at: Moment::default(),
        };
        let meant = |publication: &&Arc<Publication>| {
            publication.audience.as_ref().is_none_or(|audience| audience.includes(&reader, now))
        };
        let mut fits = |publication: &&Arc<Publication>| {
            let is_first = bytes == 0;
            bytes += publication.data.as_data().bytes().len();
            is_first || bytes <= most_bytes
        };
        // What does not fit is cut off where the next page begins; the first always fits, or no page
        // would lead past it.
        let mut messages: Vec<_> = if backwards {
            page.reversed().filter(meant).take_while(&mut fits).cloned().collect()
        } else {
            page.entries.filter(meant).take_while(&mut fits).cloned().collect()
        };
        if backwards != ask.reverse {
            messages.reverse();
        }
        Ok(HistoryPage { epoch, offset, messages, truncated })
    }
}
