//! What credentials are checked against: made once from the settings, shared by all cores, and
//! replaced as a whole when the settings are read again.
//!
//! Invariants: a key is found by tenant, issuer and id, so that two tenants whose keys have the same
//! names never meet; keys of the operator (of `[auth.jwt]`) speak for every tenant, a tenant's own
//! for that one only; a key that names no issuer speaks for no issuer that somebody else is known by; each
//! URL of keys has a number of its own.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::accepted::{Accepted, Strategy};
use super::api_key::{ApiKey, KnownKeys, SecretHash};
use super::claims::{Claims, Naming};
use super::cookie::CookieKey;
use super::custom::Custom;
use super::key::VerifyingKey;
use super::question::SourceId;
use super::refusal::Refusal;
use super::rights::{Permission, Rights, RightsBuilder};
use crate::config::Algorithm;
use crate::id::TenantId;

/// The tenant of credentials that name none, where there is one of that name.
pub const DEFAULT_TENANT: &str = "default";

/// URLs of key sets, of all tenants together.
pub(super) const SOURCES_MAX: usize = u16::MAX as usize;

/// A key and whose tokens it signs.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// Only tokens of this issuer; none: of the one that is trusted with it, or of whoever is named
    /// nowhere.
    pub issuer: Option<Box<str>>,
    /// The key.
    pub key: Arc<VerifyingKey>,
}

/// A URL that names keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// Where the set is.
    pub url: Box<str>,
    /// Only tokens of this issuer; none: as a [`TrustedKey`] that names none.
    pub issuer: Option<Box<str>>,
    /// What its RSA keys are for where they do not say so.
    pub algorithm: Option<Algorithm>,
}

/// Whose tokens and cookies are believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Keys of tokens.
    pub keys: Vec<TrustedKey>,
    /// Keys of tokens, by URL.
    pub sources: Vec<KeySource>,
    /// Who may have made a token; empty: whoever has a key, if the key does not say.
    pub issuers: Vec<Box<str>>,
    /// Whom a token may be for, if it says so; empty: it must not say.
    pub audiences: Vec<Box<str>>,
    /// Keys of session cookies.
    pub cookie_keys: Vec<Arc<CookieKey>>,
}

/// A tenant whose credentials are checked.
#[derive(Clone, Debug)]
pub struct TenantSetup {
    /// What it is called inside.
    pub id: TenantId,
    /// What credentials call it.
    pub name: Arc<str>,
    /// Whom it believes besides the operator.
    pub trust: Trust,
}

/// What a policy is made of.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Counts the policies of this process: an answer meant for another one is void.
    pub number: u64,
    /// How far clocks may be apart.
    pub leeway_ms: u64,
    /// What claims are called.
    pub naming: Naming,
    /// What a credential may that does not say.
    pub permissions: Vec<Permission>,
    /// What roles may.
    pub roles: BTreeMap<Box<str>, Vec<Permission>>,
    /// What anonymous clients may; none: they are not let in.
    pub anonymous: Option<Vec<Permission>>,
    /// Whom all tenants believe.
    pub operator: Trust,
    /// All tenants.
    pub tenants: Vec<TenantSetup>,
    /// What the cookie with a credential is called, where one is read.
    pub cookie_name: Option<Box<str>>,
    /// API keys of all tenants.
    pub api_keys: Vec<ApiKey>,
    /// Whether an authorization server knows tokens that are none of ours.
    pub introspection: bool,
    /// Whether the backend knows credentials that are none of ours.
    pub hook: bool,
    /// For how long an answer about a credential is believed, at most.
    pub believe_ms: u64,
    /// The embedding program's own way.
    pub custom: Option<Arc<dyn Custom>>,
}

/// What credentials are checked against.
#[derive(Debug)]
pub struct Policy {
    pub(super) setup: Setup,
    tenants: BTreeMap<Arc<str>, usize>,
    api_keys: KnownKeys,
    /// With whose each is; none: the operator's.
    sources: Vec<(Option<usize>, KeySource)>,
    anonymous: Option<Arc<Accepted>>,
}

/// A tenant of a policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct TenantView<'a> {
    index: usize,
    pub(super) setup: &'a TenantSetup,
    operator: &'a Trust,
}

/// Who has made a token, by its own word.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a> {
    issuer: Option<&'a str>,
    /// Whether the settings name that issuer.
    is_known: bool,
}

impl Maker<'_> {
    /// Whether a key for this issuer, or one that names none, may be its.
    fn is_meant(self, by: Option<&str>) -> bool {
        if by.is_some() { by == self.issuer } else { !self.is_known }
    }
}

