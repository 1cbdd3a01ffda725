//! `history`: read what was published.

use std::sync::Arc;

use crate::clock::Moment;
use crate::id::ConnectionKey;
use crate::protocol::ErrorCode;
use crate::protocol::command::{History, HistoryBound, Position};
use crate::protocol::event::{Place, Reply};
use crate::room::filter::Receiver;
use crate::room::history::Bound;
use crate::room::name::RoomKey;
use crate::room::publication::Publication;
use crate::room::refusal::Refusal;
use crate::room::standing::Action;
use crate::shard::Shard;
use crate::shard::ask::{HistoryAsk, HistoryFrom, Since, What};
use crate::shard::identity::Right;
use crate::shard::message::{Asker, Ticket};
use crate::shard::session::SessionId;

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
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ask: &HistoryAsk,
    ) {
        let page = match self.history_page(room, asker, ask) {
            Ok(page) => page,
            Err(refusal) => {
                self.answer_refusal(room, asker, ticket, refusal);
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
        self.answer_ok(room, asker, ticket, reply);
    }

    fn history_page(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ask: &HistoryAsk,
    ) -> Result<HistoryPage, Refusal> {
        let now = self.outbound.now.moment;
        let most_bytes = self.config.limits.recovery_bytes as usize;
        let home = self.homes.get_mut(room).ok_or(Refusal::NO_ROOM)?;
        let joined = home.is_attached(asker.address);
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
        let page = home.history.page(bound, usize::MAX, now);
        let is_trimmed = page.truncated;
        let backwards = matches!(bound, Bound::Newest | Bound::Before(_));
        // Whoever asks now was not asked how long they are connected when it was published.
        let reader = Receiver {
            user: asker.user(),
            metadata: &asker.identity.metadata,
            opened_at: Moment::default(),
        };
        let meant = |publication: &&Arc<Publication>| {
            let audience = publication.audience.as_ref();
            publication.expires.is_none_or(|expires| expires > now)
                && audience.is_none_or(|it| it.includes(&reader, now))
        };
        let taker = asker.session.map(SessionId::reader);
        let takes = |publication: &Publication| {
            let audience = publication.audience.as_ref();
            audience.zip(taker).is_none_or(|(audience, taker)| audience.take_again(taker))
        };
        let most = (ask.limit as usize, most_bytes);
        let (mut messages, is_at_end) = if backwards {
            pick(page.reversed().filter(meant), takes, most)
        } else {
            pick(page.entries.filter(meant), takes, most)
        };
        // Backwards, older ones would belong to a page only if it has come to where they were.
        let truncated = is_trimmed && (is_at_end || !backwards);
        if backwards != ask.reverse {
            messages.reverse();
        }
        Ok(HistoryPage { epoch, offset, messages, truncated })
    }
}

/// As many as a page may have, next to its bound, and whether there were no more. What does not fit
/// is cut off where the next page begins; the first always fits, or no page would lead past it. What
/// `takes` lets through is on the page, since it has taken a place of it.
fn pick<'a>(
    entries: impl Iterator<Item = &'a Arc<Publication>>,
    takes: impl Fn(&Publication) -> bool,
    (limit, most_bytes): (usize, usize),
) -> (Vec<Arc<Publication>>, bool) {
    let (mut picked, mut bytes) = (Vec::new(), 0);
    for publication in entries {
        let more = bytes + publication.data.as_data().bytes().len();
        if picked.len() == limit || (!picked.is_empty() && more > most_bytes) {
            return (picked, false);
        }
        if takes(publication) {
            picked.push(Arc::clone(publication));
            bytes = more;
        }
    }
    let is_at_end = picked.len() < limit;
    (picked, is_at_end)
}
