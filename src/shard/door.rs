//! Who is let in: credentials are judged here, those of requests before the connection exists and
//! those of first messages after it.
//!
//! Invariants: judging never waits; who waits for an answer of the control plane is judged again
//! when it comes, and only then; nobody of a suspended tenant is let in; a cookie is believed only from
//! a page that its own tenant names.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::ban::Bans;
use crate::auth::{self, Accepted, Answer, Fingerprint, Gate, Policy, Proof, Question, SourceId};
use crate::auth::{Refusal, RoomGrant, RoomVerdict, Strategy, Verdict};
use crate::clock::Now;
use crate::config::Config;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionKey, TenantId};
use crate::origin::{Authority, Origins, Permission};
use crate::room::name::RoomKey;
use crate::tenant::Tenants;
use crate::ws::handshake::{Credential, CredentialKind};

use super::edict::Edict;
use super::identity::Identity;
use super::{Effects, Shard};

/// Whose pages may connect to which tenant.
#[derive(Debug, Default)]
pub struct Pages {
    /// To those that have no list of their own.
    pub general: Arc<Origins>,
    /// To any of those that have one; none: there are none.
    pub any: Option<Origins>,
    /// To each of those that have one.
    pub of: Vec<(TenantId, Origins)>,
}

/// The page that a request came from.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its origin.
    pub origin: String,
    /// The request's `Host`.
    pub host: String,
    /// Whether the listener speaks TLS.
    pub tls: bool,
}

/// What a request says of who it is from.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The credential.
    pub credential: Option<&'a Credential>,
    /// `?tenant=…`
    pub tenant: Option<&'a str>,
    /// Where the page came from, if it is one and tenants differ in that.
    pub page: Option<&'a Page>,
}

/// How a connection comes in.
#[derive(Clone, Debug, Default)]
pub enum Entry {
    /// Nothing is checked here.
    #[default]
    Open,
    /// By this credential.
    Accepted(Arc<Accepted>),
    /// Its first message has to be `auth`.
    Later(Box<Later>),
}

/// What is known of a connection that has to say who it is.
#[derive(Clone, Debug, Default)]
pub struct Later {
    /// `?tenant=…`
    pub tenant: Option<String>,
    /// See [`Claim::page`].
    pub page: Option<Page>,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Admission {
    /// It is let in.
    Enter(Entry),
    /// It is not.
    Refuse(Denied),
    /// The control plane is asked; then [`Effects::decided`] names the connection.
    Wait,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The credential is not good, or not for this.
    Credential(Refusal),
    /// The tenant is suspended.
    Suspended,
    /// The tenant has as many connections as it may.
    TenantFull,
    /// The credential has as many connections as it may.
    CredentialFull,
    /// The page may not connect to this tenant.
    Page,
    /// The user or the address is shut out by the operator.
    Banned,
}

/// What an answer is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Topic {
    Keys(SourceId),
    Identity(Fingerprint),
}

/// One core's door.
#[derive(Debug)]
pub(super) struct Door {
    /// None: nothing is configured, and everyone is let in.
    pub(super) gate: Option<Gate>,
    /// Whom the operator has shut out.
    pub(super) bans: Bans,
    waiting: Map<Topic, Vec<ConnectionKey>>,
    pages: Arc<Pages>,
}

impl Door {
    pub(super) fn new(policy: Option<Arc<Policy>>, config: &Config, seed: Seed) -> Self {
        let limits = auth::Limits::of(config);
        Self {
            gate: policy.map(|policy| Gate::new(policy, limits, seed)),
            bans: Bans::new(seed, limits.revocations),
            waiting: Map::with_hasher(seed),
            pages: Arc::default(),
        }
    }

    /// What a credential leads to; none: an answer is waited for.
    pub(super) fn judge(
        &mut self,
        now: Now,
        key: ConnectionKey,
        proof: &Proof<'_>,
        effects: &mut Effects,
    ) -> Option<Result<Arc<Accepted>, Refusal>> {
        let Some(gate) = &mut self.gate else { return Some(Err(Refusal::Unsupported)) };
        let question = match gate.judge(now, proof) {
            Verdict::Accepted(accepted) => return Some(Ok(accepted)),
            Verdict::Refused(refusal) => return Some(Err(refusal)),
            Verdict::Ask(question) => question,
        };
        self.ask(key, question, effects);
        None
    }

    /// What a token for a room leads to; none: an answer is waited for.
    pub(super) fn judge_room(
        &mut self,
        now: Now,
        key: ConnectionKey,
        token: &str,
        room: &RoomKey,
        user: Option<&str>,
        effects: &mut Effects,
    ) -> Option<Result<RoomGrant, Refusal>> {
        let Some(gate) = &mut self.gate else { return Some(Err(Refusal::Unsupported)) };
        let question = match gate.judge_room(now, token, room.tenant, &room.name, user) {
            RoomVerdict::Granted(grant) => return Some(Ok(grant)),
            RoomVerdict::Refused(refusal) => return Some(Err(refusal)),
            RoomVerdict::Ask(question) => question,
        };
        self.ask(key, question, effects);
        None
    }

