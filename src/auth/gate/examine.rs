//! The examination of a credential that is not remembered: which kind it is, and whether it is good.
//!
//! Invariant: what a key here is named for, or has signed, is judged here and nowhere else. Of all else the
//! authorization server is asked first, but not of cookies, and then the backend, of what that server does
//! not know.

use std::sync::Arc;

use super::{ENDLESS_MS, Gate, Judged, Stop, UNANSWERED_MS, is_lasting};
use crate::auth::accepted::{Accepted, Strategy};
use crate::auth::api_key;
use crate::auth::claims::{self, Claims, Naming, Times};
use crate::auth::cookie::Session;
use crate::auth::custom::Proof;
use crate::auth::policy::{Policy, TenantView};
use crate::auth::question::{Fingerprint, Question, Whom};
use crate::auth::refusal::Refusal;
use crate::auth::room_token::{self, RoomGrant};
use crate::auth::token::{self, Token, Use};
use crate::auth::zeroed::Zeroed;
use crate::clock::Now;
use crate::id::TenantId;
use crate::protocol::json::{self, Object};
use crate::room::name::RoomName;
use crate::ws::handshake::CredentialKind;

use super::sources::Worth;

/// Keys of one algorithm that are tried on a token: more than one only where it, or they, have no name.
pub(in crate::auth) const TRIES_MAX: usize = 8;
/// The longest name of a tenant.
const TENANT_BYTES: usize = 128;

type Examined = Result<(Arc<Accepted>, u64), Stop>;

impl Gate {
    /// Who the holder is, and until when that may be remembered.
    pub(super) fn examine(&mut self, now: Now, proof: &Proof<'_>) -> Examined {
        let policy = Arc::clone(&self.policy);
        match self.examine_here(&policy, now, proof) {
            Err(Stop::Unknown(refusal)) => self.ask_others(&policy, now, proof, refusal),
            examined => examined,
        }
    }

    /// By what is known here.
    fn examine_here(&mut self, policy: &Policy, now: Now, proof: &Proof<'_>) -> Examined {
        let secret = proof.secret;
        if proof.kind == CredentialKind::Cookie {
            return match policy.believes_cookies() {
                true => examine_cookie(policy, now.unix_ms, secret),
                false => Err(Stop::Unknown(Refusal::Unsupported)),
            };
        }
        if secret.starts_with(api_key::BEGINNING) && !policy.setup.api_keys.is_empty() {
            return examine_api_key(policy, now.unix_ms, secret);
        }
        if token::has_shape(secret) && policy.believes_tokens() {
            return self.examine_token(policy, now, secret);
        }
        Err(Stop::Unknown(Refusal::Unsupported))
    }

    /// By those who are asked about what is not known here, for that reason.
    fn ask_others(
        &mut self,
        policy: &Policy,
        now: Now,
        proof: &Proof<'_>,
        refusal: Refusal,
    ) -> Examined {
        let introspects = policy.setup.introspection && proof.kind != CredentialKind::Cookie;
        if policy.setup.hook
            && let Some(said) = self.said_by(Whom::Hook, now, proof)
        {
            return said;
        }
        if introspects {
            match self.said_by(Whom::Introspection, now, proof) {
                None => return self.ask_whom(now, proof, Whom::Introspection),
                Some(Err(Stop::Said(Refusal::Denied))) if policy.setup.hook => {}
                Some(said) => return said,
            }
        }
        match policy.setup.hook {
            true => self.ask_whom(now, proof, Whom::Hook),
            false => Err(refusal.into()),
        }
    }

