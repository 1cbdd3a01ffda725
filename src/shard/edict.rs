//! What the operator decides and every core carries out: credentials taken back, tenants suspended.
//!
//! Invariant: when all cores have said that an edict is carried out, nothing that was sent before by
//! those it is about takes effect any more. Each core tells all others when it has closed their
//! connections, behind whatever these have asked; so who has heard it from all has seen the last.

use crate::auth::Revocation;
use crate::clock::Now;
use crate::hash::Map;
use crate::id::{ConnectionKey, CoreId, TenantId};
use crate::protocol::CloseReason;

use super::identity::Identity;
use super::message::CoreMessage;
use super::{Alarm, Shard};

/// How long a core that never says that it is done is waited for.
const FORGET_MS: u64 = 60_000;

/// What every core carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edict {
    /// Credentials are taken back.
    Revoke(Revocation),
    /// All connections of a tenant end; whether new ones are let in is decided elsewhere.
    Suspend(TenantId),
}

/// An edict is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Which.
    pub number: u64,
    /// Connections that this core has closed for it.
    pub closed: u32,
    /// It will hold for those that come, too: not if there are too many.
    pub holds: bool,
}

/// An edict that not all cores have carried out.
#[derive(Debug, Default)]
struct Open {
    /// Other cores that have.
    heard: u16,
    /// What came of it here.
    carried: Option<Carried>,
}

/// Edicts that not all cores have carried out.
#[derive(Debug)]
pub(super) struct Edicts(Map<u64, Open>);

impl Edicts {
    pub(super) fn new(seed: crate::hash::Seed) -> Self {
        Self(Map::with_hasher(seed))
    }
}

impl Edict {
    /// Whether somebody is one of those it is about.
    fn concerns(&self, identity: &Identity, gate: Option<&crate::auth::Gate>, now: Now) -> bool {
        match self {
            Self::Suspend(tenant) => identity.tenant == *tenant,
            Self::Revoke(revocation) => {
                let accepted = identity.accepted.as_deref();
                identity.tenant == revocation.tenant
                    && accepted
                        .zip(gate)
                        .is_some_and(|(accepted, gate)| gate.is_revoked(now.unix_ms, accepted))
            }
        }
    }

    fn reason(&self) -> CloseReason {
        match self {
            Self::Revoke(_) => CloseReason::Revoked,
            Self::Suspend(_) => CloseReason::Suspended,
        }
    }
}

impl Shard {
    pub(super) fn on_edict(&mut self, number: u64, edict: &Edict) {
        let now = self.outbound.now;
        let mut holds = true;
        if let (Edict::Revoke(revocation), Some(gate)) = (edict, &mut self.door.gate) {
            holds = gate.revoke(now.unix_ms, revocation.clone()).is_ok();
        }
        let gate = self.door.gate.as_ref();
        let connections = self.outbound.slots.iter().filter_map(|slot| slot.connection.as_deref());
        let concerned: Vec<ConnectionKey> = connections
            .filter(|it| it.is_open() && edict.concerns(&it.identity, gate, now))
            .map(|connection| connection.key)
            .collect();
        let mut carried = Carried { number, closed: 0, holds };
        for key in concerned {
            self.close(key, edict.reason());
            carried.closed += 1;
        }
        for core in (0..self.cores).map(CoreId).filter(|core| *core != self.core) {
            self.outbound.send(core, CoreMessage::Carried { number });
        }
        self.edicts.0.entry(number).or_default().carried = Some(carried);
        let at = now.moment.plus_ms(FORGET_MS);
        self.wheel.insert(at, Alarm::Edict(number));
        self.finish_edict(number);
    }

    /// Another core has carried it out.
    pub(super) fn on_carried(&mut self, number: u64) {
        self.edicts.0.entry(number).or_default().heard += 1;
        self.finish_edict(number);
    }

    fn finish_edict(&mut self, number: u64) {
        let Some(open) = self.edicts.0.get(&number) else { return };
        let Some(carried) = open.carried.filter(|_| open.heard + 1 >= self.cores) else { return };
        self.edicts.0.remove(&number);
        self.outbound.effects.carried.push(carried);
    }

    /// Some core has not been heard of in a long time.
    pub(super) fn on_edict_alarm(&mut self, number: u64) {
        self.edicts.0.remove(&number);
    }

    /// Whether a command that has waited at its room's home may still be carried out.
    pub(super) fn still_holds(&self, message: &CoreMessage) -> bool {
        let CoreMessage::Ask(ask) = message else { return true };
        let identity = &ask.asker.identity;
        let revoked = identity.accepted.as_deref().zip(self.door.gate.as_ref());
        !self.tenants.get(identity.tenant).is_suspended()
            && !revoked.is_some_and(|(it, gate)| gate.is_revoked(self.outbound.now.unix_ms, it))
    }
}