    /// A connection waits for an answer; the first to do so has it asked for.
    fn ask(&mut self, key: ConnectionKey, question: Question, effects: &mut Effects) {
        let waiting = self.waiting.entry(topic_of(&question)).or_default();
        if waiting.is_empty() {
            effects.questions.push(question);
        }
        waiting.push(key);
    }

    /// Goes by an edict from now on; false if too many hold already.
    pub(super) fn take_edict(&mut self, now: Now, edict: &Edict) -> bool {
        match (edict, &mut self.gate) {
            (Edict::Revoke(revocation), Some(gate)) => {
                gate.revoke(now.unix_ms, revocation.clone()).is_ok()
            }
            (Edict::Ban(whom, until_ms), _) => self.bans.add(whom.clone(), *until_ms, now).is_ok(),
            (Edict::Unban(whom), _) => {
                self.bans.remove(whom);
                true
            }
            (Edict::Revoke(_), None) | (Edict::Suspend(_), _) => true,
        }
    }

    /// Whether the credential of somebody who was let in has been taken back. The anonymous have shown none.
    pub(super) fn has_revoked(&self, identity: &Identity, now: Now) -> bool {
        let has_none = |it: &Accepted| it.strategy == Strategy::Anonymous && it.user.is_none();
        let shown = identity.accepted.as_deref().filter(|it| !has_none(it));
        shown.zip(self.gate.as_ref()).is_some_and(|(it, gate)| gate.is_revoked(now.unix_ms, it))
    }

    /// Whether a credential of that tenant may have come from where it came from: a cookie comes with
    /// whatever page a browser shows. Where tenants do not differ in that, the handshake has seen to it.
    fn believes(&self, claim: &Claim<'_>, tenant: TenantId) -> bool {
        let is_cookie = claim.credential.is_some_and(|it| it.kind == CredentialKind::Cookie);
        !is_cookie || claim.page.is_none_or(|page| self.pages.believe_cookies(tenant, page))
    }

    /// Whether what was accepted may come in.
    pub(super) fn check(
        &self,
        now: Now,
        accepted: &Accepted,
        page: Option<&Page>,
        tenants: &Tenants,
    ) -> Result<(), Denied> {
        if self.bans.cover_user(accepted, now.moment) {
            return Err(Denied::Banned);
        }
        let tenant = tenants.get(accepted.tenant);
        if tenant.is_suspended() {
            return Err(Denied::Suspended);
        }
        if !page.is_none_or(|page| self.pages.permit(accepted.tenant, page)) {
            return Err(Denied::Page);
        }
        let limit = u64::from(tenant.limits.connections);
        if limit > 0 && tenant.connections.count() >= limit {
            return Err(Denied::TenantFull);
        }
        if accepted.quota.as_ref().is_some_and(|quota| quota.is_full()) {
            return Err(Denied::CredentialFull);
        }
        Ok(())
    }
}

impl Pages {
    /// Whether a page may connect to a tenant.
    #[must_use]
    pub fn permit(&self, tenant: TenantId, page: &Page) -> bool {
        self.permission(tenant, page).is_some()
    }

    /// Whether a cookie that a tenant's page sends along may be believed: the list that holds for that
    /// tenant has to name the page, whatever other tenants' lists say.
    #[must_use]
    pub fn believe_cookies(&self, tenant: TenantId, page: &Page) -> bool {
        self.permission(tenant, page) == Some(Permission::Named)
    }

    fn permission(&self, tenant: TenantId, page: &Page) -> Option<Permission> {
        let own = self.of.iter().find(|(id, _)| *id == tenant);
        let origins = own.map_or(&*self.general, |(_, origins)| origins);
        origins.permit(&page.origin, Authority::parse(&page.host)?, page.tls)
    }
}

fn topic_of(question: &Question) -> Topic {
    match question {
        Question::Keys { source, .. } => Topic::Keys(*source),
        Question::Identity { fingerprint, .. } => Topic::Identity(*fingerprint),
    }
}