    fn examine_token(&mut self, policy: &Policy, now: Now, text: &str) -> Examined {
        let mut decoded = Vec::new();
        let token = Token::parse(text, Use::Identity, self.header.as_ref(), &mut decoded);
        let token = token.map_err(if_malformed)?;
        let object = token.payload().map_err(if_malformed)?;
        let (tenant, issuer) = self.prove(policy, now, &token, &object)?;
        check_audience(tenant, &object)?;
        let claims = Claims::read(&object, &policy.setup.naming)?;
        let ends_at_ms = claims.times.expires_at_ms.ok_or(Refusal::Claims)?;
        claims.times.check(now.unix_ms, policy.setup.leeway_ms)?;
        claims.user.as_ref().ok_or(Refusal::Claims)?;
        let accepted = policy.accept(Strategy::Token, tenant, issuer, claims)?;
        drop(object);
        // What is refused puts nothing in its place.
        if let Some(header) = token.other_header(self.header.as_ref()) {
            self.header = Some(header);
        }
        Ok((Arc::new(accepted), ends_at_ms.saturating_add(policy.setup.leeway_ms)))
    }

    pub(super) fn examine_room(
        &mut self,
        now: Now,
        text: &str,
        tenant: TenantId,
        room: &RoomName,
        user: Option<&str>,
    ) -> Result<RoomGrant, Stop> {
        let policy = Arc::clone(&self.policy);
        let mut decoded = Vec::new();
        let token = Token::parse(text, Use::Room, None, &mut decoded)?;
        let object = token.payload()?;
        let (theirs, _) = self.prove(&policy, now, &token, &object)?;
        check_audience(theirs, &object)?;
        let claims = Claims::read(&object, &policy.setup.naming)?;
        let grant = room_token::read(&object, &claims)?;
        claims.times.check(now.unix_ms, policy.setup.leeway_ms)?;
        let is_theirs = grant.user.as_deref().is_none_or(|named| user == Some(named));
        if theirs.setup.id != tenant || grant.room != *room || !is_theirs {
            return Err(Refusal::NotForThis.into());
        }
        let name = theirs.setup.name.clone();
        let token_id = grant.token_id.clone();
        let issued_at_ms = claims.times.issued_at_ms;
        let user = grant.user.clone();
        let who = Accepted { user, token_id, issued_at_ms, ..Accepted::nobody(tenant, name) };
        if self.revocations.cover(&who, now.unix_ms) {
            return Err(Refusal::Revoked.into());
        }
        Ok(grant)
    }

