//! How much may be sent: by a connection, and by all connections of a tenant, a user, an address and a
//! credential together, whichever core they are on.
//!
//! Invariants: a message that is refused anywhere counts nowhere but as a refusal; what is sent before
//! it is known whose the connection is counts for the connection and its address alone.

use std::net::IpAddr;
use std::sync::Arc;

use crate::bucket::{Limits, Meter, Meters, Verdict};
use crate::clock::Moment;
use crate::config::Config;
use crate::hash::Seed;
use crate::id::{ConnectionKey, TenantId, ip_key};
use crate::protocol::{CloseReason, Command, Envelope, ErrorCode};
use crate::room::refusal::Refusal;
use crate::tenant::Tenant;

use super::Shard;
use super::connection::{Connection, Purpose};
use super::identity::Identity;
use super::life::PONG_QUEUE_BYTES;
use super::message::Ticket;
use super::quota::Makers;

/// Why a message is refused.
const OF_SENDER: &str = "too many messages";
const OF_TENANT: &str = "too many messages of the tenant";

/// What a frame counts beside its payload: what it costs to take it in, however little it holds.
const FRAME_BYTES: u32 = 64;

/// What so many bytes in so many frames count.
pub(super) fn weight(payload_len: usize, frames: u32) -> u32 {
    let payload = u32::try_from(payload_len).unwrap_or(u32::MAX);
    payload.saturating_add(FRAME_BYTES.saturating_mul(frames))
}

/// What users and addresses send, counted by all cores of a process.
#[derive(Debug)]
pub struct Senders {
    connection: Limits,
    user: Limits,
    address: Limits,
    users: Meters<(TenantId, Arc<str>)>,
    addresses: Meters<IpAddr>,
    /// What they make.
    pub(super) makers: Makers,
}

impl Senders {
    /// Nobody has sent anything yet.
    #[must_use]
    pub fn new(config: &Config, seed: Seed) -> Arc<Self> {
        Arc::new(Self {
            connection: Limits::new(&config.rate),
            user: Limits::new(&config.users),
            address: Limits::new(&config.addresses),
            users: Meters::new(seed),
            addresses: Meters::new(seed),
            makers: Makers::new(config, seed),
        })
    }

    /// Whether nobody is refused anything.
    fn are_off(&self) -> bool {
        self.connection.are_off() && self.user.are_off() && self.address.are_off()
    }

    /// The meters of a connection.
    fn find(&self, identity: &Arc<Identity>, address: Option<IpAddr>, now: Moment) -> Shares {
        let user = identity.user.as_ref().filter(|_| !self.user.are_off());
        let address = address.filter(|_| !self.address.are_off());
        Shares {
            identity: Arc::clone(identity),
            user: user.map(|user| self.users.find((identity.tenant, Arc::clone(user)), now)),
            address: address.map(|address| self.addresses.find(ip_key(address), now)),
        }
    }
}

/// With whom a connection shares what it may send.
#[derive(Debug)]
pub(super) struct Shares {
    /// Who it was when that was asked.
    identity: Arc<Identity>,
    user: Option<Arc<Meter>>,
    address: Option<Arc<Meter>>,
}

impl Shares {
    /// Judges one message, and counts it if it passes; else it says whose limit was met. The tenant's
    /// comes last: nobody who is held back alone uses up what the others of it may send.
    fn take(
        &self,
        senders: &Senders,
        tenant: Option<&Tenant>,
        now: Moment,
        bytes: u32,
    ) -> (Verdict, &'static str) {
        let quota = self.identity.quota().and_then(|quota| quota.messages());
        let all = [
            self.user.as_deref().map(|meter| (meter, &senders.user, OF_SENDER)),
            self.address.as_deref().map(|meter| (meter, &senders.address, OF_SENDER)),
            quota.map(|(meter, limits)| (meter, limits, OF_SENDER)),
            tenant.and_then(Tenant::messages).map(|(meter, limits)| (meter, limits, OF_TENANT)),
        ];
        for (at, (meter, limits, whose)) in all.iter().flatten().enumerate() {
            let verdict = meter.take(limits, now, bytes);
            if verdict != Verdict::Pass {
                let before = all.iter().flatten().take(at);
                before.for_each(|(meter, limits, _)| meter.give_back(limits, bytes));
                return (verdict, whose);
            }
        }
        (Verdict::Pass, "")
    }
}