impl Policy {
    /// Makes one.
    #[must_use]
    pub fn new(mut setup: Setup) -> Self {
        setup.operator = setup.operator.bound();
        for tenant in &mut setup.tenants {
            tenant.trust = mem::take(&mut tenant.trust).bound();
        }
        let tenants = setup.tenants.iter().enumerate();
        let tenants = tenants.map(|(index, tenant)| (tenant.name.clone(), index)).collect();
        let api_keys = KnownKeys::new(&setup.api_keys);
        let of = |owner: Option<usize>, trust: &Trust| {
            trust.sources.iter().map(move |source| (owner, source.clone())).collect::<Vec<_>>()
        };
        let own = setup.tenants.iter().enumerate();
        // Those of settings are counted before: what has no number of its own would have another's keys.
        let sources = of(None, &setup.operator)
            .into_iter()
            .chain(own.flat_map(|(index, tenant)| of(Some(index), &tenant.trust)))
            .take(SOURCES_MAX)
            .collect();
        let mut policy = Self { tenants, api_keys, sources, anonymous: None, setup };
        policy.anonymous = policy.make_anonymous();
        policy
    }

    /// The same, counting for API keys that `before` knew on from where that was.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        let known = before.setup.api_keys.iter().map(|key| ((key.tenant, &key.prefix), key));
        let known: BTreeMap<_, _> = known.collect();
        for key in &mut self.setup.api_keys {
            if let Some(before) = known.get(&(key.tenant, &key.prefix)) {
                Arc::make_mut(&mut key.quota).goes_on_from(&before.quota);
            }
        }
        self
    }

    fn make_anonymous(&self) -> Option<Arc<Accepted>> {
        let permissions = self.setup.anonymous.as_ref()?;
        let tenant = self.tenant_named(None).ok()?;
        let mut rights = RightsBuilder::default();
        permissions.iter().for_each(|permission| _ = rights.assume(permission));
        Some(Arc::new(Accepted {
            rights: Arc::new(rights.finish().ok()?),
            ..Accepted::nobody(tenant.setup.id, tenant.setup.name.clone())
        }))
    }

    /// Which of the policies of this process it is.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.setup.number
    }

    /// How far clocks may be apart: a credential is good for so long after its end.
    #[must_use]
    pub fn leeway_ms(&self) -> u64 {
        self.setup.leeway_ms
    }

    /// Who someone without a credential is; none if they are not let in.
    #[must_use]
    pub fn anonymous(&self) -> Option<&Arc<Accepted>> {
        self.anonymous.as_ref()
    }

    /// What the cookie with a credential is called, where one is read. Then a page must be of an origin
    /// that is named.
    #[must_use]
    pub fn cookie_name(&self) -> Option<&str> {
        self.setup.cookie_name.as_deref()
    }

    /// The API keys of all tenants.
    pub fn api_keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.setup.api_keys.iter()
    }

    /// The URLs whose keys are to be fetched.
    pub fn sources(&self) -> impl Iterator<Item = (SourceId, &KeySource)> {
        let sources = self.sources.iter().enumerate();
        sources.map(|(index, (_, source))| (source_id(index), source))
    }

    pub(super) fn source(&self, id: SourceId) -> Option<&KeySource> {
        self.sources.get(usize::from(id.0)).map(|(_, source)| source)
    }

    /// The tenant that a credential names.
    pub(super) fn tenant_named(&self, name: Option<&str>) -> Result<TenantView<'_>, Refusal> {
        let index = self.tenants.get(name.unwrap_or(DEFAULT_TENANT));
        let index = *index.ok_or(Refusal::UnknownTenant)?;
        let setup = self.setup.tenants.get(index).ok_or(Refusal::UnknownTenant)?;
        Ok(TenantView { index, setup, operator: &self.setup.operator })
    }

    /// The API key with this prefix, if the secret is its.
    pub(super) fn api_key(&self, prefix: &str, secret: &str) -> Option<&ApiKey> {
        self.setup.api_keys.get(self.api_keys.find(prefix, &SecretHash::of(secret))?)
    }

    /// Whether any key of session cookies is known.
    pub(super) fn believes_cookies(&self) -> bool {
        let believes = |trust: &Trust| !trust.cookie_keys.is_empty();
        believes(&self.setup.operator)
            || self.setup.tenants.iter().any(|tenant| believes(&tenant.trust))
    }

    /// Whether any key of tokens is known or can be fetched.
    pub(super) fn believes_tokens(&self) -> bool {
        let believes = |trust: &Trust| !trust.keys.is_empty() || !trust.sources.is_empty();
        believes(&self.setup.operator)
            || self.setup.tenants.iter().any(|tenant| believes(&tenant.trust))
    }

    /// The sources whose keys may have signed a token of this tenant and maker.
    pub(super) fn sources_for(
        &self,
        tenant: TenantView<'_>,
        maker: Maker<'_>,
    ) -> impl Iterator<Item = SourceId> {
        self.sources.iter().enumerate().filter_map(move |(index, (owner, source))| {
            let is_theirs = owner.is_none_or(|owner| owner == tenant.index);
            (is_theirs && maker.is_meant(source.issuer.as_deref())).then(|| source_id(index))
        })
    }

    /// The identity that `claims` give someone of a tenant.
    pub(super) fn accept(
        &self,
        strategy: Strategy,
        tenant: TenantView<'_>,
        issuer: Option<Arc<str>>,
        claims: Claims,
    ) -> Result<Accepted, Refusal> {
        Ok(Accepted {
            strategy,
            tenant: tenant.setup.id,
            tenant_name: tenant.setup.name.clone(),
            rights: Arc::new(self.rights(claims.grants, &claims.roles)?),
            user: claims.user,
            info: claims.info,
            metadata: claims.metadata,
            roles: claims.roles,
            join: claims.join,
            issued_at_ms: claims.times.issued_at_ms,
            expires_at_ms: claims.times.expires_at_ms,
            token_id: claims.token_id,
            issuer,
            quota: None,
        })
    }

    /// What a credential grants: what it says and what its roles may; the defaults in place of what
    /// it does not say.
    pub(super) fn rights(
        &self,
        grants: Option<RightsBuilder>,
        roles: &[Box<str>],
    ) -> Result<Rights, Refusal> {
        let mut rights = grants.unwrap_or_else(|| {
            let mut rights = RightsBuilder::default();
            self.setup.permissions.iter().for_each(|word| _ = rights.assume(word));
            rights
        });
        let known = roles.iter().filter_map(|role| self.setup.roles.get(role));
        known.flatten().for_each(|word| _ = rights.state(word));
        rights.finish().map_err(|_| Refusal::Claims)
    }
}