    /// Whose token it is, and who made it, if a key of theirs signed it.
    fn prove<'p>(
        &self,
        policy: &'p Policy,
        now: Now,
        token: &Token<'_>,
        object: &Object<'_>,
    ) -> Result<(TenantView<'p>, Option<Arc<str>>), Stop> {
        let issuer = claims::issuer(object)?;
        let tenant = named_tenant(policy, object).map_err(if_nobody_s)?;
        tenant.check_issuer(issuer.as_deref()).map_err(Stop::Unknown)?;
        let maker = tenant.maker(issuer.as_deref());
        let sources: Vec<_> = policy.sources_for(tenant, maker).collect();
        let known = || {
            let fetched = sources.iter().flat_map(|source| self.sources.keys(*source, now.moment));
            tenant.keys(maker).chain(fetched)
        };
        let wanted = token.key_id();
        let named = known().filter(|key| key.id().is_some() && key.id() == wanted);
        // A key without a name may have signed any token, and a token that names none may be any's.
        let others = known().filter(|key| key.id().is_none() || wanted.is_none());
        let mut refusal = Refusal::UnknownKey;
        let mut tries = 0;
        for key in named.chain(others) {
            if key.algorithm() != token.algorithm() {
                // A key without a name is not the one that a name means.
                let is_meant = key.id().is_some() || wanted.is_none();
                if is_meant && refusal == Refusal::UnknownKey {
                    refusal = Refusal::Algorithm;
                }
                continue;
            }
            if tries == TRIES_MAX {
                // It may be one of those that are not tried: it, or they, should have a name.
                refusal = Refusal::UnknownKey;
                break;
            }
            if token.is_signed_by(key) {
                return Ok((tenant, issuer.clone()));
            }
            refusal = Refusal::Signature;
            tries += 1;
        }
        let mut is_awaited = false;
        for source in &sources {
            match self.sources.worth(*source, wanted, now.moment) {
                Worth::Asking => {
                    return Err(Stop::Seek(*source, wanted.map(|it| self.sources.name(it))));
                }
                Worth::Waiting => is_awaited = true,
                Worth::Nothing => {}
            }
        }
        if is_awaited {
            return Err(Refusal::Unavailable.into());
        }
        let is_named = wanted.is_some() && known().any(|key| key.id() == wanted);
        Err(if is_named { Stop::Refused(refusal) } else { Stop::Unknown(refusal) })
    }

    /// What somebody has said of a credential.
    fn said_by(&mut self, whom: Whom, now: Now, proof: &Proof<'_>) -> Option<Examined> {
        let fingerprint = Fingerprint::of(whom, proof.kind, proof.secret, proof.wanted_tenant);
        let said = self.said.get(&fingerprint, now);
        Some(match said.or_else(|| self.handed.take(&fingerprint, now))? {
            // Remembered there, and not twice.
            Ok(accepted) => Ok((accepted, 0)),
            Err(refusal) => Err(Stop::Said(refusal)),
        })
    }

    /// Asks somebody about a credential.
    fn ask_whom(&mut self, now: Now, proof: &Proof<'_>, whom: Whom) -> Examined {
        let fingerprint = Fingerprint::of(whom, proof.kind, proof.secret, proof.wanted_tenant);
        if !self.asked.note(fingerprint, now.moment) {
            return Err(Stop::Said(Refusal::Busy));
        }
        Err(Stop::Ask(Question::Identity {
            policy: self.policy.number(),
            fingerprint,
            whom,
            kind: proof.kind,
            secret: Zeroed::copy_of(proof.secret.as_bytes()),
            wanted_tenant: proof.wanted_tenant.map(Arc::from),
        }))
    }

    /// What an answer about a credential means, and until when it may be remembered.
    pub(super) fn read_identity(
        &self,
        now_unix_ms: u64,
        whom: Whom,
        said: &Result<Arc<str>, Refusal>,
    ) -> (Judged, u64) {
        let setup = &self.policy.setup;
        let judged = match said {
            Ok(text) => identity(&self.policy, now_unix_ms, whom, text),
            Err(refusal) => Err(*refusal),
        };
        let until_ms = match &judged {
            Ok((_, true)) => now_unix_ms,
            Ok((accepted, false)) => {
                let believed_ms = now_unix_ms.saturating_add(setup.believe_ms);
                accepted
                    .expires_at_ms
                    .map_or(believed_ms, |end| believed_ms.min(end.saturating_add(setup.leeway_ms)))
            }
            Err(refusal) if is_lasting(*refusal) => now_unix_ms + super::REFUSED_MS,
            Err(_) => now_unix_ms + UNANSWERED_MS,
        };
        (judged.map(|(accepted, _)| Arc::new(accepted)), until_ms)
    }
}

fn examine_cookie(policy: &Policy, now_unix_ms: u64, value: &str) -> Examined {
    let session = Session::parse(value).map_err(if_malformed)?;
    let object = Object::parse(&session.payload).ok_or(Stop::Unknown(Refusal::Malformed))?;
    let tenant = named_tenant(policy, &object).map_err(if_nobody_s)?;
    let mut keys = tenant.cookie_keys(session.key_id).peekable();
    keys.peek().ok_or(Stop::Unknown(Refusal::UnknownKey))?;
    let name = policy.cookie_name().unwrap_or_default();
    if !keys.any(|key| key.verifies(name, &tenant.setup.name, &session)) {
        return Err(Refusal::Signature.into());
    }
    let claims = Claims::read(&object, &policy.setup.naming)?;
    let ends_at_ms = claims.times.expires_at_ms.ok_or(Refusal::Claims)?;
    claims.times.check(now_unix_ms, policy.setup.leeway_ms)?;
    claims.user.as_ref().ok_or(Refusal::Claims)?;
    let accepted = policy.accept(Strategy::Cookie, tenant, None, claims)?;
    Ok((Arc::new(accepted), ends_at_ms.saturating_add(policy.setup.leeway_ms)))
}

