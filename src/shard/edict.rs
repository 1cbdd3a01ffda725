//! What the operator decides and every core carries out: credentials taken back, tenants suspended,
//! users and addresses shut out.
//!
//! Invariant: when all cores have said that an edict is carried out, nothing that was sent before by
//! those it is about takes effect any more. Each core tells all others when it has closed their
//! connections, behind whatever these have asked; so who has heard it from all has seen the last, and
//! waits for what the broker still has of it.

use std::net::IpAddr;

use crate::auth::ban::Banned;
use crate::auth::{Revocation, Revoked};
use crate::clock::Now;
use crate::decision::{Credentials, Decision, Whom};
use crate::hash::Map;
use crate::id::{ConnectionKey, CoreId, TenantId};
use crate::protocol::{CloseReason, ErrorCode};
use crate::room::refusal::Refusal;
use crate::tenant::Tenants;

use super::door::Door;
use super::identity::Identity;
use super::message::{Asker, ToEngine, ToHome};
use super::{Alarm, Shard};

/// How long a core that never says that it is done is waited for.
const FORGET_MS: u64 = 60_000;

/// The operator has ended whoever asked; it is heard only where they go on with another credential.
pub(super) const NOT_ANY_MORE: Refusal =
    Refusal::new(ErrorCode::Forbidden, "the credential by which this was asked holds no more");

/// What every core carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edict {
    /// Credentials are taken back.
    Revoke(Revocation),
    /// All connections of a tenant end; whether new ones are let in is decided elsewhere.
    Suspend(TenantId),
    /// Somebody is shut out until a point in Unix time.
    Ban(Banned, u64),
    /// Somebody is shut out no more.
    Unban(Banned),
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
    /// What those it is about have asked of the broker and what has no answer yet, once all cores
    /// have carried it out.
    owed: Option<Vec<u64>>,
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
    /// What the cores have to do for a decision; none: nothing, or it is about no tenant of this
    /// process.
    #[must_use]
    pub fn of(decision: &Decision, tenants: &Tenants) -> Option<Self> {
        match decision {
            Decision::Revoke { tenant, what, issued_before_ms, until_ms } => {
                let what = match what {
                    Credentials::Token(id) => Revoked::Token((**id).into()),
                    Credentials::User(user) => Revoked::User((**user).into()),
                    Credentials::All => Revoked::Tenant,
                };
                let (issued_before_ms, until_ms) = (*issued_before_ms, *until_ms);
                let tenant = tenants.find(tenant)?;
                Some(Self::Revoke(Revocation { tenant, what, issued_before_ms, until_ms }))
            }
            Decision::Ban { whom, until_ms } => Some(Self::Ban(banned(whom, tenants)?, *until_ms)),
            Decision::Unban { whom } => Some(Self::Unban(banned(whom, tenants)?)),
            Decision::State { tenant, suspended: true } => tenants.find(tenant).map(Self::Suspend),
            Decision::State { suspended: false, .. } => None,
        }
    }

    /// Whether somebody is one of those whose connections end.
    fn concerns(
        &self,
        identity: &Identity,
        address: Option<IpAddr>,
        door: &Door,
        now: Now,
    ) -> bool {
        match self {
            Self::Suspend(tenant) => identity.known_tenant() == Some(*tenant),
            Self::Revoke(revocation) => {
                identity.tenant == revocation.tenant && door.has_revoked(identity, now)
            }
            Self::Ban(Banned::User(tenant, user), _) => {
                identity.tenant == *tenant && identity.user.as_ref() == Some(user)
            }
            Self::Ban(whom @ Banned::Address(_), _) => {
                address.is_some_and(|address| Banned::address(address) == *whom)
            }
            Self::Unban(_) => false,
        }
    }

    fn reason(&self) -> CloseReason {
        match self {
            Self::Revoke(_) => CloseReason::Revoked,
            Self::Suspend(_) => CloseReason::Suspended,
            Self::Ban(..) | Self::Unban(_) => CloseReason::Banned,
        }
    }
}

fn banned(whom: &Whom, tenants: &Tenants) -> Option<Banned> {
    match whom {
        Whom::User { tenant, user } => Some(Banned::User(tenants.find(tenant)?, (**user).into())),
        Whom::Address(address) => Some(Banned::address(*address)),
    }
}

impl Shard {
    pub(super) fn on_edict(&mut self, number: u64, edict: &Edict) {
        let now = self.outbound.now;
        let holds = self.door.take_edict(now, edict);
        let door = &self.door;
        let connections = self.outbound.slots.iter().filter_map(|slot| slot.connection.as_deref());
        let concerned: Vec<ConnectionKey> = connections
            .filter(|it| it.is_open() && edict.concerns(&it.identity, it.address, door, now))
            .map(|connection| connection.key)
            .collect();
        let mut carried = Carried { number, closed: 0, holds };
        for key in concerned {
            self.close(key, edict.reason());
            carried.closed += 1;
        }
        for core in (0..self.cores).map(CoreId).filter(|core| *core != self.core) {
            self.outbound.send(core, ToEngine::Carried { number });
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
        let owed = match &open.owed {
            Some(owed) => owed.clone(),
            None => self.asked_of_broker(|asker| !self.may_still_act(asker)),
        };
        if owed.is_empty() {
            self.edicts.0.remove(&number);
            self.outbound.effects.carried.push(carried);
        } else if let Some(open) = self.edicts.0.get_mut(&number) {
            open.owed = Some(owed);
        }
    }

    /// The broker has answered what was asked of it, or will not.
    pub(super) fn note_done_by_broker(&mut self, ticket: u64) {
        let mut settled = Vec::new();
        for (number, open) in &mut self.edicts.0 {
            let Some(owed) = &mut open.owed else { continue };
            owed.retain(|it| *it != ticket);
            if owed.is_empty() {
                settled.push(*number);
            }
        }
        settled.sort_unstable();
        settled.into_iter().for_each(|number| self.finish_edict(number));
    }

    /// Some core has not been heard of in a long time.
    pub(super) fn on_edict_alarm(&mut self, number: u64) {
        self.edicts.0.remove(&number);
    }

    /// Goes on with what has waited at its room's home. A command that may not be carried out any more is
    /// refused: its connection may be there still, with another credential.
    pub(super) fn go_on_with(&mut self, from: CoreId, message: ToHome) {
        match message {
            ToHome::Ask(ask) if !self.may_still_act(&ask.asker) => {
                self.refuse_ask(*ask, NOT_ANY_MORE);
            }
            message => self.on_core(from, message.into()),
        }
    }

    /// Whether somebody is not one of those whose connections have ended by an edict.
    pub(super) fn may_still_act(&self, asker: &Asker) -> bool {
        let (identity, now) = (&asker.identity, self.outbound.now);
        let accepted = identity.accepted.as_deref();
        !self.tenants.get(identity.tenant).is_suspended()
            && !self.door.has_revoked(identity, now)
            && !accepted.is_some_and(|it| self.door.bans.cover_user(it, now.moment))
            && !self.door.bans.cover_address(asker.ip, now.moment)
    }

    /// Takes over what was decided before this process began, for those that are to come. False if
    /// there is too much of it.
    pub fn begin_with(&mut self, now: Now, edict: &Edict) -> bool {
        self.door.take_edict(now, edict)
    }
}