impl Connection {
    /// Judges one message by all limits, and counts it if it passes; else it says whose limit was met.
    fn send(
        &mut self,
        senders: &Senders,
        tenant: Option<&Tenant>,
        now: Moment,
        bytes: u32,
    ) -> (Verdict, &'static str) {
        let (identity, address) = (Arc::clone(&self.identity), self.address);
        let rare = self.rare();
        let verdict = rare.limiter.check(&senders.connection, now, bytes);
        if verdict != Verdict::Pass {
            return (verdict, OF_SENDER);
        }
        let shares = rare.shares.take().filter(|it| Arc::ptr_eq(&it.identity, &identity));
        let shares = shares.unwrap_or_else(|| Box::new(senders.find(&identity, address, now)));
        let judged = shares.take(senders, tenant, now, bytes);
        rare.shares = Some(shares);
        if judged.0 == Verdict::Pass {
            rare.limiter.spend(&senders.connection, bytes);
        }
        judged
    }
}

fn too_fast(message: &'static str, retry_after_ms: u64) -> Refusal {
    Refusal { code: ErrorCode::RateLimited, message, retry_after_ms: Some(retry_after_ms) }
}

impl Shard {
    /// Whether a connection may send this now; it is told if not.
    pub(super) fn pace(&mut self, key: ConnectionKey, envelope: &Envelope<'_>, bytes: u32) -> bool {
        let now = self.outbound.now.moment;
        let Some(connection) = self.outbound.get_mut(key) else { return false };
        let tenant = connection.identity.known_tenant().map(|tenant| self.tenants.get(tenant));
        let quota = connection.identity.quota().and_then(|quota| quota.messages());
        if self.senders.are_off() && quota.is_none() && tenant.and_then(Tenant::messages).is_none()
        {
            return true;
        }
        let (verdict, whose) = connection.send(&self.senders, tenant, now, bytes);
        let (retry_after_ms, is_banned) = match verdict {
            Verdict::Pass => return true,
            Verdict::Refused { retry_after_ms } => (retry_after_ms, false),
            Verdict::Banned { retry_after_ms, began: _ } => (retry_after_ms, true),
        };
        self.metrics.rate_limited.add(1);
        self.refuse_whole(key, envelope, too_fast(whose, retry_after_ms));
        if is_banned {
            self.close(key, CloseReason::RateLimited);
        }
        false
    }

    /// Whether a ping, or a pong that nobody asked for, is within what its connection may send; it is
    /// told if not. `/echo` is measured by nothing.
    pub(super) fn pace_control(&mut self, key: ConnectionKey, payload_len: usize) -> bool {
        if !self.senders.connection.measures_bytes() {
            return true;
        }
        let now = self.outbound.now.moment;
        let Some(slot) = self.outbound.slot_mut(key) else { return false };
        let is_crowded = slot.outbox.own_bytes() >= PONG_QUEUE_BYTES;
        let Some(connection) = slot.connection.as_deref_mut().filter(|it| it.is_open()) else {
            return false;
        };
        if connection.purpose == Purpose::Echo {
            return true;
        }
        let limiter = &mut connection.rare().limiter;
        let verdict = limiter.take_control(&self.senders.connection, now, weight(payload_len, 1));
        let (retry_after_ms, is_banned) = match verdict {
            Verdict::Pass => return true,
            Verdict::Refused { retry_after_ms } => (retry_after_ms, false),
            Verdict::Banned { retry_after_ms, began: _ } => (retry_after_ms, true),
        };
        self.metrics.rate_limited.add(1);
        // A flood is not answered by a flood.
        if !is_crowded {
            let refusal = too_fast("too many control frames", retry_after_ms);
            self.refuse(key, &Ticket::default(), refusal);
        }
        if is_banned {
            self.close(key, CloseReason::RateLimited);
        }
        false
    }

    /// Refuses a message; of a batch also those in it that are to be answered.
    pub(super) fn refuse_whole(
        &mut self,
        key: ConnectionKey,
        envelope: &Envelope<'_>,
        refusal: Refusal,
    ) {
        if let Command::Batch(messages) = &envelope.command {
            let ids = messages.clone().filter_map(|it| it.map_or_else(|bad| bad.id, |it| it.id));
            for id in ids {
                let ticket = Ticket { id: Some(id), ..Ticket::default() };
                self.refuse(key, &ticket, refusal);
            }
        }
        let ticket = Ticket { id: envelope.id.clone(), ..Ticket::default() };
        self.refuse(key, &ticket, refusal);
    }
}
