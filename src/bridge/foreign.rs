//! Backends that know nothing but `PUBLISH`: their channels are listened to, what is said there is
//! read, and every core is told of it.
//!
//! The connection is one of its own. Redis cuts off a listener that does not keep up, and nobody holds
//! these backends to any limit: whatever they do, rooms go on.
//!
//! Invariant: each message heard is counted once, by what became of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use crate::config::{RedisInterop, RedisUrl};
use crate::id::{CoreId, TenantId};
use crate::metrics::{Interop, LinkState, Reason};
use crate::shard::{CoreMessage, Foreign};
use crate::tenant::Tenants;

use super::desk::Desk;
use super::ear::{Ear, Event, Heard, Inbox};
use super::failure;
use super::run::Bridge;
use super::time;

/// Bytes of what was heard that may wait for the bridge to look.
const WAITING_MAX_BYTES: usize = 16 << 20;
/// So much is read before everything else gets its turn.
const READ_AT_ONCE: usize = 512;
/// How often refused messages are told of in the log.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// The first pause between two attempts to listen is at most so long.
const PAUSE_FIRST_MS: u64 = 50;

/// An ear that was opened, or not: its number, where to, and what is wrong.
pub(super) type Opened = (u64, RedisUrl, Result<Ear, LinkState>);

/// How backends are listened to.
#[derive(Debug)]
pub(super) struct Backends {
    /// Whose connections hear what is said; none: nobody listens.
    tenant: Option<TenantId>,
    prefix: Vec<u8>,
    pattern: String,
    /// What the ear tells.
    pub(super) inbox: Rc<Inbox>,
    /// An ear that is being opened.
    pub(super) opening: JoinSet<Opened>,
    ear: Option<(RedisUrl, Ear)>,
    /// Of the last ear.
    number: u64,
    /// Attempts since it was listened to.
    attempts: u32,
    /// What the log says of it.
    told: Option<LinkState>,
    refused: Refused,
}

/// Messages that were not handed on, as the log is told.
#[derive(Debug, Default)]
struct Refused {
    untold: u64,
    told: Option<Instant>,
}

impl Backends {
    pub(super) fn new(interop: &RedisInterop, tenants: &Tenants) -> Self {
        Self {
            tenant: tenants.find(&interop.tenant).filter(|_| interop.enabled),
            prefix: interop.prefix.clone().into_bytes(),
            pattern: interop.pattern(),
            inbox: Rc::new(Inbox::bounded(WAITING_MAX_BYTES)),
            opening: JoinSet::new(),
            ear: None,
            number: 0,
            attempts: 0,
            told: None,
            refused: Refused::default(),
        }
    }

    /// Opens an ear, after as long a pause as the failed attempts make it.
    fn open(&mut self, url: RedisUrl, desk: &Desk) {
        let most =
            (PAUSE_FIRST_MS << self.attempts.min(16)).min(desk.config.redis.reconnect_max_ms);
        let pause_ms = if self.attempts == 0 { 0 } else { desk.chance() % most.max(1) };
        self.attempts = self.attempts.saturating_add(1);
        self.number += 1;
        let (number, inbox, config) = (self.number, Rc::clone(&self.inbox), desk.config.clone());
        self.opening.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let patience = Duration::from_millis(config.redis.timeout_ms) * 4;
            let open = Ear::open(&config.redis, &url, inbox, number);
            let opened = tokio::time::timeout(patience, open).await;
            (number, url, opened.unwrap_or(Err(LinkState::Lost)))
        });
    }

    /// Nobody listens any more, or yet.
    fn fall(&mut self, state: LinkState, desk: &Desk) {
        self.ear = None;
        desk.metrics.interop_up.set(0);
        if self.told.replace(state) != Some(state) {
            let state = state.word();
            tracing::warn!(state, pattern = self.pattern, "backends are not listened to");
        }
    }

    fn listening(&mut self, desk: &Desk) {
        self.attempts = 0;
        self.told = None;
        desk.metrics.interop_up.set(1);
        tracing::info!(pattern = self.pattern, "backends are listened to");
    }

    fn heard(&mut self, heard: &Heard, desk: &mut Desk) {
        // What fits the pattern begins like that.
        let name = heard.channel.strip_prefix(self.prefix.as_slice()).unwrap_or_default();
        let tenant = self.tenant.unwrap_or(TenantId::DEFAULT);
        let read = Foreign::read(tenant, name, &heard.payload, &desk.config.limits);
        match read.map(Arc::new) {
            Ok(foreign) if tell_all(&foreign, desk) => {
                desk.metrics.interop.count(Interop::HandedOn);
            }
            Ok(_) => self.refused.note(Interop::Overload, 1, desk),
            Err(why) => self.refused.note(why, 1, desk),
        }
    }
}