fn examine_api_key(policy: &Policy, now_unix_ms: u64, text: &str) -> Examined {
    let (prefix, secret) = api_key::parse(text).map_err(if_malformed)?;
    let key = policy.api_key(prefix, secret).ok_or(Stop::Unknown(Refusal::UnknownKey))?;
    let times = Times { expires_at_ms: key.expires_at_ms, ..Times::default() };
    times.check(now_unix_ms, policy.setup.leeway_ms)?;
    let accepted = Accepted {
        strategy: Strategy::ApiKey,
        user: key.user.clone(),
        rights: Arc::clone(&key.rights),
        expires_at_ms: key.expires_at_ms,
        token_id: Some(key.prefix.as_ref().into()),
        quota: Some(Arc::clone(&key.quota)),
        ..Accepted::nobody(key.tenant, Arc::clone(&key.tenant_name))
    };
    let endless_ms = now_unix_ms.saturating_add(ENDLESS_MS);
    let end_ms = key.expires_at_ms.map(|end_ms| end_ms.saturating_add(policy.setup.leeway_ms));
    Ok((Arc::new(accepted), end_ms.unwrap_or(endless_ms).min(endless_ms)))
}

/// What is not written as ours are may be somebody else's.
fn if_malformed(refusal: Refusal) -> Stop {
    if refusal == Refusal::Malformed { Stop::Unknown(refusal) } else { Stop::Refused(refusal) }
}

/// What names a tenant that is none, or none where one is wanted, may be somebody else's.
fn if_nobody_s(refusal: Refusal) -> Stop {
    if refusal == Refusal::UnknownTenant { Stop::Unknown(refusal) } else { Stop::Refused(refusal) }
}

/// Who an authorization server or the backend says it is, and whether the backend says it of this
/// one use only.
fn identity(
    policy: &Policy,
    now_unix_ms: u64,
    whom: Whom,
    text: &str,
) -> Result<(Accepted, bool), Refusal> {
    // It is our own side that answers like that, and the next answer may be better.
    let object = Object::parse(text.as_bytes()).ok_or(Refusal::Unavailable)?;
    let strategy = match whom {
        Whom::Hook => Strategy::Hook,
        Whom::Introspection => {
            if claims::member::<bool>(&object, "active")? != Some(true) {
                return Err(Refusal::Denied);
            }
            Strategy::Introspection
        }
    };
    let issuer = claims::issuer(&object)?;
    let tenant = named_tenant(policy, &object)?;
    let user = match whom {
        Whom::Hook => "user".into(),
        Whom::Introspection => policy.setup.naming.user.clone(),
    };
    let claims = Claims::read(&object, &Naming { user, ..policy.setup.naming.clone() })?;
    if whom == Whom::Introspection {
        tenant.check_issuer(issuer.as_deref())?;
        check_audience(tenant, &object)?;
        claims.user.as_ref().ok_or(Refusal::Claims)?;
    }
    claims.times.check(now_unix_ms, policy.setup.leeway_ms)?;
    let is_once = whom == Whom::Hook && claims::member::<bool>(&object, "once")? == Some(true);
    Ok((policy.accept(strategy, tenant, issuer, claims)?, is_once))
}

fn named_tenant<'p>(policy: &'p Policy, object: &Object<'_>) -> Result<TenantView<'p>, Refusal> {
    let name = claims::text(object, &policy.setup.naming.tenant, TENANT_BYTES)?;
    policy.tenant_named(name.as_deref())
}

/// `aud` is one text or a list of them.
fn check_audience(tenant: TenantView<'_>, object: &Object<'_>) -> Result<(), Refusal> {
    match object.get("aud").map(|value| (value, json::said(value))) {
        None => tenant.check_audience::<&str>(&[]),
        Some((_, Some(one))) => tenant.check_audience(&[one]),
        Some(_) => {
            let several = claims::texts(object, "aud")?.unwrap_or_default();
            tenant.check_audience(&several)
        }
    }
}
