//! Publishing in a room: whether one may, and which offset it gets.

use std::net::IpAddr;
use std::sync::Arc;

use crate::bucket::Quota;
use crate::clock::{Moment, Now};
use crate::id::{ConnectionAddress, ip_key};
use crate::protocol::{Data, ErrorCode, OwnedData};
use crate::room::censor::{Censor, Judgement};
use crate::room::idempotency::Idempotency;
use crate::room::refusal::Refusal;
use crate::room::standing::Action;

use super::{HomeRoom, PACES, ReaderId};

/// A new key would have to take the place of one whose window is not over.
pub const KEYS_ARE_FULL: Refusal =
    Refusal::new(ErrorCode::LimitExceeded, "too many keys in the time that they are remembered");

/// When somebody whose pace is not remembered may try again to publish from outside, and how often it
/// is looked which need not be remembered any more.
const CROWDED_MS: u64 = 1_000;

/// Somebody publishes more often than the room allows.
#[must_use]
pub fn too_often(retry_after_ms: u64) -> Refusal {
    let retry_after_ms = Some(retry_after_ms);
    Refusal { code: ErrorCode::RateLimited, message: "too often for this room", retry_after_ms }
}

/// What somebody wants to publish, as far as it decides whether they may.
#[derive(Clone, Copy, Debug)]
pub struct PublishRequest<'a> {
    /// Which connection.
    pub address: ConnectionAddress,
    /// Where it comes from.
    pub ip: Option<IpAddr>,
    /// Its session, by which an anonymous one is known.
    pub session: Option<[u8; 16]>,
    /// Whose it is; none: anonymous.
    pub user: Option<&'a Arc<str>>,
    /// It need not be in the room.
    pub from_outside: bool,
    /// What it says.
    pub data: Data<'a>,
    /// No offset.
    pub transient: bool,
    /// A second one with this key is the first one again.
    pub key: Option<&'a str>,
    /// How long keys are remembered.
    pub key_window_ms: u64,
    /// How many of them.
    pub keys_most: u32,
}

/// Who publishes, as far as it counts how often: whoever leaves and comes again is the same, and so is
/// who publishes from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Publisher {
    /// A user, or somebody anonymous by their session.
    Reader(ReaderId),
    /// Nobody who is known, from there.
    Address(Option<IpAddr>),
}

impl PublishRequest<'_> {
    fn publisher(&self) -> Publisher {
        let user = self.user.map(|user| ReaderId::User(Arc::clone(user)));
        let reader = user.or(self.session.map(ReaderId::Session));
        reader.map_or_else(|| Publisher::Address(self.ip.map(ip_key)), Publisher::Reader)
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It goes out.
    New {
        /// Its offset; 0 if transient.
        offset: u64,
        /// What it says instead, where the room hides some of it.
        masked: Option<OwnedData>,
    },
    /// It was published before, and got this offset.
    Duplicate(u64),
}

impl HomeRoom {
    /// Somebody wants to publish: which offset it gets. The caller then makes the publication and
    /// has it [kept](crate::room::history::History::push).
    ///
    /// # Errors
    /// Why not; nothing is changed then.
    pub fn accept(&mut self, request: &PublishRequest<'_>, now: Now) -> Result<Accepted, Refusal> {
        if !request.from_outside && !self.is_attached(request.address) {
            return Err(Refusal::new(ErrorCode::NotJoined, "join the room first"));
        }
        self.standing(request.user.map(|user| &**user), request.ip, now.moment)
            .may(Action::Publish, &self.config)
            .map_err(|denied| denied.refusal(now.moment))?;
        if request.data.bytes().len() > self.config.message_bytes as usize {
            return Err(Refusal::new(ErrorCode::TooLarge, "data is longer than the room allows"));
        }
        if let (Some(key), Some(keys)) = (request.key, &mut self.keys) {
            if let Some(offset) = keys.find(key, now.moment) {
                return Ok(Accepted::Duplicate(offset));
            }
            if keys.is_full(now.moment) {
                return Err(KEYS_ARE_FULL);
            }
        }
        let masked = self.censor(request.data)?;
        self.pace(request, now.moment)?;
        let offset = if request.transient { 0 } else { self.offset() + 1 };
        if let Some(key) = request.key {
            let PublishRequest { key_window_ms: window_ms, keys_most: most, .. } = *request;
            let begin = || Box::new(Idempotency::new(self.seed, window_ms, most as usize));
            self.keys.get_or_insert_with(begin).note(key, offset, now.moment);
        }
        Ok(Accepted::New { offset, masked })
    }

    /// Looks for what may not be said here: what is said instead, if some of it is only hidden.
    fn censor(&mut self, data: Data<'_>) -> Result<Option<OwnedData>, Refusal> {
        let Some(filter) = &self.config.word_filter else { return Ok(None) };
        // A room in which nothing is said needs none.
        if self.censor.is_none() {
            self.censor = Censor::new(filter).map(Box::new);
        }
        match self.censor.as_ref().map_or(Judgement::Block, |censor| censor.judge(data)) {
            Judgement::Pass => Ok(None),
            Judgement::Mask(masked) => Ok(Some(masked)),
            Judgement::Block => {
                Err(Refusal::new(ErrorCode::Forbidden, "the room does not allow these words"))
            }
        }
    }

    /// In slow mode a user may publish again then, because they have on another node.
    pub fn set_pace(&mut self, user: &Arc<str>, next_publish: Moment) {
        let publisher = Publisher::Reader(ReaderId::User(Arc::clone(user)));
        if let Some(pace) = self.paces.get_mut(&publisher) {
            pace.next_publish = next_publish;
        }
    }

    /// The room's own limits on how often one publishes: a user with all connections together. Where
    /// more publish than are remembered, each connection that is here counts by itself.
    fn pace(&mut self, request: &PublishRequest<'_>, now: Moment) -> Result<(), Refusal> {
        let slow_mode_ms = self.config.slow_mode_ms;
        let rate: Quota = self.config.rate;
        if rate.is_unlimited() && slow_mode_ms == 0 {
            self.paces.clear();
            return Ok(());
        }
        let publisher = request.publisher();
        let is_known = self.paces.contains_key(&publisher);
        if !is_known && self.paces.len() >= PACES && self.paces_fade <= now {
            self.paces.retain(|_, pace| pace.next_publish > now || !pace.bucket.is_full(rate, now));
            self.paces_fade = now.plus_ms(CROWDED_MS);
        }
        let pace = if is_known || self.paces.len() < PACES {
            self.paces.entry(publisher).or_default()
        } else if let Some(attachment) = self.attached.get_mut(&request.address) {
            &mut attachment.pace
        } else {
            return Err(too_often(CROWDED_MS));
        };
        if pace.next_publish > now {
            return Err(too_often(pace.next_publish.since_us(now).div_ceil(1_000)));
        }
        pace.bucket.take(rate, now, 1).map_err(too_often)?;
        if slow_mode_ms > 0 {
            pace.next_publish = now.plus_ms(slow_mode_ms);
        }
        Ok(())
    }
}