impl Refused {
    fn note(&mut self, why: Interop, count: u64, desk: &Desk) {
        desk.metrics.interop.figure(why).add(count);
        self.untold += count;
        if self.told.is_none_or(|told| time::elapsed(told) >= SAY_EVERY) {
            self.told = Some(time::now());
            let count = std::mem::take(&mut self.untold);
            tracing::warn!(last = why.word(), count, "messages of backends were not handed on");
        }
    }
}

/// Tells every core, each of which looks for itself whom it has; one that is too far behind misses it.
/// Whether none did.
fn tell_all(foreign: &Arc<Foreign>, desk: &mut Desk) -> bool {
    let mut is_whole = true;
    for core in (0..desk.cores).map(CoreId) {
        if desk.port.is_over(core) {
            is_whole = false;
        } else {
            desk.post_to(core, CoreMessage::Foreign(Arc::clone(foreign)));
        }
    }
    is_whole
}

impl Bridge {
    /// Sees to it that backends are listened to, on any server that there is a link to.
    pub(super) fn look_after_backends(&mut self) {
        let patience = self.patience();
        let Self { backends, lines, desk, .. } = self;
        if backends.tenant.is_none() {
            return;
        }
        if let Some((url, ear)) = &backends.ear {
            // One that is no primary any more may not hear what the others do.
            let is_linked = lines.iter().any(|(_, line)| line.url == *url);
            if is_linked && !ear.is_overdue(patience) {
                return ear.verify();
            }
            backends.fall(LinkState::Lost, desk);
        }
        let url = lines.iter().next().map(|(_, line)| line.url.clone());
        if let Some(url) = url.filter(|_| backends.opening.is_empty()) {
            backends.open(url, desk);
        }
    }

    /// An ear is open, or could not be opened.
    pub(super) fn backends_opened(&mut self, opened: Result<Opened, JoinError>) {
        let Self { backends, desk, .. } = self;
        match opened {
            Ok((number, url, Ok(ear))) if number == backends.number => {
                ear.subscribe("PSUBSCRIBE", &backends.pattern);
                backends.ear = Some((url, ear));
            }
            Ok((_, _, Err(state))) => backends.fall(state, desk),
            Ok(_) | Err(_) => backends.fall(LinkState::Lost, desk),
        }
    }

    /// Takes some of what backends say.
    pub(super) fn hear_backends(&mut self) {
        let Self { backends, desk, .. } = self;
        for (number, event) in backends.inbox.take_some(READ_AT_ONCE) {
            match event {
                Event::Heard(heard) => backends.heard(&heard, desk),
                Event::Missed => {
                    let count = backends.inbox.take_missed();
                    backends.refused.note(Interop::Overload, count, desk);
                }
                // What was told of an ear that is no more.
                _ if number != backends.number => {}
                Event::Listening(_) => backends.listening(desk),
                Event::Refused(error) => backends.fall(failure::state(&error), desk),
                Event::Ended => backends.fall(LinkState::Lost, desk),
                Event::Left(_) | Event::Silenced(_) => {}
            }
        }
    }
}