impl Trust {
    /// The same; where one issuer is trusted, keys that name none are its.
    pub(super) fn bound(mut self) -> Self {
        let [issuer] = &*self.issuers else { return self };
        let keys = self.keys.iter_mut().map(|key| &mut key.issuer);
        let sources = self.sources.iter_mut().map(|source| &mut source.issuer);
        for unnamed in keys.chain(sources).filter(|it| it.is_none()) {
            *unnamed = Some(issuer.clone());
        }
        self
    }

    /// Whether it lists this issuer as one that may have made a token.
    fn lists(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|it| **it == *issuer)
    }

    /// Whether it has a key, or knows where there are some, that names this issuer.
    pub(super) fn speaks_for(&self, issuer: &str) -> bool {
        let keys = self.keys.iter().map(|key| &key.issuer);
        let mut all = keys.chain(self.sources.iter().map(|source| &source.issuer));
        all.any(|it| it.as_deref() == Some(issuer))
    }
}

impl<'a> TenantView<'a> {
    /// Who made a token that says this.
    pub(super) fn maker(self, issuer: Option<&'a str>) -> Maker<'a> {
        let trusts = [&self.setup.trust, self.operator];
        let is_named = |by: &Trust, issuer: &str| by.lists(issuer) || by.speaks_for(issuer);
        let is_known = issuer.is_some_and(|it| trusts.iter().any(|trust| is_named(trust, it)));
        Maker { issuer, is_known }
    }

    /// The keys that may have signed a token of this one.
    pub(super) fn keys(self, maker: Maker<'a>) -> impl Iterator<Item = &'a VerifyingKey> + use<'a> {
        let all = self.setup.trust.keys.iter().chain(&self.operator.keys);
        all.filter(move |trusted| maker.is_meant(trusted.issuer.as_deref()))
            .map(|trusted| &*trusted.key)
    }

    /// The cookie keys of this id: the tenant's own and the operator's, if each has one.
    pub(super) fn cookie_keys(self, id: &str) -> impl Iterator<Item = &'a CookieKey> {
        let all = self.setup.trust.cookie_keys.iter().chain(&self.operator.cookie_keys);
        all.filter(move |key| key.id() == id).map(|key| &**key)
    }

    /// Whether a token of this issuer may be believed at all.
    pub(super) fn check_issuer(self, issuer: Option<&str>) -> Result<(), Refusal> {
        let trusts = [&self.setup.trust, self.operator];
        let named = |trust: &Trust| issuer.is_some_and(|it| trust.lists(it));
        if trusts.iter().all(|trust| trust.issuers.is_empty()) || trusts.into_iter().any(named) {
            Ok(())
        } else {
            Err(Refusal::Issuer)
        }
    }

    /// Whether a token for these audiences is for us.
    pub(super) fn check_audience<T: AsRef<str>>(self, audiences: &[T]) -> Result<(), Refusal> {
        let mut ours = self.setup.trust.audiences.iter().chain(&self.operator.audiences).peekable();
        let is_ours = match (ours.peek(), audiences) {
            (None, []) => true,
            (None, _) => false,
            (Some(_), theirs) => {
                ours.any(|our| theirs.iter().any(|their| *their.as_ref() == **our))
            }
        };
        if is_ours { Ok(()) } else { Err(Refusal::Audience) }
    }
}

fn source_id(index: usize) -> SourceId {
    SourceId(u16::try_from(index).expect("no more are kept than there are numbers"))
}
