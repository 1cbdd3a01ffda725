//! Channels of backends that know nothing but `PUBLISH`: what is said there is read, and every core is
//! told of it.
//!
//! Invariant: each message heard is counted once, by what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::RedisInterop;
use crate::id::{CoreId, TenantId};
use crate::metrics::{Interop, Reason};
use crate::shard::{CoreMessage, Foreign};
use crate::tenant::Tenants;

use super::desk::Desk;

/// How often refused messages are told of in the log.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Whose connections hear what is said, and what was refused.
#[derive(Debug)]
pub(super) struct Backends {
    prefix: Vec<u8>,
    tenant: TenantId,
    /// Refused, and not told of yet.
    untold: u64,
    told: Option<Instant>,
}

impl Backends {
    /// None if nobody listens to them.
    pub(super) fn new(interop: &RedisInterop, tenants: &Tenants) -> Option<Self> {
        let tenant = tenants.find(&interop.tenant).filter(|_| interop.enabled)?;
        let prefix = interop.prefix.clone().into_bytes();
        Some(Self { prefix, tenant, untold: 0, told: None })
    }
}

/// Something was said on one of the channels.
pub(super) fn hear(channel: &[u8], payload: &[u8], desk: &mut Desk) {
    let Some(backends) = &desk.backends else { return };
    // What fits the pattern begins like that.
    let name = channel.strip_prefix(backends.prefix.as_slice()).unwrap_or_default();
    match Foreign::read(backends.tenant, name, payload, &desk.config.limits) {
        Ok(foreign) => hand_on(&Arc::new(foreign), desk),
        Err(why) => refuse(why, 1, desk),
    }
}

/// So many messages were not looked at, because too many had come.
pub(super) fn overheard(count: u64, desk: &mut Desk) {
    if count > 0 {
        refuse(Interop::Overload, count, desk);
    }
}

/// Tells every core, each of which looks for itself whom it has; one that is too far behind misses it.
fn hand_on(foreign: &Arc<Foreign>, desk: &mut Desk) {
    let mut is_whole = true;
    for core in (0..desk.cores).map(CoreId) {
        if desk.port.is_over(core) {
            is_whole = false;
        } else {
            desk.post_to(core, CoreMessage::Foreign(Arc::clone(foreign)));
        }
    }
    if is_whole {
        desk.metrics.interop.count(Interop::HandedOn);
    } else {
        refuse(Interop::Overload, 1, desk);
    }
}

fn refuse(why: Interop, count: u64, desk: &mut Desk) {
    desk.metrics.interop.figure(why).add(count);
    let Some(backends) = &mut desk.backends else { return };
    backends.untold += count;
    if backends.told.is_none_or(|told| told.elapsed() >= SAY_EVERY) {
        let count = std::mem::take(&mut backends.untold);
        backends.told = Some(Instant::now());
        tracing::warn!(last = why.word(), count, "messages of backends were not handed on");
    }
}