impl Shard {
    /// Judges what a request says, before its connection exists.
    pub fn admit(
        &mut self,
        now: Now,
        key: ConnectionKey,
        claim: &Claim<'_>,
        effects: &mut Effects,
    ) -> Admission {
        let mismatch = Admission::Refuse(Denied::Credential(Refusal::TenantMismatch));
        let Some(gate) = &self.door.gate else {
            let named = |tenant| self.tenants.find(tenant) == Some(TenantId::DEFAULT);
            return if claim.tenant.is_none_or(named) {
                Admission::Enter(Entry::Open)
            } else {
                mismatch
            };
        };
        let judged = match claim.credential {
            Some(credential) => {
                let (kind, secret) = (credential.kind, &*credential.secret);
                let proof = Proof { kind, secret, wanted_tenant: claim.tenant };
                match self.door.judge(now, key, &proof, effects) {
                    None => return Admission::Wait,
                    Some(judged) => judged,
                }
            }
            None => match gate.policy().anonymous() {
                Some(anonymous) if claim.tenant.is_none_or(|it| *it == *anonymous.tenant_name) => {
                    Ok(Arc::clone(anonymous))
                }
                Some(_) => return mismatch,
                None => {
                    let tenant = claim.tenant.map(ToOwned::to_owned);
                    let later = Later { tenant, page: claim.page.cloned() };
                    return Admission::Enter(Entry::Later(Box::new(later)));
                }
            },
        };
        let accepted = match judged {
            Ok(accepted) => accepted,
            Err(refusal) => return Admission::Refuse(Denied::Credential(refusal)),
        };
        if !self.door.believes(claim, accepted.tenant) {
            return Admission::Refuse(Denied::Page);
        }
        match self.door.check(now, &accepted, claim.page, &self.tenants) {
            Ok(()) => Admission::Enter(Entry::Accepted(accepted)),
            Err(denied) => Admission::Refuse(denied),
        }
    }

    /// Whether the operator has shut an address out.
    #[must_use]
    pub fn shuts_out(&self, now: Now, address: Option<IpAddr>) -> bool {
        self.door.bans.cover_address(address, now.moment)
    }

    /// The control plane has answered: who has waited for it is judged again.
    pub(super) fn on_verdict(&mut self, answer: &Answer) {
        let Some(gate) = &mut self.door.gate else { return };
        let topic = match answer {
            Answer::Keys { source, .. } => Topic::Keys(*source),
            Answer::Identity { fingerprint, .. } => Topic::Identity(*fingerprint),
        };
        if !gate.learn(self.outbound.now, answer) {
            return;
        }
        let waiting = self.door.waiting.remove(&topic).unwrap_or_default();
        self.stop_waiting(waiting);
    }

    /// Judges again what these have shown. Once more than needed does no harm.
    fn stop_waiting(&mut self, waiting: Vec<ConnectionKey>) {
        for key in waiting {
            if self.outbound.get(key).is_some() {
                self.judge_again(key);
                self.join_again(key);
            } else {
                self.outbound.effects.decided.push(key);
            }
        }
    }

    /// What credentials are checked against; none: nothing is.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.door.gate.as_ref().map(|gate| &**gate.policy())
    }

    /// Goes by other lists of pages from now on.
    pub fn believe_pages(&mut self, pages: Arc<Pages>) {
        self.door.pages = pages;
    }

    /// Goes by another policy from now on. Who waits for an answer to the old one is judged again.
    pub fn go_by(&mut self, now: Now, policy: Arc<Policy>, effects: &mut Effects) {
        let Some(gate) = &mut self.door.gate else { return };
        gate.replace(policy);
        let waiting: Vec<_> = self.door.waiting.drain().flat_map(|(_, keys)| keys).collect();
        self.enter(now, effects);
        self.stop_waiting(waiting);
        self.leave(effects);
    }

    /// An `auth` message's credential as a proof. Where it stood makes no difference.
    pub(super) fn proof<'a>(secret: &'a str, wanted_tenant: Option<&'a str>) -> Proof<'a> {
        Proof { kind: CredentialKind::Message, secret, wanted_tenant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Origins {
        let list: Vec<String> = list.iter().map(|it| (*it).to_owned()).collect();
        Origins::parse(&list).expect("origins")
    }

    #[test]
    fn a_list_of_a_tenant_takes_the_place_of_the_general_one_and_the_star_believes_no_cookie() {
        let pages = Pages {
            general: Arc::new(origins(&["https://a.example"])),
            any: None,
            of: vec![(TenantId(1), origins(&["*", "https://b.example"]))],
        };
        for (tenant, origin, permits, believes) in [
            (0, "https://a.example", true, true),
            (0, "https://b.example", false, false),
            (1, "https://a.example", true, false),
            (1, "https://b.example", true, true),
            (1, "null", true, false),
            (1, "no origin", false, false),
        ] {
            let page = Page { origin: origin.to_owned(), host: "h".to_owned(), tls: false };
            let tenant = TenantId(tenant);
            assert_eq!(pages.permit(tenant, &page), permits, "{tenant:?} {origin}");
            assert_eq!(pages.believe_cookies(tenant, &page), believes, "{tenant:?} {origin}");
        }
    }
}
